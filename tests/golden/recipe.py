"""Seeded weights and inputs of the golden cases, as numpy arrays.

A golden case stores a specification and the expected numbers; the network is rebuilt from the
specification here.  No deep-learning framework is involved: weights are keyed by the names in a
timm ``VisionTransformer``'s ``state_dict``.
"""

from __future__ import annotations

import numpy as np


def weights(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """float64 weights for every name, each drawn from its own stream
    ``(seed, position in sorted order)``.

    Args:
        shapes: ``{name: shape}`` of the network's ``state_dict()``.
        seed: the case's ``weight_seed``.
    """
    drawn = {}
    for index, name in enumerate(sorted(shapes)):
        shape = shapes[name]
        noise = np.random.default_rng([seed, index]).standard_normal(shape)
        if name in ("cls_token", "pos_embed"):
            drawn[name] = 0.5 * noise
        elif name.startswith("fc_norm."):
            drawn[name] = np.ones(shape) if name.endswith("weight") else np.zeros(shape)
        elif "norm" in name:
            drawn[name] = 1 + 0.1 * noise if name.endswith("weight") else 0.1 * noise
        elif name.endswith("bias"):
            drawn[name] = 0.1 * noise
        else:
            gain = 3.0 if name == "head.weight" else 1.0
            drawn[name] = gain * noise / np.sqrt(int(np.prod(shape[1:])))
    return drawn


def images(batch: int, size: int, seed: int) -> np.ndarray:
    """``(batch, 3, size, size)`` standard-normal float64 inputs, with no further preprocessing."""
    return np.random.default_rng([seed, 10_000]).standard_normal((batch, 3, size, size))
