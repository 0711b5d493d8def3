"""What is changed about a model after its target was made is followed or refused in one line."""

import copy

import pytest
import torch
from torch import nn

import neuronpath_core as npc
from neuronpath_core.interventions import class_probabilities
from tests import helpers


def assert_refused(target, words):
    images, labels = helpers.small_batch(2, 32)
    for call in (lambda: npc.find_paths(target, images, labels),
                 lambda: class_probabilities(target, images),
                 lambda: npc.read_activations(target, images)):
        with pytest.raises(ValueError, match=words) as refusal:
            call()
        assert "accepted" in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("sites", ["ffn", "mixed"])
def test_a_block_that_is_appended(sites):
    model = helpers.small_vit(31)
    target = npc.SiteModel(model, sites=sites)
    model.blocks.append(copy.deepcopy(model.blocks[0]))
    assert_refused(target, "no longer those with which the TargetModel was made")


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_registers_that_are_added(scope):
    model = helpers.small_vit(31, no_embed_class=True, dynamic_img_size=True,
                              global_pool="token" if scope == "cls" else "avg")
    target, (images, labels) = npc.TargetModel(model), helpers.small_batch(2, 32)
    model.reg_token = nn.Parameter(torch.ones(1, 2, model.embed_dim).double())
    model.num_prefix_tokens, model.num_reg_tokens = 3, 2
    if scope == "patch":
        assert_refused(target, "has 3 tokens before its patches, it had 1")
    else:
        found, again = (npc.find_paths(each, images, labels)
                        for each in (target, npc.TargetModel(model)))
        assert torch.equal(found.neurons, again.neurons)


def compiled(model):
    model.blocks = torch.compile(model.blocks, backend="eager")


# what is put in later, and how its refusal begins
PARTS = {
    "a block": (lambda model: model.blocks.__setitem__(1, nn.Identity()), "^block 1 is Identity"),
    "an FFN": (lambda model: setattr(model.blocks[1], "mlp", nn.Identity()),
               "^block 1 is Block with FFN Identity"),
    "fc2": (lambda model: setattr(model.blocks[1].mlp, "fc2",
                                  nn.Sequential(model.blocks[1].mlp.fc2)),
            "^fc2 of block 1 is Sequential; accepted: a linear layer"),
    "blocks": (compiled, "^model.blocks is OptimizedModule"),
    "patches": (lambda model: setattr(model.patch_embed, "proj",
                                      nn.Sequential(model.patch_embed.proj)),
                "^patch embedding PatchEmbed of Sequential"),
    "attention": (lambda model: setattr(model.blocks[1], "attn", nn.Identity()),
                  "^the model cannot be called on some of these images: TypeError"),
    "a mask of classes": (lambda model: model.register_forward_hook(
        lambda _model, _given, out: out.index_fill(1, torch.tensor([1]), -torch.inf)),
        "^the model's logits are not finite"),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_another_kind_is_refused_in_the_librarys_words(part):
    model = helpers.small_vit(31)
    target = npc.TargetModel(model)
    PARTS[part][0](model)
    model.eval()
    assert_refused(target, PARTS[part][1])


def test_an_attention_of_another_kind_is_refused_for_its_sites():
    model = helpers.small_vit(31)
    target = npc.SiteModel(model)
    model.blocks[1].attn = nn.Identity().eval()
    assert_refused(target, "^block 1.*accepted")


def test_a_target_of_compiled_blocks_is_refused():
    model = helpers.small_vit(31)
    compiled(model)
    with pytest.raises(ValueError, match="^model.blocks is OptimizedModule.*accepted"):
        npc.TargetModel(model)
