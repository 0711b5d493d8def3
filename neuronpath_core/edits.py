"""How neurons are clamped, scaled and edited while a model runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuronpath_core.factors import check_factors, check_values, edit_factor
from neuronpath_core.hooks import hooked

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

    from neuronpath_core.target import TargetModel


def _replace_scope(target: TargetModel, value: Tensor, scoped: Tensor) -> Tensor:
    before, after = value[:, :target.tokens.start], value[:, target.tokens.start + scoped.shape[1]:]
    return torch.cat([before, scoped.expand(len(value), -1, -1), after], dim=1)


@contextmanager
def clamped(target: TargetModel,
            values: Mapping[int, Float[Tensor, "batch token neuron"]],
            added: bool = False) -> Iterator[None]:
    """Hold the scope activations of the given blocks at ``values``, or move their current ones by
    so much (``added``); the other tokens run natively."""
    with hooked(target, {block: lambda value, held=held: _replace_scope(
            target, value, value[:, target.tokens] + held if added else held)
                         for block, held in values.items()}):
        yield


@contextmanager
def scaled(target: TargetModel, factors: Float[Tensor, "batch layer neuron"],
           everywhere: bool = False,
           values: Float[Tensor, "image layer token neuron"] | None = None) -> Iterator[None]:
    r"""Move each neuron's *current* value w at the scope, or at every token (``everywhere``),
    between its replacement v and itself,

    .. math:: w \leftarrow v + f\,(w - v) ,

    by its factor f: 0 replaces, 1 leaves, 2 doubles the distance. Without ``values`` v is zero and
    w is multiplied by f; values of zero give the same numbers. A batch of one, of factors or of
    values, holds for every image.

    Args:
        target: the model; its forward passes inside the context are edited.
        factors: ``(batch or 1, layer, neuron)``, of a layer of heads or halves one a unit.
        everywhere: edit every token of the model, not those of the scope alone.
        values: ``(image or 1, layer, token, neuron)`` with the tokens that are edited, or one token
            for all of them; of a layer of heads or halves one a member. Gradients flow to them.

    Raises:
        ValueError: factors or values of another shape, or (on the forward) for another number of
            images or tokens.
    """
    check_factors(factors)
    if factors.ndim != 3 or factors.shape[1:] != (target.n_blocks, target.n_neurons):
        raise ValueError(f"factors must have shape (batch, {target.n_blocks}, "
                         f"{target.n_neurons}), got {tuple(factors.shape)}")
    every = factors.to(device=target.device, dtype=target.dtype)
    values = None if values is None else check_values(target, values)

    def scale(block):
        layer = target.layers[block]
        factors = every[:, block, :layer.units].repeat_interleave(layer.width, -1)[:, None]
        held = None if values is None else values[:, block, :, :layer.units * layer.width]

        def moved(value):
            if held is None:
                return value * factors
            if len(held) not in (1, len(value)) or held.shape[1] not in (1, value.shape[1]):
                raise ValueError(f"the replacement values are for {len(held)} images of "
                                 f"{held.shape[1]} tokens, the edit is of {len(value)} images at "
                                 f"{value.shape[1]} tokens; accepted: equal numbers, or one")
            # not held + factors * (value - held): so a factor of one leaves the very value, and
            # held values of zero multiply it, with no rounding of their own
            return value * factors + held * (1 - factors)

        def function(value):
            if len(factors) not in (1, len(value)):
                raise ValueError(f"the edit is for {len(factors)} images, the batch has "
                                 f"{len(value)}; accepted: equal numbers, or an edit for one")
            if everywhere:
                return moved(value)
            return _replace_scope(target, value, moved(value[:, target.tokens]))
        return function

    with hooked(target, {block: scale(block) for block in range(target.n_blocks)}):
        yield


@contextmanager
def edit(target: TargetModel, neurons: Int64[Tensor, "batch layer"],
         operation: str | float = "remove",
         values: Float[Tensor, "image layer token neuron"] | None = None) -> Iterator[TargetModel]:
    r"""Edit each image's path: :math:`w^l_{p_l} \leftarrow c\, w^l_{p_l}` at the scope, block by
    block (Sec. 4.2).

    The *current* value is multiplied: a later block's neuron is scaled after it has felt the
    earlier edits. With replacement values v the neuron moves between v and its current value
    instead, :math:`w^l_{p_l} \leftarrow v^l_{p_l} + c\,(w^l_{p_l} - v^l_{p_l})`: removing it sets
    it to v, and zero is the published choice of v.

    Args:
        target: the model; its forward passes inside the context are edited.
        neurons: int64 ``(batch, layer)`` or ``(batch, layer, rank)``; a batch of one holds for
            every image.
        operation: ``"remove"`` (c = 0), ``"enhance"`` (c = 2), or c itself.
        values: v, ``(image or 1, layer, scope token or 1, neuron)``, such as one draw of
            :func:`~neuronpath_core.replacement.replacement_values`; ``None`` is zero.

    Raises:
        ValueError: unknown operation, indices out of range, values of another shape, or a forward
            of another number of images or tokens.
    """
    if not hasattr(target, "check_neurons"):
        raise ValueError(f"a TargetModel is needed, got {type(target).__name__}; accepted: "
                         "npc.TargetModel(model), npc.SiteModel(model, sites=...)")
    target.check_weights()
    ranked = target.check_neurons(neurons)
    factors = torch.ones(len(ranked), target.n_blocks, target.n_neurons, dtype=target.dtype,
                         device=target.device)
    factors.scatter_(2, ranked, edit_factor(operation))
    with scaled(target, factors, values=values):
        yield target
