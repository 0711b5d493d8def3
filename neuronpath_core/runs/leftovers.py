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

from filelock import FileLock, Timeout

from neuronpath_core.study.store.lock import living_writer
from neuronpath_core.support.environment import WEIGHTS_VARIABLE
from neuronpath_core.support.owners import FOLDER_VARIABLE, leftovers
from neuronpath_core.support.typed import listed

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
    removed, ended = [], 0
    for folder in dict.fromkeys((tempfile.gettempdir(), "/tmp")):
        for path in leftovers(folder):
            if path.is_dir():
                ended += _end_processes(path)
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


def _is_told(pid: int, folder: Path) -> bool:
    """Whether the environment of a process names the folder; read as it is, since a process that
    changes its title leaves a gap where readers stop."""
    with suppress(OSError):
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return f"{FOLDER_VARIABLE}={folder}".encode() in environment
    return False


def _end_processes(folder: Path) -> int:
    """End the helpers that worked in a folder whose owner has ended."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = process.cmdline()
            if not HELPERS.search(" ".join(words)) or process.uids().real != os.getuid():
                continue
            if _is_told(process.pid, folder) or any(f"{folder}/" in f"{word}/" for word in words):
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
