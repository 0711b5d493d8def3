"""What all figures share: one look, one colour a method, and values with their intervals."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable
from functools import partial, wraps

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuronpath_core.figures.names import AS_WRITTEN, name_all, write_out
from neuronpath_core.figures.svg import svg_text
from neuronpath_core.stats.labels import method_labels

DPI = 150
# inches: 672 CSS pixels, the width of the text on a page, where a figure is shown as large as it is
# drawn
WIDTH = 7.0
# inches: 336 CSS pixels, what the text of a page has on a telephone
NARROW = 3.5
# points; 7.5 are 10 CSS pixels, and less cannot be read
SMALL, LEAST = 8.5, 7.5
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
TITLE = "np-title"  # of a figure's finding in its SVG
# letters of a finding on a line of WIDTH, in bold at its size
_LETTERS = 82


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
                if finding:
                    letters = int(_LETTERS * figure.get_figwidth() / WIDTH)
                    title = figure.suptitle(textwrap.fill(finding, letters), x=0.005, ha="left",
                                            fontsize=SMALL + 1, fontweight="bold")
                    title.set_gid(TITLE)  # which a page hides where it says the finding itself
                write_out(figure)
                figure._repr_svg_ = partial(svg_text, figure, finding)
                return figure
            finally:
                for number in set(plt.get_fignums()) - set(before):
                    plt.close(number)
    return drawn


def block_ticks(blocks: int) -> list[int]:
    """Which blocks, counted from 1, a narrow panel names: all of a few, every second or fewer of
    many; always whole numbers."""
    step = max(2, blocks // 6)
    return list(range(1, blocks + 1)) if blocks <= 6 else list(range(step, blocks + 1, step))


def legend_outside(figure: Figure, axis: Axes, place: str = "lower", ncols: int = 4,
                   **settings) -> None:
    """One legend for all panels, of what ``axis`` shows, above (``"upper"``) or below them."""
    name_all(axis)
    figure.legend(*axis.get_legend_handles_labels(), loc=f"outside {place} center", ncols=ncols,
                  **{"fontsize": SMALL, **settings})


def method_colours() -> dict[str, tuple]:
    """A colour for each method's title, the same in all figures."""
    return dict(zip(method_labels().values(), sns.color_palette("colorblind", len(method_labels())),
                    strict=True))


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
