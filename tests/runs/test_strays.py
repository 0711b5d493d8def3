"""What lies about in notebooks/, data/ and results/ and is none of the study's, and files of the
study that are damaged: the first are passed over, the second told in one line before any work."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from neuronpath_core.models.build import load_model
from neuronpath_core.runs.chapter import Chapter
from neuronpath_core.runs.choice import notebook_names, resolve_notebooks, strays
from neuronpath_core.runs.notebooks import NotebookWarning, plan
from neuronpath_core.study.profiles import load_profile
from tests import rehearsal, small_study
from tests.helpers import refused


@pytest.fixture
def root(tmp_path):
    return small_study.make_study(tmp_path / "study")


ALL = ["01_sum", "02_list", "03_device"]


def test_what_is_no_chapter_is_passed_over(root):
    folder = root / "notebooks"
    (folder / "04_folder.ipynb").mkdir()
    (folder / "05_gone.ipynb").symlink_to("nowhere")
    (folder / ".#01_sum.ipynb").symlink_to("somebody@host.1")
    (folder / ".ipynb_checkpoints").mkdir()
    shutil.copy(folder / "01_sum.ipynb", folder / "01_sum-Copy1.ipynb")
    shutil.copy(folder / "01_sum.ipynb", folder / ".ipynb_checkpoints" / "01_sum-checkpoint.ipynb")
    for name in ("Untitled.ipynb", "01_sum.ipynb~", ".DS_Store", "#01_sum.ipynb#", "~01_x.ipynb"):
        (folder / name).write_bytes(b"\0")
    assert notebook_names(root) == ALL and resolve_notebooks(root, ["01"]) == ["01_sum"]
    line = strays(root)
    for words in ("3 in notebooks/", "01_sum-Copy1.ipynb (a file)", "04_folder.ipynb (a folder)",
                  "05_gone.ipynb (a link to nothing)", "accepted: "):
        assert words in line
    assert "Untitled" not in line and "\n" not in line
    status, _, errors = rehearsal.command(root, "run", "--check")
    assert (status, errors) == (0, f"neuronpath: {line}\n")


def without(content, *keys):
    *above, last = keys
    place = content
    for key in above:
        place = place[key]
    del place[last]
    return json.dumps(content)


DAMAGE = {
    "empty": lambda text: "", "cut": lambda text: text[:200], "a list": lambda text: "[]",
    "a number": lambda text: "3", "no mapping": lambda text: "null",
    "no cells": lambda text: without(json.loads(text), "cells"),
    "no source": lambda text: without(json.loads(text), "cells", 1, "source"),
    "no metadata": lambda text: without(json.loads(text), "metadata"),
    "no outputs": lambda text: without(json.loads(text), "cells", 1, "outputs"),
    "format 3": lambda text: text.replace('"nbformat": 4', '"nbformat": 3'),
    "a conflict": lambda text: "<<<<<<< HEAD\n" + text, "deep": lambda text: "[" * 100_000,
    "cells that are none": lambda text: json.dumps(json.loads(text) | {"cells": [1, 2]}),
    "metadata that are none": lambda text: json.dumps(json.loads(text) | {"metadata": []}),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_chapter_is_one_line_that_names_it(root, damage):
    path = root / "notebooks" / "02_list.ipynb"
    path.write_text(damage(path.read_text()))
    status, _, errors = rehearsal.command(root, "run", "01")
    assert status == 2 and len(errors.splitlines()) == 1, errors
    assert str(path) in errors and "damaged" in errors and "accepted: a whole notebook" in errors


def test_a_chapter_that_is_no_utf8_and_one_with_a_byte_order_mark(root):
    path = root / "notebooks" / "02_list.ipynb"
    text = path.read_text()
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert Chapter.at(path).parameters["n_images"] == 100
    path.write_bytes(text.replace("Title", "\xe4").encode("latin-1"))
    refused(lambda: Chapter.at(path), str(path), "damaged")


@pytest.mark.parametrize("cell", ["steps = 20 +", "steps = other", "steps = [" * 3, "a = {[]: 1}"])
def test_parameters_that_are_no_values(root, cell):
    path = small_study.write_notebook(root, "01_sum", cell, "1")
    refused(lambda: Chapter.at(path).parameters, str(path), "accepted: NAME = VALUE")


@pytest.mark.parametrize("name", ["01_sum.ipynb", "01_sum.made_from", "01_sum.failed.ipynb"])
def test_a_folder_where_an_output_would_go_is_found_before_the_work(root, name):
    place = root / "results" / "digits" / "notebooks" / name
    place.mkdir(parents=True)
    refused(lambda: plan(root, "digits", ["01"], {}, root / "results" / "digits"), str(place),
            "is a folder", "accepted: nothing there")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]"], ids=repr)
def test_a_damaged_output_is_not_kept(root, content):
    results = root / "results"
    (run,) = plan(root, "digits", ["01"], {}, results)
    shutil.copy(root / "notebooks" / "01_sum.ipynb", run.output)
    run.record.write_text(run.made_from)
    (run,) = plan(root, "digits", ["01"], {}, results)
    assert run.is_current
    run.output.write_bytes(content)
    with pytest.warns(NotebookWarning, match="damaged.*executed again"):
        (run,) = plan(root, "digits", ["01"], {}, results)
    assert not run.is_current
    run.record.write_bytes(b"\xff")
    assert not plan(root, "digits", ["01"], {}, results)[0].is_current


def test_folders_where_digests_should_be_are_refused(root):
    spec = load_profile("digits", root)["models"]["one"]
    (root / "data" / "weights" / ".DS_Store").write_bytes(b"\0")
    assert load_model(spec, root)
    pinned = root / "data" / "weights" / "one.safetensors.sha256"
    pinned.mkdir()
    refused(lambda: load_model(spec, root), str(pinned), "is a folder", "accepted: ")
    pinned.rmdir()
    record = root / "data" / "weights" / "weights.json"
    record.unlink()
    record.mkdir()
    refused(lambda: load_model(spec, root), str(record), "is a folder", "accepted: ")
    record.rmdir()
    record.write_text("[" * 100_000)
    refused(lambda: load_model(spec, root), str(record), "not JSON", "accepted: ")


def test_foreign_files_in_results_matter_to_nobody(root):
    results = root / "results" / "digits"
    for place in (results, results / "notebooks", results / "paths", results / "paths" / "folder",
                  root / "data" / "weights"):
        place.mkdir(parents=True, exist_ok=True)
        (place / ".DS_Store").write_bytes(b"\0")
        (place / "notes.txt").write_text("mine")
    (results / "paths" / "a_file").write_text("")
    os.symlink("nowhere", results / "notebooks" / "09_x.ipynb")
    status, _, errors = rehearsal.command(root, "run", "--check")
    assert (status, errors) == (0, "")
    status, _, errors = rehearsal.command(root, "paths", "--n-images", "10", "--steps", "2",
                                          "--model", "one")
    assert status == 0, errors
    assert Path(results / "paths" / "folder" / "notes.txt").read_text(encoding="utf-8") == "mine"
