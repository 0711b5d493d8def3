"""Explanations without a language model: planted neurons come out with their concepts and score 1,
noise scores nothing, correlations are scipy's, constants and failures are counted."""

import numpy as np
import pytest
from scipy import stats

from neuronpath_core.vlm.batches import caption_batches
from neuronpath_core.vlm.candidates import (
    ANYTHING,
    CANDIDATES,
    CONTENT,
    IMAGE,
    TEXT,
    Patterns,
    image_patterns,
    phrase,
    tagged_words,
    text_patterns,
)
from neuronpath_core.vlm.explained import (
    KINDS,
    Concept,
    Explanation,
    Record,
    Sample,
    records_of,
    samples_of,
    scene_samples,
)
from neuronpath_core.vlm.explanation_scores import pearson, score
from neuronpath_core.vlm.offline_explainer import OfflineExplainer, presence_rates
from neuronpath_core.vlm.offline_simulators import MaskSimulator, concepts_in, offline
from neuronpath_core.vlm.records import collect
from neuronpath_core.vlm.scenes import compose_many
from neuronpath_core.vlm.synthetic_neurons import Plant, planted_records, plants, values_of
from neuronpath_core.vlm.words import caption
from tests.helpers import refused
from tests.vlm.planted import random_vlm

SCENES = compose_many("held_out", 120)
SAMPLES = scene_samples(SCENES)
PATTERNS = Patterns()
EXPLAINED, SCORED = [0, 4, 8, 12, 16], [2, 6, 10, 14, 18]


def image_concept(name):
    return next(each for each in IMAGE if each.name == name)


def planted(kind, shape="one", count=12, noise=0.0, missing=0.0, seed=0):
    made = plants(count, kind, shape, seed)
    return made, planted_records(made, SAMPLES, noise, missing, 50, seed, PATTERNS)


def test_samples_are_what_the_model_reads():
    model = random_vlm()
    batches = caption_batches(model, SCENES[:4])
    inputs = next(iter(batches()))
    found = samples_of(inputs, [scene.pixels for scene in SCENES[:4]], SCENES[:4])
    for one, other, scene in zip(found, SAMPLES, SCENES, strict=False):
        assert one.words == other.words and (one.roles == other.roles).all()
        assert one.grid == other.grid == (8, 8) and one.counted("image").sum() == 64
        assert other.answer == tuple(word.text for word in caption(scene))


def test_records_of_a_model_are_its_values():
    model = random_vlm()
    records = collect(model, caption_batches(model, SCENES[:6]), top=4, random=2)
    inputs = next(iter(caption_batches(model, SCENES[:6])()))
    values = np.concatenate([each.numpy() for each in model.activations(inputs)], -1)
    neuron = int(np.argmax(records.maxima))
    for slot, record in enumerate(records_of(records, SAMPLES[:6], neuron, range(6), "continuous")):
        sample = records.samples[neuron, slot]
        assert record.words == SAMPLES[sample].words
        counted = record.counted("image") | record.counted("text")
        expected = 10 * np.clip(values[sample, :len(record.words), neuron], 0, None) / np.float64(
            records.maxima[neuron])
        np.testing.assert_allclose(record.values[counted], expected[counted], atol=1e-5)
        assert not hasattr(record.unseen, "values") and isinstance(record.unseen, Sample)
    refused(lambda: records_of(records, SAMPLES[:5], 0, [0]), "5 samples", "6")
    refused(lambda: records_of(records, SAMPLES[:6], 0, [6]), "slots below 6")
    refused(lambda: records_of(records, SAMPLES[:6], 99, [0]), "neurons below")


def test_patterns_by_loops():
    for sample in SAMPLES[:6]:
        scene, table = sample.scene, image_patterns(sample)
        red = table[IMAGE.index(image_concept("red"))].reshape(8, 8)
        mask = np.zeros((64, 64))
        for thing, own in zip(scene.things, scene.masks["colour"], strict=True):
            mask += own if thing.colour == "red" else 0
        for row in range(8):
            for column in range(8):
                patch = mask[8 * row:8 * row + 8, 8 * column:8 * column + 8]
                assert red[row, column] == pytest.approx(patch.mean())
        words = caption(scene)
        found = dict(zip(TEXT, text_patterns(sample), strict=True))
        for place, word in enumerate(words):
            after = words[place + 1] if place + 1 < len(words) else None
            assert found[Concept("text", "first", "sentence")][place] == word.first
            assert found[Concept("text", "class", "colour")][place] == (word.kind == "colour")
            assert found[CONTENT][place] == bool(word.kind)
            assert found[Concept("text", "speech", "noun")][place] == (word.speech == "noun")
            assert found[Concept("text", "sentence", "2")][place] == (word.sentence == 1)
            assert found[Concept("text", "next class", "fill")][place] == (
                after is not None and after.kind == "fill")
            if word.concept:
                assert found[Concept("text", "word", word.concept)][place] == 1
        tagged = tagged_words(sample.answer)
        assert [(each.text, each.kind, each.sentence, each.first) for each in tagged] == [
            (each.text, each.kind, each.sentence, each.first) for each in words]
    for concepts in CANDIDATES.values():
        assert len({phrase(concept) for concept in concepts}) == len(set(concepts)) == len(concepts)


@pytest.mark.parametrize("kind", KINDS)
def test_planted_neurons_come_out_with_their_concepts_and_score_one(kind):
    made, records = planted(kind)
    explainer, simulator = OfflineExplainer(patterns=PATTERNS), offline(True, PATTERNS)
    for neuron, plant in enumerate(made):
        own = records_of(records, SAMPLES, neuron, EXPLAINED, "continuous")
        found = explainer.explain(own, kind)
        assert set(found.concepts) == set(plant.truth.concepts) and found.text == "; ".join(
            map(phrase, found.concepts))
        held = [record for record in records_of(records, SAMPLES, neuron, SCORED, "continuous")
                if record.values.any()]
        simulated = [simulator.simulate(found, record.unseen) for record in held]
        assert score(held, simulated, kind, empty="drop").value == pytest.approx(1, abs=1e-6)
        again = OfflineExplainer().explain(own, kind)
        assert again == found


@pytest.mark.parametrize("kind", ["visual", "text"])
def test_two_concepts_are_named_where_there_are_two_and_not_where_there_is_one(kind):
    explainer = OfflineExplainer(patterns=PATTERNS)
    # of two, both must be among five samples to be found; one concept alone never is the truth
    for shape, least in (("or", 0.5), ("one", 0.8)):
        made, records = planted(kind, shape, 20, noise=0.1, missing=0.2)
        hits = [set(explainer.explain(records_of(records, SAMPLES, neuron, EXPLAINED),
                                      kind).concepts) == set(plant.truth.concepts)
                for neuron, plant in enumerate(made)]
        assert np.mean(hits) >= least
    single = OfflineExplainer(pairs=False, patterns=PATTERNS)
    found = single.explain(records_of(records, SAMPLES, 0, EXPLAINED), kind)
    assert len(found.concepts) == 1 and not found.joins


def test_a_swapped_explanation_scores_less_than_the_own_one():
    made, records = planted("visual", noise=0.1, missing=0.2)
    explainer, simulator = OfflineExplainer(patterns=PATTERNS), offline(patterns=PATTERNS)
    said = [explainer.explain(records_of(records, SAMPLES, neuron, EXPLAINED), "visual")
            for neuron in range(len(made))]
    gaps = []
    for neuron, own in enumerate(said):
        held = records_of(records, SAMPLES, neuron, SCORED)
        values = [score(held, [simulator.simulate(each, record.unseen) for record in held],
                        "visual").value for each in (own, said[neuron - 1])]
        gaps.append(values[0] - values[1])
    assert np.mean(gaps) > 0.4


def test_noise_scores_nothing_on_other_samples():
    nothing = Plant("visual", "one", Explanation("", (ANYTHING,)))
    records = planted_records([nothing] * 40, SAMPLES, noise=1.0, missing=1.0, patterns=PATTERNS)
    explainer, simulator = OfflineExplainer(patterns=PATTERNS), offline(patterns=PATTERNS)
    found, trained = [], []
    for neuron in range(40):
        own, held = (records_of(records, SAMPLES, neuron, slots) for slots in (EXPLAINED, SCORED))
        said = explainer.explain(own, "visual")
        for into, rows in ((trained, own), (found, held)):
            into.append(score(rows, [simulator.simulate(said, row.unseen) for row in rows],
                              "visual").value)
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 3 * error
    assert np.mean(trained) > 3 * error  # what it was explained from fits by choice alone


def test_raw_images_tell_what_is_there_and_not_where():
    rates = presence_rates(SAMPLES)
    has = [any(thing.colour == "red" for thing in scene.things) for scene in SCENES]
    assert rates["image"][IMAGE.index(image_concept("red"))] == pytest.approx(
        (sum(has) + 0.5) / 121)
    explainer = OfflineExplainer("raw", rates, patterns=PATTERNS)
    truth = Explanation("", (image_concept("red"),))
    records = planted_records([Plant("visual", "one", truth)], SAMPLES, patterns=PATTERNS)
    own = records_of(records, SAMPLES, 0, EXPLAINED)
    assert explainer.explain(own, "visual").concepts == truth.concepts
    # where it fires is not seen: the same words whatever the values are
    blind = [Record(each.image, each.grid, each.roles, each.words, 0 * each.values,
                    scene=each.scene) for each in own]
    assert explainer.explain(blind, "visual") == explainer.explain(own, "visual")
    assert OfflineExplainer(patterns=PATTERNS).explain(blind, "visual").text == ""
    refused(lambda: OfflineExplainer("raw"), "how often any sample has it")
    refused(lambda: OfflineExplainer("dark"), "dark", "modulated, raw")


def test_pearson_is_scipys():
    rng = np.random.default_rng(0)
    one, two = rng.random((6, 30)), rng.random((6, 30))
    expected = [stats.pearsonr(*rows).statistic for rows in zip(one, two, strict=True)]
    np.testing.assert_allclose(pearson(one, two), expected, atol=1e-14)
    assert np.isnan(pearson(one[0], np.full(30, 0.1)))
    assert pearson(one[0], 3 * one[0] + 1) == pytest.approx(1, abs=1e-15)


def made_records(tables, patches=4):
    """Records of so many patches and then words, of these values."""
    roles = np.array([3] * patches + [5] * (len(tables[0]) - patches))
    return [Record(np.zeros((2, 2, 3), np.uint8), (2, 2), roles, ("x",) * len(roles),
                   np.array(row, float)) for row in tables]


def test_which_tokens_count_and_how_samples_are_put_together():
    rng = np.random.default_rng(1)
    records, simulated = made_records(rng.random((3, 10))), list(rng.random((3, 10)))
    seen, told = (np.mean([stats.pearsonr(record.values[part], row[part]).statistic
                           for record, row in zip(records, simulated, strict=True)])
                  for part in (slice(0, 4), slice(4, 10)))
    assert score(records, simulated, "visual").value == pytest.approx(seen)
    assert score(records, simulated, "text").value == pytest.approx(told)
    assert score(records, simulated, "multi-modal").value == pytest.approx((seen + told) / 2)
    pooled = stats.pearsonr(np.concatenate([record.values[:4] for record in records]),
                            np.concatenate([row[:4] for row in simulated])).statistic
    found = score(records, simulated, "visual", over="pooled")
    assert found.value == pytest.approx(pooled) and found.of == 1
    refused(lambda: score(records, simulated[:2], "visual"), "do not fit")
    refused(lambda: score(records, simulated, "unknown"), "visual, text, multi-modal")
    refused(lambda: score(records, simulated, "visual", over="all"), "sample, pooled")
    refused(lambda: score(records, simulated, "visual", empty="one"), "zero, drop")


def test_constants_and_failures_are_counted_each_as_what_it_is():
    records = made_records([[1, 2, 3, 4], [0, 0, 0, 0], [4, 3, 2, 1]])
    simulated = [np.array([1.0, 2, 3, 4]), np.array([1.0, 2, 3, 4]), np.full(4, np.nan)]
    zero = score(records, simulated, "visual")
    assert (zero.value, zero.constant, zero.failed, zero.of) == (pytest.approx(1 / 3), 1, 1, 3)
    dropped = score(records, simulated, "visual", empty="drop")
    assert dropped.value == pytest.approx(1) and np.isnan(dropped.parts[1:]).all()
    assert (dropped.constant, dropped.failed) == (1, 1)
    pooled = score(records, simulated, "visual", over="pooled")
    assert (pooled.failed, pooled.constant, pooled.of) == (1, 0, 1)
    nothing = score(records[2:], simulated[2:], "visual", over="pooled", empty="drop")
    assert np.isnan(nothing.value) and nothing.failed == 1


def test_simulators_say_what_is_covered_by_half():
    sample, concept = SAMPLES[0], IMAGE.index(ANYTHING)
    said = Explanation("objects", (ANYTHING,))
    covered = image_patterns(sample)[concept]
    hard = MaskSimulator().simulate(said, sample)
    np.testing.assert_array_equal(hard[sample.counted("image")], 10.0 * (covered >= 0.5))
    assert np.isnan(hard[~sample.counted("image")]).all()
    soft = MaskSimulator(graded=True).simulate(said, sample)
    np.testing.assert_allclose(soft[sample.counted("image")], 10 * covered)
    both = offline().simulate(said, sample)
    assert (both[sample.counted("text")] == 0).all() and np.isnan(both[0])
    plain = Sample(sample.image, None, sample.roles, sample.words)
    refused(lambda: MaskSimulator().simulate(said, plain), "not known what this image shows")


def test_names_are_found_in_what_others_say():
    found = concepts_in("Fires for red, striped regions and for circles.", "image")
    assert {concept.name for concept in found} == {"red", "striped", "circle"}
    assert {each.name for each in concepts_in('the word "red" or “star”', "text")} == {"red", "star"}
    assert {each.name for each in concepts_in("words for red things", "text")} == {"red"}
    assert concepts_in("nothing in particular", "image") == ()
    sample = SAMPLES[0]
    said = offline().simulate(Explanation("regions of objects"), sample)
    listed = offline().simulate(Explanation("", (ANYTHING,)), sample)
    np.testing.assert_array_equal(said, listed)


def test_synthetic_neurons_are_what_they_say():
    made = plants(30, "multi-modal", "or")
    for plant in made:
        seen, told = plant.truth.named("image"), plant.truth.named("text")
        assert [each.name for each in seen] == [each.name for each in told] and len(seen) == 2
        assert len({each.kind for each in seen}) == 1
    assert plants(5, "text") == plants(5, "text") != plants(5, "text", seed=1)
    both = plants(1, "visual", "and")[0]
    values = values_of(both, SAMPLES[0], PATTERNS)
    rows = [PATTERNS.of(SAMPLES[0], "image")[IMAGE.index(each)] for each in both.truth.concepts]
    np.testing.assert_allclose(values[SAMPLES[0].counted("image")], 10 * np.minimum(*rows))
    refused(lambda: plants(1, "unknown"), "visual, text, multi-modal")
    refused(lambda: plants(1, "text", "and"), "no word is two things")
    refused(lambda: planted_records(made, SAMPLES, top=500), "120 samples")
    records = planted_records(made, SAMPLES, 0.2, 0.1, patterns=PATTERNS)
    assert (np.diff(np.where(records.visual | records.text, 1, 0)[records.samples[:, :50]] [..., 0]) == 0).all()
    peaks = np.where((records.visual | records.text)[records.samples], records.values,
                     -np.inf).max(2)[:, :50]
    assert (np.diff(peaks, axis=1) <= 0).all() and np.allclose(peaks[:, 0], records.maxima)
