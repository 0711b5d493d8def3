"""Results of the pruning comparison: intervals over images and over splits, paired leads, the
label's share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from neuronpath_core.chapters.pruning_honest.comparison import (
    EVERYWHERE,
    NOTHING,
    ONE,
    OWN,
    PATH,
    PUBLISHED_SHARE,
    WHOLE,
)
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import interval_row, split_interval
from neuronpath_core.stats.tests import judged, sign_flip_test

MARGIN = 0.05  # of accuracy, within which it is called kept


def of_each(tables: Mapping[str, pd.DataFrame], summarise: Callable[..., pd.DataFrame],
            **settings) -> pd.DataFrame:
    """A summary of each data set's table, in one table; the column ``data`` names the data set."""
    return pd.concat([summarise(table, **settings).assign(data=name) for name,
                      table in tables.items()], ignore_index=True)


def _two_intervals(rows: pd.DataFrame, column: str, share: float, seed: int) -> dict[str, float]:
    """Mean over images with the interval over images, and the interval over splits; each image is
    first averaged over its splits."""
    low, high = split_interval(rows.groupby("split")[column].mean().to_numpy(), share)
    return {**interval_row(rows.groupby("image")[column].mean().to_numpy(), seed=seed),
            "split_low": low, "split_high": high}


def comparison_summary(table: pd.DataFrame, measure: str = "correct",
                       share: float = PUBLISHED_SHARE, seed: int = 0) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.pruning_honest.comparison.pruning_comparison` averaged over
    images, each first over its splits.

    Returns:
        ``model, mask, tokens, kept, top, value, low, high`` (interval over test images),
        ``split_low, split_high`` (over splits).
    """
    keys = ["model", "mask", "tokens", "kept", "top"]
    return pd.DataFrame([{**dict(zip(keys, names, strict=True)),
                          **_two_intervals(group, measure, share, seed)}
                         for names, group in table.groupby(keys, sort=False)])


def paired_effect(
    table: pd.DataFrame, first: Mapping[str, object], second: Mapping[str, object],
    measure: str = "correct", share: float = PUBLISHED_SHARE, seed: int = 0
) -> dict[str, float]:
    """``first - second``, two selections of one model's rows, paired by split and image:
    ``value, low, high, split_low, split_high, p``.

    p is that of the mean when the signs of the images' differences are flipped at random.
    """
    sides = []
    for wanted in (first, second):
        chosen = table[np.logical_and.reduce([table[name] == value for name,
                                              value in wanted.items()])]
        sides.append(chosen.set_index(["split", "image"])[measure])
    if sides[0].empty or not sides[0].index.is_unique or not sides[0].index.sort_values().equals(
            sides[1].index.sort_values()):
        raise ValueError(f"{dict(first)} and {dict(second)} must be measured on the same images "
                         f"in the same splits, each once")
    difference = (sides[0] - sides[1]).rename("difference").reset_index()
    row = _two_intervals(difference, "difference", share, seed)
    of_image = difference.groupby("image")["difference"].mean().to_numpy()
    return {**row, "p": sign_flip_test(of_image, seed)}


def path_leads(table: pd.DataFrame, measure: str = "correct", share: float = PUBLISHED_SHARE,
               seed: int = 0) -> pd.DataFrame:
    """How far keeping the path's neurons is ahead of every other criterion at the same t, paired
    over test images.

    Returns:
        ``model, mask, tokens, against, top, value, low, high, split_low, split_high, p, adjusted,
        verdict``.
        The family that Holm's correction covers is all rows of one model, mask and tokens; a lead
        whose adjusted p exceeds 0.05 is ``"not shown"``, whatever its own interval.
    """
    families = []
    for (model, mask, tokens), group in table[table["kept"]
                                              != WHOLE].groupby(["model", "mask", "tokens"],
                                                                sort=False):
        family = pd.DataFrame([
            {"model": model, "mask": mask, "tokens": tokens, "against": other, "top": top,
             **paired_effect(group, {"kept": PATH, "top": top}, {"kept": other, "top": top},
                             measure, share, seed)}
            for other in dict.fromkeys(group["kept"]) if other != PATH
            for top in dict.fromkeys(group["top"])])
        families.append(judged(family))
    return pd.concat(families, ignore_index=True)


def size_effects(table: pd.DataFrame, margin: float = MARGIN, measure: str = "correct",
                 share: float = PUBLISHED_SHARE, seed: int = 0, kept: str = PATH) -> pd.DataFrame:
    """The path's masks (or those of another criterion, ``kept``) against the whole model, per
    model, mask, tokens and t: does accuracy stay within ``margin``?

    Returns:
        ``model, mask, tokens, top, value`` (masked minus whole),
        ``low, high, split_low, split_high, p, verdict``: agrees if the whole interval lies above
        ``-margin``, contradicts if all of it lies below.
    """
    rows = []
    for model, group in table.groupby("model", sort=False):
        cells = group[group["kept"] == kept][["mask", "tokens", "top"]].drop_duplicates()
        for cell in cells.to_dict("records"):
            row = paired_effect(group, {"kept": kept, **cell}, {"kept": WHOLE}, measure, share,
                                seed)
            above = {name: row[name] + margin for name in ("low", "high")}
            rows.append({"model": model, **cell, **row, "verdict": report.verdict(above)})
    return pd.DataFrame(rows)


def control_sizes(tables: Mapping[str, pd.DataFrame], bare: Mapping[str, pd.DataFrame], top: int,
                  seed: int = 0) -> pd.DataFrame:
    """What the published setting leaves without the path: :func:`size_effects` of as many random
    neurons, each class its own, at the scope, and of no neuron at all there.

    Args:
        tables: of :func:`~neuronpath_core.chapters.pruning_honest.comparison.pruning_comparison`,
            by data set.
        bare: of :func:`~neuronpath_core.chapters.pruning_honest.comparison.nothing_kept`.
        top: t.

    Returns:
        the columns of :func:`size_effects`, ``data`` and ``kept``, ``"random"`` or ``NOTHING``.
    """
    parts = []
    for name, table in tables.items():
        random = table[(table["kept"] == WHOLE) | ((table["top"] == top) & (table["mask"] == OWN))]
        for kept, own in (("random", random),
                          (NOTHING, pd.concat([table[table["kept"] == WHOLE], bare[name]]))):
            found = size_effects(own, seed=seed, kept=kept)
            parts.append(found[found["tokens"] != EVERYWHERE].assign(data=name, kept=kept))
    return pd.concat(parts, ignore_index=True)


def setting_effects(table: pd.DataFrame, measure: str = "correct", share: float = PUBLISHED_SHARE,
                    seed: int = 0) -> pd.DataFrame:
    """What the tokens and the label do to the path's masks, paired over test images.

    Returns:
        ``model, effect, at, top, value, low, high, split_low, split_high, p, adjusted, verdict``:
        effect ``"tokens"`` is all tokens minus the scope, ``at`` a kind of mask, and agrees if it
        lowers the measure; ``"label"`` is own class minus one for all, ``at`` some tokens, and
        agrees if it raises it.  The family of Holm's correction is all rows of one model.
    """
    families = []
    for model, group in table[table["kept"] != WHOLE].groupby("model", sort=False):
        scope = next(tokens for tokens in group["tokens"] if tokens != EVERYWHERE)
        rows = []
        expected = []
        for top in dict.fromkeys(group["top"]):
            for effect, ats, ends, sign in (("tokens", (ONE, OWN), (EVERYWHERE, scope), -1),
                                            ("label", (scope, EVERYWHERE), (OWN, ONE), 1)):
                varied, fixed = ("tokens", "mask") if effect == "tokens" else ("mask", "tokens")
                for at in ats:
                    row = paired_effect(group, *({"kept": PATH, "top": top, fixed: at, varied: end}
                                                 for end in ends), measure, share, seed)
                    rows.append({"model": model, "effect": effect, "at": at, "top": top, **row})
                    expected.append(sign)
        families.append(judged(pd.DataFrame(rows), expected=expected))
    return pd.concat(families, ignore_index=True)
