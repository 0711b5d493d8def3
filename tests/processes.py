"""Processes that tests start: as from a terminal or as in the background, found again by a variable
that all that stem from them inherit."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path


def in_the_foreground() -> None:
    """For ``preexec_fn``: signals as a terminal's shell leaves them, however pytest was started."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def in_the_background() -> None:
    """For ``preexec_fn``: signals as ``nohup … &`` in a script leaves them."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def with_variable(name: str, value: object) -> list[int]:
    """Numbers of the living processes whose environment holds that."""
    found, mark = [], f"{name}={value}".encode()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if mark in entry.read_bytes().split(b"\0"):
                found.append(int(entry.parent.name))
    return found


def eventually(holds: Callable[[], bool], seconds: float = 60) -> bool:
    """Whether a condition comes true in that time."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()
