"""A model and a batch, measured with some of the neurons replaced."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.circuits.curves import MEASURES, SMALLEST_GAIN, Faithfulness
from neuronpath_core.circuits.rankings import best_mask, circuit_neurons, neuron_mask, ranking
from neuronpath_core.edits import scaled
from neuronpath_core.examined import check_target
from neuronpath_core.factors import check_values
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.tensors import is_ordinary
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

# per cent of all neurons, those of the MIB benchmark
SHARES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
SIDES = ("keep", "remove")
# a share times a count may fall short of a whole number by rounding
COUNT_ROUNDING = 1e-9


@dataclass(frozen=True)
class MaskedModel:
    """A model and a batch, measured with some of the neurons replaced.

    Attributes:
        target, images, labels: the model and a batch.
        rivals: int64 ``(image,)``, the strongest class but the label in the clean run.
        draws: replacement values of each draw, ``(image or 1, layer, token, neuron)``; ``None``
            stands for zero.
    """

    target: TargetModel
    images: Float[Tensor, "image channel height width"]
    labels: Int64[Tensor, "image"]
    rivals: Int64[Tensor, "image"]
    draws: tuple[Float[Tensor, "image layer token neuron"] | None, ...]

    @classmethod
    def of(cls, target: TargetModel, images: Float[Tensor, "image channel height width"],
           labels: Int64[Tensor, "image"],
           values: Float[Tensor, "*draw image layer token neuron"] | None = None) -> MaskedModel:
        """Run the model once, to find each image's strongest other class.

        Args:
            values: what replaces a neuron, ``(image or 1, layer, token, neuron)``, or the same
                with a first dimension of draws; token may be 1, which holds for every token of the
                scope.  ``None`` replaces by zero.

        Raises:
            ValueError: a model, images, labels or values that do not fit one another.
        """
        check_target(target)
        target.check_batch(images, labels)
        draws = _checked_draws(target, values, len(images))
        images = images.detach()
        with torch.no_grad():
            logits = torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, 1),
                                         lambda chosen: target(images[chosen])))
        others = logits.scatter(1, labels[:, None], -torch.inf)
        return cls(target, images, labels, others.argmax(1), draws)

    def logits(self, kept: Bool[Tensor, "image layer neuron"] | None,
               draw: int = 0) -> Float[Tensor, "image class"]:
        """Logits with every neuron replaced that is not kept; ``None`` keeps all.

        Args:
            kept: bool, of each image or ``(1, layer, neuron)`` for all.
            draw: which of the replacement values.
        """
        target, values = self.target, self.draws[draw]

        def run(chosen: Tensor) -> Tensor:
            if kept is None:
                return target(self.images[chosen])
            factors = (kept if len(kept) == 1 else kept[chosen]).to(target.dtype)
            whole = values is None or len(values) == 1
            with scaled(target, factors, values=values if whole else values[chosen]):
                return target(self.images[chosen])

        with torch.no_grad():
            return torch.cat(in_chunks(target, len(self.images),
                                       lambda: images_at_once(target, 1), run))

    def measures(self, kept: Bool[Tensor, "image layer neuron"] | None
                 ) -> dict[str, Float[np.ndarray, "image"]]:
        """The mean over the draws of every measure of ``MEASURES``, in double precision."""
        totals = dict.fromkeys(MEASURES, 0.0)
        # nothing is drawn where nothing is replaced
        draws = range(len(self.draws)) if kept is not None else range(1)
        for draw in draws:
            logits = self.logits(kept, draw).double()
            own, other = (logits.gather(1, chosen[:, None])[:, 0]
                          for chosen in (self.labels, self.rivals))
            probability = logits.softmax(-1).gather(1, self.labels[:, None])[:, 0]
            for name, value in zip(MEASURES, (own - other, probability), strict=True):
                totals[name] = totals[name] + value.cpu().numpy()
        return {name: value / len(draws) for name, value in totals.items()}

    @cached_property
    def _ends(self) -> dict[tuple, dict[str, np.ndarray]]:
        """What is measured with all neurons and with none, which is the same in all curves."""
        return {}

    def curves(self, scores: Float[Tensor, "image layer neuron"],
               shares: Sequence[float] = SHARES, smallest: float = SMALLEST_GAIN,
               sides: Sequence[str] = SIDES) -> dict[str, Faithfulness]:
        """:func:`~neuronpath_core.circuits.faithfulness.faithfulness` of one of several rankings;
        what they have in common is measured once."""
        shares, sides = _checked_shares(shares), _checked_sides(sides)
        order = ranking(self.target, scores, len(self.images))
        counts = tuple(math.floor(share / 100 * order.shape[1] + COUNT_ROUNDING)
                       for share in shares)
        return _curves(self, order, shares, counts, _checked_smallest(smallest), sides)

    def place(self, neurons: Int64[Tensor, "image layer"],
              smallest: float = SMALLEST_GAIN) -> dict[str, Faithfulness]:
        """:func:`~neuronpath_core.circuits.faithfulness.path_faithfulness` of one of several paths
        an image."""
        ranked = circuit_neurons(self.target, neurons, len(self.images))
        scores = neuron_mask(self.target, ranked).to(self.target.dtype)
        order = ranking(self.target, scores, len(self.images))
        count = ranked.shape[1] * ranked.shape[2]
        return _curves(self, order, (100 * count / order.shape[1],), (count,),
                       _checked_smallest(smallest))


def _checked_draws(target, values, count) -> tuple[Tensor | None, ...]:
    if values is None:
        return (None,)
    if is_ordinary(values) and values.ndim == 5 and len(values):
        return tuple(check_values(target, draw, count) for draw in values)
    return (check_values(target, values, count),)


def _curves(model, order, shares, counts, smallest, sides=SIDES) -> dict[str, Faithfulness]:
    total, places = order.shape[1], {}

    def measured(count: int, keep: bool) -> dict[str, np.ndarray]:
        # none kept is all removed, and all kept is the model
        kept = count if keep else total - count
        place = ("end", kept) if kept in (0, total) else (keep, count)
        known = model._ends if place[0] == "end" else places
        if place not in known:
            mask = best_mask(model.target, order, count)
            known[place] = model.measures(None if kept == total else mask if keep else ~mask)
        return known[place]

    full, empty = measured(total, True), measured(0, True)
    curves, nothing = {}, np.full((len(model.images), len(counts)), np.nan)
    for name in MEASURES:
        kept, removed = (np.stack([measured(count, side == "keep")[name] for count in counts], 1)
                         if side in sides else nothing for side in SIDES)
        curves[name] = Faithfulness(name, shares, counts, full[name], empty[name], kept, removed,
                                    smallest)
    return curves


def _checked_shares(shares: Sequence[float]) -> tuple[float, ...]:
    try:
        values = tuple(float(share) for share in shares)
    except (TypeError, ValueError):
        values = ()
    within = all(0 < value <= 100 for value in values)
    if not values or not within or list(values) != sorted(set(values)):
        raise ValueError(f"shares must be increasing percentages in (0, 100], got {shown(shares)}; "
                         f"accepted: such as {SHARES}")
    return values


def _checked_sides(sides: Sequence[str]) -> tuple[str, ...]:
    listed = isinstance(sides, (list, tuple)) and len(sides) > 0
    if not listed or any(not is_one_of(side, SIDES) for side in sides):
        raise ValueError(f"unknown sides {shown(sides)}; accepted: one or more of "
                         f"{', '.join(SIDES)}")
    return tuple(sides)


def _checked_smallest(smallest: float) -> float:
    if isinstance(smallest, bool) or not isinstance(smallest, (int, float)) or not (
            0 < smallest < math.inf):
        raise ValueError(f"smallest must be a positive number, got {shown(smallest)}; accepted: "
                         f"logits or units of probability, such as {SMALLEST_GAIN}")
    return float(smallest)
