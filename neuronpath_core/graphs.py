"""Paths as tables and as graphs, and the files that graphs are kept in.

A graph of a path or of a class is a :class:`networkx.DiGraph`. Its nodes are pairs ``(block,
neuron)``; blocks count from 1, neurons from 0. :func:`write_graph` keeps it in one of two formats
that other programs read too, GraphML and node-link JSON. Both hold the same:

* graph attributes ``format`` (``"neuronpath graph"``), ``version`` (``VERSION``) and ``kind``
  (``"path"`` or ``"class"``), and whatever else the graph says of itself;
* of every node its id ``"block/neuron"``, ``block``, ``neuron``, and its other attributes;
* of every edge ``source`` and ``target``, which are ids, and its attributes.

An attribute is a bool, a whole number, a finite float or a printable text that is not empty; all
come back as they were written. :func:`read_graph` refuses a file of another version.
"""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.baselines import gradient_activation
from neuronpath_core.examined import check_target
from neuronpath_core.hooks import read_activations
from neuronpath_core.support.files import path_component, read_utf8, write_atomically
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.text import one_line, plain, shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd
    from jaxtyping import Float, Int64

FORMAT = "neuronpath graph"
VERSION = 1
KINDS = ("path", "class")
ENDS = ["source_block", "source_neuron", "target_block", "target_neuron"]
# names that the file formats have a meaning of their own for
TAKEN = {"node": {"id"}, "edge": {"source", "target", "id", "key"},
         "graph": {"node_default", "edge_default"}}
ACCEPTED_FILE = f"a .graphml or .json file of version {VERSION} as write_graph leaves it"


# --- tables ---


def path_frame(
    neurons: Int64[Tensor, "batch layer"], score: Float[Tensor, "batch"],
    target: TargetModel | None = None,
    images: Float[Tensor, "batch channel height width"] | None = None,
    labels: Int64[Tensor, "batch"] | None = None, ids: Sequence[int | str] | None = None,
) -> pd.DataFrame:
    r"""Paths as a tidy table, one row for each image, block and rank.

    Args:
        neurons: int64 ``(batch, layer)`` or ``(batch, layer, rank)``.
        score: ``(batch,)``; an image's score stands in each of its rows.
        target, images, labels: the model and the batch, for two more columns; all three or none.
        ids: what the images are called; ``None`` for their positions in the batch, from 0.

    Returns:
        columns ``image, block, rank, neuron, score``; blocks and ranks count from 1. With a model
        also ``activation``, the clean :math:`\bar w^l_i`, for scope ``"patch"`` its mean over the
        patch tokens, and ``attribution``, gradient times activation
        :math:`\bar w^l_i\, \partial F_x/\partial w^l_i` at the clean image, for scope ``"patch"``
        summed over the patch tokens: to first order the probability that is lost when the neuron
        is set to zero; positive where the neuron supports the label. One forward and one backward
        pass of the model give the attribution, another forward the activation.

    Raises:
        ValueError: arguments that do not fit one another.
    """
    import pandas as pd

    ranked = _ranked(neurons)
    scores = torch.as_tensor(score).detach().cpu().double().numpy()
    if scores.shape != (len(ranked),):
        raise ValueError(f"score has shape {scores.shape}; accepted: ({len(ranked)},), one for "
                         "each path")
    names = np.arange(len(ranked)) if ids is None else np.asarray(ids)
    if names.shape != (len(ranked),):
        raise ValueError(f"ids have shape {names.shape}; accepted: ({len(ranked)},), one for each "
                         "path")
    _, blocks, ranks = ranked.shape
    each = blocks * ranks
    table = pd.DataFrame({
        "image": np.repeat(names, each),
        "block": np.tile(np.repeat(np.arange(1, blocks + 1), ranks), len(ranked)),
        "rank": np.tile(np.arange(1, ranks + 1), len(ranked) * blocks),
        "neuron": ranked.ravel(), "score": np.repeat(scores, each)})
    given = [each is not None for each in (target, images, labels)]
    if not any(given):
        return table
    if not all(given):
        raise ValueError("activation and attribution need the model, its images and their labels; "
                         "accepted: target, images and labels, or none of them")
    activation, attribution = _measured(target, images, labels, torch.from_numpy(ranked))
    return table.assign(activation=activation.ravel(), attribution=attribution.ravel())


def _ranked(neurons: Tensor | np.ndarray) -> Int64[np.ndarray, "image layer rank"]:
    """Neurons of paths as ``(image, layer, rank)``; ``ValueError`` unless they can be such."""
    value = neurons.detach().cpu().numpy() if isinstance(neurons, Tensor) else neurons
    whole = isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.integer)
    if not whole or value.ndim not in (2, 3) or value.size == 0 or value.min() < 0:
        found = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(
            neurons).__name__
        raise ValueError(f"neurons must be whole numbers from 0, (image, layer) or (image, layer, "
                         f"rank), got {found}")
    return value.astype(np.int64).reshape(len(value), value.shape[1], -1)


def _measured(target: TargetModel, images: Tensor, labels: Tensor,
              ranked: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Clean activation and gradient times activation of paths' neurons, ``(image, layer, rank)``
    each; no more than a chunk's values of all neurons are held at once."""
    check_target(target)
    target.check_batch(images, labels)
    ranked, images = target.check_neurons(ranked, len(images)), images.detach()

    def chunk(chosen: Tensor) -> tuple[Tensor, Tensor]:
        values = (read_activations(target, images[chosen]).mean(2),
                  gradient_activation(target, images[chosen], labels[chosen]))
        return tuple(value.gather(2, ranked[chosen]).cpu().double() for value in values)

    parts = in_chunks(target, len(images), lambda: images_at_once(target, 1), chunk)
    return tuple(torch.cat(each).numpy() for each in zip(*parts, strict=True))


# --- graphs ---


def path_graph(frame: pd.DataFrame, edges: pd.DataFrame | None = None,
               **attributes: Any) -> nx.DiGraph:
    """The path of one image as a graph.

    Args:
        frame: that image's rows of :func:`path_frame`.
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
    graph = nx.DiGraph(format=FORMAT, version=VERSION, kind="path", image=_scalar(image[0]),
                       score=float(frame["score"].iloc[0]), **attributes)
    told = [name for name in ("block", "neuron", "rank", "activation", "attribution")
            if name in frame]
    for row in frame[told].to_dict("records"):
        node = int(row["block"]), int(row["neuron"])
        graph.add_node(node, **{name: _scalar(value) for name, value in row.items()})
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
        graph.add_edge(source, end, **{name: _scalar(value) for name, value in row.items()
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

    ranked = _ranked(neurons)
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


def _scalar(value: Any) -> Any:
    """A value of numpy or torch as Python's own."""
    return value.item() if isinstance(value, (np.generic, Tensor)) else value


# --- files ---


def _place(path: object) -> Path:
    if not isinstance(path, (str, Path)):
        raise ValueError(f"a graph's file cannot be {shown(path)}; accepted: {ACCEPTED_FILE}")
    return Path(path)


def write_graph(graph: nx.DiGraph, path: str | Path) -> Path:
    """Keep a graph of :func:`path_graph` or :func:`class_graph` in a file, whole or not at all.

    Args:
        path: ends in ``.graphml`` or ``.json``, which chooses the format; an existing file is
            replaced.

    Returns:
        the path.

    Raises:
        ValueError: another ending, a graph of another kind, an attribute that the formats cannot
            hold, or a place that cannot be written to.
    """
    path = _place(path)
    ending = _ending(path)
    text = {".json": _as_json, ".graphml": _as_graphml}[ending](_named_graph(graph))
    _written(path, text)
    return path


def read_graph(path: str | Path) -> nx.DiGraph:
    """A graph that :func:`write_graph` kept.

    Raises:
        ValueError: no such file, one of another format or version, or a damaged one.
    """
    path = _place(path)
    ending, name = _ending(path), plain(str(path))
    try:
        text = read_utf8(path)
    except OSError as error:
        raise ValueError(f"{name} cannot be read ({error.strerror}); accepted: "
                         f"{ACCEPTED_FILE}") from error
    try:
        found = {".json": _from_json, ".graphml": _from_graphml}[ending](text)
    except Exception as error:  # whatever a parser makes of a file that anybody may have changed
        raise ValueError(f"{name} is damaged or no graph of this library ({one_line(error, 120)});"
                         f" accepted: {ACCEPTED_FILE}") from error
    _check_header(found, name)
    try:
        return _paired(found)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name} is damaged ({one_line(error, 120)}); accepted: "
                         f"{ACCEPTED_FILE}") from error


def _ending(path: Path) -> str:
    if path.suffix not in (".json", ".graphml"):
        raise ValueError(f"a graph's file cannot be called {shown(path.name)}; accepted: names "
                         "that end in .graphml or .json")
    return path.suffix


def _written(path: Path, text: str) -> None:
    """Write a text to a file, whole or not at all; what the disk refuses is a ``ValueError``."""
    def write(temporary: Path) -> None:
        temporary.write_bytes(text.encode())

    try:
        write_atomically(path, write)
    except OSError as error:
        raise ValueError(f"{plain(str(path))} cannot be written ({error.strerror or error}); "
                         "accepted: a file in a folder with write permission and room") from error


def _id(node: tuple[int, int]) -> str:
    return f"{node[0]}/{node[1]}"


def _check_header(graph: nx.DiGraph, what: str) -> None:
    header = graph.graph
    if header.get("format") != FORMAT or header.get("version") != VERSION or (
            header.get("kind") not in KINDS):
        found = {name: header.get(name) for name in ("format", "version", "kind")}
        raise ValueError(f"{what} says {shown(found, 120)} of itself; accepted: {FORMAT!r} of "
                         f"version {VERSION}, kind {' or '.join(KINDS)}")


def _named_graph(graph: nx.DiGraph) -> nx.DiGraph:
    """The graph with ids for nodes, once everything about it was found fit for a file."""
    import networkx as nx

    if not isinstance(graph, nx.DiGraph) or graph.is_multigraph():
        raise ValueError(f"a graph is needed, got {type(graph).__name__}; accepted: that of "
                         "Paths.to_graph or class_graph")
    _check_header(graph, "the graph")
    named = nx.DiGraph(**_fit(graph.graph, "graph", "the graph"))
    for node, attributes in graph.nodes(data=True):
        kept = _fit(attributes, "node", f"node {shown(node)}")
        if node != (kept.get("block"), kept.get("neuron")):
            raise ValueError(f"node {shown(node)} has block {shown(kept.get('block'))} and neuron "
                             f"{shown(kept.get('neuron'))}; accepted: those of its name")
        named.add_node(_id(node), **kept)
    for source, end, attributes in graph.edges(data=True):
        what = f"the edge from {shown(source)} to {shown(end)}"
        named.add_edge(_id(source), _id(end), **_fit(attributes, "edge", what))
    return named


def _fit(attributes: dict[str, Any], kind: str, what: str) -> dict[str, Any]:
    """Attributes as Python's own values; ``ValueError`` if a file could not give one back."""
    fit = {}
    for name, value in attributes.items():
        value = _scalar(value)
        holds = (isinstance(value, (bool, int)) or isinstance(value, float) and math.isfinite(value)
                 or _is_text(value))
        if not holds or not _is_text(name) or name in TAKEN[kind]:
            raise ValueError(f"{what} has an attribute {shown(name)} of {shown(value)}; accepted: "
                             "bool, int, finite float or printable text, under a name that is not "
                             f"{', '.join(sorted(TAKEN[kind]))}")
        fit[name] = value
    return fit


def _is_text(value: Any) -> bool:
    # an empty text, or spaces alone, some readers of XML take for nothing
    return isinstance(value, str) and value.isprintable() and bool(value.strip())


def _as_json(named: nx.DiGraph) -> str:
    import networkx as nx

    return json.dumps(nx.node_link_data(named, edges="links"), indent=1, allow_nan=False,
                      ensure_ascii=False) + "\n"


def _from_json(text: str) -> nx.DiGraph:
    import networkx as nx

    held = json.loads(text)
    ids = [node["id"] for node in held["nodes"]]
    ends = [(link["source"], link["target"]) for link in held["links"]]
    _check_listed(ids, ends)
    if held["directed"] is not True or held["multigraph"] is not False:
        raise ValueError("no directed graph")
    return nx.node_link_graph(held, edges="links")


def _as_graphml(named: nx.DiGraph) -> str:
    import io

    import networkx as nx

    stream = io.BytesIO()
    nx.write_graphml_xml(named, stream, prettyprint=True)
    return stream.getvalue().decode() + "\n"


def _from_graphml(text: str) -> nx.DiGraph:
    from xml.etree import ElementTree

    import networkx as nx

    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # which could stand for gigabytes
        raise ValueError("it defines entities")
    root = ElementTree.fromstring(text)
    ids = [node.get("id") for node in root.iterfind(".//{*}node")]
    ends = [(edge.get("source"), edge.get("target")) for edge in root.iterfind(".//{*}edge")]
    _check_listed(ids, ends)
    graph = nx.parse_graphml(text)
    if not graph.is_directed() or graph.is_multigraph():
        raise ValueError("no directed graph")
    for name in TAKEN["graph"]:  # networkx's own
        graph.graph.pop(name, None)
    return graph


def _check_listed(ids: list[str], ends: list[tuple[str, str]]) -> None:
    """Raise ``ValueError`` where networkx would pass over a fault: a node or an edge twice, an edge
    of a node that is not there."""
    if len(set(ids)) < len(ids) or len(set(ends)) < len(ends):
        raise ValueError("a node or an edge occurs twice")
    if not {end for pair in ends for end in pair} <= set(ids):
        raise ValueError("an edge joins a node that is not there")


def _paired(named: nx.DiGraph) -> nx.DiGraph:
    """The graph with pairs for nodes, in the file's order."""
    import networkx as nx

    pairs = {}
    for name, attributes in named.nodes(data=True):
        pair = attributes["block"], attributes["neuron"]
        if not all(isinstance(each, int) and not isinstance(each, bool) for each in pair) or (
                pair[0] < 1 or pair[1] < 0 or _id(pair) != name):
            raise ValueError(f"node {shown(name)} is block {shown(pair[0])}, neuron "
                             f"{shown(pair[1])}")
        pairs[name] = pair
    graph = nx.DiGraph(**_fit(named.graph, "graph", "the graph"))
    for name, attributes in named.nodes(data=True):
        graph.add_node(pairs[name], **_fit(attributes, "node", f"node {name}"))
    for source, end, attributes in named.edges(data=True):
        if pairs[source][0] >= pairs[end][0]:
            raise ValueError(f"the edge from {source} to {end} does not lead to a later block")
        graph.add_edge(pairs[source], pairs[end],
                       **_fit(attributes, "edge", f"the edge from {source} to {end}"))
    return graph


# --- the JSON of circuit-tracer's viewer ---


def circuit_tracer_data(graph: nx.DiGraph, slug: str) -> dict[str, Any]:
    """The graph as the JSON that the viewer of circuit-tracer reads, as far as it maps.

    That viewer (github.com/safety-research/circuit-tracer, ``schema_version`` 1) draws features of
    a language model over the tokens of a prompt. What is mapped:

    ==================  ===========================================================================
    of the graph        in the file
    ==================  ===========================================================================
    node                a node of ``feature_type`` ``"cross layer transcoder"`` with ``node_id``
                        ``"layer_neuron_0"``; ``layer`` counts from 0, so that the viewer's L0 is
                        block 1; ``feature`` is the Cantor pair of layer and neuron, from which the
                        viewer reads the neuron's number
    ``activation``      ``activation``
    other attributes    ``clerp``, the words beside a node
    edge                a link with the weight ``effect``; without one ``count``; else 1
    ``label``           of the graph, one node of ``feature_type`` ``"logit"``, with
                        ``probability`` if the graph has that too, and a link to it from every node
                        that has an ``attribution``, with that weight
    ==================  ===========================================================================

    There is one position, because a path has no tokens: all neurons stand at the first of two
    entries of ``prompt_tokens``, the label at the second. What has no counterpart is left out:
    examples of features, embeddings, error nodes, ``influence`` (so that the slider which prunes by
    it is not shown). ``scan`` names a local folder, so that the viewer asks no other machine for
    examples.

    Args:
        slug: the graph's name in the viewer and its file's.

    Raises:
        ValueError: a graph of another kind, or a name that cannot be a file's.
    """
    path_component(slug, "a graph")
    named, links = _named_graph(graph), []
    label, chance = named.graph.get("label"), named.graph.get("probability")
    ids = {name: f"{held['block'] - 1}_{held['neuron']}_0"
           for name, held in named.nodes(data=True)}
    nodes = [_feature(ids[name], held) for name, held in named.nodes(data=True)]
    for source, end, held in named.edges(data=True):
        weight = next((held[key] for key in ("effect", "count") if key in held), 1)
        links.append({"source": ids[source], "target": ids[end], "weight": float(weight)})
    if label is not None:
        last = 1 + max((held["block"] for _, held in named.nodes(data=True)), default=0)
        output = f"{last}_0_1"
        # the viewer takes the name from between quotes and the probability from after "(p="
        words = str(label).replace('"', "'").replace("(p=", "(p =")
        nodes.append({
            "node_id": output, "feature": 0, "layer": str(last), "ctx_idx": 1,
            "feature_type": "logit", "jsNodeId": "L_0-1", "is_target_logit": True, "run_idx": 0,
            "token_prob": 0.0 if chance is None else float(chance), "reverse_ctx_idx": 0,
            "clerp": "" if chance is None else f'Output "{words}" (p={float(chance):.3f})',
            "influence": None, "activation": None})
        links += [{"source": ids[name], "target": output, "weight": float(held["attribution"])}
                  for name, held in named.nodes(data=True) if "attribution" in held]
    # of one token the viewer would take every node for a feature that is everywhere, and drop it
    tokens = ["image", "label" if label is None else str(label)]
    return {
        "metadata": {"slug": slug, "scan": "./features", "transcoder_list": [],
                     "prompt_tokens": tokens, "prompt": " ".join(tokens), "node_threshold": None,
                     "schema_version": 1,
                     "generator": {"name": FORMAT, "version": VERSION}},
        "qParams": {"pinnedIds": [], "supernodes": [], "linkType": "both", "clickedId": "",
                    "sg_pos": ""},
        "nodes": nodes, "links": links}


def _feature(name: str, held: dict[str, Any]) -> dict[str, Any]:
    layer, neuron = held["block"] - 1, held["neuron"]
    both = layer + neuron
    words = [f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
             for key, value in held.items() if key not in ("block", "neuron")]
    return {"node_id": name, "feature": both * (both + 1) // 2 + neuron, "layer": str(layer),
            "ctx_idx": 0, "feature_type": "cross layer transcoder", "token_prob": 0.0,
            "is_target_logit": False, "run_idx": 0, "reverse_ctx_idx": 0,
            "jsNodeId": f"{layer}_{neuron}-0", "influence": None,
            "clerp": ", ".join([f"block {held['block']}, neuron {neuron}", *words]),
            "activation": held.get("activation")}


def write_circuit_tracer(graph: nx.DiGraph, folder: str | Path, slug: str) -> Path:
    """Put :func:`circuit_tracer_data` into a folder that the viewer serves.

    Writes ``{slug}.json`` and enters it in ``graph-metadata.json``, the list that the viewer begins
    with, which keeps its other entries; each file is there whole or not at all.

    Returns:
        the graph's file.

    Raises:
        ValueError: what :func:`circuit_tracer_data` refuses, a list that is damaged, or a folder
            that cannot be written to.
    """
    folder, data = Path(folder), circuit_tracer_data(graph, slug)
    index, path = folder / "graph-metadata.json", folder / f"{slug}.json"
    try:
        old = json.loads(read_utf8(index))["graphs"] if index.exists() else []
        others = [entry for entry in old if entry["slug"] != slug]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{plain(str(index))} is damaged ({one_line(error, 120)}); accepted: the "
                         "list of graphs of circuit-tracer, or none") from error
    if path == index:
        raise ValueError(f"a graph cannot be called {shown(slug)}, which is the name of the list "
                         "of graphs; accepted: another name")
    for place, value in ((path, data), (index, {"graphs": [*others, data["metadata"]]})):
        _written(place, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")
    return path
