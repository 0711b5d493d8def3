"""Chapter 34: what is told of neurons that are spared and of paths of answers, on planted effects,
on planted nulls, and on a tiny study from end to end."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml

from neuronpath_core.chapters.verdicts import vlm_paths as verdicts
from neuronpath_core.chapters.vlm_paths import (
    answers,
    captions,
    said,
    spared,
    walked,
    words,
)
from neuronpath_core.chapters.vlm_study import open_vlm
from neuronpath_core.figures import vlm_paths as drawn
from neuronpath_core.stats.grades import grade
from neuronpath_core.stats.units import UNITS
from neuronpath_core.vlm import pruning
from neuronpath_core.vlm.answer_paths import OWN
from neuronpath_core.vlm.answers import cases
from neuronpath_core.vlm.colour_maps import colour_separations
from neuronpath_core.vlm.model import build, save_weights
from neuronpath_core.vlm.scenes import compose_many
from tests.vlm.planted import SMALL

ROOT = Path(__file__).parents[2]
SIZES = spared.Sizes(14, 4, 7, 2)
SCENES = list(compose_many("held_out", 24))
LAYERS, TOWER = 8, 3


# --- pruning ---


def found_of(rights):
    """``spared.pruned_rows`` whose accuracies are planted: rule -> share of questions answered."""
    rng = np.random.default_rng(0)
    rows = [{**vars(run), "neurons": 20, "total": 100,
             "right": rng.random(300) < rights.get(run.rule, 0.5)} for run in spared.runs(3)]
    rows.append({**vars(spared.Run(spared.WHOLE, np.nan)), "neurons": 0, "total": 100,
                 "right": rng.random(300) < 0.95})
    return pd.DataFrame(rows)


def scores_of(means, scenes=40, seed=0):
    """``captions.caption_rows`` whose scores are planted: rule -> mean score of a scene."""
    rng = np.random.default_rng(seed)
    hard = rng.random(scenes)  # some scenes are harder, whatever is taken away

    def scores(rule):
        return means.get(rule, 4.0) - hard + 0.05 * rng.standard_normal(scenes)

    rows = [{**vars(spared.Run(spared.WHOLE, np.nan)), "scores": scores(spared.WHOLE)}]
    return pd.DataFrame(rows + [{**vars(run), "scores": scores(run.rule)}
                                for run in captions.runs(3)])


def claims_of(gains=None, lost=None, image=None, totals=None, multi=None, colours=None,
              shared=None, scores=None):
    none = pd.DataFrame({"kind": [], "against": [], "part": [], "fill": [], "level": []})
    given = [none if table is None else table.assign(data="scenes", model="m")
             for table in (gains, scores, lost, image, totals, multi, colours, shared)]
    return {claim.key: claim for claim in verdicts.made_from(*given)}


def counted(key):
    return next((units for name, units in (("unknown against", "questions"),
                                           ("captions against", "scenes"))
                 if key.startswith(name)), "words")


def test_claims_say_what_n_counts():
    claims = claims_of()
    assert {key: claim.of for key, claim in claims.items()} == {
        key: counted(key) for key in claims}


def word_of(claim):
    return grade(claim.comparisons, UNITS[claim.unit]).word


@pytest.mark.parametrize("unknown, others, said", [
    (0.9, 0.6, "Yes"), (0.6, 0.9, "No"), (0.7, 0.7, None)])
def test_what_pruning_costs_is_judged_question_by_question(unknown, others, said):
    rights = {rule: others for rule in pruning.RULES} | {"unknown": unknown}
    gains = spared.gain_rows(found_of(rights))
    claims = claims_of(gains)
    keys = ("unknown against random", "unknown against alike")
    for key in keys:
        # of a null a few comparisons may go either way
        assert word_of(claims[key]) == said if said else word_of(claims[key]) not in ("Yes", "No")
        assert claims[key].unit in UNITS
    assert claims[keys[0]].by == "companion" and claims[keys[1]].by == "book"
    assert len(claims[keys[0]].comparisons) == 4 and len(claims[keys[1]].comparisons) == 8


def test_a_gain_is_the_difference_of_means_over_draws():
    found = found_of({})
    row, = [row for row in spared.gain_rows(found).to_dict("records")
            if (row["level"], row["fill"], row["against"]) == (0.8, "zero", "matched")]
    own = found[(found["level"] == 0.8) & (found["fill"] == "zero")]
    matched = [flags.mean() for flags in own.loc[own["rule"] == "matched", "right"]]
    unknown, = own.loc[own["rule"] == "unknown", "right"]
    assert row["value"] == pytest.approx(unknown.mean() - np.mean(matched))
    assert row["low"] < row["value"] < row["high"]
    table = spared.table_rows(found)
    assert set(table["draws"]) == {1, 3}
    published = table[(table["rule"] == "unknown") & (table["fill"] == "zero")]
    assert published["paper"].tolist() == [64.1, 61.3, 60.3, 58.9]
    assert table[table["rule"] == spared.WHOLE]["paper"].item() == 65.6
    assert table[table["rule"] == "matched"]["paper"].isna().all()
    shares = words.pruning_table(table.assign(model="m", score=np.nan), 100)["LLaVA-1.5, % of neurons"]
    assert shares.loc["m", :, "unknown"].tolist() == ["3.2", "–", "6.4", "–", "10.2", "–", "14.6",
                                                      "–"]  # with zeros, with means
    assert shares.loc["m", :, "random"].tolist() == ["3.2", "6.4", "10.2", "14.6"]
    assert set(shares.loc["m", :, spared.WHOLE]) == {"0.0"}
    assert set(shares.loc["m", :, "matched"]) == {"–"}


@pytest.mark.parametrize("unknown, shown", [(3.5, "No"), (4.5, "Yes"), (4.0, None)])
def test_what_captions_lose_is_judged_scene_by_scene(unknown, shown):
    found = scores_of({"unknown": unknown})
    scores = captions.score_rows(found)
    assert len(scores) == 8 and set(scores["scenes"]) == {40}
    # paired: far narrower than the scenes differ
    assert (scores["high"] - scores["low"] < 0.06).all()
    assert scores["value"].to_numpy() == pytest.approx(scores["own"] - scores["other"])
    claims = claims_of(scores=scores)
    for key in ("captions against random", "captions against alike"):
        assert len(claims[key].comparisons) == 4 and claims[key].unit in UNITS
        if shown:
            assert word_of(claims[key]) == shown
        else:  # of a null a comparison in four may go either way
            assert [row.verdict for row in claims[key].comparisons].count("not shown") >= 3
    span, tally = said.scores_said(scores.assign(model="m"), "matched", "m")
    if shown:  # how much worse: the sign is turned
        worse = [float(end) for end in span.split(" to ")]
        assert worse == pytest.approx([0.5, 0.5] if shown == "No" else [-0.5, -0.5], abs=0.05)
        assert tally.startswith("4 of 4 comparisons" if shown == "No" else "0 of 4 comparisons")


def test_a_captions_score_is_the_mean_over_draws_and_scenes():
    found = scores_of({"unknown": 3.0})
    accuracy = captions.scored(spared.table_rows(found_of({})), found)
    own = found[(found["rule"] == "matched") & (found["level"] == 0.7)]
    assert len(own) == 3  # every draw
    row, = accuracy[(accuracy["rule"] == "matched") & (accuracy["level"] == 0.7)
                    & (accuracy["fill"] == "zero")].to_dict("records")
    assert row["score"] == pytest.approx(np.mean([*own["scores"]]))
    whole, = accuracy.loc[accuracy["rule"] == spared.WHOLE, "score"]
    assert whole == pytest.approx(found["scores"].iloc[0].mean())
    assert accuracy.loc[(accuracy["fill"] == "its mean") | (accuracy["rule"] == "visual"),
                        "score"].isna().all()


def test_the_papers_gaps_are_those_of_its_table():
    gains = pd.DataFrame({"model": "m", "against": "random", "level": list(spared.PAPER),
                          "fill": "zero", "low": [-0.011, -0.017, -0.03, -0.006],
                          "high": [0.013, 0.024, 0.019, 0.041]})
    other = gains.assign(against="matched", high=0.9)
    assert said.paper_gaps(pd.concat([gains, other]), "m") == ("1.2 to 4.6", "1 of 4")


def test_a_difference_that_changes_its_sign_is_told_from_both_ends():
    gains = pd.DataFrame({"model": "m", "against": "matched", "level": [0.9, 0.6],
                          "fill": ["zero", "mean"], "value": [-0.017, 0.046],
                          "low": [-0.04, 0.013], "high": [0.002, 0.083]})
    assert said.gains_said(gains, "matched", "m") == (
        "-1.7 to +4.6", "1 of 2 comparisons; the other is not shown")


def test_the_published_levels_or_else_the_papers_shares():
    p = np.full((100, 4), 0.1)
    p[:7, 3] = 0.85
    neurons = pruning.Neurons(p, np.repeat([0, 1], 50), *np.random.default_rng(0).random((3, 100)))
    assert spared.taken(neurons, 0.8).sum() == 7
    assert spared.taken(neurons, 0.9).sum() == 3  # none: the surest 3.2 %
    assert (spared.taken(neurons, 0.9) <= spared.taken(neurons, 0.8)).all()
    p[:70, 3] = 0.95
    assert spared.taken(neurons, 0.6).sum() == 15  # more than half: the surest 14.6 %


# --- paths ---


def walked_of(question, caption=None, forced=None, others=None):
    """Paths of planted units, without a model behind them."""
    own = {kind: cases(SCENES, kind) for kind in ("question", "caption", "forced")}
    other = np.full((len(SCENES), LAYERS), 9)
    paths = {("question", OWN): question,
             ("caption", OWN): question if caption is None else caption,
             ("forced", OWN): other if forced is None else forced}
    for kind in own:
        paths[kind, OWN] = paths[kind, OWN][:len(own[kind])]
        paths[kind, walked.AS_ACTIVE] = (other if others is None else others)[:len(own[kind])]
    return walked.Walked(None, SCENES, TOWER, own, paths, {}, {})


def random_paths(seed, units=10):
    return np.random.default_rng(seed).integers(0, units, (len(SCENES), LAYERS))


def test_paths_that_are_shared_are_told_from_paths_that_agree_by_chance():
    shared = answers.shared_rows(walked_of(random_paths(0), forced=random_paths(1)))
    assert (shared["own"] == 1).all() and (shared["other"] < 0.3).all()
    assert word_of(claims_of(shared=shared)["one path for two ways of saying it"]) == "Yes"
    null = answers.shared_rows(walked_of(random_paths(0), random_paths(1), random_paths(2)))
    assert word_of(claims_of(shared=null)["one path for two ways of saying it"]) != "Yes"


def test_paths_through_multi_modal_neurons_are_told_from_others():
    p = np.tile([0.7, 0.1, 0.1, 0.1], ((LAYERS - TOWER) * 10, 1))
    p[::10] = [0.1, 0.1, 0.7, 0.1]  # unit 0 of each layer
    p[1::10] = np.nan
    through = answers.multi_rows(walked_of(np.zeros((len(SCENES), LAYERS), int),
                                           forced=np.zeros((len(SCENES), LAYERS), int)), p)
    assert (through["own"] == 1).all() and (through["other"] == 0).all()
    assert (through["all"] == 0.1).all()
    assert word_of(claims_of(multi=through)["through multi-modal neurons"]) == "Yes"
    dead = answers.multi_rows(walked_of(np.ones((len(SCENES), LAYERS), int)), p)
    assert (dead["own"] == 0).all()
    assert word_of(claims_of(multi=dead)["through multi-modal neurons"]) != "Yes"


def test_neurons_of_the_colour_are_told_from_neurons_of_any_colour():
    rng = np.random.default_rng(0)
    maps = [0.1 * rng.random((10, 8)) for _ in range(LAYERS)]
    for layer in maps:
        layer[np.arange(8), np.arange(8)] = 0.4  # unit k tells colour k
    own = cases(SCENES, "question")
    of_colour = np.array([[answers.COLOURS_AT[case.word]] * LAYERS for case in own])
    told = answers.colour_rows(walked_of(of_colour), maps)
    assert word_of(claims_of(colours=told)["through neurons of the colour"]) == "Yes"
    assert set(told["against"]) == {"units as active", "a colour that is not there"}
    null = answers.colour_rows(walked_of(random_paths(5, 8), others=random_paths(6, 8)),
                               [rng.random((10, 8)) for _ in range(LAYERS)])
    assert word_of(claims_of(colours=null)["through neurons of the colour"]) != "Yes"


def effects_of(image_layer, last_layer, seed=0):
    rng = np.random.default_rng(seed)
    image, last = (0.01 * rng.random((30, TOWER + count)) for count in (4, 5))
    image[:, TOWER + image_layer - 1] += 0.5
    last[:, TOWER + last_layer - 1] += 0.5
    return {"image": image, "last": last}


def test_blocks_are_told_that_cost_an_answer():
    effects = {"question": effects_of(2, 5)}
    layers = answers.layer_rows(effects, TOWER).assign(model="m")
    assert len(layers) == TOWER + 4 + 5 and set(layers["words"]) == {30}
    effects["question"]["image"][:, TOWER:] -= 0.005  # of no block the others are above zero
    effects["question"]["last"][:, TOWER:] -= 0.005
    layers = answers.layer_rows(effects, TOWER).assign(model="m")
    assert said.blocks_shown(layers, "m", "image tokens").startswith("block 2 (+50.")
    assert said.blocks_shown(layers, "m", "predicting position").startswith("block 5 (+50.")
    table = words.layer_table(layers)
    assert len(table) == 5
    last = table.loc[("m", "answers to questions", 5)]
    assert last["at the image tokens"] == "–"  # nothing follows that could read them
    assert last["at the predicting position"].startswith("+50.")
    effects["question"]["image"][:] = np.random.default_rng(0).standard_normal((30, TOWER + 4))
    layers = answers.layer_rows(effects, TOWER).assign(model="m")
    assert said.blocks_shown(layers, "m", "image tokens") == "no block"


def test_losses_and_gains_keep_their_signs():
    assert answers.mean_layer(np.array([[0, 2, 0, 2.0]])) == 3.0
    # the gain of the last layer counts against its number, not for it
    assert answers.mean_layer(np.array([[0, 4, 0, -2.0]])) == 0.0
    effects = effects_of(1, 5)
    effects["image"][:, TOWER + 3] -= 0.7
    total = answers.total_row(effects, TOWER)
    assert total["image"] == pytest.approx(-0.2 + 4 * 0.005, abs=0.01)
    assert total["last"] == pytest.approx(0.5 + 5 * 0.005, abs=0.01)
    assert total["value"] == pytest.approx(total["last"] - total["image"])


def test_a_depth_is_told_only_of_losses_that_are_shown():
    late = answers.total_row(effects_of(1, 5), TOWER)
    assert late["image_layer"] == pytest.approx(1, abs=0.2)
    assert late["last_layer"] == pytest.approx(5, abs=0.2)
    assert late["depth_low"] < late["depth"] < late["depth_high"]
    assert late["depth"] == pytest.approx(0.8, abs=0.1)
    # noise around zero at the image's tokens has a mean block by size, but says nothing of one
    effects = effects_of(1, 5)
    effects["image"][:, TOWER:] = np.random.default_rng(1).standard_normal((30, 4))
    noise = answers.total_row(effects, TOWER)
    assert noise["image_low"] < 0 < noise["image_high"]
    assert all(np.isnan(noise[name]) for name in ("image_layer", "last_layer", "depth",
                                                  "depth_low", "depth_high"))
    row = words.total_table(pd.DataFrame([{"model": "m", "kind": "k", **noise}])).iloc[0]
    assert list(row).count("–") == 3


@pytest.mark.parametrize("image, last, shown", [(0.0, 0.3, "Yes"), (0.3, 0.0, "No"),
                                                (0.1, 0.1, "Undecided")])
def test_where_blocks_are_missed_is_judged_by_sums_of_losses(image, last, shown):
    effects = {at: np.random.default_rng(seed).standard_normal((200, TOWER + count)) * 0.1
               for at, seed, count in (("image", 0, 4), ("last", 1, 5))}
    effects["image"][:, TOWER] += image
    effects["last"][:, TOWER + 4] += last
    totals = answers.total_rows({"question": effects}, TOWER)
    assert word_of(claims_of(totals=totals)["where blocks are missed"]) == shown


def lost_of(own, other):
    rng = np.random.default_rng(0)
    values = {}

    def lost(kind, which, part="all"):
        mean = own if which == OWN else other
        key = kind, which == OWN, part
        values.setdefault(key, mean + 0.05 * rng.standard_normal(len(cases(SCENES, kind))))
        return values[key]
    base = walked_of(random_paths(0))
    return SimpleNamespace(lost=lost, cases=base.cases,
                           chance={kind: np.full(24, 0.9) for kind in base.cases})


@pytest.mark.parametrize("own, other, said", [(0.5, 0.1, "Yes"), (0.1, 0.5, "No"),
                                              (0.3, 0.3, "Undecided")])
def test_a_path_is_the_words_own_if_it_takes_more_than_others(own, other, said):
    lost = answers.lost_rows(lost_of(own, other))
    claims = claims_of(lost=lost)
    assert word_of(claims["path of a word"]) == said
    if said != "Undecided":
        assert {word_of(claims[key]) for key in (
            "the word's own", "the image's own", "path against the most active")} == {said}
    assert set(lost["against"]) == set(answers.CONTROLS.values())
    row = answers.image_row(lost_of(0.3, 0.3))
    assert row["low"] < 0 < row["high"]


def test_prose_names_the_controls_that_it_speaks_of():
    """Every number is of its own row: of the other image and of words that grammar forces."""
    kinds = [(kind, which) for kind, every in walked.SEARCHES.items()
             for which in (walked.AS_ACTIVE, *every[1:])]
    lost = pd.DataFrame([{"model": "m", "kind": walked.SAID[kind], "own": 0.25,
                          "against": answers.CONTROLS[which], "other": number / 100,
                          "value": number / 100, "low": -0.5, "high": 0.5}
                         for number, (kind, which) in enumerate(kinds, 1)])
    effects = {"question": effects_of(2, 5)}
    tables = (spared.gain_rows(found_of({})), captions.score_rows(scores_of({"unknown": 3.5})),
              lost, answers.layer_rows(effects, TOWER), answers.total_rows(effects, TOWER))
    prose = said.prose("m", *(table.assign(model="m") for table in tables))
    place = {pair: number for number, pair in enumerate(kinds, 1)}
    assert prose["own lost"] == "25.0"
    assert prose["active lost"] == f"{place['question', walked.AS_ACTIVE]}.0"
    assert prose["other image lost"] == f"{place['question', 'other image']}.0"
    assert prose["forced lead"].startswith(f"+{place['forced', 'most active']}.0 points")
    assert prose["last blocks"].count("block") == 5 and "block 5 (+50" in prose["last blocks"]
    assert prose["image total"].startswith("+52.") and prose["last total"].startswith("+52.")
    assert prose["tally captions random"] == "4 of 4 comparisons"
    assert {"kept random", "tally matched", "gaps inside", "captions matched"} <= set(prose)


# --- the whole ---


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    (root / "profiles").mkdir()
    (root / "notebooks").mkdir()
    (root / "neuronpath_core").mkdir()
    shutil.copy(ROOT / "profiles" / "digits.yml", root / "profiles")
    weights = "data/weights/vlm/tiny.safetensors"
    entries = {"dataset": {"name": "scenes", "train_scenes": 5, "held_out_scenes": 60, "seed": 0},
               "models": {"tiny": {"kind": "llava", "weights": weights, "tower": SMALL[0],
                                   "decoder": SMALL[1],
                                   "training": {"seed": 0, "steps": {"everything": 1}}}},
               "notebooks": {}}
    (root / "profiles" / "mine.yml").write_text(yaml.safe_dump(entries))
    (root / weights).parent.mkdir(parents=True)
    save_weights(build(1, *SMALL), root / weights)
    return open_vlm("mine", 52, root=root, results=root / "results")


@pytest.mark.thorough
def test_a_whole_chapter_of_a_tiny_study(study, monkeypatch):
    plt.switch_backend("agg")
    names = ["tiny"]
    pruned = {"tiny": spared.pruned_rows(study, "tiny", SIZES)}
    walks = {"tiny": walked.walk(study, "tiny", 6)}
    gains = words.stacked(names, lambda name: spared.gain_rows(pruned[name]))
    spoken = {"tiny": captions.caption_rows(study, "tiny", SIZES)}
    scores = words.stacked(names, lambda name: captions.score_rows(spoken[name]))
    accuracy = words.stacked(names, lambda name: captions.scored(
        spared.table_rows(pruned[name]), spoken[name]))
    effects = walked.crossings(study, "tiny", walks["tiny"], ("question", "caption"))
    totals = words.stacked(names, lambda name: answers.total_rows(effects, 3))
    layers = words.stacked(names, lambda name: answers.layer_rows(effects, 3))
    profile = answers.profile_rows(effects["question"], 3, "question")
    curves, whole = words.curves(accuracy, "tiny", 20)
    figure = drawn.spared(curves, whole, profile,
                          finding=said.finding(gains, layers, "tiny"))
    assert len(figure.axes[0].lines) >= len(drawn.SHOWN) + 1
    assert set(drawn.SHOWN) < set(pruning.RULES)
    assert [text.get_text() for text in figure.legends[0].get_texts()][-1] == "whole model"
    lost = words.stacked(names, lambda name: answers.lost_rows(walks[name]))
    assert drawn.lost_without(lost, finding=said.lost_finding(lost, "tiny"))
    image = words.stacked(names, lambda name: answers.image_row(walks[name]))
    parts = words.stacked(names, lambda name: answers.part_rows(walks[name]))
    multi = words.stacked(names, lambda name: answers.multi_rows(walks[name],
                                                                 study.types(name)))
    colours = words.stacked(names, lambda name: answers.colour_rows(
        walks[name], colour_separations(walks[name].vlm, study.scenes())))
    shared = words.stacked(names, lambda name: answers.shared_rows(walks[name]))
    types = words.stacked(names, lambda name: spared.type_rows(
        study, name, spared.neurons_of(study, name, SIZES)))
    for table, rows in ((words.pruning_table(accuracy, 20), accuracy),
                        (words.gain_table(gains), gains), (words.type_table(types), types),
                        (words.lost_table(lost), lost), (words.part_table(parts), parts),
                        (words.score_table(scores), scores), (words.total_table(totals), totals),
                        (words.layer_table(layers), layers[layers["place"] == "predicting position"]),
                        (words.neuron_table(multi), multi),
                        (words.colour_table(colours), colours),
                        (words.shared_table(shared), shared)):
        assert len(table) == len(rows) and not table.isna().to_numpy().any()
    prose = said.prose("tiny", gains, scores, lost, layers, totals)
    assert all(prose.values()) and not [name for name, text in prose.items() if "nan" in text]
    claims = verdicts.made_from(gains, scores, lost, image, totals, multi, colours, shared)
    assert len({claim.key for claim in claims}) == len(claims) == 14
    assert all(claim.unit in UNITS and claim.comparisons for claim in claims)
    for claim in claims:  # n counts the very column that the tables have
        assert claim.of == counted(claim.key), claim.key
        assert {row.n for row in claim.comparisons} <= {
            "questions": {SIZES.questions}, "scenes": {SIZES.captions},
            "words": set(range(1, 7))}[claim.of], claim.key
    gap = walked.theorem_gap(walks["tiny"])
    assert gap["gap"] < 1e-10 < gap["size"]
    # all of it is kept: nothing is computed again
    for module, name in ((spared, "_measured"), (spared, "_attributed"),
                         (captions.abilities, "captions")):
        monkeypatch.setattr(module, name, None)
    for name in ("paths_of", "layer_effects", "lost", "chances"):
        monkeypatch.setattr(walked.answer_paths, name, lambda *given: None)
    again = spared.pruned_rows(study, "tiny", SIZES)
    assert all(map(np.array_equal, again["right"], pruned["tiny"]["right"]))
    assert all(map(np.array_equal, captions.caption_rows(study, "tiny", SIZES)["scores"],
                   spoken["tiny"]["scores"]))
    second = walked.walk(study, "tiny", 6)
    assert all(np.array_equal(second.paths[key], walks["tiny"].paths[key])
               for key in second.paths)
    np.testing.assert_array_equal(
        walked.crossing(study, "tiny", second, "question", "last"), effects["question"]["last"])
    with pytest.raises(TypeError):  # other sizes are another table
        spared.pruned_rows(study, "tiny", replace(SIZES, questions=15))
