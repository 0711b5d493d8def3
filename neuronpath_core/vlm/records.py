"""What the neurons of a vision-language model did on many samples, kept small: for each neuron the
samples in which it fired most, and some at random, token by token.

Two passes: the first keeps each neuron's largest values so far and what sample they are from, never
a table of all samples; the second reads the tokens of those samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.vlm.adapter import Site, VisionLanguageModel
from neuronpath_core.vlm.inputs import Inputs

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

Batches = Callable[[], Iterable[Inputs]]
Transform = Callable[[int, Tensor], Tensor]
TOP, RANDOM = 50, 5


class TopSamples:
    """The largest values of each neuron and the samples they come from, as samples go by; of equal
    values the earlier sample comes first.

    Args:
        count: how many are kept.
    """

    def __init__(self, count: int):
        self.count = count
        self.values: Float[Tensor, "neuron top"] | None = None
        self.samples: Int64[Tensor, "neuron top"] | None = None

    def add(self, values: Float[Tensor, "sample neuron"], first: int) -> None:
        """Samples ``first``, ``first`` + 1, … with each neuron's value in them."""
        new, place = values.T, torch.arange(first, first + len(values), device=values.device)
        place = place.expand(len(new), -1)
        if self.values is not None:
            new, place = torch.cat([self.values, new], 1), torch.cat([self.samples, place], 1)
        order = new.argsort(dim=1, descending=True, stable=True)[:, :self.count]
        self.values, self.samples = new.gather(1, order), place.gather(1, order)


@dataclass(frozen=True)
class Records:
    """What neurons did, in the samples in which they fired most and in some at random.

    Attributes:
        values: float32 ``(neuron, slot, token)``, 0 behind a sample's end.
        samples: int64 ``(neuron, slot)``: of each slot the sample; the first ``top`` slots in the
            order of the neuron's maxima, the others at random.
        top: how many slots are a neuron's top samples.
        visual, text: bool ``(sample, token)``, the tokens that count, of all samples.
        maxima: float32 ``(neuron,)``, the largest value at any token that counts; a neuron of 0 or
            less is dead.
        mean, active: ``(neuron,)``, the mean value at tokens that count, and the share of them at
            which it is above 0.
        layers: int64 ``(neuron,)``.
    """

    values: Float[np.ndarray, "neuron slot token"]
    samples: Int64[np.ndarray, "neuron slot"]
    top: int
    visual: Bool[np.ndarray, "sample token"]
    text: Bool[np.ndarray, "sample token"]
    maxima: Float[np.ndarray, "neuron"]
    mean: Float[np.ndarray, "neuron"]
    active: Float[np.ndarray, "neuron"]
    layers: Int64[np.ndarray, "neuron"]

    @property
    def live(self) -> Bool[np.ndarray, "neuron"]:
        """The neurons that are positive somewhere."""
        return self.maxima > 0


def collect(model: VisionLanguageModel, batches: Batches, site: Site = "activation",
            text: str = "answer", top: int = TOP, random: int = RANDOM, seed: int = 0,
            transform: Transform | None = None) -> Records:
    """The records of all neurons of the decoder.

    Args:
        model: of :class:`~neuronpath_core.vlm.adapter.VisionLanguageModel`.
        batches: called twice, each time the same batches of inputs.
        site: as of :meth:`~neuronpath_core.vlm.adapter.VisionLanguageModel.activations`.
        text: the text tokens that count, as of :meth:`~neuronpath_core.vlm.inputs.Inputs.text`.
        top: samples of each neuron that are kept for its largest values.
        random: samples that are kept besides, drawn for each neuron by itself among all.
        seed: of that draw.
        transform: of a layer's number and values ``(sample, token, neuron)`` gives the values that
            are read in their place, such as :func:`~neuronpath_core.vlm.modality_nulls.rotation`.

    Raises:
        ValueError: no samples, fewer than ``top``, a sample without a token that counts, and what
            the model refuses.
    """
    def read(inputs: Inputs) -> Tensor:
        layers = model.activations(inputs, site)
        return torch.cat([values if transform is None else transform(layer, values)
                          for layer, values in enumerate(layers)], -1)

    seen = _Seen(TopSamples(top), text)
    for inputs in batches():
        seen.add(read(inputs), inputs)
    count = len(seen.visual)
    if count < max(top, 1) or top < 1 or random < 0:
        raise ValueError(f"{count} samples for {top} top and {random} random ones of each neuron; "
                         "accepted: at least one top sample, and as many samples")
    samples = seen.best.samples.cpu().numpy()
    drawn = np.random.default_rng(seed).integers(count, size=(len(samples), random))
    samples = np.concatenate([samples, drawn], 1)
    values = _second_pass(batches, read, samples, max(map(len, seen.visual)))
    widths = [half.width for half in model.halves["decoder"]]
    return Records(values, samples, top, side_by_side(seen.visual), side_by_side(seen.told),
                   seen.best.values[:, 0].float().cpu().numpy(),
                   (seen.total / seen.tokens).cpu().numpy(),
                   (seen.above / seen.tokens).cpu().numpy(),
                   np.repeat(np.arange(len(widths)), widths))


@dataclass
class _Seen:
    """What the first pass keeps of the samples so far."""

    best: TopSamples
    text: str
    total: Tensor | float = 0.0
    above: Tensor | float = 0.0
    tokens: int = 0
    visual: list[Bool[np.ndarray, "token"]] = field(default_factory=list)
    told: list[Bool[np.ndarray, "token"]] = field(default_factory=list)

    def add(self, values: Float[Tensor, "sample token neuron"], inputs: Inputs) -> None:
        text = inputs.text(self.text)
        counted = inputs.visual | text
        if not counted.any(1).all():
            raise ValueError("a sample has no token that counts; accepted: samples with an image "
                             f"or with text of {self.text}")
        self.best.add(values.masked_fill(~counted[..., None], -torch.inf).amax(1),
                      len(self.visual))
        kept = values * counted[..., None]
        self.total = self.total + kept.sum((0, 1)).double()
        self.above = self.above + (kept > 0).sum((0, 1)).double()
        self.tokens += int(counted.sum())
        self.visual += list(inputs.visual.cpu().numpy())
        self.told += list(text.cpu().numpy())


def _second_pass(batches: Batches, read: Callable[[Inputs], Tensor], samples: np.ndarray,
                 tokens: int) -> Float[np.ndarray, "neuron slot token"]:
    """The values of each neuron's own samples."""
    found = np.zeros((*samples.shape, tokens), np.float32)
    first = 0
    for inputs in batches():
        values = read(inputs).permute(2, 0, 1).float().cpu().numpy()
        here = (samples >= first) & (samples < first + values.shape[1])
        neurons, slots = np.nonzero(here)
        found[neurons, slots, :values.shape[2]] = values[neurons, samples[here] - first]
        first += values.shape[1]
    return found


def side_by_side(rows: Sequence[Bool[np.ndarray, "token"]]) -> Bool[np.ndarray, "sample token"]:
    """Rows of different lengths as a table, ``False`` behind the end of each."""
    found = np.zeros((len(rows), max(map(len, rows))), bool)
    for place, row in enumerate(rows):
        found[place, :len(row)] = row
    return found
