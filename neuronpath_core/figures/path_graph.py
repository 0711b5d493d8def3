"""One path as a graph: what reaches each of its neurons from those before it; how much that is
beside neurons of which it is known (chapter 22); and the paths of a class as one graph (chapter
23)."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from neuronpath_core.circuits.edges import edge_table
from neuronpath_core.figures.colours import BLUE, VERMILION, looks
from neuronpath_core.figures.style import (
    LEAST,
    SMALL,
    WIDTH,
    beside,
    block_ticks,
    legend_above,
    spans,
    styled,
)

if TYPE_CHECKING:
    import networkx as nx

# what each effect of circuits.edges is called, and its unit where that is not an activation
EFFECT_LABELS = {
    "total": "whole effect, to first order", "residual": "along the token's own residual stream",
    "attention": "by a token's attention to itself", "others": "by way of other tokens",
    "exact": "exact effect", "exact_probability": "exact effect on the label's probability",
    "composition": "weights alone"}
UNITS = {"exact_probability": "probability", "composition": "cosine"}
MOST_NAMED = 14  # blocks whose neurons' numbers fit beside one another
WIDEST = 6.0  # points
THINNEST = 0.01  # of the widest; less is too thin to be seen
LARGEST = 15.0  # points, across the mark of a neuron that is on every path


@styled
def edge_arcs(edges: pd.DataFrame, image: int = 0,
              effects: Sequence[str] = ("exact_probability",)) -> Figure:
    """One image's path: blocks as columns, an arc from each neuron to every later one, as wide as
    its effect; above the line where it is positive, below where it is negative.

    Effects of one unit have one scale in all panels; the widest is in the panel's title.  Arcs of
    less than a hundredth of it are not drawn.

    Args:
        edges: as of :func:`~neuronpath_core.circuits.edges.path_edges`.
        image: which, by the table's own numbers.
        effects: the columns, one panel each.

    Raises:
        ValueError: effects that are unknown or were not computed, an image without edges, none at
            all, or several neurons a block.
    """
    if isinstance(effects, str) or not effects:
        raise ValueError(f"effects must be a list of columns, got {effects!r}; accepted: "
                         f"{', '.join(EFFECT_LABELS)}")
    tables = [edge_table(edges, effect, image) for effect in effects]
    path = _neurons(tables[0])
    largest: dict[str, float] = {}
    for effect, table in zip(effects, tables, strict=True):
        unit = UNITS.get(effect, "activation")
        largest[unit] = max(largest.get(unit, 0.0), table["effect"].abs().max())
    figure, axes = plt.subplots(len(effects), 1, figsize=(WIDTH, 0.8 + 1.5 * len(effects)),
                                squeeze=False, sharex=True, sharey=True)
    for axis, effect, table in zip(axes[:, 0], effects, tables, strict=True):
        _arcs(axis, table, largest[UNITS.get(effect, "activation")], len(path))
        axis.set_title(f"{EFFECT_LABELS[effect]} (widest: {table['effect'].abs().max():.2g})",
                       fontsize=SMALL)
    ticks = list(path) if len(path) <= MOST_NAMED else block_ticks(max(path))
    named = len(path) <= MOST_NAMED
    axes[-1, 0].set_xticks(ticks, [f"{block}\n{path[block]}" if named else str(block)
                                   for block in ticks], fontsize=SMALL)
    axes[-1, 0].set_xlabel("block, and below it the path's neuron" if named else "block",
                           fontsize=SMALL)
    signs = [Line2D([], [], color=colour, linewidth=WIDEST / 2, label=label)
             for colour, label in zip(_colours(), ("positive: above", "negative: below"),
                                      strict=True)]
    legend_above(figure, signs, [sign.get_label() for sign in signs])
    return figure


def _neurons(table: pd.DataFrame) -> dict[int, int]:
    """The path's neuron of each block, in the blocks' order.

    Raises:
        ValueError: a block has several.
    """
    ends = pd.concat([table[[f"{end}_block", f"{end}_neuron"]].set_axis(["block", "neuron"], axis=1)
                      for end in ("source", "target")]).drop_duplicates().sort_values("block")
    if (several := ends["block"].duplicated()).any():
        block = ends["block"][several].iloc[0]
        raise ValueError(f"block {block} has several neurons, which cannot be drawn as one path; "
                         "accepted: edges of path_edges without partners")
    return dict(zip(ends["block"].tolist(), ends["neuron"].tolist(), strict=True))


def _colours() -> list[tuple]:
    return [BLUE, VERMILION]


def _arcs(axis: Axes, table: pd.DataFrame, largest: float, blocks: int) -> None:
    axis.axhline(0, color="0.75", linewidth=1, zorder=1)
    # thin arcs lie on top of wide ones
    order = np.argsort(-table["effect"].abs().to_numpy(), kind="stable")
    for row in table.iloc[order].itertuples():
        if abs(row.effect) <= THINNEST * largest:
            continue
        above = row.effect > 0
        height = (1 if above else -1) * (row.target_block - row.source_block) / blocks
        # at the middle of such a curve it is three quarters as high as its handles
        curve = Path([(row.source_block, 0), (row.source_block, 4 / 3 * height),
                      (row.target_block, 4 / 3 * height), (row.target_block, 0)],
                     [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
        axis.add_patch(PathPatch(curve, facecolor="none", edgecolor=_colours()[not above],
                                 linewidth=WIDEST * abs(row.effect) / largest, alpha=0.6,
                                 capstyle="butt", zorder=2))
    places = sorted({*table["source_block"], *table["target_block"]})
    axis.plot(places, np.zeros(len(places)), "o", color="0.25", markersize=4, zorder=3)
    axis.set(xlim=(places[0] - 0.5, places[-1] + 0.5), ylim=(-1.05, 1.05), yticks=[])
    axis.grid(False)
    sns.despine(ax=axis, left=True, bottom=True)


@styled
def edge_shares(truth: pd.DataFrame, shares: pd.DataFrame, leads: pd.DataFrame) -> Figure:
    """How much of a neuron another one makes up, with 95 % intervals: above, networks in which it
    is known beside trained models; below, the trained models' paths beside their controls, and how
    far they are ahead of these. A colour and a shape per series.

    Tables: ``name`` (of a row), ``series, value, low, high``; values are shares.
    """
    names = [list(dict.fromkeys(table["name"])) for table in (truth, shares, leads)]
    series = list(dict.fromkeys(pd.concat([truth, shares, leads])["series"]))
    figure, axes = plt.subplot_mosaic(
        [["truth", "truth"], ["shares", "leads"]], height_ratios=[len(names[0]), len(names[1])],
        figsize=(WIDTH, 2.0 + 0.42 * (len(names[0]) + len(names[1]))))
    panels = zip(axes.values(), (truth, shares, leads), names, strict=True)
    for axis, table, rows in panels:
        _share_rows(axis, table, rows, series)
    axes["truth"].set(xlim=(-3, 103), title="where it is known, and in trained models",
                      xlabel="% of the next neuron's activation")
    axes["shares"].set(title="paths and controls, enlarged", xlabel="% of what is reached")
    axes["leads"].set(title="the path's lead over controls", xlabel="% of the path's activation")
    held = {label: handle for axis in axes.values()
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    legend_above(figure, [held[each] for each in series], series)
    return figure


def _share_rows(axis: Axes, table: pd.DataFrame, names: list[str], series: list[str]) -> None:
    """Values in per cent with intervals, a row a name; a series has its colour and shape in all
    panels."""
    look_of = looks(series)
    shown = [each for each in series if (table["series"] == each).any()]
    for each in shown:
        own = table[table["series"] == each]
        # those of a row share its height, whichever others are in the panel
        places = [names.index(name) + beside(*_place(table, name, each)) for name in own["name"]]
        axis.errorbar(100 * own["value"], places, xerr=100 * spans(own), linestyle="none",
                      **look_of[each].drawn, markersize=4, elinewidth=1, capsize=2, label=each)
    axis.axvline(0, color="0.25", linewidth=0.8)
    axis.set_yticks(np.arange(len(names)), [textwrap.fill(name, 22) for name in names],
                    fontsize=SMALL)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.locator_params(axis="x", nbins=6)
    axis.grid(False, axis="y")
    for height in range(1, len(names)):
        axis.axhline(height - 0.5, color="0.85", linewidth=0.5)


def _place(table: pd.DataFrame, name: str, series: str) -> tuple[int, int]:
    """Which of a row's series this one is, of how many."""
    there = list(dict.fromkeys(table.loc[table["name"] == name, "series"]))
    return there.index(series), len(there)


@styled
def class_path_graph(graph: nx.DiGraph, marked: Collection[tuple[int, int]] = (),
                     mark: str = "certified") -> Figure:
    """The paths of a class as one graph: blocks as columns, and in each its neurons, the commonest
    on top; the area of a mark is the share of images whose path has the neuron, the width of a line
    the share whose path has both.

    Args:
        graph: of :func:`~neuronpath_core.circuits.graphs.class_graph`, joined from block to block.
        marked: nodes ``(block, neuron)`` that have a colour of their own; those that are not in the
            graph are passed over.
        mark: what these are called.
    """
    places: dict[tuple[int, int], tuple[int, int]] = {}
    blocks = sorted({held["block"] for _, held in graph.nodes(data=True)})
    for block in blocks:
        own = [node for node, held in graph.nodes(data=True) if held["block"] == block]
        own.sort(key=lambda node: (-graph.nodes[node]["share"], node))
        places.update({node: (block, rank) for rank, node in enumerate(own)})
    most = 1 + max(rank for _, rank in places.values())
    figure, axis = plt.subplots(figsize=(WIDTH, 1.1 + 0.36 * most))
    for source, end, held in graph.edges(data=True):
        (left, above), (right, below) = places[source], places[end]
        axis.plot([left, right], [above, below], color="0.6", linewidth=WIDEST * held["share"],
                  solid_capstyle="butt", zorder=1)
    colour = sns.color_palette("colorblind")[0]
    for node, (block, rank) in places.items():
        axis.plot(block, rank, "o", markersize=LARGEST * np.sqrt(graph.nodes[node]["share"]),
                  color=colour if node in marked else "0.35", zorder=2)
        if len(blocks) <= MOST_NAMED:
            axis.annotate(str(node[1]), (block, rank), (0, -LARGEST / 2 - 1), ha="center",
                          va="top", textcoords="offset points", fontsize=LEAST, zorder=3)
    axis.set(xlim=(blocks[0] - 0.5, blocks[-1] + 0.5), ylim=(most - 0.2, -0.5), yticks=[],
             xlabel="block")
    ticks = blocks if len(blocks) <= MOST_NAMED else block_ticks(max(blocks))
    axis.set_xticks(ticks, [str(block) for block in ticks], fontsize=SMALL)
    axis.grid(False)
    sns.despine(ax=axis, left=True, bottom=True)
    keys = [Line2D([], [], linestyle="none", marker="o", color=shade, label=label)
            for shade, label in ((colour, mark), ("0.35", f"not {mark}"))]
    figure.legend(handles=keys, loc="outside lower center", ncols=2, fontsize=SMALL)
    return figure
