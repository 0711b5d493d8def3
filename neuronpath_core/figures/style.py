"""What all figures share: one look, and values with their intervals; colours are in ``colours``."""

from __future__ import annotations

import re
import textwrap
import warnings
from collections.abc import Callable, Sequence
from functools import partial, wraps

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from neuronpath_core.figures.names import AS_WRITTEN, name_all, write_out
from neuronpath_core.figures.svg import svg_text
from neuronpath_core.stats.report import typeset

DPI = 150
# inches: 672 CSS pixels, the width of the text on a page, where a figure is shown as large as it is
# drawn
WIDTH = 7.0
# inches: 336 CSS pixels, what the text of a page has on a telephone
NARROW = 3.5
# points; 7.5 are 10 CSS pixels, and less cannot be read
SMALL, LEAST = 8.5, 7.5
# letters of a row's name on one line
NAME = 29
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
TITLE = "np-title"  # of a figure's finding in its SVG
LEGEND = "np-legend"  # of what is said of all of its panels
# letters of a finding on a line of WIDTH, in bold at its size
_LETTERS = 82
# what stays on one line of it: an interval with its value, and a short remark in brackets
_TOGETHER = re.compile(r"(?:[+\u2212]?[\d.]+ )?\[[^\]]{,24}\]|\([^)]{,24}\)")
# of what stands above the panels: its place from the left as a share of the width; inches between
# two parts; inches that a figure's height has for a legend
_LEFT, _GAP, _LINE = 0.005, 0.04, 0.2


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """One look for all figures, without changing the caller's settings.

    What is decorated also takes ``finding``, a sentence that becomes the figure's title, at its
    left. Names appear as they are written, and what was drawn is closed, so that a notebook shows
    it once: as PNG, and as an SVG that follows the theme of its page.
    """
    @wraps(draw)
    def drawn(*args, finding: str = "", **kwargs) -> Figure:
        with sns.axes_style("whitegrid"), sns.plotting_context("notebook",
                                                               font_scale=0.8), sns.color_palette(
                "colorblind"), \
                plt.rc_context({"figure.dpi": DPI, "figure.constrained_layout.use": True,
                                "axes.titlesize": "medium", "legend.frameon": False,
                                **AS_WRITTEN}), \
                warnings.catch_warnings():
            # seaborn draws while names are not written out yet
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            before = plt.get_fignums()
            try:
                figure = draw(*args, **kwargs)
                title = None
                if finding:
                    letters = int(_LETTERS * figure.get_figwidth() / WIDTH)
                    title = figure.suptitle(in_lines(finding, letters), x=_LEFT, ha="left",
                                            fontsize=SMALL + 1, fontweight="bold")
                    title.set_gid(TITLE)  # which a page hides where it says the finding itself
                write_out(figure)
                _legends_below(figure, title)
                figure._repr_svg_ = partial(svg_text, figure, typeset(finding))
                return figure
            finally:
                for number in set(plt.get_fignums()) - set(before):
                    plt.close(number)
    return drawn


def in_lines(finding: str, letters: int) -> str:
    """A finding on as few lines of at most ``letters`` as hold it, about equally long; no line ends
    inside an interval or between a number and its per cent sign."""
    text = _TOGETHER.sub(lambda found: found[0].replace(" ", "\u00a0"), typeset(finding))

    def lines(width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)

    least = len(lines(letters))
    if least < 2:
        return text.replace("\u00a0", " ")
    shortest = next((width for width in range(-(-len(text) // least), letters)
                     if len(lines(width)) == least), letters)
    return "\n".join(lines(shortest)).replace("\u00a0", " ")


def _legends_below(figure: Figure, title: Text | None) -> None:
    """Put the legends of :func:`legend_above` at the left, between the title and the panels, and
    make the figure higher where they have several lines."""
    legends = [each for each in figure.legends if each.get_gid() == LEGEND]
    if not legends:
        return
    heights = [each.get_window_extent().height / figure.dpi + _GAP for each in legends]
    above = title.get_window_extent().height / figure.dpi + 2 * _GAP if title else 0
    figure.set_figheight(figure.get_figheight() + max(0, sum(heights) - _LINE))
    tall = figure.get_figheight()
    if title:
        title.set_in_layout(False)
        title.set(y=1 - _GAP / tall, va="top")
    for legend, height in zip(legends, heights, strict=True):
        legend.set_bbox_to_anchor((_LEFT, 1 - above / tall), figure.transFigure)
        above += height
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - above / tall))


def block_ticks(blocks: int) -> list[int]:
    """Which blocks, counted from 1, a narrow panel names: all of a few, every second or fewer of
    many; always whole numbers."""
    step = max(2, blocks // 6)
    return list(range(1, blocks + 1)) if blocks <= 6 else list(range(step, blocks + 1, step))


def legend_outside(figure: Figure, axis: Axes, **settings) -> None:
    """One legend for all panels, of what ``axis`` shows; see :func:`legend_above`."""
    name_all(axis)
    legend_above(figure, *axis.get_legend_handles_labels(), **settings)


def legend_above(figure: Figure, handles: Sequence[Artist], labels: Sequence[str],
                 **settings) -> None:
    """One legend for all panels, above them at the left, in as many columns as a telephone
    shows."""
    for ncols in range(min(4, max(1, len(labels))), 0, -1):
        legend = figure.legend(handles, labels, loc="upper left", ncols=ncols, borderpad=0.2,
                               borderaxespad=0, columnspacing=1.2, handlelength=1.6,
                               **{"fontsize": SMALL, **settings})
        if ncols == 1 or legend.get_window_extent().width <= NARROW * figure.dpi:
            break
        legend.remove()
    legend.set_in_layout(False)
    legend.set_gid(LEGEND)


def marker(number: int) -> str:
    """The mark of the ``number``-th of several kinds of points, so that they are told apart without
    colours."""
    return MARKERS[number % len(MARKERS)]


def beside(number: int, of: int, width: float = 0.7) -> float:
    """How far from the middle of a row the ``number``-th of ``of`` points in it lies; together they
    take ``width`` of it."""
    return width * ((number + 0.5) / of - 0.5)


def spans(rows: pd.DataFrame) -> np.ndarray:
    """How far each interval ``low, high`` reaches below and above its ``value``, ``(2, row)``, as
    matplotlib's error bars take it; never negative."""
    return np.clip(np.stack([rows["value"] - rows["low"], rows["high"] - rows["value"]]), 0, None)


def whiskers(axis: Axes, positions, rows: pd.DataFrame, **style) -> None:
    """The intervals of the rows upright at the positions; ``style`` as of ``Axes.errorbar``, which
    draws no points unless asked (``fmt``)."""
    axis.errorbar(positions, rows["value"], yerr=spans(rows),
                  **{"fmt": "none", "ecolor": "0.25", "elinewidth": 1, "capsize": 2, **style})


def row_names(axis: Axes, names: Sequence[str]) -> None:
    """The rows' names from top to bottom, long ones on several lines."""
    axis.set_yticks(np.arange(len(names)), [textwrap.fill(name, NAME) for name in names],
                    fontsize=SMALL)
    axis.set_ylim(len(names) - 0.5, -0.5)
