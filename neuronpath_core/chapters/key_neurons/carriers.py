"""For which images key neurons fire, how many neurons a class has, which classes share theirs, and
whether key neurons read the object (A8, A9, A17, the report's conclusion)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from neuronpath_core.chapters.key_neurons.measured import TOP, Read
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.neurons.class_profiles import (
    class_means,
    is_key,
    participation_ratio,
    profile_distances,
    spread_within,
)
from neuronpath_core.neurons.keys import read_keys
from neuronpath_core.neurons.localisation import mid_ranks
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.stats.mantel import mantel

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64
    from torch import Tensor

DEALS = 19
PERMUTATIONS = 999
# whose key neurons the distances of classes are over, as published and as recommended
FIRST, FIRST_THREE, EVERY = "first key neuron", "first three key neurons", "all neurons"
PATCHES, CLASS_TOKEN = "at the image tokens", "at the class token"


# --- for which images a class's key neuron fires (A17) ---


def class_separation(values: Float[np.ndarray, "image *rest"],
                     own: Bool[np.ndarray, "image"]) -> Float[np.ndarray, "*rest"]:
    """The probability that an image of the class has a larger value than another image, ties one
    half."""
    ranks = mid_ranks(torch.from_numpy(np.ascontiguousarray(np.moveaxis(values, 0, -1)))).numpy()
    n, m = own.sum(), (~own).sum()
    return (ranks[..., own].sum(-1) - n * (n - 1) / 2) / (n * m)


def fire_table(read: Read, values: Float[np.ndarray, "image block neuron"]
               ) -> tuple[Float[np.ndarray, "class rank"], Float[np.ndarray, "class rank"]]:
    """How well each of the first key neurons tells its class from the others, and the mean of
    neurons like it."""
    table = np.stack([class_separation(values, read.labels == label)
                      for label in range(read.classes)])
    block, neuron = np.moveaxis(read.written.best[:, :TOP], -1, 0)
    every, like = np.arange(read.classes)[:, None], read.alike[block, neuron]
    control = np.where(like, table[every, block], 0).sum(-1) / like.sum(-1)
    return table[every, block, neuron], control


def fire_rows(read: Read, seed: int = 0) -> pd.DataFrame:
    """Whether a class's key neurons fire for its images more than for others (A17).

    Returns:
        by ``condition``, the tokens that are read (of models that classify from it the class token
        too): ``value, low, high``, the separation of the first five key neurons minus that of
        neurons like them, over classes; ``first, five, alike``, separations (0.5 by chance) of the
        first, of the five and of neurons like these; ``classes``.
    """
    rows = []
    for words, values in ((PATCHES, read.patch), (CLASS_TOKEN, read.first)):
        if words == PATCHES or read.target.scope == "cls":
            own, control = fire_table(read, values)
            rows.append({"condition": words,
                         **interval_row((own - control).mean(1), seed=seed),
                         "first": own[:, 0].mean(), "five": own.mean(), "alike": control.mean(),
                         "classes": read.classes})
    return pd.DataFrame(rows)


def published_rows(read: Read) -> pd.DataFrame:
    """The mean activation of the k-th key neuron over all tokens, as the published code takes it,
    on its own class and on the others: ``rank`` (from 1), ``own, others``, means over classes."""
    means, every = class_means(read.whole, read.labels, read.classes), np.arange(read.classes)
    rows = []
    for rank in range(TOP):
        block, neuron = read.written.best[:, rank].T
        fired = means[:, block, neuron]  # of each class in each class's neuron
        own = fired[every, every]
        rows.append({"rank": rank + 1, "own": own.mean(),
                     "others": ((fired.sum(0) - own) / (read.classes - 1)).mean()})
    return pd.DataFrame(rows)


# --- how many neurons carry a class (A8) ---


def profiles_of(values: Float[np.ndarray, "image block neuron"], labels: Int64[np.ndarray, "image"],
                classes: int) -> Float[np.ndarray, "class block neuron"]:
    """How much more than on average each neuron fires for each class."""
    means = class_means(values, labels, classes)
    return means - means.mean(0)


def carrier_rows(read: Read, seed: int = 0) -> pd.DataFrame:
    """How many of a block's neurons carry a class: participation ratio of the classes' profiles.

    Returns:
        a row for each block: ``block`` (from 1), ``value, low, high`` (of images whose labels are
        dealt anew minus the classes', over classes), ``classes'`` own as ``ratio``, ``dealt``;
        ``top``, the largest neuron's share of the squares, and ``key``, the share of the classes
        whose best neuron of the block is that one.
    """
    rng, size = np.random.default_rng(seed), read.classes
    own = profiles_of(read.patch, read.labels, size)
    dealt = np.mean([participation_ratio(profiles_of(read.patch, rng.permutation(read.labels),
                                                     size)) for _ in range(DEALS)], 0)
    ratio, squares = participation_ratio(own), np.square(own)
    best = read.written.effective.argmax(1).T  # (class, block)
    rows = []
    for block in range(own.shape[1]):
        told = ~np.isnan(ratio[:, block] + dealt[:, block])
        gain = (dealt - ratio)[told, block]
        rows.append({"block": block + 1, **interval_row(gain, seed=seed),
                     "ratio": ratio[told, block].mean(), "dealt": dealt[told, block].mean(),
                     "top": (squares.max(-1) / squares.sum(-1))[told, block].mean(),
                     "key": (own[:, block].argmax(1) == best[:, block]).mean()})
    return pd.DataFrame(rows)


def carrier_row(read: Read, seed: int = 0) -> dict[str, float]:
    """The same, mean over blocks: ``value, low, high`` over classes, ``ratio, dealt, classes``."""
    rng, size = np.random.default_rng(seed), read.classes
    own = participation_ratio(profiles_of(read.patch, read.labels, size))
    dealt = np.mean([participation_ratio(profiles_of(read.patch, rng.permutation(read.labels),
                                                     size)) for _ in range(DEALS)], 0)
    gain = np.nanmean(dealt - own, 1)
    return {**interval_row(gain, seed=seed), "ratio": np.nanmean(own),
            "dealt": np.nanmean(dealt), "classes": size}


# --- which classes lie near one another (A8, A9) ---


def distances(read: Read, over: str, block: int) -> Float[np.ndarray, "class class"]:
    """Distances of the classes' profiles in a block (from 0), divided by the spread within classes
    where all neurons count."""
    means = class_means(read.patch[:, block], read.labels, read.classes)
    if over == EVERY:
        spread = spread_within(read.patch[:, block], read.labels, read.classes)
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
    """Whether classes that share attributes lie near one another, in each third of the blocks.

    Nearness is minus the mean distance over the blocks of a third, each divided by its own mean.

    Returns:
        ``over`` (which neurons), ``condition`` (the third), ``value`` (correlation with the number
        of shared attributes, pixel distances taken out), ``chance`` and ``p`` by permuted classes,
        ``plain`` (pixels left in) and ``classes``; nothing of images without a taxonomy.
    """
    columns = ["over", "condition", "value", "chance", "p", "plain", "classes"]
    if not images.taxonomy:
        return pd.DataFrame(columns=columns)
    relation, pixels = shared_parts(images.taxonomy), pixel_distances(read)
    rows = []
    for over in (FIRST, FIRST_THREE, EVERY):
        found = np.stack([distances(read, over, block) for block in range(read.sd.shape[0])])
        found = found / found.mean((1, 2), keepdims=True)
        for words, part in zip(("first", "middle", "last"),
                               np.array_split(np.arange(len(found)), 3), strict=True):
            near = -found[part].mean(0)
            told = mantel(near, relation, (pixels,), permutations=PERMUTATIONS, seed=seed)
            plain = mantel(near, relation, permutations=PERMUTATIONS, seed=seed)
            rows.append({"over": over, "condition": f"in the {words} third of the blocks",
                         "value": told["value"], "chance": told["permuted_high"], "p": told["p"],
                         "plain": plain["value"], "classes": read.classes})
    return pd.DataFrame(rows, columns=columns)


# --- on the object or beside it ---


def background_row(read: Read, seed: int = 0) -> dict[str, float]:
    """How many of the first five key neurons are background neurons, that fire more outside the
    object than inside, on average over their class's images.

    Returns:
        ``value, low, high``, the share of neurons like them minus theirs, over classes; ``share``,
        ``alike``; ``gap`` and ``gap_alike``, activation inside minus outside in standard
        deviations, of the first; ``classes``.
    """
    table = read.of_class(read.gap)  # (class, block, neuron)
    block, neuron = np.moveaxis(read.written.best[:, :TOP], -1, 0)
    every, like = np.arange(read.classes)[:, None], read.alike[block, neuron]
    outside = (table < 0).astype(float)
    own = outside[every, block, neuron].mean(1)
    control = (np.where(like, outside[every, block], 0).sum(-1) / like.sum(-1)).mean(1)
    return {**interval_row(control - own, seed=seed), "share": own.mean(), "alike": control.mean(),
            "gap": read.of_class(read.of_key(read.gap)).mean(),
            "gap_alike": read.of_class(read.of_alike(read.gap)).mean(), "classes": read.classes}


def without_object_row(read: Read, empty: Tensor, seed: int = 0) -> dict[str, float]:
    """Whether key neurons fire more for a scene than for the same scene without its object.

    Args:
        read: of the scenes.
        empty: the same scenes without their objects.

    Returns:
        ``value, low, high``, the share of images in which the first key neuron's mean activation
        over patches is larger with the object, minus that of neurons like it, over classes;
        ``share, alike``, and ``change``, with minus without, in standard deviations.
    """
    bare = read_keys(read.target, empty).maps.mean(-1).transpose(0, 1).cpu().numpy()
    more = (read.patch > bare) + 0.5 * (read.patch == bare)
    own, like = (read.of_class(each(more)) for each in (read.of_key, read.of_alike))
    change = (read.patch - bare) / np.where(read.sd > 0, read.sd, 1)
    return {**interval_row(own - like, seed=seed), "share": own.mean(), "alike": like.mean(),
            "change": read.of_class(read.of_key(change)).mean(), "classes": read.classes}
