"""The layer-progressive search, against the slow published procedure and against Algorithm 1 as it
is written."""

import functools

import pytest
import torch
from timm.layers import GluMlp, RmsNorm, SwiGLU
from timm.models.deit import VisionTransformerDistilled
from torch import nn

import neuronpath_core as npc
from neuronpath_core.fast import blocks
from neuronpath_core.fast.partial_paths import Integrand
from neuronpath_core.fast.search import search_paths
from neuronpath_core.support import memory
from tests import helpers, twins

RULES = ("left", "right", "midpoint", "gauss-legendre")
published = functools.partial(npc.find_paths, context="full", quadrature="left")


def assert_search_equals(twin, name, seed, search, rule, steps, top, batch=2):
    arguments, scope = helpers.NETWORKS[name]
    model = helpers.small_vit(seed, **arguments)
    images, labels = helpers.small_batch(batch, seed + 1)
    target = npc.TargetModel(model, scope=scope)
    paths = published(target, images, labels, search=search, quadrature=rule, steps=steps, top=top)
    assert paths.neurons.shape == (batch, len(model.blocks)) + (() if top is None else (top,))
    assert paths.neurons.dtype == torch.int64
    assert paths.score.shape == (batch,)
    for image, label, found, score in zip(images, labels, paths.neurons.tolist(),
                                          paths.score.tolist(), strict=True):
        expected, value = twin(model, scope, image, int(label), *twins.rule(rule, steps), top or 1)
        assert ([[neuron] for neuron in found] if top is None else found) == expected
        assert abs(score - value) <= 1e-9 * max(1e-3, abs(value))


@pytest.mark.each_value
@pytest.mark.parametrize("seed", [21, 22])
@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_joint_search_equals_the_published_procedure(name, seed):
    rule = RULES[(list(helpers.NETWORKS).index(name) + seed) % 4]
    assert_search_equals(twins.published_search, name, seed, "joint", rule, 4, None)


BUILDS = {
    "gated": {"mlp_layer": GluMlp},
    "swiglu": {"mlp_layer": SwiGLU},
    "rms norm": {"norm_layer": RmsNorm},
    "relu": {"act_layer": nn.ReLU},
    "quick gelu": {"act_layer": "quick_gelu"},
    "attention norm": {"scale_attn_norm": True},
    "differential attention": {"attn_layer": "diff"},
    "no bias": {"qkv_bias": False, "proj_bias": False},
    "any size": {"dynamic_img_size": True},
    "prefix pooled": {"pool_include_prefix": True},
    "dropout": {f"{kind}_rate": 0.5 for kind in ("drop", "pos_drop", "patch_drop", "proj_drop",
                                                 "attn_drop", "drop_path")},
}


@pytest.mark.each_value
@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize(("pool", "scope"), [("token", "cls"), ("avg", "patch")])
def test_joint_search_on_other_builds_of_the_network(pool, scope, build):
    model = helpers.small_vit(23, global_pool=pool, **BUILDS[build])
    images, labels = helpers.small_batch(1, 24)
    paths = published(npc.TargetModel(model), images, labels, steps=3)
    path, score = twins.published_search(model, scope, images[0], int(labels[0]),
                                         *twins.rule("left", 3))
    assert [[neuron] for neuron in paths.neurons[0].tolist()] == path
    assert abs(float(paths.score[0]) - score) <= 1e-9 * max(1e-3, abs(score))


@pytest.mark.each_value
@pytest.mark.parametrize("search", ["joint", "literal"])
@pytest.mark.parametrize("top", [None, 2])
@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_search_by_complete_attribution_has_no_cross_terms(name, top, search):
    arguments, scope = helpers.NETWORKS[name]
    model, (images, labels) = helpers.small_vit(25, **arguments), helpers.small_batch(2, 26)
    integrand = [Integrand(*npc.quadrature_rule("midpoint", 3))]
    found = search_paths(npc.TargetModel(model, scope=scope), images, labels, integrand, top or 1,
                         search, attribution="complete")
    neurons, scores = found.neurons, found.score
    twin = {"joint": twins.published_search, "literal": twins.literal_search}[search]
    for image, label, found, score in zip(images, labels, neurons.tolist(), scores.tolist(),
                                          strict=True):
        path, value = twin(model, scope, image, int(label), *twins.rule("midpoint", 3), top or 1,
                           cross=False)
        assert found == path
        assert abs(score - value) <= 1e-9 * max(1e-3, abs(value))
    paths = published(npc.TargetModel(model, scope=scope), images, labels, "complete",
                      search=search, quadrature="midpoint", steps=3, top=top)
    assert torch.equal(paths.neurons, neurons if top else neurons[..., 0])


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_beam_by_complete_attribution_loses_nothing(name):
    arguments, scope = helpers.NETWORKS[name]
    target = npc.TargetModel(helpers.small_vit(27, **arguments), scope=scope)
    (images, labels) = helpers.small_batch(4, 28)
    rule = [Integrand(*npc.quadrature_rule("gauss-legendre", 12))]
    greedy = search_paths(target, images, labels, rule, attribution="complete")
    found = search_paths(target, images, labels, rule, search="beam", width=3,
                         attribution="complete")
    neurons, scores = found.neurons, found.score
    assert (scores >= greedy.score - 1e-12).all() and (scores > greedy.score + 1e-6).any()
    # of degree 23: converged
    torch.testing.assert_close(scores, npc.complete_attribution(target, images, labels, neurons),
                               rtol=0, atol=1e-9)


def test_joint_search_on_a_distilled_network():
    """Two heads, averaged: a subclass with a head of its own."""
    model = helpers.fill(VisionTransformerDistilled(**helpers.SIZES), 23)
    images, labels = helpers.small_batch(1, 24)
    paths = published(npc.TargetModel(model), images, labels, steps=3)
    path, score = twins.published_search(model, "cls", images[0], int(labels[0]),
                                         *twins.rule("left", 3))
    assert [[neuron] for neuron in paths.neurons[0].tolist()] == path
    assert abs(float(paths.score[0]) - score) <= 1e-9 * max(1e-3, abs(score))


@pytest.mark.parametrize("name", [
    "cls", "cls-layerscale-qknorm", "cls-registers-prenorm", "avg", "avg-unfused-qknorm",
    "avg-registers"])
def test_joint_search_for_several_neurons_a_block(name):
    assert_search_equals(twins.published_search, name, 31, "joint", "left", 4, 3)


@pytest.mark.each_value
@pytest.mark.parametrize("top", [None, 3])
@pytest.mark.parametrize("name", ["cls", "cls-layerscale-qknorm", "avg", "avg-registers"])
def test_literal_search_equals_algorithm_1(name, top):
    assert_search_equals(twins.literal_search, name, 41, "literal", "left", 3, top, batch=1 if top
                         else 2)


@pytest.mark.parametrize("scope", ["cls", "patch"])
@pytest.mark.parametrize("search", ["joint", "literal"])
def test_one_block_and_one_node(search, scope):
    """The smallest network and rule there are; one block, so nothing is on the path before the only
    choice."""
    model = helpers.small_vit(5, depth=1)
    images, labels = helpers.small_batch(2, 6)
    target = npc.TargetModel(model, scope=scope)
    if scope == "patch":  # the last block's neurons reach nothing, and all are as good
        with pytest.warns(RuntimeWarning, match="every neuron scores the same"):
            published(target, images, labels, search=search, quadrature="midpoint", steps=1)
        return
    paths = published(target, images, labels, search=search, quadrature="midpoint", steps=1)
    twin = {"joint": twins.published_search, "literal": twins.literal_search}[search]
    for image, label, found, score in zip(images, labels, paths.neurons.tolist(),
                                          paths.score.tolist(), strict=True):
        expected, value = twin(model, scope, image, int(label), *twins.rule("midpoint", 1))
        assert [found] == expected
        assert abs(score - value) < 1e-12


def test_the_two_searches_differ_somewhere():
    """Otherwise the comparisons above would not tell them apart."""
    different = 0
    for seed in range(6):
        target = npc.TargetModel(helpers.small_vit(seed))
        images, labels = helpers.small_batch(3, seed)
        joint = published(target, images, labels, search="joint", steps=4)
        literal = published(target, images, labels, search="literal", steps=4)
        different += int((joint.neurons != literal.neurons).sum())
    assert different > 0


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_the_first_literal_choice_has_the_largest_score_of_all(scope):
    """A property of Algorithm 1 that needs no twin: at the last block no other neuron would score
    higher."""
    target = npc.TargetModel(helpers.small_vit(51, global_pool="token" if scope == "cls"
                                               else "avg"))
    images, labels = helpers.small_batch(2, 52)
    paths = published(target, images, labels, search="literal", steps=4)
    for candidate in range(target.n_neurons):
        other = paths.neurons.clone()
        other[:, -1] = candidate
        assert (npc.joint_attribution_score(target, images, labels, other, steps=4) <= paths.score
                + 1e-12).all()


@pytest.mark.each_value
@pytest.mark.parametrize("top", [None, 1, 3])
@pytest.mark.parametrize("scope", ["cls", "patch"])
@pytest.mark.parametrize("search", ["joint", "literal"])
def test_the_score_is_that_of_the_path(search, scope, top):
    """The search computes its score along the way; the definition gives the same, for every rule.
    """
    target = npc.TargetModel(helpers.small_vit(53, init_values=0.1), scope=scope)
    images, labels = helpers.small_batch(2, 54)
    for rule in RULES:
        paths = published(target, images, labels, search=search, quadrature=rule, steps=2, top=top)
        again = npc.joint_attribution_score(target, images, labels, paths.neurons, quadrature=rule,
                                            steps=2)
        torch.testing.assert_close(paths.score, again, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("scope", "short", "settings"), [
    ("cls", {"context": "full", "quadrature": "left"}, {"context": "full", "quadrature": "left",
                                                        "steps": 20}),
    ("cls", {}, {"context": "mixed", "quadrature": "gauss-legendre", "steps": [8, 4],
                 "exact_steps": [6, 4, 2]}),
    ("patch", {}, {"context": "full", "quadrature": "gauss-legendre", "steps": [12, 6, 4]}),
])
def test_defaults(scope, short, settings):
    target = npc.TargetModel(helpers.small_vit(53), scope=scope)
    images, labels = helpers.small_batch(2, 54)
    written_out = npc.find_paths(target, images, labels, method="neuron_path", search="joint",
                                 nodes=None, top=None, **settings)
    found = npc.find_paths(target, images, labels, **short)
    assert torch.equal(found.neurons, written_out.neurons)
    assert torch.equal(found.score, written_out.score)
    assert len(found) == 2


@pytest.mark.each_value
@pytest.mark.parametrize("scope", ["cls", "patch"])
@pytest.mark.parametrize("method", npc.METHODS)
def test_top_one_is_the_path_itself(method, scope):
    target = npc.TargetModel(helpers.small_vit(53), scope=scope)
    images, labels = helpers.small_batch(3, 54)
    found = [published(target, images, labels, method=method, steps=3, top=top)
             for top in (None, 1, 3, 16)]
    path, one, three, every = found
    assert path.neurons.shape == (3, 3)
    assert torch.equal(one.neurons, path.neurons[..., None])
    assert torch.equal(one.score, path.score)
    assert three.neurons.shape == (3, 3, 3)
    # the best of three that are edited together need not be the one that is best alone
    if method not in ("random", "matched_random", "conditional_gradient"):
        # best first; later blocks feel the other two
        assert torch.equal(three.neurons[:, 0, 0], path.neurons[:, 0])
    assert torch.equal(every.neurons.sort(-1).values, torch.arange(16).expand(3, 3, -1))


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_the_planted_path_is_found(scope):
    target = npc.TargetModel(helpers.planted_vit(scope))
    images, labels = helpers.small_batch(3, 6)[0].abs(), torch.full((3,), helpers.PLANTED_LABEL)
    planted = torch.tensor([helpers.PLANTED] * 3)
    for search in ("joint", "literal"):
        assert torch.equal(published(target, images, labels, search=search, steps=5).neurons,
                           planted)
    # the control: with another label the same neurons count against it
    others = published(target, images, labels * 0, search="joint", steps=5).neurons
    assert not (others == planted).any()


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_the_product_path_is_found(scope):
    """F = 1/4 + w1 w2 / 2: neurons 3 and 5 are the only ones with a gradient, though not the most
    active ones."""
    model, _ = helpers.product_vit(scope)
    images = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    for search in ("joint", "literal"):
        paths = published(npc.TargetModel(model), images, torch.tensor([0]), search=search,
                          steps=20)
        assert paths.neurons.tolist() == [[3, 5]]


# --- division of work, dtype, what is left behind, for every method ---

CALLS = [*({"method": method} for method in npc.METHODS), {"search": "literal"}, {"top": 3},
         {"method": "random", "top": 3}]
NAMES = ["-".join(str(value) for value in call.values()) for call in CALLS]


def assert_same(found, neurons, score):
    """The same neurons; the scores but for the order of sums."""
    assert torch.equal(found.neurons, neurons)
    torch.testing.assert_close(found.score, score, rtol=1e-11, atol=1e-14)


@pytest.mark.each_value
@pytest.mark.parametrize("call", CALLS, ids=NAMES)
@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_a_batch_gives_the_answers_of_its_images(scope, call):
    target = npc.TargetModel(helpers.small_vit(61), scope=scope)
    images, labels = helpers.small_batch(3, 62)
    together = published(target, images, labels, steps=3, **call)
    for i in (2, 0, 1):
        alone = published(target, images[i:i + 1], labels[i:i + 1], steps=3, **call)
        assert_same(alone, together.neurons[i:i + 1], together.score[i:i + 1])


@pytest.mark.each_value
@pytest.mark.parametrize("numbers", [1, 2], ids=["one image a chunk", "two"])
@pytest.mark.parametrize("call", CALLS, ids=NAMES)
@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_chunks_do_not_change_the_answers(scope, call, numbers):
    target = npc.TargetModel(helpers.small_vit(61), scope=scope)
    images, labels = helpers.small_batch(3, 62)
    sizes, handle = helpers.watch_batches(target.model)
    whole = published(target, images, labels, steps=3, **call)
    assert not set(sizes) - {3, 9}  # all images at once, or all nodes of all images
    budget = numbers * 3 * memory.copy_bytes(target)
    with memory.memory_limit(target, budget):
        assert memory.images_at_once(target, 3) == numbers
    sizes.clear()
    chunked = published(target, images, labels, steps=3, memory_budget=budget, **call)
    handle.remove()
    # the search, or the score of what was found otherwise, went in chunks
    expected = {1: [1, 1, 1], 2: [2, 1]}[numbers]
    assert sizes[-len(expected):] == expected
    if call.get("method") is None or call["method"] == "neuron_path":
        assert sizes == expected
    assert_same(chunked, whole.neurons, whole.score)


@pytest.mark.each_value
@pytest.mark.parametrize("hooked", [False, True], ids=["written out", "hooked"])
@pytest.mark.parametrize("call", CALLS, ids=NAMES)
def test_chunks_bound_the_copies_that_run_at_once(call, hooked, monkeypatch):
    model = helpers.small_vit(61)
    target, sizes = npc.TargetModel(model), helpers.watch_copies(monkeypatch, model, 2)
    images, labels = helpers.small_batch(3, 62)
    if hooked:  # a listener, so that the blocks run as modules
        model.blocks[0].register_forward_pre_hook(lambda *_: None)
    assert (target.plain(0) is None) == hooked
    published(target, images, labels, steps=3, **call)
    assert max(sizes) >= 9  # all images, three nodes
    sizes.clear()
    published(target, images, labels, steps=3, memory_budget=3 * memory.copy_bytes(target), **call)
    assert max(sizes) == 3  # one image, three nodes


@pytest.mark.each_value
@pytest.mark.parametrize("call", CALLS, ids=NAMES)
@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_threads_do_not_change_the_answers(scope, call):
    target = npc.TargetModel(helpers.small_vit(61), scope=scope)
    images, labels = helpers.small_batch(6, 62)
    expected = published(target, images, labels, steps=3, **call)
    for _ in range(3):  # what one thread does to another depends on the moment
        with helpers.threads(3):
            found = published(target, images, labels, steps=3, **call)
        assert_same(found, expected.neurons, expected.score)


@pytest.mark.each_value
@pytest.mark.parametrize("call", CALLS, ids=NAMES)
@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_results_follow_the_dtype(scope, call):
    images, labels = helpers.small_batch(3, 62)
    images = images.float().double()  # the same pixels in both
    double = published(npc.TargetModel(helpers.small_vit(61), scope=scope), images, labels, steps=4,
                       **call)
    single = published(npc.TargetModel(helpers.small_vit(61).float(), scope=scope), images.float(),
                       labels, steps=4, **call)
    assert double.score.dtype == torch.float64
    assert single.score.dtype == torch.float32
    assert torch.equal(single.neurons, double.neurons)
    torch.testing.assert_close(single.score.double(), double.score, rtol=1e-4,
                               atol=1e-5 * float(double.score.abs().max()))


@pytest.mark.each_value
@pytest.mark.parametrize("call", CALLS, ids=NAMES)
@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_nothing_is_left_behind(scope, call):
    model = helpers.small_vit(61)
    for number, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(number % 3 != 0)
        parameter.grad = torch.full_like(parameter, number) if number % 2 else None
    target = npc.TargetModel(model, scope=scope)
    images, labels = helpers.small_batch(2, 62)
    images.requires_grad_()
    pixels = images.detach().clone()
    before = helpers.Snapshot(model)
    logits = target(images).detach()
    paths = published(target, images, labels, steps=2, **call)
    before.check()
    assert torch.equal(target(images).detach(), logits)
    assert torch.equal(images, pixels)
    assert images.grad is None
    assert not paths.score.requires_grad
    assert torch.is_grad_enabled()
    assert torch.backends.cuda.flash_sdp_enabled()


class Interrupted(Exception):
    """Raised in the middle of a forward."""


@pytest.mark.each_value
@pytest.mark.parametrize("call", CALLS, ids=NAMES)
@pytest.mark.parametrize("scope", ["cls", "patch"])
@pytest.mark.parametrize("place", ["hooked", "written out"])
def test_nothing_is_left_behind_after_an_error(place, scope, call, monkeypatch):
    model = helpers.small_vit(61)
    next(model.parameters()).requires_grad_(False)
    target = npc.TargetModel(model, scope=scope)
    images, labels = helpers.small_batch(2, 62)
    expected = published(target, images, labels, steps=2, **call)
    before = helpers.Snapshot(model)
    seen = []

    def interrupt(*_):
        seen.append(1)
        if len(seen) in errors:
            raise Interrupted

    heads = blocks.PlainBlock._heads

    def interrupted_heads(self, *arguments):
        if self.block is model.blocks[1]:
            interrupt()
        return heads(self, *arguments)

    # the clean pass, and two later ones where hooks or forward mode are in force
    for errors in ({1}, {2}, {3}):
        seen.clear()
        with monkeypatch.context() as patch:
            if place == "hooked":
                handle = model.blocks[1].attn.register_forward_pre_hook(interrupt)
            else:  # what every way through a block that is written out begins with
                patch.setattr(blocks.PlainBlock, "_heads", interrupted_heads)
            try:
                published(target, images, labels, steps=2, **call)
            except Interrupted:
                pass
            else:
                assert errors != {1}
                assert len(seen) < max(errors)
            finally:
                if place == "hooked":
                    handle.remove()
        before.check()
        assert torch.is_grad_enabled()
        assert torch.backends.cuda.flash_sdp_enabled()
        again = published(target, images, labels, steps=2, **call)
        assert torch.equal(again.neurons, expected.neurons)
        assert torch.equal(again.score, expected.score)


@pytest.mark.each_value
@pytest.mark.parametrize("call", CALLS, ids=NAMES)
@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_the_callers_no_grad_does_not_matter(scope, call):
    target = npc.TargetModel(helpers.small_vit(61), scope=scope)
    images, labels = helpers.small_batch(2, 62)
    expected = published(target, images, labels, steps=2, **call)
    with torch.no_grad():
        found = published(target, images, labels, steps=2, **call)
        assert not torch.is_grad_enabled()
    assert torch.equal(found.neurons, expected.neurons)
    assert torch.equal(found.score, expected.score)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("call", CALLS, ids=NAMES)
@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_results_follow_the_device(scope, call):
    images, labels = helpers.small_batch(3, 62)
    here = published(npc.TargetModel(helpers.small_vit(61), scope=scope), images, labels, steps=3,
                     **call)
    target = npc.TargetModel(helpers.small_vit(61).cuda(), scope=scope)
    there = published(target, images.cuda(), labels.cuda(), steps=3, **call)
    assert there.neurons.is_cuda
    assert there.score.is_cuda
    assert torch.equal(there.neurons.cpu(), here.neurons)
    torch.testing.assert_close(there.score.cpu(), here.score, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("method", npc.METHODS)
def test_gradient_checkpointing_does_not_matter(method):
    images, labels = helpers.small_batch(2, 62)
    model = helpers.small_vit(61)
    expected = published(npc.TargetModel(model), images, labels, method=method, steps=2)
    model.set_grad_checkpointing(True)
    if method in ("relp", "libragrad"):
        helpers.refused(lambda: published(npc.TargetModel(model), images, labels, method=method),
                        "accepted: model.set_grad_checkpointing(False)")
        return
    found = published(npc.TargetModel(model), images, labels, method=method, steps=2)
    assert torch.equal(found.neurons, expected.neurons)
    torch.testing.assert_close(found.score, expected.score, rtol=1e-11, atol=1e-14)
