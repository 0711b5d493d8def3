"""From a picture to what a model is given: timm's data configuration as a plain dictionary, one per
model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from torch import Tensor, nn

from neuronpath_core.models.depths import eight_bits
from neuronpath_core.models.entries import CROPS, INTERPOLATIONS

KEYS = ("input_size", "interpolation", "mean", "std", "crop_pct", "crop_mode")


def model_preprocessing(model: nn.Module, overrides: Mapping | None = None) -> dict:
    """How a model wants its images: its pretrained configuration as timm resolves it, at the size
    it was built for, and what overrides it.

    Args:
        model: a timm model; one without a pretrained configuration gets timm's defaults.
        overrides: any of ``input_size`` (channels, height, width), ``interpolation``, ``mean``,
            ``std``, ``crop_pct``, ``crop_mode``.  The whole picture, squashed to a square, is
            ``crop_mode: squash`` with ``crop_pct: 1.0``.

    Returns:
        All six, with lists, words and numbers only, so that they can be written as JSON.

    Raises:
        ValueError: what :func:`check_preprocessing` refuses.
    """
    overrides = check_overrides(overrides)
    embed = getattr(model, "patch_embed", None)
    size = getattr(embed, "img_size", None)
    channels = getattr(getattr(embed, "proj", None), "in_channels", None)
    config = resolve_model_data_config(model)
    # the pretrained configuration keeps the size of before a change of the positions
    if size is not None and channels is not None:
        config["input_size"] = (channels, *size)
    if config["input_size"][0] == 1 and len(config["mean"]) == 3:
        config["mean"], config["std"] = ([sum(config[key]) / 3] for key in ("mean", "std"))
    return check_preprocessing({**config, **overrides})


def check_overrides(overrides: Mapping | None) -> dict:
    """The overrides, if all are keys of a preprocessing; else ``ValueError``."""
    overrides = dict(overrides or {})
    if unknown := set(overrides) - set(KEYS):
        raise ValueError(f"unknown preprocessing {', '.join(map(str, sorted(unknown)))}; "
                         f"accepted: {', '.join(KEYS)}")
    return overrides


def check_preprocessing(config: Mapping) -> dict:
    """A complete preprocessing as plain lists, words and numbers.

    Raises:
        ValueError: a key that is missing or unknown, or a value that no picture can be brought to.
    """
    if not isinstance(config, Mapping) or not set(KEYS) <= set(config):
        raise ValueError(f"preprocessing cannot be {config!r}; accepted: a mapping with "
                         f"{', '.join(KEYS)}, such as model_preprocessing(model) gives")
    check_overrides(config)
    size, mean, std = (list(config[key]) if isinstance(config[key], (list, tuple)) else []
                       for key in ("input_size", "mean", "std"))
    if len(size) != 3 or any(isinstance(number, bool) or not isinstance(number, int) or number < 1
                             for number in size) or size[0] not in (1, 3):
        raise ValueError(f"input_size cannot be {config['input_size']!r}; accepted: channels (1 "
                         f"or 3), height and width")
    if len(mean) != size[0] or len(std) != size[0] or not all(map(_finite, mean + std)) or min(
            std) <= 0:
        raise ValueError(f"mean and std cannot be {config['mean']!r} and {config['std']!r}; "
                         f"accepted: {size[0]} finite numbers each, std above 0")
    if config["interpolation"] not in INTERPOLATIONS:
        raise ValueError(f"interpolation cannot be {config['interpolation']!r}; accepted: "
                         f"{', '.join(INTERPOLATIONS)}")
    if config["crop_mode"] not in CROPS:
        raise ValueError(f"crop_mode cannot be {config['crop_mode']!r}; accepted: "
                         f"{', '.join(CROPS)}")
    share = config["crop_pct"]
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise ValueError(f"crop_pct cannot be {share!r}; accepted: a number above 0, up to 1")
    return {"input_size": size, "interpolation": config["interpolation"],
            "mean": [float(number) for number in mean],
            "std": [float(number) for number in std], "crop_pct": float(share),
            "crop_mode": config["crop_mode"]}


def _finite(number: object) -> bool:
    return isinstance(number, (int, float)) and not isinstance(number,
                                                               bool) and math.isfinite(number)


def transform(config: Mapping) -> Callable[[Image.Image], Tensor]:
    """timm's evaluation transform: a picture to float32 ``(channel, height, width)``, normalised.

    The picture is made RGB, or grey for one channel, by
    ``models.depths.eight_bits``, which is as timm's data sets make it but for
    16 bits: transparency and an orientation that EXIF tells are not applied.
    """
    config = check_preprocessing(config)
    mode = "RGB" if config["input_size"][0] == 3 else "L"
    apply = create_transform(**{key: tuple(value) if isinstance(value, list) else value for key,
                                value in config.items()}, is_training=False)
    return lambda picture: apply(eight_bits(picture, mode))
