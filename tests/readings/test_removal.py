"""Curves of patches removed: the published numbers, orders planted with a known need, and areas."""

import numpy as np
import pytest
import torch
from torch import nn

import neuronpath_core as npc
from neuronpath_core.readings.attention_maps import attention, renormalised
from neuronpath_core.readings.attributions import chefer
from neuronpath_core.readings.relevance import relevance
from neuronpath_core.readings.removal import (
    areas,
    kept_counts,
    published_area,
    ranked,
    removal_curves,
)
from tests.helpers import blank_vit, network, without_attention
from tests.readings.spaces import SPACES, space


@pytest.mark.parametrize("name", SPACES)
def test_the_published_curves_and_areas(name):
    target, images, labels, expected, _ = space(name)
    maps = {"own": relevance(target, images, labels, loss="published"), "chefer": chefer(target, images, labels)}
    for place, (method, found) in enumerate(maps.items()):
        order = ranked(found)
        stored = expected[f"removal_order_{method}"].astype(int)
        np.testing.assert_array_equal(order.numpy() + int(stored.min() == 1), stored)
        for test in ("negative", "positive"):
            kept = list(range(1, order.shape[1]))
            right = removal_curves(target, images, labels, order[None], kept, test)[0].numpy()
            np.testing.assert_array_equal(right.mean(1), expected[f"removal_{test}_{method}"])
            np.testing.assert_allclose(published_area(right), expected[f"removal_auc_{test}"][place], rtol=0, atol=1e-9)


def masked_logits(target, images, kept):
    """The same with all tokens in place, and no query that looks at a dropped one."""
    first = target.family.prefix_tokens(target.model)
    allowed = torch.zeros(len(images), target.n_tokens, dtype=torch.bool)
    allowed[:, :first] = True
    allowed.scatter_(1, kept + first, True)
    with torch.no_grad(), attention(target, lambda block, weights: renormalised(weights, allowed[:, None, None])):
        return target(images)


@pytest.mark.parametrize("name", ["cls", "cls-registers-prenorm", "cls-layerscale-qknorm"])
def test_dropping_a_token_is_never_looking_at_it(name):
    target, images, labels = network(name, 5, batch=6)
    order = torch.rand(6, 4, generator=torch.Generator().manual_seed(0)).argsort(-1)
    for test in ("negative", "positive"):
        right = removal_curves(target, images, labels, order[None], [4, 3, 2, 1], test)[0]
        for point, count in enumerate((4, 3, 2, 1)):
            chosen = order[:, :count] if test == "negative" else order[:, 4 - count:]
            wanted = masked_logits(target, images, chosen).argmax(-1) == labels
            assert torch.equal(right[point], wanted)
    assert right.float().mean() not in (0, 1)  # some are right, some are wrong


def planted(patches=16):
    """A pooling model without attention: an image is of class 1 if one bright patch is among those
    kept, and of class 0 else."""
    model = without_attention(blank_vit("patch", img_size=16, depth=1, num_classes=2))
    model.head = nn.Linear(16, 2).double()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([0.01, 0.0]))
        model.patch_embed.proj.weight[0] = 1.0
        model.head.weight[1, 0] = 1.0
    images = torch.zeros(5, 3, 16, 16, dtype=torch.float64)
    needed = torch.tensor([0, 3, 7, 10, 15])
    for image, patch in enumerate(needed.tolist()):
        row, column = divmod(patch, 4)
        images[image, :, 4 * row:4 * row + 4, 4 * column:4 * column + 4] = 1.0
    return npc.TargetModel(model), images, torch.ones(5, dtype=torch.int64), needed, patches


def test_a_planted_need_gives_the_curve_that_is_known_beforehand():
    target, images, labels, needed, patches = planted()
    kept = kept_counts(patches)
    assert kept == list(range(16, 0, -1))
    oracle = nn.functional.one_hot(needed, patches).double()
    order = ranked(oracle)
    assert order[:, 0].tolist() == needed.tolist()
    negative = removal_curves(target, images, labels, order[None], kept, "negative")[0].numpy()
    positive = removal_curves(target, images, labels, order[None], kept, "positive")[0].numpy()
    assert negative.all()  # what is needed goes last
    assert positive[0].all() and not positive[1:].any()  # and first
    np.testing.assert_allclose(areas(negative, kept, patches), 1)
    # half a step of the trapezoid, of 15 steps
    np.testing.assert_allclose(areas(positive, kept, patches), 0.5 / 15)
    # another image's map does not know the patch, and a random one is right in between
    other = removal_curves(target, images, labels, order.roll(1, 0)[None], kept, "negative")[0].numpy()
    assert areas(other, kept, patches).mean() < 0.9
    found = areas(np.concatenate([removal_curves(target, images, labels, ranked(torch.zeros(5, 16), seed)[None], kept,
                                                 "negative")[0].numpy() for seed in range(60)], 1), kept, patches)
    # the patch's place is uniform: mean 1/2 over 300 draws, of standard error below 0.3 / sqrt(300)
    assert abs(found.mean() - 0.5) < 4 * 0.3 / np.sqrt(300)


def test_areas_of_known_curves():
    kept = [8, 6, 3, 1]  # unequal steps
    constant = np.full((2, 4, 5), 0.7)
    np.testing.assert_allclose(areas(constant, kept, 8), 0.7)
    # accuracy that falls in proportion to the removed share, from 1 to 1/8: the mean of its ends
    line = np.repeat(np.array(kept)[:, None] / 8, 3, 1)
    np.testing.assert_allclose(areas(line, kept, 8), (1 + 1 / 8) / 2)
    right = np.random.default_rng(0).random((4, 50)) < 0.5
    of_mean = np.trapezoid(right.mean(1), 1 - np.array(kept) / 8) / (7 / 8)
    np.testing.assert_allclose(areas(right, kept, 8).mean(), of_mean, rtol=1e-14)
    for wrong in ([6, 3, 1], [8, 6, 3, 2], [1, 3, 6, 8], [8, 8, 3, 1]):
        with pytest.raises(ValueError, match="accepted: a point for each"):
            areas(right[:len(wrong)], wrong, 8)


def test_the_published_area_divides_by_its_own_maximum():
    right = np.tile(np.array([True, False]), (7, 5))  # one half everywhere: 7 points of P = 8
    np.testing.assert_allclose(published_area(right), 7 / 8)
    np.testing.assert_allclose(published_area(right | True), 7 / 8)  # twice the accuracy, the same area
    assert np.isnan(published_area(right & False))


def test_points_of_a_curve():
    assert kept_counts(16, 8) == [16, 14, 12, 10, 8, 6, 4, 2, 1]
    assert kept_counts(64, 8) == [64, 56, 48, 40, 32, 24, 16, 8, 1]
    assert kept_counts(4, 9) == kept_counts(4) == [4, 3, 2, 1]
    for patches, steps in ((1, None), (8, 0), (8, 1.5), (8, True)):
        with pytest.raises(ValueError, match="accepted: at least two patches"):
            kept_counts(patches, steps)


def test_ties_are_broken_by_a_draw_and_nothing_else():
    values = torch.tensor([[0.2, 0.9, 0.2, -1.0, 0.2]]).expand(300, 5)
    order = ranked(values, 3)
    assert (order[:, 0] == 1).all() and (order[:, 4] == 3).all()
    counts = torch.bincount(order[:, 1], minlength=5)[[0, 2, 4]]
    assert (counts - 100).abs().max() < 4 * np.sqrt(300 * 2 / 9)  # each a third of the time
    assert torch.equal(order, ranked(values, 3)) and not torch.equal(order, ranked(values, 4))
    with pytest.raises(ValueError, match="NaN or infinite"):
        ranked(values / 0)


def test_chunks_and_precision_change_nothing(monkeypatch):
    target, images, labels = network("avg", 5, batch=6)
    orders = torch.rand(3, 6, 4, generator=torch.Generator().manual_seed(0)).argsort(-1)
    every = removal_curves(target, images, labels, orders, [4, 2, 1], "negative")
    draft = target.in_dtype(torch.float32)
    assert torch.equal(removal_curves(draft, images.float(), labels, orders, [4, 2, 1], "negative"), every)
    monkeypatch.setattr("neuronpath_core.readings.removal.copies_at_once", lambda *_: 4)
    assert torch.equal(removal_curves(target, images, labels, orders, [4, 2, 1], "negative"), every)
    one = torch.stack([removal_curves(target, images[each:each + 1], labels[each:each + 1], orders[:, each:each + 1],
                                      [4, 2, 1], "negative")[..., 0] for each in range(6)], -1)
    assert torch.equal(one, every)


def test_bad_input_is_refused():
    target, images, labels = network("cls", 5, batch=2)
    order = torch.arange(4).expand(1, 2, 4)
    for orders in (order[0], order.int(), order[..., :3], torch.zeros_like(order), [[0, 1]]):
        with pytest.raises(ValueError, match="orders must be int64 permutations of 4 patches"):
            removal_curves(target, images, labels, orders, [4, 1], "negative")
    for kept in ([], [5], [0], [1.0], [True]):
        with pytest.raises(ValueError, match="whole numbers in 1..4"):
            removal_curves(target, images, labels, order, kept, "negative")
    with pytest.raises(ValueError, match="unknown test 'both'; accepted: negative, positive"):
        removal_curves(target, images, labels, order, [4], "both")


def test_rotary_positions_are_refused():
    from timm.models.eva import Eva

    model = Eva(img_size=8, patch_size=4, embed_dim=16, depth=1, num_heads=2, num_classes=5,
                use_rot_pos_emb=True).double()
    _, images, labels = network("cls", 5, batch=2)
    with pytest.raises(ValueError, match="none can be dropped; accepted"):
        removal_curves(npc.TargetModel(model), images, labels, torch.arange(4).expand(1, 2, 4), [4], "negative")
