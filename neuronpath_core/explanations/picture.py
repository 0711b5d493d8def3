"""One picture as a person sees it.

Data sets are read as timm reads them, because models were trained so.  Here somebody points at one
picture, and what they see is what is explained: an orientation that EXIF tells is applied, and
transparent pixels lie on white.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from neuronpath_core.images.index import PictureWarning
from neuronpath_core.models.depths import (
    DEEP,
    TRANSPARENT,
    check_layout,
    check_scale,
    eight_bits,
    least_bright,
    n_frames,
)
from neuronpath_core.support.files import kind_of_file, own_path
from neuronpath_core.support.text import as_utf8, one_line, plain, shown

ACCEPTED = "a picture that Pillow reads, such as PNG, JPEG, WebP or TIFF"
LEAST_SIDE = 2  # pixels; one has no parts that anything could be found in
# of the longer side to the shorter one: timm enlarges the shorter side to the model's and the
# longer one along with it, which of a thin line would be gigabytes
MOST_RATIO = 50
ORIENTATION = 0x0112  # EXIF's tag
TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
         4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
         6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_90}


@dataclass(frozen=True)
class Picture:
    """A picture, read.

    Attributes:
        image: RGB, 8 bits a channel, upright.
        name: what it is called, on one line.
        notes: sentences on what was done to it.
    """

    image: Image.Image
    name: str
    notes: tuple[str, ...]


def read_picture(source: str | os.PathLike | Image.Image) -> Picture:
    """The picture of a file, or one that Pillow has opened.

    The orientation that EXIF tells is applied, 16 bits are scaled to 8, CMYK becomes RGB without
    its profile, transparent pixels are laid on white, and of an animation or of several pages the
    first is taken (of an opened picture the one that it stands at), with a :class:`PictureWarning`.
    An opened picture stays as it is.

    Raises:
        ValueError: no such file, no picture, a damaged or too large one, one pixel, or a line so
            thin that no model's input could be made of it.
    """
    if isinstance(source, Image.Image):
        return _read(source, plain(os.path.basename(getattr(source, "filename", "") or "picture")))
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(f"a picture cannot be {shown(source)}; accepted: a file, a PIL image, or "
                         "a preprocessed tensor (channel, height, width)")
    path = picture_file(source)
    name = plain(as_utf8(path.name))
    try:
        with warnings.catch_warnings():  # its size is looked at below
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                return _read(picture, name)
    except UnidentifiedImageError as error:
        what = "empty" if path.stat().st_size == 0 else "no picture that Pillow knows"
        raise ValueError(f"{name} is {what}; accepted: {ACCEPTED}") from error
    except (OSError, Image.DecompressionBombError) as error:
        said = getattr(error, "strerror", None) or one_line(error, 200)
        raise ValueError(f"picture {name} cannot be read: {said}; accepted: {ACCEPTED}") from error


def picture_file(source: str | os.PathLike) -> Path:
    """The path of a picture's file.

    Raises:
        ValueError: it is not there, or is a folder or the like.
    """
    path = own_path(source)
    if not path.is_file():
        found = kind_of_file(path) if path.exists() or path.is_symlink() else "not there"
        raise ValueError(f"picture {plain(as_utf8(str(path)))} is {found}; accepted: a file, "
                         f"{ACCEPTED}")
    return path


def _read(picture: Image.Image, name: str) -> Picture:
    width, height = picture.size
    if min(width, height) < LEAST_SIDE or max(width, height) > MOST_RATIO * min(width, height):
        raise ValueError(f"picture {name} has {width} × {height} pixels; accepted: at least "
                         f"{LEAST_SIDE} × {LEAST_SIDE}, one side up to {MOST_RATIO} times the "
                         "other")
    notes = [*_frames(picture, name)]
    try:
        check_layout(picture)
        least = least_bright(picture)
        picture.load()
        if least:
            check_scale(picture, least)
        image = _flat(picture, notes)
        turn = TURNS.get(_orientation(picture, notes))
    except MemoryError as error:
        raise ValueError(f"not enough memory for picture {name} of {width} × {height} pixels; "
                         "accepted: a smaller one") from error
    except Exception as error:  # Pillow's decoders raise what they like
        said, _, accepted = one_line(error, 250).partition("; accepted: ")
        raise ValueError(f"picture {name} cannot be read: {said}; accepted: "
                         f"{accepted or ACCEPTED}") from error
    if turn is not None:
        image = image.transpose(turn)
        notes.append("It was turned upright, as its EXIF orientation says.")
    return Picture(image, name, tuple(notes))


def _frames(picture: Image.Image, name: str) -> list[str]:
    count = n_frames(picture)
    if count == 1:
        return []
    current = picture.tell()
    which = "the first" if current == 0 else f"number {current + 1}"
    warnings.warn(f"picture {name} has {count} frames or pages; {which} is explained",
                  PictureWarning, stacklevel=5)
    return [f"It has {count} frames or pages, of which {which} is explained."]


def _flat(picture: Image.Image, notes: list[str]) -> Image.Image:
    """RGB without transparency."""
    clear = picture.mode in TRANSPARENT or "transparency" in picture.info
    if clear and picture.mode not in (*DEEP, "I"):
        layered = picture.convert("RGBA")
        least, most = layered.getchannel("A").getextrema()
        if most == 0:
            raise ValueError("all of it is transparent; accepted: a picture that can be seen")
        if least < 255:
            notes.append("Its transparent pixels were laid on white.")
            white = Image.new("RGBA", layered.size, "white")
            return Image.alpha_composite(white, layered).convert("RGB")
        return layered.convert("RGB")
    if picture.mode in (*DEEP, "I"):
        notes.append("Its 16 bits a channel were scaled to 8.")
    if picture.mode == "CMYK":
        notes.append("It was made RGB from CMYK without its colour profile.")
    return eight_bits(picture)


def _orientation(picture: Image.Image, notes: list[str]) -> int:
    try:
        return picture.getexif().get(ORIENTATION, 1)
    except Exception:  # a damaged block of EXIF is no damaged picture
        notes.append("Its EXIF data are damaged, so that no orientation was applied.")
        return 1


def pictures_in(folder: Path, most: int) -> tuple[list[Path], list[str]]:
    """The pictures right in a folder, in natural order, without hidden ones; and what was left out.

    Raises:
        ValueError: none, or more than ``most``.
    """
    from neuronpath_core.images.listing import READABLE, ending_of, is_hidden, natural_key

    try:
        names = sorted((each.name for each in os.scandir(folder) if each.is_file()),
                       key=natural_key)
    except OSError as error:
        raise ValueError(f"folder {plain(as_utf8(str(folder)))} cannot be read "
                         f"({error.strerror}); accepted: one with read permission") from error
    endings = [name for name in names if ending_of(name) in READABLE]
    found = [name for name in endings if not is_hidden(name)]
    where = plain(as_utf8(str(folder)))
    if not 1 <= len(found) <= most:
        raise ValueError(f"folder {where} has {len(found) or 'no'} pictures; accepted: a folder "
                         f"with 1 to {most} pictures right in it, or pictures by name")
    hidden = len(endings) - len(found)
    return [folder / name for name in found], [
        f"{where}: {hidden} hidden pictures are left out"] if hidden else []
