"""The ``neuronpath`` command: what it refuses, what it keeps, and what a notebook that fails
leaves."""

import ast
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.runs import cli, parameters
from neuronpath_core.runs import executions as executions_module
from neuronpath_core.runs.choice import notebook_names, resolve_notebooks
from neuronpath_core.runs.outputs import normalise_notebook
from neuronpath_core.study import path_tables
from neuronpath_core.study.profiles import RESULTS_VARIABLE
from neuronpath_core.study.study import Study
from neuronpath_core.study.vlm_profiles import any_profile
from tests import small_study
from tests.processes import eventually, in_the_background, in_the_foreground, with_variable
from tests.study.test_store_faults import mount

ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A made-up study, which is the working directory."""
    monkeypatch.setenv(RESULTS_VARIABLE, "")  # what a run sets is undone afterwards
    monkeypatch.chdir(small_study.make_study(tmp_path / "study"))
    return tmp_path / "study"


@pytest.fixture
def neuronpath(monkeypatch, capfd):
    """Runs a command; returns exit status, standard output and standard error."""
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["neuronpath", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code or 0, *capfd.readouterr()
    return call


@pytest.fixture
def executions(monkeypatch):
    """The notebooks that would be executed; nothing is."""
    runs = []

    def pretend(_root, run, _results, _through, progress=True):
        runs.append(run)
        run.output.write_text((_root / "notebooks" / f"{run.notebook}.ipynb").read_text())
        run.record.write_text(run.made_from)

    monkeypatch.setattr(executions_module, "execute", pretend)
    return runs


def said_by_the_command(errors):
    """Standard error without what a kernel that is being shut down may log there."""
    # the second is libzmq's, when a kernel's process ends while its sockets are still polled
    return "".join(line for line in errors.splitlines(keepends=True)
                   if not line.startswith(("[IPKernelApp]", "Assertion failed: pfd.revents")))


def assert_refused(answer, *words):
    """Exit status 2, nothing on standard output, and one line on standard error that holds every
    word."""
    status, output, errors = answer
    assert status == 2
    assert output == ""
    assert errors.startswith("neuronpath: ")
    assert errors.endswith("\n")
    assert errors.count("\n") == 1, errors
    for word in words:
        assert word in errors, errors


def files(folder):
    """Every file below a folder, with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
            if not path.is_dir()}


# --- what is refused ---

REFUSED = {
    "profile of run": (["run", "--profile", "imagenot"],
                       ["profile", "'imagenot'", "accepted: digits"]),
    "profile of paths": (["paths", "--profile", "imagenot"],
                         ["profile", "'imagenot'", "accepted: digits"]),
    "notebook": (["run", "09"], ["notebook '09'", "accepted: 01_sum, 02_list, 03_device"]),
    "one of two notebooks": (["run", "01", "sum"], ["notebook 'sum'", "accepted: 01_sum"]),
    "parameter": (["run", "-p", "step", "3"],
                  ["parameter 'step'", "accepted: steps, seed, n_images, models, device, dtype"]),
    "parameter of another notebook": (["run", "01", "-p", "n_images", "3"],
                                      ["parameter 'n_images'", "accepted: steps, seed"]),
    "parameter without a value": (["run", "-p", "steps"], ["-p", "2 arguments"]),
    "a word for a number": (["run", "-p", "n_images", "ten"],
                            ["n_images", "02_list", "'ten'", "whole number"]),
    "a fraction for a number": (["run", "-p", "n_images", "10.0"],
                                ["n_images", "10.0", "whole number"]),
    "true for a number": (["run", "-p", "n_images", "true"], ["n_images", "True", "whole number"]),
    "nothing for a number": (["run", "-p", "n_images", ""], ["n_images", "None", "whole number"]),
    "too small a number": (["run", "-p", "steps", "0"], ["steps", "01_sum", "0", "at least 1"]),
    "a negative seed": (["run", "-p", "seed", "-1"], ["seed", "-1", "at least 0"]),
    "a word for a list": (["run", "-p", "models", "one"],
                          ["models", "'one'", "a list of one or more of one, two"]),
    "an empty list": (["run", "-p", "models", "[]"], ["models", "[]", "one or more of one, two"]),
    "a list with an unknown model": (["run", "-p", "models", "[one, three]"],
                                     ["models", "three", "one, two"]),
    "a list with a number": (["run", "-p", "models", "[1]"], ["models", "[1]", "one, two"]),
    "a map": (["run", "-p", "models", "{one: two}"], ["models", "one, two"]),
    "dtype of run": (["run", "-p", "dtype", "float16"],
                     ["dtype", "'float16'", "float64, float32, bfloat16"]),
    "device of run": (["run", "-p", "device", "gpu"], ["device", "'gpu'", "cpu"]),
    "YAML syntax": (["run", "-p", "models", "[one, two"], ["YAML", "a number, a word, a list"]),
    "YAML tags": (["run", "-p", "models", "!!python/name:os.system"], ["YAML"]),
    "model": (["paths", "--model", "three"], ["three", "one, two"]),
    "method": (["paths", "--method", "best"], ["method 'best'", "neuron_path, complete, ablation"]),
    "search": (["paths", "--search", "greedy"], ["search 'greedy'", "joint, literal, beam"]),
    "context": (["paths", "--context", "half"], ["context 'half'", "auto, full, frozen, mixed"]),
    "context of a model": (["paths", "--model", "two", "--context", "frozen"],
                           ["context", "class token", "accepted here: full"]),
    "quadrature": (["paths", "--quadrature", "simpson"],
                   ["'simpson'", "left, right, midpoint, gauss-legendre"]),
    "steps": (["paths", "--steps", "0"], ["steps", "at least 1"]),
    "top": (["paths", "--top", "13"], ["top", "1..12"]),
    "dtype": (["paths", "--dtype", "float16"], ["dtype 'float16'", "float64, float32, bfloat16"]),
    "device": (["paths", "--device", "gpu"], ["device 'gpu'", "cpu, cuda"]),
    "a word for steps": (["paths", "--steps", "ten"],
                         ["steps", "'ten'", "whole number of at least 1", "'auto'"]),
    "a fraction for steps": (["paths", "--steps", "2.5"],
                             ["steps", "'2.5'", "whole number of at least 1"]),
    "negative steps": (["paths", "--steps", "-2"], ["steps", "'-2'", "whole number of at least 1"]),
    "automatic steps of another method": (["paths", "--steps", "auto", "--method", "random"],
                                          ["steps", "'auto'", "neuron_path"]),
    "a word for nodes": (["paths", "--nodes", "ten"], ["--nodes", "ten", "integer"]),
    "too many nodes": (["paths", "--steps", "3", "--nodes", "4"], ["nodes", "1..3", "4"]),
    "memory": (["paths", "--memory-budget", "much"], ["memory_budget", "'6GB'", "'much'"]),
    "no memory": (["paths", "--memory-budget", "0"], ["memory_budget", "'6GB'", "'0'"]),
    "a word for steps of run": (["run", "-p", "steps", "ten"],
                                ["steps", "01_sum", "'ten'", "whole number", "auto"]),
    "no images": (["paths", "--n-images", "0"], ["number of images", "from 1 to 1350",
                                                 "cannot be 0"]),
    "too many images": (["paths", "--n-images", "2000"],
                        ["number of images", "from 1 to 1350", "cannot be 2000"]),
    "option": (["run", "--fast"], ["--fast"]),
    "command": (["walk"], ["walk"]),
}


@pytest.mark.parametrize(("arguments", "words"), REFUSED.values(), ids=REFUSED)
def test_refused_before_anything_is_done(root, neuronpath, executions, arguments, words):
    before = files(root)
    assert_refused(neuronpath(*arguments), *words)
    assert files(root) == before
    assert not executions


@pytest.mark.parametrize("command", ["run", "paths"])
def test_results_that_cannot_be_written(root, neuronpath, executions, command):
    (root / "file").write_text("")
    assert_refused(neuronpath(command, "--results", root / "file" / "below"), "results folder",
                   "cannot be written to", "accepted")
    assert not executions


def test_of_several_notebooks_none_runs_if_one_value_is_wrong(root, neuronpath, executions):
    small_study.write_profile(root,
                              {**small_study.PROFILE,
                               "notebooks": {"02_list": {"n_images": "ten"}}})
    assert_refused(neuronpath("run"), "n_images", "02_list", "whole number")
    assert not executions


@pytest.mark.parametrize("value", ["[float64]", "{a: b}"])
def test_a_list_for_a_dtype(root, neuronpath, executions, value):
    assert_refused(neuronpath("run", "-p", "dtype", value), "dtype", "float64, float32, bfloat16")


def test_a_parameter_of_a_new_name(root, neuronpath, executions):
    small_study.write_notebook(root, "04_new", "bins = 3", "bins")
    assert neuronpath("run", "04", "-p", "bins", "4")[0] in (0, 2)


def test_a_profile_with_parameters_for_an_unknown_notebook(root, neuronpath, executions):
    small_study.write_profile(root,
                              {**small_study.PROFILE, "notebooks": {"02_lits": {"n_images": 20}}})
    assert_refused(neuronpath("run"), "02_lits", "accepted")


def test_an_unknown_command_is_told_the_known_ones(neuronpath):
    assert_refused(neuronpath("walk"), "run", "paths")


def test_a_negative_seed_of_paths(root, neuronpath):
    assert_refused(neuronpath("paths", "--seed", "-1"), "seed", "at least 0")


def test_help_and_version(neuronpath):
    for arguments in (["--help"], ["run", "--help"], ["paths", "-h"], ["--version"]):
        status, output, errors = neuronpath(*arguments)
        assert (status, errors) == (0, "")
        assert output


# --- paths ---


def test_paths_are_written_and_used_again(root, neuronpath, monkeypatch):
    arguments = ["paths", "--model", "two", "--n-images", "10", "--steps", "2", "--results",
                 root / "elsewhere"]
    status, output, _ = neuronpath(*arguments)
    assert status == 0
    assert "two neuron_path: 10 paths, mean joint attribution score" in output
    assert str(root / "elsewhere" / "paths") in output
    before = files(root / "elsewhere")
    assert [Path(name).name for name in before
            if not name.endswith(".lock")] == ["manifest.json", "paths.parquet"]
    assert not (root / "results").exists()

    def search(*_, **__):
        raise AssertionError("searched again")

    monkeypatch.setattr(path_tables, "find_paths_by_top", search)
    assert neuronpath(*arguments)[:2] == (0, output)
    assert files(root / "elsewhere") == before
    # what a notebook asks for is the same table
    study = Study("digits", results=root / "elsewhere")
    assert study.paths("two", study.images(10), steps=2).neurons.shape == (10, 3)


@pytest.mark.parametrize(("arguments", "settings"), [
    (["--context", "full", "--quadrature", "left"], {"context": "full", "quadrature": "left"}),
    (["--steps", "auto"], {"steps": "auto"}), (["--steps", "6", "--nodes", "2"],
                                               {"steps": 6, "nodes": 2}),
    (["--search", "beam", "--steps", "2", "--memory-budget", "4 MB"],
     {"search": "beam", "steps": 2})], ids=str)
def test_options_of_paths_are_settings_of_the_search(root, neuronpath, monkeypatch, arguments,
                                                     settings):
    assert neuronpath("paths", "--model", "one", "--n-images", "10", *arguments)[0] == 0
    monkeypatch.setattr(path_tables, "find_paths_by_top", None)  # nothing is searched again
    study = Study("digits")
    found = study.paths("one", study.images(10), **settings)
    monkeypatch.undo()
    direct = npc.find_paths(study.target("one"), *study.batch(study.images(10), "one"), **settings)
    assert torch.equal(found.neurons, direct.neurons)
    assert torch.equal(found.steps, direct.steps)


def test_paths_of_every_model(root, neuronpath):
    status, output, _ = neuronpath("paths", "--n-images", "10", "--method", "random", "--top", "2",
                                   "--steps", "1")
    assert status == 0
    assert [line.split()[0] for line in output.splitlines()[:2]] == ["one", "two"]
    assert len(list((root / "results" / "digits" / "paths").glob("*/paths.parquet"))) == 2


# --- which notebooks, with which parameters ---


@pytest.mark.parametrize("text", ["02", "2", "02_list", "02_list.ipynb", "notebooks/02_list.ipynb",
                                  "./notebooks/02_list.ipynb"])
def test_a_notebook_can_be_named_in_many_ways(root, text):
    assert resolve_notebooks(root, [text]) == ["02_list"]
    assert resolve_notebooks(root, [str(root / "notebooks" / "02_list.ipynb"), text]) == ["02_list"]


def test_notebooks_in_the_order_asked_for(root):
    assert resolve_notebooks(root, []) == ["01_sum", "02_list", "03_device"]
    assert resolve_notebooks(root, ["03", "1", "3"]) == ["03_device", "01_sum"]


@pytest.mark.parametrize("text", ["", "0", "list", "02_", "2_list", "04", "*"])
def test_names_that_match_no_notebook(root, text):
    with pytest.raises(ValueError, match="accepted: 01_sum, 02_list, 03_device"):
        resolve_notebooks(root, [text])


def test_a_number_that_two_notebooks_have(root):
    small_study.write_notebook(root, "02_again", "seed = 0", "seed")
    with pytest.raises(ValueError,
                       match="unknown notebook '02'; accepted: 01_sum, 02_again, 02_list"):
        resolve_notebooks(root, ["02"])
    assert resolve_notebooks(root, ["02_list"]) == ["02_list"]


def test_a_parameter_goes_to_the_notebooks_that_have_it(root, neuronpath, executions):
    assert neuronpath("run", "-p", "seed", "3", "-p", "steps", "5", "-p", "models", "[two]")[0] == 0
    assert {run.notebook: run.parameters for run in executions} == {
        "01_sum": {"seed": 3, "steps": 5}, "02_list": {"seed": 3, "models": ["two"]},
        "03_device": {}}


def test_parameters_of_the_profile(root, neuronpath, executions):
    small_study.write_profile(root,
                              {**small_study.PROFILE,
                               "notebooks": {"02_list": {"n_images": 20, "seed": 1}}}, "other")
    assert neuronpath("run", "--profile", "digits")[0] == 0
    assert [run.parameters for run in executions] == [{}, {}, {}]
    executions.clear()
    for name in ("01_sum", "03_device"):
        small_study.write_notebook(root, name, 'profile = "digits"\nsteps = 20', "profile")
    # a notebook must be able to be told which profile it is run with
    assert_refused(neuronpath("run", "--profile", "other"), "02_list", "'profile'",
                   "accepted: n_images, models, seed")
    small_study.write_notebook(root, "02_list", 'profile = "digits"\nn_images = 100\nseed = 0',
                               "profile")
    # which takes nothing from a profile
    small_study.write_notebook(root, "04_toys", 'toys = 3', "toys")
    assert neuronpath("run", "--profile", "other", "-p", "seed", "2")[0] == 0
    assert {run.notebook: run.parameters for run in executions} == {
        "01_sum": {"profile": "other"}, "02_list": {"profile": "other", "n_images": 20, "seed": 2},
        "03_device": {"profile": "other"}, "04_toys": {}}
    assert {run.output.parent for run in executions} == {root / "results" / "other" / "notebooks"}


def test_a_notebook_of_several_profiles(root, neuronpath, executions):
    """It takes them all by default, and the one it is run with."""
    small_study.write_profile(root, small_study.PROFILE, "other")
    small_study.write_notebook(root, "01_sum", 'profiles = ["digits", "other"]', "profiles")
    assert neuronpath("run", "01")[0] == neuronpath("run", "01", "--profile", "other")[0] == 0
    assert neuronpath("run", "01", "-p", "profiles", '["other", "digits"]')[0] == 0
    assert [run.parameters for run in executions] == [{}, {"profiles": ["other"]},
                                                      {"profiles": ["other", "digits"]}]
    assert_refused(neuronpath("run", "01", "-p", "profiles", '["imagenot"]'), "profiles",
                   "'imagenot'", "accepted: a list of one or more of digits, other")
    assert_refused(neuronpath("run", "01", "-p", "profiles", "[]"), "profiles", "[]",
                   "digits, other")


def test_what_a_notebook_depends_on(root, neuronpath, executions):
    """Executed again after a change of source, parameters, profile, data or library, and after
    nothing else."""
    (root / "data" / "table1.csv").write_text("a,b\n")
    (root / "notebooks" / "own.py").write_text("")
    source = "import own\nprofile, 'table1.csv'\nsteps + seed"
    small_study.write_notebook(root, "01_sum", "profile = 'digits'\nsteps = 20\nseed = 0", source)

    def runs(*more):
        executions.clear()
        assert neuronpath("run", "01", *more)[0] == 0
        return len(executions)

    assert (runs(), runs()) == (1, 0)
    assert runs("--force") == 1
    small_study.write_notebook(root, "01_sum", "profile = 'digits'\nsteps = 20\nseed = 0",
                               source + " + 1")
    assert (runs(), runs()) == (1, 0)
    assert (runs("-p", "steps", "3"), runs("-p", "steps", "3"), runs()) == (1, 0, 1)
    for name, more in (("notebooks/own.py", "a = 1\n"), ("data/table1.csv", "\n"),
                       ("profiles/digits.yml", "replicas: {one: [1]}\n")):
        (root / name).write_text((root / name).read_text() + more)
        assert (runs(), runs()) == (1, 0), name
    small_study.write_weights(root, "two", 7)
    assert (runs(), runs()) == (1, 0)
    (root / "README.md").write_text("text")
    small_study.write_notebook(root, "02_list", "seed = 1", "seed")
    notebook = nbformat.read(root / "notebooks" / "01_sum.ipynb", 4)
    # stored outputs are no source
    notebook.cells[2].outputs = [nbformat.v4.new_output("stream", text="21")]
    nbformat.write(notebook, root / "notebooks" / "01_sum.ipynb")
    assert runs() == 0
    (root / "results" / "digits" / "notebooks" / "01_sum.ipynb").unlink()
    assert (runs(), runs()) == (1, 0)


def test_the_variable_says_where_results_of_run_go(root, neuronpath, executions, monkeypatch):
    monkeypatch.setenv(RESULTS_VARIABLE, str(root / "variable"))
    assert neuronpath("run", "01")[0] == 0
    assert executions[0].output == root / "variable" / "notebooks" / "01_sum.ipynb"


def test_tables_of_a_notebook_with_a_profile_of_its_own_lie_with_that_profiles(
        root, neuronpath, executions, monkeypatch):
    """Where every other command with that profile looks for them; unless a folder was asked for,
    which then has everything."""
    small_study.write_profile(root, small_study.PROFILE, "other")
    small_study.write_notebook(root, "01_sum", 'profile = "other"\nsteps = 20', "profile")
    small_study.write_notebook(root, "02_list", 'profile = "digits"\nsteps = 20', "profile")
    small_study.write_notebook(root, "03_device", 'profiles = ["digits", "other"]', "profiles")
    assert neuronpath("run")[0] == 0
    results = root / "results"
    assert {run.notebook: run.tables for run in executions} == {
        "01_sum": results / "other", "02_list": None, "03_device": None}
    assert {run.output.parent for run in executions} == {results / "digits" / "notebooks"}
    executions.clear()
    assert neuronpath("run", "01", "--profile", "other", "--force")[0] == 0  # its own anyway
    assert neuronpath("run", "01", "--force", "--results", root / "mine")[0] == 0
    monkeypatch.setenv(RESULTS_VARIABLE, str(root / "variable"))
    assert neuronpath("run", "01", "--force")[0] == 0
    assert [run.tables for run in executions] == [None] * 3


def test_tables_that_cannot_be_written_are_refused_before_the_work(root, neuronpath, executions):
    small_study.write_profile(root, small_study.PROFILE, "other")
    small_study.write_notebook(root, "01_sum", 'profile = "other"\nsteps = 20', "profile")
    (root / "results").mkdir()
    (root / "results" / "other").write_text("a file")
    assert_refused(neuronpath("run", "01"), "results folder", str(root / "results" / "other"))
    assert not executions


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_notebook_is_told_where_its_tables_go(root, neuronpath, jobs):
    small_study.write_profile(root, small_study.PROFILE, "other")
    told = 'import os\nos.path.relpath(os.environ["NEURONPATH_RESULTS"], "..")'
    for name, own in (("01_sum", "other"), ("02_list", "digits")):
        small_study.write_notebook(root, name, f'profile = "{own}"', told)
    assert neuronpath("run", "01", "02", "--jobs", jobs, "--quiet")[0] == 0
    outputs = root / "results" / "digits" / "notebooks"
    assert result(outputs / "01_sum.ipynb") == "'results/other'"
    assert result(outputs / "02_list.ipynb") == "'results/digits'"


def test_store_with_other_parameters_is_refused_before_the_work(root, neuronpath, executions):
    neuronpath("run", "01", "--store", "-p", "steps", "3")
    assert not executions


# --- notebooks that are really executed ---


def result(path):
    """The plain text of the last cell's output."""
    return nbformat.read(path, 4).cells[-1].outputs[0]["data"]["text/plain"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_execute_keep_and_store(root, neuronpath, jobs):
    neuronpath = functools.partial(neuronpath, "run", "--jobs", jobs)
    source = root / "notebooks" / "01_sum.ipynb"
    output = root / "results" / "digits" / "notebooks" / "01_sum.ipynb"
    before = files(root / "notebooks")
    status, said, errors = neuronpath("01", "--quiet")
    assert (status, said_by_the_command(errors)) == (0, "")
    assert str(output.parent) in said
    assert result(output) == "20"
    # no output was asked for there, and nothing else lies there
    assert files(root / "notebooks") == before
    assert sorted(files(output.parent)) == ["01_sum.ipynb", "01_sum.made_from"]

    first = files(output.parent)
    assert "01_sum: nothing has changed" in neuronpath("01", "--quiet")[1]
    assert files(output.parent) == first

    assert neuronpath("01", "--store", "--quiet")[0] == 0
    stored = nbformat.read(source, 4)
    nbformat.validate(stored)
    assert result(source) == "20"
    assert len(stored.metadata["neuronpath"]["executed"].pop("outputs")) == 64
    assert stored == normalise_notebook(nbformat.read(output, 4))
    assert [cell.source for cell in stored.cells] == ["# Title", "steps = 20\nseed = 0",
                                                      "steps + seed"]
    assert "papermill" not in source.read_text()

    # with its outputs stored it is still the notebook that was executed; executed again, nothing in
    # it moves
    as_stored = source.read_bytes()
    assert "01_sum: nothing has changed" in neuronpath("01", "--store", "--quiet")[1]
    assert source.read_bytes() == as_stored
    assert "nothing has changed" not in neuronpath("01", "--store", "--force", "--quiet")[1]
    assert source.read_bytes() == as_stored

    # a run with parameters is no reference
    assert_refused_to_store(neuronpath("01", "--store", "--quiet", "-p", "steps", "3", "-p", "seed",
                                       "4"))
    assert result(output) == "20"
    assert source.read_bytes() == as_stored


def assert_refused_to_store(answer):
    status, _, errors = answer
    assert status == 2
    assert said_by_the_command(errors).count("\n") == 1
    assert "only outputs of the notebooks' own parameters can be stored" in errors


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_notebook_that_fails(root, neuronpath, jobs):
    neuronpath = functools.partial(neuronpath, "run", "--jobs", jobs)
    source = root / "notebooks" / "01_sum.ipynb"
    results = root / "results" / "digits" / "notebooks"
    assert neuronpath("01", "--quiet")[0] == 0
    good, trees = files(results), files(root)

    failing = 'raise RuntimeError("first line\\nsecond line")'
    small_study.write_notebook(root, "01_sum", "steps = 20\nseed = 0", "early = 1", failing,
                               "never = 2")
    status, said, errors = neuronpath("01", *(["02"] if jobs == 1 else []), "--quiet")
    assert (status, said) == (1, "")
    assert said_by_the_command(errors).count("\n") == 1
    for word in ("notebook 01_sum", "cell 4:", "RuntimeError: first line second line",
                 "01_sum.failed.ipynb"):
        assert word in errors, errors
    left = files(results)
    assert {name: left[name] for name in good} == good  # what an earlier run left, byte for byte
    assert sorted(set(left) - set(good)) == ["01_sum.failed.ipynb"]  # and 02 was not reached
    failed = nbformat.read(results / "01_sum.failed.ipynb", 4)
    assert any(out.output_type == "error" for cell in failed.cells
               for out in cell.get("outputs", []))
    assert sorted(files(root)) == sorted({*trees, "results/digits/notebooks/01_sum.failed.ipynb"})

    # put right, it runs, and the failed one goes
    small_study.write_notebook(root, source.stem, "steps = 20\nseed = 0", "steps * 2")
    assert neuronpath("01", "--quiet")[0] == 0
    assert sorted(files(results)) == ["01_sum.ipynb", "01_sum.made_from"]
    assert result(results / "01_sum.ipynb") == "40"


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_kernel_that_dies(root, neuronpath, jobs):
    neuronpath = functools.partial(neuronpath, "run", "--jobs", jobs)
    small_study.write_notebook(root, "01_sum", "steps = 20\nseed = 0", "import os; os._exit(3)")
    before = files(root)
    status, said, errors = neuronpath("01", "--quiet")
    assert (status, said) == (1, "")
    assert said_by_the_command(errors).count("\n") == 1
    assert "notebook 01_sum" in errors
    assert files(root) == before


def test_a_disk_that_is_full_when_a_notebook_ends(root, neuronpath, tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    if not shutil.which("mount") or not mount(place, "size=16k"):
        pytest.skip("no file system may be mounted here")
    try:
        for left in (0, 4096):  # for nothing, for the notebook but not for the record beside it
            (place / "filler").write_bytes(bytes(16384 - left))
            status, said, errors = neuronpath("run", "01", "--quiet", "--results", place / "r")
            assert (status, said) == (2, "")
            errors = said_by_the_command(errors)
            assert errors.count(
                "\n") == 1 and "No space left on device" in errors and "accepted" in errors
            assert not list(place.rglob("*.made_from"))
        (place / "filler").unlink()
        assert neuronpath("run", "01", "--quiet", "--results", place / "r")[0] == 0
        assert {path.suffix for path in (place / "r" / "notebooks").iterdir()} == {".ipynb",
                                                                                   ".made_from"}
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_fewer_images_than_classes_do_and_none_are_refused_before_a_notebook_starts(
        root, neuronpath, executions):
    assert neuronpath("run", "02", "-p", "n_images", "5")[0] == 0 and len(executions) == 1
    assert_refused(neuronpath("run", "02", "-p", "n_images", "0"), "n_images", "from 1 to 1350")


def test_weights_are_asked_for_by_notebooks_that_read_the_profile_alone(root, neuronpath,
                                                                        executions):
    for name in small_study.PROFILE["models"]:
        (root / "data" / "weights" / f"{name}.safetensors").unlink()
    small_study.write_notebook(root, "01_sum", 'profile = "digits"\nsteps = 20',
                               "# whatever profile", "steps")
    assert neuronpath("run", "01")[0] == 0 and [run.notebook for run in executions] == ["01_sum"]
    status, said, _ = neuronpath("run", "01", "--check", "--force")
    assert status == 0 and "nothing is missing" in said
    for source in ("print(profile)", "%time profile"):
        small_study.write_notebook(root, "01_sum", 'profile = "digits"\nsteps = 20', source)
        assert_refused(neuronpath("run", "01"), "weights of one", "accepted")
    assert len(executions) == 1


@pytest.fixture
def temporary():
    """A folder for temporary files; its path is short, since sockets lie there."""
    with tempfile.TemporaryDirectory(prefix="np-", dir="/tmp") as folder:
        yield Path(folder)


def start(root, *arguments, signals=in_the_foreground, **variables):
    """The command as a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name != RESULTS_VARIABLE}
    return subprocess.Popen([sys.executable, "-m", "neuronpath_core.runs.cli", *arguments],
                            cwd=root, env=environment | variables, preexec_fn=signals,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            start_new_session=True)


STOPPED = "neuronpath: stopped; finished notebooks and path tables are kept"


@pytest.mark.parametrize("jobs", [pytest.param("1", marks=pytest.mark.thorough), "2"])
def test_an_interrupted_run_leaves_no_temporary_file(root, jobs):
    busy = "open('started', 'w').close(); import time; time.sleep(60)"
    small_study.write_notebook(root, "01_sum", "steps = 20\nseed = 0", busy)
    process = start(root, "run", "01", "--quiet", "--jobs", jobs)
    assert eventually((root / "notebooks" / "started").exists)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == STOPPED
    (root / "notebooks" / "started").unlink()
    assert files(root / "results") == {}
    assert sorted(files(root / "notebooks")) == ["01_sum.ipynb", "02_list.ipynb", "03_device.ipynb"]


WAITING = """
from pathlib import Path
import os, time
Path("{own}").write_text(str(os.getpid()))
until = time.monotonic() + 60
while not Path("{other}").exists() and time.monotonic() < until:
    time.sleep(0.05)
" ".join([str(Path("{other}").exists()), os.environ["OMP_NUM_THREADS"], os.environ["NEURONPATH_RESULTS"]])
"""


def test_notebooks_run_side_by_side_each_with_its_share_of_the_cores(root, neuronpath, monkeypatch):
    """Neither of two ends before the other has begun."""
    small_study.write_notebook(root, "01_sum", "steps = 20", WAITING.format(own="one", other="two"))
    small_study.write_notebook(root, "02_list", "steps = 20",
                               WAITING.format(own="two", other="one"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    status, said, errors = neuronpath("run", "01", "02", "--jobs", "2")
    assert status == 0 and "notebooks: 100%" in errors and "2/2" in errors
    for name in ("01_sum", "02_list"):
        assert result(root / "results" / "digits" / "notebooks"
                      / f"{name}.ipynb") == f"'True 3 {root / 'results' / 'digits'}'"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert neuronpath("run", "01", "--jobs", "2", "--force")[0] == 0
    assert " 5 " in result(root / "results" / "digits" / "notebooks" / "01_sum.ipynb")


def test_a_notebook_that_uses_anothers_tables_is_begun_after_it(root, neuronpath):
    """The first of three names the last; a name that is not among those to run holds nothing up."""
    for name, own in (("01_sum", "[os.path.exists(each) for each in ('two', 'three')]"),
                      ("02_list", "open('two', 'w').close()"),
                      ("03_device", "time.sleep(2); open('three', 'w').close()")):
        path = small_study.write_notebook(root, name, "steps = 20", f"import os, time; {own}"
                                          if name != "01_sum" else f"import os; {own}")
        if name == "01_sum":
            notebook = nbformat.read(path, 4)
            notebook.metadata["neuronpath"] = {"after": "03_device"}
            nbformat.write(notebook, path)
    assert neuronpath("run", "--jobs", "2", "--quiet")[0] == 0
    output = root / "results" / "digits" / "notebooks" / "01_sum.ipynb"
    assert result(output) == "[True, True]"
    assert neuronpath("run", "01", "--jobs", "2", "--quiet", "--force")[0] == 0
    notebook.metadata["neuronpath"]["after"] = "01_sum"  # itself
    nbformat.write(notebook, root / "notebooks" / "01_sum.ipynb")
    assert neuronpath("run", "01", "02", "--jobs", "2", "--quiet", "--force")[0] == 0


@pytest.mark.thorough
def test_the_longest_are_begun_first(root, neuronpath):
    order = root / "order.txt"
    for name, seconds in (("01_sum", None), ("02_list", 1), ("03_device", 30)):
        path = small_study.write_notebook(root, name, "steps = 20",
                                          f"import time; open({str(order)!r}, "
                                          f"'a').write({name + ' '!r}); time.sleep(2)")
        notebook = nbformat.read(path, 4)
        notebook.metadata["neuronpath"] = {} if seconds is None else {"seconds": seconds}
        nbformat.write(notebook, path)
    assert neuronpath("run", "--jobs", "2", "--quiet")[0] == 0
    begun = order.read_text().split()
    assert sorted(begun[:2]) == ["02_list", "03_device"] and begun[2:] == ["01_sum"]
    order.unlink()
    assert neuronpath("run", "--quiet", "--force")[0] == 0
    # one after the other in the order of the book
    assert order.read_text().split() == ["01_sum", "02_list", "03_device"]


def test_when_one_of_several_fails_those_that_run_are_finished_and_no_other_begins(root,
                                                                                   neuronpath):
    small_study.write_notebook(root, "01_sum", "steps = 20", "import os, time",
                               "while not os.path.exists('two'): time.sleep(0.05)", "1 / 0")
    small_study.write_notebook(root, "02_list", "steps = 20",
                               "open('two', 'w').close(); import time; time.sleep(3); 'done'")
    status, said, errors = neuronpath("run", "--jobs", "2", "--quiet")
    assert status == 1 and said == "" and "notebook 01_sum, cell 5: ZeroDivisionError" in said_by_the_command(errors)
    outputs = root / "results" / "digits" / "notebooks"
    assert sorted(files(outputs)) == ["01_sum.failed.ipynb", "02_list.ipynb", "02_list.made_from"]
    assert result(outputs / "02_list.ipynb") == "'done'"


needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")


@needs_proc
@pytest.mark.parametrize(("number", "signals", "jobs"), [
    (signal.SIGTERM, in_the_background, "2"), (signal.SIGKILL, in_the_foreground, "1"),
    *(pytest.param(*each, marks=pytest.mark.thorough) for each in (
        (signal.SIGTERM, in_the_background, "1"), (signal.SIGKILL, in_the_background, "2"),
        (signal.SIGHUP, in_the_foreground, "2")))])
def test_nothing_is_left_of_a_command_that_is_ended(root, temporary, jobs, number, signals):
    """Neither processes nor files. In the background a terminal that closes or is interrupted ends
    nothing."""
    small_study.write_notebook(root, "01_sum", "steps = 20",
                               "open('started', 'w').close(); import time; time.sleep(300)")
    process = start(root, "run", "01", "--quiet", "--jobs", jobs, signals=signals,
                    TMPDIR=str(temporary), NEURONPATH_TEST=str(root))
    assert eventually((root / "notebooks" / "started").exists)
    assert len(with_variable("NEURONPATH_TEST", root)) == 3  # command, papermill, kernel
    for each in (signal.SIGHUP, signal.SIGINT) if signals is in_the_background else ():
        process.send_signal(each)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number and errors.splitlines()[-1] == STOPPED
    assert eventually(lambda: not with_variable("NEURONPATH_TEST", root))
    assert files(root / "results") == {} and list(temporary.iterdir()) == []


@needs_proc
def test_a_search_in_the_background_ends_with_its_cluster(root, temporary):
    process = start(root, "paths", "--engine", "ray", "--workers", "1", "--steps", "2000",
                    signals=in_the_background, TMPDIR=str(temporary), NEURONPATH_TEST=str(root))
    # which is there when the cluster is and the search begins
    assert eventually(lambda: list((root / "results").rglob("run.json")), 240)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.splitlines()[-1]) == (128 + signal.SIGTERM, STOPPED)
    assert eventually(lambda: not with_variable("NEURONPATH_TEST", root))
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(("arguments", "status"), [
    (["--help"], 0), (["run", "--help"], 0), (["paths", "--help"], 0), (["--version"], 0),
    (["walk"], 2), (["run", "--fast"], 2), (["run", "99"], 2), (["run", "--profile", "no"], 2),
    (["paths", "--profile", "no"], 2), (["run", "--engine", "local", "--workers", "2"], 2)])
def test_help_and_refusals_load_nothing_that_takes_seconds(root, arguments, status):
    """And so they come at once: all of the time that they took was spent on these."""
    heavy = ("torch", "timm", "pandas", "papermill", "matplotlib", "ray", "numpy", "nbformat")
    code = (f"import sys\nsys.argv = ['neuronpath', *{arguments}]\n"
            "from neuronpath_core.runs import cli\n"
            "try: cli.main()\n"
            f"finally: print([each for each in {heavy} if each in sys.modules])")
    answer = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True,
                            env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert answer.returncode == status and answer.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("arguments", "words"), [
    (("--jobs", "0"), ("jobs", "x>=1")), (("--jobs", "two"), ("jobs", "integer")),
    (("--jobs", "2", "--engine", "ray"), ("--jobs 2", "accepted: --jobs 1"))])
def test_numbers_of_jobs_that_are_refused(root, neuronpath, executions, arguments, words):
    assert_refused(neuronpath("run", "01", *arguments), *words)
    assert not executions


@pytest.mark.thorough
def test_two_runs_at_once(root):
    both = [start(root, "run", name, "--quiet") for name in ("01", "02")]
    try:
        for process in both:
            process.communicate(timeout=60)
        assert [process.returncode for process in both] == [0, 0]
    finally:
        for process in both:
            if process.poll() is None:
                os.killpg(process.pid, 9)
    assert sorted(files(root / "notebooks")) == ["01_sum.ipynb", "02_list.ipynb", "03_device.ipynb"]


def test_the_shipped_notebooks_accept_their_own_defaults():
    """Every parameter that a notebook declares is one that the command can check."""
    import papermill

    for name in notebook_names(ROOT):
        own = parameters.own_parameters(ROOT, name)
        checks = parameters.parameter_checks(ROOT, any_profile(own.get("profile", "digits"), ROOT))
        declared = papermill.inspect_notebook(str(ROOT / "notebooks" / f"{name}.ipynb"))
        values = {parameter: ast.literal_eval(entry["default"]) for parameter,
                  entry in declared.items()}
        assert values
        parameters.check_parameters(name, list(declared), checks, values)
