"""Lets ``pytest --nbval`` compare these notebooks number by number: see ``tests/nbval_tolerance.py``."""

from tests.nbval_tolerance import pytest_itemcollected

__all__ = ["pytest_itemcollected"]
