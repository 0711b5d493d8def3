"""What stored paths depend on besides their settings: the code that computes them, the weights, and
the packages."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from neuronpath_core.support.sources import closure, fingerprint
from neuronpath_core.target import TargetModel

# where what decides the numbers of a path table begins: all that these import, too; a change in any
# of it makes stored tables unusable
NUMERIC_MODULES = ("neuronpath_core.paths", "neuronpath_core.variants.sites",
                   "neuronpath_core.models.zero_shot", "neuronpath_core.images.file_images")
# the second decide what an image file becomes
PACKAGES, PICTURE_PACKAGES = ("torch", "timm"), ("pillow", "torchvision")


def code_fingerprint() -> str:
    """SHA-256 over the sources that decide the numbers, see
    :func:`~neuronpath_core.support.sources.fingerprint`."""
    return fingerprint(closure(NUMERIC_MODULES))


def weights_sha256(target: TargetModel) -> str:
    """SHA-256 over the names and values of a model's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(target.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.detach().to("cpu",
                                                             torch.float64).numpy()).tobytes())
    return digest.hexdigest()
