"""Tests of circuits: p-values by brute force, how often true hypotheses are rejected, planted
circuits that stand and planted failures of each test."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.circuits.circuit_tests import TESTS, circuit_tests
from neuronpath_core.circuits.independence import gaussian_kernel, hsic, independence, same_kernel
from neuronpath_core.circuits.masked_model import MaskedModel
from neuronpath_core.circuits.random_circuits import drawn_like
from neuronpath_core.circuits.rankings import neuron_mask
from neuronpath_core.circuits.score_tests import (
    equivalence,
    minimality,
    partial_necessity,
    sufficiency,
)
from neuronpath_core.models.planted import planted_model
from neuronpath_core.stats.tests import holm
from tests import helpers, twins

LEVEL = 0.05


def at_most_the_level(rejections, level=LEVEL):
    """Not more often than the level, but for chance: two standard errors."""
    rejections = np.asarray(rejections)
    return rejections.mean() <= level + 2 * (level * (1 - level) / len(rejections)) ** 0.5


# --- equivalence ---


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("count", [1, 4, 7])
def test_equivalence_by_enumeration(count, epsilon):
    """Every sequence of better and worse, with its probability at the border of the hypothesis."""
    def share(better):
        return abs(sum(better) / count - 0.5)

    for halves in range(2 * count + 1):  # ties are halves
        better, tie = divmod(halves, 2)
        difference = np.array([1.0] * better + [0.0] * tie + [-1.0] * (count - better - tie))
        found = equivalence(np.full(count, 5.0), 5 + difference, epsilon)
        expected = sum(math.prod(0.5 + epsilon if each else 0.5 - epsilon for each in sequence)
                       for sequence in itertools.product((0, 1), repeat=count)
                       if share(sequence) >= abs(halves / (2 * count) - 0.5) - 1e-12)
        assert found.p == pytest.approx(expected, abs=1e-12)
        assert found.statistic == pytest.approx(halves / (2 * count)) and found.n == count
        assert found.rejected == (found.p <= LEVEL) and found.passes == (not found.rejected)


def test_equivalence_without_a_difference_and_with_a_margin():
    scores = np.arange(30.0)
    assert equivalence(scores, scores).p == 1
    assert equivalence(scores, scores - 0.1).rejected  # however small, on all images
    assert equivalence(scores, scores + 0.1).rejected
    assert equivalence(scores, scores - 0.1, margin=0.11).p == 1
    assert equivalence(scores, scores - 0.1, margin=0.09).rejected


@pytest.mark.parametrize("share", [0.4, 0.5, 0.6])
def test_equivalence_rejects_no_more_often_than_it_may(share):
    rng = np.random.default_rng(1)
    rejected = [equivalence(np.zeros(40), np.where(rng.random(40) < share, 1.0, -1.0)).rejected
                for _ in range(1000)]
    assert at_most_the_level(rejected)
    if share != 0.5:  # at the border it is not idle
        assert np.mean(rejected) > 0.01
    # the planted failure: the circuit is the better one on 95 % of the images
    assert np.mean([equivalence(np.zeros(40), np.where(rng.random(40) < 0.95, 1.0, -1.0)).rejected
                    for _ in range(200)]) > 0.95


# --- independence ---


def slow_hsic(first, second):
    """The definition as sums over pairs of images."""
    count = len(first)
    means = [np.mean(row) for row in second]
    total = sum(first[i][j] * (second[i][j] - means[i] - means[j] + np.mean(means))
                for i in range(count) for j in range(count))
    return total / (count - 1) ** 2


def slow_kernel(values):
    pairs = list(itertools.combinations(range(len(values)), 2))
    distances = [math.dist(np.atleast_1d(values[i]), np.atleast_1d(values[j])) for i, j in pairs]
    width = np.median([each for each in distances if each > 0])
    return np.array([[math.exp(-math.dist(np.atleast_1d(one), np.atleast_1d(other)) ** 2
                               / (2 * width ** 2)) for other in values] for one in values])


def test_hsic_by_its_sums():
    rng = np.random.default_rng(2)
    first, second = rng.standard_normal(7), rng.standard_normal((7, 3))
    second[3] = second[4]
    kernels = gaussian_kernel(first), gaussian_kernel(second)
    np.testing.assert_allclose(kernels[0], slow_kernel(first), atol=1e-14)
    np.testing.assert_allclose(kernels[1], slow_kernel(second), atol=1e-14)
    assert hsic(*kernels) == pytest.approx(slow_hsic(*kernels), abs=1e-14)
    assert same_kernel([3, 1, 3]).tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    assert (gaussian_kernel([1.0, 1.001, 0.999], margin=0.01) == 1).all()


@pytest.mark.parametrize("labels", [False, True])
def test_independence_by_enumeration(labels):
    rng = np.random.default_rng(3)
    model = np.array([0, 0, 1, 1, 1]) if labels else rng.standard_normal(5)
    left = model + 0.3 * rng.standard_normal(5)
    kernel = same_kernel(model) if labels else slow_kernel(model)
    observed = slow_hsic(kernel, slow_kernel(left))
    every = [slow_hsic(kernel, slow_kernel(left[list(order)]))
             for order in itertools.permutations(range(5))]
    found = independence(model, left)  # 120 permutations are all there are
    assert found.statistic == pytest.approx(observed, abs=1e-14)
    assert found.p == pytest.approx(np.mean(np.array(every) >= observed - 1e-12), abs=1e-14)


def test_independence_by_permutations_counts_the_observed_one():
    rng = np.random.default_rng(4)
    model = rng.standard_normal(20)
    found = independence(model, model, permutations=99)
    assert found.p == pytest.approx(1 / 100) and found.rejected and not found.passes
    assert independence(model, model, permutations=99, seed=5) == found
    other = rng.standard_normal(20)
    assert (independence(model, other, 99, 1).p != independence(model, other, 99, 2).p)
    nothing = independence(model, 3 + 1e-12 * rng.standard_normal(20), margin=1e-9)
    assert nothing.p == 1 and nothing.passes
    assert independence(np.ones(20), other).p == 1


@pytest.mark.parametrize("labels", [False, True])
def test_independence_rejects_no_more_often_than_it_may(labels):
    rng = np.random.default_rng(5)
    rejected = []
    for seed in range(200):
        model = rng.integers(0, 3, 20) if labels else rng.standard_normal(20)
        # of unequal spread, which is no dependence
        rejected.append(independence(model, rng.exponential(size=(20, 2)), 99, seed).rejected)
    assert at_most_the_level(rejected) and np.mean(rejected) > 0.005
    # the planted failures: a dependence without any correlation, and a label that shows
    model = rng.integers(0, 3, 40) if labels else rng.standard_normal(40)
    left = (model == 1) + 0.2 * rng.standard_normal(40) if labels else model ** 2
    assert independence(model, left, 99).rejected


# --- minimality, sufficiency, partial necessity ---


def below(count, draws, share):
    """P(Bin(draws, share) <= count)."""
    return sum(math.comb(draws, k) * share ** k * (1 - share) ** (draws - k)
               for k in range(count + 1))


def test_minimality_by_hand():
    inflated = np.arange(20.0)
    changes = [30.0, 15.5, 14.0, -1.0]
    test, table = minimality(changes, inflated, 0.9)
    assert table["beats"].tolist() == [1.0, 0.8, 0.7, 0.0]  # 14 does not exceed 14
    p = [below(count, 20, 0.9) for count in (20, 16, 14, 0)]
    np.testing.assert_allclose(table["p"], p, atol=1e-12)
    adjusted = [1.0, 2 * p[1], 3 * p[2], 4 * p[3]]
    np.testing.assert_allclose(table["adjusted"], adjusted, atol=1e-12)
    assert test.p == table["adjusted"].min() and test.rejected and not test.passes
    assert test.statistic == 0 and test.n == 20
    few, _ = minimality(changes[:2], inflated, 0.9)
    assert few.passes and few.p == pytest.approx(2 * p[1])


def test_minimality_rejects_no_more_often_than_it_may_over_all_neurons():
    """Six neurons at the border: each beats exactly the share q of all random ones."""
    rng = np.random.default_rng(6)
    rejected, alone = [], []
    for _ in range(200):
        test, _ = minimality(np.full(6, 0.9), rng.random(100), 0.9)
        # independent draws for each, which is where a family errs most
        own = np.array([minimality([0.9], rng.random(100), 0.9)[0].p for _ in range(6)])
        rejected.append(test.rejected)
        alone.append([(own <= LEVEL).any(), (holm(own) <= LEVEL).any()])
    assert at_most_the_level(rejected)
    uncorrected, corrected = np.mean(alone, 0)
    assert at_most_the_level(np.array(alone)[:, 1]) and corrected < LEVEL + 0.02
    assert uncorrected > 0.1  # what the correction is for
    # the planted failure: one of six is as good as a random one
    assert np.mean([minimality([0.9] * 5 + [0.5], rng.random(100))[0].rejected
                    for _ in range(100)]) > 0.99


@pytest.mark.parametrize("test", [sufficiency, partial_necessity])
def test_better_than_random_by_hand(test):
    sign = -1 if test is sufficiency else 1
    others = sign * np.arange(30.0)
    for own, count in ((29.5, 30), (29.0, 29), (27.5, 28), (-1.0, 0)):
        found = test(sign * own, others)
        assert found.statistic == pytest.approx(count / 30) and found.n == 30
        expected = 1 - below(count - 1, 30, 0.9) if count else 1.0
        assert found.p == pytest.approx(expected, abs=1e-12)
        assert found.passes == found.rejected == (found.p <= LEVEL)
    assert test(sign * 29.5, others).passes
    # a tie is no win, also where rounding breaks it
    assert test(1.0, np.ones(30)).p == 1
    assert test(1.0, 1 + sign * -1e-12 * np.ones(30), rounding=1e-9).p == 1
    assert test(1.0, 1 + sign * -1e-12 * np.ones(30)).passes


@pytest.mark.parametrize("test", [sufficiency, partial_necessity])
def test_better_than_random_rejects_no_more_often_than_it_may(test):
    rng = np.random.default_rng(7)
    border = 0.1 if test is sufficiency else 0.9
    at_border = [test(border, rng.random(100)).rejected for _ in range(1000)]
    one_of_them = [test(rng.random(), rng.random(100)).rejected for _ in range(1000)]
    assert at_most_the_level(at_border) and at_most_the_level(one_of_them)
    assert np.mean(at_border) > 0.005 and np.mean(one_of_them) > 0.02


@pytest.mark.parametrize("removed", [False, True])
def test_random_paths_of_a_network_are_rarely_called_circuits(removed):
    """Random circuits are tested against others, drawn as the library draws them."""
    target, images, _ = helpers.network("cls", 601, batch=4)
    candidates, draws = 100, 29
    ranked = torch.rand(candidates, 3, 16, generator=torch.Generator().manual_seed(8)
                        ).argsort(-1)[..., :1]
    masks = torch.cat([neuron_mask(target, ranked),
                       *(neuron_mask(target, drawn_like(target, ranked, [0, draw]))
                         for draw in range(draws))])
    whole = MaskedModel.of(target, images.repeat(len(masks), 1, 1, 1),
                           torch.zeros(4 * len(masks), dtype=torch.int64))
    masks = masks.repeat_interleave(4, 0)
    full, found = (whole.measures(each)["logit_difference"].reshape(draws + 1, candidates, 4)
                   for each in (None, ~masks if removed else masks))
    apart = ((found - full) ** 2).mean(-1) ** 0.5
    test = partial_necessity if removed else sufficiency
    assert at_most_the_level([test(own, others).passes for own, *others in apart.T])


# --- circuits of networks ---


def planted(count=20, path=helpers.PLANTED):
    target = npc.TargetModel(helpers.planted_vit("cls"))
    images = helpers.small_batch(count, 6)[0].abs()
    labels = torch.full((count,), helpers.PLANTED_LABEL)
    return target, images, labels, torch.tensor([path])


def outcomes(*arguments, **settings):
    found = circuit_tests(*arguments, draws=30, **settings)
    assert tuple(found.tests) == TESTS and list(found.to_frame()["name"]) == list(TESTS)
    assert found.passes == all(test.passes for test in found.tests.values())
    return found, {name for name, test in found.tests.items() if not test.passes}


@pytest.mark.parametrize("measure", ["logit_difference", "probability"])
def test_a_planted_path_stands_every_test(measure):
    found, failed = outcomes(*planted(), measure=measure)
    assert not failed and found.passes
    assert found.tests["equivalence"].p == found.tests["independence"].p == 1
    assert found.neurons[["layer", "rank"]].values.tolist() == [[0, 0], [1, 0], [2, 0]]
    assert (found.neurons["beats"] == 1).all()


def test_a_random_path_fails():
    """It does nothing, which is neither what the model does nor more than other random ones do."""
    _, failed = outcomes(*planted(path=(5, 12, 8)))
    assert {"equivalence", "independence", "sufficiency", "partial necessity",
            "minimality"} == failed


def test_a_neuron_too_many_fails_minimality_alone():
    target, images, labels, path = planted()
    wider = torch.stack([path, (path + 1) % 16], -1)
    found, failed = outcomes(target, images, labels, wider)
    assert failed == {"minimality"}
    assert found.neurons.loc[found.neurons["adjusted"] <= LEVEL, "rank"].tolist() == [1, 1, 1]
    assert (found.neurons.loc[found.neurons["rank"] == 1, "change"] < 1e-12).all()


def test_a_missing_neuron_fails_equivalence_and_independence():
    """What is left still reads the image, so that its score goes with the model's."""
    first, *rest = helpers.PLANTED
    _, failed = outcomes(*planted(path=(first + 1, *rest)))
    assert {"equivalence", "independence", "minimality"} <= failed


@pytest.mark.parametrize("kind", ["chain", "redundant"])
def test_paths_of_each_image_in_a_planted_network(kind):
    """Their own class's; all other neurons have small weights, whose part is within a margin."""
    network = planted_model(kind, n_images=12, blocks=4)
    arguments = network.target, network.images, network.labels
    small = 0.3  # logits, a tenth of what is to be carried
    found, failed = outcomes(*arguments, network.neurons, margin=small)
    assert not failed
    assert found.neurons["change"].min() > 3 * small
    if kind == "chain":  # where all that is left lies within the margin
        assert found.tests["independence"].p == 1
    others = drawn_like(network.target, network.neurons, [9])
    _, failed = outcomes(*arguments, others, margin=small)
    assert {"equivalence", "sufficiency", "partial necessity"} <= failed


def test_without_a_margin_a_circuit_that_is_a_little_better_on_all_images_is_none():
    network = planted_model("chain", n_images=20)
    arguments = network.target, network.images, network.labels, network.neurons
    strict, wide = (circuit_tests(*arguments, draws=1, margin=margin).tests["equivalence"]
                    for margin in (0.0, 0.3))
    assert strict.statistic > 0.9 and strict.rejected
    assert wide.statistic == 0.5 and wide.passes


def test_half_of_a_circuit_fails_where_the_other_half_backs_it_up():
    """Better than random neurons, which the flexible tests ask, and minimal as far as it goes; but
    what is left does what it does."""
    network = planted_model("redundant", n_images=8, blocks=3)
    arguments = network.target, network.images, network.labels
    _, failed = outcomes(*arguments, network.neurons[..., :1], margin=0.3)
    assert failed == {"equivalence", "independence"}
    _, failed = outcomes(*arguments, network.neurons, margin=0.3)
    assert not failed


def test_changes_and_distances_are_those_of_edits_written_by_hand():
    target, images, labels = helpers.network("cls", 614, batch=3)
    path = torch.tensor([[2, 9, 4], [2, 9, 4], [7, 0, 15]])
    found = circuit_tests(target, images, labels, path, draws=6)

    def scores(edited):
        """``edited(row)``: neurons of each block that are removed."""
        differences = []
        for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            with torch.no_grad():
                clean = target(image[None])[0]
            rival = max((c for c in range(5) if c != label), key=lambda c: float(clean[c]))
            logits = twins.edited_logits(target.model, "cls", image, edited(row), 0.0)
            differences.append(float(logits[label] - logits[rival]))
        return differences

    def all_but(kept):
        return [[neuron for neuron in range(16) if neuron not in own] for own in kept]

    def apart(one, other):
        return math.sqrt(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) / 3)

    def circuit(row, drawn=None, less=None, added=None):
        """The circuit's neurons by block, without that of one block, with those of another."""
        own = [[int(neuron)] for neuron in (path if drawn is None else drawn)[row]]
        if less is not None:
            own[less] = []
        if added is not None:
            own = [one + other for one, other in zip(own, added[row], strict=True)]
        return own

    full = scores(lambda row: [[], [], []])
    kept = scores(lambda row: all_but(circuit(row)))
    left = scores(circuit)
    inflated, close, gone = [], [], []
    for draw in range(6):
        extra = drawn_like(target, path[..., None], [0, draw, 1], outside=True).tolist()
        less = [[[] if block == draw % 3 else own for block, own in enumerate(row)]
                for row in extra]
        inflated.append(apart(scores(lambda row, e=extra: all_but(circuit(row, added=e))),
                              scores(lambda row, e=less: all_but(circuit(row, added=e)))))
        drawn = drawn_like(target, path[..., None], [0, draw, 0])[..., 0]
        close.append(apart(full, scores(lambda row, d=drawn: all_but(circuit(row, d)))))
        gone.append(apart(full, scores(lambda row, d=drawn: circuit(row, d))))
    for layer, (change, beats) in enumerate(found.neurons[["change", "beats"]].values):
        less = scores(lambda row, layer=layer: all_but(circuit(row, less=layer)))
        assert change == pytest.approx(apart(kept, less), abs=1e-12)
        assert beats == np.mean([change > other for other in inflated])
    assert 0 < found.neurons["beats"].mean() < 1
    better = [one > other for one, other in zip(kept, full, strict=True)]
    assert found.tests["equivalence"].statistic == pytest.approx(sum(better) / 3)
    expected = independence(np.array(full), np.array(left))
    assert found.tests["independence"].p == pytest.approx(expected.p)
    beaten = {"sufficiency": [apart(full, kept) < other for other in close],
              "partial necessity": [apart(full, left) > other for other in gone]}
    for name, won in beaten.items():
        assert found.tests[name].statistic == np.mean(won)
        assert 0 < np.mean(won) < 1, name


def test_replaced_by_its_own_value_nothing_is_a_circuit():
    """Then whatever is kept does what the model does, and so does what is left."""
    target, images, labels, path = planted(6)
    values = npc.read_activations(target, images)
    _, failed = outcomes(target, images, labels, path, values=values)
    assert failed == {"independence", "minimality", "sufficiency", "partial necessity"}


# --- what is drawn ---


def test_random_circuits_are_drawn_by_circuit():
    target = npc.TargetModel(helpers.small_vit(621))
    own = torch.tensor([[[1, 2], [3, 4], [5, 6]], [[2, 1], [4, 3], [6, 5]], [[1, 2], [3, 4], [5, 7]]])
    found = drawn_like(target, own, [3])
    assert found.shape == own.shape and torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(drawn_like(target, own[1:], [3]), found[1:])
    assert not torch.equal(drawn_like(target, own, [4]), found)
    counts = np.zeros(16)
    for seed in range(200):
        drawn = drawn_like(target, own[:1], [seed])
        assert all(len(set(row)) == 2 for row in drawn[0].tolist())
        counts += np.bincount(drawn.flatten(), minlength=16)
        added = drawn_like(target, own[:1], [seed], outside=True)
        assert added.shape == (1, 3, 1)
        assert not any(int(one) in row for one, row in zip(added[0], own[0].tolist(),
                                                           strict=True))
    assert np.abs(counts - 75).max() < 5 * 75 ** 0.5  # uniform: 1200 draws of 16
    every = torch.arange(16).expand(1, 3, 16)
    helpers.refused(lambda: drawn_like(target, every, [0], outside=True), "block 1",
                    "leave one out")


def test_seeds_and_chunks(monkeypatch):
    target, images, labels = helpers.network("avg", 631, batch=4)
    path = torch.tensor([[2, 9, 4]])
    first = circuit_tests(target, images, labels, path, draws=5)
    again = circuit_tests(target, images, labels, path.expand(4, -1), draws=5)
    assert first.tests == again.tests
    pd.testing.assert_frame_equal(first.neurons, again.neurons)
    monkeypatch.setattr("neuronpath_core.circuits.masked_model.images_at_once", lambda *_: 3)
    parts = circuit_tests(target, images, labels, path, draws=5)
    np.testing.assert_allclose(parts.neurons["change"], first.neurons["change"], atol=1e-12)
    other = circuit_tests(target, images, labels, path, draws=5, seed=1)
    np.testing.assert_allclose(other.neurons["change"], first.neurons["change"], atol=1e-12)
    assert [test.statistic for test in other.tests.values()] != [
        test.statistic for test in first.tests.values()]


def test_single_precision_reaches_the_same_verdicts():
    target, images, labels, path = planted()
    single = target.in_dtype(torch.float32)
    _, failed = outcomes(single, images.float(), labels, path)
    assert not failed
    _, failed = outcomes(single, images.float(), labels, (path + 1) % 16)
    assert len(failed) == 5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu():
    target, images, labels, path = planted()
    expected = circuit_tests(target, images, labels, path, draws=5)
    target = npc.TargetModel(target.model.cuda())
    found = circuit_tests(target, images.cuda(), labels.cuda(), path.cuda(), draws=5)
    np.testing.assert_allclose(found.neurons["change"], expected.neurons["change"], atol=1e-10)


# --- what is refused ---


def test_bad_input_is_refused():
    target, images, labels, path = planted(4)

    def run(neurons=path, **settings):
        return lambda: circuit_tests(target, images, labels, neurons, **{"draws": 1} | settings)

    for name, bad, words in (
            ("measure", "accuracy", "logit_difference, probability"), ("measure", ["x"], "measure"),
            ("draws", 0, "draws must be"), ("draws", 10**20, "1..100000"), ("draws", 1.5, "draws must be"),
            ("seed", -1, "seed must be"), ("margin", -0.1, "margin must be"),
            ("epsilon", 0.5, "epsilon must be"), ("quantile", 1.0, "quantile must be"),
            ("level", 0, "level must be"), ("values", "mean", "values")):
        helpers.refused(run(**{name: bad}), words)
    helpers.refused(run(torch.zeros(2, 3, dtype=torch.int64)), "one path an image")
    helpers.refused(run(path.double()), "int64")
    helpers.refused(run(torch.arange(16).expand(1, 3, 16)), "leave one out")
    helpers.refused(lambda: circuit_tests(target.model, images, labels, path), "TargetModel")
    helpers.refused(lambda: circuit_tests(target, images[:2], labels[:2], path), "least three")
    scores = np.arange(4.0)
    for bad in (scores[:3], scores[None], scores * np.nan):
        helpers.refused(lambda bad=bad: equivalence(scores, bad), "accepted")
    for bad in (scores[:3], scores * np.nan, np.zeros((4, 1, 1))):
        helpers.refused(lambda bad=bad: independence(scores, bad), "accepted")
    helpers.refused(lambda: independence(scores, scores, permutations=0), "permutations must be")
    for bad in ([], [np.nan], np.ones((2, 2))):
        helpers.refused(lambda bad=bad: minimality(bad, [1.0]), "accepted")
        helpers.refused(lambda bad=bad: sufficiency(1.0, bad), "accepted")
    helpers.refused(lambda: partial_necessity(np.inf, [1.0]), "accepted")
