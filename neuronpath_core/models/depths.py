"""Pictures of other depths than 8 bits, and transparent ones, as what their makers mean: 8 bits a
channel."""

from __future__ import annotations

import numpy as np
from PIL import Image

DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
STEP = 257  # 65535 is 255 times this
LEAST = 4096  # where no value reaches it, 12 bits or fewer lie in 16 and their scale is not told
TRANSPARENT = ("RGBA", "LA", "PA", "La", "RGBa")
# TIFF's tags: what zero stands for, and what kind of numbers the values are
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0
SAMPLE_FORMAT, SIGNED = 339, 2
# a phone's JPEG that carries a preview or a second lens' picture behind the photograph
WITH_PREVIEWS = ("MPO",)


def eight_bits(picture: Image.Image, mode: str = "RGB") -> Image.Image:
    """The picture in ``mode`` (``"RGB"`` or ``"L"``) with 8 bits a channel.

    Of 16 bits the whole range is scaled, from white to black where a TIFF says that zero is white.
    All others are as Pillow converts them, which is what timm does: transparency is left away.

    Raises:
        ValueError: 16 bits of which only the lowest are used, signed numbers, 32 bits or floating
            point, whose range no file tells; and a picture that only its transparency shows.
    """
    check_unsigned(picture)
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
    if _tag(picture, PHOTOMETRIC) == WHITE_IS_ZERO:  # Pillow turns 8 bits round, and not 16
        values = 255 * STEP - values
    return Image.fromarray(((values + STEP // 2) // STEP).astype(np.uint8))


def _tag(picture: Image.Image, number: int) -> int | None:
    """The first value of a tag of a TIFF; ``None`` where there is none."""
    value = (getattr(picture, "tag_v2", None) or {}).get(number)
    return value[0] if isinstance(value, tuple) and value else value


def check_unsigned(picture: Image.Image) -> None:
    """Refuse signed numbers, which Pillow reads as unsigned ones or as 32 bits.

    Raises:
        ValueError: a TIFF says that its values are signed.
    """
    if _tag(picture, SAMPLE_FORMAT) == SIGNED:
        raise ValueError("the pixels are signed numbers (the TIFF's SampleFormat is 2), whose "
                         "black and white no file tells; accepted: unsigned values, 8 or 16 bits a "
                         "channel")


def n_frames(picture: Image.Image) -> int:
    """How many frames or pages a picture has, without previews; 1 where that cannot be told."""
    if picture.format in WITH_PREVIEWS:
        return 1
    try:
        return getattr(picture, "n_frames", 1)
    except Exception:  # of a damaged animation, whose first frame may be whole
        return 1


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
