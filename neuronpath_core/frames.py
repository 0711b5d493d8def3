"""Paths as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.baselines import gradient_activation
from neuronpath_core.examined import check_target
from neuronpath_core.hooks import read_activations
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.tensors import is_ordinary, kind_of, whole_numbers
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float, Int64


def path_frame(
    neurons: Int64[Tensor, "batch layer"], score: Float[Tensor, "batch"],
    target: TargetModel | None = None,
    images: Float[Tensor, "batch channel height width"] | None = None,
    labels: Int64[Tensor, "batch"] | None = None, ids: Sequence[int | str] | None = None,
) -> pd.DataFrame:
    r"""Paths as a tidy table, one row for each image, block and rank.

    Args:
        neurons: int64 ``(batch, layer)`` or ``(batch, layer, rank)``.
        score: ``(batch,)``; an image's score stands in each of its rows.
        target, images, labels: the model and the batch, for two more columns; all three or none.
        ids: what the images are called; ``None`` for their positions in the batch, from 0.

    Returns:
        columns ``image, block, rank, neuron, score``; blocks and ranks count from 1. With a model
        also ``activation``, the clean :math:`\bar w^l_i`, for scope ``"patch"`` its mean over the
        patch tokens, and ``attribution``, gradient times activation
        :math:`\bar w^l_i\, \partial F_x/\partial w^l_i` at the clean image, for scope ``"patch"``
        summed over the patch tokens: to first order the probability that is lost when the neuron
        is set to zero; positive where the neuron supports the label. One forward and one backward
        pass of the model give the attribution, another forward the activation.

    Raises:
        ValueError: arguments that do not fit one another.
    """
    import pandas as pd

    ranked = ranked_neurons(neurons)
    if isinstance(score, Tensor) and not is_ordinary(score):
        raise ValueError(f"score is {kind_of(score)}; accepted: a dense tensor ({len(ranked)},)")
    scores = torch.as_tensor(score).detach().cpu().double().numpy()
    if scores.shape != (len(ranked),):
        raise ValueError(f"score has shape {scores.shape}; accepted: ({len(ranked)},), one for "
                         "each path")
    names = np.arange(len(ranked)) if ids is None else np.asarray(ids)
    if names.shape != (len(ranked),):
        raise ValueError(f"ids have shape {names.shape}; accepted: ({len(ranked)},), one for each "
                         "path")
    _, blocks, ranks = ranked.shape
    each = blocks * ranks
    table = pd.DataFrame({
        "image": np.repeat(names, each),
        "block": np.tile(np.repeat(np.arange(1, blocks + 1), ranks), len(ranked)),
        "rank": np.tile(np.arange(1, ranks + 1), len(ranked) * blocks),
        "neuron": ranked.ravel(), "score": np.repeat(scores, each)})
    given = [each is not None for each in (target, images, labels)]
    if not any(given):
        return table
    if not all(given):
        raise ValueError("activation and attribution need the model, its images and their labels; "
                         "accepted: target, images and labels, or none of them")
    activation, attribution = _measured(target, images, labels, torch.from_numpy(ranked))
    return table.assign(activation=activation.ravel(), attribution=attribution.ravel())


def ranked_neurons(neurons: Tensor | np.ndarray) -> Int64[np.ndarray, "image layer rank"]:
    """Neurons of paths as ``(image, layer, rank)``, on the host; ``ValueError`` unless they can be
    such."""
    value = whole_numbers("neurons", neurons, (2, 3), "(image, layer) or (image, layer, rank)")
    return value.reshape(len(value), value.shape[1], -1)


def _measured(target: TargetModel, images: Tensor, labels: Tensor,
              ranked: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Clean activation and gradient times activation of paths' neurons, ``(image, layer, rank)``
    each; no more than a chunk's values of all neurons are held at once."""
    check_target(target)
    target.check_batch(images, labels)
    ranked, images = target.check_neurons(ranked, len(images)), images.detach()

    def chunk(chosen: Tensor) -> tuple[Tensor, Tensor]:
        values = (read_activations(target, images[chosen]).mean(2),
                  gradient_activation(target, images[chosen], labels[chosen]))
        return tuple(value.gather(2, ranked[chosen]).cpu().double() for value in values)

    parts = in_chunks(target, len(images), lambda: images_at_once(target, 1), chunk)
    return tuple(torch.cat(each).numpy() for each in zip(*parts, strict=True))
