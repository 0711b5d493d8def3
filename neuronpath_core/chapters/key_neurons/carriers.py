"""For which images key neurons fire, and how many neurons a class has (A8, A17)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neuronpath_core.chapters.key_neurons.measured import TOP, Read, over_classes
from neuronpath_core.chapters.key_neurons.near import shared_parts
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.neurons.class_profiles import class_means, participation_ratio
from neuronpath_core.stats.ranks import aurocs

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

DEALS = 19
OWN_CLASS, RELATED, OTHERS = "its class", "classes that share an attribute", "other classes"
PATCHES, CLASS_TOKEN = "at the image tokens", "at the class token"


# --- for which images a class's key neuron fires (A17) ---


def fire_table(read: Read, values: Float[np.ndarray, "image block neuron"]
               ) -> tuple[Float[np.ndarray, "class rank"], Float[np.ndarray, "class rank"]]:
    """How well each of the first key neurons tells its class from the others, and the mean of
    neurons like it."""
    own = read.labels[:, None] == np.arange(read.classes)
    table = aurocs(values.reshape(len(values), -1).T, own).T.reshape(-1, *values.shape[1:])
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
                         **over_classes((own - control).mean(1), seed=seed),
                         "first": own[:, 0].mean(), "five": own.mean(), "alike": control.mean(),
                         "classes": read.classes})
    return pd.DataFrame(rows)


def read_by_head(fires: pd.DataFrame, reads: Mapping[tuple[str, str], Read]) -> pd.DataFrame:
    """The rows at the tokens that each model's head reads: the class token, or the image tokens
    that it averages."""
    at = {key: CLASS_TOKEN if read.target.scope == "cls" else PATCHES
          for key, read in reads.items()}
    own = [row["condition"] == at[row["data"], row["model"]] for row in fires.to_dict("records")]
    return fires[own]


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
        rows.append({"block": block + 1, **over_classes(gain, seed=seed),
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
    return {**over_classes(gain, seed=seed), "ratio": np.nanmean(own),
            "dealt": np.nanmean(dealt), "classes": size}


def activation_rows(read: Read, images: ImageSet, seed: int = 0) -> pd.DataFrame:
    """How strongly the best neuron of each block for a class fires for it, for classes that share
    an attribute with it and for the others (figure 4 of the report).

    Returns:
        ``of`` (in words), ``block, depth, value, low, high``: activation at the patches above the
        mean of all classes, in standard deviations over images, over classes.
    """
    means, best = class_means(read.patch, read.labels, read.classes), read.written.effective.argmax(
        1).T  # (class, block)
    spread = read.patch.std(0)
    scaled = (means - means.mean(0)) / np.where(spread > 0, spread, 1)
    blocks, own = np.arange(read.sd.shape[0]), np.eye(read.classes, dtype=bool)
    fired = scaled[:, blocks, best]  # of each class (first axis) in each class's neuron (second)
    related = shared_parts(images.taxonomy) > 0 if images.taxonomy else own
    rows = []
    for words, who in ((OWN_CLASS, own), (RELATED, related & ~own), (OTHERS, ~related & ~own)):
        if who.any():
            table = np.stack([fired[who[:, label], label].mean(0)
                              for label in range(read.classes)])
            rows += [{"of": words, "block": block + 1, "depth": (block + 1) / len(blocks),
                      **over_classes(table[:, block], seed=seed)} for block in blocks]
    return pd.DataFrame(rows)
