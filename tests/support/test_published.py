"""Patches of PyTorch's and timm's code are seen; what libraries hang on it for themselves is none.
"""

import contextlib
import functools
import types

import pytest
import timm
import torch
from timm.layers import Mlp
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from neuronpath_core.support.published import HUNG_ON, is_patched, modes, root

KINDS = (nn.Linear, nn.LayerNorm, Mlp)


def foreign(name="somebody.patches", **given):
    """A function of another library's module, with a name that ``functools.wraps`` would give."""
    space = {"__name__": name, **given}
    exec("def louder(self, *given, **named):\n    return 2 * native(self, *given, **named)\n",
         space)
    return space["louder"]


def test_as_published():
    assert not is_patched(KINDS) and not is_patched([]) and modes() == []
    assert not is_patched([type(part) for part in
                           timm.create_model("vit_tiny_patch16_224", depth=1).modules()])


# where a function is put, and under what name
PATCHES = {
    "a class's forward": (nn.Linear, "forward"), "a base's call": (nn.Module, "__call__"),
    "an attribute's look-up": (nn.Module, "__getattr__"), "timm's": (Mlp, "forward"),
    "a method that was not there": (nn.LayerNorm, "helper"),
    "a function that a module uses": (functional, "layer_norm"),
    "a function of torch": (torch, "softmax"), "one of tensors": (torch.Tensor, "matmul"),
    "one of parameters": (nn.Parameter, "add"),
}


@pytest.mark.parametrize("patch", PATCHES)
def test_a_patch_is_seen_and_so_is_its_end(patch, monkeypatch):
    place, name = PATCHES[patch]
    with monkeypatch.context() as patched:
        patched.setattr(place, name, foreign(native=getattr(place, name, None)), raising=False)
        assert is_patched(KINDS)
    assert not is_patched(KINDS)


def test_wraps_is_not_believed(monkeypatch):
    native = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", functools.wraps(native)(foreign(native=native)))
    assert nn.Linear.forward.__module__ == nn.Linear.__module__ and is_patched(KINDS)


@pytest.mark.parametrize("made", [
    lambda function: property(lambda self: function(self)), classmethod,
    staticmethod, lambda function: types.SimpleNamespace(__call__=function),
    lambda function: type("Callable", (), {"__call__": function})(),
], ids=["property", "classmethod", "staticmethod", "no function", "callable"])
def test_other_kinds_of_methods(made, monkeypatch):
    value = made(foreign())
    monkeypatch.setattr(nn.Linear, "helper", value, raising=False)
    assert is_patched(KINDS) == (type(value) is not types.SimpleNamespace)


def test_a_class_that_no_module_is_of_may_be_patched(monkeypatch):
    monkeypatch.setattr(nn.Conv3d, "forward", foreign())
    assert not is_patched(KINDS) and is_patched([nn.Conv3d])


@pytest.mark.parametrize("name", ["__repr__", "__init__", "__setstate__"])
def test_what_no_forward_pass_calls_may_be_another_library_s(name, monkeypatch):
    monkeypatch.setattr(nn.Linear, name, foreign(native=getattr(nn.Linear, name)))
    assert not is_patched(KINDS)


@pytest.mark.parametrize("place", ["lightning.fabric.wrappers", "lightning_fabric.wrappers"])
def test_a_function_that_no_forward_pass_calls_may_be_replaced(place, monkeypatch):
    monkeypatch.setattr(torch, "compile", foreign(place))
    assert not is_patched(KINDS)
    for space, called, other in ((torch, "compile", "somebody.wrappers"),
                                 (torch, "matmul", place), (torch.Tensor, "backward", place)):
        with monkeypatch.context() as patched:
            patched.setattr(space, called, foreign(other))
            assert is_patched(KINDS)


def test_what_is_hung_on_every_module_is_known_by_library_and_name(monkeypatch):
    library, name = "transformers", "smart_apply"
    assert (library, name) in HUNG_ON
    monkeypatch.setattr(nn.Module, name, foreign(f"{library}.modeling"), raising=False)
    assert not is_patched(KINDS)
    for place, called in ((f"{library}.modeling", "_apply"), (f"{library}_more.modeling", name)):
        with monkeypatch.context() as patched:
            patched.setattr(nn.Module, called, foreign(place), raising=False)
            assert is_patched(KINDS)


def test_a_function_in_a_context_of_pythons_own_is_no_patch(monkeypatch):
    monkeypatch.setattr(nn.Linear, "helper", contextlib.contextmanager(foreign("torch.nn.modules.linear")),
                        raising=False)
    assert not is_patched(KINDS)


@pytest.mark.parametrize(("name", "package"), [("torch.nn.modules", "torch"), ("timm", "timm"),
                                               ("torchvision.ops", "torchvision"), ("", "")])
def test_the_package_of_a_module(name, package):
    assert root(name) == package


class Calls(TorchFunctionMode):
    pass


class Dispatches(TorchDispatchMode):
    pass


def test_modes_of_somebodys_own_are_named_while_they_are_in_force():
    with Calls():
        assert modes() == ["Calls"]
        with Dispatches():
            assert modes() == ["Calls", "Dispatches"]
    with torch.device("cpu"):  # PyTorch's own
        assert modes() == []
    assert modes() == []
