"""Pieces of a card's page: texts and tables as HTML, whatever names they hold."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from neuronpath_core.support.text import plain


def text(words: object) -> str:
    """A text as itself, whatever it holds; a number stays with its per cent."""
    return html.escape(plain(str(words))).replace(" %", "&nbsp;%")


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]],
          names: int = 1) -> str:
    """A table of plain text in a region that scrolls, its first ``names`` columns words; a cell
    with an ``address`` is a link."""
    words = text(caption)
    head = "".join(f'<th scope="col"{"" if place < names else " class=np-number"}>{text(each)}</th>'
                   for place, each in enumerate(columns))
    body = "".join(f'<tr><th scope="row">{_cell(first)}</th>' + "".join(
        f'<td{" class=np-words" if place < names else ""}>{_cell(each)}</td>'
        for place, each in enumerate(rest, 1)) + "</tr>" for first, *rest in rows)
    return (f'<div class="np-scroll" tabindex="0" role="region" aria-label="{words}"><table>'
            f"<caption>{words}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
            "</table></div>")


def _cell(words: object) -> str:
    address = getattr(words, "address", None)
    return text(words) if address is None else f'<a href="{html.escape(address)}">{text(words)}</a>'
