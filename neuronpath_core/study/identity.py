"""What stored paths depend on besides their settings: the code that computes them, the weights, and
the packages."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import torch

from neuronpath_core.support.sources import PACKAGE, closure, fingerprint
from neuronpath_core.target import TargetModel

# where what decides the numbers of a path table begins: all that these import, too; a change in any
# of it makes stored tables unusable
NUMERIC_MODULES = ("neuronpath_core.paths", "neuronpath_core.variants.sites",
                   "neuronpath_core.models.zero_shot", "neuronpath_core.images.file_images")
# the second decide what an image file becomes
PACKAGES, PICTURE_PACKAGES = ("torch", "timm"), ("pillow", "torchvision")


def code_fingerprint(package: Path = PACKAGE) -> str:
    """SHA-256 over the sources of the library in this folder that decide the numbers, without
    comments and docstrings."""
    return fingerprint(closure(NUMERIC_MODULES, package), package)


@cache
def own_code() -> str:
    """:func:`code_fingerprint` of the library that runs, read once in a process."""
    return code_fingerprint()


def weights_sha256(target: TargetModel) -> str:
    """SHA-256 over the names and values of a model's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(target.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.detach().to("cpu",
                                                             torch.float64).numpy()).tobytes())
    return digest.hexdigest()
