"""Chapter 25 in words: its findings.

Tables are those of the other modules here, with ``data`` and ``model``.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from neuronpath_core.chapters.class_building.compared import OTHER_CLASSES, thirds
from neuronpath_core.chapters.class_building.curves import NAMES, read_tokens
from neuronpath_core.chapters.class_building.tables import Tables
from neuronpath_core.stats import report
from neuronpath_core.stats.tests import holm, permutation_verdict


def at_read(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the tokens that each model's head reads."""
    kept = [own[own["tokens"] == read_tokens(own)]
            for _, own in rows.groupby(["data", "model"], sort=False)]
    return pd.concat(kept, ignore_index=True)


def figure_levels(agreement: pd.DataFrame) -> pd.DataFrame:
    """What the figure of all models shows: ``data, model, measure, value, low, high`` at the tokens
    that each head reads; the rate with the interval of its lead over other classes, and the level
    of these."""
    own = at_read(agreement)
    own = own[own["against"] == OTHER_CLASSES]
    parts = []
    for half, name in NAMES.items():
        at = own[own["half"] == half]
        rate = at[["data", "model"]].assign(measure=f"{name}: the image's class", value=at["rate"],
                                            low=at["low"] + at["level"],
                                            high=at["high"] + at["level"])
        level = at[["data", "model"]].assign(measure=f"{name}: another class", value=at["level"],
                                             low=at["level"], high=at["level"])
        parts += [rate, level]
    return pd.concat(parts, ignore_index=True)


def rises(changes: pd.DataFrame, measure: str, column: str = "rate") -> Sequence[float]:
    """A column of one measure of ``compared.change_rows``, at the tokens that each head reads."""
    own = at_read(changes)
    return own.loc[own["measure"] == measure, column].tolist()


def published_late(tables: Tables, model: str) -> Sequence[float]:
    """The published rate of one model's FFN in the last third of its blocks, by data set."""
    found = []
    for (_, name), table in tables.items():
        if name == model:
            late = thirds(int(table["block"].max()))[2]
            at = table[(table["tokens"] == read_tokens(table)) & (table["half"] == "ffn")]
            found.append(at.loc[at["block"].isin(late), "change published"].mean())
    return found


def of_model(changes: pd.DataFrame, model: str, measure: str) -> Sequence[float]:
    """The rates of one model, by data set."""
    return rises(changes[changes["model"] == model], measure)


def finding(changes: pd.DataFrame, tables: Tables, model: str) -> str:
    """The main figure in a sentence."""
    ledger = report.percent_span(of_model(changes, model, "ffn late"))
    published = report.percent_span(published_late(tables, model))
    return (f"In the last blocks of {model} the FFN raises the image's class at {ledger} of the "
            f"tokens that the head reads; the published comparison says {published}")


def used(agreement: pd.DataFrame, half: str, column: str = "rate") -> Sequence[float]:
    """A column of ``compared.memory_rows`` against other classes, at the tokens that each head
    reads."""
    own = at_read(agreement)
    return own.loc[(own["half"] == half) & (own["against"] == OTHER_CLASSES), column].tolist()


def levels_finding(agreement: pd.DataFrame) -> str:
    """The figure of all models in a sentence."""
    return (f"The FFN's memories in use agree with the image's class at "
            f"{report.percent_span(used(agreement, 'ffn'))} of the tokens that are read, with "
            f"another class at {report.percent_span(used(agreement, 'ffn', 'level'))}")


def told(rows: pd.DataFrame, noun: str) -> str:
    """In how many rows the interval lies above zero, as a sentence goes on with it."""
    if rows.empty:
        return f"none of 0 {noun}"
    return report.in_words([report.verdict(row) for row in rows.to_dict("records")], noun)


def of_tokens(rows: pd.DataFrame, tokens: str) -> pd.DataFrame:
    """The rows of ``pooled.pooled_rows`` of one kind of token; of no rows none."""
    return rows[rows["tokens"] == tokens] if len(rows) else rows


def of_measure(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    """The rows of ``correctness.correctness_rows`` of one measure; of no rows none."""
    return rows[rows["measure"] == measure] if len(rows) else rows


def judged_similar(rows: pd.DataFrame) -> pd.DataFrame:
    """``values.similar_rows`` of all models with ``adjusted``, their p after Holm's correction, and
    ``verdict``."""
    rows = rows.assign(adjusted=holm(rows["p"].to_numpy(float)))
    return rows.assign(verdict=[permutation_verdict(row) for row in rows.to_dict("records")])


def joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables one under the other; of none an empty one with the columns of ``pooled.pooled_rows``.
    """
    columns = ["half", "tokens", "first", "second", "trained", "value", "low", "high", "data",
               "model"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
