"""Files of paths' graphs, read as they were written and after each kind of damage."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from neuronpath_core.circuits.edges import edge_table
from neuronpath_core.circuits.graph_files import read_graph, write_graph
from neuronpath_core.circuits.graphs import VERSION
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.study.study import Study

if TYPE_CHECKING:
    from pathlib import Path

    import networkx as nx


def graph_files(study: Study, names: Sequence[str], images: ImageSet, edges: pd.DataFrame,
                folder: str | Path, **settings) -> pd.DataFrame:
    """Every image's path as a graph with its measured edges, written to a file of either format,
    read again, and read once more after each of ``DAMAGES``.

    Args:
        edges: of :func:`~neuronpath_core.chapters.edges_of_paths.measured.path_edge_table`, of
        these models and images. folder: for the files.
        settings: as of :func:`~neuronpath_core.chapters.edges_of_paths.measured.path_edge_table`.

    Returns:
        one row for each model, file, image and damage: ``model, file, image, damage, neurons,
        edges, told``; with no damage (``""``) ``told`` is whether what was read is what was
        written, every attribute included, with one whether it was refused.
    """
    rows = []
    own = edges[(edges["control"] == "path") & (edges["replaced"] == "zero")]
    for model in study.check_models(list(names)):
        paths, target = study.paths(model, images, **settings), study.target(model)
        mine, (pictures, labels) = own[own["model"] == model], study.batch(images, model)
        for image in range(len(paths)):
            graph = paths.to_graph(image, edges=edge_table(mine, "exact", image), target=target,
                                   images=pictures, labels=labels)
            for file, ending in FILES.items():
                path = write_graph(graph, f"{folder}/path.{ending}")
                text, told = path.read_text(encoding="utf-8"), {"": _same(graph, read_graph(path))}
                for damage, change in DAMAGES.items():
                    path.write_text(change(text), encoding="utf-8")
                    told[damage] = _refused(path)
                rows += [{"model": model, "file": file, "image": image, "damage": damage,
                          "neurons": len(graph), "edges": graph.number_of_edges(), "told": each}
                         for damage, each in told.items()]
    return pd.DataFrame(rows)


def _same(graph: nx.DiGraph, back: nx.DiGraph) -> bool:
    return (dict(back.nodes(data=True)) == dict(graph.nodes(data=True))
            and back.graph == graph.graph
            and {edge[:2]: edge[2] for edge in back.edges(data=True)}
            == {edge[:2]: edge[2] for edge in graph.edges(data=True)})


def _refused(path: Path) -> bool:
    try:
        read_graph(path)
    except ValueError:
        return True
    return False


def _without_a_neuron(text: str) -> str:
    """A file of which the first neuron is gone, and the edges that lead from it are not."""
    if text.lstrip().startswith("{"):
        held = json.loads(text)
        return json.dumps(held | {"nodes": held["nodes"][1:]})
    return re.sub(r"<node .*?</node>", "", text, count=1, flags=re.DOTALL)


def _without_a_number(text: str) -> str:
    """A file in which the first edge's effect is no number."""
    if text.lstrip().startswith("{"):
        held = json.loads(text)
        held["links"][0]["effect"] = None
        return json.dumps(held)
    effect = re.search(r'<key id="(\w+)" for="edge" attr\.name="effect"', text)[1]
    return re.sub(rf'(<edge .*?<data key="{effect}">)[^<]*', r"\1none", text, count=1,
                  flags=re.DOTALL)


def _of_another_version(text: str) -> str:
    """A file that says that a later version wrote it."""
    if text.lstrip().startswith("{"):
        held = json.loads(text)
        return json.dumps(held | {"graph": held["graph"] | {"version": VERSION + 1}})
    version = re.search(r'<key id="(\w+)" for="graph" attr\.name="version"', text)[1]
    return re.sub(rf'(<data key="{version}">)[^<]*', rf"\g<1>{VERSION + 1}", text, count=1)


# the formats of a graph's file, by their endings
FILES = {"GraphML": "graphml", "node-link JSON": "json"}
# what is done to a file's text, each of which a reader must refuse
DAMAGES: dict[str, Callable[[str], str]] = {
    "cut short": lambda text: text[:len(text) // 2],
    "a neuron gone": _without_a_neuron,
    "an effect that is no number": _without_a_number,
    "of another version": _of_another_version}
