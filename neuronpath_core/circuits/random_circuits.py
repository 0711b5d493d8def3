"""Random circuits with as many neurons in every layer as given ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.layers import Layer
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Int64


def drawn_like(target: TargetModel, ranked: Int64[Tensor, "image layer rank"],
               seed: Sequence[int], outside: bool = False) -> Int64[Tensor, "image layer rank"]:
    """Random neurons, as many in every layer as circuits have; or, with ``outside``, one in every
    layer that a circuit lacks.

    The draw depends on the seed and on the circuit alone, so that images with the same circuit have
    the same draw.

    Raises:
        ValueError: a layer all of whose neurons are in the circuit, and ``outside``.
    """
    known: dict[bytes, np.ndarray] = {}
    drawn = []
    for own in ranked.cpu().sort(-1).values.numpy():
        key = own.astype("<i8").tobytes()
        if key not in known:
            rng = np.random.default_rng([*seed, int.from_bytes(hashlib.sha256(key).digest()[:8],
                                                               "big")])
            known[key] = np.stack([_drawn_of(layer, row, rng, outside)
                                   for layer, row in zip(target.layers, own, strict=True)])
        drawn.append(known[key])
    return torch.from_numpy(np.stack(drawn)).to(ranked.device)


def _drawn_of(layer: Layer, own: np.ndarray, rng: np.random.Generator,
              outside: bool) -> np.ndarray:
    if not outside:
        return rng.choice(layer.units, len(own), replace=False)
    free = np.setdiff1d(np.arange(layer.units), own)
    if not len(free):
        raise ValueError(f"all {layer.units} neurons of {layer.name} are in the circuit, so that "
                         "none can inflate it; accepted: circuits that leave one out")
    return rng.choice(free, 1)
