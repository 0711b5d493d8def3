"""Block by block: the map of the best neuron of each block, and the mean of the maps up to it (A5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy import stats

from neuronpath_core.chapters.key_neurons.measured import Read, over_classes
from neuronpath_core.neurons.heatmaps import drawn, mask_of, running_mean
from neuronpath_core.neurons.localisation import all_pairs, auroc, of_others
from neuronpath_core.stats.intervals import percentile_row, resampled
from neuronpath_core.stats.ranks import mid_ranks

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

SINGLE, RUNNING, ALL = "best neuron of the block", "mean of blocks up to it", "all its neurons"


def _maps(read: Read, maps: Float[np.ndarray, "image block patch"] | None = None
          ) -> Float[Tensor, "block image 1 row column"]:
    """Maps of one neuron a block: of each block's best for the image's class, unless others are
    given."""
    maps = read.by_block if maps is None else maps
    maps = torch.from_numpy(np.ascontiguousarray(maps.swapaxes(0, 1)))
    return maps.unflatten(-1, (1, read.grid.rows, read.grid.columns))


def block_curves(read: Read) -> dict[str, Float[np.ndarray, "block image"]]:
    """The AUROC, in each block, of the map of its best neuron for the image's class, of the mean of
    such maps up to the block, each stretched to [0, 1], and the mean over all neurons."""
    inside, maps = torch.from_numpy(read.inside), _maps(read)
    single, until = (auroc(each.flatten(2), inside.expand(len(each), *inside.shape)).numpy()
                     for each in (maps, running_mean(maps)))
    return {SINGLE: single, RUNNING: until, ALL: read.auroc.mean(2).T}


def running_overlap(read: Read) -> Float[np.ndarray, "block image"]:
    """Intersection over union of the object with the fifth of the image that is brightest in the
    running mean, in each block."""
    masks, found = torch.from_numpy(read.masks)[:, None], []
    for each in running_mean(_maps(read)):
        on = mask_of(drawn(read.grid, each))
        found.append(((on & masks).sum((1, 2, 3)) / (on | masks).sum((1, 2, 3))).numpy())
    return np.stack(found)


def curve_rows(read: Read, seed: int = 0) -> pd.DataFrame:
    """:func:`block_curves`, ``of, block, depth, value, low, high``, over classes, the same ones for
    all blocks."""
    rows = []
    for words, values in block_curves(read).items():
        means = read.of_class(values.T)
        means = means[~np.isnan(means).any(1)]
        draws = resampled(lambda chosen, means=means: means[chosen].mean(0),
                          [np.arange(len(means))], 1000, seed)
        rows += [{"of": words, "block": block + 1, "depth": (block + 1) / means.shape[1],
                  **percentile_row(means[:, block].mean(), draws[:, block])}
                 for block in range(means.shape[1])]
    return pd.DataFrame(rows)


def trends(values: Float[np.ndarray, "class block"]) -> Float[np.ndarray, "class"]:
    """Spearman's correlation of each class's values with the number of the block, 0 where they are
    all equal; classes with a NaN are left out."""
    told = values[~np.isnan(values).any(1)]
    return np.array([stats.spearmanr(np.arange(len(own)), own).statistic if np.ptp(own) else 0.0
                     for own in told])


def late_row(read: Read, seed: int = 0) -> dict[str, float]:
    """Whether later blocks localise better (A5): Spearman's correlation of block and AUROC of the
    block's best neuron minus that of all its neurons, in each class; ``value, low, high`` over
    classes; ``plain``, without the subtraction; ``first, last``, the running mean's overlap with
    the object in the first and the last block."""
    found = block_curves(read)
    curves = {name: read.of_class(found[name].T) for name in (SINGLE, ALL)}
    overlap = running_overlap(read)
    return {**over_classes(trends(curves[SINGLE] - curves[ALL]), seed=seed),
            "plain": trends(curves[SINGLE]).mean(), "first": overlap[0].mean(),
            "last": overlap[-1].mean(), "classes": read.classes}


def together_row(read: Read, seed: int = 0) -> dict[str, float]:
    """Whether the mean of the maps of all blocks finds the object: the AUROC of the last running
    mean minus that of neurons like the best of every block, over classes.

    Returns:
        ``value, low, high``; ``found``, ``alike`` (mean over sets of such neurons), ``last`` (the
        last block's map alone) and ``dealt_value, dealt_low, dealt_high``, by the own mask minus by
        masks of other images of the class; ``classes``.
    """
    inside = torch.from_numpy(read.inside)

    def ends(maps: np.ndarray | None = None) -> Tensor:
        return running_mean(_maps(read, maps))[-1].flatten(1)

    own = ends()
    found = auroc(own, inside).numpy()
    alike = np.mean([auroc(ends(each), inside).numpy() for each in read.by_block_alike], 0)
    dealt = of_others(all_pairs(mid_ranks(own), inside), torch.from_numpy(read.labels)).numpy()
    rows = {name: read.of_class(values) for name, values in (
        ("", found - alike), ("dealt_", found - dealt))}
    row = {}
    for name, values in rows.items():
        row |= {f"{name}{end}": each for end, each in over_classes(values, seed).items()}
    last = auroc(_maps(read)[-1].flatten(1), inside).numpy()
    return {**row, **{name: float(np.nanmean(read.of_class(values))) for name, values in (
        ("found", found), ("alike", alike), ("last", last))}, "classes": read.classes}
