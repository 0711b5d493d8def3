"""Which neurons matter over a folder of pictures: ranked on one half of them, measured on the
other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.baselines import gradient_activation
from neuronpath_core.examined import check_target
from neuronpath_core.replacement import replacement_values
from neuronpath_core.scores.exact import exact_effects
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.support.numbers import check_whole
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float, Int64

LEAST_IMAGES = 4


def important_neurons(
    target: TargetModel, images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"], *, count: int = 20, seed: int = 0
) -> pd.DataFrame:
    r"""The neurons whose removal costs the labels' probability most over many images.

    All neurons of all blocks are ranked by the mean of gradient × activation over one half A of the
    images, :math:`\frac{1}{|A|}\sum_{x \in A} \bar w^l_i\, \partial F_x/\partial w^l_i`, one
    forward and one backward pass an image. What the first ``count`` of them do is then measured on
    the other half B, each neuron alone:
    :math:`F_x(\text{clean}) - F_x(w^l_i = b^l_i)` with zero and with the neuron's mean over A as b
    (:func:`~neuronpath_core.scores.exact.exact_effects`). No image has a part in both, so that a
    neuron that was first by chance falls back.

    Args:
        target: the model.
        images, labels: the pictures, of one class or of several; every class is halved. For the
            neurons of a class give its images alone; for what the model itself says, its
            predictions as labels.
        count: how many neurons are measured.
        seed: of the halves, and of the random neurons.

    Returns:
        a row for each neuron, the largest effect first: ``block`` (from 1), ``neuron`` (from 0);
        ``effect, low, high``, points of probability (0 to 100) that the label loses where the
        neuron alone is set to zero, mean over B with its 95 % bootstrap interval over images;
        ``effect_mean, low_mean, high_mean``, the same where it is set to its mean; ``random``, the
        effect of zero on another neuron of the same block, drawn at random; ``images``, how many
        are in B.

    Raises:
        ValueError: fewer than four images, or a count that is not 1 to the number of neurons.
    """
    import pandas as pd

    check_target(target)
    target.check_batch(images, labels)
    if len(images) < LEAST_IMAGES:
        raise ValueError(f"{len(images)} images cannot be halved into those that rank and those "
                         f"that are measured; accepted: at least {LEAST_IMAGES}")
    check_whole("count", count, 1, sum(layer.units for layer in target.layers))
    ranking, measured = halves(labels, seed)
    scores = gradient_activation(target, images[ranking], labels[ranking]).double().mean(0)
    for number, layer in enumerate(target.layers):
        scores[number, layer.units:] = -torch.inf  # smaller layers end in no neuron
    mean, = replacement_values(target, "mean", images[measured], labels[measured],
                               pool=images[ranking])
    rng, rows = np.random.default_rng(seed), []
    best = scores.flatten().topk(count).indices.cpu().numpy()
    places = np.stack(np.unravel_index(best, tuple(scores.shape)), 1)
    for number in np.unique(places[:, 0]).tolist():
        units = target.layers[number].units
        neurons = places[places[:, 0] == number, 1]
        others = (neurons + rng.integers(1, max(units, 2), len(neurons))) % units

        def lost(which, baseline=None, number=number):
            chosen = torch.from_numpy(which)[None, None].to(images.device)
            return 100 * exact_effects(
                target, images[measured], labels[measured], blocks=[number], neurons=chosen,
                baseline=baseline)[:, 0].double().cpu().numpy()
        zero, by_mean, random = lost(neurons), lost(neurons, mean), lost(others)
        for place, neuron in enumerate(neurons.tolist()):
            own, own_mean = (interval_row(each[:, place], seed=seed) for each in (zero, by_mean))
            rows.append({
                "block": number + 1, "neuron": neuron, "effect": own["value"], "low": own["low"],
                "high": own["high"], "effect_mean": own_mean["value"],
                "low_mean": own_mean["low"], "high_mean": own_mean["high"],
                "random": random[:, place].mean(), "images": len(measured)})
    return pd.DataFrame(rows).sort_values("effect", ascending=False, ignore_index=True)


def halves(labels: Int64[Tensor, "batch"], seed: int = 0
           ) -> tuple[Int64[Tensor, "half"], Int64[Tensor, "half"]]:
    """Positions of two halves of a batch, drawn at random, with every class in both as evenly as it
    can be."""
    drawn = torch.from_numpy(np.random.default_rng(seed).permutation(len(labels)))
    by_class = drawn[labels.cpu()[drawn].argsort(stable=True)].to(labels.device)
    return by_class[0::2].sort().values, by_class[1::2].sort().values
