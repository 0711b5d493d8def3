"""What a neuron's card is made of: readings of its whole model, each taken when it is first asked
for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.explanations.card_images import CardImages, card_images
from neuronpath_core.hooks import neurons_read
from neuronpath_core.interventions import class_probabilities, scaled_probabilities
from neuronpath_core.neurons.dissection import Dissection
from neuronpath_core.neurons.matched import drawn, matched
from neuronpath_core.neurons.spectrum import Statistics
from neuronpath_core.paths import Paths
from neuronpath_core.readings.concepts import ConceptSet
from neuronpath_core.readings.grids import Grid, grid_of
from neuronpath_core.study.identity import weights_sha256
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.numbers import check_whole
from neuronpath_core.support.tensors import is_ordinary, kind_of
from neuronpath_core.support.text import shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

MOST_CLASSES, MOST_STEPS = 1000, 10_000
CONTROLS = 2  # matched neurons that are edited beside each


@dataclass(frozen=True, eq=False)
class Activity:
    """How active the neurons of a block are at the scope's tokens.

    Attributes:
        mean, size: of the activation and of its absolute value.
        active: share of the activations above 0.
    """

    mean: Float[np.ndarray, "neuron"]
    size: Float[np.ndarray, "neuron"]
    active: Float[np.ndarray, "neuron"]


@dataclass(frozen=True, eq=False)
class Evidence:
    """A model, images and what is measured of all its neurons, each when it is first asked for.

    Attributes:
        target: the model.
        images: what it is shown.
        paths: neurons of the images' paths; ``None`` where none are known.
        classes, others, statistics, steps, seed: of
            :func:`~neuronpath_core.explanations.card.neuron_card`.
        name: what the model is called.
        dissected: of every block that a card was made of so far, the dissection that holds it.
    """

    target: TargetModel
    images: CardImages
    paths: Int64[np.ndarray, "image layer rank"] | None
    classes: int
    others: Mapping[str, TargetModel]
    statistics: Statistics | None
    steps: int
    seed: int
    name: str
    dissected: dict[int, Dissection] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weights."""
        return weights_sha256(self.target)

    @cached_property
    def grid(self) -> Grid:
        """Where the patch tokens lie."""
        return grid_of(self.target, self.images.values[:1])

    @cached_property
    def clean(self) -> Float[np.ndarray, "image class"]:
        """Probabilities of the model as it is."""
        return as_numbers(class_probabilities(self.target, self.images.values))

    @cached_property
    def activity(self) -> list[Activity]:
        """Of every block."""
        def read(chosen: Tensor) -> list[list[Tensor]]:
            values = neurons_read(self.target, self.images.values[chosen])
            return [[each.sum((0, 1)), each.abs().sum((0, 1)), (each > 0).sum((0, 1)),
                     torch.tensor(each.shape[0] * each.shape[1])] for each in values]

        parts = over_images(self, read)
        sums = [[as_numbers(sum(part[block][what] for part in parts)) for what in range(4)]
                for block in range(self.target.n_blocks)]
        return [Activity(*(each / count for each in whole)) for *whole, count in sums]

    @cached_property
    def lengths(self) -> list[Float[np.ndarray, "neuron"]]:
        """How long the value vectors of every block are."""
        return [as_numbers(self.target.value_vectors(block).norm(dim=-1))
                for block in range(self.target.n_blocks)]

    @cached_property
    def known(self) -> ConceptSet:
        """The concepts of the images.

        Raises:
            ValueError: images without masks.
        """
        return self.images.concepts()

    def matches(self, block: int, neuron: int, count: int = CONTROLS) -> list[int]:
        """Neurons of the same block that are about as active and write about as much, drawn with
        replacement."""
        alike = matched(np.array([[neuron]]), self.activity[block].size[None],
                        self.lengths[block][None])
        return [int(drawn(alike, self.seed + place)[0, 0]) for place in range(count)]

    def edited(self, block: int, edits: Sequence[tuple[int, float]]
               ) -> Float[np.ndarray, "edit image class"]:
        """Probabilities with one neuron of a block multiplied at the scope's tokens, as
        :func:`~neuronpath_core.interventions.scaled_probabilities` gives them; what comes before
        the block is run once.

        Args:
            block: from 0.
            edits: a neuron and its factor each.
        """
        target, values = self.target, self.images.values
        target.check_images(values)
        if target.differs is not None:  # then the model is not its blocks one after the other
            return np.stack([self._called(block, *edit) for edit in edits])

        def run(chosen: Tensor) -> Tensor:
            clean = neurons_read(target, values[chosen])[block]
            stream = target.run(target.embed(values[chosen]), 0, block)
            return torch.stack([self._rest(block, stream, clean, *edit) for edit in edits])

        return as_numbers(torch.cat(over_images(self, run), 1))

    def _rest(self, block: int, stream: Tensor, clean: Tensor, neuron: int,
              factor: float) -> Tensor:
        held = clean.clone()
        held[..., neuron] *= factor
        last = self.target.run(stream, block, self.target.n_blocks, {block: held})
        return self.target.family.logits(self.target.model, last).softmax(-1)

    def _called(self, block: int, neuron: int, factor: float) -> np.ndarray:
        values = self.images.values
        factors = torch.ones(1, self.target.n_blocks, self.target.n_neurons, dtype=values.dtype,
                             device=values.device)
        factors[0, block, neuron] = factor
        return as_numbers(scaled_probabilities(self.target, values,
                                             factors.expand(len(values), -1, -1)))

    def checked(self, block: object, neuron: object) -> tuple[int, int]:
        """The place of a neuron; ``ValueError`` unless the model has it."""
        _check_place("a block", block, self.target.n_blocks)
        _check_place(f"a neuron of {self.target.layers[block].name}", neuron,
                     self.target.layers[block].units)
        return int(block), int(neuron)


def _check_place(what: str, value: object, count: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not (
            0 <= value < count):
        raise ValueError(f"{what} must be a whole number in 0..{count - 1}, got {shown(value)}")


@torch.no_grad()
def over_images(evidence: Evidence, read: Callable[[Tensor], Any]) -> list:
    """What a reading gives of the images, as many at a time as memory admits: a list of parts.

    Args:
        evidence: of the model.
        read: is given positions of images.
    """
    return in_chunks(evidence.target, len(evidence.images.values),
                     lambda: images_at_once(evidence.target, 1), read)


def as_numbers(values: Tensor) -> np.ndarray:
    """A tensor as float64 on the CPU."""
    return values.detach().double().cpu().numpy()


def evidence_of(target: TargetModel, *, images: object, paths: object = None, classes: int = 5,
                labels: Tensor | None = None, others: Mapping[str, TargetModel] | None = None,
                statistics: Statistics | None = None, steps: int = 64, seed: int = 0,
                model_name: str | None = None) -> Evidence:
    """What cards of a model are made of; arguments and errors are those of
    :func:`~neuronpath_core.explanations.card.neuron_card`."""
    check_target(target)
    if target.sites != "ffn":
        raise ValueError(f"sites cannot be {shown(target.sites)} here; accepted: a TargetModel, "
                         "whose neurons are of the FFN")
    check_whole("classes", classes, 1, MOST_CLASSES)
    check_whole("steps", steps, 0, MOST_STEPS)
    check_whole("seed", seed, 0, 2 ** 32 - 1)
    _check_others({} if others is None else others)
    if statistics is not None and not isinstance(statistics, Statistics):
        raise ValueError(f"statistics are {shown(type(statistics).__name__)}; accepted: None, or "
                         "image_statistics(...) of the images that the model was trained on")
    if model_name is not None and (not isinstance(model_name, str) or not model_name.strip()):
        raise ValueError(f"model_name cannot be {shown(model_name)}; accepted: None, or a text "
                         "that is not empty")
    given = card_images(target, images, labels)
    return Evidence(target, given, _path_neurons(target, paths, len(given.values)), classes,
                    dict(others or {}), statistics, steps, seed, model_name or _called(target))


def _check_others(others: object) -> None:
    if not isinstance(others, Mapping):
        raise ValueError(f"others are {shown(type(others).__name__)}; accepted: TargetModels by "
                         "their names")
    for name, each in others.items():
        if not isinstance(each, TargetModel) or not isinstance(name, str):
            raise ValueError(f"others have {shown(each)} under {shown(name)}; accepted: "
                             "TargetModels by their names")


def _path_neurons(target: TargetModel, paths: object, count: int) -> np.ndarray | None:
    if paths is None:
        return None
    neurons = paths.neurons if isinstance(paths, Paths) else paths
    if not is_ordinary(neurons) or neurons.ndim not in (2, 3) or len(neurons) != count:
        raise ValueError(f"paths are {kind_of(neurons)} for {count} images; accepted: Paths of "
                         "these images, or their neurons (image, layer) or (image, layer, rank)")
    return target.check_neurons(neurons.to(target.device), count).cpu().numpy()


def _called(target: TargetModel) -> str:
    config = getattr(target.model, "pretrained_cfg", None) or {}
    return str(config.get("architecture") or type(target.model).__name__)
