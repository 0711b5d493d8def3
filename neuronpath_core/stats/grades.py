"""What a claim's comparisons amount to: Yes, Partly, Mixed, No or Undecided, how large, and where.

The rules are these, and no other.  A claim is

* **Yes** if at least ``MOST`` of its comparisons agree and none contradicts;
* **Mixed** if at least ``FEW`` agree and at least ``FEW`` contradict;
* **Partly** if at least ``FEW`` agree and fewer contradict;
* **No** if fewer than ``FEW`` agree and at least ``FEW`` contradict: *the opposite* if more than
  half contradict, else in so many of them;
* **Undecided** if fewer than ``FEW`` agree and fewer contradict: what was measured shows neither.

What follows the word keeps it from flattering either side: the effect is called small if the median
of those that agree (of a No, of those that contradict) is below the unit's ``small``, on each data
set by itself; where it is so on some data sets alone, these are named ("tiny on digits").  If under
some condition, or on some data, no comparison agrees, the others are named ("at the class token
only"); and a Yes of fewer than ``MANY`` comparisons says of how many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from neuronpath_core.stats import report
from neuronpath_core.stats.claims import Claim, Comparison
from neuronpath_core.stats.units import Unit

# nine in ten: of comparisons as many as here, one that fails by chance leaves a claim standing, and
# two do not
MOST = 0.9
# one in four: where fewer agree, three models in four speak against a rule
FEW = 0.25
# a Yes of fewer comparisons is read as one of many unless it says so
MANY = 4
# how many places are named, and how many effects stand side by side, before a number says more
NAMED, SIDE_BY_SIDE = 3, 6
# the words under which comparisons may agree in some places and not in others
PLACED = ("Yes", "Partly", "Mixed")
# of which comparisons a word's size is that of
SIZED = {"Yes": "agrees", "Partly": "agrees", "No": "contradicts"}


@dataclass(frozen=True)
class Grade:
    """``word`` is Yes, Partly, Mixed, No or Undecided; ``qualifiers`` follow it; ``agree`` of
    ``of`` comparisons agree, and ``contradict`` contradict."""

    word: str
    qualifiers: tuple[str, ...]
    agree: int
    contradict: int
    of: int

    def __str__(self) -> str:
        return ", ".join((self.word, *self.qualifiers))

    @property
    def tally(self) -> str:
        """``7 of 8 agree, 1 not shown``."""
        counts = {"agrees": self.agree, "contradicts": self.contradict,
                  "not shown": self.of - self.agree - self.contradict}
        return report.tally([name for name, count in counts.items() for _ in range(count)])


def leaning(claim: Claim) -> int | None:
    """How many of its effects, shown or not, are on the claim's side; ``None`` where its rule has
    none."""
    leans = [claim.rule.leans(row.value) for row in claim.comparisons]
    return None if None in leans else sum(leans)


def _levels(rows: Sequence[Comparison]) -> dict[str, list[Comparison]]:
    """The comparisons by condition or, if these do not tell, by data, if under some of these
    comparisons agree and under others none does; else empty."""
    for field, phrase in (("condition", "{}"), ("data", "on {}")):
        levels: dict[str, list[Comparison]] = {}
        for row in rows:
            levels.setdefault(getattr(row, field), []).append(row)
        agree = [any(row.verdict == "agrees" for row in own) for own in levels.values()]
        if all(levels) and any(agree) and not all(agree):
            return {phrase.format(level): own for level, own in levels.items()}
    return {}


def where(rows: Sequence[Comparison]) -> str:
    """Under which conditions, or else on which data, comparisons agree, if under others none does:
    ``"at the class token only"``; empty if they do everywhere."""
    levels = _levels(rows)
    found = [level for level, own in levels.items()
             if any(row.verdict == "agrees" for row in own)]
    missing = [level for level in levels if level not in found]
    if not levels:
        return ""
    if min(len(found), len(missing)) > NAMED:
        return f"under {len(found)} of {len(levels)} conditions only"
    if len(found) <= len(missing):
        return f"{' and '.join(found)} only"
    return f"not {' or '.join(missing)}"


def grade(rows: Sequence[Comparison], unit: Unit) -> Grade:
    """What comparisons amount to, by the rules at the head of this module.

    Raises:
        ValueError: no comparison.
    """
    if not rows:
        raise ValueError("no comparison to grade; accepted: at least one")
    agree = [row for row in rows if row.verdict == "agrees"]
    against = [row for row in rows if row.verdict == "contradicts"]
    share = len(agree) / len(rows)
    counts = {"agree": len(agree), "contradict": len(against), "of": len(rows)}
    is_opposed = len(against) / len(rows) >= FEW
    if share < FEW and not is_opposed:
        return Grade("Undecided", (), **counts)
    if share < FEW:
        extent = ("the opposite" if len(against) > len(rows) / 2
                  else f"in {len(against)} of {len(rows)}")
        return Grade("No", tuple(filter(None, (extent, _size(against, unit)))), **counts)
    place = where(rows)
    if is_opposed:
        agrees = "agrees " if place.endswith("only") else ""
        return Grade("Mixed", (agrees + place,) if place else (), **counts)
    word = "Yes" if share >= MOST and not against else "Partly"
    few = word == "Yes" and len(rows) < MANY
    of = f"of {len(rows)} comparison{'' if len(rows) == 1 else 's'}" if few else ""
    return Grade(word, tuple(filter(None, (_size(agree, unit), place, of))), **counts)


def _by_data(rows: Sequence[Comparison]) -> dict[str, list[Comparison]]:
    """The comparisons of each data set."""
    found: dict[str, list[Comparison]] = {}
    for row in rows:
        found.setdefault(row.data, []).append(row)
    return found


def _size(rows: Sequence[Comparison], unit: Unit) -> str:
    """The unit's adjective where the median of these effects is below its ``small`` on every data
    set; where it is on some of them, these are named.  One median over all would give a data set
    the size of another that has more comparisons."""
    small, of = _small(rows, unit), len(_by_data(rows))
    if len(small) in (0, of):
        return unit.adjective if small else ""
    return f"{unit.adjective} on {_listed(small, of)}"


def _small(rows: Sequence[Comparison], unit: Unit) -> list[str]:
    """The data sets on which the median of these effects is below the unit's ``small``."""
    return [name for name, own in _by_data(rows).items()
            if unit.small is not None and median(abs(row.value) for row in own) < unit.small]


def _listed(names: Sequence[str], of: int) -> str:
    """``digits, shapes and photographs``; how many of how many where they are more than
    ``NAMED``."""
    if len(names) > NAMED:
        return f"{len(names)} of {of} data sets"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def by_place(rows: Sequence[Comparison], unit: Unit) -> dict[str, list[Comparison]]:
    """The comparisons by place where one size for all would not be that of each: comparisons agree
    in some places alone (:func:`where`), if the grade is one of ``PLACED``, or the effect is small
    on some data sets alone; else empty."""
    word = grade(rows, unit).word
    if levels := _levels(rows) if word in PLACED else {}:
        return levels
    decided = [row for row in rows if row.verdict == SIZED.get(word)]
    is_split = 0 < len(_small(decided, unit)) < len(_by_data(decided))
    return {f"on {name}": own for name, own in _by_data(rows).items()} if is_split else {}


def effect(rows: Sequence[Comparison], unit: Unit) -> str:
    """The median effect of all comparisons with its range, or, of a single one, its interval:
    ``median +3.0 % of the probability, range +0.4 to +9.2``.

    Where comparisons agree in some places alone (:func:`where`), or the effect is small on some
    data sets alone, so for each place by itself, if these are no more than ``SIDE_BY_SIDE``.
    """
    places = by_place(rows, unit)
    if 0 < len(places) <= SIDE_BY_SIDE:
        return "; ".join(f"{place}: {_effect(own, unit)}" for place, own in places.items())
    return _effect(rows, unit)


def short(rows: Sequence[Comparison], unit: Unit) -> str:
    """:func:`effect` for a table's row: of more than ``NAMED`` places, of the first one where
    comparisons agree and of the one where the median is least."""
    places = by_place(rows, unit)
    if len(places) <= NAMED:
        return effect(rows, unit)
    medians = {place: median(row.value for row in own) for place, own in places.items()}
    holds = next((place for place, own in places.items()
                  if any(row.verdict == "agrees" for row in own)), next(iter(places)))
    least = min((place for place in places if place != holds), key=medians.get)
    return "; ".join(f"{place}: {_effect(places[place], unit)}" for place in (holds, least))


def _effect(rows: Sequence[Comparison], unit: Unit) -> str:
    values = [row.value for row in rows]
    if len(rows) == 1:
        return unit.interval(rows[0])
    least, most = unit.number(min(values)), unit.number(max(values))
    if least == most:
        return f"{unit.text(median(values))} in each"
    return f"median {unit.text(median(values))}, range {least} to {most}"


def counted(rows: Sequence[Comparison], of: str, statistic: str = "") -> str:
    """``n = 24 to 48 images``, or ``medians over n = 48 images``: over how many units effects and
    intervals are."""
    counts = sorted({row.n for row in rows})
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{f'{statistic}s over ' if statistic else ''}n = {span} {of}"
