"""What neurons answer to, and types with the scenes drawn anew: loops, scipy, planted neurons whose
concepts are known, and nulls."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr

from neuronpath_core.study.vlm_reading import token_masks
from neuronpath_core.vlm import meanings
from neuronpath_core.vlm.meanings import (
    NONE,
    SHARED,
    best_concepts,
    dealt_matches,
    entropies,
    first_shares,
    shared_coverage,
    visual_moments,
    word_concepts,
    word_moments,
    word_numbers,
    word_winners,
)
from neuronpath_core.vlm.records import Records
from neuronpath_core.vlm.scenes import compose_many
from neuronpath_core.vlm.type_draws import drawn_probabilities, scene_weights
from neuronpath_core.vlm.words import caption, grammar_words, text
from tests.helpers import refused

SCENES = compose_many("held_out", 40)
VISUAL, TEXT = token_masks([text(caption(scene)) for scene in SCENES])
COVERAGE = shared_coverage(SCENES)
NOW, NEXT = (word_concepts(SCENES, TEXT, ahead) for ahead in (0, 1))
TOP, SLOTS, LAYERS = 12, 15, 2


def planted(seen, said, noise=0.05, seed=0, words=NOW):
    """Records of neurons whose value at a patch is the coverage of one concept and at a word whether
    it says another."""
    rng = np.random.default_rng(seed)
    samples = np.stack([rng.permutation(len(SCENES))[:SLOTS] for _ in seen])
    values = noise * rng.standard_normal((len(seen), SLOTS, VISUAL.shape[1]))
    for neuron, (patch, word) in enumerate(zip(seen, said, strict=True)):
        for slot, scene in enumerate(samples[neuron]):
            values[neuron, slot, VISUAL[scene]] += COVERAGE[scene, patch]
            values[neuron, slot, words[scene] == word] += 1
    layers = np.arange(len(seen)) * LAYERS // len(seen)
    return Records(values.astype(np.float32), samples, TOP, VISUAL, TEXT, np.ones(len(seen)),
                   values.mean((1, 2)), (values > 0).mean((1, 2)), layers)


def test_words_lie_at_the_tokens_of_the_captions():
    scene = next(number for number, each in enumerate(SCENES) if len(each.things) == 2)
    said = caption(SCENES[scene])
    tokens = np.flatnonzero(TEXT[scene])
    for place, word in enumerate(said):
        concept = SHARED.index(word.concept) if word.concept in SHARED else NONE
        assert NOW[scene, tokens[place]] == concept
        if place:
            assert NEXT[scene, tokens[place - 1]] == concept
        assert grammar_words()[word_numbers(SCENES, TEXT)[scene, tokens[place]]] == word.text
    assert NEXT[scene, tokens[-1]] == NONE
    assert (NOW[~TEXT] == NONE).all()
    refused(lambda: word_concepts(SCENES[1:], TEXT[:-1]), "words of a caption", "accepted: ")


@pytest.mark.parametrize("which", ["patches", "words"])
def test_correlations_are_those_of_scipy_over_the_tokens_of_chosen_samples(which):
    records = planted([3, 11, 20], [20, 3, 5], 0.4)
    visual = which == "patches"
    found = visual_moments(records, COVERAGE) if visual else word_moments(records, NOW)
    weights = np.random.default_rng(1).integers(0, 3, (3, SLOTS)).astype(float)
    r, by_sample = found.correlations(weights), found.by_sample()
    for neuron in range(3):
        for concept in (0, 3, 9, 20, 23):
            a, c = [], []
            for slot, scene in enumerate(records.samples[neuron]):
                mask = VISUAL[scene] if visual else TEXT[scene]
                own = records.values[neuron, slot, mask].astype(float)
                shown = (COVERAGE[scene, concept] if visual
                         else (NOW[scene, mask] == concept).astype(float)).astype(float)
                for _ in range(int(weights[neuron, slot])):
                    a.append(own)
                    c.append(shown)
                if np.ptp(shown) > 0:
                    # float32 coverage and values, sums in float64
                    assert by_sample[neuron, slot, concept] == pytest.approx(
                        pearsonr(own, shown).statistic, abs=1e-5)
                else:
                    assert np.isnan(by_sample[neuron, slot, concept])
            a, c = np.concatenate(a), np.concatenate(c)
            if np.ptp(c) > 0:
                assert r[neuron, concept] == pytest.approx(pearsonr(a, c).statistic, abs=1e-5)


def test_planted_concepts_are_found_in_both_modalities_and_noise_has_none():
    rng = np.random.default_rng(2)
    seen, said = rng.permutation(24)[:20], rng.permutation(24)[:20]
    records = planted(seen, said)
    top = np.ones((20, SLOTS))
    assert (best_concepts(visual_moments(records, COVERAGE).correlations(top)) == seen).all()
    assert (best_concepts(word_moments(records, NOW).correlations(top)) == said).all()
    ahead = planted(seen, said, words=NEXT)
    assert (best_concepts(word_moments(ahead, NEXT).correlations(top)) == said).all()
    silent = planted([0], [0])
    silent.values[:] = 0.3
    assert best_concepts(visual_moments(silent, COVERAGE).correlations(top[:1])).tolist() == [NONE]


def test_the_word_at_which_a_neuron_is_largest():
    records = planted([4] * 3, [10, 11, 12], 0.3)
    numbers = word_numbers(SCENES, TEXT)
    found = word_winners(records, numbers)
    for neuron in range(3):
        for slot, scene in enumerate(records.samples[neuron]):
            tokens = np.flatnonzero(TEXT[scene])
            best = max(tokens, key=lambda token: records.values[neuron, slot, token])
            assert found[neuron, slot] == numbers[scene, best]


def test_dealt_matches_are_the_mean_over_permutations_within_layers():
    rng = np.random.default_rng(3)
    layers = np.repeat([0, 1, 2], [6, 9, 5])
    one, other = rng.integers(-1, 4, 20), rng.integers(-1, 4, 20)
    shares = []
    for _ in range(20_000):
        dealt = other.copy()
        for layer in range(3):
            dealt[layers == layer] = rng.permutation(other[layers == layer])
        shares.append(((one == dealt) & (one != NONE)).mean())
    # the standard error of 20,000 permutations is below 0.0008
    assert dealt_matches(one, other, layers) == pytest.approx(np.mean(shares), abs=0.004)
    assert np.isnan(dealt_matches(one[:0], other[:0], layers[:0]))


def test_first_shares_and_entropies_by_loops():
    rng = np.random.default_rng(4)
    winners, weights = rng.integers(-1, 5, (7, 12)), rng.integers(0, 3, (7, 12)).astype(float)
    shares, bits = first_shares(winners, weights), entropies(winners)
    for neuron in range(7):
        counts = {}
        for winner, weight in zip(winners[neuron], weights[neuron], strict=True):
            counts[winner] = counts.get(winner, 0) + weight
        most = max((count for winner, count in counts.items() if winner != NONE), default=0)
        assert shares[neuron] == pytest.approx(most / weights[neuron].sum())
        p = np.unique(winners[neuron], return_counts=True)[1] / 12
        assert bits[neuron] == pytest.approx(-(p * np.log2(p)).sum())
    assert first_shares(np.full((1, 4), 2), np.ones((1, 4))) == [1.0]
    assert entropies(np.full((1, 4), 2)) == [0.0]
    assert np.isnan(first_shares(winners[:1], np.zeros((1, 12)))).all()


def test_drawn_probabilities_count_each_sample_as_often_as_its_scene():
    rng = np.random.default_rng(5)
    kinds, samples = rng.integers(0, 4, (6, 10)), rng.integers(0, 30, (6, 10))
    kinds[2] = -1
    weights = scene_weights(30, 4, seed=1)
    assert weights.shape == (4, 30) and (weights.sum(1) == 30).all()
    found = drawn_probabilities(kinds, samples, weights)
    for draw in range(4):
        for neuron in range(6):
            pool = [kind for kind, scene in zip(kinds[neuron], samples[neuron], strict=True)
                    for _ in range(int(weights[draw, scene]))]
            if neuron == 2 or not pool:
                assert np.isnan(found[draw, neuron]).all()
                continue
            wanted = [pool.count(kind) / len(pool) for kind in range(4)]
            np.testing.assert_allclose(found[draw, neuron], wanted, atol=1e-12)
    refused(lambda: scene_weights(1, 5), "accepted: at least two of each")


def test_intervals_over_scenes_cover_a_known_share():
    """Scenes of a known share of one type, which all neurons see alike: the spread over draws is
    that of a share of 50 scenes."""
    rng = np.random.default_rng(6)
    kinds = np.where(rng.random((1, 50)) < 0.3, 0, 3).repeat(4, 0)
    samples = np.arange(50)[None].repeat(4, 0)
    drawn = drawn_probabilities(kinds, samples, scene_weights(50, 2000))[:, :, 0].mean(1)
    share = (kinds[0] == 0).mean()
    assert drawn.std() == pytest.approx(np.sqrt(share * (1 - share) / 50), rel=0.08)


def test_image_tokens_that_move_are_refused():
    records = planted([1], [2])
    visual = records.visual.copy()
    visual[5] = np.roll(visual[5], 1)
    moved = Records(**{**vars(records), "visual": visual})
    refused(lambda: visual_moments(moved, COVERAGE), "different places", "accepted: ")
    assert meanings.KIND["red"] == "colour"
