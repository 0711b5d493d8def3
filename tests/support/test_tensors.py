"""Ordinary tensors, and what the others are called."""

import numpy as np
import pytest
import torch
from torch import nn

from neuronpath_core.support.tensors import (
    is_ordinary,
    is_real,
    kind_of,
    whole_array,
    whole_numbers,
)
from tests import helpers

PLAIN = torch.arange(6.0).view(2, 3)


class Other(torch.Tensor):
    pass


def freed():
    value = PLAIN.clone()
    value.untyped_storage().resize_(0)
    return value


@pytest.mark.parametrize("value", [
    PLAIN, PLAIN.T, PLAIN[:, ::2], PLAIN[:0], PLAIN.long(), PLAIN.bool(), nn.Parameter(PLAIN),
    nn.Buffer(PLAIN), PLAIN.expand(4, 2, 3), PLAIN.clone().requires_grad_() * 2, PLAIN[0, 0],
])
def test_ordinary(value):
    assert is_ordinary(value) and is_real(value) == value.is_floating_point()
    assert kind_of(value) == f"{value.dtype} {tuple(value.shape)}"


@pytest.mark.parametrize(("made", "words"), [
    (lambda: PLAIN.to("meta"), "a tensor on the meta device"), (freed, "not in memory"),
    (lambda: torch._to_functional_tensor(PLAIN), "not in memory"),
    (lambda: PLAIN.to_sparse_csr(), "a tensor of layout torch.sparse_csr"),
    (lambda: PLAIN.to_mkldnn(), "a tensor of layout torch._mkldnn"),
    (lambda: torch.nested.nested_tensor(list(PLAIN)), "a nested tensor"),
    (lambda: torch.quantize_per_tensor(PLAIN, 0.1, 0, torch.quint8), "a quantised tensor"),
    (lambda: PLAIN.as_subclass(Other), "a tensor of class Other"),
    (nn.UninitializedParameter, "a tensor of class UninitializedParameter"),
    (lambda: torch._neg_view(PLAIN), "negative or conjugate"),
    (lambda: (PLAIN * 1j).conj(), "negative or conjugate"),
])
@pytest.mark.filterwarnings("ignore")
def test_not_ordinary(made, words):
    value = made()
    assert not is_ordinary(value) and not is_real(value) and kind_of(value).endswith(words)
    assert whole_array(value) is None


def test_what_torch_func_gives_is_not_ordinary():
    seen = []
    torch.func.vmap(lambda row: seen.append(kind_of(row)) or row)(PLAIN)
    torch.func.grad(lambda all_: seen.append(kind_of(all_)) or all_.sum())(PLAIN)
    assert seen == ["a tensor whose values are not in memory"] * 2


@pytest.mark.parametrize("value", [None, [1.0], "1", PLAIN.numpy()], ids=str)
def test_no_tensor(value):
    assert not is_ordinary(value) and not is_real(value)
    assert kind_of(value) in ("NoneType", "list", "str", "float32 (2, 3)")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.complex64, torch.int64])
def test_numbers_with_which_one_cannot_reckon(dtype):
    assert is_ordinary(PLAIN.to(dtype)) and not is_real(PLAIN.to(dtype))


def test_whole_numbers_of_arrays_and_tensors():
    for value in (PLAIN.int(), PLAIN.numpy().astype(np.uint8)):
        found = whole_numbers("n", value, (2,), "(a, b)")
        assert found.dtype == np.int64 and found.tolist() == [[0, 1, 2], [3, 4, 5]]
    for wrong in (PLAIN, -PLAIN.int(), PLAIN.int()[:0], PLAIN.int()[0], [[1, 2]]):
        helpers.refused(lambda wrong=wrong: whole_numbers("n", wrong, (2,), "(a, b)"),
                        "n must be whole numbers from 0, (a, b), got", kind_of(wrong))
