"""Temporary files and folders that name the process they belong to, so that whatever a killed one
leaves can be told from what a living one needs.

The name holds the machine, its start and that of the process, and the process's number: a number
that another process has been given since, another container's or another machine's is never taken
for it. Age says nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from neuronpath_core.support.text import as_utf8

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
MARK = (r"(?P<place>[0-9a-z]{4})(?P<boot>[0-9a-z]{2})-(?P<pid>[0-9a-z]{1,7})"
        r"-(?P<start>[0-9a-z]{1,13})")
FOLDER = re.compile(rf"np-{MARK}-[0-9a-z]{{2}}")
FILE = re.compile(rf"\..+\.{MARK}-[0-9a-f]{{4}}(\..*)?", re.DOTALL)
# names the folder to helpers of a process that work in one, some of whom hide how they were called
FOLDER_VARIABLE = "NEURONPATH_FOLDER"
SOCKET_PATH = 103  # bytes of the longest path of a socket, of macOS; Linux takes 107
SHORT_FOLDERS = ("/tmp", "/var/tmp")
ENDED = ("Z", "X", "x")  # states of a process that nothing but its parent knows of


def _in_36(value: int) -> str:
    text = ""
    while value or not text:
        value, digit = divmod(value, 36)
        text = DIGITS[digit] + text
    return text


def _short(text: str, length: int) -> str:
    number = int(hashlib.sha256(text.encode(errors="replace")).hexdigest(), 16)
    return _in_36(number % 36**length).rjust(length, "0")


@cache
def _machine() -> tuple[str, str]:
    """What tells this machine, or container, from others, and its start from earlier ones."""
    space = boot = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")
    return _short(f"{socket.gethostname()} {space}", 4), _short(boot, 2)


def _started(pid: int) -> int | None:
    """When a living process started, counted from the start of the machine; ``None`` if there is
    none of this number, or one that has ended and is not yet taken leave of."""
    if Path("/proc/self/stat").exists():
        try:
            said = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        fields = said.rpartition(")")[2].split()  # what is before it is a name with anything in it
        return None if fields[0] in ENDED else int(fields[19])
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else int(
            100 * process.create_time())
    except psutil.NoSuchProcess:
        return None


def mark() -> str:
    """This process, for the name of what belongs to it."""
    return "".join(_machine()) + f"-{_in_36(os.getpid())}-{_in_36(_started(os.getpid()) or 0)}"


def has_ended(owner: str) -> bool:
    """Whether the process of a :func:`mark` is known to have ended: never said of one on another
    machine or in another container, nor of what is no mark."""
    named = re.fullmatch(MARK, owner)
    if named is None or named["place"] != _machine()[0]:
        return False
    if named["boot"] != _machine()[1]:
        return True
    try:
        return _started(int(named["pid"], 36)) != int(named["start"], 36)
    except OSError:
        return False


def own_name(path: Path) -> Path:
    """A hidden neighbour of a file, called after it and after this process."""
    return path.with_name(f".{path.stem[:100]}.{mark()}-{secrets.token_hex(2)}{path.suffix}")


@contextmanager
def own_folder(room: int = 0) -> Iterator[str]:
    """A temporary folder of this process, which goes in the end.

    Args:
        room: characters of the longest socket's path in it. A socket's path is a hundred bytes at
            most, less than many batch systems' ``TMPDIR`` alone: where the usual place for
            temporary files is too deep, the folder lies in ``/tmp``.

    Raises:
        ValueError: no folder for temporary files is short enough and can be written to.
    """
    name = f"np-{mark()}-{''.join(secrets.choice(DIGITS) for _ in range(2))}"
    most = SOCKET_PATH - room - len(name) - 1 if room and os.name != "nt" else 1 << 15
    folder, places = None, dict.fromkeys((*_usual_temporary_folder(), *SHORT_FOLDERS))
    for place in places:
        if folder is None and len(place) <= most and (place.isascii() or not room):
            with suppress(OSError):
                os.mkdir(os.path.join(place, name), 0o700)
                folder = os.path.join(place, name)
    if folder is None:
        raise ValueError(f"no temporary folder is short enough for sockets and can be written to; "
                         f"looked at {as_utf8(', '.join(places))}; accepted: a TMPDIR of at most "
                         f"{most} characters, all of them ASCII")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _usual_temporary_folder() -> list[str]:
    try:
        return [tempfile.gettempdir()]
    except OSError:  # none that Python knows can be written to
        return []


def leftovers(folder: Path | str) -> Iterator[Path]:
    """The temporary files and folders directly in a folder that belonged to a process of this user
    that has ended."""
    try:
        entries = list(os.scandir(folder))
    except OSError:  # there is none, or it is not for this user to see
        return
    for entry in entries:
        with suppress(OSError):
            inside = entry.is_dir(follow_symlinks=False)
            named = (FOLDER if inside else FILE).fullmatch(entry.name)
            own = entry.stat(follow_symlinks=False).st_uid == os.geteuid()
            if named and own and has_ended(re.search(MARK, named[0][named.start("place"):])[0]):
                yield Path(entry.path)
