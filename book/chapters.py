"""What the book reads in the notebooks of its chapters: headings, titles and what cells glue."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from neuronpath_core.runs.choice import notebook_names

HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
RECORD = "application/papermill.record/"  # stands before the type of what is glued


def read(root: Path) -> dict[str, NotebookNode]:
    """The notebooks of ``root/notebooks`` by name, in the order of the book."""
    return {name: nbformat.read(root / "notebooks" / f"{name}.ipynb", 4)
            for name in notebook_names(root)}


def heading_above(text: str, place: int) -> str:
    """The last heading before a place in a text; empty if there is none."""
    return next(reversed(HEADING.findall(text[:place])), "")


def title(text: str) -> str:
    """The first heading of a text; empty if it has none."""
    found = HEADING.search(text)
    return found[1] if found else ""


def short_title(text: str) -> str:
    """The first heading without the question behind its colon, for lists of chapters."""
    return title(text).partition(": ")[0]


def written(page: NotebookNode) -> str:
    """The text of a chapter, without code and outputs."""
    return "\n\n".join(cell.source for cell in page.cells if cell.cell_type == "markdown")


def glued(page: NotebookNode) -> Iterator[tuple[str, NotebookNode, NotebookNode]]:
    """Every name that a chapter glues, with its cell and the output that holds its value."""
    for cell in page.cells:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            if name is not None:
                yield name, cell, output
