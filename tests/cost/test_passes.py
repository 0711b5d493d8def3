"""What a search does, counted by formula, against the passes that it really makes of the blocks of
small networks."""

import contextlib
from collections import Counter

import pytest
import torch
from timm.models.vision_transformer import Block
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import neuronpath_core as npc
from neuronpath_core.chapters.search_cost import growth
from neuronpath_core.cost import passes
from neuronpath_core.fast.blocks import PlainBlock
from neuronpath_core.scores import METHODS
from neuronpath_core.variants.halves import PlainLayer
from neuronpath_core.variants.sites import SiteModel
from tests import helpers


class Watch:
    """Passes of blocks and ways back through them, in copies of images, by what was asked of the
    block.

    ``seen["gradient"]`` are passes with a graph, ``seen["back gradient"]`` the ways back.
    """

    def __init__(self, monkeypatch, written_out=PlainBlock):
        self.seen: Counter[str] = Counter()
        for name in ("__call__", "activations", "tangent", "frozen", "frozen_tangent",
                     "keys_values"):
            if hasattr(written_out, name):
                self._wrap(monkeypatch, written_out, name)
        self._wrap(monkeypatch, Block, "forward")
        helpers.overlook_checks(monkeypatch, self)

    def _wrap(self, monkeypatch, owner, name):
        function = getattr(owner, name)

        def call(block, *arguments, **settings):
            if self.looking:
                return function(block, *arguments, **settings)
            stream, held, only = arguments[0], None, None
            if name == "__call__":
                held, only = (*arguments[1:], None, None)[:2]
            elif name == "tangent":
                only = (*arguments, None)[3]
            elif name == "frozen":
                held = (*arguments, None)[2]
            graph = torch.is_grad_enabled() and (stream.requires_grad or held is not None
                                                 and held.requires_grad)
            kind = self._kind(name, graph, held, only)
            copies = stream.shape[0] * (stream.shape[1] if name.startswith("frozen") else 1)
            if name == "forward" and torch.autograd.forward_ad._current_level >= 0:
                kind = "tangent"
            self.seen[kind] += copies
            out = function(block, *arguments, **settings)
            if graph and torch.is_tensor(out):
                out.register_hook(lambda gradient: self.seen.update({f"back {kind}": copies}))
            return out

        monkeypatch.setattr(owner, name, call)

    @staticmethod
    def _kind(name, graph, held, only):
        if name in ("tangent", "frozen_tangent", "keys_values"):
            return "last_tangent" if only is not None else name
        if name == "frozen":
            return "frozen_gradient"
        if only is not None:
            return "last_gradient" if graph else "last_forward"
        if held is not None and graph:
            return "held per copy" if held.requires_grad else "held"
        return "gradient" if graph else "forward"

    def agrees(self, expected: passes.Passes, images: int) -> None:
        """Assert that this is what was counted by formula, pass by pass."""
        want = {
            "forward": expected.forward, "last_forward": expected.last_forward,
            "tangent": expected.tangent, "last_tangent": expected.last_tangent,
            "frozen_tangent": expected.frozen_tangent, "keys_values": expected.keys_values,
            "held": expected.held_forward, "back held": expected.held_backward,
        }
        for name, kind in (("gradient", "gradient"), ("last_gradient", "last_gradient"),
                           ("frozen_gradient", "frozen_gradient"),
                           ("held per copy", "held_gradient")):
            want |= {name: getattr(expected, kind), f"back {name}": getattr(expected, kind)}
        assert {name: count for name, count in self.seen.items()
                if count} == {name: images * count for name, count in want.items() if count}


def check(monkeypatch, name, images=2, memory=None, again=None, overrides=None, **settings):
    arguments, scope = helpers.NETWORKS[name]
    target = npc.TargetModel(helpers.small_vit(7, **{**arguments, **(overrides or {})}), scope)
    pictures, labels = helpers.small_batch(images, 8)
    with monkeypatch.context() as patched:
        watch = Watch(patched)
        npc.find_paths(target, pictures, labels, **settings, memory_budget=memory)
    watch.agrees(passes.path_passes(target, settings, again=again), images)
    return watch


CLASS_TOKEN = ["cls", "cls-layerscale-qknorm", "cls-registers-prenorm", "cls-of-averaging"]
PATCHES = ["avg", "avg-registers", "patch-of-class-token", "patch-attention-pool"]


@pytest.mark.each_value
@pytest.mark.parametrize("name", CLASS_TOKEN + PATCHES)
@pytest.mark.parametrize("search", [
    {"steps": [4, 1]}, {"steps": [1, 3, 2]}, {"steps": [3, 2], "search": "literal"},
    {"steps": [3, 2, 1], "search": "beam", "width": 2}])
def test_steps_by_block_are_counted_where_they_are_taken(monkeypatch, name, search):
    check(monkeypatch, name, context="full", **search)


@pytest.mark.each_value
@pytest.mark.parametrize("name", CLASS_TOKEN + PATCHES)
@pytest.mark.parametrize("search", [{}, {"search": "literal", "steps": 2},
                                    {"search": "beam", "width": 3, "steps": 2}, {"top": 3},
                                    {"quadrature": "left", "steps": 20, "nodes": 8},
                                    {"quadrature": "right", "steps": 5}])
def test_the_search_passes_the_blocks_as_often_as_the_formula_says(monkeypatch, name, search):
    check(monkeypatch, name, context="full", **search)


@pytest.mark.each_value
@pytest.mark.parametrize("context", ["frozen", "mixed", "auto"])
@pytest.mark.parametrize("search", [{}, {"search": "literal"}, {"search": "beam", "width": 2},
                                    {"steps": 5, "exact_steps": 3}, {"method": "complete"}])
def test_so_do_searches_in_which_the_class_token_alone_moves(monkeypatch, context, search):
    watch = check(monkeypatch, "cls-layerscale-qknorm", overrides={"depth": 4}, context=context,
                  **search)
    assert watch.seen["frozen_gradient"] > 0


@pytest.mark.parametrize("method", METHODS)
def test_blocks_that_cannot_be_written_out_are_passed_as_often(monkeypatch, method):
    target = npc.TargetModel(helpers.small_vit(7, depth=4))
    for block in target.model.blocks:
        block.mlp.fc1.register_forward_hook(lambda *_: None)  # somebody listens in
    assert target.plain(0) is None
    images, labels = helpers.small_batch(2, 8)
    with monkeypatch.context() as patched:
        watch = Watch(patched)
        npc.find_paths(target, images, labels, method=method, steps=3)
    found = passes.path_passes(target, {"method": method, "steps": 3})
    # of the score, which enters the first block without a graph
    first = 0 if method == "neuron_path" else 3
    graphs = found.gradient + found.held_gradient + found.last_gradient - first
    expected = {"forward": found.forward + found.last_forward + first, "tangent": found.tangent
                + found.last_tangent,
                "gradient": graphs, "back gradient": graphs}
    assert watch.seen == {name: 2 * count for name, count in expected.items() if count}


@pytest.mark.each_value
@pytest.mark.parametrize("sites", ["attention", "heads", "mixed", "halves"])
@pytest.mark.parametrize("search", ["joint", "literal", "beam"])
@pytest.mark.parametrize("name", ["cls", "avg"])
def test_layers_of_other_sites_are_passed_as_often_as_blocks(monkeypatch, name, search, sites):
    arguments, scope = helpers.NETWORKS[name]
    target = SiteModel(helpers.small_vit(7, **arguments), scope, sites)
    images, labels = helpers.small_batch(2, 8)
    settings = {"context": "full", "steps": 2, "search": search, "width": 3}
    with monkeypatch.context() as patched:
        watch = Watch(patched, PlainLayer)
        npc.find_paths(target, images, labels, **settings)
    watch.agrees(passes.path_passes(target, settings), 2)


@pytest.mark.each_value
@pytest.mark.parametrize("name", ["cls", "cls-of-averaging", "avg", "patch-of-class-token"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_passes_the_blocks_as_often_as_the_formula_says(monkeypatch, name, method):
    check(monkeypatch, name, method=method, context="full", quadrature="left", steps=6, nodes=4)


@pytest.mark.parametrize("top", [2, 14])
def test_more_neurons_a_block_cost_ablation_more_proposals_and_the_search_nothing(monkeypatch, top):
    watch = check(monkeypatch, "cls", method="ablation", top=top)
    assert watch.seen["last_forward"] == 2 * max(12, top) * 2
    assert check(monkeypatch, "cls", top=top).seen == check(monkeypatch, "cls").seen


@pytest.mark.each_value
@pytest.mark.parametrize("name", ["cls", "cls-of-averaging", "avg", "patch-of-class-token"])
@pytest.mark.parametrize("settings", [{}, {"context": "full", "search": "literal", "steps": 2},
                                      {"steps": "auto"}, {"search": "beam", "width": 2, "steps": 2},
                                      {"method": "conductance"}])
def test_further_numbers_of_neurons_cost_a_search_without_the_first_block(monkeypatch, name,
                                                                          settings):
    arguments, scope = helpers.NETWORKS[name]
    target = npc.TargetModel(helpers.small_vit(7, **arguments), scope)
    (images, labels) = helpers.small_batch(6, 8)
    if settings.get("steps") == "auto":  # of all sizes those that settle at once
        settled = [paths.steps == 3
                   for paths in npc.find_paths_by_top(target, images, labels, [1, 1], **settings)]
        images, labels = images[settled[0]], labels[settled[0]]
        assert len(images)
    tops = [1, 1] if settings.get("search") == "beam" or settings.get("steps") == "auto" else [
        1, 3, 2]
    with monkeypatch.context() as patched:
        watch = Watch(patched)
        npc.find_paths_by_top(target, images, labels, tops, **settings)
    rest = [passes.path_passes(target, settings, first=False)] * (len(tops) - 1)
    if settings.get("search") == "beam":  # one beam serves both
        rest = []
    watch.agrees(sum(rest, passes.path_passes(target, settings)), len(images))


@pytest.mark.parametrize("search", [{}, {"search": "literal"}, {"search": "beam", "width": 2}])
def test_a_stream_that_does_not_fit_into_memory_is_run_again_on_every_way_back(monkeypatch, search):
    target = npc.TargetModel(helpers.small_vit(7, **helpers.NETWORKS["avg"][0]))
    budget = 2 * npc.support.memory.copy_bytes(target)
    settings = {"context": "full", "quadrature": "left", "steps": 5, **search}
    tight = check(monkeypatch, "avg", memory=budget, again=True, **settings)
    assert tight.seen["held"] > check(monkeypatch, "avg", again=False, **settings).seen["held"]
    with npc.support.memory.memory_limit(target, budget):
        assert passes.path_passes(target, settings) == passes.path_passes(target, settings,
                                                                          again=True)
    assert passes.path_passes(target, settings) == passes.path_passes(target, settings, again=False)


def test_a_batch_in_small_pieces_passes_no_block_more_often(monkeypatch):
    target = npc.TargetModel(helpers.small_vit(7))
    check(monkeypatch, "cls", images=5, memory=2 * npc.support.memory.copy_bytes(target), context="mixed",
          steps=4)


@pytest.mark.parametrize("method", ["neuron_path", "complete"])
def test_adaptive_steps_count_as_many_rounds_as_they_take_when_all_images_take_the_same(
        monkeypatch, method):
    target = npc.TargetModel(helpers.small_vit(7))
    images, labels = helpers.small_batch(6, 8)
    found = npc.find_paths(target, images, labels, method=method, steps="auto")
    alike = (found.steps == 3).nonzero()[:, 0]  # settled with the second rule
    assert len(alike)
    with monkeypatch.context() as patched:
        watch = Watch(patched)
        npc.find_paths(target, images[alike], labels[alike], method=method, steps="auto")
    watch.agrees(passes.path_passes(target, {"method": method, "steps": "auto"}), len(alike))
    more = passes.path_passes(target, {"method": method, "steps": "auto"}, rounds=3).gradient
    assert more > passes.path_passes(target, {"method": method, "steps": "auto"}).gradient


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_knowledge_attribution_alone_passes_the_blocks_as_often_as_the_formula_says(monkeypatch,
                                                                                    name):
    arguments, scope = helpers.NETWORKS[name]
    target = npc.TargetModel(helpers.small_vit(7, **arguments), scope)
    images, labels = helpers.small_batch(3, 8)
    with monkeypatch.context() as patched:
        watch = Watch(patched)
        npc.knowledge_attribution(target, images, labels, "gauss-legendre", 4)
    watch.agrees(passes.knowledge_passes(target, 4), 3)


@pytest.mark.parametrize("sizes", [{"L": 3, "n": 32, "m": 4, "T": 5},
                                   {"L": 6, "n": 128, "m": 8, "T": 17},
                                   {"L": 24, "n": 64, "m": 20, "T": 37}])
def test_passes_weighed_by_multiply_adds_are_those_of_the_search(sizes):
    width = 32
    target = growth.cost_model(sizes, width, torch.float64, "cpu")[0]
    found = passes.path_passes(target, {"context": "full", "quadrature": "left",
                                        "steps": sizes["m"]})
    tokens, neurons = sizes["T"], sizes["n"]
    whole = 2 * tokens * (4 * width**2 + 2 * neurons * width) + 6 * tokens**2 * width
    last = 4 * tokens * width**2 + 4 * width**2 + 4 * neurons * width + 6 * tokens * width
    weighed = whole * (found.gradient + found.tangent) + last * (found.last_gradient
                                                                 + found.last_tangent)
    settings = {"context": "full", "quadrature": "left", "steps": sizes["m"]}
    assert passes.search_operations(target, settings) == pytest.approx(weighed, rel=1e-12)


class Products(TorchDispatchMode):
    """Counts multiply-adds of the matrix products that really run, by torch's own formulas."""

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        formula = flop_registry.get(function.overloadpacket)
        self.total += formula(*arguments, **(keywords or {}), out_val=result) / 2 if formula else 0
        return result

    def count(self, function):
        self.total = 0
        with self:
            function()
        return self.total


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_multiply_adds_are_those_that_torch_counts(pool, monkeypatch):
    # the counter changes nothing; taken for a mode that might, it would have the modules called
    monkeypatch.setattr("neuronpath_core.model_state.modes", list)
    target = npc.TargetModel(helpers.small_vit(7, global_pool=pool))
    images, labels = helpers.small_batch(2, 8)
    weights = passes.multiply_adds(target)
    products = Products()
    clean = npc.forward.CleanPass.of(target, images)
    stream = clean.streams[1]
    assert products.count(lambda: target.run(stream, 1, 2)) == 2 * weights["forward"]
    leaf = stream.detach().requires_grad_()
    # which keeps the attention matrix
    with npc.gradients.activation_gradients(target), sdpa_kernel(SDPBackend.MATH):
        there_and_back = products.count(lambda: torch.autograd.grad(target.run(leaf, 1, 2).sum(),
                                                                    leaf))
    assert there_and_back == 2 * weights["gradient"]
    held = clean.activations[1].detach().requires_grad_()
    with npc.gradients.activation_gradients(target), sdpa_kernel(SDPBackend.MATH):
        held_there_and_back = products.count(lambda: torch.autograd.grad(
            target.run(leaf, 1, 2, {1: held}).sum(), [leaf, held]))
    assert held_there_and_back == 2 * weights["held_gradient"]
    if pool == "token":
        last = target.n_blocks - 1
        assert products.count(lambda: target.run(stream, last, last + 1,
                                                 pooled=True)) == 2 * weights["last_forward"]


def test_passes_add_up_and_take_their_seconds():
    some = 2 * passes.Passes(forward=3, gradient=1) + passes.Passes(gradient=5)
    assert some == passes.Passes(forward=6, gradient=7)
    assert some.seconds({"forward": 0.5, "gradient": 2.0}) == 17.0
    with contextlib.suppress(KeyError):
        some.seconds({"forward": 0.5})
        raise AssertionError("a pass without a rate must not count as free")


@pytest.mark.parametrize(("settings", "words"),
                         [({"method": "guess"}, "unknown method 'guess'; accepted: neuron_path"),
                          ({"context": "frozen"}, "accepted here: full"),
                          ({"pace": 2}, "unknown settings pace; accepted: method")])
def test_settings_that_find_paths_refuses_are_refused_in_one_line(settings, words):
    target = npc.TargetModel(helpers.small_vit(7, global_pool="avg"))
    with pytest.raises(ValueError, match=words) as error:
        passes.path_passes(target, settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("rounds", [1, 14])
def test_rounds_of_adaptive_steps_outside_their_range_are_refused(rounds):
    with pytest.raises(ValueError, match=r"must lie in 2\.\.13"):
        passes.path_passes(npc.TargetModel(helpers.small_vit(7)), {"steps": "auto"}, rounds=rounds)
