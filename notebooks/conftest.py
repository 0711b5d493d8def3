"""Lets ``pytest --nbval`` compare these notebooks number by number: see
``tests/nbval_tolerance.py``.

Chapters beyond the paper's own whose stored outputs are those of this checkout, by their hash, are
left out: executing them could only find the same. ``--every-notebook`` executes them all the same.
A chapter about images that are not part of this project is left out where they are not at hand, and
the head of the report says where to get them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from neuronpath_core.runs.absent import all_absent, told
from neuronpath_core.runs.chapter import Chapter
from neuronpath_core.runs.choice import notebook_names
from neuronpath_core.runs.notebooks import stored_notebooks
from tests.nbval_tolerance import pytest_itemcollected

ROOT = Path(__file__).resolve().parents[1]

__all__ = ["pytest_addoption", "pytest_collection_modifyitems", "pytest_ignore_collect",
           "pytest_itemcollected", "pytest_report_header"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-notebook", action="store_true",
                     help="execute notebooks too whose stored outputs are those of this checkout")


@cache
def _left_out(every: bool) -> list[str]:
    return [] if every else stored_notebooks(ROOT)


@cache
def _absent() -> dict[str, str]:
    return all_absent(ROOT, notebook_names(ROOT))


def pytest_report_header(config: pytest.Config) -> list[str]:
    names = ", ".join(_left_out(config.getoption("--every-notebook"))) or "none"
    return [f"stored outputs that are those of this checkout, not executed: {names}",
            *(told(name, reason) for name, reason in _absent().items())]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what need not or cannot be executed; ``None`` lets others decide."""
    return collection_path.suffix == ".ipynb" and collection_path.stem in (
        *_left_out(config.getoption("--every-notebook")), *_absent()) or None


def pytest_collection_modifyitems(items: list) -> None:
    """The longest first, so that with several at a time none is left for the end; those that use
    another one's path tables last: they would only wait."""
    place = {}
    for path in {item.path for item in items}:
        notes = Chapter.at(path).notes
        place[path] = ("after" in notes, -notes.get("seconds", 0), path.name)
    items.sort(key=lambda item: place[item.path])  # stable: cells stay in order
