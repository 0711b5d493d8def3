"""Chapter 15: Figure 6 against pruning baselines.  Every criterion keeps as many neurons, at the
scope or at all tokens, with and without the label in the mask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from neuronpath_core import metrics
from neuronpath_core.baselines import activation_paths
from neuronpath_core.chapters.effects import numbers
from neuronpath_core.chapters.pruning import probe_mask
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.interventions import (
    class_neurons,
    class_probabilities,
    drafted_probabilities,
    pruning_mask,
)
from neuronpath_core.models.importance import (
    ffn_gradients,
    mean_activations,
    most_important,
    torch_pruning_importance,
    weight_norms,
)
from neuronpath_core.stats.labels import SCOPE_LABELS
from neuronpath_core.study.study import Study
from neuronpath_core.support.text import plain
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

PATH, WHOLE, NOTHING = "neuron path", "whole model", "no neuron"
CRITERIA = (PATH, "random", "activation", "activation, all tokens", "weight norm",
            "torch-pruning magnitude", "torch-pruning Taylor", "torch-pruning Hessian")
LABELLED = (PATH, "random", "activation")  # those of which every class has its own
OWN, ONE = "own class", "one for all"
EVERYWHERE = "all tokens"
PUBLISHED_SHARE = 0.8


def scope_name(target: TargetModel) -> str:
    """The tokens at which the model's neurons are read, in words."""
    return SCOPE_LABELS[target.scope]


def probing_splits(images: ImageSet, splits: int, share: float, seed: int) -> list[np.ndarray]:
    if isinstance(splits, bool) or not isinstance(splits, int) or splits < 2:
        raise ValueError(f"the number of splits must be a whole number of at least 2, got "
                         f"{splits!r}")
    return [probe_mask(images, share, seed + number) for number in range(splits)]


def searched_neurons(study: Study, model: str, images: ImageSet, tops: Sequence[int],
              settings: dict) -> dict[int, torch.Tensor]:
    most = study.target(model).n_neurons
    if not tops or any(isinstance(top, bool) or not isinstance(top, int) or not 1 <= top <= most
                       for top in tops):
        raise ValueError(f"t must be whole numbers in 1..{most}, got {list(tops)}")
    return {top: paths.neurons for top,
            paths in zip(tops, study.paths_by_top(model, images, list(tops), **settings),
                         strict=True)}


def _drawn(target: TargetModel, top: int, rng: np.random.Generator) -> list[list[int]]:
    return [sorted(rng.choice(target.n_neurons, top, replace=False).tolist())
            for _ in range(target.n_blocks)]


def survivors(kept: Sequence[Sequence[int]], n_neurons: int) -> Bool[np.ndarray, "layer neuron"]:
    """The mask that leaves the kept neurons and no other."""
    return pruning_mask([list(neurons) for neurons in kept], n_neurons, 1.0,
                        np.random.default_rng(0))


def masked_probabilities(
    target: TargetModel, images: Float[torch.Tensor, "batch channel height width"],
    masks: Bool[np.ndarray, "mask batch layer neuron"], everywhere: bool,
    draft: TargetModel | None = None,
) -> Float[np.ndarray, "mask batch class"]:
    """Softmax probabilities of every image under each of its masks, at the scope or at every token
    (``everywhere``).  A ``draft`` computes them first, where there is one."""
    factors = torch.from_numpy(np.asarray(masks)).to(images)
    found = drafted_probabilities(target, draft, images.repeat(len(masks), 1, 1, 1),
                                  factors.flatten(0, 1), everywhere)
    return numbers(found.unflatten(0, (len(masks), len(images))))


def of_models(measure: Callable[..., pd.DataFrame], studies: Mapping[str, Study],
              models: Sequence[str], images: Mapping[str, ImageSet], *args,
              **settings) -> dict[str, pd.DataFrame]:
    """One table for each study, of all its models, of what ``measure`` finds for one of them."""
    return {name: pd.concat([measure(study, model, images[name], *args, **settings)
                             for model in models]) for name, study in studies.items()}


def pruning_comparison(
    study: Study, model: str, images: ImageSet, tops: Sequence[int], splits: int = 4,
    share: float = PUBLISHED_SHARE, seed: int = 0, **settings
) -> pd.DataFrame:
    """Test accuracy and probability with t neurons per block kept and all others zeroed, for every
    criterion, at the scope and at all tokens.

    The images are split ``splits`` times: neurons are chosen on ``share`` of each class's images,
    the others are tested, so that no image is on both sides.  ``"one for all"`` masks are the same
    for every image: of paths and activations the t most frequent among all probing images, of the
    scores the t largest.  ``"own class"`` masks are chosen on a class's probing images and applied
    to its test images, as published: they carry the label.  Random neurons are drawn anew in every
    split.

    Args:
        tops: t, numbers of kept neurons per block.
        settings: of :meth:`~neuronpath_core.study.study.Study.paths`.

    Returns:
        one row per split, mask, tokens, criterion, t and test image:
        ``model, split, mask, tokens, kept, top, image, label, correct, probability``; and the
        unedited model's rows, ``kept`` ``"whole model"`` with t the number of neurons.
    """
    target = study.target(model)
    draft = study.drafted(model)
    (pictures, classes) = study.batch(images, model)
    rows = []
    probings = probing_splits(images, splits, share, seed)
    searched = searched_neurons(study, model, images, tops, settings)
    labels = images.labels.numpy()
    active = activation_paths(target, pictures, max(tops)).cpu()
    first, second = ffn_gradients(target, pictures, classes,
                                  torch.from_numpy(np.stack(probings)).to(pictures.device))
    clean = numbers(class_probabilities(target, pictures))

    def record(split, mask, tokens, kept, top, probability, chosen):
        mine = labels[chosen]
        rows.append(pd.DataFrame({
            "model": model, "split": split, "mask": mask, "tokens": tokens, "kept": kept,
            "top": top, "image": images.ids.numpy()[chosen], "label": mine,
            "correct": metrics.correct(probability, mine).astype(float),
            "probability": probability[np.arange(len(mine)), mine]}))

    for split, probing in enumerate(tqdm(probings, desc=f"{plain(model)} pruning",
                                         disable=not study.progress)):
        scores = {
            "activation, all tokens": mean_activations(target, pictures[probing]),
            "weight norm": weight_norms(target),
            "torch-pruning magnitude": torch_pruning_importance(target, "magnitude", pictures),
            "torch-pruning Taylor": torch_pruning_importance(target, "taylor", pictures,
                                                             [each[split] for each in first]),
            "torch-pruning Hessian": torch_pruning_importance(target, "hessian", pictures,
                                                              [each[split] for each in second]),
        }
        test = ~probing
        record(split, ONE, "none", WHOLE, target.n_neurons, clean[test], test)
        for top in tops:
            rng = np.random.default_rng([seed, split, top])
            chosen_by = {PATH: searched[top], "activation": active[..., :top]}
            masks: dict[tuple[str, str], np.ndarray] = {}
            for criterion in CRITERIA:
                kept = (_drawn(target, top, rng) if criterion == "random"
                        else most_important(scores[criterion], top) if criterion in scores
                        else class_neurons(chosen_by[criterion][probing], top))
                masks[ONE, criterion] = np.broadcast_to(survivors(kept, target.n_neurons),
                                                        (test.sum(), target.n_blocks,
                                                         target.n_neurons))
            for criterion in LABELLED:
                of_class = {label: survivors(_drawn(target, top, rng) if criterion == "random"
                                             else class_neurons(
                    chosen_by[criterion][probing & (labels == label)], top), target.n_neurons)
                            for label in np.unique(labels)}
                masks[OWN, criterion] = np.stack([of_class[label] for label in labels[test]])
            for tokens in (scope_name(target), EVERYWHERE):
                found = masked_probabilities(target, pictures[test], np.stack(list(masks.values())),
                                             tokens == EVERYWHERE, draft)
                for (mask, criterion), probability in zip(masks, found, strict=True):
                    record(split, mask, tokens, criterion, top, probability, test)
    return pd.concat(rows, ignore_index=True)


def nothing_kept(study: Study, model: str, images: ImageSet, splits: int = 4,
                 share: float = PUBLISHED_SHARE, seed: int = 0) -> pd.DataFrame:
    """Test accuracy and probability with no neuron kept: every neuron of every block zeroed, at the
    scope and at all tokens, on the test images of :func:`pruning_comparison`.

    What is left is what attention and the class token's way around the neurons carry, which any
    number of kept neurons has for nothing.

    Returns:
        the columns of :func:`pruning_comparison`, ``kept`` ``NOTHING``, ``mask`` ``"none"`` and t
        zero.
    """
    target, rows = study.target(model), []
    (pictures, _), labels = study.batch(images, model), images.labels.numpy()
    nothing = np.zeros((1, len(images), target.n_blocks, target.n_neurons), bool)
    found = {tokens: masked_probabilities(target, pictures, nothing, tokens == EVERYWHERE,
                                          study.drafted(model))[0]
             for tokens in (scope_name(target), EVERYWHERE)}
    for split, probing in enumerate(probing_splits(images, splits, share, seed)):
        test = ~probing
        mine = labels[test]
        for tokens, probability in found.items():
            rows.append(pd.DataFrame({
                "model": model, "split": split, "mask": "none", "tokens": tokens, "kept": NOTHING,
                "top": 0, "image": images.ids.numpy()[test], "label": mine,
                "correct": metrics.correct(probability[test], mine).astype(float),
                "probability": probability[test][np.arange(len(mine)), mine]}))
    return pd.concat(rows, ignore_index=True)
