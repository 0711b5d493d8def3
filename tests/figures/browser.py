"""A headless browser for pages of our own, or a skip that says why there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests import browser


@contextmanager
def headless() -> Iterator:
    """The tests' Chromium, driven by playwright."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed, so that no "
                        "page was opened in a browser")
    if browser.executable() is None:
        pytest.skip(f"no browser ({', '.join(browser.NAMES)}), so that no page was opened in one")
    with browser.opened() as found:
        yield found
