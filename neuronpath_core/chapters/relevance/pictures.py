"""Relevance maps of single images, to be drawn over their pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.chapters.effects import numbers
from neuronpath_core.chapters.relevance.measured import lead_rows, removed
from neuronpath_core.chapters.relevance.orders import RANDOM, runners_up
from neuronpath_core.figures.relevance import Map
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.readings.grids import grid_of
from neuronpath_core.readings.relevance import relevance

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

    from neuronpath_core.target import TargetModel


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
