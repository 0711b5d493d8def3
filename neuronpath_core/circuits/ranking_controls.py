"""Rankings of neurons that should do worse than the one that is asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.circuits.rankings import existing, ranking
from neuronpath_core.examined import check_target
from neuronpath_core.found_paths import wide
from neuronpath_core.hooks import read_activations
from neuronpath_core.random_paths import _generator
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.numbers import check_whole
from neuronpath_core.support.tensors import is_ordinary
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

# neighbours in activation among which a matched ranking deals out the scores, as a share of n
MATCHED_SHARE = 0.1


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
    if not is_ordinary(scores) or not is_ordinary(labels) or labels.ndim != 1 or (
            scores.shape[:1] != labels.shape):
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
    check_whole("seed", seed, 0)
    return int(seed)
