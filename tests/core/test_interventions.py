"""Edited probabilities against single edits and a forward written by hand; pruning and what it must
leave alone."""

import numpy as np
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core import interventions as core
from tests import helpers, twins


def setting(name="cls", seed=91, batch=4, rank=None):
    arguments, scope = helpers.NETWORKS[name]
    model = helpers.small_vit(seed, **arguments)
    images, labels = helpers.small_batch(batch, seed + 1)
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(batch, len(model.blocks), 16, generator=generator).argsort(-1)
    return npc.TargetModel(model, scope=scope), images, labels, draws[...,
                                                                      0] if rank is None else draws[
        ..., :rank]


def in_parts(monkeypatch, count):
    """Make every chunk hold ``count`` images, and return the sizes of the forwards that ran."""
    sizes = []
    monkeypatch.setattr(core, "images_at_once", lambda target, copies: sizes.append(count) or count)
    return sizes


# --- edited probabilities ---


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("name", ["cls", "avg"])
def test_drafted_probabilities_predict_what_the_model_does(monkeypatch, name, everywhere):
    """Two classes apart by 1e-9 are told apart in double precision, and no more is computed in it
    than the images where they lead."""
    target, images, _, _ = setting(name, batch=64)
    with torch.no_grad():
        head = target.model.head
        head.weight[1], head.bias[1] = head.weight[0] * (1 + 1e-9), head.bias[0]
    factors = (torch.rand(64, target.n_blocks, target.n_neurons,
                          generator=torch.Generator().manual_seed(5)) > 0.5).to(images)
    expected = core.scaled_probabilities(target, images, factors, everywhere)
    counts = []
    native = core.scaled_probabilities
    monkeypatch.setattr(core, "scaled_probabilities", lambda model, chosen,
                        *rest: counts.append((model.dtype, len(chosen)))
                        or native(model, chosen, *rest))
    found = core.drafted_probabilities(target, target.in_dtype(torch.float32), images, factors,
                                       everywhere)
    leading = int((expected.argmax(1) < 2).sum())
    assert 0 < leading < 64
    assert counts[0] == (torch.float32,
                         64) and counts[1][0] == torch.float64 and leading <= counts[1][1] < 64
    assert torch.equal(found.argmax(1), expected.argmax(1)) and found.dtype == torch.float64
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    assert torch.equal(core.drafted_probabilities(target, None, images, factors, everywhere),
                       expected)
    wrong = native(target.in_dtype(torch.float32), images.float(), factors, everywhere).argmax(1)
    assert not torch.equal(wrong, expected.argmax(1))  # the control


@pytest.mark.each_value
@pytest.mark.parametrize(("operation", "factor"), [("remove", 0.0), ("enhance", 2.0), (-0.5, -0.5)])
@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_edited_probabilities_are_those_of_a_forward_written_by_hand(name, operation, factor):
    target, images, _, path = setting(name)
    found = core.edited_probabilities(target, images, path, operation)
    for image, neurons, probability in zip(images, path.tolist(), found, strict=True):
        logits = twins.edited_logits(target.model, target.scope, image,
                                     [[neuron] for neuron in neurons], factor)
        torch.testing.assert_close(probability, logits.softmax(-1), rtol=0, atol=1e-12)


@pytest.mark.each_value
@pytest.mark.parametrize("rank", [None, 1, 3])
@pytest.mark.parametrize("name", ["cls", "avg"])
def test_each_image_has_its_own_path(name, rank):
    target, images, _, path = setting(name, rank=rank)
    found = core.edited_probabilities(target, images, path, "enhance")
    for i in range(len(images)):
        with torch.no_grad(), npc.edit(target, path[i:i + 1], "enhance"):
            torch.testing.assert_close(target(images[i:i + 1]).softmax(-1), found[i:i + 1], rtol=0,
                                       atol=1e-13)
    exchanged = core.edited_probabilities(target, images, path.roll(1, 0), "enhance")
    assert (exchanged - found).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_removing_is_a_factor_of_zero_and_enhancing_of_two(name):
    target, images, _, path = setting(name)
    clean = core.class_probabilities(target, images)
    removed, enhanced = (core.edited_probabilities(target, images, path, operation)
                         for operation in ("remove", "enhance"))
    assert torch.equal(core.edited_probabilities(target, images, path, 0.0), removed)
    assert torch.equal(core.edited_probabilities(target, images, path, 2.0), enhanced)
    assert torch.equal(core.edited_probabilities(target, images, path, 1.0), clean)  # the control
    for edited in (removed, enhanced):
        assert (edited - clean).abs().max() > 1e-3
        torch.testing.assert_close(edited.sum(1), torch.ones(len(images), dtype=torch.float64),
                                   rtol=0, atol=1e-14)


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_a_planted_path_and_its_control(scope):
    target = npc.TargetModel(helpers.planted_vit(scope))
    images = helpers.small_batch(3, 6)[0].abs()
    planted = torch.tensor([helpers.PLANTED]).expand(3, -1)
    clean = core.class_probabilities(target, images)
    removed = core.edited_probabilities(target, images, planted, "remove")
    torch.testing.assert_close(removed, torch.full_like(removed, 1 / 3), rtol=0, atol=1e-15)
    enhanced = core.edited_probabilities(target, images, planted, "enhance")
    assert (enhanced[:, helpers.PLANTED_LABEL] > clean[:, helpers.PLANTED_LABEL] + 0.01).all()
    for operation in ("remove", "enhance"):
        assert torch.equal(core.edited_probabilities(target, images, (planted + 1) % 16, operation),
                           clean)


@pytest.mark.each_value
@pytest.mark.parametrize("count", [1, 3, 4, 100])
@pytest.mark.parametrize("name", ["cls", "avg"])
def test_parts_give_the_same(name, count, monkeypatch):
    target, images, _, path = setting(name)
    whole = core.edited_probabilities(target, images, path,
                                      "remove"), core.class_probabilities(target, images)
    called = in_parts(monkeypatch, count)
    sizes, handle = helpers.watch_batches(target.model)
    parts = core.edited_probabilities(target, images, path,
                                      "remove"), core.class_probabilities(target, images)
    handle.remove()
    assert called == [count] * len(sizes)  # asked before every chunk
    assert sizes == 2 * {1: [1, 1, 1, 1], 3: [3, 1], 4: [4], 100: [4]}[count]
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_threads_give_the_same(name):
    """Each image has its own edit, so an edit that is in force for another thread's images shows.
    """
    target, images, _, path = setting(name, batch=6)
    alone = core.edited_probabilities(target, images, path,
                                      "remove"), core.class_probabilities(target, images)
    for _ in range(5):  # what one thread does to another depends on the moment
        with helpers.threads(3):
            together = core.edited_probabilities(target, images, path,
                                                 "remove"), core.class_probabilities(target, images)
        for one, other in zip(alone, together, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


def test_class_probabilities_feel_an_edit_in_force():
    target, images, _, path = setting()
    clean = core.class_probabilities(target, images)
    with torch.no_grad():
        assert torch.equal(clean, target(images).softmax(-1))
    with npc.edit(target, path[:1], "remove"):
        edited = core.class_probabilities(target, images)
    assert (edited - clean).abs().max() > 1e-3
    assert not clean.requires_grad and not edited.requires_grad


def test_nothing_is_left_behind_even_after_an_error():
    target, images, _, path = setting()
    before = helpers.Snapshot(target.model)
    core.edited_probabilities(target, images, path, "remove")
    before.check()
    for arguments, message in (((images[:2], path, "remove"), "paths of 4 images"),
                               ((images, path + 16, "remove"), r"0\.\.15"),
                               ((images, path, "delete"), "remove, enhance"),
                               ((images, path, float("nan")), "finite"),
                               ((images[:, :2], path, "remove"), "shape"),
                               ((images, path[:, :2], "remove"), r"\(batch, 3\)")):
        with pytest.raises(ValueError, match=message):
            core.edited_probabilities(target, *arguments)
        before.check()


# --- replaced by other values than zero ---


def some_values(target, images=4, everywhere=False, seed=6):
    tokens = target.n_tokens if everywhere else len(range(target.n_tokens)[target.tokens])
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, target.n_blocks, tokens, 16, generator=generator,
                       dtype=torch.float64)


def replaced_logits(target, image, gone, factor, values):
    """Logits of one image by plain hooks, in which the neurons ``gone``, a list per block, move
    between their replacements ``(block, token, neuron)`` and their current values."""
    where, handles = twins.positions(target.model, target.scope), []
    for block, neurons, value in zip(target.model.blocks, gone, values, strict=True):
        def enter(_module, inputs, neurons=neurons, value=value):
            current = inputs[0].clone()
            for place, token in enumerate(where):
                v, w = value[place, neurons], current[0, token, neurons]
                current[0, token, neurons] = v + factor * (w - v)
            return (current,)
        handles.append(block.mlp.fc2.register_forward_pre_hook(enter))
    try:
        with torch.no_grad():
            return target.model(image[None])[0]
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.each_value
@pytest.mark.parametrize("rank", [None, 3])
@pytest.mark.parametrize(("operation", "factor"), [("remove", 0.0), ("enhance", 2.0), (-0.5, -0.5)])
@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_replaced_paths_are_those_of_a_forward_written_by_hand(name, operation, factor, rank):
    target, images, _, path = setting(name, rank=rank)
    values = some_values(target)
    found = core.edited_probabilities(target, images, path, operation, values)
    for image, neurons, value, probability in zip(images, path.reshape(4, target.n_blocks, -1),
                                                  values, found, strict=True):
        expected = replaced_logits(target, image, neurons.tolist(), factor, value).softmax(-1)
        torch.testing.assert_close(probability, expected, rtol=0, atol=1e-12)
    assert (found - core.edited_probabilities(target, images, path, operation)).abs().max() > 1e-3


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("name", ["cls", "avg", "avg-registers"])
def test_values_of_zero_change_no_bit(name, everywhere):
    target, images, _, _ = setting(name)
    factors = 2 * torch.rand(4, target.n_blocks, 16, dtype=torch.float64,
                             generator=torch.Generator().manual_seed(8))
    expected = core.scaled_probabilities(target, images, factors, everywhere)
    values = 0 * some_values(target, everywhere=everywhere)
    assert torch.equal(core.scaled_probabilities(target, images, factors, everywhere, values),
                       expected)
    found = core.scaled_probabilities(target, images, factors, everywhere, values + 0.1)
    assert (found - expected).abs().max() > 1e-3  # the control


@pytest.mark.each_value
@pytest.mark.parametrize("count", [1, 3, 4])
@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("name", ["cls", "avg"])
def test_values_go_with_their_images(name, everywhere, count, monkeypatch):
    """In chunks as one by one, and values for one image hold for all."""
    target, images, _, _ = setting(name)
    values = some_values(target, everywhere=everywhere)
    factors = 2 * torch.rand(4, target.n_blocks, 16, dtype=torch.float64,
                             generator=torch.Generator().manual_seed(9))
    alone = [core.scaled_probabilities(target, *(each[row:row + 1] for each in (images, factors)),
                                       everywhere, values[row:row + 1]) for row in range(4)]
    one = core.scaled_probabilities(target, images, factors, everywhere,
                                    values[:1].expand(4, -1, -1, -1))
    in_parts(monkeypatch, count)
    found = core.scaled_probabilities(target, images, factors, everywhere, values)
    torch.testing.assert_close(found, torch.cat(alone), rtol=0, atol=1e-13)
    torch.testing.assert_close(core.scaled_probabilities(target, images, factors, everywhere,
                                                         values[:1]), one, rtol=0, atol=1e-13)
    exchanged = core.scaled_probabilities(target, images, factors, everywhere, values.roll(1, 0))
    assert (exchanged - found).abs().max() > 1e-3  # the control


@pytest.mark.parametrize("per_image", [False, True])
def test_drafted_probabilities_replace_too(per_image):
    """Two classes 1e-9 apart, some of whose images the model itself is asked about."""
    target, images, _, _ = setting(batch=64)
    with torch.no_grad():
        head = target.model.head
        head.weight[1], head.bias[1] = head.weight[0] * (1 + 1e-9), head.bias[0]
    factors = (torch.rand(64, target.n_blocks, 16,
                          generator=torch.Generator().manual_seed(5)) > 0.5).to(images)
    values = some_values(target, 64 if per_image else 1)
    expected = core.scaled_probabilities(target, images, factors, False, values)
    found = core.drafted_probabilities(target, target.in_dtype(torch.float32), images, factors,
                                       False, values)
    assert torch.equal(found.argmax(1), expected.argmax(1))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    assert torch.equal(core.drafted_probabilities(target, None, images, factors, False, values),
                       expected)
    zeroed = core.drafted_probabilities(target, target.in_dtype(torch.float32), images, factors)
    assert (zeroed - found).abs().max() > 1e-3  # the control


@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_pruned_neurons_are_set_to_their_values(name):
    target, images, _, _ = setting(name, batch=2)
    survives = core.pruning_mask([[3]] * target.n_blocks, 16, 0.6, np.random.default_rng(3))
    values = some_values(target, 1)
    with torch.no_grad():
        with core.pruned(target, survives, values=values):
            found = target(images)
        with core.pruned(target, survives):
            zeroed = target(images)
        with core.pruned(target, survives, values=0 * values):
            assert torch.equal(target(images), zeroed)
        with core.pruned(target, np.ones_like(survives), values=values):
            assert torch.equal(target(images), target.model(images))
    gone = [np.flatnonzero(~row).tolist() for row in survives]
    for image, logits in zip(images, found, strict=True):
        torch.testing.assert_close(logits, replaced_logits(target, image, gone, 0.0, values[0]),
                                   rtol=0, atol=1e-12)
    assert (found - zeroed).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_threads_replace_the_same(name):
    target, images, _, path = setting(name, batch=6)
    values = some_values(target, 6)
    alone = core.edited_probabilities(target, images, path, "remove", values)
    with helpers.threads(3):
        together = core.edited_probabilities(target, images, path, "remove", values)
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-13)


def test_values_that_do_not_fit():
    target, images, _, path = setting()
    before, values = helpers.Snapshot(target.model), some_values(target)
    for wrong, words in ((values[:3], "values are for 3 images, the batch has 4"),
                         (values[:, :2], "values must have shape"),
                         (values[None], "one draw"), (7, "floating-point numbers"),
                         (values.expand(-1, -1, 5, -1), "of 5 tokens")):
        helpers.refused(lambda wrong=wrong: core.edited_probabilities(target, images, path,
                                                                      "remove", wrong), words)
        factors = torch.ones(4, 3, 16)
        draft = target.in_dtype(torch.float32)
        helpers.refused(lambda wrong=wrong, factors=factors, draft=draft:
                        core.drafted_probabilities(target, draft, images, factors, False, wrong),
                        words)
        before.check()


# --- the neurons that a class's paths share ---


def shared(paths, top, rule):
    return core.class_neurons(torch.tensor(paths), top, rule)


def test_class_neurons_by_hand():
    # one block; counts: 3 four times, 1 and 2 three times
    paths = [[[3, 1]], [[3, 2]], [[1, 2]], [[1, 3]], [[3, 2]]]
    # of the first rank alone: 3, 3, 1, 1, 3
    assert shared(paths, 1, "count") == shared(paths, 1, "rank-mode") == [[3]]
    assert shared(paths, 2, "count") == [[1, 3]]  # 1 before 2 in a tie
    assert shared(paths, 2, "rank-mode") == [[2, 3]]  # the second rank is led by 2


@pytest.mark.parametrize("rule", ["count", "rank-mode"])
def test_ties_go_to_the_smaller_index(rule):
    assert shared([[[5]], [[2]], [[9]]], 1, rule) == [[2]]
    assert shared([[[9]], [[5]], [[2]], [[5]], [[9]]], 1, rule) == [[5]]


def test_a_neuron_that_leads_two_ranks_is_kept_once():
    paths = [[[4, 7]], [[4, 8]], [[7, 4]], [[8, 4]], [[4, 9]], [[9, 4]]]
    assert shared(paths, 2, "rank-mode") == [[4]]
    assert shared(paths, 2, "count") == [[4, 7]]


def test_fewer_neurons_than_asked_for_are_never_padded():
    assert shared([[[4, 4]], [[4, 4]]], 2, "count") == [[4]]  # neuron 0 was never selected


def test_only_the_first_ranks_count():
    paths = [[[1, 6, 6]], [[2, 6, 6]], [[1, 6, 6]]]
    assert shared(paths, 1, "count") == shared(paths, 1, "rank-mode") == [[1]]


@pytest.mark.parametrize("rule", ["count", "rank-mode"])
@pytest.mark.parametrize("top", [1, 3, 5])
def test_class_neurons_against_a_slow_count(rule, top):
    paths = torch.rand(12, 4, 9, generator=torch.Generator().manual_seed(top)).argsort(-1)[..., :5]
    for block, kept in enumerate(core.class_neurons(paths, top, rule)):
        seen = [[int(paths[image, block, rank]) for image in range(12)] for rank in range(top)]
        if rule == "rank-mode":
            expected = {min(set(rank), key=lambda neuron, rank=rank: (-rank.count(neuron), neuron))
                        for rank in seen}
        else:
            every = [neuron for rank in seen for neuron in rank]
            expected = sorted(set(every), key=lambda neuron,
                              every=every: (-every.count(neuron), neuron))[:top]
        assert kept == sorted(expected)


@pytest.mark.parametrize(("paths", "top", "rule", "message"), [
    (torch.zeros(2, 3, 2, dtype=torch.int64), 1, "mode", "count, rank-mode"),
    (torch.zeros(2, 3, 2, dtype=torch.int64), 3, "count", r"1\.\.rank"),
    (torch.zeros(2, 3, 2, dtype=torch.int64), 0, "count", r"1\.\.rank"),
    (torch.zeros(2, 3, dtype=torch.int64), 1, "count", r"1\.\.rank")])
def test_class_neurons_of_what_does_not_fit(paths, top, rule, message):
    with pytest.raises(ValueError, match=message):
        core.class_neurons(paths, top, rule)


# --- pruning ---

KEPT = [[0, 5], [], [99]]


def test_a_share_of_zero_prunes_nothing_and_of_one_everything_else():
    assert core.pruning_mask(KEPT, 100, 0.0, np.random.default_rng(0)).all()
    found = core.pruning_mask(KEPT, 100, 1.0, np.random.default_rng(0))
    assert found.dtype == bool and [np.flatnonzero(row).tolist() for row in found] == KEPT


def test_kept_neurons_survive_and_about_the_share_of_the_others_does_not():
    kept = [list(range(0, 1000, 10))] * 20
    found = core.pruning_mask(kept, 1000, 0.3, np.random.default_rng(1))
    others = np.delete(found, kept[0], axis=1)
    assert found[:, kept[0]].all()
    assert abs((~others).mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / others.size)
    assert ((~others).mean(1) > 0.2).all() and ((~others).mean(1) < 0.4).all()  # in every block
    assert (others[0] != others[1]).any()  # each draws its own


def test_a_mask_depends_on_its_generator_alone():
    first, again, other = (core.pruning_mask(KEPT, 100, 0.5, np.random.default_rng(seed))
                           for seed in (2, 2, 3))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_what_is_kept_does_not_change_the_fate_of_the_others():
    first, other = (core.pruning_mask(kept, 100, 0.5, np.random.default_rng(2))
                    for kept in (KEPT, [[1], [2], [3]]))
    differing = np.argwhere(first != other).tolist()
    assert all(neuron in (KEPT[block] + [1, 2, 3]) for block, neuron in differing)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none(share):
    with pytest.raises(ValueError, match=r"0\.\.1"):
        core.pruning_mask(KEPT, 100, share, np.random.default_rng(0))


@pytest.mark.parametrize("index", [-1, 100])
def test_a_kept_neuron_that_does_not_exist(index):
    with pytest.raises(ValueError, match=r"block 1 must lie in 0\.\.99"):
        core.pruning_mask([[0], [index], [0]], 100, 0.5, np.random.default_rng(0))


def all_activations(model, images):
    seen = {}
    with torch.no_grad():
        twins.forward(model, "cls", images, seen=seen)
    return [seen[block] for block in range(len(model.blocks))]


@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_pruned_is_a_forward_written_by_hand(name):
    target, images, _, _ = setting(name, batch=2)
    survives = core.pruning_mask([[3]] * target.n_blocks, 16, 0.6, np.random.default_rng(3))
    with torch.no_grad(), core.pruned(target, survives) as edited:
        assert edited is target
        found = target(images)
    gone = [np.flatnonzero(~row).tolist() for row in survives]
    for image, logits in zip(images, found, strict=True):
        torch.testing.assert_close(logits, twins.edited_logits(target.model, target.scope, image,
                                                               gone, 0.0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_pruning_and_its_control(scope):
    # tokens cannot tell each other what was pruned
    model = helpers.without_attention(helpers.small_vit(91))
    target = npc.TargetModel(model, scope=scope)
    images, _ = helpers.small_batch(2, 92)
    survives = core.pruning_mask([[3], [4], [5]], 16, 0.5, np.random.default_rng(4))
    where = twins.positions(model, scope)
    rest = [token for token in range(5) if token not in where]
    clean, before = all_activations(model, images), helpers.Snapshot(model)
    with core.pruned(target, survives):
        edited = all_activations(model, images)
    before.check()
    for block in range(3):
        assert torch.equal(edited[block][:, rest], clean[block][:, rest])
        assert not edited[block][:, where][..., ~survives[block]].any()
        assert clean[block][:, where][..., ~survives[block]].any()
    assert torch.equal(edited[0][:, where][..., survives[0]], clean[0][:, where][..., survives[0]])
    with torch.no_grad(), core.pruned(target, np.ones((3, 16), bool)):
        assert all(torch.equal(one, other) for one,
                   other in zip(all_activations(model, images), clean, strict=True))


def test_pruning_ends_with_an_error_inside():
    target, images, _, _ = setting()
    before = helpers.Snapshot(target.model)
    with pytest.raises(ZeroDivisionError), core.pruned(target, np.zeros((3, 16), bool)):
        raise ZeroDivisionError
    with pytest.raises(ValueError, match="must have shape"), core.pruned(target,
                                                                         np.zeros((2, 16), bool)):
        pass
    before.check()
