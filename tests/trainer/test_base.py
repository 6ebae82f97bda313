"""The base encoder: starts as its teacher, learns its states, is kept in a small file, and starts a classifier."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from beex_train import pretrain as pretrain_module
from beex_train.base import Base, save_base
from beex_train.cli import main
from beex_train.data import DataError
from beex_train.model import Classifier
from beex_train.pack import TEXT_NGRAMS, PackError, PackFile
from beex_train.pretrain import Corpus, Pretraining, pretrain, start_from_teacher, word_means
from beex_train.restore import base_of_pack, restore
from beex_train.simulate import Simulator
from beex_train.teach import Teacher
from beex_train.tokenizer import Encoder, most_used, train_vocabulary
from conftest import ROOT


@pytest.fixture(scope="module")
def base_file(tmp_path_factory, teacher_folder, rows):
    """A base trained for a moment."""
    texts = [text for _, text in rows]
    options = Pretraining(
        teacher=str(teacher_folder), layers=(0, 1), slfn_size=128, vocabulary_size=200, max_tokens=32, batch_tokens=512, tokens=40_000,
        learning_rate=3e-3, embedding_bits=4,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("base")
    encoder = Encoder(train_vocabulary(texts, options.vocabulary_size))
    model, about = pretrain(texts * 3, encoder, options, folder / "base.checkpoint", compile=False)
    save_base(folder / "base.npz", model, encoder.vocabulary, about)
    return folder / "base.npz"


def test_words_are_means_of_their_pieces():
    states = torch.arange(10.0).view(1, 5, 2)
    means = word_means(states, torch.tensor([[0, 1, 1, 2, 3]]), 3)
    assert torch.equal(means, torch.tensor([[0.0, 1.0], [3.0, 4.0], [6.0, 7.0]]))


def test_words_of_student_and_teacher_are_the_same_words(teacher_folder, rows):
    teacher = Teacher(teacher_folder, 2)
    texts = ["the film is charming", "a story, its cast"]
    corpus = Corpus(texts, Encoder(train_vocabulary(texts * 2, 60)), teacher, 32)
    for ours, theirs in zip(corpus.student, corpus.teacher):
        assert ours[1, -1] == theirs[1, -1] and ours.shape[1] >= theirs.shape[1]


def test_start_is_close_to_the_teacher_and_training_comes_closer(teacher_folder, base_file, rows):
    teacher = Teacher(teacher_folder, 2).eval()
    base = Base.load(base_file)
    encoder, options = Encoder(base.vocabulary), Pretraining(layers=(0, 1))
    corpus = Corpus([text for _, text in rows[:64]], encoder, teacher, 32)
    start = base.model()
    start_from_teacher(start, teacher, base.vocabulary, (0, 1))
    start.initialise(*pretrain_module.padded(corpus.student, 64)[:2])
    distance = lambda model: pretrain_module.distance(model.eval().states, teacher, options.layers, corpus.student, corpus.teacher)
    with torch.no_grad():
        before, after = distance(start), distance(base.model())
    assert after[-2] < 0.8 * before[-2] and after[-1] < before[-1]


def test_goes_on_from_a_base_with_word_vectors_of_other_bits(teacher_folder, base_file, rows, tmp_path):
    base = Base.load(base_file)
    options = Pretraining(teacher=str(teacher_folder), base=str(base_file), layers=(0, 1), embedding_bits=1, max_tokens=32, tokens=1)
    made, _ = pretrain([text for _, text in rows] * 3, Encoder(base.vocabulary), options, tmp_path / "x.checkpoint", compile=False)
    assert base.config.embedding_bits == 4 and made.config.embedding_bits == 1


def test_goes_on_with_the_word_pieces_that_the_texts_use_most(teacher_folder, base_file, tmp_path):
    base = Base.load(base_file)
    kept = most_used(base.vocabulary, ["the film is charming"] * 3 + ["dull"], 100)
    assert len(kept) == 100 and kept == [token for token in base.vocabulary if token in set(kept)]
    assert {"[CLS]", "[SEP]", "[UNK]", "film", "charming", "a", "##a"} <= set(kept) < set(base.vocabulary)
    unused = next(token for token in base.vocabulary if token not in kept)
    assert unused in most_used(base.vocabulary, ["the film is charming"] * 3 + ["dull"], 100, [unused])
    smaller = base.with_vocabulary(kept)
    assert torch.equal(smaller.state["embeddings.token"][kept.index("film")], base.state["embeddings.token"][base.vocabulary.index("film")])
    options = Pretraining(teacher=str(teacher_folder), base=str(base_file), layers=(0, 1), embedding_bits=4, max_tokens=32, tokens=1)
    made, _ = pretrain(["the film is charming"] * 600, Encoder(kept), options, tmp_path / "x.checkpoint", compile=False)
    assert made.config.vocabulary_size == 100


def test_file_keeps_every_sign(base_file):
    base = Base.load(base_file)
    model = base.model()
    save_base(base_file.with_name("again.npz"), model, base.vocabulary, base.about)
    again = Base.load(base_file.with_name("again.npz"))
    for name, value in base.state.items():
        assert torch.equal(again.state[name], value), name


def test_pack_of_the_base_gives_its_vectors(base_file, tmp_path):
    out = tmp_path / "base.beex"
    assert main(["export", str(base_file), "--out", str(out)]) == 0
    simulator, base = Simulator(PackFile.open(out)), Base.load(base_file)
    text = "the film is charming and warm"
    ids = torch.tensor([[simulator.encoder.cls_id, *simulator.encoder.tokens([text])[0], simulator.encoder.sep_id]])
    with torch.no_grad():
        mean = base.model().eval().states(ids, torch.ones_like(ids, dtype=torch.bool))[-1].mean(1)[0].numpy()
    assert np.allclose(simulator.embed(text), mean / np.linalg.norm(mean), atol=1e-3)


@pytest.mark.parametrize("options", [[], ["--float-twin"], ["--activation-bits", "1"]])
def test_fit_starts_from_the_base(base_file, train_file, dev_file, tmp_path, options):
    report = tmp_path / "x.json"
    command = ["fit", str(train_file), "--dev", str(dev_file), "--out", str(tmp_path / "x.beex"), "--base", str(base_file), "--report", str(report)]
    assert main([*command, "--rounds", "6", "--learning-rate", "0.002", *options]) == 0
    assert json.loads(report.read_text())["dev"]["accuracy"] > 0.9


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_pack_is_a_base_that_says_what_the_pack_says(base_file, tmp_path, bits):
    base = Base.load(base_file)
    base.config = replace(base.config, embedding_bits=bits)
    save_base(tmp_path / "base.npz", base.model(), base.vocabulary, base.about)
    out = tmp_path / "base.beex"
    assert main(["export", str(tmp_path / "base.npz"), "--out", str(out)]) == 0
    again, packed = base_of_pack(PackFile.open(out)), restore(PackFile.open(out))
    ids = torch.tensor([Encoder(base.vocabulary).windows(Encoder(base.vocabulary).tokens(["the film is charming and warm"])[0], 32)[0]])
    mask = torch.ones_like(ids, dtype=torch.bool)
    with torch.no_grad():
        difference = [float((a - b).abs().mean() / b.abs().mean()) for a, b in zip(again.model().eval().states(ids, mask), packed.states(ids, mask))]
    assert difference[0] < (0.002 if bits == 1 else 0.1), "rows of one bit are rounded to themselves"
    assert max(difference) < 0.1
    assert again.with_positions(9).config.max_tokens == 9 and again.with_positions(99).config.max_tokens == 32


def test_more_blocks_than_the_base_has_start_as_copies_of_its_last(base_file):
    base = Base.load(base_file)
    model = Classifier(base.encoder_config(base.config.blocks + 2))
    base.start(model)
    last, *more = model.blocks[base.config.blocks - 1 :]
    assert len(more) == 2
    for block in more:
        for (name, value), expected in zip(block.state_dict().items(), last.state_dict().values()):
            assert torch.equal(value, expected), name
    first = model.blocks[0].state_dict()
    assert all(torch.equal(value, base.state[f"blocks.0.{name}"]) for name, value in first.items())


def test_fit_makes_a_smaller_pack_of_a_pack(base_file, train_file, dev_file, tmp_path):
    large, small = tmp_path / "large.beex", tmp_path / "small.beex"
    command = ["fit", str(train_file), "--dev", str(dev_file), "--learning-rate", "0.002"]
    assert main([*command, "--base", str(base_file), "--no-drop-blocks", "--rounds", "2", "--out", str(large)]) == 0
    smaller = ["--base", str(large), "--blocks", "1", "--base-pieces", "120", "--max-tokens", "16", "--rounds", "4"]
    assert main([*command, *smaller, "--out", str(small)]) == 0
    pack = PackFile.open(small)
    assert (pack.config["blocks"], pack.config["vocabulary_size"], pack.config["max_tokens"]) == (1, 120, 16)
    assert pack.metadata["metrics"]["dev"]["accuracy"] > 0.9
    assert any("give the same file and --hold-out" in note for note in pack.metadata["metrics"]["notes"])
    assert base_of_pack(pack).model().config.task == "features"
    bare = tmp_path / "bare.beex"
    assert main([*command, "--base", str(small), "--no-ngrams", "--rounds", "1", "--out", str(bare)]) == 0
    assert not PackFile.open(bare).config["features"] & TEXT_NGRAMS, "a pack without n-grams has none of whole texts"


def test_a_pack_gets_word_pieces_back_that_it_did_without(base_file, train_file, dev_file, tmp_path):
    base, small, large = Base.load(base_file), tmp_path / "small.beex", tmp_path / "large.beex"
    command = ["fit", str(train_file), "--dev", str(dev_file), "--learning-rate", "0.002", "--rounds", "3"]
    assert main([*command, "--base", str(base_file), "--base-pieces", "120", "--out", str(small)]) == 0
    part = base_of_pack(PackFile.open(small))
    more = part.with_more_pieces(base)
    assert more.vocabulary == base.vocabulary and more.config.embedding_bits == base.config.embedding_bits
    own, rows = part.state["embeddings.token"], more.state["embeddings.token"]
    place = [base.vocabulary.index(token) for token in part.vocabulary]
    added = sorted(set(range(len(rows))) - set(place))
    assert torch.equal(rows[place], own)
    assert torch.nn.functional.cosine_similarity(rows[added], base.state["embeddings.token"][added]).min() > 0.999
    assert 0.5 < float(rows[added].norm(dim=1).median() / own.norm(dim=1).median()) < 2
    assert main([*command, "--base", str(small), "--more-pieces", str(base_file), "--out", str(large)]) == 0
    assert PackFile.open(large).config["vocabulary_size"] == len(base.vocabulary) > PackFile.open(small).config["vocabulary_size"]
    with pytest.raises(DataError, match="all word pieces of this one"):
        base.with_more_pieces(part)


@pytest.mark.parametrize(("options", "says"), [
    (["--base-pieces", "20"], "20 word pieces are too few"),
    (["--max-tokens", "2"], "windows of 2 tokens are too short"),
    (["--soft-labels", "missing.tsv"], "missing.tsv"),
    (["--base", "none", "--more-pieces", "auto"], "name one with --base"),
])  # fmt: skip
def test_settings_that_nothing_can_be_made_of_are_named(base_file, train_file, tmp_path, capsys, options, says):
    assert main(["fit", str(train_file), "--base", str(base_file), "--out", str(tmp_path / "x.beex"), *options]) == 1
    assert says in capsys.readouterr().err


def test_what_is_no_base_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such base"):
        Base.load(tmp_path / "missing.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK not really")
    with pytest.raises(DataError, match="not a base encoder"):
        Base.load(tmp_path / "broken.npz")
    cased = PackFile.open(ROOT / "model_pack" / "packs" / "language.beex")
    with pytest.raises(PackError, match="keeps case"):
        base_of_pack(cased)
