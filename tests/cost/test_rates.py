"""What a pass of a block is measured to take: which kinds there are, how much is timed together,
and what stands in for a large network."""

import time

import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.cost import passes, rates
from neuronpath_core.fast.blocks import PlainBlock
from neuronpath_core.support import memory
from neuronpath_core.variants.sites import SiteModel
from tests import helpers, small_study

CLASS_TOKEN = {"forward", "gradient", "tangent", "held_gradient", "last_forward", "last_gradient",
               "last_tangent"}
FROZEN = {"frozen_gradient", "frozen_tangent", "keys_values"}


def target_of(name: str, **overrides) -> npc.TargetModel:
    arguments, scope = helpers.NETWORKS[name]
    return npc.TargetModel(helpers.small_vit(7, **{**arguments, **overrides}), scope)


@pytest.mark.parametrize(("name", "kinds"), [
    ("cls", CLASS_TOKEN | FROZEN),
    ("cls-of-averaging", {"forward", "gradient", "tangent", "held_gradient"}),
    ("avg", {"forward", "gradient", "tangent", "held_gradient", "held_forward", "held_backward"}),
    ("patch-of-class-token", CLASS_TOKEN | {"held_forward", "held_backward"}),
])
def test_every_kind_that_a_model_allows_is_measured_and_no_other(name, kinds):
    found = rates.measured_rates(target_of(name), seconds=0)
    assert set(found) == kinds
    assert all(value >= 0 for value in found.values()) and found["forward"] > 0 and found[
        "gradient"] > 0


@pytest.mark.parametrize("name", ["cls", "cls-embed-apart", "cls-of-averaging", "avg",
                                  "patch-of-class-token", "patch-attention-pool"])
def test_whatever_a_search_does_has_a_rate(name):
    target = target_of(name)
    found = rates.measured_rates(target, seconds=0)
    for method in npc.METHODS:
        for search in ("joint", "literal", "beam"):
            for context in ("auto", "full"):
                assert passes.path_passes(target, {"method": method, "search": search,
                                                   "context": context}).seconds(found) > 0


@pytest.mark.each_value
@pytest.mark.parametrize("sites", ["attention", "heads", "mixed", "halves"])
@pytest.mark.parametrize("pool", ["token", "avg"])
def test_layers_that_are_no_whole_blocks_have_rates_too(pool, sites):
    target = SiteModel(helpers.small_vit(7, global_pool=pool), sites=sites)
    found = rates.measured_rates(target, seconds=0)
    assert passes.path_passes(target, {}).seconds(found) > 0


@pytest.mark.parametrize("sizes", [{"depth": 1}, {"depth": 2}])
def test_networks_of_few_blocks_are_measured_too(sizes):
    assert set(rates.measured_rates(target_of("cls", **sizes), seconds=0)) == CLASS_TOKEN | FROZEN


def test_as_many_copies_are_passed_together_as_a_chunk_holds(monkeypatch):
    target, seen = target_of("cls"), []
    budget = 5 * memory.copy_bytes(target) + 1
    forward = PlainBlock.__call__
    monkeypatch.setattr(PlainBlock, "__call__", lambda block, stream,
                        *rest: seen.append(len(stream)) or forward(block, stream, *rest))
    with npc.support.memory.memory_limit(target, budget):
        rates.measured_rates(target, seconds=0)
    assert set(seen) == {5}


def test_on_several_threads_as_many_copies_are_passed_side_by_side(monkeypatch):
    target, seen = target_of("cls"), []
    forward = PlainBlock.__call__
    monkeypatch.setattr(PlainBlock, "__call__", lambda block, stream,
                        *rest: seen.append(len(stream)) or forward(block, stream, *rest))
    with helpers.threads(2), npc.support.memory.memory_limit(target, 6 * memory.copy_bytes(target) + 2):
        rates.measured_rates(target, seconds=0)
    assert set(seen) == {3}


def test_a_pass_that_sleeps_is_measured_to_take_as_long(monkeypatch):
    target, copies = target_of("cls"), 4
    forward = PlainBlock.__call__

    def slow(block, stream, *rest):
        time.sleep(0.02)
        return forward(block, stream, *rest)

    monkeypatch.setattr(PlainBlock, "__call__", slow)
    with npc.support.memory.memory_limit(target, copies * memory.copy_bytes(target) + 1):
        found = rates.measured_rates(target, seconds=0)
    for kind in ("forward", "gradient", "held_gradient", "last_forward", "last_gradient"):
        assert found[kind] >= 0.02 / copies, kind


def test_the_network_is_left_as_it_was():
    target = target_of("patch-of-class-token")
    snapshot = helpers.Snapshot(target.model)
    rates.measured_rates(target, seconds=0)
    snapshot.check()


@pytest.mark.each_value
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("pool", ["token", "avg"])
def test_a_stand_in_has_the_sizes_of_the_network_and_one_block(pool, dtype):
    spec = {"architecture": {**small_study.ARCHITECTURE, "global_pool": pool, "depth": 5},
            "weights": "nowhere.safetensors"}
    target, weight_bytes = rates.stand_in(spec, "cpu", dtype)
    real = npc.TargetModel(rates.build.build_model(spec).to(getattr(torch, dtype)))
    for name in ("n_blocks", "n_neurons", "n_tokens", "n_classes", "scope", "tokens", "dtype",
                 "classifies_alone"):
        assert getattr(target, name) == getattr(real, name), name
    assert len({id(block.mlp.fc2.weight) for block in target.model.blocks}) == 1
    assert memory.copy_bytes(target) == memory.copy_bytes(real)
    assert weight_bytes == sum(value.numel() * value.element_size()
                               for value in real.model.state_dict().values())
    assert rates.measured_rates(target, seconds=0)["gradient"] > 0


LARGE = {"ViT-B/16": ("vit_base_patch16_224", 86_567_656),
         "ViT-B/32": ("vit_base_patch32_224", 88_224_232)}
ARCHITECTURES = {"ViT-L/32": ({"patch_size": 32, "embed_dim": 1024, "depth": 24, "num_heads": 16},
                              306_535_400),
                 "ViT-B/16, averaging": ({"patch_size": 16, "global_pool": "avg"}, 86_567_656)}


@pytest.mark.parametrize("name", [*LARGE, *ARCHITECTURES])
def test_a_large_network_stands_in_with_all_its_weights_counted_and_a_small_part_of_them_made(name):
    spec = {"timm": LARGE[name][0]} if name in LARGE else {"architecture": {"img_size": 224,
                                                                            **ARCHITECTURES[name][
        0]}}
    target, weight_bytes = rates.stand_in(spec, "cpu", "float32")
    assert weight_bytes == 4 * (LARGE | ARCHITECTURES)[name][1]
    assert sum(parameter.numel() for parameter in target.model.parameters()) < weight_bytes / 4 / 4
    assert target.n_blocks in (12, 24) and target.scope == ("patch" if "averaging" in name
                                                            else "cls")


@pytest.mark.parametrize(("spec", "device", "dtype", "words"), [
    ({}, "cpu", "float64", "architecture"), ({"timm": "vit_unheard_of"}, "cpu", "float64",
                                             "cannot be built"),
    ({"timm": "resnet18"}, "cpu", "float64", "accepted: timm's VisionTransformer"),
    ({"timm": "vit_tiny_patch16_224"}, "cuda:7", "float64", "cuda:7"),
    ({"timm": "vit_tiny_patch16_224"}, "cpu", "float128", "accepted: float64"),
])
def test_what_cannot_stand_in_is_refused_in_one_line(spec, device, dtype, words):
    with pytest.raises(ValueError, match=words) as error:
        rates.stand_in(spec, device, dtype)
    assert "\n" not in str(error.value)
