"""Whether a vision-language model looks: what it must be able to do before anything is said of its
neurons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from neuronpath_core.vlm.model import pixel_values
from neuronpath_core.vlm.questions import Question, chance, one_each
from neuronpath_core.vlm.scenes import HELD_OUT_PAIRS, Scene
from neuronpath_core.vlm.sequences import ROLES, caption_turn, padded, roles, sequence
from neuronpath_core.vlm.words import SEEN, caption

if TYPE_CHECKING:
    from jaxtyping import Bool

BATCH = 100
# attribute words of captions, and questions: the least that is accepted; questions: the most, above
# which a model has nothing to lose; answers without their image: above chance, at most
CAPTIONS, QUESTIONS, SATURATED, BLIND = 0.90, 0.85, 0.96, 0.05


@torch.no_grad()
def is_right(model: nn.Module, scenes: Sequence[Scene], turns: Sequence[tuple[str, str]],
             batch: int = BATCH) -> list[Bool[np.ndarray, "word"]]:
    """For every scene, which words of the given answer the model would say there, each after the
    right words before it; the end of the answer counts as a word.

    An answer of which all are right is what greedy decoding gives.
    """
    found: list[np.ndarray] = []
    for start in range(0, len(turns), batch):
        part = scenes[start:start + batch]
        ids = padded([sequence([turn]) for turn in turns[start:start + batch]])
        first = next(model.parameters())
        said = model(input_ids=ids.to(first.device), pixel_values=pixel_values(part).to(
            first)).logits[:, :-1].argmax(-1).cpu()
        of, right = roles(ids)[:, 1:], (said == ids[:, 1:]).numpy()
        counted = ((of == ROLES.index("answer")) | (of == ROLES.index("eos"))).numpy()
        found += [row[mask] for row, mask in zip(right, counted, strict=True)]
    return found


def caption_accuracy(model: nn.Module, scenes: Sequence[Scene]) -> dict[str, float]:
    """The share of attribute words of the scenes' captions that are predicted: of all under
    ``all``, of each kind, and of colours and outlines of pairs that training never had under
    ``new pair``; NaN where there is no such word."""
    right = is_right(model, scenes, [caption_turn(scene) for scene in scenes])
    rows: dict[str, list[bool]] = {name: [] for name in ("all", *SEEN, "new pair")}
    for scene, hits in zip(scenes, right, strict=True):
        new = {number for number, thing in enumerate(scene.things)
               if (thing.colour, thing.outline) in HELD_OUT_PAIRS}
        for word, hit in zip(caption(scene), hits, strict=False):
            if word.kind in SEEN:
                rows["all"].append(bool(hit))
                rows[word.kind].append(bool(hit))
                if word.thing in new and word.kind in ("colour", "outline"):
                    rows["new pair"].append(bool(hit))
    return {name: _mean(hits) for name, hits in rows.items()}


def question_accuracy(model: nn.Module, scenes: Sequence[Scene], asked: Sequence[Question]
                      ) -> dict[str, float]:
    """The share of questions that are answered exactly: of all, of each type, and of those about
    pairs that training never had under ``new pair``.

    Args:
        model: the vision-language model.
        scenes: what the model sees, one for each question; other scenes than were asked about give
            the accuracy of who answers without looking.
        asked: the questions.
    """
    right = [bool(row.all()) for row in is_right(
        model, scenes, [(question.text, question.answer) for question in asked])]
    found = {"all": _mean(right)}
    for kind in dict.fromkeys(question.type for question in asked):
        found[kind] = _mean([hit for hit, question in zip(right, asked, strict=True)
                             if question.type == kind])
    found["new pair"] = _mean([hit for hit, question in zip(right, asked, strict=True)
                               if question.is_of_new_pair])
    return found


def measure(model: nn.Module, scenes: Sequence[Scene]) -> dict[str, Any]:
    """All gates on held-out scenes: accuracy of captions and of one question for each scene, the
    same questions with the next scene's image, and chance.

    Args:
        model: the vision-language model; it is put into evaluation.
        scenes: at least two.
    """
    model.eval()
    asked = one_each(scenes)
    others = [*scenes[1:], *scenes[:1]]
    return {"captions": caption_accuracy(model, scenes),
            "questions": question_accuracy(model, scenes, asked),
            "other_image": question_accuracy(model, others, asked)["all"],
            "chance": chance(asked)}


def passed(found: dict[str, Any]) -> dict[str, bool]:
    """Which gates hold: attribute words of captions at least 90 %, questions from 85 to 96 %, and
    with another scene's image at most five points above chance."""
    return {"captions": found["captions"]["all"] >= CAPTIONS,
            "questions": QUESTIONS <= found["questions"]["all"] <= SATURATED,
            "looks": found["other_image"] <= found["chance"] + BLIND}


def _mean(hits: Sequence[bool]) -> float:
    return float(np.mean(hits)) if len(hits) else float("nan")
