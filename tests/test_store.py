"""Path tables on disk: whole or not there, never used for anything but what they were computed from."""

import json
import multiprocessing
import os
import random
import signal
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from neuronpath_core import store
from neuronpath_core.store import MANIFEST, TABLE, StoreWarning, complaint, read_or_compute, write_table

SETTINGS = {"model": "ViT-B-16", "arguments": {"steps": 20, "top": None, "quadrature": "left"}, "images": "0f"}
OTHERS = {"model": "ViT-B-16", "arguments": {"steps": 21, "top": None, "quadrature": "left"}, "images": "0f"}


def a_table(rows=30, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"image": np.arange(rows), "label": rng.integers(0, 10, rows), "score": rng.standard_normal(rows),
                         "steps": rng.integers(1, 49, rows), "neurons": list(rng.integers(0, 144, (rows, 12)))})


def assert_same(found, expected):
    assert list(found.columns) == list(expected.columns)
    for name in ("image", "label", "score", "steps"):
        np.testing.assert_array_equal(found[name], expected[name])
        assert found[name].dtype == expected[name].dtype
    np.testing.assert_array_equal(np.stack(found["neurons"]), np.stack(expected["neurons"]))


class Counted:
    """Computes a table, and counts how often."""

    def __init__(self, table=None, delay=0.0):
        self.table, self.delay, self.calls = a_table() if table is None else table, delay, 0

    def __call__(self):
        self.calls += 1
        time.sleep(self.delay)
        return self.table


def contents(folder):
    """Every file below a folder, with its bytes; locks, which are empty, apart."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix != ".lock"}


@pytest.fixture
def folder(tmp_path):
    """A folder with a good table."""
    write_table(tmp_path / "paths" / "a", a_table(), SETTINGS)
    return tmp_path / "paths" / "a"


# --- writing ---


def test_round_trip(folder):
    assert_same(pd.read_parquet(folder / TABLE), a_table())
    assert sorted(contents(folder)) == [MANIFEST, TABLE]
    record = json.loads((folder / MANIFEST).read_text())
    assert record["computed_from"] == SETTINGS
    assert record["rows"] == 30
    assert complaint(folder, SETTINGS) is None


def test_several_neurons_a_block_and_extreme_scores_survive(tmp_path):
    table = a_table(3)
    table["score"] = [np.pi * 1e-300, -0.0, np.nextafter(1, 2)]
    table["neurons"] = [np.arange(24) + row for row in range(3)]
    compute = Counted(table)
    read_or_compute(tmp_path / "a", SETTINGS, compute)
    assert_same(read_or_compute(tmp_path / "a", SETTINGS, compute), table)
    assert compute.calls == 1


@pytest.mark.parametrize("columns", [
    ["image", "label", "score", "steps"], ["label", "image", "score", "steps", "neurons"], ["image", "label", "score", "neurons"]])
def test_other_columns_are_refused_before_anything_is_touched(folder, columns):
    before = contents(folder)
    with pytest.raises(ValueError, match="columns image, label, score, steps, neurons, got " + ", ".join(columns)):
        write_table(folder, a_table()[columns], OTHERS)
    assert contents(folder) == before


def test_the_manifest_comes_last(tmp_path, monkeypatch):
    replaced, replace = [], os.replace

    def watch(source, goal):
        assert not (tmp_path / MANIFEST).exists()
        assert Path(source).parent == tmp_path  # a rename within one folder is atomic
        replace(source, goal)
        replaced.append(Path(goal).name)

    monkeypatch.setattr(os, "replace", watch)
    for _ in range(2):  # also over an earlier table
        write_table(tmp_path, a_table(), SETTINGS)
        replaced.append("done")
    assert replaced == [TABLE, MANIFEST, "done"] * 2


def fail_at(monkeypatch, moment):
    """Make writing fail: halfway through the table, or when table or manifest are put in place."""
    replace = os.replace

    def half_a_table(_self, path, **_):
        Path(path).write_bytes(b"PAR1 and no more")
        raise OSError(28, "No space left on device")

    def refuse(source, goal):
        if Path(goal).name == moment:
            raise OSError(5, "Input/output error")
        replace(source, goal)

    if moment == "to_parquet":
        monkeypatch.setattr(pd.DataFrame, "to_parquet", half_a_table)
    else:
        monkeypatch.setattr(os, "replace", refuse)


MOMENTS = ["to_parquet", TABLE, MANIFEST]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_failed_first_write_leaves_nothing_that_could_be_used(tmp_path, monkeypatch, moment):
    with monkeypatch.context() as patch:
        fail_at(patch, moment)
        with pytest.raises(OSError, match="No space|Input/output"):
            read_or_compute(tmp_path / "a", SETTINGS, Counted(a_table(seed=5)))
    left = sorted(contents(tmp_path / "a"))
    assert left == ([TABLE] if moment == MANIFEST else [])
    compute = Counted()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StoreWarning)
        assert_same(read_or_compute(tmp_path / "a", SETTINGS, compute), a_table())
    assert compute.calls == 1
    assert complaint(tmp_path / "a", SETTINGS) is None


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_failed_write_over_a_good_table_counts_as_unfinished(folder, monkeypatch, moment):
    with monkeypatch.context() as patch:
        fail_at(patch, moment)
        with pytest.raises(OSError, match="No space|Input/output"):
            write_table(folder, a_table(seed=5), SETTINGS)
    assert sorted(contents(folder)) == [TABLE]
    # the table itself is whole: the old one, or the new one
    assert_same(pd.read_parquet(folder / TABLE), a_table(seed=5 if moment == MANIFEST else 0))
    assert "unfinished" in complaint(folder, SETTINGS)
    compute = Counted(a_table(seed=7))
    with pytest.warns(StoreWarning, match="unfinished"):
        assert_same(read_or_compute(folder, SETTINGS, compute), a_table(seed=7))


def test_an_interrupted_computation_leaves_nothing(tmp_path):
    def interrupted():
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        read_or_compute(tmp_path / "a", SETTINGS, interrupted)
    assert contents(tmp_path) == {}
    assert_same(read_or_compute(tmp_path / "a", SETTINGS, Counted()), a_table())


# --- what is wrong with a folder ---


def flip_a_byte(folder, name=TABLE):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)


def truncate(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])


def change_record(folder, **changes):
    record = json.loads((folder / MANIFEST).read_text())
    record.update(changes)
    (folder / MANIFEST).write_text(json.dumps(record))


def drop_from_record(folder, name):
    record = json.loads((folder / MANIFEST).read_text())
    del record[name]
    (folder / MANIFEST).write_text(json.dumps(record))


DAMAGE = {
    "a flipped byte": (flip_a_byte, "table is damaged"),
    "a truncated table": (lambda folder: truncate(folder, TABLE), "table is damaged"),
    "an empty table": (lambda folder: (folder / TABLE).write_bytes(b""), "table is damaged"),
    "another whole table": (lambda folder: a_table(seed=3).to_parquet(folder / TABLE, index=False), "table is damaged"),
    "no table": (lambda folder: (folder / TABLE).unlink(), "table is damaged"),
    "a truncated manifest": (lambda folder: truncate(folder, MANIFEST), "manifest is damaged"),
    "an empty manifest": (lambda folder: (folder / MANIFEST).write_bytes(b""), "manifest is damaged"),
    "a manifest of zeros": (lambda folder: (folder / MANIFEST).write_bytes(bytes(400)), "manifest is damaged"),
    "a manifest that is no text": (lambda folder: (folder / MANIFEST).write_bytes(b"\xff\xfe\xfd"), "manifest is damaged"),
    "a manifest that is a list": (lambda folder: (folder / MANIFEST).write_text("[1]"), "manifest is damaged"),
    "a manifest that is null": (lambda folder: (folder / MANIFEST).write_text("null"), "manifest is damaged"),
    "a manifest without a digest": (lambda folder: drop_from_record(folder, "sha256"), "manifest is damaged"),
    "no manifest": (lambda folder: (folder / MANIFEST).unlink(), "unfinished"),
    "other settings": (lambda folder: write_table(folder, a_table(seed=3), OTHERS), "another model, data, setting"),
    "another schema": (lambda folder: change_record(folder, schema=0), "schema 0, this version reads 1"),
}


def test_nothing_is_no_complaint(tmp_path):
    assert complaint(tmp_path, SETTINGS) is None
    assert complaint(tmp_path / "nowhere", SETTINGS) is None


@pytest.mark.parametrize(("damage", "words"), DAMAGE.values(), ids=DAMAGE)
def test_what_cannot_be_used_is_moved_aside_and_computed_again(folder, damage, words):
    damage(folder)
    damaged = contents(folder)
    reason = complaint(folder, SETTINGS)
    assert words in reason
    assert "\n" not in reason
    compute = Counted(a_table(seed=8))
    with pytest.warns(StoreWarning) as caught:
        found = read_or_compute(folder, SETTINGS, compute)
    message = str(caught[0].message)
    assert len(caught) == 1
    assert reason in message
    assert "a.aside-1" in message
    assert compute.calls == 1
    assert_same(found, a_table(seed=8))
    assert contents(folder.with_name("a.aside-1")) == damaged
    # and from then on the new one is used
    assert_same(read_or_compute(folder, SETTINGS, compute), a_table(seed=8))
    assert compute.calls == 1


@pytest.mark.parametrize("key", ["model", "images", "arguments"])
def test_every_entry_of_the_manifest_counts(folder, key):
    assert complaint(folder, {**SETTINGS, key: "other"}) is not None
    assert complaint(folder, {name: value for name, value in SETTINGS.items() if name != key}) is not None
    assert complaint(folder, {**SETTINGS, "new": None}) is not None


def test_folders_moved_aside_are_numbered(folder):
    left = []
    for number in (1, 2, 3):
        flip_a_byte(folder)
        left.append(contents(folder))
        with pytest.warns(StoreWarning, match=f"a.aside-{number}"):
            read_or_compute(folder, SETTINGS, Counted(a_table(seed=number)))
    assert [contents(folder.with_name(f"a.aside-{number}")) for number in (1, 2, 3)] == left


def test_a_warning_made_an_error_loses_nothing(folder):
    flip_a_byte(folder)
    damaged, compute = contents(folder), Counted()
    with pytest.raises(StoreWarning):  # as pyproject.toml has it
        read_or_compute(folder, SETTINGS, compute)
    assert contents(folder.with_name("a.aside-1")) == damaged
    assert compute.calls == 0
    assert_same(read_or_compute(folder, SETTINGS, compute), a_table())


# --- reading ---


def test_a_stored_table_is_used_and_left_alone(folder):
    before, compute = contents(folder), Counted(a_table(seed=9))
    for _ in range(2):
        assert_same(read_or_compute(folder, SETTINGS, compute), a_table())
    assert compute.calls == 0
    assert contents(folder) == before


def test_manifest_key():
    key = store.manifest_key(SETTINGS)
    assert key == store.manifest_key(dict(reversed(SETTINGS.items())))
    assert key != store.manifest_key(OTHERS)
    assert len(key) == 12 and set(key) <= set("0123456789abcdef")


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        compute = Counted()
        for call in (lambda place=place: store.check_writable(place),
                     lambda place=place, compute=compute: read_or_compute(place / "a", SETTINGS, compute)):
            with pytest.raises(ValueError, match="cannot be written to .*; accepted: a folder with write permission") as caught:
                call()
            assert "\n" not in str(caught.value)
            assert str(place) in str(caught.value)
        assert compute.calls == 0  # said before the work, not after it
    assert (tmp_path / "file").read_text() == "not a folder"


def test_checking_a_folder_leaves_no_trace(tmp_path):
    store.check_writable(tmp_path / "new" / "folder")
    assert contents(tmp_path) == {}


# --- several at once, and killed ---


def test_two_threads_compute_once(tmp_path):
    compute = Counted(delay=0.1)
    with ThreadPoolExecutor(4) as pool:
        tables = list(pool.map(lambda _: read_or_compute(tmp_path / "a", SETTINGS, compute), range(4)))
    assert compute.calls == 1
    for table in tables:
        assert_same(table, a_table())


def test_other_tables_are_not_waited_for(tmp_path):
    def outer():
        assert_same(read_or_compute(tmp_path / "b", OTHERS, Counted()), a_table())
        return a_table(seed=1)
    assert_same(read_or_compute(tmp_path / "a", SETTINGS, outer), a_table(seed=1))


@pytest.fixture(scope="module")
def processes():
    """Processes that start with everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def compute_in_a_process(folder, log):
    def compute():
        with open(log, "a") as stream:
            stream.write("computed\n")
        time.sleep(0.1)
        return a_table()
    assert_same(read_or_compute(folder, SETTINGS, compute), a_table())


def test_two_processes_compute_once(tmp_path, processes):
    both = [processes.Process(target=compute_in_a_process, args=(tmp_path / "a", tmp_path / "log")) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert (tmp_path / "log").read_text() == "computed\n"


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def half_a_table_and_die(_self, path, **_):
    Path(path).write_bytes(b"PAR1 and no more")
    die()


def write_and_die(folder, moment):
    """Be killed at a certain moment of a write."""
    replace = os.replace

    def replace_and_die(source, goal):
        if moment != f"before {Path(goal).name}":
            replace(source, goal)
        if moment in (f"before {Path(goal).name}", f"after {Path(goal).name}"):
            die()

    os.replace = replace_and_die
    if moment == "to_parquet":
        pd.DataFrame.to_parquet = half_a_table_and_die
    read_or_compute(folder, SETTINGS, a_table)


def write_until_killed(folder, started):
    """Write tables without an end."""
    started.set()
    for turn in range(10_000):
        # a folder that is used again, and one that is new
        write_table(folder, a_table(seed=turn % 3), SETTINGS)
        read_or_compute(folder.with_name("new"), {"turn": turn}, a_table)
        (folder.with_name("new") / MANIFEST).unlink()
        (folder.with_name("new") / TABLE).unlink()


def assert_recovers(folder, manifest, accepted):
    """What a killed process left is either a whole table or computed again, and then used."""
    compute = Counted(a_table(seed=20))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StoreWarning)
        found = read_or_compute(folder, manifest, compute)
    if compute.calls:
        assert_same(found, a_table(seed=20))
    else:
        assert any(np.array_equal(found["score"], a_table(seed=seed)["score"]) for seed in accepted)
    again = read_or_compute(folder, manifest, Counted(a_table(seed=21)))
    assert_same(again, found)
    return compute.calls


@pytest.mark.parametrize(("moment", "computed"), [
    ("to_parquet", 1), (f"before {TABLE}", 1), (f"after {TABLE}", 1), (f"before {MANIFEST}", 1), (f"after {MANIFEST}", 0)])
def test_killed_at_every_step_of_a_write(tmp_path, processes, moment, computed):
    process = processes.Process(target=write_and_die, args=(tmp_path / "a", moment))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert assert_recovers(tmp_path / "a", SETTINGS, [0]) == computed


@pytest.mark.parametrize("turn", range(5))
def test_killed_at_some_moment(tmp_path, processes, turn):
    started = processes.Event()
    process = processes.Process(target=write_until_killed, args=(tmp_path / "a", started))
    process.start()
    assert started.wait(60)
    time.sleep(random.Random(turn).uniform(0.005, 0.1))
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert_recovers(tmp_path / "a", SETTINGS, [0, 1, 2])
    assert_recovers(tmp_path / "new", {"turn": -1}, [])
