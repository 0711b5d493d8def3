"""Neurons chosen, explained and scored beside controls, and what moves them: loops, planted meanings
and planted weights."""

import numpy as np
import pandas as pd
import pytest

from neuronpath_core.vlm.candidates import ANYTHING, CONTENT, IMAGE, Patterns
from neuronpath_core.vlm.explained import Concept, Explanation, records_of, scene_samples
from neuronpath_core.vlm.explained_causes import (
    VALUES,
    Moved,
    effect_rows,
    effects,
    moved,
    named_values,
    redrawn,
    single_scenes,
)
from neuronpath_core.vlm.explained_neurons import (
    SCORED,
    Chosen,
    best_all,
    choose,
    explain_all,
    resampled_means,
    score_all,
)
from neuronpath_core.vlm.explanation_controls import Places, ceiling, generic, swapped_with
from neuronpath_core.vlm.explanation_scores import score
from neuronpath_core.vlm.offline_explainer import OfflineExplainer
from neuronpath_core.vlm.offline_simulators import offline
from neuronpath_core.vlm.scenes import compose_many
from neuronpath_core.vlm.synthetic_neurons import planted_records, plants
from neuronpath_core.vlm.words import caption, text
from tests.helpers import refused
from tests.vlm.planted import planted_vlm, random_vlm

SAMPLES = scene_samples(compose_many("held_out", 100))
PATTERNS = Patterns()
RED = Concept("image", "colour", "red")


def planted(kind="visual", count=8, noise=0.1, missing=0.2):
    made = plants(count, kind)
    return made, planted_records(made, SAMPLES, noise, missing, patterns=PATTERNS)


def sure(records, column=0):
    p = np.zeros((len(records.values), 4))
    p[:, column] = 1
    return p


def test_sure_neurons_are_drawn_and_the_surest_taken_where_too_few_are():
    _, records = planted(count=40)
    rng = np.random.default_rng(0)
    p = np.zeros((40, 4))
    p[:, 0] = rng.permutation(np.linspace(0.5, 1, 40))
    p[:3, 1] = 0.9
    p[3:30, 1] = np.linspace(0.1, 0.7, 27)
    p[39] = np.nan
    found = choose(records, SAMPLES, p, most=10).neurons
    visual, told = (found[found["kind"] == kind] for kind in ("visual", "text"))
    assert len(visual) == 10 and len(told) == 10 and not len(found[found["kind"] == "multi-modal"])
    over = np.flatnonzero(np.nan_to_num(p[:, 0]) >= 0.8)
    few = choose(records, SAMPLES, p, most=40).neurons
    few = few[few["kind"] == "visual"]
    expected = over if len(over) >= 20 else np.sort(np.argsort(-np.nan_to_num(p[:, 0]))[:20])
    assert few["neuron"].tolist() == expected.tolist()
    assert (few["sure"] == (p[few["neuron"], 0] >= 0.8)).all()
    assert set(visual["neuron"]) <= set(expected.tolist())
    assert told["sure"].sum() == 3 and told["p"].min() > 0.4
    assert choose(records, SAMPLES, p, 10).neurons.equals(found)
    short = planted_records(plants(1, "visual"), SAMPLES, top=18, patterns=PATTERNS)
    refused(lambda: choose(short, SAMPLES, sure(short)), "18 top samples", "at least 19")


def test_swaps_are_of_the_same_type_and_layer_where_there_are_any():
    kinds = ["visual"] * 6 + ["text"] * 3 + ["multi-modal"]
    layers = np.array([0, 0, 0, 0, 0, 1, 2, 2, 3, 0])
    found = swapped_with(kinds, layers)
    for neuron, others in enumerate(found):
        assert neuron not in others and len(set(others)) == len(others)
        assert all(kinds[other] == kinds[neuron] for other in others)
    assert all(layers[other] == layers[0] for neuron in range(5) for other in found[neuron])
    assert len(found[0]) == 4 and found[6] == (7,) and set(found[8]) == {6, 7} and found[9] == ()
    assert set(found[5]) <= set(range(5)) and swapped_with(kinds, layers) == found


def test_scores_of_all_are_those_of_each():
    made, records = planted()
    chosen = choose(records, SAMPLES, sure(records), patterns=PATTERNS)
    said = explain_all(chosen, OfflineExplainer(patterns=PATTERNS), (0, 4, 8))
    simulator = offline(patterns=PATTERNS)
    table = score_all(chosen, said, simulator, (0, 4, 8), best=best_all(chosen, simulator))
    swaps = swapped_with(chosen.neurons["kind"].tolist(), chosen.neurons["layer"].to_numpy())
    for place, neuron in enumerate(chosen.neurons["neuron"]):
        held = records_of(records, SAMPLES, neuron, SCORED)
        own = table[table["neuron"] == neuron]
        assert own["sample"].tolist() == records.samples[neuron, list(SCORED)].tolist()

        def of(each, by=simulator, held=held):
            return score(held, [by.simulate(each, record.unseen) for record in held],
                         "visual").parts

        np.testing.assert_allclose(own["own"], of(said[place]))
        np.testing.assert_allclose(own["swapped"], np.mean([of(said[other]) for other in
                                                            swaps[place]], 0))
        np.testing.assert_allclose(own["generic"], of(Explanation("objects", (ANYTHING,))))
        singles = [of(Explanation("", (concept,))).mean() for concept in IMAGE]
        assert own["ceiling"].mean() >= max(singles) - 1e-12
        truth = of(made[neuron].truth).mean()
        assert own["ceiling"].mean() >= truth - 1e-12
    assert (table["own"].mean() - table["swapped"].mean()) > 0.4
    pooled = score_all(chosen, said, simulator, (0, 4, 8), over="pooled")
    assert len(pooled) == len(chosen.neurons) and (pooled["sample"] == -1).all()
    alone = choose(records, SAMPLES, sure(records), most=1, patterns=PATTERNS)
    lonely = score_all(alone, explain_all(alone, OfflineExplainer(), (0,)), simulator, (0,))
    assert lonely["swapped"].isna().all() and lonely["own"].notna().all()
    nobody = Chosen(records, SAMPLES, chosen.neurons.iloc[:0], PATTERNS)
    assert score_all(nobody, [], simulator, (0,)).empty


def test_a_neuron_of_a_place_is_predicted_by_its_places():
    _, records = planted("multi-modal", 2)
    rows = records_of(records, SAMPLES, 0, range(6))
    fixed = np.random.default_rng(0).random(64)
    at = [type(row)(row.image, row.grid, row.roles, row.words, np.where(
        row.counted("image"), 0, 0.0) + np.pad(fixed, (3, len(row.roles) - 67)), scene=row.scene)
        for row in rows]
    assert np.flatnonzero(rows[0].counted("image"))[0] == 3
    simulated = [Places(at[:3]).simulate(Explanation(""), row.unseen) for row in at[3:]]
    assert score(at[3:], simulated, "visual").value == pytest.approx(1)
    known = Places(rows)
    for place in range(4):
        assert known.text[place] == pytest.approx(np.mean([
            row.values[row.counted("text")][place] for row in rows]))
    assert generic("multi-modal").concepts == (ANYTHING, CONTENT)
    assert generic("visual").concepts == (ANYTHING,) and generic("text").concepts == (CONTENT,)
    assert len(ceiling(rows, "multi-modal", offline(patterns=PATTERNS), PATTERNS)) == 6


def test_resampled_neurons_and_scenes_by_a_loop():
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"neuron": np.repeat(np.arange(30), 5), "sample": rng.integers(0, 40, 150),
                          "gap": rng.normal(0.3, 1, 150)})
    found = resampled_means(table, ["gap"], 400, seed=1)[:, 0]
    again, neurons, samples = np.random.default_rng(1), *(
        np.unique(table[name]) for name in ("neuron", "sample"))
    drawn_neurons = again.integers(len(neurons), size=len(neurons))
    drawn_samples = again.integers(len(samples), size=len(samples))
    total = weight = 0.0
    for row in table.to_dict("records"):
        times = (neurons[drawn_neurons] == row["neuron"]).sum() * (
            samples[drawn_samples] == row["sample"]).sum()
        total, weight = total + times * row["gap"], weight + times
    assert found[0] == pytest.approx(total / weight)
    # of neurons that are all one sample each the spread is that of their mean
    alone = table.assign(sample=-1)
    means = table.groupby("neuron")["gap"].mean()
    spread = resampled_means(alone, ["gap"], 4000)[:, 0].std()
    assert spread == pytest.approx(means.std(ddof=0) / np.sqrt(30), rel=0.05)
    assert found.std() > spread  # scenes that neurons share add to it


def test_scenes_are_drawn_again_with_one_value_changed():
    scenes = single_scenes(3, first=50)
    assert all(len(scene.things) == 1 and scene.index >= 50 for scene in scenes)
    for (kind, value), scene in zip(VALUES, redrawn(scenes[0]), strict=True):
        seen = {**vars(scene.things[0]), "background": scene.ground[0], "tone": scene.ground[1]}
        was = {**vars(scenes[0].things[0]), "background": scenes[0].ground[0],
               "tone": scenes[0].ground[1]}
        assert seen == {**was, kind: value}


def test_what_neurons_do_there_is_read_one_by_one():
    model, scenes = random_vlm(), single_scenes(2)
    found = moved(model, scenes)
    assert found.image.shape == found.text.shape == (2, len(VALUES), 20)
    for place in (0, 9, 23):
        again = list(redrawn(scenes[1]))[place]
        for images, table, visual in ((again, found.image, True), (scenes[1], found.text, False)):
            inputs = model.encode([images.pixels], ["describe the image ."], [text(caption(again))])
            values = np.concatenate([each[0].numpy() for each in model.activations(inputs)], -1)
            counted = (inputs.visual if visual else inputs.text())[0].numpy()
            np.testing.assert_allclose(table[1, place], values[counted].max(0), atol=1e-6)


def test_planted_weights_are_moved_by_what_they_read():
    found = moved(planted_vlm(), single_scenes(4, first=10))
    red, star = (next(place for place, (_, value) in enumerate(VALUES) if value == name)
                 for name in ("red", "star"))
    # other colours have some red in them; other words nothing of a word
    for name, value, table, more in (("colour", red, found.image[..., 0], 0),
                                     ("colour", red, found.text[..., 1], 0.5),
                                     ("outline", star, found.text[..., 3], 0.5)):
        own = [place for place, (kind, _) in enumerate(VALUES) if kind == name]
        others = [place for place in own if place != value]
        assert (table[:, [value]] > table[:, others] + more).all(), name
    named = np.arange(len(VALUES)) == red
    assert effects(found.image[..., 0], named).mean() > 1
    other = np.array([value == "green" for _, value in VALUES])
    assert effects(found.image[..., 0], other).mean() < 0


def test_effects_by_hand():
    read = np.zeros((2, len(VALUES)))
    first = [place for place, (kind, _) in enumerate(VALUES) if kind == "fill"]
    read[:, first[0]] = (1, 3)
    named = np.arange(len(VALUES)) == first[0]
    np.testing.assert_allclose(effects(read, named), np.array([1, 3]) / read.std())
    assert np.isnan(effects(read, ~named | named)).all()
    assert np.isnan(effects(read, named & False)).all() and np.isnan(effects(0 * read, named)).all()
    both = Explanation("", (RED, Concept("text", "next word", "red"), Concept(
        "text", "class", "colour")))
    assert [VALUES[place] for place in np.flatnonzero(named_values(both, "visual"))] == [
        ("colour", "red")]
    assert named_values(both, "multi-modal").sum(1).tolist() == [1, 1]
    assert not named_values(Explanation("objects", (ANYTHING,)), "visual").any()


def test_what_is_named_is_a_cause_where_it_is_planted_and_none_where_it_is_not():
    made, records = planted(count=12, noise=0.0, missing=0.0)
    chosen = choose(records, SAMPLES, sure(records), patterns=PATTERNS)
    said = [plant.truth for plant in made]
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.2, (10, len(VALUES), 12)).astype(np.float32)
    named = np.stack([named_values(each, "visual")[0] for each in said], 1)
    caused = effect_rows(chosen, said, Moved(noise + named, noise))
    assert caused.groupby("neuron").size().eq(10).all() and caused["own"].mean() > 1
    assert caused["own"].mean() - caused["swapped"].mean() > 1
    nothing = effect_rows(chosen, said, Moved(noise, noise + named))
    gap = (nothing["own"] - nothing["swapped"]).groupby(nothing["neuron"]).mean()
    assert abs(gap.mean()) < 3 * gap.std() / np.sqrt(len(gap))
    silent = effect_rows(chosen, [Explanation("")] * 12, Moved(noise, noise))
    assert silent.empty and set(silent) >= {"own", "swapped"}
