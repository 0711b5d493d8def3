"""A new chapter costs one notebook and one module: a toy dropped into a copy of a study is seen by
the toc check, by the dry run, by a profile of one's own and by ``neuronpath run``."""

from __future__ import annotations

import nbformat
import pytest
import yaml

from neuronpath_core.runs import dry_run
from neuronpath_core.runs.current import Hashes
from neuronpath_core.runs.new_profile import lacking
from neuronpath_core.runs.notebooks import plan
from neuronpath_core.runs.parameters import quick_counts
from tests import rehearsal, small_study
from tests.helpers import refused
from tests.project.test_project import toc_problems
from tests.runs.test_dry_run import timed_by_rates

MODULE = """
from neuronpath_core.cost.work import Work


def answer():
    return 42


def work(values):
    return Work(tables=[(values["n_images"], "all", {})])
"""
NOTES = {"cost": "toy:work", "seconds": 3, "lacks": "it needs toys"}


@pytest.fixture
def root(tmp_path):
    """A small study with a chapter more."""
    root = small_study.make_study(tmp_path)
    path = small_study.write_notebook(root, "04_toy", 'profile = "digits"\nn_images = 20\nseed = 0',
                                      "import toy\n\nprint(profile, toy.answer())")
    nb = nbformat.read(path, 4)
    nb.metadata["neuronpath"] = NOTES
    nbformat.write(nb, path)
    (path.parent / "toy.py").write_text(MODULE)
    return root


def test_the_toc_check_names_it_until_it_is_listed(root):
    parts = [{"chapters": [{"file": f"notebooks/{name}"}]}
             for name in ("01_sum", "02_list", "03_device")]
    toc = root / "_toc.yml"
    toc.write_text(yaml.safe_dump({"parts": parts}))
    assert any("04_toy" in problem for problem in toc_problems(root))
    toc.write_text(yaml.safe_dump({"parts": [*parts, {"chapters": [{"file": "notebooks/04_toy"}]}]}))
    assert toc_problems(root) == []


def test_the_dry_run_counts_it(root, tmp_path, monkeypatch):
    timed_by_rates(monkeypatch)
    runs = plan(root, "digits", ["04"], {}, tmp_path / "results")
    assert runs[0].seconds == 3
    row = dry_run.estimate_run(root, runs).iloc[0]
    assert (row["basis"], row["images"], row["models"]) == ("counted", 20, 2)
    assert row["seconds"] > dry_run.NOTEBOOK_SECONDS and row["disk"] > 0


def test_a_profile_of_ones_own_says_what_it_lacks(root):
    assert lacking(root, 2) == {"04_toy": "it needs toys"}


def test_it_is_run_and_run_again_when_its_module_changes(root):
    status, output, errors = rehearsal.command(root, "run", "04", "--quiet")
    assert status == 0, errors
    done = root / "results" / "digits" / "notebooks" / "04_toy.ipynb"
    nb = nbformat.read(done, 4)
    assert nb.cells[-1].outputs[0].text == "digits 42\n"
    sha256 = Hashes(root).sha256("04_toy", {})
    assert nb.metadata["neuronpath"]["executed"]["sha256"] == sha256
    assert "04_toy: nothing has changed" in rehearsal.command(root, "run", "04", "--quiet")[1]
    # stored, it need not be executed; the paper's own would be
    assert rehearsal.command(root, "run", "04", "--quiet", "--store")[0] == 0
    assert "not executed" in rehearsal.command(root, "run", "04", "--stale")[1]
    (root / "notebooks" / "toy.py").write_text(MODULE.replace("42", "43"))
    assert Hashes(root).sha256("04_toy", {}) != sha256
    status, output, _ = rehearsal.command(root, "run", "04", "--quiet", "--stale")
    assert status == 0 and "not executed" not in output
    assert nbformat.read(done, 4).cells[-1].outputs[0].text == "digits 43\n"


def test_a_quick_run_takes_a_tenth_and_what_classes_need_and_leaves_the_whole_one(root):
    # 20 images: a tenth of them is 2, and 10 are the fewest
    status, output, errors = rehearsal.command(root, "run", "04", "--quiet", "--quick")
    assert status == 0 and output.endswith("quick\n"), errors
    results = root / "results" / "digits"
    assert not (results / "notebooks" / "04_toy.ipynb").exists()
    quick = nbformat.read(results / "quick" / "04_toy.ipynb", 4)
    assert quick.metadata.papermill.parameters == {"n_images": 10}
    # what is typed goes before
    (run,) = plan(root, "digits", ["04"], {"n_images": 12}, results, quick=True)
    assert run.parameters == {"n_images": 12}
    assert rehearsal.command(root, "run", "04", "--quick", "--store")[0] == 2


@pytest.mark.parametrize(("value", "of_each", "classes", "taken"), [
    (400, 0, 10, 40), (400, 0, 24, 40), (50, 0, 10, 10), (8, 0, 10, 8), (405, 0, 10, 41),
    (400, 3, 24, 72), (60, 3, 24, 60)])
def test_how_many_images_a_quick_run_takes(value, of_each, classes, taken):
    values = {"n_images": value, "seed": 0, "steps": 20}
    assert quick_counts(values, {"n_images": of_each}, classes) == {"n_images": taken}


@pytest.mark.parametrize(("name", "value", "taken"), [
    ("n_scenes", 1200, 120), ("n_scenes", 300, 60), ("n_scenes", 50, 50), ("n_questions", 210, 21),
    ("n_questions", 70, 14), ("n_captions", 40, 10), ("n_influence", 42, 7), ("words", 32, 10)])
def test_how_many_scenes_and_questions_a_quick_run_takes(name, value, taken):
    assert quick_counts({name: value, "draws": 3}, {}, 0) == {name: taken}


def test_a_chapter_that_compares_classes_says_how_many_images_that_takes(root):
    assert plan(root, "digits", ["04"], {"n_images": 3}, root / "results")[0].parameters == {
        "n_images": 3}
    path = root / "notebooks" / "04_toy.ipynb"
    nb = nbformat.read(path, 4)
    nb.metadata["neuronpath"] = NOTES | {"of_each": {"n_images": 2}}
    nbformat.write(nb, path)
    refused(lambda: plan(root, "digits", ["04"], {"n_images": 19}, root / "results"),
            "parameter n_images of notebook 04_toy", "from 20 (2 of each class)")
