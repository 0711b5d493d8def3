"""Claims with the comparisons that speak for and against them, as a notebook hands them on.

A chapter ends by emitting its claims.  They are kept in the stored notebook as JSON, where the
book's pages of findings read them, and where a re-execution is compared with them.  What a claim's
comparisons amount to, Yes, Partly, No or Undecided, is decided elsewhere
(:mod:`~neuronpath_core.stats.grades`), so that a change of rule needs no notebook to run again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral
from typing import Any

import pandas as pd

from neuronpath_core.stats import report
from neuronpath_core.stats.rules import Rule

MIME = "application/vnd.neuronpath.claims+json"
VERDICTS = ("agrees", "not shown", "contradicts")
# what a claim is about: the masked autoencoder's inversion, one of the paper's five findings, what
# goes beyond the paper, what its published code does, or what a companion paper reports
FINDINGS = {"0": "Knowledge neurons", "1": "Finding 1: influential paths",
            "2": "Finding 2: the predicted probability", "3": "Finding 3: neurons of a class",
            "4": "Finding 4: similar classes", "5": "Finding 5: a few neurons suffice",
            "beyond": "Beyond the paper", "code": "The published code",
            "class space": "What tokens and memories say (Vilas et al., 2023)",
            "key neurons": "What single neurons mean (Allert et al., 2024)",
            "vision-language": "Neurons of a vision-language model (Xu et al., 2025)"}
BY = {"paper": "claimed by the paper", "companion": "claimed by a companion paper",
      "book": "asked by this book"}
# how an effect is taken over the units that it is of
STATISTICS = ("", "mean", "median")
# of the unit that an interval resamples or leaves out
OF = ("images", "classes", "trained models", "networks", "paths", "neurons", "scenes", "questions",
      "words")
# decimals that are kept: below the precision of any table, above that of the machine
KEPT_DECIMALS = 6


@dataclass(frozen=True)
class Comparison:
    """One measured effect, positive where it speaks for the claim, unless the claim's rule says
    otherwise.

    Args:
        data, model: what it was measured on.
        value: the effect, in the claim's unit.
        low, high: its 95 % interval; ``None`` where it has none.
        n: how many units (of the claim's ``of``) the interval is over.
        verdict: one of ``VERDICTS``.
        condition: under which it was measured, as an adverbial ("at the class token").
        against: what it was compared with, as a noun ("random neurons").
        chance: what the effect must exceed, the 97.5 % quantile of permutations, where the verdict
            is that of a permutation; else ``None``.
    """

    data: str
    model: str
    value: float
    low: float | None
    high: float | None
    n: int
    verdict: str
    condition: str = ""
    against: str = ""
    chance: float | None = None

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict {self.verdict!r} of {self.data}, {self.model}; accepted: "
                             f"{', '.join(VERDICTS)}")
        if not math.isfinite(self.value):
            raise ValueError(f"the effect on {self.data}, {self.model} is {self.value}; accepted: "
                             f"a finite number")


@dataclass(frozen=True)
class Claim:
    """A sentence that can be true or false, and what was measured of it.

    Args:
        key: names it within its chapter.
        finding: one of ``FINDINGS``.
        sentence: the claim, without a full stop.
        comparisons: that were made; of none nothing is said, and the claim is not emitted.
        unit: of the effects, one of `neuronpath_core.stats.units.UNITS`.
        control: what could have refuted it.
        rule: how a comparison gets its verdict, and on which side of what it agrees.
        table: the notebook's variable that the effects are from; it finds the claim's section.
        by: who makes it, one of ``BY``.
        of: what ``n`` counts, one of ``OF``.
        statistic: of the ``n`` that an effect is, one of ``STATISTICS``; empty where there is none.
    """

    key: str
    finding: str
    sentence: str
    comparisons: tuple[Comparison, ...]
    unit: str
    control: str
    rule: Rule
    table: str
    by: str = "paper"
    of: str = "images"
    statistic: str = ""

    def __post_init__(self) -> None:
        for name, value, accepted in (("finding", self.finding, FINDINGS), ("by", self.by, BY),
                                      ("of", self.of, OF),
                                      ("statistic", self.statistic, STATISTICS)):
            if value not in accepted:
                raise ValueError(f"claim {self.key!r}: {name} {value!r}; accepted: "
                                 f"{', '.join(accepted)}")


def comparisons(table: pd.DataFrame, n: int | str, constant: Mapping[str, str] | None = None,
                **columns: str) -> tuple[Comparison, ...]:
    """A comparison per row of a chapter's table.

    Args:
        table: with columns ``value`` and ``verdict`` and, where there is an interval, ``low`` and
            ``high``.  A row without an effect (NaN) is left out: it compares nothing.
        n: how many units, of the claim's ``of``, the intervals are over, or the column that says
            so.
        constant: fields of :class:`Comparison` that are the same in all rows.
        columns: field of :class:`Comparison` -> the column that holds it.  Defaults: the column of
            the field's own name for ``data, model, value, low, high, verdict``.

    Raises:
        ValueError: a column that the table, if it has rows, lacks.
    """
    if table.empty:
        return ()
    same = {**(constant or {}), **({} if isinstance(n, str) else {"n": n})}
    named = {name: name for name in ("data", "model", "value", "verdict")} | {
        name: name for name in ("low", "high") if name in table} | (
        {"n": n} if isinstance(n, str) else {}) | columns
    named = {name: column for name, column in named.items() if name not in same}
    if lacking := sorted(set(named.values()) - set(table)):
        raise ValueError(f"no column {', '.join(lacking)} to compare by; accepted: "
                         f"{', '.join(map(str, table))}")
    rows = []
    for row in table.to_dict("records"):
        fields = {"low": None, "high": None, **same,
                  **{name: row[column] for name, column in named.items()}}
        for end in ("low", "high", "chance"):
            if pd.isna(fields.get(end)):
                fields[end] = None
        if pd.notna(fields["value"]):
            rows.append(Comparison(**fields))
    return tuple(rows)


def with_verdict(table: pd.DataFrame, expected: int = 1, threshold: float = 0.0) -> pd.DataFrame:
    """The table with a ``verdict`` by its intervals: whether they lie above ``threshold`` (or, with
    ``expected=-1``, below it), on the other side, or across it."""
    return table.assign(verdict=[
        report.verdict({end: row[end] - threshold for end in ("low", "high")}, expected)
        for row in table.to_dict("records")])


def _plain(value: Any) -> Any:
    """A number as JSON keeps it: Python's, of so many decimals, and without the sign of a zero."""
    if value is None or isinstance(value, str):
        return value
    return int(value) if isinstance(value, Integral) else round(float(value), KEPT_DECIMALS) + 0.0


def as_json(claims: Iterable[Claim]) -> dict[str, list]:
    """``{"claims": [...]}``, of strings, numbers, lists and ``None``."""
    rows = [asdict(claim) | {"comparisons": [
        {name: _plain(value) for name, value in asdict(each).items()}
        for each in claim.comparisons]} for claim in claims]
    return {"claims": rows}


def _rule(fields: Mapping[str, Any]) -> Rule:
    """A rule, none of whose fields may be missing: one without a side says so."""
    return Rule(fields["sentence"], fields["above"], fields["below"])


def from_json(document: Mapping[str, Sequence[Mapping]]) -> list[Claim]:
    """The claims of :func:`as_json`.

    Raises:
        ValueError: a claim or a comparison of other fields, or of values that are not accepted.
    """
    try:
        return [Claim(**{**claim, "rule": _rule(claim["rule"]), "comparisons": tuple(
            Comparison(**row) for row in claim["comparisons"])}) for claim in document["claims"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"these are no claims as a notebook emits them ({error}); accepted: the "
                         f"output of neuronpath_core.stats.claims.emit") from None


def emit(claims: Sequence[Claim]) -> None:
    """Show the claims of a chapter, once, at its end: as JSON for the pages of findings, and as a
    line each for people.  A claim without a comparison, as a small study can leave it, is left out.

    Raises:
        ValueError: two claims of one key.
    """
    from IPython.display import display

    keys = [claim.key for claim in claims]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise ValueError(f"claims of one key: {', '.join(twice)}; accepted: a key for each")
    told = [claim for claim in claims if claim.comparisons]
    lines = [f"{claim.key}: {report.tally([row.verdict for row in claim.comparisons])}"
             for claim in told]
    display({MIME: as_json(told), "text/plain": "\n".join(lines)}, raw=True)
