"""A card as a file, there whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neuronpath_core.explanations.files import keep, save_as

if TYPE_CHECKING:
    from neuronpath_core.explanations.card import Card

WRITERS = {".html": lambda card, file: file.write_text(card.to_html(), encoding="utf-8"),
           ".json": lambda card, file: file.write_text(card.to_json(), encoding="utf-8")}


def save(card: Card, path: str | Path) -> Path:
    """See :meth:`~neuronpath_core.explanations.card.Card.save`."""
    return save_as(card, path, WRITERS)


def keep_text(path: Path, text: str) -> None:
    """Write a text; ``ValueError`` where the folder cannot be written to."""
    keep(path, lambda file: file.write_text(text, encoding="utf-8"))
