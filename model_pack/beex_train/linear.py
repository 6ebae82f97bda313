"""The linear model inside a pack: a logistic regression on hashed n-grams (FORMAT.md, "n-grams"), fitted before the network.

Every exit adds to its logits. A network that trained on top of logits of the rows they were fitted on would see hardly a mistake and learn
nothing from them: it gets *out-of-fold* logits instead, each row's from a fit without it, which are as good as they will be on new texts.
"""

from __future__ import annotations

import random
import warnings
from dataclasses import dataclass
from itertools import product
from typing import Sequence

import numpy as np
import torch
from scipy.sparse import csr_matrix, diags, vstack

from .inputs import Inputs
from .model import Classifier, ModelConfig
from .ngrams import buckets

FOLDS = 4
PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0)  # inverse strength of the L2 penalty (C of scikit-learn) to choose from
# How much the scale of a feature follows what its n-gram tells of the classes (0: nothing, as in TF-IDF; 1: all, as in NB-SVM), to choose from.
TELLING = (0.0, 0.5, 1.0)
TEMPERATURES = (0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7, 2.0, 2.5, 3.0)  # by which the logits may be divided
# What the network learns beside must not be too sure, or it finds little to learn that is its own and adds less on new texts: these penalties, scales that
# follow rarity alone, and no temperature. Beside the pack's own logits emotion fell from 89.6 to 85.4 % on dev.
PENALTIES_IN_TRAINING = PENALTIES[:3]
LEAST_WEIGHT = 0.02  # of a soft label
# Shares of the buckets, those with the largest weights, that may have a row in the pack; the fewest whose loss is at most so much above the least.
SHARES = (1.0, 0.5, 0.3, 0.2, 0.1, 0.05)
LOSS_TO_GIVE = 0.01


@dataclass
class LinearModel:
    """A fitted one."""

    places: np.ndarray  # (kept): the buckets that have a row, ascending
    rows: np.ndarray  # (kept, columns): what `ngram.rows` will hold
    bias: np.ndarray  # (classes,)
    penalty: float  # of PENALTIES
    telling: float  # of TELLING
    out_of_fold: np.ndarray  # what the network learns beside: logits (inputs, classes), each from a fit that did not see the input's row


def fit_linear(
    inputs: Inputs, targets: np.ndarray, config: ModelConfig, seed: int, most_rows: int = 2**20, more: tuple[Inputs, np.ndarray] | None = None
) -> LinearModel:
    """Fit on encoded inputs and their rows' `targets`, probabilities (rows, classes). At most `most_rows` buckets get a row. `more` are inputs and
    targets, (rows, classes), for the pack's linear model alone: what the network learns beside does not know them."""
    of_inputs = ngram_features(inputs, config)
    of_more = more[0].window_mean() @ ngram_features(more[0], config) if more else of_inputs[:0]
    # Most buckets of a large table are in no text: everything below knows those that are.
    present = np.union1d(of_inputs.indices, of_more.indices)
    of_inputs, of_more = of_inputs[:, present], of_more[:, present]
    # The mean of a text's windows is linear in the weights: of long texts the whole is fitted.
    features = inputs.window_mean() @ of_inputs
    fold = np.arange(len(targets)) % FOLDS
    random.Random(seed).shuffle(fold)
    multi = config.task == "multi"
    fitted = lambda chosen, *setting: _fit(features[chosen], targets[chosen], multi, *setting)
    if more:
        everything = lambda chosen: (vstack([features[chosen], of_more]).tocsr(), np.concatenate([targets[chosen], more[1]]))
        with_more = lambda chosen, *setting: _fit(*everything(chosen), multi, *setting)
    else:
        with_more = fitted

    first, rest = fold == 0, fold != 0
    loss = lambda fit, temperature=1.0: _loss(_logits(features[first], *fit) / temperature, targets[first], multi)
    cautious = min(PENALTIES_IN_TRAINING, key=lambda penalty: loss(fitted(rest, 0.0, penalty)))
    out = np.zeros((len(inputs), targets.shape[1]), np.float32)
    fold_of_input = fold[inputs.row]
    for k in range(FOLDS):
        out[fold_of_input == k] = _logits(of_inputs[fold_of_input == k], *fitted(fold != k, 0.0, cautious))

    settings = list(product(TELLING, PENALTIES))
    fits = {setting: with_more(rest, *setting) for setting in settings}
    (telling, penalty), temperature = min(product(settings, TEMPERATURES), key=lambda choice: loss(fits[choice[0]], choice[1]))
    weight, bias = fits[telling, penalty]
    shares = [share for share in SHARES if share * len(present) <= most_rows] or [most_rows / len(present)]
    losses = [loss((_largest(weight, share)[1], bias), temperature) for share in shares]
    share = min(share for share, lost in zip(shares, losses) if lost <= (1 + LOSS_TO_GIVE) * min(losses))
    weight, bias = (x / temperature for x in with_more(np.full(len(targets), True), telling, penalty))
    kept, weight = _largest(weight, share)
    return LinearModel(present[kept], weight[kept].astype(np.float32), bias.astype(np.float32), penalty, telling, out)


def _largest(weight: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The places of the rows with the largest weights, ascending, and the weights (rows, columns) with zeros in all others."""
    size = np.abs(weight).max(1)
    kept = np.sort(np.argsort(-size, kind="stable")[: max(1, round(share * len(weight)))])
    cut = np.zeros_like(weight)
    cut[kept] = weight[kept]
    return kept, cut


def _logits(features: csr_matrix, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(texts, classes): the first class of an exclusive task has no column of weights."""
    said = features @ weight
    return np.pad(said, ((0, 0), (len(bias) - said.shape[1], 0))) + bias


def ngram_features(inputs: Inputs, config: ModelConfig) -> csr_matrix:
    """What the engine multiplies the rows by, sparse (inputs, buckets): how often an input has each bucket, or whether its text has it, over the
    root of how many these are."""
    if not config.text_ngrams:
        return _features([buckets(ids, config.ngram_longest, config.ngram_buckets) for ids in inputs.ids], config.ngram_buckets)
    whole = [np.unique(buckets(ids, config.ngram_longest, config.ngram_buckets)) for ids in inputs.texts()]
    return _features(whole, config.ngram_buckets)[inputs.row]


def linear_logits(model: Classifier, inputs: Inputs) -> torch.Tensor | None:
    """What the linear model inside says of each input, (inputs, classes) on the CPU; None without one."""
    if model.ngrams is None:
        return None
    table = model.ngrams.table().detach().cpu().numpy()
    return torch.from_numpy((ngram_features(inputs, model.config)[:, model.ngrams.places.cpu().numpy()] @ table).astype(np.float32))


def _features(places: Sequence[np.ndarray], size: int) -> csr_matrix:
    lengths = np.array([len(each) for each in places])
    values = np.repeat(1 / np.sqrt(lengths), lengths).astype(np.float64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    matrix = csr_matrix((values, np.concatenate(places), starts), shape=(len(places), size))
    matrix.sum_duplicates()
    return matrix


def _fit(features: csr_matrix, targets: np.ndarray, multi: bool, telling: float, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights (buckets, columns) and biases (classes) of a logistic regression on features of the `_feature_scales` that `telling` asks for. Only differences
    count between exclusive classes: the first of them has no column, and no bias."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    scales = _feature_scales(features, targets, multi, telling)
    classes = targets.shape[1]

    def regression(x, y, weights) -> tuple[np.ndarray, np.ndarray]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # held-out rows judge where it got to
            model = LogisticRegression(C=penalty, max_iter=60, tol=1e-4).fit(x, y, sample_weight=weights)
        return model.coef_, model.intercept_

    weight, bias = np.zeros((classes, features.shape[1])), np.full(classes, -8.0)
    if multi:
        for c in range(classes):
            if 0 < targets[:, c].sum() < len(targets):
                (weight[c],), (bias[c],) = regression(features @ diags(scales[:, c]), targets[:, c] > 0.5, None)
    else:
        # A soft label is one row for each class, weighted by its probability.
        row, label = np.nonzero(targets > LEAST_WEIGHT)
        scaled = features @ diags(scales[:, 0])
        x = scaled if len(row) == len(targets) else vstack([scaled[row]])
        coefficients, intercepts = regression(x, label, targets[row, label])
        known = np.unique(label)
        if len(known) == 2:
            coefficients, intercepts = np.concatenate([0 * coefficients, coefficients]), np.array([0.0, intercepts[0]])
        weight[known], bias[known] = coefficients, intercepts
    weight = weight.T * scales
    return (weight, bias) if multi else (weight[:, 1:] - weight[:, :1], bias - bias[0])


def _feature_scales(features: csr_matrix, targets: np.ndarray, multi: bool, telling: float) -> np.ndarray:
    """By what each bucket is multiplied before a fit: the penalty is lighter on weights of large ones. (buckets, classes), or (buckets, 1) for exclusive classes.

    Rare n-grams are larger (inverse document frequency), and with `telling` those that are more frequent in texts of one class than in the others: the scale is
    rarity^(1 - telling) |log ratio|^telling. The log-count ratio is that of "Baselines and Bigrams" (Wang & Manning 2012), with one more text of every n-gram, shared by the
    classes; of exclusive classes the root of the mean square counts."""
    present = (features > 0).astype(np.float64)
    seen = np.asarray(present.sum(0)).ravel()
    rarity = np.log((1 + features.shape[0]) / (1 + seen)) + 1
    if telling == 0:
        return np.repeat(rarity[:, None], targets.shape[1] if multi else 1, 1)
    share = (targets.sum(0) + 1) / (len(targets) + 2)
    with_class = present.T @ targets + share
    without = (seen + 1)[:, None] - with_class
    ratio = np.abs(np.log(with_class / with_class.sum(0)) - np.log(without / without.sum(0)))
    if not multi:
        ratio = np.sqrt(ratio**2 @ share)[:, None]
    scales = rarity[:, None] ** (1 - telling) * ratio**telling
    return scales * (rarity.mean() / scales.mean(0))


def _loss(z: np.ndarray, targets: np.ndarray, multi: bool) -> float:
    if multi:
        return float((np.logaddexp(0, z) - targets * z).mean())
    z = z - z.max(-1, keepdims=True)
    return float(-(targets * (z - np.log(np.exp(z).sum(-1, keepdims=True)))).sum(-1).mean())
