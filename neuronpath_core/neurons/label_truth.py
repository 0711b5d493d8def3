"""Whether labels are true: on images that had no part in choosing them, and under changes of what
they name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from neuronpath_core.stats.intervals import TAILS
from neuronpath_core.stats.ranks import aurocs, ranks

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

PERMUTATIONS = 999


def predicted(scores: Float[np.ndarray, "block neuron image"],
              present: Bool[np.ndarray, "concept image"]
              ) -> Float[np.ndarray, "block neuron concept"]:
    """Area under the ROC curve with which each concept's presence predicts each neuron's score of
    the image; ``nan`` of concepts that all images have, or none."""
    return np.stack([aurocs(own, np.asarray(present).T) for own in scores])


def influences(scores: Float[np.ndarray, "neuron image"], inside: Bool[np.ndarray, "image"],
               among: Float[np.ndarray, "neuron image"] | None = None
               ) -> Float[np.ndarray, "neuron image"]:
    """How much each image moves the area under the ROC curve (DeLong et al., 1988): the variance of
    an area, or of any weighted sum of areas of the same images, is the sum of the squares.

    Args:
        scores: of every image.
        inside: which images have what the scores are to tell.
        among: the scores' ranks, if they are known.

    Raises:
        ValueError: all images inside, or none.
    """
    inside = np.asarray(inside, bool)
    if inside.all() or not inside.any():
        raise ValueError(f"{int(inside.sum())} of {len(inside)} images inside; accepted: at least "
                         "one inside and one outside")
    scores, first, second = np.asarray(scores, float), inside.sum(), (~inside).sum()
    among = ranks(scores) if among is None else among
    found = np.empty(scores.shape)
    found[:, inside] = (among[:, inside] - ranks(scores[:, inside])) / second
    found[:, ~inside] = 1 - (among[:, ~inside] - ranks(scores[:, ~inside])) / first
    area = found[:, inside].mean(1, keepdims=True)
    return (found - area) / np.where(inside, first, second)


def own_and_dealt(table: Float[np.ndarray, "block neuron concept"],
                  labels: Int64[np.ndarray, "block neuron"]
                  ) -> tuple[Float[np.ndarray, "labelled"], Float[np.ndarray, "labelled"]]:
    """The table's value at each neuron's own label, and its mean over the labels of its block, as
    they would be dealt at random; of labelled neurons alone, and of those that have a value.

    Args:
        table: any measure; ``nan`` where it is not known, such as for labels of every image.
        labels: -1 of neurons without one.
    """
    pairs = [(own[known, given[known]], np.take(own[known], given[known], 1).mean(1))
             for own, given, known in _known(table, labels) if known.any()]
    first, second = (np.concatenate([np.zeros(0), *(pair[side] for pair in pairs)])
                     for side in (0, 1))
    return first, second


def _known(table: np.ndarray, labels: np.ndarray):
    """Of each block the table, the labels, and which neurons have one that the table knows."""
    measured = ~np.isnan(table).all((0, 1))
    for own, given in zip(table, labels, strict=True):
        yield own, given, (given >= 0) & measured[given] & ~np.isnan(own[:, measured]).any(1)


def dealt_means(table: Float[np.ndarray, "block neuron concept"],
                labels: Int64[np.ndarray, "block neuron"], permutations: int = PERMUTATIONS,
                seed: int = 0) -> Float[np.ndarray, "permutation"]:
    """The mean of the table over neurons when labels are dealt anew within each block."""
    rng = np.random.default_rng(seed)
    blocks = [(own[known].ravel(), np.arange(known.sum()) * own.shape[1], given[known])
              for own, given, known in _known(table, labels) if known.any()]
    count = sum(len(given) for *_, given in blocks)
    return np.array([sum(own.take(rows + rng.permutation(given)).sum()
                         for own, rows, given in blocks) / count for _ in range(permutations)])


def truth_row(table: Float[np.ndarray, "block neuron concept"],
              labels: Int64[np.ndarray, "block neuron"], permutations: int = PERMUTATIONS,
              seed: int = 0) -> dict[str, float]:
    """``own``: mean over neurons of the table at their labels; ``dealt``: the same of labels dealt
    within blocks; ``value``: the difference; ``chance``: the 97.5 % quantile of the differences
    that dealing gives; ``p``, one-sided; ``neurons``.  Without labelled neurons all ``nan``."""
    own, dealt = own_and_dealt(table, labels)
    if not len(own):
        return {**dict.fromkeys(("own", "dealt", "value", "chance", "p"), float("nan")),
                "neurons": 0}
    means = dealt_means(table, labels, permutations, seed)
    value = own.mean()
    return {"own": float(value), "dealt": float(dealt.mean()),
            "value": float(value - dealt.mean()),
            "chance": float(np.quantile(means, TAILS[1]) - dealt.mean()),
            "p": float((1 + (means >= value).sum()) / (1 + len(means))), "neurons": len(own)}


def prediction_rows(scores: Float[np.ndarray, "block neuron image"],
                    present: Bool[np.ndarray, "concept image"],
                    labels: Sequence[Int64[np.ndarray, "block neuron"]],
                    seed: int = 0) -> list[dict[str, float]]:
    """For each of several labellings :func:`truth_row` of :func:`predicted`, with ``low`` and
    ``high``: the 95 % interval of the difference over images, by the sums of their influences on
    every neuron's areas."""
    table = predicted(scores, present)
    moved = _influences_of(table, scores, present, labels)
    rows = [truth_row(table, own, seed=seed) for own in labels]
    return [{**row, **_interval(row["value"], own)} for row, own in zip(rows, moved, strict=True)]


def prediction_row(scores: Float[np.ndarray, "block neuron image"],
                   present: Bool[np.ndarray, "concept image"],
                   labels: Int64[np.ndarray, "block neuron"], seed: int = 0) -> dict[str, float]:
    """:func:`prediction_rows` of one labelling."""
    return prediction_rows(scores, present, [labels], seed)[0]


def prediction_influences(scores: Float[np.ndarray, "block neuron image"],
                          present: Bool[np.ndarray, "concept image"],
                          labels: Int64[np.ndarray, "block neuron"]
                          ) -> Float[np.ndarray, "image"]:
    """How much each image moves ``value`` of :func:`prediction_row`."""
    return _influences_of(predicted(scores, present), scores, present, [labels])[0]


def _influences_of(table: np.ndarray, scores: np.ndarray, present: np.ndarray,
                   labels: Sequence[np.ndarray]) -> Float[np.ndarray, "labelling image"]:
    """:func:`prediction_influences` of several labellings, of which the most there is to do, the
    influences on each neuron's areas, is the same."""
    present, count = np.asarray(present), np.zeros(len(labels), int)
    moved = np.zeros((len(labels), scores.shape[-1]))
    known = [list(_known(table, own)) for own in labels]
    for block, own in enumerate(scores):
        given = [(each[block][1], each[block][2]) for each in known]
        count += [int(rows.sum()) for _, rows in given]
        among = ranks(own)
        for concept in np.unique(np.concatenate([named[rows] for named, rows in given])):
            moves = influences(own, present[concept], among)
            for place, (named, rows) in enumerate(given):
                chosen = rows & (named == concept)
                if chosen.any():
                    moved[place] += (moves[chosen].sum(0)
                                     - chosen.sum() / rows.sum() * moves[rows].sum(0))
    return moved / np.maximum(count, 1)[:, None]


def prediction_gap(scores: Float[np.ndarray, "block neuron image"],
                   present: Bool[np.ndarray, "concept image"],
                   first: Int64[np.ndarray, "block neuron"],
                   second: Int64[np.ndarray, "block neuron"], seed: int = 0) -> dict[str, float]:
    """How much better the first labels predict scores than the second do: ``value, low, high`` of
    the difference on the same images, and ``first`` and ``second``."""
    table, both = predicted(scores, present), (first, second)
    values = [truth_row(table, own, 1, seed)["value"] for own in both]
    moves = _influences_of(table, scores, present, both)
    return {"first": values[0], "second": values[1],
            **_interval(values[0] - values[1], moves[0] - moves[1])}


def _interval(value: float, moved: Float[np.ndarray, "image"]) -> dict[str, float]:
    half = float(stats.norm.ppf(TAILS[1]) * np.sqrt((moved ** 2).sum()))
    return {"value": value, "low": value - half, "high": value + half}
