"""Images on disk: opened when asked for, preprocessed for each model, told apart by their bytes."""

from __future__ import annotations

import hashlib
import io
import math
import tarfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from neuronpath_core.images.image_set import ImageSet, positions
from neuronpath_core.images.index import (
    THUMBNAIL,
    Entry,
    PictureIndex,
    PictureWarning,
    examine,
    is_current,
    pixels,
    tell_frames,
    thumbnail,
)
from neuronpath_core.images.limits import MOST_OF_MEMORY, default_threads, machine_memory
from neuronpath_core.images.policies import POLICIES
from neuronpath_core.images.readers import NO_STAMP, Source
from neuronpath_core.models.preprocessing import check_preprocessing, transform
from neuronpath_core.support.text import listed, one_line, plain

if TYPE_CHECKING:
    from jaxtyping import Float, Int64, UInt8

IMAGES_PER_WRITE = 5000
READING_ERRORS = (OSError, EOFError, AssertionError, tarfile.TarError)


class FileImages(ImageSet):
    """Images on disk with their labels; choosing among them opens none.

    ``checked`` opens those that are left and leaves out, or refuses, what cannot be read;
    ``loaded`` gives them preprocessed, in memory.  An image that changes or vanishes in between is
    an error.

    Attributes:
        source: where they are read from.
        labels: int64 ``(image,)``.
        ids: int64 ``(image,)``, the position in the source.
        class_names: one name per class, also of classes of which there is no image.
        numbered: the classes are numbered by a class map or by the data set itself, so that there
            may be fewer than a model has outputs.
        unreadable: ``"fatal"`` or ``"skip"``.
        entries: what is known of each image once they are checked, else ``None``.
    """

    def __init__(self, source: Source, labels: Int64[Tensor, "image"], ids: Int64[Tensor, "image"],
                 class_names: tuple[str, ...], *, index: PictureIndex | None = None,
                 unreadable: str = "fatal", numbered: bool = False, threads: int | None = None,
                 entries: tuple[Entry, ...] | None = None) -> None:
        if unreadable not in POLICIES:
            raise ValueError(f"unreadable cannot be {unreadable!r}; accepted: "
                             f"{', '.join(POLICIES)}")
        if threads is not None and (type(threads) is not int or threads < 1):
            raise ValueError(f"the number of threads cannot be {threads!r}; accepted: a whole "
                             f"number of at least 1")
        fields = {"source": source, "labels": labels, "ids": ids, "class_names": tuple(class_names),
                  "index": index or PictureIndex(), "unreadable": unreadable,
                  "numbered": numbered, "threads": threads or default_threads(),
                  "entries": entries, "taxonomy": {}, "masks": {}, "captions": ()}
        for name, value in fields.items():
            object.__setattr__(self, name, value)  # frozen, as every set of images is

    # to another process without thumbnails, which the index or the images still give
    def __getstate__(self) -> dict:
        entries = self.entries and tuple(entry._replace(thumbnail=b"") for entry in self.entries)
        return {**self.__dict__, "entries": entries}

    def __repr__(self) -> str:
        return (f"FileImages({len(self)} images of {len(self.class_names)} classes "
                f"from {self.source.where})")

    @property
    def images(self) -> Tensor:
        """Refused: the images are not in memory."""
        raise ValueError("these images are on disk, each model has its own preprocessing; "
                         "accepted: images.loaded(preprocessing).images")

    @property
    def pixels(self) -> UInt8[np.ndarray, "image 32 32 3"]:
        """Thumbnails for display, of the largest square in the middle of each image."""
        entries = self._known()
        small = self.index.thumbnails(entries)
        lost = [place for place, found in enumerate(small) if found is None]
        if lost:  # the index was removed meanwhile
            self.index.forget([entries[place].name for place in lost])
            found = self._chosen(self.labels[lost], self.ids[lost], None)
            for place, again in zip(lost, found.index.thumbnails(found._known()), strict=True):
                small[place] = again
        return np.stack(small) if small else np.zeros((0, THUMBNAIL, THUMBNAIL, 3), np.uint8)

    def appearance(self) -> Float[np.ndarray, "image feature"]:
        """What the images look like: their thumbnails, from 0 to 1, float64."""
        return self.pixels.reshape(len(self), -1) / 255

    def sha256(self) -> str:
        """Digest of the files' bytes, the labels, ids and names; nothing of the preprocessing."""
        digest = hashlib.sha256()
        for entry, label, identity in zip(self._known(), self.labels.tolist(), self.ids.tolist(),
                                          strict=True):
            digest.update(f"{entry.sha256} {label} {identity} {entry.name}\n".encode())
        return digest.hexdigest()

    def files(self) -> list[str]:
        """The name of each image's file, the same wherever the data lie."""
        return [self.source.name(position) for position in self.ids.tolist()]

    def select(self, index: Tensor | np.ndarray) -> FileImages:
        """The images at the given positions, in that order, or those that a mask names."""
        index = positions(index)
        entries = self.entries and tuple(self.entries[place] for place in index.tolist())
        return self._chosen(self.labels[index], self.ids[index], entries)

    def relabelled(self, labels: Int64[Tensor, "image"]) -> FileImages:
        """The same images with other labels."""
        return self._chosen(labels, self.ids, self.entries)

    def _chosen(self, labels: Tensor, ids: Tensor, entries: tuple[Entry, ...] | None) -> FileImages:
        return FileImages(self.source, labels, ids, self.class_names, index=self.index,
                          unreadable=self.unreadable, numbered=self.numbered,
                          threads=self.threads, entries=entries)

    def checked(self, progress: bool = False) -> FileImages:
        """Those of the images that can be read; every file is decoded once, and not again while its
        size and time of change stay as they are.

        Raises:
            ValueError: some cannot be read, under ``unreadable: fatal``; or none can.
        """
        if self.entries is not None:
            return self
        entries = self._examined(progress)
        broken = [entry for entry in entries if entry.error]
        if broken:
            some = listed([f"{entry.name} ({entry.error})" for entry in broken])
            said = f"{len(broken)} of {len(self)} images cannot be read: {some}"
            if self.unreadable == "fatal" or len(broken) == len(self):
                raise ValueError(f"{said}; accepted: images that Pillow reads, or unreadable: "
                                 f"skip in the data set's entry, which leaves some out")
            warnings.warn(f"{said}; they are left out", PictureWarning, stacklevel=2)
        tell_frames(entries)
        kept = torch.tensor([not entry.error for entry in entries], dtype=torch.bool)
        return self._chosen(self.labels[kept], self.ids[kept],
                            tuple(entry for entry in entries if not entry.error))

    def _known(self, progress: bool = False) -> tuple[Entry, ...]:
        entries = self.checked(progress).entries
        if len(entries) != len(self):
            raise ValueError(f"{len(self) - len(entries)} of these images cannot be read; "
                             f"accepted: images.checked(), the set without them")
        return entries

    def _examined(self, progress: bool) -> list[Entry]:
        """What is known of every image, of those that are new or changed by opening them."""
        ids = self.ids.tolist()
        names = self.files()
        stamps = [self._stamp(position) for position in ids]
        entries = [self.index.get(name) for name in names]
        unknown = [place for place, (entry, stamp) in enumerate(zip(entries, stamps, strict=True))
                   if not is_current(entry, stamp)]

        def look(place: int, read: Callable[[], bytes]) -> Entry:
            place = unknown[place]
            try:
                data = read()
            except (*READING_ERRORS, ValueError) as error:
                said = getattr(error, "strerror", None) or one_line(error, 200)
                return Entry(names[place], *NO_STAMP, error=f"cannot be opened: {said}")
            return examine(names[place], stamps[place], data)

        fresh: dict[str, Entry] = {}
        try:
            for place, entry in self._each([ids[place] for place in unknown], look,
                                           "checking images", progress):
                entries[unknown[place]] = fresh[entry.name] = entry
                if len(fresh) >= IMAGES_PER_WRITE:
                    self.index.add(fresh)
                    fresh = {}
        finally:  # what was found before a stop is not lost
            self.index.add(fresh)
        return entries

    def _stamp(self, position: int) -> tuple[int, int]:
        try:
            return self.source.stamp(position)
        except OSError:
            return NO_STAMP

    def _each(self, ids: list[int], use: Callable, title: str, progress: bool) -> Iterable:
        # for good: a filter that one thread takes back would be missing in another
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        return tqdm(self.source.each(ids, use, self.threads), total=len(ids), desc=title,
                    unit="image", disable=not (progress and ids))

    def loaded(self, preprocessing: Mapping | None = None, progress: bool = False) -> ImageSet:
        """The images in memory, decoded and preprocessed by timm's transform, float32; the same
        whatever the number of threads.

        Args:
            preprocessing: as of :func:`~neuronpath_core.models.preprocessing.model_preprocessing`.
            progress: show a progress bar.

        Raises:
            ValueError: a preprocessing that is none, more images than fit in 60 % of the machine's
                memory, images that cannot be read, or that are not those that were checked.
        """
        config = check_preprocessing(preprocessing)
        each = 4 * math.prod(config["input_size"])
        if len(self) * each > (most := MOST_OF_MEMORY * machine_memory()):
            raise ValueError(f"{len(self)} images of {each / 1e6:.1f} MB each do not fit in "
                             f"memory; accepted: up to {int(most // each)} at a time, "
                             "such as images.select(range(first, last)).loaded(…)")
        entries, apply = self._known(progress), transform(config)

        def prepare(place: int, read: Callable[[], bytes]) -> tuple[Tensor, bytes]:
            entry = entries[place]
            name, accepted = plain(entry.name), "accepted: files that stay as they are"
            try:
                data = read()
            except READING_ERRORS as error:
                raise ValueError(f"image {name} was there when it was checked and cannot be "
                                 f"opened any more ({one_line(error)}); {accepted}") from error
            if hashlib.sha256(data).hexdigest() != entry.sha256:
                raise ValueError(f"image {name} has changed since it was checked; {accepted}")
            with Image.open(io.BytesIO(data)) as picture:
                # made again: quicker than to read all of them
                return apply(picture), entry.thumbnail or thumbnail(picture)

        images = torch.empty((len(self), *config["input_size"]), dtype=torch.float32)
        small = np.zeros((len(self), THUMBNAIL, THUMBNAIL, 3), np.uint8)
        ids = self.ids.tolist()
        for place, (image, data) in self._each(ids, prepare, "loading images", progress):
            images[place], small[place] = image, pixels(data)
        return ImageSet(images=images, labels=self.labels, ids=self.ids,
                        class_names=self.class_names, pixels=small)
