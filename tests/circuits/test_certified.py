"""Certified class paths: votes by enumeration of all subsets, radii by enumeration of all changes and of
all rules, and each check seen to fail on a planted error."""

import functools
import itertools
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from neuronpath_core.circuits import certified, certified_classes, radii, votes
from neuronpath_core.circuits.certified import certify
from neuronpath_core.circuits.certified_classes import (
    certified_mask,
    certified_table,
    certify_classes,
    shuffled_certificates,
    split_agreement,
)
from neuronpath_core.circuits.radii import ENDLESS, certified_radius, largest_radius, plain_radius
from neuronpath_core.circuits.votes import exact_votes, sampled_votes
from tests import helpers

KEEPS = (0.05, 0.1, 0.2, 0.3, 0.45)


# --- slow twins, which share nothing with the module ---


def chosen(images, top):
    """The neurons that a list of images chooses, in a set: more images than all but ``top - 1`` others."""
    counts = {neuron: images.count(neuron) for neuron in images}
    return {neuron for neuron in counts
            if sum(counts[other] >= counts[neuron] for other in counts if other != neuron) < top}


def vote(images, neuron, keep, top=1):
    """The probability over all subsets, one by one."""
    total = 0.0
    for kept in itertools.product([False, True], repeat=len(images)):
        subset = [image for image, stays in zip(images, kept, strict=True) if stays]
        if neuron in chosen(subset, top):
            total += keep ** len(subset) * (1 - keep) ** (len(images) - len(subset))
    return total


def changes(images, radius, edits, others):
    """Every multiset of images that at most ``radius`` edits lead to; new ones have any neuron of ``others``."""
    found = set()
    removed = range(1 if edits == "add" else radius + 1)
    added = range(1 if edits == "remove" else radius + 1)
    for gone, new in itertools.product(removed, added):
        for left in itertools.combinations(images, max(len(images) - gone, 0)):
            for more in itertools.combinations_with_replacement(others, new):
                found.add(tuple(sorted((*left, *more))))
    return found


# --- votes ---


@pytest.mark.each_value
@pytest.mark.parametrize("top", [1, 2, 3])
@pytest.mark.parametrize("images", [
    [5], [5, 5], [5, 6], [1, 1, 1, 2, 2, 3], [0, 0, 0, 0, 1, 1, 2, 2, 3, 4], [4] * 7 + [9] * 3 + [2] * 2,
    list(range(8)), [3, 1, 3, 1, 3, 1, 2, 2, 0]])
def test_votes_are_those_of_all_subsets(images, top):
    for keep in (0.2, 0.5, 0.9):
        seen, votes = exact_votes(np.array(images), keep, top)
        assert seen.tolist() == sorted(set(images))
        for neuron, value in zip(seen.tolist(), votes, strict=True):
            assert value == pytest.approx(vote(images, neuron, keep, top), abs=radii.ROUNDING)


def test_votes_of_many_images_are_those_of_all_counts():
    """In whole fractions, over every combination of counts; 8,190 of them, with images that no enumeration of
    subsets would reach."""
    sizes, keep = (29, 12, 20), Fraction(1, 5)
    columns = [[stats_pmf(size, count, keep) for count in range(size + 1)] for size in sizes]
    exact = [Fraction(0)] * 3
    for counts in itertools.product(*(range(size + 1) for size in sizes)):
        for own in range(3):
            if counts[own] > max(count for other, count in enumerate(counts) if other != own):
                exact[own] += columns[0][counts[0]] * columns[1][counts[1]] * columns[2][counts[2]]
    images = np.repeat([0, 1, 2], sizes)
    np.testing.assert_allclose(exact_votes(images, 0.2)[1], [float(value) for value in exact], rtol=0,
                               atol=radii.ROUNDING)


def stats_pmf(size, count, keep):
    ways = Fraction(1)
    for number in range(count):
        ways = ways * (size - number) / (number + 1)
    return ways * keep ** count * (1 - keep) ** (size - count)


def test_votes_depend_on_nothing_but_the_images():
    """Neither on their order nor on the neurons' numbers: a tie is nobody's."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 5, 20)
    seen, votes = exact_votes(images, 0.3, 2)
    np.testing.assert_array_equal(exact_votes(rng.permutation(images), 0.3, 2)[1], votes)
    renamed = rng.permutation(5)
    again = dict(zip(*(each.tolist() for each in exact_votes(renamed[images], 0.3, 2)), strict=True))
    assert [again[renamed[neuron]] for neuron in seen] == votes.tolist()
    tied = exact_votes(np.array([1, 2, 1, 2]), 0.3)[1]
    assert tied[0] == tied[1] < 0.5


@pytest.mark.parametrize("top", [1, 2])
def test_samples_count_what_they_choose(top, monkeypatch):
    """With the draws replaced by every subset once, the samples are the enumeration."""
    images = [[1, 7], [1, 8], [2, 7], [3, 7], [1, 9], [2, 9]]
    subsets = np.array(list(itertools.product([0.9, 0.1], repeat=6)))

    class Every:
        def random(self, shape):
            assert shape == subsets.shape
            return subsets

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Every())
    found = sampled_votes(np.array(images), 0.5, 64, top)
    for block, (seen, counts) in enumerate(found):
        column = [image[block] for image in images]
        for neuron, count in zip(seen.tolist(), counts, strict=True):
            assert count == round(64 * vote(column, neuron, 0.5, top))


def test_samples_are_seeded_and_bounded_at_a_time(monkeypatch):
    paths = np.random.default_rng(1).integers(0, 3, (9, 2))
    first = sampled_votes(paths, 0.4, 1000, seed=4)
    again = sampled_votes(paths, 0.4, 1000, seed=4)
    other = sampled_votes(paths, 0.4, 1000, seed=5)
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a[1], b[1]) for a, b in zip(first, other, strict=True))
    monkeypatch.setattr(votes, "SAMPLES_AT_ONCE", 7)  # the draws of one generator, in other portions
    parts = sampled_votes(paths, 0.4, 1000, seed=4)
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(first, parts, strict=True))


def missed(paths, alpha, seeds, adjusted=True):
    """In how many of the seeds any bound of any neuron misses the exact vote."""
    exact = np.concatenate([exact_votes(column, 0.3)[1] for column in paths.T])
    level, count = alpha if adjusted else alpha * len(exact), 0
    for seed in range(seeds):
        bounds = certified._with_bounds(paths, 0.3, 1, 200, level, seed)
        low, high = (np.concatenate([block[side] for block in bounds]) for side in (2, 3))
        count += bool(((low > exact) | (high < exact)).any())
    return count


def test_bounds_hold_the_exact_vote_as_often_as_they_say():
    paths = np.random.default_rng(2).integers(0, 3, (12, 5))
    count = missed(paths, 0.06, 400)
    assert stats.binomtest(count, 400, 0.06, alternative="greater").pvalue > 0.001
    # the control: bounds that are each at the level of all together miss far too often
    wrong = missed(paths, 0.06, 400, adjusted=False)
    assert stats.binomtest(wrong, 400, 0.06, alternative="greater").pvalue < 1e-6


def test_bounds_are_those_of_clopper_and_pearson():
    paths = np.array([[1, 1], [1, 2], [2, 3], [1, 1]])
    table = certify(paths, keep=0.3, radius=0, samples=500, alpha=0.02).table
    level = 0.02 / 5  # five neurons in two blocks
    for row in table.to_dict("records"):
        interval = stats.binomtest(round(row["vote"] * 500), 500).proportion_ci(1 - level, "exact")
        assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high), abs=1e-12)


# --- radii ---


def all_rules():
    """Every function of the subsets of four images, as ``(rule, subset)``: 65,536 of them."""
    numbers = np.arange(2 ** 16, dtype=np.uint32)
    return ((numbers[:, None] >> np.arange(16, dtype=np.uint32)) & 1).astype(np.float32)


def probabilities(images, keep):
    """Of each of the 16 subsets of four images, that it is what is kept of ``images``."""
    held = np.zeros(16)
    for subset in range(16):
        members = {place for place in range(4) if subset >> place & 1}
        if members <= set(images):
            held[subset] = keep ** len(members) * (1 - keep) ** (len(images) - len(members))
    return held


@functools.cache
def votes_of_rules(keep):
    """By set of images the votes of all rules."""
    rules = all_rules()
    sets = [frozenset(each) for size in range(5) for each in itertools.combinations(range(4), size)]
    return {each: np.clip(rules @ probabilities(each, keep), 0, 1) for each in sets}


def broken(keep, edits, radius_of):
    """How many pairs of a rule and a change there are in which a vote above 1/2 does not stay there though the
    change is within the radius that is claimed; and in which it does not and the change is by one edit more."""
    votes, failures, tight = votes_of_rules(keep), 0, 0
    for first, before in votes.items():
        radius = radius_of(before)
        for second, after in votes.items():
            gone, new = len(first - second), len(second - first)
            if edits == "add" and gone or edits == "remove" and new:
                continue
            fell = (radius >= 0) & (after <= 0.5)
            failures += int((fell & (radius >= max(gone, new))).sum())
            tight += int((fell & (radius + 1 == max(gone, new))).sum())
    return failures, tight


@pytest.mark.parametrize(("keep", "edits"), [(0.25, "any"), (0.2, "any"), (0.3, "any"), (0.2, "add"), (0.3, "add"),
                                             (0.3, "remove"), (0.5, "remove"), (0.7, "remove")])
def test_no_rule_at_all_moves_a_vote_further_than_its_radius(keep, edits):
    """Every rule that there is for up to four images, every change from any of their sets to any other. For some
    the next larger radius would be wrong, so that the enumeration would notice one."""
    failures, tight = broken(keep, edits, lambda votes: certified_radius(votes, keep, edits))
    assert failures == 0 and tight > 0


@pytest.mark.parametrize("wrong", [
    lambda vote, kept, radius: kept ** radius * vote > 0.5,  # of "add", for changes of any kind
    lambda vote, kept, radius: kept ** radius > 2 * (1 - vote),  # of "remove"
    lambda vote, kept, radius: kept ** (radius / 2) > 1.5 - vote,  # half of each edit
    lambda vote, kept, radius: kept ** radius >= 1.4 - vote])  # a little too much
def test_a_wrong_formula_is_noticed(wrong):
    """The controls: what would hold if an edit were something else, or the algebra were."""
    def radius_of(votes):
        holds = np.stack([wrong(votes, 0.7, radius) & (votes > 0.5) for radius in range(5)])
        return holds.cumprod(0).sum(0) - 1

    assert broken(0.3, "any", radius_of)[0] > 0


def test_radii_are_the_largest_that_the_condition_allows():
    """By trying one after the other."""
    conditions = {"any": lambda vote, left: left > 1.5 - vote, "add": lambda vote, left: left * vote > 0.5,
                  "remove": lambda vote, left: left > 2 * (1 - vote)}
    for keep, edits in itertools.product(KEEPS, conditions):
        votes = np.linspace(0.013, 0.9993, 301)
        found = certified_radius(votes, keep, edits)
        for value, radius in zip(votes, found, strict=True):
            tried = -1
            while value > 0.5 and conditions[edits](value, (1 - keep) ** (tried + 1)):
                tried += 1
            assert radius == tried


def test_radii_at_their_ends():
    assert [largest_radius(keep) for keep in (0.05, 0.1, 0.2, 0.3, 0.5, 0.9)] == [13, 6, 3, 1, 0, 0]
    assert largest_radius(0.2, "remove") == ENDLESS and certified_radius(0.5, 0.2) == -1
    assert certified_radius([1.0, 0.0], 0.2, "remove").tolist() == [ENDLESS, -1]
    # 1 - keep squared is exactly what the vote needs: equal is not more
    assert certified_radius(1.5 - 0.9 ** 2, 0.1) == 1
    for edits in radii.NEEDED:  # a better vote never has a smaller radius
        assert (np.diff(certified_radius(np.linspace(0, 0.999, 500), 0.1, edits)) >= 0).all()
    helpers.refused(lambda: certified_radius(1.1, 0.2), "outside 0..1")
    helpers.refused(lambda: certified_radius(np.nan, 0.2), "outside 0..1")
    helpers.refused(lambda: certified_radius(0.9, 1), "keep must be a number between 0 and 1")
    helpers.refused(lambda: certified_radius(0.9, 0.2, "swap"), "unknown edits 'swap'", "any, add, remove")


# --- certificates against every adversary ---


def fallen(images, neurons, radius, keep, edits, inside, top=1):
    """Whether any change of at most ``radius`` edits turns any of these neurons' votes over."""
    others = sorted({*images, 98, 99})
    for changed in changes(images, radius, edits, others):
        for neuron in neurons:
            if (vote(list(changed), neuron, keep, top) > 0.5) != inside:
                return True
    return False


@pytest.mark.parametrize(("images", "keep", "edits", "radius", "top"), [
    ([4] * 9, 0.25, "any", 1, 1), ([4] * 8 + [5], 0.28, "any", 1, 1), ([4] * 7 + [5, 5], 0.29, "add", 1, 1),
    ([4] * 8 + [5, 6], 0.3, "remove", 2, 1), ([4] * 7 + [5], 0.6, "remove", 2, 1),
    ([4] * 5 + [5] * 4, 0.29, "any", 1, 2), ([1, 2, 3, 4, 5], 0.2, "any", 2, 1)])
def test_no_adversary_turns_a_certified_vote(images, keep, edits, radius, top):
    """Every way to remove and add so many images, to neurons that are there and to new ones."""
    path = certify(np.array(images)[:, None], keep=keep, edits=edits, radius=radius, top=top)
    out = path.table.loc[path.table["decision"] == "out", "neuron"].tolist()
    assert path.neurons[0] or out
    assert not fallen(images, path.neurons[0], radius, keep, edits, True, top)
    assert not fallen(images, [*out, 99], radius, keep, edits, False, top)


def test_an_adversary_finds_a_certificate_that_claims_too_much():
    """The control: a neuron that is certified for one edit is turned by more, and the search sees it."""
    images = [4] * 7
    table = certify(np.array(images)[:, None], keep=0.29).table
    assert table["decision"].tolist() == ["in"] and table["radius"].tolist() == [1]
    assert not fallen(images, [4], 1, 0.29, "any", True)
    assert fallen(images, [4], 4, 0.29, "any", True)
    assert fallen(images, [99], 5, 0.29, "any", False)


@pytest.mark.parametrize("edits", radii.NEEDED)
@pytest.mark.parametrize("top", [1, 2])
def test_the_plain_votes_radius_is_that_of_all_changes(edits, top):
    rng, several = np.random.default_rng(3), set()
    for _ in range(20):
        images = rng.choice(4, rng.integers(1, 8), p=[0.6, 0.2, 0.1, 0.1]).tolist()
        seen = sorted(set(images))
        for neuron, radius in zip(seen, plain_radius(np.array(images), top, edits).tolist(), strict=True):
            if neuron not in chosen(images, top):
                assert radius == -1
                continue
            others = [*seen, 98, 99]
            tried = 0
            while tried < 5 and all(neuron in chosen(list(each), top)
                                    for each in changes(images, tried + 1, edits, others)):
                tried += 1
            assert radius == tried or radius >= tried == 5
            several.add(radius)
    assert several >= {0, 1}


# --- the table ---


def test_a_certificate_says_what_its_bounds_say():
    rng = np.random.default_rng(4)
    paths = np.where(rng.random((25, 3)) < [0.9, 0.45, 0.1], 7, rng.integers(0, 6, (25, 3)))
    for samples in (None, 2000):
        path = certify(torch.from_numpy(paths), samples=samples)
        table = path.to_frame()
        assert list(table.columns) == ["block", "neuron", "count", "vote", "low", "high", "decision", "radius",
                                       "plain_radius"]
        for row in table.to_dict("records"):
            column = paths[:, row["block"] - 1]
            assert row["count"] == (column == row["neuron"]).sum()
            assert row["low"] <= row["vote"] <= row["high"]
            inside, outside = certified_radius([row["low"], 1 - row["high"]], 0.2)
            expected = "in" if inside >= 1 else "out" if outside >= 1 else "abstained"
            assert row["decision"] == expected and row["radius"] == max(inside, outside)
        assert path.blocks == 3 and path.images == 25 and path.radius == 1
        for block in range(3):
            rows = table[table["block"] == block + 1]
            assert rows["neuron"].tolist() == sorted(set(paths[:, block].tolist()))
            assert path.neurons[block] == rows.loc[rows["decision"] == "in", "neuron"].tolist()
            assert path.abstained[block] == rows.loc[rows["decision"] == "abstained", "neuron"].tolist()
            assert path.votes[block] == dict(zip(rows["neuron"], rows["vote"], strict=True))
        table.loc[:, "decision"] = "in"
        assert not (path.table["decision"] == "in").all()  # a copy
    assert certify(paths).neurons[0] == [7] and certify(paths).neurons[2] == []


def test_more_edits_certify_less_and_fewer_are_part_of_more():
    rng = np.random.default_rng(5)
    paths = np.where(rng.random((40, 12)) < np.linspace(0.2, 1, 12), 7, rng.integers(0, 9, (40, 12)))
    sets = [{(block, neuron) for block, own in enumerate(certify(paths, radius=radius).neurons) for neuron in own}
            for radius in range(4)]
    assert sets[0] >= sets[1] >= sets[2] >= sets[3] and len(sets[0]) > len(sets[3]) > 0


@pytest.mark.parametrize("paths", [
    np.zeros((0, 3), int), np.zeros((3, 0), int), np.zeros((3, 2, 1), int), np.zeros((3, 2)), np.full((3, 2), -1),
    np.zeros(3, int), [[1, 2]], "paths", None])
def test_paths_of_another_form_are_refused(paths):
    helpers.refused(lambda: certify(paths), "paths must be whole numbers", "one neuron a block")


def test_settings_outside_their_range_are_refused():
    paths = np.ones((10, 2), int)
    for keep in (0, 1, -0.1, "half", float("nan"), None):
        helpers.refused(lambda keep=keep: certify(paths, keep=keep), "keep must be a number between 0 and 1")
    for name, values in {"radius": (-1, 1.0, True, None), "top": (0, "1", None), "samples": (0, 2.5)}.items():
        for value in values:
            helpers.refused(lambda name=name, value=value: certify(paths, **{name: value}),
                            f"{name} must be a whole number")
    for alpha in (0, 1, "5%"):
        helpers.refused(lambda alpha=alpha: certify(paths, alpha=alpha), "alpha must be a number between 0 and 1")
    helpers.refused(lambda: certify(paths, edits="all"), "unknown edits 'all'")
    helpers.refused(lambda: certify(paths, keep=0.5), "no vote can stand 1 edits", "a radius of at most 0")
    helpers.refused(lambda: certify(paths, edits="remove", radius=11), "at most 10")
    assert certify(paths, keep=0.5, radius=0).neurons == [[1], [1]]


# --- of several classes ---


def planted(classes=4, images=30, layers=5, share=0.8, seed=6, neurons=64):
    """Paths that go through their class's neuron with probability ``share``, else through a random one."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), images)
    own = 10 * labels[:, None] + np.arange(layers)
    return np.where(rng.random((len(labels), layers)) < share, own, rng.integers(0, neurons, own.shape)), labels


def test_planted_class_paths_are_certified_and_random_ones_are_not():
    paths, labels = planted()
    for samples in (None, 1000):
        found = certify_classes(paths, labels, radius=2, samples=samples)
        assert {label: path.neurons for label, path in found.items()} == {
            label: [[10 * label + layer] for layer in range(5)] for label in range(4)}
        random = certify_classes(planted(share=0)[0], labels, radius=0, samples=samples)
        assert not any(itertools.chain.from_iterable(path.neurons[layer] for path in random.values()
                                                     for layer in range(5)))
    assert certify_classes(paths, labels, alpha=0.04)[2].alpha == 0.01  # a part for each class


def test_classes_are_certified_by_their_own_images():
    paths, labels = planted()
    order = np.random.default_rng(7).permutation(len(labels))
    found = certify_classes(torch.from_numpy(paths[order]), torch.from_numpy(labels[order]))
    for label in range(4):
        alone = certify(paths[labels == label])
        assert found[label].table.equals(alone.table)
    helpers.refused(lambda: certify_classes(paths, labels[1:]), "one for each path")
    helpers.refused(lambda: certify_classes(paths, labels * 1.0), "whole numbers")


def test_a_table_counts_decisions():
    paths, labels = planted(share=0.5)
    found = certify_classes(paths, labels)
    table = certified_table(found)
    assert len(table) == 20
    for row in table.to_dict("records"):
        own = found[row["label"]].table
        own = own[own["block"] == row["block"]]
        assert row["seen"] == len(own) == row["certified"] + row["abstained"] + row["out"]
        inside = own[own["decision"] == "in"]
        assert row["certified"] == len(inside)
        for name in ("radius", "plain_radius"):
            expected = inside[name].mean() if len(inside) else np.nan
            assert row[name] == pytest.approx(expected, nan_ok=True)
    assert table["certified"].sum() > 0 and table["abstained"].sum() > 0


def test_a_mask_has_each_images_class_and_is_fit_for_an_edit():
    paths, labels = planted()
    found = certify_classes(paths, labels)
    held_out = np.array([2, 0, 3, 2])
    mask = certified_mask(found, torch.from_numpy(held_out), 64)
    assert mask.dtype == bool and mask.shape == (4, 5, 64)
    for image, label in enumerate(held_out):
        assert np.argwhere(mask[image]).tolist() == [[layer, 10 * label + layer] for layer in range(5)]
    helpers.refused(lambda: certified_mask(found, np.array([9]), 64), "class 9 has no certificate")
    helpers.refused(lambda: certified_mask(found, held_out, 10), "outside a layer of 10")


def test_shuffled_labels_certify_next_to_nothing():
    paths, labels = planted()
    found = shuffled_certificates(paths, labels, permutations=19)
    assert found["certified"] == 1 and found["shuffled"] < 0.05 and found["p"] == 1 / 20
    assert shuffled_certificates(paths, labels, permutations=19) == found
    # what all classes share is certified of made-up ones too, and says nothing about the classes
    shared, _ = planted()
    shared[:, 0] = 7
    common = shuffled_certificates(shared, labels, permutations=19)
    assert common["shuffled"] >= 0.2
    nothing = shuffled_certificates(np.full_like(paths, 7), labels, permutations=19)
    assert nothing["certified"] == nothing["shuffled"] == 1 and nothing["p"] == 1  # the control that must fail


@pytest.mark.parametrize("settings", [
    {}, {"keep": 0.1, "radius": 2}, {"keep": 0.4, "radius": 0}, {"top": 2}, {"top": 3, "radius": 0},
    {"edits": "remove", "radius": 2}, {"edits": "add", "keep": 0.3}], ids=str)
def test_the_fast_count_is_that_of_the_certificates(settings):
    for share in (0, 0.3, 0.6, 0.9):
        paths, labels = planted(share=share, neurons=8 if share == 0.3 else 64, images=12)
        paths[:, 0], paths[:7, 1] = 7, 3  # one neuron alone, and ties
        expected = sum((path.table["decision"] == "in").sum()
                       for path in certify_classes(paths, labels, **settings).values())
        assert sum(certified_classes._number_certified(paths[labels == label], **settings) for label in range(4)) == expected
        found = shuffled_certificates(paths, labels, permutations=2, **settings)
        assert found["certified"] == pytest.approx(expected / 20)
    helpers.refused(lambda: shuffled_certificates(paths, labels, keep=0.5), "no vote can stand")


def test_sampled_certificates_are_shuffled_too():
    paths, labels = planted()
    found = shuffled_certificates(paths, labels, permutations=2, samples=400)
    expected = [(path.table["decision"] == "in").sum() / 5
                for path in certify_classes(paths, labels, samples=400).values()]
    assert found["certified"] == np.mean(expected) > 0.5 > found["shuffled"]


def test_halves_agree_on_planted_paths_and_not_on_random_ones():
    paths, labels = planted(share=0.9)
    found = split_agreement(paths, labels, repeats=3)
    assert len(found) == 12 and (found["plain"] == 1).all() and (found["plain_size"] == 5).all()
    assert found["certified"].mean() > 0.9 and found["size"].mean() > 4.5
    random = split_agreement(planted(share=0)[0], labels, repeats=3)
    assert random["certified"].isna().all() and (random["size"] == 0).all() and random["plain"].mean() < 0.2
    assert (found["again"] == 1).all() and random["again"].isna().all()
    assert (random["uncertified_again"].dropna() < 0.5).all()
    assert split_agreement(paths, labels, repeats=3).equals(found)
    helpers.refused(lambda: split_agreement(paths[:1], labels[:1]), "class 0 has one image")


def test_what_one_half_certifies_is_looked_up_in_the_others_vote(monkeypatch):
    """Four tables by hand: block 1 is certified in both halves, by the same neuron; block 2 in one half, where the
    other half votes for another neuron; block 3 is only voted for, by the same neuron; block 4 by two."""
    rows = [[("in", 1), ("in", 2), ("abstained", 3), ("abstained", 4)],
            [("in", 1), ("abstained", 9), ("abstained", 3), ("out", 8)]]
    tables = iter([pd.DataFrame({"block": [1, 2, 3, 4], "neuron": [neuron for _, neuron in half],
                                 "decision": [decision for decision, _ in half], "plain_radius": 0}) for half in rows])
    monkeypatch.setattr(certified_classes, "certify", lambda own: SimpleNamespace(table=next(tables)))
    row, = split_agreement(np.zeros((4, 4), int), np.zeros(4, int), repeats=1).to_dict("records")
    assert row["again"] == 2 / 3 and row["uncertified_again"] == 2 / 5
    assert row["certified"] == 1 / 2 and row["plain"] == 2 / 6 and (row["size"], row["plain_size"]) == (1.5, 4)


def test_halves_are_those_of_a_class_and_have_no_image_in_common(monkeypatch):
    paths = np.arange(22)[:, None]
    labels = np.array([0] * 11 + [1] * 11)
    halves = []
    native = certify
    monkeypatch.setattr(certified_classes, "certify", lambda own, **rest: halves.append(own[:, 0].tolist()) or native(own, **rest))
    split_agreement(paths, labels, repeats=2)
    assert [len(half) for half in halves] == [6, 5] * 4
    for first, second, expected in zip(halves[::2], halves[1::2], [range(11), range(11, 22)] * 2, strict=True):
        assert sorted(first + second) == list(expected)
    assert sorted(halves[0]) != sorted(halves[4])


def test_samples_are_no_more_than_they_are_good_for():
    """At the largest number the bounds of a vote near 1/2 are as far apart as is said."""
    most, paths = certified.MOST_SAMPLES, np.array([[1], [1], [2]])
    for rows, apart in ((1, 0.0033), (1000, 0.0049)):
        half = 0.001 / rows / 2
        low, high = (stats.beta.ppf(half, most / 2, most / 2 + 1), stats.beta.ppf(1 - half, most / 2 + 1, most / 2))
        assert high - low == pytest.approx(apart, abs=5e-5)
    for samples in (most + 1, 10**20):
        helpers.refused(lambda samples=samples: certify(paths, samples=samples), "samples must be", f"1..{most}", "None")
    assert certify(paths, samples=100).samples == 100


def test_more_neurons_than_there_are_can_be_asked_for():
    """However many a subset may choose, it chooses no more than are on its paths."""
    paths = planted(share=0.3, neurons=8, images=12)[0][:12]
    few, many = (certify(paths, top=top).table for top in (12, 10**20))
    pd.testing.assert_frame_equal(many.drop(columns="plain_radius"), few.drop(columns="plain_radius"))
    assert (many["plain_radius"] >= few["plain_radius"]).all()
    for top in (1, 2, 3, 5, 9):  # against the others written out, with neurons that nobody has yet
        for edits in radii.NEEDED:
            found = plain_radius(paths[:, 0], top, edits)
            assert found.tolist() == slow_radii(paths[:, 0], top, edits)


def slow_radii(neurons, top, edits):
    images = np.unique(neurons, return_counts=True)[1]
    found = []
    for index, own in enumerate(images):
        others = sorted([*np.delete(images, index), *[0] * top])[-top:]
        radius = -1
        while radius < 100:
            gone, new = (radius + 1) * (edits != "add"), (radius + 1) * (edits != "remove")
            if own - gone <= 0 or sum(max(0, own - gone - other) for other in others) <= new:
                break
            radius += 1
        found.append(radius)
    return found


@pytest.mark.parametrize("odd", helpers.ODD_NUMBERS, ids=str)
def test_tensors_without_values_are_refused(odd):
    value = helpers.ODD_NUMBERS[odd]()
    helpers.refused(lambda: certify(value), "paths must be whole numbers", odd)
    helpers.refused(lambda: certify_classes(np.ones((2, 2), int), value), "labels are", odd)
