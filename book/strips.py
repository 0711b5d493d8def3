"""Effects of a claim as a picture of one line a place: every comparison a mark, the median a bar.

A sentence of medians and ranges on three data sets has to be read; marks on one scale are seen.
Marks differ in shape as well as in colour, and the numbers stand beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from neuronpath_core.stats.claims import Comparison
from neuronpath_core.stats.grades import SIDE_BY_SIDE, by_place
from neuronpath_core.stats.units import Unit

WIDTH, HEIGHT, EDGE = 250, 16, 5  # of a line's picture, and its margin on either side
RADIUS = 3
MIDDLE = HEIGHT / 2


@dataclass(frozen=True)
class Line:
    """One place's comparisons.

    Args:
        place: the data set or the condition; empty where all are one.
        picture: marks on the scale that all lines of a claim share, as SVG.
        size: the median, or the one effect that there is, as the unit writes it.
        extent: from where to where effects go, or a single effect's interval.
    """

    place: str
    picture: str
    size: str
    extent: str


def heading(rows: Sequence[Comparison], unit: Unit) -> str:
    """What the numbers of a claim's lines are: ``points of accuracy: median, range``."""
    many = any(len(own) > 1 for own in _places(rows, unit).values())
    return f"{unit.words.strip()}: {'median, range' if many else 'effect [95 % interval]'}"


def lines(rows: Sequence[Comparison], unit: Unit) -> list[Line]:
    """A line for every place of a claim: for those that have a size of their own
    (:func:`~neuronpath_core.stats.grades.by_place`), else for every data set."""
    reach = [0.0, *(row.value for row in rows)]
    places = _places(rows, unit)
    for own in places.values():
        if len(own) == 1:
            reach += [each for each in (own[0].low, own[0].high) if each is not None]
    least, most = min(reach), max(reach)
    return [_line(place.removeprefix("on "), own, unit, least, most)
            for place, own in places.items()]


def _places(rows: Sequence[Comparison], unit: Unit) -> dict[str, list[Comparison]]:
    found = by_place(rows, unit)
    if 0 < len(found) <= SIDE_BY_SIDE:
        return found
    by_data: dict[str, list[Comparison]] = {}
    for row in rows:
        by_data.setdefault(row.data, []).append(row)
    return by_data


def _line(place: str, rows: Sequence[Comparison], unit: Unit, least: float, most: float) -> Line:
    values = [row.value for row in rows]
    low, high = unit.number(min(values)), unit.number(max(values))
    extent = f"{low} to {high}" if low != high else "in each"
    if len(rows) == 1:
        only = rows[0]
        extent = ("" if only.low is None or only.high is None
                  else f"[{unit.number(only.low)}, {unit.number(only.high)}]")
    return Line(place, _picture(rows, least, most), unit.number(median(values)), extent)


def _picture(rows: Sequence[Comparison], least: float, most: float) -> str:
    def at(value: float) -> float:
        share = (value - least) / (most - least) if most > least else 0.5
        return round(EDGE + share * (WIDTH - 2 * EDGE), 1)

    def upright(kind: str, value: float, half: float) -> str:
        return (f'<line class="{kind}" x1="{at(value)}" x2="{at(value)}" '
                f'y1="{MIDDLE - half:g}" y2="{MIDDLE + half:g}"/>')

    drawn = [f'<line class="np-scale" x1="0" x2="{WIDTH}" y1="{MIDDLE:g}" y2="{MIDDLE:g}"/>',
             upright("np-zero", 0.0, MIDDLE)]
    if len(rows) == 1 and rows[0].low is not None and rows[0].high is not None:
        drawn.append(f'<line class="np-whisker" x1="{at(rows[0].low)}" x2="{at(rows[0].high)}" '
                     f'y1="{MIDDLE:g}" y2="{MIDDLE:g}"/>')
    drawn += [mark(row.verdict, at(row.value)) for row in rows]
    if len(rows) > 1:
        drawn.append(upright("np-median", median(row.value for row in rows), MIDDLE - 1))
    return (f'<svg class="np-marks np-whole" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'aria-hidden="true">{"".join(drawn)}</svg>')


def mark(verdict: str, x: float) -> str:
    """A comparison that agrees is a disc, one that contradicts a cross, any other a ring."""
    if verdict == "contradicts":
        left, right = x - RADIUS, x + RADIUS
        top, bottom = MIDDLE - RADIUS, MIDDLE + RADIUS
        return (f'<path class="np-mark np-against" d="M{left:g} {top:g}L{right:g} {bottom:g}'
                f'M{left:g} {bottom:g}L{right:g} {top:g}"/>')
    kind = "np-for" if verdict == "agrees" else "np-open"
    return f'<circle class="np-mark {kind}" cx="{x:g}" cy="{MIDDLE:g}" r="{RADIUS}"/>'


def legend() -> list[tuple[str, str]]:
    """What each kind of mark means, with the mark."""
    said = {"agrees": "agrees with the claim", "contradicts": "contradicts it",
            "not shown": "shows neither"}
    size = 2 * EDGE
    return [(f'<svg class="np-marks" viewBox="0 0 {size} {HEIGHT}" width="{size}" '
             f'height="{HEIGHT}" aria-hidden="true">{mark(verdict, EDGE)}</svg>', words)
            for verdict, words in said.items()]
