"""Whether the planted neurons of a network are the influential ones, by brute force: every neuron
is removed, and no attribution is involved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from neuronpath_core.interventions import class_probabilities, scaled_probabilities

if TYPE_CHECKING:
    from jaxtyping import Float, Int64
from neuronpath_core.models.planted import Planted


def removal_losses(planted: Planted, together: Int64[torch.Tensor, "image layer"]
                   | None = None) -> Float[np.ndarray, "image layer neuron"]:
    r"""The share of the label's probability that is lost when one neuron of one block is removed at
    the scope, everything else running natively.

    .. math:: 1 - \tilde p / p

    No attribution is involved.  A neuron's loss is the same if the blocks before it are clamped
    clean, for its removal does not reach them.

    Args:
        planted: network and images.
        together: int64 ``(image, layer)``, a neuron of each block that is removed along with every
            neuron of that block.
    """
    target, labels = planted.target, planted.labels
    clean = class_probabilities(target, planted.images).gather(1, labels[:, None])
    losses, n = [], target.n_neurons
    for block in range(target.n_blocks):
        factors = torch.ones(len(labels), n, target.n_blocks, n, dtype=target.dtype,
                             device=target.device)
        factors[:, range(n), block, range(n)] = 0
        if together is not None:
            factors[range(len(labels)), :, block, together[:, block]] = 0
        edited = scaled_probabilities(target, planted.images.repeat_interleave(n, 0),
                                      factors.flatten(0, 1))
        losses.append(1 - edited.gather(1,
                                        labels.repeat_interleave(n)[:, None]).reshape(len(labels),
                                                                                      n) / clean)
    return torch.stack(losses, 1).cpu().double().numpy()


def verify(planted: Planted) -> dict[str, float]:
    """Whether the planted neurons, and no others, are influential: :func:`removal_losses` of all
    neurons, and of pairs.

    Returns:
        ``probability`` (mean, of the label) and ``accuracy`` of the network; ``planted``, the least
        loss by removal of a block's planted neurons (both, where two back each other up), over
        images and blocks; ``one of two``, the largest by removal of one of two; ``other``, the
        largest absolute loss by removal of any other neuron, alone or along with one of two;
        ``known``: whether ``planted`` is more than twice any of the others.
    """
    clean = class_probabilities(planted.target, planted.images).cpu()
    labels, truth = planted.labels.cpu(), planted.neurons.cpu().numpy()
    single = removal_losses(planted)
    own = np.take_along_axis(single, truth, 2)
    others = np.ones(single.shape, bool)
    np.put_along_axis(others, truth, False, 2)
    least, one, other = own.min(), np.nan, np.abs(single[others]).max()
    if truth.shape[2] == 2:
        joined = [removal_losses(planted, planted.neurons[..., index]) for index in range(2)]
        least, one = np.take_along_axis(joined[0], truth[..., 1:], 2).min(), own.max()
        other = max(other, *(np.abs(each[others]).max() for each in joined))
    return {"probability": float(clean.gather(1, labels[:, None]).mean()),
            "accuracy": float((clean.argmax(1) == labels).double().mean()),
            "planted": float(least), "one of two": float(one), "other": float(other),
            "known": bool(least > 2 * np.nanmax([one, other]))}
