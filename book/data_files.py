"""A chapter's tables as CSV files beside its page, with a link at each table."""

from __future__ import annotations

import csv
import hashlib
import html as escaping
import io
import re
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

OPENING = re.compile(r'<(details|figure)\b[^>]*\bnp-table\b[^>]*>(?:\s*<summary\b.*?</summary>)?',
                     re.DOTALL)
ROWS = re.compile(r'<span class="np-rows">.*?</span>', re.DOTALL)  # a summary counts them
NAMED = re.compile(r'\bdata-csv="([\w-]+)"')
SAID = re.compile(r"<(figcaption|summary)\b[^>]*>(.*?)</\1>", re.DOTALL)
FOLDED = re.compile(r"<summary>(.*?)</summary>", re.DOTALL)
# where the name of what a table holds ends, and how it was measured begins
ENDS = re.compile(r": |; |\. | \(|, (?:with|over|beside|by|of) ")
SHORTEST = 24  # characters of such a name


@dataclass(frozen=True)
class DataFile:
    """A table of a chapter.

    Attributes:
        address: where it lies, as seen from the chapter's page.
        title: what the table is called: its caption, or of a folded one the name in it.
        text: its CSV.
    """

    address: str
    title: str
    text: str

    @property
    def rows(self) -> int:
        """How many rows there are below the header."""
        return max(0, sum(1 for row in csv.reader(io.StringIO(self.text)) if row) - 1)


def caption(table: str) -> str:
    """The caption of a table's HTML without its tags."""
    said = SAID.search(ROWS.sub("", table)).group(2)
    return " ".join(escaping.unescape(re.sub(r"<[^>]+>", " ", said)).split())


def named(said: str) -> tuple[str, str]:
    """A caption as the name of what a table holds, its first clause, and what else it says, as
    sentences; of a caption of one clause nothing else."""
    for end in ENDS.finditer(said):
        name, rest = said[:end.start()], said[end.start():]
        if len(name) < SHORTEST or name.count("(") != name.count(")") or name.endswith(" or"):
            continue
        rest = rest.lstrip(",:;. ")
        return name, rest[0].upper() + rest[1:]
    return said.rstrip("."), ""


def short_summary(table: str) -> str:
    """A folded table of which the summary is a name and the rest of its caption stands in it: the
    whole captions of a page's tables, one below the other, hid what else the page says."""
    if (found := FOLDED.search(table)) is None:
        return table
    name, rest = named(caption(found.group(0)))
    rows = ROWS.search(found.group(1))
    said = f'<p class="np-said">{escaping.escape(rest)}</p>' if rest else ""
    return (f"{table[:found.start()]}<summary>{escaping.escape(name)} "
            f"{rows.group(0) if rows else ''}</summary>{said}{table[found.end():]}")


def slug(table: str, taken: set[str]) -> str:
    """The name of a table's file: the one that it brings, a number behind it where another table
    of the chapter has it."""
    name = base = NAMED.search(table).group(1)
    number = 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    taken.add(name)
    return name


def take_tables(page: NotebookNode, name: str) -> list[DataFile]:
    """The tables of a chapter's outputs that bring their CSV; each gets a link to its file."""
    files, taken = [], set()
    for cell in page.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/csv" not in data:
                continue
            table = short_summary(data["text/html"])
            title = caption(table)
            file = DataFile(f"{name}/{slug(table, taken)}.csv", title, data.pop("text/csv"))
            link = (f'<a class="np-download" href="{file.address}" download '
                    f'aria-label="CSV: {escaping.escape(title)}">CSV</a>')
            data["text/html"] = OPENING.sub(lambda found, link=link: found.group(0) + link, table,
                                            count=1)
            files.append(file)
    return files


def write_files(files: list[DataFile], folder: Path) -> None:
    """Write the tables of a chapter below the folder of its page."""
    for file in files:
        path = folder / file.address
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text, encoding="utf-8", newline="")


def sha256(files: list[DataFile]) -> str:
    """The hash of all tables of a chapter, in the order of the page."""
    whole = hashlib.sha256()
    for file in files:
        whole.update(file.text.encode())
    return whole.hexdigest()
