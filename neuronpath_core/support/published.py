"""Whether PyTorch's and timm's code is as it was published, or somebody has patched it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import FunctionType

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

KNOWN = ("torch", "timm", "neuronpath_core")  # whose classes are as they were published
# where functions of theirs come from
PLACES = {*KNOWN, *sys.stdlib_module_names, "typing_extensions"}
CALLED = ("__call__", "__getattr__", "__getattribute__", "__torch_function__")  # by every pass
# what a library gives PyTorch's classes for itself, or puts in the place of a function, and no
# forward pass calls: transformers sets initial weights by a method that it hangs on every module as
# soon as it has built one model, Lightning replaces torch.compile when it is imported
HUNG_ON = {("transformers", "smart_apply"),
           ("lightning", "compile"), ("lightning_fabric", "compile")}


def is_patched(kinds: Iterable[type]) -> bool:
    """Whether a function that modules of these classes call is not of the file in which it should
    be: one of a class, of a class that it inherits from, of a module that defines one, of a tensor
    or of ``torch``. What ``functools.wraps`` says of a function is not believed."""
    bases = {base for kind in kinds for base in kind.__mro__ if root(base.__module__) in KNOWN}
    for base in bases:
        home = vars(sys.modules[base.__module__])
        for name, value in list(vars(base).items()):
            if name.startswith("__") and name not in CALLED:
                continue
            inner = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
            if isinstance(inner, FunctionType):
                if (inner.__globals__ is not home and _place(inner) != "contextlib"
                        and not _is_hung_on(inner, name)):
                    return True
            elif callable(inner) and root(type(inner).__module__) not in (*KNOWN, "builtins"):
                return True
    spaces = {sys.modules[base.__module__] for base in bases}
    return any(isinstance(value, FunctionType) and root(_place(value)) not in PLACES
               and not _is_hung_on(value, name)
               for space in (*spaces, torch, functional, Tensor, nn.Parameter)
               for name, value in list(vars(space).items()))


def _is_hung_on(function: FunctionType, name: str) -> bool:
    return (root(_place(function)), name) in HUNG_ON


def root(name: str) -> str:
    """The package of a module."""
    return name.partition(".")[0]


def _place(function: FunctionType) -> str:
    return function.__globals__.get("__name__", "")


def modes() -> list[str]:
    """Modes in force that see every call of torch's functions and are not torch's own."""
    count = torch._C._len_torch_function_stack()
    found = [torch._C._get_function_stack_at(index) for index in range(count)]
    kinds = map(type, [*found, *_get_current_dispatch_mode_stack()])
    return [kind.__name__ for kind in kinds if root(kind.__module__) not in KNOWN]
