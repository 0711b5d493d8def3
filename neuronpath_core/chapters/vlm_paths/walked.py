"""The paths of words that a vision-language model is about to say, kept in the store, and what is
measured of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from neuronpath_core.chapters.vlm_study import VlmStudy
from neuronpath_core.jas import complete_attribution
from neuronpath_core.study.vlm_rows import Row, stored_rows
from neuronpath_core.vlm import answer_paths
from neuronpath_core.vlm.adapter import VisionLanguageModel
from neuronpath_core.vlm.answer_paths import OWN, STEPS
from neuronpath_core.vlm.answers import KINDS, Case, cases
from neuronpath_core.vlm.model import pixel_values
from neuronpath_core.vlm.path_target import VlmTarget
from neuronpath_core.vlm.precise import in_double

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

    from neuronpath_core.vlm.scenes import Scene

MODULES = ("neuronpath_core.vlm.answer_paths", "neuronpath_core.vlm.answers")
# the searches that are made of each kind of word
SEARCHES = {"question": (OWN, "other word", "other image", "most active", "random"),
            "caption": (OWN, "most active", "random"), "forced": (OWN, "most active", "random")}
AS_ACTIVE = "as active"
# what stands in the tables for a kind
SAID = {"question": "answers to questions", "caption": "colours in captions",
        "forced": "words that the grammar forces"}
PART = 8  # cases of a part of a table, which is what a stop can cost
THEOREM_CASES, THEOREM_STEPS = 4, 32


@dataclass(frozen=True)
class Walked:
    """The words of one model with their paths.

    Attributes:
        vlm, scenes, tower: the model, the scenes, and how many layers of a path are the tower's.
        cases: by kind of word.
        paths: by kind and by what the path is of, ``(case, layer)``.
        chance: by kind the probability of each word.
        losses: by kind, by what the path is of and by part, by how much the probability of each
            word falls without the units of the path.
    """

    vlm: VisionLanguageModel
    scenes: list[Scene]
    tower: int
    cases: dict[str, list[Case]]
    paths: dict[tuple[str, str], Int64[np.ndarray, "case layer"]]
    chance: dict[str, Float[np.ndarray, "case"]]
    losses: dict[tuple[str, str, str], Float[np.ndarray, "case"]]

    @property
    def layers(self) -> int:
        """How many layers a path has."""
        return self.paths["question", OWN].shape[1]

    def lost(self, kind: str, which: str, part: str = "all") -> Float[np.ndarray, "case"]:
        """By how much the probabilities of a kind's words fall without the units of paths; of the
        tower's or the decoder's alone for the words' own."""
        return self.losses[kind, which, part]


def walk(study: VlmStudy, name: str, words: int, seed: int = 0) -> Walked:
    """So many words of each kind with their paths and what is lost without them, from the store if
    that was found before."""
    vlm, scenes = study.model(name), list(study.scenes(words))
    found = {kind: cases(scenes, kind, seed) for kind in KINDS}
    paths = {(kind, which): _stored_paths(study, name, scenes, found[kind], kind, which, seed)
             for kind, every in SEARCHES.items() for which in every}
    chance, losses = {}, {}
    for kind, own in found.items():
        paths[kind, AS_ACTIVE] = answer_paths.as_active(vlm, scenes, own, paths[kind, OWN])
        chance[kind] = _stored_values(study, name, own, {"what": "chance"}, partial(
            answer_paths.chances, vlm, scenes, own))
        for which, part in _removals(kind):
            neurons = paths[kind, which]
            losses[kind, which, part] = _stored_values(
                study, name, own, {"without": neurons.tolist(), "part": part},
                partial(answer_paths.lost, vlm, scenes, own, neurons, part))
    return Walked(vlm, scenes, len(vlm.halves["tower"]), found, paths, chance, losses)


def _removals(kind: str) -> list[tuple[str, str]]:
    """Paths of a kind of word and the part of each that is taken away."""
    return [*((which, "all") for which in (*SEARCHES[kind], AS_ACTIVE)),
            *((OWN, part) for part in ("tower", "decoder"))]


def _stored_values(study: VlmStudy, name: str, own: list[Case], what: dict,
                   compute: Callable[[], np.ndarray]) -> Float[np.ndarray, "case"]:
    """A number for each case, from the store if it was measured before."""
    def rows_of(rows: range) -> list[Row]:
        found = compute()
        return [(own[row].scene, float(found[row]), 0, [0]) for row in rows]

    table = stored_rows(study.results_folder, "words", name, study.model(name),
                        _asked(study, own, **what), len(own), rows_of, len(own), MODULES)
    return table["score"].to_numpy()


def _asked(study: VlmStudy, own: list[Case], **more) -> dict:
    return {"dataset": study.settings["dataset"],
            "cases": [list(vars(case).values()) for case in own], **more}


def _stored_paths(study: VlmStudy, name: str, scenes: list[Scene], own: list[Case], kind: str,
                  which: str, seed: int) -> Int64[np.ndarray, "case layer"]:
    made: list[tuple] = []

    def compute(rows: range) -> list[Row]:
        if kind == "question":  # few texts, so that all cases of one are one batch
            made[:] = made or list(zip(*answer_paths.paths_of(study.model(name), scenes, own, which,
                                                              seed=seed), strict=True))
            found = made[rows.start:rows.stop]
        else:
            found = zip(*answer_paths.paths_of(study.model(name), scenes,
                                               own[rows.start:rows.stop], which, seed=seed),
                        strict=True)
        return [(own[row].scene, float(score), STEPS[-1], path.tolist())
                for row, (path, score) in zip(rows, found, strict=True)]

    table = stored_rows(study.results_folder, "answer_paths", name, study.model(name),
                        _asked(study, own, of=which, steps=list(STEPS), seed=seed), len(own),
                        compute, PART, MODULES)
    return np.stack(table["neurons"].to_numpy()).astype(np.int64)


def crossing(study: VlmStudy, name: str, walked: Walked, kind: str, at: str
             ) -> Float[np.ndarray, "case layer"]:
    """What is lost of each word's probability when a whole layer is silent, at the image's tokens
    or at the predicting position; tower layers first; from the store if it was measured before."""
    own = walked.cases[kind]
    layers = walked.layers - (at == "image")
    made: list[np.ndarray] = []

    def compute(rows: range) -> list[Row]:
        made[:] = made or [answer_paths.layer_effects(walked.vlm, walked.scenes, own, at).ravel()]
        return [(row // layers, float(made[0][row]), 0, [row % layers]) for row in rows]

    table = stored_rows(study.results_folder, "layer_effects", name, walked.vlm,
                        _asked(study, own, at=at), len(own) * layers, compute, len(own) * layers,
                        MODULES)
    return table["score"].to_numpy().reshape(len(own), layers)


def crossings(study: VlmStudy, name: str, walked: Walked, kinds: Sequence[str]
              ) -> dict[str, dict[str, Float[np.ndarray, "case layer"]]]:
    """:func:`crossing` of several kinds of words at the image's tokens and at the predicting
    position: kind -> ``"image"`` or ``"last"`` -> effects."""
    return {kind: {at: crossing(study, name, walked, kind, at) for at in ("image", "last")}
            for kind in kinds}


def theorem_gap(walked: Walked) -> dict[str, float]:
    """How far the integral of the complete attribution is from the two probabilities that it should
    be the difference of, on the first words asked for, in double precision: ``gap``, the largest,
    ``size``, the largest attribution, and ``cases``."""
    own = walked.cases["question"][:THEOREM_CASES]
    model = in_double(walked.vlm)
    gaps, sizes = [], []
    for request, before, places in answer_paths.groups(own):
        target = VlmTarget(model, request, before)
        images = pixel_values([walked.scenes[own[place].scene] for place in places])
        labels = target.numbers([own[place].word for place in places])
        given = (target, images.to(target.device, target.dtype), labels, torch.from_numpy(
            walked.paths["question", OWN][places]).to(target.device))
        exact = complete_attribution(*given)
        integral = complete_attribution(*given, quadrature="gauss-legendre", steps=THEOREM_STEPS)
        gaps.append(float((exact - integral).abs().max()))
        sizes.append(float(exact.abs().max()))
    return {"gap": max(gaps), "size": max(sizes), "cases": len(own)}
