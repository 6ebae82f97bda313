"""The linear model inside: fitted on hashed n-grams, out of fold for training, equal to what the network computes."""

from dataclasses import replace

import numpy as np
import torch
from scipy.sparse import csr_matrix

from beex_train.fit import WEIGHTS, weigh_heads
from beex_train.inputs import Inputs
from beex_train.linear import _feature_scales, fit_linear, linear_logits, ngram_features
from beex_train.model import Classifier, ModelConfig
from beex_train.ngrams import buckets
from beex_train.tokenizer import Encoder
from beex_train.train import Plan, Rows, train


def problem(classes: int, rows: int, seed: int = 2):
    """Texts of ids whose class is that of the marker id among them; a fifth of the labels is wrong."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, rows)
    ids = [[0, *generator.integers(20, 80, 6), 5 + label, *generator.integers(20, 80, 3), 1] for label in labels]
    noisy = np.where(generator.random(rows) < 0.2, generator.integers(0, classes, rows), labels)
    return ids, labels, np.eye(classes)[noisy]


def config(classes: int, task: str = "single") -> ModelConfig:
    return ModelConfig(task=task, classes=classes, vocabulary_size=100, hidden_size=64, heads=2, ngram_buckets=2048, ngram_bits=8)


def single(ids) -> Inputs:
    """Inputs of one window each."""
    return Inputs(ids, row=list(range(len(ids))))


def test_finds_the_marker_and_out_of_fold_logits_are_honest():
    for classes in (2, 4):
        ids, labels, targets = problem(classes, 600)
        fitted = fit_linear(single(ids), targets, config(classes), seed=1)
        assert (fitted.out_of_fold.argmax(1) == labels).mean() > 0.9
        assert (fitted.out_of_fold[:, 0] == 0).all()
        # The noise of the labels cannot be known without having seen them.
        assert (fitted.out_of_fold.argmax(1) == targets.argmax(1)).mean() < 0.9


def test_ngrams_that_tell_the_classes_apart_are_larger_and_all_scales_have_the_same_mean():
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 3, 400)
    # Bucket 0: a class each time; 1: as often in every class; 2: in no text.
    features = csr_matrix(np.stack([labels == 1, generator.random(400) < 0.4, np.zeros(400)], 1).astype(float))
    for multi in (False, True):
        rarity, ratio = (_feature_scales(features, np.eye(3)[labels], multi, telling) for telling in (0.0, 1.0))
        assert rarity.shape == ratio.shape == (3, 3 if multi else 1) and np.isfinite(ratio).all()
        assert np.allclose(rarity.mean(0), ratio.mean(0))
        assert (ratio[0] > 3 * ratio[1]).all() and (rarity[0] < 1.2 * rarity[1]).all() and (ratio[2] < 0.3 * ratio[0]).all()


def test_network_computes_what_was_fitted():
    for task, classes in (("single", 3), ("multi", 3)):
        ids, _, targets = problem(classes, 400)
        fitted = fit_linear(single(ids), targets, config(classes, task), seed=1)
        model = Classifier(config(classes, task))
        model.ngrams.keep(fitted.places, fitted.rows)
        z = linear_logits(model, single(ids[:50])).numpy() + fitted.bias
        rows = np.zeros((2048, classes))
        rows[fitted.places, int(task == "single") :] = fitted.rows
        wanted = np.stack([rows[buckets(each, 2, 2048)].sum(0) / np.sqrt(2 * len(each) - 1) for each in ids[:50]]) + fitted.bias
        assert np.corrcoef(z.ravel(), wanted.ravel())[0, 1] > 0.999


def test_a_long_text_is_fitted_as_a_whole():
    ids, _, targets = problem(2, 200)
    # Two windows each, the marker in one of them alone.
    windows = [window for each in ids for window in (each, [0, *each[1:4], 1])]
    inputs = Inputs(windows, row=[k // 2 for k in range(400)])
    fitted = fit_linear(inputs, targets, config(2), seed=1)
    answers = inputs.merge(fitted.out_of_fold)
    assert answers.shape == (200, 2) and (answers.argmax(1) == targets.argmax(1)).mean() > 0.7
    same = fit_linear(Inputs([each for each in ids for _ in range(2)], row=inputs.row), targets, config(2), seed=1)
    once = fit_linear(single(ids), targets, config(2), seed=1)
    assert np.array_equal(same.places, once.places) and np.allclose(same.rows, once.rows, atol=1e-4) and np.allclose(same.out_of_fold[::2], once.out_of_fold, atol=1e-3)


def test_prior_dropout_is_the_share_of_rows_that_learn_without_the_linear_model(tmp_path):
    ids, labels, _ = problem(2, 80)
    targets = np.eye(2, dtype=np.float32)[labels]
    # Two windows a text: both hear the linear model, or neither does.
    inputs = Inputs([each for each in ids for _ in range(2)], row=[k // 2 for k in range(160)])
    said = np.repeat(4 * targets - 2, 2, 0).astype(np.float32)

    def trained(name: str, linear: np.ndarray, share: float) -> torch.Tensor:
        torch.manual_seed(1)
        model = Classifier(ModelConfig(vocabulary_size=100, hidden_size=64, heads=2, slfn_size=64, blocks=1, dropout=0.0))
        plan = Plan(rounds=1.0, batch_tokens=220, learning_rate=1e-3, token_dropout=0.0, seed=1, prior_dropout=share, windows=2)
        nothing = Rows(inputs, np.zeros((0, 2), np.float32))
        train(model, plan, (0, 1), 2, Rows(inputs, targets, linear), nothing, None, tmp_path / name)
        return model.exits[1].weight.detach()

    never, always = trained("never", 0 * said, 0.0), trained("always", said, 0.0)
    assert torch.equal(trained("dropped", said, 1.0), never) and not torch.equal(never, always)
    half = trained("half", said, 0.5)
    assert not torch.equal(half, never) and not torch.equal(half, always)


def test_the_rows_that_say_most_are_kept():
    ids, _, targets = problem(2, 600)
    fits = [fit_linear(single(ids), targets, config(2), 1, most) for most in (2048, 30, 5)]
    assert [len(fit.places) <= most for fit, most in zip(fits, (2048, 30, 5))] == [True] * 3 and len(fits[2].places) == 5
    markers = {int(buckets([5 + label], 1, 2048)[0]) for label in range(2)}
    for fit in fits:
        assert markers <= set(fit.places.tolist()) and (np.diff(fit.places) > 0).all() and len(fit.rows) == len(fit.places)
        of_markers = np.abs(fit.rows[np.isin(fit.places, list(markers))]).max(1)
        assert (of_markers >= np.sort(np.abs(fit.rows).max(1))[-2]).all()


def test_more_texts_teach_the_linear_model_alone():
    ids, _, targets = problem(8, 30)
    others, labels, _ = problem(8, 2000, seed=5)
    more = single(others), np.eye(8)[labels]
    without, fitted = fit_linear(single(ids), targets, config(8), 1), fit_linear(single(ids), targets, config(8), 1, more=more)
    assert np.array_equal(fitted.out_of_fold, without.out_of_fold)
    test, truth, _ = problem(8, 500, seed=6)

    def accuracy(fit) -> float:
        model = Classifier(config(8))
        model.ngrams.keep(fit.places, fit.rows)
        return float(((linear_logits(model, single(test)).numpy() + fit.bias).argmax(1) == truth).mean())

    assert accuracy(fitted) > 0.97 > 0.9 > accuracy(without)


def test_ngrams_of_the_whole_text_count_once():
    encoder = Encoder(["[CLS]", "[SEP]", "[UNK]", *(chr(97 + k) for k in range(26))])
    generator = np.random.default_rng(3)
    rows = [generator.integers(3, 29, length).tolist() for length in (4, 30, 75)]
    windows = [(row, window) for row, ids in enumerate(rows) for window in encoder.windows(ids, 34)]
    inputs = Inputs([window for _, window in windows], row=[row for row, _ in windows])
    assert len(inputs) == 5 and inputs.texts() == [[encoder.cls_id, *ids, encoder.sep_id] for ids in rows]
    features = ngram_features(inputs, replace(config(2), text_ngrams=True)).toarray()
    for at, row in zip(features, inputs.row):
        own = set(buckets(inputs.texts()[row], 2, 2048).tolist())
        assert set(np.flatnonzero(at)) == own and np.allclose(at[sorted(own)], len(own) ** -0.5)


def test_heads_count_for_less_where_they_are_noise_and_for_more_where_the_linear_model_is():
    ids, labels, _ = problem(2, 200)
    targets = np.eye(2, dtype=np.float32)[labels]
    held = Rows(single(ids), targets)
    torch.manual_seed(1)
    model = Classifier(config(2))
    generator = np.random.default_rng(4)
    fitted = fit_linear(held.inputs, targets, config(2), seed=1)
    model.ngrams.keep(fitted.places, fitted.rows)
    with torch.no_grad():
        model.exits[0].weight.zero_()
        for head in model.exits[1:]:
            head.weight.normal_(0.0, 20.0)
    before = [head.weight.detach().clone() for head in model.exits]
    weights = weigh_heads(model, held)
    assert weights[0] == 1.0 and set(weights[1:]) == {min(WEIGHTS)}
    assert all(torch.allclose(head.weight, weight * old) for head, weight, old in zip(model.exits, weights, before))

    # What a head knows is how often the classes are; the rows know nothing.
    with torch.no_grad():
        model.ngrams.keep(fitted.places, generator.normal(size=fitted.rows.shape).astype(np.float32))
        model.exits[0].bias.zero_()
        for head in model.exits:
            head.weight.zero_()
        for head in model.exits[1:]:
            head.bias.copy_(torch.tensor([0.0, 1.0]))
    mostly = np.where(generator.random(200) < 0.95, 1, 0)
    weights = weigh_heads(model, Rows(held.inputs, np.eye(2, dtype=np.float32)[mostly]))
    assert min(weights[1:]) >= 2 and model.exits[1].bias.tolist() == [0.0, weights[1]]
