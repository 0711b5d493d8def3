"""How activations are read while a model runs, and passed through functions: the only module that
touches hooks."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from neuronpath_core.model_state import HOOKS
from neuronpath_core.support.tasks import current_task
from neuronpath_core.support.uncompiled import uncompiled

if TYPE_CHECKING:
    from jaxtyping import Float

    from neuronpath_core.target import TargetModel

# how often this thread has set edits aside
_DEPTH = threading.local()
# the edits and readings that were made in this task, or before it in the one that started it
_MADE: ContextVar[tuple[int, ...]] = ContextVar("_MADE", default=())
_NUMBERS = itertools.count(1)


@contextmanager
def hooked(target: TargetModel,
           functions: Mapping[int, Callable[[Tensor], Tensor | None]]) -> Iterator[None]:
    """Pass what enters ``fc2`` of the given blocks through functions; a returned tensor replaces
    it.

    They act on forward passes of the thread that entered the context, and of its task of asyncio
    and those that this starts, on no other's. Inside all compiled code runs uncompiled, because it
    does not see hooks that came later, and may hold the model without the model's knowing. The
    hooks are gone when the context is left, whatever happened inside.
    """
    with ExitStack() as stack:
        stack.enter_context(uncompiled())
        stack.enter_context(_numbered())
        for block, function in functions.items():
            handle = target.site(block).register_forward_pre_hook(_Entering(function),
                                                                  with_kwargs=True)
            stack.callback(handle.remove)
        yield


@contextmanager
def _numbered() -> Iterator[None]:
    number = next(_NUMBERS)
    _MADE.set((*_MADE.get(), number))
    try:
        yield
    finally:  # not reset, which may be in another task's context
        _MADE.set(tuple(each for each in _MADE.get() if each != number))


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
    """A function of a module's call, as a hook that acts in the thread and task that made it."""

    def __init__(self, function: Callable):
        self.function, self.thread, self.depth = function, threading.get_ident(), _depth()
        self.number, task = _MADE.get()[-1], current_task()
        self.task = None if task is None else weakref.ref(task)

    def acts_here(self) -> bool:
        here = threading.get_ident()
        if here == self.thread:
            return self.depth >= _depth() and not self._is_of_another_task()
        # autograd runs checkpointed blocks again in threads of its own
        return torch._C._current_graph_task_id() != -1 and not any(
            each.ident == here and not isinstance(each, threading._DummyThread)
            for each in threading.enumerate())

    def _is_of_another_task(self) -> bool:
        """A notebook may run each cell in a task of its own; what a finished one made acts on."""
        if self.task is None or self.number in _MADE.get():
            return False
        made_in = self.task()
        return made_in is not None and not made_in.done() and made_in is not current_task()

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
              sizes: list[list[tuple[int, int, int]]]) -> Iterator[None]:
    """Append, as a forward runs, every stream that enters and leaves each block, and of every layer
    how many rows, tokens and neurons it has."""
    def enter(streams):
        # positional or by name, the stream is the first that a block is given
        return lambda _module, inputs, named: streams.append((inputs or tuple(named.values()))[0])

    def leave(streams):
        return lambda _module, _inputs, out: streams.append(out)

    def count(layer):
        return lambda value: sizes[layer].append(tuple(value.shape[:3]))

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
        ValueError: a model that runs without some of its layers, or on more rows than images.
    """
    with torch.no_grad(), reading(target, everywhere) as store:
        target(images)
    if silent := [str(block) for block in range(target.n_blocks) if block not in store]:
        raise ValueError(f"the model ran without its layers {', '.join(silent)}, so that they have "
                         "no activations; accepted: a model that calls every block's mlp.fc2")
    read = [store[block] for block in range(target.n_blocks)]
    for layer, value in zip(target.layers, read, strict=True):
        check_rows(layer.name, len(value), len(images))
    return read


def check_rows(name: str, rows: int, images: int) -> None:
    """Raise ``ValueError`` unless a layer sees one row of tokens for each image."""
    if rows != images:
        raise ValueError(f"{name} sees {rows} rows of tokens of a batch of {images}, so that no "
                         "row is known to be an image's; accepted: a model that runs each image "
                         "once, without several views or crops beside one another")
