"""Attention read and replaced where the model applies it: held to the product written out by hand."""

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import DiffAttention, VisionTransformer
from torch import nn

import neuronpath_core as npc
from neuronpath_core.model_state import ModelState
from neuronpath_core.readings.attention_maps import (
    attention,
    attention_maps,
    check_readable,
    renormalised,
)
from tests import helpers
from tests.helpers import network, small_batch, small_vit

# plain blocks, LayerScale, norms of queries and keys, registers, no class token
READ = ("cls", "cls-unfused", "cls-layerscale-qknorm", "cls-registers-prenorm", "avg-without-class-token")


def by_hand(model, stream, block):
    """The softmax of one block's queries and keys, head by head and image by image."""
    part, entering = model.blocks[block].attn, model.blocks[block].norm1(stream)
    width = part.head_dim
    found = []
    for tokens in entering:
        projected = tokens @ part.qkv.weight.T + part.qkv.bias
        heads = []
        for head in range(part.num_heads):
            query = part.q_norm(projected[:, head * width:(head + 1) * width])
            start = part.num_heads * width + head * width
            key = part.k_norm(projected[:, start:start + width])
            score = query @ key.T / np.sqrt(width)
            heads.append(torch.exp(score) / torch.exp(score).sum(1, keepdim=True))
        found.append(torch.stack(heads))
    return torch.stack(found)


@pytest.mark.parametrize("name", READ)
def test_weights_are_the_softmax_of_the_product(name):
    target, images, _ = network(name, 3)
    found = attention_maps(target, images)
    with torch.no_grad():
        stream = target.embed(images)
        for block in range(target.n_blocks):
            # two orders of summation in double precision: a few units of 1e-16 a term
            torch.testing.assert_close(found[block], by_hand(target.model, stream, block), rtol=0, atol=1e-13)
            stream = target.model.blocks[block](stream)
    torch.testing.assert_close(found.sum(-1), torch.ones_like(found[..., 0]), rtol=0, atol=1e-14)
    assert not torch.allclose(found, torch.full_like(found, 1 / found.shape[-1]), atol=1e-2)


def test_a_batch_is_its_images_one_by_one_in_either_precision():
    target, images, _ = network("cls", 3, batch=5)
    every = attention_maps(target, images)
    for image in range(len(images)):
        torch.testing.assert_close(attention_maps(target, images[image:image + 1])[:, 0], every[:, image],
                                   rtol=0, atol=1e-14)
    single = npc.TargetModel(small_vit(3).float())
    found = attention_maps(single, images.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), every, rtol=0, atol=1e-5)


def test_small_chunks_give_the_same(monkeypatch):
    target, images, _ = network("cls", 3, batch=5)
    every = attention_maps(target, images)
    monkeypatch.setattr("neuronpath_core.readings.attention_maps.images_at_once", lambda *_: 2)
    torch.testing.assert_close(attention_maps(target, images), every, rtol=0, atol=1e-14)


def test_the_model_is_put_back_whatever_happens():
    target, images, _ = network("cls", 3)
    before, logits = ModelState.of(target.model), target(images)
    with pytest.raises(RuntimeError, match="within"), attention(target) as kept:
        target(images)
        assert [len(weights) for weights in kept] == [1, 1, 1]
        raise RuntimeError("within")
    assert ModelState.of(target.model).same(before)
    assert torch.equal(target(images), logits)


def test_what_replaces_the_weights_is_what_the_model_goes_on_with():
    target, images, _ = network("cls", 3)
    with torch.no_grad():
        with attention(target, lambda block, weights: weights):
            torch.testing.assert_close(target(images), target(images), rtol=0, atol=0)
        with attention(target, lambda block, weights: torch.eye(weights.shape[-1]).double().expand_as(weights)):
            alone = target(images)
        # with every token looking at itself alone, the class token never sees a pixel
        torch.testing.assert_close(alone, alone[:1].expand_as(alone), rtol=0, atol=1e-13)
        assert (target(images)[0] - target(images)[1]).abs().max() > 1e-2


def test_uniform_weights_mean_the_mean_of_the_values():
    target, images, _ = network("cls", 3)
    with torch.no_grad(), attention(target, lambda block, weights: torch.full_like(
            weights, 1 / weights.shape[-1]) if block == 0 else weights):
        found = target(images)
        block, stream = target.model.blocks[0], target.embed(images)
    with torch.no_grad():
        value = block.attn.qkv(block.norm1(stream))[..., 2 * block.attn.attn_dim:]
        stream = stream + block.attn.proj(value.mean(1, keepdim=True).expand_as(stream))
        stream = target.run(stream + block.mlp(block.norm2(stream)), 1, 3)
        torch.testing.assert_close(target.family.logits(target.model, stream), found, rtol=0, atol=1e-12)


def test_a_mask_before_the_softmax_is_division_among_the_allowed():
    score = torch.randn(2, 3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    allowed = torch.rand(5, 5, generator=torch.Generator().manual_seed(1)) < 0.6
    allowed |= torch.eye(5, dtype=torch.bool)
    masked = score.masked_fill(~allowed, -torch.inf).softmax(-1)
    torch.testing.assert_close(renormalised(score.softmax(-1), allowed), masked, rtol=0, atol=1e-14)
    assert (masked - score.softmax(-1) * allowed).abs().max() > 0.05  # which is not the zeroed column
    with pytest.raises(ValueError, match="no weight on any allowed key; accepted"):
        renormalised(score.softmax(-1), torch.zeros(5, 5, dtype=torch.bool))


class Halved(nn.Module):
    def forward(self, weights):
        return weights / 2


def gated(model):
    model.blocks[1].attn.gate = nn.Linear(16, 16).double()


def dropping(model):
    model.blocks[1].attn.attn_drop = Halved().eval()


def difference(model):
    model.blocks[1].attn = DiffAttention(16, 2).double().eval()


@pytest.mark.parametrize(("change", "message"), [
    (gated, "block 1 .Attention. multiplies its output by a gate"),
    (dropping, "block 1 .Attention. has no attn_drop"),
    (difference, "block 1 .DiffAttention. "),
])
def test_attention_that_cannot_be_read_is_refused(change, message):
    model = small_vit(3)
    change(model)
    with pytest.raises(ValueError, match=message) as refused:
        check_readable(npc.TargetModel(model))
    assert "accepted" in str(refused.value) and "\n" not in str(refused.value)


def test_a_scale_that_the_fused_kernel_ignores_is_refused():
    model = small_vit(3, fused=True)
    model.blocks[2].attn.scale *= 1.5
    with pytest.raises(ValueError, match="other logits while its attention is read; accepted"):
        attention_maps(npc.TargetModel(model), small_batch()[0])


def test_replacements_of_another_shape_are_refused():
    target, images, _ = network("cls", 3)
    with pytest.raises(ValueError, match="block 0 were replaced by .*accepted"), attention(
            target, lambda block, weights: weights[0]):
        target(images)


def test_bad_input_is_refused():
    target, images, _ = network("cls", 3)
    with pytest.raises(ValueError, match="images must be"):
        attention_maps(target, images[0])
    with pytest.raises(ValueError, match="a TargetModel is needed"):
        attention_maps(target.model, images)


def test_rotary_blocks_are_read_as_well():
    from timm.models.eva import Eva

    torch.manual_seed(0)
    model = Eva(img_size=16, patch_size=4, embed_dim=32, depth=2, num_heads=2, num_classes=5, use_rot_pos_emb=True,
                use_abs_pos_emb=True).double()
    target = npc.TargetModel(model)
    images = small_batch(size=16)[0]
    found = attention_maps(target, images)
    assert found.shape == (2, 3, 2, 17, 17)
    torch.testing.assert_close(found.sum(-1), torch.ones_like(found[..., 0]), rtol=0, atol=1e-13)


def test_the_small_network_is_fused_unless_told_otherwise():
    assert all(block.attn.fused_attn for block in helpers.small_vit(1).blocks)
    assert isinstance(helpers.small_vit(1), VisionTransformer)
