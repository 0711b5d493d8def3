"""What surrounds the scaled neurons: the frozen and the mixed context against twins that write them
out."""

import functools

import pytest
import torch
from timm.layers import GatedMlp, RmsNorm
from timm.models.deit import VisionTransformerDistilled
from torch import nn

import neuronpath_core as npc
from neuronpath_core.fast.contexts import FrozenContext, FullContext, resolve_context
from neuronpath_core.fast.integral import integral
from neuronpath_core.forward import CleanPass
from tests import helpers, twins

NETWORKS = {
    name: helpers.NETWORKS[name][0]
    for name in ("cls", "cls-unfused", "cls-layerscale-qknorm", "cls-registers-prenorm")
} | {
    "deep": {"depth": 5},
    "one block": {"depth": 1},
    "relu": {"act_layer": nn.ReLU},
    "tanh gelu": {"act_layer": functools.partial(nn.GELU, approximate="tanh")},
    "embed apart": {"no_embed_class": True},
    "no bias": {"qkv_bias": False, "proj_bias": False},
}


def terms_of(context, rule, steps, exact_steps=2):
    """The integral of a context by its definition, for the twins."""
    nodes, weights = twins.rule(rule, steps)
    if context == "full":
        return [(twins.full_forward, nodes, weights)]
    if context == "frozen":
        return [(twins.frozen_forward, nodes, weights)]
    few, shares = twins.condensed_rule(rule, steps, exact_steps)
    return [(twins.frozen_forward, nodes, weights), (twins.full_forward, few, shares),
            (twins.frozen_forward, few, [-share for share in shares])]


def assert_search_equals(arguments, seed, context, rule, steps, top=None, search="joint",
                         exact_steps=2, batch=2):
    model = helpers.small_vit(seed, **arguments)
    images, labels = helpers.small_batch(batch, seed + 1)
    paths = npc.find_paths(npc.TargetModel(model), images, labels, search=search, context=context,
                           quadrature=rule, steps=steps, top=top,
                           exact_steps=exact_steps)
    terms = terms_of(context, rule, steps, exact_steps)
    for image, label, found, score in zip(images, labels, paths.neurons.tolist(),
                                          paths.score.tolist(), strict=True):
        path, value = twins.summed_search(model, image, int(label), terms, top or 1,
                                          literal=search == "literal")
        assert ([[neuron] for neuron in found] if top is None else found) == path
        assert abs(score - value) <= 1e-9 * max(1e-3, abs(value))
    return paths


# --- the twins themselves ---


@pytest.mark.parametrize("literal", [False, True])
def test_the_twin_with_one_native_term_is_the_published_twin(literal):
    """So that what differs below is the context alone."""
    model = helpers.small_vit(401)
    image, label = helpers.small_batch(1, 402)[0][0], 3
    rule = twins.rule("left", 3)
    path, score = twins.summed_search(model, image, label, [(twins.full_forward, *rule)], 1,
                                      literal)
    published, value = (twins.literal_search if literal
                        else twins.published_search)(model, "cls", image, label, *rule)
    assert path == published
    assert abs(score - value) < 1e-13


def test_the_frozen_forward_differs_from_the_native_one_only_where_something_moves():
    model = helpers.small_vit(401)
    image = helpers.small_batch(1, 402)[0][0]
    clean = twins.clean_activations(model, "cls", image)
    with torch.no_grad():
        native = model(image[None])
        torch.testing.assert_close(twins.frozen_forward(model, image, {}), native, rtol=1e-12,
                                   atol=1e-12)
        # what the last two blocks write reaches no other token that is used
        for number, differs in ((0, True), (1, False), (2, False)):
            moved = {number: 0.5 * clean[number]}
            frozen = twins.frozen_forward(model, image, moved)
            full = twins.full_forward(model, image, moved)
            assert torch.allclose(frozen, full, rtol=1e-12, atol=1e-12) is not differs
            assert not torch.allclose(frozen, native, rtol=1e-6)


# --- search in each context ---


@pytest.mark.each_value
@pytest.mark.parametrize("top", [None, 3])
@pytest.mark.parametrize("context", ["frozen", "mixed"])
@pytest.mark.parametrize("name", NETWORKS)
def test_joint_search_equals_its_twin(name, context, top):
    rule = ("left", "gauss-legendre", "right", "midpoint")[(list(NETWORKS).index(name) + (top or 0))
                                                           % 4]
    assert_search_equals(NETWORKS[name], 411, context, rule, 3, top)


@pytest.mark.each_value
@pytest.mark.parametrize("top", [None, 3])
@pytest.mark.parametrize("context", ["frozen", "mixed"])
@pytest.mark.parametrize("name", ["cls", "cls-layerscale-qknorm"])
def test_literal_search_equals_its_twin(name, context, top):
    assert_search_equals(NETWORKS[name] | {"mlp_ratio": 0.5}, 421, context, "gauss-legendre", 2,
                         top, "literal", exact_steps=1, batch=1)


@pytest.mark.each_value
@pytest.mark.parametrize("rule", ["left", "right", "midpoint", "gauss-legendre"])
@pytest.mark.parametrize("exact_steps", [1, 3, 5])
def test_exact_steps_of_the_mixed_context(exact_steps, rule):
    """As many as the rule has steps, or more, and nothing of the frozen integrand is left."""
    assert_search_equals({}, 431, "mixed", rule, 4, exact_steps=exact_steps)


@pytest.mark.each_value
@pytest.mark.parametrize("search", ["joint", "literal", "beam"])
@pytest.mark.parametrize("more", [0, 3])
@pytest.mark.parametrize(("rule", "steps"), [("gauss-legendre", 1), ("gauss-legendre", 4),
                                             ("left", 3), ("right", 2), ("midpoint", 5)])
@pytest.mark.parametrize("name", ["cls", "cls-registers-prenorm"])
def test_mixed_with_the_same_rule_twice_is_full(name, rule, steps, more, search):
    """The frozen integrand is added and taken away at the same nodes."""
    target = npc.TargetModel(helpers.small_vit(441, mlp_ratio=0.5, **NETWORKS[name]))
    images, labels = helpers.small_batch(2, 442)
    settings = {"quadrature": rule, "steps": steps, "search": search}
    mixed = npc.find_paths(target, images, labels, context="mixed", exact_steps=steps + more,
                           **settings)
    full = npc.find_paths(target, images, labels, context="full", **settings)
    assert torch.equal(mixed.neurons, full.neurons)
    torch.testing.assert_close(mixed.score, full.score, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rule", ["left", "right", "midpoint", "gauss-legendre"])
def test_mixed_keeps_the_rule_where_the_contexts_agree(rule):
    """With one block the frozen integrand is exact, and what is left is the rule's own sum, bias
    included."""
    target = npc.TargetModel(helpers.small_vit(443, depth=1))
    images, labels = helpers.small_batch(3, 444)
    for exact_steps in (1, 2):
        settings = {"quadrature": rule, "steps": 5, "exact_steps": exact_steps}
        mixed, full = (npc.find_paths(target, images, labels, context=context, **settings)
                       for context in ("mixed", "full"))
        assert torch.equal(mixed.neurons, full.neurons)
        torch.testing.assert_close(mixed.score, full.score, rtol=1e-10, atol=1e-13)


def test_the_contexts_differ_somewhere():
    """Otherwise the comparisons above would not tell them apart."""
    target = npc.TargetModel(helpers.small_vit(451))
    images, labels = helpers.small_batch(3, 452)
    score = {context: npc.find_paths(target, images, labels, context=context, quadrature="left",
                                     steps=4).score for context in ("full", "frozen", "mixed")}
    for one, other in (("full", "frozen"), ("full", "mixed"), ("frozen", "mixed")):
        assert not torch.allclose(score[one], score[other], rtol=1e-6)


def test_with_one_block_all_contexts_are_one():
    """What the only block writes at the class token meets no other token."""
    target = npc.TargetModel(helpers.small_vit(453, depth=1))
    images, labels = helpers.small_batch(3, 454)
    found = [npc.find_paths(target, images, labels, context=context, steps=4)
             for context in ("full", "frozen", "mixed")]
    for paths in found[1:]:
        assert torch.equal(paths.neurons, found[0].neurons)
        torch.testing.assert_close(paths.score, found[0].score, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(("rule", "steps", "nodes", "exact_steps"), [
    ("left", 5, None, 2), ("left", 20, 4, 3), ("gauss-legendre", 4, None, 2),
    ("midpoint", 2, None, 3), ("right", 6, 2, 6)])
def test_the_integral_is_written_as_it_is_defined(rule, steps, nodes, exact_steps):
    every = twins.condensed_rule(rule, steps, nodes or steps)
    few = twins.condensed_rule(rule, steps, exact_steps)
    same = functools.partial(torch.testing.assert_close, rtol=1e-11, atol=1e-12)
    exact, frozen = integral("mixed", rule, steps, nodes, exact_steps)
    assert not exact.frozen
    assert frozen.frozen
    same(exact.nodes, torch.tensor(few[0], dtype=torch.float64))
    same(exact.weights, torch.tensor(few[1], dtype=torch.float64))
    same(frozen.nodes, torch.tensor([*every[0], *few[0]], dtype=torch.float64))
    same(frozen.weights, torch.tensor([*every[1], *(-share for share in few[1])],
                                      dtype=torch.float64))
    for context in ("full", "frozen"):
        term, = integral(context, rule, steps, nodes, exact_steps)
        assert term.frozen is (context == "frozen")
        same(term.nodes, torch.tensor(every[0], dtype=torch.float64))
        same(term.weights, torch.tensor(every[1], dtype=torch.float64))


# --- the clean pass and what is taken of it ---


@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_the_clean_pass_is_the_networks(name):
    target, images, _ = helpers.network(name, 461)
    clean = CleanPass.of(target, images)
    for row, image in enumerate(images):
        for found, expected in zip(clean.streams, twins.clean_streams(target.model, image),
                                   strict=True):
            torch.testing.assert_close(found[row], expected, rtol=1e-12, atol=1e-12)
        for found, expected in zip(clean.activations,
                                   twins.clean_activations(target.model, target.scope, image),
                                   strict=True):
            torch.testing.assert_close(found[row], expected, rtol=1e-12, atol=1e-12)


def test_what_is_clean_holds_no_graph():
    """Also of a network in training: whoever keeps a clean pass keeps no more than its tensors."""
    target, images, _ = helpers.network("cls-layerscale-qknorm", 461)
    assert all(parameter.requires_grad for parameter in target.model.parameters())
    clean = CleanPass.of(target, images)
    stream = clean.streams[1][:, :1]
    moved = FrozenContext(clean).run_tangent(stream, torch.ones_like(stream), 1,
                                             clean.activations[1])
    assert not any(value.requires_grad for value in [*clean.streams, *clean.activations,
                                                     *sum(clean.keys_values, ()), *moved])


@pytest.mark.parametrize("asked", [False, True], ids=["keys and values unknown", "known"])
def test_rows_of_a_clean_pass(asked):
    target = npc.TargetModel(helpers.small_vit(461))
    images, _ = helpers.small_batch(3, 462)
    rows = torch.tensor([2, 0, 0])
    clean, expected = CleanPass.of(target, images), CleanPass.of(target, images[rows])
    if asked:
        assert len(clean.keys_values) == 3
    taken = clean.take(rows)
    for name in ("activations", "streams"):
        for one, other in zip(getattr(taken, name), getattr(expected, name), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    for one, other in zip(taken.keys_values, expected.keys_values, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [FullContext, FrozenContext])
def test_clean_streams_run_to_themselves(kind):
    """The last block gives what the head needs; whatever enters, copies of one image follow one
    another."""
    target = npc.TargetModel(helpers.small_vit(463, init_values=0.3))
    images, labels = helpers.small_batch(2, 464)
    clean = CleanPass.of(target, images)
    context = kind(clean)
    expected = target(images).softmax(-1)[range(2), labels].repeat_interleave(3)
    for block in range(3):
        stream = context.enter(block, 3)
        assert stream.shape == (6, 1 if kind is FrozenContext else 5, 16)
        held = {index: clean.activations[index] for index in range(block, 3)}
        for fixed in (None, held):
            found = context.probability(context.run(stream, block, 3, fixed, pooled=True),
                                        labels.repeat_interleave(3))
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


# --- which contexts a model allows ---

NEEDS = ("context", "'frozen'", "'mixed'", "accepted here: full")
CLASS_TOKEN_ALONE = (*NEEDS, "scope 'cls'", "class token")
PLAIN = (*NEEDS, "plain", "block")


def distilled():
    return helpers.fill(VisionTransformerDistilled(**helpers.SIZES), 471)


def hooked():
    model = helpers.small_vit(471)
    model.blocks[1].attn.register_forward_hook(lambda *_: None)
    return model




REFUSED = {
    "averaging": (lambda: helpers.small_vit(471, global_pool="avg"), "auto", CLASS_TOKEN_ALONE),
    "class token of averaging": (lambda: helpers.small_vit(471, global_pool="avg"), "cls",
                                 CLASS_TOKEN_ALONE),
    "patch scope": (lambda: helpers.small_vit(471), "patch", CLASS_TOKEN_ALONE),
    "attention pool": (lambda: helpers.small_vit(471, global_pool="map", class_token=False),
                       "patch", CLASS_TOKEN_ALONE),
    "maximum": (lambda: helpers.small_vit(471, global_pool="max"), "cls", CLASS_TOKEN_ALONE),
    "distilled": (distilled, "cls", CLASS_TOKEN_ALONE),
    "hooked": (hooked, "cls", (*PLAIN, "block 1")),
    "another gate": (lambda: helpers.small_vit(471, mlp_layer=GatedMlp), "cls",
                     (*PLAIN, "block 0")),
    "rms norm": (lambda: helpers.small_vit(471, norm_layer=RmsNorm), "cls", (*PLAIN, "block 0")),
    "attention norm": (lambda: helpers.small_vit(471, scale_attn_norm=True), "cls",
                       (*PLAIN, "block 0")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_context_that_the_model_does_not_allow(name):
    build, scope, words = REFUSED[name]
    target = npc.TargetModel(build(), scope=scope)
    images, labels = helpers.small_batch(2, 472)
    calls = [lambda context=context: npc.find_paths(target, images, labels, context=context)
             for context in ("frozen", "mixed")]
    calls += [lambda context=context: resolve_context(target, context)
              for context in ("frozen", "mixed")]
    calls.append(lambda: FrozenContext(CleanPass.of(target, images)))
    for call in calls:
        with pytest.raises(ValueError, match=".+") as caught:
            call()
        assert "\n" not in str(caught.value)
        for word in words:
            assert word in str(caught.value)


@pytest.mark.parametrize("name", REFUSED)
def test_auto_is_full_there(name):
    build, scope, _ = REFUSED[name]
    target = npc.TargetModel(build(), scope=scope)
    images, labels = helpers.small_batch(2, 472)
    assert resolve_context(target, "auto") == resolve_context(target, "full") == "full"
    found, full = (npc.find_paths(target, images, labels, context=context)
                   for context in ("auto", "full"))
    assert torch.equal(found.neurons, full.neurons)
    assert torch.equal(found.score, full.score)
    assert found.steps.tolist() == [4, 4]


@pytest.mark.parametrize("name", NETWORKS)
def test_auto_is_mixed_elsewhere(name):
    target = npc.TargetModel(helpers.small_vit(473, **NETWORKS[name]))
    images, labels = helpers.small_batch(2, 474)
    assert resolve_context(target, "auto") == "mixed"
    for context in ("full", "frozen", "mixed"):
        assert resolve_context(target, context) == context
    found, mixed = (npc.find_paths(target, images, labels, context=context)
                    for context in ("auto", "mixed"))
    assert torch.equal(found.neurons, mixed.neurons)
    assert torch.equal(found.score, mixed.score)
    assert found.steps.tolist() == [4 if target.n_blocks > 1 else 8] * 2  # of the last block


def test_auto_follows_a_hook_that_comes_and_goes():
    model = helpers.small_vit(475)
    target = npc.TargetModel(model)
    assert resolve_context(target, "auto") == "mixed"
    handle = model.blocks[2].mlp.register_forward_hook(lambda *_: None)
    assert resolve_context(target, "auto") == "full"
    handle.remove()
    assert resolve_context(target, "auto") == "mixed"


@pytest.mark.parametrize("context", ["Frozen", "", None, 3, "clean"])
def test_unknown_contexts(context):
    target = npc.TargetModel(helpers.small_vit(475))
    images, labels = helpers.small_batch(2, 474)
    with pytest.raises(ValueError, match=r"unknown context .*accepted: auto, full, frozen, mixed"):
        npc.find_paths(target, images, labels, context=context)
