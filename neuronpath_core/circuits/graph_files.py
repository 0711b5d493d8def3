"""Graphs of paths in files.

:func:`write_graph` keeps a graph in one of two formats that other programs read too, GraphML and
node-link JSON. Both hold the same:

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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuronpath_core.circuits.graphs import FORMAT, KINDS, VERSION, plain_value
from neuronpath_core.support.files import read_utf8, write_atomically
from neuronpath_core.support.text import one_line, plain, shown

if TYPE_CHECKING:
    import networkx as nx

# names that the file formats have a meaning of their own for
TAKEN = {"node": {"id"}, "edge": {"source", "target", "id", "key"},
         "graph": {"node_default", "edge_default"}}
ACCEPTED_FILE = f"a .graphml or .json file of version {VERSION} as write_graph leaves it"


def _place(path: object) -> Path:
    if not isinstance(path, (str, Path)):
        raise ValueError(f"a graph's file cannot be {shown(path)}; accepted: {ACCEPTED_FILE}")
    return Path(path)


def write_graph(graph: nx.DiGraph, path: str | Path) -> Path:
    """Keep a graph of :func:`~neuronpath_core.circuits.graphs.path_graph` or
    :func:`~neuronpath_core.circuits.graphs.class_graph` in a file, whole or not at all.

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
    text = {".json": _as_json, ".graphml": _as_graphml}[ending](named_graph(graph))
    keep_written(path, text)
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


def keep_written(path: Path, text: str) -> None:
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


def named_graph(graph: nx.DiGraph) -> nx.DiGraph:
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
        value = plain_value(value)
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
