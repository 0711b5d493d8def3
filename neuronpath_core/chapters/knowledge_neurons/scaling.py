"""Knowledge neurons by Eq. 5, which scales each neuron alone, and with whole blocks scaled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from neuronpath_core.chapters.knowledge_neurons.depth_shares import (
    block_shares,
    relative_depth,
    share_correlation,
)
from neuronpath_core.chapters.knowledge_neurons.measured import most_knowing
from neuronpath_core.fast.drafts import drafted_model
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.scores.exact import exact_effects
from neuronpath_core.study.study import Study

# the first block holds most of the neurons in both models, and so decides Pearson's correlation
CORRELATIONS = {"correlation of block shares": {},
                "correlation without block 1": {"skip": 1},
                "rank correlation": {"ranks": True},
                "rank correlation without block 1": {"ranks": True, "skip": 1}}
SCALINGS = {"block": "whole block scaled", "neuron": "one neuron scaled (Eq. 5)"}


def knowledge_by_scaling(study: Study, names: Sequence[str], images: ImageSet, count: int = 10,
                         top: int = 5, quadrature: str = "gauss-legendre",
                         steps: int = 4) -> pd.DataFrame:
    r"""The same neurons twice: with their whole block scaled from zero by a rule, and each alone,
    as the paper's Eq. 5 is written.

    A neuron that is scaled alone runs along a straight line, on which its integral is known:

    .. math:: \bar w^l_i \int_0^1 \frac{\partial F_x(\alpha \bar w^l_i)}{\partial w^l_i}\, d\alpha
        = F_x(\text{clean}) - F_x(w^l_i = 0) .

    That takes a forward pass for each neuron instead of a backward one for each neuron and node;
    it is dear all the same, so that only ``count`` of the images are used, evenly spread over the
    given ones.

    Returns:
        ``model, scaling, image, label, rank, block, neuron, attribution``; blocks count from 1 and
        ``scaling`` is one of ``SCALINGS``' labels.

    Raises:
        ValueError: fewer than two images, more than there are, or settings that do not fit.
    """
    if not 2 <= count <= len(images):
        raise ValueError(f"{count} images to scale neurons alone in; accepted: 2 to {len(images)}")
    spread = images.select(np.linspace(0, len(images) - 1, count).round().astype(int))
    tables = []
    for model in study.check_models(list(names)):
        target, (pictures, labels) = study.target(model), study.batch(spread, model)
        draft, units = drafted_model(target, study.draft), target.n_neurons
        alone = exact_effects(target, pictures, labels).flatten(1).topk(top)
        found = {"block": most_knowing(target, draft, pictures, labels, top, quadrature, steps),
                 "neuron": (alone.indices, alone.values)}
        for scaling, label in SCALINGS.items():
            places, values = (each.cpu().numpy() for each in found[scaling])
            tables.append(pd.DataFrame({
                "model": model, "scaling": label, "image": np.repeat(spread.ids.numpy(), top),
                "label": np.repeat(spread.labels.numpy(), top),
                "rank": np.tile(np.arange(1, top + 1), count),
                "block": places.ravel() // units + 1, "neuron": places.ravel() % units,
                "attribution": values.astype(np.float64).ravel()}))
    return pd.concat(tables, ignore_index=True)


def scaling_shares(table: pd.DataFrame, blocks: int, seed: int = 0) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.knowledge_neurons.depth_shares.block_shares` of each way of
    scaling: ``scaling, model, block, value, low, high``."""
    return pd.concat([block_shares(own, blocks, seed).assign(scaling=way)
                      for way, own in table.groupby("scaling", sort=False)], ignore_index=True)


def scaling_rows(table: pd.DataFrame, models: Sequence[str], blocks: dict[str, int],
                 seed: int = 0) -> pd.DataFrame:
    """What the way of scaling changes, in the numbers of this chapter.

    Returns:
        ``number, scaling, value, low, high``: per way the correlation of the first two models'
        block shares, the same without the first block and of ranks, and each model's first-block
        share and mean relative depth.
    """
    rows = []
    for way, own in table.groupby("scaling", sort=False):
        rows += [{"number": number, "scaling": way,
                  **share_correlation(own, *models[:2], max(blocks.values()), seed, **kind)}
                 for number, kind in CORRELATIONS.items()]
        shares, depth = block_shares(own, 1, seed), relative_depth(own, blocks, seed)
        for name, found in (("share in block 1", shares), ("mean relative depth", depth)):
            rows += [{"number": f"{row['model']}: {name}", "scaling": way,
                      **{key: row[key] for key in ("value", "low", "high")}}
                     for row in found.to_dict("records")]
    return pd.DataFrame(rows)


def by_condition(correlation: Mapping[str, float], rest: Mapping[str, float], rows: pd.DataFrame,
                 images: int, alone_images: int) -> dict[str, dict[str, float]]:
    """Every correlation of block shares that the claim of an inversion is judged by, under the
    words of its condition: ``value, low, high`` and ``n``, over how many images.

    Args:
        correlation, rest: with whole blocks scaled, over all ``images``; ``rest`` is without
            block 1.
        rows: of :func:`scaling_rows`, over ``alone_images``; from them are those by Eq. 5.
    """
    found = rows[rows["scaling"] == SCALINGS["neuron"]].set_index("number")
    alone, alone_rest = (found.loc[number, ["value", "low", "high"]].to_dict() for number in
                         ("correlation of block shares", "correlation without block 1"))
    block, neuron = "with the whole block scaled", "with one neuron scaled, Eq. 5"
    return {block: {**correlation, "n": images},
            f"{block}, without block 1": {**rest, "n": images},
            neuron: {**alone, "n": alone_images},
            f"{neuron}, without block 1": {**alone_rest, "n": alone_images}}
