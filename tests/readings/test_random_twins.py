"""Networks that have learnt nothing: the same for a seed, unlike the trained one, with a head that
ranks."""

from __future__ import annotations

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

import neuronpath_core as npc
from neuronpath_core.readings.random_twins import random_weights
from tests import helpers


@pytest.mark.parametrize("overrides", [{}, {"weight_init": "jax"}, {"init_values": 0.1},
                                       {"global_pool": "avg"}])
def test_a_twin_shares_the_architecture_and_nothing_else(overrides):
    target = npc.TargetModel(helpers.small_vit(**overrides))
    before = {name: value.clone() for name, value in target.model.state_dict().items()}
    state = torch.random.get_rng_state()
    twin, again, other = (random_weights(target, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    own = twin.model.state_dict()
    assert {name: value.shape for name, value in own.items()} == {
        name: value.shape for name, value in before.items()}
    assert (twin.scope, twin.dtype) == (target.scope, torch.float64)
    for name, value in own.items():
        assert torch.equal(value, again.model.state_dict()[name])
        assert torch.equal(target.model.state_dict()[name], before[name])
        if value.ndim > 1:
            assert not torch.equal(value, before[name])
            assert not torch.equal(value, other.model.state_dict()[name])
    assert (own["blocks.0.norm1.weight"] == 1).all()  # the trained one's were drawn
    if overrides.get("init_values"):
        assert (own["blocks.0.ls1.gamma"] == 0.1).all()


def test_a_head_of_zeros_is_drawn_anew_so_that_classes_have_ranks():
    torch.manual_seed(0)
    model = VisionTransformer(**helpers.SIZES | {"num_classes": 24, "embed_dim": 36,
                                                 "num_heads": 3}, weight_init="jax").double()
    target, (images, _) = npc.TargetModel(model), helpers.small_batch(4)
    assert not target(images).any()  # every rank would be arbitrary
    twin = random_weights(target, 0)
    weight = twin.model.head.weight
    # standard error of a standard deviation over 864 draws: 2.4 %
    assert abs(weight.std().item() / 0.02 - 1) < 0.1
    assert not twin.model.head.bias.any()
    assert all(len(set(row.tolist())) == 24 for row in twin(images))


def test_unknown_networks_and_seeds_are_refused():
    target = npc.TargetModel(helpers.small_vit())
    for arguments in ((target, -1), (target, True), (target, 0, 0.0)):
        with pytest.raises(ValueError, match="accepted"):
            random_weights(*arguments)
    with pytest.raises(ValueError, match="initial weights"):
        random_weights(npc.SiteModel(helpers.small_vit(), sites="attention"))
