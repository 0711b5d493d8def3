"""Bright dots beside the object, and the pixels that move a key neuron (A4, A18)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from neuronpath_core.chapters.key_neurons.measured import TOP, Read, over_classes
from neuronpath_core.neurons.bright_dots import bright_dots, place_among, repeats
from neuronpath_core.neurons.localisation import all_pairs, of_others
from neuronpath_core.neurons.matched import drawn
from neuronpath_core.neurons.saliency import predicting_patches, saliency
from neuronpath_core.readings.attention_maps import attention_maps
from neuronpath_core.stats.ranks import mid_ranks

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

AT_ONCE = 20  # images whose attention is held
NORM, ATTENTION = "of the longest streams", "that receive the most attention"
OWN, DEALT, OTHER = "key neuron", "mask of another image", "a neuron like it"


# --- bright dots (A4) ---


def received(read: Read) -> Float[np.ndarray, "block image patch"]:
    """The attention that each patch token receives in a block, mean over heads and tokens."""
    parts = [attention_maps(read.target, read.pixels[start:start + AT_ONCE]).mean((2, 3))
             for start in range(0, len(read.pixels), AT_ONCE)]
    return torch.cat(parts, 1)[..., read.grid.tokens].cpu().numpy()


def dots_of(read: Read, rank: int) -> Bool[np.ndarray, "image patch"]:
    """Dots of each image in the map of its class's key neuron of a rank."""
    block, neuron = read.written.best[read.labels, rank].T
    mean = read.mean_map.mean(-1)[block, neuron]
    return bright_dots(read.own[:, rank], mean, read.sd[block, neuron], read.free)


def dot_row(read: Read, seed: int = 0) -> dict[str, float]:
    """Dots in the maps of the first five key neurons.

    Returns:
        ``images``, how many have any; ``share`` of the maps with one; ``norm_value, norm_low,
        norm_high``, how far their tokens stand above the middle of the other free patches by the
        length of the stream, over images (from -0.5 to 0.5), and ``attention_...`` by the attention
        received; ``same`` and ``expected``, how often dots of two images lie at one patch.
    """
    seen, ranks = received(read), range(TOP)
    marks = [dots_of(read, rank) for rank in ranks]
    block = read.written.best[read.labels][:, :TOP, 0]
    images = np.arange(len(read.labels))
    row = {"share": np.mean([each.any(1).mean() for each in marks])}
    for name, table in (("norm", read.norms), ("attention", seen)):
        places = np.stack([place_among(table[block[:, rank], images], marks[rank], read.free)
                           for rank in ranks])
        told = ~np.isnan(places).all(0)
        values = np.nanmean(places[:, told], 0) - 0.5
        row["images"] = int(told.sum())
        ends = over_classes(values, seed=seed) if told.sum() > 1 else dict.fromkeys(
            ("value", "low", "high"), np.nan)
        row |= {f"{name}_{end}": each for end, each in ends.items()}
    together = repeats(np.logical_or.reduce(marks), read.free)
    return {**row, "same": together["value"], "expected": together["expected"]}


def dot_rows(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`dot_row` of all models as comparisons: ``data, model, condition, value, low, high,
    images``, of those with dots in two images or more."""
    rows = [{**{name: row[name] for name in ("data", "model", "images")}, "condition": words,
             **{end: row[f"{name}_{end}"] for end in ("value", "low", "high")}}
            for row in table.to_dict("records")
            for name, words in (("norm", NORM), ("attention", ATTENTION))]
    return pd.DataFrame(rows, columns=["data", "model", "images", "condition", "value", "low",
                                       "high"]).dropna(subset="value")


# --- which pixels move the neuron (A18) ---


def moved_by(read: Read, neurons: Int64[np.ndarray, "class 2"]) -> Float[np.ndarray,
                                                                         "image height width"]:
    """The saliency of one neuron for each class, on the images of that class, at the patches that
    say most of it."""
    labels = torch.from_numpy(read.labels)
    patches = predicting_patches(read.target, read.pixels, labels.to(read.pixels.device))
    chosen = torch.from_numpy(neurons[read.labels])
    return saliency(read.target, read.pixels, chosen, patches).cpu().numpy()


def alike_neurons(read: Read, seed: int = 0) -> Int64[np.ndarray, "class 2"]:
    """One neuron that is like each class's first key neuron, drawn at random."""
    block, neuron = read.written.best[:, 0].T
    chosen = drawn(read.alike[block, neuron][:, None], seed)[:, 0]
    return np.stack([block, chosen], 1)


def salient_aurocs(read: Read, seed: int = 0) -> Mapping[str, Float[np.ndarray, "image"]]:
    """The probability that a pixel of the object moves the first key neuron more than one beside
    it; the same by the masks of the class's other images, and of a neuron like it at the same
    patches."""
    masks = torch.from_numpy(read.masks).flatten(1)
    ranks = {name: mid_ranks(torch.from_numpy(moved_by(read, neurons)).flatten(1))
             for name, neurons in ((OWN, read.written.best[:, 0]),
                                   (OTHER, alike_neurons(read, seed)))}
    pairs = all_pairs(ranks[OWN], masks)
    return {OWN: pairs.diagonal().numpy(),
            DEALT: of_others(pairs, torch.from_numpy(read.labels)).numpy(),
            OTHER: all_pairs(ranks[OTHER], masks).diagonal().numpy()}


def salient_rows(read: Read, seed: int = 0) -> pd.DataFrame:
    """The first key neuron's minus each control: ``against, value, low, high, classes`` over
    classes, with ``own`` and ``control``, the means."""
    found = salient_aurocs(read, seed)
    means = {name: read.of_class(values) for name, values in found.items()}
    rows = []
    for words, control in (("one half", np.full(read.classes, 0.5)), (DEALT, means[DEALT]),
                           (OTHER, means[OTHER])):
        told = ~np.isnan(means[OWN] - control)
        rows.append({"against": words,
                     **over_classes((means[OWN] - control)[told], seed=seed),
                     "own": means[OWN][told].mean(), "control": control[told].mean(),
                     "classes": int(told.sum())})
    return pd.DataFrame(rows)
