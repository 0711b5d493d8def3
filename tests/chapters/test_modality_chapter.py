"""Chapter 32 on planted neurons: what is planted is claimed, what is chance is not, and tables hold
what they say."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pytest

from neuronpath_core.chapters.modality import halves, kinds, layers, meaning, measured, words
from neuronpath_core.chapters.modality.pictures import pictures
from neuronpath_core.chapters.verdicts import modality as verdicts
from neuronpath_core.stats.claims import with_verdict
from neuronpath_core.stats.grades import counted
from neuronpath_core.stats.units import UNITS
from neuronpath_core.study.vlm_reading import token_masks
from neuronpath_core.vlm.meanings import SHARED, shared_coverage, word_concepts
from neuronpath_core.vlm.modality import TYPES
from neuronpath_core.vlm.records import Records
from neuronpath_core.vlm.scenes import compose_many
from neuronpath_core.vlm.words import caption, text

SCENES = compose_many("held_out", 60)
VISUAL, TEXT = token_masks([text(caption(scene)) for scene in SCENES])
COVERAGE, NOW = shared_coverage(SCENES), word_concepts(SCENES, TEXT)
LAYERS, EACH, SLOTS, TOP = 8, 9, 55, 50
COUNT = LAYERS * EACH


@dataclass
class Study:
    """As much of a study as the tables of concepts need."""

    known: dict = field(default_factory=dict)

    def scenes(self):
        return SCENES

    def records(self, name, **options):
        return self.known[name]


def records(fill, seed=0):
    """Records of ``COUNT`` neurons: ``fill(neuron, scene, rng)`` gives the values of a sample."""
    rng = np.random.default_rng(seed)
    samples = np.stack([rng.permutation(len(SCENES))[:SLOTS] for _ in range(COUNT)])
    values = np.zeros((COUNT, SLOTS, VISUAL.shape[1]), np.float32)
    for neuron in range(COUNT):
        for slot, scene in enumerate(samples[neuron]):
            values[neuron, slot] = fill(neuron, scene, rng)
    return Records(values, samples, TOP, VISUAL, TEXT, np.ones(COUNT, np.float32),
                   values.mean((1, 2)), (values > 0).mean((1, 2)), np.arange(COUNT) // EACH)


def of_types(neuron, scene, rng):
    """Visual neurons in the first layers, text in the middle, multi-modal in the last: one patch,
    three words, or both, at the maximum."""
    found = np.zeros(VISUAL.shape[1])
    layer = neuron // EACH
    if layer < 3 or layer >= 6:
        found[rng.choice(np.flatnonzero(VISUAL[scene]))] = 1
    if layer >= 3:
        found[rng.choice(np.flatnonzero(TEXT[scene]), 3, replace=False)] = 1
    return found


def of_chance(neuron, scene, rng):
    """Four tokens at the maximum, of whichever kind."""
    found = np.zeros(VISUAL.shape[1])
    found[rng.choice(np.flatnonzero(VISUAL[scene] | TEXT[scene]), 4, replace=False)] = 1
    return found


def of_concepts(said):
    """Multi-modal neurons that follow a concept in patches, and in words ``said(neuron)``."""
    def fill(neuron, scene, rng):
        found = 0.02 * rng.random(VISUAL.shape[1])
        found[VISUAL[scene]] += COVERAGE[scene, neuron % 24]
        found[NOW[scene] == said(neuron)] += 1
        return np.minimum(found, 1)
    return fill


def read_of(own, name="staged", deals=3):
    rng = np.random.default_rng(0)
    dealt = tuple(measured.types_of(own, labels=measured.permuted_labels(own, rng))
                  for _ in range(deals))
    return measured.Read(name, own, measured.types_of(own), dealt)


@pytest.fixture(scope="module")
def planted():
    return read_of(records(of_types))


@pytest.fixture(scope="module")
def chance():
    return read_of(records(of_chance, 1), "random")


def meant(fill, seed=0):
    own = records(fill, seed)
    read = read_of(own, deals=1)
    return meaning.meaning(Study({"staged": own}), read), read


@pytest.fixture(scope="module")
def same():
    return meant(of_concepts(lambda neuron: neuron % 24))


@pytest.fixture(scope="module")
def other():
    place = np.random.default_rng(5).integers(0, 24, COUNT)
    return meant(of_concepts(lambda neuron: place[neuron]), 2)


def named(table, model="staged"):
    return table.assign(data="scenes", model=model, scenes=60)


def test_planted_types_are_found_and_exceed_dealt_labels(planted):
    sure = kinds.sure_rows(planted).set_index("type")
    np.testing.assert_allclose(sure["value"], [3 / 8, 3 / 8, 2 / 8, 0], atol=1e-12)
    assert (sure["low"] <= sure["value"]).all() and (sure["value"] <= sure["high"]).all()
    rows = with_verdict(kinds.surer_rows(planted)).set_index("condition")
    assert set(rows["verdict"]) == {"agrees"}
    np.testing.assert_allclose(rows["own"], [3 / 8, 3 / 8, 2 / 8], atol=0.01)
    # dealt, the four tokens of multi-modal neurons and the three of text neurons are mostly visual
    beyond = with_verdict(kinds.beyond_dealt_rows(planted)).set_index("condition")["verdict"]
    assert beyond.tolist() == ["contradicts", "agrees", "agrees"]


def test_what_is_dealt_by_chance_does_not_exceed_dealt_labels(chance):
    for rows in (kinds.beyond_dealt_rows(chance), kinds.surer_rows(chance)):
        assert (abs(rows["value"]) < 0.06).all()
        assert "agrees" not in set(with_verdict(rows)["verdict"])


def test_beyond_another_network_is_the_difference_on_the_same_scenes(planted, chance):
    rows = kinds.beyond_rows(planted, chance.own, kinds.UNTRAINED)
    for place, row in enumerate(rows.to_dict("records")):
        assert row["value"] == pytest.approx(kinds.sure(place)(planted.own.p)
                                             - kinds.sure(place)(chance.own.p))
    itself = kinds.beyond_rows(planted, planted.own, "itself")
    assert not itself[["value", "low", "high"]].to_numpy().any()


def test_shares_by_the_most_probable_type(planted):
    most = kinds.most_rows(planted).iloc[0]
    assert most["value"] == pytest.approx(0) and most["next"] == "visual"
    seeds = kinds.seed_rows({"staged": planted})
    assert seeds["low"].isna().all() and (seeds["seeds"] == 1).all()
    two = kinds.seed_rows({"staged": planted, "staged seed 1": planted})
    assert (two["low"] == two["value"]).all() and (two["seeds"] == 2).all()


def test_how_many_neurons_change_their_type(planted, chance):
    one = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [np.nan] * 4, [0.5, 0.5, 0, 0.]])
    assert kinds.changed(one, one) == 0
    assert kinds.changed(one, one[[1, 0, 2, 3, 4]]) == pytest.approx(2 / 4)
    assert kinds.changed(one, one[[3, 1, 2, 0, 4]]) == 0  # dead in either is left out
    assert np.isnan(kinds.changed(one[3:4], one[3:4]))
    own, other = kinds.TOLD[kinds.GENERATED], kinds.TOLD[kinds.REWORDED]
    rows = kinds.changed_rows(planted, {own: chance.own, other: planted.own})
    rows = rows.set_index("condition")
    assert rows.loc[other, "value"] == 0 == rows.loc[kinds.ANEW, "value"]
    assert rows.loc[own, "low"] > 0.2
    lead = kinds.changed_lead_rows(planted, {own: chance.own, other: planted.own})
    assert with_verdict(lead)["verdict"].tolist() == ["agrees"]
    back = kinds.changed_lead_rows(planted, {own: planted.own, other: chance.own})
    assert with_verdict(back)["verdict"].tolist() == ["contradicts"]
    same = kinds.changed_lead_rows(planted, {own: chance.own, other: chance.own})
    assert with_verdict(same)["verdict"].tolist() == ["not shown"]
    assert len(words.changed_table(rows.reset_index(), lead)) == 4


def test_layers_of_planted_types(planted):
    trends = layers.trend_rows(planted).set_index("type")
    assert trends.loc["visual", "value"] < -0.8 and trends.loc["multi-modal", "value"] > 0.7
    assert trends.loc["unknown", "value"] == 0  # nowhere, so that it goes nowhere
    assert trends.loc["visual", "top"] < -0.8 and trends.loc["multi-modal", "top_low"] > 0.5
    rows = layers.expected_rows(trends.reset_index()).set_index("type")
    assert rows.loc["visual", "verdict"] == rows.loc["multi-modal", "verdict"] == "agrees"
    assert rows.loc["text", "verdict"] == "not shown"  # in the middle
    upside = measured.Types(planted.own.p[::-1], planted.own.drawn[:, ::-1])
    turned = measured.Read("staged", planted.records, upside, planted.dealt)
    rows = layers.expected_rows(layers.trend_rows(turned)).set_index("type")
    assert rows.loc["visual", "verdict"] == rows.loc["multi-modal", "verdict"] == "contradicts"
    twin = layers.twin_rows(planted, upside).set_index("condition")["value"]
    assert twin["visual neurons"] == pytest.approx(-2 * trends.loc["visual", "value"])


def test_profiles_are_shares_of_a_layer(planted):
    rows = layers.profile_rows(planted)
    visual = rows[rows["type"] == "visual"].set_index("layer")
    assert visual["value"].tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    assert visual["top"].sum() == pytest.approx(1) and visual.loc[4:, "top"].max() == 0
    table = words.top_table(rows.assign(model="staged"))
    # all 27 are equally sure, so that three layers share the places of the surest 3 %
    assert table.loc[("staged", "visual"), "layer 1, %"] == "33" and len(table) == 4


def test_chance_of_a_trend_is_that_of_permuted_layers():
    low, high = layers.chance(8)
    # exact for eight ranks: P(|r| >= 0.738) = 0.0458, P(|r| >= 0.714) = 0.0576
    assert 0.68 < high < 0.76 and -0.76 < low < -0.68


def test_neurons_that_mean_the_same_in_both_and_those_that_do_not(same, other):
    found, _ = same
    mixed = meaning.Meaning(**{**vars(found), "best": np.where(np.arange(COUNT) % 2, 2, 0)})
    rows = meaning.match_rows(mixed).set_index(["group", "word"])
    both = rows.loc[("multi-modal neurons", meaning.READ)]
    assert both["own"] > 0.9 and both["low"] > 0.5
    apart = meaning.Meaning(**{**vars(other[0]), "best": np.where(np.arange(COUNT) % 2, 2, 0)})
    null = meaning.match_rows(apart).set_index(["group", "word"])
    null = null.loc[("multi-modal neurons", meaning.READ)]
    assert null["own"] < 0.25 and abs(null["value"]) < 0.2
    leads = meaning.match_lead_rows(mixed, apart).set_index(["against", "condition"])
    assert leads.loc[(kinds.UNTRAINED, meaning.READ), "low"] > 0.3
    one = leads.loc[(meaning.ONE, meaning.READ)]
    assert one["low"] < 0.05 and one["high"] > -0.05


def test_few_concepts_against_many(same, chance):
    found, _ = same
    spread = meaning.meaning(Study({"random": chance.records}), chance)
    spread = meaning.Meaning(**{**vars(spread), "best": np.full(COUNT, 2)})
    rows = meaning.few_rows(found, spread, "chance").set_index("condition")
    assert set(with_verdict(rows.reset_index())["verdict"]) == {"agrees"}
    assert rows.loc["patches", "own"] > rows.loc["patches", "other"] + 0.1
    back = meaning.few_rows(spread, found, "planted")
    assert set(with_verdict(back)["verdict"]) == {"contradicts"}


def test_examples_name_what_was_planted_and_show_it(same):
    found, read = same
    rows = meaning.example_rows(found, read)
    assert set(rows["type"]) == set(TYPES)
    own = rows[rows["type"] == "multi-modal"].iloc[0]
    assert own["seen"].split(": ")[1] == own["said"].split(": ")[1] == SHARED[own["number"] % 24]
    shown = pictures(Study({"staged": read.records}), read, rows)
    assert [name.partition("\n")[0] for name, _ in shown] == ["visual", "multi-modal", "text"]
    pixels, level, said = shown[1][1][0]
    assert pixels.shape == (64, 64, 3) and level.shape == (8, 8) and said
    assert 0 <= level.min() and level.max() <= 1


def tables(read, start, found, begun):
    surer, beyond = named(kinds.surer_rows(read)), named(kinds.beyond_dealt_rows(read))
    other = named(kinds.beyond_rows(read, start.own, kinds.UNTRAINED))
    trends = named(layers.trend_rows(read))
    return (surer, beyond, other, other, named(kinds.most_rows(read)), layers.expected_rows(trends),
            named(layers.twin_rows(read, start.own)), named(meaning.match_rows(found)),
            named(meaning.match_lead_rows(found, begun)),
            named(meaning.few_rows(found, begun, kinds.UNTRAINED)),
            named(kinds.changed_lead_rows(read, {kinds.TOLD[kinds.GENERATED]: start.own,
                                                 kinds.TOLD[kinds.REWORDED]: read.own})),
            named(halves.half_rows(read)))


def test_claims_follow_what_is_planted_and_what_is_not(planted, chance, same, other):
    mixed, apart = (meaning.Meaning(**{**vars(each), "best": np.where(np.arange(COUNT) % 2, 2, 0)})
                    for each in (same[0], other[0]))
    claims = {each.key: each for each in verdicts.made_from(*tables(planted, chance, mixed, apart))}
    assert set(claims) == {"types exist", "more than dealt", "types are learned", "of neurons", "text most often",
                           "layers of types", "layers are learned", "one thing",
                           "more than others", "few things", "whose words", "data suffice"}
    assert all(each.unit in UNITS and each.table for each in claims.values())
    assert all(each.finding == "vision-language" for each in claims.values())
    assert {each.verdict for each in claims["types exist"].comparisons} == {"agrees"}
    # n is how many scenes there are, and says so
    assert {each.n for claim in claims.values() for each in claim.comparisons} == {60}
    assert {claim.of for claim in claims.values()} == {"scenes"}
    assert counted(claims["few things"].comparisons, claims["few things"].of,
                   claims["few things"].statistic) == "n = 60 scenes"
    null = {each.key: each for each in verdicts.made_from(*tables(chance, chance, apart, apart))}
    for key in ("types exist", "types are learned", "layers are learned", "data suffice"):
        assert "agrees" not in {each.verdict for each in null[key].comparisons}, key
    empty = [pd.DataFrame()] * 12
    assert all(not claim.comparisons for claim in verdicts.made_from(*empty))


def test_types_that_come_back_on_other_scenes_and_types_of_chance(planted, chance):
    # every layer is of one type, so that dealing within layers changes nothing
    (row,) = halves.half_rows(planted).to_dict("records")
    assert row["same"] == row["dealt"] == 1 and row["neurons"] == COUNT
    assert with_verdict(halves.half_rows(planted))["verdict"].tolist() == ["not shown"]
    # layers of all types
    mixed = replace(planted, records=replace(planted.records, layers=np.arange(COUNT) % LAYERS))
    rows = with_verdict(halves.half_rows(mixed))
    assert rows["verdict"].tolist() == ["agrees"] and rows["dealt"].iloc[0] < 0.5
    rows = with_verdict(halves.half_rows(chance))
    assert rows["verdict"].tolist() == ["not shown"]


def test_types_that_are_others_on_the_other_half_are_seen():
    """Neurons that are visual on even scenes and of words on odd ones."""
    def of_halves(neuron, scene, rng):
        return of_types(EACH * (3 if scene % 2 else 0), scene, rng)

    (row,) = halves.half_rows(read_of(records(of_halves))).to_dict("records")
    assert row["same"] == 0 and row["dealt"] == 0 and row["neurons"] == COUNT


def test_dealing_types_within_layers_is_the_mean_over_all_ways_to_deal():
    rng = np.random.default_rng(3)
    one, other = rng.integers(-1, 4, (2, 40))
    where = np.arange(40) % 3
    same, dealt = halves._shares(one, other, where)
    known = np.flatnonzero((one >= 0) & (other >= 0))
    assert same == np.mean([one[each] == other[each] for each in known])
    drawn = []
    for _ in range(4000):
        mixed = other.copy()
        for layer in range(3):
            own = known[where[known] == layer]
            mixed[own] = rng.permutation(other[own])
        drawn.append((one == mixed)[known].mean())
    assert dealt == pytest.approx(np.mean(drawn), abs=0.01)
    assert np.isnan(halves._shares(one, np.full(40, -1), where)).all()


def test_a_half_knows_nothing_of_the_other_halfs_values(planted):
    """However large they are in odd scenes, types on even ones stay the same."""
    even = np.arange(len(SCENES)) % 2 == 0
    other = records(of_types)
    other.values[~even[other.samples]] *= 50
    inside = even[other.samples[:, :TOP]]
    kinds_, again = (halves._kinds(each, even)[inside] for each in (planted.records, other))
    assert np.array_equal(kinds_, again) and set(kinds_) == {0, 1, 2}


def test_tables_for_reading_have_words_for_headers_and_a_row_each(planted, chance, same, other):
    found = {"random": chance, "staged": planted}
    sure = measured.stacked(found, kinds.sure_rows)
    table = words.sure_table(sure)
    assert list(table.index) == ["LLaVA-1.5-7B (the paper)", "InternVL-2.5-8B (the paper)",
                                 "before training", "staged"]
    assert table.loc["LLaVA-1.5-7B (the paper)", "text, %"] == "14.2"
    assert table.loc["staged", "visual, %"].startswith("37.5 [")
    assert "38 % visual" in words.finding(sure)
    trends = measured.stacked({"staged": planted}, layers.trend_rows)
    deeper = measured.stacked({"staged": planted},
                              lambda each: layers.twin_rows(each, chance.own))
    assert len(words.trend_table(trends, deeper)) == 4
    assert len(words.most_table(sure)) == 2
    halved = halves.half_table(measured.stacked({"staged": planted}, halves.half_rows))
    assert halved.loc["staged", "scenes of a half"] == 30
    assert halves.half_table(pd.DataFrame()).empty
    assert len(words.seed_table(kinds.seed_rows({"staged": planted}))) == 8
    grid = kinds.grid(planted.records)
    assert len(words.grid_table(grid)) == 8 and len(grid) == 36
    assert words.tally(kinds.surer_rows(planted)) == "3 of 3 comparisons"
    assert words.tally(pd.DataFrame()) == "none of the comparisons"
    assert words.percents([0.1, 0.104]) == "10 %" and words.percents([0.1, 0.2]) == "10 to 20 %"


def test_trained_models_and_those_of_a_recipe():
    found = dict.fromkeys(["random", "staged step 250", "staged", "staged seed 1", "joint"])
    assert list(measured.trained(found)) == ["staged", "staged seed 1", "joint"]
    assert list(measured.of_recipe(found, "staged")) == ["staged", "staged seed 1"]
