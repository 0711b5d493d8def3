"""A vision-language model of transformers with its processor: what it is shown, which role each
token has, and what its neurons do there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from neuronpath_core.hooks import hooked
from neuronpath_core.model_state import is_compiled
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.vlm.feed_forward import (
    PARTS,
    FeedForward,
    Part,
    differs,
    feed_forwards,
    used_layers,
)
from neuronpath_core.vlm.image_tokens import check_image_tokens, grid_of
from neuronpath_core.vlm.inputs import Inputs, encoded
from neuronpath_core.vlm.tokens import check_installed

if TYPE_CHECKING:
    from jaxtyping import Float

Site = Literal["activation", "product"]
SITES = ("activation", "product")
FAMILIES = ("LlavaForConditionalGeneration", "LlavaNextForConditionalGeneration",
            "LlavaOnevisionForConditionalGeneration", "InternVLForConditionalGeneration",
            "Qwen2_5_VLForConditionalGeneration", "InternVLChatModel")


@dataclass(frozen=True)
class Read:
    """What was seen of a half in one forward pass: what entered it, its activation function and its
    last projection."""

    stream: Tensor
    gate: Tensor
    product: Tensor


class VisionLanguageModel:
    """A vision-language model whose neurons can be read.

    Args:
        model: of transformers' classes for Llava, LLaVA-NeXT, LLaVA-OneVision, InternVL or
            Qwen2.5-VL, in floating point and in evaluation.
        processor: its processor.

    Attributes:
        halves: the feed-forward halves of ``"decoder"`` and ``"tower"``; of the tower those that
            the projector reads.

    Raises:
        ValueError: transformers is not installed, a model of another class, a compiled or quantised
            one, one with tied halves, or a processor without a tokenizer.
    """

    def __init__(self, model: nn.Module, processor: Any):
        check_installed()
        kind = type(model).__name__
        if not is_one_of(kind, FAMILIES):
            raise ValueError(f"model cannot be a {kind}; accepted: {', '.join(FAMILIES)}")
        if getattr(model, "is_quantized", False) or getattr(model, "hf_quantizer", None):
            raise ValueError("model cannot be quantised, of whose weights only their own code "
                             "makes numbers; accepted: the model in float64, float32, bfloat16 or "
                             "float16")
        if is_compiled(model):
            raise ValueError("model cannot be compiled; accepted: the model before torch.compile")
        if not hasattr(processor, "tokenizer"):
            raise ValueError(f"processor cannot be {shown(processor)}; accepted: the model's own, "
                             "as AutoProcessor.from_pretrained gives it")
        self.model, self.processor = model.eval(), processor
        found = feed_forwards(model)
        used = used_layers(model, len(found["tower"]))
        self.halves = {"decoder": found["decoder"], "tower": found["tower"][:used]}
        self._verified: set[str] = set()
        self._counted: dict[tuple, int] = {}

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def site(self, key: tuple[str, str]) -> nn.Module:
        """The module of a half's name and of ``stream``, ``activation`` or ``product``: what enters
        it is what :func:`neuronpath_core.hooks.hooked` gives."""
        name, what = key
        half = next(half for part in PARTS for half in self.halves[part] if half.name == name)
        return {"stream": half.module, "activation": half.act, "product": half.down}[what]

    def encode(self, images: Sequence[Any], requests: Sequence[str],
               answers: Sequence[str] | None = None) -> Inputs:
        """What the model is called with for images, a request about each and answers that are
        given; without answers the model is about to answer.

        Raises:
            ValueError: lists of different lengths, none at all, or image tokens of the processor
                that do not match what the model makes of the images.
        """
        inputs = encoded(self.model, self.processor, images, requests, answers)
        shape = tuple(inputs.values["pixel_values"].shape[1:])
        if shape not in self._counted:
            self._counted[shape] = check_image_tokens(self.model, self.processor, inputs)
        return inputs.with_grid(grid_of(self.model, inputs, self._counted[shape]))

    @torch.no_grad()
    def generate(self, images: Sequence[Any], requests: Sequence[str], tokens: int = 48
                 ) -> list[str]:
        """The model's own answers, decoded greedily, each by itself so that nothing is padded."""
        found = []
        for image, request in zip(images, requests, strict=True):
            values = self.encode([image], [request]).values
            said = self.model.generate(**values, max_new_tokens=tokens, do_sample=False)
            found.append(self.processor.tokenizer.decode(
                said[0, values["input_ids"].shape[1]:], skip_special_tokens=True).strip())
        return found

    def activations(self, inputs: Inputs, site: Site = "activation", part: Part = "decoder"
                    ) -> list[Float[Tensor, "sample token neuron"]]:
        r"""What every neuron does at every token, a tensor for each layer.

        Args:
            inputs: of :meth:`encode`.
            site: ``"activation"``: the output of the activation function, σ(gate), which Xu et al.
                (2025) take; ``"product"``: what enters the last projection, σ(gate) · up, the
                neuron of paths.  Without an ``up`` both are the same.
            part: ``"decoder"``: tokens of the sequence; ``"tower"``: tokens of the image.

        Raises:
            ValueError: an unknown site or part; a model that runs past its activation function or
                makes something else of it.
        """
        if not is_one_of(site, SITES):
            raise ValueError(f"unknown site {shown(site)}; accepted: {', '.join(SITES)}")
        if not is_one_of(part, PARTS):
            raise ValueError(f"unknown part {shown(part)}; accepted: {', '.join(PARTS)}")
        read = self._read(inputs.values, self.halves[part])
        for half in self.halves[part]:
            if half.name not in self._verified:
                self._verify(half, read[half.name])
        if site == "product":
            return [read[half.name].product for half in self.halves[part]]
        return [half.of_gate(read[half.name].gate) for half in self.halves[part]]

    @torch.no_grad()
    def _read(self, values: Mapping[str, Tensor], halves: Sequence[FeedForward]
              ) -> dict[str, Read]:
        store: dict[tuple[str, str], Tensor] = {}

        def keep(key):
            def function(value):
                store[key] = value.detach()
            return function

        keys = [(half.name, what) for half in halves
                for what in ("stream", "activation", "product")]
        with hooked(self, {key: keep(key) for key in keys}):
            self.model(**values)
        if silent := [name for name, what in keys if (name, what) not in store]:
            raise ValueError(f"{silent[0]} ran past its activation function or its projections, as "
                             "fused kernels do, so that its neurons cannot be read; accepted: "
                             "halves as transformers writes them, without such kernels")
        return {half.name: Read(*(store[half.name, what]
                                  for what in ("stream", "activation", "product")))
                for half in halves}

    @torch.no_grad()
    def _verify(self, half: FeedForward, read: Read) -> None:
        """Hold what was read against the half as it is called, once."""
        gate, product, out = half.written_out(read.stream)
        for found, wanted in ((read.gate, gate), (read.product, product),
                              (half.down(read.product), out)):
            if differs(found, wanted):
                raise ValueError(f"what was read of {half.name} does not give its output; "
                                 "accepted: halves that compute down(act(gate) · up), as "
                                 "transformers writes them, without hooks or adapters")
        self._verified.add(half.name)
