"""Chapter 29: images of two small networks, judges and tables in which the answer is planted."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from neuronpath_core.chapters.stimuli import after_gelu, judged, made, several, words
from neuronpath_core.chapters.verdicts import stimuli as verdicts
from neuronpath_core.images.file_images import FileImages
from neuronpath_core.neurons.plausibility import recognised
from neuronpath_core.neurons.spectrum import image_statistics
from neuronpath_core.readings.memories import value_matrix
from neuronpath_core.readings.projection import project_vectors
from neuronpath_core.stats.claims import with_verdict
from tests.chapters.tables import NAMES

CLASSES = 12


@pytest.fixture(scope="module")
def maker(study):
    return made.maker(study, NAMES[0], steps=4, ranks=4)


@pytest.fixture(scope="module")
def images_of(maker):
    return made.make_all(maker, [2])


@pytest.fixture(scope="module")
def judges(study):
    return judged.judges_of(study, NAMES[0], list(NAMES))


# --- what images are of ---


def test_best_value_neurons_are_those_that_write_the_class_most(maker):
    for number, objective in enumerate(maker.neurons(3)):
        flat = [(float(maker.aligned[block, neuron, number]), block, neuron)
                for block in range(maker.aligned.shape[0])
                for neuron in range(maker.aligned.shape[1])]
        expected = sorted(flat, key=lambda each: -each[0])[:3]
        assert list(objective) == [(block, neuron) for _, block, neuron in expected]
        assert list(objective.values()) == pytest.approx([value for value, *_ in expected])
    assert [list(each) for each in maker.neurons(1, 1)] == [list(each)[1:2]
                                                           for each in maker.neurons(2)]


def test_random_neurons_are_others_of_the_same_block(maker):
    for seed in range(5):
        for (block, neuron), [(other, drawn)] in zip(
                maker.best[:, 0].tolist(), made.random_neurons(maker, seed), strict=True):
            assert other == block and drawn != neuron and 0 <= drawn < maker.aligned.shape[1]
    assert made.random_neurons(maker, 1) == made.random_neurons(maker, 1)
    assert made.random_neurons(maker, 1) != made.random_neurons(maker, 2)


def test_every_condition_has_an_image_a_class_and_leaves_the_model_alone(study, maker, images_of):
    before = [each.clone() for each in study.target(NAMES[0]).model.parameters()]
    assert set(images_of.images) == set(made.CONDITIONS)
    assert all(each.shape == (10, 1, 16, 16) for each in images_of.images.values())
    assert list(images_of.stimuli.snapshots) == [2]
    alone = maker.make(maker.neurons()).images
    torch.testing.assert_close(images_of.images[made.BEST], alone, rtol=0, atol=1e-4)
    made.planted(maker)
    for old, new in zip(before, study.target(NAMES[0]).model.parameters(), strict=True):
        assert torch.equal(old, new)


def test_a_planted_neuron_reads_what_the_head_reads(study, maker):
    """Before the last FFN, at one token, the planted keys are the logits of the class, up to what
    the norms' shifts add and the sizes that they divide by."""
    reader, readers = made.planted(maker)
    assert readers == [[(len(maker.target.model.blocks) - 1, number)] for number in range(10)]
    block = reader.draft.model.blocks[-1]
    stream = torch.randn(50, maker.target.model.embed_dim, dtype=torch.float64,
                         generator=torch.Generator().manual_seed(0))
    stream = (stream - stream.mean(1, keepdim=True)) / stream.std(1, correction=0, keepdim=True)
    keys = block.mlp.fc1(block.norm2(stream.float()))[:, :10].double()
    wanted = project_vectors(maker.target, stream, "normed")
    for number in range(10):
        assert np.corrcoef(keys[:, number].detach(), wanted[:, number].detach())[0, 1] > 0.9999


def test_a_value_with_bias_is_what_the_whole_head_reads(maker):
    target = maker.target
    for bias in (False, True):
        values = torch.stack([value_matrix(target, block, "ffn") + (
            target.model.blocks[block].mlp.fc2.bias.detach() if bias else 0)
            for block in range(len(target.model.blocks))])
        aligned = project_vectors(target, values, "normed").flatten(0, 1).argmax(0).tolist()
        width = values.shape[1]
        assert made.best_as_published(maker, bias) == [
            [(place // width, place % width)] for place in aligned]
    told = several.another_neuron(maker)
    assert set(told) == {several.NORMED, several.BIASED} and all(0 <= each <= 1
                                                                 for each in told.values())


# --- who recognises them ---


def test_rows_hold_who_recognises_an_image(maker, images_of, judges):
    rows = judged.recognition_rows(images_of, judges)
    assert len(judges.all) == len(judges.architectures) == len(NAMES) - 1 and not judges.replicas
    own = rows[rows["condition"] == made.RANDOM].set_index("class")
    expected = recognised(maker.target, images_of.images[made.RANDOM], maker.classes)
    assert own["own"].tolist() == expected.double().tolist()
    assert own["replicas"].isna().all()
    assert np.array_equal(own["transfer"], own["architectures"])
    assert set(rows["condition"]) == {*made.CONDITIONS, made.OTHER}


def test_what_other_classes_images_are_taken_for():
    taken = judged.others_taken([np.array([0, 0, 2, -1]), np.array([1, 1, 1, 3])], 4)
    # class 0: image 1 of the first; class 1: images 0 and 2 of the second; three others each
    np.testing.assert_allclose(taken, np.array([1, 2, 0, 0]) / 2 / 3)
    assert np.isnan(judged.others_taken([], 4)).all()


def recognition(best, random, planted=None, seed=0, classes=CLASSES):
    """Rows in which conditions are recognised with these probabilities."""
    rng = np.random.default_rng(seed)
    shares = {made.BEST: best, made.RANDOM: random, made.OTHER: random, made.TWIN: random,
              made.PLANTED: best if planted is None else planted}
    parts = []
    for name, share in shares.items():
        own = (rng.random(classes) < share).astype(float)
        parts.append(pd.DataFrame({"class": np.arange(classes), "condition": name, "own": own,
                                   "transfer": own, "replicas": np.nan, "architectures": own,
                                   "high": 0.2}))
    return pd.concat(parts, ignore_index=True)


def test_an_effect_that_is_there_is_found_and_one_that_is_not_is_not():
    there = judged.effect_rows(recognition(0.95, 0.05, classes=40))
    assert set(with_verdict(there[there["control"] != made.PLANTED])["verdict"]) == {"agrees"}
    found = [with_verdict(judged.effect_rows(recognition(0.5, 0.5, seed=seed, classes=40)))
             for seed in range(20)]
    wrong = np.mean([each["verdict"] != "not shown" for each in found])
    assert wrong < 0.2  # 5 % nominally, of a percentile bootstrap over few classes a little more
    reversed_ = judged.effect_rows(recognition(0.05, 0.95, classes=40))
    own = reversed_[reversed_["control"] == made.RANDOM]
    assert set(with_verdict(own)["verdict"]) == {"contradicts"}


def test_rates_by_hand():
    rows = recognition(1.0, 0.0)
    rates = judged.rate_rows(rows)
    value = rates.set_index(["condition", "measure"])["value"]
    assert value[made.BEST, "own"] == 1 and value[made.RANDOM, "own"] == 0
    assert (made.BEST, "replicas") not in value
    assert set(rates["chance"]) == {1 / CLASSES}
    assert "100 %" in words.rates_finding(rates)


def test_steps_are_read_in_their_order(images_of, judges):
    steps = judged.step_rows(images_of, judges)
    assert steps["steps"].tolist() == [2, 4]
    assert steps["driven"].iloc[1] > steps["driven"].iloc[0]


def test_a_training_image_is_near_and_noise_is_far(study, images, maker, judges):
    near = judged.neighbours_of(study, NAMES[0], judges, images)
    assert near.words == judged.ARCHITECTURES
    train = study.train
    first = [int((train.labels == number).nonzero()[0, 0]) for number in range(10)]
    real = train.images[first].double()
    noise = 6 * torch.randn(real.shape, dtype=torch.float64,
                            generator=torch.Generator().manual_seed(0))
    rows = judged.near_rows(near, {made.BEST: real, made.RANDOM: noise})
    means = rows.groupby("condition").mean()
    assert means.loc[made.BEST, "plausible"] == 1 and means.loc[made.BEST, "alike"] == 1
    assert means.loc[made.RANDOM, "plausible"] < 0.5
    assert judged.near_effects(rows, made.RANDOM)["low"] > 0
    # planted null: the same images
    same = judged.near_rows(near, {made.BEST: real, made.RANDOM: real})
    assert judged.near_effects(same, made.RANDOM)["value"] == 0


# --- after the activation function ---


def neurons(start, reached, classes=12, seed=0):
    """Rows of neurons with these first values, whose image reaches this share of a gain of 1."""
    start, reached = np.asarray(start, float), np.asarray(reached, float)
    values = {"start": start, "before": start + 1, "after": start + reached}
    blank = torch.from_numpy(np.random.default_rng(seed).standard_normal((len(start), 1, 8, 8)))
    return after_gelu.neuron_rows(np.arange(len(start)) % classes, values, np.ones(len(start)),
                                  blank, blank)


@pytest.fixture(scope="module")
def low_failures():
    """Neurons of which those that begin below -1 fail, and what is told of them."""
    start = np.linspace(-3, 2, 48)
    rows = neurons(start, np.where(start < -1, 0.1, 1.0))
    return start, rows, after_gelu.prediction_row(rows)


def test_failures_that_begin_low_are_told_and_exchanged_ones_are_not(low_failures, monkeypatch):
    monkeypatch.setattr(after_gelu, "PERMUTATIONS", 200)
    start, rows, told = low_failures
    assert rows["failed"].equals(pd.Series(start < -1, name="failed"))
    assert not rows["failed_before"].any()
    assert told["value"] == pytest.approx(0.5) and told["low"] == pytest.approx(0.5)
    assert told["p"] < 0.01
    assert told["falling"] == 1 and told["falling_others"] == pytest.approx(
        np.mean((start >= -1) & (start < -0.7518)) / np.mean(start >= -1))
    assert after_gelu.failure_row(rows)["low"] > 0
    mixed = np.random.default_rng(1).permutation(np.where(start < -1, 0.1, 1.0))
    null = after_gelu.prediction_row(neurons(start, mixed))
    assert null["p"] > 0.05 and null["low"] < 0 < null["high"]
    quarters = after_gelu.quartile_rows(rows)
    assert quarters["quartile"].tolist() == list(after_gelu.QUARTILES)
    assert quarters["failed"].tolist() == [1, pytest.approx(7 / 12, abs=0.2), 0, 0]
    assert quarters["neurons"].tolist() == [12] * 4


def test_the_area_is_that_of_scikit_learn():
    rng = np.random.default_rng(3)
    for _ in range(5):
        values, flags = rng.integers(0, 9, 30).astype(float), rng.random(30) < 0.3
        assert after_gelu.area_below(values, flags) == pytest.approx(roc_auc_score(flags, -values))
    assert np.isnan(after_gelu.area_below(values, np.ones(30, bool)))


def test_failures_on_both_ways_cancel():
    start = np.zeros(24)
    rows = neurons(start, np.where(np.arange(24) % 2, 0.2, 5.0))
    found = after_gelu.failure_row(rows)
    assert found["after"] == found["before"] == 0.5 and found["value"] == 0
    assert found["low"] <= 0 <= found["high"]
    assert after_gelu.prediction_row(neurons(start, np.ones(24))) is None


def test_the_slope_of_one_token_is_that_of_the_activation_function(maker):
    """A neuron of the first block whose key reads a constant at every token."""
    start = maker.make(maker.neurons()[:1], steps=1).start
    objectives = [[(0, number)] for number in range(6)]
    images = start[:1].expand(6, *start.shape[1:])
    found = after_gelu.slope(maker, images, objectives)
    moved = images[:1].clone()
    for number, objective in enumerate(objectives):
        direction = torch.autograd.functional.jacobian(
            lambda image, own=objective: torch.stack(list(_values(maker, image, own))), moved)
        before, after = direction.flatten(1)
        expected = float((before @ after) / (before @ before))
        assert found[number] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def _values(maker, image, objective):
    from neuronpath_core.neurons.objectives import driven, goals_of

    for at in ("pre", "post"):
        yield driven(maker.draft, image, goals_of(maker.draft, [objective], at=at), 1, at)[0][0, 0]


def test_both_ways_are_made_for_the_best_and_for_a_low_one(maker):
    own = after_gelu.both_ways(maker, lows=3)
    assert len(own.rows) == 20 and own.before.shape == own.after.shape == (20, 1, 16, 16)
    start = maker.make(maker.neurons()[:1], steps=1).start.expand(10, -1, -1, -1)
    ranks = np.stack([maker.value(start, maker.neurons(1, rank)) for rank in (1, 2, 3)])
    np.testing.assert_allclose(own.rows["start"][10:], ranks.min(0), atol=1e-5)


# --- what black and white are ---


@pytest.mark.parametrize("files", [True, False])
def test_statistics_do_not_depend_on_how_files_are_normalised(files):
    shares = torch.rand(6, 3, 12, 12, dtype=torch.float64,
                        generator=torch.Generator().manual_seed(3))
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.25, 0.2, 0.1])
    seen = (shares - mean[:, None, None]) / std[:, None, None] if files else 2 * shares - 1
    images = object.__new__(FileImages) if files else None
    study = SimpleNamespace(
        train=images, batch=lambda *_: (seen, None),
        preprocessing=lambda _: {"mean": mean.tolist(), "std": std.tolist()})
    found = made.statistics_of(study, "small")
    wanted = image_statistics(2 * shares - 1)
    torch.testing.assert_close(found.colour, wanted.colour)
    torch.testing.assert_close(found.magnitude, wanted.magnitude)
    low, high = (-mean / std, (1 - mean) / std) if files else (-torch.ones(3), torch.ones(3))
    torch.testing.assert_close(found.low, low.double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(found.high, high.double(), rtol=1e-6, atol=0)


# --- several neurons, shared neurons ---


def tries(one, again, many, classes=40, seed=0):
    rng = np.random.default_rng(seed)
    shares = {several.ONE: one, several.AGAIN: again, several.MANY: many, several.SCORE: many,
              several.ONE_APART: again, several.MANY_APART: many}
    return pd.concat([pd.DataFrame({
        "class": np.arange(classes), "condition": name, "high": 0.1, "transfer": 0.0,
        "own": (rng.random(classes) < share).astype(float)}) for name, share in shares.items()],
        ignore_index=True)


def test_a_second_try_rescues_too_and_only_what_is_beyond_it_counts():
    """Planted failure: with equal chances in every try, several neurons recognise half of the
    classes that the first try failed; without the control that would be a rescue."""
    rows = tries(0.5, 0.5, 0.5)
    groups = several.group_rows(rows).set_index(["condition", "group"])
    assert groups.loc[(several.MANY, several.BAD), "own"] > 0.3
    null = [several.rescue_rows(tries(0.5, 0.5, 0.5, seed=seed)) for seed in range(20)]
    wrong = np.mean([with_verdict(each)["verdict"] != "not shown" for each in null])
    assert wrong < 0.2
    there = several.rescue_rows(tries(0.5, 0.5, 0.98)).set_index(["condition", "group"])
    assert there.loc[(several.MANY, several.BAD), "low"] > 0
    harm = several.rescue_rows(tries(0.5, 0.9, 0.05)).set_index(["condition", "group"])
    assert harm.loc[(several.MANY, several.GOOD), "high"] < 0


def test_groups_of_one_class_have_no_interval():
    rows = tries(0.5, 0.5, 0.5, classes=3)
    rows.loc[rows["condition"] == several.ONE, "own"] = [1, 0, 0]
    found = several.rescue_rows(rows)
    assert set(found["group"]) == {several.BAD} and set(found["n"]) == {2}


def test_failures_that_share_are_found_and_exchanged_ones_are_not():
    shared = np.array([3] * 12 + [0] * 12)
    there = several.sharing_row(shared, np.arange(24) < 12)
    assert there["value"] == pytest.approx(3 / 23) and there["p"] < 0.01
    assert there["value"] > there["chance"]
    null = several.sharing_row(shared, np.arange(24) % 2 == 0)
    assert null["value"] == 0 and null["p"] == 1 and null["failed"] == 12
    assert null["low"] < 0 < null["high"]
    uneven = np.arange(12) % 3
    own = several.sharing_row(np.array([*uneven, *uneven[::-1] // 2]), np.arange(24) < 12)
    draws = np.random.default_rng(1).integers(12, size=(2, 4000, 12))
    spread = (uneven[draws[0]].mean(1) - (uneven[::-1] // 2)[draws[1]].mean(1)) / 23
    assert own["low"] == pytest.approx(np.quantile(spread, 0.025), abs=0.004)
    assert own["high"] == pytest.approx(np.quantile(spread, 0.975), abs=0.004)
    alone = several.sharing_row(shared, np.arange(24) < 1)
    assert np.isnan(alone["low"]) and alone["value"] == pytest.approx(3 / 23 - 33 / 23**2)
    assert several.sharing_row(shared, np.ones(24, bool)) is None
    assert several.sharing_row(shared, np.zeros(24, bool)) is None


def test_variants_are_made_of_the_same_neurons(maker, images_of, judges):
    quick = replace(images_of, maker=replace(maker, steps=2))
    images = several.make_variants(quick, 3, 2)
    assert images[several.MANY_APART].shape == (10, 2, 1, 16, 16)
    torch.testing.assert_close(images[several.ONE][:, 0], images_of.images[made.BEST])
    rows = several.variant_rows(maker, judges, images)
    assert rows.groupby("condition")["class"].nunique().eq(10).all()
    gains = several.gain_rows(rows, {several.SCORE: several.MANY})
    assert gains["n"].tolist() == [10]
    driven = several.driven_rows(maker, images_of.images[made.BEST],
                                 judged.recognition_rows(images_of, judges).query(
                                     "condition == @made.BEST"))
    assert len(driven) == 5 and driven["before"].is_monotonic_decreasing
    assert driven["rank_after"].between(1, 10).all()


# --- in words ---


def named(table, **more):
    return pd.DataFrame(table).assign(data="digits", model="small", **more)


def test_claims_and_tables_from_planted_tables(low_failures):
    rows = recognition(0.95, 0.05, 1.0, classes=40)
    effects, rates = named(judged.effect_rows(rows)), named(judged.rate_rows(rows))
    _, own, told_of = low_failures
    failures, predictions = (named([each]) for each in (after_gelu.failure_row(own), told_of))
    variants = tries(0.5, 0.5, 0.98)
    rescues = named(several.rescue_rows(variants))
    gains = named(several.gain_rows(variants, {several.SCORE: several.ONE}))
    shared = named([several.sharing_row(np.array([3] * 12 + [0] * 12), np.arange(24) < 12)])
    near = named([{"value": 0.1, "low": 0.05, "high": 0.2, "n": 10}])
    made_of = verdicts.made_from(effects, near, failures, predictions, rescues, gains, shared, near)
    told = {claim.key: {each.verdict for each in claim.comparisons} for claim in made_of}
    for key in ("reclassified", "another class", "twin", "transfer", "plausible",
                "after activation", "first pre-activation", "rescues", "weights", "sharing",
                "phase"):
        assert told[key] == {"agrees"}, key
    assert told["harms"] == {"contradicts"}
    # copies of several neurons were planted to rescue, copies of one not
    diversity = next(claim for claim in made_of if claim.key == "diversity")
    assert {row.condition: row.verdict for row in diversity.comparisons} == {
        several.ONE_APART: "not shown", several.MANY_APART: "agrees"}
    assert len({claim.key for claim in made_of}) == len(made_of) == 14
    table = words.rate_table(rates)
    assert table.index.names == ["data", "model", "image of"]
    assert words.effect_table(effects).shape == (2, 4)
    assert "3 of" not in words.failure_table(failures, predictions).to_string()
    assert words.failure_table(failures, predictions.iloc[:0]).iloc[0, 3] == "–"
    assert len(words.quartile_table(named(after_gelu.quartile_rows(own)))) == 4
    assert len(words.group_table(named(several.group_rows(variants)))) == 18
    assert len(words.gain_table(rescues)) == len(rescues)
    assert words.sharing_table(shared)["share their neuron"].tolist() == [12]


def test_empty_tables_make_no_comparison():
    empty = pd.DataFrame(columns=["data", "model", "value", "low", "high", "n", "p", "chance",
                                  "measure", "control", "condition", "group"])
    made_of = verdicts.made_from(*[empty] * 8)
    assert not any(claim.comparisons for claim in made_of)


def test_a_gallery_has_the_images_and_the_marks_of_its_rows(study, images_of, judges):
    rows = judged.recognition_rows(images_of, judges).assign(model="small")
    shown = words.gallery_rows(images_of, study.train)
    assert list(shown) == ["training image", *words.ROWS]
    assert all(each.shape == (10, 16, 16, 1) for each in shown.values())
    marks = words.gallery_marks(rows, "small")
    assert set(marks["condition"]) == set(words.ROWS) and len(marks) == 30


def test_pictures_are_shown_from_black_to_white(maker):
    images = torch.tensor([-1.0, 0, 1, 5]).view(1, 1, 1, 4)
    shown = words.shown_images(images, maker.statistics)
    assert shown[0, 0, :, 0].tolist() == [1, 0.5, 0, 0]
