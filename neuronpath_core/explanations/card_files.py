"""A card as a file, there whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neuronpath_core.support.files import own_path, write_atomically
from neuronpath_core.support.text import as_utf8, plain

if TYPE_CHECKING:
    from neuronpath_core.explanations.card import Card

ENDINGS = (".html", ".json")


def save(card: Card, path: str | Path) -> Path:
    """See :meth:`~neuronpath_core.explanations.card.Card.save`."""
    path = own_path(path)
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise ValueError(f"file {plain(as_utf8(path.name))} has an ending that nothing writes; "
                         f"accepted: {', '.join(ENDINGS)}")
    text = card.to_html() if ending == ".html" else card.to_json()
    keep_text(path, text)
    return path


def keep_text(path: Path, text: str) -> None:
    """Write a text; ``ValueError`` where the folder cannot be written to."""
    try:
        write_atomically(path, lambda file: file.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{plain(as_utf8(str(path)))} cannot be written "
                         f"({error.strerror or error}); accepted: a file in a folder with write "
                         "permission and room") from error
