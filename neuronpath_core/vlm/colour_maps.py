"""How well the neurons of tower and decoder tell, at the image's tokens, where a colour is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from neuronpath_core.images.shapes import COLOURS
from neuronpath_core.stats.ranks import aurocs
from neuronpath_core.vlm.adapter import VisionLanguageModel
from neuronpath_core.vlm.concepts import NAMES, concept_coverage
from neuronpath_core.vlm.questions import DESCRIBE
from neuronpath_core.vlm.scenes import Scene

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

BATCH = 50
COVERED = 0.25  # of a patch's pixels, from which on it shows a colour


def shown_colours(scenes: Sequence[Scene]) -> Bool[np.ndarray, "patch colour"]:
    """Which patches of all scenes, one after the other, show which colour."""
    places = [NAMES.index(colour) for colour in COLOURS]
    return np.moveaxis(concept_coverage(scenes)[:, places], 1, -1).reshape(
        -1, len(places)) >= COVERED


def separations(values: Float[np.ndarray, "patch neuron"],
                here: Bool[np.ndarray, "patch set"]) -> Float[np.ndarray, "neuron set"]:
    """How far the area under the ROC curve of telling some patches from all others by a neuron's
    value is from that of guessing, for several sets of patches: from 0 to 0.5, whatever the sign;
    NaN where no patch, or every patch, is in a set."""
    return np.abs(aurocs(values.T, here) - 0.5)


@torch.no_grad()
def colour_separations(vlm: VisionLanguageModel, scenes: Sequence[Scene]
                       ) -> list[Float[np.ndarray, "neuron colour"]]:
    """For each layer of the tower and then of the decoder, how well each neuron's product tells
    patches that show each colour from all other patches.

    Raises:
        ValueError: no scene.
    """
    colours = shown_colours(scenes)
    read = []
    for start in range(0, len(scenes), BATCH):
        part = scenes[start:start + BATCH]
        inputs = vlm.encode([scene.pixels for scene in part], [DESCRIBE] * len(part))
        tower = [values[:, -colours.shape[0] // len(scenes):] for values in vlm.activations(
            inputs, "product", "tower")]
        decoder = [values[inputs.visual].unflatten(0, (len(part), -1))
                   for values in vlm.activations(inputs, "product", "decoder")]
        read.append([values.float().cpu().numpy() for values in (*tower, *decoder)])
    found = []
    for layer in zip(*read, strict=True):
        values = np.concatenate(layer).reshape(-1, layer[0].shape[-1])
        found.append(separations(values, colours))
    return found
