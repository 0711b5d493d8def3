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
from neuronpath_core.chapters.vlm_paths import answers, spared, walked, words
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
    rows = [{**vars(run), "neurons": 20, "total": 100, "score": 4.0,
             "right": rng.random(300) < rights.get(run.rule, 0.5)} for run in spared.runs(3)]
    rows.append({**vars(spared.Run(spared.WHOLE, np.nan)), "neurons": 0, "total": 100, "score": 4.5,
                 "right": rng.random(300) < 0.95})
    return pd.DataFrame(rows)


def claims_of(gains=None, lost=None, image=None, crossing=None, multi=None, colours=None,
              shared=None):
    none = pd.DataFrame({"kind": [], "against": [], "part": [], "fill": [], "level": []})
    given = [none if table is None else table.assign(data="scenes", model="m")
             for table in (gains, lost, image, crossing, multi, colours, shared)]
    return {claim.key: claim for claim in verdicts.made_from(*given)}


def test_claims_say_what_n_counts():
    claims = claims_of()
    assert {key: claim.of for key, claim in claims.items()} == {
        key: "questions" if key.startswith("unknown against") else "words" for key in claims}


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
    shares = words.pruning_table(table.assign(model="m"), 100)["LLaVA-1.5, % of neurons"]
    assert shares.loc["m", :, "unknown"].tolist() == ["3.2", "–", "6.4", "–", "10.2", "–", "14.6",
                                                      "–"]  # with zeros, with means
    assert shares.loc["m", :, "random"].tolist() == ["3.2", "6.4", "10.2", "14.6"]
    assert set(shares.loc["m", :, spared.WHOLE]) == {"0.0"}
    assert set(shares.loc["m", :, "matched"]) == {"–"}


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


def test_where_words_cross_from_image_to_answer():
    assert answers.mean_layer(np.array([[0, 2, 0, -2.0], [0, 0, 0, 0]])).tolist()[0] == 3.0
    late = answers.crossing_rows({"question": effects_of(1, 5)}, TOWER)
    assert late["value"].item() == pytest.approx(0.8, abs=0.15)
    assert word_of(claims_of(crossing=late)["crossing"]) == "Yes"
    early = answers.crossing_rows({"question": effects_of(4, 1)}, TOWER)
    assert word_of(claims_of(crossing=early)["crossing"]) == "No"
    profile = answers.profile_rows(effects_of(1, 5), TOWER, "question")
    assert len(profile) == TOWER + 4 + 5
    assert profile.loc[profile["value"].idxmax(), "place"] in ("image tokens",
                                                               "predicting position")


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
        assert word_of(claims["the word's own"]) == word_of(claims["the image's own"]) == said
    assert set(lost["against"]) == set(answers.CONTROLS.values())
    row = answers.image_row(lost_of(0.3, 0.3))
    assert row["low"] < 0 < row["high"]


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
    accuracy = words.stacked(names, lambda name: spared.table_rows(pruned[name]))
    effects = walked.crossings(study, "tiny", walks["tiny"], ("question", "caption"))
    crossing = words.stacked(names, lambda name: answers.crossing_rows(effects, 3))
    profile = answers.profile_rows(effects["question"], 3, "question")
    curves, whole = words.curves(accuracy, "tiny", 20)
    figure = drawn.spared(curves, whole, profile,
                          finding=words.finding(gains, crossing, "tiny"))
    assert len(figure.axes[0].lines) >= len(drawn.SHOWN) + 1
    assert set(drawn.SHOWN) < set(pruning.RULES)
    assert [text.get_text() for text in figure.legends[0].get_texts()][-1] == "whole model"
    lost = words.stacked(names, lambda name: answers.lost_rows(walks[name]))
    assert drawn.lost_without(lost, finding=words.lost_finding(lost, "tiny"))
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
                        (words.crossing_table(crossing), crossing),
                        (words.neuron_table(multi), multi),
                        (words.colour_table(colours), colours),
                        (words.shared_table(shared), shared)):
        assert len(table) == len(rows) and not table.isna().to_numpy().any()
    claims = verdicts.made_from(gains, lost, image, crossing, multi, colours, shared)
    assert len({claim.key for claim in claims}) == len(claims) == 11
    assert all(claim.unit in UNITS and claim.comparisons for claim in claims)
    for claim in claims:  # n counts the very column that the tables have
        expected = "questions" if claim.key.startswith("unknown against") else "words"
        assert claim.of == expected, claim.key
        assert {row.n for row in claim.comparisons} <= (
            {SIZES.questions} if expected == "questions" else set(range(1, 7))), claim.key
    gap = walked.theorem_gap(walks["tiny"])
    assert gap["gap"] < 1e-10 < gap["size"]
    # all of it is kept: nothing is computed again
    for module, name in ((spared, "_measured"), (spared, "_attributed")):
        monkeypatch.setattr(module, name, None)
    for name in ("paths_of", "layer_effects", "lost", "chances"):
        monkeypatch.setattr(walked.answer_paths, name, lambda *given: None)
    again = spared.pruned_rows(study, "tiny", SIZES)
    assert all(map(np.array_equal, again["right"], pruned["tiny"]["right"]))
    np.testing.assert_array_equal(again["score"], pruned["tiny"]["score"])
    second = walked.walk(study, "tiny", 6)
    assert all(np.array_equal(second.paths[key], walks["tiny"].paths[key])
               for key in second.paths)
    np.testing.assert_array_equal(
        walked.crossing(study, "tiny", second, "question", "last"), effects["question"]["last"])
    with pytest.raises(TypeError):  # other sizes are another table
        spared.pruned_rows(study, "tiny", replace(SIZES, questions=15))
