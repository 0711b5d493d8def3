"""Files of a results folder that somebody edited, cut, or put where others should be: found before
any work, told in one line, moved aside, and nothing that was finished is lost."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest

from neuronpath_core.study.store import tables as store
from neuronpath_core.study.store.folder import MANIFEST, RUN, TABLE, manifest_key
from neuronpath_core.study.store.parquet import table_bytes
from neuronpath_core.study.store.parts import PARTS, StoreWarning, read_part
from tests.study.test_store import (
    SETTINGS,
    Counted,
    Stopped,
    Stopping,
    a_table,
    assert_same,
    contents,
    part_of,
    ranges,
    read_or_compute,
)

EVERY = ranges(*range(0, 30, 4))


@pytest.fixture
def begun(tmp_path):
    with pytest.raises(Stopped):
        read_or_compute(tmp_path / "a", SETTINGS, Stopping(3))
    return tmp_path / "a"


@pytest.fixture
def finished(tmp_path):
    read_or_compute(tmp_path / "a", SETTINGS, Counted())
    return tmp_path / "a"


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def computed_again(folder, *words):
    """One warning with these words, before anything is computed; then the same table."""
    told = []

    class Late(Counted):
        def __call__(self, pending):
            assert told or not words
            yield from super().__call__(pending)

    compute = Late()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.warnings, "warn", lambda message, *_, **__: told.append(message))
        table = read_or_compute(folder, SETTINGS, compute)
    assert_same(table, a_table())
    (line,) = told
    assert "\n" not in line and folder.name in line and "moved to" in line and len(line) < 500
    for word in words:
        assert word in line, line
    return compute


@pytest.mark.parametrize(("changes", "words"), [
    ({"part_size": 40.5}, "part_size cannot be 40.5; accepted: a whole number"),
    ({"part_size": True}, "part_size cannot be True"), ({"part_size": "4"}, "part_size cannot be '4'"),
    ({"part_size": -4}, "of at least 1"), ({"part_size": [4]}, "part_size"),
    ({"part_size": 10**30}, "part_size"), ({"part_size": None}, "part_size"),
    ({"sessions": {}}, "sessions cannot be {}"), ({"sessions": [3]}, "a list of mappings"),
    ({"sessions": "none"}, "sessions"), ({"sessions": [["a", 1]]}, "a list of mappings"),
    ({"sessions": [{}, None]}, "a list of mappings"), ({"count": 30.0}, "count cannot be 30.0"),
    ({"count": "30"}, "count"), ({"count": -30}, "count"), ({"schema": "2"}, "schema is '2'"),
    ({"schema": 2.0}, "schema is 2.0"), ({"schema": True}, "schema is True"),
    ({"schema": None}, "schema is None"), ({"schema": 3}, "schema 3, this version"),
    ({"schema": [2]}, "schema is [2]"), ({"computed_from": [1]}, "computed_from"),
], ids=str)
def test_the_record_of_a_run_is_believed_only_if_all_of_it_can_be(begun, changes, words):
    edit(begun / RUN, **changes)
    left = contents(begun)
    compute = computed_again(begun, words)
    assert compute.asked == [EVERY] and contents(begun.with_name("a.aside-1")) == left


@pytest.mark.parametrize(("changes", "words"), [
    ({"rows": 30.0}, "rows cannot be 30.0"), ({"rows": "30"}, "rows"), ({"rows": -30}, "rows"),
    ({"rows": [30]}, "rows"), ({"sha256": 3}, "sha256"), ({"sha256": "ab"}, "64 hexadecimal"),
    ({"sha256": None}, "sha256"), ({"sessions": {}}, "sessions"), ({"sessions": [1]}, "sessions"),
    ({"schema": True}, "schema is True"), ({"schema": 7}, "schema 7"),
    ({"computed_from": "x"}, "computed_from"),
], ids=str)
def test_a_manifest_is_believed_only_if_all_of_it_can_be(finished, changes, words):
    edit(finished / MANIFEST, **changes)
    assert computed_again(finished, words).asked == [EVERY]


@pytest.mark.parametrize(("content", "words"), [
    (b"\xff\xfe{}", "UnicodeDecodeError"), (b"[" * 100_000, "damaged"), (b"[1, 2]", "a mapping"),
    (b"null", "a mapping"), (b"", "JSONDecodeError"), (b'{"schema": ', "JSONDecodeError"),
    (b"3", "a mapping"), (b"9" * 5000, "damaged")], ids=range(8))
@pytest.mark.parametrize("name", [RUN, MANIFEST])
def test_files_that_are_no_record(begun, tmp_path, name, content, words):
    folder = begun
    if name == MANIFEST:
        shutil.rmtree(begun)
        read_or_compute(folder, SETTINGS, Counted())
    (folder / name).write_bytes(content)
    computed_again(folder, name, words)


@pytest.mark.parametrize(("table", "words"), [
    (table_bytes(a_table(29)), "29 rows, not the manifest's 30"), (b"words", "not a path table"),
    (table_bytes(a_table())[:-9], "not a path table")], ids=["a row too few", "words", "cut"])
def test_a_table_and_its_digest_edited_together(finished, table, words):
    (finished / TABLE).write_bytes(table)
    edit(finished / MANIFEST, sha256=hashlib.sha256(table).hexdigest())
    assert computed_again(finished, TABLE, words).asked == [EVERY]


NOTES = {"computed_from": manifest_key(SETTINGS), "rows": [4, 8], "session": 0, "seconds": 1.0,
         "finished": ""}


@pytest.mark.parametrize(("changes", "words"), [
    ({"session": 5}, "session 5 of 1"), ({"session": "0"}, "session"), ({"session": -1}, "session"),
    ({"session": None}, "session"), ({"seconds": "1"}, "seconds"), ({"seconds": None}, "seconds"),
    ({"seconds": float("nan")}, "seconds"), ({"finished": 3}, "finished")], ids=str)
def test_notes_of_a_part_are_looked_at_before_the_others_are_computed(begun, changes, words):
    rows = EVERY[1]
    content = table_bytes(part_of(a_table(), rows), NOTES | changes)
    next((begun / PARTS).glob("part-000004-*")).unlink()
    digest = hashlib.sha256(content).hexdigest()[:16]
    path = begun / PARTS / f"part-000004-000008.{digest}.parquet"
    path.write_bytes(content)
    read_part(begun / PARTS / sorted((begun / PARTS).iterdir())[0].name, manifest_key(SETTINGS))
    with pytest.warns(StoreWarning, match=words):
        compute = Counted()
        assert_same(read_or_compute(begun, SETTINGS, compute), a_table())
    assert compute.asked == [[rows, *EVERY[3:]]]


@pytest.mark.parametrize("name", [TABLE, MANIFEST, RUN])
def test_a_folder_where_a_file_should_be(begun, name):
    (begun / name).unlink(missing_ok=True)
    (begun / name).mkdir()
    computed_again(begun, f"{name} is a folder where a file should be")


def test_a_link_to_nothing_where_the_parts_should_be_is_refused_before_the_work(begun):
    shutil.rmtree(begun / PARTS)
    (begun / PARTS).symlink_to("nowhere")
    compute = Counted()
    with pytest.raises(ValueError, match="accepted: a folder"):
        read_or_compute(begun, SETTINGS, compute)
    assert compute.calls == 0


def test_foreign_files_in_the_folder_are_left_alone(begun):
    (begun / ".DS_Store").write_bytes(b"\0")
    (begun / PARTS / ".DS_Store").write_bytes(b"\0")
    (begun / ".run.folder").mkdir()
    compute = Counted()
    assert_same(read_or_compute(begun, SETTINGS, compute), a_table())
    assert compute.asked == [EVERY[3:]]
    assert (begun / ".DS_Store").exists() and (begun / ".run.folder").is_dir()
