"""Scores and choices that paths are found by; importing the room registers them."""

from neuronpath_core.methods import METHODS, Method, register

# the paper's first: tables and pages list methods in this order
from neuronpath_core.scores import paper  # isort: split

from neuronpath_core.scores import (
    attribution_patching,
    conditional,
    exact,
    integrated,
    libragrad,
    relp,
)

__all__ = ["METHODS", "Method", "attribution_patching", "conditional", "exact", "integrated",
           "libragrad", "paper", "register", "relp"]
