"""Neurons held against concepts: set arithmetic, conditional quantiles, closed forms, chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

import neuronpath_core as npc
from neuronpath_core.hooks import neurons_read
from neuronpath_core.neurons import tally
from neuronpath_core.neurons.dissection import dissect
from neuronpath_core.neurons.lit import lit
from neuronpath_core.neurons.matches import best_concepts
from neuronpath_core.neurons.walk import key_of, walk
from neuronpath_core.readings.concepts import ConceptSet
from neuronpath_core.readings.grids import Grid, as_image, coverage, grid_of
from neuronpath_core.stats.ranks import aurocs, ranks
from tests.neurons.planted import made_up, red_network, small

# sums of at most some thousands of shares in double precision
CLOSE = 1e-10


@pytest.fixture(scope="module")
def network():
    target, images, labels = small(12)
    rng = np.random.default_rng(0)
    coarse = rng.random((4, 12, 8, 8)) < 0.3
    masks = coarse.repeat(2, 2).repeat(2, 3)
    masks[3, 6:] = False  # a concept of half the images
    return target, images, labels, made_up(masks)


def maps_of(target, images, level):
    grid = grid_of(target, images)
    found = [values[:, grid.tokens].permute(2, 0, 1) for values in neurons_read(
        target, images, everywhere=True)]
    if level == "pixel":
        found = [as_image(grid, each).flatten(2) for each in found]
    return grid, torch.stack(found)  # (block, neuron, image, position)


def test_walking_gives_what_hooks_read(network):
    target, images, *_ = network
    read = neurons_read(target, images, everywhere=True)
    walked = list(walk(target, images))
    assert [block for block, _ in walked] == [0, 1, 2]
    for (block, values), expected in zip(walked, read, strict=True):
        torch.testing.assert_close(values, expected, rtol=0, atol=1e-12)
        fc2 = target.model.blocks[block].mlp.fc2
    (_, given), *_ = walk(target, images, "output")
    fc2 = target.model.blocks[0].mlp.fc2
    torch.testing.assert_close(given, fc2(read[0]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("level", ["patch", "pixel"])
@pytest.mark.parametrize("quantile", [0.8, 0.99])
def test_intersections_are_those_of_sets(network, level, quantile):
    target, images, _, concepts = network
    found = dissect(target, images, concepts, quantile, level, permutations=0)
    grid, maps = maps_of(target, images, level)
    for block, neuron in [(0, 0), (1, 7), (2, 15)]:
        own = maps[block, neuron].numpy()
        limit = np.quantile(own, quantile, method="lower")
        assert found.threshold[block, neuron] == limit
        lit = {tuple(place) for place in np.argwhere(own > limit)}
        assert found.selected[block, neuron] == pytest.approx(len(lit) / own.size)
        for number, mask in enumerate(concepts.masks):
            covers = coverage(grid, mask).numpy() if level == "patch" else mask.reshape(12, -1)
            both = sum(covers[place] for place in lit)
            union = len(lit) + sum(covers[tuple(place)] for place in np.argwhere(covers > 0)
                                   if tuple(place) not in lit)
            assert found.iou[block, neuron, number] == pytest.approx(both / union, abs=CLOSE)


def test_intersections_by_conditional_quantiles(network):
    """The share of a concept's pixels that exceed the threshold, by the distribution of the
    neuron's values within the concept: how NetDissect's code counts them."""
    target, images, _, concepts = network
    found = dissect(target, images, concepts, 0.9, "pixel", permutations=0)
    _, maps = maps_of(target, images, "pixel")
    for block, neuron in [(0, 3), (2, 2)]:
        own = maps[block, neuron].numpy().ravel()
        limit = found.threshold[block, neuron]
        for number, mask in enumerate(concepts.masks):
            within = np.sort(own[mask.ravel()])
            share = 1 - np.searchsorted(within, limit, side="right") / len(within)
            both = share * mask.sum()
            union = (own > limit).sum() + mask.sum() - both
            assert found.iou[block, neuron, number] == pytest.approx(both / union, abs=CLOSE)


def test_areas_are_those_of_scikit_learn(network):
    target, images, _, concepts = network
    found = dissect(target, images, concepts, permutations=0)
    grid, maps = maps_of(target, images, "patch")
    for number, mask in enumerate(concepts.masks):
        inside = coverage(grid, mask).numpy() >= 0.5
        for block, neuron in [(0, 1), (1, 5)]:
            expected = roc_auc_score(inside.ravel(), maps[block, neuron].numpy().ravel())
            assert found.auroc[block, neuron, number] == pytest.approx(expected, abs=CLOSE)


def test_closed_forms_of_the_overlap():
    rng = np.random.default_rng(0)
    shape, p, g = (1, 200, 1024), 0.2, 0.3
    masks, theirs = (torch.from_numpy(rng.random(shape) < share) for share in (p, g))
    def iou(first, second):
        return tally.overlap(*(np.array([float(each.sum())])
                               for each in (first & second, first, second))).item()

    assert iou(masks, masks) == 1
    assert iou(masks, ~masks) == 0
    # 204,800 positions: the standard error of either share is below 0.001
    assert iou(masks, theirs) == pytest.approx(p * g / (p + g - p * g), abs=0.004)
    assert iou(masks, torch.zeros_like(theirs)) == 0
    assert tally.overlap(np.zeros(1), np.zeros(1), np.zeros(1)) == 0


@pytest.mark.parametrize("count", [7, 1000, tally.MANY + 3])
@pytest.mark.parametrize("quantile", [0.05, 0.8, 0.995])
def test_thresholds_are_values_at_the_quantile(count, quantile):
    rows = torch.from_numpy(np.random.default_rng(count).standard_normal((2, count)))
    rows[1] = rows[1].round(decimals=1)  # ties
    found = tally.thresholds(rows, quantile)
    np.testing.assert_array_equal(found, np.quantile(rows, quantile, axis=1, method="lower"))


def test_a_first_look_that_misleads_does_no_harm():
    """Values sorted so that the sample sees only the smallest ones, or only the largest."""
    for first in (0.0, 2.0):
        row = torch.ones(tally.MANY, dtype=torch.float64)
        row[::tally.SAMPLED] = first
        row += torch.linspace(0, 1e-3, tally.MANY, dtype=torch.float64)
        for quantile in (0.2, 0.5, 0.99):
            assert tally.thresholds(row[None], quantile).item() == np.quantile(
                row, quantile, method="lower")


def enlargements():
    """By patches, and by pixels of patches whose weights are not powers of two."""
    grid = Grid(4, 4, 3, 3, 0, (12, 12))
    return {"patch": (16, lambda maps: maps),
            "pixel": (144, lambda maps: as_image(grid, maps).flatten(1))}


@pytest.mark.each_value
@pytest.mark.parametrize("level", ["patch", "pixel"])
@pytest.mark.parametrize("quantile", [0.05, 0.8, 0.995])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("few", [0, 1 << 15])
def test_what_is_lit_is_what_exceeds_the_quantile_of_all(level, quantile, dtype, few, monkeypatch):
    """Against maps that are all enlarged: smooth values, ties, a dead neuron, and one that lights
    in a single image; with thresholds of all images and of each."""
    monkeypatch.setattr("neuronpath_core.neurons.lit.FEW", few)
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.standard_normal((5, 60, 16))).to(dtype)
    values[1] = values[1].round()
    values[2] = -0.1
    values[3] = -values[3].abs() - 1
    values[4] = 0
    values[4, 17] = 1
    positions, enlarge = enlargements()[level]
    for by_image in (False, True):
        found = lit(values, quantile, enlarge, positions, by_image)
        whose, image, _ = found.spots
        assert (np.diff(whose * 60 + image) >= 0).all()
        for neuron, row in enumerate(values):
            maps = enlarge(row).numpy()
            limit = np.quantile(maps, quantile, axis=1 if by_image else None, method="lower",
                                keepdims=True)
            own = {(int(i), int(p)) for _, i, p in found.spots.T[whose == neuron]}
            assert own == {(int(i), int(p)) for i, p in np.argwhere(maps > limit)}
            assert found.threshold[neuron] == pytest.approx(limit.mean(), rel=1e-6)


def test_one_block_alone_is_that_block(network):
    target, images, labels, concepts = network
    settings = {"quantile": 0.8, "labels": labels, "permutations": 9, "resamples": 5, "seed": 3}
    whole = dissect(target, images, concepts, **settings)
    assert whole.blocks == (0, 1, 2) and whole.place_of(2) == 2
    for chosen in ([1], [0, 2]):
        found = dissect(target, images, concepts, **settings, blocks=chosen)
        assert found.blocks == tuple(chosen) and found.place_of(chosen[-1]) == len(chosen) - 1
        for name in ("iou", "auroc", "threshold", "selected", "dead", "place_iou"):
            np.testing.assert_array_equal(getattr(found, name), getattr(whole, name)[chosen])
        for name, null in found.nulls.items():
            np.testing.assert_array_equal(null.p, whole.nulls[name].p[chosen])
            np.testing.assert_array_equal(null.label["iou"], whole.nulls[name].label["iou"][
                :, chosen])
        np.testing.assert_array_equal(found.drawn["auroc"], whole.drawn["auroc"][:, chosen])
    without = dissect(target, images, concepts, **settings, areas=False)
    np.testing.assert_array_equal(without.iou, whole.iou)
    assert np.isnan(without.auroc).all() and (without.drawn["auroc"] == -1).all()
    assert (without.nulls["any"].label["auroc"] == -1).all()
    np.testing.assert_array_equal(without.drawn["iou"], whole.drawn["iou"])
    with pytest.raises(ValueError, match="no neurons of block 1 .* accepted: one of 0, 2"):
        found.place_of(1)


def test_some_neurons_at_a_time_are_those_of_all_at_once(network, monkeypatch):
    target, images, labels, concepts = network
    for site in ("neuron", "output"):
        whole = dict(walk(target, images, site))
        for at_once in (1, 5, 99):
            parts = [(block, values.clone()) for block, values in walk(
                target, images, site, at_once=at_once)]
            assert max(values.shape[-1] for _, values in parts) <= at_once
            for block, values in whole.items():
                again = torch.cat([each for number, each in parts if number == block], -1)
                torch.testing.assert_close(again, values, rtol=0, atol=0)
    settings = {"quantile": 0.8, "labels": labels, "permutations": 9, "resamples": 5}
    found = dissect(target, images, concepts, **settings)
    monkeypatch.setattr("neuronpath_core.neurons.dissection.HELD", 5)
    again = dissect(target, images, concepts, **settings)
    for name in ("iou", "auroc", "threshold", "selected", "dead", "place_iou"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    for name, null in found.nulls.items():
        np.testing.assert_array_equal(again.nulls[name].p, null.p)
        np.testing.assert_array_equal(again.nulls[name].detecting, null.detecting)
    np.testing.assert_array_equal(again.drawn["auroc"], found.drawn["auroc"])
    with pytest.raises(ValueError, match="at_once"):
        walk(target, images, at_once=0)


def test_walking_runs_no_block_in_vain(network, monkeypatch):
    """Behind the last block that is asked for, the model runs for the images at hand alone."""
    target, images, *_ = network
    monkeypatch.setattr("neuronpath_core.neurons.walk.images_at_once", lambda *_: 5)
    run, seen = target.layer, []

    def counted(block, stream):
        seen.append((block, len(stream)))
        return run(block, stream)

    monkeypatch.setattr(target, "layer", counted)
    (block, values), = walk(target, images, blocks=[1])
    assert block == 1 and seen == [(0, 5), (0, 5), (0, 2), (1, 5), (1, 5), (1, 2), (2, 5)]
    torch.testing.assert_close(values, neurons_read(target, images, everywhere=True)[1], rtol=0,
                               atol=1e-12)


def test_the_area_of_rank_sums_is_that_of_ranks_and_of_images_that_count_twice():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 4, (3, 50)).astype(float)
    inside = rng.random((50, 3)) < 0.4
    inside[:, 2] = True
    found = tally.area(ranks(values) @ inside, 50 * 51 / 2, inside.sum(0), 50)
    np.testing.assert_allclose(found, aurocs(values, inside), rtol=0, atol=CLOSE)
    assert np.isnan(found[:, 2]).all()
    np.testing.assert_array_equal(tally.strongest(np.array([[np.nan, 1, 2], [np.nan] * 3, [0, 0, 0]
                                                            ]), 0), [2, -1, -1])


def test_masks_dealt_within_classes_by_a_loop(network):
    target, images, labels, concepts = network
    found = dissect(target, images, concepts, 0.8, labels=labels, permutations=19, seed=3)
    grid, maps = maps_of(target, images, "patch")
    covers = np.stack([coverage(grid, mask).numpy() for mask in concepts.masks], -1)
    deals = {"class": tally.dealt(labels.numpy(), 19, 3), "any": tally.dealt(np.zeros(12), 19, 3)}
    for deal in deals["class"]:
        assert (labels.numpy()[deal] == labels.numpy()).all() and sorted(deal) == list(range(12))
    own = maps[1, 4].numpy()
    bits = own > found.threshold[1, 4]
    for name, rows in deals.items():
        every = []
        for deal in rows:
            both = np.einsum("ip,ipk->k", bits, covers[deal])
            every.append(both / (bits.sum() + covers.sum((0, 1)) - both))
        every = np.array(every)
        null = found.nulls[name]
        np.testing.assert_allclose(null.high[1, 4], np.quantile(every, 0.95, axis=0), atol=CLOSE)
        np.testing.assert_allclose(
            null.p[1, 4], (1 + (every >= found.iou[1, 4] - CLOSE).sum(0)) / 20, atol=0.051)
        np.testing.assert_array_equal(null.label["iou"][:, 1, 4], every.argmax(1))
    assert set(found.nulls["any"].label) == {"iou", "auroc"}
    deal = deals["any"][2]
    inside = (covers >= 0.5)[deal].reshape(-1, 4)
    expected = [roc_auc_score(inside[:, k], own.ravel()) for k in range(4)]
    assert found.nulls["any"].label["auroc"][2, 1, 4] == np.argmax(expected)


def test_resamples_choose_by_the_drawn_images(network):
    target, images, _, concepts = network
    found = dissect(target, images, concepts, 0.8, permutations=0, resamples=15, seed=5)
    grid, maps = maps_of(target, images, "patch")
    covers = np.stack([coverage(grid, mask).numpy() for mask in concepts.masks], -1)
    weights = np.random.default_rng([5, 1]).multinomial(12, np.full(12, 1 / 12), 15)
    bits = maps[2, 9].numpy() > found.threshold[2, 9]
    for row, weight in enumerate(weights):
        drawn = np.repeat(np.arange(12), weight)
        both = np.einsum("ip,ipk->k", bits[drawn], covers[drawn])
        iou = both / (bits[drawn].sum() + covers[drawn].sum((0, 1)) - both)
        assert found.drawn["iou"][row, 2, 9] == iou.argmax()
    # as often as not, the concept of all images is that of a resample
    assert (found.drawn["auroc"] == found.auroc.argmax(-1)).mean() > 0.3


def planted_scenes(count=24, seed=0):
    """Grey images with a red square, a green square, or neither, anywhere: the images, and the
    squares' masks."""
    rng = np.random.default_rng(seed)
    images, masks = np.zeros((count, 3, 32, 32)), np.zeros((2, count, 32, 32), bool)
    for number in range(count):
        top, left = 4 * rng.integers(0, 6, 2)
        if number % 3 < 2:
            masks[number % 3, number, top:top + 8, left:left + 8] = True
            images[number, number % 3][masks[number % 3, number]] = 1
    return torch.from_numpy(images), masks


def test_a_planted_neuron_detects_its_concept_and_no_other():
    target = red_network()
    images, masks = planted_scenes()
    labels = torch.arange(24) % 3
    share = masks[0].mean()
    found = dissect(target, images, made_up(masks), 1 - share, labels=labels)
    assert found.iou[0, 0].tolist() == pytest.approx([1, 0], abs=CLOSE)
    assert found.iou[0, 1].tolist() == pytest.approx([0, 1], abs=CLOSE)
    assert found.auroc[0, 0, 0] == found.auroc[0, 1, 1] == 1
    detects = found.detects("class")
    assert detects[0, 0].tolist() == [True, False] and detects[0, 1].tolist() == [False, True]
    # squares lie anywhere, and masks of other images do not fit
    assert (found.nulls["class"].p[0, [0, 1], [0, 1]] == 0.01).all()
    assert found.place_iou[0, :2].max() < 0.3
    # the others have one value everywhere: nothing is selected, and nothing found
    assert found.dead.tolist() == [[False, False, True, True], [True] * 4]
    assert (found.selected[found.dead] == 0).all() and (found.iou[found.dead] == 0).all()
    assert not detects[found.dead].any()
    pixels = dissect(target, images, made_up(masks), 1 - share, "pixel", permutations=0)
    assert pixels.iou[0, 0, 0] > 0.75 and pixels.iou[0, 0, 1] == 0
    top = best_concepts(found, 0, 0)
    assert [each.name for each in top] == ["concept 0"]  # the mask touches no other
    assert top[0].detects and top[0].iou == pytest.approx(1) and top[0].place in found.places
    assert best_concepts(found, 1, 0) == ()


def test_a_place_is_no_concept():
    """A neuron that lights where every image is alike fits masks that never move, as well as their
    place and as well as the masks of other images do."""
    target = red_network()
    images, masks = torch.zeros(12, 3, 32, 32).double(), np.zeros((1, 12, 32, 32), bool)
    images[:, 0, :8, :8] = 1
    masks[:, :, :8, :8] = True
    found = dissect(target, images, made_up(masks), 1 - 1 / 16, labels=torch.arange(12) % 3)
    assert found.iou[0, 0, 0] == pytest.approx(1)
    assert not found.detects("class").any() and not found.detects("any").any()
    assert (found.nulls["any"].p == 1).all()
    place = best_concepts(found, 0, 0)[0]
    assert place.place == "cell 1, 1" and place.place_iou > 0.5 and not place.detects


def test_chance_detects_as_often_as_it_should():
    """Random masks over random activations: of the p-values a twentieth lies below 0.05."""
    target, images, labels = small(20)
    rng = np.random.default_rng(7)
    masks = (rng.random((5, 20, 4, 4)) < 0.2).repeat(4, 2).repeat(4, 3)
    found = dissect(target, images, made_up(masks), 0.9, labels=labels)
    for null in found.nulls.values():
        share = (null.p <= 0.05).mean()
        # 240 of them, of 48 neurons that are not independent
        assert 0.005 < share < 0.14
        assert (null.detecting.mean() < 16).all()


def test_as_published_every_image_lights_alike(network):
    target, images, _, concepts = network
    found = dissect(target, images, concepts, 0.8, "pixel", permutations=0, site="output",
                    threshold="image")
    assert found.iou.shape[1] == target.model.embed_dim
    np.testing.assert_allclose(found.selected, 0.2, atol=0.01)
    # of an object that covers more than that, the overlap is bounded
    assert (found.iou <= found.ceiling + CLOSE).all() and found.ceiling.max() < 1.01
    grid, _ = maps_of(target, images, "patch")
    (_, values), *_ = walk(target, images, "output")
    own = as_image(grid, values[:, grid.tokens].permute(2, 0, 1)[3]).flatten(1).numpy()
    bits = own > np.quantile(own, 0.8, axis=1, method="lower", keepdims=True)
    mask = concepts.masks[0].reshape(12, -1)
    assert found.iou[0, 3, 0] == pytest.approx((bits & mask).sum() / (bits | mask).sum(), abs=CLOSE)


def test_pixels_of_images_that_end_within_a_patch():
    """Rectangular images, and patches behind registers."""
    target, *_ = small(reg_tokens=2, img_size=(16, 24))
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((6, 3, 16, 24)))
    masks = np.random.default_rng(1).random((2, 6, 16, 24)) < 0.4
    found = dissect(target, images, made_up(masks), 0.9, "pixel", permutations=3)
    assert found.iou.shape == (3, 16, 2) and (found.selected > 0).all()


def test_a_gated_neuron_is_the_product():
    from timm.layers import SwiGLU
    target, images, _ = small(6, mlp_layer=SwiGLU)
    assert key_of(target) == "the product of gate and value"
    assert key_of(small(6)[0]) == "the value after the activation function"
    masks = np.random.default_rng(1).random((1, 6, 16, 16)) < 0.4
    found = dissect(target, images, made_up(masks), 0.9, permutations=0)
    read = neurons_read(target, images, everywhere=True)[0][:, 1:]
    assert found.threshold[0, 0] == np.quantile(read[..., 0], 0.9, method="lower")


def refused(why, *arguments, **settings):
    with pytest.raises(ValueError, match=why) as error:
        dissect(*arguments, **settings)
    told = str(error.value)
    assert "\n" not in told and ("accepted" in told or "must be" in told)


def test_bad_input_is_refused(network):
    target, images, labels, concepts = network
    for value in (0, 1, -0.1, 1.5, "0.9", True, float("nan")):
        refused("quantile cannot be", target, images, concepts, value)
    refused("held against masks", target, images, None)
    refused("held against masks", target, images, ConceptSet((), (), np.zeros((0, 12, 16, 16), bool
                                                                             ), np.zeros((0, 12))))
    refused("masks of 12 images for 5", target, images[:5], concepts)
    refused("unknown level", target, images, concepts, level="token")
    refused("unknown threshold", target, images, concepts, threshold="all")
    refused("unknown site", target, images, concepts, site="block")
    refused("permutations and resamples", target, images, concepts, permutations=-1)
    for blocks in ([], [3], [1, 1], [2, 0], [-1], [True], "0", 1, [0.0]):
        refused("blocks cannot be", target, images, concepts, blocks=blocks)
    refused("labels must be", target, images, concepts, labels=labels[:3])
    refused("images' size", target, images, made_up(np.zeros((1, 12, 8, 8), bool)))
    tiny = npc.TargetModel(small(img_size=4, patch_size=2)[0].model)
    refused("at least 8 a side", tiny, images[..., :4, :4].contiguous(),
            made_up(np.zeros((1, 12, 4, 4), bool)))
    found = dissect(target, images, concepts, permutations=0)
    with pytest.raises(ValueError, match="none were drawn"):
        found.detects()
    for arguments in ((3, 0), (0, 16), (0, True), (0, 0, 0), (0, 0, 3, "class")):
        with pytest.raises(ValueError, match="accepted|whole number"):
            best_concepts(found, *arguments)
    assert np.isnan(best_concepts(found, 0, 0)[0].high)
