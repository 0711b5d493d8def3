"""What an exception says, for a message of one line."""

from __future__ import annotations


def one_line(error: BaseException, length: int = 300) -> str:
    """An exception's text without line breaks, cut to so many characters; the name of its type
    where it has no text."""
    return (" ".join(str(error).split()) or type(error).__name__)[:length]
