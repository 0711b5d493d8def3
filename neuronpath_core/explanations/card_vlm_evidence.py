"""What the card of a neuron of a vision-language model's decoder is made of: what it did on
composed scenes, and what neurons like it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from neuronpath_core.neurons.matched import drawn, matched
from neuronpath_core.study.identity import weights_sha256
from neuronpath_core.support.numbers import check_whole
from neuronpath_core.support.text import shown
from neuronpath_core.vlm import abilities
from neuronpath_core.vlm.adapter import VisionLanguageModel
from neuronpath_core.vlm.batches import caption_batches
from neuronpath_core.vlm.candidates import Patterns
from neuronpath_core.vlm.explained import Sample, scene_samples
from neuronpath_core.vlm.explained_causes import Moved, moved, single_scenes
from neuronpath_core.vlm.explained_neurons import EXPLAINED, LEVEL, SCORED, Chosen
from neuronpath_core.vlm.explanation_controls import SWAPS
from neuronpath_core.vlm.modality import TYPES, Criteria, probabilities
from neuronpath_core.vlm.pruning import pruned, value_norms
from neuronpath_core.vlm.questions import one_each
from neuronpath_core.vlm.records import TOP, Records, collect
from neuronpath_core.vlm.scenes import Scene
from neuronpath_core.vlm.sequences import is_target

if TYPE_CHECKING:
    from jaxtyping import Float

LEAST = 1 + max(*EXPLAINED, *SCORED)  # scenes, of which a neuron's top samples are ranked
QUESTIONS = 42  # about as many scenes, that removal is measured on
CAUSES = 4  # scenes that are drawn again where nobody gives what neurons do there
CONTROLS = 2  # matched neurons that are removed beside each


@dataclass(frozen=True, eq=False)
class VlmEvidence:
    """A model, composed scenes and what all neurons of the decoder did on them.

    Attributes:
        model: the model.
        scenes: that it is shown with their captions.
        records: of its neurons on these scenes.
        redrawn: what neurons do in scenes drawn again with every value of every attribute;
            ``None`` to measure it on a few.
        words: how many are listed at either end of a list.
        seed: of all draws.
        name: what the model is called.
    """

    model: VisionLanguageModel
    scenes: Sequence[Scene]
    records: Records
    redrawn: Moved | None
    words: int
    seed: int
    name: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weights."""
        return weights_sha256(self.model)

    @cached_property
    def criteria(self) -> Criteria:
        """The published criteria with the number of image tokens scaled to these scenes."""
        return Criteria().for_patches(int(self.records.visual[0].sum()))

    @cached_property
    def p(self) -> Float[np.ndarray, "neuron 4"]:
        """Probabilities of the types of all neurons."""
        return probabilities(self.records, self.criteria)

    @cached_property
    def samples(self) -> list[Sample]:
        """The scenes with their captions, as explainers are shown them."""
        return scene_samples(self.scenes)

    @cached_property
    def moved(self) -> Moved:
        """What neurons do in scenes of one object that are drawn again, none of them a scene that
        explanations are from."""
        first = self.scenes[0]
        return self.redrawn or moved(self.model, single_scenes(
            CAUSES, first.part, first.seed, 1 + max(scene.index for scene in self.scenes)))

    @cached_property
    def lengths(self) -> Float[np.ndarray, "neuron"]:
        """How long the value vectors of all neurons are."""
        return value_norms(self.model)

    def number(self, block: int, neuron: int) -> int:
        """A neuron's place among all of the decoder."""
        return int(np.flatnonzero(self.records.layers == block)[0]) + neuron

    def checked(self, block: object, neuron: object) -> tuple[int, int]:
        """The place of a neuron; ``ValueError`` unless the decoder has it."""
        halves = self.model.halves["decoder"]
        check_whole("a block", block, 0, len(halves) - 1)
        check_whole(f"a neuron of block {block} of the decoder", neuron, 0, halves[block].width - 1)
        return int(block), int(neuron)

    def alone(self, number: int) -> Records:
        """The records of one neuron."""
        part = slice(number, number + 1)
        own = {name: getattr(self.records, name)[part]
               for name in ("values", "samples", "maxima", "mean", "active", "layers")}
        return replace(self.records, **own)

    def kind(self, number: int) -> str:
        """The most probable type of a neuron.

        Raises:
            ValueError: a dead neuron.
        """
        if np.isnan(self.p[number, 0]):
            raise ValueError("the neuron is dead here: at no token of any scene does it rise above "
                             "0; accepted: one that does")
        return TYPES[int(self.p[number].argmax())]

    def chosen(self, number: int) -> Chosen:
        """A neuron with up to four others of its type and layer, of its type alone where the layer
        has none: those whose explanations it is held against."""
        kind, layer = self.kind(number), self.records.layers[number]
        alike = np.nan_to_num(self.p, nan=-1).argmax(1) == TYPES.index(kind)
        alike &= self.records.live
        alike[number] = False
        near = np.flatnonzero(alike & (self.records.layers == layer))
        pool = near if len(near) else np.flatnonzero(alike)
        rng = np.random.default_rng(self.seed)
        others = rng.choice(pool, min(SWAPS, len(pool)), replace=False) if len(pool) else []
        rows = [{"neuron": int(each), "layer": int(self.records.layers[each]), "kind": kind,
                 "p": float(self.p[each, TYPES.index(kind)]),
                 "sure": bool(self.p[each, TYPES.index(kind)] >= LEVEL)}
                for each in (number, *others)]
        return Chosen(self.records, self.samples, pd.DataFrame(rows), Patterns())

    def matches(self, block: int, neuron: int) -> list[int]:
        """Neurons of the same layer that are about as active and write about as much, drawn with
        replacement, by their numbers among all."""
        own = self.records.layers == block
        alike = matched(np.array([[neuron]]), np.abs(self.records.mean[own])[None],
                        self.lengths[own][None])
        return [self.number(block, int(drawn(alike, self.seed + place)[0, 0]))
                for place in range(CONTROLS)]

    @cached_property
    def asked(self) -> abilities.Asked:
        """A question about each of the first scenes."""
        own = self.scenes[:QUESTIONS]
        return abilities.ask(self.model, own, one_each(own))

    def answered(self, number: int | None = None) -> Float[np.ndarray, "question"]:
        """The probability of the first word of each right answer, with one neuron removed."""
        gone = np.arange(len(self.records.layers)) == (-1 if number is None else number)
        with pruned(self.model, gone):
            return answer_probabilities(self.model, self.asked)


@torch.no_grad()
def answer_probabilities(model: VisionLanguageModel, asked: abilities.Asked
                         ) -> Float[np.ndarray, "question"]:
    """The probability of the first word of the right answer to each question."""
    found = []
    for stream, ids in zip(asked.streams, asked.ids, strict=True):
        states = model.model.model.language_model(inputs_embeds=stream,
                                                  use_cache=False).last_hidden_state
        before = is_target(ids).int().argmax(1) - 1  # the token that predicts the first word
        rows = torch.arange(len(ids))
        logits = model.model.get_output_embeddings()(states[rows, before])
        words = ids[rows, before + 1].to(logits.device)
        found.append(logits.double().softmax(-1)[rows, words].cpu().numpy())
    return np.concatenate(found)


def vlm_evidence(model: VisionLanguageModel, *, scenes: object, records: Records | None = None,
                 redrawn: Moved | None = None, words: int = 5, seed: int = 0,
                 model_name: str | None = None) -> VlmEvidence:
    """What cards of a model are made of.

    Args:
        model: of :class:`~neuronpath_core.vlm.adapter.VisionLanguageModel`.
        scenes: composed scenes that nobody trained it on, at least 19.
        records, redrawn: what is known of its neurons on these scenes and on scenes drawn again;
            ``None`` to measure it.
        words, seed: as of :class:`VlmEvidence`.
        model_name: what the model is called; ``None`` for its class.

    Raises:
        ValueError: too few scenes, or something else, records of others, or what the model refuses.
    """
    if not isinstance(scenes, (list, tuple)) or len(scenes) < LEAST or not all(
            isinstance(scene, Scene) for scene in scenes):
        raise ValueError(f"images cannot be {shown(type(scenes).__name__)} here; accepted: a list "
                         f"of at least {LEAST} composed scenes, as a vision-language model is "
                         "shown them with their captions")
    check_whole("words", words, 1, 100)
    check_whole("seed", seed, 0, 2 ** 32 - 1)
    if records is None:
        records = collect(model, caption_batches(model, scenes), top=min(TOP, len(scenes)))
    if len(records.visual) != len(scenes):
        raise ValueError(f"records are of {len(records.visual)} scenes, not of {len(scenes)}; "
                         "accepted: records of these scenes")
    return VlmEvidence(model, scenes, records, redrawn, words, seed,
                       model_name or type(model.model).__name__)
