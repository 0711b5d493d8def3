"""What a language model is told and shown of a neuron, and how its answers are read: strictly, as
lines of one form, so that nothing is guessed."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from neuronpath_core.vlm.candidates import Patterns
from neuronpath_core.vlm.explained import (
    MODALITIES,
    Kind,
    Record,
    Sample,
    records_of,
    scene_samples,
)
from neuronpath_core.vlm.modality import FULL
from neuronpath_core.vlm.scenes import compose_many
from neuronpath_core.vlm.synthetic_neurons import Plant, planted_records, plants

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

EXAMPLES, SHOWN = 8, (0, 4, 8, 12, 16)  # worked examples, and slots of a neuron that are shown
POOL, NOISE = 100, 0.1  # training scenes that examples are from, and their neurons' noise
PREFIX = "explanation:"
LONGEST = 400  # characters of an explanation
ENLARGED = 4  # pixels for each of a small image, so that a patch can be made out
_LEVEL = re.compile(r"10|[0-9]")

EXPLAIN = (
    "You study single neurons of a model that reads images and words. Of each neuron you get the "
    "inputs that drive it. In images every patch is as bright as the neuron is active there; where "
    "it is silent the image is black. Of texts every line is a word, a tab and how active the "
    "neuron is at it, from 0 to 10. Say in one short phrase what the neuron is active for. Your "
    f"whole answer is one line that begins with “{PREFIX}”.")
EXPLAIN_RAW = EXPLAIN.replace(
    "In images every patch is as bright as the neuron is active there; where it is silent the "
    "image is black.", "Images are shown as they are.")
SIMULATE = (
    "You predict a single neuron of a model that reads words. You get a phrase that says what the "
    "neuron is active for, and a text, a word on each line. Repeat every word on a line of its "
    "own, in the same order, then a tab and a whole number from 0 (silent) to 10 (as active as it "
    "gets). Answer nothing else.")
REPAIR_EXPLAIN = f"That is not of the form asked for. Answer one line that begins with “{PREFIX}”."
REPAIR_SIMULATE = ("That is not of the form asked for. Answer a line for each of the {} words: the "
                   "word, a tab, a whole number from 0 to 10.")


def modulated(record: Record) -> UInt8[np.ndarray, "height width 3"]:
    """The image of a record with every patch as bright as the neuron is active there, black at 0
    and unchanged at 10.

    Raises:
        ValueError: image tokens that are no grid, or one that does not divide the image.
    """
    height, width = record.image.shape[:2]
    if record.grid is None or height % record.grid[0] or width % record.grid[1]:
        raise ValueError(f"image tokens of grid {record.grid} are no patches of an image of "
                         f"{height} by {width} pixels; accepted: a grid that divides it")
    values = record.values[record.counted("image")].reshape(record.grid) / FULL
    shares = values.repeat(height // record.grid[0], 0).repeat(width // record.grid[1], 1)
    return np.round(record.image * shares[..., None]).astype(np.uint8)


def png_url(image: UInt8[np.ndarray, "height width 3"]) -> str:
    """An image as a PNG in a data URL."""
    from PIL import Image

    scale = ENLARGED if max(image.shape) <= 128 else 1
    file = io.BytesIO()
    Image.fromarray(image.repeat(scale, 0).repeat(scale, 1)).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def told(words: Sequence[str], values: Float[np.ndarray, "word"]) -> str:
    """Lines of a word, a tab and a whole number."""
    return "\n".join(f"{word}\t{int(value)}" for word, value in zip(words, values, strict=True))


def explained_content(records: Sequence[Record], kind: Kind, raw: bool = False
                      ) -> list[dict[str, Any]]:
    """What is shown of a neuron: its images, its words with their levels, or both."""
    found: list[dict[str, Any]] = [{"type": "text", "text": f"A {kind} neuron."}]
    for record in records:
        if "image" in MODALITIES[kind]:
            image = record.image if raw else modulated(record)
            found.append({"type": "image_url", "image_url": {"url": png_url(image)}})
        if "text" in MODALITIES[kind]:
            words = told(record.answer, record.values[record.counted("text")])
            found.append({"type": "text", "text": words})
    return found


def explainer_messages(records: Sequence[Record], kind: Kind, raw: bool = False,
                       examples: int = EXAMPLES, seed: int = 0) -> list[dict[str, Any]]:
    """The whole conversation that asks for an explanation: what is wanted, worked examples of
    synthetic neurons, the neuron."""
    wanted = EXPLAIN_RAW if raw else EXPLAIN
    messages: list[dict[str, Any]] = [{"role": "system", "content": wanted}]
    for plant, own in worked(kind, examples, seed):
        messages += [{"role": "user", "content": explained_content(own, kind, raw)},
                     {"role": "assistant", "content": f"{PREFIX} {plant.truth.text}"}]
    return [*messages, {"role": "user", "content": explained_content(records, kind, raw)}]


def simulated_request(text: str, words: Sequence[str]) -> str:
    """What is asked of a text: the phrase, then the words."""
    return f"The neuron is active for: {text}\n\n" + "\n".join(words)


def simulator_messages(text: str, sample: Sample, examples: int = EXAMPLES, seed: int = 0
                       ) -> list[dict[str, Any]]:
    """The whole conversation that asks for a neuron's values at the words of a text."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": SIMULATE}]
    for plant, (own, *_) in worked("text", examples, seed):
        values = own.values[own.counted("text")]
        messages += [
            {"role": "user", "content": simulated_request(plant.truth.text, own.answer)},
            {"role": "assistant", "content": told(own.answer, values)}]
    return [*messages, {"role": "user", "content": simulated_request(text, sample.answer)}]


@lru_cache(maxsize=1)
def _pool() -> tuple[list[Sample], Patterns]:
    """Training scenes with their patterns."""
    return scene_samples(compose_many("train", POOL)), Patterns()


@lru_cache(maxsize=32)
def worked(kind: Kind, count: int = EXAMPLES, seed: int = 0
           ) -> tuple[tuple[Plant, list[Record]], ...]:
    """Worked examples: synthetic neurons of a type with the records that are shown of them, from
    training scenes, which no neuron is measured on."""
    if not count:
        return ()
    (samples, patterns), made = _pool(), plants(count, kind, seed=seed)
    records = planted_records(made, samples, NOISE, top=max(SHOWN) + 1, seed=seed,
                              patterns=patterns)
    return tuple((plant, records_of(records, samples, neuron, SHOWN))
                 for neuron, plant in enumerate(made))


def read_explanation(answer: str) -> str | None:
    """The phrase of an answer that is one line of the form asked for; ``None`` of any other."""
    line = answer.strip()
    if not line.lower().startswith(PREFIX) or "\n" in line or len(line) > LONGEST:
        return None
    return line[len(PREFIX):].strip() or None


def read_levels(answer: str, words: Sequence[str]) -> Float[np.ndarray, "word"] | None:
    """The numbers of an answer that has exactly these words, each with a tab and a whole number
    from 0 to 10; ``None`` of any other."""
    lines = answer.strip("\n").splitlines()
    if len(lines) != len(words):
        return None
    found = []
    for line, word in zip(lines, words, strict=True):
        said, tab, level = line.rpartition("\t")
        if said != word or not tab or not _LEVEL.fullmatch(level.strip(" \r")):
            return None
        found.append(float(level))
    return np.array(found)
