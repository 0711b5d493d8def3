"""Patches removed in every order: areas of the curves image by image, and how far they are from a
random order's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.chapters.relevance.orders import ORDERS, RANDOM
from neuronpath_core.readings.removal import (
    TESTS,
    areas,
    kept_counts,
    published_area,
    ranked,
    removal_curves,
)
from neuronpath_core.stats.intervals import interval_row

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

    from neuronpath_core.target import TargetModel

# in the negative test a large area is good, in the positive one a small area
GOOD = {"negative": 1, "positive": -1}
# accuracy counts as kept within so much of the whole model's: a twentieth, as elsewhere
KEEPS = 0.05
TEST_WORDS = {"negative": "least relevant first", "positive": "most relevant first"}


def removed(
    target: TargetModel, pictures: Float[Tensor, "image channel height width"],
    labels: Int64[Tensor, "image"], maps: Mapping[str, Float[Tensor, "image patch"]],
    steps: int | None, draws: int, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Remove the patches of each image in the order of each map and in random orders.

    Args:
        target: the model that classifies what is left; a draft of it will do, because nothing but
            its decisions is used.
        pictures, labels: a batch of its precision.
        maps: of ``ORDERS``.
        steps: points of a curve, see :func:`~neuronpath_core.readings.removal.kept_counts`.
        draws: random orders of each image, whose areas are averaged.
        seed: of the draws, and of how ties are broken.

    Returns:
        ``image, order, test, area``; and the curves, ``order, test, removed, accuracy``.
    """
    shape = next(iter(maps.values())).shape
    names = [*maps, *[RANDOM] * draws]
    orders = torch.stack([
        *(ranked(own, seed) for own in maps.values()),
        *(ranked(torch.zeros(shape, device=labels.device), seed + 1 + draw)
          for draw in range(draws))])
    kept, found, curves = kept_counts(shape[1], steps), [], []
    for test in TESTS:
        right = removal_curves(target, pictures, labels, orders, kept, test).cpu().numpy()
        for name in dict.fromkeys(names):
            own = right[[place for place, each in enumerate(names) if each == name]]
            found.append(pd.DataFrame({
                "image": np.arange(shape[0]), "order": name, "test": test,
                "area": areas(own, kept, shape[1]).mean(0)}))
            curves.append(pd.DataFrame({
                "order": name, "test": test, "removed": 1 - np.array(kept) / shape[1],
                "accuracy": own.mean((0, 2))}))
    return pd.concat(found, ignore_index=True), pd.concat(curves, ignore_index=True)


def removable(curves: pd.DataFrame) -> pd.Series:
    """The largest share of the patches, least relevant first, up to which accuracy stays within
    ``KEEPS`` of the whole image's; of curves with ``data`` and ``model``, by these and ``order``.
    """
    negative = curves[curves["test"] == "negative"].sort_values("removed", kind="stable")

    def share(own: pd.DataFrame) -> float:
        # up to the first point that is below, though a later one may be above again
        kept = (own["accuracy"] >= own["accuracy"].iloc[0] - KEEPS).cummin()
        return float(own.loc[kept, "removed"].max())

    return pd.Series({key: share(own) for key, own in negative.groupby(
        ["data", "model", "order"], sort=False)}).rename_axis(["data", "model", "order"])


def lead_rows(found: pd.DataFrame, pairs: Sequence[tuple[str, str]],
              seed: int = 0) -> pd.DataFrame:
    """By how much one order's area is better than another's, paired over images: ``data, model,
    test, order, against, value, low, high, images``; positive where the first is better, in
    accuracy averaged over the curve.

    Args:
        found: areas of :func:`removed` with ``data`` and ``model``.
        pairs: of orders.
        seed: of the bootstrap over images.
    """
    rows = []
    for (data, model, test), own in found.groupby(["data", "model", "test"], sort=False):
        wide = own.pivot(index="image", columns="order", values="area")
        rows += [{"data": data, "model": model, "test": test, "order": order, "against": against,
                  "images": len(wide),
                  **interval_row(GOOD[test] * (wide[order] - wide[against]).to_numpy(), seed=seed)}
                 for order, against in pairs]
    return pd.DataFrame(rows)


def against_random(found: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """:func:`lead_rows` of every order against random ones."""
    present = [name for name in ORDERS if name != RANDOM and name in set(found["order"])]
    return lead_rows(found, [(name, RANDOM) for name in present], seed)


def by_both_rules(
    target: TargetModel, pictures: Float[Tensor, "image channel height width"],
    labels: Int64[Tensor, "image"], maps: Mapping[str, Float[Tensor, "image patch"]],
    draws: int, seed: int = 0
) -> pd.DataFrame:
    """The areas by the published rule and by the corrected one, one patch removed at a time:
    ``order, test, published, corrected``.

    As published, one random order serves all images, in ``draws`` repetitions; the corrected rule
    draws one for each image.
    """
    shape = next(iter(maps.values())).shape
    drawn = [ranked(torch.zeros(shape), seed + 1 + draw) for draw in range(draws)]
    orders = {name: ranked(own, seed)[None] for name, own in maps.items()}
    orders[RANDOM] = torch.stack(drawn).to(labels.device)
    shared = torch.stack([own[:1].expand(shape) for own in drawn]).to(labels.device)
    kept, rows = kept_counts(shape[1]), []
    for test in TESTS:
        for name, own in orders.items():
            right = _right(target, pictures, labels, own, kept, test)
            alike = right if name != RANDOM else _right(target, pictures, labels, shared, kept,
                                                        test)
            rows.append({"order": name, "test": test,
                         "published": published_area(alike[:, 1:]).mean(),
                         "corrected": areas(right, kept, shape[1]).mean()})
    return pd.DataFrame(rows)


def _right(target: TargetModel, pictures: Tensor, labels: Tensor, orders: Tensor,
           kept: Sequence[int], test: str) -> Bool[np.ndarray, "order point image"]:
    return removal_curves(target, pictures, labels, orders, kept, test).cpu().numpy()
