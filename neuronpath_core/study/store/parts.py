"""Parts of a path table: one file for every range of rows, its checksum in its name, in its notes
what it belongs to."""

from __future__ import annotations

import hashlib
import re
import warnings
from pathlib import Path

import pandas as pd

from neuronpath_core.study.store.parquet import table_bytes, table_from_bytes
from neuronpath_core.study.store.records import MOST_ROWS, check_notes
from neuronpath_core.support.files import plain_errors, write_atomically

PARTS = "parts"
PART_NAME = re.compile(r"part-(\d{6,})-(\d{6,})\.([0-9a-f]{16})\.parquet")


class StoreWarning(UserWarning):
    """Something stored could not be used and was moved aside."""


def part_ranges(count: int, part_size: int) -> list[range]:
    """``count`` rows in ranges of ``part_size``, the last one as long as what is left."""
    return [range(start, min(start + part_size, count)) for start in range(0, count, part_size)]


def unused_name(folder: Path) -> Path:
    """A neighbour of the folder for what is moved aside: ``<name>.aside-1``, or the first number
    that is free."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.aside-{number}")).exists():
        number += 1
    return aside


def write_part(folder: Path, rows: range, table: pd.DataFrame, key: str, notes: dict) -> Path:
    """Put a part in place, by one rename.

    Args:
        folder: of the table; its ``parts/`` exists.
        rows: of the whole table that these are.
        table: of :func:`~neuronpath_core.study.store.parquet.table_bytes`.
        key: of what the table is computed from.
        notes: JSON values that are kept with it.

    Raises:
        ValueError: not a path table, or the folder cannot be written to.
    """
    content = table_bytes(table, notes | {"computed_from": key, "rows": [rows.start, rows.stop]})
    digest = hashlib.sha256(content).hexdigest()[:16]
    path = folder / PARTS / f"part-{rows.start:06d}-{rows.stop:06d}.{digest}.parquet"
    with plain_errors(folder):
        write_atomically(path, lambda temporary: temporary.write_bytes(content))
    return path


def read_part(path: Path, key: str,
              sessions: int | None = None) -> tuple[range, pd.DataFrame, dict]:
    """Rows, table and notes of a part, one of so many sessions if that is known.

    Raises:
        ValueError: it is not, to the last bit, what was written under this name for this key.
        OSError: it cannot be read.
    """
    if (named := PART_NAME.fullmatch(path.name)) is None:
        raise ValueError("not the name of a part")
    content, rows = path.read_bytes(), range(int(named[1]), int(named[2]))
    if hashlib.sha256(content).hexdigest()[:16] != named[3]:
        raise ValueError("damaged, its checksum is not the one in its name")
    table, notes = table_from_bytes(content)
    if notes.get("computed_from") != key:
        raise ValueError("computed from another model, data, setting or version of the code")
    if notes.get("rows") != [rows.start, rows.stop] or len(table) != len(rows):
        raise ValueError("it holds other rows than its name says")
    check_notes(notes, sessions if sessions is not None else MOST_ROWS)
    return rows, table, notes


def whole_parts(folder: Path, key: str, ranges: list[range],
                sessions: int) -> dict[range, tuple[pd.DataFrame, dict]]:
    """The parts of these ranges that can be used, each with its notes; others are moved aside and
    reported as one :class:`StoreWarning`.

    Raises:
        ValueError: the folder cannot be written to.
    """
    wanted, found, faults = set(ranges), {}, {}
    for path in sorted((folder / PARTS).glob("[!.]*")):
        try:
            rows, table, notes = read_part(path, key, sessions)
            if rows not in wanted or rows in found:
                raise ValueError("there twice" if rows in found
                                 else "not one of this table's parts")
            found[rows] = table, notes
        except (OSError, ValueError) as error:
            faults[path] = str(error)
    if faults:
        aside = unused_name(folder)
        with plain_errors(folder):
            aside.mkdir()
            for path in faults:
                path.rename(aside / path.name)
        listed = "; ".join(f"{path.name}: {fault}" for path,
                           fault in list(faults.items())[:3]) + ("; and others" if len(faults) > 3
                                                                 else "")
        warnings.warn(f"stored parts of {folder.name} not used ({len(faults)}: {listed}); moved "
                      f"to {aside.name} and computed again", StoreWarning, stacklevel=4)
    return found
