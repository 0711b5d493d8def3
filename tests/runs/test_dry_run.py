"""What a planned run is estimated to cost, against the passes that its notebooks really make, the
tables that they store, and sums by hand."""


from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import neuronpath_core as npc
from neuronpath_core import finding, interventions
from neuronpath_core.chapters.knowledge_neurons import measured
from neuronpath_core.cost import estimate, passes, rates
from neuronpath_core.fast import engine
from neuronpath_core.images import data_sets
from neuronpath_core.models import build
from neuronpath_core.runs import dry_run
from neuronpath_core.runs.chapter import Chapter
from neuronpath_core.runs.choice import notebook_names
from neuronpath_core.runs.notebooks import Run, plan
from neuronpath_core.study.profiles import load_profile
from neuronpath_core.study.store import parquet
from neuronpath_core.support import memory
from tests import helpers, rehearsal, small_study
from tests.cost.test_passes import Watch

ROOT = Path(__file__).resolve().parents[2]
# a second of its own for every kind of pass, so that none can stand for another
RATES = dict(zip(passes.KINDS, (2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0, 23.0, 29.0, 31.0, 37.0),
                 strict=True))
SEEN = {"held": "held_forward", "back held": "held_backward", "held per copy": "held_gradient"}
SHORT = {"profile": "digits", "models": ["one", "two"], "n_images": 20, "seed": 0, "device": "cpu",
         "dtype": "float64", "progress": False}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A small study with the notebooks of the real one, in a folder that is the working directory.
    """
    small_study.write_profile(tmp_path)
    (tmp_path / "neuronpath_core").mkdir()
    for seed, name in enumerate(small_study.PROFILE["models"]):
        small_study.write_weights(tmp_path, name, seed)
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks",
                    ignore=shutil.ignore_patterns("conftest.py"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def timed_by_rates(monkeypatch):
    """Inside, no pass is timed: each takes what ``RATES`` says."""
    def measured(spec, device="cpu", dtype="float64", seconds=1.0):
        target, weight_bytes = rates.stand_in(spec, device, dtype)
        return estimate.Measured(target, RATES, weight_bytes)

    monkeypatch.setattr(dry_run, "measure", measured)


def run_of(notebook: str, folder: Path, **parameters) -> Run:
    return Run(notebook, parameters, folder / f"{notebook}.ipynb", "")


def seconds_seen(watch: Watch) -> float:
    """What the passes that were seen take by ``RATES``; of those there and back again only the way
    there has a rate."""
    named = {SEEN.get(name, name): count for name, count in watch.seen.items()
             if name == "back held" or not name.startswith("back ")}
    return sum(RATES[name] * count for name, count in named.items())


def execute_searches(root: Path, notebook: str, parameters: dict) -> None:
    """The cells of a real notebook that search and edit, in this process."""
    cells = [cell for cell in json.loads((root / "notebooks" / f"{notebook}.ipynb").read_text())[
        "cells"] if cell["cell_type"] == "code"]
    space: dict = {}
    exec("".join(cells[0]["source"]), space)  # noqa: S102
    space |= parameters
    for cell in cells[1:]:
        source = "".join(cell["source"])
        if any(word in source for word in ("Study(", "study.paths", "study.batch", "study.prob",
                                           "measured.know", "scaling.know", "effects.", "path_agreement(",
                                           "pruning_grid(", "whole_model(")):
            exec(source, space)  # noqa: S102


CHAPTERS = {
    "01_knowledge_neurons": {"steps": 3},
    "02_table1": {"methods": ["activation", "influence_pattern", "neuron_path", "knowledge"],
                  "steps": 5, "nodes": 3},
    "03_probability_deviation": {"methods": ["activation", "influence_pattern", "neuron_path"],
                                 "steps": 5, "nodes": 3},
    "04_class_paths": {"agreement_images": 10},
    "05_class_similarity": {},
    "06_pruning": {"n_images": 50, "tops": [1, 3, 2], "shares": [0.5, 1.0], "repeats": 2},
}


@pytest.fixture
def nothing_again(monkeypatch):
    """No image is searched a second time; how many are is a measured share, which a few images need
    not have."""
    for module, name in ((engine, "ROUNDING_UNITS"), (finding, "ATTRIBUTION_ROUNDING_UNITS"),
                         (measured, "ATTRIBUTION_ROUNDING_UNITS"),
                         (interventions, "LOGIT_MARGIN")):
        monkeypatch.setattr(module, name, 0)


@pytest.mark.parametrize("notebook", ["01_knowledge_neurons", "02_table1"])
def test_a_counted_chapter_makes_the_passes_that_were_estimated(root, monkeypatch, nothing_again,
                                                                notebook):
    parameters = SHORT | CHAPTERS[notebook]
    with monkeypatch.context() as patched:
        timed_by_rates(patched)
        table = dry_run.estimate_run(root, [run_of(notebook, root, **parameters)])
    row = table.iloc[0]
    assert row["basis"] == "counted" and row["models"] == 2 and row["images"] == parameters[
        "n_images"]
    with monkeypatch.context() as patched:
        watch = Watch(patched)
        execute_searches(root, notebook, parameters)
    assert seconds_seen(watch) == pytest.approx(row["seconds"] - dry_run.NOTEBOOK_SECONDS, rel=1e-9)


def test_chapters_that_share_a_path_table_search_it_once(root, monkeypatch, nothing_again):
    chosen = [name for name in CHAPTERS if name != "01_knowledge_neurons"]
    parameters = {name: SHORT | CHAPTERS[name] | {"n_images": 50} for name in chosen}
    with monkeypatch.context() as patched:
        timed_by_rates(patched)
        runs = [run_of(name, root, **parameters[name]) for name in chosen]
        together = dry_run.estimate_run(root, runs)
        apart = pd.concat([dry_run.estimate_run(root, [run]).iloc[:1] for run in runs],
                          ignore_index=True)
    for name, row in zip(chosen, together.to_dict("records"), strict=False):
        with monkeypatch.context() as patched:
            watch = Watch(patched)
            execute_searches(root, name, parameters[name])
        assert seconds_seen(watch) == pytest.approx(row["seconds"] - dry_run.NOTEBOOK_SECONDS,
                                                    rel=1e-9), name
    saved = together["seconds"].iloc[:-1] < apart["seconds"]
    assert dict(zip(chosen, saved, strict=True)) == {"02_table1": False,
                                                     "03_probability_deviation": True,
                                                     "04_class_paths": False,
                                                     "05_class_similarity": True,
                                                     "06_pruning": True}
    # of one image in four, searched with a wrong label, and of all
    assert 0 < together["disk"].iloc[3] < apart["disk"].iloc[3]


def test_other_images_seed_or_precision_are_another_table(root, monkeypatch):
    timed_by_rates(monkeypatch)
    for change in ({"n_images": 30}, {"seed": 1}, {"dtype": "float32"}, {"steps": 2}):
        runs = [run_of("04_class_paths", root, **SHORT, agreement_images=10),
                run_of("05_class_similarity", root, **(SHORT | change))]
        table = dry_run.estimate_run(root, runs)
        assert table["disk"].iloc[1] > 0, change


def test_a_scaled_chapter_takes_its_searches_so_many_times_as_when_it_was_timed(root, monkeypatch):
    timed_by_rates(monkeypatch)
    table = dry_run.estimate_run(root,
                                 [run_of("11_controls", root, profiles=["digits"], n_images=20,
                                         pool_images=30)])
    one, two = (estimate.Measured(*rates.stand_in(spec)[:1], RATES, 0)
                for spec in small_study.PROFILE["models"].values())
    searches = 50 * sum(passes.path_passes(each.target, {}).seconds(RATES) for each in (one, two))
    noted = Chapter.read(root, "11_controls").notes["took"]
    took, there = noted["seconds"], noted["search"]
    row = table.iloc[0]
    assert row["seconds"] == pytest.approx(dry_run.NOTEBOOK_SECONDS
                                           + (took - dry_run.NOTEBOOK_SECONDS) / there * searches)
    assert (row["models"], row["images"], row["basis"]) == (2, 50, "scaled") and row["disk"] > 0


def test_notebooks_without_models_cost_what_they_cost_and_unknown_ones_are_guessed(root,
                                                                                   monkeypatch):
    timed_by_rates(monkeypatch)
    small_study.write_notebook(root, "18_new",
                               "profile = 'digits'\nmodels = ['one']\nn_images = 30", "print(1)")
    small_study.write_notebook(root, "19_sum", "steps = 20", "steps")
    table = dry_run.estimate_run(root,
                                 [run_of(name, root)
                                  for name in ("08_benchmarks", "09_planted_paths", "18_new",
                                               "19_sum")]).set_index("notebook")
    assert table["basis"].tolist() == ["fixed", "fixed", "guessed", "fixed", ""]
    assert table.loc["08_benchmarks", "seconds"] == Chapter.read(root, "08_benchmarks").notes[
        "took"]["seconds"] and table.loc["19_sum", "seconds"] == dry_run.NOTEBOOK_SECONDS
    assert table.loc["18_new", "models"] == 1 and table.loc["18_new",
                                                            "seconds"] > dry_run.NOTEBOOK_SECONDS


def test_what_would_be_kept_costs_nothing_unless_it_is_forced(root, monkeypatch):
    timed_by_rates(monkeypatch)
    run = run_of("05_class_similarity", root, **SHORT)
    run.output.write_text("{}")
    run.record.write_text("")
    kept, forced = dry_run.estimate_run(root, [run]), dry_run.estimate_run(root, [run], force=True)
    assert kept.iloc[0]["basis"] == "kept" and kept.iloc[-1]["seconds"] == kept.iloc[-1][
        "disk"] == 0
    assert forced.iloc[0]["basis"] == "counted" and forced.iloc[-1]["seconds"] > 0


def test_totals_are_sums_of_time_and_disk_and_the_largest_memory(root, monkeypatch):
    timed_by_rates(monkeypatch)
    table = dry_run.estimate_run(root, [run_of(name, root, **SHORT | CHAPTERS[name])
                                        for name in ("02_table1", "06_pruning")])
    total, rows = table.iloc[-1], table.iloc[:-1]
    assert total["notebook"] == dry_run.TOTAL
    assert total["seconds"] == rows["seconds"].sum() and total["disk"] == rows[
        "disk"].sum() and total["memory"] == rows["memory"].max()


def test_every_notebook_of_a_planned_run_is_estimated_and_no_weights_are_needed(tmp_path,
                                                                                monkeypatch):
    monkeypatch.setattr(build, "load_model", None)  # nothing may load weights
    timed_by_rates(monkeypatch)
    runs = plan(ROOT, "digits", [], {}, tmp_path)
    table = dry_run.estimate_run(ROOT, runs)
    assert table["notebook"].tolist() == [*notebook_names(ROOT), dry_run.TOTAL]
    basis = table.set_index("notebook")["basis"]
    counted = [name for name in notebook_names(ROOT) if "cost" in Chapter.read(ROOT, name).notes]
    assert counted == list(CHAPTERS)
    assert (basis[counted] == "counted").all()
    assert basis.drop([*counted, dry_run.TOTAL]).isin(["scaled", "fixed"]).all()
    assert (table["seconds"] > 0).all()
    assert not list((tmp_path / "notebooks").iterdir())


def test_without_anything_else_said_the_passes_are_timed_here(root):
    table = dry_run.estimate_run(root, [run_of("05_class_similarity", root, **SHORT)], seconds=0.0)
    assert table["seconds"].iloc[0] > dry_run.NOTEBOOK_SECONDS


def test_the_search_of_chosen_models_is_estimated_alike(root, monkeypatch):
    timed_by_rates(monkeypatch)
    table = dry_run.estimate_searches(root, "digits", ["one", "two"], 40,
                                      {"method": "complete", "steps": 2})
    for row, spec in zip(table.to_dict("records"), small_study.PROFILE["models"].values(),
                         strict=False):
        target = rates.stand_in(spec)[0]
        assert row["seconds"] == pytest.approx(40 * passes.path_passes(target,
                                                                       {"method": "complete",
                                                                        "steps": 2}).seconds(RATES))
    assert table["model"].tolist() == ["one", "two",
                                       dry_run.TOTAL] and dry_run.as_text(table).startswith(
        "model ")
    least = memory.copy_bytes(rates.stand_in(small_study.PROFILE["models"]["one"])[0])
    tight = dry_run.estimate_searches(root, "digits", ["one"], 40,
                                      {"method": "complete", "steps": 2}, memory_budget=least)
    assert tight["memory"].iloc[0] < table["memory"].iloc[0]
    with pytest.raises(ValueError, match="too small for one copy"):
        dry_run.estimate_searches(root, "digits", ["one"], 40, {}, memory_budget=1)
    with pytest.raises(ValueError, match="unknown model 'three'; accepted: one, two"):
        dry_run.estimate_searches(root, "digits", ["three"], 40, {})
    with pytest.raises(ValueError, match="accepted here: full"):
        dry_run.estimate_searches(root, "digits", ["two"], 40, {"context": "frozen"})


@pytest.mark.parametrize("top", [1, 50])
def test_a_table_takes_the_disk_that_was_estimated(top):
    spec = {"architecture": {"img_size": 224, "patch_size": 32, "num_classes": 1000}}
    target, weight_bytes = rates.stand_in(spec, "cpu", "float32")
    measured = estimate.Measured(target, dict.fromkeys(passes.KINDS, 0.0), weight_bytes)
    rng, rows = np.random.default_rng(0), 1000
    neurons = np.stack([rng.choice(3072, top, replace=False) for _ in range(rows * 12)]).reshape(
        rows, -1)
    table = pd.DataFrame({"image": np.arange(rows), "label": np.arange(rows) % 1000,
                          "score": rng.normal(size=rows), "steps": 4, "neurons": list(neurons)})
    real = len(parquet.table_bytes(table))
    found = estimate.estimate_paths(measured, rows, {"top": top}).disk_bytes
    assert real <= found <= 1.6 * real + estimate.TABLE_BYTES
    assert estimate.estimate_paths(measured, 50_000, {"top": 50}).disk_bytes < 200e6


def test_memory_is_weights_images_table_and_a_chunk_no_larger_than_the_limit():
    target = npc.TargetModel(helpers.small_vit(7))
    measured = estimate.Measured(target, dict.fromkeys(passes.KINDS, 0.0), 1000)
    settings = {"context": "full", "quadrature": "left", "steps": 20}
    copy, picture = memory.copy_bytes(target), 3 * 8 * 8 * 8
    for copies, expected in ((5, 5), (10**6, 2 * 20)):
        with memory.memory_limit(target, copies * copy):
            found = estimate.estimate_paths(measured, 2, settings).memory_bytes
            assert found == estimate.PROCESS_BYTES + 1000 + expected * copy + 2 * 2 * picture + 2 * 3 * estimate.IN_MEMORY_BYTES
            beam = estimate.estimate_paths(measured, 2,
                                           settings | {"search": "beam", "width": 3}).memory_bytes
            assert beam - found == (min(copies, 2 * 20 * 9) - expected) * copy


def test_images_on_disk_take_the_time_to_read_them_and_those_in_memory_none(tmp_path, monkeypatch):
    files = data_sets.load_part({"name": "files",
                                 "root": str(rehearsal.make_images(tmp_path / "data"))}, "held_out")
    config = build.preprocessing({},
                                 build.build_model({"architecture": {**small_study.ARCHITECTURE,
                                                                     "in_chans": 3}}))
    assert estimate.reading_seconds(files, config) > 0
    digits = data_sets.load_part(small_study.PROFILE["dataset"], "held_out")
    assert estimate.reading_seconds(digits, None) == 0
    target = npc.TargetModel(helpers.small_vit(7))
    slow = estimate.Measured(target, dict.fromkeys(passes.KINDS, 0.0), 0, reading=0.25)
    assert estimate.estimate_paths(slow, 40, {}).seconds == 10
    assert estimate.estimate_passes(slow, 40, passes.Passes(), readings=3).seconds == 30


def test_a_profile_of_image_files_is_estimated_with_their_reading(root, monkeypatch):
    rehearsal.make_images(root / "data" / "images")
    colour = {**small_study.PROFILE, "dataset": {"name": "files", "root": "data/images"}}
    colour["models"] = {name: {"architecture": {**spec["architecture"], "in_chans": 3,
                                                "num_classes": 1000}} for name,
                        spec in colour["models"].items()}
    small_study.write_profile(root, colour, "files")
    assert load_profile("files", root)["dataset"]["name"] == "files"
    timed_by_rates(monkeypatch)
    monkeypatch.setattr(dry_run, "reading_seconds", lambda images,
                        config: 1000.0 * len(images) * (config["input_size"] == [3, 8, 8]))
    run = run_of("02_table1", root, **SHORT | CHAPTERS["02_table1"]
                 | {"profile": "files", "n_images": 6, "models": ["one"]})
    with_reading = dry_run.estimate_run(root, [run]).iloc[0]["seconds"]
    monkeypatch.setattr(dry_run, "reading_seconds", lambda *_: 0.0)
    without = dry_run.estimate_run(root, [run]).iloc[0]["seconds"]
    # once for each of four path tables, once for each of nine forwards
    assert with_reading - without == pytest.approx(6 * 13 * 12_000)


def test_a_broken_image_among_those_that_are_timed_is_named_in_one_line(root):
    folder = rehearsal.make_images(root / "data" / "images")
    next(folder.rglob("*.JPEG")).write_bytes(b"broken")
    files = data_sets.load_part({"name": "files", "root": "data/images"}, "held_out", base=root)
    config = build.preprocessing({},
                                 build.build_model({"architecture": {**small_study.ARCHITECTURE,
                                                                     "in_chans": 3}}))
    with pytest.raises(ValueError, match="1 of 12 images cannot be read") as error:
        estimate.reading_seconds(files, config)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (99.4, "99 s"), (100, "2 min"),
                                               (5969, "99 min"), (5971, "1.7 h"),
                                               (360_000, "100.0 h"),
                                               (36_000_000, "10,000.0 h")])
def test_seconds_are_shown_in_a_unit_that_fits(seconds, text):
    assert dry_run.seconds_text(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 MB"), (20_000, "0.0 MB"), (61e6, "61 MB"),
                                             (1.5e6, "1.5 MB"), (9.96e6, "10 MB"),
                                             (999.6e6, "1.0 GB"),
                                             (30e9, "30.0 GB")])
def test_bytes_are_shown_in_a_unit_that_fits(count, text):
    assert dry_run.bytes_text(count) == text


def test_the_table_for_a_terminal_is_aligned_and_says_what_it_takes_for_granted():
    table = pd.DataFrame([{"notebook": "02_table1", "models": 4, "images": 50_000,
                           "seconds": 7200.0, "memory": 3e9, "disk": 61e6, "basis": "counted"},
                          {"notebook": dry_run.TOTAL, "models": 0, "images": 0, "seconds": 7200.0,
                           "memory": 3e9, "disk": 61e6, "basis": ""}])
    lines = dry_run.as_text(table).splitlines()
    assert lines[:3] == ["notebook   models  images   time  memory   disk  basis",
                         "02_table1       4  50,000  2.0 h  3.0 GB  61 MB  counted",
                         "total           -       -  2.0 h  3.0 GB  61 MB"]
    assert lines[3] == "" and len(lines) == 6 and all(len(line) <= 130 for line in lines)
