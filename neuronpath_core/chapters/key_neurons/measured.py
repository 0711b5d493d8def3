"""One pass of every model: what its neurons write, where they fire, and for which images.

Everything that is compared later is an array with an axis of images or of classes.  The maps of all
neurons are dropped after they were ranked; those of the key neurons stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.neurons.key_neurons import alignment, best_neurons
from neuronpath_core.neurons.keys import Keys, read_keys, value_norms
from neuronpath_core.neurons.localisation import COVERED, auroc_of_ranks
from neuronpath_core.neurons.matched import drawn, matched
from neuronpath_core.readings.concepts import foreground
from neuronpath_core.readings.grids import Grid, coverage
from neuronpath_core.readings.projection import PROJECTIONS
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.stats.ranks import mid_ranks
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

RANKS = 10  # key neurons of a class that are looked at
TOP = 5     # of them are shown, as in the report
SETS = 5    # of neurons like the best of every block
PATCHES, CLASS_TOKEN = "at the image tokens", "at the class token"


@dataclass(frozen=True)
class Written:
    """What a model's value vectors say of the classes.

    Attributes:
        aligned: of every neuron with every class, by projection.
        best: block and neuron of each class's key neurons by ``"effective"``, from 0.
        norms: lengths of the value vectors.
    """

    aligned: dict[str, Float[np.ndarray, "block neuron class"]]
    best: Int64[np.ndarray, "class rank 2"]
    norms: Float[np.ndarray, "block neuron"]

    @property
    def effective(self) -> Float[np.ndarray, "block neuron class"]:
        """The alignment that the chapter goes by."""
        return self.aligned["effective"]


def written(target: TargetModel) -> Written:
    """What the value vectors of a model say, in all four projections."""
    aligned = {name: alignment(target, name) for name in PROJECTIONS}
    best = best_neurons(aligned["effective"], count=RANKS)
    return Written({name: each.cpu().numpy() for name, each in aligned.items()},
                   best.cpu().numpy(), value_norms(target).cpu().numpy())


@dataclass(frozen=True)
class Read:
    """What a model's neurons read in some images.

    Attributes:
        target: the model.
        pixels, labels: the images as it sees them, and their labels.
        masks: where each image's object is, and ``inside`` which patches it covers by half,
            ``free`` which it does not touch.
        grid: of the patches.
        correct: whether the model classifies each image correctly.
        written: what its neurons write.
        auroc: of every neuron's map against the image's mask.
        gap: mean activation inside minus outside, in standard deviations of the neuron over images
            and patches.
        patch, whole, first: mean activation over patches and over all tokens; at the first token.
        own: maps of the key neurons of the image's own class, by rank.
        by_block: maps of each block's best neuron for the image's class.
        by_block_alike: as many sets of maps of neurons that are like these, one a block.
        mean_map: of every neuron over the images, and ``sd``, over images and patches.
        norms: of the stream that enters each FFN, at every patch.
        alike: which neurons of a block are like each of its neurons in activation and norm.
    """

    target: TargetModel
    pixels: Tensor
    labels: Int64[np.ndarray, "image"]
    masks: Bool[np.ndarray, "image height width"]
    inside: Bool[np.ndarray, "image patch"]
    free: Bool[np.ndarray, "image patch"]
    grid: Grid
    correct: Bool[np.ndarray, "image"]
    written: Written
    auroc: Float[np.ndarray, "image block neuron"]
    gap: Float[np.ndarray, "image block neuron"]
    patch: Float[np.ndarray, "image block neuron"]
    whole: Float[np.ndarray, "image block neuron"]
    first: Float[np.ndarray, "image block neuron"]
    own: Float[np.ndarray, "image rank patch"]
    by_block: Float[np.ndarray, "image block patch"]
    by_block_alike: Float[np.ndarray, "set image block patch"]
    mean_map: Float[np.ndarray, "block neuron patch"]
    sd: Float[np.ndarray, "block neuron"]
    norms: Float[np.ndarray, "block image patch"]
    alike: Bool[np.ndarray, "block neuron neuron"]

    @property
    def classes(self) -> int:
        """C."""
        return len(self.written.best)

    @property
    def neurons(self) -> int:
        """How many neurons a block has."""
        return self.sd.shape[1]

    @property
    def tokens(self) -> tuple[str, ...]:
        """Which tokens are read, in words: of models that classify from it the class token too."""
        return (PATCHES, CLASS_TOKEN) if self.target.scope == "cls" else (PATCHES,)

    def at(self, tokens: str) -> Float[np.ndarray, "image block neuron"]:
        """Activation at the class token, or its mean over the image tokens.

        Raises:
            ValueError: words that are none of ``tokens``.
        """
        if tokens not in self.tokens:
            raise ValueError(f"no activations {tokens!r} of this model; accepted: "
                             f"{', '.join(self.tokens)}")
        return self.patch if tokens == PATCHES else self.first

    def of_class(self, values: Float[np.ndarray, "image *rest"]) -> Float[np.ndarray,
                                                                          "class *rest"]:
        """Means over the images of each class that have a value (NaN: none)."""
        return np.stack([_mean(values[self.labels == label]) for label in range(self.classes)])

    def of_key(self, values: Float[np.ndarray, "image block neuron"],
               rank: int = 0) -> Float[np.ndarray, "image"]:
        """Each image's value of its class's key neuron of a rank."""
        block, neuron = self.written.best[self.labels, rank].T
        return values[np.arange(len(values)), block, neuron]

    def of_alike(self, values: Float[np.ndarray, "image block neuron"],
                 rank: int = 0) -> Float[np.ndarray, "image"]:
        """The mean over the neurons that are like this key neuron."""
        block, neuron = self.written.best[self.labels, rank].T
        rows = values[np.arange(len(values)), block]
        return np.where(self.alike[block, neuron], rows, 0).sum(1) / self.alike[
            block, neuron].sum(1)

    def of_block(self, values: Float[np.ndarray, "image block neuron"],
                 rank: int = 0) -> Float[np.ndarray, "image"]:
        """The mean over all other neurons of this key neuron's block."""
        block = self.written.best[self.labels, rank, 0]
        rows = values[np.arange(len(values)), block]
        return (rows.sum(1) - self.of_key(values, rank)) / (self.neurons - 1)


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean over the first axis without NaN, NaN where there is nothing else."""
    defined = ~np.isnan(values)
    count = defined.sum(0)
    return np.divide(np.where(defined, values, 0).sum(0), count,
                     out=np.full(np.shape(count), np.nan), where=count > 0)


def over_classes(values: Float[np.ndarray, "class"], seed: int = 0) -> dict[str, float]:
    """``value, low, high``: the mean over the classes that have a value (NaN: none), with its
    bootstrap interval; NaN of fewer than two."""
    told = values[~np.isnan(values)]
    if len(told) < 2:
        return dict.fromkeys(("value", "low", "high"), np.nan)
    return interval_row(told, seed=seed)


def read_model(study: Study, model: str, images: ImageSet) -> Read:
    """Read a model on images of a study, or on others that it accepts."""
    target = study.target(model)
    pixels, labels = study.batch(images, model)
    with torch.no_grad():
        correct = (target(pixels).argmax(-1) == labels).cpu().numpy()
    return measured(target, pixels, labels.cpu().numpy(), foreground(images), correct)


def measured(target: TargetModel, pixels: Tensor, labels: Int64[np.ndarray, "image"],
             masks: Bool[np.ndarray, "image height width"],
             correct: Bool[np.ndarray, "image"]) -> Read:
    """The measures of one model on some images with masks."""
    keys, says = read_keys(target, pixels), written(target)
    share = coverage(keys.grid, masks).to(keys.maps.device)
    inside, images = share >= COVERED, np.arange(len(labels))
    block_best = best_neurons(torch.from_numpy(says.effective), by_block=True)[..., 0, 1].numpy()
    block, neuron = np.moveaxis(says.best[labels], -1, 0)
    maps = keys.maps.cpu().numpy()
    alike = like_every(keys.maps.abs().mean((1, 3)).cpu().numpy(), says.norms)
    blocks = np.arange(len(maps))[:, None]

    def of_blocks(numbers: Int64[np.ndarray, "block class"]) -> np.ndarray:
        return maps[blocks.T, images[:, None], numbers[:, labels].T]

    return Read(
        target, pixels, labels, masks, inside.cpu().numpy(), (share == 0).cpu().numpy(), keys.grid,
        correct, says, *_by_mask(keys, inside),
        *(each.transpose(0, 1).cpu().numpy()
          for each in (keys.maps.mean(-1), keys.whole, keys.first)),
        own=maps[block, images[:, None], neuron], by_block=of_blocks(block_best),
        by_block_alike=np.stack([of_blocks(drawn(alike[blocks, block_best], number))
                                 for number in range(SETS)]),
        mean_map=maps.mean(1), sd=keys.maps.std((1, 3)).cpu().numpy(),
        norms=keys.norms.cpu().numpy(), alike=alike)


def _by_mask(keys: Keys, inside: Bool[Tensor, "image patch"]) -> tuple[np.ndarray, np.ndarray]:
    """AUROC and standardised difference between inside and outside, block by block."""
    found, gaps = [], []
    weight = inside / inside.sum(1, keepdim=True) - ~inside / (~inside).sum(1, keepdim=True)
    for maps in keys.maps:
        found.append(auroc_of_ranks(mid_ranks(maps), inside[:, None]))
        sd = maps.std((0, 2))
        gaps.append((maps @ weight.to(maps)[..., None])[..., 0] / torch.where(sd > 0, sd, 1))
    return tuple(torch.stack(each, 1).cpu().numpy() for each in (found, gaps))


def like_every(strength: Float[np.ndarray, "block neuron"], norms: Float[np.ndarray, "block neuron"]
               ) -> Bool[np.ndarray, "block neuron neuron"]:
    """Of every neuron those of its block that are about as active and write about as much."""
    blocks, neurons = strength.shape
    every = np.repeat(np.arange(neurons)[:, None], blocks, 1)
    return matched(every, strength, norms).swapaxes(0, 1)


def stacked(reads: Mapping[tuple[str, str], Read],
            rows: Callable[[tuple[str, str], Read], object]) -> pd.DataFrame:
    """``rows(key, read)`` of every model, a row as a dict or several as a table, below one another,
    with ``data`` and ``model``, the two parts of its key."""
    tables = []
    for (data, model), read in reads.items():
        made = rows((data, model), read)
        made = pd.DataFrame([made]) if isinstance(made, dict) else made
        tables.append(made.assign(data=data, model=model))
    filled = [table for table in tables if len(table)] or tables[:1]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()
