"""Types of neurons by two passes that keep little: against the records of all tokens, stopped and
taken up again, and from folders of the very classes to the files of a run."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from neuronpath_core.runs.choice import chosen_notebooks
from neuronpath_core.runs.types import types
from neuronpath_core.study import hub_models, hub_profiles
from neuronpath_core.study.vlm_profiles import load_vlm_profile, vlm_profile_names
from neuronpath_core.study.vlm_weights import vlm_problems
from neuronpath_core.vlm import modality, running_types
from neuronpath_core.vlm.batches import caption_batches
from neuronpath_core.vlm.modality import Criteria
from neuronpath_core.vlm.records import collect
from neuronpath_core.vlm.scenes import compose_many
from tests.helpers import refused
from tests.vlm import tiny_hub
from tests.vlm.planted import planted_vlm, random_vlm

ROOT = Path(__file__).parents[2]
SCENES = compose_many("held_out", 7)
CRITERIA = Criteria(2, 1, 3, 1)
FAMILIES = tuple(tiny_hub.HUBS)


def batches(vlm, size=2, stop=None):
    """Batches of scenes; past ``stop`` of them the machine is switched off."""
    given = list(caption_batches(vlm, SCENES, size=size)())
    calls = []

    def batch(number):
        calls.append(number)
        if stop is not None and len(calls) > stop:
            raise KeyboardInterrupt
        return given[number]
    return len(given), batch


@pytest.mark.parametrize("levels", ["floor", "continuous"])
@pytest.mark.parametrize("make", [random_vlm, planted_vlm])
def test_they_are_those_of_the_records_of_all_tokens(tmp_path, make, levels):
    vlm = make()
    found = running_types.running_types(vlm, batches(vlm), tmp_path / "types.npz", {}, CRITERIA,
                                        levels, top=4)
    records = collect(vlm, caption_batches(vlm, SCENES, size=3), top=4, random=0)
    expected = modality.probabilities(records, CRITERIA, levels)
    np.testing.assert_array_equal(found.samples[records.live], records.samples[records.live])
    np.testing.assert_allclose(found.maxima, records.maxima, rtol=1e-6)
    np.testing.assert_array_equal(found.p, expected)
    np.testing.assert_array_equal(found.layers, records.layers)


@pytest.mark.parametrize("stop", [1, 3, 5, 7])
def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path, stop):
    vlm, file = random_vlm(), tmp_path / "types.npz"
    whole = running_types.running_types(vlm, batches(vlm), tmp_path / "whole.npz", {}, CRITERIA,
                                        top=4)
    with pytest.raises(KeyboardInterrupt):
        running_types.running_types(vlm, batches(vlm, stop=stop), file, {}, CRITERIA, top=4,
                                    every=1)
    left, calls = batches(vlm), []
    counted = left[0], lambda number: calls.append(number) or left[1](number)
    again = running_types.running_types(vlm, counted, file, {}, CRITERIA, top=4, every=1)
    np.testing.assert_array_equal(again.p, whole.p)
    np.testing.assert_array_equal(again.samples, whole.samples)
    assert len(calls) == 2 * left[0] - stop
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".npz"]
    done = running_types.running_types(vlm, (left[0], None), file, {}, CRITERIA, top=4)
    np.testing.assert_array_equal(done.p, whole.p)


def test_what_is_refused(tmp_path):
    vlm, file = random_vlm(), tmp_path / "types.npz"
    refused(lambda: running_types.running_types(vlm, batches(vlm), file, {}, CRITERIA, top=9),
            "7 samples for 9 top ones of each neuron; accepted: at least as many samples")
    running_types.running_types(vlm, batches(vlm), file, {"of": 1}, CRITERIA, top=4)
    refused(lambda: running_types.running_types(vlm, batches(vlm), file, {"of": 2}, CRITERIA,
                                                top=4), "is of other samples, settings or weights")
    file.write_bytes(file.read_bytes()[:100])
    refused(lambda: running_types.running_types(vlm, batches(vlm), file, {"of": 1}, CRITERIA,
                                                top=4), "cannot be read")
    with torch.no_grad():
        vlm.halves["decoder"][0].module.gate_proj.weight[0] = torch.inf
    with pytest.raises(ValueError, match="not finite|does not give its output"):
        running_types.running_types(vlm, batches(vlm), tmp_path / "new.npz", {}, CRITERIA, top=4)


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study's folder with places for data and weights beside it."""
    root = tmp_path / "study"
    (root / "profiles").mkdir(parents=True)
    (root / "notebooks").mkdir()
    shutil.copy(ROOT / "profiles" / "digits.yml", root / "profiles")
    monkeypatch.setenv("NEURONPATH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NEURONPATH_WEIGHTS", str(tmp_path / "weights"))
    return root


def profile(root, family, count, **changed):
    entries = tiny_hub.entries(family, count, **changed)
    (root / "profiles" / "mine.yml").write_text(yaml.safe_dump(entries, sort_keys=False))
    return entries


@pytest.mark.parametrize("family", FAMILIES)
def test_rehearsal_from_a_folder_of_the_very_class_to_the_files_of_a_run(study, tmp_path, family,
                                                                         monkeypatch, capsys):
    monkeypatch.setattr(hub_models, "EVERY", 1)
    tiny_hub.weights(tmp_path / "weights", family)
    _, said = tiny_hub.photographs(tmp_path / "data", 52)
    entries = profile(study, family, 52)
    spec = load_vlm_profile("mine", study)["models"]["tiny"]
    types(study, tmp_path / "results", "mine", [], "cpu", 4, check=True)
    told = capsys.readouterr().out
    assert "20 neurons" in told and "nothing is missing" in told
    # switched off in the second pass, and begun again
    real, calls = hub_models.photograph_batches, []

    def failing(*given):
        count, batch = real(*given)

        def one(number):
            calls.append(number)
            if len(calls) == count + 3:
                raise KeyboardInterrupt
            return batch(number)
        return count, one

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(hub_models, "photograph_batches", failing)
        types(study, tmp_path / "results", "mine", [], "cpu", 4, check=False)
    types(study, tmp_path / "results", "mine", ["tiny"], "cpu", 4, check=False)
    assert "unknown" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "results" / "tiny.types.csv")
    model = hub_models.load_hub_model("tiny", spec)
    pairs = hub_profiles.read_captions(entries["dataset"])
    count, batch = hub_models.photograph_batches(model, pairs, "describe the image .", 4)
    every = [batch(number) for number in range(count)]
    assert [" ".join(word for word, role in zip(row, roles, strict=True) if role == 5)
            for inputs in every for row, roles in zip(inputs.words, inputs.roles.tolist(),
                                                      strict=True)] == said
    records = collect(model, lambda: iter(every), top=50, random=0)
    tokens = int(every[0].visual.sum(1).max())
    expected = modality.probabilities(records, Criteria().for_patches(tokens))
    np.testing.assert_allclose(table[list(modality.TYPES)], expected, atol=1e-6)
    assert table["layer"].tolist() == [0] * 10 + [1] * 10
    assert table["neuron"].tolist() == [*range(10)] * 2
    layers = pd.read_csv(tmp_path / "results" / "tiny.layers.csv")
    assert layers[list(modality.TYPES)].sum().round(3).isin([0, 1]).all()


def test_what_a_run_lacks_is_said_line_by_line(study, tmp_path, capsys):
    entries = profile(study, FAMILIES[0], 52)
    with pytest.raises(ValueError, match="2 of the things that this run needs are missing"):
        types(study, tmp_path, "mine", [], "cpu", 1, check=True)
    told = capsys.readouterr().out
    assert "weights of tiny (llava-hf/llava-1.5-7b-hf, 0.0 GB)" in told
    assert "captions 'captions.json' are not in the folder of --data; accepted: noise" in told
    assert "20 neurons" in told and "hours" in told
    assert list(vlm_problems("mine", study)) == list(hub_profiles.hub_problems(entries))

    place = tiny_hub.weights(tmp_path / "weights", FAMILIES[0])
    names, _ = tiny_hub.photographs(tmp_path / "data", 52, "coco")
    assert not list(hub_profiles.hub_problems(entries))
    (tmp_path / "data" / "images" / names[3]).unlink()
    short = profile(study, FAMILIES[0], 52, bytes=10**9)
    other = profile(study, FAMILIES[1], 60, hub=tiny_hub.HUBS[FAMILIES[0]])
    assert [line.split(";")[0] for line in hub_profiles.hub_problems(short)] == [
        "weights of tiny: 0.0 of 1.0 GB are in 'llava-1.5-7b-hf'",
        "1 of 52 images are missing, such as '003.png'"]
    assert [line.split(";")[0] for line in hub_profiles.hub_problems(other)] == [
        "weights of tiny are of LlavaForConditionalGeneration", "52 captions for 60 samples"]
    (place / "config.json").write_text("{")
    assert "config.json of tiny cannot be read" in next(hub_profiles.hub_problems(entries))


def test_captions_of_both_layouts_are_the_same(tmp_path, monkeypatch):
    read = []
    for layout in ("llava", "coco"):
        _, said = tiny_hub.photographs(tmp_path / layout, 5, layout)
        monkeypatch.setenv("NEURONPATH_DATA", str(tmp_path / layout))
        pairs = hub_profiles.read_captions({**tiny_hub.entries(FAMILIES[0], 5)["dataset"]})
        assert [caption for _, caption in pairs] == said
        read.append([file.name for file, _ in pairs])
    assert read[0] == read[1]
    (tmp_path / "coco" / "captions.json").write_text('{"images": 3}')
    refused(lambda: hub_profiles.read_captions(tiny_hub.entries(FAMILIES[0], 5)["dataset"]),
            "accepted: JSON as COCO's captions or LLaVA's instructions are")


def test_files_and_settings_that_do_not_fit_are_refused(study, tmp_path, monkeypatch):
    profile(study, FAMILIES[0], 52, dtype="float8")
    refused(lambda: load_vlm_profile("mine", study), "models.tiny.dtype")
    profile(study, FAMILIES[0], 10)
    refused(lambda: load_vlm_profile("mine", study), "dataset.samples")
    entries = profile(study, FAMILIES[0], 52)
    spec = entries["models"]["tiny"]
    refused(lambda: types(study, tmp_path, "mine", ["big"], "cpu", 1, False),
            "unknown model 'big'; accepted: tiny")
    refused(lambda: chosen_notebooks(study, "mine", []), "accepted: neuronpath types")
    refused(lambda: hub_models.load_hub_model("tiny", spec), "weights of tiny are not in")
    place = tiny_hub.weights(tmp_path / "weights", FAMILIES[0])
    remote = {**spec, "family": "InternVLChatModel"}
    refused(lambda: hub_models.load_hub_model("tiny", remote),
            "whose code comes with its weights; accepted: load it yourself")
    next(place.glob("*.safetensors")).write_bytes(b"no weights")
    refused(lambda: hub_models.load_hub_model("tiny", spec), "cannot be loaded as Llava")
    tiny_hub.photographs(tmp_path / "data", 2)
    pairs = hub_profiles.read_captions({**entries["dataset"], "samples": 2})
    pairs[0][0].write_bytes(b"no image")
    batch = hub_models.photograph_batches(random_vlm(), pairs, "describe the image .")[1]
    refused(lambda: batch(0), "image '000.png' cannot be read")


@pytest.mark.parametrize("name", ["vlm_llava", "vlm_internvl", "vlm_qwen"])
def test_the_real_profiles_are_read_and_counted(name):
    assert name in vlm_profile_names(ROOT)
    entries = load_vlm_profile(name, ROOT)
    spec, = entries["models"].values()
    assert spec["family"] in FAMILIES and spec["hub"] == tiny_hub.HUBS[spec["family"]]
    takes = hub_profiles.cost(spec, entries["dataset"]["samples"], 1e14)
    # as many bytes as two for each parameter, 16 for each of the 50 samples that are kept
    assert abs(spec["bytes"] / (2 * spec["parameters"]) - 1) < 0.01
    assert takes.disk == spec["layers"] * spec["neurons"] * 50 * 16
    assert takes.seconds == pytest.approx(
        4 * 23000 * spec["parameters"] * spec["tokens"] / 1e14)
    if name == "vlm_llava":
        assert spec["layers"] * spec["neurons"] == 352_256
