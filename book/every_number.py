"""The page that lists every number of the text with the cell that made it."""

from __future__ import annotations

import ast
import html as escaping
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nbformat import NotebookNode

from book import chapters
from book.claims_pages import Shown

PAGE = "book/numbers"
# of another chapter by its path, of a chapter's own cells by name alone
GLUED = re.compile(r"\{glue:\w*\}`(?:([^`]+?)::)?([^`]+?)`")
MADE = ("Number", "Section", "Name", "Made by")
CLAIMED = ("Number", "Section", "Claim", "Measured in")
INTRODUCTION = """# Every number

Each number in the text of this book is read from the stored output of a notebook cell when the
pages are built; a name that no cell has stops the build. Here is every one, with the page that
shows it and the cell that made it. What verdicts say is made from the claims of chapters, and leads
to the section that measured it. Numbers in tables and figures stand beside their own cells.
"""


@dataclass(frozen=True)
class Source:
    """The cell that made a number.

    Attributes:
        cell: its identifier.
        count: its execution count.
        value: the text that it made.
    """

    cell: str
    count: int | None
    value: str


def sources(notebooks: Mapping[str, NotebookNode]) -> dict[tuple[str, str], Source]:
    """Every glued value by notebook and name."""
    found = {}
    for notebook, page in notebooks.items():
        for name, cell, output in chapters.glued(page):
            value = next((text for kind, text in output.get("data", {}).items()
                          if kind in ("text/plain", f"{chapters.RECORD}text/plain")), "")
            found[notebook, name] = Source(cell.id, cell.get("execution_count"), plain(value))
    return found


def plain(value: str) -> str:
    """A glued value as a page shows it: without the quotes of a text."""
    try:
        read = ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return value
    return read if isinstance(read, str) else value


def uses(text: str, page: str) -> list[tuple[str, str, str]]:
    """The numbers of a page's text: the heading each stands below, its notebook and its name."""
    found = []
    for glue in GLUED.finditer(text):
        heading = GLUED.sub("", chapters.heading_above(text, glue.start())).strip()
        notebook = (glue.group(1) or page).rpartition("/")[2].removesuffix(".ipynb")
        found.append((heading, notebook, re.sub(r":\w*$", "", glue.group(2))))
    return found


def made_rows(used: Sequence[tuple[str, str, str]],
              made: Mapping[tuple[str, str], Source]) -> list[str]:
    """A row for every number that cells made, with all sections that show it."""
    sections: dict[tuple[str, str], list[str]] = {}
    for heading, *key in used:
        if tuple(key) in made:  # of another, Sphinx says so and stops
            sections.setdefault(tuple(key), []).append(heading)
    rows = []
    for (notebook, name), headings in sections.items():
        source = made[notebook, name]
        link = (f'<a href="../notebooks/{notebook}.html#cell-{source.cell}">chapter '
                f"{notebook[:2]}, cell {source.count}</a>")
        rows.append(row(source.value, headings, name, link))
    return rows


def claimed_rows(shown: Sequence[Shown]) -> list[str]:
    """A row for everything that verdicts say, with all sections that show it."""
    sections: dict[tuple[str, str], list[Shown]] = {}
    for each in shown:
        sections.setdefault((each.value, each.name), []).append(each)
    rows = []
    for (value, name), same in sections.items():
        links = "; ".join(f'<a href="{address}">{escaping.escape(place)}</a>'
                          for address, place in same[0].found.sources)
        rows.append(row(value, [each.heading for each in same], name, links))
    return rows


def row(value: str, headings: Sequence[str], name: str, links: str) -> str:
    said = "; ".join(unmarked(heading) for heading in dict.fromkeys(headings))
    return (f"<tr><td>{escaping.escape(value)}</td><td>{escaping.escape(said)}</td>"
            f"<td><code>{escaping.escape(name)}</code></td><td>{links}</td></tr>")


def table(rows: Sequence[str], headers: Sequence[str], kind: str, label: str) -> str:
    """Rows as a table in a box that scrolls; nothing for none."""
    head = "".join(f'<th scope="col">{words}</th>' for words in headers)
    return (f'<div class="np-scroll" tabindex="0" role="region" aria-label="'
            f'{escaping.escape(label)}"><table class="dataframe {kind}"><thead><tr>{head}</tr>'
            f"</thead>\n<tbody>" + "\n".join(rows) + "</tbody></table></div>\n") if rows else ""


def page(texts: Mapping[str, str], notebooks: Mapping[str, NotebookNode],
         claimed: Mapping[str, Sequence[Shown]]) -> str:
    """The page in MyST: for every page with numbers, a table of those that cells made and one of
    what verdicts say.

    Args:
        texts: the text of every page by its name, in the order of the book.
        notebooks: the chapters by name.
        claimed: what pages show of claims, by the page's name.
    """
    made, parts, total = sources(notebooks), [], 0
    for name, text in texts.items():
        own = made_rows(uses(text, name), made)
        verdicts = claimed_rows(claimed.get(name, ()))
        if own or verdicts:
            total += len(own) + len(verdicts)
            of = unmarked(GLUED.sub("", chapters.title(text)).strip())
            parts.append(
                f'## {of}\n\n```{{raw}} html\n<p><a href="../{name}.html">Open the page</a></p>\n'
                + table(own, MADE, "np-numbers", f"Numbers of the page {of}")
                + table(verdicts, CLAIMED, "np-claimed", f"Verdicts of the page {of}")
                + "```\n")
    return "\n".join([INTRODUCTION, f"There are {total} of them.\n", *parts])


def unmarked(text: str) -> str:
    """A heading without its markup."""
    return re.sub(r"\{\w+\}`([^`<]*?)(?:\s*<[^>]*>)?`|[`*]", lambda found: found.group(1) or "",
                  text)
