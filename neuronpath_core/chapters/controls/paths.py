"""Chapter 11: controls of the claim that the prediction rests on the path found for an image and
its label.  A control is a path that should do worse."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.baselines import activation_paths
from neuronpath_core.chapters.effects import scoring_rule
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.jas import joint_attribution_score
from neuronpath_core.paths import find_paths
from neuronpath_core.random_paths import random_paths
from neuronpath_core.settings import SearchSettings
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Int64

CONTROLS = {
    "random": "random neurons", "matched_random": "random neurons as active as the path's",
    "same_class": "the path of another image of the class",
    "other_class": "the path of an image of another class",
    "wrong_label": "the path searched with a wrong label",
    "randomised": "the path searched in randomised blocks",
    "late_randomised": "the path searched with the later half randomised",
    "best_random": "the best of R random paths, equal budget",
    "best_active": "the best of R most active paths, equal budget",
}
# those that cost a search are measured on every second image
HALVED = ("wrong_label", "randomised", "late_randomised", "best_random", "best_active")


def donors(labels: Int64[np.ndarray, "image"], same: bool,
           seed: int = 0) -> Int64[np.ndarray, "image"]:
    """For each image the position of another one to take the path from: of its own class, or of one
    of the others.

    Raises:
        ValueError: a class of one image (``same``), or one class only (not ``same``).
    """
    labels, rng = np.asarray(labels), np.random.default_rng(seed)
    chosen = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        own = rng.permutation(np.flatnonzero(labels == label))
        others = np.flatnonzero(labels != label)
        if len(own if same else others) < (2 if same else 1):
            raise ValueError(f"class {label} has no image to take a path from; accepted: at least "
                             f"two images of every class, and two classes")
        chosen[own] = np.roll(own, 1) if same else rng.choice(others, len(own))
    return chosen


def wrong_labels(labels: Int64[Tensor, "image"], classes: int,
                 seed: int = 0) -> Int64[Tensor, "image"]:
    """A wrong label for every image, drawn from all classes but its own; ``ValueError`` for fewer
    than two classes."""
    if classes < 2:
        raise ValueError(f"no wrong label can be drawn from {classes} classes; accepted: at least "
                         f"two classes")
    moved = np.random.default_rng(seed).integers(1, classes, len(labels))
    return (labels + torch.from_numpy(moved).to(labels)) % classes


def randomised(target: TargetModel, blocks: Sequence[int], seed: int = 0) -> TargetModel:
    """A copy of the model with the weights of some blocks permuted within each tensor, which keeps
    their mean, variance and histogram.

    After the sanity checks of Adebayo et al. (2018): what does not change when the weights are
    drawn anew is not about the model. Embedding, final norm and head stay.

    Raises:
        ValueError: a block that the model does not have.
    """
    if any(not 0 <= block < target.n_blocks for block in blocks):
        raise ValueError(f"blocks to randomise must lie in 0..{target.n_blocks - 1}, got "
                         f"{list(blocks)}")
    model, generator = copy.deepcopy(target.model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for block in blocks:
            for parameter in model.blocks[block].parameters():
                order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return TargetModel(model, target.scope)


def block_passes(blocks: int, scope: str) -> dict[str, int]:
    r"""Passes of one block for one copy of an image, forward, backward and tangent each counted as
    one, per node of the exact integrand.

    ``"score"``: L forward and L backward.  ``"search"``: the blocks after each block l forward and
    backward and the carried copies once through every block, with a tangent, :math:`(L-1)(L+2)`;
    for scope ``"patch"`` no tangent but backward through the carried blocks,
    :math:`(L-1)(\tfrac32 L+2)`.  ``"published"``: L whole forwards and, for every l, a backward
    down to each :math:`j \le l`.
    """
    backward = sum(blocks - j + 1 for last in range(1, blocks + 1) for j in range(1, last + 1))
    search = (blocks - 1) * (blocks + 2) if scope == "cls" else (blocks - 1) * (3 * blocks + 4) // 2
    return {"score": 2 * blocks, "search": search, "published": blocks**2 + backward}


def equal_budget(target: TargetModel, procedure: str = "search") -> int:
    """R: how many paths can be scored, with the nodes of the search, in as many block passes as it
    takes, rounded up.

    ``procedure`` is ``"search"``, the one used here, or ``"published"``.  Nodes of the frozen
    context cost next to nothing and are not counted.
    """
    passes = block_passes(target.n_blocks, target.scope)
    if procedure not in ("search", "published"):
        raise ValueError(f"unknown procedure {procedure!r}; accepted: search, published")
    return math.ceil(passes[procedure] / passes["score"])


def best_path(
    target: TargetModel, pictures: Tensor, labels: Tensor,
    candidates: Int64[Tensor, "image layer candidate"], quadrature: str, steps: int
) -> Int64[Tensor, "image layer"]:
    """For each image the candidate path with the largest joint attribution score; among equals the
    first."""
    scores = torch.stack([joint_attribution_score(target, pictures, labels,
                                                  candidates[..., rank].contiguous(), quadrature,
                                                  steps)
                          for rank in range(candidates.shape[-1])], 1)
    best = scores.argmax(1)
    return candidates.gather(2, best[:, None, None].expand(-1, candidates.shape[1], 1))[..., 0]


def control_paths(
    study: Study, model: str, images: ImageSet, chosen: Sequence[str] = tuple(CONTROLS),
    seed: int = 0, budget: int = 1, **settings
) -> dict[str, tuple[Int64[np.ndarray, "image"], Int64[Tensor, "image layer"]]]:
    """The image's own path (``"own"``) and its controls, each with the positions of the images that
    it was found for.

    Args:
        chosen: names of ``CONTROLS``.
        seed: of everything that is drawn.
        budget: multiple of :func:`equal_budget` that the last two controls get.
        settings: ``context``, ``quadrature``, ``steps``, … of
            :meth:`~neuronpath_core.study.study.Study.paths`.

    Raises:
        ValueError: an unknown control, too small a budget, or images that have none to take a path
            from (:func:`donors`).
    """
    if unknown := [name for name in chosen if name not in CONTROLS]:
        raise ValueError(f"unknown controls {unknown!r}; accepted: {', '.join(CONTROLS)}")
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
        raise ValueError(f"budget must be a whole number of at least 1, got {budget!r}")
    target, labels = study.target(model), images.labels
    everyone, half = np.arange(len(images)), np.arange(0, len(images), 2)
    few = images.select(half)
    complete = SearchSettings.of(**settings).complete(target).as_dict()
    rule = scoring_rule(target, **settings)
    pictures, blocks = study.batch(images, model)[0], range(target.n_blocks)
    count = min(target.n_neurons, budget * equal_budget(target))
    # a search in mixed context takes the exact gradient at less than two nodes in the mean: the
    # best of many is scored by no fewer
    nodes = min(rule["steps"], 2) if complete["context"] == "mixed" else rule["steps"]
    own = study.paths(model, images, **settings).neurons

    def searched(other: TargetModel) -> Tensor:
        return find_paths(other, *study.batch(few, model), **{"draft": study.draft} | settings,
                          memory_budget=study.memory_budget).neurons.cpu()

    def best(candidates: Tensor) -> Tensor:
        return best_path(target, *study.batch(few, model), candidates, rule["quadrature"],
                         nodes).cpu()

    find = {
        "random": lambda: random_paths(target, pictures, 1, seed)[..., 0].cpu(),
        "matched_random": lambda: study.paths(model, images, "matched_random", seed=seed,
                                              **rule).neurons,
        "same_class": lambda: own[donors(labels.numpy(), True, seed)],
        "other_class": lambda: own[donors(labels.numpy(), False, seed)],
        "wrong_label": lambda: study.paths(model,
                                           few.relabelled(wrong_labels(few.labels, target.n_classes,
                                                                       seed)), **settings).neurons,
        "randomised": lambda: searched(randomised(target, blocks, seed)),
        "late_randomised": lambda: searched(randomised(target, blocks[target.n_blocks // 2:],
                                                       seed)),
        "best_random": lambda: best(random_paths(target, study.batch(few, model)[0], count,
                                                 seed + 1)),
        "best_active": lambda: best(activation_paths(target, study.batch(few, model)[0], count)),
    }
    return {"own": (everyone, own)} | {name: (half if name in HALVED else everyone, find[name]())
                                       for name in chosen}
