"""Whether a half of a block raises the class more where the object is: at the patch tokens that
show it against the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.readings import change_rates, memories
from neuronpath_core.readings.concepts import foreground
from neuronpath_core.readings.grids import grid_of
from neuronpath_core.readings.streams import Streams, over_images
from neuronpath_core.readings.token_labels import class_tokens
from neuronpath_core.study.study import IMAGES_AT_ONCE, Study

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

OWN, OTHERS = "own mask", "mask of another image"


def is_known(images: ImageSet) -> bool:
    """Whether there is a mask of what the images show."""
    try:
        foreground(images)
    except ValueError:
        return False
    return True


def other_of_class(labels: Int64[np.ndarray, "image"]) -> Int64[np.ndarray, "image"]:
    """Position of the next image of each image's class, of the last one the first; -1 where a class
    has one image only."""
    other = np.full(len(labels), -1)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        if len(own) > 1:
            other[own] = np.roll(own, -1)
    return other


@torch.no_grad()
def place_table(study: Study, model: str, images: ImageSet) -> pd.DataFrame:
    """Whether the halves raise the label more at the patches that show the object.

    Of the published change the mean (a difference of logits), of the ledger the share of tokens
    whose label rises, each over the patches of which at least half lies inside the mask minus that
    over the others.

    Returns:
        ``model, image, block, half, mask`` (the image's own, or as a control that of another image
        of its class), ``change published`` and ``change ledger``; images without a patch of either
        kind, and those of a class with one image, are left out.

    Raises:
        ValueError: images without a mask of what they show.
    """
    target, tables = study.target(model), []
    shown, other = foreground(images), other_of_class(images.labels.numpy())
    for place, pictures, labels in study.batches(images, model, IMAGES_AT_ONCE):
        grid, chosen = grid_of(target, pictures), np.arange(len(images))[place]
        inside = {OWN: class_tokens(grid, shown[chosen]),
                  OTHERS: class_tokens(grid, shown[other[chosen]])}
        mixed = torch.stack([mask.any(1) & ~mask.all(1) for mask in inside.values()]).all(0)
        mixed &= torch.from_numpy(other[chosen] >= 0)
        ids = images.ids[place].numpy()

        def reading(streams: Streams, rows: Tensor, labels: Tensor = labels, grid=grid,
                    inside=inside, mixed=mixed, ids=ids) -> pd.DataFrame:
            kept = mixed[rows.cpu()]
            masks = {name: mask[rows.cpu()].to(labels.device) for name, mask in inside.items()}
            values = [_differences(target, streams, labels[rows], block, half, grid.tokens, masks)
                      for block in range(len(target.model.blocks)) for half in memories.HALVES]
            found = pd.concat([table.assign(image=np.tile(ids[rows.cpu().numpy()], len(masks)))[
                np.tile(kept.numpy(), len(masks))] for table in values])
            return found.assign(model=model)

        tables += over_images(target, pictures, reading)
    return pd.concat(tables, ignore_index=True)


def _differences(target, streams, labels, block, half, tokens, masks):
    found, index = [], labels[:, None, None]
    own = {}
    for of in ("published", "ledger"):
        change = change_rates.class_change(target, streams, block, half, of)[:, tokens]
        value = change.gather(-1, index.expand(*change.shape[:2], 1))[..., 0].double()
        own[f"change {of}"] = (value > 0).double() if of == "ledger" else value
    for name, mask in masks.items():
        found.append(pd.DataFrame({"block": block + 1, "half": half, "mask": name, **{
            measure: inside_minus_outside(value, mask).cpu().numpy()
            for measure, value in own.items()}}))
    return pd.concat(found, ignore_index=True)


def inside_minus_outside(values: Float[Tensor, "image patch"],
                         mask: Bool[Tensor, "image patch"]) -> Float[Tensor, "image"]:
    """Mean over the patches inside a mask minus that over the others; NaN without either."""
    inside, outside = mask.double(), (~mask).double()
    return ((values * inside).sum(1) / inside.sum(1)
            - (values * outside).sum(1) / outside.sum(1))
