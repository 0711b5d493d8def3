"""What Chapter 15 says of its rows, in sentences and tables."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from neuronpath_core.chapters.pruning_honest.comparison import EVERYWHERE, ONE, OWN, WHOLE
from neuronpath_core.chapters.pruning_honest.effect_rows import MARGIN
from neuronpath_core.chapters.pruning_honest.leaks import DIGITS
from neuronpath_core.stats import report


def kept_by_splits(sizes: pd.DataFrame, top: int, margin: float = MARGIN) -> str:
    """Of the models that keep their accuracy as published, in how many the interval over splits
    lies above ``-margin`` as well: ``1 of 2``. ``sizes`` is of
    :func:`~neuronpath_core.chapters.pruning_honest.effect_rows.size_effects`."""
    own = sizes[(sizes["top"] == top) & (sizes["mask"] == OWN) & (sizes["tokens"] != EVERYWHERE)
                & (sizes["verdict"] == "agrees")]
    return f"{(own['split_low'] > -margin).sum()} of {len(own)}"


def control_text(rows: pd.DataFrame) -> str:
    """How much accuracy changes from model to model, with how many keep it: ``-59 to -7 points;
    kept in 0 of 4 models``."""
    kept = int((rows["verdict"] == "agrees").sum())
    span = f"{100 * rows['value'].min():+.0f} to {100 * rows['value'].max():+.0f} points"
    return f"{span}; kept in {kept} of {len(rows)} models".replace("-", "\u2212")


def comparison_claims(leads: pd.DataFrame, sizes: pd.DataFrame, settings: pd.DataFrame,
                      leaks: pd.DataFrame, top: int, margin: float = MARGIN) -> pd.DataFrame:
    """Figure 6's claim and the reviewers' question, over all models: ``key, claim, text`` (smallest
    and largest effect), ``tally``, ``agree`` and ``contradict`` (how many of how many),
    ``verdict``.

    The tables are those of :func:`~neuronpath_core.chapters.pruning_honest.effect_rows.path_leads`,
    :func:`~neuronpath_core.chapters.pruning_honest.effect_rows.size_effects`,
    :func:`~neuronpath_core.chapters.pruning_honest.effect_rows.setting_effects` and
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
        digits = DIGITS.get(key.removesuffix(" everywhere"), 1)
        ends = [report.points_text(found.loc[place], digits)
                for place in dict.fromkeys((found["value"].idxmin(), found["value"].idxmax()))]
        rows.append({"key": key, "claim": claim, "text": " to ".join(ends),
                     "tally": report.tally(verdicts),
                     "agree": f"{verdicts.count('agrees')} of {len(verdicts)}",
                     "contradict": f"{verdicts.count('contradicts')} of {len(verdicts)}",
                     "verdict": verdicts[0] if len(set(verdicts)) == 1 else "mixed"})
    return pd.DataFrame(rows)


def published_and_honest(summary: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Of :func:`~neuronpath_core.chapters.pruning_honest.effect_rows.comparison_summary` what the
    main figure shows: masks of the own class at the scope and one for all at all tokens; and the
    whole models."""
    whole = summary["kept"] == WHOLE
    published = (summary["mask"] == OWN) & (summary["tokens"] != EVERYWHERE)
    honest = (summary["mask"] == ONE) & (summary["tokens"] == EVERYWHERE)
    return (pd.concat([summary[published & ~whole], summary[honest & ~whole]], ignore_index=True),
            summary[whole].drop_duplicates(["data", "model"]))


def finding(sizes: pd.DataFrame, top: int, measure: str = "accuracy") -> str:
    """The main figure in a sentence: what ``top`` neurons a block cost as published, and at all
    tokens with one mask for all.

    Args:
        sizes: of :func:`~neuronpath_core.chapters.pruning_honest.effect_rows.size_effects`.
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
    """Effects of :func:`~neuronpath_core.chapters.pruning_honest.effect_rows.size_effects` or
    :func:`~neuronpath_core.chapters.pruning_honest.effect_rows.setting_effects` for reading: a
    column per number of kept neurons."""
    text = [_both_intervals(row) for row in effects.to_dict("records")]
    wide = effects.assign(text=text).pivot_table(index=index, columns="top", values="text",
                                                 aggfunc="first", sort=False)
    return wide.rename(columns=lambda top: f"{top} kept")


def lead_table(leads: pd.DataFrame) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.pruning_honest.effect_rows.path_leads` for reading, one kind
    of mask and tokens: a column per model, with an asterisk behind what is left after Holm's
    correction."""
    text = [_both_intervals(row) + " *" * (row["verdict"] != "not shown")
            for row in leads.to_dict("records")]
    wide = leads.assign(text=text).pivot_table(index=["against", "top"], columns=["data", "model"],
                                               values="text", aggfunc="first", sort=False)
    return wide.rename_axis(index={"top": "kept"})
