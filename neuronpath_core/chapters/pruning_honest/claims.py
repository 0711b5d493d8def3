"""Results of the pruning comparison: intervals over images and over splits, paired leads, the
label's share, and the claims of Figure 6."""

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


def kept_by_splits(sizes: pd.DataFrame, top: int, margin: float = MARGIN) -> str:
    """Of the models that keep their accuracy as published, in how many the interval over splits
    lies above ``-margin`` as well: ``1 of 2``.  ``sizes`` is of :func:`size_effects`."""
    own = sizes[(sizes["top"] == top) & (sizes["mask"] == OWN) & (sizes["tokens"] != EVERYWHERE)
                & (sizes["verdict"] == "agrees")]
    return f"{(own['split_low'] > -margin).sum()} of {len(own)}"


def control_text(rows: pd.DataFrame) -> str:
    """How much accuracy changes from model to model, with how many keep it: ``-59 to -7 points;
    kept in 0 of 4 models``."""
    kept = int((rows["verdict"] == "agrees").sum())
    span = f"{100 * rows['value'].min():+.0f} to {100 * rows['value'].max():+.0f} points"
    return f"{span}; kept in {kept} of {len(rows)} models".replace("-", "\u2212")


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


def comparison_claims(leads: pd.DataFrame, sizes: pd.DataFrame, settings: pd.DataFrame,
                      leaks: pd.DataFrame, top: int, margin: float = MARGIN) -> pd.DataFrame:
    """Figure 6's claim and the reviewers' question, over all models: ``key, claim, text`` (smallest
    and largest effect), ``tally``, ``agree`` and ``contradict`` (how many of how many),
    ``verdict``.

    The tables are those of :func:`path_leads`, :func:`size_effects`, :func:`setting_effects` and
    :func:`~neuronpath_core.chapters.pruning_honest.leaks.leak_summary`; ``top`` is the published t.
    The verdict is that of every comparison, where they agree with one another, else ``"mixed"``.
    """
    few = sizes[sizes["top"] == top]
    largest = sizes[(sizes["top"] == sizes["top"].max()) & (sizes["mask"] == ONE)
                    & (sizes["tokens"] == EVERYWHERE)]
    free = leads[(leads["mask"] == ONE) & (leads["tokens"] == EVERYWHERE)]
    within = f"accuracy within {100 * margin:.0f} points of the whole model's"
    tokens, label = (settings[(settings["effect"] == effect) & (settings["top"] == top)]
                     for effect in ("tokens", "label"))
    tells = ("The mask tells the class: under another class's mask that class is predicted more "
             "often than the others")
    wanted = [
        ("published", f"{top} neurons per block, each class its own, all others zeroed at the "
                      f"scope alone: {within}",
         few[(few["mask"] == OWN) & (few["tokens"] != EVERYWHERE)]),
        ("honest", f"The same with one mask for all images, at all tokens: {within}",
         few[(few["mask"] == ONE) & (few["tokens"] == EVERYWHERE)]),
        ("largest", f"One mask for all images, at all tokens, {sizes['top'].max()} neurons per "
                    f"block: {within}", largest),
        ("tokens", f"Masks at the scope alone flatter: at all tokens accuracy is lower ({top} "
                   f"kept, one mask for all)", tokens[tokens["at"] == ONE]),
        ("label", f"The label in the mask adds accuracy over one mask for all ({top} kept, at the "
                  f"scope alone)", label[label["at"] != EVERYWHERE]),
        *((key, f"{words} ({top} kept, at {where})",
           leaks[(leaks["measure"] == measure) & ((leaks["tokens"] == EVERYWHERE) == everywhere)])
          for key, measure, words, where, everywhere in (
            ("label gain", "label gain", "The true class's mask gives more accuracy than the "
                                         "predicted class's", "the scope alone", False),
            ("leak", "leak", tells, "the scope alone", False),
            ("leak everywhere", "leak", "The same", "all tokens", True))),
        *((f"against {other}", f"At equal size the path keeps more accuracy than {other} (one "
                               f"mask for all, all tokens)", free[free["against"] == other])
          for other in dict.fromkeys(free["against"])),
    ]
    rows = []
    for key, claim, found in wanted:
        found = found.reset_index(drop=True)
        verdicts = list(found["verdict"]) if "verdict" in found else [report.verdict(row)
                                                                      for row in found.to_dict(
            "records")]
        ends = [report.points_text(found.loc[place])
                for place in dict.fromkeys((found["value"].idxmin(), found["value"].idxmax()))]
        rows.append({"key": key, "claim": claim, "text": " to ".join(ends),
                     "tally": report.tally(verdicts),
                     "agree": f"{verdicts.count('agrees')} of {len(verdicts)}",
                     "contradict": f"{verdicts.count('contradicts')} of {len(verdicts)}",
                     "verdict": verdicts[0] if len(set(verdicts)) == 1 else "mixed"})
    return pd.DataFrame(rows)


def published_and_honest(summary: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Of :func:`comparison_summary` what the main figure shows: masks of the own class at the scope
    and one for all at all tokens; and the whole models."""
    whole = summary["kept"] == WHOLE
    published = (summary["mask"] == OWN) & (summary["tokens"] != EVERYWHERE)
    honest = (summary["mask"] == ONE) & (summary["tokens"] == EVERYWHERE)
    return (pd.concat([summary[published & ~whole], summary[honest & ~whole]], ignore_index=True),
            summary[whole].drop_duplicates(["data", "model"]))


def finding(sizes: pd.DataFrame, top: int, measure: str = "accuracy") -> str:
    """The main figure in a sentence: what ``top`` neurons a block cost as published, and at all
    tokens with one mask for all.

    Args:
        sizes: of :func:`size_effects`.
        measure: what they are effects on, in words.
    """
    few = sizes[sizes["top"] == top]
    published = few[(few["mask"] == OWN) & (few["tokens"] != EVERYWHERE)]["value"]
    honest = few[(few["mask"] == ONE) & (few["tokens"] == EVERYWHERE)]["value"]
    spans = [f"{100 * values.min():+.0f} to {100 * values.max():+.0f} points"
             for values in (published, honest)]
    text = (f"With {top} neurons a block {measure} changes by {spans[0]} as published, by "
            f"{spans[1]} with one mask for all at all tokens")
    return text.replace("-", "−")  # a line may break behind a hyphen


def _both_intervals(row: Mapping[str, float]) -> str:
    """The effect in points, its interval over images, and that over splits, which ends at 100
    either way; a dash where all splits gave the same number, whose interval has no width."""
    low, high = (100 * min(1.0, max(-1.0, row[name])) for name in ("split_low", "split_high"))
    over_splits = f"[{low:+.1f}, {high:+.1f}]" if high - low > 1e-9 else "–"
    return f"{report.points_text(row, unit='')}; {over_splits}"


def effect_table(effects: pd.DataFrame, index: list[str]) -> pd.DataFrame:
    """Effects of :func:`size_effects` or :func:`setting_effects` for reading: a column per number
    of kept neurons."""
    text = [_both_intervals(row) for row in effects.to_dict("records")]
    wide = effects.assign(text=text).pivot_table(index=index, columns="top", values="text",
                                                 aggfunc="first", sort=False)
    return wide.rename(columns=lambda top: f"{top} kept")


def lead_table(leads: pd.DataFrame) -> pd.DataFrame:
    """:func:`path_leads` for reading, one kind of mask and tokens: a column per model, with an
    asterisk behind what is left after Holm's correction."""
    text = [_both_intervals(row) + " *" * (row["verdict"] != "not shown")
            for row in leads.to_dict("records")]
    wide = leads.assign(text=text).pivot_table(index=["against", "top"], columns=["data", "model"],
                                               values="text", aggfunc="first", sort=False)
    return wide.rename_axis(index={"top": "kept"})
