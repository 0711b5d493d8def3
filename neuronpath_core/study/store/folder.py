"""The folder of one path table: what is in it, what that was computed from, and whether it can be
used."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from neuronpath_core.study.store.parquet import table_bytes, table_from_bytes
from neuronpath_core.study.store.parts import PARTS, unused_name
from neuronpath_core.study.store.records import SCHEMA, Manifest, Unreadable, read_record
from neuronpath_core.study.store.records import Run as RunRecord
from neuronpath_core.support.files import (
    check_writable,
    kind_of_file,
    plain_errors,
    write_atomically,
)
from neuronpath_core.support.text import one_line

TABLE, MANIFEST, RUN = "paths.parquet", "manifest.json", "run.json"


def manifest_key(manifest: dict) -> str:
    """Short digest of a manifest, for the folder's name."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:12]


def write_json(path: Path, record: dict) -> None:
    text = json.dumps(record, indent=2, sort_keys=True) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def set_aside(folder: Path) -> Path:
    """Move a folder that cannot be used out of the way; nothing is deleted."""
    aside = unused_name(folder)
    folder.rename(aside)
    return aside


def remove_orphans(folder: Path) -> None:
    """Temporary files of a writer that was killed; the caller is the only writer."""
    for name in (TABLE, MANIFEST, RUN):
        for orphan in folder.glob(f".{Path(name).stem}.*"):
            _remove(orphan)
    for orphan in (folder / PARTS).glob(".part-*"):
        _remove(orphan)


def _remove(file: Path) -> None:
    if not file.is_dir():  # a folder is nobody's temporary file
        file.unlink(missing_ok=True)


def remove_parts(folder: Path) -> None:
    if (folder / PARTS).exists():
        shutil.rmtree(folder / PARTS)
    (folder / RUN).unlink(missing_ok=True)


def write_table(folder: Path, table: pd.DataFrame, manifest: dict,
                sessions: Iterable[dict] = ()) -> None:
    """Write a path table and then its manifest, each atomically; without a manifest a table counts
    for nothing.

    Args:
        folder: created if need be.
        table: of :func:`~neuronpath_core.study.store.parquet.table_bytes`.
        manifest: what the table was computed from; JSON values.
        sessions: where and when it was computed, which its numbers do not depend on; JSON values.

    Raises:
        ValueError: not a path table, or the folder cannot be written to.
    """
    content = table_bytes(table)
    check_writable(folder)
    record = {"schema": SCHEMA, "rows": len(table), "sha256": hashlib.sha256(content).hexdigest(),
              "computed_from": manifest, "sessions": list(sessions)}
    with plain_errors(folder):
        (folder / MANIFEST).unlink(missing_ok=True)
        remove_orphans(folder)
        write_atomically(folder / TABLE, lambda path: path.write_bytes(content))
        write_json(folder / MANIFEST, record)


def inspect_table(folder: Path, manifest: dict,
                  count: int | None = None) -> tuple[str | None, pd.DataFrame | None]:
    """Why what the folder holds cannot be used, and its finished table; neither if it is new or can
    be continued."""
    if strange := _strange(folder):
        return strange, None
    name = next((name for name in (MANIFEST, RUN) if (folder / name).exists()), None)
    if name is None:
        return "an unfinished write (no manifest)" if (folder / TABLE).exists() or any(
            (folder / PARTS).glob("part-*")) else None, None
    try:
        record = read_record(folder / name, Manifest if name == MANIFEST else RunRecord)
    except Unreadable as error:
        return str(error), None
    if record["computed_from"] != manifest:
        return "computed from another model, data, setting or version of the code", None
    rows = record["rows" if name == MANIFEST else "count"]
    if count not in (None, rows):
        return f"of {rows} images, not of {count}", None
    if name == RUN:
        return None, None
    try:
        return None, _table(folder, record)
    except (OSError, ValueError) as error:
        return f"the table is damaged ({TABLE}: {one_line(error, 120)})", None


def _table(folder: Path, record: dict) -> pd.DataFrame:
    content = (folder / TABLE).read_bytes() if (folder / TABLE).exists() else b""
    if record["sha256"] != hashlib.sha256(content).hexdigest():
        raise ValueError("its digest is not the manifest's; accepted: the file as it was written")
    table = table_from_bytes(content)[0]
    if len(table) != record["rows"]:
        raise ValueError(f"it has {len(table)} rows, not the manifest's {record['rows']}; "
                         f"accepted: as many")
    return table


def _strange(folder: Path) -> str | None:
    """What lies where a file of the table would have to go."""
    for name in (TABLE, MANIFEST, RUN):
        if (folder / name).exists() and not (folder / name).is_file():
            return f"{name} is {kind_of_file(folder / name)} where a file should be"
    return None


def is_finished(folder: Path, manifest: dict, count: int) -> bool:
    """Whether the folder holds the whole table of this manifest."""
    return inspect_table(folder, json.loads(json.dumps(manifest)), count)[1] is not None
