"""What a vision-language model is called with, and the role of each token, told from the processor
alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from neuronpath_core.support.text import one_line
from neuronpath_core.vlm.sequences import ROLES

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64

CODE = {name: number for number, name in enumerate(ROLES)}
TEXTS = {"answer": ("answer",), "prompt+answer": ("prompt", "answer"),
         "all": ("bos", "template", "prompt", "answer", "eos")}


@dataclass(frozen=True)
class Inputs:
    """A batch for a vision-language model.

    Attributes:
        values: by name what the model is called with, padded on the right.
        roles: int64 ``(sample, token)``, positions in ``ROLES``.
        words: the tokens of each sample as text.
        grid: rows and columns of the image tokens, row by row; ``None`` where they are no grid.
    """

    values: dict[str, Tensor]
    roles: Int64[Tensor, "sample token"]
    words: tuple[tuple[str, ...], ...]
    grid: tuple[int, int] | None = None

    def with_grid(self, grid: tuple[int, int] | None) -> Inputs:
        """The same with a grid."""
        return replace(self, grid=grid)

    @property
    def visual(self) -> Bool[Tensor, "sample token"]:
        """The image tokens."""
        return self.roles == CODE["image"]

    def text(self, which: str = "answer") -> Bool[Tensor, "sample token"]:
        """The text tokens that count: of the ``"answer"``, of ``"prompt+answer"``, or ``"all"``,
        with the first token, whose activations are massive in Llama models, and the template.

        Raises:
            ValueError: another choice.
        """
        if which not in TEXTS:
            raise ValueError(f"unknown text {which!r}; accepted: {', '.join(TEXTS)}")
        return torch.isin(self.roles, torch.tensor([CODE[name] for name in TEXTS[which]],
                                                   device=self.roles.device))


def encoded(model: nn.Module, processor: Any, images: Sequence[Any], requests: Sequence[str],
            answers: Sequence[str] | None) -> Inputs:
    """Images, requests and answers as the processor makes a batch of them, by its chat template.

    The answer is what follows the template's opening for it; the prompt lies between the last image
    token and that opening.

    Raises:
        ValueError: lists of different lengths, none at all, a processor without a chat template, or
            what the processor itself refuses.
    """
    said = [""] * len(requests) if answers is None else list(answers)
    if not len(images) or not len(images) == len(requests) == len(said):
        raise ValueError(f"{len(images)} images, {len(requests)} requests and {len(said)} answers; "
                         "accepted: as many of each, at least one")
    end = processor.tokenizer.eos_token
    asked = [_template(processor, request, True) for request in requests]
    opening = len(_tokens(processor, asked[0])) - len(_tokens(processor, _template(
        processor, requests[0], False)))
    texts = [f"{prefix} {answer} {end}" if answer else prefix
             for prefix, answer in zip(asked, said, strict=True)]
    try:
        batch = processor(images=list(images), text=texts, padding=True, padding_side="right",
                          return_tensors="pt")
        first = _openings(processor, images, asked)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"the processor cannot encode this: {one_line(error, 160)}; accepted: "
                         "images and texts that it accepts, a chat template and patch_size among "
                         "its settings") from error
    weight = next(model.parameters())
    values = {name: (value.to(weight) if value.is_floating_point() else value.to(weight.device))
              for name, value in batch.items() if isinstance(value, Tensor)}
    ids = values["input_ids"]
    roles = torch.stack([_roles(row, mask, start, opening, model, processor) for row, mask, start
                         in zip(ids, values["attention_mask"], first, strict=True)])
    words = tuple(tuple(processor.tokenizer.convert_ids_to_tokens(row.tolist())) for row in ids)
    return Inputs(values, roles, words)


def _openings(processor: Any, images: Sequence[Any], asked: Sequence[str]) -> list[int]:
    """How many tokens stand before each answer; images of one size are looked at once."""
    known: dict[tuple, int] = {}
    keys = [(prefix, getattr(image, "shape", None) or getattr(image, "size", place))
            for place, (image, prefix) in enumerate(zip(images, asked, strict=True))]
    for key, image in zip(keys, images, strict=True):
        if key not in known:
            known[key] = len(processor(images=[image], text=[key[0]])["input_ids"][0])
    return [known[key] for key in keys]


def _template(processor: Any, request: str, opening: bool) -> str:
    content = [{"type": "image"}, {"type": "text", "text": request}]
    try:
        return processor.apply_chat_template([{"role": "user", "content": content}],
                                             add_generation_prompt=opening)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"the processor has no chat template: {one_line(error, 120)}; accepted: "
                         "one that places image and request in turns") from error


def _tokens(processor: Any, text: str) -> list[int]:
    return processor.tokenizer(text)["input_ids"]


def _roles(ids: Tensor, mask: Tensor, start: int, opening: int, model: nn.Module, processor: Any
           ) -> Tensor:
    """The role of each token of one sample whose answer begins at ``start``."""
    tokenizer, place = processor.tokenizer, torch.arange(len(ids), device=ids.device)
    image = ids == image_token(model)
    last = int(place[image].max()) if image.any() else 0
    roles = torch.full_like(ids, CODE["template"])
    roles[(place > last) & (place < start - opening)] = CODE["prompt"]
    roles[place >= start] = CODE["answer"]
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids, device=ids.device))
    roles[special & (roles == CODE["prompt"])] = CODE["template"]
    roles[(ids == tokenizer.eos_token_id) & (place >= start)] = CODE["eos"]
    roles[image] = CODE["image"]
    if ids[0] == (tokenizer.bos_token_id if tokenizer.bos_token_id is not None else -1):
        roles[0] = CODE["bos"]
    roles[mask == 0] = CODE["pad"]
    return roles


def image_token(model: nn.Module) -> int:
    """The number of the token that stands for a piece of an image.

    Raises:
        ValueError: a configuration that names none.
    """
    for name in ("image_token_id", "image_token_index"):
        if (found := getattr(model.config, name, None)) is not None:
            return int(found)
    raise ValueError(f"the configuration of {type(model).__name__} names no image token; accepted: "
                     "one with image_token_id")
