"""Lets ``pytest --nbval`` compare these notebooks number by number: see ``tests/nbval_tolerance.py``."""

from neuronpath_core.notebooks import after
from tests.nbval_tolerance import pytest_itemcollected

__all__ = ["pytest_collection_modifyitems", "pytest_itemcollected"]


def pytest_collection_modifyitems(items: list) -> None:
    """Notebooks that use another one's path tables last: with several at a time they would only wait."""
    later = {path: after(path) is not None for path in {item.path for item in items}}
    items.sort(key=lambda item: later[item.path])  # stable
