"""One pass of every model: what its tokens say, and which part of its image each of them shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.images.drawing import SIZE
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.images.shape_pairs import PAIRED, pairs_for
from neuronpath_core.images.shapes import LARGEST
from neuronpath_core.readings.class_space import ClassReading, read_classes
from neuronpath_core.readings.concepts import foreground
from neuronpath_core.readings.grids import Grid, coverage, grid_of
from neuronpath_core.readings.random_twins import random_weights
from neuronpath_core.readings.token_labels import class_tokens, regions
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64


# what is said where a figure would show objects
UNMASKED = "None of these images has masks: nothing is said of objects and context."


@dataclass(frozen=True)
class Read:
    """What a model's tokens say of some images.

    Attributes:
        target: the model.
        pixels, labels: the images as it sees them, and their labels.
        reading: of every token after every block.
        grid: of its patches.
        correct: whether the model classifies each image correctly.
        covered: the share of each patch that the object covers; ``None`` without masks.
        corner: whether each patch's corner pixel is the object's, the published label of a token.
        parts: which part of a scene each patch shows; ``None`` where that is not known.
    """

    target: TargetModel
    pixels: Tensor
    labels: Int64[Tensor, "image"]
    reading: ClassReading
    grid: Grid
    correct: Bool[np.ndarray, "image"]
    covered: Float[np.ndarray, "image patch"] | None = None
    corner: Bool[np.ndarray, "image patch"] | None = None
    parts: Int64[np.ndarray, "image patch"] | None = None

    @property
    def has_cls(self) -> bool:
        """Whether the model classifies from its class token."""
        return self.target.scope == "cls"

    @property
    def object(self) -> Bool[np.ndarray, "image patch"] | None:
        """Which tokens show the object: those that it covers by half; ``None`` without masks."""
        return None if self.covered is None else self.covered >= 0.5

    def patches(self, values: np.ndarray) -> np.ndarray:
        """Of values with a last axis of tokens those of the patches."""
        return values[..., self.grid.tokens]

    def identified(self) -> Bool[np.ndarray, "image patch"]:
        """Whether each patch token of the last block identifies its class."""
        return self.patches(self.reading.identified()[-1])


def read_model(study: Study, model: str, images: ImageSet) -> Read:
    """Read a model on images of a study."""
    target = study.target(model)
    pixels, labels = study.batch(images, model)
    grid = grid_of(target, pixels)
    found = read_classes(target, pixels, labels, groups_of(images))
    with torch.no_grad():
        correct = (target(pixels).argmax(-1) == labels).cpu().numpy()
    read = Read(target, pixels, labels, found, grid, correct)
    try:
        masks = foreground(images)
    except ValueError:  # images that nobody has masks of
        return read
    parts = regions(grid, images.masks).numpy() if {"outline", "fill"} <= set(
        images.masks or ()) else None
    return replace(read, covered=coverage(grid, masks).numpy(),
                   corner=class_tokens(grid, masks, "published").numpy(), parts=parts)


def groups_of(images: ImageSet) -> dict[str, Int64[np.ndarray, "class"]]:
    """The groups that the images' taxonomy makes of the classes, numbered; empty without one."""
    return {name: np.unique(list(names), return_inverse=True)[1]
            for name, names in (images.taxonomy or {}).items() if len(set(names)) > 1}


def read_twins(read: Read, count: int, seed: int = 0) -> list[ClassReading]:
    """The same images through networks of the same architecture with random weights."""
    return [read_classes(random_weights(read.target, seed + number), read.pixels, read.labels)
            for number in range(count)]


def stages(study: Study, model: str, read: Read, images: ImageSet) -> dict[str, Read]:
    """A model's checkpoints in the order of their training, and the model itself at last."""
    names = [name for name in study.variants(model) if " epoch " in name]
    names.sort(key=lambda name: int(name.rpartition(" ")[2]))
    return {**{f"epoch {name.rpartition(' ')[2]}": read_model(study, name, images)
               for name in names}, "fully trained": read}


def replicas(study: Study, model: str, read: Read, images: ImageSet) -> list[Read]:
    """A model and those that were trained again from other seeds."""
    return [read, *(read_model(study, name, images) for name in study.variants(model)
                    if " seed " in name)]


def pooled_and_token(study: Study, models: list[str]) -> list[tuple[str, str]]:
    """The first model that pools its patch tokens with the first that classifies from its class
    token, if both were trained from several seeds."""
    again = [model for model in models if any(" seed " in name for name in study.variants(model))]
    scopes = {scope: [model for model in again if study.target(model).scope == scope]
              for scope in ("patch", "cls")}
    return [(scopes["patch"][0], scopes["cls"][0])] if all(scopes.values()) else []


def without_object(study: Study, images: ImageSet) -> ImageSet | None:
    """The same scenes without their object; ``None`` for a data set that cannot be drawn again."""
    spec = study.settings["dataset"]
    return pairs_for(spec, images, "object") if spec.get("name") in PAIRED else None


def stacked(reads: Mapping[tuple[str, str], Read],
            rows: Callable[[tuple[str, str], Read], pd.DataFrame],
            columns: Sequence[str] = ()) -> pd.DataFrame:
    """``rows(key, read)`` of every model below one another, with ``data`` and ``model``, the two
    parts of its key; of no model a table with these columns and no row."""
    return joined([rows(key, read).assign(data=key[0], model=key[1])
                   for key, read in reads.items()], columns)


def joined(tables: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    """Tables below one another; of none one with ``data``, ``model`` and these columns, and no row.
    """
    if tables:
        return pd.concat(tables, ignore_index=True)
    return pd.DataFrame(columns=["data", "model", *columns])


def masked(reads: Mapping[tuple[str, str], Read]) -> dict[tuple[str, str], Read]:
    """Those whose images have masks of what they show."""
    return {key: read for key, read in reads.items() if read.object is not None}


def reach(difficulty: float) -> str:
    """By how many pixels the middle of a scene's object lies off the image's at most, along each
    side: that of the smallest object, see :func:`~neuronpath_core.images.shapes.render`."""
    return f"{difficulty * (SIZE / 2 - 0.9 * (LARGEST - 1 - 5 * difficulty)):.1f}"
