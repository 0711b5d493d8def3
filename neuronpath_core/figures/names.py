"""Names in figures appear as themselves: no mathematics is made of dollar signs, what cannot be
seen or drawn is written out."""

from __future__ import annotations

import re
from functools import cache

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.category import StrCategoryLocator
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, LogFormatter

from neuronpath_core.support.text import plain

# while a figure is drawn; what is created then keeps it
AS_WRITTEN = {"text.parse_math": False, "text.usetex": False}
# matplotlib's own labels of what is to be in no legend
_UNNAMED = re.compile(r"_(nolegend_|child\d+|container\d+)")
_NAMED = "\u2060"  # before a label that begins as those do; taken away again


@cache
def _drawable(families: tuple[str, ...]) -> frozenset[int]:
    """The characters that some installed font of these families can draw."""
    found: set[int] = set()
    for family in families:
        try:
            file = font_manager.findfont(family, fallback_to_default=False)
        except ValueError:  # not installed
            continue
        found |= set(font_manager.get_font(file).get_charmap())
    return frozenset(found)


def shown(text: str) -> str:
    """The text as a figure can show it: line by line, with characters that are not seen or that no
    font of ``font.sans-serif`` has written out (``\\u732b``)."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    known = _drawable(tuple(mpl.rcParams["font.sans-serif"]))
    lines = map(plain, text.replace(_NAMED, "").split("\n"))
    return "\n".join("".join(letter if letter.isascii() or ord(letter) in known
                             else letter.encode("unicode_escape").decode() for letter in line)
                     for line in lines)


def write_out(figure: Figure) -> None:
    """Have every text of a finished figure appear as it was written."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        if text.get_text() != (changed := shown(text.get_text())):
            text.set_text(changed)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            _write_out_ticks(axis)


def _write_out_ticks(axis: Axis) -> None:
    """Labels of ticks are made anew whenever a figure is drawn: names among them stay as they are,
    powers of ten are mathematics."""
    powers = isinstance(axis.get_major_formatter(), LogFormatter)
    if not powers and not isinstance(axis.get_major_locator(), (FixedLocator, StrCategoryLocator)):
        return
    places = axis.get_majorticklocs()
    labels = [] if powers else axis.get_major_formatter().format_ticks(places)
    if labels != (changed := [*map(shown, labels)]):
        axis.set_ticks(places, changed)
    for tick in axis.get_major_ticks(len(places)):
        for label in (tick.label1, tick.label2):
            label.set_parse_math(powers)


def name_all(axis: Axes) -> None:
    """Have a legend show what is called ``_something`` too, which matplotlib leaves out."""
    for artist in [*axis.lines, *axis.patches, *axis.collections, *axis.containers]:
        label = artist.get_label()
        if str(label).startswith("_") and not _UNNAMED.fullmatch(label):
            artist.set_label(f"{_NAMED}{label}")
