"""Relevance maps of single images, to be drawn over their pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.chapters.effects import numbers
from neuronpath_core.chapters.relevance.measured import lead_rows, removed
from neuronpath_core.chapters.relevance.orders import RANDOM, next_of_class, runners_up
from neuronpath_core.figures.relevance import Map
from neuronpath_core.images.file_images import FileImages
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.readings.concepts import foreground
from neuronpath_core.readings.grids import coverage, grid_of
from neuronpath_core.readings.relevance import relevance
from neuronpath_core.readings.removal import ranked
from neuronpath_core.stats.intervals import interval_row

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

    from neuronpath_core.target import TargetModel

# maps that are asked where their most relevant patch lies
PLACED = ("own", "published", "block", "positive", "chefer", "rollout", "integrated_gradients")


def two_classes(target: TargetModel, images: ImageSet,
                pictures: Float[Tensor, "image channel height width"],
                labels: Int64[Tensor, "image"], data: str) -> tuple[Map, Map]:
    """The maps of every block and head of one image for its label and for the class that the model
    holds likeliest but for it: of the first misclassified image, or of the first where there is
    none."""
    with torch.no_grad():
        wrong = torch.cat([target(part).argmax(-1) for part in pictures.split(64)]) != labels
    place = int(wrong.nonzero()[0, 0]) if wrong.any() else 0
    one = slice(place, place + 1)
    other = runners_up(target, pictures[one], labels[one])
    grid = grid_of(target, pictures[one])
    words = "predicted" if wrong[place] else "second"
    found = []
    for kind, classes in (("label", labels[one]), (words, other)):
        maps = relevance(target, pictures[one], classes, reduce="head")[0]
        found.append(Map(images.pixels[place],
                         f"{data}: for the {kind}, {images.class_names[int(classes[0])]}",
                         numbers(maps).reshape(*maps.shape[:2], grid.rows, grid.columns)))
    return found[0], found[1]


def whole_maps(target: TargetModel, images: ImageSet,
               pictures: Float[Tensor, "image channel height width"],
               labels: Int64[Tensor, "image"], count: int = 3) -> list[Map]:
    """The maps summed over blocks and heads, for the label, of some images of different classes as
    far as there are."""
    firsts = [int((labels == label).nonzero()[0, 0]) for label in labels.unique()]
    chosen = sorted(firsts[::max(1, len(firsts) // count)][:count])
    grid = grid_of(target, pictures)
    maps = numbers(relevance(target, pictures[chosen], labels[chosen]))
    return [Map(images.pixels[place], images.class_names[int(labels[place])],
                own.reshape(grid.rows, grid.columns))
            for place, own in zip(chosen, maps, strict=True)]


def place_rows(target: TargetModel, images: ImageSet,
               pictures: Float[Tensor, "image channel height width"],
               maps: Mapping[str, Float[Tensor, "image patch"]], seed: int = 0) -> pd.DataFrame:
    """Whether the most relevant patch of an image shows what is drawn there, at least half of its
    pixels: ``order, own`` (share of the images), ``other`` (by the mask of the next image of the
    class, which knows where such things lie), ``base`` (share of such patches), and ``value, low,
    high`` of the difference, over images.

    An image without such a patch counts as one that is missed; of images without masks, as
    photographs are, there is no row.
    """
    columns = ["order", "own", "other", "base", "value", "low", "high"]
    if isinstance(images, FileImages) or not has_foreground(images):
        return pd.DataFrame(columns=columns)
    drawn = coverage(grid_of(target, pictures), foreground(images)).numpy() >= 0.5
    another = drawn[next_of_class(images.labels).numpy()]
    rows = []
    for order in (name for name in PLACED if name in maps):
        own = maps[order]
        first = ranked(own, seed)[:, :1].cpu().numpy()
        hit, control = (np.take_along_axis(each, first, 1)[:, 0].astype(float)
                        for each in (drawn, another))
        rows.append({"order": order, "own": hit.mean(), "other": control.mean(),
                     "base": drawn.mean(), **interval_row(hit - control, seed=seed)})
    return pd.DataFrame(rows, columns=columns)


def has_foreground(images: ImageSet) -> bool:
    """Whether it is known which pixels of the images show something."""
    try:
        return foreground(images) is not None
    except ValueError:
        return False


def block_rows(target: TargetModel, draft: TargetModel,
               pictures: Float[Tensor, "image channel height width"],
               labels: Int64[Tensor, "image"], steps: int, draws: int,
               seed: int = 0) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.relevance.measured.lead_rows` over random orders of each
    block's own map, summed over heads; ``order`` is the block, from 1."""
    maps = relevance(target, pictures, labels, reduce="block")
    named = {block + 1: maps[:, block] for block in range(maps.shape[1])}
    found, _ = removed(draft, pictures.to(draft.dtype), labels, named, steps, draws, seed)
    return lead_rows(found.assign(data="", model=""), [(block, RANDOM) for block in named],
                     seed).drop(columns=["data", "model"])
