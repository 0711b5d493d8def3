"""For which images key neurons fire, how many neurons a class has, and in which blocks they fire
for it most (A8, A17)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neuronpath_core.chapters.key_neurons.by_block import trends
from neuronpath_core.chapters.key_neurons.measured import (
    CLASS_TOKEN,
    PATCHES,
    TOP,
    Read,
    over_classes,
)
from neuronpath_core.chapters.key_neurons.near import shared_parts
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.neurons.class_profiles import class_means, participation_ratio
from neuronpath_core.stats.ranks import aurocs

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

DEALS = 19
OWN_CLASS, RELATED, OTHERS = "its class", "classes that share an attribute", "other classes"


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
    for words in read.tokens:
        own, control = fire_table(read, read.at(words))
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


def ratios(read: Read, tokens: str = PATCHES, seed: int = 0
           ) -> tuple[Float[np.ndarray, "class block"], Float[np.ndarray, "class block"]]:
    """Participation ratios of the classes' profiles at some tokens, and their mean over images
    whose labels are dealt anew."""
    rng, values = np.random.default_rng(seed), read.at(tokens)
    own = participation_ratio(profiles_of(values, read.labels, read.classes))
    dealt = np.mean([participation_ratio(profiles_of(values, rng.permutation(read.labels),
                                                     read.classes)) for _ in range(DEALS)], 0)
    return own, dealt


def carrier_rows(read: Read, seed: int = 0) -> pd.DataFrame:
    """How many of a block's neurons carry a class: participation ratio of the classes' profiles, at
    the image tokens and, of models that classify from it, at the class token.

    Returns:
        a row for each block and ``condition``, the tokens: ``block`` (from 1), ``value, low, high``
        (of images whose labels are dealt anew minus the classes', over classes), ``classes``' own
        as ``ratio``, ``dealt``; ``top``, the largest neuron's share of the squares, and ``key``,
        the share of the classes whose best neuron of the block is that one.
    """
    best = read.written.effective.argmax(1).T  # (class, block)
    rows = []
    for tokens in read.tokens:
        ratio, dealt = ratios(read, tokens, seed)
        own = profiles_of(read.at(tokens), read.labels, read.classes)
        squares = np.square(own)
        for block in range(own.shape[1]):
            told = ~np.isnan(ratio[:, block] + dealt[:, block])
            gain = (dealt - ratio)[told, block]
            rows.append({"condition": tokens, "block": block + 1, **over_classes(gain, seed=seed),
                         "ratio": ratio[told, block].mean(), "dealt": dealt[told, block].mean(),
                         "top": (squares.max(-1) / squares.sum(-1))[told, block].mean(),
                         "key": (own[:, block].argmax(1) == best[:, block]).mean()})
    return pd.DataFrame(rows)


def carrier_row(read: Read, tokens: str = PATCHES, seed: int = 0) -> dict[str, float | str]:
    """The same at some tokens, mean over blocks: ``condition``, the tokens; ``value, low, high``
    over classes, ``ratio, dealt, classes``.

    Raises:
        ValueError: tokens that the model does not read.
    """
    ratio, dealt = ratios(read, tokens, seed)
    return {"condition": tokens, **over_classes(np.nanmean(dealt - ratio, 1), seed=seed),
            "ratio": np.nanmean(ratio), "dealt": np.nanmean(dealt), "classes": read.classes}


def carried_rows(read: Read, seed: int = 0) -> pd.DataFrame:
    """:func:`carrier_row` at all tokens that the model reads."""
    return pd.DataFrame([carrier_row(read, tokens, seed) for tokens in read.tokens])


# --- in which blocks a class's neurons fire for it most (A8) ---


def fired(read: Read, tokens: str = PATCHES) -> Float[np.ndarray, "class block neuron"]:
    """Mean activation on the images of each class above the mean of all classes, in standard
    deviations over images; 0 of a neuron that does not vary.

    Raises:
        ValueError: tokens that the model does not read.
    """
    values = read.at(tokens)
    spread = values.std(0)
    return profiles_of(values, read.labels, read.classes) / np.where(spread > 0, spread, 1)


def activation_rows(read: Read, images: ImageSet, seed: int = 0) -> pd.DataFrame:
    """How strongly the best neuron of each block for a class fires for it, for classes that share
    an attribute with it and for the others (figure 4 of the report), at the image tokens and, of
    models that classify from it, at the class token.

    Returns:
        ``condition`` (the tokens), ``of`` (in words), ``block, depth, value, low, high``:
        :func:`fired`, over classes.
    """
    best, own = read.written.effective.argmax(1).T, np.eye(read.classes, dtype=bool)
    blocks = np.arange(best.shape[1])
    related = shared_parts(images.taxonomy) > 0 if images.taxonomy else own
    rows = []
    for tokens in read.tokens:
        # of each class (first axis) in each class's neuron (second)
        each = fired(read, tokens)[:, blocks, best]
        for words, who in ((OWN_CLASS, own), (RELATED, related & ~own), (OTHERS, ~related & ~own)):
            if who.any():
                table = np.stack([each[who[:, label], label].mean(0)
                                  for label in range(read.classes)])
                rows += [{"condition": tokens, "of": words, "block": block + 1,
                          "depth": (block + 1) / len(blocks),
                          **over_classes(table[:, block], seed=seed)} for block in blocks]
    return pd.DataFrame(rows)


def stronger_rows(read: Read, seed: int = 0) -> pd.DataFrame:
    """Whether a class's neurons fire for it more strongly in later blocks (A8): Spearman's
    correlation of the block with how strongly the block's best neuron fires for its class
    (:func:`fired`), minus the mean of the neurons like it.

    Returns:
        by ``condition``, the tokens: ``value, low, high`` over classes; ``plain``, without the
        subtraction; ``early, late``, the best neuron's activation in the first and the last third
        of the blocks, and ``late_alike``, that of neurons like it; ``classes``.
    """
    best = read.written.effective.argmax(1).T
    blocks, every = np.arange(best.shape[1]), np.arange(read.classes)[:, None]
    like, third = read.alike[blocks, best], max(1, len(blocks) // 3)
    rows = []
    for tokens in read.tokens:
        table = fired(read, tokens)
        own = table[every, blocks, best]
        alike = np.where(like, table, 0).sum(-1) / like.sum(-1)
        rows.append({"condition": tokens, **over_classes(trends(own - alike), seed=seed),
                     "plain": trends(own).mean(), "early": own[:, :third].mean(),
                     "late": own[:, -third:].mean(), "late_alike": alike[:, -third:].mean(),
                     "classes": read.classes})
    return pd.DataFrame(rows)
