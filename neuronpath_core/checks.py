"""What a model, a batch and a path must be for an attribution to be defined; each check is one line
that says what is accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Int64


class Checked:
    """The checks of a :class:`~neuronpath_core.target.TargetModel`, which inherits them."""

    def check_weights(self) -> None:
        """Raise ``ValueError`` naming the first parameter that is not finite, or if the head has
        become one of another kind or number of classes."""
        for name, parameter in self.model.named_parameters():
            if not parameter.is_meta and not torch.isfinite(parameter).all():
                raise ValueError(f"the model's weights are not finite: {name}; accepted: finite "
                                 f"weights")
        if self.family.head_of(self.model) != self._head:
            raise ValueError("the model's head is no longer the one with which the TargetModel "
                             "was made; accepted: a head of the same kind and number of "
                             "classes, of a zero-shot tower inside its zero_shot(...)")

    def check_images(self, images: Tensor) -> None:
        """Raise ``ValueError`` unless images are of the shape, type and range that this model
        accepts."""
        channels = self.family.first_weight(self.model).shape[1]
        pictures = isinstance(images, Tensor) and images.ndim == 4
        size = tuple(images.shape[2:]) if pictures else (0, 0)
        fits, accepted = self.family.image_sizes(self.model, size)
        if not pictures or images.shape[1] != channels or not fits:
            found = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise ValueError(f"images must be a tensor of shape (batch, {channels}, {accepted}, "
                             f"got {found}")
        if len(images) == 0:
            raise ValueError("images must hold at least one image, got an empty batch")
        if images.dtype != self.dtype or images.device != self.device:
            raise ValueError(f"images are {images.dtype} on {images.device}; accepted: the "
                             f"model's {self.dtype} on {self.device}")
        if not torch.isfinite(images).all():
            raise ValueError("images hold NaN or infinite values; accepted: finite pixels only")
        self.n_tokens = self.family.token_count(self.model, tuple(images.shape[2:]))

    def check_batch(self, images: Tensor, labels: Tensor) -> None:
        """Raise ``ValueError`` unless weights, images and labels are all such that an attribution
        is defined."""
        self.check_weights()
        self.check_images(images)
        if not isinstance(labels,
                          Tensor) or labels.dtype != torch.int64 or labels.shape != (len(images),):
            found = f"{labels.dtype} {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(
                labels).__name__
            raise ValueError(f"labels must be an int64 tensor of shape ({len(images)},), got "
                             f"{found}")
        if labels.device != self.device:
            raise ValueError(f"labels are on {labels.device}; accepted: the model's {self.device}")
        if labels.min() < 0 or labels.max() >= self.n_classes:
            raise ValueError(f"labels must lie in 0..{self.n_classes - 1}, got "
                             f"{int(labels.min())}..{int(labels.max())}")

    def check_neurons(self, neurons: Tensor,
                      batch: int | None = None) -> Int64[Tensor, "batch layer rank"]:
        """Neuron indices as ``(batch, layer, rank)``; ``ValueError`` unless they fit this model.

        Args:
            neurons: int64 ``(batch, layer)``, one neuron a block, or ``(batch, layer, rank)``,
                several.
            batch: number of images they must belong to; ``None`` accepts any.
        """
        if not isinstance(neurons, Tensor) or neurons.dtype != torch.int64 or neurons.ndim not in (
                2, 3) or neurons.shape[1] != self.n_blocks:
            found = f"{neurons.dtype} {tuple(neurons.shape)}" if isinstance(neurons,
                                                                            Tensor) else type(
                neurons).__name__
            raise ValueError(f"neurons must be an int64 tensor (batch, {self.n_blocks}) or "
                             f"(batch, {self.n_blocks}, rank), got {found}")
        if batch is not None and len(neurons) != batch:
            raise ValueError(f"neurons hold paths of {len(neurons)} images, the batch has "
                             f"{batch}; accepted: one path an image")
        if neurons.numel() == 0 or neurons.min() < 0 or neurons.max() >= self.n_neurons:
            found = f"{neurons.min()}..{neurons.max()}" if neurons.numel() else "none"
            raise ValueError(f"neuron indices must lie in 0..{self.n_neurons - 1}, got {found}")
        ranked = neurons.to(self.device).reshape(len(neurons), self.n_blocks, -1)
        most = ranked.amax((0, 2)).tolist()
        for index, (largest, layer) in enumerate(zip(most, self.layers, strict=True)):
            if largest >= layer.units:
                raise ValueError(f"neuron indices of layer {index} ({layer.name}) must lie in "
                                 f"0..{layer.units - 1}, got {largest}")
        ordered = ranked.sort(-1).values
        if (ordered[..., 1:] == ordered[..., :-1]).any():
            raise ValueError("a block's neurons must differ from one another; accepted: each "
                             "index once a block")
        return ranked
