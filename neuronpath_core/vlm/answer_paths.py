"""Paths of words that are about to be said, and what is lost without them: against the paths of
other words and other images, against units as active, against random ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.edits import edit, scaled
from neuronpath_core.forward import CleanPass
from neuronpath_core.paths import find_paths
from neuronpath_core.vlm.adapter import VisionLanguageModel
from neuronpath_core.vlm.answers import Case
from neuronpath_core.vlm.model import pixel_values
from neuronpath_core.vlm.path_target import At, VlmTarget
from neuronpath_core.vlm.scenes import Scene

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

OWN = "path"
STEPS = (4, 4, 2)  # Gauss-Legendre nodes of the first layer, the second and those that follow
SEARCH = {"settings": "default", "steps": list(STEPS)}


def groups(cases: Sequence[Case]) -> Iterator[tuple[str, str, list[int]]]:
    """Cases with the same text, which are one batch: request, words said, positions."""
    texts = [(case.request, case.before) for case in cases]
    for request, before in dict.fromkeys(texts):
        yield request, before, [place for place, each in enumerate(texts)
                                if each == (request, before)]


def paths_of(vlm: VisionLanguageModel, scenes: Sequence[Scene], cases: Sequence[Case],
             which: str = OWN, at: At = "last", seed: int = 0
             ) -> tuple[Int64[np.ndarray, "case layer"], Float[np.ndarray, "case"]]:
    """The paths of cases, and their joint attribution scores for the words that they are of.

    Args:
        vlm: the model.
        scenes: what the positions of the cases count.
        cases: at least one.
        which: ``"path"``: of the word that is true; ``"other word"``: of ``case.other`` on the same
            image; ``"other image"``: of the word, on the image of the next case; ``"most active"``;
            ``"random"``.
        at: where the decoder's neurons are moved.
        seed: of random paths.
    """
    found: dict[int, tuple] = {}
    method = {"most active": "activation", "random": "random"}.get(which)
    options = {"method": method, "seed": seed} if method else SEARCH
    for request, before, places in groups(cases):
        target = VlmTarget(vlm, request, before, at)
        shown = [cases[(place + (which == "other image")) % len(cases)].scene for place in places]
        said = [cases[place].other if which == "other word" else cases[place].word
                for place in places]
        paths = find_paths(target, _pixels(target, scenes, shown), target.numbers(said), **options)
        found.update(zip(places, zip(paths.neurons.cpu().numpy(), paths.score.tolist(),
                                     strict=True), strict=True))
    neurons, scores = zip(*(found[place] for place in range(len(cases))), strict=True)
    return np.stack(neurons), np.array(scores)


def _pixels(target: VlmTarget, scenes: Sequence[Scene], places: Sequence[int]) -> Tensor:
    return pixel_values([scenes[place] for place in places]).to(target.device, target.dtype)


def as_active(vlm: VisionLanguageModel, scenes: Sequence[Scene], cases: Sequence[Case],
              paths: Int64[np.ndarray, "case layer"], at: At = "last"
              ) -> Int64[np.ndarray, "case layer"]:
    """For each unit of a path the other one of its layer whose activation at its positions is most
    nearly as large."""
    found = np.empty_like(paths)
    for request, before, places in groups(cases):
        target = VlmTarget(vlm, request, before, at)
        clean = CleanPass.of(target, _pixels(target, scenes, [cases[p].scene for p in places]))
        for index, layer in enumerate(target.layers):
            sizes = layer.sizes(clean.activations[index][:, 0]).cpu().numpy()
            own = paths[places, index]
            distance = np.abs(sizes - np.take_along_axis(sizes, own[:, None], 1))
            np.put_along_axis(distance, own[:, None], np.inf, 1)
            found[places, index] = distance.argmin(1)
    return found


@torch.no_grad()
def lost(vlm: VisionLanguageModel, scenes: Sequence[Scene], cases: Sequence[Case],
         paths: Int64[np.ndarray, "case layer"], part: str = "all", at: At = "last"
         ) -> Float[np.ndarray, "case"]:
    """By how much the probability of each case's word falls when the units of a path are zero.

    Args:
        vlm, scenes, cases, at: as of :func:`paths_of`.
        paths: of the cases.
        part: ``"tower"`` or ``"decoder"`` removes the units of that part alone.
    """
    found = np.empty(len(cases))
    for request, before, places in groups(cases):
        target = VlmTarget(vlm, request, before, at)
        images = _pixels(target, scenes, [cases[place].scene for place in places])
        labels = target.numbers([cases[place].word for place in places])
        neurons = torch.from_numpy(paths[places]).to(target.device)
        clean = _chance(target, images, labels)
        if part == "all":
            with edit(target, neurons, "remove"):
                after = _chance(target, images, labels)
        else:
            factors = torch.ones(len(places), target.n_blocks, target.n_neurons,
                                 dtype=target.dtype, device=target.device)
            factors.scatter_(2, neurons[..., None], 0.0)
            whole = slice(target.tower_layers, None) if part == "tower" else slice(
                target.tower_layers)
            factors[:, whole] = 1
            with scaled(target, factors):
                after = _chance(target, images, labels)
        found[places] = (clean - after).cpu().numpy()
    return found


@torch.no_grad()
def chances(vlm: VisionLanguageModel, scenes: Sequence[Scene], cases: Sequence[Case]
            ) -> Float[np.ndarray, "case"]:
    """The probability of each case's word."""
    found = np.empty(len(cases))
    for request, before, places in groups(cases):
        target = VlmTarget(vlm, request, before)
        images = _pixels(target, scenes, [cases[place].scene for place in places])
        found[places] = _chance(target, images, target.numbers(
            [cases[place].word for place in places])).cpu().numpy()
    return found


def _chance(target: VlmTarget, images: Tensor, labels: Tensor) -> Tensor:
    return target(images).double().softmax(-1).gather(1, labels[:, None])[:, 0]


@torch.no_grad()
def layer_effects(vlm: VisionLanguageModel, scenes: Sequence[Scene], cases: Sequence[Case],
                  at: At) -> Float[np.ndarray, "case layer"]:
    """By how much the probability of each case's word falls when all neurons of one layer are zero
    at the tower's patches or at ``at`` in the decoder, all else running natively."""
    found: dict[int, np.ndarray] = {}
    for request, before, places in groups(cases):
        target = VlmTarget(vlm, request, before, at)
        images = _pixels(target, scenes, [cases[place].scene for place in places])
        labels = target.numbers([cases[place].word for place in places])
        target.check_batch(images, labels)
        clean = CleanPass.of(target, images)
        before_it = target.probability(clean.streams[-1], labels)
        rows = []
        for index in range(target.n_blocks):
            held = {index: torch.zeros_like(clean.activations[index])}
            after = target.run(clean.streams[index], index, target.n_blocks, held)
            rows.append(before_it - target.probability(after, labels))
        found.update(zip(places, torch.stack(rows, 1).double().cpu().numpy(), strict=True))
    return np.stack([found[place] for place in range(len(cases))])


def overlap(one: Int64[np.ndarray, "case layer"], two: Int64[np.ndarray, "case layer"]
            ) -> Float[np.ndarray, "case"]:
    """The share of layers at which two paths have the same unit."""
    return (one == two).mean(1)

