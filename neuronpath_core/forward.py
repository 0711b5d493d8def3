"""One unedited forward pass of a chunk of images, block by block, the baseline that it is compared
with, and gradients with respect to its streams."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuronpath_core.factors import check_values
from neuronpath_core.hooks import reading
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


def check_baseline(
    target: TargetModel, baseline: Float[Tensor, "image layer token neuron"] | None, batch: int
) -> Float[Tensor, "image layer token neuron"] | None:
    """A baseline as attributions take it; ``None``, which stands for zero, as it is.

    Args:
        target: the model, whose number of tokens is that of a checked batch.
        baseline: what the scope's neurons are compared with, one set for all images or one an
            image, the same for all tokens of the scope or one a token; smaller layers end in
            values that nothing looks at.
        batch: number of images.

    Returns:
        the values in the model's dtype and on its device.

    Raises:
        ValueError: values of another shape, or non-finite ones.
    """
    if baseline is None:
        return None
    values = check_values(target, baseline, batch)
    tokens = len(range(target.n_tokens)[target.tokens])
    if values.shape[2] not in (1, tokens):
        raise ValueError(f"the baseline is of {values.shape[2]} tokens, the scope has {tokens}; "
                         "accepted: values of each of the scope's tokens, or of one, which hold "
                         "for all")
    return values.detach()


def of_images(baseline: Float[Tensor, "image *rest"] | None,
              rows: Int64[Tensor, "row"]) -> Float[Tensor, "row *rest"] | None:
    """The baseline of some of the images; one for every image stays as it is."""
    return baseline if baseline is None or len(baseline) == 1 else baseline[rows]


def by_layer(target: TargetModel, baseline: Float[Tensor, "image layer token neuron"] | None
             ) -> list[Float[Tensor, "image token neuron"]] | None:
    """The baseline of each layer, of those neurons that it has."""
    if baseline is None:
        return None
    return [baseline[:, index, :, :layer.units * layer.width]
            for index, layer in enumerate(target.layers)]


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
    """One unedited forward of a chunk of images, and what it is compared with.

    Attributes:
        activations: w̄, per block ``(batch, scope token, neuron)``.
        streams: what enters each block, and what leaves the last, ``(batch, token, embed)``.
        baseline: b, per block ``(batch or 1, scope token or 1, neuron)``; ``None`` for zero.
    """

    target: TargetModel
    activations: list[Tensor]
    streams: list[Tensor]
    baseline: list[Tensor] | None = None

    @classmethod
    def of(cls, target: TargetModel, images: Float[Tensor, "batch channel height width"],
           baseline: Float[Tensor, "image layer token neuron"] | None = None) -> CleanPass:
        """Of a chunk of images, with their checked baseline."""
        streams, activations = [], []
        with torch.no_grad():
            streams.append(target.embed(images))
            for index in range(target.n_blocks):
                stream, active = through(target, streams[-1], index)
                streams.append(stream)
                activations.append(active)
        return cls(target, activations, streams, by_layer(target, baseline))

    @cached_property
    def heights(self) -> list[Tensor]:
        """w̄ - b, how far the neurons are from the baseline, as ``activations``, which they are
        where the baseline is zero."""
        if self.baseline is None:
            return self.activations
        return [value - base for value, base in zip(self.activations, self.baseline, strict=True)]

    @cached_property
    def keys_values(self) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of all tokens but the class token, per block."""
        with torch.no_grad():
            return [self.target.plain(index).keys_values(self.streams[index])
                    for index in range(self.target.n_blocks)]

    def take(self, rows: Int64[Tensor, "row"]) -> CleanPass:
        """The pass of some of the images, in any order, repeated or not."""
        taken = replace(self, activations=[value[rows] for value in self.activations],
                        streams=[value[rows] for value in self.streams],
                        baseline=None if self.baseline is None
                        else [of_images(base, rows) for base in self.baseline])
        if self.baseline is not None and "heights" in self.__dict__:
            taken.__dict__["heights"] = [value[rows] for value in self.heights]
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
