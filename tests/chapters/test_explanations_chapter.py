"""The chapter on what neurons are said to mean: every claim with a planted effect and a planted
null, tables, what is kept and what is rehearsed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from neuronpath_core.chapters.explanations import (
    causes,
    measured,
    parts,
    planted,
    published,
    shown,
    variants,
    words,
)
from neuronpath_core.chapters.verdicts import explanations as verdicts
from neuronpath_core.stats.units import UNITS
from neuronpath_core.vlm.explained import KINDS, scene_samples
from neuronpath_core.vlm.explained_causes import VALUES, Moved, moved, named_values, single_scenes
from neuronpath_core.vlm.explained_neurons import ON_BOTH, ON_TOP, RANDOM, RAW, SCORED, TOP
from neuronpath_core.vlm.modality import TYPES
from neuronpath_core.vlm.offline_explainer import presence_rates
from neuronpath_core.vlm.scenes import compose_many
from neuronpath_core.vlm.synthetic_neurons import planted_records, plants
from tests.vlm.planted import random_vlm

SAMPLES = scene_samples(compose_many("held_out", 120))
SEEN = measured.Shown(SAMPLES, rates=presence_rates(SAMPLES))
EACH = 14
EMPTY = pd.DataFrame()


def read_of(noise=0.1, missing=0.2, seed=0, name="planted", turned=None):
    """Synthetic neurons of every type, read as a model's; ``turned`` makes other values of
    theirs."""
    made = [plant for kind in KINDS for plant in plants(EACH, kind, seed=seed)]
    records = planted_records(made, SAMPLES, noise, missing, seed=seed, patterns=SEEN.patterns)
    if turned is not None:
        records = replace(records, values=turned(records))
    p = np.zeros((len(made), 4))
    p[np.arange(len(made)), [TYPES.index(plant.kind) for plant in made]] = 1
    return made, measured.read_model(name, records, p, SEEN, seed=seed)


def noise_only(seed=0):
    """Neurons that do nothing but noise."""
    return read_of(1.0, 1.0, seed, "noise")[1]


def of_places(records):
    """A fixed map of each neuron at the image and a fixed row of values at the words."""
    rng = np.random.default_rng(5)
    fixed = rng.random((len(records.values), 1, records.values.shape[2])) * records.maxima[
        :, None, None]
    return np.broadcast_to(fixed, records.values.shape).astype(np.float32)


@pytest.fixture(scope="module")
def meant():
    return read_of()


@pytest.fixture(scope="module")
def noise():
    return noise_only()


def claims_of(**tables):
    names = ("means", "places", "from_random", "raw", "twins", "caused", "planted", "by_part",
             "as_shown", "first")
    return {claim.key: claim for claim in verdicts.made_from(
        **{name: tables.get(name, EMPTY) for name in names})}


def verdicts_of(claim):
    return [row.verdict for row in claim.comparisons]


def test_what_is_meant_is_beyond_swapped_and_noise_is_not(meant, noise):
    for read, verdict in ((meant[1], "agrees"), (noise, "not shown")):
        means = measured.stacked({read.model: measured.mean_rows(read)})
        claims = claims_of(means=means)
        for key in ("own beyond swapped", "own beyond swapped, silent samples too"):
            assert verdicts_of(claims[key]) == [verdict] * 3, key
        on_top = means[(means["explained"] == TOP) & (means["scored"] == ON_TOP)]
        assert on_top["neurons"].tolist() == [EACH] * 3 and (on_top["images"] > 20).all()
        assert (on_top["ceiling"] >= on_top["own"] - 1e-9).all()
        expected = read.scores[(read.scores["kind"] == "text") & (read.scores["explained"] == TOP)
                               & (read.scores["scored"] == ON_TOP)]
        row = on_top[on_top["kind"] == "text"].iloc[0]
        assert row["value"] == pytest.approx((expected["own"] - expected["swapped"]).mean())
        assert len(expected) == EACH * len(SCORED)
        both = means[means["scored"] == ON_BOTH]
        assert (both["images"].to_numpy() > on_top["images"].to_numpy()).all()


def test_a_neuron_of_a_place_is_no_neuron_of_what_is_said(meant):
    rows = measured.stacked({"planted": measured.place_rows(meant[1])})
    assert verdicts_of(claims_of(places=rows)["own beyond places"]) == ["agrees"] * 3
    _, placed = read_of(turned=of_places, name="placed")
    rows = measured.stacked({"placed": measured.place_rows(placed)})
    assert verdicts_of(claims_of(places=rows)["own beyond places"]) == ["contradicts"] * 3
    assert rows["place"].min() > 0.9


def test_where_it_fires_tells_more_than_what_is_there(meant, noise):
    for read, expected in ((meant[1], "agrees"), (noise, "not shown")):
        raw = measured.stacked({read.model: measured.gap_rows(read, TOP, RAW)})
        random = measured.stacked({read.model: measured.gap_rows(read, TOP, RANDOM)})
        claims = claims_of(raw=raw, from_random=random)
        assert verdicts_of(claims["modulated beyond raw"])[1] == expected  # of words
        assert verdicts_of(claims["top beyond random"]).count("agrees") >= 2 * (
            expected == "agrees")
        if expected == "not shown":
            assert set(verdicts_of(claims["top beyond random"])) == {"not shown"}
    same = measured.gap_rows(meant[1], TOP, TOP)
    assert (same["value"] == 0).all() and (same["first"] == same["second"]).all()


def test_a_twin_that_is_as_explicable_takes_the_finding_away(meant, noise):
    more = measured.stacked({"planted": measured.twin_rows(meant[1], noise)})
    assert verdicts_of(claims_of(twins=more)["more than random weights"]) == ["agrees"] * 3
    assert (more["value"] == more["trained"] - more["random"]).all()
    same = measured.twin_rows(meant[1], read_of(seed=1)[1])
    assert "contradicts" not in verdicts_of(claims_of(
        twins=measured.stacked({"planted": same}))["more than random weights"])
    less = measured.stacked({"noise": measured.twin_rows(noise, meant[1])})
    assert verdicts_of(claims_of(twins=less)["more than random weights"]) == ["contradicts"] * 3


def test_causes_are_told_from_companions(meant):
    made, read = meant
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 0.3, (12, len(VALUES), len(made))).astype(np.float32)
    image, said = noise.copy(), noise.copy()
    for neuron, plant in enumerate(made):
        for modality, row in zip(("image", "text") if plant.kind == "multi-modal" else (
                ("image",) if plant.kind == "visual" else ("text",)),
                named_values(plant.truth, plant.kind), strict=True):
            (image if modality == "image" else said)[:, row, neuron] += 1
    caused = measured.stacked({"planted": causes.cause_rows(read, Moved(image, said))})
    claim = claims_of(caused=caused)["caused by what is named"]
    assert verdicts_of(claim) == ["agrees"] * 3
    assert (caused["neurons"] <= caused["asked"]).all()
    few = replace(read, chosen=replace(read.chosen, neurons=read.chosen.neurons.iloc[:4]),
                  said={source: said[:4] for source, said in read.said.items()})
    rows = causes.cause_rows(few, Moved(image, said))
    assert rows["value"].isna().all() and (rows["neurons"] <= 4).all()
    nothing = measured.stacked({"planted": causes.cause_rows(read, Moved(noise, noise))})
    assert set(verdicts_of(claims_of(caused=nothing)["caused by what is named"])) == {"not shown"}


def test_planted_meanings_and_their_grade():
    found = planted.planted_rows(measured.Shown(SAMPLES, SEEN.patterns, SEEN.rates), 8)
    assert len(found) == 2 * 3 * (3 + 2 + 2)
    clean = found[(found["noise"] == "clean") & (found["sees"] == "modulated")
                  & (found["meaning"] == "one concept")]
    assert (clean["found"] >= 0.8).all() and (clean["score"] > clean["swapped"] + 0.3).all()
    assert (clean["truth"] - clean["score"]).abs().max() < 0.1
    claim = claims_of(planted=found)["planted meanings are found"]
    assert claim.comparisons[0].verdict == "agrees" and claim.comparisons[0].n == 8
    missed = claims_of(planted=found.assign(found=0.0))["planted meanings are found"]
    assert set(verdicts_of(missed)) == {"contradicts"}
    raw = found[found["sees"] == "raw"]
    assert raw["found"].mean() < found[found["sees"] == "modulated"]["found"].mean()


def test_units_and_rules_of_the_claims_are_known(meant):
    for claim in claims_of().values():
        assert claim.unit in UNITS and claim.comparisons == ()
        assert claim.rule.sentence.count("agrees if") == 1
    companion = [key for key, claim in claims_of().items() if claim.by == "companion"]
    assert companion == ["top beyond random", "modulated beyond raw", "as good as shown",
                         "first words"]


def test_claims_say_what_n_counts(meant, noise):
    """Scenes that are scored on, or neurons where these alone are resampled."""
    read = meant[1]
    means = measured.mean_rows(read)
    tables = {"means": means, "places": measured.place_rows(read),
              "from_random": measured.gap_rows(read, TOP, RANDOM),
              "raw": measured.gap_rows(read, TOP, RAW),
              "twins": measured.twin_rows(read, noise),
              "by_part": parts.part_rows(parts.part_scores(read)),
              "as_shown": parts.shown_rows(parts.part_scores(read)),
              "first": parts.first_word_rows(read, noise)}
    claims = claims_of(**{name: measured.stacked({"m": rows}) for name, rows in tables.items()})
    of_neurons = {"own beyond swapped, silent samples too", "planted meanings are found",
                  "as good as shown"}
    assert {key: claim.of for key, claim in claims.items()} == {
        key: "neurons" if key in of_neurons else "scenes" for key in claims}
    pooled = claims["own beyond swapped, silent samples too"]
    assert {row.n for row in pooled.comparisons} == {EACH}
    assert {row.n for row in claims["as good as shown"].comparisons} == {EACH}
    assert [row.n for row in claims["own beyond swapped"].comparisons] == means[
        (means["explained"] == TOP) & (means["scored"] == ON_TOP)]["images"].tolist()
    # a text neuron's top samples without those that it was chosen by
    assert {row.n for row in claims["first words"].comparisons} == {read.chosen.records.top - 5}


def test_scores_by_modality_are_parts_of_the_scores(meant):
    read = meant[1]
    found = parts.part_scores(read)
    on_top = read.scores[(read.scores["explained"] == TOP) & (read.scores["scored"] == ON_TOP)]
    keys = ["kind", "neuron", "sample"]
    for is_own, column in ((True, "own"), (False, "swapped")):
        mean = found[(found["who"] < 0) == is_own].groupby(keys)["value"].mean()
        expected = on_top.groupby(keys)[column].mean()
        np.testing.assert_allclose(mean, expected.loc[mean.index], atol=1e-12)


def test_a_mean_of_two_modalities_that_is_of_one_alone_is_told(meant, noise):
    for read, verdict in ((meant[1], "agrees"), (noise, "not shown")):
        rows = measured.stacked({"m": parts.part_rows(parts.part_scores(read))})
        claim = claims_of(by_part=rows)["each modality"]
        assert [row.condition for row in claim.comparisons] == list(parts.PARTS.values())
        assert verdicts_of(claim) == [verdict] * 2
    _, silent = read_of(turned=lambda records: np.where(
        records.text[records.samples][:, :, :records.values.shape[2]], 0, records.values
    ).astype(np.float32))
    found = parts.part_scores(silent)
    claim = claims_of(by_part=measured.stacked({"m": parts.part_rows(found)}))["each modality"]
    assert verdicts_of(claim) == ["agrees", "not shown"]
    whole = found[found["kind"] == "multi-modal"]
    assert whole[whole["who"] < 0]["value"].mean() > 0.1  # the mean does not show it
    assert parts.part_rows(found[found["kind"] == "visual"]).empty


def test_neurons_as_good_as_shown_are_counted_beside_swapped_ones(meant, noise):
    scores = parts.part_scores(meant[1])
    rows = parts.shown_rows(scores).set_index("kind")
    each = meant[1].scores.query("explained == @TOP and scored == @ON_TOP").groupby(
        ["kind", "neuron"])["own"].mean()
    for kind in KINDS:
        assert rows.loc[kind, "own"] == (each[kind] >= parts.AS_SHOWN).mean()
        assert rows.loc[kind, "best"] == pytest.approx(each[kind].max())
    claim = claims_of(as_shown=measured.stacked({"m": rows.reset_index()}))["as good as shown"]
    assert verdicts_of(claim).count("agrees") >= 2
    none = measured.stacked({"m": parts.shown_rows(parts.part_scores(noise))})
    assert verdicts_of(claims_of(as_shown=none)["as good as shown"]) == ["not shown"] * 3
    everyone = parts.shown_rows(scores, -1.0)
    assert (everyone["value"] == 0).all() and (everyone["swapped"] == 1).all()
    alone = scores[scores["neuron"] == scores["neuron"].iloc[0]]
    assert parts.shown_rows(alone[alone["who"] < 0])["value"].isna().all()


def of_words(which):
    """The first text neuron is at its maximum wherever a word is; all others are as they were."""
    def turn(records):
        values = records.values.copy()
        for slot, sample in enumerate(records.samples[EACH]):
            own = SAMPLES[sample]
            values[EACH, slot] = 0
            counted = np.flatnonzero(own.counted("text"))
            values[EACH, slot, counted[which(own)]] = records.maxima[EACH]
        return values
    return turn


def first_place(sample):
    return SEEN.patterns.of(sample, "text")[parts.TEXT.index(parts.FIRST)] > 0


def the_word_the(sample):
    return np.array([word == "the" for word in sample.answer])


def test_a_neuron_of_first_words_is_told_from_one_of_a_word(noise):
    _, firsts = read_of(turned=of_words(first_place))
    rows = parts.first_word_rows(firsts, noise)
    assert rows["against"].tolist() == [parts.BEST_WORD, parts.UNTRAINED]
    assert rows["own"].to_numpy() == pytest.approx(1) and set(rows["neuron"]) == {EACH}
    claim = claims_of(first=measured.stacked({"m": rows}))["first words"]
    assert verdicts_of(claim) == ["agrees"] * 2
    # in this grammar many sentences begin with that word
    _, word = read_of(1.0, 1.0, turned=of_words(the_word_the))
    rows = parts.first_word_rows(word, firsts)
    claim = claims_of(first=measured.stacked({"m": rows}))["first words"]
    assert verdicts_of(claim) == ["contradicts"] * 2
    same = parts.first_word_rows(firsts, firsts)
    assert same["value"].iloc[1] == 0 and same["low"].iloc[1] <= 0 <= same["high"].iloc[1]
    few = replace(firsts, chosen=replace(firsts.chosen, neurons=firsts.chosen.neurons.iloc[:EACH]))
    assert parts.first_word_rows(few, noise).empty and parts.first_word_rows(firsts, few).empty


def test_tables_are_readable_and_stand_beside_the_papers_numbers(meant, noise):
    read = meant[1]
    means = measured.stacked({"planted": measured.mean_rows(read)})
    table = words.means_table(means)
    papers = table[f"{published.LLAVA} (paper)"]
    assert papers["planted", "visual", TOP, ON_TOP] == 0.160
    assert papers["planted", "multi-modal", RANDOM, ON_TOP] == 0.175
    assert papers.loc[(slice(None), slice(None), RAW)].isna().all()
    assert np.isnan(papers["planted", "text", TOP, ON_BOTH])
    papers = table[f"{published.INTERNVL} (paper)"]
    assert papers["planted", "visual", TOP, ON_TOP] == 0.148
    assert papers["planted", "text", RANDOM, ON_TOP] == 0.104
    assert np.isnan(papers["planted", "multi-modal", RANDOM, ON_TOP])  # cut off in the copy
    gaps = [measured.stacked({"planted": rows}) for rows in (
        measured.place_rows(read), measured.gap_rows(read, TOP, RANDOM),
        measured.gap_rows(read, TOP, RAW), measured.twin_rows(read, noise))]
    assert len(words.gap_table(*gaps)) == 3
    assert (words.gap_table(*gaps[:3], EMPTY)["own − swapped, beyond random weights"] == "–").all()
    scores = parts.part_scores(read)
    for made, rows, count in (
            (parts.part_table, parts.part_rows(scores), 2),
            (parts.shown_table, parts.shown_rows(scores), 3),
            (parts.first_word_table, parts.first_word_rows(read, noise), 2)):
        assert len(made(measured.stacked({"planted": rows}))) == count
        assert made(EMPTY).empty
    finding = words.finding(means, "planted")
    assert all(f"({kind})" in finding for kind in KINDS)
    assert words.finding(means, "another").startswith("Scores of")
    assert len(published.published_rows()) == 12


def test_what_is_named_and_shown(meant):
    made, read = meant
    named = shown.naming_rows(read)
    shares = named.groupby(["kind", "modality"])["value"].sum()
    np.testing.assert_allclose(shares, 1)
    assert set(named["kind"]) == set(KINDS)
    examples = shown.examples(read)
    assert [each.kind for each in examples] == list(KINDS)
    for each in examples:
        own = read.scores[(read.scores["explained"] == TOP) & (read.scores["scored"] == ON_TOP)
                          & (read.scores["kind"] == each.kind)].groupby("neuron")["own"].mean()
        assert each.value == pytest.approx(own[each.neuron])
        assert (own > each.value).mean() <= 0.25
        assert len(each.simulated) == len(each.record.values)
    assert all(name.startswith("layer 1, neuron") for name in shown.first_words(read))


def test_the_ends_of_the_scores_are_of_sure_neurons(meant):
    _, read = meant
    found = shown.extreme_rows(read)
    assert found["kind"].tolist() == [kind for kind in KINDS for _ in range(2)]
    assert found["which"].tolist() == ["highest", "lowest"] * 3
    each = read.scores.query("explained == @TOP and scored == @ON_TOP").groupby(
        ["kind", "neuron"])["own"].mean()
    for row in found.to_dict("records"):
        of_kind = each[row["kind"]]
        assert row["value"] == pytest.approx(
            of_kind.max() if row["which"] == "highest" else of_kind.min())
        place = read.chosen.neurons["neuron"].tolist().index(row["neuron"])  # all in layer 1
        assert row["said"] == read.said[TOP][place].text and row["neurons"] == EACH
    table = words.extreme_table(measured.stacked({"planted": found}))
    assert len(table) == 6 and table.loc[("planted", "text", "highest"), "explanation"]
    # the best one is passed over once it is not sure of its type
    best = int(found["neuron"].iloc[0])
    neurons = read.chosen.neurons
    unsure = replace(read, chosen=replace(read.chosen, neurons=neurons.assign(
        sure=neurons["neuron"] != best)))
    again = shown.extreme_rows(unsure)
    assert again["neuron"].iloc[0] != best and again["neurons"].tolist() == [EACH - 1] * 2 + (
        [EACH] * 4)
    none = replace(read, chosen=replace(read.chosen, neurons=neurons.assign(sure=False)))
    assert words.extreme_table(measured.stacked({"m": shown.extreme_rows(none)})).empty


def test_ways_to_score_and_answers_of_every_kind(meant):
    rows = variants.variant_rows(meant[1])
    assert len(rows) == len(variants.VARIANTS) * 3
    zero, drop = (rows[rows["variant"] == name]["value"].to_numpy() for name in list(
        variants.VARIANTS)[:2])
    assert (drop >= zero - 1e-12).all()
    on_top = measured.mean_rows(meant[1]).query("explained == @TOP and scored == @ON_TOP")
    np.testing.assert_allclose(zero, on_top["own"])
    told = variants.rehearsed(meant[1]).set_index(["asked", "answer"])["outcome"]
    assert told["explanation", "as asked for"] == told["simulation", "as asked for"] == "taken"
    assert told["explanation", "first in prose, then as asked for"] == "taken, after one repair"
    failures = {"in prose twice", "refused", "a word too few", "another word",
                "a number above 10"}
    assert set(told[told == "counted as a failure"].index.get_level_values(1)) == failures
    assert told.str.startswith("stops with one line").sum() == 2


def test_what_was_read_of_scenes_drawn_again_is_kept(tmp_path, monkeypatch):
    model = random_vlm(dtype=torch.float32)

    class Study:
        settings, n_scenes, results_folder = {"dataset": {"seed": 0}}, 30, tmp_path

        def model(self, name):
            return model

    found = causes.stored_moved(Study(), "one", 5)
    expected = moved(model, single_scenes(5, first=30))
    np.testing.assert_array_equal(found.image, expected.image)
    np.testing.assert_array_equal(found.text, expected.text)
    monkeypatch.setattr(causes, "moved", None)  # nothing is read a second time
    again = causes.stored_moved(Study(), "one", 5)
    np.testing.assert_array_equal(again.text, expected.text)
