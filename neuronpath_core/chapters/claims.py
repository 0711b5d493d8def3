"""What the chapters' claims share: a table of words with its comparisons, and several comparisons
in two phrases."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import pandas as pd

from neuronpath_core.stats import report
from neuronpath_core.stats.claims import Claim, Comparison

# who makes a claim, as tables of words say it
THEIRS, OURS = "companion", "book"


def told(words: Mapping[str, tuple], rows: Mapping[str, tuple[Comparison, ...]],
         **shared: str) -> list[Claim]:
    """A claim for each row of a table of words.

    Args:
        words: key -> who makes the claim (:data:`THEIRS`, :data:`OURS`), its sentence, unit,
            control, rule and notebook's table; then, if some are not ``shared``, a dict of other
            fields of :class:`~neuronpath_core.stats.claims.Claim`.
        rows: key -> the comparisons.
        shared: fields that all claims have, such as ``finding``.

    Raises:
        ValueError: comparisons of other claims than the words are about.
    """
    if differ := sorted(set(words) ^ set(rows)):
        raise ValueError(f"words and comparisons are not of the same claims: {', '.join(differ)}; "
                         f"accepted: comparisons for each of {', '.join(words)}")
    return [Claim(**{**shared, **dict(*other)}, key=key, by=by, sentence=sentence, unit=unit,
                  control=control, rule=rule, table=table, comparisons=rows[key])
            for key, (by, sentence, unit, control, rule, table, *other) in words.items()]


def turned(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its effects, ``value`` and interval, the other way round."""
    return table.assign(value=-table["value"], low=-table["high"], high=-table["low"])


def spans(table: pd.DataFrame, by: str | list[str],
          digits: int | None = None) -> dict[Hashable, tuple[str, str]]:
    """Per group of ``by``, in the table's order: from where to where the column ``value`` goes, and
    the tally of the column ``verdict``.  Values are shares, and written in per cent, unless
    ``digits`` are asked for."""
    return {names: (f"{report.span_text(100 * own['value'], 1)} %" if digits is None
                    else report.span_text(own["value"], digits),
                    report.tally(list(own["verdict"])))
            for names, own in table.groupby(by, sort=False)}
