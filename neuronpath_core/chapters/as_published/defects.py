"""As published against corrected: what each known defect of the authors' published code does to the
numbers that it can touch.

A function that measures takes a :class:`~neuronpath_core.chapters.as_published.cases.Case`, a model
and images, and returns its tidy rows.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from math import gcd

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from neuronpath_core import metrics
from neuronpath_core.chapters.as_published.cases import SCORE_RULE, Case, measured
from neuronpath_core.chapters.as_published.published import (
    at_resolution,
    first_labels,
    normalised_twice,
    published_top_paths,
    renormalised,
    skipping_influence_paths,
    squashed,
)
from neuronpath_core.chapters.effects import numbers
from neuronpath_core.chapters.pruning import probe_mask
from neuronpath_core.interventions import class_neurons, pruning_mask, scaled_probabilities
from neuronpath_core.jas import joint_attribution_score

# the published rule's own sum, its bias included, at eight places in place of twenty; and as many
# Gauss-Legendre nodes
PUBLISHED_RULE = {"quadrature": "left", "steps": 20, "nodes": 8}
CONVERGED_RULE = {"quadrature": "gauss-legendre", "steps": 8}
PUBLISHED_SCALE = 7 / 12  # checkpoints fine-tuned at 384 pixels, run at 224
PUBLISHED_BATCH = 10
PUBLISHED_TOP = 5


def _of_path(values: dict) -> dict:
    """Without the numbers that do not depend on the path."""
    return {name: value for name, value in values.items()
            if name not in ("accuracy", "probability")}


def normalisation(case: Case) -> pd.DataFrame:
    """Defect 1: ImageNet's mean and standard deviation where the weights expect 0.5."""
    return case.compared("normalisation", case.found(renormalised(case.images)), case.corrected)


def squash(case: Case) -> pd.DataFrame:
    """Defect 1: a picture that is not square is squashed, not cropped."""
    return case.compared("squash", case.found(squashed(case.images)), case.corrected)


def positions(case: Case) -> pd.DataFrame:
    """Defect 2: positions interpolated to a grid of 7/12 of the patches a side, at least two, and
    images scaled to it."""
    embed, images = case.target.model.patch_embed, case.images
    size = tuple(max(2, round(count * PUBLISHED_SCALE)) * step for count,
                 step in zip(embed.grid_size, embed.patch_size, strict=True))
    small = replace(images, images=interpolate(images.images, size=size, mode="bilinear",
                                               antialias=True, align_corners=False))
    return case.compared("positions", case.found_in(at_resolution(case.target, size), small),
                         case.corrected)


def relaxation(case: Case) -> pd.DataFrame:
    """Defect 3: the joint relaxation where Algorithm 1 scales each candidate alone; both in frozen
    context, so that Algorithm 1 is affordable."""
    joint, literal = (case.found(search=search, context="frozen")
                      for search in ("joint", "literal"))
    return case.compared("relaxation", (joint[0], _of_path(joint[1])), literal)


def left_sum(case: Case) -> pd.DataFrame:
    """Defect 4: twenty left Riemann steps, α = 0 included and 1 excluded, against the converged
    integral; in full context."""
    found = []
    for rule in (PUBLISHED_RULE, CONVERGED_RULE):
        neurons = case.study.paths(case.model, case.images, context="full", **rule).neurons
        values = _of_path(measured(case.target, *case.batch, neurons, CONVERGED_RULE))
        reported = numbers(joint_attribution_score(case.target, *case.batch,
                                                   neurons.to(case.target.device), **rule))
        found.append((neurons, values | {"path_score": values["score"], "score": reported}))
    return case.compared("left sum", *found)


def _batch_labels(case: Case, defect: str, given: Tensor) -> pd.DataFrame:
    neurons, values = case.corrected
    wrong = case.study.paths(case.model,
                             case.images.relabelled(given)).neurons.to(case.target.device)
    mistaken = _of_path(measured(case.target, *case.batch, wrong))
    reported = numbers(joint_attribution_score(
        case.target, case.batch[0], given.to(case.target.device), wrong, **SCORE_RULE))
    return case.compared(defect,
                         (wrong, mistaken | {"path_score": mistaken["score"], "score": reported}),
                         (neurons, values | {"path_score": values["score"]}))


def mixed_batch(case: Case, seed: int = 0) -> pd.DataFrame:
    """Defect 6: batches of ten images in random order, all searched with the label of the first;
    the edits are judged by the true class."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(case.images)))
    return _batch_labels(case, "batch label, classes mixed",
                         first_labels(case.images.labels, order, PUBLISHED_BATCH))


def pure_batch(case: Case) -> pd.DataFrame:
    """Defect 6 under the condition that the authors keep to: batches of one class, of a size that
    divides every class's count."""
    labels = case.images.labels
    size = reduce(gcd, labels.unique(return_counts=True)[1].tolist())
    return _batch_labels(case, "batch label, one class",
                         first_labels(labels, labels.argsort(stable=True), size))


def second_norm(case: Case) -> pd.DataFrame:
    """Defect 7: ``fc_norm`` applied in ``forward_features`` and again in ``forward_head``."""
    return case.compared("second norm", case.found_in(normalised_twice(case.target)),
                         case.corrected)


def skipped_blocks(case: Case) -> pd.DataFrame:
    """Defect 8: the averaging model's Influence Pattern without the blocks that are on the path,
    against all blocks native."""
    neurons = skipping_influence_paths(case.target, *case.batch, **PUBLISHED_RULE)
    native, values = case.found(method="influence_pattern", **PUBLISHED_RULE)
    return case.compared("skipped blocks",
                         (neurons, _of_path(measured(case.target, *case.batch, neurons))),
                         (native, _of_path(values)))


def last_of_rank(case: Case, top: int = PUBLISHED_TOP) -> pd.DataFrame:
    """Defect 9: of each earlier block's ``top`` neurons only the last contributes."""
    neurons, score = published_top_paths(case.target, *case.batch, top)
    values = _of_path(measured(case.target, *case.batch, neurons))
    right, theirs = case.found(top=top)
    return case.compared("last of rank",
                         (neurons, values | {"path_score": values["score"],
                                             "score": numbers(score)}),
                         (right, theirs | {"path_score": theirs["score"]}))


def _pruned(case: Case, probing: np.ndarray, top: int,
            rule: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every image with all but its class's neurons zeroed: whether correct, and the true class's
    probability; and each class's kept neurons per block."""
    target, labels, kept = case.target, case.images.labels.numpy(), []
    neurons = case.study.paths(case.model, case.images.select(probing), top=top).neurons
    probed = torch.from_numpy(labels[probing])
    survives = np.empty((len(labels), target.n_blocks, target.n_neurons), bool)
    for label in np.unique(labels):
        chosen = class_neurons(neurons[probed == int(label)], top, rule)
        kept.append(np.mean([len(block) for block in chosen]))
        survives[labels == label] = pruning_mask(chosen, target.n_neurons, 1.0,
                                                 np.random.default_rng(0))
    pictures = case.batch[0]
    probability = numbers(scaled_probabilities(target, pictures,
                                               torch.from_numpy(survives).to(pictures)))
    return (metrics.correct(probability, labels).astype(float),
            probability[np.arange(len(labels)), labels], np.array(kept))


def pruning(case: Case, seed: int = 0, top: int = PUBLISHED_TOP,
            tops: tuple[int, int] = (20, 30)) -> pd.DataFrame:
    """Defect 10 with all but the kept neurons zeroed, each slip alone: the leaking split (per
    class, in the published proportion of one probing image among ten test images, on average over
    which one), the mode of each rank, the bars of another t, and probability in place of accuracy.
    """
    probing = probe_mask(case.images, seed=seed)
    labels = case.images.labels.numpy()
    name = "pruned_accuracy"
    classes, test, ids = np.unique(labels), ~probing, case.images.ids.numpy()[~probing]
    right, probability, kept = _pruned(case, probing, top, "count")
    ranked, _, fewer = _pruned(case, probing, top, "rank-mode")
    clean, leaking = (np.array([right[(labels == label) & chosen].mean() for label in classes])
                      for chosen in (test, probing))
    low, high = (_pruned(case, probing, each, "count")[0][test] for each in tops)
    return pd.concat([
        case.rows("leaking split", classes, {name: 0.9 * clean + 0.1 * leaking}, {name: clean},
                  "class"),
        case.rows("mode of each rank", ids, {name: ranked[test]}, {name: right[test]}),
        case.rows("mode of each rank", classes, {"kept": fewer}, {"kept": kept}, "class"),
        case.rows("mislabelled bars", ids, {name: low}, {name: high}),
        case.rows("probability for accuracy", ids, {name: probability[test]}, {name: right[test]}),
    ], ignore_index=True)


def class_means(case: Case) -> pd.DataFrame:
    """Figure 3: box plots of class means in place of images; one row an image, whose item is its
    class."""
    labels = case.images.labels.numpy()
    deviation = case.corrected[1]["removal_probability"]
    means = np.array([deviation[labels == label].mean() for label in labels])
    return case.rows("class means", labels, {"spread": means}, {"spread": deviation}, "class")
