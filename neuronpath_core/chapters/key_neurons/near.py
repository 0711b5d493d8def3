"""Which classes lie near one another in their neurons (A8, A9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neuronpath_core.chapters.key_neurons.measured import PATCHES, Read, written
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.neurons.class_profiles import (
    class_means,
    is_key,
    profile_distances,
    spread_within,
)
from neuronpath_core.neurons.keys import read_keys
from neuronpath_core.stats.class_pairs import pair_interval
from neuronpath_core.stats.mantel import Contrast, Relation, mantel
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float

PERMUTATIONS = 999
# whose key neurons the distances of classes are over, as published and as recommended
FIRST, FIRST_THREE, EVERY = "first key neuron", "first three key neurons", "all neurons"


def distances(read: Read, over: str, block: int,
              tokens: str = PATCHES) -> Float[np.ndarray, "class class"]:
    """Distances of the classes' profiles in a block (from 0) at some tokens, divided by the spread
    within classes where all neurons count.

    Raises:
        ValueError: tokens that the model does not read.
    """
    values = read.at(tokens)[:, block]
    means = class_means(values, read.labels, read.classes)
    if over == EVERY:
        spread = spread_within(values, read.labels, read.classes)
        return profile_distances(means, over="all", spread=spread)
    order = np.argsort(-read.written.effective[block], axis=0, kind="stable").T
    top = is_key(order[:, :1 if over == FIRST else 3], read.neurons)
    return profile_distances(means, top)


def pixel_distances(read: Read) -> Float[np.ndarray, "class class"]:
    """Distances of the classes' mean images."""
    pixels = read.pixels.flatten(1).cpu().numpy()
    means = class_means(pixels, read.labels, read.classes)
    return np.sqrt(np.square(means[:, None] - means[None]).sum(-1))


def shared_parts(taxonomy: Mapping[str, tuple[str, ...]]) -> Float[np.ndarray, "class class"]:
    """How many attributes two classes have in common."""
    found = [np.array(list(names)) for names in taxonomy.values()]
    return sum((names[:, None] == names).astype(float) for names in found)


def near_rows(read: Read, images: ImageSet, seed: int = 0) -> pd.DataFrame:
    """Whether classes that share attributes lie near one another, in each third of the blocks, at
    the image tokens and, of models that classify from it, at the class token.

    Nearness is minus the mean distance over the blocks of a third, each divided by its own mean.

    Returns:
        ``over`` (which neurons), ``tokens``, ``condition`` (the third), ``value, low, high``
        (correlation with the number of shared attributes, pixel distances taken out, with
        :func:`~neuronpath_core.stats.class_pairs.pair_interval` over classes), ``chance`` and ``p``
        by permuted classes, ``plain`` (pixels left in) and ``classes``; nothing of images without a
        taxonomy.
    """
    columns = ["over", "tokens", "condition", "value", "low", "high", "chance", "p", "plain",
               "classes"]
    if not images.taxonomy:
        return pd.DataFrame(columns=columns)
    relation, pixels = shared_parts(images.taxonomy), pixel_distances(read)
    alone = Contrast(Relation(relation))
    rows = []
    for over, tokens in product((FIRST, FIRST_THREE, EVERY), read.tokens):
        found = np.stack([distances(read, over, block, tokens)
                          for block in range(read.sd.shape[0])])
        found = found / found.mean((1, 2), keepdims=True)
        for words, part in zip(("first", "middle", "last"),
                               np.array_split(np.arange(len(found)), 3), strict=True):
            near = -found[part].mean(0)
            told = mantel(near, relation, (pixels,), permutations=PERMUTATIONS, seed=seed)
            plain = float(alone.correlation(alone.ranks(near)))
            interval = pair_interval(near, relation, (pixels,), seed=seed)
            rows.append({"over": over, "tokens": tokens,
                         "condition": f"in the {words} third of the blocks", **interval,
                         "value": told["value"], "chance": told["permuted_high"], "p": told["p"],
                         "plain": plain, "classes": read.classes})
    return pd.DataFrame(rows, columns=columns)


def without_training(read: Read, twin: TargetModel) -> Read:
    """The same images through a network of the same architecture with random weights."""
    keys = read_keys(twin, read.pixels)
    patch, first = (each.transpose(0, 1).cpu().numpy() for each in (keys.maps.mean(-1), keys.first))
    return replace(read, target=twin, patch=patch, first=first, written=written(twin))
