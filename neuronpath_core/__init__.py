"""Find, check and use influential neuron paths in vision Transformers."""

from neuronpath_core.attribution import (
    complete_attribution,
    joint_attribution_score,
    knowledge_attribution,
    quadrature_rule,
)
from neuronpath_core.models.zero_shot import zero_shot
from neuronpath_core.neurons import TargetModel, edit, read_activations
from neuronpath_core.paths import METHODS, Paths, find_paths, find_paths_by_top
from neuronpath_core.study.study import Study
from neuronpath_core.variants.refine import exhaustive_paths, refine_paths
from neuronpath_core.variants.sites import SiteModel

__version__ = "0.1.0"

__all__ = [
    "METHODS", "Paths", "SiteModel", "Study", "TargetModel", "complete_attribution", "edit",
    "exhaustive_paths", "find_paths", "find_paths_by_top",
    "joint_attribution_score", "knowledge_attribution", "quadrature_rule", "read_activations",
    "refine_paths", "zero_shot",
]
