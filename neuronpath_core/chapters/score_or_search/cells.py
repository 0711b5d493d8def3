"""Every score with every search, on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core import baselines
from neuronpath_core.chapters.effects import numbers, path_effects
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.interventions import class_probabilities, edited_probabilities
from neuronpath_core.jas import complete_attribution, joint_attribution_score
from neuronpath_core.knowledge import knowledge_attribution
from neuronpath_core.quadrature import placed_rule
from neuronpath_core.random_paths import random_paths
from neuronpath_core.ranking import top_neurons
from neuronpath_core.scores import METHODS
from neuronpath_core.settings import SearchSettings
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel
from neuronpath_core.variants.ablation import ablation_paths

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

# what a path or a neuron is ranked by
SCORES = {
    "joint": "joint attribution score", "complete": "complete attribution",
    "ablation": "ablation effect", "knowledge": "integrated gradients",
    "gradient_activation": "gradient × activation", "conductance": "conductance",
}
# scores of single neurons that were published since, beside the chapter's own.  LibraGrad ranks as
# RelP does in a plain MLP, and the exact effect takes hundreds of passes an image: both are among
# the methods of Chapter 21 alone
LATER = ("relp", "atp_graddrop", "eap_ig_inputs")
# how the ranking is used: one neuron a block given those before it; every block by itself; several
# partial paths; the best of some random paths
SEARCHES = ("progressive", "independent", "beam", "random")
# scores of single neurons, whose sum over a path is largest where every block's is: the first three
# searches find the same path
ADDITIVE = ("knowledge", "gradient_activation", "conductance")
# scores of whole paths: those for which the informed searches can find different paths
SEARCHED = tuple(score for score in SCORES if score not in ADDITIVE)
# (score, search) whose path is by definition that of another cell: with no other neuron on the path
# there is nothing to cross or to condition on
SAME_AS = {
    ("joint", "independent"): ("knowledge", "progressive"),
    ("complete", "independent"): ("knowledge", "progressive"),
}
# a score from outside ranks single neurons too: whoever registered it as a method ranks every block
RULE = {"quadrature": "gauss-legendre", "steps": 3}
CONDUCTANCE_STEPS = 8


def score_labels() -> dict[str, str]:
    """Every score with its name: the chapter's own, and those of single neurons that are registered
    as methods, see :mod:`~neuronpath_core.methods`."""
    ranking = {key: method.label for key, method in METHODS.items() if method.rank is not None}
    return {**ranking, **SCORES}


def is_additive(score: str) -> bool:
    """Whether it is a score of single neurons."""
    return score in ADDITIVE or score not in SCORES


def same_cell(score: str, search: str) -> tuple[str, str]:
    """The cell whose path this one's is by definition; often itself."""
    if is_additive(score) and search in ("independent", "beam"):
        return score, "progressive"
    return SAME_AS.get((score, search), (score, search))


def cell_paths(
    study: Study, model: str, images: ImageSet, score: str, search: str, width: int = 2,
    draws: int = 4, seed: int = 0,
    known: dict[str, Tensor] | None = None
) -> Int64[Tensor, "image layer"]:
    """Every image's path by one score and one search.

    Args:
        score, search: names in ``SCORES`` and ``SEARCHES``.
        width: partial paths that the beam keeps.
        draws: random paths of which ``"random"`` takes the one with the largest score.
        seed: of the random paths.
        known: attributions of single neurons by score, of this model and these images; filled by
            what is computed.

    Raises:
        ValueError: unknown names, or numbers that are not positive.
    """
    if score not in score_labels() or search not in SEARCHES:
        raise ValueError(f"unknown cell {score!r}, {search!r}; accepted: "
                         f"{', '.join(score_labels())} with {', '.join(SEARCHES)}")
    for name, value in (("width", width), ("draws", draws)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    score, search = same_cell(score, search)
    target = study.target(model)
    (pictures, labels) = study.batch(images, model)
    known = {} if known is None else known
    if is_additive(score) and score not in known:
        known[score] = neuron_scores(target, pictures, labels, score)
    if search == "random":
        return _best_of_random(target, pictures, labels, score, draws, seed, known.get(score))
    if is_additive(score):
        return top_neurons(known[score], 1)[..., 0].cpu()
    if score == "ablation" and search != "progressive":
        proposals = min(12, target.n_neurons)
        return ablation_paths(target, pictures, labels, search=search, proposals=proposals,
                              width=width)[0][..., 0].cpu()
    settings = {"search": "beam", "width": width} if search == "beam" else {}
    return study.paths(model, images, "neuron_path" if score == "joint" else score,
                       **settings).neurons


def _best_of_random(target, images, labels, score, draws, seed, neurons):
    drawn = torch.stack([random_paths(target, images, seed=seed + draw)[..., 0]
                         for draw in range(draws)], 1)
    rows = torch.arange(len(images), device=target.device).repeat_interleave(draws)
    value = path_scores(target, images, labels, drawn.flatten(0, 1), rows, score,
                        neurons).reshape(len(images), draws)
    return drawn[torch.arange(len(images), device=target.device), value.argmax(1)].cpu()


def neuron_scores(
    target: TargetModel, images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"], score: str
) -> Float[Tensor, "batch layer neuron"]:
    """One of the ``ADDITIVE`` scores, of every neuron."""
    if score == "knowledge":
        return knowledge_attribution(target, images, labels, **RULE)
    if score == "gradient_activation":
        return baselines.gradient_activation(target, images, labels)
    if score == "conductance":
        rule = placed_rule(target, "gauss-legendre", CONDUCTANCE_STEPS)
        return baselines.conductance(target, images, labels, *rule)
    settings = SearchSettings(method=score, **RULE).complete(target)
    return METHODS[score].rank(target, images, labels, settings)


def path_scores(
    target: TargetModel, images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"], paths: Int64[Tensor, "path layer"],
    rows: Int64[Tensor, "path"], score: str, neurons: Float[Tensor, "batch layer neuron"]
    | None = None
) -> Float[Tensor, "path"]:
    """The score of whole paths; that of an ``ADDITIVE`` score is the sum over the path's neurons.

    Args:
        rows: for each path the position of its image in the batch.
        neurons: the scores of all single neurons, where they are known already.
    """
    if score == "joint":
        return joint_attribution_score(target, images[rows], labels[rows], paths, **RULE)
    if score == "complete":
        return complete_attribution(target, images[rows], labels[rows], paths)
    if score == "ablation":
        clean = class_probabilities(target, images).gather(1, labels[:, None])[:, 0]
        return clean[rows] - edited_probabilities(target, images[rows], paths,
                                                  "remove").gather(1, labels[rows][:, None])[:, 0]
    neurons = neuron_scores(target, images, labels, score) if neurons is None else neurons
    return neurons[rows].gather(2, paths[..., None])[..., 0].sum(1)


def factorial(study: Study, names: Sequence[str], images: ImageSet, width: int = 2, draws: int = 4,
              seed: int = 0, scores: Sequence[str] = tuple(SCORES)) -> pd.DataFrame:
    """What every cell's paths do.

    Args:
        scores: keys of :func:`score_labels`.
        width, draws, seed: of :func:`cell_paths`.

    Returns:
        one row per model, score, search and image:
        ``data, model, score, search, image, removal, enhancement`` (probability deviations of the
        true class), ``removal_accuracy``, ``jas`` and ``complete`` (attributions of the path).
    """
    tables = []
    for model in study.check_models(list(names)):
        target = study.target(model)
        (pictures, classes) = study.batch(images, model)
        clean = study.probabilities(model, images)
        known = {}
        attributions: dict[str, Tensor] = {}
        for score in scores:
            for search in SEARCHES:
                cell = same_cell(score, search)
                if cell not in known:
                    neurons = cell_paths(study, model, images, *cell, width, draws, seed,
                                         attributions).to(target.device)
                    known[cell] = _cell_effects(target, pictures, classes, neurons, clean)
                tables.append(pd.DataFrame({"data": study.profile, "model": model, "score": score,
                                            "search": search, "image": images.ids.numpy(),
                                            **known[cell]}))
    return pd.concat(tables, ignore_index=True)


def _cell_effects(target, pictures, labels, neurons, clean) -> dict[str, np.ndarray]:
    batch = target, pictures, labels, neurons
    found = path_effects(*batch, clean=clean)
    return {"removal": found["removal_probability"],
            "enhancement": found["enhancement_probability"],
            "removal_accuracy": found["removal_accuracy"],
            "jas": numbers(joint_attribution_score(*batch, **RULE)),
            "complete": numbers(complete_attribution(*batch))}


def removal_identity(study: Study, names: Sequence[str], images: ImageSet,
                     steps: int = 24) -> pd.DataFrame:
    """Complete attribution beside what it should and what it need not equal, for every image's
    neuron path.

    Returns:
        one row per model and image: ``data, model, image, complete`` (two forward passes),
        ``integral`` (its left-hand side, by ``steps`` Gauss-Legendre nodes), ``removal`` (the
        probability lost by plain removal, nothing clamped) and ``jas``, for patch tokens summed
        over them as the others are.
    """
    tables = []
    for model in study.check_models(list(names)):
        target, (pictures, labels) = study.target(model), study.batch(images, model)
        neurons = study.paths(model, images).neurons.to(target.device)
        rows = torch.arange(len(pictures), device=target.device)
        tokens = target.embed(pictures[:1])[:, target.tokens].shape[1]
        columns = {"complete": complete_attribution(target, pictures, labels, neurons),
                   "integral": complete_attribution(target, pictures, labels, neurons,
                                                    "gauss-legendre", steps),
                   "removal": path_scores(target, pictures, labels, neurons, rows, "ablation"),
                   "jas": tokens * joint_attribution_score(target, pictures, labels, neurons,
                                                           "gauss-legendre", steps)}
        tables.append(pd.DataFrame({"data": study.profile, "model": model,
                                    "image": images.ids.numpy(),
                                    **{name: numbers(value)
                                       for name, value in columns.items()}}))
    return pd.concat(tables, ignore_index=True)
