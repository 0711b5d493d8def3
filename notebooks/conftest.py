"""Lets ``pytest --nbval`` compare these notebooks number by number: see
``tests/nbval_tolerance.py``."""

from neuronpath_core.runs.notebooks import after, seconds
from tests.nbval_tolerance import pytest_itemcollected

__all__ = ["pytest_collection_modifyitems", "pytest_itemcollected"]


def pytest_collection_modifyitems(items: list) -> None:
    """The longest first, so that with several at a time none is left for the end; those that use
    another one's path tables last: they would only wait."""
    place = {path: (after(path) is not None, -seconds(path), path.name)
             for path in {item.path for item in items}}
    items.sort(key=lambda item: place[item.path])  # stable: cells stay in order
