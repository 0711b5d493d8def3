"""Files on disk that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from neuronpath_core.support.owners import own_name
from neuronpath_core.support.text import as_utf8

LONGEST_NAME = 150  # bytes; file systems take 255, of which endings and digests need their share
# of devices on Windows, with any ending
RESERVED_NAMES = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\..*)?")
UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # control characters, halves of others, ends of lines


def path_component(name: object, what: str) -> str:
    """The name, if it can be that of a file or folder on every system: whatever somebody calls a
    model, what is written of it stays in its folder.

    Args:
        what: that is called so, with its article.

    Raises:
        ValueError: no text, a path, a name that some system keeps for itself, or one that is not
            printable, not UTF-8 or too long for the endings that are put to it.
    """
    if not isinstance(name, str) or not name or name in (".", "..") or set(name) & set("/\\:") or (
            name != name.strip().rstrip(".") or RESERVED_NAMES.fullmatch(name)
            or any(unicodedata.category(letter) in UNPRINTABLE for letter in name)
            or len(name.encode()) > LONGEST_NAME):
        shown = repr(name) if len(repr(name)) <= 80 else f"{repr(name)[:80]}…"
        raise ValueError(f"{what} cannot be called {shown}; accepted: 1 to {LONGEST_NAME} bytes of "
                         f"printable UTF-8 without / \\ and :, no space or dot at the end, and no "
                         f"name that a system keeps for itself (.., NUL, COM1)")
    return name


def relative_path(name: str, what: str) -> str:
    """The name of a file below some folder, of components as :func:`path_component` accepts them
    between slashes.

    Raises:
        ValueError: an absolute path, or a component that is not accepted.
    """
    parts = [part for place, part in enumerate(name.split("/")) if part != "." and (
        part or place == 0)]
    return os.path.join(*(path_component(part, f"{what} {name!r}: a part") for part in parts))


def own_path(name: str | Path) -> Path:
    """A path as somebody types it or writes it in a profile: ``~`` is a home, that of nobody stays
    as it is, and letters are those of files in this locale."""
    name = os.fspath(name).encode("utf-8", "surrogateescape")
    return Path(os.path.expanduser(os.fsdecode(name)))


def working_folder() -> Path:
    """The working directory.

    Raises:
        ValueError: it is there no more.
    """
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise ValueError("the working directory has been removed; accepted: one that is there, "
                         "such as that of the study") from error


def utf8_path(path: str | Path, what: str) -> str:
    """A path as text that any file can hold.

    Raises:
        ValueError: its bytes are not UTF-8.
    """
    try:
        return os.fspath(path).encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{what} {as_utf8(os.fspath(path))} has a name that is not UTF-8; "
                         f"accepted: a name of UTF-8 characters") from error


def read_utf8(path: Path) -> str:
    """The text of a file that somebody wrote, without the mark that some editors begin it with.

    Raises:
        ValueError: the file is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{as_utf8(str(path))} is not UTF-8 text (byte {error.start} is "
                         f"0x{error.object[error.start]:02x}); accepted: a file saved as "
                         f"UTF-8") from error


def check_writable(folder: Path) -> None:
    """Create the folder; ``ValueError`` if it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"results folder {folder} cannot be written to ({error.strerror}); "
                         f"accepted: a folder with write permission") from error


def kind_of_file(path: Path) -> str:
    """What lies where a file is expected, in words."""
    if path.is_dir():
        return "a folder"
    if path.is_symlink() and not path.exists():
        return "a link to nothing"
    return "a file" if path.is_file() else "no regular file"


@contextmanager
def plain_errors(folder: Path) -> Iterator[None]:
    """Inside, what the disk refuses becomes a ``ValueError`` of one line."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"results folder {folder} cannot be written to "
                         f"({error.strerror or error}); accepted: a folder with write permission "
                         f"and room; "
                         "what is finished stays and is used by the next run") from error


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk: after it, a rename in it outlives a loss of power."""
    if os.name == "nt":  # where a folder cannot be opened
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # of a file system that has no such thing
            raise
    finally:
        os.close(handle)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """``write(temporary path)``, flushed to disk, then renamed; on any failure no trace is left."""
    # not tempfile's, which are for their owner alone: this one is to be as any other new file
    temporary = own_name(path)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        write(temporary)
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
