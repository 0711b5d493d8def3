"""Everything that must be refused: a ``ValueError`` of one line that says what is accepted."""

import math
from functools import partial

import pytest
import torch
from timm.models.vision_transformer import ParallelScalingBlock, ResPostBlock, VisionTransformer
from timm.models.vision_transformer_hybrid import HybridEmbed
from torch import nn

import neuronpath_core as npc
from tests import helpers

MODEL = helpers.small_vit(91)
TARGET = npc.TargetModel(MODEL)
IMAGES, LABELS = helpers.small_batch(3, 92)
NEURONS = torch.tensor([[0, 1, 2], [3, 4, 5], [6, 7, 15]])

# each takes images and labels by keyword and is otherwise right
CALLS = {
    "find_paths": lambda images=IMAGES,
    labels=LABELS: npc.find_paths(TARGET, images, labels, steps=2),
    "activation": lambda images=IMAGES,
    labels=LABELS: npc.find_paths(TARGET, images, labels, method="activation", steps=2),
    "influence_pattern":
        lambda images=IMAGES, labels=LABELS: npc.find_paths(TARGET, images, labels,
                                                            method="influence_pattern", steps=2),
    "eq9": lambda images=IMAGES,
    labels=LABELS: npc.find_paths(TARGET, images, labels, method="influence_pattern_eq9", steps=2),
    "random": lambda images=IMAGES,
    labels=LABELS: npc.find_paths(TARGET, images, labels, method="random", steps=2),
    "joint": lambda images=IMAGES,
    labels=LABELS: npc.joint_attribution_score(TARGET, images, labels, NEURONS, steps=2),
    "complete": lambda images=IMAGES,
    labels=LABELS: npc.complete_attribution(TARGET, images, labels, NEURONS),
    "knowledge": lambda images=IMAGES,
    labels=LABELS: npc.knowledge_attribution(TARGET, images, labels, steps=2),
}
READ = {"read_activations": lambda images=IMAGES: npc.read_activations(TARGET, images)}


def refused(call, *words):
    """The one-line message of the ``ValueError`` that ``call`` raises, holding every word."""
    before = helpers.Snapshot(MODEL)
    with pytest.raises(ValueError, match=r".+") as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    before.check()
    return message


def with_value(images, value, at=(2, 1, 7, 7)):
    images = images.clone()
    images[at] = value
    return images


def enter(context):
    with context:
        pass


def test_the_calls_themselves_are_right():
    for call in (*CALLS.values(), *READ.values()):
        call()


# --- images and labels ---


@pytest.mark.parametrize("call", {**CALLS, **READ}.values(), ids={**CALLS, **READ})
@pytest.mark.parametrize(("images", "words"), [
    (IMAGES[0], ["images", "(batch, 3, 8, 8)", "(3, 8, 8)"]),
    (IMAGES[None], ["images", "(batch, 3, 8, 8)"]),
    (IMAGES[..., :4], ["images", "(batch, 3, 8, 8)", "(3, 3, 8, 4)"]),
    (IMAGES.repeat(1, 1, 2, 2), ["images", "(batch, 3, 8, 8)", "(3, 3, 16, 16)"]),
    (IMAGES[:, :1], ["images", "(batch, 3, 8, 8)", "(3, 1, 8, 8)"]),
    (IMAGES[:0], ["images", "at least one", "empty"]),
    (IMAGES.numpy(), ["images", "tensor", "ndarray"]),
    (None, ["images", "tensor", "NoneType"]),
    (IMAGES.float(), ["float32", "accepted", "float64"]),
    (IMAGES.half(), ["float16", "accepted", "float64"]),
    ((IMAGES * 100).to(torch.uint8), ["uint8", "accepted", "float64"]),
    (with_value(IMAGES, math.nan), ["images", "NaN", "finite"]),
    (with_value(IMAGES, math.inf), ["images", "infinite", "finite"]),
    (with_value(IMAGES, -math.inf), ["images", "infinite", "finite"]),
], ids=["3 axes", "5 axes", "narrow", "large", "1 channel", "empty", "numpy", "None",
        "float32", "float16", "uint8", "NaN", "inf", "-inf"])
def test_images(call, images, words):
    refused(lambda: call(images=images), *words)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(("labels", "words"), [
    (torch.tensor([0, 1, 5]), ["labels", "0..4", "5"]),
    (torch.tensor([0, -1, 4]), ["labels", "0..4", "-1"]),
    (torch.tensor([0.0, 1.0, 2.0]), ["labels", "int64", "float32"]),
    (torch.tensor([0, 1, 2], dtype=torch.int32), ["labels", "int64", "int32"]),
    (torch.tensor([True, False, True]), ["labels", "int64", "bool"]),
    (torch.tensor([0, 1]), ["labels", "(3,)", "(2,)"]),
    (torch.tensor([0]), ["labels", "(3,)", "(1,)"]),
    (torch.tensor(1), ["labels", "(3,)", "()"]),
    (torch.tensor([[0], [1], [2]]), ["labels", "(3,)", "(3, 1)"]),
    (torch.tensor([], dtype=torch.int64), ["labels", "(3,)", "(0,)"]),
    ([0, 1, 2], ["labels", "tensor", "list"]),
    (2, ["labels", "tensor", "int"]),
], ids=["too large", "negative", "float", "int32", "bool", "short", "one", "scalar", "column",
        "empty", "list", "number"])
def test_labels(call, labels, words):
    refused(lambda: call(labels=labels), *words)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_labels_that_are_none(call):
    refused(lambda: call(labels=None), "labels", "int64", "(3,)")


@pytest.mark.parametrize("method", npc.METHODS)
def test_a_size_that_patches_do_not_divide(method):
    target = npc.TargetModel(helpers.small_vit(91, dynamic_img_size=True))
    # any multiple of 4 will do
    npc.find_paths(target, torch.ones(3, 3, 12, 8, dtype=torch.float64), LABELS, method=method,
                   steps=1)
    with pytest.raises(ValueError, match="multiple"):
        npc.find_paths(target, torch.zeros(3, 3, 9, 9, dtype=torch.float64), LABELS, method=method,
                       steps=1)


# --- neurons ---


@pytest.mark.parametrize("call", [
    lambda neurons: npc.joint_attribution_score(TARGET, IMAGES, LABELS, neurons, steps=2),
    lambda neurons: npc.complete_attribution(TARGET, IMAGES, LABELS, neurons),
    lambda neurons: enter(npc.edit(TARGET, neurons, "remove")),
], ids=["joint", "complete", "edit"])
@pytest.mark.parametrize(("neurons", "words"), [
    (NEURONS[:, :2], ["neurons", "(batch, 3)", "(3, 2)"]),
    (NEURONS[0], ["neurons", "(batch, 3)", "(3,)"]),
    (NEURONS[..., None, None], ["neurons", "(batch, 3, rank)"]),
    (NEURONS.double(), ["neurons", "int64", "float64"]),
    (NEURONS.int(), ["neurons", "int64", "int32"]),
    (NEURONS.tolist(), ["neurons", "tensor", "list"]),
    (None, ["neurons", "tensor"]),
    (NEURONS + 1, ["neuron", "0..15"]),
    (NEURONS - 1, ["neuron", "0..15"]),
    (NEURONS[:, :, None].expand(-1, -1, 2), ["neurons", "differ"]),
    (NEURONS[:, :, None][..., :0], ["neuron"]),
], ids=["few blocks", "1 axis", "4 axes", "float", "int32", "list", "None", "too large", "negative",
        "twice", "none a block"])
def test_neurons(call, neurons, words):
    refused(lambda: call(neurons), *words)


@pytest.mark.parametrize("call", [npc.joint_attribution_score, npc.complete_attribution])
@pytest.mark.parametrize("neurons", [NEURONS[:1], NEURONS[:2], NEURONS.repeat(2, 1)])
def test_neurons_of_another_number_of_images(call, neurons):
    refused(lambda: call(TARGET, IMAGES, LABELS, neurons), "3", str(len(neurons)), "images")


def test_an_edit_for_another_number_of_images():
    def call():
        with npc.edit(TARGET, NEURONS[:2], "remove"):
            TARGET(IMAGES)
    refused(call, "2 images", "3", "accepted")


# --- settings ---


@pytest.mark.each_value
@pytest.mark.parametrize(("argument", "value", "words"), [
    ("method", "neuron-path", ["method", "neuron_path", "activation", "influence_pattern",
                               "random"]),
    ("method", "", ["method", "accepted"]),
    ("method", None, ["method", "accepted"]),
    ("search", "greedy", ["search", "joint", "literal", "beam"]),
    ("search", None, ["search", "joint", "literal", "beam"]),
    ("context", "half", ["context", "auto", "full", "frozen", "mixed"]),
    ("context", None, ["context", "auto", "full", "frozen", "mixed"]),
    ("quadrature", "trapezoid", ["quadrature", "left", "right", "midpoint", "gauss-legendre"]),
    ("quadrature", "LEFT", ["quadrature", "left"]),
    ("quadrature", None, ["quadrature", "left"]),
    ("steps", 0, ["steps", "at least 1", "0"]),
    ("steps", -1, ["steps", "at least 1", "-1"]),
    ("steps", 1.5, ["steps", "whole", "1.5"]),
    ("steps", 20.0, ["steps", "whole", "20.0"]),
    ("steps", True, ["steps", "whole", "True"]),
    ("steps", "20", ["steps", "whole", "'auto'"]),
    ("steps", "Auto", ["steps", "whole", "'auto'"]),
    ("steps", [20, 0], ["steps", "whole"]),
    ("nodes", 0, ["nodes", "1..4", "0"]),
    ("nodes", -1, ["nodes", "1..4", "-1"]),
    ("nodes", 5, ["nodes", "1..4", "5"]),
    ("nodes", 2.0, ["nodes", "whole", "2.0"]),
    ("nodes", True, ["nodes", "whole", "True"]),
    ("nodes", "2", ["nodes", "whole"]),
    ("exact_steps", 0, ["exact_steps", "at least 1", "0"]),
    ("exact_steps", 1.5, ["exact_steps", "whole", "1.5"]),
    ("exact_steps", True, ["exact_steps", "whole", "True"]),
    ("exact_steps", "2", ["exact_steps", "whole"]),
    ("width", 0, ["width", "1..16", "0"]),
    ("width", 17, ["width", "1..16", "17"]),
    ("width", 2.0, ["width", "whole", "2.0"]),
    ("width", True, ["width", "whole", "True"]),
    ("width", None, ["width", "whole"]),
    ("memory_budget", 0, ["memory_budget", "positive", "0"]),
    ("memory_budget", -1, ["memory_budget", "positive", "-1"]),
    ("memory_budget", "6 GBit", ["memory_budget", "'6GB'", "'6 GBit'"]),
    ("memory_budget", "", ["memory_budget", "'6GB'"]),
    ("memory_budget", True, ["memory_budget", "positive", "True"]),
    ("memory_budget", math.nan, ["memory_budget", "positive", "nan"]),
    ("memory_budget", math.inf, ["memory_budget", "positive", "inf"]),
    ("memory_budget", [1], ["memory_budget", "positive"]),
    ("memory_budget", 1, ["memory_budget", "too small", "at least"]),
    ("memory_budget", "1 B", ["memory_budget", "too small", "at least"]),
    ("top", 0, ["top", "1..16", "0"]),
    ("top", -1, ["top", "1..16", "-1"]),
    ("top", 17, ["top", "1..16", "17"]),
    ("top", 1.0, ["top", "whole", "1.0"]),
    ("top", True, ["top", "whole", "True"]),
    ("seed", -1, ["seed", "at least 0", "-1"]),
    ("seed", 0.5, ["seed", "whole", "0.5"]),
    ("seed", None, ["seed", "whole"]),
])
@pytest.mark.parametrize("method", npc.METHODS)
def test_settings_of_find_paths(method, argument, value, words):
    """Refused by every method, also by those that do not use the setting."""
    refused(lambda: npc.find_paths(TARGET, IMAGES, LABELS, **{"method": method, argument: value}),
            *words)


@pytest.mark.parametrize("method",
                         [method for method in npc.METHODS
                          if method not in ("neuron_path", "complete")])
def test_automatic_steps_are_for_the_search(method):
    refused(lambda: npc.find_paths(TARGET, IMAGES, LABELS, method=method, steps="auto"), "steps",
            "'auto'", "neuron_path")


def test_settings_that_do_not_go_together():
    refused(lambda: npc.find_paths(TARGET, IMAGES, LABELS, steps="auto", nodes=2), "steps",
            "'auto'", "nodes")
    refused(lambda: npc.find_paths(TARGET, IMAGES, LABELS, search="beam", top=2), "top", "beam",
            "2")


@pytest.mark.parametrize("context", ["frozen", "mixed"])
@pytest.mark.parametrize("target", [
    npc.TargetModel(MODEL, scope="patch"),
    npc.TargetModel(helpers.small_vit(91, global_pool="avg")),
    npc.TargetModel(helpers.small_vit(91, global_pool="avg"), scope="cls")],
                         ids=["patch of class token", "patch", "class token of averaging"])
def test_contexts_that_a_model_does_not_allow(target, context):
    refused(lambda: npc.find_paths(target, IMAGES, LABELS, context=context), "context",
            "class token", "accepted here: full")
    npc.find_paths(target, IMAGES, LABELS, context="auto", steps=1)


@pytest.mark.parametrize("call", [
    lambda quadrature="left", steps=2: npc.quadrature_rule(quadrature, steps),
    lambda quadrature="left", steps=2: npc.joint_attribution_score(TARGET, IMAGES, LABELS, NEURONS,
                                                                   quadrature, steps),
    lambda quadrature="left", steps=2: npc.knowledge_attribution(TARGET, IMAGES, LABELS, quadrature,
                                                                 steps),
], ids=["quadrature_rule", "joint", "knowledge"])
def test_rules_and_steps(call):
    for rule in ("simpson", "", None, 1, "gauss"):
        refused(lambda rule=rule: call(quadrature=rule), "quadrature",
                "left, right, midpoint, gauss-legendre")
    for steps in (0, -1, 1.5, True, "20", None, 20.0):
        refused(lambda steps=steps: call(steps=steps), "steps", "at least 1", repr(steps))


def test_scaling_of_knowledge_attribution():
    refused(lambda: npc.knowledge_attribution(TARGET, IMAGES, LABELS, scaling="layer"), "scaling",
            "block", "neuron")


@pytest.mark.parametrize(("operation", "words"), [
    ("zero", ["operation", "remove", "enhance", "factor"]), ("", ["operation", "remove"]),
    ("2", ["operation", "factor"]),
    (math.nan, ["factor", "finite"]), (math.inf, ["factor", "finite"]),
    (-math.inf, ["factor", "finite"])])
def test_operations(operation, words):
    refused(lambda: enter(npc.edit(TARGET, NEURONS, operation)), *words)


@pytest.mark.parametrize("operation", [None, [0.0], {}])
def test_operations_that_are_no_numbers(operation):
    refused(lambda: enter(npc.edit(TARGET, NEURONS, operation)), "operation", "remove", "enhance",
            "factor")


# --- models ---


@pytest.mark.parametrize("scope", ["CLS", "token", "", None, 0])
def test_scopes(scope):
    refused(lambda: npc.TargetModel(MODEL, scope=scope), "scope", "auto, cls, patch")


def test_a_class_token_that_is_not_there():
    model = helpers.small_vit(91, global_pool="avg", class_token=False)
    refused(lambda: npc.TargetModel(model, scope="cls"), "cls", "class token", "patch")
    assert npc.TargetModel(model).scope == "patch"


def test_auto_scope_refuses_to_guess():
    refused(lambda: npc.TargetModel(helpers.small_vit(91, global_pool="prr")), "auto", "'prr'",
            "cls", "patch")


@pytest.mark.parametrize("model", [nn.Linear(3, 3), nn.Sequential(MODEL), None,
                                   "vit_tiny_patch16_224", VisionTransformer],
                         ids=["linear", "wrapped", "None", "name", "class"])
def test_models_that_are_no_vision_transformer(model):
    refused(lambda: npc.TargetModel(model), "VisionTransformer", "got")


@pytest.mark.parametrize("block", [ResPostBlock, ParallelScalingBlock])
def test_blocks_of_another_kind(block):
    model = VisionTransformer(**helpers.SIZES, block_fn=block)
    refused(lambda: npc.TargetModel(model), "block 0", block.__name__, "pre-norm Block")


def test_a_model_without_a_head():
    refused(lambda: npc.TargetModel(VisionTransformer(**{**helpers.SIZES, "num_classes": 0})),
            "head", "num_classes")


def test_blocks_of_different_width():
    model = helpers.small_vit(91)
    model.blocks[1].mlp.fc1 = nn.Linear(16, 8).double()
    model.blocks[1].mlp.fc2 = nn.Linear(8, 16).double()
    refused(lambda: npc.TargetModel(model), "same number")


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["head.weight", "blocks.2.mlp.fc2.bias", "cls_token"])
def test_weights_that_are_not_finite(name, value):
    model = helpers.small_vit(91)
    target = npc.TargetModel(model)
    with torch.no_grad():
        model.get_parameter(name).view(-1)[-1] = value
    refused(lambda: npc.TargetModel(model), "finite", name)
    # also when they went bad after the target was made
    refused(lambda: npc.joint_attribution_score(target, IMAGES, LABELS, NEURONS), "finite", name)
    refused(lambda: npc.complete_attribution(target, IMAGES, LABELS, NEURONS), "finite", name)
    refused(lambda: npc.knowledge_attribution(target, IMAGES, LABELS), "finite", name)
    for method in npc.METHODS:
        refused(lambda method=method: npc.find_paths(target, IMAGES, LABELS, method=method),
                "finite", name)


@pytest.mark.parametrize("call", [
    lambda target: npc.read_activations(target, IMAGES),
    lambda target: enter(npc.edit(target, NEURONS, "remove")),
], ids=["read_activations", "edit"])
def test_weights_that_go_bad_before_reading_or_editing(call):
    model = helpers.small_vit(91)
    target = npc.TargetModel(model)
    with torch.no_grad():
        model.blocks[0].mlp.fc1.weight[0, 0] = math.nan
    refused(lambda: call(target), "finite", "blocks.0.mlp.fc1.weight")


def test_a_model_that_does_not_pool():
    """``global_pool=""`` has a logit for every token, so there is no probability of the label."""
    refused(lambda: npc.TargetModel(helpers.small_vit(91, global_pool=""), scope="cls"), "pool")


def test_a_hybrid_with_a_convolutional_stem_is_refused_by_name():
    stem = nn.Sequential(nn.Conv2d(3, 6, 2, 2), nn.ReLU())
    embed = partial(HybridEmbed, backbone=stem, dynamic_img_pad=False)
    model = VisionTransformer(**{**helpers.SIZES, "patch_size": 2}, embed_layer=embed).double()
    refused(lambda: npc.TargetModel(model), "HybridEmbed", "accepted")


def test_inference_mode_is_refused():
    with torch.inference_mode():
        refused(lambda: npc.find_paths(TARGET, IMAGES.clone(), LABELS), "inference_mode",
                "accepted")

