"""Streams of every token: against the blocks run one after the other, and what is refused."""

from __future__ import annotations

import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.readings.streams import over_images, read_streams
from neuronpath_core.support.memory import copy_bytes, memory_limit
from tests import helpers

NAMES = sorted(helpers.NETWORKS)


@pytest.mark.parametrize("name", NAMES)
def test_streams_are_those_of_the_blocks_and_halves_add_up(name):
    target, images, _ = helpers.network(name, 5)
    streams, model = read_streams(target, images), target.model
    stream = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(images))))
    torch.testing.assert_close(streams.embedded, stream, rtol=0, atol=1e-13)
    for index, block in enumerate(model.blocks):
        torch.testing.assert_close(streams.before(index), stream, rtol=0, atol=1e-12)
        attended = block.ls1(block.attn(block.norm1(stream)))
        torch.testing.assert_close(streams.attention[index], attended, rtol=0, atol=1e-12)
        torch.testing.assert_close(streams.middle(index), stream + attended, rtol=0, atol=1e-12)
        stream = block(stream)
        torch.testing.assert_close(streams.at("block")[index], stream, rtol=0, atol=1e-12)
        torch.testing.assert_close(streams.middle(index) + streams.at("ffn")[index], stream,
                                   rtol=0, atol=1e-12)
    assert not streams.blocks.requires_grad


def test_edits_in_force_act_and_nothing_stays():
    target, images, labels = helpers.network("cls", 5)
    paths = npc.find_paths(target, images, labels, method="activation").neurons
    clean = read_streams(target, images)
    with npc.edit(target, paths, "remove"):
        edited = read_streams(target, images)
        wanted = target(images)
    found = target.model.forward_head(target.model.norm(edited.blocks[-1]))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    assert (edited.ffn[0] - clean.ffn[0]).abs().max() > 1e-6
    # of the first block only the class token's own neuron is edited
    assert torch.equal(edited.ffn[0][:, 1:], clean.ffn[0][:, 1:])
    torch.testing.assert_close(read_streams(target, images).blocks, clean.blocks)


def test_little_memory_and_single_precision_change_nothing_else():
    target, images, _ = helpers.network("cls-layerscale-qknorm", 5, batch=5)
    whole = read_streams(target, images).blocks
    with memory_limit(target, copy_bytes(target)):
        parts = over_images(target, images, lambda streams, rows: (streams.blocks, rows))
    assert [rows.tolist() for _, rows in parts] == [[0], [1], [2], [3], [4]]
    torch.testing.assert_close(torch.cat([blocks for blocks, _ in parts], 1), whole, rtol=0,
                               atol=1e-12)
    single = target.in_dtype(torch.float32)
    rough = read_streams(single, images.float()).blocks
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough.double(), whole, rtol=1e-4, atol=1e-4)


def test_a_model_that_is_not_its_halves_is_refused():
    model = helpers.small_vit()
    target, (images, _) = npc.TargetModel(model), helpers.small_batch()
    # of the last block only tokens that no logit depends on
    handle = model.blocks[2].register_forward_hook(
        lambda _module, _given, out: torch.cat([out[:, :1], 2 * out[:, 1:]], 1))
    with pytest.raises(ValueError, match="block 2 is hooked"):
        read_streams(target, images)
    handle.remove()
    read_streams(target, images)
    model.norm_pre.register_forward_hook(lambda _module, _given, out: out + 1)
    moved = read_streams(target, images)  # a hook on a part acts
    model.blocks[1].attn.register_forward_hook(lambda _module, _given, out: 0 * out)
    assert not read_streams(target, images).attention[1].any() and moved.attention[1].any()


def test_refusals_say_what_is_accepted():
    target, images, _ = helpers.network("cls", 5)
    with pytest.raises(ValueError, match=r"accepted: npc\.TargetModel"):
        read_streams(target.model, images)
    with pytest.raises(ValueError, match="images must be"):
        read_streams(target, images[:, :1])
    with pytest.raises(ValueError, match="accepted: block, attention, ffn"):
        read_streams(target, images).at("mlp")
