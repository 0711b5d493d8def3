"""One unedited forward pass of a chunk of images, block by block, and gradients with respect to its
streams."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuronpath_core.hooks import reading
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


def through(target: TargetModel, stream: Float[Tensor, "batch token embed"],
            index: int) -> tuple[Tensor, Tensor]:
    """The stream after one block, running natively, and the block's scope activations
    ``(batch, scope token, neuron)``."""
    plain = target.plain(index)
    if plain is not None:
        return plain.activations(stream)
    with reading(target) as store:
        stream = target.run(stream, index, index + 1)
    return stream, store[index]


@dataclass(frozen=True)
class CleanPass:
    """One unedited forward of a chunk of images.

    Attributes:
        activations: per block ``(batch, scope token, neuron)``.
        streams: what enters each block, and what leaves the last, ``(batch, token, embed)``.
    """

    target: TargetModel
    activations: list[Tensor]
    streams: list[Tensor]

    @classmethod
    def of(cls, target: TargetModel,
           images: Float[Tensor, "batch channel height width"]) -> CleanPass:
        streams, activations = [], []
        with torch.no_grad():
            streams.append(target.embed(images))
            for index in range(target.n_blocks):
                stream, active = through(target, streams[-1], index)
                streams.append(stream)
                activations.append(active)
        return cls(target, activations, streams)

    @cached_property
    def keys_values(self) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of all tokens but the class token, per block."""
        with torch.no_grad():
            return [self.target.plain(index).keys_values(self.streams[index])
                    for index in range(self.target.n_blocks)]

    def take(self, rows: Int64[Tensor, "row"]) -> CleanPass:
        """The pass of some of the images, in any order, repeated or not."""
        taken = replace(self, activations=[value[rows] for value in self.activations],
                        streams=[value[rows] for value in self.streams])
        if "keys_values" in self.__dict__:
            taken.__dict__["keys_values"] = [(key[rows], value[rows]) for key,
                                             value in self.keys_values]
        return taken


def stream_gradient(
    context: TargetModel, stream: Float[Tensor, "copy token embed"],
    labels: Int64[Tensor, "copy"], block: int
) -> Float[Tensor, "copy token embed"]:
    """Gradient of each copy's label probability with respect to its residual stream before
    ``block``."""
    stream = stream.detach().requires_grad_()
    probability = context.probability(context.run(stream, block, context.n_blocks, pooled=True),
                                      labels)
    return torch.autograd.grad(probability.sum(), stream)[0]
