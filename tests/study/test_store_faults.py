"""Long runs through everything that befalls them: killed, interrupted, two at once, damaged parts,
a full disk, a folder that only lets read.

Every fault is a real one: processes that are killed, files that are cut, disks that are full.
"""

import hashlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from neuronpath_core.study.store import tables as store
from neuronpath_core.study.store.folder import MANIFEST, RUN, TABLE, manifest_key
from neuronpath_core.study.store.lock import WAIT_VARIABLE, living_writer, only_writer
from neuronpath_core.study.store.parquet import table_bytes
from neuronpath_core.study.store.parts import PART_NAME, PARTS, StoreWarning, read_part, write_part
from tests.study.test_store import (
    OTHERS,
    SETTINGS,
    Counted,
    Stopped,
    Stopping,
    a_table,
    assert_same,
    contents,
    flip_a_byte,
    part_of,
    ranges,
    read_or_compute,
)

EVERY = ranges(*range(0, 30, 4))


def parts_of(folder):
    """The whole parts of a folder: range and bytes."""
    found = {}
    for path in (folder / PARTS).glob("[!.]*"):
        rows, table, _ = read_part(path, manifest_key(SETTINGS))
        assert rows not in found
        found[rows] = path.read_bytes()
    return found


@pytest.fixture
def begun(tmp_path):
    """A folder in which the parts 0..4, 4..8 and 8..12 are finished."""
    with pytest.raises(Stopped):
        read_or_compute(tmp_path / "a", SETTINGS, Stopping(3))
    assert set(parts_of(tmp_path / "a")) == set(EVERY[:3])
    return tmp_path / "a"


def assert_finished(folder, table=None):
    """The table is there, whole, in the bytes that an uninterrupted run writes, and nothing else
    is."""
    table = a_table() if table is None else table
    assert sorted(contents(folder)) == [MANIFEST, TABLE]
    assert not (folder / PARTS).exists()
    assert (folder / TABLE).read_bytes() == table_bytes(table)
    assert [path.name for path in folder.parent.glob(f".{folder.name}.*")] in ([],
                                                                               [
        f".{folder.name}.lock"])
    compute = Counted(table)
    assert_same(read_or_compute(folder, SETTINGS, compute), table)
    assert compute.calls == 0


def assert_refused(call, *words):
    """A ``ValueError`` of one line with these words."""
    with pytest.raises(ValueError, match="accepted: ") as caught:
        call()
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
    return str(caught.value)


# --- damaged parts ---


def part(folder, number=1):
    return sorted((folder / PARTS).glob("part-*"))[number]


def truncated(folder):
    path = part(folder)
    path.write_bytes(path.read_bytes()[:-20])


def of_checksum(folder, content, rows=EVERY[1]):
    """Put these bytes in place of a part, under a name that has their checksum."""
    part(folder).unlink()
    (folder / PARTS
     / f"part-{rows.start:06d}-{rows.stop:06d}.{hashlib.sha256(content).hexdigest()[:16]}.parquet").write_bytes(content)


def named(folder, first, last):
    path = part(folder)
    path.rename(path.with_name(f"part-{first}-{last}.{path.name.split('.')[1]}.parquet"))


def of_another_model(folder):
    part(folder).unlink()
    write_part(folder, EVERY[1], part_of(a_table(seed=5), EVERY[1]), manifest_key(OTHERS),
               {"session": 0, "seconds": 1.0, "finished": ""})


def replaced_by_a_folder(folder):
    path = part(folder)
    path.unlink()
    path.mkdir()


NOTES = {"computed_from": manifest_key(SETTINGS), "rows": [4, 8], "session": 0, "seconds": 1.0,
         "finished": ""}
DAMAGE = {
    "truncated": (truncated, "its checksum is not the one in its name"),
    "a flipped byte": (lambda folder: flip_a_byte(folder, part(folder).relative_to(folder)),
                       "its checksum is not the one in its name"),
    "empty": (lambda folder: part(folder).write_bytes(b""),
              "its checksum is not the one in its name"),
    "zeros": (lambda folder: part(folder).write_bytes(bytes(part(folder).stat().st_size)),
              "its checksum is not the one in its name"),
    "the name of other rows": (lambda folder: named(folder, "000012", "000016"),
                               "it holds other rows than its name says"),
    "the name of rows of another size": (lambda folder: named(folder, "000004", "000009"),
                                         "it holds other rows than its name says"),
    "the name of rows beyond the end": (lambda folder: named(folder, "000400", "000404"),
                                        "it holds other rows than its name says"),
    "the name of no rows": (lambda folder: named(folder, "four", "eight"),
                            "not the name of a part"),
    "no name": (lambda folder: part(folder).rename(folder / PARTS / "part"),
                "not the name of a part"),
    "no table, but its checksum": (lambda folder: of_checksum(folder, b"words"),
                                   "not a path table"),
    "half a table, but its checksum": (lambda folder: of_checksum(folder,
                                                                  table_bytes(a_table(4), NOTES)[
    :900]), "not a path table"),
    "a row too few, but its checksum": (lambda folder: of_checksum(folder,
                                                                   table_bytes(a_table(3), NOTES)),
                                        "it holds other rows than its name says"),
    "a part of another size": (lambda folder: of_checksum(folder,
                                                          table_bytes(a_table(5),
                                                                      NOTES | {"rows": [4, 9]}),
                                                          range(4, 9)), "not one of this table's"),
    "a table without notes": (lambda folder: of_checksum(folder, table_bytes(a_table(4))),
                              "computed from another model"),
    "another model's": (of_another_model, "computed from another model"),
    "a folder": (replaced_by_a_folder, "Is a directory"),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_part_is_reported_moved_aside_and_computed_again_alone(begun, damage, words):
    damage(begun)
    before = {path.name for path in (begun / PARTS).iterdir()}
    compute = Counted()
    with pytest.warns(StoreWarning) as caught:
        read_or_compute(begun, SETTINGS, compute)
    (message,) = [str(warning.message) for warning in caught]
    assert words in message and "a.aside-1" in message and "\n" not in message
    assert compute.asked == [[EVERY[1], *EVERY[3:]]]
    (aside,) = begun.with_name("a.aside-1").iterdir()
    assert aside.name in before and aside.name in message
    assert_finished(begun)


def test_a_part_that_is_there_twice_counts_once(begun):
    table = part_of(a_table(), EVERY[1])
    write_part(begun, EVERY[1], table, manifest_key(SETTINGS),
               {"session": 0, "seconds": 2.0, "finished": ""})
    assert len(list((begun / PARTS).glob("part-000004-*"))) == 2
    compute = Counted()
    with pytest.warns(StoreWarning, match="there twice"):
        read_or_compute(begun, SETTINGS, compute)
    assert compute.asked == [EVERY[3:]]
    assert_finished(begun)


def test_many_damaged_parts_are_one_line(tmp_path):
    with pytest.raises(Stopped):
        read_or_compute(tmp_path / "a", SETTINGS, Stopping(6))
    for number in range(5):
        part(tmp_path / "a", number).write_bytes(b"")
    compute = Counted()
    with pytest.warns(StoreWarning,
                      match="5: part-000000.*part-000004.*part-000008.*and others") as caught:
        read_or_compute(tmp_path / "a", SETTINGS, compute)
    assert "\n" not in str(caught[0].message)
    assert compute.asked == [[*EVERY[:5], *EVERY[6:]]]
    assert len(list((tmp_path / "a.aside-1").iterdir())) == 5
    assert_finished(tmp_path / "a")


def test_the_warning_made_an_error_loses_no_part(begun):
    truncated(begun)
    with pytest.raises(StoreWarning):  # as pyproject.toml has it
        read_or_compute(begun, SETTINGS, Counted())
    compute = Counted()
    read_or_compute(begun, SETTINGS, compute)
    assert compute.asked == [[EVERY[1], *EVERY[3:]]]
    assert_finished(begun)


def test_temporaries_of_killed_writers_are_removed_and_files_of_others_are_left(begun):
    for orphan in (begun / PARTS / ".part-000012-000016.0123.x9.parquet", begun / ".run.x9.json",
                   begun / ".paths.x9.parquet", begun / ".manifest.x9.json"):
        orphan.write_bytes(b"PAR1 and no more")
    (begun / ".notes").write_text("somebody's")

    def compute(pending):  # they take no room while the others are computed
        assert pending == EVERY[3:]
        assert sorted(path.name for path in begun.rglob(".*")) == [".notes"]
        yield from Counted()(pending)

    store.read_or_compute(begun, SETTINGS, 30, compute, 4)
    assert (begun / ".notes").read_text() == "somebody's"
    (begun / ".notes").unlink()
    assert_finished(begun)


def test_a_part_damaged_while_others_are_computed_is_computed_again_in_the_same_run(begun):
    class Damaging(Counted):
        def __call__(self, pending):
            for number, each in enumerate(super().__call__(pending)):
                yield each
                if number == 1 and self.calls == 1:
                    truncated(begun)

    compute = Damaging()
    with pytest.warns(StoreWarning, match="part-000004-000008.*checksum"):
        assert_same(read_or_compute(begun, SETTINGS, compute), a_table())
    assert compute.asked == [EVERY[3:], [EVERY[1]]]
    assert_finished(begun)


@pytest.mark.filterwarnings("ignore::neuronpath_core.study.store.parts.StoreWarning")
def test_a_disk_that_keeps_no_part_ends_the_run(tmp_path):
    class Damaging(Counted):
        def __call__(self, pending):
            for each in super().__call__(pending):
                yield each
                part(tmp_path / "a", 0).write_bytes(b"")

    compute = Damaging()
    assert_refused(lambda: read_or_compute(tmp_path / "a", SETTINGS, compute),
                   "damaged as soon as they are written")
    assert compute.calls == store.ROUNDS


# --- what the parts are computed from ---


def change_run(folder, **changes):
    record = json.loads((folder / RUN).read_text())
    (folder / RUN).write_text(json.dumps(record | changes))


RUNS = {
    "another model": (lambda folder: change_run(folder, computed_from=OTHERS),
                      "another model, data, setting or version"),
    "another count": (lambda folder: change_run(folder, count=31), "of 31 images, not of 30"),
    "another schema": (lambda folder: change_run(folder, schema=1), "schema 1, this version"),
    "parts of no size": (lambda folder: change_run(folder, part_size=0), "run.json is damaged"),
    "a size in words": (lambda folder: change_run(folder, part_size="many"), "run.json is damaged"),
    "no sessions": (lambda folder: change_run(folder, sessions=None), "run.json is damaged"),
    "truncated": (lambda folder: (folder / RUN).write_bytes((folder / RUN).read_bytes()[:50]),
                  "run.json is damaged"),
    "empty": (lambda folder: (folder / RUN).write_bytes(b""), "run.json is damaged"),
    "a list": (lambda folder: (folder / RUN).write_text("[1]"), "run.json is damaged"),
    "none": (lambda folder: (folder / RUN).unlink(), "unfinished"),
}


@pytest.mark.parametrize(("damage", "words"), RUNS.values(), ids=RUNS)
def test_parts_of_unknown_or_other_origin_are_moved_aside_together(begun, damage, words):
    damage(begun)
    left, compute = contents(begun), Counted()
    with pytest.warns(StoreWarning, match=words) as caught:
        read_or_compute(begun, SETTINGS, compute)
    assert len(caught) == 1 and "a.aside-1" in str(caught[0].message)
    assert contents(begun.with_name("a.aside-1")) == left
    assert compute.asked == [EVERY]
    assert_finished(begun)


def test_another_models_run_is_not_continued(begun):
    compute = Counted(a_table(seed=4))
    with pytest.warns(StoreWarning, match="another model"):
        assert_same(read_or_compute(begun, OTHERS, compute), a_table(seed=4))
    assert compute.asked == [EVERY]


# --- processes that end early ---


@pytest.fixture(scope="module")
def processes():
    """Processes that start with everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


LONG = a_table(160)


def write_logged(folder, log, started):
    """Compute the long table in parts of four, and log what was asked for."""
    def compute(pending):
        with open(log, "a", encoding="utf-8") as stream:
            stream.write(json.dumps([rows.start for rows in pending]) + "\n")
        for rows in pending:
            time.sleep(0.002)  # so that no disk is too fast to be interrupted
            yield rows, part_of(LONG, rows)
    started.set()
    store.read_or_compute(folder, SETTINGS, len(LONG), compute, 4)


@pytest.mark.thorough
def test_killed_twenty_times_nothing_is_lost_doubled_or_computed_again(tmp_path, processes):
    """SIGKILL at random moments, through first parts, later ones and the last step; as many tables
    as it takes."""
    folder = tmp_path / "a"
    log = tmp_path / "log"
    rng = random.Random(0)
    kills = 0
    resumed = 0
    tables = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing that a killed writer leaves is damage
        while kills < 20 or tables == 0:
            before = parts_of(folder)
            asked = len(log.read_text().splitlines()) if log.exists() else 0
            started = processes.Event()
            process = processes.Process(target=write_logged, args=(folder, log, started))
            process.start()
            assert started.wait(60)
            if kills < 20:
                time.sleep(rng.uniform(0.0, 0.2))
                process.kill()  # SIGKILL, unless it has ended
            process.join(60)
            assert process.exitcode in (-signal.SIGKILL, 0)
            kills += process.exitcode != 0
            new = [json.loads(line)
                   for line in log.read_text().splitlines()[asked:]] if log.exists() else []
            if new:  # it came as far as to compute: exactly what was not there
                (pending,) = new
                assert pending == [start for start in range(0, 160, 4)
                                   if range(start, start + 4) not in before]
                resumed += 0 < len(before) < 40
            if (folder / MANIFEST).exists():  # finished; killed or not after that
                found = store.read_or_compute(folder, SETTINGS, 160, Counted(), 4)
                assert_same(found, LONG)
                assert_finished(folder, LONG)
                shutil.rmtree(folder)
                tables += 1
            else:
                after = parts_of(folder)
                assert before.items() <= after.items()
    assert kills == 20
    assert resumed >= 5


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def write_and_die(folder, moment, goal, number):
    """Be killed before, halfway through or after the writing of the so-many-th file whose name
    begins like this."""
    replace, write_bytes, rmtree, seen = os.replace, Path.write_bytes, shutil.rmtree, []

    def count(name):
        seen.append(name) if name.startswith(goal) else None
        return name.startswith(goal) and len(seen) == number

    def replace_and_die(source, target):
        hit = moment in ("before", "after") and count(Path(target).name)
        if hit and moment == "before":
            die()
        replace(source, target)
        if hit and moment == "after":
            die()

    def half_and_die(path, content):
        if moment == "half" and count(path.name.removeprefix(".")):
            write_bytes(path, content[: len(content) // 2])
            die()
        return write_bytes(path, content)

    def half_removed_and_die(path):
        next(path.glob("part-*")).unlink()
        die()

    os.replace, Path.write_bytes = replace_and_die, half_and_die
    if moment == "tidying":
        shutil.rmtree = half_removed_and_die
    read_or_compute(folder, SETTINGS, Counted())
    shutil.rmtree = rmtree


@pytest.mark.parametrize(("moment", "goal", "number", "there"), [
    ("before", RUN, 1, 0), ("after", RUN, 1, 0), ("half", "part-", 1, 0), ("before", "part-", 1, 0),
    ("after", "part-", 1, 1),
    ("half", "part-", 5, 4), ("before", "part-", 5, 4), ("after", "part-", 5, 5),
    ("after", "part-", 8, 8), ("half", "paths", 1, 8), ("before", TABLE, 1, 8),
    ("after", TABLE, 1, 8), ("before", MANIFEST, 1, 8), ("after", MANIFEST, 1, "all"),
    ("tidying", "", 1, "all")])
def test_killed_at_every_step(tmp_path, processes, moment, goal, number, there):
    process = processes.Process(target=write_and_die, args=(tmp_path / "a", moment, goal, number))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert (tmp_path / ".a.writer").exists()  # nobody was left to take it away
    compute = Counted()
    assert_same(read_or_compute(tmp_path / "a", SETTINGS, compute), a_table())
    assert compute.asked == ([EVERY[there:]] if there in range(8) else [])
    assert_finished(tmp_path / "a")


def write_slowly(folder, ready, go, closed):
    """Finish two parts, then wait before the others until the file ``go`` is there; a process that
    is killed must hold nothing that others wait for."""
    # a background job of a shell inherits that it is ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def compute(pending):
        try:
            for number, rows in enumerate(pending):
                if number == 2:
                    ready.set()
                while number >= 2 and not go.exists():
                    time.sleep(0.01)
                yield rows, part_of(a_table(), rows)
        finally:
            closed.touch()
    store.read_or_compute(folder, SETTINGS, 30, compute, 4)


@pytest.fixture
def writer(tmp_path, processes):
    """A process that has finished two parts of ``a`` and waits; the file that lets it go on, and
    the one that says that its computation was closed."""
    ready, go, closed = processes.Event(), tmp_path / "go", tmp_path / "closed"
    process = processes.Process(target=write_slowly, args=(tmp_path / "a", ready, go, closed))
    process.start()
    assert ready.wait(60)
    yield process, go, closed
    go.touch()
    process.join(60)


def test_control_c_keeps_the_finished_parts(tmp_path, writer):
    process, _, closed = writer
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    assert process.exitcode == 1
    assert closed.exists()
    assert set(parts_of(tmp_path / "a")) == set(EVERY[:2])
    assert [path.name for path in tmp_path.iterdir()
            if path.name.startswith(".")] in ([], [".a.lock"])
    compute = Counted()
    read_or_compute(tmp_path / "a", SETTINGS, compute)
    assert compute.asked == [EVERY[2:]]
    assert_finished(tmp_path / "a")


# --- two at once ---


def test_a_second_writer_is_refused_and_told_who_the_first_is(tmp_path, writer):
    process, go, _ = writer
    before, compute = contents(tmp_path / "a"), Counted()
    for _ in range(3):
        message = assert_refused(lambda: read_or_compute(tmp_path / "a", SETTINGS, compute),
                                 "a is being written by another process",
                                 f"host {socket.gethostname()}", f"pid {process.pid}", "since ")
        since = datetime.fromisoformat(message.partition("since ")[2].partition(")")[0])
        assert abs(time.time() - since.timestamp()) < 600
    assert compute.calls == 0
    assert contents(tmp_path / "a") == before
    go.touch()
    process.join(60)
    assert process.exitcode == 0
    assert_finished(tmp_path / "a")


def test_another_table_of_the_same_folder_is_not_refused(tmp_path, writer):
    assert_same(read_or_compute(tmp_path / "b", OTHERS, Counted()), a_table())
    assert writer[0].is_alive()


def write_if_allowed(folder, log, started, go):
    def compute(pending):
        with open(log, "a", encoding="utf-8") as stream:
            stream.write("computed\n")
        time.sleep(0.5)
        yield from Counted()(pending)
    started.release()
    assert go.wait(60)
    try:
        store.read_or_compute(folder, SETTINGS, 30, compute, 4)
    except ValueError as error:
        with open(log, "a", encoding="utf-8") as stream:
            stream.write(f"refused {error}\n")


def test_of_processes_that_begin_together_one_computes(tmp_path, processes):
    started, go = processes.Semaphore(0), processes.Event()
    together = [processes.Process(target=write_if_allowed,
                                  args=(tmp_path / "a", tmp_path / "log", started, go))
                for _ in range(4)]
    for process in together:
        process.start()
    for _ in together:
        assert started.acquire(timeout=60)
    go.set()
    for process in together:
        process.join(60)
    assert [process.exitcode for process in together] == [0] * 4
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines.count("computed") == 1
    refused = [line for line in lines if line != "computed"]
    assert all("is being written by another process (host" in line for line in refused)
    (pid,) = {line.partition("pid ")[2].partition(",")[0] for line in refused}
    assert int(pid) in [process.pid for process in together]
    assert_finished(tmp_path / "a")


def test_of_threads_one_computes(tmp_path):
    def compute(pending):
        time.sleep(0.3)
        yield from Counted()(pending)

    def call(_):
        try:
            return store.read_or_compute(tmp_path / "a", SETTINGS, 30, compute, 4)
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(call, range(4)))
    assert sum(isinstance(answer, str) for answer in answers) == 3
    assert all(f"pid {os.getpid()}" in answer for answer in answers if isinstance(answer, str))
    assert_finished(tmp_path / "a")


def test_those_that_were_started_together_wait_and_one_computes(tmp_path, monkeypatch):
    monkeypatch.setenv(WAIT_VARIABLE, "1")
    begun = []

    def compute(pending):
        begun.append(list(pending))
        time.sleep(0.3)
        yield from Counted()(pending)

    with ThreadPoolExecutor(4) as pool:
        for table in pool.map(lambda _: store.read_or_compute(tmp_path / "a", SETTINGS, 30, compute,
                                                              4), range(4)):
            assert_same(table, a_table())
    assert begun == [EVERY]
    assert_finished(tmp_path / "a")


def test_a_finished_table_is_read_while_its_folder_is_locked(tmp_path):
    read_or_compute(tmp_path / "a", SETTINGS, Counted())
    with only_writer(tmp_path / "a"):
        assert_same(read_or_compute(tmp_path / "a", SETTINGS, Counted()), a_table())


def test_the_lock_of_a_killed_writer_holds_nobody_up(tmp_path, writer):
    process, *_ = writer
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    owner = tmp_path / ".a.writer"
    assert json.loads(owner.read_text())["pid"] == process.pid
    assert living_writer(owner) is None
    names = []

    def compute(pending):
        names.append(living_writer(owner)["pid"])
        yield from Counted()(pending)

    store.read_or_compute(tmp_path / "a", SETTINGS, 30, compute, 4)
    assert names == [os.getpid()]
    assert_finished(tmp_path / "a")


def fork_and_wait(folder, ready):
    """Compute in a process that has a child of its own, which outlives it."""
    def compute(pending):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        ready.put(child)
        time.sleep(60)
        yield from ()
    store.read_or_compute(folder, SETTINGS, 30, compute, 4)


def test_children_of_a_killed_writer_do_not_hold_its_lock(tmp_path, processes):
    ready = processes.Queue()
    process = processes.Process(target=fork_and_wait, args=(tmp_path / "a", ready))
    process.start()
    child = ready.get(timeout=60)
    try:
        os.kill(process.pid, signal.SIGKILL)
        process.join(60)
        os.kill(child, 0)  # it lives
        assert_same(read_or_compute(tmp_path / "a", SETTINGS, Counted()), a_table())
    finally:
        os.kill(child, signal.SIGKILL)
    assert_finished(tmp_path / "a")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"host": "elsewhere"}',
                                     '{"host": 1, "pid": "x", "since": ""}'])
def test_a_writers_name_that_cannot_be_read_names_nobody(tmp_path, content):
    (tmp_path / "owner").write_text(content)
    found = living_writer(tmp_path / "owner")
    assert found is None or found["host"] != socket.gethostname()
    assert living_writer(tmp_path / "none") is None


def test_a_writer_of_another_host_is_taken_at_its_word(tmp_path):
    record = {"host": "not." + socket.gethostname(), "pid": 1, "since": "2025-01-01T00:00:00+00:00"}
    (tmp_path / "owner").write_text(json.dumps(record))
    assert living_writer(tmp_path / "owner") == record


# --- disks ---


def mount(place, options, *, again=False):
    answer = subprocess.run(["mount", "-t", "tmpfs", "-o", ("remount," if again else "") + options,
                             "tmpfs", str(place)], capture_output=True, text=True,
                            check=False)
    return answer.returncode == 0


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 300 KiB, in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    if not shutil.which("mount") or not mount(place, "size=300k"):
        pytest.skip("no file system may be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


WIDE = a_table(160).assign(neurons=list(np.random.default_rng(0).integers(0, 3072, (160, 600))))
# 40 KB; the whole table takes 150
LARGEST_PART = max(len(table_bytes(part_of(WIDE, rows)))
                   for rows in ranges(*range(0, 160, 32), size=32, count=160))


def test_a_full_disk_keeps_what_is_finished(small_disk):
    folder, filler = small_disk / "a", small_disk / "filler"
    filler.write_bytes(bytes(120 * 1024))
    compute = Counted(WIDE)
    assert_refused(lambda: read_or_compute(folder, SETTINGS, compute, 32),
                   "No space left on device", str(folder), "what is finished stays")
    done = parts_of(folder)
    assert 0 < len(done) < 5
    # of the one that did not fit there is no trace
    assert all(PART_NAME.fullmatch(path.name) for path in (folder / PARTS).iterdir())
    # still full: the same again, and nothing is lost
    assert_refused(lambda: read_or_compute(folder, SETTINGS, Counted(WIDE), 32),
                   "No space left on device")
    assert done.items() <= parts_of(folder).items()
    # room for the parts, not for the table beside them
    filler.write_bytes(b"")
    assert_refused(lambda: read_or_compute(folder, SETTINGS, Counted(WIDE), 32),
                   "No space left on device")
    assert len(parts_of(folder)) == 5
    assert not (folder / MANIFEST).exists()
    assert mount(small_disk, "size=2m", again=True)
    compute = Counted(WIDE)
    assert_same(read_or_compute(folder, SETTINGS, compute, 32), WIDE)
    assert compute.calls == 0
    assert_finished(folder, WIDE)


def test_a_disk_full_to_the_last_byte(small_disk):
    with pytest.raises(OSError, match="No space left"), open(small_disk / "filler", "wb",
                                                             buffering=0) as stream:
        while True:
            stream.write(bytes(1024))
    assert_refused(lambda: read_or_compute(small_disk / "a", SETTINGS, Counted()),
                   "No space left on device")
    (small_disk / "filler").unlink()
    read_or_compute(small_disk / "a", SETTINGS, Counted())
    assert_finished(small_disk / "a")


def write_small_files_only(folder, answer):
    """Files of this process may hold a part, with its notes, and not the whole table."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_PART + 1000,) * 2)
    try:
        read_or_compute(folder, SETTINGS, Counted(WIDE), 32)
    except ValueError as error:
        answer.put(str(error))


def test_a_file_that_may_not_grow_is_not_taken_for_a_table(tmp_path, processes):
    answer = processes.Queue()
    process = processes.Process(target=write_small_files_only, args=(tmp_path / "a", answer))
    process.start()
    message = answer.get(timeout=60)
    process.join(60)
    assert "File too large" in message and "accepted: " in message and "\n" not in message
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [PARTS, RUN]
    assert len(parts_of(tmp_path / "a")) == 5
    compute = Counted(WIDE)
    read_or_compute(tmp_path / "a", SETTINGS, compute, 32)
    assert compute.calls == 0
    assert_finished(tmp_path / "a", WIDE)


@pytest.fixture
def read_only(tmp_path, request):
    """A folder, and what makes it one that can only be read: by its file system where root runs the
    tests, else by its permissions."""
    place = tmp_path / "place"
    place.mkdir()
    if os.geteuid():
        yield place, lambda: [path.chmod(0o555) for path in (place, *place.rglob("*"))
                              if path.is_dir()]
        for path in (place, *place.rglob("*")):
            path.chmod(0o755)
        return
    if not mount(place, "size=2m"):
        pytest.skip("permissions do not bind root, and no file system may be mounted here")
    yield place, lambda: mount(place, "ro", again=True)
    subprocess.run(["umount", str(place)], check=True)


def test_a_folder_that_can_only_be_read_is_refused_before_the_work(read_only):
    place, lock_up = read_only
    with pytest.raises(Stopped):
        read_or_compute(place / "begun", SETTINGS, Stopping(3))
    left = contents(place)
    lock_up()
    for name in ("begun", "new"):
        compute = Counted()
        assert_refused(lambda name=name,
                       compute=compute: read_or_compute(place / name, SETTINGS, compute),
                       "cannot be written to", str(place))
        assert compute.calls == 0
    assert contents(place) == left


def test_a_finished_table_is_read_where_nothing_can_be_written(read_only):
    place, lock_up = read_only
    read_or_compute(place / "a", SETTINGS, Counted())
    # of a writer killed at its last step, which cannot be tidied up here
    (place / "a" / PARTS).mkdir()
    lock_up()
    compute = Counted()
    assert_same(read_or_compute(place / "a", SETTINGS, compute), a_table())
    assert compute.calls == 0


def test_a_file_in_place_of_a_folder_is_refused_before_the_work(begun, tmp_path):
    (tmp_path / "b").write_text("a file")
    shutil.rmtree(begun / PARTS)
    (begun / PARTS).write_text("a file")
    for folder in (tmp_path / "b", begun):
        compute = Counted()
        assert_refused(lambda folder=folder,
                       compute=compute: read_or_compute(folder, SETTINGS, compute),
                       "cannot be written to", str(folder))
        assert compute.calls == 0
    assert (tmp_path / "b").read_text() == (begun / PARTS).read_text() == "a file"
