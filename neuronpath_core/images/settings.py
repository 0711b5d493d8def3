"""What the ``dataset`` entry of a profile may hold, by the name of the data set, and of which type;
loads neither torch nor pandas."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from neuronpath_core.images.policies import POLICIES
from neuronpath_core.models.entries import Preprocessing
from neuronpath_core.support.typed import (
    MOST_SEED,
    Entry,
    Name,
    Text,
    Truth,
    misfit,
    number,
    one_of,
    said,
    whole,
)

DIGITS, CLASSES_OF_SHAPES = 1797, 24  # scans, and least scenes: one of each class
Place = Annotated[Text | Path | None, said("a path, in quotes if it looks like a number, or null")]


class Digits(Entry):
    """Scikit-learn's scanned digits."""

    name: one_of("digits")
    train_images: whole(10, DIGITS - 10)
    split_seed: whole(0, MOST_SEED) = 0
    image_size: whole(1, 1024) = 16


class Shapes(Entry):
    """Rendered scenes."""

    name: one_of("shapes")
    train_images: whole(CLASSES_OF_SHAPES, 10**6)
    held_out_images: whole(CLASSES_OF_SHAPES, 10**6)
    seed: whole(0, MOST_SEED) = 0
    difficulty: number(0, 1) = 0.5


class Files(Entry):
    """Images on disk."""

    name: one_of("files")
    reader: Text | None = None
    root: Place = None
    split: Name | None = None
    train_split: Name | None = None
    class_names: Annotated[Text | list[Name | int] | None,
                           said("timm, folder, or a list of names")] = None
    class_map: Annotated[dict[str, int] | Text | Path | None,
                         said("a file, or a mapping from names to whole numbers")] = None
    class_folder: one_of("first", "last") | None = None
    class_order: one_of("natural", "alphabetical") | None = None
    follow_links: Truth | None = None
    unreadable: one_of(*POLICIES) = None
    preprocessing: Preprocessing | None = None
    obtain: Text | None = None
    input_key: Name | None = None
    target_key: Name | None = None
    num_samples: Annotated[int | None, Field(ge=1), said("a whole number of at least 1")] = None


KINDS = {"digits": Digits, "shapes": Shapes, "files": Files}
PIXELS = {"digits": 1, "shapes": 3}  # channels of those that come in memory
CLASSES = {"digits": 10, "shapes": CLASSES_OF_SHAPES}


def size_of(settings: Mapping[str, Any]) -> int | None:
    """The side of the images, where all have the same one."""
    return {"digits": settings.get("image_size", 16), "shapes": 32}.get(settings["name"])


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings of a data set of a known name that its loader would not take.

    Raises:
        ValueError: unknown, missing or of another type.
    """
    try:
        KINDS[settings["name"]].model_validate(dict(settings))
    except ValidationError as error:
        keys, found, accepted = misfit(error)
        raise ValueError(f"{'.'.join(('dataset', *keys))} {found}; accepted: {accepted}") from error
