"""What chapters do with each of their models, counted from the values of their parameters; the
metadata of a notebook name the function that counts it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from neuronpath_core.chapters.class_similarity.wrong_labels import wrong_count
from neuronpath_core.cost.passes import Passes, knowledge_passes
from neuronpath_core.cost.work import Work
from neuronpath_core.scores.exact import exact_passes
from neuronpath_core.target import TargetModel


def forwards(count: int) -> Callable[[TargetModel], Passes]:
    """So many forwards of the whole network."""
    return lambda target: Passes(forward=count * target.n_blocks)


def search_settings(values: Mapping[str, Any]) -> dict:
    """Those of a chapter's parameters that are settings of a search."""
    return {name: values[name] for name in ("context", "quadrature", "steps", "nodes")
            if name in values}


def knowledge(values: Mapping[str, Any]) -> Work:
    """Knowledge attributions of all neurons by an integral; for a few images what the removal of
    each neuron alone does, too."""
    alone, steps = values.get("alone_images", 0), values["steps"]
    counts = [values["n_images"], *([alone] if alone else [])]
    return Work(drafted=[(count, steps, lambda target: knowledge_passes(target, steps), 1)
                         for count in counts],
                passes=[(alone, 1, lambda target: Passes(**exact_passes(target)), 1)]
                if alone else [])


def interventions(values: Mapping[str, Any]) -> Work:
    """The paths of every method, and one forward without and two with edits for each."""
    count = values["n_images"]
    settings = search_settings(values) | {"seed": values["seed"]}
    edits = 1 + 2 * len(values["methods"])
    return Work([(count, "all", {"method": method} | settings) for method in values["methods"]],
                passes=[(count, 1, forwards(edits), edits)])


def class_paths(values: Mapping[str, Any]) -> Work:
    """Paths of all images, and for some of them those of the converged integral."""
    settings, compared = search_settings(values), values.get("agreement_images")
    ways = [settings, {"context": "full", "quadrature": "gauss-legendre",
                       "steps": [32, 16, 8, 4]}] if compared else []
    return Work([(values["n_images"], "all", settings), *((compared, "all", way) for way in ways)])


def class_similarity(values: Mapping[str, Any]) -> Work:
    """Paths of all images, and those of one image in four with a wrong label."""
    count, settings = values["n_images"], search_settings(values)
    return Work([(count, "all", settings), (wrong_count(count), "relabelled", settings)])


def pruning(values: Mapping[str, Any]) -> Work:
    """Paths of several numbers of neurons for the probing images, and forwards of the others under
    every mask."""
    count, settings = values["n_images"], search_settings(values)
    probing = round(0.8 * count)
    cells = len(values["tops"]) * len(values["shares"]) * values["repeats"]
    alone = [(count, "all", settings)] * (1 in values["tops"])
    together = [(probing, "probing", settings | {"top": top})
                for top in dict.fromkeys(values["tops"]) if top > 1]
    masked = (count - probing, 1, forwards(3 * cells), cells)
    return Work(alone + together[:1], together[1:],
                [(probing, 1, forwards(1), 1), (count - probing, 1, forwards(1), 1)], [masked])
