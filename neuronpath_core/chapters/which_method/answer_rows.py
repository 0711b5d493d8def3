"""The questions of Chapter 21, how large what was measured is, and the tally."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.chapters.which_method.pair_changes import SMALL
from neuronpath_core.chapters.which_method.words import percent
from neuronpath_core.stats import report


def _correlation_apart(values: pd.Series) -> str:
    """``correlation lower by 0.32 to 0.69``: differences of a correlation in words."""
    low, high = sorted(abs(values.agg(["min", "max"])))
    if values.max() < 0 or values.min() > 0:
        return f"correlation {'lower' if values.max() < 0 else 'higher'} by {low:.2f} to {high:.2f}"
    return f"correlation different by {report.span_text(values, 2)}"


def answers(ahead: pd.DataFrame, ahead_default: pd.DataFrame, three: pd.DataFrame,
            ten: pd.DataFrame, one: pd.DataFrame, chance: pd.DataFrame, ranks: pd.DataFrame,
            asked: pd.DataFrame, asked_three: pd.DataFrame, asked_ten: pd.DataFrame,
            changes: pd.DataFrame, small: pd.DataFrame,
            permuted: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Questions, how large what was measured is, and the tally; the tables are those of
    :func:`~neuronpath_core.chapters.verdicts.which_method.made_from`."""
    def row(question: str, table: pd.DataFrame, form: str) -> tuple[str, str, str]:
        if table.empty:
            return question, "not measured", "–"
        values = table["value"]
        text = {"share": f"{percent(values.min())} to {percent(values.max())} of the effect",
                "points": f"{report.span_text(100 * values, 1)} points of probability",
                "correlation": _correlation_apart(values),
                "blocks": f"{report.span_text(100 * values, 0)} % of the blocks",
                "part": f"{report.percent_span(values)} of the outline's",
                "attribution": f"{report.span_text(values, 2)} of attribution"}[form]
        return question, text, report.tally(list(table["verdict"]))

    def of(measure: str) -> pd.DataFrame:
        return changes[changes["measure"] == measure]

    def zero(table: pd.DataFrame, wanted: bool = True) -> pd.DataFrame:
        return table[(table["replacement"] == "zero") == wanted] if len(table) else table

    return [
        row("Set to zero: do three gradients find paths with a larger effect than the published "
            "search's?", zero(ahead), "points"),
        row("Set to zero: does a single gradient?", zero(one), "points"),
        row("Set to other values, which the search is given too: do three gradients?",
            zero(ahead, False), "points"),
        row("Set to other values: does a single gradient?", zero(one, False), "points"),
        row("Three gradients against the default search, all replacements?", ahead_default,
            "points"),
        row("Three gradients against random neurons about as active, all replacements?", chance,
            "points"),
        row("Do three gradients reach 95 % of the best known effect, all replacements?", three,
            "share"),
        row("Do ten gradients reach 99 %?", ten, "share"),
        row("Does the refined search reach 99 % of the best of all paths, on toys?", small,
            "share"),
        row("Do scores do more than the same scores of permuted weights?", permuted, "points"),
        row("Does RelP rank single neurons better than gradient × activation, all replacements?",
            ranks, "correlation"),
        row("Does a path found for doubling or keeping do that better than one found for removal?",
            asked, "points"),
        row("Asked so, do three gradients reach 95 % of the best known effect?", asked_three,
            "share"),
        row("Do ten gradients reach 99 % of it?", asked_ten, "share"),
        row("Do pairs of outlines find other neurons than pairs of fills?", of("difference"),
            "blocks"),
        row("Do pairs of backgrounds find less than pairs of outlines?", of("less background"),
            "attribution"),
        row(f"Do they find less than {SMALL:.0%} of it?", of("background share"), "part"),
    ]
