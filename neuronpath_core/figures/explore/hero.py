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
from matplotlib.patches import ConnectionPatch, Rectangle

from neuronpath_core.figures.style import styled

if TYPE_CHECKING:
    from jaxtyping import Float, Int64, UInt8

WIDTH = 7.0  # inches, 672 pixels of a page
TEXT = 8  # points, 10.7 pixels
GAP = 0.18  # between tokens, of a token's width


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
def hero_figure(stories: Sequence[Story]) -> Figure:
    """One row a picture: the picture, its tokens, the blocks with the path, the probability of the
    true class untouched, with the path removed, and with it doubled.

    Raises:
        ValueError: no picture.
    """
    if not stories:
        raise ValueError("nothing to draw; accepted: at least one picture's story")
    figure, axes = plt.subplots(
        len(stories), 4, figsize=(WIDTH, 0.45 + 1.95 * len(stories)), squeeze=False,
        gridspec_kw={"width_ratios": [1.1, 1.1, 3, 1.2]})
    for row, story in zip(axes, stories, strict=True):
        _picture(row[0], story)
        _tokens(row[1], story)
        _blocks(row[2], story, last=row is axes[-1])
        _probabilities(row[3], story)
        for first, second in zip(row[:2], row[1:3], strict=True):
            _arrow(figure, first, second)
    for axis, head in zip(axes[0, 2:], ("one column of neurons per block",
                                        "class probability"), strict=True):
        axis.set_title(head, fontsize=TEXT, pad=6)
    return figure


def _picture(axis: Axes, story: Story) -> None:
    axis.imshow(story.pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axis.set_axis_off()
    axis.text(0.5, -0.06, story.title, transform=axis.transAxes, ha="center", va="top",
              fontsize=TEXT)


def _tokens(axis: Axes, story: Story) -> None:
    patch = story.patch
    down, across = (size // patch for size in story.pixels.shape[:2])
    step = 1 + GAP
    for y in range(down):
        for x in range(across):
            cut = story.pixels[y * patch:(y + 1) * patch, x * patch:(x + 1) * patch]
            axis.imshow(cut, cmap="gray", vmin=0, vmax=255, interpolation="nearest",
                        extent=(x * step, x * step + 1, y * step + 1, y * step))
            axis.add_patch(Rectangle((x * step, y * step), 1, 1, fill=False, linewidth=0.3,
                                     edgecolor="0.5"))
    axis.set(xlim=(-GAP, across * step), ylim=(down * step, -GAP), aspect="equal")
    axis.set_axis_off()
    axis.text(0.5, -0.06, f"{down * across} tokens", transform=axis.transAxes, ha="center",
              va="top", fontsize=TEXT)


def _blocks(axis: Axes, story: Story, last: bool) -> None:
    blocks, neurons = story.activations.shape
    size = np.abs(story.activations)
    peaks = size.max(1, keepdims=True)
    shares = size / np.where(peaks > 0, peaks, 1)
    for block in range(blocks):
        axis.imshow(shares[block][:, None], cmap="gray_r", vmin=0, vmax=1.6, aspect="auto",
                    interpolation="nearest", extent=(block + 0.7, block + 1.3, neurons - 0.5, -0.5))
    colour = sns.color_palette("colorblind")[3]
    places = np.arange(1, blocks + 1)
    axis.plot(places, story.neurons, color="white", linewidth=4, solid_capstyle="round")
    axis.plot(places, story.neurons, color=colour, linewidth=2, marker="o", markersize=6,
              markeredgecolor="white", markeredgewidth=0.8)
    axis.grid(False)
    sns.despine(ax=axis, left=True, bottom=True)
    axis.set(xlim=(0.4, blocks + 0.6), ylim=(neurons, -1))
    axis.set_xticks(places if blocks <= 12 else places[1::2])
    axis.set_yticks([0, neurons - 1])
    axis.tick_params(labelsize=TEXT, length=0)
    axis.set_ylabel("neuron", fontsize=TEXT, labelpad=-8)
    if last:
        axis.set_xlabel("block", fontsize=TEXT)


def _probabilities(axis: Axes, story: Story) -> None:
    bars = {"untouched": story.clean, "path removed": story.removed, "path doubled": story.doubled}
    palette = sns.color_palette("colorblind")
    axis.barh(range(3), list(bars.values()), height=0.42,
              color=["0.55", palette[3], palette[0]])
    for place, (name, value) in enumerate(bars.items()):
        axis.text(0, place - 0.29, f"{name} {value:.3f}", fontsize=TEXT, va="bottom", ha="left")
    axis.set(xlim=(0, 1), ylim=(2.4, -0.75), yticks=[])
    axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axis.tick_params(labelsize=TEXT, length=0)
    axis.grid(axis="y", visible=False)
    sns.despine(ax=axis, left=True)


def _arrow(figure: Figure, first: Axes, second: Axes) -> None:
    figure.add_artist(ConnectionPatch((1.0, 0.5), (0, 0.5), "axes fraction", "axes fraction",
                                      axesA=first, axesB=second, arrowstyle="-|>", shrinkA=1,
                                      shrinkB=2, color="0.4", linewidth=1, mutation_scale=8))
