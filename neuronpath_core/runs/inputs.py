"""A profile's images and weights, told apart without loading them: a notebook that was executed
with others is executed again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from neuronpath_core.images.data_sets import load_part
from neuronpath_core.images.declared import declared
from neuronpath_core.images.file_images import FileImages
from neuronpath_core.images.readers import NO_STAMP
from neuronpath_core.models.checkpoints import locate
from neuronpath_core.models.weight_files import file_sha256
from neuronpath_core.study.profiles import model_entries
from neuronpath_core.study.vlm_profiles import is_vlm, vlm_entries
from neuronpath_core.study.vlm_weights import vlm_weights


def inputs_sha256(root: Path, entries: Mapping) -> str:
    """SHA-256 over what tells apart the files that a profile's images and weights are read from,
    wherever they lie; what is missing counts as that.

    Weights in the project's ``data/`` are told apart by their digests, images that are declared
    (:mod:`~neuronpath_core.images.declared`) by what is declared, whether they are at hand or not,
    other files by name, size and time of change.
    """
    every = vlm_entries(entries) if is_vlm(entries) else model_entries(entries)
    return hashlib.sha256(repr([_weights(root, spec) for spec in every.values()]
                               + _images(root, entries["dataset"])).encode()).hexdigest()


def _weights(root: Path, spec: Mapping) -> tuple | None:
    try:
        path = vlm_weights(spec, root) if "kind" in spec else locate(spec, root)
    except ValueError:  # said before any work by whoever needs them
        return None
    if path is None:
        return None
    status = path.resolve().stat()
    told_by = status.st_size, status.st_mtime_ns
    if path.is_relative_to(root / "data"):
        return path.name, _digest(path, *told_by)
    return path.name, *told_by


@cache
def _digest(path: Path, _size: int, _changed: int) -> str:
    return file_sha256(path)


def _images(root: Path, dataset: Mapping) -> list[tuple]:
    if dataset.get("name") != "files":
        return []
    try:
        if (wanted := declared(dataset, root)) is not None:
            return [(name, *own.values()) for name, own in sorted(wanted.items())]
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
