"""Excerpts of pages for the search, so that it shows them from a disk too.

Sphinx's search fetches every page that it found, which a browser refuses to pages opened from
files. The texts are in a script beside the search page instead, and stand in for what it fetches.
"""

from __future__ import annotations

import json
from copy import copy
from pathlib import Path

from bs4 import BeautifulSoup

SCRIPT = "_static/excerpts.js"
MOST = 12_000  # characters of a page; the interface and lists of numbers are longer
# cells of tables are numbers, which nobody searches for
UNREAD = "script, style, svg, td, details.above-input, .headerlink, nav, .np-download"
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
    article = copy(article)
    for node in article.select(UNREAD):
        node.decompose()
    parts, left = [], MOST
    for section in article.find_all("section"):
        inner = section.find_all("section", recursive=False)
        text = " ".join(text for child in section.children if child not in inner
                        for text in words(child))[:max(0, left)]
        left -= len(text)
        parts.append((section.get("id", ""), text))
    return parts


def words(node) -> list[str]:
    text = node.get_text(" ", strip=True) if hasattr(node, "get_text") else str(node)
    return [" ".join(text.split())] if text.strip() else []


def write(html: Path, pages: dict[str, list[tuple[str, str]]]) -> None:
    """Write the texts and what puts them in the place of fetched pages."""
    said = {name: parts for name, parts in pages.items() if parts}
    (html / SCRIPT).write_text(
        "const npExcerpts = " + json.dumps(said, ensure_ascii=False, separators=(",", ":"))
        + ";\n" + STAND_IN.lstrip(), encoding="utf-8")
