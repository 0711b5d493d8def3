"""Path tables on disk: one Parquet file and its manifest, written whole or not at all, checked whenever read.

A table is used again only if the manifest that it was written with equals the one asked for: model weights, images,
method, every setting, precision, and the source of the code that computed it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from filelock import FileLock

from neuronpath_core.models import file_sha256

SCHEMA = 1
TABLE, MANIFEST = "paths.parquet", "manifest.json"
COLUMNS = ("image", "label", "score", "steps", "neurons")


class StoreWarning(UserWarning):
    """Something stored could not be used and was moved aside."""


def manifest_key(manifest: dict) -> str:
    """Short digest of a manifest, for the folder's name."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:12]


def check_writable(folder: Path) -> None:
    """Create the folder; ``ValueError`` if it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"results folder {folder} cannot be written to ({error.strerror}); accepted: a folder with write permission") from error


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """``write(temporary path)``, flushed to disk, then renamed; on any failure no trace is left."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    os.umask(mask := os.umask(0))
    temporary.chmod(0o666 & ~mask)  # as any other new file; mkstemp's are for their owner alone
    try:
        write(temporary)
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_table(folder: Path, table: pd.DataFrame, manifest: dict) -> None:
    """Write a path table and then its manifest, each atomically; without a manifest a table counts for nothing.

    Args:
        folder: created if need be.
        table: columns ``image``, ``label``, ``score``, ``steps``, ``neurons`` (a list, block after block, rank after rank).
        manifest: what the table was computed from; JSON values.
    """
    if tuple(table.columns) != COLUMNS:
        raise ValueError(f"a path table has the columns {', '.join(COLUMNS)}, got {', '.join(map(str, table.columns))}")
    check_writable(folder)
    (folder / MANIFEST).unlink(missing_ok=True)
    for orphan in folder.glob(".*"):  # of a writer that was killed; the caller holds the folder's lock
        orphan.unlink()
    write_atomically(folder / TABLE, lambda path: table.to_parquet(path, index=False))
    record = {"schema": SCHEMA, "rows": len(table), "sha256": file_sha256(folder / TABLE), "computed_from": manifest}
    write_atomically(folder / MANIFEST, lambda path: path.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n"))


def complaint(folder: Path, manifest: dict) -> str | None:
    """Why the folder's table cannot be used for this manifest; ``None`` if it can, or if there is none."""
    present = [name for name in (TABLE, MANIFEST) if (folder / name).exists()]
    if not present:
        return None
    if MANIFEST not in present:
        return "an unfinished write (no manifest)"
    try:
        record = json.loads((folder / MANIFEST).read_text())
        if record["schema"] != SCHEMA:
            return f"written with schema {record['schema']}, this version reads {SCHEMA}"
        if record["computed_from"] != manifest:
            return "computed from another model, data, setting or version of the code"
        if TABLE not in present or record["sha256"] != file_sha256(folder / TABLE):
            return "the table is damaged (its digest is not the manifest's)"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"the manifest is damaged ({type(error).__name__})"
    return None


def set_aside(folder: Path) -> Path:
    """Move a folder that cannot be used out of the way; nothing is deleted."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.aside-{number}")).exists():
        number += 1
    folder.rename(aside)
    return aside


def read_or_compute(folder: Path, manifest: dict, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """The stored table if it was computed from exactly this manifest, else a new one, stored.

    What cannot be used is reported as a :class:`StoreWarning`, moved aside and computed again.  Two processes that want
    the same table compute it once: the second waits.
    """
    check_writable(folder.parent)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        reason = complaint(folder, manifest)
        if reason is None and (folder / MANIFEST).exists():
            return pd.read_parquet(folder / TABLE)
        if reason is not None:
            aside = set_aside(folder)
            warnings.warn(f"stored paths {folder.name} not used: {reason}; moved to {aside.name} and computed again", StoreWarning, stacklevel=2)
        table = compute()
        write_table(folder, table, manifest)
        return table
