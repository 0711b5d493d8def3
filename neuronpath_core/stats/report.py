"""How a number, an interval and a verdict are put into words, the same way on every page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from neuronpath_core.stats.intervals import jackknife_row

# not of a name or a range, such as tiny-B-16 and 5-95
_MINUS = re.compile(r"(?<![\w.,)\]])-(?=\.?\d)")
_PERCENT = re.compile(r"(?<=\d) %")


def typeset(text: str) -> str:
    """A sentence with minus signs in front of its numbers, and no line break before a per cent
    sign."""
    return _PERCENT.sub("\u00a0%", _MINUS.sub("\u2212", text))


def interval_text(row: Mapping[str, float], digits: int = 2, unit: str = "",
                  signed: bool = True) -> str:
    """``+1.23 points [+0.98, +1.47]``: value, unit and 95 % interval of a row with
    ``value, low, high``; a dash where there is no value (NaN)."""
    if row["value"] != row["value"]:
        return "–"
    sign = "+" if signed else ""
    # not without the sign of what rounds to zero: it says on which side of zero an interval ends,
    # and with it the verdict
    value, low, high = (f"{row[name]:{sign}.{digits}f}" for name in ("value", "low", "high"))
    return f"{value}{' ' + unit if unit else ''} [{low}, {high}]"


def points_text(row: Mapping[str, float], digits: int = 1, unit: str = "points",
                signed: bool = True) -> str:
    """:func:`interval_text` of a row of shares, in percentage points or, with this ``unit``,
    ``"%"``."""
    return interval_text({name: 100 * row[name] for name in ("value", "low", "high")}, digits, unit,
                         signed)


def over_models(values: Sequence[float], digits: int = 2, unit: str = "",
                signed: bool = True) -> str:
    """``+0.12 [+0.05, +0.19]``: the mean of an effect that several models have each, with its 95 %
    jackknife interval over the models; the mean alone of a single one, a dash of none."""
    known = np.array([each for each in values if each == each], float)
    if len(known) < 2:
        sign = "+" if signed else ""
        return f"{known[0]:{sign}.{digits}f}{' ' + unit if unit else ''}" if len(known) else "–"
    row = jackknife_row(lambda chosen: float(known[chosen].mean()), [len(known)])
    return interval_text(row, digits, unit, signed)


def span_text(values: Sequence[float], digits: int = 3) -> str:
    """``-0.012 to +0.345``: the smallest and the largest of several values."""
    return f"{min(values):+z.{digits}f} to {max(values):+z.{digits}f}"


def percent_span(values: Sequence[float]) -> str:
    """``31 to 62 %``: the smallest and the largest of several shares; one number where they
    round to the same, a dash where one is no number."""
    if any(share != share for share in values):
        return "–"
    low, high = (f"{100 * share:.0f}" for share in (min(values), max(values)))
    return f"{low} %" if low == high else f"{low} to {high} %"


def verdict(row: Mapping[str, float], expected: int = 1) -> str:
    """Whether an effect shows: its whole interval on the expected side of zero, on the other, or
    across it.

    Args:
        row: ``low`` and ``high``.
        expected: 1 if the paper found a positive effect, -1 if a negative one.
    """
    low, high = sorted((expected * row["low"], expected * row["high"]))
    return "agrees" if low > 0 else "contradicts" if high < 0 else "not shown"


def tally(verdicts: Sequence[str]) -> str:
    """``3 of 4 agree, 1 not shown``: the verdicts of several comparisons in one phrase."""
    counts = [(sum(each == name for each in verdicts), words) for name, words in
              (("agrees", "agree"), ("not shown", "not shown"), ("contradicts", "contradict"))]
    first, *others = counts
    return ", ".join([f"{first[0]} of {len(verdicts)} {first[1]}",
                      *(f"{count} {words}" for count, words in others if count)])


def agreeing(told: str) -> str:
    """``3 of 4``, for a sentence, of a :func:`tally` such as ``3 of 4 agree, 1 not shown``."""
    return told.partition(" agree")[0]


def in_words(verdicts: Sequence[str], noun: str = "models") -> str:
    """``7 of 8 models; the other is not shown``: a tally as a sentence goes on with it."""
    agree, open_, against = (sum(each == name for each in verdicts)
                             for name in ("agrees", "not shown", "contradicts"))
    if agree == len(verdicts):
        return f"{agree} of {agree} {noun}"
    rest = " and ".join(text for count, text in (
        (open_, f"{open_} {'is' if open_ == 1 else 'are'} not shown"),
        (against, f"{against} {'contradicts' if against == 1 else 'contradict'}")) if count)
    if open_ + against == 1:
        rest = rest.replace("1 ", "the other ", 1)
    return f"{agree} of {len(verdicts)} {noun}; {rest}"


def conclusion(rows: Sequence[tuple[str, str, str]], title: str = "The paper") -> pd.DataFrame:
    """The table that ends a chapter: what was found, claimed or asked (``title`` says which), what
    was measured here, whether they agree."""
    return pd.DataFrame(rows, columns=[title, "Measured here", "Agreement"]).set_index(title)
