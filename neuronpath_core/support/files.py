"""Files on disk that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from neuronpath_core.support.owners import own_name


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
