"""One explained picture: what the model says of it, what its path does, and where each of the
path's neurons is active."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, SubFigure

from neuronpath_core.figures.colours import EDITS
from neuronpath_core.figures.style import LEAST, SMALL, WIDTH, styled

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from neuronpath_core.explanations.explanation import Explanation

MAPS_PER_ROW = 6
TOP_HEIGHT, TITLE_HEIGHT, MAP_WIDTH = 2.1, 0.4, 1.15  # inches
LETTERS = 26  # of a class's name
AXIS_ENDS = (0.02, 0.1, 0.2, 0.5)  # of the bars' axis, where no bar reaches further
FAINT = 0.35  # of the picture below a map
# active and negative: told apart on grey by colour-blind eyes, and none of the bars' colours
ACTIVE, NEGATIVE = "#1b7837", "#762a83"


@styled
def explanation_figure(explanation: Explanation) -> Figure:
    """The picture as the model is given it; the most probable classes with the path as it is,
    removed and doubled; and for the path's neuron of each block (of several, the best) its
    activation at each patch.

    A map's full colour is the largest absolute activation of that neuron in this picture, whose
    number stands above it: maps are not on one scale.
    """
    first = np.flatnonzero(explanation.path["rank"].to_numpy() == 1)
    down = -(-len(first) // MAPS_PER_ROW)
    high, wide = explanation.pixels.shape[:2]
    below_height = down * (TITLE_HEIGHT + MAP_WIDTH * min(max(high / wide, 0.3), 2))
    figure = plt.figure(figsize=(WIDTH, 0.4 + TOP_HEIGHT + below_height))
    above, below = figure.subfigures(2, 1, height_ratios=[TOP_HEIGHT, below_height])
    left, right = above.subplots(1, 2, gridspec_kw={"width_ratios": [1, 2]})
    left.imshow(explanation.pixels, cmap="gray", vmin=0, vmax=255)
    left.set_axis_off()
    _bars(right, explanation)
    _maps(below, explanation, first, down)
    return figure


def _bars(axis: Axes, explanation: Explanation) -> None:
    chosen, (as_is, removed, doubled) = explanation.shown_classes(), EDITS
    states = {"as it is": (explanation.probabilities, as_is),
              "path removed": (explanation.removed, removed),
              "path doubled": (explanation.doubled, doubled)}
    for place, (name, (values, colour)) in enumerate(states.items()):
        axis.barh(np.arange(len(chosen)) + 0.27 * (place - 1), values[chosen], height=0.24,
                  color=colour, label=name)
    largest = max(values[chosen].max() for values, _ in states.values())
    end = next((each for each in AXIS_ENDS if largest <= each), 1)
    axis.set(xlim=(0, end), ylim=(len(chosen) - 0.5, -0.5))
    axis.set_xticks([0, end / 2, end], ["0", f"{50 * end:g} %", f"{100 * end:g} %"])
    axis.set_yticks(range(len(chosen)), [_short(explanation.class_names[each]) for each in chosen])
    for label, index in zip(axis.get_yticklabels(), chosen, strict=True):
        label.set_fontweight("bold" if index == explanation.label else "normal")
    axis.tick_params(labelsize=SMALL)
    axis.grid(False, axis="y")
    axis.legend(fontsize=LEAST, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderpad=0,
                handlelength=1, columnspacing=1)
    sns.despine(ax=axis, left=True)


def _short(name: str) -> str:
    return name if len(name) <= LETTERS else f"{name[:LETTERS - 1]}…"


def _maps(figure: SubFigure, explanation: Explanation, rows: np.ndarray, down: int) -> None:
    axes = figure.subplots(down, MAPS_PER_ROW, squeeze=False).ravel()
    high, wide = explanation.pixels.shape[:2]
    _, tall, across = explanation.maps.shape
    # a grid may reach beyond the picture, which was then padded
    extent = (0, across * explanation.patch[1], tall * explanation.patch[0], 0)
    grey = explanation.pixels.reshape(high, wide, -1).mean(2)
    for axis, row in zip(axes, rows, strict=False):
        line, values = explanation.path.iloc[row], explanation.maps[row]
        axis.imshow(grey, cmap="gray", vmin=0, vmax=255, alpha=FAINT, extent=(0, wide, high, 0))
        axis.imshow(map_pixels(values), extent=extent, interpolation="none")
        axis.set(xlim=(0, wide), ylim=(high, 0))
        axis.set_title(f"block {int(line['block'])}: {int(line['neuron'])}\n"
                       f"largest {np.abs(values).max():.3g}", fontsize=LEAST, pad=2)
    for axis in axes:
        axis.set_axis_off()


def map_pixels(values: Float[np.ndarray, "down across"]) -> UInt8[np.ndarray, "down across 4"]:
    """A map as colours that lie on a picture: green where it is positive, purple where negative,
    the less transparent the larger; a map of zeros is all transparent."""
    size = np.abs(values)
    shares = size / size.max() if size.max() > 0 else size
    colours = np.where((values >= 0)[..., None], to_rgb(ACTIVE), to_rgb(NEGATIVE))
    return np.round(255 * np.dstack([colours, shares])).astype(np.uint8)
