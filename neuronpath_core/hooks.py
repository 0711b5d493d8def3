"""How activations are read, clamped and scaled while a model runs: the only module that touches
hooks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from neuronpath_core.factors import check_factors, check_values, edit_factor
from neuronpath_core.model_state import HOOKS, is_compiled

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

    from neuronpath_core.target import TargetModel


# how often this thread has set edits aside
_DEPTH = threading.local()


@contextmanager
def hooked(target: TargetModel,
           functions: Mapping[int, Callable[[Tensor], Tensor | None]]) -> Iterator[None]:
    """Pass what enters ``fc2`` of the given blocks through functions; a returned tensor replaces
    it.

    They act on forward passes of the thread that entered the context, on no other thread's. Inside
    a compiled model runs uncompiled, because compiled code does not see hooks that came later. The
    hooks are gone when the context is left, whatever happened inside.
    """
    with ExitStack() as stack:
        if is_compiled(target.model):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for block, function in functions.items():
            handle = target.site(block).register_forward_pre_hook(_Entering(function),
                                                                  with_kwargs=True)
            stack.callback(handle.remove)
        yield


@contextmanager
def unedited() -> Iterator[None]:
    """Inside, edits and readings that are in force in this thread do not act; new ones do."""
    _DEPTH.value = _depth() + 1
    try:
        yield
    finally:
        _DEPTH.value -= 1


def _depth() -> int:
    return getattr(_DEPTH, "value", 0)


class _Hook:
    """A function of a module's call, as a hook that acts in the thread that made it."""

    def __init__(self, function: Callable):
        self.function, self.thread, self.depth = function, threading.get_ident(), _depth()

    def acts_here(self) -> bool:
        here = threading.get_ident()
        if here == self.thread:
            return self.depth >= _depth()
        # autograd runs checkpointed blocks again in threads of its own
        return torch._C._current_graph_task_id() != -1 and not any(
            each.ident == here and not isinstance(each, threading._DummyThread)
            for each in threading.enumerate())

    def __call__(self, *given: Any) -> Any:
        return self.function(*given) if self.acts_here() else None


class _Entering(_Hook):
    """The same for a function of the first of what enters a module, which may replace it."""

    def __call__(self, _module: nn.Module, inputs: tuple,
                 named: dict | None = None) -> tuple | None:
        # a hook that another thread is just taking away is called without the names
        if named is None or not self.acts_here():
            return None
        if inputs:
            replaced = self.function(inputs[0])
            return None if replaced is None else ((replaced, *inputs[1:]), named)
        name = next(iter(named))
        replaced = self.function(named[name])
        return None if replaced is None else ((), {**named, name: replaced})


def without_edits(model: nn.Module) -> nn.Module:
    """The model, a copy of another, without the edits and readings that were copied along."""
    for part in model.modules():
        for name in HOOKS:
            hooks = getattr(part, name)
            for key in [key for key, hook in hooks.items() if hasattr(hook, "acts_here")]:
                del hooks[key]
    return model


@contextmanager
def reading(target: TargetModel, everywhere: bool = False) -> Iterator[dict[int, Tensor]]:
    """A dictionary that fills with every block's scope activations, ``(batch, token, neuron)``, or
    with those of every token (``everywhere``), as a forward runs."""
    store: dict[int, Tensor] = {}

    def keep(block):
        def function(value):
            store[block] = value if everywhere else value[:, target.tokens]
        return function

    with hooked(target, {block: keep(block) for block in range(target.n_blocks)}):
        yield store


@contextmanager
def listening(target: TargetModel, entered: list[list[Tensor]], left: list[list[Tensor]],
              tokens: list[list[int]]) -> Iterator[None]:
    """Append, as a forward runs, every stream that enters and leaves each block, and of every layer
    how many tokens its neurons have."""
    def enter(streams):
        # positional or by name, the stream is the first that a block is given
        return lambda _module, inputs, named: streams.append((inputs or tuple(named.values()))[0])

    def leave(streams):
        return lambda _module, _inputs, out: streams.append(out)

    def count(layer):
        return lambda value: tokens[layer].append(value.shape[1])

    # of the layers first, so that a compiled model runs uncompiled
    with hooked(target, {layer: count(layer) for layer in range(target.n_blocks)}), \
            ExitStack() as stack:
        for block, streams, outs in zip(target.model.blocks, entered, left, strict=True):
            # before and after all that others hooked to the block
            handles = (block.register_forward_pre_hook(_Hook(enter(streams)), prepend=True,
                                                       with_kwargs=True),
                       block.register_forward_hook(_Hook(leave(outs))))
            for handle in handles:
                stack.callback(handle.remove)
        yield


def _replace_scope(target: TargetModel, value: Tensor, scoped: Tensor) -> Tensor:
    before, after = value[:, :target.tokens.start], value[:, target.tokens.start + scoped.shape[1]:]
    return torch.cat([before, scoped.expand(len(value), -1, -1), after], dim=1)


@contextmanager
def clamped(target: TargetModel,
            values: Mapping[int, Float[Tensor, "batch token neuron"]]) -> Iterator[None]:
    """Hold the scope activations of the given blocks at ``values``; the other tokens run natively.
    """
    with hooked(target, {block: lambda value, held=held: _replace_scope(target, value, held)
                         for block, held in values.items()}):
        yield


def read_activations(target: TargetModel,
                     images: Float[Tensor, "batch channel height width"]) -> Float[
        Tensor, "batch layer token neuron"]:
    """Clean scope activations w̄ of every block; one token for scope ``"cls"``, every patch token
    for ``"patch"``.

    Raises:
        ValueError: images of another shape, dtype or device than the model's, or non-finite ones.
    """
    if not hasattr(target, "check_images"):
        raise ValueError(f"a TargetModel is needed, got {type(target).__name__}; accepted: "
                         "npc.TargetModel(model)")
    target.check_images(images)
    read = neurons_read(target, images)
    return target.stacked([layer.sizes(value)
                           for layer, value in zip(target.layers, read, strict=True)])


def neurons_read(target: TargetModel, images: Float[Tensor, "batch channel height width"],
                 everywhere: bool = False) -> list[Float[Tensor, "batch token neuron"]]:
    """By layer the value of every neuron, also of those that are members of one unit, at the scope
    or at every token (``everywhere``); the images are not checked.

    Raises:
        ValueError: a model that runs without some of its layers.
    """
    with torch.no_grad(), reading(target, everywhere) as store:
        target(images)
    if silent := [str(block) for block in range(target.n_blocks) if block not in store]:
        raise ValueError(f"the model ran without its layers {', '.join(silent)}, so that they have "
                         "no activations; accepted: a model that calls every block's mlp.fc2")
    return [store[block] for block in range(target.n_blocks)]


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
