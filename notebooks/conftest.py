"""Lets ``pytest --nbval`` compare these notebooks number by number: see
``tests/nbval_tolerance.py``.

Chapters beyond the paper's own whose stored outputs are those of this checkout, by their hash, are
left out: executing them could only find the same. ``--every-notebook`` executes them all the same.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from neuronpath_core.runs.chapter import Chapter
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


def pytest_report_header(config: pytest.Config) -> str:
    names = ", ".join(_left_out(config.getoption("--every-notebook"))) or "none"
    return f"stored outputs that are those of this checkout, not executed: {names}"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what need not be executed; ``None`` lets others decide."""
    return collection_path.suffix == ".ipynb" and collection_path.stem in _left_out(
        config.getoption("--every-notebook")) or None


def pytest_collection_modifyitems(items: list) -> None:
    """The longest first, so that with several at a time none is left for the end; those that use
    another one's path tables last: they would only wait."""
    place = {}
    for path in {item.path for item in items}:
        notes = Chapter.at(path).notes
        place[path] = ("after" in notes, -notes.get("seconds", 0), path.name)
    items.sort(key=lambda item: place[item.path])  # stable: cells stay in order
