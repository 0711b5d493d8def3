"""The figure that says what the paper is about: a picture goes in, is cut into tokens, runs through
the blocks; a path of one neuron in each is lit, and the class probability follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuronpath_core.figures.colours import EDITS, VERMILION
from neuronpath_core.figures.style import NARROW, WIDTH, styled

if TYPE_CHECKING:
    from jaxtyping import Float, Int64, UInt8

TEXT = 8  # points, 10.7 pixels
INK = 0.45  # seen on light and dark pages
GAP = 0.2  # between tokens, of a token's width


@dataclass(frozen=True)
class Story:
    """One picture's way through a network.

    Attributes:
        title: of the picture.
        pixels: as the network cuts them, for the eye.
        patch: height and width of a token's patch, in pixels.
        activations: of every neuron at the tokens that are edited.
        neurons: the path.
        class_name: the true class.
        clean, removed, doubled: its probability.
    """

    title: str
    pixels: UInt8[np.ndarray, "height width ..."]
    patch: int
    activations: Float[np.ndarray, "layer neuron"]
    neurons: Int64[np.ndarray, "layer"]
    class_name: str
    clean: float
    removed: float
    doubled: float

    def __post_init__(self) -> None:
        if any(size % self.patch for size in self.pixels.shape[:2]):
            raise ValueError(f"patches of {self.patch} pixels do not fit a picture of "
                             f"{self.pixels.shape[0]} × {self.pixels.shape[1]}; accepted: a whole "
                             f"number of patches")
        if len(self.neurons) != len(self.activations):
            raise ValueError(f"a path of {len(self.neurons)} neurons does not fit "
                             f"{len(self.activations)} blocks; accepted: one neuron a block")


@styled
def hero_figure(stories: Sequence[Story], narrow: bool = False) -> Figure:
    """One row a picture: the picture and its tokens, the blocks with the path, the probability of
    the true class untouched, with the path removed, and with it doubled.

    Args:
        stories: from top to bottom.
        narrow: for a telephone: what stands beside one another goes below one another.

    Raises:
        ValueError: no picture.
    """
    if not stories:
        raise ValueError("nothing to draw; accepted: at least one picture's story")
    if narrow:
        figure, axes = plt.subplots(
            3 * len(stories), 1, figsize=(NARROW, 4.7 * len(stories)), squeeze=False,
            gridspec_kw={"height_ratios": [1.15, 1.5, 1.1] * len(stories)})
        axes = axes.reshape(len(stories), 3)
    else:
        figure, axes = plt.subplots(
            len(stories), 3, figsize=(WIDTH, 0.6 + 1.85 * len(stories)), squeeze=False,
            gridspec_kw={"width_ratios": [2.1, 3, 1.15]})
    for number, (row, story) in enumerate(zip(axes, stories, strict=True)):
        _picture(row[0], story)
        _blocks(row[1], story, last=narrow or number == len(stories) - 1)
        _probabilities(row[2], story)
        if not narrow:
            _arrow(row[0], (1.01, 0.5), (1.1, 0.5))
        if narrow or not number:
            neurons = story.activations.shape[1]
            row[1].set_title(f"a column of {neurons} neurons per block, the path lit",
                             fontsize=TEXT)
            row[2].set_title("class probability", fontsize=TEXT, loc="left")
    return figure


def _picture(axis: Axes, story: Story) -> None:
    """The picture and, cut apart, its tokens; one unit is a token's side."""
    patch, step = story.patch, 1 + GAP
    down, across = (size // patch for size in story.pixels.shape[:2])
    wide, high = across * step - GAP, down * step - GAP
    grey = {"cmap": "gray", "vmin": 0, "vmax": 255, "interpolation": "none"}
    axis.imshow(story.pixels, extent=(0, wide, high, 0), **grey)
    second = 1.3 * wide
    axis.imshow(_cut(story.pixels, patch), extent=(second, second + wide, high, 0),
                interpolation="none")
    axis.set(xlim=(-0.2, second + wide + 0.2), ylim=(high + 0.2, -0.2), aspect="equal")
    axis.set_axis_off()
    # titles, because letters inside a panel of pictures keep their colour in the dark
    for place, words in (("left", story.title), ("right", f"{down * across} tokens")):
        axis.set_title(words, loc=place, y=-0.17, fontsize=TEXT)
    width = second + wide
    _arrow(axis, (wide / width + 0.02, 0.5), (second / width - 0.01, 0.5))


def _cut(pixels: UInt8[np.ndarray, "height width ..."],
         patch: int) -> UInt8[np.ndarray, "height width 4"]:
    """A picture cut into patches with transparent gaps between them."""
    fine = round(1 / GAP)  # a gap is one of so many parts of a patch's side
    colours = np.broadcast_to(pixels.reshape(*pixels.shape[:2], -1), (*pixels.shape[:2], 3))
    large = colours.repeat(fine, 0).repeat(fine, 1)
    side = patch * fine
    down, across = (size // side for size in large.shape[:2])
    cells = np.zeros((down, side + patch, across, side + patch, 4), np.uint8)
    cells[:, :side, :, :side, :3] = large.reshape(down, side, across, side, 3)
    cells[:, :side, :, :side, 3] = 255
    return cells.reshape(down * (side + patch), across * (side + patch), 4)[:-patch, :-patch]


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """An arrow between two places, in shares of the panel's width and height."""
    axis.annotate("", end, start, "axes fraction", "axes fraction", annotation_clip=False,
                  arrowprops={"arrowstyle": "-|>", "color": "0.4", "linewidth": 1,
                              "shrinkA": 0, "shrinkB": 0})


def _blocks(axis: Axes, story: Story, last: bool) -> None:
    blocks, neurons = story.activations.shape
    size = np.abs(story.activations)
    peaks = size.max(1, keepdims=True)
    shares = size / np.where(peaks > 0, peaks, 1)
    # ink more or less transparent, for light and dark pages; a column is three fifths of a block
    cells = np.full((neurons, blocks, 5, 4), INK)
    cells[..., 3] = 0.08 + 0.92 * shares.T[..., None]
    cells[:, :, [0, -1], 3] = 0
    axis.imshow(cells.reshape(neurons, -1, 4), aspect="auto", interpolation="none",
                extent=(0.5, blocks + 0.5, neurons - 0.5, -0.5))
    places = np.arange(1, blocks + 1)
    axis.plot(places, story.neurons, color="white", linewidth=4, solid_capstyle="round")
    axis.plot(places, story.neurons, color=VERMILION, linewidth=2, marker="o", markersize=6,
              markeredgecolor="white", markeredgewidth=0.8)
    axis.grid(False)
    sns.despine(ax=axis, left=True, bottom=True)
    axis.set(xlim=(0.4, blocks + 0.6), ylim=(neurons, -1))
    axis.set_xticks(places if blocks <= 12 else places[1::2])
    axis.set_yticks([0, neurons - 1])
    axis.tick_params(labelsize=TEXT, length=0)
    if last:
        axis.set_xlabel("block", fontsize=TEXT)


def _probabilities(axis: Axes, story: Story) -> None:
    bars = {"untouched": story.clean, "path removed": story.removed, "path doubled": story.doubled}
    axis.barh(range(3), list(bars.values()), height=0.42,
              color=EDITS)
    for place, (name, value) in enumerate(bars.items()):
        axis.text(0, place - 0.29, f"{name} {100 * value:.1f} %", fontsize=TEXT, va="bottom")
    axis.set(xlim=(0, 1), ylim=(2.4, -0.75), yticks=[])
    axis.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    axis.tick_params(labelsize=TEXT, length=0)
    axis.grid(False)
    sns.despine(ax=axis, left=True)
