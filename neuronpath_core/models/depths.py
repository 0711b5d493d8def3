"""Pictures of other depths than 8 bits, and transparent ones, as what their makers mean: 8 bits a
channel."""

from __future__ import annotations

import numpy as np
from PIL import Image

DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
STEP = 257  # 65535 is 255 times this
LEAST = 4096  # where no value reaches it, 12 bits or fewer lie in 16 and their scale is not told
TRANSPARENT = ("RGBA", "LA", "PA", "La", "RGBa")


def eight_bits(picture: Image.Image, mode: str = "RGB") -> Image.Image:
    """The picture in ``mode`` (``"RGB"`` or ``"L"``) with 8 bits a channel.

    Of 16 bits the whole range is scaled. All others are as Pillow converts them, which is what timm
    does: transparency is left away.

    Raises:
        ValueError: 16 bits of which only the lowest are used, 32 bits or floating point, whose
            range no file tells; and a picture that only its transparency shows.
    """
    if picture.mode in DEEP or picture.mode == "I" and picture.format in ("PNG", "PPM"):
        return _scaled(picture).convert(mode)
    if picture.mode in ("I", "F"):
        raise ValueError(f"the pixels are 32-bit numbers (mode {picture.mode}), whose black and "
                         f"white no file tells; accepted: 8 or 16 bits a channel")
    deep = is_deep(picture)  # which is no more to be seen once it is read
    result = picture.convert(mode)
    if deep:
        check_scale(result)
    if picture.mode in TRANSPARENT or "transparency" in picture.info:
        _check_visible(picture, result)
    return result


def _scaled(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture).astype(np.int64)
    low, most = int(values.min()), int(values.max())
    if low < 0 or most > 255 * STEP or 0 < most < LEAST:
        raise ValueError(f"the 16-bit values go from {low} to {most}, so that black and white are "
                         f"not those of 16 bits; accepted: values scaled to 0..65535, or 8 bits a "
                         f"channel")
    return Image.fromarray(((values + STEP // 2) // STEP).astype(np.uint8))


def is_deep(picture: Image.Image) -> bool:
    """Whether the file has colours of 16 bits, of which Pillow keeps the high byte."""
    return any(";16" in str(part[3]) for part in getattr(picture, "tile", None) or ())


def check_scale(result: Image.Image) -> None:
    """Refuse the high bytes of colours that use only the lowest of their 16 bits.

    Raises:
        ValueError: no value reaches ``LEAST``.
    """
    extremes = result.getextrema()
    pairs = extremes if isinstance(extremes[0], tuple) else (extremes,)
    if max(most for _, most in pairs) < LEAST // 256:
        raise ValueError(f"no 16-bit value reaches {LEAST}, so that black and white are not those "
                         "of 16 bits; accepted: values scaled to 0..65535, or 8 bits a channel")


def _check_visible(picture: Image.Image, result: Image.Image) -> None:
    """Refuse a picture that would become one plain colour, because all that it shows is which of
    its pixels are transparent."""
    extremes = result.getextrema()
    pairs = extremes if isinstance(extremes[0], tuple) else (extremes,)
    low, high = picture.convert("RGBA").getchannel("A").getextrema()
    if low != high and all(least == most for least, most in pairs):
        raise ValueError("nothing but transparency tells its pixels apart, and that is left away; "
                         "accepted: a picture on a background")
