"""What a vision-language model can still do while neurons of its decoder are taken away: questions
answered exactly, and objects with their attributes in captions of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.hooks import hooked
from neuronpath_core.vlm.adapter import VisionLanguageModel
from neuronpath_core.vlm.model import pixel_values
from neuronpath_core.vlm.questions import DESCRIBE, Question
from neuronpath_core.vlm.scenes import Scene
from neuronpath_core.vlm.sequences import NUMBERS, is_target, padded, sequence
from neuronpath_core.vlm.tokens import IMAGE, PAD
from neuronpath_core.vlm.words import tagged

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

BATCH = 100
LONGEST = 60  # words of a caption, which has at most 45
FULL = 5.0  # the score of a caption that says everything and nothing wrong


@dataclass(frozen=True)
class Asked:
    """Questions about scenes, as the decoder of one model is given them: the tower has looked once.

    Attributes:
        streams: by batch what enters the decoder, ``(question, token, width)``.
        ids: by batch the tokens with the right answers.
    """

    streams: tuple[Float[Tensor, "question token width"], ...]
    ids: tuple[Tensor, ...]


@torch.no_grad()
def ask(model: VisionLanguageModel, scenes: Sequence[Scene], asked: Sequence[Question],
        batch: int = BATCH) -> Asked:
    """Questions, one about each scene, up to where the decoder begins.

    Raises:
        ValueError: another number of scenes than of questions, or none.
    """
    if not len(asked) or len(scenes) != len(asked):
        raise ValueError(f"{len(scenes)} scenes and {len(asked)} questions; accepted: as many of "
                         "each, at least one")
    streams, numbers = [], []
    for start in range(0, len(asked), batch):
        part = slice(start, start + batch)
        ids = padded([sequence([(question.text, question.answer)]) for question in asked[part]])
        streams.append(_entering(model, ids.to(model.device), scenes[part]))
        numbers.append(ids)
    return Asked(tuple(streams), tuple(numbers))


def _entering(model: VisionLanguageModel, ids: Tensor, scenes: Sequence[Scene]) -> Tensor:
    words = model.model.get_input_embeddings()(ids)
    found = model.model.get_image_features(pixel_values=pixel_values(scenes).to(words))
    found = getattr(found, "pooler_output", found)
    features = torch.cat([part.reshape(-1, part.shape[-1]) for part in found])
    here = (ids == NUMBERS[IMAGE])[..., None].expand_as(words)
    return words.masked_scatter(here, features.to(words))


@torch.no_grad()
def answered(model: VisionLanguageModel, asked: Asked) -> Bool[np.ndarray, "question"]:
    """Which questions get the very answer, its end included: what greedy decoding gives."""
    found = []
    for stream, ids in zip(asked.streams, asked.ids, strict=True):
        # padding lies behind all that counts, where a causal decoder cannot see it
        out = model.model.model.language_model(inputs_embeds=stream, use_cache=False)
        wanted = is_target(ids)[:, 1:]
        states = out.last_hidden_state[:, :-1][wanted.to(stream.device)]
        said = model.model.get_output_embeddings()(states).argmax(-1).cpu()
        wrong = torch.zeros(wanted.shape, dtype=torch.bool)
        wrong[wanted] = said != ids[:, 1:][wanted]
        found.append(~wrong.any(1).numpy())
    return np.concatenate(found)


@torch.no_grad()
def captions(model: VisionLanguageModel, scenes: Sequence[Scene], batch: int = BATCH) -> list[str]:
    """The model's own captions, decoded greedily."""
    found = []
    for start in range(0, len(scenes), batch):
        part = scenes[start:start + batch]
        # one request, so that all are of one length and nothing is padded on the left
        ids = torch.tensor([sequence([(DESCRIBE, "")])] * len(part), device=model.device)
        weight = next(model.model.parameters())
        said = model.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids),
                                    pixel_values=pixel_values(part).to(weight),
                                    max_new_tokens=LONGEST, do_sample=False,
                                    pad_token_id=NUMBERS[PAD])
        found += [model.processor.tokenizer.decode(row[ids.shape[1]:], skip_special_tokens=True)
                  .strip() for row in said]
    return found


def pairs_said(caption: str) -> set[tuple[str, str]]:
    """The objects of a caption, named by their outlines, with what is said of each in the same
    sentence: outline with fill, colour and place.  A sentence with no outline, or several, says
    nothing of an object."""
    found = set()
    for sentence in caption.split(" . "):
        words = tagged(sentence)
        outlines = {word.text for word in words if word.kind == "outline"}
        if len(outlines) == 1:
            outline = outlines.pop()
            found |= {(outline, word.concept) for word in words
                      if word.kind in ("fill", "colour", "place")}
    return found


def pairs_shown(scene: Scene) -> set[tuple[str, str]]:
    """The objects of a scene, named by their outlines, with fill, colour and place."""
    return {(thing.outline, value) for thing in scene.things
            for value in (thing.fill, thing.colour, thing.cell)}


def caption_scores(scenes: Sequence[Scene], said: Sequence[str]) -> Float[np.ndarray, "scene"]:
    """From 0 to 5: five times F1 of the pairs of object and attribute that a caption says, against
    those of its scene."""
    found = []
    for scene, caption in zip(scenes, said, strict=True):
        told, shown = pairs_said(caption), pairs_shown(scene)
        both = len(told & shown)
        found.append(FULL * 2 * both / (len(told) + len(shown)))
    return np.array(found)


@torch.no_grad()
def mean_products(model: VisionLanguageModel, asked: Asked) -> Float[np.ndarray, "neuron"]:
    """The mean of every neuron of the decoder over all tokens of the questions and their answers:
    what a neuron is held at when it is replaced by its mean."""
    halves, part = model.halves["decoder"], "product"
    total = {half.name: 0.0 for half in halves}
    count = 0

    def add(name):
        def function(value):
            total[name] = total[name] + value[kept].double().sum(0)
        return function

    for stream, ids in zip(asked.streams, asked.ids, strict=True):
        kept = (ids != NUMBERS[PAD]).to(stream.device)
        count += int(kept.sum())
        with hooked(model, {(half.name, part): add(half.name) for half in halves}):
            model.model.model.language_model(inputs_embeds=stream, use_cache=False)
    return np.concatenate([(total[half.name] / count).cpu().numpy() for half in halves])
