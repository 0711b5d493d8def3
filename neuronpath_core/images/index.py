"""What is known of the files of an image data set: digest, size, and a thumbnail, kept so that no
file is opened twice."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock
from PIL import Image, ImageOps

from neuronpath_core.images.readers import NO_STAMP
from neuronpath_core.models.depths import eight_bits, n_frames
from neuronpath_core.support.files import write_atomically
from neuronpath_core.support.text import listed, one_line, plain

THUMBNAIL = 32
VERSION = {b"picture_index": b"3"}  # 1 took 16 bits for 8, 2 white for black and one page for all
SCHEMA = pa.schema([("name", pa.string()), ("size", pa.int64()), ("mtime_ns", pa.int64()),
                    ("sha256", pa.string()), ("width", pa.int32()),
                    ("height", pa.int32()), ("mode", pa.string()), ("error", pa.string()),
                    ("frames", pa.int32()), ("thumbnail", pa.binary())], VERSION)


class PictureWarning(UserWarning):
    """Images that cannot be read were left out, or what was known of them cannot be used."""


class Entry(NamedTuple):
    """One image file: what it is called, what tells whether it has changed, and what is in it.

    ``sha256`` is of the file's bytes; ``mode`` is Pillow's word for the kind of pixels; ``error``
    is empty where the image can be read; ``frames`` are those of an animation, or pages;
    ``thumbnail`` are the bytes of 32 × 32 RGB pixels, of the largest square in the middle; those of
    an entry from a file stay there until they are asked for.
    """

    name: str
    size: int
    mtime_ns: int
    sha256: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    error: str = ""
    frames: int = 1
    thumbnail: bytes = b""


def thumbnail(picture: Image.Image) -> bytes:
    """32 × 32 RGB pixels of the largest square in the middle of a picture."""
    return ImageOps.fit(eight_bits(picture), (THUMBNAIL, THUMBNAIL),
                        Image.Resampling.BOX).tobytes()


def pixels(data: bytes) -> np.ndarray:
    """A thumbnail as uint8 ``(32, 32, 3)``."""
    return np.frombuffer(data, np.uint8).reshape(THUMBNAIL, THUMBNAIL, 3)


def examine(name: str, stamp: tuple[int, int], data: bytes) -> Entry:
    """What is in a file: all of it is decoded, as RGB, the way timm does but for 16 bits (an
    orientation that EXIF tells is not applied).

    Whatever Pillow refuses, also an image of more than 178,956,970 pixels, gives an entry with its
    error.
    """
    known = Entry(name, *stamp, sha256=hashlib.sha256(data).hexdigest())
    if not data:
        return known._replace(error="the file is empty")
    try:
        with Image.open(io.BytesIO(data)) as picture:
            mode, (width, height) = picture.mode, picture.size
            small = thumbnail(picture)
        with Image.open(io.BytesIO(data)) as picture:  # again: to count may leave the first frame
            frames = n_frames(picture)
    except MemoryError as error:
        raise ValueError(f"not enough memory to open image {plain(name)}; accepted: fewer threads, "
                         f"or a smaller image") from error
    except Exception as error:  # Pillow's decoders raise what they like
        said = one_line(error, 200)
        return known._replace(error="not an image that Pillow knows"
                              if isinstance(error, Image.UnidentifiedImageError) else said)
    return known._replace(width=width, height=height, mode=mode, frames=frames,
                          thumbnail=small)


def tell_frames(entries: Sequence[Entry]) -> None:
    """Warn, in one line, of animations and of files with several pages, of which the first is read.
    """
    several = [f"{entry.name} ({entry.frames})" for entry in entries if entry.frames > 1]
    if several:
        warnings.warn(f"{len(several)} of {len(entries)} pictures have several frames or pages, of "
                      f"which the first is read: {listed(several)}", PictureWarning, stacklevel=3)


def is_current(entry: Entry | None, stamp: tuple[int, int]) -> bool:
    """Whether what is known of a file still holds: its size and time are the same, and it could be
    read."""
    return entry is not None and not entry.error and stamp != NO_STAMP and (entry.size,
                                                                            entry.mtime_ns) == stamp


def _stored(file: Path, thumbnails: bool) -> dict[str, Entry]:
    # opened here: the library takes no path that is not UTF-8 in its locale
    with open(file, "rb") as stream, pq.ParquetFile(
            stream, page_checksum_verification=True) as stored:
        if stored.schema_arrow != SCHEMA or not VERSION.items() <= (stored.schema_arrow.metadata
                                                                    or {}).items():
            raise ValueError("of another version")
        table = stored.read(SCHEMA.names if thumbnails else SCHEMA.names[:-1])
    return {row[0]: Entry(*row) for row in zip(*(column.to_pylist() for column in table.columns),
                                               strict=True)}


def read_index(file: Path, thumbnails: bool = False) -> dict[str, Entry]:
    """Name -> entry of an index; empty where there is none, and, with a :class:`PictureWarning`,
    where it is damaged or of another version.

    Thumbnails are nearly all of the file; without them 50,000 entries are read in a moment.
    """
    try:
        return _stored(file, thumbnails) if file.is_file() else {}
    except (OSError, ValueError) as error:  # pyarrow's errors are among these
        said = one_line(error, 120)
        warnings.warn(
            f"the image index {file} cannot be used ({said}); the images are opened again",
            PictureWarning, stacklevel=2)
        return {}


def _write(table: pa.Table, path: Path) -> None:
    with open(path, "wb") as stream:
        pq.write_table(table, stream, compression="none", use_dictionary=["mode", "error"],
                       write_page_checksum=True)


def add_to_index(file: Path, entries: Mapping[str, Entry]) -> None:
    """Put entries into an index, in place of older ones of the same names; others that are in it by
    then are kept.

    Raises:
        ValueError: the index cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            try:
                both = _stored(file, thumbnails=True) | dict(entries)
            # none yet, or a damaged one, of which the reader was told
            except (OSError, ValueError):
                both = dict(entries)
            rows = [both[name] for name in sorted(both)]
            table = pa.table([pa.array(column, kind) for column,
                              kind in zip(zip(*rows, strict=True), SCHEMA.types, strict=True)],
                             SCHEMA)
            write_atomically(file, lambda path: _write(table, path))
    except OSError as error:
        raise ValueError(f"the image index {file} cannot be written ({error.strerror or error}); "
                         "accepted: a folder with write permission and 4 kB of space for every "
                         "image") from error


class PictureIndex:
    """The entries of one data set, read from their file when first asked for and written back as
    they come; in memory alone without a file."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self._entries: dict[str, Entry] | None = None

    def __reduce__(self):  # another process reads the file
        return PictureIndex, (self.file,)

    def _known(self) -> dict[str, Entry]:
        if self._entries is None:
            self._entries = {} if self.file is None else read_index(self.file)
        return self._entries

    def get(self, name: str) -> Entry | None:
        """What is known of a file, current or not."""
        return self._known().get(name)

    def add(self, entries: Mapping[str, Entry]) -> None:
        """Remember entries, in the file too; errors are those of :func:`add_to_index`."""
        self._known().update(entries)
        if self.file is not None and entries:
            add_to_index(self.file, entries)

    def forget(self, names: Iterable[str]) -> None:
        """Have these files opened again, whatever the file says of them."""
        for name in names:
            self._known().pop(name, None)

    def thumbnails(self, entries: Sequence[Entry]) -> list[np.ndarray | None]:
        """The thumbnail of each entry, uint8 ``(32, 32, 3)``; ``None`` where neither the entry nor
        the file has it any more."""
        stored = {}
        if self.file is not None and any(not entry.thumbnail for entry in entries):
            stored = {entry.sha256: entry.thumbnail
                      for entry in read_index(self.file, thumbnails=True).values()}
        found = [entry.thumbnail or stored.get(entry.sha256, b"") for entry in entries]
        return [pixels(data) if data else None for data in found]
