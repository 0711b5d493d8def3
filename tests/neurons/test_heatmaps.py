"""Maps of neurons: planted cues, slow twins, closed forms, and what is refused."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

import neuronpath_core as npc
from neuronpath_core.hooks import reading
from neuronpath_core.neurons import heatmaps as maps_of
from neuronpath_core.neurons import localisation as found_by
from neuronpath_core.readings.grids import Grid, as_image, coverage, grid_of
from neuronpath_core.stats.ranks import mid_ranks
from tests import helpers

READ = ["cls", "cls-layerscale-qknorm", "cls-registers-prenorm", "avg", "avg-without-class-token"]
GRID = Grid(4, 4, 2, 2, 1, (8, 8))


def drawn(seed=0, images=5, neurons=3):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(images, neurons, 4, 4, generator=rng, dtype=torch.float64)


def cue_reader():
    """A blank network whose neuron 2 of block 0 reads the brightness of its own patch."""
    model = helpers.blank_vit("cls")
    for block in model.blocks:
        block.norm1, block.norm2 = (torch.nn.LayerNorm(16).double() for _ in range(2))
    with torch.no_grad():
        model.patch_embed.proj.weight[0] = 1
        model.blocks[0].mlp.fc1.weight[2, 0] = 1
    return npc.TargetModel(model)


@pytest.mark.parametrize("name", READ)
def test_a_map_is_what_enters_the_last_layer_at_the_patches(name):
    target, images, _ = helpers.network(name, 3)
    with torch.no_grad(), reading(target, everywhere=True) as store:
        target(images)
    grid = grid_of(target, images)
    found = maps_of.heat_maps(target, images, 1, [3, 0])
    assert found.shape == (2, 2, grid.rows, grid.columns)
    for image in range(2):
        for place, neuron in enumerate((3, 0)):
            for patch in range(grid.patches):
                assert found[image, place, patch // grid.columns, patch % grid.columns] == \
                    pytest.approx(float(store[1][image, grid.prefix + patch, neuron]), abs=1e-12)
    assert maps_of.heat_maps(target, images, 1).shape[1] == 16
    one = torch.cat([maps_of.heat_maps(target, each[None], 1, [3, 0]) for each in images])
    np.testing.assert_allclose(found, one, atol=1e-12)


def test_a_planted_cue_lights_the_patches_where_it_is():
    target, images = cue_reader(), torch.zeros(2, 3, 8, 8, dtype=torch.float64)
    images[0, :, :4, 4:], images[1, :, 4:, :4] = 1, 1
    found = maps_of.heat_maps(target, images, 0, [2, 7])
    assert (found[0, 0] > 1).tolist() == [[False, True], [False, False]]
    assert (found[1, 0] > 1).tolist() == [[False, False], [True, False]]
    masks = images[:, 0].numpy() > 0
    scores = found_by.localisation(found, grid_of(target, images), masks)
    assert scores.auroc[:, 0].tolist() == [1, 1] == scores.pointing[:, 0].tolist()
    assert scores.energy[:, 0].tolist() == [1, 1]
    # the other neuron never fires: chance, an equal share of the pointing, no energy, no mask
    assert scores.auroc[:, 1].tolist() == [0.5, 0.5] and scores.pointing[0, 1] == 0.25
    assert scores.energy[:, 1].isnan().all() and scores.iou[:, 1].tolist() == [0, 0]
    # against the other image's mask it finds nothing
    crossed = found_by.localisation(found, grid_of(target, images), masks[::-1].copy())
    assert crossed.auroc[:, 0].max() < 0.5 and crossed.pointing[:, 0].max() == 0


def test_scaled_maps_by_hand():
    maps = drawn()
    by_image, by_neuron = maps_of.scaled(maps, "image"), maps_of.scaled(maps)
    for i in range(5):
        for n in range(3):
            positive = np.maximum(maps[i, n].numpy(), 0)
            span = positive.max() - positive.min()
            np.testing.assert_allclose(by_image[i, n], (positive - positive.min()) / span)
            np.testing.assert_allclose(by_neuron[i, n],
                                       positive / np.maximum(maps[:, n].numpy(), 0).max())
    flat = torch.full((2, 1, 4, 4), 3.0)
    assert maps_of.scaled(flat, "image").max() == 0 and maps_of.scaled(flat).min() == 1
    assert maps_of.scaled(-flat).abs().max() == 0
    # per image an inactive neuron looks as bright as an active one, per neuron it does not
    weak = torch.cat([maps[:1], maps[:1] / 100])
    assert maps_of.scaled(weak, "image")[1].max() == 1 and maps_of.scaled(weak)[1].max() <= 0.0101


def test_running_means_are_means_of_scaled_maps():
    blocks = torch.stack([drawn(seed) for seed in range(3)])
    found = maps_of.running_mean(blocks)
    for block in range(3):
        wanted = sum(maps_of.scaled(each, "image") for each in blocks[:block + 1]) / (block + 1)
        np.testing.assert_allclose(found[block], wanted)


def test_a_published_mask_is_a_fifth_of_the_image_and_of_a_flat_map_nothing():
    maps = as_image(GRID, drawn().flatten(2))
    on = maps_of.mask_of(maps)
    assert on.sum((2, 3)).tolist() == [[13] * 3] * 5  # 64 pixels: those above the 80 % quantile
    assert not maps_of.mask_of(torch.ones(2, 8, 8)).any()
    # with an object larger than that the overlap is bounded
    masks = np.ones((5, 8, 8), bool)
    found = found_by.localisation(drawn(), GRID, masks)
    np.testing.assert_allclose(found.iou, 13 / 64)
    assert found.auroc.isnan().all()


def test_scores_are_those_of_sets_and_of_scikit_learn():
    maps, rng = drawn(3).round(decimals=1), np.random.default_rng(0)  # with ties
    masks = rng.random((5, 8, 8)) < np.linspace(0.3, 0.7, 8)
    masks[0, :4] = True
    found, share = found_by.localisation(maps, GRID, masks), coverage(GRID, masks).numpy()
    for i in range(5):
        inside = share[i] >= 0.5
        for n in range(3):
            flat = maps[i, n].flatten().numpy()
            assert found.auroc[i, n] == pytest.approx(roc_auc_score(inside, flat))
            best = np.flatnonzero(flat == flat.max())
            assert found.pointing[i, n] == pytest.approx(np.mean(inside[best]))
            fired = np.maximum(flat, 0)
            assert found.energy[i, n] == pytest.approx((fired * share[i]).sum() / fired.sum())
            picture = as_image(GRID, maps[i, n].flatten()).numpy()
            on = {*zip(*np.nonzero(picture > np.quantile(picture, 0.8)), strict=True)}
            there = {*zip(*np.nonzero(masks[i]), strict=True)}
            assert found.iou[i, n] == pytest.approx(len(on & there) / len(on | there))


def test_every_pair_of_map_and_mask():
    maps = drawn(5)[:, 0].flatten(1)
    inside = torch.rand(5, 16, generator=torch.Generator().manual_seed(1)) < 0.4
    inside[4] = True  # no patch outside
    pairs = found_by.all_pairs(mid_ranks(maps), inside)
    for i in range(5):
        for j in range(4):
            assert pairs[i, j] == pytest.approx(roc_auc_score(inside[j], maps[i]))
    assert pairs[:, 4].isnan().all()
    means = found_by.of_others(pairs, torch.tensor([0, 0, 0, 1, 1]))
    assert means[0] == pytest.approx(float(pairs[0, 1:3].mean()))
    assert means[3].isnan()  # of its class only the mask without an outside is left
    assert means[4] == pytest.approx(float(pairs[4, 3]))


def test_the_place_alone_is_the_mean_of_the_other_images():
    values = drawn(7)[:, 0].flatten(1)
    found = found_by.mean_of_others(values)
    for i in range(5):
        np.testing.assert_allclose(found[i], np.delete(values.numpy(), i, 0).mean(0))


def test_what_is_refused():
    target, images, _ = helpers.network("cls", 1)
    maps, masks = drawn(), np.ones((5, 8, 8), bool)
    cases = [
        (lambda: maps_of.heat_maps(target, images, 3), r"0\.\.2"),
        (lambda: maps_of.heat_maps(target, images, 0, [16]), r"0\.\.15"),
        (lambda: maps_of.heat_maps(target, images, 0, []), r"0\.\.15"),
        (lambda: maps_of.heat_maps(target, images, 0, 3), r"0\.\.15"),
        (lambda: maps_of.heat_maps(target, images[:, :, :4], 0), "shape"),
        (lambda: maps_of.scaled(maps[0]), "image, neuron, row, column"),
        (lambda: maps_of.scaled(maps, "both"), "image, neuron"),
        (lambda: maps_of.mask_of(maps, 1.0), "between 0 and 1"),
        (lambda: maps_of.mask_of(maps, True), "between 0 and 1"),
        (lambda: found_by.localisation(maps, GRID, masks[:2]), "2 masks"),
        (lambda: found_by.localisation(maps, GRID, masks.astype(int)), "truth values"),
        (lambda: found_by.localisation(maps[..., :3], GRID, masks), "grid of 16"),
    ]
    for refused, words in cases:
        with pytest.raises(ValueError, match=words) as caught:
            refused()
        assert "\n" not in str(caught.value)
