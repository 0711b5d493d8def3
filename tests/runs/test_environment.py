"""The command where the surroundings are odd: locales, temporary folders, homes and folders whose
names are not plain words."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from neuronpath_core.support.owners import SOCKET_PATH, leftovers, own_folder
from tests import helpers, small_study

ROOT = Path(__file__).parents[2]
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LONG = "temporary_folder_of_this_job_" * 4
needs_bytes = pytest.mark.skipif(sys.platform != "linux", reason="needs names of any bytes")


def command(root, *arguments, **variables):
    """Exit status, standard output and error of a command; a variable that is ``None`` is unset."""
    changed = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run([sys.executable, "-m", "neuronpath_core.runs.cli", *arguments],
                          cwd=root, capture_output=True, check=False,
                          env={name: value for name, value in changed.items()
                               if value is not None})
    return done.returncode, done.stdout, done.stderr


def assert_done(answer, results, notebooks=("01_sum",)):
    status, _, errors = answer
    assert status == 0 and b"Traceback" not in errors, errors.decode(errors="replace")
    for name in notebooks:
        assert os.path.isfile(os.path.join(os.fsencode(results), b"notebooks",
                                           f"{name}.ipynb".encode()))


@pytest.fixture
def root(tmp_path):
    return small_study.make_study(tmp_path / "study")


def left_behind():
    """Folders of processes that have ended; those of other tests' commands are in use."""
    return {path for place in ("/tmp", "/var/tmp") for path in leftovers(place)}


@pytest.mark.parametrize("jobs", [pytest.param("1", marks=pytest.mark.thorough), "2"])
def test_a_long_temporary_folder(root, tmp_path, jobs):
    place, before = tmp_path / LONG, left_behind()
    place.mkdir()
    answer = command(root, "run", "01", "02", "--quiet", "--jobs", jobs, TMPDIR=str(place))
    assert_done(answer, root / "results" / "digits", ["01_sum", "02_list"])
    assert list(place.iterdir()) == [] and left_behind() <= before


@pytest.mark.skipif(sys.platform == "win32", reason="needs folders removed while in use")
@pytest.mark.parametrize("arguments", ["run --check", "paths --check", "explain a.png --model x",
                                       "new-profile mine --model vit_tiny_patch16_224 --data ."])
def test_a_working_directory_that_has_been_removed(tmp_path, arguments):
    done = subprocess.run(
        ["sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "sh", sys.executable,
         "-m", "neuronpath_core.runs.cli", *arguments.split()], cwd=tmp_path,
        capture_output=True, check=False, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    said = [line for line in done.stderr.splitlines() if not line.startswith("sh: ")]
    assert done.returncode == 2 and said == [
        "neuronpath: the working directory has been removed; accepted: one that is there, such as "
        "that of the study"]


NO_TEMPORARY = {"TMPDIR": "/proc/nowhere", "TEMP": None, "TMP": None}
ALONE = [NO_TEMPORARY, {"HOME": None}, {"HOME": "/proc/nowhere"}, ASCII]


@pytest.mark.parametrize("variables", [
    NO_TEMPORARY | {"HOME": "/proc/nowhere"}, ASCII | {"HOME": None},
    *(pytest.param(each, marks=pytest.mark.thorough) for each in ALONE)], ids=str)
def test_odd_variables(root, variables):
    assert_done(command(root, "run", "01", "--quiet", **variables), root / "results" / "digits")


@pytest.mark.each_value
@pytest.mark.parametrize("variables", [{}, ASCII], ids=["utf-8", "ascii"])
@pytest.mark.parametrize("name", ["a b #1 100% {steps} {0} ünï", "deep/-dash/~tilde$HOME"])
def test_names_of_folders_that_are_not_plain_words(tmp_path, name, variables):
    (tmp_path / name).mkdir(parents=True)
    root = small_study.make_study(tmp_path / name / "study")
    results = tmp_path / name / "results"
    assert_done(command(root, "run", "01", "--quiet", "--results", str(results), "-p", "steps",
                        "3", **variables), results)


@needs_bytes
@pytest.mark.parametrize("variables", [{}, ASCII], ids=["utf-8", "ascii"])
def test_a_results_folder_that_is_not_utf8_is_refused_before_any_work(root, tmp_path, variables):
    results = os.fsencode(tmp_path) + b"/caf\xe9"
    status, output, errors = command(root, "run", "01", "--quiet", "--results", results,
                                     **variables)
    assert status == 2 and output == b"" and errors.count(b"\n") == 1
    assert rb"caf\xe9" in errors and b"not UTF-8" in errors and b"accepted" in errors
    assert not os.path.exists(results)


@pytest.mark.parametrize(("variables", "shown"), [
    (ASCII, "Größe → fehlt".encode()), ({"PYTHONIOENCODING": "latin-1"}, b"Gr\xf6\xdfe \\u2192 fehlt"),
    ({"PYTHONIOENCODING": "ascii:strict"}, "Größe → fehlt".encode())], ids=str)
def test_words_that_a_terminal_cannot_show_are_written_in_others(root, variables, shown):
    profile = small_study.PROFILE | {"not_run": {"03_device": "Größe → fehlt"}}
    small_study.write_profile(root, profile)
    status, output, errors = command(root, "run", "--check", **variables)
    assert status == 0, errors.decode()
    assert shown in output


@pytest.mark.parametrize("text", [b"models: {caf\xe9: {}}\n", b"\xff\xfem\0o\0"])
def test_a_profile_in_another_encoding_is_named(root, monkeypatch, capsys, text):
    (root / "profiles" / "mine.yml").write_bytes(text)
    said = helpers.refused_command(root, monkeypatch, capsys, "run", "--profile", "mine")
    assert "mine.yml: it is not UTF-8" in said and "accepted" in said


def test_a_profile_that_begins_with_a_mark(root):
    path = root / "profiles" / "digits.yml"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert command(root, "run", "01", "--check")[0] == 0


def test_a_folder_for_sockets_is_short_and_goes(tmp_path, monkeypatch):
    (tmp_path / LONG).mkdir()
    for usual in (tmp_path / LONG, "/tmp"):
        monkeypatch.setattr(tempfile, "tempdir", str(usual))
        with own_folder(20) as folder:
            assert os.path.isdir(folder) and len(folder) + 20 <= SOCKET_PATH
        assert not os.path.exists(folder)


def test_without_any_short_folder_one_line_says_so(tmp_path, monkeypatch):
    (tmp_path / LONG).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / LONG))
    monkeypatch.setattr("neuronpath_core.support.owners.SHORT_FOLDERS", ("/proc",))
    with pytest.raises(ValueError, match="accepted: a TMPDIR of at most .* characters") as refused:
        own_folder(20).__enter__()
    assert "\n" not in str(refused.value)
    assert list((tmp_path / LONG).iterdir()) == []


def test_without_any_temporary_folder_one_line_says_so(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc"])
    monkeypatch.setattr("neuronpath_core.support.owners.SHORT_FOLDERS", ("/proc",))
    with pytest.raises(ValueError, match="no temporary folder .* accepted"):
        own_folder(20).__enter__()
