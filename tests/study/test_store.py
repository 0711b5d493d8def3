"""Path tables on disk: whole or not there, never used for anything but what they were computed
from."""

import hashlib
import io
import json
import os
import random
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from benchmarks import store as store_benchmark
from neuronpath_core.study.store import lock
from neuronpath_core.study.store import tables as store
from neuronpath_core.study.store.folder import (
    MANIFEST,
    RUN,
    SCHEMA,
    TABLE,
    inspect_table,
    is_finished,
    manifest_key,
    write_table,
)
from neuronpath_core.study.store.parquet import table_bytes, table_from_bytes
from neuronpath_core.study.store.parts import PARTS, StoreWarning
from neuronpath_core.support.files import check_writable

SETTINGS = {"model": "tiny-B-16", "arguments": {"steps": 20, "top": None, "quadrature": "left"},
            "images": "0f"}
OTHERS = {"model": "tiny-B-16", "arguments": {"steps": 21, "top": None, "quadrature": "left"},
          "images": "0f"}


def complaint(folder, manifest):
    """Why what the folder holds cannot be used for this manifest."""
    return inspect_table(folder, manifest)[0]


def a_table(rows=30, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"image": np.arange(rows), "label": rng.integers(0, 10, rows),
                         "score": rng.standard_normal(rows),
                         "steps": rng.integers(1, 49, rows),
                         "neurons": list(rng.integers(0, 144, (rows, 12)))})


def assert_same(found, expected):
    assert list(found.columns) == list(expected.columns)
    for name in ("image", "label", "score", "steps"):
        np.testing.assert_array_equal(found[name], expected[name])
        assert found[name].dtype == expected[name].dtype
    np.testing.assert_array_equal(np.stack(found["neurons"]), np.stack(expected["neurons"]))


class Counted:
    """Computes the parts of a table that are asked for, and keeps which those were."""

    def __init__(self, table=None, order=None):
        self.table, self.order, self.asked = a_table() if table is None else table, order, []

    @property
    def calls(self):
        return len(self.asked)

    def __call__(self, pending):
        self.asked.append(list(pending))
        if self.order is not None:
            random.Random(self.order).shuffle(pending)
        for rows in pending:
            yield rows, part_of(self.table, rows)


class Stopped(Exception):
    """What ends a computation in these tests."""


class Stopping(Counted):
    """The same, but after so many parts comes an error."""

    def __init__(self, parts, table=None, order=None, error=Stopped):
        super().__init__(table, order)
        self.parts, self.error = parts, error

    def __call__(self, pending):
        for number, part in enumerate(super().__call__(pending)):
            if number == self.parts:
                raise self.error
            yield part


def part_of(table, rows):
    return table.iloc[rows.start:rows.stop].reset_index(drop=True)


def read_or_compute(folder, manifest, compute, part_size=4, **settings):
    """For tables of these tests: 30 rows are seven parts of four and one of two."""
    return store.read_or_compute(folder, manifest, len(compute.table), compute, part_size,
                                 **settings)


def ranges(*starts, size=4, count=30):
    return [range(start, min(start + size, count)) for start in starts]


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
    assert record["schema"] == SCHEMA
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
    ["image", "label", "score", "steps"], ["label", "image", "score", "steps", "neurons"],
    ["image", "label", "score", "neurons"]])
def test_other_columns_are_refused_before_anything_is_touched(folder, columns):
    before = contents(folder)
    with pytest.raises(ValueError, match="columns image, label, score, steps, neurons, got "
                       + ", ".join(columns)):
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
    replace, write_bytes = os.replace, Path.write_bytes

    def half_a_table(path, content):
        if path.name.startswith(".paths."):
            write_bytes(path, content[: len(content) // 2])
            raise OSError(28, "No space left on device")
        return write_bytes(path, content)

    def refuse(source, goal):
        if Path(goal).name == moment:
            raise OSError(5, "Input/output error")
        replace(source, goal)

    if moment == "half a table":
        monkeypatch.setattr(Path, "write_bytes", half_a_table)
    else:
        monkeypatch.setattr(os, "replace", refuse)


MOMENTS = ["half a table", TABLE, MANIFEST]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_failed_last_step_leaves_the_parts_and_nothing_that_could_be_taken_for_the_table(
        tmp_path, monkeypatch, moment):
    with monkeypatch.context() as patch:
        fail_at(patch, moment)
        with pytest.raises(ValueError,
                           match="cannot be written to .(No space|Input/output).*what is finished "
                                 "stays") as caught:
            read_or_compute(tmp_path / "a", SETTINGS, Counted())
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "a") in str(caught.value)
    left = [name for name in contents(tmp_path / "a") if not name.startswith(PARTS)]
    assert left == [TABLE, RUN] if moment == MANIFEST else left == [RUN]
    compute = Counted(a_table(seed=5))
    assert_same(read_or_compute(tmp_path / "a", SETTINGS, compute), a_table())
    assert compute.calls == 0
    assert sorted(contents(tmp_path / "a")) == [MANIFEST, TABLE]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_failed_write_over_a_good_table_counts_as_unfinished(folder, monkeypatch, moment):
    with monkeypatch.context() as patch:
        fail_at(patch, moment)
        with pytest.raises(ValueError, match="No space|Input/output"):
            write_table(folder, a_table(seed=5), SETTINGS)
    assert sorted(contents(folder)) == [TABLE]
    # the table itself is whole: the old one, or the new one
    assert_same(pd.read_parquet(folder / TABLE), a_table(seed=5 if moment == MANIFEST else 0))
    assert "unfinished" in complaint(folder, SETTINGS)
    compute = Counted(a_table(seed=7))
    with pytest.warns(StoreWarning, match="unfinished"):
        assert_same(read_or_compute(folder, SETTINGS, compute), a_table(seed=7))


# --- in parts ---


def test_a_new_table_is_computed_in_parts_once(tmp_path):
    compute = Counted()
    for _ in range(2):
        assert_same(read_or_compute(tmp_path / "a", SETTINGS, compute), a_table())
    assert compute.asked == [ranges(0, 4, 8, 12, 16, 20, 24, 28)]
    assert sorted(contents(tmp_path)) == [f"a/{MANIFEST}", f"a/{TABLE}"]


@pytest.mark.parametrize("part_size", [1, 7, 29, 30, 31, 1000])
def test_the_table_does_not_depend_on_the_size_of_its_parts(tmp_path, part_size):
    assert_same(read_or_compute(tmp_path / "a", SETTINGS, Counted(), part_size), a_table())
    write_table(tmp_path / "b", a_table(), SETTINGS)
    assert (tmp_path / "a" / TABLE).read_bytes() == (tmp_path / "b" / TABLE).read_bytes()


@pytest.mark.parametrize("order", range(4))
def test_the_table_depends_neither_on_order_nor_on_interruptions(tmp_path, order):
    read_or_compute(tmp_path / "whole", SETTINGS, Counted())
    asked = []
    for stop in (1, 0, 3):
        compute = Stopping(stop, order=order)
        with pytest.raises(Stopped):
            read_or_compute(tmp_path / "a", SETTINGS, compute)
        asked.append(compute.asked[0])
    compute = Counted(order=order)
    found = read_or_compute(tmp_path / "a", SETTINGS, compute)
    asked.append(compute.asked[0])
    assert_same(found, a_table())
    assert (tmp_path / "a" / TABLE).read_bytes() == (tmp_path / "whole" / TABLE).read_bytes()
    # none, 1, 1 and 4 parts were there
    assert [len(pending) for pending in asked] == [8, 7, 7, 4]
    assert set(asked[0]) > set(asked[1]) >= set(asked[2]) > set(asked[3])


def test_parts_are_kept_as_they_come(tmp_path):
    """When the next part is asked for, the one before is on disk under its final name, with its
    checksum in it."""
    def compute(pending):
        for number, rows in enumerate(pending):
            files = sorted((tmp_path / "a" / PARTS).glob("*")) if number else []
            assert len(files) == number
            for file, done in zip(files, pending, strict=False):
                digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
                assert file.name == f"part-{done.start:06d}-{done.stop:06d}.{digest}.parquet"
                assert_same(table_from_bytes(file.read_bytes())[0], part_of(a_table(), done))
            yield rows, part_of(a_table(), rows)
    assert_same(store.read_or_compute(tmp_path / "a", SETTINGS, 30, compute, 4), a_table())


@pytest.mark.parametrize("error", [KeyboardInterrupt, Stopped, SystemExit])
def test_a_computation_that_ends_early_is_closed(tmp_path, error):
    closed = []

    def compute(pending):
        try:
            yield pending[0], part_of(a_table(), pending[0])
            raise error
        finally:
            closed.append("by itself")

    with pytest.raises(error):
        store.read_or_compute(tmp_path / "a", SETTINGS, 30, compute, 4)

    def two_parts(pending):
        try:
            yield pending[0], part_of(a_table(), pending[0])
            # which is refused while this one waits
            yield pending[0], part_of(a_table(), pending[0])
        finally:
            closed.append("by the store")

    with pytest.raises(ValueError, match="each missing part once") as caught:
        store.read_or_compute(tmp_path / "a", SETTINGS, 30, two_parts, 4)
    # now, not when the traceback, which holds it, is gone
    assert closed == ["by itself", "by the store"]
    assert caught.tb is not None
    compute = Counted()
    assert_same(read_or_compute(tmp_path / "a", SETTINGS, compute), a_table())
    assert compute.asked == [ranges(8, 12, 16, 20, 24, 28)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, Stopped])
def test_nothing_is_left_of_a_computation_without_a_finished_part(tmp_path, error):
    with pytest.raises(error):
        read_or_compute(tmp_path / "a", SETTINGS, Stopping(0, error=error))
    assert contents(tmp_path) == {}
    assert not (tmp_path / "a").exists()
    assert_same(read_or_compute(tmp_path / "a", SETTINGS, Counted()), a_table())


def pieces(*rows):
    """These rows of the table, each under the range that it has."""
    return lambda table: [(each, part_of(table, each)) for each in rows]


WRONG_PARTS = {
    "a part that is there already": (pieces(range(0, 4)), "4 rows came for the part 0..4"),
    "a range of its own": (pieces(range(5, 9)), "4 rows came for the part 5..9"),
    "beyond the end": (pieces(range(28, 32)), "2 rows came for the part 28..32"),
    "a row too few": (lambda table: [(range(4, 8), part_of(table, range(4, 7)))],
                      "3 rows came for the part 4..8"),
    "no rows": (lambda table: [(range(4, 8), table[:0])], "0 rows came for the part 4..8"),
    "a column too few": (lambda table: [(range(4, 8),
                                         part_of(table, range(4, 8)).drop(columns="steps"))],
                         "columns image, label, score, steps, neurons, got"),
    "nothing": (pieces(), "7 of 7 missing parts of a did not come"),
}


@pytest.mark.parametrize(("make", "words"), WRONG_PARTS.values(), ids=WRONG_PARTS)
def test_parts_other_than_those_asked_for_are_refused(tmp_path, make, words):
    with pytest.raises(Stopped):
        read_or_compute(tmp_path / "a", SETTINGS, Stopping(1))
    before = contents(tmp_path / "a" / PARTS)
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        store.read_or_compute(tmp_path / "a", SETTINGS, 30, lambda pending: make(a_table()), 4)
    assert "\n" not in str(caught.value)
    assert contents(tmp_path / "a" / PARTS) == before
    compute = Counted()
    assert_same(read_or_compute(tmp_path / "a", SETTINGS, compute), a_table())
    assert compute.asked == [ranges(4, 8, 12, 16, 20, 24, 28)]


def test_a_computation_that_ends_before_all_parts_came_is_told_so(tmp_path):
    with pytest.raises(ValueError,
                       match="6 of 8 missing parts of a did not come; accepted: each missing part "
                             "once and whole"):
        store.read_or_compute(tmp_path / "a", SETTINGS, 30,
                              lambda pending: pieces(*ranges(4, 20))(a_table()), 4)
    compute = Counted()
    assert_same(read_or_compute(tmp_path / "a", SETTINGS, compute), a_table())
    assert compute.asked == [ranges(0, 8, 12, 16, 24, 28)]


@pytest.mark.parametrize(("count", "part_size"), [(0, 4), (-1, 4), (30, 0), (30, -3)])
def test_tables_without_rows_and_parts_without_rows_are_refused(tmp_path, count, part_size):
    with pytest.raises(ValueError,
                       match=f"a table of {count} rows in parts of {part_size} cannot be; "
                             f"accepted: at least 1"):
        store.read_or_compute(tmp_path / "a", SETTINGS, count, Counted(), part_size)


def test_a_run_keeps_the_part_size_that_it_was_begun_with(tmp_path):
    with pytest.raises(Stopped):
        read_or_compute(tmp_path / "a", SETTINGS, Stopping(2, a_table()), part_size=8)
    compute = Counted()
    assert_same(read_or_compute(tmp_path / "a", SETTINGS, compute, part_size=5), a_table())
    assert compute.asked == [[range(16, 24), range(24, 30)]]


def test_what_the_table_does_not_depend_on_is_recorded_and_decides_nothing(tmp_path):
    for device, stop in (("first", 2), ("second", 0), ("third", 3)):
        with pytest.raises(Stopped):
            read_or_compute(tmp_path / "a", SETTINGS, Stopping(stop),
                            facts={"device": device, "versions": {"torch": "9"}})
    read_or_compute(tmp_path / "a", SETTINGS, Counted(), facts={"device": "fourth"})
    sessions = json.loads((tmp_path / "a" / MANIFEST).read_text())["sessions"]
    # the second finished nothing
    assert [(session["device"], session["parts"])
            for session in sessions] == [("first", 2), ("third", 3), ("fourth", 3)]
    assert sessions[0]["versions"] == {"torch": "9"}
    for session in sessions:
        assert session["pid"] == os.getpid()
        assert session["started"] <= session["finished"]
        assert 0 < session["seconds"] < 60
    compute = Counted()
    read_or_compute(tmp_path / "a", SETTINGS, compute, facts={"device": "fifth"})
    assert compute.calls == 0


# --- parts that another computation found on its way ---


def keep(folder, rows, table=None, manifest=None, part_size=4, **settings):
    table = part_of(a_table() if table is None else table, rows)
    return store.keep_part(folder, SETTINGS if manifest is None else manifest, 30, rows, table,
                           part_size, **settings)


def test_a_part_that_was_found_on_the_way_is_not_computed(tmp_path):
    assert [keep(tmp_path / "a", rows, facts={"device": "other"})
            for rows in ranges(8, 0, 28)] == [True] * 3
    compute = Counted()
    assert_same(read_or_compute(tmp_path / "a", SETTINGS, compute), a_table())
    assert compute.asked == [ranges(4, 12, 16, 20, 24)]
    whole = json.loads((tmp_path / "a" / MANIFEST).read_text())
    assert [(session.get("on_the_way"), session["parts"])
            for session in whole["sessions"]] == [(True, 3), (None, 5)]
    assert whole["sessions"][0]["device"] == "other" and whole["sessions"][0]["seconds"] == 0


def test_all_parts_on_the_way_are_the_table(tmp_path):
    for rows in ranges(*range(0, 30, 4)):
        assert keep(tmp_path / "a", rows)
    compute = Counted()
    assert_same(read_or_compute(tmp_path / "a", SETTINGS, compute), a_table())
    assert compute.calls == 0


def test_a_part_that_is_there_or_of_another_size_is_not_kept(tmp_path):
    assert keep(tmp_path / "a", range(0, 4))
    before = contents(tmp_path)
    assert not keep(tmp_path / "a", range(0, 4), facts={"device": "second"})
    assert not keep(tmp_path / "a", range(0, 5)) and not keep(tmp_path / "a", range(5, 10),
                                                              part_size=5)
    assert contents(tmp_path) == before


def test_nothing_is_put_into_a_folder_that_is_finished_or_cannot_be_used(folder):
    before = contents(folder)
    assert not keep(folder, range(0, 4))
    assert not keep(folder, range(0, 4), manifest={"model": "another"})
    assert contents(folder) == before
    (folder / MANIFEST).write_text("{")
    before = contents(folder)
    assert not keep(folder, range(0, 4))
    assert contents(folder) == before


def test_a_folder_that_somebody_writes_is_neither_touched_nor_waited_for(tmp_path, monkeypatch):
    monkeypatch.setenv(lock.WAIT_VARIABLE, "1")
    with lock.only_writer(tmp_path / "a"):
        before = contents(tmp_path)
        assert not keep(tmp_path / "a", range(0, 4))
        assert contents(tmp_path) == before and not (tmp_path / "a").exists()


def test_a_part_that_cannot_be_written_is_an_error_and_leaves_nothing_half(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="path table"):
        store.keep_part(tmp_path / "a", SETTINGS, 30, range(0, 4), a_table()[["image"]], 4)
    compute = Counted()
    assert_same(read_or_compute(tmp_path / "a", SETTINGS, compute), a_table())
    assert compute.calls == 1


def test_whether_a_table_is_finished(folder, tmp_path):
    assert is_finished(folder, SETTINGS, 30)
    for other in ((folder, SETTINGS, 29), (folder, {"model": "another"}, 30),
                  (tmp_path / "b", SETTINGS, 30)):
        assert not is_finished(*other)
    (folder / MANIFEST).write_text("{")
    assert not is_finished(folder, SETTINGS, 30)


def test_manifests_are_compared_as_they_are_written(tmp_path):
    """In JSON tuples are lists and keys are text."""
    manifest = {"shape": (1, 2), "names": {1: "one"}}
    with pytest.raises(Stopped):
        read_or_compute(tmp_path / "a", manifest, Stopping(2))
    compute = Counted()
    for _ in range(2):
        read_or_compute(tmp_path / "a", manifest, compute)
    assert compute.asked == [ranges(8, 12, 16, 20, 24, 28)]


# --- tables as bytes ---


@pytest.mark.parametrize(("lowest", "highest", "kind"), [
    (0, 0, np.uint16), (0, 65_535, np.uint16), (0, 65_536, np.int32), (-1, 5, np.int32),
    (-1, 65_535, np.int32), (0, 2**31 - 1, np.int32),
    (0, 2**31, np.int64), (-(2**31) - 1, 0, np.int64), (-(2**63), 2**63 - 1, np.int64)])
def test_neurons_are_stored_narrow_and_come_back_wide(lowest, highest, kind):
    table = a_table(2)
    table["neurons"] = [np.array([lowest, highest]), np.array([highest, lowest])]
    content = table_bytes(table)
    assert pd.read_parquet(io.BytesIO(content))["neurons"][0].dtype == kind
    found, _ = table_from_bytes(content)
    assert_same(found, table)
    assert {each.dtype for each in found["neurons"]} == {np.dtype(np.int64)}


def test_parts_of_other_widths_join(tmp_path):
    """A neuron number that does not fit 16 bits occurs in the last part alone."""
    table = a_table()
    table["neurons"] = [np.array([row, 70_000 if row == 29 else 1]) for row in range(30)]
    assert_same(read_or_compute(tmp_path / "a", SETTINGS, Counted(table)), table)
    assert_same(read_or_compute(tmp_path / "a", SETTINGS, Counted(table)), table)


def test_the_same_table_gives_the_same_bytes_and_notes_come_back():
    table, notes = a_table(), {"rows": [0, 30], "b": None}
    assert table_bytes(table, notes) == table_bytes(a_table(), dict(reversed(notes.items())))
    assert table_from_bytes(table_bytes(table, notes))[1] == notes
    assert table_from_bytes(table_bytes(table))[1] == {}
    assert table_bytes(table) != table_bytes(a_table(seed=1))


def test_names_of_files_are_kept_and_old_tables_without_them_are_read(tmp_path):
    table = a_table().assign(file=[f"cat/grün {row}.png" for row in range(30)])
    content = table_bytes(table)
    found, _ = table_from_bytes(content)
    assert_same(found, table)
    assert found["file"].tolist() == table["file"].tolist()
    assert pd.read_parquet(io.BytesIO(content))["file"].tolist() == table["file"].tolist()
    assert content == table_bytes(table.copy()) != table_bytes(a_table())
    found = read_or_compute(tmp_path / "a", SETTINGS, Counted(table))  # in parts
    assert found["file"].tolist() == table["file"].tolist()
    old = pd.DataFrame({name: found[name] for name in ("image", "label", "score", "steps",
                                                       "neurons")})
    assert_same(table_from_bytes(table_bytes(old))[0], a_table())
    with pytest.raises(ValueError, match="not a path table"):
        table_bytes(table.assign(file=[None] * 30))
    with pytest.raises(ValueError, match="must have the columns"):
        table_bytes(table[["file", *old.columns]])


def test_fifty_neurons_a_block_of_a_large_model_take_two_bytes_each_at_most():
    rng = np.random.default_rng(0)
    table = a_table(500)
    table["neurons"] = list(rng.integers(0, 3072, (500, 600)))  # incompressible
    assert len(table_bytes(table)) * 100 < 200e6 / 3


BAD_TABLES = {
    "rows of other lengths": {"neurons": [np.arange(2), np.arange(3)]},
    "numbers with a fraction": {"neurons": [np.array([0.5, 1])] * 2},
    "no neurons": {"neurons": [np.array([], dtype=np.int64)] * 2},
    "a neuron alone": {"neurons": [1, 2]}, "text for neurons": {"neurons": ["a", "b"]},
    "text for a score": {"score": ["high", "low"]}, "a fraction of a step": {"steps": [1.5, 2]},
    "a missing label": {"label": [None, 1]},
}


@pytest.mark.parametrize("column", BAD_TABLES.values(), ids=BAD_TABLES)
def test_what_a_path_table_cannot_hold_is_refused(column):
    with pytest.raises(ValueError,
                       match="not a path table .*; accepted: numbers, and as neurons") as caught:
        table_bytes(a_table(2).assign(**{name: pd.Series(values, dtype=object) for name,
                                         values in column.items()}))
    assert "\n" not in str(caught.value)


def test_a_table_without_rows_is_refused():
    with pytest.raises(ValueError, match="not a path table"):
        table_bytes(a_table(2)[:0])


@pytest.mark.parametrize("content", [b"", b"PAR1", bytes(1000), table_bytes(a_table())[:-9],
                                     table_bytes(a_table())[9:]], ids=len)
def test_bytes_that_are_no_table_are_refused(content):
    with pytest.raises(ValueError, match="not a path table") as caught:
        table_from_bytes(content)
    assert "\n" not in str(caught.value)


def test_tables_of_the_first_schema_are_still_read(tmp_path):
    """Those were written by pandas, neurons as lists of int64."""
    folder = tmp_path / "a"
    folder.mkdir()
    a_table().to_parquet(folder / TABLE, index=False)
    digest = hashlib.sha256((folder / TABLE).read_bytes()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps({"schema": 1, "rows": 30, "sha256": digest,
                                               "computed_from": SETTINGS}))
    before, compute = contents(folder), Counted(a_table(seed=1))
    found = read_or_compute(folder, SETTINGS, compute)
    assert_same(found, a_table())
    assert {each.dtype for each in found["neurons"]} == {np.dtype(np.int64)}
    assert compute.calls == 0
    assert contents(folder) == before


def test_rows_of_a_table_that_was_read_can_be_changed_alone(folder):
    found = read_or_compute(folder, SETTINGS, Counted())
    found["neurons"][0][:] = -1
    found.loc[0, "score"] = 0.0
    np.testing.assert_array_equal(np.stack(found["neurons"][1:]),
                                  np.stack(a_table()["neurons"][1:]))


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
    "another whole table": (lambda folder: (folder
                                            / TABLE).write_bytes(table_bytes(a_table(seed=3))),
                            "table is damaged"),
    "no table": (lambda folder: (folder / TABLE).unlink(), "table is damaged"),
    "a truncated manifest": (lambda folder: truncate(folder, MANIFEST), "manifest is damaged"),
    "an empty manifest": (lambda folder: (folder / MANIFEST).write_bytes(b""),
                          "manifest is damaged"),
    "a manifest of zeros": (lambda folder: (folder / MANIFEST).write_bytes(bytes(400)),
                            "manifest is damaged"),
    "a manifest that is no text": (lambda folder: (folder / MANIFEST).write_bytes(b"\xff\xfe\xfd"),
                                   "manifest is damaged"),
    "a manifest that is a list": (lambda folder: (folder / MANIFEST).write_text("[1]"),
                                  "manifest is damaged"),
    "a manifest that is null": (lambda folder: (folder / MANIFEST).write_text("null"),
                                "manifest is damaged"),
    "a manifest without a digest": (lambda folder: drop_from_record(folder, "sha256"),
                                    "manifest is damaged"),
    "no manifest": (lambda folder: (folder / MANIFEST).unlink(), "unfinished"),
    "other settings": (lambda folder: write_table(folder, a_table(seed=3), OTHERS),
                       "another model, data, setting"),
    "another schema": (lambda folder: change_record(folder, schema=0),
                       "schema 0, this version reads 1 and 2"),
    "a schema to come": (lambda folder: change_record(folder, schema=3),
                         "schema 3, this version reads 1 and 2"),
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
    assert complaint(folder, {name: value for name, value in SETTINGS.items()
                              if name != key}) is not None
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
    key = manifest_key(SETTINGS)
    assert key == manifest_key(dict(reversed(SETTINGS.items())))
    assert key != manifest_key(OTHERS)
    assert len(key) == 12 and set(key) <= set("0123456789abcdef")


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        compute = Counted()
        for call in (lambda place=place: check_writable(place),
                     lambda place=place,
                     compute=compute: read_or_compute(place / "a", SETTINGS, compute)):
            with pytest.raises(ValueError,
                               match="cannot be written to .*; accepted: a folder with write "
                                     "permission") as caught:
                call()
            assert "\n" not in str(caught.value)
            assert str(place) in str(caught.value)
        assert compute.calls == 0  # said before the work, not after it
    assert (tmp_path / "file").read_text() == "not a folder"


def test_checking_a_folder_leaves_no_trace(tmp_path):
    check_writable(tmp_path / "new" / "folder")
    assert contents(tmp_path) == {}


def test_another_number_of_images_is_another_table(folder):
    with pytest.warns(StoreWarning, match="of 30 images, not of 12"):
        assert_same(read_or_compute(folder, SETTINGS, Counted(a_table(12))), a_table(12))


def test_other_tables_can_be_computed_meanwhile(tmp_path):
    def outer(pending):
        assert_same(read_or_compute(tmp_path / "b", OTHERS, Counted()), a_table())
        yield from Counted(a_table(seed=1))(pending)
    assert_same(store.read_or_compute(tmp_path / "a", SETTINGS, 30, outer, 4), a_table(seed=1))


def test_the_cost_of_the_store_is_measured(tmp_path):
    arguments = ["--images", "90", "--blocks", "2", "--top", "5", "--search-seconds", "2",
                 "--folder", str(tmp_path), "--out", str(tmp_path / "out.json")]
    answer = CliRunner().invoke(store_benchmark.main, arguments, catch_exceptions=False)
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["parts"] == 3
    assert found["part_seconds"]["minimum"] <= found["part_share"] * 80 <= found["part_seconds"][
        "maximum"]
    assert found["all_parts_seconds"] + found["merge_seconds"] == pytest.approx(
        found["whole_share"] * 180)
    # 90 rows of ten neurons of two bytes and four columns of eight bytes or less
    assert 90 * 10 < found["table_bytes"] < found["parts_bytes"]
    assert "resume, finished" in answer.output
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
