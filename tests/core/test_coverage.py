"""Every common kind of vision Transformer: what the library computes of it, against slow twins that
know hooks on ``fc2`` and the network's own forward."""

import functools
import math

import pytest
import timm
import torch
from timm.layers import GluMlp, Mlp, RmsNorm, SwiGLU, SwiGLUPacked
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva
from timm.models.mlp_mixer import MlpMixer
from timm.models.vision_transformer import (
    Block,
    ParallelThingsBlock,
    VisionTransformer,
    checkpoint_filter_fn,
)
from torch import nn

import neuronpath_core as npc
from neuronpath_core.families import family_of, resolve_scope
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.models.zero_shot import ZeroShotHead, zero_shot, zero_shot_head
from neuronpath_core.support import memory
from tests import helpers, twins

PATCHES = 4
# two blocks of few neurons: the twins run the whole network once for every node of every rule
EVA = {"img_size": 8, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2,
       "mlp_ratio": 0.5, "num_classes": 5}
VIT = {**helpers.SIZES, "depth": 2, "mlp_ratio": 0.5}
DINOV3 = {"class_token": True, "num_reg_tokens": 2, "use_abs_pos_emb": False,
          "use_rot_pos_emb": True, "rope_type": "dinov3", "rope_rotate_half": True,
          "init_values": 0.3, "qkv_bias": False, "use_fc_norm": False,
          "use_post_transformer_norm": True}
EVA02 = {"qkv_fused": False, "swiglu_mlp": True, "use_rot_pos_emb": True, "ref_feat_shape": (3, 3)}
CLIP = {"pre_norm": True, "act_layer": "quick_gelu", "num_classes": 6}
SIGLIP = {"class_token": False, "global_pool": "map", "act_layer": "gelu_tanh", "num_classes": 0}


def vit(seed=1, **overrides):
    return helpers.fill(VisionTransformer(**{**VIT, **overrides}), seed)


def eva(seed=1, **overrides):
    return helpers.fill(Eva(**{**EVA, **overrides}), seed)


def distilled(seed=1, **overrides):
    return helpers.fill(VisionTransformerDistilled(**{**VIT, **overrides}), seed)


def prototypes(classes=5, width=6, seed=11):
    """Embeddings of classes, of different lengths."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(classes, width, dtype=torch.float64,
                       generator=generator) * torch.linspace(0.5, 2, classes,
                                                             dtype=torch.float64)[:, None]


def tower(width, model):
    model.head = zero_shot_head(model, prototypes(width=width), 4.0,
                                bias=torch.linspace(-0.2, 0.2, 5))
    return model


# name -> (the network, its own scope)
ZOO = {
    "class token": (vit, "cls"),
    "average": (lambda: vit(global_pool="avg"), "patch"),
    "average without class token": (lambda: vit(global_pool="avg", class_token=False), "patch"),
    "maximum": (lambda: vit(global_pool="max"), "patch"),
    "distilled": (distilled, "cls"),
    "distilled of any size": (lambda: distilled(dynamic_img_size=True), "cls"),
    "dinov2": (lambda: vit(reg_tokens=2, init_values=0.2, no_embed_class=True), "cls"),
    "dinov2 swiglu": (lambda: vit(reg_tokens=2, init_values=0.2, mlp_layer=SwiGLUPacked,
                                  act_layer="silu", mlp_ratio=1.0), "cls"),
    "glu, gate last": (lambda: vit(global_pool="avg", mlp_layer=GluMlp, act_layer="sigmoid",
                                   mlp_ratio=1.0, scale_mlp_norm=True), "patch"),
    "swiglu apart with norm": (lambda: vit(mlp_layer=SwiGLU, act_layer="silu", scale_mlp_norm=True),
                               "cls"),
    "rms norm": (lambda: vit(norm_layer=RmsNorm, mlp_layer=SwiGLU, act_layer="silu",
                             global_pool="avg", class_token=False, qkv_bias=False), "patch"),
    "qk-norm": (lambda: vit(qk_norm=True, global_pool="map", class_token=False), "patch"),
    "clip": (lambda: tower(6, vit(**CLIP)), "cls"),
    "siglip": (lambda: tower(16, vit(**SIGLIP)), "patch"),
    "siglip, one gap": (lambda: tower(16,
                                      vit(**{**SIGLIP, "global_pool": "avg", "fc_norm": False})),
                        "patch"),
    "any size": (lambda: vit(dynamic_img_size=True), "cls"),
    "eva": (lambda: eva(global_pool="token", qkv_fused=True), "cls"),
    "eva02": (lambda: eva(**EVA02), "patch"),
    "eva02 swiglu norm": (lambda: eva(**EVA02, scale_mlp=True, scale_attn_inner=True,
                                      init_values=0.3), "patch"),
    "dinov3": (lambda: eva(**DINOV3, global_pool="token", dynamic_img_size=True), "cls"),
    "dinov3 average": (lambda: eva(**DINOV3, dynamic_img_size=True, swiglu_mlp=True,
                                   swiglu_align_to=4), "patch"),
    "perception encoder": (lambda: tower(6, eva(global_pool="map", num_classes=6,
                                                use_pre_transformer_norm=True, use_rot_pos_emb=True,
                                                rope_grid_offset=1.0)),
                           "patch"),
    "mixed rope": (lambda: eva(global_pool="token", qkv_fused=False, attn_type="rope",
                               use_rot_pos_emb=True, rope_type="mixed", init_values=0.3), "cls"),
    "grouped queries": (lambda: eva(global_pool="token", qkv_fused=False, attn_type="rope",
                                    use_rot_pos_emb=True, num_kv_heads=1, qk_norm=True,
                                    init_values=0.3, attn_only_layer_scale=True,
                                    norm_layer=RmsNorm), "cls"),
}
PICTURES, LABELS = helpers.small_batch(2, 701)


@functools.cache
def network(name):
    return ZOO[name][0]()


@pytest.fixture(params=ZOO)
def kind(request):
    """A network, its target with the scope it chooses itself, and the name of that scope."""
    model = network(request.param)
    return model, npc.TargetModel(model), ZOO[request.param][1]


def edited(model, scope, image, path, factor):
    """Logits with one neuron a block multiplied as it enters ``fc2``, token by token."""
    handles = []
    for block, neuron in zip(model.blocks, path, strict=True):
        def at(_module, inputs, neuron=neuron):
            value = inputs[0].clone()
            for token in twins.positions(model, scope):
                value[:, token, neuron] *= factor
            return (value,)
        handles.append(block.mlp.fc2.register_forward_pre_hook(at))
    return helpers.run_hooked(model, image, handles)


# --- each kind against the twins ---


def test_what_a_target_knows(kind):
    model, target, scope = kind
    assert target.scope == scope
    assert (target.n_blocks, target.n_classes, target.dtype) == (2, 5, torch.float64)
    tokens = list(range(target.embed(PICTURES).shape[1]))
    assert tokens[target.tokens] == twins.positions(model, scope)
    assert len(tokens) == target.n_tokens
    stream = target.run(target.embed(PICTURES), 0, 2)
    torch.testing.assert_close(model.forward_head(model.norm(stream)), model(PICTURES), rtol=0,
                               atol=1e-12)
    pooled = target.run(target.embed(PICTURES), 0, 2, pooled=True)
    torch.testing.assert_close(target.probability(pooled, LABELS),
                               target(PICTURES).softmax(-1)[range(2), LABELS], rtol=0, atol=1e-12)


def test_activations(kind):
    model, target, scope = kind
    found = npc.read_activations(target, PICTURES)
    for image, values in zip(PICTURES, found, strict=True):
        for value, expected in zip(values, twins.clean_activations(model, scope, image),
                                   strict=True):
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-13)


def test_value_vectors(kind):
    """One unit more of a neuron moves its token's stream after the block by its value vector, and
    no other token's."""
    model, target, scope = kind
    where, token = twins.positions(model, scope), 0
    with torch.no_grad():
        stream, held = target.embed(PICTURES[:1]), npc.read_activations(target, PICTURES[:1])[:, 0]
        for neuron in range(target.n_neurons):
            raised = held.clone()
            raised[:, token, neuron] += 1
            difference = (target.run(stream, 0, 1, {0: raised})
                          - target.run(stream, 0, 1, {0: held}))[0]
            torch.testing.assert_close(difference[where[token]], target.value_vectors(0)[neuron],
                                       rtol=0, atol=1e-12)
            difference[where[token]] = 0
            assert not difference.any()


@pytest.mark.parametrize("rule", ["left", "gauss-legendre"])
def test_search_and_score(kind, rule):
    model, target, scope = kind
    found = npc.find_paths(target, PICTURES, LABELS, context="full", quadrature=rule, steps=2)
    scores = npc.joint_attribution_score(target, PICTURES, LABELS, found.neurons, rule, 2)
    for row in range(2):
        path, score = twins.published_search(model, scope, PICTURES[row], int(LABELS[row]),
                                             *twins.rule(rule, 2))
        assert [[neuron] for neuron in found.neurons[row].tolist()] == path
        assert float(found.score[row]) == pytest.approx(score, rel=1e-9, abs=1e-12)
        assert float(scores[row]) == pytest.approx(score, rel=1e-9, abs=1e-12)


@pytest.mark.each_value
@pytest.mark.parametrize("search", ["literal", "beam"])
def test_the_other_searches_find_at_least_as_much_where_they_promise_it(kind, search):
    model, target, scope = kind
    image, label = PICTURES[:1], LABELS[:1]
    found = npc.find_paths(target, image, label, context="full", quadrature="left", steps=2,
                           search=search)
    if search == "literal":
        path, score = twins.literal_search(model, scope, image[0], int(label),
                                           *twins.rule("left", 2))
        assert [[neuron] for neuron in found.neurons[0].tolist()] == path
    else:
        _, least = twins.published_search(model, scope, image[0], int(label),
                                          *twins.rule("left", 2))
        path = [[neuron] for neuron in found.neurons[0].tolist()]
        score = twins.joint_attribution_score(model, scope, image[0], int(label), path,
                                              *twins.rule("left", 2))
        assert score >= least - 1e-12
    assert float(found.score[0]) == pytest.approx(score, rel=1e-9, abs=1e-12)


def test_knowledge_and_complete_attribution(kind):
    model, target, scope = kind
    found = npc.knowledge_attribution(target, PICTURES, LABELS, steps=2)
    paths = torch.tensor([[0, 1], [2, 3]])
    complete = npc.complete_attribution(target, PICTURES, LABELS, paths)
    for row in range(2):
        expected = twins.knowledge_attribution(model, scope, PICTURES[row], int(LABELS[row]),
                                               *twins.rule("right", 2))
        torch.testing.assert_close(found[row], expected, rtol=1e-9, atol=1e-12)
        whole = twins.complete_attribution(model, scope, PICTURES[row], int(LABELS[row]),
                                           [[neuron] for neuron in paths[row].tolist()])
        assert float(complete[row]) == pytest.approx(whole, rel=1e-9, abs=1e-12)


def test_edits(kind):
    model, target, scope = kind
    paths = torch.tensor([[0, 1], [2, 3]])
    for operation, factor in (("remove", 0.0), ("enhance", 2.0), (-0.5, -0.5)):
        with torch.no_grad(), npc.edit(target, paths, operation):
            logits = target(PICTURES)
        for image, path, found in zip(PICTURES, paths.tolist(), logits, strict=True):
            torch.testing.assert_close(found, edited(model, scope, image, path, factor), rtol=0,
                                       atol=1e-12)
    assert (logits - target(PICTURES)).abs().max() > 1e-6


@pytest.mark.each_value
@pytest.mark.parametrize("part", range(4))
def test_every_method_and_the_default_settings_run_and_leave_the_network_alone(kind, part):
    """A quarter of the methods for each kind of network, and each method for some."""
    model, target, _ = kind
    before = helpers.Snapshot(model)
    for method in list(npc.METHODS)[part::4]:
        try:
            found = npc.find_paths(target, PICTURES, LABELS, method=method)
        except ValueError as error:  # what the linear form of a part is, is not known of every part
            assert method in ("relp", "libragrad") and "no linear form is known of" in str(error)
            continue
        assert found.neurons.shape == (2, 2)
        assert torch.isfinite(found.score).all()
    before.check()


def test_either_context_where_the_class_token_alone_may_move(kind):
    """Plain blocks and a head that reads the class token alone: then also the frozen context,
    against the slow one."""
    model, target, _ = kind
    plain = all(target.plain(index) is not None for index in range(2))
    if not (plain and target.scope == "cls" and target.family.classifies_alone(model)):
        with pytest.raises(ValueError, match="accepted here: full"):
            npc.find_paths(target, PICTURES, LABELS, context="frozen")
        return
    rule = twins.rule("left", 2)
    found = npc.find_paths(target, PICTURES, LABELS, context="frozen", quadrature="left", steps=2)
    for row in range(2):
        path, score = twins.summed_search(model, PICTURES[row], int(LABELS[row]),
                                          [(twins.frozen_forward, *rule)])
        assert [[neuron] for neuron in found.neurons[row].tolist()] == path
        assert float(found.score[row]) == pytest.approx(score, rel=1e-9, abs=1e-12)


def test_fused_and_written_out_attention_give_the_same_paths(kind):
    model, target, _ = kind
    found = {}
    attentions = [module for module in model.modules() if hasattr(module, "fused_attn")]
    kept = [module.fused_attn for module in attentions]
    for fused in (True, False):
        for module in attentions:
            module.fused_attn = fused
        found[fused] = npc.find_paths(target, PICTURES, LABELS, context="full", steps=3)
    for module, value in zip(attentions, kept, strict=True):
        module.fused_attn = value
    assert len(attentions) >= 2
    assert torch.equal(found[True].neurons, found[False].neurons)
    torch.testing.assert_close(found[True].score, found[False].score, rtol=1e-9, atol=1e-13)


# FFNs that take most of the memory
WIDE = {
    "plain": lambda: vit(mlp_ratio=8.0),
    "ffn norm": lambda: vit(mlp_ratio=8.0, scale_mlp_norm=True),
    "gated": lambda: vit(mlp_ratio=16.0, mlp_layer=SwiGLUPacked, act_layer="silu"),
    "gated apart with norm": lambda: vit(mlp_ratio=8.0, mlp_layer=SwiGLU, act_layer="silu",
                                         scale_mlp_norm=True),
    "eva02": lambda: eva(**{**EVA02, "mlp_ratio": 8.0, "scale_mlp": True}),
}


@pytest.mark.parametrize("name", [*ZOO, *(f"wide {name}" for name in WIDE)])
def test_what_a_copy_needs_is_estimated(name):
    """By what the graph of a copy really keeps: the estimate is not short of it, nor more than two
    and a half times as much."""
    model = network(name) if name in ZOO else WIDE[name.removeprefix("wide ")]()
    target, kept = npc.TargetModel(model), {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with activation_gradients(target), torch.autograd.graph.saved_tensors_hooks(pack,
                                                                                lambda tensor: tensor):
        stream = target.embed(PICTURES[:1]).detach().requires_grad_()
        probability = target.probability(target.run(stream, 0, 2), LABELS[:1])
    # the graph lives until here, so that no storage was used twice
    assert probability.requires_grad
    weights = {value.untyped_storage().data_ptr()
               for value in (*model.parameters(), *model.buffers())}
    needed = sum(size for pointer, size in kept.items() if pointer not in weights)
    assert needed <= memory.copy_bytes(target) <= 2.5 * needed


# --- what a neuron is, by hand ---


def hand_neurons(block, entering):
    """The numbers that ``fc2`` multiplies, from what leaves the block's second norm."""
    ffn = block.mlp
    if isinstance(ffn, SwiGLU):
        value = nn.functional.silu(ffn.fc1_g(entering)) * ffn.fc1_x(entering)
    elif isinstance(ffn, GluMlp):
        first, second = ffn.fc1(entering).split(ffn.fc2.in_features, -1)
        value = first * torch.sigmoid(second) if ffn.gate_last else nn.functional.silu(
            first) * second
    else:
        raise AssertionError(type(ffn))
    if isinstance(ffn.norm, nn.LayerNorm):
        centred = value - value.mean(-1, keepdim=True)
        value = centred / (centred.square().mean(-1, keepdim=True)
                           + ffn.norm.eps).sqrt() * ffn.norm.weight + ffn.norm.bias
    return value


@pytest.mark.parametrize("name", ["dinov2 swiglu", "glu, gate last", "swiglu apart with norm"])
def test_a_gated_neuron_is_the_product_that_enters_fc2(name):
    model = network(name)
    target, block = npc.TargetModel(model), model.blocks[0]
    with torch.no_grad():
        stream = target.embed(PICTURES)
        stream = stream + block.ls1(block.attn(block.norm1(stream)))
        expected = hand_neurons(block, block.norm2(stream))[:, target.tokens]
    torch.testing.assert_close(npc.read_activations(target, PICTURES)[:, 0], expected, rtol=0,
                               atol=1e-12)


# --- distillation ---


def test_a_distilled_model_answers_with_the_mean_of_its_heads():
    model, target = network("distilled"), npc.TargetModel(network("distilled"))
    with torch.no_grad():
        stream = target.run(target.embed(PICTURES), 0, 2, pooled=True)
        # the second head reads the distillation token, so no token can be left out
        assert stream.shape[1] == 2 + PATCHES
        normed = model.norm(stream)
        both = (model.head(normed[:, 0]) + model.head_dist(normed[:, 1])) / 2
    assert not target.classifies_alone
    torch.testing.assert_close(target.probability(stream, LABELS),
                               both.softmax(-1)[range(2), LABELS], rtol=0, atol=1e-13)
    assert (both - model.head(normed[:, 0])).abs().max() > 1e-3


def test_heads_that_disagree_in_classes_are_no_head():
    model = distilled()
    model.head_dist = nn.Linear(16, 4).double()
    with pytest.raises(ValueError, match="no row of logits"):
        npc.TargetModel(model)


# --- sizes ---


@pytest.mark.parametrize(("size", "accepted"), [((8, 8), True), ((12, 12), True), ((8, 12), True),
                                                ((6, 8), False), ((8, 0), False)])
def test_any_size_of_a_network_with_learned_positions(size, accepted):
    model = network("any size")
    target = npc.TargetModel(model)
    images = torch.randn(1, 3, *size, dtype=torch.float64,
                         generator=torch.Generator().manual_seed(7))
    if not accepted:
        with pytest.raises(ValueError, match="multiples of 4 and 4"):
            npc.find_paths(target, images, LABELS[:1])
        return
    found = npc.find_paths(target, images, LABELS[:1], context="full", quadrature="left", steps=2)
    path, score = twins.published_search(model, "cls", images[0], int(LABELS[0]),
                                         *twins.rule("left", 2))
    assert [[neuron] for neuron in found.neurons[0].tolist()] == path
    assert float(found.score[0]) == pytest.approx(score, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("size", "accepted"), [((8, 8), True), ((16, 16), True), ((8, 12), False),
                                                ((4, 16), False)])
@pytest.mark.parametrize("name", ["dinov3", "eva02 of any size"])
def test_any_square_of_a_network_with_rotary_positions(name, size, accepted):
    model = eva(**{**EVA02, "class_token": True}, dynamic_img_size=True,
                global_pool="token") if name == "eva02 of any size" else network(name)
    target = npc.TargetModel(model)
    images = torch.randn(1, 3, *size, dtype=torch.float64,
                         generator=torch.Generator().manual_seed(7))
    if not accepted:
        with pytest.raises(ValueError, match="a square grid of patches"):
            npc.find_paths(target, images, LABELS[:1])
        return
    found = npc.find_paths(target, images, LABELS[:1], quadrature="left", steps=2)
    path, score = twins.published_search(model, "cls", images[0], int(LABELS[0]),
                                         *twins.rule("left", 2))
    assert [[neuron] for neuron in found.neurons[0].tolist()] == path
    assert float(found.score[0]) == pytest.approx(score, rel=1e-9, abs=1e-12)


def test_a_grid_that_is_not_square_is_the_networks_own():
    model = eva(**{**EVA02, "img_size": (8, 12)}, global_pool="token")
    target = npc.TargetModel(model)
    images = torch.randn(1, 3, 8, 12, dtype=torch.float64,
                         generator=torch.Generator().manual_seed(7))
    found = npc.find_paths(target, images, LABELS[:1], quadrature="left", steps=2)
    assert [[neuron] for neuron in found.neurons[0].tolist()] == twins.published_search(
        model, "cls", images[0], int(LABELS[0]), *twins.rule("left", 2))[0]


def test_larger_images_are_planned_with_more_memory():
    target = npc.TargetModel(vit(dynamic_img_size=True))
    own = memory.copy_bytes(target)
    target.check_images(torch.zeros(1, 3, 32, 32, dtype=torch.float64))
    assert target.n_tokens == 65
    assert memory.copy_bytes(target) > 10 * own
    target.check_images(PICTURES)
    assert memory.copy_bytes(target) == own


@pytest.mark.parametrize("arguments", [{}, {"reg_tokens": 2, "no_embed_class": True},
                                       {"class_token": False, "global_pool": "avg"}])
def test_positions_of_a_larger_image_resampled(arguments):
    """A state of 6 x 6 patches in a network of 4 x 4, through timm's own filter, as a checkpoint of
    384 pixels at 224."""
    large, small = vit(img_size=24, **arguments), vit(2, img_size=16, **arguments)
    small.load_state_dict(checkpoint_filter_fn(large.state_dict(), small))
    assert torch.equal(small.blocks[0].attn.qkv.weight, large.blocks[0].attn.qkv.weight)
    prefix = 0 if arguments.get("no_embed_class") else small.num_prefix_tokens
    grid = large.pos_embed[:, prefix:].unflatten(1, (6, 6)).permute(0, 3, 1, 2)
    resampled = nn.functional.interpolate(grid.float(), (4, 4), mode="bicubic", antialias=True,
                                          align_corners=False)
    torch.testing.assert_close(small.pos_embed[:, prefix:], resampled.flatten(2).mT.double(),
                               rtol=1e-5, atol=1e-5)
    assert torch.equal(small.pos_embed[:, :prefix], large.pos_embed[:, :prefix])
    target, (images, labels) = npc.TargetModel(small), helpers.small_batch(1, 702, size=16)
    found = npc.find_paths(target, images, labels, context="full", quadrature="left", steps=2)
    path, score = twins.published_search(small, target.scope, images[0], int(labels[0]),
                                         *twins.rule("left", 2))
    assert [[neuron] for neuron in found.neurons[0].tolist()] == path
    assert float(found.score[0]) == pytest.approx(score, rel=1e-9, abs=1e-12)


# --- classes for towers that have none ---


@pytest.mark.parametrize(("build", "width"),
                         [(lambda: vit(**CLIP), 6), (lambda: vit(**SIGLIP), 16)],
                         ids=["clip", "siglip"])
def test_zero_shot_logits_are_scaled_cosines(build, width):
    model, classes = build(), prototypes(width=width)
    with torch.no_grad():
        features = model(PICTURES)
        cosines = torch.stack([torch.stack([feature @ row / feature.norm() / row.norm()
                                            for row in classes]) for feature in features])
        own = model.head
        with zero_shot(model, classes, 7.5, bias=-3.0) as same:
            assert same is model
            target = npc.TargetModel(model)
            assert target.n_classes == 5
            torch.testing.assert_close(target(PICTURES), 7.5 * cosines - 3, rtol=0, atol=1e-12)
            shifted = target(PICTURES).softmax(-1)
            path = npc.find_paths(target, PICTURES, LABELS)
        assert model.head is own
        assert torch.equal(model(PICTURES), features)
        # neither length of the prototypes nor a common bias changes a probability
        with zero_shot(model, 2 * classes, 7.5):
            plain = npc.TargetModel(model)
            torch.testing.assert_close(plain(PICTURES).softmax(-1), shifted, rtol=0, atol=1e-12)
            assert torch.equal(npc.find_paths(plain, PICTURES, LABELS).neurons, path.neurons)


def test_a_tower_is_for_use_inside():
    model = vit(**SIGLIP)
    with pytest.raises(ValueError, match=r"no classification head.*zero_shot"):
        npc.TargetModel(model)
    with zero_shot(model, prototypes(width=16)):
        target = npc.TargetModel(model)
        npc.find_paths(target, PICTURES, LABELS, steps=2)
    with pytest.raises(ValueError, match="inside its zero_shot") as caught:
        npc.find_paths(target, PICTURES, LABELS, steps=2)
    assert "\n" not in str(caught.value)
    with pytest.raises(KeyError), zero_shot(model, prototypes(width=16)):
        raise KeyError
    assert isinstance(model.head, nn.Identity)


def test_the_zero_shot_head_is_part_of_the_networks_state():
    """What a run is computed from includes the classes: the state, by which models are told apart,
    holds them."""
    model = vit(**CLIP)
    with zero_shot(model, prototypes(), 2.0):
        one = {name: value.clone() for name, value in model.state_dict().items()}
    with zero_shot(model, prototypes(seed=12), 2.0):
        other = model.state_dict()
        assert isinstance(model.head, ZeroShotHead)
    assert set(one) == set(other)
    assert not torch.equal(one["head.weight"], other["head.weight"])


@pytest.mark.parametrize(("build", "settings", "words"), [
    (distilled, {}, "one head, got VisionTransformerDistilled"),
    (lambda: nn.Linear(3, 3), {}, "got Linear"),
    (lambda: tower(6, vit(**CLIP)), {}, "head ZeroShotHead"),
    (lambda: vit(**CLIP), {"class_embeddings": prototypes(width=7)},
     r"tensor \(class, 6\) of at least two classes, got \(5, 7\)"),
    (lambda: vit(**CLIP), {"class_embeddings": prototypes(classes=1)}, "at least two classes"),
    (lambda: vit(**CLIP), {"class_embeddings": [[1.0] * 6] * 2}, "got list"),
    (lambda: vit(**CLIP), {"class_embeddings": prototypes().float()},
     "float32.*accepted: the model's torch.float64"),
    (lambda: vit(**CLIP), {"class_embeddings": prototypes() * math.nan}, "NaN"),
    (lambda: vit(**CLIP), {"class_embeddings": torch.zeros(5, 6, dtype=torch.float64)},
     "row of zeros"),
    (lambda: vit(**CLIP), {"scale": 0}, "positive finite number, got 0"),
    (lambda: vit(**CLIP), {"scale": math.inf}, "positive finite number, got inf"),
    (lambda: vit(**CLIP), {"bias": torch.zeros(4)}, r"bias must be a finite number or a tensor "
                                                    r"\(5,\)"),
    (lambda: vit(**CLIP), {"bias": math.nan}, "bias must be a finite number"),
    (lambda: vit(**CLIP), {"bias": "large"}, "bias must be a finite number .*, got 'large'"),
    (lambda: MlpMixer(num_classes=6, img_size=8, patch_size=4, embed_dim=8, num_blocks=1), {},
     "got MlpMixer with head Linear"),
])
def test_zero_shot_refuses(build, settings, words):
    with pytest.raises(ValueError, match=words) as caught, zero_shot(build(),
                                                                     **{
            "class_embeddings": prototypes(), **settings}):
        pass
    assert "\n" not in str(caught.value)


# --- names of timm ---

# of every kind of name some; one block of each, without weights
ACCEPTED = {
    "vit_base_patch16_224": "cls", "vit_base_patch32_384": "cls", "vit_large_patch32_224": "cls",
    "vit_base_patch16_siglip_gap_224": "patch",
    "deit_tiny_distilled_patch16_224": "cls", "deit3_small_patch16_224": "cls",
    "vit_small_patch14_reg4_dinov2": "cls",
    "vit_giant_patch14_reg4_dinov2": "cls", "vit_base_patch16_clip_quickgelu_224": "cls",
    "vit_base_patch16_siglip_224": "patch",
    "vit_small_patch16_dinov3": "patch", "vit_7b_patch16_dinov3": "patch",
    "eva02_tiny_patch14_224": "patch", "eva_giant_patch14_224": "patch",
    "vit_pe_core_tiny_patch16_384": "patch", "vit_small_patch16_rope_mixed_224": "cls",
    "flexivit_small": "cls", "aimv2_large_patch14_224": "patch",
    "vit_medium_patch16_reg4_gap_256": "patch", "beit3_base_patch16_224": "patch",
}
REFUSED = {
    "vit_base_r50_s16_224": "HybridEmbed", "vit_small_r26_s32_224": "HybridEmbed",
    "vit_relpos_base_patch16_224": "VisionTransformerRelPos",
    "vit_base_mci_224": "HybridEmbed", "vit_base_patch16_xp_224": "ParallelScalingBlock",
    "vit_small_patch16_18x2_224": "ParallelThingsBlock",
    "vit_dpwee_patch16_reg1_gap_256": "DiffParallelScalingBlock",
    "vit_base_patch16_rpn_224": "ResPostBlock",
    "eva02_enormous_patch14_clip_224": "EvaBlockPostNorm",
    "beit_base_patch16_224": "Beit", "cait_xxs24_224": "Cait",
    "samvit_base_patch16": "VisionTransformerSAM", "naflexvit_base_patch16_gap": "NaFlexVit",
    "swin_tiny_patch4_window7_224": "SwinTransformer", "convnext_atto": "ConvNeXt",
    "resnet18": "ResNet", "mixer_s32_224": "MlpMixer",
    "xcit_nano_12_p16_224": "Xcit", "pvt_v2_b0": "PyramidVisionTransformerV2",
    "hiera_tiny_224": "Hiera", "twins_svt_small": "Twins",
}


def built(name, **settings):
    with torch.device("meta"):
        return timm.create_model(name, **settings)


@pytest.mark.parametrize("name", ACCEPTED)
def test_names_that_are_accepted(name):
    model = built(name, depth=1)
    # a tower or backbone without classes of its own says what to do
    if family_of(model).class_count(model) is None:
        with pytest.raises(ValueError,
                           match=r"num_classes >= 1, or one inside neuronpath_core\.zero_shot"):
            npc.TargetModel(model)
        model = built(name, depth=1, num_classes=10)
    family = family_of(model)
    family.check(model)
    assert resolve_scope(model, "auto") == ACCEPTED[name]
    assert family.class_count(model) > 1
    images = torch.zeros(1, 3, *model.patch_embed.img_size, device="meta")
    stream = family.embed(model, images)
    assert stream.shape == (1, family.token_count(model), model.embed_dim)
    assert family.image_sizes(model, model.patch_embed.img_size)[0]
    assert family.run_block(model, 0, stream).shape == stream.shape


@pytest.mark.parametrize("name", REFUSED)
def test_names_that_are_refused_by_the_part_that_is_in_the_way(name):
    with pytest.raises(ValueError, match=REFUSED[name]) as caught:
        npc.TargetModel(built(name))
    assert "accepted" in str(caught.value)
    assert "\n" not in str(caught.value)


class Experts(nn.Module):
    """A mixture of two FFNs."""

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(16, 16) for _ in range(2))

    def forward(self, value):
        return sum(expert(value) for expert in self.experts)


class NormedLast(Mlp):
    """An FFN whose output is not affine in its neurons."""

    def forward(self, value):
        return nn.functional.normalize(super().forward(value), dim=-1)


class OtherBlock(Block):
    def forward(self, value, attn_mask=None, is_causal=False):
        return 2 * super().forward(value)


class OtherFeatures(VisionTransformer):
    def forward_features(self, value, attn_mask=None, is_causal=False):
        return 2 * super().forward_features(value)


def with_ffn(ffn, at=1):
    model = vit()
    model.blocks[at].mlp = ffn
    return model


@pytest.mark.parametrize(("build", "words"), [
    (lambda: with_ffn(Experts()), ["block 1 is Block with FFN Experts", "accepted", "linear fc2"]),
    (lambda: with_ffn(NormedLast(16, 8)), ["block 1 is Block with FFN NormedLast", "accepted"]),
    (lambda: with_ffn(Mlp(16, 8, use_conv=True), at=0),
     ["fc2 of block 0 is Conv2d", "accepted: a linear layer"]),
    (lambda: vit(block_fn=OtherBlock), ["block 0 is OtherBlock", "pre-norm Block"]),
    (lambda: vit(block_fn=ParallelThingsBlock), ["block 0 is ParallelThingsBlock",
                                                 "pre-norm Block"]),
    (lambda: eva(use_post_norm=True), ["block 0 is EvaBlockPostNorm", "pre-norm EvaBlock"]),
    (lambda: OtherFeatures(**VIT), ["OtherFeatures has a forward_features of its own", "accepted",
                                    "Eva"]),
    (lambda: eva(global_pool=""), ["global_pool=''", "accepted"]),
    (lambda: eva(num_classes=0), ["no classification head", "num_classes"]),
], ids=["experts", "norm after fc2", "convolutions", "block", "parallel", "post-norm eva",
        "features", "eva without pool", "eva without head"])
def test_parts_that_are_refused_by_name(build, words):
    with pytest.raises(ValueError, match=".+") as caught:
        npc.TargetModel(build())
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_overlapping_patches_are_refused():
    model = vit()
    model.patch_embed.proj = nn.Conv2d(3, 16, 6, 4, padding=1).double()
    with pytest.raises(ValueError, match=r"overlap; accepted: patches side by side"):
        npc.TargetModel(model)
