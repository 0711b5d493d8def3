"""Readers of folders and tar files, and timm's of Hugging Face and other data sets: each image as
the bytes of its file."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from neuronpath_core.images.labels import Labelled
from neuronpath_core.models.depths import eight_bits
from neuronpath_core.support.text import as_utf8, one_line

NO_STAMP = (-1, -1)

Result = TypeVar("Result")


class Source:
    """Images in a fixed order, each read by its position.

    Attributes:
        where: reader, folder and split: what tells this source from another.
        classes: name -> index, as the reader numbers them; empty where the classes have no names.
        targets: int64 ``(image,)``, the index of each image's class.
        notes: what is to be told before these images are used, such as what is left out; a phrase
            each.
        reopen: opens the source again in another process, from its arguments.
    """

    reopen: Callable[[dict], Source]

    def __init__(self, arguments: dict, dataset, classes: Mapping[str, int],
                 targets: Iterable, root: str | None = None) -> None:
        self.arguments, self.dataset = arguments, dataset
        self.notes: list[str] = []
        self.classes = {as_utf8(name): index for name, index in classes.items()}
        if len(self.classes) < len(classes):
            seen = Counter(map(as_utf8, classes)).most_common(1)[0][0]
            raise ValueError(f"two folders of classes are both written {seen}; accepted: names "
                             f"that differ once they are UTF-8")
        root = root or getattr(getattr(dataset, "reader", dataset), "root", None)
        self.where = f"{arguments['reader']}|{as_utf8(str(root))}|{arguments['split']}"
        targets = list(targets)
        if any(not isinstance(target, (int, np.integer)) or target < 0 for target in targets):
            raise ValueError("the images have no labels, or several each; accepted: one class for "
                             "every image")
        self.targets = np.array(targets, np.int64)

    def __reduce__(self):  # open files do not travel to another process: it opens its own
        return self.reopen, (self.arguments,)

    def __len__(self) -> int:
        return len(self.targets)

    def name(self, position: int) -> str:
        """What the image is called, the same wherever the data lie."""
        return f"{position:08d}"

    def stamp(self, position: int) -> tuple[int, int]:
        """Size in bytes and time of the last change in nanoseconds: the same as long as the image
        is; ``NO_STAMP`` where nothing tells."""
        return NO_STAMP

    def read(self, position: int) -> bytes:
        """The image's file; may be called from several threads at once."""
        raise NotImplementedError

    def _readers(self, positions: list[int]) -> Iterator[tuple[int, Callable[[], bytes]]]:
        return ((place, partial(self.read, position)) for place, position in enumerate(positions))

    def each(self, positions: list[int], use: Callable[[int, Callable[[], bytes]], Result],
             threads: int) -> Iterator[tuple[int, Result]]:
        """``(place, use(place, read))`` for every place in ``positions``, computed side by side;
        ``read()`` gives the bytes of that image."""
        waiting: deque = deque()
        pool = ThreadPoolExecutor(threads)
        try:
            for place, read in self._readers(positions):
                waiting.append((place, pool.submit(use, place, read)))
                if len(waiting) > 4 * threads:  # never more files in memory than that
                    place, result = waiting.popleft()
                    yield place, result.result()
            for place, result in waiting:
                yield place, result.result()
        finally:
            pool.shutdown(cancel_futures=True)


class FileSource(Source):
    """Pictures that are files of a folder or tar file, each in a folder that names its class.

    Attributes:
        orders_differ: timm and torchvision would number these folders differently.
    """

    def __init__(self, arguments: dict, root: str, images: Labelled, members: Mapping) -> None:
        super().__init__(arguments, None, images.classes, images.targets, root)
        self.root, self.names, self.members = str(root), images.names, members
        self.orders_differ = images.orders_differ

    def name(self, position: int) -> str:
        return as_utf8(self.names[position])


class FolderSource(FileSource):
    """A folder of folders of images."""

    def _path(self, position: int) -> str:
        return os.path.join(self.root, self.names[position])

    def stamp(self, position: int) -> tuple[int, int]:
        status = os.stat(self._path(position))
        return status.st_size, status.st_mtime_ns

    def read(self, position: int) -> bytes:
        return Path(self._path(position)).read_bytes()


class TarSource(FileSource):
    """A tar file of folders of images, never unpacked."""

    def __init__(self, arguments: dict, root: str, images: Labelled, members: Mapping) -> None:
        super().__init__(arguments, root, images, members)
        self._lock, self._changed = threading.Lock(), os.stat(root).st_mtime_ns
        self._open: dict[str | None, tarfile.TarFile] = {}

    def stamp(self, position: int) -> tuple[int, int]:
        return self.members[self.names[position]][0].size, self._changed

    def _archive(self, inner: tarfile.TarInfo | None) -> tarfile.TarFile:
        name = inner and inner.name
        if name not in self._open:
            self._open[name] = tarfile.open(self.root) if inner is None else tarfile.open(
                fileobj=self._archive(None).extractfile(inner))
        return self._open[name]

    def read(self, position: int) -> bytes:
        member, inner = self.members[self.names[position]]
        with self._lock:  # one file, one reading position
            return self._archive(inner).extractfile(member).read()


class HubSource(Source):
    """A Hugging Face data set, downloaded or local."""

    def __init__(self, arguments: dict, dataset) -> None:
        reader = dataset.reader
        targets = reader.iter_targets() if hasattr(reader,
                                                   "iter_targets") else (reader[position][1]
                                                                         for position in range(
            len(reader)))
        super().__init__(arguments, dataset, reader.class_to_idx, targets)
        self._lock = threading.Lock()
        # of everything that the data set was made by
        fingerprint = getattr(reader.dataset, "_fingerprint", None)
        self._stamp = (len(reader), int(hashlib.sha256(fingerprint.encode()).hexdigest()[:15],
                                        16)) if fingerprint else NO_STAMP

    def stamp(self, position: int) -> tuple[int, int]:
        return self._stamp

    def read(self, position: int) -> bytes:
        with self._lock, self.dataset.reader[position][0] as stream:
            return stream.read()


class TorchSource(Source):
    """One of torchvision's data sets, whose images come decoded: their bytes are those of a PPM
    file with the same pixels."""

    def __init__(self, arguments: dict, dataset) -> None:
        names = getattr(dataset, "classes", ())
        targets = getattr(dataset, "targets", None)
        targets = [target for _,
                   target in dataset] if targets is None else np.asarray(targets).tolist()
        super().__init__(arguments, dataset, {str(name): index for index, name in enumerate(names)},
                         targets)
        self._lock = threading.Lock()

    def read(self, position: int) -> bytes:
        with self._lock:
            return _as_file(self.dataset[position][0])


class StreamSource(Source):
    """A stream, read through once for the labels and once whenever images are asked for; its images
    come decoded, as torchvision's do."""

    def __init__(self, arguments: dict, dataset) -> None:
        super().__init__(arguments, dataset, getattr(dataset.reader, "class_to_idx", {}),
                         (target for _, target in dataset))

    def _readers(self, positions: list[int]) -> Iterator[tuple[int, Callable[[], bytes]]]:
        wanted: dict[int, list[int]] = {}
        for place, position in enumerate(positions):
            wanted.setdefault(int(position), []).append(place)
        for position, (picture, _) in enumerate(self._pictures()):
            places = wanted.pop(position, [])
            if places:
                data = _as_file(picture)
                yield from ((place, lambda data=data: data) for place in places)
            if not wanted:
                return
        raise ValueError(f"the stream {self.arguments['reader']} ended before image "
                         f"{min(wanted)}, which it had when its labels were read; "
                         "accepted: a stream that stays as it is while it is used")

    def _pictures(self) -> Iterator[tuple[Image.Image, int]]:
        try:
            yield from self.dataset
        except (OSError, RuntimeError, Image.DecompressionBombError) as error:
            raise ValueError(f"the stream {self.arguments['reader']} cannot be read "
                             f"({one_line(error)}); "
                             "accepted: one without damage, or the same images as a folder, a tar "
                             "file or an hfds/ data set") from error


def _as_file(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    eight_bits(picture).save(stream, "PPM")
    return stream.getvalue()
