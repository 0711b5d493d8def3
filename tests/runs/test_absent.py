"""A chapter about images that are not at hand: left out with a line of a run of everything and of
the tests, refused where it is asked for, and whatever else there is goes on."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from neuronpath_core.runs import commands, dry_run
from neuronpath_core.runs.absent import absent_images, all_absent, told
from tests import photos, small_study

ROOT = Path(__file__).resolve().parents[2]
OBTAIN = "git clone https://example.org/photos data/photos"


@pytest.fixture
def root(tmp_path):
    small_study.make_study(tmp_path)
    photos.write_pictures(tmp_path, each=2)
    photos.write_study(tmp_path)
    small_study.write_notebook(tmp_path, "04_photos", "profile = 'photos'\nn_images = 10",
                               "print(profile, n_images)")
    return tmp_path


def check(root, notebooks=(), profile="digits"):
    commands.run(root, root / "results", profile, list(notebooks), {}, check=True, force=False,
                 stale=False, store=False, jobs=1, progress=False)


def test_a_chapter_with_its_images_is_run(root, capsys):
    assert absent_images(root, "04_photos") is None
    check(root)
    assert "NOT executed" not in capsys.readouterr().out


def test_one_without_is_left_out_of_a_run_of_all_and_said_where_to_get_them(root, capsys):
    shutil.rmtree(root / "data" / "photos")
    assert list(all_absent(root, ["01_sum", "04_photos"])) == ["04_photos"]
    check(root)
    output = capsys.readouterr().out
    line, = [line for line in output.splitlines() if "NOT executed" in line]
    assert line.startswith("04_photos: NOT executed") and OBTAIN in line
    assert output.endswith("nothing is missing\n")


def test_what_is_asked_for_by_name_or_by_profile_is_refused(root, capsys):
    shutil.rmtree(root / "data" / "photos")
    with pytest.raises(ValueError, match="accepted: what the lines above name"):
        check(root, ["04"])
    output = capsys.readouterr().out
    assert "missing or wrong: images of profile photos" in output and OBTAIN in output
    assert absent_images(root, "04_photos", profile="photos") is None


def test_images_that_are_not_declared_are_never_absent(root):
    shutil.rmtree(root / "data" / "photos")
    (root / "data" / "photos.json").unlink()
    assert absent_images(root, "04_photos") is None


def test_changed_images_are_found_before_any_work(root, capsys):
    file = root / "data" / "photos" / "test" / "cat" / "0000.jpg"
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="are missing or wrong"):
        check(root, ["04"])
    assert "an image of cat is another" in capsys.readouterr().out


def test_the_tests_of_notebooks_leave_it_out_and_say_so(monkeypatch):
    spec = importlib.util.spec_from_file_location("of_notebooks", ROOT / "notebooks" / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "all_absent", lambda *_: {"31_photographs": OBTAIN})
    monkeypatch.setattr(module, "_left_out", lambda every: [])

    class Config:
        getoption = staticmethod(lambda name: False)

    assert told("31_photographs", OBTAIN) in module.pytest_report_header(Config)
    place = ROOT / "notebooks"
    assert module.pytest_ignore_collect(place / "31_photographs.ipynb", Config) is True
    assert module.pytest_ignore_collect(place / "02_table1.ipynb", Config) is None


def test_a_dry_run_needs_no_images_that_may_be_absent(root):
    """What it takes to read them is left out; images that are not declared are still asked for."""
    shutil.rmtree(root / "data" / "photos")
    bench = dry_run._Bench(root, 0.0)
    spec = {"architecture": photos.ARCHITECTURE, "data_config": photos.CONFIG}
    assert bench._reading("photos", spec, None) == 0.0
    (root / "data" / "photos.json").unlink()
    with pytest.raises(ValueError, match="git clone"):
        dry_run._Bench(root, 0.0)._reading("photos", spec, None)
