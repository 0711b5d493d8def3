"""More than one neuron, more than one copy, other weights, other spectra: what each does for a
class that one neuron's image fails or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import Tensor

from neuronpath_core.chapters.stimuli.judged import Judges, class_rows
from neuronpath_core.chapters.stimuli.made import BEST, Made, Maker, best_as_published
from neuronpath_core.stats.intervals import interval_row, stratified_row
from neuronpath_core.stats.tests import shuffled_labels

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

DIVERSITY = 0.01  # as the authors' jobs pass it
AGAIN = "one neuron, another start"
ONE, ONE_APART = "one neuron", "one neuron, copies pushed apart"
MANY, MANY_APART = "several neurons", "several neurons, copies pushed apart"
SCORE, SOFTMAX = "several neurons, weighted by score", "several neurons, weighted by softmax"
NORMED, BIASED = "one neuron, as published", "one neuron, value with bias"
PHASE = "one neuron, phase alone"
ALL, GOOD, BAD = "all", "recognised with one neuron", "not recognised with one neuron"


def make_variants(made: Made, count: int,
                  copies: int) -> dict[str, Float[Tensor, "class copy *image"]]:
    """Images of each class under every condition of this module, ``(class, copy, channel, height,
    width)``; one copy unless copies are pushed apart."""
    own = made.maker
    one, many = own.neurons(), own.neurons(count)
    apart = {"copies": copies, "diversity": DIVERSITY}
    stimuli = {
        AGAIN: own.make(one, seed=own.seed + 1), ONE_APART: own.make(one, **apart),
        MANY: own.make(many), MANY_APART: own.make(many, **apart),
        SCORE: own.make(many, weights="score"), SOFTMAX: own.make(many, weights="softmax"),
        PHASE: own.make(one, parameterisation="magnitude"),
        NORMED: own.make(best_as_published(own)),
        BIASED: own.make(best_as_published(own, bias=True))}
    return {ONE: made.images[BEST][:, None],
            **{name: each.copies for name, each in stimuli.items()}}


def variant_rows(own: Maker, judges: Judges,
                 images: Mapping[str, Float[Tensor, "class copy *image"]]) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.stimuli.judged.class_rows` of every condition, means over an
    image's copies, with ``condition``."""
    parts = []
    for name, made in images.items():
        classes = own.classes.repeat_interleave(made.shape[1])
        rows = class_rows(own.target, judges, made.flatten(0, 1), classes)
        parts.append(rows.groupby("class", as_index=False).mean().assign(condition=name))
    return pd.concat(parts, ignore_index=True)


def group_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """By condition and group of classes (all, those that one neuron's image is recognised of, the
    others): ``classes, own, transfer, high``, means."""
    good = rows[rows["condition"] == ONE].set_index("class")["own"] == 1
    groups = {ALL: good.index, GOOD: good.index[good], BAD: good.index[~good]}
    found = [{"condition": name, "group": group, "classes": len(chosen),
              **own[own["class"].isin(chosen)][["own", "transfer", "high"]].mean().to_dict()}
             for name, own in rows.groupby("condition", sort=False)
             for group, chosen in groups.items() if len(chosen)]
    return pd.DataFrame(found)


def rescue_rows(rows: pd.DataFrame, names: tuple[str, ...] = (MANY, ONE_APART, MANY_APART),
                seed: int = 0) -> pd.DataFrame:
    """Whether several neurons rescue classes that one fails, beyond what a second try with one
    neuron does: ``condition, group, value, low, high, n``, the share recognised minus that of
    ``AGAIN``, on the same classes; groups of one class have none.

    Classes are called failed by one try, and some of them would be recognised in a second: without
    this control whatever is tried second rescues some, and loses some that were recognised.
    """
    table = rows.pivot(index="class", columns="condition", values="own")
    good = table[ONE] == 1
    found = []
    for name in names:
        for group, chosen in ((GOOD, good), (BAD, ~good)):
            gained = (table[name] - table[AGAIN])[chosen].to_numpy()
            if len(gained) > 1:
                found.append({"condition": name, "group": group,
                              **interval_row(gained, seed=seed), "n": len(gained),
                              "share": table.loc[chosen, name].mean(),
                              "again": table.loc[chosen, AGAIN].mean()})
    return pd.DataFrame(found, columns=["condition", "group", "value", "low", "high", "n", "share",
                                        "again"])


def gain_rows(rows: pd.DataFrame, pairs: Mapping[str, str], measure: str = "own",
              seed: int = 0) -> pd.DataFrame:
    """How much oftener one condition's images are recognised than another's, on the same classes:
    ``condition, against, value, low, high, n``."""
    table = rows.pivot(index="class", columns="condition", values=measure)
    return pd.DataFrame([
        {"condition": name, "against": other,
         **interval_row((table[name] - table[other]).to_numpy(), seed=seed), "n": len(table)}
        for name, other in pairs.items()])


def sharing_row(shared: Int64[np.ndarray, "class"], failed: Bool[np.ndarray, "class"],
                permutations: int = 5000, seed: int = 0) -> dict[str, float] | None:
    """Whether classes whose image fails share their value vector with more other classes: the mean
    share of the other classes that have the same neuron, failures minus successes.

    Returns:
        ``value``; ``low``, ``high``, its 95 % bootstrap interval over the classes that fail and
        over those that do not, NaN where one of them is alone; ``p``, two-sided, of the
        differences of exchanged classes, and ``chance``, their 97.5 % quantile; ``n``, ``failed``,
        ``shared``, how many classes there are, fail, and share their neuron.  ``None`` where all
        fail or none does.
    """
    failed = np.asarray(failed, bool)
    if failed.all() or not failed.any():
        return None
    part = np.asarray(shared) / (len(shared) - 1)

    def difference(flags: np.ndarray) -> float:
        return float(part[flags].mean() - part[~flags].mean())

    value, dealt = shuffled_labels(difference, failed, permutations, seed)
    p = (1 + int((np.abs(dealt) >= abs(value) - 1e-12).sum())) / (1 + permutations)
    kinds = part[failed], part[~failed]
    interval = (stratified_row(kinds, (1, -1), seed) if min(map(len, kinds)) > 1
                else {"low": np.nan, "high": np.nan})
    return {**interval, "value": value, "p": p,
            "chance": float(np.quantile(dealt, 0.975)), "n": len(part),
            "failed": int(failed.sum()), "shared": int((part > 0).sum())}


def another_neuron(own: Maker) -> dict[str, float]:
    """For what share of the classes each way to read value vectors finds another best neuron than
    the recommended one."""
    best = [tuple(map(int, each)) for each in own.best[:, 0].tolist()]
    return {name: float(np.mean([tuple(other[0]) != mine for other, mine in zip(
        found, best, strict=True)])) for name, found in (
            (NORMED, best_as_published(own)), (BIASED, best_as_published(own, bias=True)))}


def driven_rows(own: Maker, images: Tensor, rows: pd.DataFrame, count: int = 5) -> pd.DataFrame:
    """The images with the largest mean pre-activation: ``class, block, neuron, before, after``,
    the means before and after the activation function on the unchanged image, ``rank_after``, its
    rank by the latter (which the report ranks by), ``own`` and ``high`` of the rows."""
    objectives = own.neurons()
    before, after = (own.value(images, objectives, at) for at in ("pre", "post"))
    place = np.empty(len(after), int)
    place[np.argsort(-after, kind="stable")] = np.arange(1, len(after) + 1)
    neurons = own.best[:, 0].cpu().numpy()
    table = pd.DataFrame({"class": own.classes.numpy(), "block": neurons[:, 0] + 1,
                          "neuron": neurons[:, 1], "before": before, "after": after,
                          "rank_after": place})
    return table.merge(rows[["class", "own", "high"]], on="class").nlargest(count, "before")
