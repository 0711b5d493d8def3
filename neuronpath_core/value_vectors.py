"""What a unit of each neuron adds to the residual stream, by the weights where a block is plain,
else by what the block does; and whether that is all that the neurons do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

from neuronpath_core.agreement import LEAST, ROUNDING, agree, rounding_unit
from neuronpath_core.as_called import Vectors, Verdict, attempt, hooked_parts
from neuronpath_core.edits import clamped
from neuronpath_core.gradients import activation_gradients, forward_mode
from neuronpath_core.hooks import reading, unedited
from neuronpath_core.support.text import shown

if TYPE_CHECKING:
    from jaxtyping import Float

    from neuronpath_core.target import TargetModel

# shares of the clean activations at which a block is asked what it writes: ends, near one, between
PLACES = (0.0, 1 / 32, 0.5)

class ValueVectors:
    """The value vectors of a :class:`~neuronpath_core.target.TargetModel`, which inherits them."""

    def value_vectors(self, block: int) -> Float[Tensor, "neuron embed"]:
        """What one unit of each neuron adds to its token's residual stream.

        In a pre-norm block the stream after the block is affine in the scope's neurons, with these
        vectors as slope. Of a plain block they are the columns of ``fc2``, LayerScale included; of
        any other they are what the block does.

        Raises:
            ValueError: what the block writes is not affine in its neurons, or no such layer.
        """
        if isinstance(block, bool) or not isinstance(block, int) or not (
                0 <= block < len(self.layers)):
            raise ValueError(f"a layer must be a whole number in 0..{len(self.layers) - 1}, got "
                             f"{shown(block)}")
        with unedited():  # edits of the library's change no vector
            if self.plain(block) is not None:
                return self.declared_vectors(block)
        known = None if self._verdict is None else self._verdict.vectors.get(block)
        if known is not None and (self.is_draft or known.made_of == self._made_of(block)):
            return (self.declared_vectors(block) if known.values is None
                    else known.values.to(self.dtype))
        # not looked at on a batch, or trained since: derivatives at two places
        first, second = (attempt(lambda size=size: self.measured_vectors(block, size))
                         for size in (0.0, 1.0))
        if first is None or not agree(first, second, second):
            raise ValueError(f"what {self.layers[block].name} writes is not affine in its neurons; "
                             "accepted: a block that adds a multiple of a vector for each")
        return first

    def _made_of(self, layer: int) -> tuple[tuple[int, int], ...]:
        block = self.model.blocks[self.layers[layer].block]
        return tuple((id(value), value._version) for value in block.parameters())

    def declared_vectors(self, layer: int) -> Float[Tensor, "neuron embed"]:
        """Value vectors by the weights: the columns of ``fc2``, times LayerScale."""
        weight = self.model.blocks[layer].mlp.fc2.weight.T
        gamma = self.family.ffn_scale(self.model.blocks[layer])
        return (weight if gamma is None else weight * gamma).detach()

    @torch.no_grad()
    def measured_vectors(self, layer: int, size: float = 0.0) -> Float[Tensor, "neuron embed"]:
        """Value vectors by what the layer does: its derivative, by forward mode, in each of its
        neurons, on one token each, around random activations of this size."""
        width, first = self.site(layer).in_features, self.tokens.start
        tokens = 1 if self.scope == "cls" else max(1, self.n_tokens - first)
        copies = -(-width // tokens)
        embed = self.family.first_weight(self.model).shape[0]
        stream = torch.zeros(copies, max(self.n_tokens, first + tokens), embed, dtype=self.dtype,
                             device=self.device)
        units = F.pad(torch.eye(width, dtype=self.dtype, device=self.device),
                      (0, 0, 0, copies * tokens - width)).view(copies, tokens, width)
        around = size * torch.randn(units.shape, generator=torch.Generator().manual_seed(0),
                                    dtype=torch.float64).to(units)
        with forward_mode(), clamped(self, {layer: forward_ad.make_dual(around, units)}):
            moved = forward_ad.unpack_dual(self.layer(layer, stream)).tangent
        return moved[:, self.tokens].reshape(-1, embed)[:width]


def compare_slopes(target: TargetModel, verdict: Verdict) -> None:
    """Make sure of the value vectors of all layers whose block is not written out."""
    for layer in range(target.n_blocks):
        if verdict.differs is None and target.plain(layer) is None:
            with torch.no_grad():
                stream = target.entering(layer, [each[0] for each in verdict.call.entered])
            said = attempt(lambda layer=layer, stream=stream: _slopes(target, layer, stream,
                                                                      verdict))
            verdict.differs = said or (None if layer in verdict.vectors else
                                       f"{target.layers[layer].name} cannot be run by itself")


def passes_back(target: TargetModel, images: Float[Tensor, "image channel height width"]) -> bool:
    """Whether the gradients that the model passes back to its neurons are its derivatives.

    Along a random direction of all neurons, each of which feels the earlier ones, the backward pass
    must give what forward mode gives, and what the logits do when the neurons move a little;
    ``torch.no_grad()``, ``detach()`` and hooks may change that. Where forward mode has no
    derivative nothing is said.
    """
    generator = torch.Generator().manual_seed(0)

    def like(value):
        return torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value)

    def moved_by(neurons):
        with torch.no_grad(), clamped(target, dict(enumerate(neurons)), added=True):
            return target(images)

    def taken():
        with torch.no_grad(), reading(target) as seen:
            target(images)
        clean = [seen[layer] for layer in range(target.n_blocks)]
        leaves = [torch.zeros_like(value, requires_grad=True) for value in clean]
        with activation_gradients(target), clamped(target, dict(enumerate(leaves)), added=True):
            logits = target(images)
            weights = like(logits)
            slopes = torch.autograd.grad(logits, leaves, weights, allow_unused=True,
                                         materialize_grads=True) if logits.requires_grad else [
                torch.zeros_like(leaf) for leaf in leaves]
        directions = [like(value) * value.square().mean().sqrt() for value in clean]
        with forward_mode():
            tangent = forward_ad.unpack_dual(moved_by(
                map(forward_ad.make_dual, map(torch.zeros_like, clean), directions))).tangent
        step = rounding_unit(weights) ** (1 / 3)
        ahead, behind = (moved_by([sign * step * direction for direction in directions])
                         for sign in (1, -1))
        return slopes, directions, weights, tangent, (ahead - behind) / (2 * step)

    found = attempt(taken)
    if found is None:
        return True
    slopes, directions, weights, tangent, quotient = found
    products = [slope.double() * direction.double()
                for slope, direction in zip(slopes, directions, strict=True)]
    backward, unit = float(sum(product.sum() for product in products)), rounding_unit(weights)
    size = sum(float(product.norm()) for product in products)
    # what leaves the model detached carries no tangent
    seen = [] if tangent is None else [(tangent, 4 * unit ** 0.5)]
    if unit < torch.finfo(torch.float16).eps / 2:  # coarser numbers tell no small difference
        seen.append((quotient, 32 * unit ** (1 / 3)))
    for derivative, share in seen:
        parts = weights.double() * derivative.double()
        if not abs(backward - float(parts.sum())) <= share * (size + float(parts.norm())):
            return False
    return True


def _slopes(target: TargetModel, layer: int, stream: Float[Tensor, "image token embed"],
            verdict: Verdict) -> str | None:
    """Make sure of a layer's value vectors: what its block does must be affine in its neurons.

    A derivative along a random direction, and the ways from no activation, from a little and from
    half of it to the clean one, are held against the value vectors of the weights; where these are
    not what the block does, against those of its own derivative.

    Returns:
        in words, what is not affine, or ``None``.
    """
    with reading(target) as seen, torch.no_grad():
        clean_out = target.layer(layer, stream)
    clean = seen[layer]
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(clean.shape, generator=generator, dtype=torch.float64).to(clean)
    ways = []
    for share in PLACES:
        with torch.no_grad(), clamped(target, {layer: share * clean}):
            ways.append(((1 - share) * clean, clean_out - target.layer(layer, stream)))
    tangent = _tangent(target, layer, stream, clean, direction)
    if tangent is None:
        return f"{target.layers[layer].name} has no forward-mode derivative"
    for vectors in (target.declared_vectors, target.measured_vectors):
        candidate = attempt(lambda vectors=vectors: vectors(layer))
        if candidate is not None and _write(
                target, candidate, direction, tangent, tangent) and all(
                _write(target, candidate, way, moved, clean_out) for way, moved in ways):
            measured = vectors == target.measured_vectors
            verdict.vectors[layer] = Vectors(target._made_of(layer),
                                             candidate if measured else None)
            return None
    name = target.layers[layer].name
    return f"what {name} writes is not affine in its neurons{hooked_parts(target.model)}"


def _tangent(target: TargetModel, layer: int, stream: Tensor, clean: Tensor,
             direction: Tensor) -> Tensor | None:
    def run():
        with torch.no_grad(), forward_mode(), clamped(
                target, {layer: forward_ad.make_dual(clean, direction)}):
            # the stream too, along which a search carries derivatives
            entering = forward_ad.make_dual(stream, torch.zeros_like(stream))
            return forward_ad.unpack_dual(target.layer(layer, entering)).tangent
    return attempt(run)


def _write(target: TargetModel, vectors: Tensor, neurons: Tensor, written: Tensor,
           size: Tensor) -> bool:
    """Whether neurons write by these vectors at the scope, and nothing elsewhere."""
    expected = torch.zeros_like(written)
    expected[:, target.tokens] = neurons @ vectors.to(neurons.dtype)
    unit = rounding_unit(written)
    share = min(ROUNDING * unit, max(LEAST, 2 * unit))
    allowed = share * size.double().abs() + unit ** 0.5 * (
        expected[:, target.tokens].double().square().mean().sqrt())
    return bool(((written - expected).double().abs() <= allowed).all())
