"""How scenes, requests and answers lie in a sequence of tokens, and the role of each token.

``<bos> user : <image> × 64 request assistant : answer <eos> <pad>``; further turns, ``user :
request assistant : answer <eos>``, may follow.  Sequences are padded on the right, so that no token
that counts can see padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuronpath_core.vlm.questions import DESCRIBE, questions
from neuronpath_core.vlm.scenes import Scene
from neuronpath_core.vlm.tokens import ASSISTANT, BOS, COLON, EOS, IMAGE, PAD, USER, vocabulary
from neuronpath_core.vlm.words import caption, text

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64

ROLES = ("pad", "bos", "template", "image", "prompt", "answer", "eos")
PATCHES = 64
Turn = tuple[str, str]  # a request and its answer
NUMBERS = vocabulary()


def sequence(turns: Sequence[Turn], image_tokens: int = PATCHES) -> list[int]:
    """The tokens of a conversation, as the processor and its tokenizer number them.

    Args:
        turns: requests with answers; an empty last answer leaves the sequence open behind its
            ``assistant :``, where the model answers.
        image_tokens: before the first request; 0 for a text without an image.

    Raises:
        ValueError: a word that the vocabulary does not have, or no turn.
    """
    if not turns:
        raise ValueError("a sequence cannot be of no turns; accepted: at least one request")
    words = [BOS]
    for number, (request, answer) in enumerate(turns):
        words += [USER, COLON, *[IMAGE] * (0 if number else image_tokens), *request.split(),
                  ASSISTANT, COLON, *answer.split(), *[EOS] * bool(answer)]
    unknown = [word for word in words if word not in NUMBERS]
    if unknown:
        raise ValueError(f"unknown word {unknown[0]!r}; accepted: words of the grammar of scenes, "
                         "separated by spaces")
    return [NUMBERS[word] for word in words]


def caption_turn(scene: Scene, variant: int = 0) -> Turn:
    """The request for a caption with the caption."""
    return DESCRIBE, text(caption(scene, variant))


def question_turns(scene: Scene) -> list[Turn]:
    """Every question about a scene with its answer."""
    return [(question.text, question.answer) for question in questions(scene)]


def padded(sequences: Sequence[Sequence[int]]) -> Int64[Tensor, "sequence token"]:
    """Sequences side by side, padded on the right."""
    rows = [torch.tensor(row) for row in sequences]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=NUMBERS[PAD])


def roles(ids: Int64[Tensor, "sequence token"]) -> Int64[Tensor, "sequence token"]:
    """The role of every token, a position in ``ROLES``.

    ``template``: the words and colons that name who speaks; ``prompt``: words of a request;
    ``answer``: words of an answer; ``eos``: its end; ``image``: a token for each patch.
    """
    code = {name: number for number, name in enumerate(ROLES)}
    special = {NUMBERS[PAD]: code["pad"], NUMBERS[BOS]: code["bos"], NUMBERS[IMAGE]: code["image"],
               NUMBERS[EOS]: code["eos"]}
    speakers = {NUMBERS[USER]: code["prompt"], NUMBERS[ASSISTANT]: code["answer"]}
    found = torch.empty_like(ids)
    for row, tokens in enumerate(ids.tolist()):
        speaking = code["prompt"]
        for place, token in enumerate(tokens):
            role = special.get(token, speaking)
            if token in speakers or token == NUMBERS[COLON]:
                speaking, role = speakers.get(token, speaking), code["template"]
            found[row, place] = role
    return found


def is_target(ids: Int64[Tensor, "sequence token"]) -> Bool[Tensor, "sequence token"]:
    """The tokens that a model is trained to predict from those before them: words of answers and
    their ends."""
    found = roles(ids)
    return (found == ROLES.index("answer")) | (found == ROLES.index("eos"))
