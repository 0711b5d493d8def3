"""A path, or the paths of a class, as a graph.

A graph is a :class:`networkx.DiGraph`. Its nodes are pairs ``(block, neuron)``; blocks count from
1, neurons from 0. :mod:`~neuronpath_core.circuits.graph_files` keeps it in files.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from neuronpath_core.frames import ranked_neurons
from neuronpath_core.support.text import shown

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd
    from jaxtyping import Int64

FORMAT = "neuronpath graph"
VERSION = 1
KINDS = ("path", "class")
ENDS = ["source_block", "source_neuron", "target_block", "target_neuron"]


def path_graph(frame: pd.DataFrame, edges: pd.DataFrame | None = None,
               **attributes: Any) -> nx.DiGraph:
    """The path of one image as a graph.

    Args:
        frame: that image's rows of :func:`~neuronpath_core.frames.path_frame`.
        edges: which neurons are joined, a table with the columns ``source_block, source_neuron,
            target_block, target_neuron, effect``; blocks count from 1. Other columns become
            attributes too; of a table with a column ``image`` only this image's rows count.
            ``None`` joins the neurons of consecutive blocks, as the paper draws a path: such an
            edge has no attribute and says nothing of what flows along it.
        attributes: of the graph, besides ``format, version, kind, image, score``.

    Returns:
        a graph whose nodes ``(block, neuron)`` have ``block, neuron, rank``, and ``activation`` and
        ``attribution`` where the table has them.

    Raises:
        ValueError: several images; several neurons a block and no edges, for which no pairs are
            made up; or edges that do not fit the path.
    """
    import networkx as nx

    image = frame["image"].unique() if "image" in frame else []
    if len(image) != 1:
        raise ValueError(f"the table holds {len(image)} images; accepted: the rows of one")
    graph = nx.DiGraph(format=FORMAT, version=VERSION, kind="path", image=plain_value(image[0]),
                       score=float(frame["score"].iloc[0]), **attributes)
    told = [name for name in ("block", "neuron", "rank", "activation", "attribution")
            if name in frame]
    for row in frame[told].to_dict("records"):
        node = int(row["block"]), int(row["neuron"])
        graph.add_node(node, **{name: plain_value(value) for name, value in row.items()})
    if len(graph) != len(frame):
        raise ValueError("a neuron occurs twice in a block of the path; accepted: each once")
    if edges is None:
        _check_single(int(frame["rank"].max()))
        nodes = sorted(graph)
        graph.add_edges_from(zip(nodes, nodes[1:], strict=False))
        return graph
    for row in _edge_rows(edges, image[0]):
        source, end = _ends(row)
        if source not in graph or end not in graph or graph.has_edge(source, end):
            fault = "occurs twice" if graph.has_edge(source, end) else (
                "does not join two neurons of the path")
            raise ValueError(f"the edge from {_named(source)} to {_named(end)} {fault}; accepted: "
                             f"each pair of the path's neurons once, blocks counted from 1")
        graph.add_edge(source, end, **{name: plain_value(value) for name, value in row.items()
                                       if name not in (*ENDS, "image")})
    return graph


def class_graph(neurons: Int64[Tensor, "image layer"], edges: pd.DataFrame | None = None,
                least: int = 1, **attributes: Any) -> nx.DiGraph:
    """The paths of several images, such as those of a class, as one graph.

    Args:
        neurons: int64 ``(image, layer)``; ``(image, layer, rank)`` only with ``edges``.
        edges: as of :func:`path_graph`, of all the images one below the other; the same pair may
            occur once for each image. ``None`` joins the neurons of consecutive blocks of each
            image's path.
        least: how many images a node and an edge must have to be in the graph.
        attributes: of the graph, besides ``format, version, kind, images, least``.

    Returns:
        a graph whose nodes have ``block, neuron, count``, the number of images whose path holds
        the neuron, and ``share``, the same divided by all images; whose edges have ``count`` and
        ``share`` likewise, and, of a table, ``effect``, the mean over the rows of the pair.

    Raises:
        ValueError: several neurons a block and no edges, a number of images below 1, or edges that
            do not fit the paths.
    """
    import networkx as nx

    ranked = ranked_neurons(neurons)
    images, blocks, ranks = ranked.shape
    if not isinstance(least, int) or isinstance(least, bool) or least < 1:
        raise ValueError(f"least must be a whole number of images, at least 1, got {shown(least)}")
    if edges is None:
        _check_single(ranks)
    graph = nx.DiGraph(format=FORMAT, version=VERSION, kind="class", images=images, least=least,
                       **attributes)
    ordered, on_a_path = np.sort(ranked, 2), set()
    if (ordered[..., 1:] == ordered[..., :-1]).any():
        raise ValueError("a neuron occurs twice in a block of a path; accepted: each once")
    for block in range(blocks):
        for neuron, count in zip(*np.unique(ranked[:, block], return_counts=True), strict=True):
            on_a_path.add((block + 1, int(neuron)))
            if count >= least:
                graph.add_node((block + 1, int(neuron)), block=block + 1, neuron=int(neuron),
                               count=int(count), share=int(count) / images)
    for source, end, effects in _pairs(ranked) if edges is None else _grouped(edges, images):
        if source not in on_a_path or end not in on_a_path:
            raise ValueError(f"the edge from {_named(source)} to {_named(end)} does not join two "
                             "neurons of the paths; accepted: such as do, blocks counted from 1")
        if len(effects) >= least and source in graph and end in graph:
            told = {} if edges is None else {"effect": float(np.mean(effects))}
            graph.add_edge(source, end, count=len(effects), share=len(effects) / images, **told)
    return graph


def _pairs(ranked: np.ndarray) -> Iterator[tuple[tuple, tuple, Sequence]]:
    """The neurons of consecutive blocks, with one entry for every image that has both."""
    for block in range(ranked.shape[1] - 1):
        pairs, counts = np.unique(ranked[:, block:block + 2, 0], axis=0, return_counts=True)
        for (first, second), count in zip(pairs.tolist(), counts.tolist(), strict=True):
            yield (block + 1, first), (block + 2, second), range(count)


def _grouped(edges: pd.DataFrame, images: int) -> Iterator[tuple[tuple, tuple, Sequence]]:
    """The pairs of an edge table, with the effects of their rows."""
    found: dict[tuple, list[float]] = {}
    for row in _edge_rows(edges):
        found.setdefault(_ends(row), []).append(float(row["effect"]))
    for (source, end), effects in found.items():
        if len(effects) > images:
            raise ValueError(f"the edge from {_named(source)} to {_named(end)} has {len(effects)} "
                             f"rows for {images} images; accepted: one an image at most")
        yield source, end, effects


def _check_single(ranks: int) -> None:
    if ranks > 1:
        raise ValueError(f"the path has {ranks} neurons a block, which of them are joined is not "
                         "known; accepted: one neuron a block, or edges, a table of which are")


def _edge_rows(edges: pd.DataFrame, image: Any = None) -> list[dict[str, Any]]:
    """The rows of an edge table, of one image where it has a column for them."""
    wanted = [*ENDS, "effect"]
    if missing := [name for name in wanted if name not in getattr(edges, "columns", ())]:
        raise ValueError(f"the edges have no column {', '.join(missing)}; accepted: a table with "
                         f"{', '.join(wanted)}")
    if image is not None and "image" in edges:
        edges = edges[edges["image"] == image]
    rows = edges.to_dict("records")
    for row in rows:
        whole = all(isinstance(row[name], numbers.Integral) for name in ENDS)
        if not whole or not row["source_block"] < row["target_block"]:
            raise ValueError(f"the edge {shown([row[name] for name in ENDS])} does not go from a "
                             "neuron to one of a later block; accepted: whole numbers, source_block"
                             " < target_block")
    return rows


def _ends(row: dict[str, Any]) -> tuple[tuple[int, int], tuple[int, int]]:
    first, start, second, end = (int(row[name]) for name in ENDS)
    return (first, start), (second, end)


def _named(node: tuple[int, int]) -> str:
    return f"block {node[0]} neuron {node[1]}"


def plain_value(value: Any) -> Any:
    """A value of numpy or torch as Python's own."""
    return value.item() if isinstance(value, (np.generic, Tensor)) else value
