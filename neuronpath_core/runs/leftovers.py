"""What killed commands left, removed by the next one: temporary files and folders, processes that
worked in these, locks. Nothing of a living process, of another user, or of another machine."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from neuronpath_core.study.store.lock import living_writer
from neuronpath_core.support.environment import WEIGHTS_VARIABLE
from neuronpath_core.support.owners import (
    FOLDER,
    FOLDER_VARIABLE,
    MARK,
    has_ended,
    leftovers,
)
from neuronpath_core.support.typed import listed

if TYPE_CHECKING:
    import psutil

# helpers of Ray's, and the kernel of a notebook; an editor that shows such a file is neither
HELPERS = re.compile(r"(^|[/\s])ray(::|/)|raylet|gcs_server|ipykernel")
PATIENCE = 5.0  # seconds from the request to end until a process is killed
TABLE_LOCK = re.compile(r"\.(?P<table>.+_[0-9a-f]{12})\.(lock|writer)")
INDEX_LOCK = re.compile(r"images-[0-9a-f]{12}\.lock")


def tidy(root: Path, results: Path | None = None) -> str | None:
    """Remove what ended commands of this study left, and what lies in the folders for temporary
    files.

    Args:
        root: the study's folder.
        results: the folder of its results.

    Returns:
        one line about it; ``None`` if there was nothing.
    """
    # first, for they may write what is removed next
    removed, ended = [], _end_processes()
    for folder in dict.fromkeys((tempfile.gettempdir(), "/tmp")):
        for path in leftovers(folder):
            removed += _remove(path)
    for folder in _folders(root, results):
        for path in leftovers(folder):
            removed += _remove(path)
    locks = [] if results is None else [
        *_free_locks(results / "paths", TABLE_LOCK), *_free_locks(results / "data", INDEX_LOCK)]
    if not removed and not ended and not locks:
        return None
    told = [f"{len(removed)} temporary files and folders ({listed(path.name for path in removed)})"]
    told = told * bool(removed) + [f"{ended} processes"] * bool(ended)
    told += [f"{len(locks)} locks"] * bool(locks)
    return f"removed what commands left that were killed: {', '.join(told)}"


def _folders(root: Path, results: Path | None) -> Iterator[Path]:
    yield from (root / "notebooks", root / "profiles", root / "data" / "weights")
    yield from _inside(root / "data" / "weights")
    if named := os.environ.get(WEIGHTS_VARIABLE):
        yield Path(named).expanduser()
        yield from _inside(Path(named).expanduser())
    if results is not None:
        yield from (results / name for name in ("notebooks", "quick", "paths", "data",
                                                  "pruned"))
        for table in _inside(results / "paths"):
            yield from (table, table / "parts")


def _inside(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder)
                if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _remove(path: Path) -> list[Path]:
    """The path if it is gone now."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    return [] if path.exists() else [path]


def _told(process: psutil.Process) -> str:
    """What a process is called by, and the folder that its environment names; read as it is, since
    a process that changes its title leaves a gap where readers stop."""
    words = process.cmdline()
    with suppress(OSError):
        words += [os.fsdecode(each) for each in Path(f"/proc/{process.pid}/environ").read_bytes()
                  .split(b"\0") if each.startswith(f"{FOLDER_VARIABLE}=".encode())]
    return "\n".join(words)


def _end_processes() -> int:
    """End the helpers that work in the folder of a process that has ended, whether the folder is
    still there or went with it: who is interrupted while Ray starts removes it before Ray's agents
    have noticed."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            told = _told(process)
            if not HELPERS.search(told) or process.uids().real != os.getuid():
                continue
            owners = {re.search(MARK, each[0])[0] for each in FOLDER.finditer(told)}
            if any(map(has_ended, owners)):
                found.append(process)
    for process in found:
        with suppress(psutil.Error):
            process.terminate()
    for process in psutil.wait_procs(found, PATIENCE)[1]:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(found, PATIENCE)
    return len(found)


def _free_locks(folder: Path, pattern: re.Pattern) -> Iterator[Path]:
    """Locks of a folder that no process holds, and the names of writers that have ended; they are
    removed."""
    names = sorted(entry.name for entry in os.scandir(folder)) if folder.is_dir() else []
    for name in [name for name in names if pattern.fullmatch(name)]:
        path = folder / name
        table = pattern.fullmatch(name).groupdict().get("table")
        writer = folder / f".{table}.writer"
        lock = folder / f".{table}.lock" if table else path
        with suppress(OSError, Timeout):
            if path.lstat().st_uid != os.geteuid() or path.is_symlink() or (
                    table and living_writer(writer)):
                continue
            with FileLock(lock, timeout=0):
                if path != lock:
                    path.unlink(missing_ok=True)
                lock.unlink(missing_ok=True)
            yield path
