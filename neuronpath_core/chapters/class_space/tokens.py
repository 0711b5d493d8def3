"""How many tokens hold the class, from which block on, and how the class token compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from neuronpath_core.chapters.class_space.measured import Read
from neuronpath_core.readings.class_space import (
    ClassReading,
    chance,
    chance_of_one,
    logit_rises,
)
from neuronpath_core.stats.intervals import (
    interval_row,
    jackknife_row,
    percentile_row,
    resampled,
)
from neuronpath_core.stats.tests import shuffled_labels

if TYPE_CHECKING:
    from jaxtyping import Float

PERMUTATIONS = 999
CLS, IMAGE, RANDOM = "class token", "image tokens", "random weights"
STAGE_COLUMNS = ("stage", "rate", "accuracy", "curve", *(
    f"{kind}{end}" for kind in ("", "curve_") for end in ("value", "low", "high")))
THIRDS = ("first third", "middle third", "last third")


def rate_row(read: Read, twins: Sequence[ClassReading], seed: int = 0) -> dict[str, float]:
    """How many image tokens of the last block identify their class, and in how many images any.

    Returns:
        ``value, low, high``, the rate; ``chance``, 1/C; ``p`` and ``permuted``, the 97.5 % quantile
        when labels are dealt anew; ``random``, the mean rate of the networks with random weights;
        ``one``, the share of images with an identifying token, ``one_random`` of those networks and
        ``independent``, what it would be if tokens were independent; ``accuracy``.
    """
    identified, tokens = read.identified(), read.grid.patches
    first = read.patches(read.reading.first[-1])
    votes = np.stack([(first == label).mean(1) for label in range(read.reading.classes)], 1)
    labels = read.labels.cpu().numpy()
    value, dealt = shuffled_labels(lambda own: votes[np.arange(len(own)), own].mean(), labels,
                                   PERMUTATIONS, seed)
    without = [read.patches(twin.identified()[-1]) for twin in twins]
    return {**interval_row(identified.mean(1), seed=seed), "chance": 1 / read.reading.classes,
            "p": (1 + (dealt >= value).sum()) / (1 + len(dealt)),
            "permuted": np.quantile(dealt, 0.975),
            "random": float(np.mean([each.mean() for each in without])),
            "one": identified.any(1).mean(),
            "one_random": float(np.mean([each.any(1).mean() for each in without])),
            "independent": chance_of_one(identified.mean(), tokens),
            "accuracy": read.correct.mean()}


def summary_rows(read: Read, twins: Sequence[ClassReading], seed: int = 0) -> pd.DataFrame:
    """The effects that claims are made of, each the mean over images with its interval.

    Returns:
        ``measure, value, low, high``: ``rate`` (minus 1/C), ``random`` (minus the rate of random
        weights), ``one`` (an identifying token, minus a correct answer), ``depth`` (rank
        correlation of a block's number and the image tokens' mean identifiability), ``grown`` (mean
        over blocks, minus that of random weights), ``rises`` (share of tokens whose label's logit
        grows, minus one half) and, of models that classify from it, ``ahead`` (the class token's
        identifiability minus the image tokens', in the middle third of the blocks).
    """
    identified = read.identified().mean(1)
    value = read.patches(read.reading.identifiability("full"))
    without = np.mean([read.patches(twin.identified()[-1]).mean(1) for twin in twins], 0)
    level = np.mean([read.patches(twin.identifiability("full")).mean((0, 2)) for twin in twins], 0)
    curve = value.mean(2)
    effects = {
        "rate": identified - 1 / read.reading.classes,
        "random": identified - without,
        "one": read.identified().any(1) - read.correct.astype(float),
        "depth": _depth(curve),
        "grown": curve.mean(0) - level,
        "rises": read.patches(logit_rises(read.reading.logit)).mean((0, 2)) - 0.5}
    if read.has_cls:
        middle = thirds(len(curve))[1]
        cls = read.reading.identifiability("full")[..., 0]
        effects["ahead"] = (cls - curve)[middle].mean(0)
    return pd.DataFrame([{"measure": name, **interval_row(each, seed=seed)}
                         for name, each in effects.items()])


def thirds(blocks: int) -> list[slice]:
    """The first, middle and last third of the blocks."""
    ends = np.round(np.linspace(0, blocks, 4)).astype(int)
    return [slice(first, last) for first, last in zip(ends[:-1], ends[1:], strict=True)]


def _depth(curve: Float[np.ndarray, "block image"]) -> Float[np.ndarray, "image"]:
    """Spearman's correlation of each image's values with the block's number; 0 where all tie."""
    blocks = np.arange(len(curve))
    found = [stats.spearmanr(blocks, own).statistic if np.ptp(own) else 0.0 for own in curve.T]
    return np.array(found)


def spread_row(read: Read, seed: int = 0, resamples: int = 500) -> dict[str, float]:
    """How much more image tokens vary over images than the class token does: the standard deviation
    of identifiability over images, at each patch by itself, mean over patches and blocks, minus the
    class token's, mean over blocks; ``value, low, high`` over images.

    By one patch at a time, because all patches at once vary more for the mere reason that they are
    many places.
    """
    value = read.reading.identifiability("full")
    image = np.ascontiguousarray(read.patches(value))
    cls = np.ascontiguousarray(value[..., 0])

    def statistic(chosen: np.ndarray) -> float:
        return float(image[:, chosen].std(1).mean() - cls[:, chosen].std(1).mean())

    every = np.arange(len(read.correct))
    return percentile_row(statistic(every), resampled(statistic, [every], resamples, seed))


def curve_rows(read: Read, twins: Sequence[ClassReading], seed: int = 0) -> pd.DataFrame:
    """Identifiability after every block, as published: ``tokens, block, depth, value, low, high,
    chance``, mean over images with intervals; the random networks' as the mean of them all."""
    value = read.reading.identifiability()
    level = chance(read.reading.classes)
    kinds = {IMAGE: read.patches(value).mean(2),
             RANDOM: np.mean([read.patches(twin.identifiability()).mean(2) for twin in twins], 0)}
    if read.has_cls:
        kinds[CLS] = value[..., 0]
    rows = []
    for name, own in kinds.items():
        rows += curve(own, seed, tokens=name, chance=level)
    return pd.DataFrame(rows)


def curve(values: Float[np.ndarray, "block image"], seed: int = 0,
          **constant: object) -> list[dict]:
    """A row for each block: mean over images, and the percentile interval of images drawn anew, the
    same ones for all blocks."""
    draws = resampled(lambda chosen: values[:, chosen].mean(1), [np.arange(values.shape[1])],
                      1000, seed)
    return [{**constant, "block": block + 1, "depth": (block + 1) / len(values),
             **percentile_row(own.mean(), draws[:, block])} for block, own in enumerate(values)]


def rise_rows(read: Read, twins: Sequence[ClassReading], seed: int = 0) -> pd.DataFrame:
    """Share of image tokens whose label's logit grows from block to block, as ``curve`` gives it,
    from the second block on, with ``random``, that of the random networks."""
    own = read.patches(logit_rises(read.reading.logit)).mean(2)
    without = np.mean([read.patches(logit_rises(twin.logit)).mean((1, 2)) for twin in twins], 0)
    rows = pd.DataFrame(curve(own, seed)).assign(random=without)
    return rows.assign(block=rows["block"] + 1)


def training_rows(reads: Mapping[str, Read], seed: int = 0) -> pd.DataFrame:
    """Stages of one training beside each other, in their order: ``stage, rate, accuracy, curve``
    (identifiability of image tokens, mean over all blocks) and, from the second on, ``value, low,
    high``, how much the rate grew since the stage before, and ``curve_value, curve_low,
    curve_high``, the same of the curve; on the same images."""
    rows, before = [], None
    for stage, read in reads.items():
        own = {"": read.identified().mean(1),
               "curve_": read.patches(read.reading.identifiability("full")).mean((0, 2))}
        row = {"stage": stage, "rate": own[""].mean(), "curve": own["curve_"].mean(),
               "accuracy": read.correct.mean()}
        for name, values in own.items():
            grown = {"value": np.nan, "low": np.nan, "high": np.nan} if before is None else \
                interval_row(values - before[name], seed=seed)
            row |= {f"{name}{end}": each for end, each in grown.items()}
        rows.append(row)
        before = own
    return pd.DataFrame(rows)


def seed_row(first: Sequence[Read], second: Sequence[Read]) -> dict[str, float]:
    """The rate of one kind of trained model minus that of another, over seeds of training: ``value,
    low, high`` by the jackknife over trained models, ``first`` and ``second``, the mean rates, and
    ``models``, how many there are of both."""
    rates = [np.array([read.identified().mean() for read in reads]) for reads in (first, second)]
    row = jackknife_row(lambda one, other: rates[0][one].mean() - rates[1][other].mean(),
                        [len(each) for each in rates])
    return {**row, "first": rates[0].mean(), "second": rates[1].mean(),
            "models": sum(map(len, rates))}
