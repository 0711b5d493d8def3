"""Several paths kept at once while gradients are taken, as a beam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.chapters.which_method.measured import path_effect
from neuronpath_core.chapters.which_method.pass_counts import conditional_passes, forward_passes
from neuronpath_core.edits import scaled
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.ranking import top_neurons
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

# gradients and candidates of each beam, and the most gradients of the conditional gradient
BEAMS = ((2, 2), (3, 2), (3, 4))


def beam(gradients: int, width: int) -> str:
    """The name of a beam."""
    return f"beam of {width}, {gradients} gradients"


def nearest_paths(scores: Float[Tensor, "image layer neuron"],
                  width: int) -> Int64[Tensor, "image path layer"]:
    """The best path by the sum of its neurons' scores, and the ``width - 1`` that differ from it in
    one block and have least to lose, best first."""
    ranked = top_neurons(scores, 2)
    first, second = scores.gather(2, ranked).unbind(2)
    cheap = (first - second).argsort(dim=1, stable=True)[:, :width - 1]
    paths = ranked[..., 0][:, None].repeat(1, 1 + cheap.shape[1], 1)
    other = ranked[..., 1].gather(1, cheap)
    paths[:, 1:].scatter_(2, cheap[..., None], other[..., None])
    return paths


def beam_paths(
    target: TargetModel, images: Float[Tensor, "image channel height width"],
    labels: Int64[Tensor, "image"], gradients: int, width: int
) -> tuple[Int64[Tensor, "image layer"], Float[np.ndarray, "image"]]:
    """Paths of the conditional gradient where, of the ``width`` best candidates after every
    gradient, edited forwards choose the one at which the next gradient is taken.

    Candidates are the best path by the sum of the gradients so far, the j-th at an edited model
    counting j times as in
    :func:`~neuronpath_core.variants.conditional_gradient.conditional_gradient_paths`, and those
    nearest to it (:func:`nearest_paths`).  Neurons are set to zero.

    Returns:
        of all candidates the path with the largest effect, and that effect.
    """
    clean = torch.ones(len(images), target.n_blocks, target.n_neurons, dtype=target.dtype,
                       device=target.device)
    unedited, total = _slopes(target, images, labels, clean)
    found = torch.zeros(len(images), target.n_blocks, dtype=torch.int64, device=target.device)
    most = np.full(len(images), -np.inf)
    for number in range(1, gradients + 1):
        candidates = nearest_paths(total, width)
        effects = np.stack([path_effect(target, images, labels, each)[0]
                            for each in candidates.unbind(1)], 1)
        best = effects.argmax(1)
        chosen = candidates[torch.arange(len(images)), torch.from_numpy(best)]
        better = effects.max(1) > most
        found[torch.from_numpy(better)] = chosen[torch.from_numpy(better)]
        most = np.maximum(most, effects.max(1))
        if number < gradients:
            _, slopes = _slopes(target, images, labels, clean.scatter(2, chosen[..., None], 0.0))
            # the gradient of the unedited model proposes the first path, and counts no more
            total = number * slopes + (total if number > 1 else 0)
    return found, most


def _slopes(target, images, labels, factors):
    """F of the edited model, and what each neuron's removal would cost there to first order."""
    factors = factors.detach().requires_grad_()
    with activation_gradients(target), scaled(target, factors):
        probability = target(images).double().softmax(-1).gather(1, labels[:, None])[:, 0]
        slopes, = torch.autograd.grad(probability.sum(), factors)
    return probability.detach(), slopes


def beam_passes(target: TargetModel, gradients: int, width: int) -> float:
    """What a beam costs an image, in passes: its gradients, and a forward for each candidate."""
    forward = forward_passes(target)
    # of one path after three gradients or fewer a single forward is counted already
    return conditional_passes(target, gradients) + (gradients * width - 1) * forward


def beams(study: Study, models: Sequence[str], images: ImageSet) -> pd.DataFrame:
    """What the paths of every beam of ``BEAMS`` cost, with zero in the neurons' place: ``data,
    model, image, method, passes, lost``."""
    rows = []
    for model in study.check_models(list(models)):
        target, batch = study.target(model), study.batch(images, model)
        for gradients, width in BEAMS:
            _, lost = beam_paths(target, *batch, gradients, width)
            cost = beam_passes(target, gradients, width)
            rows += [{"data": study.profile, "model": model, "image": int(image),
                      "method": beam(gradients, width), "passes": cost, "lost": value}
                     for image, value in zip(images.ids, lost, strict=True)]
    return pd.DataFrame(rows)
