"""Whether a path neuron looks where the class comes from: its map against the relevance map of its
block (J6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from neuronpath_core.chapters.path_meaning.measured import FOUND, LIKE, Case, gap_row, numbers
from neuronpath_core.neurons.matched import of_path, over_matches
from neuronpath_core.readings.relevance import relevance
from neuronpath_core.stats.ranks import mid_ranks

if TYPE_CHECKING:
    from jaxtyping import Float, Int64
    from torch import Tensor

OTHER_MAP, NO_MAP = "relevance map of another image of the class", "no correlation"


def rank_correlations(maps: Float[Tensor, "block image neuron patch"],
                      *relevances: Float[Tensor, "image block patch"]
                      ) -> list[Float[np.ndarray, "image block neuron"]]:
    """Spearman's correlation, over the patches of an image, of every neuron's positive activation
    with each of some relevances of its block; NaN where one of the two is the same everywhere."""
    first = _standard(mid_ranks(maps.clamp_min(0)))  # the most work by far, so only once
    return [numbers(torch.einsum("binp,bip->ibn", first,
                                 _standard(mid_ranks(each)).transpose(0, 1)))
            for each in relevances]


def _standard(ranks: Tensor) -> Tensor:
    """Ranks of length one around their mean; NaN where they are all equal."""
    centred = ranks - ranks.mean(-1, keepdim=True)
    length = centred.norm(dim=-1, keepdim=True)
    return torch.where(length > 0, centred / length, torch.nan)


def other_of_class(labels: Int64[np.ndarray, "image"], seed: int = 0) -> Int64[np.ndarray, "image"]:
    """For each image another one of its class, in a random cycle through the class; -1 where it is
    the only one."""
    rng, found = np.random.default_rng(seed), np.full(len(labels), -1)
    for label in np.unique(labels):
        own = rng.permutation(np.flatnonzero(labels == label))
        if len(own) > 1:
            found[own] = np.roll(own, 1)
    return found


def correlations(case: Case, seed: int = 0) -> dict[str, Float[np.ndarray, "image block neuron"]]:
    """Of every neuron the correlation of its map with the image's own relevance map, and with that
    of another image of the class, NaN where there is none."""
    labels = torch.from_numpy(case.labels).to(case.target.device)
    maps = relevance(case.target, case.pixels, labels, reduce="block")
    whose = other_of_class(case.labels, seed)
    own, dealt = rank_correlations(case.keys.maps, maps,
                                   maps[torch.from_numpy(whose).to(maps.device)])
    dealt[whose < 0] = np.nan
    return {"own": own, "other": dealt}


def look_rows(case: Case, found: dict[str, Float[np.ndarray, "image block neuron"]],
              seed: int = 0) -> pd.DataFrame:
    """``method, against, value, low, high, path, other, images``: correlation of a path neuron's
    map with the relevance map of its block by itself, minus that with the map of another image of
    the class, and minus that of matched neurons; means over blocks."""
    rows = []
    for method in [name for name in FOUND if name in case.paths]:
        own = of_path(found["own"], case.paths[method])
        for against, other in (
                (NO_MAP, np.zeros_like(own)),
                (OTHER_MAP, of_path(found["other"], case.paths[method])),
                (LIKE, over_matches(found["own"], case.matches(method)))):
            rows.append({"method": method, "against": against, **gap_row(own, other, seed)})
    return pd.DataFrame(rows)
