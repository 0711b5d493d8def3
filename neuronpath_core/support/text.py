"""What messages are made of: names of files as text, what an exception says in one line, and
characters that a terminal lacks."""

from __future__ import annotations

import sys


def as_utf8(name: str) -> str:
    """The name of a file as text that every file, index and message can hold, whatever the locale:
    bytes of it that are not UTF-8 are written as ``\\xe9``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def one_line(error: BaseException, length: int = 300) -> str:
    """An exception's text without line breaks, cut to so many characters; the name of its type
    where it has no text."""
    return as_utf8((" ".join(str(error).split()) or type(error).__name__)[:length])


def show_whatever_comes() -> None:
    """From now on a character that a terminal's or file's encoding lacks is printed as ``\\u2192``,
    where Python would end with an error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not what somebody put in its place
            stream.reconfigure(errors="backslashreplace")
