"""What killed commands leave, and that the next one removes it, and nothing else."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from neuronpath_core.runs.leftovers import tidy
from neuronpath_core.support.owners import FOLDER_VARIABLE
from tests import kills, small_study
from tests.processes import eventually, with_variable
from tests.support.test_owners import mark_of

needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A study, and a folder for temporary files whose path is short."""
    with tempfile.TemporaryDirectory(prefix="np-", dir="/tmp") as temporary:
        monkeypatch.setattr(tempfile, "tempdir", temporary)
        yield small_study.make_study(tmp_path / "study"), Path(temporary)


def test_what_ended_processes_left_goes_and_nothing_else(place):
    root, temporary = place
    results, gone = root / "results" / "digits", mark_of()
    (results / "notebooks").mkdir(parents=True)
    (results / "paths" / "one_neuron_path_0123456789ab" / "parts").mkdir(parents=True)
    left = [results / "notebooks" / f".01_sum.{gone}-0af3.ipynb",
            results / "paths" / "one_neuron_path_0123456789ab" / f".run.{gone}-0af3.json",
            root / "data" / "weights" / f".one.{gone}-0af3.safetensors.00ff.partial",
            root / "notebooks" / f".01_sum.{gone}-0af3.ipynb",
            root / "profiles" / f".mine.{gone}-0af3.yml", temporary / f"np-{gone}-a1" / "socket"]
    kept = [results / "notebooks" / ".01_sum.0123456789ab.ipynb", temporary / "np-somebody" / "x",
            results / "notebooks" / ".ipynb_checkpoints", root / "notebooks" / ".#01_sum.ipynb"]
    for path in left + kept:
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    line = tidy(root, results)
    assert "6 temporary files and folders" in line and "\n" not in line
    assert not any(path.exists() for path in left) and all(path.exists() for path in kept)
    assert not (temporary / f"np-{gone}-a1").exists()
    assert tidy(root, results) is None


def test_locks_that_nobody_holds_go(place):
    root, _ = place
    paths = root / "results" / "digits" / "paths"
    paths.mkdir(parents=True)
    for name in (".one_neuron_path_0123456789ab.lock", ".other.lock"):
        (paths / name).write_text("")
    code = ("import sys; from pathlib import Path\n"
            "from neuronpath_core.study.store.lock import only_writer\n"
            "with only_writer(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()")
    held = subprocess.Popen([sys.executable, "-c", code, str(paths / "two_x_0123456789ab")],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert held.stdout.readline() == "held\n"
    assert "1 locks" in tidy(root, paths.parent)
    names = {path.name for path in paths.iterdir()}
    assert names == {".other.lock", ".two_x_0123456789ab.lock", ".two_x_0123456789ab.writer"}
    held.kill()
    held.wait()
    assert "2 locks" in tidy(root, paths.parent)
    assert [path.name for path in paths.iterdir()] == [".other.lock"]


@needs_proc
@pytest.mark.parametrize("is_there", [True, False])
def test_helpers_in_a_folder_of_an_ended_process_end_and_editors_stay(place, is_there):
    """Also where the folder went with its process, which Ray's agents outlive by some seconds."""
    root, temporary = place
    folder = temporary / f"np-{mark_of()}-b2"
    if is_there:
        folder.mkdir()
    sleep = "import time; time.sleep(300)"
    helper = subprocess.Popen([sys.executable, "-c", sleep, "/x/ray/agent.py",
                               f"--session-dir={folder}/session_1"])
    stubborn = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, "
                                 "signal.SIG_IGN); print(1, flush=True); time.sleep(300)",
                                 "ipykernel_launcher", f"{folder}/kernel.json"],
                                stdout=subprocess.PIPE)
    hidden = subprocess.Popen([sys.executable, "-c", sleep, "ray::RuntimeEnvAgent"],
                              env=os.environ | {FOLDER_VARIABLE: str(folder)})
    editor = subprocess.Popen([sys.executable, "-c", sleep, f"{folder}/log.txt"])
    stubborn.stdout.readline()
    try:
        assert "3 processes" in tidy(root)
        hidden.wait(9), helper.wait(9), stubborn.wait(9)
        assert editor.poll() is None and not folder.exists()
    finally:
        for process in (helper, stubborn, hidden, editor):
            process.kill()
            process.wait()


@needs_proc
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.thorough)
                                       for seed in (1, 2))])
def test_killed_at_random_with_all_that_belongs_to_it_then_run_again(place, seed):
    """Nothing is left: neither the command, nor what executes its notebooks, had time to tidy up.
    """
    root, temporary = place
    small_study.write_notebook(root, "01_sum", "steps = 20\nseed = 0",
                               "import time; time.sleep(2)", "steps + seed")
    rng = random.Random(seed)
    process = kills.start(root, temporary, "run", "01", "02", "--jobs", "2", "--quiet")
    if seed == 0:
        assert eventually(lambda: list(temporary.glob("np-*/kernel-*")))
    else:
        time.sleep(rng.uniform(2, 7))
    for member in with_variable(kills.VARIABLE, root):
        os.kill(member, signal.SIGKILL)
    process.communicate(timeout=60)
    again = kills.start(root, temporary, "run", "01", "02", "--quiet")
    output, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    if seed == 0:
        assert errors.count("removed what commands left") == 1
    assert kills.left(root, temporary) == []
