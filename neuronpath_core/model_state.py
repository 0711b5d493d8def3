"""What a model is made of at one moment, so that a later look tells whether anything has changed.

Fast code may stand for a model only as long as the model is the one that was looked at. A user can
change it at any time: load weights, train on, replace a module, hook it, patch a class, compile it.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import module as modules
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from neuronpath_core.support.published import KNOWN, is_patched, modes, root

SIMPLE = (bool, int, float, str, type(None))
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks",
                "_global_backward_pre_hooks")
# what the modules of a block call, and blocks that are written out know by heart
FUNCTIONS = ("scaled_dot_product_attention", "linear", "layer_norm", "gelu", "relu", "silu",
             "leaky_relu", "elu", "softmax", "dropout")
# described below, or of no effect on a forward pass
ELSEWHERE = {*HOOKS, "_parameters", "_buffers", "_modules", "_forward_hooks_with_kwargs",
             "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs",
             "_non_persistent_buffers_set", "_state_dict_hooks", "_state_dict_pre_hooks",
             "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
             "_is_full_backward_hook"}


@dataclass(frozen=True)
class ModelState:
    """Modules, their attributes, hooks and classes, and every weight, as they are now.

    Two are equal if nothing that a forward pass can depend on differs: module objects, their
    attributes by value or identity, hooks, the functions of their classes, and of every parameter
    and buffer its identity, type, device and sum. A weight that was changed without a change of its
    sum is not noticed.

    Attributes:
        parts: what is compared.
        foreign: a module is hooked, has methods of its own, or is of a class that is neither
            PyTorch's, timm's nor the library's, or that somebody has patched; or a function of
            theirs was replaced: it may do what no look at it tells.
        alive: weak references to modules and tensors. An object that is gone may have left its
            address to another one, so that states with a dead reference equal nothing.
        kept: other objects that ``parts`` knows by address; holding them keeps the address theirs.
    """

    parts: tuple
    foreign: bool
    alive: tuple = field(compare=False, repr=False)
    kept: tuple = field(compare=False, repr=False)

    @classmethod
    def of(cls, model: nn.Module) -> ModelState:
        """The state of a model; one pass over its weights, at about the cost of adding them up."""
        parts: list[Any] = [tuple(tuple(getattr(modules, name)) for name in GLOBAL_HOOKS)]
        alive, kept, classes = [], [getattr(functional, name) for name in FUNCTIONS], {}
        parts.append(tuple(map(id, kept)))
        for module in model.modules():
            own = module.__dict__
            alive.append(weakref.ref(module))
            classes[type(module)] = None
            parts.append((id(module), tuple(_attributes(own, kept)),
                          *(_keys(own[name]) for name in HOOKS),
                          tuple((name, id(child)) for name, child in own["_modules"].items())))
            for name, tensor in (*own["_parameters"].items(), *own["_buffers"].items()):
                if tensor is not None:
                    alive.append(weakref.ref(tensor))
                parts.append((name, None if tensor is None else _weight(tensor)))
        for kind in classes:
            parts.append((kind, tuple(_functions(kind, kept))))
        return cls(tuple(parts), _is_foreign(model), tuple(alive), tuple(kept))

    @property
    def finite(self) -> bool:
        """Whether the sum of every weight is finite, so that all of them are."""
        return all(part[1] is None or part[1][-1] - part[1][-1] == 0 for part in self.parts
                   if len(part) == 2 and isinstance(part[0], str))

    def same(self, other: ModelState | None) -> bool:
        """Whether another look finds nothing changed."""
        return (other is not None and self.parts == other.parts and self.foreign == other.foreign
                and all(each() is not None for each in other.alive))


def _is_foreign(model: nn.Module) -> bool:
    """Edits and readings of the library's do not count."""
    if any(getattr(modules, name) for name in GLOBAL_HOOKS) or replaced_functions() or modes():
        return True
    return is_patched({type(part) for part in model.modules()}) or any(
        root(type(part).__module__) not in KNOWN or replaced_methods(part)
        or not has_ordinary_weights(part)
        or any(not hasattr(hook, "acts_here") for name in HOOKS
               for hook in list(part.__dict__[name].values()))
        for part in model.modules())


def _attributes(own: dict[str, Any], kept: list) -> Iterator[tuple]:
    for name, value in own.items():
        if name in ELSEWHERE:
            continue
        if isinstance(value, (tuple, list)) and all(type(each) in SIMPLE for each in value):
            yield name, tuple(value)
        elif type(value) in SIMPLE:
            yield name, value
        else:
            kept.append(value)
            yield name, id(value)


def _keys(hooks: dict) -> tuple:
    """The numbers of hooks, which are never used twice, without those of the library's edits and
    readings, which come and go."""
    return tuple(key for key, hook in list(hooks.items()) if not hasattr(hook, "acts_here"))


def in_force(hook: Any) -> bool:
    """Whether a hook acts now and here; the library's own act in the thread that set them."""
    acts = getattr(hook, "acts_here", None)
    return acts is None or acts()


def _functions(kind: type, kept: list) -> Iterator[tuple]:
    """Functions of a class and of those it inherits from, which somebody may replace."""
    for base in kind.__mro__[:-1]:
        for name, value in list(vars(base).items()):
            if callable(value) and (not name.startswith("__") or name == "__call__"):
                kept.append(value)
                yield name, id(value)


def _weight(tensor: Tensor) -> tuple:
    if tensor.is_meta or tensor.layout != torch.strided:
        return id(tensor), tensor.dtype, tensor.device, 0.0
    version = 0 if tensor.is_inference() else tensor._version
    if is_traceable_wrapper_subclass(tensor):  # a quantised one, for which no sum may be defined
        within = tuple(_weight(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0])
        total = sum(each[-1] for each in within)
        return id(tensor), tensor.dtype, tensor.device, version, within, total
    total = 0.0
    if tensor.dtype.is_floating_point:
        total = tensor.detach().sum(dtype=torch.float64).item()
    return id(tensor), tensor.dtype, tensor.device, version, total


def replaced_functions() -> list[str]:
    """Functions of ``torch.nn.functional`` that somebody has put another in place of."""
    return [name for name in FUNCTIONS if not _is_torchs(name)]


def _is_torchs(name: str) -> bool:
    function = getattr(functional, name)
    if isinstance(function, FunctionType):
        return function.__module__ == functional.__name__
    return function is getattr(torch._C._nn, name)


def has_ordinary_weights(part: nn.Module) -> bool:
    """Whether no weight is a tensor of a class of somebody's own, which may multiply otherwise."""
    return all(type(tensor) in (Tensor, nn.Parameter, type(None))
               for tensor in (*part._parameters.values(), *part._buffers.values()))


def is_touched(parts: Iterable[nn.Module]) -> bool:
    """Whether a module is hooked, has its ``forward`` replaced, or is in training mode.

    A hook on all modules and a function of torch's that was replaced touch every one. Edits that
    another thread has in force do not act here and do not count.
    """
    if any(getattr(modules, name) for name in GLOBAL_HOOKS) or replaced_functions() or modes():
        return True
    for part in parts:
        if part.training or "forward" in part.__dict__ or is_hooked(part):
            return True
    return False


def is_hooked(part: nn.Module) -> bool:
    """Whether a hook of a module acts in this thread."""
    own = part.__dict__
    # asked of every module of every block that runs: written out, it costs a tenth
    if not (own["_forward_hooks"] or own["_forward_pre_hooks"] or own["_backward_hooks"]
            or own["_backward_pre_hooks"]):
        return False
    return any(any(map(in_force, list(own[name].values()))) for name in HOOKS)


def replaced_methods(part: nn.Module) -> list[str]:
    """Methods that one module has instead of its class's."""
    return [name for name, value in vars(part).items()
            if callable(value) and callable(getattr(type(part), name, None))]


def quantised_part(model: nn.Module) -> str | None:
    """The first part that PyTorch has quantised, or prepared for it, which has no derivative."""
    made = ("torch.ao.nn.", "torch.ao.quantization.")
    return next((name or type(part).__name__ for name, part in model.named_modules()
                 if type(part).__module__.startswith(made)), None)


def is_compiled(model: nn.Module) -> bool:
    """Whether a module of the model was compiled, in place or as a wrapper."""
    if "torch._dynamo" not in sys.modules:
        return False
    return any(part._compiled_call_impl is not None or hasattr(part, "_orig_mod")
               or hasattr(part.forward, "_torchdynamo_orig_callable") for part in model.modules())
