"""Wires between neurons of two blocks: against the composition of edges, the model's own linear
maps, and planted chains."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neuronpath_core.circuits.composition import composition
from neuronpath_core.models.planted import planted_model
from neuronpath_core.neurons.wires import (
    compositions,
    key_rows,
    neighbours,
    pair_percentile,
)
from neuronpath_core.target import TargetModel
from tests import helpers


def test_direct_wires_are_the_composition_of_edges():
    target = TargetModel(helpers.small_vit(3, init_values=0.3))
    n = target.n_neurons
    for block in range(2):
        kappa = compositions(target, block)
        for source, other in ((0, 5), (3, 3), (n - 1, 1)):
            pair = torch.zeros(1, 3, dtype=torch.int64)
            pair[0, block], pair[0, block + 1] = source, other
            wanted = composition(target, pair)[0, block, block + 1].abs()
            # the same product, rounded in another order
            torch.testing.assert_close(kappa[source, other], wanted, rtol=0, atol=1e-14)
    assert 0 <= float(kappa.min()) and float(kappa.max()) <= 1


@torch.no_grad()
def test_wires_through_attention_are_what_each_head_hands_on():
    """A vector on one token, and attention that gives each head's value of it: by the model's own
    modules, without norm's division, head by head."""
    target = TargetModel(helpers.small_vit(4, init_values=0.3))
    block = target.model.blocks[1]
    vectors, keys = target.value_vectors(0), key_rows(target, 1)
    heads, width = block.attn.num_heads, vectors.shape[1]
    slow = torch.zeros(len(vectors), len(keys), dtype=torch.float64)
    for number, vector in enumerate(vectors):
        read = (vector - vector.mean()) * block.norm1.weight
        value = torch.nn.functional.linear(read, block.attn.qkv.weight)[2 * width:]
        for head in range(heads):
            only = torch.zeros_like(value).view(heads, -1)
            only[head] = value.view(heads, -1)[head]
            out = block.ls1(torch.nn.functional.linear(only.flatten(), block.attn.proj.weight))
            out = out - out.mean()
            for other, key in enumerate(keys):
                cosine = abs(float(out @ key / out.norm() / key.norm()))
                slow[number, other] = max(slow[number, other], cosine)
    torch.testing.assert_close(compositions(target, 0, "attention"), slow, rtol=0, atol=1e-13)


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_a_planted_chain_is_a_wire_and_planted_parallels_are_none(scope):
    chain, parallel = (planted_model(kind, scope, seed=3) for kind in ("chain", "parallel"))
    for planted, is_wire in ((chain, True), (parallel, False)):
        path = planted.neurons[..., 0]
        for block in range(planted.target.n_blocks - 1):
            kappa = compositions(planted.target, block)
            own = kappa[path[:, block], path[:, block + 1]]
            place = pair_percentile(kappa, path[:, block], path[:, block + 1])
            if is_wire:
                torch.testing.assert_close(own, torch.ones_like(own), rtol=0, atol=1e-9)
                assert (place > 0.98).all()
                other = neighbours(planted.target, block, int(path[0, block]), 1)[-1]
                assert other[:2] == (block + 1, int(path[0, block + 1]))
            else:
                assert float(own.max()) < 1e-9  # they write where no later neuron reads


def test_percentiles_count_ties_by_half():
    kappa = torch.tensor([[0.1, 0.2], [0.2, 0.4]], dtype=torch.float64)
    rows, columns = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    assert pair_percentile(kappa, rows, columns).tolist() == [0.125, 0.5, 0.5, 0.875]
    every = pair_percentile(torch.rand(7, 9).double(), *map(torch.from_numpy, np.indices((7, 9))))
    assert float(every.mean()) == pytest.approx(0.5)


def test_neighbours_are_the_strongest_of_both_sides():
    target = TargetModel(helpers.small_vit(5))
    found = neighbours(target, 1, 2, 3)
    before, after = compositions(target, 0)[:, 2], compositions(target, 1)[2]
    assert [row[:2] for row in found] == [
        *((0, int(place)) for place in before.topk(3).indices),
        *((2, int(place)) for place in after.topk(3).indices)]
    assert [row[2] for row in found] == [*before.topk(3).values.tolist(),
                                         *after.topk(3).values.tolist()]
    assert len(neighbours(target, 0, 0, 1)) == 1 == len(neighbours(target, 2, 0, 1))


@pytest.mark.parametrize("call, words", [
    (lambda target: compositions(target, 2), "is the last"),
    (lambda target: compositions(target, 7), "a block must be"),
    (lambda target: compositions(target, 0, "skip"), "unknown route"),
    (lambda target: neighbours(target, 0, 99), "neuron must be"),
    (lambda target: neighbours(target, 0, 0, 0), "count must be"),
])
def test_bad_input_is_refused_in_one_line(call, words):
    with pytest.raises(ValueError, match=words) as error:
        call(TargetModel(helpers.small_vit(5)))
    assert "\n" not in str(error.value)


def test_a_gated_ffn_is_refused_by_what_its_key_is():
    from timm.layers import SwiGLUPacked

    target = TargetModel(helpers.small_vit(5, mlp_layer=SwiGLUPacked))
    with pytest.raises(ValueError, match="product of gate and value"):
        key_rows(target, 0)
