"""What a model is given of a picture, and how that looks."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from neuronpath_core.explanations.picture import Picture
from neuronpath_core.images.index import PictureWarning
from neuronpath_core.models.preprocessing import model_preprocessing, transform

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8


def model_input(picture: Picture, model: nn.Module, preprocessing: Mapping | None = None
                ) -> tuple[Float[Tensor, "1 channel height width"], dict, tuple[str, ...]]:
    """What the model is given of a picture: timm's transform by the model's own configuration.

    Args:
        preprocessing: what overrides it, as of
            :func:`~neuronpath_core.models.preprocessing.model_preprocessing`, whose errors these
            are.

    Returns:
        float32 on the CPU, the complete configuration, and notes.
    """
    config = model_preprocessing(model, preprocessing)
    values = transform(config)(picture.image)[None]
    _, height, width = config["input_size"]
    notes = []
    if not getattr(model, "pretrained_cfg", None) and not {"mean", "std"} <= set(
            preprocessing or {}):
        notes.append("Nothing says how pictures are prepared for this model: timm's defaults were "
                     f"used (mean {_numbers(config['mean'])}, deviation "
                     f"{_numbers(config['std'])}); preprocessing= says otherwise.")
    if picture.image.width < width or picture.image.height < height:
        notes.append(f"It was enlarged from {picture.image.width} × {picture.image.height} to the "
                     f"model's {width} × {height} pixels.")
    if bool((values.amax((2, 3)) == values.amin((2, 3))).all()):
        warnings.warn(f"picture {picture.name} is of one colour as the model sees it, so that no "
                      "place in it differs from another", PictureWarning, stacklevel=4)
        notes.append("It is of one colour as the model sees it: no place differs from another.")
    return values, config, tuple(notes)


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


def as_seen(values: Float[Tensor, "1 channel height width"], config: Mapping | None
            ) -> tuple[UInt8[np.ndarray, "height width ..."], tuple[str, ...]]:
    """The pixels that a model is given, for the eye: ``(height, width)`` or ``(height, width, 3)``.

    Args:
        values: what the model is given.
        config: whose ``mean`` and ``std`` made it; ``None`` where that is not known.

    Returns:
        The pixels, and a note where they had to be stretched because they are not 0 to 1 by this
        configuration.
    """
    pixels, stretched = values[0].detach().double().cpu(), False
    if config is not None and len(config["mean"]) == len(pixels):
        mean, std = (torch.tensor(config[key], dtype=torch.float64)[:, None, None]
                     for key in ("mean", "std"))
        undone = pixels * std + mean
        stretched = bool(undone.min() < -0.01 or undone.max() > 1.01)
        pixels = pixels if stretched else undone
    else:
        stretched = True
    if stretched:
        low, high = pixels.min(), pixels.max()
        pixels = (pixels - low) / (high - low if high > low else 1)
    if len(pixels) not in (1, 3):
        pixels = pixels.mean(0, keepdim=True)
    small = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    note = ("The picture is shown with the tensor's smallest value black and its largest white: "
            "its values are not those that this model's preprocessing gives.")
    return small[..., 0] if small.shape[2] == 1 else small, (note,) if stretched else ()
