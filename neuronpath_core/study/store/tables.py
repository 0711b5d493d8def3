"""Path tables on disk: computed part by part, what is finished kept through any stop, used only for
what it was computed from.

A finished table is a folder with ``paths.parquet`` and ``manifest.json``.  It is used again only if
that manifest equals the one asked for: model weights, images, method, every setting, precision, and
the source of the code that computed it.  Until then the folder holds ``run.json``, what is being
computed and from what, and the finished parts in ``parts/``; when all are there they become the one
table.
"""

from __future__ import annotations

import json
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pandas as pd

from neuronpath_core.study.store.folder import (
    RUN,
    inspect_table,
    manifest_key,
    remove_orphans,
    remove_parts,
    set_aside,
    write_json,
    write_table,
)
from neuronpath_core.study.store.lock import Busy, now, only_writer
from neuronpath_core.study.store.parquet import table_bytes
from neuronpath_core.study.store.parts import (
    PARTS,
    StoreWarning,
    part_ranges,
    whole_parts,
    write_part,
)
from neuronpath_core.study.store.records import SCHEMA
from neuronpath_core.support.files import check_writable, plain_errors, sync_folder

PART_SIZE = 40
ROUNDS = 3  # of computing what is missing or was damaged meanwhile, before the disk is blamed


def _compute_parts(folder: Path, run: dict, pending: list[range], compute: Callable,
                   facts: dict) -> None:
    """Compute and write what is pending, each part as soon as it comes."""
    missing = set(pending)
    key = manifest_key(run["computed_from"])
    number = len(run["sessions"])
    before = time.perf_counter()
    run["sessions"].append({**facts, "host": socket.gethostname(), "pid": os.getpid(),
                            "started": now()})
    parts = iter(compute(list(pending)))
    try:
        for rows, table in parts:
            seconds = time.perf_counter() - before
            if rows not in missing or len(table) != len(rows):
                raise ValueError(f"{len(table)} rows came for the part {rows.start}..{rows.stop} "
                                 f"of {folder.name}; accepted: each missing part once and whole")
            if len(missing) == len(pending):  # a folder exists only when something is in it
                with plain_errors(folder):
                    (folder / PARTS).mkdir(parents=True, exist_ok=True)
                    write_json(folder / RUN, run)
                    sync_folder(folder.parent)
            write_part(folder, rows, table, key, {"session": number, "seconds": seconds,
                                                  "finished": now()})
            missing.remove(rows)
            before = time.perf_counter()
    finally:
        getattr(parts, "close", lambda: None)()  # it may hold other processes
    if missing:
        raise ValueError(f"{len(missing)} of {len(pending)} missing parts of {folder.name} did "
                         f"not come; accepted: each missing part once and whole")


def _finish(folder: Path, run: dict, parts: list[tuple[pd.DataFrame, dict]]) -> pd.DataFrame:
    """All parts as the one table; they go when it is there."""
    table = pd.concat([part for part, _ in parts], ignore_index=True)
    sessions = []
    for number, session in enumerate(run["sessions"]):
        own = [notes for _, notes in parts if notes["session"] == number]
        sessions.append({**session, "finished": max((notes["finished"] for notes in own),
                                                    default=None), "parts": len(own),
                         "seconds": sum(notes["seconds"] for notes in own)})
    write_table(folder, table, run["computed_from"], sessions)
    with plain_errors(folder):
        remove_parts(folder)
    return table


def _continue(folder: Path, manifest: dict, count: int, compute: Callable, part_size: int,
              facts: dict) -> pd.DataFrame:
    """The table, once what the folder lacks is computed; the caller is the only writer."""
    for place in (folder, folder / PARTS):
        if place.exists() or place.is_symlink():
            check_writable(place)  # said before the work, not after it
    run = {"schema": SCHEMA, "computed_from": manifest, "part_size": part_size, "count": count,
           "sessions": []}
    with plain_errors(folder):
        remove_orphans(folder)
        if (folder / RUN).exists():
            run = json.loads((folder / RUN).read_text(encoding="utf-8"))
    ranges = part_ranges(count, run["part_size"])
    for turn in range(ROUNDS + 1):
        parts = whole_parts(folder, manifest_key(manifest), ranges, len(run["sessions"]))
        pending = [rows for rows in ranges if rows not in parts]
        if not pending:
            return _finish(folder, run, [parts[rows] for rows in ranges])
        if turn < ROUNDS:
            # not kept while others are computed; read again at the end, for a disk may lose them
            # meanwhile
            del parts
            _compute_parts(folder, run, pending, compute, facts)
    raise ValueError(f"parts of {folder} are damaged as soon as they are written; accepted: a "
                     f"results folder on a disk that keeps them")


def keep_part(folder: Path, manifest: dict, count: int, rows: range, table: pd.DataFrame,
              part_size: int = PART_SIZE, facts: dict | None = None) -> bool:
    """Keep a part of a table that was found on the way to another one; :func:`read_or_compute`
    finds it there.

    A table that is finished, that another process is writing or whose folder cannot be used for it
    is left alone, and so is a part that is there.

    Args:
        folder, manifest, count, part_size, facts: of :func:`read_or_compute`.
        rows, table: which part, and what it is.

    Returns:
        whether it was kept.

    Raises:
        ValueError: not a path table, or the folder cannot be written to.
    """
    table_bytes(table)  # refused before anything is touched
    manifest = json.loads(json.dumps(manifest))
    with suppress(Busy), only_writer(folder, wait=False):
        reason, whole = inspect_table(folder, manifest, count)
        if reason is not None or whole is not None:
            return False
        new = {"schema": SCHEMA, "computed_from": manifest, "part_size": part_size, "count": count,
               "sessions": []}
        with plain_errors(folder):
            there = (folder / RUN).exists()
            run = json.loads((folder / RUN).read_text(encoding="utf-8")) if there else new
            if rows not in part_ranges(count,
                                       run["part_size"]) or any(
                    (folder / PARTS).glob(f"part-{rows.start:06d}-{rows.stop:06d}.*")):
                return False
            own = {**(facts or {}), "host": socket.gethostname(), "pid": os.getpid(),
                   "on_the_way": True}
            if not run["sessions"] or {**run["sessions"][-1],
                                       "started": None} != {**own, "started": None}:
                run["sessions"].append({**own, "started": now()})
                (folder / PARTS).mkdir(parents=True, exist_ok=True)
                write_json(folder / RUN, run)
                sync_folder(folder.parent)
        write_part(folder, rows, table, manifest_key(manifest),
                   {"session": len(run["sessions"]) - 1, "seconds": 0.0, "finished": now()})
        return True
    return False


def read_or_compute(folder: Path, manifest: dict, count: int,
                    compute: Callable[[list[range]], Iterable[tuple[range, pd.DataFrame]]],
                    part_size: int = PART_SIZE, facts: dict | None = None) -> pd.DataFrame:
    """The stored table if it was computed from exactly this manifest, else a new one, stored; what
    earlier runs finished is not computed again.

    What cannot be used is reported as a :class:`StoreWarning`, moved aside and computed again.  The
    table depends neither on how often the work was interrupted nor on the order in which its parts
    came.

    Args:
        folder: of this table alone; its neighbours ``.<name>.lock``, ``.<name>.writer`` and
            ``<name>.aside-1``, … are the store's too.
        manifest: what the numbers depend on; JSON values.
        count: rows of the table.
        compute: gets the ranges of rows that are missing and yields each with its table, columns as
            of :func:`~neuronpath_core.study.store.parquet.table_bytes`, in any order; closed if the
            work ends early.
        part_size: rows of a part, which is what a stop can cost; a run begun with another size
            keeps that.
        facts: what the numbers do not depend on but one may want to know, such as versions and the
            device; JSON values.  Host, times and seconds are added.

    Returns:
        The table, every row's ``neurons`` an int64 array.

    Raises:
        ValueError: another process is computing this table (it is waited for only if
            ``NEURONPATH_WAIT`` is set); the folder cannot be written to or the disk is full (what
            is finished stays); parts that were not asked for, or too few.
    """
    if count < 1 or part_size < 1:
        raise ValueError(f"a table of {count} rows in parts of {part_size} cannot be; accepted: "
                         f"at least 1 of both")
    manifest = json.loads(json.dumps(manifest))  # as it is read again: tuples become lists
    with plain_errors(folder):
        # a finished table needs neither a lock nor a folder that can be written to
        _, table = inspect_table(folder, manifest, count)
    if table is not None:
        # of a writer that was killed before its last step
        if (folder / RUN).exists() or (folder / PARTS).exists():
            with suppress(OSError, ValueError), only_writer(folder):
                remove_parts(folder)
        return table
    check_writable(folder.parent)
    with only_writer(folder):
        # another one may just have finished it
        reason, table = inspect_table(folder, manifest, count)
        if table is not None:
            return table
        if reason is not None:
            with plain_errors(folder):
                aside = set_aside(folder)
            warnings.warn(f"stored paths {folder.name} not used: {reason}; moved to {aside.name} "
                          f"and computed again", StoreWarning, stacklevel=2)
        return _continue(folder, manifest, count, compute, part_size, facts or {})
