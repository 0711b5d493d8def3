"""Explorers: figures that a reader changes, on a page without a network and in Jupyter."""

from neuronpath_core.figures.explore.hero import hero_figure
from neuronpath_core.figures.explore.paths import explore_paths
from neuronpath_core.figures.explore.pruning import explore_pruning
from neuronpath_core.figures.explore.similar import explore_similarity

__all__ = ["explore_paths", "explore_pruning", "explore_similarity", "hero_figure"]
