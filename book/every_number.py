"""The page that lists every number of the text with the cell that made it."""

from __future__ import annotations

import ast
import html as escaping
import re
from collections.abc import Mapping
from dataclasses import dataclass

from nbformat import NotebookNode

PAGE = "book/numbers"
# of another chapter by its path, of a chapter's own cells by name alone
GLUED = re.compile(r"\{glue:\w*\}`(?:([^`]+?)::)?([^`]+?)`")
HEADING = re.compile(r"^(#{1,6})\s+(.*)$", re.MULTILINE)
NAME = "application/papermill.record/"
INTRODUCTION = """# Every number

Each number in the text of this book is read from the stored output of a notebook cell when the
pages are built; a name that no cell has stops the build. Here is every one, with the page that
shows it and the cell that made it. Numbers in tables and figures stand beside their own cells.
"""


@dataclass(frozen=True)
class Source:
    """The cell that made a number.

    Attributes:
        notebook: the name of its chapter.
        cell: its identifier.
        count: its execution count.
        value: the text that it made.
    """

    notebook: str
    cell: str
    count: int | None
    value: str


def sources(notebooks: Mapping[str, NotebookNode]) -> dict[tuple[str, str], Source]:
    """Every glued value by notebook and name."""
    found = {}
    for name, page in notebooks.items():
        for cell in page.cells:
            for output in cell.get("outputs", []):
                glued = output.get("metadata", {}).get("scrapbook", {}).get("name")
                if glued is None:
                    continue
                data = output.get("data", {})
                value = next((text for kind, text in data.items()
                              if kind in ("text/plain", NAME + "text/plain")), "")
                found[name, glued] = Source(name, cell.id, cell.get("execution_count"),
                                            plain(value))
    return found


def plain(value: str) -> str:
    """A glued value as a page shows it: without the quotes of a text."""
    try:
        read = ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return value
    return read if isinstance(read, str) else value


def uses(text: str, own: str = "") -> list[tuple[str, str, str]]:
    """The numbers of a page's text: the heading each stands below, its notebook and its name.

    ``own`` is the chapter whose text it is, if it is one.
    """
    headings = [(found.start(), found.group(2)) for found in HEADING.finditer(text)]
    found = []
    for glue in GLUED.finditer(text):
        above = [title for start, title in headings if start < glue.start()]
        name = re.sub(r":\w*$", "", glue.group(2)) if ":" in glue.group(2) else glue.group(2)
        notebook = (glue.group(1) or own).rpartition("/")[2].removesuffix(".ipynb")
        found.append((GLUED.sub("", above[-1]).strip() if above else "", notebook, name))
    return found


def title(text: str) -> str:
    """The first heading of a page."""
    found = HEADING.search(text)
    return GLUED.sub("", found.group(2)).strip() if found else ""


def page(texts: Mapping[str, str], notebooks: Mapping[str, NotebookNode]) -> str:
    """The page in MyST: a table for every page with numbers.

    Args:
        texts: the text of every page by its name, in the order of the book.
        notebooks: the chapters by name.
    """
    made, parts, total = sources(notebooks), [INTRODUCTION], 0
    for name, text in texts.items():
        rows = []
        for heading, notebook, glued in uses(text, name if name.startswith("notebooks/") else ""):
            source = made.get((notebook, glued))
            if source is None:
                continue  # Sphinx says so and stops
            address = f"../notebooks/{notebook}.html#cell-{source.cell}"
            rows.append(f"<tr><td>{escaping.escape(source.value)}</td>"
                        f"<td>{escaping.escape(unmarked(heading))}</td>"
                        f"<td><code>{escaping.escape(glued)}</code></td>"
                        f'<td><a href="{address}">chapter {notebook[:2]}, cell '
                        f"{source.count}</a></td></tr>")
        if rows:
            total += len(rows)
            of = unmarked(title(text))
            head = "".join(f'<th scope="col">{words}</th>' for words in (
                "Number", "Section", "Name", "Made by"))
            parts.append(
                f'## {of}\n\n```{{raw}} html\n<p><a href="../{name}.html">Open the page</a></p>\n'
                f'<div class="np-scroll" tabindex="0" role="region" aria-label="Numbers of the '
                f'page {escaping.escape(of)}"><table class="dataframe np-numbers">'
                f"<thead><tr>{head}</tr></thead>\n<tbody>" + "\n".join(rows)
                + "</tbody></table></div>\n```\n")
    return "\n".join([parts[0], f"There are {total} of them.\n", *parts[1:]])


def unmarked(text: str) -> str:
    """A heading without its markup."""
    return re.sub(r"\{\w+\}`([^`<]*?)(?:\s*<[^>]*>)?`|[`*]", lambda found: found.group(1) or "",
                  text)
