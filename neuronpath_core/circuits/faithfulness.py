r"""How much of a model's decision some of its neurons carry: kept alone, and taken away.

All neurons of all blocks are ranked by a score.  The best share k of them is kept and every other
neuron replaced, or the best share is replaced and every other kept, at the token scope.  With m a
measure of the decision,

.. math:: f(k) = \frac{m(k) - m(\emptyset)}{m(\mathrm{all}) - m(\emptyset)} ,

where all neurons are the model itself and none of them is the model with all of them replaced
(the faithfulness of the MIB benchmark, Mueller et al., 2025).

The measures are the *logit difference*, the label's logit minus that of the strongest other class
**of the clean run**, which stays the same class under every mask, and the label's softmax
*probability*.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import torch
from scipy.integrate import trapezoid
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.factors import check_values
from neuronpath_core.found_paths import wide
from neuronpath_core.hooks import read_activations, scaled
from neuronpath_core.random_paths import _generator
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

Measure = Literal["logit_difference", "probability"]
MEASURES = ("logit_difference", "probability")
# per cent of all neurons, those of the MIB benchmark
SHARES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
# Logits, or units of probability: images whose measure changes less when every neuron is replaced
# are left out. Single precision moves a masked logit difference by up to 3e-5 (see
# interventions.LOGIT_MARGIN), and so f by less than 0.01.
SMALLEST_GAIN = 1e-2
SIDES = ("keep", "remove")
# a share times a count may fall short of a whole number by rounding
COUNT_ROUNDING = 1e-9
# neighbours in activation among which a matched ranking deals out the scores, as a share of n
MATCHED_SHARE = 0.1


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
        """:func:`faithfulness` of one of several rankings; what they have in common is measured
        once."""
        shares, sides = _checked_shares(shares), _checked_sides(sides)
        order = ranking(self.target, scores, len(self.images))
        counts = tuple(math.floor(share / 100 * order.shape[1] + COUNT_ROUNDING)
                       for share in shares)
        return _curves(self, order, shares, counts, _checked_smallest(smallest), sides)

    def place(self, neurons: Int64[Tensor, "image layer"],
              smallest: float = SMALLEST_GAIN) -> dict[str, Faithfulness]:
        """:func:`path_faithfulness` of one of several paths an image."""
        ranked = circuit_neurons(self.target, neurons, len(self.images))
        scores = neuron_mask(self.target, ranked).to(self.target.dtype)
        order = ranking(self.target, scores, len(self.images))
        count = ranked.shape[1] * ranked.shape[2]
        return _curves(self, order, (100 * count / order.shape[1],), (count,),
                       _checked_smallest(smallest))


def _checked_draws(target, values, count) -> tuple[Tensor | None, ...]:
    if values is None:
        return (None,)
    if isinstance(values, Tensor) and values.ndim == 5 and len(values):
        return tuple(check_values(target, draw, count) for draw in values)
    return (check_values(target, values, count),)


@dataclass(frozen=True)
class Faithfulness:
    r"""The curves of one measure, image by image.

    Attributes:
        measure: one of ``MEASURES``.
        shares: per cent of all neurons.
        counts: how many neurons each share is, rounded down as in the MIB benchmark, so that a
            small share of a small model may be none.
        full, empty: m(all) and :math:`m(\emptyset)`, ``(image,)``.
        kept: m with the best share kept and all others replaced, ``(image, share)``.
        removed: m with the best share replaced and all others kept, ``(image, share)``.
        smallest: images whose measure changes by less from ``empty`` to ``full`` are left out: f,
            and what is made of it, is NaN.
    """

    measure: str
    shares: tuple[float, ...]
    counts: tuple[int, ...]
    full: Float[np.ndarray, "image"]
    empty: Float[np.ndarray, "image"]
    kept: Float[np.ndarray, "image share"]
    removed: Float[np.ndarray, "image share"]
    smallest: float = SMALLEST_GAIN

    @property
    def included(self) -> Bool[np.ndarray, "image"]:
        """Images in which there is enough for the neurons to carry."""
        return np.abs(self.full - self.empty) >= self.smallest

    @property
    def excluded(self) -> int:
        """How many images are left out."""
        return int((~self.included).sum())

    def _share_of_gain(self, measured: np.ndarray) -> np.ndarray:
        gain = np.where(self.included, self.full - self.empty, np.nan)
        return (measured - self.empty[:, None]) / gain[:, None]

    @property
    def keep(self) -> Float[np.ndarray, "image share"]:
        """f of the best share, kept: 1 is as good as the model."""
        return self._share_of_gain(self.kept)

    @property
    def remove(self) -> Float[np.ndarray, "image share"]:
        """f of all but the best share: 0 is as bad as without any neuron."""
        return self._share_of_gain(self.removed)

    def cpr(self) -> Float[np.ndarray, "image"]:
        r"""The integrated circuit performance ratio, the area under f over the axis of shares
        (Mueller et al., 2025); higher is better.

        .. math::

            \mathrm{CPR} = \frac{1}{k_S - k_1} \sum_{s=1}^{S-1} (k_{s+1} - k_s)
            \frac{f(k_s) + f(k_{s+1})}{2}

        over the measured shares, from the smallest to the largest, on a linear axis.  The benchmark
        takes the same sum and does not divide it; its axis is 0.999 long, so that its areas are
        0.999 times these.  Nothing is clipped: f, and so the area, may be negative or exceed 1.
        """
        return self._area(self.keep)

    def cmd(self) -> Float[np.ndarray, "image"]:
        """The integrated circuit-model distance, the area of :math:`|1 - f|` taken as that of
        :meth:`cpr`; lower is better, 0 if the kept share is as good as the model everywhere."""
        return self._area(np.abs(1 - self.keep))

    def removal(self) -> Float[np.ndarray, "image"]:
        """The area under the f of what is left when the best share is removed, taken as that of
        :meth:`cpr`; lower is better."""
        return self._area(self.remove)

    def _area(self, curve: np.ndarray) -> np.ndarray:
        axis = np.array(self.shares) / 100
        if len(axis) < 2:
            raise ValueError("one share has no area; accepted: curves of at least two shares")
        return trapezoid(curve, axis, axis=1) / (axis[-1] - axis[0])

    def take(self, rows: Int64[np.ndarray, "image"]) -> Faithfulness:
        """The curves of some of the images, in any order, repeated or not."""
        return replace(self, full=self.full[rows], empty=self.empty[rows], kept=self.kept[rows],
                       removed=self.removed[rows])

    def pooled(self) -> Faithfulness:
        """The curves of the means of m over all images, as of one image: f is then the ratio of
        means that the MIB benchmark reports, to which images with much to lose contribute most."""
        return replace(self, full=self.full.mean(keepdims=True),
                       empty=self.empty.mean(keepdims=True),
                       kept=self.kept.mean(0, keepdims=True),
                       removed=self.removed.mean(0, keepdims=True))

    def to_frame(self) -> pd.DataFrame:
        """A row for each image, side and share: ``measure, image, side`` (``"keep"`` or
        ``"remove"``), ``share`` (per cent), ``neurons, value`` (m), ``full, empty,
        faithfulness``."""
        images, shares = self.kept.shape
        sides = []
        for side, value, faithfulness in (("keep", self.kept, self.keep),
                                          ("remove", self.removed, self.remove)):
            sides.append(pd.DataFrame({
                "measure": self.measure, "image": np.repeat(np.arange(images), shares),
                "side": side, "share": np.tile(self.shares, images),
                "neurons": np.tile(self.counts, images), "value": value.ravel(),
                "full": np.repeat(self.full, shares), "empty": np.repeat(self.empty, shares),
                "faithfulness": faithfulness.ravel()}))
        return pd.concat(sides, ignore_index=True)


def faithfulness(
    target: TargetModel, images: Float[Tensor, "image channel height width"],
    labels: Int64[Tensor, "image"], scores: Float[Tensor, "image layer neuron"],
    shares: Sequence[float] = SHARES,
    values: Float[Tensor, "*draw image layer token neuron"] | None = None,
    smallest: float = SMALLEST_GAIN, sides: Sequence[str] = SIDES,
) -> dict[str, Faithfulness]:
    r"""The curves of keeping and of removing the best share of all neurons, by every measure.

    Neurons are ranked over all blocks together, by the largest score first; of equal ones that of
    the earlier block, then of the smaller index.  A negative score is a low one: a neuron that
    speaks against the label is kept last.  A share k of N neurons is
    :math:`\lfloor kN/100 \rfloor` of them.

    It takes two forward passes an image, share and draw, less those that coincide.

    Args:
        target: the model.
        images, labels: a batch; classes may mix.
        scores: of each image, or of one for all; a smaller layer's surplus entries are ignored.
        shares: per cent, increasing, in (0, 100].
        values: what replaces a neuron, see :meth:`MaskedModel.of`; measures are averaged over
            draws.
        smallest: logits, or units of probability; see :class:`Faithfulness`.
        sides: ``"keep"``, ``"remove"`` or both; of the side that is left out everything is NaN,
            and costs nothing.

    Returns:
        by measure, on the host and in double precision.

    Raises:
        ValueError: images, labels, scores, shares, values or sides that do not fit.
    """
    return MaskedModel.of(target, images, labels, values).curves(scores, shares, smallest, sides)


def path_faithfulness(
    target: TargetModel, images: Float[Tensor, "image channel height width"],
    labels: Int64[Tensor, "image"], neurons: Int64[Tensor, "image layer"],
    values: Float[Tensor, "*draw image layer token neuron"] | None = None,
    smallest: float = SMALLEST_GAIN,
) -> dict[str, Faithfulness]:
    """The place of paths on the curves: f of each image's own path, kept alone and removed.

    Args:
        neurons: int64 ``(image, layer)``, or ``(image, layer, rank)`` for several neurons a block;
            of each image, or of one for all.
        target, images, labels, values, smallest: as of :func:`faithfulness`.

    Returns:
        by measure, with one share, that of the path among all neurons (100/n for one neuron in
        every block of n).

    Raises:
        ValueError: images, labels, neurons or values that do not fit.
    """
    return MaskedModel.of(target, images, labels, values).place(neurons, smallest)


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


# --- rankings and masks ---


def existing(target: TargetModel) -> Bool[Tensor, "layer neuron"]:
    """Which of the entries ``(layer, neuron)`` are neurons that the layer has."""
    units = torch.tensor([layer.units for layer in target.layers], device=target.device)
    return torch.arange(target.n_neurons, device=target.device) < units[:, None]


def ranking(target: TargetModel, scores: Float[Tensor, "image layer neuron"],
            count: int) -> Int64[Tensor, "image place"]:
    """The neurons of all blocks together, best first, each as ``layer * n + neuron``.

    Args:
        scores: of each image, or of one for all.
        count: number of images.

    Raises:
        ValueError: scores of another shape, or that are no numbers.
    """
    shape = (target.n_blocks, target.n_neurons)
    if not isinstance(scores, Tensor) or not scores.dtype.is_floating_point or (
            scores.ndim != 3 or len(scores) not in (1, count) or tuple(scores.shape[1:]) != shape):
        found = f"{scores.dtype} {tuple(scores.shape)}" if isinstance(scores, Tensor) else type(
            scores).__name__
        raise ValueError(f"scores must be a tensor of floating-point numbers ({count} or 1, "
                         f"{shape[0]}, {shape[1]}), got {found}")
    there = existing(target).flatten()
    scores = scores.detach().to(target.device).flatten(1)
    if scores[:, there].isnan().any():
        raise ValueError("scores hold NaN, by which nothing can be ranked; accepted: numbers")
    places = torch.nonzero(there)[:, 0]
    order = scores[:, places].argsort(dim=1, descending=True, stable=True)
    return places[order].expand(count, -1)


def best_mask(target: TargetModel, order: Int64[Tensor, "image place"],
              count: int) -> Bool[Tensor, "image layer neuron"]:
    """Which neurons are among the first ``count`` of a :func:`ranking`."""
    mask = torch.zeros(len(order), target.n_blocks * target.n_neurons, dtype=torch.bool,
                       device=target.device)
    return mask.scatter_(1, order[:, :count], True).unflatten(1, (target.n_blocks, -1))


def circuit_neurons(target: TargetModel, neurons: Int64[Tensor, "image layer"],
                    count: int) -> Int64[Tensor, "image layer rank"]:
    """Neurons of one circuit an image, or of one for all, as ``(image, layer, rank)``.

    Raises:
        ValueError: neurons that do not fit the model or the number of images.
    """
    one_for_all = isinstance(neurons, Tensor) and neurons.ndim in (2, 3) and len(neurons) == 1
    ranked = target.check_neurons(neurons, None if one_for_all else count)
    return ranked.expand(count, -1, -1)


def neuron_mask(target: TargetModel, ranked: Int64[Tensor, "image layer rank"]
                ) -> Bool[Tensor, "image layer neuron"]:
    """Which neurons are among those given."""
    mask = torch.zeros(len(ranked), target.n_blocks, target.n_neurons, dtype=torch.bool,
                       device=ranked.device)
    return mask.scatter_(2, ranked, True)


# --- rankings that should do worse ---


def random_scores(target: TargetModel, images: Float[Tensor, "image channel height width"],
                  seed: int = 0) -> Float[Tensor, "image layer neuron"]:
    """A ranking drawn uniformly: the ranks, from 1 down, of all neurons in a random order.

    An image's draw depends on the seed and on its pixels alone.

    Raises:
        ValueError: images that do not fit the model, or a seed that is no whole number.
    """
    check_target(target)
    target.check_images(images)
    places = torch.nonzero(existing(target).flatten())[:, 0]
    scores = torch.zeros(len(images), target.n_blocks * target.n_neurons, dtype=wide(target),
                         device=target.device)
    ranks = torch.arange(len(places), 0, -1).to(scores) / len(places)
    for row, draws in enumerate(_generators(images, _checked_seed(seed))):
        order = torch.from_numpy(draws.permutation(len(places))).to(target.device)
        scores[row, places[order]] = ranks
    return scores.unflatten(1, (target.n_blocks, -1))


def activation_scores(target: TargetModel, images: Float[Tensor, "image channel height width"]
                      ) -> Float[Tensor, "image layer neuron"]:
    """The clean activation, summed over the tokens of the scope: the ranking that asks nothing
    about the decision.

    Raises:
        ValueError: images that do not fit the model.
    """
    check_target(target)
    target.check_images(images)
    return torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, 1),
                               lambda chosen: read_activations(target, images[chosen]).sum(2)))


def matched_scores(target: TargetModel, images: Float[Tensor, "image channel height width"],
                   scores: Float[Tensor, "image layer neuron"],
                   seed: int = 0) -> Float[Tensor, "image layer neuron"]:
    """The same scores, dealt anew among neurons of the same block that are about as active.

    The neurons of a block are sorted by their clean activation, cut into groups of n/10 neighbours
    (at least two), and the scores shuffled within each group.  So every share of this ranking holds
    as many neurons of every block and of every group as the given one.  An image's draw depends
    on the seed and on its pixels alone.

    Raises:
        ValueError: images or scores that do not fit.
    """
    active = activation_scores(target, images)
    ranking(target, scores, len(images))
    scores = scores.detach().to(target.device).expand(len(images), -1, -1).clone()
    for row, draws in enumerate(_generators(images, _checked_seed(seed))):
        for block, layer in enumerate(target.layers):
            order = active[row, block, :layer.units].argsort(stable=True)
            size = max(2, int(layer.units * MATCHED_SHARE))
            # a last group of one would keep its score
            groups = order.tensor_split(max(1, layer.units // size))
            for group in groups:
                dealt = torch.from_numpy(draws.permutation(len(group))).to(group)
                scores[row, block, group] = scores[row, block, group[dealt]]
    return scores


def other_class_scores(scores: Float[Tensor, "image layer neuron"], labels: Int64[Tensor, "image"],
                       seed: int = 0) -> Float[Tensor, "image layer neuron"]:
    """For each image the scores of another one, drawn from the images of the other classes.

    Raises:
        ValueError: numbers of scores and labels that differ, or a batch of one class.
    """
    if not isinstance(scores, Tensor) or not isinstance(labels, Tensor) or labels.ndim != 1 or len(
            scores) != len(labels):
        raise ValueError("scores and labels must be tensors of one image an entry; accepted: "
                         "(image, layer, neuron) and (image,)")
    draws, known = np.random.default_rng(_checked_seed(seed)), labels.cpu().numpy()
    if len(np.unique(known)) < 2:
        raise ValueError("all images are of one class, so that there is no ranking of another; "
                         "accepted: images of at least two classes")
    chosen = [draws.choice(np.flatnonzero(known != label)) for label in known]
    return scores[torch.tensor(chosen, device=scores.device)]


def _generators(images, seed):
    """A generator of random numbers for each image."""
    for image in images.detach().to("cpu", torch.float64):
        yield _generator(image, seed)


def _checked_seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0, got {shown(seed)}")
    return int(seed)
