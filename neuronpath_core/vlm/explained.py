"""What an explainer is shown of a neuron, what it says, and what a simulator makes of that: the
protocols of Xu et al. (2025, section 3.3 and appendix A) after Bills et al. (2023).

An explainer sees a few samples with the neuron's values and says in words what the neuron fires
for.  A simulator sees the words and a sample, never the values, and says what the neuron would do
there.  How well the two agree is the score (:mod:`neuronpath_core.vlm.explanation_scores`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.vlm.inputs import CODE, Inputs
from neuronpath_core.vlm.modality import TYPES, Levels, normalised
from neuronpath_core.vlm.records import Records
from neuronpath_core.vlm.scenes import Scene
from neuronpath_core.vlm.sequences import NUMBERS, PATCHES, caption_turn, roles, sequence

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64, UInt8

Kind = Literal["visual", "text", "multi-modal"]
KINDS = TYPES[:3]  # unknown neurons are not explained
Modality = Literal["image", "text"]
MODALITIES: dict[str, tuple[Modality, ...]] = {
    "visual": ("image",), "text": ("text",), "multi-modal": ("image", "text")}
SIDE = int(PATCHES ** 0.5)


@dataclass(frozen=True)
class Sample:
    """What a model saw, without what any neuron did.

    Attributes:
        image: uint8 ``(height, width, 3)``.
        grid: rows and columns of the image tokens; ``None`` where they are no grid.
        roles: int64 ``(token,)``, positions in ``ROLES`` of :mod:`neuronpath_core.vlm.sequences`.
        words: the tokens as text.
        scene: what the image shows, where that is known.
    """

    image: UInt8[np.ndarray, "height width 3"]
    grid: tuple[int, int] | None
    roles: Int64[np.ndarray, "token"]
    words: tuple[str, ...]
    scene: Scene | None = field(default=None, kw_only=True)

    def counted(self, modality: Modality) -> Bool[np.ndarray, "token"]:
        """The image tokens, or the words of the answer."""
        return self.roles == CODE["image" if modality == "image" else "answer"]

    @property
    def answer(self) -> tuple[str, ...]:
        """The words of the answer."""
        return tuple(self.words[place] for place in np.flatnonzero(self.counted("text")))


@dataclass(frozen=True)
class Record(Sample):
    """A sample with what one neuron did there.

    Attributes:
        values: float64 ``(token,)``, normalised to 0..10 by the neuron's maximum.
    """

    values: Float[np.ndarray, "token"]

    @property
    def unseen(self) -> Sample:
        """The same without the values, for simulators."""
        return Sample(self.image, self.grid, self.roles, self.words, scene=self.scene)


@dataclass(frozen=True)
class Concept:
    """Something that image tokens show or words are.

    Attributes:
        modality: ``"image"`` or ``"text"``.
        kind: such as ``colour``, ``word`` or ``next word``.
        name: such as ``red``.
    """

    modality: Modality
    kind: str
    name: str


@dataclass(frozen=True)
class Explanation:
    """What an explainer says of a neuron.

    Attributes:
        text: in words; empty where the explainer failed.
        concepts: what it names, where the explainer knows concepts.
        joins: for each modality with two concepts whether they are joined by ``"or"`` or
            ``"and"``.
        trace: how it came to that, such as the correlations of candidates or the raw answers.
    """

    text: str
    concepts: tuple[Concept, ...] = ()
    joins: Mapping[str, str] = field(default_factory=dict)
    trace: Mapping[str, Any] = field(default_factory=dict)

    def named(self, modality: Modality) -> tuple[Concept, ...]:
        """The concepts of one modality."""
        return tuple(concept for concept in self.concepts if concept.modality == modality)


class Explainer(Protocol):
    """Says what a neuron fires for; the same records give the same words."""

    def explain(self, records: Sequence[Record], kind: Kind) -> Explanation:
        """An explanation of a neuron of a type from samples with its values."""
        ...


class Simulator(Protocol):
    """Says what a neuron would do; the same words give the same values."""

    def simulate(self, explanation: Explanation, sample: Sample) -> Float[np.ndarray, "token"]:
        """Values from 0 to 10 at the tokens that the simulator speaks of, NaN elsewhere, and at all
        tokens where it failed."""
        ...


def check_kind(kind: object) -> None:
    """Raise ``ValueError`` unless neurons of this type are explained."""
    if not is_one_of(kind, KINDS):
        raise ValueError(f"unknown kind of neuron {shown(kind)}; accepted: {', '.join(KINDS)}")


def scene_samples(scenes: Sequence[Scene], captions: Sequence[str] | None = None) -> list[Sample]:
    """Scenes with their captions as the embedded model reads them, without the model.

    Args:
        scenes: what the images show.
        captions: an answer for each scene; ``None``: its own caption.
    """
    import torch

    text = {number: word for word, number in NUMBERS.items()}
    found = []
    for number, scene in enumerate(scenes):
        request, own = caption_turn(scene)
        ids = torch.tensor(sequence([(request, own if captions is None else captions[number])]))
        found.append(Sample(scene.pixels, (SIDE, SIDE), roles(ids[None])[0].numpy(),
                            tuple(text[each] for each in ids.tolist()), scene=scene))
    return found


def samples_of(inputs: Inputs, images: Sequence[np.ndarray],
               scenes: Sequence[Scene] | None = None) -> list[Sample]:
    """The samples of a batch of any model, without their padding."""
    found = []
    for place, image in enumerate(images):
        own = inputs.roles[place].cpu().numpy()
        end = int((own != CODE["pad"]).sum())
        found.append(Sample(image, inputs.grid, own[:end], inputs.words[place][:end],
                            scene=scenes[place] if scenes is not None else None))
    return found


def records_of(records: Records, samples: Sequence[Sample], neuron: int, slots: Sequence[int],
               levels: Levels = "floor") -> list[Record]:
    """What a neuron did in some of its samples, normalised.

    Args:
        records: of :func:`neuronpath_core.vlm.records.collect`.
        samples: all samples that the records are of, in their order.
        neuron: its number.
        slots: places among its samples, top ones first, from 0.
        levels: of :func:`neuronpath_core.vlm.modality.normalised`.

    Raises:
        ValueError: other samples than the records are of, or a neuron or a slot that they lack.
    """
    neurons, held, _ = records.values.shape
    if len(samples) != len(records.visual):
        raise ValueError(f"{len(samples)} samples for records of {len(records.visual)}; accepted: "
                         "the samples that the records are of, in their order")
    if not 0 <= neuron < neurons or not all(0 <= slot < held for slot in slots):
        raise ValueError(f"no neuron {neuron} with slots {shown(list(slots))}; accepted: neurons "
                         f"below {neurons}, slots below {held}")
    values = normalised(records.values[neuron, list(slots)], records.maxima[neuron], levels)
    found = []
    for slot, row in zip(slots, values, strict=True):
        own = samples[records.samples[neuron, slot]]
        found.append(Record(own.image, own.grid, own.roles, own.words, row[:len(own.words)],
                            scene=own.scene))
    return found
