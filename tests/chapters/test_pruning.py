"""Probing and test images, the grid of masks by a direct computation, and the claims of Figure 6 on
planted tables."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core import interventions
from neuronpath_core.chapters import class_paths, pruning
from neuronpath_core.chapters.knowledge_neurons import measured
from neuronpath_core.stats import report
from neuronpath_core.study.study import Study
from tests.chapters.tables import NAMES


def test_whole_model(study, images):
    found = pruning.whole_model(study, NAMES, images)
    assert {key: list(value) for key, value in found.items()} == {"correct": NAMES,
                                                                  "probability": NAMES}
    for name in NAMES:
        clean = study.probabilities(name, images)
        assert found["correct"][name] == np.mean(clean.argmax(1) == images.labels.numpy())
        expected = np.mean([clean[i, label] for i, label in enumerate(images.labels)])
        assert found["probability"][name] == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_split_is_disjoint_and_80_to_20_in_every_class(study, seed):
    images = study.images(100, 3)
    probing = pruning.probe_mask(images, 0.8, seed)
    probe, test = images.select(probing), images.select(~probing)
    assert np.bincount(probe.labels).tolist() == [8] * 10 and np.bincount(test.labels).tolist() == [
        2] * 10
    assert not set(probe.ids.tolist()) & set(test.ids.tolist())
    assert sorted(probe.ids.tolist() + test.ids.tolist()) == sorted(images.ids.tolist())
    for part in (probe, test):  # images, labels and pixels have moved together
        for number in range(0, len(part), 5):
            source = images.ids.tolist().index(int(part.ids[number]))
            assert part.labels[number] == images.labels[source]
            assert torch.equal(part.images[number], images.images[source])
            assert np.array_equal(part.pixels[number], images.pixels[source])


def test_the_split_depends_on_its_seed(study):
    images = study.images(100, 3)
    first, again, other = (pruning.probe_mask(images, 0.8, seed).tolist() for seed in (0, 0, 1))
    assert first == again and first != other


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan")])
def test_a_probing_share_must_leave_both(study, images, share):
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        pruning.probe_mask(images, share)


def test_too_few_images_to_split(study):
    with pytest.raises(ValueError, match="class 0 has 2 images, too few for a 80% split"):
        pruning.probe_mask(study.images(20), 0.8)
    with pytest.raises(ValueError, match="class 0 has 1 images"):
        pruning.probe_mask(study.images(10), 0.5)


@pytest.fixture(scope="module")
def grid(study):
    images = study.images(50)
    probing = pruning.probe_mask(images, 0.6)
    table = pruning.pruning_grid(study, "small", images, probing, [1, 4, 16], [0.0, 0.5, 1.0],
                                     repeats=2, seed=7, steps=1)
    return images, probing, table


def halves(grid):
    """Probing and test images of the grid."""
    images, probing, _ = grid
    return images.select(probing), images.select(~probing)


def test_the_pruning_grid_has_a_row_for_every_cell_and_image(grid):
    test, table = halves(grid)[1], grid[2]
    assert list(table.columns) == ["model", "kept", "top", "share", "repeat", "image", "label",
                                   "correct", "probability"]
    assert len(table) == 3 * 3 * 3 * 2 * len(test)  # kinds, t, p, repeats, images
    cells = table.groupby(["kept", "top", "share", "repeat"], sort=False)
    assert len(cells) == 54 and set(table["kept"]) == {"neuron path", "activation", "random"}
    expected = dict(zip(test.ids.tolist(), test.labels.tolist(), strict=True))
    for _, cell in cells:
        assert dict(zip(cell["image"], cell["label"], strict=True)) == expected


def test_where_nothing_is_pruned_the_model_is_whole(study, grid):
    test, table = halves(grid)[1], grid[2]
    clean, labels = study.probabilities("small", test), test.labels.numpy()
    whole = dict(zip(test.ids.tolist(), clean[np.arange(len(test)), labels], strict=True))
    right = dict(zip(test.ids.tolist(), clean.argmax(1) == labels, strict=True))
    same = (table["share"] == 0) | (table["top"] == 16)  # p = 0, or all 16 neurons kept
    # the paths of a class's images need not use every neuron
    same &= (table["share"] == 0) | (table["kept"] == "random")
    expected = table["image"].map(whole)
    # a draft's
    np.testing.assert_allclose(table["probability"][same], expected[same], rtol=0, atol=1e-6)
    assert (table["correct"] == table["image"].map(right))[same].all()
    pruned = (table["share"] == 1) & (table["top"] == 1)
    assert (table["probability"] - expected)[pruned].abs().max() > 0.01


def test_full_pruning_by_a_direct_computation(study, grid):
    (probe, test), table = halves(grid), grid[2]
    target, (pictures, labels) = study.target("small"), study.batch(test, "small")
    activations = npc.read_activations(target, study.batch(probe, "small")[0]).sum(2)
    kinds = {"neuron path": npc.find_paths(target, *study.batch(probe, "small"), steps=1,
                                           top=4).neurons,
             "activation": activations.argsort(-1).flip(-1)}
    strict = table[(table["share"] == 1) & (table["top"] == 4)]
    for kind, ranked in kinds.items():
        for label in range(10):
            survives = np.zeros((3, 16), bool)
            for block in range(3):
                counts = np.bincount(ranked[probe.labels == label, block, :4].flatten(),
                                     minlength=16)
                survives[block, np.argsort(-counts, kind="stable")[:4]] = True
            factors = torch.from_numpy(survives).double()
            mine = labels == label
            handles = [block.mlp.fc2.register_forward_pre_hook(
                lambda _module, inputs,
                row=row: (torch.cat([inputs[0][:, :1] * row, inputs[0][:, 1:]], 1),))
                for block, row in zip(target.model.blocks, factors, strict=True)]
            with torch.no_grad():
                expected = target(pictures[mine]).softmax(-1)
            for handle in handles:
                handle.remove()
            own = strict[(strict["kept"] == kind) & (strict["label"] == label)]
            for _, repeat in own.groupby("repeat"):
                # a draft's
                np.testing.assert_allclose(repeat["probability"], expected[:, label], rtol=0,
                                           atol=1e-6)
                assert repeat["correct"].tolist() == (expected.argmax(1) == label).tolist()


def test_one_kept_neuron_uses_the_paths_of_all_images(study, grid):
    """A path depends on its image alone, so those that the class chapters stored serve, split as
    everything else."""
    (probe, _), (images, probing, _) = halves(grid), grid
    own = npc.find_paths(study.target("small"), *study.batch(probe, "small"), steps=1).neurons
    assert torch.equal(study.paths("small", images, steps=1).neurons[torch.from_numpy(probing)],
                       own)


def test_repeats_differ_only_where_chance_decides(grid):
    table = grid[2]
    images = table.groupby(["kept", "top", "share", "image"])["probability"]
    spread = (images.max() - images.min()).groupby(["kept", "top", "share"]).max()
    assert (spread.xs(0.0, level="share") == 0).all()
    for kind in ("neuron path", "activation"):
        assert spread[kind, 4, 1.0] == 0
        assert spread[kind, 4, 0.5] > 1e-3
    assert spread["random", 4, 1.0] > 1e-3


def test_the_grid_depends_on_its_seed(study, grid):
    images, probing, table = grid
    again, other = (pruning.pruning_grid(study, "small", images, probing, [4], [0.5], repeats=1,
                                             seed=seed, steps=1)
                    for seed in (7, 8))
    own = table[(table["top"] == 4) & (table["share"] == 0.5)
                & (table["repeat"] == 0)].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, own)
    assert (other["probability"] - own["probability"]).abs().max() > 1e-6


def test_the_published_rule_and_its_errors(study, grid):
    images, probing, _ = grid
    seen = []
    original = interventions.class_neurons
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pruning, "class_neurons",
                      lambda neurons, top, rule: seen.append(rule) or original(neurons, top, rule))
        pruning.pruning_grid(study, "small", images, probing, [4], [1.0], repeats=1,
                                 rule="rank-mode", steps=1)
    # paths by the rule asked for, activations always by count
    assert seen == ["rank-mode", "count"] * 10
    with pytest.raises(ValueError, match="count, rank-mode"):
        pruning.pruning_grid(study, "small", images, probing, [4], [1.0], repeats=1,
                                 rule="mode", steps=1)
    with pytest.raises(ValueError, match=r"t must lie in 1\.\.16, got 17"):
        pruning.pruning_grid(study, "small", images, probing, [4, 17], [1.0], repeats=1,
                                 steps=1)


def test_each_class_is_tested_with_its_own_mask(study, grid, monkeypatch):
    """Planted: the probing paths of a class name a neuron that no other class's do."""
    (images, probing, _), (_, test) = grid, halves(grid)
    neurons = images.labels[:, None].expand(-1, 3)
    monkeypatch.setattr(Study, "paths", lambda *args,
                        **kwargs: npc.Paths(neurons, torch.zeros(len(neurons)),
                                            torch.ones(len(neurons))))
    kept = []
    monkeypatch.setattr(pruning, "pruning_mask", lambda *args: kept.append(args[0])
                        or interventions.pruning_mask(*args))
    table = pruning.pruning_grid(study, "small", images, probing, [1], [1.0], repeats=1)
    assert kept[::3] == [[[label]] * 3 for label in range(10)]
    own = table[table["kept"] == "neuron path"]
    assert own["label"].tolist() == np.sort(test.labels.numpy()).tolist()


@pytest.mark.parametrize(("module", "name"), [(measured, "knowledge_neurons"),
                                              (class_paths, "path_table"),
                                              (pruning, "pruning_grid")])
def test_docstrings_name_the_columns(module, name, study, images, grid):
    tables = {"knowledge_neurons": lambda: measured.knowledge_neurons(study, ["small"], images,
                                                                         top=1, steps=1),
              "path_table": lambda: class_paths.path_table("small", images,
                                                           study.paths("small", images, "random",
                                                                       steps=1)),
              "pruning_grid": lambda: grid[2]}
    assert ", ".join(tables[name]().columns) in " ".join(getattr(module, name).__doc__.split())


def pruning_table(accuracies, images=80, repeats=2, seed=0):
    """``(kept, top, share) -> accuracy``; an image's answer is drawn for every repeat."""
    rng, rows = np.random.default_rng(seed), []
    for (kept, top, share), accuracy in accuracies.items():
        for repeat in range(repeats):
            right = rng.permutation(images) < round(accuracy * images)
            rows.append(pd.DataFrame({"model": "m", "kept": kept, "top": top, "share": share,
                                      "repeat": repeat,
                                      "image": range(images), "correct": right,
                                      "probability": 0.1 + 0.8 * right}))
    return pd.concat(rows, ignore_index=True)


def cells(path_5_half, path_1, path_5, path_10, random_5, activation_5):
    """Accuracies of a grid with t in 1, 5, 10 and shares 0.5 and 1; the rest does not matter."""
    return {("neuron path", 1, 0.5): 0.5, ("neuron path", 5, 0.5): path_5_half,
            ("neuron path", 10, 0.5): 0.5,
            ("neuron path", 1, 1.0): path_1, ("neuron path", 5, 1.0): path_5,
            ("neuron path", 10, 1.0): path_10,
            ("random", 5, 0.5): 0.0, ("random", 5, 1.0): random_5,
            ("activation", 5, 0.5): 0.0, ("activation", 5, 1.0): activation_5}


def claims(accuracies, whole=0.9, **settings):
    grid = pruning_table(accuracies, **settings)
    found = pruning.pruning_claims(grid, pruning.pruning_summary(grid, "correct"), {"m": whole},
                                    ["m"], top=5, half=0.5)
    assert found["key"].tolist() == ["robust", "sparse", "peak", "random", "activation"]
    return found.set_index("key")


def test_pruning_summary_averages_repeats_and_then_images():
    grid = pd.DataFrame({"model": "m", "kept": "random", "top": 1, "share": 0.5,
                         "repeat": [0, 1, 0, 1], "image": [1, 1, 2, 2],
                         "correct": [True, False, True, True], "probability": [0.1, 0.2, 0.6, 0.8]})
    assert pruning.pruning_summary(grid, "correct")["value"].tolist() == [0.75]
    found = pruning.pruning_summary(grid, "probability")
    assert list(found.columns) == ["model", "kept", "top", "share", "value", "low", "high"]
    assert found[["value", "low", "high"]].values[0] == pytest.approx([0.425, 0.15, 0.7])


def test_the_interval_is_over_images_not_over_repeats():
    few, many = (
        pruning.pruning_summary(pd.concat([pruning_table({("random", 1, 0.5): 0.5},
                                                          repeats=1).assign(repeat=repeat)
                                            for repeat in range(count)]), "correct")
        for count in (1, 20))
    assert (few["low"].item(),
            few["high"].item()) == pytest.approx((many["low"].item(), many["high"].item()))


@pytest.mark.parametrize(("own", "other", "verdict"),
                         [(0.8, 0.4, "agrees"), (0.4, 0.8, "contradicts"), (0.6, 0.6, "not shown")])
def test_pruning_lead(own, other, verdict):
    grid = pruning_table({("neuron path", 5, 1.0): own, ("random", 5, 1.0): other,
                          ("neuron path", 1, 1.0): 0.0,
                          ("random", 1, 1.0): 1.0, ("neuron path", 5, 0.5): 0.0,
                          ("random", 5, 0.5): 1.0})
    found = pruning.pruning_lead(grid, "m", 5, 1.0, "random")
    assert found["value"] == pytest.approx(own - other, abs=1e-12)
    assert report.verdict(found) == verdict
    shown = pruning.pruning_lead(grid, "m", 5, 1.0, "random", "probability")
    assert shown["value"] == pytest.approx(0.8 * (own - other), abs=1e-12)


def test_pruning_claims_that_all_agree():
    found = claims(cells(0.9, 0.5, 0.9, 0.6, 0.3, 0.5), images=800)
    assert found["verdict"].tolist() == ["agrees"] * 5
    assert found.loc["peak", "short"] == "best at t = 5 (90.0 %; t = 5: 90.0 %)"
    assert re.fullmatch(r"90\.0 % \[\d\d\.\d, \d\d\.\d\] against 90\.0 %",
                        found.loc["sparse", "short"])
    assert found.loc["random", "text"].startswith("m: accuracy lead +60.0 points [")
    assert "5 neurons per block are kept and 50% of the others zeroed" in found.loc["robust",
                                                                                    "claim"]
    assert "all others zeroed" in found.loc["sparse", "claim"]


def test_pruning_claims_that_all_fail():
    found = claims(cells(0.4, 0.2, 0.3, 0.8, 0.8, 0.6))
    assert found["verdict"].tolist() == ["contradicts", "contradicts", "not shown", "contradicts",
                                         "contradicts"]
    assert found.loc["peak", "short"] == "best at t = 10 (80.0 %; t = 5: 30.0 %)"


def test_pruning_claims_that_are_not_shown():
    found = claims(cells(0.88, 0.5, 0.5, 0.6, 0.5, 0.5), seed=1)
    assert found["verdict"].to_dict() == {"robust": "not shown", "sparse": "contradicts",
                                          "peak": "not shown", "random": "not shown",
                                          "activation": "not shown"}


def test_the_interval_decides_what_stays():
    """Five points are the margin: 0.88 against 0.9 stays on 2000 images and is not shown on 80; 0.7
    does not stay."""
    assert claims(cells(0.88, 0.5, 0.88, 0.6, 0.3, 0.5))["verdict"]["robust"] == "not shown"
    assert claims(cells(0.88, 0.5, 0.88, 0.6, 0.3, 0.5),
                  images=2000)["verdict"]["robust"] == "agrees"
    assert claims(cells(0.7, 0.5, 0.88, 0.6, 0.3, 0.5),
                  images=2000)["verdict"]["robust"] == "contradicts"


def test_pruning_claims_come_by_claim_and_then_by_model():
    grid = pruning_table(cells(0.9, 0.5, 0.9, 0.6, 0.3, 0.5))
    both = pd.concat([grid, grid.assign(model="n")])
    found = pruning.pruning_claims(both, pruning.pruning_summary(both, "correct"),
                                    {"m": 0.8, "n": 1.0}, ["n", "m"], 5, 0.5)
    assert list(found.columns) == ["key", "model", "claim", "text", "short", "verdict"]
    keys = ["robust", "sparse", "peak", "random", "activation"]
    assert found[["key", "model"]].values.tolist() == [[key, model] for key in keys
                                                       for model in ("n", "m")]
    # each against its own whole model
    assert found["verdict"].tolist()[:4] == ["contradicts", "agrees"] * 2


def accuracies():
    """Accuracy 0.8 of model a and 0.6 of model b, less a tenth for random neurons."""
    return pd.DataFrame([
        {"model": model, "kept": kept, "top": top, "share": share, "low": value - 0.1,
         "value": value - (kept == "random") / 10, "high": value + 0.1}
        for model, value in (("a", 0.8), ("b", 0.6)) for kept in ("neuron path", "random")
        for top in (1, 5) for share in (0.5, 1.0)])


@pytest.mark.parametrize(("share", "others"), [(1.0, "all others"), (0.5, "50% of the others")])
def test_the_finding_says_what_is_left_and_of_how_much(share, others):
    assert pruning.finding(accuracies(), {"a": 0.9, "b": 0.95}, 5, share) == (
        f"Accuracy with 5 path neurons per block kept and {others} zeroed: a 80.0 % (whole "
        f"90.0 %), b 60.0 % (whole 95.0 %)")
    assert pruning.finding(accuracies(), {"a": 0.9, "b": 0.95}, 5, share,
                           "Probability").startswith("Probability with 5")


def test_the_strict_table_has_words_for_headers():
    wide = pruning.strict_wide(accuracies(), 1.0)
    assert list(wide.columns) == ["t = 1", "t = 5"] and wide.index.names == ["model", "kept"]
    assert wide.loc[("b", "random"), "t = 5"] == "50.0 % [50.0, 70.0]"
