"""One writer at a time: a second one is told who the first is, and waits only if it was started to
do so."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from neuronpath_core.support.files import plain_errors
from neuronpath_core.support.owners import has_ended, mark

# set to anything for processes that were started together and want the same tables
WAIT_VARIABLE = "NEURONPATH_WAIT"
# a writer names itself just after it has the lock and unnames itself just before it lets go; until
# then, seconds between looks
ATTEMPTS, PAUSE = 10, 0.1


def now() -> str:
    """The time, in UTC, as text."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def living_writer(owner: Path) -> dict | None:
    """Who a file of :func:`only_writer` names, with ``host``, ``pid`` and ``since``; ``None`` if it
    names nobody, or a process of this host that has ended."""
    try:
        writer = json.loads(owner.read_text(encoding="utf-8"))
        if writer["host"] == socket.gethostname():
            if "process" in writer and has_ended(writer["process"]):
                return None
            if writer["pid"] < 1:
                return None
            with suppress(PermissionError):  # of a living process of somebody else
                os.kill(writer["pid"], 0)
        return {name: writer[name] for name in ("host", "pid", "since")}
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


class Busy(ValueError):
    """Another one is writing."""


@contextmanager
def only_writer(folder: Path, wait: bool | None = None) -> Iterator[None]:
    """Inside, nobody else writes this folder.  A lock ends with its process, however that ends.

    Args:
        wait: for another writer to end; ``None`` does where ``NEURONPATH_WAIT`` is set.

    Raises:
        Busy: another one is writing it and is not waited for.
        ValueError: the folder around it cannot be written to.
    """
    wait = bool(os.environ.get(WAIT_VARIABLE)) if wait is None else wait
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    owner = folder.with_name(f".{folder.name}.writer")
    with plain_errors(folder.parent):
        for attempt in range(1, ATTEMPTS + 1):
            try:
                lock.acquire(timeout=-1 if wait else 0)
                break
            except Timeout:
                if (writer := living_writer(owner)) is None and attempt < ATTEMPTS:
                    time.sleep(PAUSE)
                    continue
                who = "host {host}, pid {pid}, since {since}".format(
                    **writer) if writer else "which does not give its name"
                raise Busy(f"{folder.name} is being written by another process ({who}); accepted: "
                           f"one at a time, so wait for it or name another "
                                 "results folder") from None
    try:
        with plain_errors(folder.parent):
            owner.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid(),
                                         "process": mark(), "since": now()}), encoding="utf-8")
        yield
    finally:
        for file in (owner, Path(lock.lock_file)):  # who waits looks whether its file is gone
            with suppress(OSError):
                file.unlink()
        lock.release()
