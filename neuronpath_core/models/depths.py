"""Pictures of other depths than 8 bits, and transparent ones, as what their makers mean: 8 bits a
channel."""

from __future__ import annotations

import numpy as np
from PIL import Image

DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
STEP = 257  # 65535 is 255 times this
LEAST = 4096  # where no value reaches it, 12 bits or fewer lie in 16 and their scale is not told
TRANSPARENT = ("RGBA", "LA", "PA", "La", "RGBa")
# TIFF's tags: what zero stands for, what kind of numbers the values are, and how they lie
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0
SAMPLE_FORMAT, SIGNED = 339, 2
BITS, SAMPLES, PLANES, APART = 258, 277, 284, 2
# a phone's JPEG that carries a preview or a second lens' picture behind the photograph
WITH_PREVIEWS = ("MPO",)


def eight_bits(picture: Image.Image, mode: str = "RGB") -> Image.Image:
    """The picture in ``mode`` (``"RGB"`` or ``"L"``) with 8 bits a channel.

    Of 16 bits the whole range is scaled, from white to black where a TIFF says that zero is white.
    All others are as Pillow converts them, which is what timm does: transparency is left away.

    Raises:
        ValueError: 16 bits of which only the lowest are used, signed numbers, 32 bits or floating
            point, whose range no file tells; 16 bits in planes; and a picture that only its
            transparency shows.
    """
    check_layout(picture)
    if picture.mode in DEEP or picture.mode == "I" and picture.format in ("PNG", "PPM"):
        return _scaled(picture).convert(mode)
    if picture.mode in ("I", "F"):
        raise ValueError(f"the pixels are 32-bit numbers (mode {picture.mode}), whose black and "
                         f"white no file tells; accepted: 8 or 16 bits a channel")
    least = least_bright(picture)
    result = picture.convert(mode)
    if least:
        check_scale(picture, least)
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


def check_layout(picture: Image.Image) -> None:
    """Refuse TIFFs that Pillow reads as other pictures than they are, without a word.

    Raises:
        ValueError: signed numbers, or more than 8 bits with each channel in a plane of its own.
    """
    if _tag(picture, SAMPLE_FORMAT) == SIGNED:
        raise ValueError("the pixels are signed numbers (the TIFF's SampleFormat is 2), whose "
                         "black and white no file tells; accepted: unsigned values, 8 or 16 bits a "
                         "channel")
    bits, samples = (_tag(picture, number) or 1 for number in (BITS, SAMPLES))
    if _tag(picture, PLANES) == APART and bits > 8 and samples > 1:
        raise ValueError("the channels lie apart (the TIFF's PlanarConfiguration is 2) and have "
                         f"{bits} bits; accepted: the channels of a pixel beside "
                         "each other, or 8 bits a channel")


def n_frames(picture: Image.Image) -> int:
    """How many frames or pages a picture has, without previews; 1 where that cannot be told."""
    if picture.format in WITH_PREVIEWS:
        return 1
    try:
        return getattr(picture, "n_frames", 1)
    except Exception:  # of a damaged animation, whose first frame may be whole
        return 1


def least_bright(picture: Image.Image) -> int:
    """How bright a picture has to be once it is read, if its file has colours of 16 bits, of which
    Pillow keeps the high byte or rounds; 0 if it has not.  To be asked before the picture is read,
    after which nothing tells."""
    for codec, _, _, arguments in getattr(picture, "tile", None) or ():
        if ";16" in str(arguments) or codec == "SGI16":
            return LEAST // 256
        if codec in ("ppm", "ppm_plain") and arguments[-1] == 255 * STEP:
            return LEAST // 256 + 1
    return 0


def check_scale(picture: Image.Image, least: int) -> None:
    """Refuse a picture, as it is read, that uses only the lowest of its 16 bits a channel.

    Args:
        least: of :func:`least_bright`.

    Raises:
        ValueError: no value reaches it, but for transparency.
    """
    extremes = (picture if picture.mode == "CMYK" else picture.convert("RGB")).getextrema()
    if max(most for _, most in extremes) < least:
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
