"""A profile of vision-language models, opened: models with weights, scenes, records kept as tables.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from neuronpath_core.chapters import vlm_study
from neuronpath_core.chapters.modality import abilities, asked
from neuronpath_core.chapters.vlm_study import open_vlm
from neuronpath_core.study import vlm_reading, vlm_tables
from neuronpath_core.study.store.parts import StoreWarning
from neuronpath_core.study.vlm_reading import own_words, token_masks
from neuronpath_core.study.vlm_tables import records_of, records_table
from neuronpath_core.vlm.abilities import captions as generated
from neuronpath_core.vlm.abilities import pairs_said, pairs_shown
from neuronpath_core.vlm.batches import caption_batches
from neuronpath_core.vlm.gates import is_right
from neuronpath_core.vlm.modality_nulls import rotation
from neuronpath_core.vlm.model import build, save_weights
from neuronpath_core.vlm.questions import TYPES, questions
from neuronpath_core.vlm.records import collect
from tests.helpers import refused
from tests.vlm.planted import SMALL

SPEC = {"kind": "llava", "weights": "data/weights/vlm/one.safetensors", "tower": SMALL[0],
        "decoder": SMALL[1], "training": {"seed": 3, "steps": {"everything": 9},
                                          "checkpoints": [4]}}
PROFILE = {"dataset": {"name": "scenes", "train_scenes": 3, "held_out_scenes": 70, "seed": 0},
           "models": {"one": SPEC}, "replicas": {"one": [7]}}
FIELDS = ("values", "samples", "visual", "text", "maxima", "mean", "active", "layers")
SCENES = 60


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    for folder in ("profiles", "neuronpath_core", "data/weights/vlm"):
        (root / folder).mkdir(parents=True)
    (root / "profiles" / "mine.yml").write_text(yaml.safe_dump(PROFILE))
    for seed, name in ((3, "one.safetensors"), (9, "one.step-4.safetensors")):
        save_weights(build(seed, *SMALL), root / "data" / "weights" / "vlm" / name, half=False)
    return root


@pytest.fixture
def study(root, tmp_path):
    return open_vlm("mine", SCENES, results=tmp_path, root=root)


def same(found, wanted):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), name)
        assert getattr(found, name).dtype == getattr(wanted, name).dtype, name
    assert found.top == wanted.top


def test_models_are_those_with_weights(root, study, monkeypatch):
    assert study.models == ("one", "one step 4")
    assert study.seeds("one") == ("one",) and study.checkpoints("one") == ("one step 4",)
    study.check_models()
    assert study.model("one") is study.model("one")
    random, start = study.model("random").model.state_dict(), build(3, *SMALL).state_dict()
    assert all(torch.equal(random[name], start[name]) for name in start)
    refused(lambda: study.model("two"), "unknown model 'two'; accepted: random, one, one seed 7")
    refused(lambda: study.model("one seed 7"), "one.seed-7.safetensors of one seed 7 not found",
            "accepted: the file that 'make weights PROFILE=mine' trains, or one of random, one")
    empty = root.parent / "empty"
    shutil.copytree(root / "profiles", empty / "profiles")
    (empty / "neuronpath_core").mkdir()
    refused(open_vlm("mine", SCENES, root=empty).check_models, "no model of profile mine has",
            "accepted: files that 'make weights PROFILE=mine' trains")


def test_what_cannot_be_opened(root, study):
    refused(lambda: open_vlm("mine", 71, root=root), "n_scenes cannot be 71; accepted", "70")
    refused(lambda: open_vlm("other", root=root), "unknown", "accepted: mine")
    refused(lambda: open_vlm("mine", 5, device="gpu", root=root), "accepted")
    refused(lambda: study.scenes(71), "71 scenes of part held_out; accepted", "70")
    refused(lambda: study.scenes(3, "test"), "unknown part 'test'; accepted: train, held_out")
    for option in ({"site": "up"}, {"text": "none"}, {"captions": "mine"}):
        refused(lambda option=option: study.records("one", **option), "accepted: ")


def test_scenes_are_composed_once_and_the_same_however_many(study):
    few = study.scenes(4)
    assert [scene.index for scene in study.scenes()] == list(range(SCENES))
    assert all(one is other for one, other in zip(few, study.scenes(9), strict=False))
    assert len(study.scenes(2, "train")) == 2


@pytest.mark.parametrize("options", [{}, {"site": "product"}, {"text": "prompt+answer"},
                                     {"captions": "others"}, {"captions": "reworded"},
                                     {"captions": "generated"}, {"rotated": True}])
def test_records_are_those_of_collect_and_are_kept(study, options):
    told = study.captions(options.get("captions", "own"), "one")
    model = study.model("one")
    turned = rotation([10, 10]) if options.get("rotated") else None
    wanted = collect(model, caption_batches(model, study.scenes(), told),
                     options.get("site", "activation"), options.get("text", "answer"),
                     transform=turned)
    same(study.records("one", **options), wanted)
    again = open_vlm("mine", SCENES, results=study.results, root=study.root)
    again._loaded["one"] = model
    forbidden = vlm_study.collect
    try:
        vlm_study.collect = None  # what is kept is not collected again
        same(again.records("one", **options), wanted)
    finally:
        vlm_study.collect = forbidden


def test_captions_of_the_scene_of_others_in_other_words_and_of_the_model_itself(study, monkeypatch):
    own = study.captions()
    assert study.captions("others") == [*own[1:], own[0]]
    reworded = study.captions("reworded")
    assert reworded != own and all(pairs_said(said) == pairs_shown(scene) for said, scene in
                                   zip(reworded, study.scenes(), strict=True))
    model = study.model("one")
    wanted = [own_words(said) for said in generated(model, study.scenes())]
    assert study.captions("generated", "one") == wanted
    monkeypatch.setattr(vlm_reading, "captions", None)  # what is kept is not made again
    assert study.captions("generated", "one") == wanted
    assert own_words("a red star . user : a") == "a red star ." and own_words(": star") == ""
    assert own_words("a star .") == "a star ."


def test_a_damaged_part_is_found_and_a_stopped_table_goes_on(study, monkeypatch):
    wanted = study.records("one")
    folder = next(Path(study.results, "records").iterdir())
    table = folder / "paths.parquet"
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(content)
    with pytest.warns(StoreWarning, match="damaged"):
        same(open_vlm("mine", SCENES, results=study.results, root=study.root).records("one"),
             wanted)
    calls = []
    write = vlm_tables.store.write_part

    def stopping(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return write(*arguments)

    elsewhere = Path(study.results, "elsewhere")
    monkeypatch.setattr(vlm_tables.store, "write_part", stopping)
    with pytest.raises(KeyboardInterrupt):
        open_vlm("mine", SCENES, results=elsewhere, root=study.root).records("one")
    kept = list(elsewhere.glob("records/*/parts/part-*.parquet"))
    assert len(kept) == 1
    same(open_vlm("mine", SCENES, results=elsewhere, root=study.root).records("one"), wanted)
    assert len(calls) == 3  # of two layers the one that was missing


def test_other_weights_have_a_table_of_their_own(study):
    one, step = study.records("one"), study.records("one step 4")
    assert not np.array_equal(one.values, step.values)
    assert len(list(Path(study.results, "records").glob("one*"))) >= 2


def test_masks_are_those_of_the_processor_and_rows_hold_every_bit(study):
    records = study.records("one")
    visual, text = token_masks(study.captions())
    assert visual.sum(1).tolist() == [64] * SCENES and text.any(1).all()
    np.testing.assert_array_equal(visual, records.visual)
    np.testing.assert_array_equal(text, records.text)
    strange = records.values.copy()
    strange[0, 0, :4] = [np.float32(-0.0), np.float32(1e-45), np.inf, np.float32(np.nan)]
    held = records_of(records_table(type(records)(**{**vars(records), "values": strange})),
                      records.samples.shape[1], (visual, text))
    assert held.values.tobytes() == strange.tobytes()


def test_types_scale_the_number_of_image_tokens_unless_criteria_say_otherwise(study):
    from neuronpath_core.vlm.modality import PUBLISHED, probabilities

    records = study.records("one")
    np.testing.assert_array_equal(study.types("one"),
                                  probabilities(records, PUBLISHED.for_patches(64)))
    np.testing.assert_array_equal(study.types("one", criteria=PUBLISHED, levels="continuous"),
                                  probabilities(records, PUBLISHED, "continuous"))


def test_what_models_can_do_is_read_beside_their_weights(root, study):
    gates = {"captions": {"all": 0.95}, "questions": {"all": 0.8}, "other_image": 0.3,
             "chance": 0.33}
    assert not len(abilities.ability_rows(study))
    assert not len(abilities.ability_table(abilities.ability_rows(study)))
    record = root / "data" / "weights" / "vlm" / "weights.json"
    try:
        record.write_text(json.dumps({"one.safetensors": {"gates": gates, "held_out_scenes": 9}}))
        rows = abilities.ability_rows(study)
        assert rows["model"].tolist() == ["one"] and rows["fails"].tolist() == ["questions"]
        table = abilities.ability_table(rows)
        assert table.loc["one", "questions, %"] == "80.0"
        record.write_text("{")
        assert not len(abilities.ability_rows(study))
    finally:
        record.unlink()


def test_questions_one_a_scene_and_all_of_a_scene(study, monkeypatch):
    found, scenes = asked.answers(study, "one"), study.scenes()
    assert len(found) == sum(len(questions(scene)) for scene in scenes)
    assert found["one"].sum() == SCENES
    for place in (0, 7, 33):  # one by one, as the gates ask
        own = found[found["scene"] == place]
        for question, right in zip(questions(scenes[place]), own["right"], strict=True):
            told, = is_right(study.model("one").model, [scenes[place]],
                             [(question.text, question.answer)])
            assert bool(told.all()) == right
        assert own.loc[own["one"], "type"].tolist() == [TYPES[place % len(TYPES)]]
    monkeypatch.setattr(asked, "is_right", None)  # what is kept is not asked again
    pd.testing.assert_frame_equal(asked.answers(study, "one"), found)


def test_who_knows_scenes_of_one_object_alone_seems_to_know_more_when_asked_once(study):
    scenes = study.scenes()
    alone = [[int(len(scene.things) == 1)] * len(questions(scene)) for scene in scenes]
    rows = asked.asked_rows(scenes, alone)
    ways = asked.way_rows(rows).set_index(["type", "way"])
    assert ways.loc[("all", "difference"), "low"] > 0.05
    colour = rows[rows["type"] == "colour"]
    assert ways.loc[("colour", asked.EVERY), "value"] == pytest.approx(colour["right"].mean())
    assert ways.loc[("colour", asked.EVERY), "chance"] == pytest.approx(
        colour["answer"].value_counts().max() / len(colour))
    # of the whole scene there is one question of each kind: asking one favours nobody
    assert ways.loc[("number", "difference"), "low"] < 0 < ways.loc[("number", "difference"),
                                                                    "high"]
    objects = asked.object_rows(rows).set_index(["type", "objects"])["value"]
    assert objects["colour"].tolist() == [1, 0, 0]
    table = asked.way_table(asked.way_rows(rows).assign(model="one"))
    assert table.index.get_level_values(1).tolist() == ["all", *TYPES]
    assert len(asked.object_table(asked.object_rows(rows).assign(model="one"))) == 4
    assert asked.said(asked.way_rows(rows).assign(model="one"), asked.EVERY, ["one"]).endswith("%")


def test_a_guesser_gains_nothing_by_one_question_a_scene(study):
    rng = np.random.default_rng(0)
    scenes = study.scenes()
    flags = [rng.integers(0, 2, len(questions(scene))).tolist() for scene in scenes]
    gap = asked.way_rows(asked.asked_rows(scenes, flags)).set_index(["type", "way"]).loc[
        ("all", "difference")]
    assert gap["low"] < 0 < gap["high"]
