"""What a model's image processor does to a picture, as timm's data configuration says it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from neuronpath_core.models.preprocessing import check_preprocessing, transform
from neuronpath_core.support.text import one_line, shown

# by Pillow's numbers, which transformers writes
RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
# of 256: torchvision, with which transformers resizes, rounds otherwise than Pillow, on smooth
# pictures by at most two levels; the rest is for the rounding of numbers
LEVELS = 2.5
UNKNOWN = ("unknown, as from_transformers found no image processor and was given none as "
           "processor=")


def unknown_preprocessing() -> dict:
    """A configuration that prepares no picture: ``model_preprocessing`` refuses it, and says why,
    unless ``mean`` and ``std`` are overridden."""
    return {"mean": UNKNOWN, "std": "unknown"}


def _refused(words: str) -> ValueError:
    return ValueError(f"{words}, or processor=False for a model without pictures")


def checked(processor: Any) -> Any:
    """The image processor itself, of something that holds one, such as CLIP's.

    Raises:
        ValueError: something else, or steps that no configuration of timm's tells.
    """
    processor = getattr(processor, "image_processor", processor)
    _check_steps(processor)
    return processor


def given_size(processor: Any) -> tuple[int, int]:
    """Height and width of what a processor gives.

    Raises:
        ValueError: a processor that gives pictures of no one size.
    """
    crop = _flag(processor, "do_center_crop")
    given = _sides(processor, "crop_size" if crop else "size")
    if set(given) >= {"height", "width"}:
        return int(given["height"]), int(given["width"])
    raise _refused(f"the image processor's size cannot be {shown(given)} without a crop, which "
                   "leaves the form of each picture; accepted: height and width, or "
                   "do_center_crop")


def preprocessing_of(processor: Any, channels: int = 3) -> dict:
    """An image processor as ``input_size``, ``interpolation``, ``mean``, ``std``, ``crop_pct`` and
    ``crop_mode``, held against the processor on a picture.

    A processor that resizes with Pillow gives the very pixels; with torchvision, transformers'
    default, they are rounded otherwise, on smooth pictures by at most two levels of 256, on white
    noise by up to nine. Beyond that two things differ. Where the resized picture is 3, 7, 11, …
    pixels longer than the crop, timm cuts one pixel further right or down. And every picture is
    made RGB (grey for one channel), also where transformers would refuse another kind.

    Args:
        processor: as :func:`checked` gives it.
        channels: of the model's images.

    Raises:
        ValueError: a processor that timm's transforms cannot repeat, or one that gives other
            pixels.
    """
    height, width = size = given_size(processor)
    resized = _sides(processor, "size")
    if set(resized) >= {"height", "width"}:
        mode, scaled = "squash", (int(resized["height"]), int(resized["width"]))
    elif "shortest_edge" in resized and height == width and "longest_edge" not in resized:
        mode, scaled = "center", (int(resized["shortest_edge"]),) * 2
    else:
        raise _refused(f"the image processor's size cannot be {shown(resized)}; accepted: "
                       "height and width, or shortest_edge before a square crop")
    mean, std = _normalisation(processor, channels)
    found = check_preprocessing({
        "input_size": [channels, height, width], "crop_mode": mode, "mean": mean, "std": std,
        "interpolation": RESAMPLING.get(int(processor.resample), shown(processor.resample)),
        "crop_pct": _share(size, scaled)})
    _check_pixels(processor, found, scaled)
    return found


def _flag(processor: Any, name: str) -> bool:
    return bool(getattr(processor, name, None))


def _sides(processor: Any, name: str) -> dict[str, int]:
    """The sides that a size of the processor's tells."""
    given = getattr(processor, name, None)
    items = given.items() if isinstance(given, Mapping) else vars(given).items() if hasattr(
        given, "__dict__") else ()
    return {key: value for key, value in items if value is not None}


def _check_steps(processor: Any) -> None:
    if not callable(processor) or not hasattr(processor, "image_mean"):
        raise _refused(f"processor cannot be {shown(processor)}; accepted: an image processor of "
                       "transformers'")
    if not _flag(processor, "do_resize") or not _flag(processor, "do_rescale"):
        raise _refused("the image processor cannot leave pictures at their own size or their "
                       "pixels at 0..255; accepted: do_resize and do_rescale")
    if not math.isclose(processor.rescale_factor, 1 / 255, rel_tol=1e-6):
        raise _refused(f"rescale_factor cannot be {shown(processor.rescale_factor)}; accepted: "
                       "1/255")
    if _flag(processor, "do_pad"):
        raise _refused("the image processor cannot pad; accepted: do_pad false")


def _normalisation(processor: Any, channels: int) -> tuple[list[float], list[float]]:
    if not _flag(processor, "do_normalize"):
        return [0.0] * channels, [1.0] * channels
    mean, std = ([float(value)] * channels if isinstance(value, (int, float)) else list(value)
                 for value in (processor.image_mean, processor.image_std))
    return mean, std


def _share(size: tuple[int, int], scaled: tuple[int, int]) -> float:
    """The share of the resized picture that is kept, from which timm finds its size again.

    Raises:
        ValueError: no share gives that size.
    """
    share = size[0] / scaled[0]
    for candidate in (share, math.nextafter(share, 0), math.nextafter(share, math.inf)):
        if tuple(math.floor(side / candidate) for side in size) == scaled:
            return candidate
    raise _refused(f"the image processor cannot cut {size[0]} x {size[1]} pixels out of "
                   f"{scaled[0]} x {scaled[1]}; accepted: the same share of height and width")


def _check_pixels(processor: Any, found: dict, scaled: tuple[int, int]) -> None:
    """Raise ``ValueError`` unless a random picture becomes the same pixels both ways."""
    picture = _picture(found, scaled)
    try:
        wanted = torch.as_tensor(np.asarray(
            processor(images=picture, return_tensors="pt")["pixel_values"]))[0].double()
    except Exception as error:  # what a processor of somebody's own raises
        raise _refused(f"the image processor cannot prepare a picture: {one_line(error, 200)}; "
                       "accepted: one that gives pixel_values") from error
    given = transform(found)(picture).double()
    if wanted.shape != given.shape or not _levels(given, wanted, found) <= LEVELS:
        raise _refused(f"processor cannot be this {type(processor).__name__}, whose pixels are "
                       "not those that its settings tell; accepted: a processor that resizes, "
                       "crops the centre, rescales and normalises")


def _levels(given: Tensor, wanted: Tensor, found: dict) -> float:
    """The largest difference between two prepared pictures, in levels of 256."""
    std = torch.tensor(found["std"], dtype=torch.float64)[:, None, None]
    return float(((given - wanted).abs() * std * 255).max())


def _picture(found: dict, scaled: tuple[int, int]) -> Image.Image:
    """Random colours, twice the size to which it is brought, and wider than what is cut out by a
    multiple of four pixels, so that both cut at the same place."""
    height, width = scaled
    if found["crop_mode"] == "center":
        crop = found["input_size"][2]
        width = crop + 4 * math.ceil((height + 8 - crop) / 4)
    pixels = np.random.default_rng(0).integers(0, 256, (height // 2 + 1, width // 2 + 1, 3))
    coarse = Image.fromarray(pixels.astype(np.uint8))
    picture = coarse.resize((2 * width, 2 * height), Image.Resampling.BILINEAR)
    return picture if found["input_size"][0] == 3 else picture.convert("L")
