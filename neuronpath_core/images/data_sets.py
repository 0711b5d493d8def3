"""The images that a profile names: what its models are trained on, and what the experiments see,
never the same ones."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path

from neuronpath_core.images.digits import load_digits
from neuronpath_core.images.files import load_files
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.images.settings import check_settings
from neuronpath_core.images.shapes import PARTS, load_shapes


def _digits_part(part: str, **settings) -> ImageSet:
    return load_digits(**settings)[PARTS.index(part)]


def _shapes_part(part: str, train_images: int, held_out_images: int, **settings) -> ImageSet:
    return load_shapes(part, {"train": train_images, "held_out": held_out_images}[part], **settings)


DATASETS = {"digits": _digits_part, "shapes": _shapes_part, "files": load_files}
PLACES = ("base", "index_folder", "threads")  # of files; not a profile's to say


def load_part(spec: Mapping, part: str, *, base: Path | None = None,
              index_folder: Path | None = None, threads: int | None = None) -> ImageSet:
    """One part, ``"train"`` or ``"held_out"``, of a profile's ``dataset`` entry: its ``name`` and
    that data set's settings.

    The other part is neither read nor rendered where that is possible.

    Args:
        base: the folder that a relative ``root`` of image files starts from; by default the working
            directory.
        index_folder: where to keep what is known of image files; see
            :func:`~neuronpath_core.images.files.load_files`.
        threads: that read image files side by side; by default as many as there are cores, up to
            16.

    Raises:
        ValueError: an unknown data set or part, or settings that the data set refuses.
    """
    settings = dict(spec)
    name = settings.pop("name", None)
    if not isinstance(name, str) or name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}; accepted: {', '.join(DATASETS)}")
    if part not in PARTS:
        raise ValueError(f"unknown part {part!r}; accepted: {', '.join(PARTS)}")
    if name != "files":
        check_settings(spec)
        return DATASETS[name](part, **settings)
    known = [setting for setting, value in inspect.signature(load_files).parameters.items()
             if value.default is not value.empty and setting not in PLACES]
    if unknown := set(settings) - set(known):
        raise ValueError(f"unknown settings of image files: "
                         f"{', '.join(map(str, sorted(unknown)))}; accepted: {', '.join(known)}")
    return load_files(part, **settings, base=base, index_folder=index_folder, threads=threads)


def load_dataset(spec: Mapping) -> tuple[ImageSet, ImageSet]:
    """``(train, held_out)`` of a profile's ``dataset`` entry."""
    return load_part(spec, "train"), load_part(spec, "held_out")
