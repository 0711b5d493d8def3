"""Excerpts of pages for the search, so that it shows them from a disk too.

Sphinx's search fetches every page that it found, which a browser refuses to pages opened from
files. The texts are in a script beside the search page instead, and stand in for what it fetches.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from bs4 import BeautifulSoup, CData, NavigableString, PageElement, Tag

from book.nodes import classes

SCRIPT = "_static/excerpts.js"
MOST = 12_000  # characters of a page; the interface and lists of numbers are longer
# cells of tables are numbers, which nobody searches for
UNREAD = {"script", "style", "svg", "td", "nav"}
UNREAD_CLASSES = {"headerlink", "np-download"}
STAND_IN = """
(() => {
  const asked = window.fetch.bind(window);
  const safe = text => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");
  window.fetch = (address, ...rest) => {
    const page = String(address).replace(/^(\\.\\/)+/, "").replace(/\\.html$/, "");
    const parts = npExcerpts[page];
    if (!parts) return asked(address, ...rest);
    const html = parts.map(([id, text]) =>
      `<div${id ? ` id="${id}"` : ""}>${safe(text)}</div>`).join("");
    return Promise.resolve(new Response(`<div role="main">${html}</div>`));
  };
})();
"""


def excerpts(page: BeautifulSoup) -> list[tuple[str, str]]:
    """The text of a page by section: its identifier, and what stands in it and in no section of
    its own."""
    article = page.select_one("article")
    if article is None:
        return []
    parts, left = [], MOST
    for section in sections(article):
        text = " ".join(text for child in section.children if child.name != "section"
                        if (text := " ".join(words(child))))[:max(0, left)]
        left -= len(text)
        parts.append((section.get("id", ""), text))
    return parts


def is_read(node: Tag) -> bool:
    """Whether a search looks into a tag."""
    own = classes(node)
    return not (node.name in UNREAD or UNREAD_CLASSES & set(own)
                or node.name == "details" and "above-input" in own)


def sections(node: Tag) -> Iterator[Tag]:
    """The sections in a tag that a search looks into, at any depth."""
    for child in node.children:
        if isinstance(child, Tag) and is_read(child):
            if child.name == "section":
                yield child
            yield from sections(child)


def words(node: PageElement) -> Iterator[str]:
    """The words of a node that a search looks into."""
    if isinstance(node, Tag):
        for child in node.children if is_read(node) else ():
            yield from words(child)
    elif type(node) in (NavigableString, CData):  # neither comments nor code
        yield from node.split()


def write(html: Path, pages: dict[str, list[tuple[str, str]]]) -> None:
    """Write the texts and what puts them in the place of fetched pages."""
    said = {name: parts for name, parts in pages.items() if parts}
    (html / SCRIPT).write_text(
        "const npExcerpts = " + json.dumps(said, ensure_ascii=False, separators=(",", ":"))
        + ";\n" + STAND_IN.lstrip(), encoding="utf-8")
