r"""Images that drive neurons: stimulative images (Allert et al., 2024, sections 2.4 and 3.4).

The image of an objective (:mod:`~neuronpath_core.neurons.objectives`) maximises

.. math:: J(x) - \frac\lambda{2} \sum_{i} \sum_j w_j \sum_{i' \ne i} \sum_{patch}
          \cos(f_i, f_{i'})

by Adam over a spectrum (:mod:`~neuronpath_core.neurons.spectrum`), under small changes drawn anew
at every step (:mod:`~neuronpath_core.neurons.transforms`).  The second term, of several copies of
an image, makes them differ.  All images of a call begin alike and are changed alike, so that what
comes out for an objective does not depend on what else is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from neuronpath_core.neurons.objectives import (
    At,
    Goals,
    Objective,
    Tokens,
    Weights,
    check_words,
    driven,
    goals_of,
    token_places,
)
from neuronpath_core.neurons.spectrum import (
    Parameterisation,
    Statistics,
    check_parameterisation,
    check_size,
    first_spectrum,
    to_images,
)
from neuronpath_core.neurons.transforms import Robust
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.text import shown

if TYPE_CHECKING:
    from jaxtyping import Float

    from neuronpath_core.target import TargetModel

# images, a generator on the CPU and what lies beyond the edge -> changed images
Transforms = Callable[[Tensor, torch.Generator, Tensor], Tensor]
STEPS, RATE = 200, 0.05


@dataclass(frozen=True)
class Stimuli:
    """Images that drive neurons.

    Attributes:
        images: as the model sees them, the first copy of each objective.
        copies: all copies; of one a second axis of length 1.
        history: J of the changed image at each step, mean over copies.
        start: what the optimisation began with, alike for all objectives.
        snapshots: ``images`` as they were after so many steps, where asked for.
    """

    images: Float[Tensor, "objective channel height width"]
    copies: Float[Tensor, "objective copy channel height width"]
    history: Float[Tensor, "objective step"]
    start: Float[Tensor, "copy channel height width"]
    snapshots: Mapping[int, Float[Tensor, "objective channel height width"]] = field(
        default_factory=dict)


def stimulate(target: TargetModel, objectives: Sequence[Objective], *, steps: int = STEPS,
              at: At = "pre", tokens: Tokens = "all", weights: Weights = "equal",
              diversity: float = 0.0, copies: int = 1,
              transforms: Transforms | Literal["robust"] | None = "robust",
              parameterisation: Parameterisation = "fourier", statistics: Statistics,
              rate: float = RATE, snapshots: Sequence[int] = (), seed: int = 0) -> Stimuli:
    r"""Images that drive neurons (Allert et al., 2024, section 3.4).

    All objectives are optimised at once; a batch gives what its objectives give alone, up to
    rounding.

    Args:
        target: a model of plain pre-norm blocks; it stays as it is.
        objectives: each a list of neurons ``(block, neuron)``, counted from 0, or a class profile,
            a score for each of some neurons.
        steps: of Adam, at least 1.
        at: before (``"pre"``, as published) or after the activation function, where a neuron that
            is far below zero has no gradient.
        tokens: over which a neuron's value is averaged: ``"all"`` as published, ``"patch"`` or
            ``"cls"``.
        weights: of an objective's neurons: ``"equal"``, or by their scores in proportion
            (``"score"``) or by softmax.
        diversity: λ, at least 0, which pushes the copies of an image apart; published: 0.01.
        copies: images an objective, from different starts; a λ needs at least two.
        transforms: ``"robust"``: :class:`~neuronpath_core.neurons.transforms.Robust`; ``None``: the
            image as it is; or a function like it.
        parameterisation: ``"fourier"``, or ``"magnitude"``, which moves the phase alone.
        statistics: :func:`~neuronpath_core.neurons.spectrum.image_statistics` of the images that
            the model was trained on, of the size that it sees.
        rate: Adam's learning rate.
        snapshots: numbers of steps after which the images are kept too.
        seed: of the start and of the changes.

    Raises:
        ValueError: what :func:`~neuronpath_core.neurons.objectives.goals_of` refuses, images below
            8 pixels a side, statistics of other images, numbers out of range, unknown words, and
            images that left the finite numbers.
    """
    goals = goals_of(target, objectives, weights, at)
    check_words(at=at, tokens=tokens)
    token_places(target, tokens)
    check_parameterisation(parameterisation)
    check_numbers(steps, copies, diversity, rate, snapshots, seed)
    change = _transforms(transforms)
    statistics = _fitting(target, statistics)
    start = first_spectrum(copies, *statistics.size, statistics.low, parameterisation, seed)
    examined = to_images(start, statistics, parameterisation)
    target.check_images(examined)
    target.embed(examined)  # refuses a model that is not its blocks

    def compute(chosen: Tensor) -> Stimuli:
        own = goals.part(chosen)
        loss = _Loss(target, own, statistics, copies, at, tokens, float(diversity), change,
                     parameterisation)
        return _ascend(loss, start, steps, rate, set(snapshots), seed)

    return _joined(in_chunks(target, goals.count, lambda: images_at_once(target, copies), compute))


def check_numbers(steps: object, copies: object, diversity: object, rate: object,
                  snapshots: Sequence[int], seed: object) -> None:
    """Raise ``ValueError`` unless an optimisation can be run with these numbers."""
    for name, value, least in (("steps", steps, 1), ("copies", copies, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name} cannot be {shown(value)}; accepted: a whole number of at "
                             f"least {least}")
    for name, value in (("diversity", diversity), ("rate", rate)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e6:
            raise ValueError(f"{name} cannot be {shown(value)}; accepted: a number from 0 to 1e6")
    if diversity and copies < 2:
        raise ValueError(f"diversity is {shown(diversity)} of one copy; accepted: at least two "
                         "copies, which can differ")
    if not all(isinstance(each, int) and 1 <= each <= steps for each in snapshots):
        raise ValueError(f"snapshots are {shown(list(snapshots))}; accepted: numbers of steps from "
                         f"1 to {steps}")


def _transforms(transforms: object) -> Transforms | None:
    if isinstance(transforms, str) and transforms == "robust":
        return Robust()
    if transforms is None or callable(transforms):
        return transforms
    raise ValueError(f"transforms cannot be {shown(transforms)}; accepted: 'robust', None, or a "
                     "function of images, a generator and what lies beyond the edge")


def _fitting(target: TargetModel, statistics: object) -> Statistics:
    """The statistics in the model's dtype, if they can be those of its images."""
    if not isinstance(statistics, Statistics):
        raise ValueError(f"statistics are {shown(type(statistics).__name__)}; accepted: "
                         "image_statistics(...) of the images that the model was trained on")
    check_size(*statistics.size)
    return statistics.like(target.family.first_weight(target.model).detach())


@dataclass(frozen=True)
class _Loss:
    """What is minimised: the negative objective of images that are changed a little."""

    target: TargetModel
    goals: Goals
    statistics: Statistics
    copies: int
    at: At
    tokens: Tokens
    diversity: float
    change: Transforms | None
    parameterisation: Parameterisation

    def images(self, spectrum: Float[Tensor, "objective copy channel row column 2"]) -> Tensor:
        return to_images(spectrum, self.statistics, self.parameterisation)

    def __call__(self, spectrum: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The loss, and J of each objective."""
        images = self.images(spectrum).flatten(0, 1)
        if self.change is not None:
            grey = (self.statistics.low + self.statistics.high) / 2
            images = self.change(images, generator, grey)
        values, alike = driven(self.target, images, self.goals, self.copies, self.at, self.tokens,
                               self.diversity)
        # of two copies each counts the other
        return (self.diversity / 2 * alike - values).sum(), values.detach().mean(1)


def _ascend(loss: _Loss, start: Tensor, steps: int, rate: float, kept: set[int],
            seed: int) -> Stimuli:
    """Follow the gradient of all objectives; Adam moves each number by itself."""
    generator = torch.Generator().manual_seed(seed)
    spectrum = start.expand(loss.goals.count, *start.shape).clone().requires_grad_()
    adam = torch.optim.Adam([spectrum], lr=rate)
    history, snapshots = [], {}
    for step in range(1, steps + 1):
        with torch.enable_grad():
            total, values = loss(spectrum, generator)
            (spectrum.grad,) = torch.autograd.grad(total, [spectrum])
        adam.step()
        history.append(values)
        if step in kept:
            snapshots[step] = loss.images(spectrum.detach())[:, 0]
    copies = loss.images(spectrum.detach())
    if not bool(torch.isfinite(copies).all()):
        raise ValueError("the images left the finite numbers; accepted: a smaller rate, or a model "
                         "with finite gradients")
    return Stimuli(copies[:, 0], copies, torch.stack(history, 1), loss.images(start), snapshots)


def _joined(parts: Sequence[Stimuli]) -> Stimuli:
    """The images of several calls as of one."""
    return Stimuli(*(torch.cat([getattr(part, name) for part in parts])
                     for name in ("images", "copies", "history")), parts[0].start,
                   {step: torch.cat([part.snapshots[step] for part in parts])
                    for step in parts[0].snapshots})
