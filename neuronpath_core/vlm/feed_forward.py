"""Where the neurons of a vision-language model live: its feed-forward halves, found by structure,
because the paths to them moved between versions of transformers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from neuronpath_core.support.text import shown

if TYPE_CHECKING:
    from jaxtyping import Float

Part = Literal["decoder", "tower"]
PARTS = ("decoder", "tower")


@dataclass(frozen=True)
class Names:
    """What the parts of a feed-forward half are called: ``down(act(gate(x)) · up(x))``, or
    ``down(act(gate(x)))`` where there is no ``up``."""

    gate: str
    up: str | None
    down: str
    act: str

    def are_in(self, module: nn.Module) -> bool:
        """Whether a module has parts of all these names."""
        return all(isinstance(getattr(module, name, None), nn.Module)
                   for name in (self.gate, self.up, self.down, self.act) if name)


# Llama's and its kin's, InternLM2's, and CLIP's with those of the other towers
LAYOUTS = (Names("gate_proj", "up_proj", "down_proj", "act_fn"), Names("w1", "w3", "w2", "act_fn"),
           Names("fc1", None, "fc2", "activation_fn"))


@dataclass(frozen=True)
class FeedForward:
    """A feed-forward half of a model.

    Attributes:
        name: its place in the model, as ``named_modules`` writes it.
        part: ``"decoder"`` or ``"tower"``.
        layer: number of its layer in its part, from 0.
        module: the half.
        names: of its parts.
    """

    name: str
    part: str
    layer: int
    module: nn.Module
    names: Names

    @property
    def act(self) -> nn.Module:
        """The activation function."""
        return getattr(self.module, self.names.act)

    @property
    def down(self) -> nn.Linear:
        """The projection that writes to the stream; its columns are value vectors."""
        return getattr(self.module, self.names.down)

    @property
    def width(self) -> int:
        """Number of neurons."""
        return self.down.in_features

    @property
    def value_vectors(self) -> Float[Tensor, "neuron width"]:
        """What each neuron writes to the stream per unit of its product."""
        return self.down.weight.detach().T

    def linear(self) -> list[nn.Module]:
        """The projections, which hold the weights."""
        return [getattr(self.module, name) for name in (self.names.gate, self.names.up,
                                                        self.names.down) if name]

    def of_gate(self, gate: Tensor) -> Tensor:
        """The output of the activation function, by its own ``forward``, past hooks."""
        return self.act.forward(gate)

    def written_out(self, stream: Float[Tensor, "*batch width"]
                    ) -> tuple[Tensor, Tensor, Tensor]:
        """What should enter the activation function and the last projection, and what the half as
        it is called gives, for what enters the half."""
        gate = getattr(self.module, self.names.gate)(stream)
        product = self.of_gate(gate)
        if self.names.up:
            product = product * getattr(self.module, self.names.up)(stream)
        return gate, product, self.module(stream)


def feed_forwards(model: nn.Module) -> dict[str, tuple[FeedForward, ...]]:
    """The halves of both parts, each part's in the order of its layers: those below the module that
    embeds the words are the decoder's, all others the tower's.

    Raises:
        ValueError: a model in which a part has none.
    """
    embedding = model.get_input_embeddings()
    decoder = next((f"{name}." for name, module in model.named_modules()
                    if any(child is embedding for child in module.children())), None)
    if decoder is None:
        raise ValueError(f"{type(model).__name__} has no part that embeds words; accepted: a "
                         "vision-language model with a decoder of its own")
    found: dict[str, list[FeedForward]] = {"decoder": [], "tower": []}
    for name, module, names in _halves(model):
        part = "decoder" if name.startswith(decoder) else "tower"
        found[part].append(FeedForward(name, part, len(found[part]), module, names))
    if empty := [part for part, halves in found.items() if not halves]:
        accepted = "; ".join(", ".join(name for name in vars(names).values() if name)
                             for names in LAYOUTS)
        raise ValueError(f"no feed-forward half was found in the {empty[0]} of "
                         f"{type(model).__name__}; accepted: halves with {accepted}")
    check_halves([half for halves in found.values() for half in halves])
    return {part: tuple(halves) for part, halves in found.items()}


def _halves(model: nn.Module) -> Iterator[tuple[str, nn.Module, Names]]:
    for name, module in model.named_modules():
        for names in LAYOUTS:
            if names.are_in(module):
                yield name, module, names


def check_halves(halves: list[FeedForward]) -> None:
    """Raise ``ValueError`` unless every half has weights of its own that are ordinary numbers."""
    seen: dict[int, str] = {}
    for half in halves:
        for linear in half.linear():
            weight = getattr(linear, "weight", None)
            if type(linear) is not nn.Linear or type(weight) is not nn.Parameter or (
                    not weight.is_floating_point()):
                kind = type(linear).__name__ if type(linear) is not nn.Linear else weight.dtype
                raise ValueError(f"{half.name} cannot have {kind} weights; accepted: torch's own "
                                 "Linear in floating point, neither quantised nor with adapters")
            if weight.is_meta:
                raise ValueError(f"{half.name} has weights that hold no numbers; accepted: a model "
                                 "whose weights are loaded")
            if (other := seen.setdefault(weight.data_ptr(), half.name)) != half.name:
                raise ValueError(f"{half.name} has the weights of {other}, so that a neuron would "
                                 "be of two layers; accepted: weights that are not tied")


def used_layers(model: nn.Module, count: int) -> int:
    """How many layers of the tower the projector reads: with ``vision_feature_layer`` -1 all, with
    LLaVA's own -2 all but the last, whose neurons have no influence.

    Raises:
        ValueError: a layer that the tower does not have.
    """
    layer = getattr(model.config, "vision_feature_layer", -1)
    chosen = list(layer) if isinstance(layer, (list, tuple)) else [layer]
    states = [each + count + 1 if each < 0 else each for each in chosen]
    if not states or not all(0 <= state <= count for state in states):
        raise ValueError(f"vision_feature_layer {shown(layer)} is none of a tower of {count} "
                         f"layers; accepted: from -{count + 1} to {count}")
    return max(states)


def differs(found: Tensor, wanted: Tensor) -> bool:
    """Whether numbers are further apart than rounding in their precision."""
    if found.shape != wanted.shape:
        return True
    scale = float(wanted.detach().double().abs().max()) or 1.0
    apart = float((found.double() - wanted.double()).abs().max())
    return not apart <= 64 * torch.finfo(wanted.dtype).eps * scale
