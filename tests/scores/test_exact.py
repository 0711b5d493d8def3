"""The exact effect of every neuron against one hooked forward pass for each."""

import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.scores.exact import exact_effects
from neuronpath_core.support.memory import copy_bytes, memory_limit
from tests import helpers, twins

CLOSE = {"rtol": 0, "atol": 1e-12}


def drawn(target, images, tokens=None):
    tokens = tokens or len(twins.positions(target.model, target.scope))
    return torch.randn(images, target.n_blocks, tokens, 16, dtype=torch.float64,
                       generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def one_by_one(model, scope, image, label, baseline=None, forward=twins.forward):
    """By block and neuron, each replaced by a hook."""
    clean = twins.clean_activations(model, scope, image)
    whole = forward(model, scope, image[None]).softmax(-1)[0, label]
    rows = []
    for block, value in enumerate(clean):
        row = []
        for neuron in range(value.shape[1]):
            edited = value.clone()
            edited[:, neuron] = 0 if baseline is None else baseline[block, :, neuron]
            row.append(whole - forward(model, scope, image[None],
                                       {block: edited[None]}).softmax(-1)[0, label])
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_every_neuron_by_its_own_forward_pass(name):
    target, images, labels = helpers.network(name, 441)
    for baseline in (None, drawn(target, 2), drawn(target, 1, 1)):
        found = exact_effects(target, images, labels, baseline=baseline)
        for row, label in enumerate(labels.tolist()):
            base = None if baseline is None else baseline[row % len(baseline)]
            torch.testing.assert_close(found[row], one_by_one(target.model, target.scope,
                                                              images[row], label, base), **CLOSE)
    assert found.abs().max() > 1e-3


def frozen(model, _scope, images, replaced=None):
    moved = {block: value[0] for block, value in (replaced or {}).items()}
    return twins.frozen_forward(model, images[0], moved)


@pytest.mark.parametrize("name", ["cls", "cls-layerscale-qknorm", "cls-registers-prenorm"])
def test_where_the_other_tokens_stay_clean(name):
    target, images, labels = helpers.network(name, 443)
    full, base = exact_effects(target, images, labels), drawn(target, 1)
    for baseline in (None, base):
        found = exact_effects(target, images, labels, baseline=baseline, context="frozen")
        for row, label in enumerate(labels.tolist()):
            torch.testing.assert_close(
                found[row], one_by_one(target.model, "cls", images[row], label,
                                       None if baseline is None else base[0], frozen), **CLOSE)
    still = exact_effects(target, images, labels, context="frozen")
    torch.testing.assert_close(still[:, -1], full[:, -1], **CLOSE)  # nothing comes after
    assert (still - full).abs().max() > 1e-5


def test_some_layers_and_some_neurons():
    target, images, labels = helpers.network("avg", 445)
    every = exact_effects(target, images, labels, baseline=drawn(target, 2))
    chosen = torch.tensor([[[3, 0], [15, 4]], [[7, 8], [1, 2]]])
    found = exact_effects(target, images, labels, blocks=[2, 0], neurons=chosen,
                          baseline=drawn(target, 2))
    torch.testing.assert_close(found, every[:, [2, 0]].gather(2, chosen), **CLOSE)
    shared = exact_effects(target, images, labels, blocks=[1], neurons=chosen[:1, :1],
                           baseline=drawn(target, 2))
    torch.testing.assert_close(shared, every[:, [1]].gather(2, chosen[:1, :1].expand(2, 1, 2)),
                               **CLOSE)
    torch.testing.assert_close(exact_effects(target, images, labels, blocks=(1,),
                                             baseline=drawn(target, 2)), every[:, [1]], **CLOSE)


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_images_one_by_one_and_small_budgets_give_the_same(name):
    target, images, labels = helpers.network(name, 447)
    contexts = ["full", "frozen"] if name == "cls" else ["full"]
    for context in contexts:
        together = exact_effects(target, images, labels, context=context)
        apart = torch.cat([exact_effects(target, images[[row]], labels[[row]], context=context)
                           for row in range(2)])
        torch.testing.assert_close(together, apart, rtol=0, atol=1e-13)
        with memory_limit(target, 3 * copy_bytes(target)):
            torch.testing.assert_close(exact_effects(target, images, labels, context=context),
                                       together, rtol=0, atol=1e-13)
            sizes = helpers.watch_batches(target.model)[0]
            exact_effects(target, images, labels, context=context)
            assert all(size <= 3 for size in sizes)


def test_no_chunk_is_larger_than_the_budget(monkeypatch):
    target, images, labels = helpers.network("cls", 449)
    sizes = helpers.watch_copies(monkeypatch, target.model, 2)
    with memory_limit(target, 5 * copy_bytes(target)):
        exact_effects(target, images, labels)
    # two clean images, and 16 neurons of two blocks for each
    assert max(sizes) <= 5 and sum(sizes) == 2 + 2 * 2 * 16


@pytest.mark.parametrize("baseline", [False, True])
def test_a_model_that_is_not_its_blocks_is_called(baseline):
    target, images, labels = helpers.network("avg", 451)
    base = drawn(target, 2) if baseline else None
    before = exact_effects(target, images, labels, baseline=base)
    target.model.blocks.register_forward_hook(lambda _module, _inputs, out: out.roll(1, -1))
    found = exact_effects(target, images, labels, baseline=base)
    for row, label in enumerate(labels.tolist()):
        torch.testing.assert_close(
            found[row], one_by_one(target.model, "patch", images[row], label,
                                   None if base is None else base[row]), **CLOSE)
    assert (found - before).abs().max() > 1e-3


def test_heads_and_both_halves():
    target, images, labels = helpers.network("cls", 453)
    mixed = npc.SiteModel(target.model, "cls", "mixed")
    found = exact_effects(mixed, images, labels)
    torch.testing.assert_close(found[:, 1::2], exact_effects(target, images, labels), **CLOSE)
    heads = exact_effects(npc.SiteModel(target.model, "cls", "heads"), images, labels)
    assert heads.shape == (2, 3, 2)
    with torch.no_grad():
        clean = target(images).softmax(-1).gather(1, labels[:, None])[:, 0]
        for block, module in enumerate(target.model.blocks):
            def without(_module, inputs):
                value = inputs[0].clone()
                value[:, 0, 8:] = 0  # the second head, at the class token
                return (value,)
            handle = module.attn.proj.register_forward_pre_hook(without)
            lost = clean - target.model(images).softmax(-1).gather(1, labels[:, None])[:, 0]
            handle.remove()
            torch.testing.assert_close(heads[:, block, 1], lost, **CLOSE)


def test_single_precision_and_permuted_weights():
    target, images, labels = helpers.network("cls", 455)
    exact = exact_effects(target, images, labels)
    with torch.no_grad():
        weight = target.model.blocks[1].mlp.fc2.weight
        weight.copy_(weight.flip(1))
        assert (exact_effects(target, images, labels)[:, 1].argmax(-1)
                != exact[:, 1].argmax(-1)).any()
        weight.copy_(weight.flip(1))
    found = exact_effects(npc.TargetModel(target.model.float()), images.float(), labels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ["exact", "relp", "libragrad", "atp_graddrop",
                                    "eap_ig_inputs"])
def test_paths_are_the_largest_of_every_block(method):
    target, images, labels = helpers.network("cls", 457)
    base = drawn(target, 2)
    for baseline in (None, base):
        settings = npc.SearchSettings.of(method=method).complete(target)
        scores = npc.METHODS[method].rank(target, images, labels, settings, baseline=baseline)
        found = npc.find_paths(target, images, labels, method, baseline=baseline)
        assert torch.equal(found.neurons, scores.argmax(-1))


@pytest.mark.parametrize(("settings", "words"), [
    ({"blocks": []}, ["blocks", "0..2"]), ({"blocks": [0, 0]}, ["blocks", "different"]),
    ({"blocks": [3]}, ["blocks", "0..2"]), ({"blocks": [True]}, ["blocks", "True"]),
    ({"blocks": 1}, ["blocks are 1"]), ({"context": "mixed"}, ["'mixed'", "full, frozen"]),
    ({"neurons": torch.zeros(2, 2, 1, dtype=torch.int64)}, ["(2, 2, 1)", "(1 or 2, 3"]),
    ({"neurons": torch.zeros(2, 3, 1)}, ["float32", "int64"]),
    ({"neurons": torch.full((1, 3, 1), 16)}, ["block 1", "0..15", "16"]),
    ({"neurons": torch.full((1, 3, 1), -1)}, ["block 1", "-1"]),
    ({"neurons": [1]}, ["list", "int64"]),
])
def test_what_is_refused(settings, words):
    target, images, labels = helpers.network("cls", 459)
    helpers.refused(lambda: exact_effects(target, images, labels, **settings), *words)


def test_frozen_needs_a_class_token_that_classifies_alone():
    for name in ("avg", "cls-of-averaging", "patch-of-class-token"):
        target, images, labels = helpers.network(name, 461)
        helpers.refused(lambda given=(target, images, labels): exact_effects(
            *given, context="frozen"), "'frozen'", "accepted here: full")
