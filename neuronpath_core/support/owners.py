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

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
MARK = (r"(?P<place>[0-9a-z]{4})(?P<boot>[0-9a-z]{2})-(?P<pid>[0-9a-z]{1,7})"
        r"-(?P<start>[0-9a-z]{1,13})")
FOLDER = re.compile(rf"np-{MARK}-[0-9a-z]{{2}}")
FILE = re.compile(rf"\..+\.{MARK}-[0-9a-f]{{4}}(\..*)?", re.DOTALL)
# names the folder to helpers of a process that work in one, some of whom hide how they were called
FOLDER_VARIABLE = "NEURONPATH_FOLDER"
LONGEST_SOCKET = 107  # characters of a path of a socket
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
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    return _short(f"{socket.gethostname()} {space}", 4), _short(boot, 2)


def _started(pid: int) -> int | None:
    """When a living process started, counted from the start of the machine; ``None`` if there is
    none of this number, or one that has ended and is not yet taken leave of."""
    if Path("/proc/self/stat").exists():
        try:
            said = Path(f"/proc/{pid}/stat").read_text(errors="replace")
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
        room: characters of the longest socket's path in it; where the usual place for temporary
            files is too deep for it, the folder lies in ``/tmp``.
    """
    name = f"np-{mark()}-{''.join(secrets.choice(DIGITS) for _ in range(2))}"
    usual = tempfile.gettempdir()
    if room and len(os.path.join(usual, name)) + room > LONGEST_SOCKET and os.path.isdir("/tmp"):
        usual = "/tmp"
    folder = os.path.join(usual, name)
    os.mkdir(folder, 0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
