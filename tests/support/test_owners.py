"""Files and folders that name their process: told from those of the living, of others and of no
one, whatever their age."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from neuronpath_core.support import owners
from neuronpath_core.support.files import write_atomically
from neuronpath_core.support.owners import MARK, has_ended, leftovers, mark, own_folder, own_name

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def mark_of(process_code: str = "") -> str:
    """The mark of a process that has ended."""
    code = f"from neuronpath_core.support.owners import mark; print(mark()); {process_code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=True).stdout.strip()


def test_a_living_process_has_not_ended_and_an_ended_one_has():
    assert re.fullmatch(MARK, mark()) and not has_ended(mark())
    assert has_ended(mark_of())


def test_a_number_that_another_process_has_been_given_since(monkeypatch):
    """The number lives, the process does not."""
    place, pid, start = mark().split("-")
    other = owners._in_36(int(start, 36) - 1)
    assert has_ended(f"{place}-{pid}-{other}")


def test_nothing_is_said_of_other_machines_and_other_names():
    place, pid, start = mark_of().split("-")
    changed = ("0" if place[0] != "0" else "1") + place[1:]
    assert not has_ended(f"{changed}-{pid}-{start}")
    for name in ("", "np", "x-y-z", f"{place}-{pid}", f"{place}-{pid}-{start}-"):
        assert not has_ended(name)
    start_of_the_machine = "".join("0" if digit != "0" else "1" for digit in place[4:])
    assert has_ended(f"{place[:4]}{start_of_the_machine}-{pid}-{start}")


@needs_proc
def test_one_that_nobody_has_taken_leave_of_has_ended():
    code = "from neuronpath_core.support.owners import mark; print(mark(), flush=True)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    name = process.stdout.readline().strip()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it stays, as a zombie
    assert Path(f"/proc/{process.pid}").exists() and has_ended(name)
    process.communicate()


def test_leftovers_are_those_of_ended_processes_of_this_user(tmp_path, monkeypatch):
    gone = mark_of()
    (tmp_path / f".table.{gone}-0af3.json").write_text("")
    (tmp_path / f".w.{gone}-0af3.pth.0f2c.partial").write_text("")
    (tmp_path / f"np-{gone}-q7").mkdir()
    left = set(tmp_path.iterdir())
    for name in (f".table.{mark()}-0af3.json", ".table.0a1b2c3d4e5f.json", "np-abcdefgh", ".notes",
                 f"table.{gone}-0af3.json", f".{gone}.json", f"np-{mark()}-q7", f"np-{gone}-q8"):
        (tmp_path / name).write_text("")
    (tmp_path / f".folder.{gone}-0af3").mkdir()
    (tmp_path / f"np-{gone}-q9").symlink_to("/")
    os.utime(tmp_path / ".notes", (0, 0))
    assert set(leftovers(tmp_path)) == left
    assert list(leftovers(tmp_path / "none")) == []
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert list(leftovers(tmp_path)) == []


def test_names_fit_and_folders_go(tmp_path, monkeypatch):
    assert own_name(tmp_path / "a.b.json").suffix == ".json"
    assert len(own_name(tmp_path / ("x" * 251 + ".json")).name) < 150
    assert own_name(tmp_path / "a") != own_name(tmp_path / "a")
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    monkeypatch.setattr(owners.tempfile, "tempdir", str(deep))
    with own_folder() as folder:
        assert Path(folder).parent == deep and Path(folder).stat().st_mode & 0o777 == 0o700
    with own_folder(20) as short:
        assert Path(short).parent == Path("/tmp")
    assert not Path(folder).exists() and not Path(short).exists()


def test_a_writer_that_is_killed_leaves_what_can_be_told(tmp_path):
    code = ("import os, sys; from pathlib import Path\n"
            "from neuronpath_core.support.files import write_atomically\n"
            "write_atomically(Path(sys.argv[1]), lambda path: os.kill(os.getpid(), 9))")
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "table.json")], check=False)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".table.") and list(leftovers(tmp_path)) == [left]
    write_atomically(tmp_path / "table.json", lambda path: path.write_text("x"))
    assert {path.name for path in tmp_path.iterdir()} == {left.name, "table.json"}
