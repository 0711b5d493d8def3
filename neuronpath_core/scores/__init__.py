"""Scores and choices that paths are found by; importing the room registers them."""

from neuronpath_core.scores import paper as paper
