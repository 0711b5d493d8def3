"""Whether what an explanation names is a cause: scenes, or their captions, are drawn again with one
attribute changed, and the neuron is read again.

A companion is told from a cause so: red regions may excite a neuron because red things are circles,
but a circle that turns red does so alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neuronpath_core.vlm.adapter import Site, VisionLanguageModel
from neuronpath_core.vlm.batches import caption_batches
from neuronpath_core.vlm.explained import MODALITIES, Explanation
from neuronpath_core.vlm.explained_neurons import Chosen
from neuronpath_core.vlm.explanation_controls import swapped_with
from neuronpath_core.vlm.scenes import ATTRIBUTES, GROUNDS, Scene, compose
from neuronpath_core.vlm.words import CONCEPTS, SEEN, caption, text

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

SCENES = 24  # that are drawn again with every value of every attribute
VALUES = tuple((kind, value) for kind in SEEN for value in CONCEPTS[kind])
SAID = ("word", "next word")  # kinds of words that name a value


@dataclass(frozen=True)
class Moved:
    """What neurons do in scenes drawn again.

    Attributes:
        image: float32 ``(scene, value, neuron)``: the largest value at an image token where the
            image shows each of ``VALUES``.
        text: the same at the words of the answer where the caption alone says so and the image
            stays.
    """

    image: Float[np.ndarray, "scene value neuron"]
    text: Float[np.ndarray, "scene value neuron"]


def single_scenes(count: int, part: str = "held_out", seed: int = 0, first: int = 0
                  ) -> list[Scene]:
    """The first scenes from number ``first`` on that have one object, so that a value is there or
    it is not."""
    found: list[Scene] = []
    while len(found) < count:
        scene = compose(part, first, seed)
        first += 1
        if len(scene.things) == 1:
            found.append(scene)
    return found


def redrawn(scene: Scene) -> Iterator[Scene]:
    """A scene of one object with each of ``VALUES`` in turn, everything else as it was drawn."""
    thing, = scene.things
    for kind, value in VALUES:
        if kind in ATTRIBUTES:
            change = {thing.cell: {kind: value}}
        else:
            ground = {"background": (value, scene.ground[1]), "tone": (scene.ground[0], value)}
            change = {"background": " ".join(ground[kind])}
            assert change["background"] in GROUNDS
        yield compose(scene.part, scene.index, scene.seed, change)


def moved(model: VisionLanguageModel, scenes: Sequence[Scene], site: Site = "activation") -> Moved:
    """Every neuron of the decoder in scenes with every value.

    Args:
        model: that is read.
        scenes: of one object each, as of :func:`single_scenes`.
        site: as of :meth:`~neuronpath_core.vlm.adapter.VisionLanguageModel.activations`.
    """
    image, said = [], []
    for scene in scenes:
        others = list(redrawn(scene))
        image.append(_largest(model, others, [text(caption(each)) for each in others], site, True))
        said.append(_largest(model, [scene] * len(others), [text(caption(each)) for each in others],
                             site, False))
    return Moved(np.stack(image), np.stack(said))


def _largest(model: VisionLanguageModel, scenes: Sequence[Scene], captions: Sequence[str],
             site: Site, visual: bool) -> Float[np.ndarray, "value neuron"]:
    """The largest value of each neuron at image tokens, or at the words of the answer."""
    import torch

    found = []
    for inputs in caption_batches(model, scenes, captions)():
        values = torch.cat(model.activations(inputs, site), -1)
        counted = inputs.visual if visual else inputs.text("answer")
        found.append(values.masked_fill(~counted[..., None], -torch.inf).amax(1).float().cpu())
    return torch.cat(found).numpy()


def named_values(said: Explanation, kind: str) -> Bool[np.ndarray, "modality value"]:
    """Which of ``VALUES`` an explanation names, for each modality of the neuron's type."""
    found = np.zeros((len(MODALITIES[kind]), len(VALUES)), bool)
    for row, modality in zip(found, MODALITIES[kind], strict=True):
        for concept in said.named(modality):
            if modality == "image" or concept.kind in SAID:
                row |= [concept.name == value and (modality == "text" or concept.kind == each)
                        for each, value in VALUES]
    return found


def effects(read: Float[np.ndarray, "scene value"], named: Bool[np.ndarray, "value"]
            ) -> Float[np.ndarray, "scene"]:
    """How far named values move a neuron in each scene: its mean with them minus its mean with the
    other values of their attributes, in its standard deviations over all that was drawn; NaN where
    nothing is named, or nothing else is left, or the neuron never moves."""
    spread = read.std()
    kinds = np.array([kind for kind, _ in VALUES])
    gaps = []
    for kind in dict.fromkeys(kinds[named]):
        with_it, without = named & (kinds == kind), ~named & (kinds == kind)
        if without.any():
            gaps.append(read[:, with_it].mean(1) - read[:, without].mean(1))
    if not gaps or spread == 0:
        return np.full(len(read), np.nan)
    return np.mean(gaps, 0) / spread


def effect_rows(chosen: Chosen, said: Sequence[Explanation], found: Moved, seed: int = 0
                ) -> pd.DataFrame:
    """How far what explanations name moves their neurons, beside what explanations of other neurons
    of the type and layer name.

    Returns:
        A row for each scene of each neuron whose explanation names a value and has others to swap
        with: ``neuron, layer, kind, sample, own, swapped``.
    """
    rows = chosen.neurons.to_dict("records")
    swaps = swapped_with(chosen.neurons["kind"].tolist(), chosen.neurons["layer"].to_numpy(), seed)
    named = [named_values(each, row["kind"]) for each, row in zip(said, rows, strict=True)]
    tables = []
    for place, row in enumerate(rows):
        reads = [{"image": found.image, "text": found.text}[modality][..., row["neuron"]]
                 for modality in MODALITIES[row["kind"]]]

        def of(which: np.ndarray, reads=reads) -> np.ndarray:
            return _mean([effects(read, own) for read, own in zip(reads, which, strict=True)])

        own, others = of(named[place]), _mean([of(named[other]) for other in swaps[place]])
        if len(others) and not np.isnan(own).any() and not np.isnan(others).any():
            tables.append(pd.DataFrame({
                **{name: row[name] for name in ("neuron", "layer", "kind")},
                "sample": np.arange(len(own)), "own": own, "swapped": others}))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(
        columns=["neuron", "layer", "kind", "sample", "own", "swapped"])


def _mean(rows: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of those rows that are known; NaN, or nothing, if none is."""
    known = [row for row in rows if not np.isnan(row).any()]
    return np.mean(known, 0) if known else rows[0] if len(rows) else np.zeros(0)
