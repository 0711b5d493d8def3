"""A vision classifier of Hugging Face's transformers as timm's network of the same numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from neuronpath_core.as_called import FOREIGN
from neuronpath_core.models.transformers.accepted import mapping_of
from neuronpath_core.models.transformers.mapping import (
    ModelMapping,
    network_arguments,
    pair,
    renamed,
)
from neuronpath_core.support.memory import is_out_of_memory
from neuronpath_core.support.text import one_line

if TYPE_CHECKING:
    from jaxtyping import Float


def convert(model: nn.Module, size: tuple[int, int] | None = None,
            shared: bool = False) -> nn.Module:
    """timm's network with a model's weights, in their precision and on their device, in eval mode;
    whether its logits are the model's is for
    :func:`~neuronpath_core.models.transformers.proof.prove` to say.

    Args:
        model: of a class that is accepted.
        size: height and width of the images, for which positions are resampled by the model's own
            function; ``None`` for those that the model was made for.
        shared: take the weights themselves, not copies, where none are put together.

    Raises:
        ValueError: a model that is not accepted, or an image size that it cannot take.
    """
    mapping = mapping_of(model)
    config = mapping.config(model.config)
    size = pair(config.image_size) if size is None else size
    with torch.no_grad():
        state = renamed(model.state_dict(), mapping, shared)
        state["pos_embed"] = positions(model, mapping, size)
        neurons = state["blocks.0.mlp.fc2.weight"].shape[1]
        classes = len(state["head.weight"])
        with torch.device("meta"):
            network = mapping.network(**network_arguments(mapping, config, classes, neurons, size),
                                      weight_init="skip")
        if "cls_token" in state:  # CLIP has it as a vector
            state["cls_token"] = state["cls_token"].view(1, 1, -1)
        _fill(network, state, mapping)
    return network.eval()


def _fill(network: nn.Module, state: Mapping[str, Tensor], mapping: ModelMapping) -> None:
    try:
        network.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise ValueError(f"{mapping.kind} has other weights than its configuration tells: "
                         f"{one_line(error, 200)}; accepted: the class as transformers makes it"
                         ) from error
    for weight in network.parameters():
        weight.requires_grad_(True)


def positions(model: nn.Module, mapping: ModelMapping, size: tuple[int, int]
              ) -> Float[Tensor, "1 token embed"]:
    """What the model adds to the tokens of images of this height and width, zero for registers.

    Raises:
        ValueError: the model has no positions for this size.
    """
    config = mapping.config(model.config)
    own = model.get_parameter(mapping.positions).detach()
    own = own.view(1, *own.shape[-2:])
    grid = [side // patch for side, patch in zip(size, pair(config.patch_size), strict=True)]
    if min(grid) < 1:
        raise ValueError(f"image_size cannot be {size[0]} x {size[1]} with patches of "
                         f"{config.patch_size}; accepted: at least one patch")
    if mapping.resamples or size != pair(config.image_size):
        tokens = own.new_empty(1, mapping.prefix + grid[0] * grid[1], own.shape[-1])
        try:
            own = model.get_submodule(mapping.embeddings).interpolate_pos_encoding(tokens, *size)
        except FOREIGN as error:
            if is_out_of_memory(error):
                raise
            raise ValueError(f"image_size cannot be {size[0]} x {size[1]}, for which the model has "
                             f"no positions ({one_line(error, 120)}); accepted: "
                             f"{config.image_size}") from error
    before, after = own[:, :1], own[:, 1:]
    none = own.new_zeros(1, mapping.registers(config), own.shape[-1])
    return torch.cat([before, none, after], 1)


def logits(model: nn.Module, images: Float[Tensor, "batch channel height width"]
           ) -> Float[Tensor, "batch class"]:
    """The logits of a model of transformers', its positions resampled for images of another size
    than it was made for."""
    mapping = mapping_of(model)
    own = pair(mapping.config(model.config).image_size)
    resampled = not mapping.resamples and tuple(images.shape[2:]) != own
    asked = {"interpolate_pos_encoding": True} if resampled else {}
    with torch.no_grad(), evaluating(model):
        return model(images, **asked).logits


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, every part of the model is in eval mode; then each is in its own mode again."""
    modes = [(part, part.training) for part in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def image_size_of(value: Any) -> tuple[int, int] | None:
    """Height and width from what a caller gives for both.

    Raises:
        ValueError: anything but ``None``, a whole number or two of them.
    """
    if value is None:
        return None
    sides = (value, value) if isinstance(value, int) else value
    if not isinstance(sides, (tuple, list)) or len(sides) != 2 or any(
            isinstance(side, bool) or not isinstance(side, int) or side < 1 for side in sides):
        raise ValueError(f"image_size cannot be {value!r}; accepted: a whole number above 0, or "
                         "height and width")
    return tuple(sides)


def is_name(model: Any) -> bool:
    """Whether a model is told by its name or folder."""
    return isinstance(model, (str, os.PathLike))
