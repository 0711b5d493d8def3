"""Types of the neurons of models too large for a table of what they did: two passes over the
samples, of which each keeps 50 numbers a neuron and can be stopped and taken up again.

The first keeps each neuron's largest values so far and the samples they are from
(:class:`~neuronpath_core.vlm.records.TopSamples`), the second counts, in those samples alone, the
tokens above the levels.  A table of the maxima of 352,256 neurons in 23,000 samples would be 32 GB,
of their values at all tokens thousands of times as much; this is 0.3 GB.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.support.files import write_atomically
from neuronpath_core.support.text import one_line, shown
from neuronpath_core.vlm.adapter import Site, VisionLanguageModel
from neuronpath_core.vlm.inputs import Inputs
from neuronpath_core.vlm.modality import FULL, PUBLISHED, TYPES, Criteria, Levels, sample_types
from neuronpath_core.vlm.records import TOP, TopSamples

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

# how many batches there are, and one of them by its number: what is taken up again in the middle
Batches = tuple[int, Callable[[int], Inputs]]
EVERY = 50  # batches between two writes: what a stop can cost


@dataclass
class State:
    """How far the passes are, and what they have found.

    Attributes:
        phase: 1 or 2; 3 when both are done.
        batch, sample: of the phase, how many have gone by.
        top: the largest values and their samples.
        counts: int16 ``(2, neuron, top)``, image and text tokens above their levels.
    """

    phase: int = 1
    batch: int = 0
    sample: int = 0
    top: TopSamples = field(default_factory=lambda: TopSamples(TOP))
    counts: Tensor | None = None


@dataclass(frozen=True)
class RunningTypes:
    """What the passes found.

    Attributes:
        p: ``(neuron, 4)``, probabilities in the order of ``TYPES``; NaN for dead neurons.
        maxima: ``(neuron,)``.
        samples: int64 ``(neuron, top)``, each neuron's top samples.
        layers: int64 ``(neuron,)``.
    """

    p: Float[np.ndarray, "neuron 4"]
    maxima: Float[np.ndarray, "neuron"]
    samples: Int64[np.ndarray, "neuron top"]
    layers: Int64[np.ndarray, "neuron"]


def running_types(model: VisionLanguageModel, batches: Batches, file: Path, asked: Mapping,
                  criteria: Criteria = PUBLISHED, levels: Levels = "floor",
                  site: Site = "activation", text: str = "answer", top: int = TOP,
                  every: int = EVERY, tell: Callable[[str], None] = lambda line: None
                  ) -> RunningTypes:
    """The types of all neurons of the decoder.

    Args:
        model: the model.
        batches: how many batches of inputs there are, and a function that gives one by its number,
            the same each time.
        file: where what was found so far is kept; a run that was stopped goes on from there.
        asked: what the numbers depend on, JSON values; what another question found is refused.
        criteria, levels: of :mod:`~neuronpath_core.vlm.modality`.
        site, text: of :func:`~neuronpath_core.vlm.records.collect`.
        top: samples of each neuron.
        every: batches between two writes.
        tell: is given a line at every write.

    Raises:
        ValueError: fewer samples than ``top``, a sample without a token that counts, a file of
            another question, or one that is damaged.
    """
    question = json.dumps({**asked, **vars(criteria), "levels": levels, "site": site, "text": text,
                           "top": top}, sort_keys=True)
    state = read_state(file, question, top, model.device)
    count, batch_of = batches

    def read(number: int) -> tuple[Tensor, Inputs, Tensor]:
        inputs = batch_of(number)
        values = torch.cat(model.activations(inputs, site), -1).float()
        told = inputs.text(text)
        if not values.isfinite().all():
            raise ValueError("activations are not finite; accepted: a model in bfloat16 or float32 "
                             "where float16 overflows")
        if not (inputs.visual | told).any(1).all():
            raise ValueError("a sample has no token that counts; accepted: samples with an image "
                             f"or with text of {text}")
        return values, inputs, told

    for phase, step in ((1, _first), (2, _second)):
        if state.phase != phase:
            continue
        while state.batch < count:
            values, inputs, told = read(state.batch)
            step(state, values, inputs.visual, told, criteria, levels)
            state.batch, state.sample = state.batch + 1, state.sample + len(values)
            if state.batch % every == 0:
                write_state(file, state, question)
                tell(f"pass {phase} of 2: {state.batch} of {count} batches")
        if state.sample < top:
            raise ValueError(f"{state.sample} samples for {top} top ones of each neuron; accepted: "
                             "at least as many samples")
        state.phase, state.batch, state.sample = phase + 1, 0, 0
        write_state(file, state, question)
    return _result(model, state, criteria)


def _first(state: State, values: Tensor, visual: Tensor, told: Tensor, criteria: Criteria,
           levels: Levels) -> None:
    counted = (visual | told)[..., None]
    state.top.add(values.masked_fill(~counted, -torch.inf).amax(1), state.sample)


def _second(state: State, values: Tensor, visual: Tensor, told: Tensor, criteria: Criteria,
            levels: Levels) -> None:
    """Count the tokens above the levels in the samples that are among a neuron's top ones."""
    top = state.top
    if state.counts is None:
        state.counts = torch.zeros(2, *top.samples.shape, dtype=torch.int16,
                                   device=top.samples.device)
    most = top.values[:, 0].double()
    most = torch.where(most > 0, most, torch.inf)
    for row, value in enumerate(values):
        neurons, slots = torch.nonzero(top.samples == state.sample + row, as_tuple=True)
        if not len(neurons):
            continue
        high = FULL * value[:, neurons].double().clamp_min(0) / most[neurons]
        if levels == "floor":
            high = high.floor().clamp_max(FULL)
        for place, (mask, level) in enumerate(((visual[row], criteria.visual_level),
                                               (told[row], criteria.text_level))):
            state.counts[place, neurons, slots] = (
                (high > level) & mask[:, None]).sum(0).to(torch.int16)


def _result(model: VisionLanguageModel, state: State, criteria: Criteria) -> RunningTypes:
    visual, told = state.counts.cpu().numpy().astype(np.int64)
    kinds = sample_types(visual, told, criteria)
    p = np.stack([(kinds == kind).mean(1) for kind in range(len(TYPES))], 1)
    maxima = state.top.values[:, 0].cpu().numpy()
    p[~(maxima > 0)] = np.nan
    widths = [half.width for half in model.halves["decoder"]]
    return RunningTypes(p, maxima, state.top.samples.cpu().numpy(),
                        np.repeat(np.arange(len(widths)), widths))


def write_state(file: Path, state: State, question: str) -> None:
    """Keep what was found so far, whole or not at all."""
    arrays = {"question": np.array(question), "place": np.array([state.phase, state.batch,
                                                                 state.sample])}
    if state.top.values is not None:
        arrays |= {"values": state.top.values.cpu().numpy(),
                   "samples": state.top.samples.cpu().numpy()}
    if state.counts is not None:
        arrays["counts"] = state.counts.cpu().numpy()

    def write(temporary: Path) -> None:
        with temporary.open("wb") as stream:
            np.savez(stream, **arrays)

    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, write)


def read_state(file: Path, question: str, top: int = TOP,
               device: torch.device | str = "cpu") -> State:
    """What an earlier run kept, on a device; the beginning where there is none.

    Raises:
        ValueError: a file of another question, or one that cannot be read.
    """
    state = State(top=TopSamples(top))
    if not file.exists():
        return state
    try:
        with np.load(file, allow_pickle=False) as kept:
            arrays: dict[str, np.ndarray] = {name: kept[name] for name in kept.files}
        found = str(arrays["question"])
        state.phase, state.batch, state.sample = map(int, arrays["place"])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ValueError(f"{shown(str(file))} cannot be read: {one_line(error, 120)}; accepted: a "
                         "file of an earlier run; move it away to begin anew") from error
    if found != question:
        raise ValueError(f"{shown(str(file))} is of other samples, settings or weights; accepted: "
                         "a file of the same question; move it away to begin anew")
    for name, owner in (("values", state.top), ("samples", state.top), ("counts", state)):
        if name in arrays:
            setattr(owner, name, torch.from_numpy(arrays[name]).to(device))
    return state
