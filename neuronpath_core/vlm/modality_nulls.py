"""What types neurons would seem to have by chance, by their sparsity or in any direction, and how
far the types hang on thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.stats.ranks import auroc
from neuronpath_core.vlm.modality import (
    PUBLISHED,
    TYPES,
    Criteria,
    Levels,
    confident,
    probabilities,
    type_shares,
)
from neuronpath_core.vlm.records import Records, Transform

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Bool, Float


def permuted_labels(records: Records, rng: np.random.Generator
                    ) -> tuple[Bool[np.ndarray, "sample token"], Bool[np.ndarray, "sample token"]]:
    """Within each sample the labels of its image and text tokens, dealt out again among them: how
    many tokens of each a sample has, and how sparse a neuron is, stay as they are."""
    counted = records.visual | records.text
    order = np.where(counted, rng.random(counted.shape), np.inf).argsort(1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(order.shape[1])[None].repeat(len(order), 0), 1)
    visual = counted & (ranks < records.visual.sum(1, keepdims=True))
    return visual, counted & ~visual


def permuted_probabilities(records: Records, draws: int, seed: int = 0,
                           criteria: Criteria = PUBLISHED, levels: Levels = "floor"
                           ) -> Float[np.ndarray, "draw neuron 4"]:
    """The probabilities of every neuron with labels permuted, draw by draw.

    Raises:
        ValueError: fewer than one draw.
    """
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        raise ValueError(f"draws cannot be {draws!r}; accepted: a whole number of at least 1")
    rng = np.random.default_rng(seed)
    return np.stack([probabilities(records, criteria, levels, *permuted_labels(records, rng))
                     for _ in range(draws)])


def rotation(widths: Sequence[int], seed: int = 0) -> Transform:
    """A change of basis for :func:`~neuronpath_core.vlm.records.collect`: each layer's values times
    a random orthogonal matrix, uniform among all, of its own.  A claim about neurons must be more
    than one about any directions of the same space.

    Args:
        widths: neurons of each layer.
        seed: of the matrices.
    """
    generator = torch.Generator().manual_seed(seed)
    matrices = [_orthogonal(width, generator) for width in widths]

    def turned(layer: int, values: Tensor) -> Tensor:
        return values @ matrices[layer].to(values)
    return turned


def _orthogonal(width: int, generator: torch.Generator) -> Float[Tensor, "neuron neuron"]:
    """By QR of a Gaussian matrix with signs of R's diagonal put into Q (Mezzadri, 2007)."""
    q, r = torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64))
    return q * r.diagonal().sign()


def threshold_grid(records: Records, visual_levels: Sequence[float] = (1, 2, 3, 5),
                   text_levels: Sequence[float] = (2, 3, 4, 6),
                   visual_counts: Sequence[int] = (0, 1, 4), text_counts: Sequence[int] = (0, 1, 2),
                   levels: Levels = "floor") -> pd.DataFrame:
    """For every combination of thresholds the share of live neurons that each type has by its most
    probable type, and with a probability above 0.8 (``sure …``)."""
    import pandas as pd

    rows = []
    for criteria in (Criteria(*each) for each in product(visual_levels, visual_counts, text_levels,
                                                         text_counts)):
        p = probabilities(records, criteria, levels)
        shares = type_shares(p).sum(0) / max(1, records.live.sum())
        rows.append({**vars(criteria), **dict(zip(TYPES, shares, strict=True)),
                     **{f"sure {name}": value for name, value in
                        zip(TYPES, confident(p), strict=True)}})
    return pd.DataFrame(rows)


def modality_auroc(records: Records) -> Float[np.ndarray, "neuron"]:
    """How well a neuron's value tells image tokens from text tokens, without any threshold: the
    probability that at an image token of its records it is larger than at a text token, ties half;
    NaN for dead neurons and where a modality is missing."""
    found = np.full(len(records.values), np.nan)
    for neuron in np.flatnonzero(records.live):
        samples = np.unique(records.samples[neuron], return_index=True)[1]
        values = records.values[neuron, samples]
        visual = records.visual[records.samples[neuron, samples]]
        text = records.text[records.samples[neuron, samples]]
        either = visual | text
        found[neuron] = auroc(values[either], visual[either])
    return found
