"""Small models, images and paths that cards are made of."""

from __future__ import annotations

import numpy as np
import torch

from neuronpath_core.images.image_set import ImageSet
from tests.helpers import network

NAMES = ("<script>alert(1)</script>", "a & b", '" onload="x', "$x_1$", "e\u202ef")


def image_set(count: int = 12, seed: int = 3, names: tuple[str, ...] = NAMES,
              masks: bool = True) -> ImageSet:
    """Normal images of 8 by 8 pixels and five classes, with two masks each."""
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.standard_normal((count, 3, 8, 8)))
    labels = torch.arange(count) % 5
    where = {"left": np.zeros((count, 8, 8), bool), "some": rng.random((count, 8, 8)) < 0.5}
    where["left"][:, :, :4] = True
    pixels = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return ImageSet(images, labels, torch.arange(count) + 100, names, pixels,
                    masks=where if masks else {})


def made(scope: str = "cls", count: int = 12, **overrides):
    """A network, images, and paths that go through neuron 3 of block 1 for classes 0 and 1."""
    target, _, _ = network(scope, 3, **overrides)
    images = image_set(count)
    neurons = torch.from_numpy(np.random.default_rng(1).integers(4, 16, (count, target.n_blocks)))
    neurons[images.labels < 2, 1] = 3
    return target, images, neurons
