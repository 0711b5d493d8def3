"""A profile's images and weights, told apart without opening them: a notebook that was executed
with others is executed again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from neuronpath_core.images.data_sets import load_part
from neuronpath_core.images.file_images import FileImages
from neuronpath_core.images.readers import NO_STAMP
from neuronpath_core.models.checkpoints import locate
from neuronpath_core.study.profiles import model_entries


def inputs_sha256(root: Path, entries: Mapping) -> str:
    """SHA-256 over names, sizes and times of change of the files that a profile's images and
    weights are read from; what is missing counts as that.

    Neither where they lie nor the files in the project's ``data/``, whose digests are recorded
    there.
    """
    return hashlib.sha256(repr([_weights(root, spec) for spec in model_entries(entries).values()]
                               + _images(root, entries["dataset"])).encode()).hexdigest()


def _weights(root: Path, spec: Mapping) -> tuple | None:
    try:
        path = locate(spec, root)
    except ValueError:  # said before any work by whoever needs them
        return None
    if path is None or path.is_relative_to(root / "data"):
        return None
    status = path.resolve().stat()
    return path.name, status.st_size, status.st_mtime_ns


def _images(root: Path, dataset: Mapping) -> list[tuple]:
    if dataset.get("name") != "files":
        return []
    try:
        images = load_part(dataset, "held_out", base=root)
    except ValueError:
        return []
    assert isinstance(images, FileImages)
    return [(images.source.name(place), _stamp(images, place), label) for place,
            label in zip(images.ids.tolist(), images.labels.tolist(), strict=True)]


def _stamp(images: FileImages, place: int) -> tuple[int, int]:
    try:
        return images.source.stamp(place)
    except OSError:
        return NO_STAMP
