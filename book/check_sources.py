"""Hold ``book/sources.yml`` to a clone of the authors' code.

    python book/check_sources.py CLONE

``CLONE`` is a working tree of the repository at the commit that the list names.  Every place is
looked up: the lines must be there and must still be the ones that were read.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

SOURCES = Path(__file__).resolve().with_name("sources.yml")
SHOWN_AS_PAGES = (".md", ".ipynb")  # GitHub shows their lines only when it is asked for the text


def load(path: Path = SOURCES) -> dict:
    """The list, as it is written."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def places(sources: Mapping) -> Iterator[dict]:
    """Every place in the authors' code."""
    for part in ("defects", "readings"):
        for entry in sources[part].values():
            yield from entry["places"]


def link(sources: Mapping, place: Mapping) -> str:
    """The address of a place: file and lines at the commit."""
    code, (first, _, last) = sources["code"], place["lines"].partition("-")
    plain = "?plain=1" if place["file"].endswith(SHOWN_AS_PAGES) else ""
    return (f"{code['repository']}/blob/{code['commit']}/{place['file']}{plain}#L{first}"
            f"{f'-L{last}' if last else ''}")


def digest(text: str, lines: str) -> str:
    """Beginning of the SHA-256 of some lines, without the space around each."""
    first, _, last = lines.partition("-")
    chosen = text.split("\n")[int(first) - 1:int(last or first)]
    return hashlib.sha256("\n".join(line.strip() for line in chosen).encode()).hexdigest()[:16]


def problems(sources: Mapping, clone: Path) -> list[str]:
    """A line for each place that is not in the clone as it was read."""
    found = []
    for place in places(sources):
        file = clone / place["file"]
        if not file.is_file():
            found.append(f"{place['file']} is not there")
        elif digest(file.read_text(encoding="utf-8"), place["lines"]) != place["sha256"]:
            found.append(f"{place['file']}, lines {place['lines']}: not the lines that were read "
                         f"({place['shows']})")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clone", type=Path, help="working tree of the authors' repository")
    clone = parser.parse_args().clone
    if not clone.is_dir():
        sys.exit(f"check_sources: {clone} is no folder; accepted: a working tree of the authors' "
                 f"repository")
    sources = load()
    if found := problems(sources, clone):
        sys.exit("\n".join(found))
    print(f"all {sum(1 for _ in places(sources))} places are as they were read at "
          f"{sources['code']['commit'][:12]}")


if __name__ == "__main__":
    main()
