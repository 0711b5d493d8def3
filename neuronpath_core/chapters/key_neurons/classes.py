"""Whether classes that have a good value vector are recognised better, and whether failures share
theirs with other classes (A7, A16)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy import stats

from neuronpath_core.chapters.key_neurons.measured import Written
from neuronpath_core.chapters.key_neurons.weights import PERMUTATIONS, RESAMPLES, best_blocks
from neuronpath_core.neurons.key_neurons import sharing
from neuronpath_core.stats.intervals import percentile_row
from neuronpath_core.study.study import Study

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

ROUNDING = 1e-9
BY_ALIGNMENT, BY_BLOCK = "by how well its best neuron is aligned", "by how late the block lies"


@dataclass(frozen=True)
class Recognised:
    """Which held-out images a model classifies correctly.

    Attributes:
        labels: of the images.
        right: whether each is classified correctly.
    """

    labels: Int64[np.ndarray, "image"]
    right: Bool[np.ndarray, "image"]

    def recall(self) -> Float[np.ndarray, "class"]:
        """The share of each class's images."""
        return np.array([self.right[self.labels == label].mean()
                         for label in np.unique(self.labels)])


def recognised(study: Study, model: str) -> Recognised:
    """Which of all held-out images of a study are classified correctly."""
    labels = study.held_out.labels.numpy()
    return Recognised(labels, study.probabilities(model, study.held_out).argmax(1) == labels)


def recall_rows(directions: pd.DataFrame, says: Written, recalls: Float[np.ndarray, "class"],
                seed: int = 0) -> pd.DataFrame:
    """Whether classes with a well aligned best neuron (the largest cosine of
    :func:`~neuronpath_core.chapters.key_neurons.weights.direction_rows`) or with a late one are
    recognised better (A7): Spearman's correlation over classes, ``condition, value, low, high``
    (classes drawn anew), ``p`` (classes permuted, two-sided) and ``classes``; none where the recall
    or the block is the same for all."""
    best = directions.loc[directions["block"] == 0, "cosine"].to_numpy()
    late = best_blocks(says.effective).astype(float)
    return pd.DataFrame([
        {"condition": words, **correlation_row(values, recalls, seed), "classes": len(recalls)}
        for words, values in ((BY_ALIGNMENT, best), (BY_BLOCK, late))
        if np.ptp(values) and np.ptp(recalls)
    ], columns=["condition", "value", "low", "high", "p", "classes"])


def correlation_row(first: Float[np.ndarray, "unit"], second: Float[np.ndarray, "unit"],
                    seed: int = 0, resamples: int = 1000) -> dict[str, float]:
    """Spearman's correlation with a percentile interval over units drawn anew, and ``p`` by
    permutation, two-sided."""
    first, second = (np.asarray(each, float) for each in (first, second))
    value, rng = float(_spearman(first, second)), np.random.default_rng(seed)
    drawn = rng.integers(0, len(first), (resamples, len(first)))
    null = _spearman(rng.permuted(np.tile(first, (PERMUTATIONS, 1)), axis=1), second[None])
    return {**percentile_row(value, _spearman(first[drawn], second[drawn])),
            "p": (1 + (np.abs(null) >= abs(value) - ROUNDING).sum()) / (1 + PERMUTATIONS)}


def _spearman(first: Float[np.ndarray, "*batch unit"],
              second: Float[np.ndarray, "*batch unit"]) -> Float[np.ndarray, "*batch"]:
    """Spearman's correlation along the last axis, 0 where one of both does not vary."""
    one, other = (stats.rankdata(each, axis=-1) for each in (first, second))
    one, other = (each - each.mean(-1, keepdims=True) for each in (one, other))
    scale = np.sqrt(np.square(one).sum(-1) * np.square(other).sum(-1))
    return np.divide((one * other).sum(-1), scale, out=np.zeros(scale.shape), where=scale > 0)


def sharing_row(says: Written, images: Recognised, seed: int = 0) -> dict[str, float]:
    """Whether failures share their value vector with other classes (A16): the mean share of the
    other classes that have the same first key neuron, of images that are misclassified minus of
    others.

    Returns:
        ``value, low, high``, with :func:`gap_draws`' percentile interval over classes; ``chance``
        and ``low_chance``, the 97.5 and 2.5 % quantiles when the classes' shares are dealt anew
        among the classes, ``p`` (two-sided), ``failures, successes`` (mean shares), ``shared``
        (share of classes that share theirs at all) and ``wrong`` (failures in all).  NaN where all
        images are misclassified, or none, and of fewer than two classes.
    """
    sharers = sharing(torch.from_numpy(says.best)).numpy() / max(1, len(says.best) - 1)
    labels, wrong = images.labels, ~images.right

    def gap(own: np.ndarray) -> float:
        return own[labels][wrong].mean() - own[labels][~wrong].mean()

    if wrong.all() or not wrong.any() or len(sharers) < 2:
        ends = dict.fromkeys(("value", "low", "high", "chance", "low_chance"), np.nan)
        return {**ends, "p": 1.0, "failures": np.nan, "successes": np.nan,
                "shared": (sharers > 0).mean(), "wrong": int(wrong.sum())}
    value, rng = gap(sharers), np.random.default_rng(seed)
    dealt = np.array([gap(rng.permutation(sharers)) for _ in range(PERMUTATIONS)])
    # what rounding sets apart ties
    tail = min((dealt >= value - ROUNDING).sum(), (dealt <= value + ROUNDING).sum())
    return {**percentile_row(value, gap_draws(sharers, images, seed)),
            "chance": np.quantile(dealt, 0.975),
            "low_chance": np.quantile(dealt, 0.025),
            "p": min(1.0, 2 * (1 + tail) / (1 + PERMUTATIONS)),
            "failures": sharers[labels][wrong].mean(), "successes": sharers[labels][~wrong].mean(),
            "shared": (sharers > 0).mean(), "wrong": int(wrong.sum())}


def gap_draws(sharers: Float[np.ndarray, "class"], images: Recognised, seed: int = 0,
              resamples: int = RESAMPLES) -> Float[np.ndarray, "resample"]:
    """The gap of :func:`sharing_row` when classes are drawn with replacement, each with all of its
    images and with its share as among all classes; resamples without a misclassified image, or
    without another, are left out."""
    classes = len(sharers)
    wrong, right = (np.bincount(images.labels[own], minlength=classes)
                    for own in (~images.right, images.right))
    drawn = np.random.default_rng(seed).multinomial(classes, np.full(classes, 1 / classes),
                                                    resamples)
    told = (drawn @ wrong > 0) & (drawn @ right > 0)
    failures, successes = (drawn[told] @ (own * sharers) / (drawn[told] @ own)
                           for own in (wrong, right))
    return failures - successes
