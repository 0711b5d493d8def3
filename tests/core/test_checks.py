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
