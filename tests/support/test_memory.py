"""Budgets, what happens when memory runs out, images side by side, and what is freed: none of it
may change an answer."""

import functools
import gc
import math
import re
import sys
import threading
import warnings
import weakref
from collections import Counter

import pytest
import torch
from timm.layers import RmsNorm, SwiGLU
from timm.models.vision_transformer import Block

import neuronpath_core as npc
from neuronpath_core import interventions, jas
from neuronpath_core.fast import blocks, contexts, prefixes
from neuronpath_core.settings import SEARCHES
from neuronpath_core.support import memory
from tests import helpers

SETTINGS = {
    "joint": {"context": "full"},
    "joint-left": {"context": "full", "quadrature": "left", "steps": 5},
    "joint-top": {"context": "full", "top": 3},
    "joint-auto": {"context": "full", "steps": "auto"},
    "literal": {"context": "full", "search": "literal"},
    "beam": {"context": "full", "search": "beam", "width": 2},
    **{method: {"method": method, "steps": 3} for method in list(npc.METHODS)[1:]},
}
CLASS_TOKEN = {
    **{f"frozen-{search}": {"context": "frozen", "search": search, "width": 2}
       for search in SEARCHES},
    **{f"mixed-{search}": {"context": "mixed", "search": search, "width": 2}
       for search in SEARCHES},
}
CALLS = [(scope, name, settings) for scope in ("cls", "patch") for name,
         settings in SETTINGS.items()]
CALLS += [("cls", name, settings) for name, settings in CLASS_TOKEN.items()]
calls = pytest.mark.parametrize(("scope", "settings"), [call[::2] for call in CALLS],
                                ids=[f"{call[0]}-{call[1]}" for call in CALLS])
# what else is computed of images with their paths
OTHERS = {
    "joint": lambda target, images, labels,
    paths: npc.joint_attribution_score(target, images, labels, paths, steps=3),
    "complete": lambda target, images, labels,
    paths: npc.complete_attribution(target, images, labels, paths),
    "knowledge": lambda target, images, labels,
    _: npc.knowledge_attribution(target, images, labels, steps=3),
    "edited": lambda target, images, _,
    paths: interventions.edited_probabilities(target, images, paths, "remove"),
    "class": lambda target, images, *_: interventions.class_probabilities(target, images),
    "refined": lambda target, images, labels,
    paths: npc.refine_paths(target, images[:6], labels[:6], paths[:6], sweeps=1)[1],
}


@pytest.fixture(autouse=True)
def few_rules(monkeypatch):
    """What ``steps="auto"`` tries is elsewhere; here it only has to leave some images open."""
    monkeypatch.setattr(npc.fast.engine, "AUTO_STEPS", (2, 3, 4))


def network(scope, seed=501, neurons=6):
    pool = "token" if scope == "cls" else "avg"
    return npc.TargetModel(helpers.small_vit(seed, global_pool=pool, mlp_ratio=neurons / 16),
                           scope=scope)


class Spy:
    """How many copies every block runs at once, how many images, nodes and candidates a chunk has,
    and in which threads."""

    def __init__(self, monkeypatch):
        self.copies, self.images, self.nodes, self.candidates, self.recomputed = [], [], [], [], []
        self.threads, self.fail = set(), lambda copies: None
        spy = self

        def counted(name, native):
            def method(self, stream, *rest, **named):
                if spy.looking:  # the model is held against itself
                    return native(self, stream, *rest, **named)
                copies = stream.shape[:-1].numel() if name.startswith("frozen") else len(stream)
                spy.copies.append(copies)
                spy.threads.add(threading.get_ident())
                spy.fail(copies)
                return native(self, stream, *rest, **named)
            return method
        for owner, names in ((blocks.PlainBlock, ("activations", "__call__", "tangent", "frozen",
                                                  "frozen_tangent")), (Block, ("forward",))):
            for name in names:
                monkeypatch.setattr(owner, name, counted(name, getattr(owner, name)))
        helpers.overlook_checks(monkeypatch, self)

        clean = npc.forward.CleanPass.of

        def of(target, images, baseline=None):
            spy.images.append(len(images))
            return clean(target, images, baseline)
        monkeypatch.setattr(npc.forward.CleanPass, "of", staticmethod(of))

        prefix, literal = prefixes.Prefix.__init__, prefixes.Prefix.literal_slopes

        def enter(self, context, labels, nodes, weights):
            spy.nodes.append(len(nodes))
            prefix(self, context, labels, nodes, weights)

        def slopes(self, block, vectors, candidates):
            spy.candidates.append(len(candidates))
            return literal(self, block, vectors, candidates)
        monkeypatch.setattr(prefixes.Prefix, "__init__", enter)
        monkeypatch.setattr(prefixes.Prefix, "literal_slopes", slopes)

        recompute = prefixes.checkpoint

        def checkpointed(*arguments, **named):
            spy.recomputed.append(1)
            return recompute(*arguments, **named)
        monkeypatch.setattr(prefixes, "checkpoint", checkpointed)


@pytest.fixture
def spy(monkeypatch):
    return Spy(monkeypatch)


@pytest.fixture
def two_threads():
    """What torch may use, and threads that interrupt one another all the time; both restored."""
    threads, interval = torch.get_num_threads(), sys.getswitchinterval()
    torch.set_num_threads(2)
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(interval)
    torch.set_num_threads(threads)


def assert_same(found, expected):
    assert torch.equal(found.neurons, expected.neurons)
    assert torch.equal(found.steps, expected.steps)
    torch.testing.assert_close(found.score, expected.score, rtol=1e-12, atol=1e-14)


# --- amounts ---


@pytest.mark.parametrize(("written", "amount"), [
    (6_000_000_000, 6_000_000_000), (1, 1), (2.5e6, 2_500_000), (1e16, 10**16), ("7", 7),
    ("6GB", 6 * 10**9), ("6 gb", 6 * 10**9),
    ("512 MiB", 512 * 2**20), ("512mib", 512 * 2**20), (" 1.5 KB ", 1500), (".5GiB", 2**29),
    ("3B", 3), ("2KiB", 2048), ("2MB", 2 * 10**6),
])
def test_amounts_of_memory(written, amount):
    assert memory.parse_memory(written) == amount


@pytest.mark.parametrize("written", ["", "GB", "-1", "-6GB", "0", "0GB", "0.1B", "6 G", "6TB",
                                     "6 GB extra", "6,5GB", "inf", "nan", "1..5MB", "1 2MB",
                                     0, -5, 0.5, float("nan"), float("inf"), True, False, None, [],
                                     (1,), b"6GB", 2 + 0j])
def test_no_amounts_of_memory(written):
    with pytest.raises(ValueError,
                       match=r"memory_budget must be a positive number of bytes or a text like "
                             r"'6GB' or '512MiB', got ") as caught:
        memory.parse_memory(written)
    assert repr(written) in str(caught.value)


@pytest.mark.parametrize("written", ["", "six", -1, True, 0])
def test_find_and_refine_refuse_them_too(written):
    target, (images, labels) = network("cls"), helpers.small_batch(2, 502)
    for call in (lambda: npc.find_paths(target, images, labels, memory_budget=written),
                 lambda: npc.refine_paths(target, images, labels,
                                          torch.zeros(2, 3, dtype=torch.int64),
                                          memory_budget=written)):
        with pytest.raises(ValueError, match="memory_budget must be"):
            call()


# --- budgets ---


@pytest.mark.parametrize("copies", [1, 7])
@calls
def test_a_budget_does_not_change_the_answers(scope, settings, copies):
    """From one copy at once (nodes and candidates apart) to a few images."""
    target, (images, labels) = network(scope), helpers.small_batch(3, 502)
    whole = npc.find_paths(target, images, labels, **settings)
    assert_same(npc.find_paths(target, images, labels,
                               memory_budget=copies * memory.copy_bytes(target), **settings), whole)


@pytest.mark.parametrize("copies", [1, 7])
@calls
def test_a_budget_bounds_what_runs_at_once(scope, settings, copies, spy):
    target, (images, labels) = network(scope), helpers.small_batch(3, 502)
    budget = copies * memory.copy_bytes(target)
    npc.find_paths(target, images, labels, memory_budget=budget, **settings)
    frozen = budget // memory.copy_bytes(target, frozen=True)
    searched = settings.get("method", "neuron_path") in ("neuron_path", "complete",
                                                         "matched_random")
    assert max(spy.copies) <= (frozen if searched
                               and contexts.resolve_context(target, settings.get("context", "auto"))
                               != "full" else copies)


@pytest.mark.parametrize("copies", [1, 3, 7])
@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_a_budget_bounds_the_scores_of_given_paths(scope, copies, spy):
    target, (images, labels) = network(scope), helpers.small_batch(3, 502)
    paths = npc.find_paths(target, images, labels, context="full").neurons
    spy.copies.clear()
    npc.refine_paths(target, images, labels, paths, sweeps=1,
                     memory_budget=copies * memory.copy_bytes(target))
    assert max(spy.copies) <= copies


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_how_the_work_is_split(scope, spy):
    """Images first, then nodes (where the patch scope computes blocks again), then candidates."""
    target, (images, labels) = network(scope, neurons=16), helpers.small_batch(3, 502)
    one = memory.copy_bytes(target)

    def parts(copies, **settings):
        for seen in (spy.images, spy.nodes, spy.candidates, spy.recomputed):
            seen.clear()
        npc.find_paths(target, images, labels, context="full", steps=4, memory_budget=None
                       if copies is None else copies * one, **settings)
        return spy.images.copy(), spy.nodes.copy(), Counter(spy.candidates), bool(spy.recomputed)

    assert parts(None) == ([3], [4], {}, False)
    assert parts(12) == ([3], [4], {}, False)
    assert parts(11) == ([2, 1], [4, 4], {}, False)
    assert parts(4) == ([1, 1, 1], [4, 4, 4], {}, False)
    assert parts(3) == ([1, 1, 1], [3, 1] * 3, {}, scope == "patch")
    assert parts(1) == ([1, 1, 1], [1] * 12, {}, scope == "patch")
    # 16 candidates in each of 3 blocks
    assert parts(12 * 16, search="literal") == ([3], [4], {16: 3}, False)
    assert parts(12 * 15, search="literal") == ([3], [4], {15: 3, 1: 3}, False)
    assert parts(12, search="literal") == ([3], [4], {1: 48}, False)


def test_a_larger_budget_runs_more_at_once(spy):
    target, (images, labels) = network("cls"), helpers.small_batch(3, 502)
    largest = []
    for copies in (1, 2, 4, 8, 16):
        spy.copies.clear()
        npc.find_paths(target, images, labels, context="full", steps=4,
                       memory_budget=copies * memory.copy_bytes(target))
        largest.append(max(spy.copies))
    assert largest == [1, 2, 4, 8, 12]


def test_a_frozen_copy_takes_less():
    target = network("cls")
    assert 1 <= memory.copy_bytes(target, frozen=True) < memory.copy_bytes(target)
    assert memory.copy_bytes(network("cls")) == 2 * memory.copy_bytes(
        npc.TargetModel(network("cls").model.float()))


@pytest.mark.each_value
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("hooked", [False, True], ids=["written out", "hooked"])
@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_the_price_of_a_copy_covers_what_autograd_keeps_of_it(scope, hooked, dtype):
    """Bytes and not numbers, of the costliest block: gated, with every norm and scale."""
    parts = {"mlp_layer": SwiGLU, "act_layer": torch.nn.SiLU, "scale_mlp_norm": True,
             "init_values": 0.3, "qk_norm": True}
    model = helpers.small_vit(501, global_pool="token" if scope == "cls" else "avg",
                              **parts).to(dtype).requires_grad_(False)
    target = npc.TargetModel(model, scope=scope)
    (images, labels) = helpers.small_batch(1, 502)
    kept = {}
    if hooked:
        for block in model.blocks:
            block.register_forward_pre_hook(lambda *_: None)
    assert (target.plain(0) is None) == hooked
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def keep(saved):
        kept[saved.untyped_storage().data_ptr()] = saved.untyped_storage()
        return saved
    stream = target.embed(images.to(dtype)).detach().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        probability = target.probability(target.run(stream, 0, target.n_blocks, pooled=True),
                                         labels)
    assert torch.autograd.grad(probability.sum(), stream)[0].any()
    needed = sum(storage.nbytes() for place, storage in kept.items() if place not in parameters)
    assert memory.copy_bytes(target) / 3 < needed <= memory.copy_bytes(target)


@pytest.mark.parametrize("sizes", [{}, {"embed_dim": 64, "img_size": 32, "mlp_ratio": 4.0},
                                   {"embed_dim": 96, "img_size": 48, "depth": 4}])
def test_the_least_budget_that_is_named_is_accepted(sizes):
    target = npc.TargetModel(helpers.small_vit(503, **sizes))
    images, labels = helpers.small_batch(1, 504, size=sizes.get("img_size", 8))
    with pytest.raises(ValueError,
                       match=r"too small for one copy of one image; accepted: at least ") as caught:
        npc.find_paths(target, images, labels, memory_budget=1)
    named = re.search(r"at least ([\d,.]+ ?[A-Za-z]*)$",
                      str(caught.value))[1].replace(",", "").replace("bytes", "B")
    assert "\n" not in str(caught.value)
    assert_same(npc.find_paths(target, images, labels, memory_budget=named),
                npc.find_paths(target, images, labels))
    # and it is the least, as far as the digits that are printed can tell
    assert memory.parse_memory(named) <= 1.1 * memory.copy_bytes(target)


def test_one_byte_decides():
    target, (images, labels) = network("cls"), helpers.small_batch(1, 504)
    least = memory.copy_bytes(target)
    npc.find_paths(target, images, labels, memory_budget=least)
    for call in (lambda: npc.find_paths(target, images, labels, memory_budget=least - 1),
                 lambda: npc.refine_paths(target, images, labels,
                                          torch.zeros(1, 3, dtype=torch.int64),
                                          memory_budget=least - 1)):
        with pytest.raises(ValueError, match="too small"):
            call()


def test_the_limit_ends_with_its_context():
    target = network("cls")
    native = memory.copies_at_once(target)
    with pytest.raises(KeyError), memory.memory_limit(target, 2 * memory.copy_bytes(target)):
        assert memory.copies_at_once(target) == 2
        with memory.memory_limit(target):  # without an amount the one in force stays
            assert memory.copies_at_once(target) == 2
            with memory.memory_limit(target, 5 * memory.copy_bytes(target)):
                assert memory.copies_at_once(target) == 5
            assert memory.copies_at_once(target) == 2
        raise KeyError
    assert memory.copies_at_once(target) == native
    with memory.memory_limit(target, 7 * memory.copy_bytes(target)):
        assert memory.images_at_once(target, 2) == 3
        assert memory.images_at_once(target, 8) == 1


# --- memory that runs out ---

ERRORS = {
    "torch": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "allocator": lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. "
                                      "DefaultCPUAllocator: can't allocate memory: you tried to "
                                      "allocate "
                                      "40000000000 bytes. Error code 12 (Cannot allocate memory)"),
    "python": MemoryError,
}


def fail_above(spy, most, error):
    """Raise when more than ``most`` copies run at once; returns the list that fills with the
    attempts."""
    attempts = []

    def fail(copies):
        if copies > most:
            attempts.append(copies)
            assert len(attempts) <= 200, "tried for ever"
            raise error()
    spy.fail = fail
    return attempts


def warned_of_memory(caught):
    return [warning for warning in caught if "out of memory" in str(warning.message)]


@calls
def test_when_memory_runs_out_half_is_tried(scope, settings, spy):
    target, (images, labels) = network(scope), helpers.small_batch(6, 502)
    expected = npc.find_paths(target, images, labels, **settings)
    # below that, two hypotheses each with two proposals do not fit, nor does an image with its
    # nodes
    most = 6
    attempts = fail_above(spy, most, ERRORS["torch"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = npc.find_paths(target, images, labels, **settings)
    assert_same(found, expected)
    assert attempts
    assert len(warned_of_memory(caught)) == 1
    assert warned_of_memory(caught)[0].category is RuntimeWarning
    assert re.fullmatch(r"out of memory: going on with at most [\d,.]+ MB at once",
                        str(warned_of_memory(caught)[0].message))


def test_the_limit_that_was_found_stays_for_the_call(spy):
    """Later chunks of the same call do not run out again, the next call starts afresh."""
    target, (images, labels) = network("cls"), helpers.small_batch(6, 502)
    attempts = fail_above(spy, 7, ERRORS["torch"])
    for _ in range(2):
        attempts.clear()
        with pytest.warns(RuntimeWarning, match="out of memory"):
            npc.find_paths(target, images, labels, context="full", steps=3,
                           memory_budget=24 * memory.copy_bytes(target))
        assert attempts == [18, 12]  # all six images, then four; two fit


@pytest.mark.parametrize("call", ["joint", "complete", "knowledge", "edited"])
def test_other_calls_go_on_too(call, spy):
    target, (images, labels) = network("cls"), helpers.small_batch(6, 502)
    paths = npc.find_paths(target, images, labels, context="full").neurons
    compute = functools.partial(OTHERS[call], target, images, labels, paths)
    expected = compute()
    attempts = fail_above(spy, 3, ERRORS["torch"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = compute()
    assert attempts
    assert len(warned_of_memory(caught)) == 1
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_what_was_computed_is_not_computed_again_when_the_limit_fell_within():
    """A computation that divides its own part further, and runs out of memory there, is done with
    all that it was given."""
    target, given = network("cls"), []

    def inner(chosen):
        if len(chosen) > 2:
            raise torch.OutOfMemoryError
        return chosen

    def outer(chosen):
        given.append(chosen.tolist())
        return chosen[torch.cat(memory.in_chunks(target, len(chosen),
                                                 lambda: memory.images_at_once(target, 1), inner))]
    with memory.memory_limit(target,
                             4 * memory.copy_bytes(target)), pytest.warns(RuntimeWarning,
                                                                          match="out of memory"):
        found = memory.in_chunks(target, 7, lambda: memory.images_at_once(target, 1), outer)
    assert given == [[0, 1, 2, 3], [4, 5], [6]]
    assert torch.cat(found).tolist() == list(range(7))


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
                                   ValueError("no"), KeyError("no")])
@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_other_errors_are_not_taken_for_it(scope, error, spy):
    target, (images, labels) = network(scope), helpers.small_batch(3, 502)
    attempts = []

    def fail(copies):
        attempts.append(copies)
        raise error
    spy.fail = fail
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(type(error), match=re.escape(str(error))):
            npc.find_paths(target, images, labels)
    assert len(attempts) == 1


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_each_kind_of_error_is_known(scope, error, spy):
    target, (images, labels) = network(scope), helpers.small_batch(6, 502)
    expected = npc.find_paths(target, images, labels, context="full")
    attempts = fail_above(spy, 6, ERRORS[error])
    with pytest.warns(RuntimeWarning, match="out of memory"):
        assert_same(npc.find_paths(target, images, labels, context="full"), expected)
    assert attempts


@pytest.mark.parametrize(("error", "budget"), [("torch", None), ("allocator", 1), ("python", 40)])
@calls
def test_when_one_copy_does_not_fit_the_error_is_raised(scope, settings, error, budget, spy):
    target, (images, labels) = network(scope), helpers.small_batch(3, 502)
    if settings.get("method") == "random":
        settings = settings | {"method": "activation"}  # the paths themselves need no memory
    attempts = fail_above(spy, 0, ERRORS[error])
    budget = None if budget is None else budget * memory.copy_bytes(target)
    with warnings.catch_warnings(), pytest.raises(type(ERRORS[error]())):
        warnings.simplefilter("ignore")
        npc.find_paths(target, images, labels, memory_budget=budget, **settings)
    # to the least that is ever planned for
    halvings = math.log2((budget or memory._automatic(target))
                         / memory.copy_bytes(target, frozen=True))
    assert 1 <= len(attempts) <= halvings + 2
    spy.fail = lambda copies: None
    npc.find_paths(target, images, labels, **settings)


@pytest.mark.parametrize("context", ["frozen", "mixed"])
def test_copies_of_the_class_token_alone_are_halved_below_the_price_of_a_whole_one(context, spy):
    target, (images, labels) = network("cls"), helpers.small_batch(3, 502)
    # so that two of them still fit where no whole one does
    assert 2 * memory.copy_bytes(target, frozen=True) < memory.copy_bytes(target)
    expected = npc.find_paths(target, images, labels, context=context)
    attempts = fail_above(spy, 1, ERRORS["torch"])
    with pytest.warns(RuntimeWarning, match="out of memory"):
        assert_same(npc.find_paths(target, images, labels, context=context), expected)
    assert attempts


# --- images side by side ---


def shared(scope, settings, count=7):
    """One thread's answer, and a call for the same in any number of threads."""
    target, (images, labels) = network(scope), helpers.small_batch(count, 505)
    torch.set_num_threads(1)
    expected = npc.find_paths(target, images, labels, **settings)
    torch.set_num_threads(2)
    return target, images, labels, expected


@pytest.mark.usefixtures("two_threads")
@calls
def test_two_threads_find_what_one_finds(scope, settings):
    target, images, labels, expected = shared(scope, settings)
    assert_same(npc.find_paths(target, images, labels, **settings), expected)
    assert torch.get_num_threads() == 2


@pytest.mark.each_value
@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("method", list(npc.METHODS)[1:])
@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_methods_that_hook_the_network_keep_to_themselves(scope, method):
    """A hook of one thread must not see what runs in the other; many images and calls, because a
    race is a matter of luck."""
    target, images, labels, expected = shared(scope, {"method": method, "steps": 3}, count=64)
    sys.setswitchinterval(1e-6)
    for _ in range(8):
        assert_same(npc.find_paths(target, images, labels, method=method, steps=3), expected)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_two_threads_are_at_work(scope, spy):
    target, images, labels, expected = shared(scope, {})
    spy.threads.clear()
    spy.images.clear()
    # each waits for the other once: one that is done before the other has begun would do the
    # other's work too
    meeting, there = threading.Barrier(2, timeout=60), set()

    def meet(_copies):
        if threading.get_ident() not in there:
            there.add(threading.get_ident())
            meeting.wait()
    spy.fail = meet
    assert_same(npc.find_paths(target, images, labels), expected)
    spy.fail = lambda copies: None
    assert len(spy.threads) == 2
    assert threading.get_ident() not in spy.threads
    assert sorted(spy.images) == [3, 4]
    # one image, or memory for one copy, is for one thread
    for count, budget in ((1, None), (2, memory.copy_bytes(target))):
        spy.threads.clear()
        npc.find_paths(target, images[:count], labels[:count], context="full", steps=1,
                       memory_budget=budget)
        assert spy.threads == {threading.get_ident()}


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("build", [{"norm_layer": RmsNorm}, {}])
def test_hooks_are_for_one_thread(build, spy):
    """Those of one thread would meet the forward of another."""
    model = helpers.small_vit(506, **build)
    target, (images, labels) = npc.TargetModel(model), helpers.small_batch(5, 507)
    if not build:
        model.blocks[1].mlp.register_forward_hook(lambda *_: None)
    npc.find_paths(target, images, labels, steps=3)
    assert spy.threads == {threading.get_ident()}


@pytest.mark.each_value
@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("call", OTHERS)
@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_two_threads_compute_what_one_computes(scope, call):
    target, (images, labels) = network(scope), helpers.small_batch(32, 505)
    torch.set_num_threads(1)
    paths = npc.find_paths(target, images, labels, context="full").neurons
    compute = functools.partial(OTHERS[call], target, images, labels, paths)
    expected = compute()
    torch.set_num_threads(2)
    sys.setswitchinterval(1e-6)
    for _ in range(4):
        torch.testing.assert_close(compute(), expected, rtol=1e-12, atol=1e-14)
        assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_threads_that_others_start_later_have_their_share():
    """The number that a new thread begins with is the program's, not that of the spans."""
    target, (images, labels), seen = network("cls"), helpers.small_batch(4, 505), []
    npc.find_paths(target, images, labels, context="full", steps=1)
    other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert seen == [2]


@pytest.mark.parametrize(("threads", "images", "spans", "each"),
                         [(2, 9, [5, 4], 1), (5, 2, [1, 1], 2), (4, 8, [2, 2, 2, 2], 1),
                          (9, 9, [3, 2, 2, 2], 2)])
def test_spans_share_the_threads_and_are_four_at_most(threads, images, spans, each):
    target = network("cls")
    with helpers.threads(threads):
        found = memory.in_chunks(target, images, lambda: images,
                                 lambda chosen: (len(chosen), torch.get_num_threads()),
                                 side_by_side=True)
    assert found == [(span, each) for span in spans]


@pytest.mark.usefixtures("two_threads")
def test_grad_mode_is_the_callers_in_every_thread(monkeypatch, spy):
    """Without gradients complete attribution keeps no graph; with them the others work under a
    caller's ``no_grad``."""
    target, (images, labels) = network("cls"), helpers.small_batch(4, 505)
    seen, native = [], jas.CleanPass.of
    monkeypatch.setattr(jas.CleanPass, "of",
                        staticmethod(lambda *both: (seen.append(torch.is_grad_enabled()),
                                                    native(*both))[1]))
    paths = torch.zeros(4, 3, dtype=torch.int64)
    assert not npc.complete_attribution(target, images, labels, paths).requires_grad
    assert seen == [False, False]
    assert torch.is_grad_enabled()
    seen.clear()
    with torch.no_grad():
        score = npc.joint_attribution_score(target, images, labels, paths, steps=2)
        assert seen == [True, True]
        assert not torch.is_grad_enabled()
    assert not score.requires_grad
    assert threading.get_ident() not in spy.threads


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("error", [RuntimeError("no"), KeyError("no"),
                                   torch.OutOfMemoryError("no")])
def test_an_error_in_a_thread_is_raised(error, spy):
    target = network("cls")
    (images, labels) = helpers.small_batch(4, 505)
    others = threading.active_count()

    def fail(copies):
        raise error
    spy.fail = fail
    with warnings.catch_warnings(), pytest.raises(type(error), match="no"):
        warnings.simplefilter("ignore")
        npc.find_paths(target, images, labels)
    assert torch.get_num_threads() == 2
    assert threading.active_count() == others
    assert torch.is_grad_enabled()
    spy.fail = lambda copies: None
    npc.find_paths(target, images, labels)


@pytest.mark.usefixtures("two_threads")
def test_threads_that_run_out_of_memory_warn_once(spy):
    target, images, labels, expected = shared("cls", {"context": "full"}, count=12)
    attempts = fail_above(spy, 7, ERRORS["torch"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = npc.find_paths(target, images, labels, context="full")
    assert_same(found, expected)
    assert len(attempts) >= 2
    assert len(warned_of_memory(caught)) == 1


@pytest.mark.usefixtures("two_threads")
def test_threads_share_the_budget(spy):
    target, images, labels, expected = shared("cls", {"context": "full", "steps": 4}, count=8)
    spy.copies.clear()
    spy.images.clear()
    assert_same(npc.find_paths(target, images, labels, context="full", steps=4,
                               memory_budget=16 * memory.copy_bytes(target)), expected)
    assert max(spy.copies) == 8  # half of it each
    assert spy.images == [2, 2, 2, 2]


# --- what is freed ---


@pytest.fixture(scope="module")
def fewer_objects():
    """So that the garbage collector looks only at what comes from here on."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def uncollected(fewer_objects):
    """Nobody collects garbage: what holds itself stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def tensors() -> int:
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize(("scope", "name"), [("cls", "joint"), ("cls", "beam"),
                                             ("cls", "mixed-joint"), ("cls", "influence_pattern"),
                                             ("patch", "joint"),
                                             ("patch", "literal"), ("patch", "beam"),
                                             ("patch", "random")])
def test_nothing_is_kept_after_a_call(scope, name):
    """Graphs that hold one another would stay until the garbage is collected, and a long run would
    need ever more memory."""
    target = network(scope)
    (images, labels) = helpers.small_batch(3, 502)
    settings = (SETTINGS | CLASS_TOKEN)[name]
    budget = 2 * memory.copy_bytes(target)
    # whatever is made once
    npc.find_paths(target, images, labels, memory_budget=budget, **settings)
    before = tensors()
    npc.find_paths(target, images, labels, memory_budget=budget, **settings)
    assert tensors() <= before


class Alive:
    """The clean passes and prefixes that exist, and the leaves of the prefixes' graphs."""

    def __init__(self, monkeypatch):
        self.passes = weakref.WeakSet()
        self.prefixes = weakref.WeakSet()
        self.leaves = []
        self.when_a_chunk_began = []
        self.most = 0
        clean, alive = npc.forward.CleanPass.of, self

        def of(target, images, baseline=None):
            alive.when_a_chunk_began.append((len(alive.passes), len(alive.prefixes),
                                             alive.live_leaves()))
            made = clean(target, images, baseline)
            alive.passes.add(made)
            return made
        monkeypatch.setattr(npc.forward.CleanPass, "of", staticmethod(of))
        for kind in (prefixes.TangentPrefix, prefixes.GraphPrefix):
            def enter(self, *arguments, native=kind.__init__, **named):
                native(self, *arguments, **named)
                alive.prefixes.add(self)
                alive.leaves += [weakref.ref(self.stream),
                                 *([weakref.ref(self.shift)] if hasattr(self, "shift") else [])]
                alive.most = max(alive.most, len(alive.prefixes))
            monkeypatch.setattr(kind, "__init__", enter)
        # compared by their identity
        monkeypatch.setattr(npc.forward.CleanPass, "__hash__", object.__hash__)
        monkeypatch.setattr(npc.forward.CleanPass, "__eq__", object.__eq__)

    def live_leaves(self):
        return sum(reference() is not None for reference in self.leaves)


@pytest.mark.each_value
@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("search_name", SEARCHES)
@pytest.mark.parametrize("scope", ["cls", "patch"])
@pytest.mark.parametrize("copies", [2, 12])
def test_chunks_are_freed_one_after_another(search_name, scope, copies, monkeypatch):
    """When a chunk begins nothing of the last one is left."""
    alive = Alive(monkeypatch)
    target = network(scope)
    (images, labels) = helpers.small_batch(4, 502)
    npc.find_paths(target, images, labels, search=search_name, width=2, context="full", steps=3,
                   memory_budget=copies * memory.copy_bytes(target))
    assert alive.when_a_chunk_began == [(0, 0, 0)] * (4 if copies == 2 or search_name == "beam"
                                                      else 1)
    assert alive.leaves
    assert (len(alive.passes), len(alive.prefixes), alive.live_leaves()) == (0, 0, 0)


@pytest.mark.usefixtures("uncollected")
def test_prefixes_of_earlier_blocks_are_freed_within_a_call(monkeypatch):
    """Beam with the patch scope makes prefixes anew at each block; no more of them live in a deep
    network."""
    most = {}
    for depth in (3, 6):
        with monkeypatch.context() as patch:
            alive, images = Alive(patch), helpers.small_batch(1, 509)
            target = npc.TargetModel(helpers.small_vit(508, global_pool="avg", depth=depth,
                                                       mlp_ratio=0.5))
            npc.find_paths(target, *images, search="beam", width=2, steps=4,
                           memory_budget=2 * memory.copy_bytes(target))
            most[depth] = alive.most
    assert most[6] == most[3] > 0
