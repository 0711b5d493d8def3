"""Find, check and use influential neuron paths in vision Transformers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for whatever reads sources; PLACES says the same to Python
    from neuronpath_core.circuits.certified import certify
    from neuronpath_core.circuits.circuit_tests import circuit_tests
    from neuronpath_core.circuits.edges import path_edges
    from neuronpath_core.circuits.faithfulness import faithfulness
    from neuronpath_core.circuits.graph_files import read_graph, write_graph
    from neuronpath_core.circuits.graphs import class_graph
    from neuronpath_core.edits import edit
    from neuronpath_core.explanations.card import Card, neuron_card
    from neuronpath_core.explanations.explanation import Explanation
    from neuronpath_core.explanations.important import important_neurons
    from neuronpath_core.explanations.measure import explain
    from neuronpath_core.hooks import read_activations
    from neuronpath_core.jas import complete_attribution, joint_attribution_score
    from neuronpath_core.knowledge import knowledge_attribution
    from neuronpath_core.models.transformers.entry import from_transformers
    from neuronpath_core.models.zero_shot import zero_shot
    from neuronpath_core.paths import Paths, find_paths, find_paths_by_top
    from neuronpath_core.quadrature import quadrature_rule
    from neuronpath_core.readings.projection import identifiability, project
    from neuronpath_core.readings.relevance import relevance
    from neuronpath_core.replacement import REPLACEMENTS, replacement_values
    from neuronpath_core.scores import METHODS, Method, register
    from neuronpath_core.scores.exact import exact_effects
    from neuronpath_core.settings import SearchSettings
    from neuronpath_core.study.study import Study
    from neuronpath_core.target import TargetModel
    from neuronpath_core.variants.conditional_gradient import conditional_gradient_paths
    from neuronpath_core.variants.refine import exhaustive_paths, refine_paths
    from neuronpath_core.variants.sites import SiteModel

__version__ = "1.0.0"

__all__ = [
    "Card", "Explanation", "METHODS", "Method", "Paths", "REPLACEMENTS", "SearchSettings",
    "SiteModel", "Study", "TargetModel", "certify", "circuit_tests", "class_graph",
    "complete_attribution", "conditional_gradient_paths", "edit", "exact_effects",
    "exhaustive_paths", "explain", "faithfulness", "find_paths", "find_paths_by_top",
    "from_transformers", "identifiability", "important_neurons", "joint_attribution_score",
    "knowledge_attribution", "neuron_card", "path_edges", "project", "quadrature_rule",
    "read_activations", "read_graph", "refine_paths", "register", "relevance",
    "replacement_values", "write_graph", "zero_shot",
]

# module -> its public names
PLACES = {
    "circuits.certified": ("certify",),
    "circuits.circuit_tests": ("circuit_tests",),
    "circuits.edges": ("path_edges",),
    "circuits.faithfulness": ("faithfulness",),
    "circuits.graph_files": ("read_graph", "write_graph"),
    "circuits.graphs": ("class_graph",),
    "edits": ("edit",),
    "explanations.card": ("Card", "neuron_card"),
    "explanations.explanation": ("Explanation",),
    "explanations.important": ("important_neurons",),
    "explanations.measure": ("explain",),
    "hooks": ("read_activations",),
    "jas": ("complete_attribution", "joint_attribution_score"),
    "knowledge": ("knowledge_attribution",),
    "models.transformers.entry": ("from_transformers",),
    "models.zero_shot": ("zero_shot",),
    "paths": ("Paths", "find_paths", "find_paths_by_top"),
    "quadrature": ("quadrature_rule",),
    "readings.projection": ("identifiability", "project"),
    "readings.relevance": ("relevance",),
    "replacement": ("REPLACEMENTS", "replacement_values"),
    "scores": ("METHODS", "Method", "register"),
    "scores.exact": ("exact_effects",),
    "settings": ("SearchSettings",),
    "study.study": ("Study",),
    "target": ("TargetModel",),
    "variants.conditional_gradient": ("conditional_gradient_paths",),
    "variants.refine": ("exhaustive_paths", "refine_paths"),
    "variants.sites": ("SiteModel",),
}


def __getattr__(name: str) -> object:
    """A public name or a module, loaded when it is first asked for: PyTorch and timm take seconds
    to load, which a command that answers without them must not spend."""
    for place, names in PLACES.items():
        if name in names:
            globals()[name] = value = getattr(import_module(f"{__name__}.{place}"), name)
            return value
    module = f"{__name__}.{name}"
    try:
        if not name.startswith("_"):
            return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
