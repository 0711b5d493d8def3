"""The graph of a path in the JSON that the viewer of circuit-tracer reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuronpath_core.circuits.graph_files import keep_written, named_graph
from neuronpath_core.circuits.graphs import FORMAT, VERSION
from neuronpath_core.support.files import path_component, read_utf8
from neuronpath_core.support.text import one_line, plain, shown

if TYPE_CHECKING:
    import networkx as nx


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
    named, links = named_graph(graph), []
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
        keep_written(place, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")
    return path
