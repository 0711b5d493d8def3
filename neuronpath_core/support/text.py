"""Text of people's own, such as names of classes and files, and what an exception says: each on one
line, as itself, and characters that a terminal lacks."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence

# what joins letters of Persian or parts of an emoji is text there and nowhere else
_JOINER = re.compile("(?<=[^\x00-\x7f])[\u200c\u200d](?=[^\x00-\x7f])")
NAMED = 3


def as_utf8(name: str) -> str:
    """The name of a file as text that every file, index and message can hold, whatever the locale:
    bytes of it that are not UTF-8 are written as ``\\xe9``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def one_line(error: BaseException, length: int = 300) -> str:
    """An exception's text without line breaks or control characters, cut to so many characters; the
    name of its type where it has no text."""
    return plain(as_utf8(" ".join(str(error).split()) or type(error).__name__))[:length]


def plain(text: str) -> str:
    """The text with every character that would not be seen, but obeyed, written out: line breaks
    and terminal escapes (``\\n``, ``\\x1b``), marks that turn the direction of writing
    (``\\u202e``), halves of characters."""
    kept = {match.start() for match in _JOINER.finditer(text)}
    return "".join(letter if letter.isprintable() or place in kept
                   else letter.encode("unicode_escape").decode()
                   for place, letter in enumerate(text))


def shown(value: object, length: int = 80) -> str:
    """A value as Python writes it, on one line, cut to so many characters; of what cannot be
    written so, its type."""
    try:
        text = plain(" ".join(repr(value).split()))
    except Exception:  # of what an object's own repr raises nothing is known
        text = f"<{type(value).__name__}>"
    return text if len(text) <= length else f"{text[:length]}…"


def is_one_of(value: object, names: Iterable[str]) -> bool:
    """Whether a value is one of these names; it may be anything, as a list, that no set holds."""
    return isinstance(value, str) and value in names


def keep_dollars(names: Iterable[str]) -> None:
    """Where a name has a dollar sign, have pandas' tables in notebooks mark themselves as no
    mathematics, of which a page would make it some."""
    if any("$" in name for name in names):
        import pandas as pd

        pd.set_option("display.html.use_mathjax", False)


def listed(names: Sequence[str], most: int = NAMED) -> str:
    """The first few names, plain and separated by commas, with an ellipsis where there are more."""
    return ", ".join(map(plain, names[:most])) + (", …" if len(names) > most else "")


def show_whatever_comes() -> None:
    """From now on a character that a terminal's or file's encoding lacks is printed as ``\\u2192``,
    where Python would end with an error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not what somebody put in its place
            stream.reconfigure(errors="backslashreplace")
