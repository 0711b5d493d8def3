r"""Why images that are made after the activation function fail: GELU has no slope far below zero,
and the wrong one from there to its minimum.

GELU falls until -0.75 and rises from there on.  A neuron whose pre-activation lies below has a
slope that is negative, at -2 already small, and its gradient says to make it lower still.  Whether
that happens can be said before an image is made, from the neuron's mean pre-activation on the first
image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.chapters.stimuli.made import Maker
from neuronpath_core.neurons.objectives import Objective, driven, goals_of
from neuronpath_core.neurons.spectrum import high_share
from neuronpath_core.stats.intervals import members, percentile_row, resampled
from neuronpath_core.stats.ranks import auroc
from neuronpath_core.stats.tests import shuffled_labels

if TYPE_CHECKING:
    from jaxtyping import Float

LOWS = 9  # ranks, after the first, among which a neuron is chosen that begins low
MINIMUM = -0.7518  # where GELU is least
HALF = 0.5  # of what the other way reaches; an image that reaches less has failed
QUARTILES = ("lowest quarter", "second", "third", "highest quarter")
PERMUTATIONS = 1000


@dataclass(frozen=True)
class BothWays:
    """Images of the same neurons, made before and after the activation function.

    Attributes:
        rows: a row a neuron, of :func:`neuron_rows`.
        before, after: the images.
    """

    rows: pd.DataFrame
    before: Float[Tensor, "neuron channel height width"]
    after: Float[Tensor, "neuron channel height width"]


def both_ways(own: Maker, lows: int = LOWS) -> BothWays:
    """Images, made both ways, of the best value neuron of each class and of one that begins low."""
    objectives = [*own.neurons(), *low_neurons(own, lows)]
    classes = np.tile(own.classes.numpy(), 2)
    before, after = (own.make(objectives, at=at) for at in ("pre", "post"))
    start = _repeated(before.start, len(objectives))
    values = {name: own.value(images, objectives) for name, images in
              (("start", start), ("before", before.images), ("after", after.images))}
    slopes = slope(own, start, objectives)
    return BothWays(neuron_rows(classes, values, slopes, before.images, after.images),
                    before.images, after.images)


def low_neurons(own: Maker, lows: int = LOWS) -> list[Objective]:
    """Of the next best value neurons of each class the one with the lowest mean pre-activation on
    the first image; by chance few of the best begin where the activation function is flat.

    Args:
        own: with at least two ranks of best value neurons.
        lows: how many ranks from the second on are looked at.
    """
    ranks = [own.neurons(1, rank) for rank in range(1, min(1 + lows, own.best.shape[1]))]
    first = own.make(ranks[0][:1], steps=1).start
    start = _repeated(first, len(own.best))
    lowest = np.stack([own.value(start, objectives) for objectives in ranks]).argmin(0)
    return [ranks[rank][number] for number, rank in enumerate(lowest)]


def _repeated(start: Tensor, count: int) -> Tensor:
    return start[:1].expand(count, *start.shape[1:])


def slope(own: Maker, images: Tensor, objectives: list[Objective]) -> Float[np.ndarray, "neuron"]:
    r"""How much the mean activation a grows with the mean pre-activation z, along the gradient of
    z: :math:`\langle\nabla a, \nabla z\rangle / \|\nabla z\|^2`.  With one token it is the slope of
    the activation function; negative, where a gradient of a drives the neuron down."""
    moved = images.detach().clone().requires_grad_()
    totals = []
    for at in ("pre", "post"):
        values, _ = driven(own.draft, moved, goals_of(own.draft, objectives, at=at), 1, at)
        (grown,) = torch.autograd.grad(values.sum(), [moved])
        totals.append(grown.flatten(1))
    before, after = totals
    return ((before * after).sum(1) / (before * before).sum(1)).double().cpu().numpy()


def neuron_rows(classes: np.ndarray, values: dict[str, np.ndarray], slopes: np.ndarray,
                before: Tensor, after: Tensor) -> pd.DataFrame:
    """A row a neuron: ``class``; ``start``, its mean pre-activation on the first image; ``slope``
    there; ``gain``, how much the image made before raised it; ``reached``, what share of that the
    image made after did; ``failed``, whether less than half; ``failed_before``, whether the image
    made before reached less than half of what the other did; ``high_before``, ``high_after``, the
    shares of fine detail; ``quartile`` of ``start``."""
    gain, other = (values[name] - values["start"] for name in ("before", "after"))
    with np.errstate(divide="ignore", invalid="ignore"):
        reached = np.where(gain > 0, other / gain, np.nan)
    return pd.DataFrame({
        "class": classes, "start": values["start"], "slope": slopes, "gain": gain,
        "reached": reached, "failed": other < HALF * gain, "failed_before": gain < HALF * other,
        "high_before": high_share(before.double()).cpu().numpy(),
        "high_after": high_share(after.double()).cpu().numpy(),
        "quartile": quartiles(values["start"])})


def quartiles(values: Float[np.ndarray, "neuron"]) -> np.ndarray:
    """The quarter of each value, in words; ties fall in the order that they come in."""
    place = np.empty(len(values), int)
    place[np.argsort(values, kind="stable")] = np.arange(len(values))
    return np.array(QUARTILES)[place * 4 // len(values)]


def failure_row(rows: pd.DataFrame, seed: int = 0) -> dict[str, float]:
    """The share of neurons whose image fails after the activation minus the share whose image fails
    before it: ``value, low, high`` with a bootstrap over ``n`` classes, ``after``, ``before``, and
    ``finer``, how much larger the share of fine detail is."""
    differences = rows["failed"].to_numpy(float) - rows["failed_before"].to_numpy(float)
    found = _over_classes(rows, lambda places: differences[places].mean(), seed)
    return {**found, "after": rows["failed"].mean(), "before": rows["failed_before"].mean(),
            "finer": (rows["high_after"] - rows["high_before"]).mean()}


def prediction_row(rows: pd.DataFrame, seed: int = 0) -> dict[str, float] | None:
    """How well the first mean pre-activation tells failures from the others: the area under the ROC
    curve minus one half, at most 0.5, where all failures begin lower: ``value, low, high`` with a
    bootstrap over ``n`` classes; ``p`` of exchanged neurons (two-sided); ``falling`` and
    ``falling_others``, which shares of the failures and of the others begin below GELU's minimum.

    Returns:
        ``None`` where all fail or none does.
    """
    start, failed = rows["start"].to_numpy(), rows["failed"].to_numpy(bool)
    if failed.all() or not failed.any():
        return None

    def area(flags: np.ndarray, places: np.ndarray | slice = slice(None)) -> float:
        return area_below(start[places], flags[places]) - 0.5

    found = _over_classes(rows, lambda places: area(failed, places), seed)
    value, dealt = shuffled_labels(area, failed, PERMUTATIONS, seed)
    return {**found, "p": (1 + int((np.abs(dealt) >= abs(value) - 1e-12).sum())) / (1 + len(dealt)),
            "falling": (start[failed] < MINIMUM).mean(),
            "falling_others": (start[~failed] < MINIMUM).mean()}


def area_below(values: Float[np.ndarray, "neuron"], flags: np.ndarray) -> float:
    """The area under the ROC curve by which lower values tell the flagged ones: the share of pairs
    of a flagged and another one in which the flagged is lower, ties one half; NaN without both."""
    return auroc(-values, flags)


def _over_classes(rows: pd.DataFrame, statistic, seed: int) -> dict[str, float]:
    """A statistic of rows with an interval that draws classes, each with all of its neurons."""
    groups = members(rows["class"])
    draws = resampled(lambda drawn: statistic(np.concatenate([groups[each] for each in drawn])),
                      [np.arange(len(groups))], 1000, seed)
    return {**percentile_row(statistic(np.arange(len(rows))), draws[np.isfinite(draws)]),
            "n": len(groups)}


def quartile_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """By quarter of the first mean pre-activation: ``quartile, neurons, start, slope, failed,
    reached, high_before, high_after``, means."""
    grouped = rows.groupby("quartile")
    found = grouped[["start", "slope", "failed", "reached", "high_before", "high_after"]].mean()
    found.insert(0, "neurons", grouped.size())
    return found.reindex([name for name in QUARTILES if name in found.index]).reset_index()
