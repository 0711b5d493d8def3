"""Scores and choices that paths are found by; importing the room registers them."""

from neuronpath_core.methods import METHODS, Method, register
from neuronpath_core.scores import paper

__all__ = ["METHODS", "Method", "paper", "register"]
