"""Tasks of asyncio."""

from __future__ import annotations

import asyncio


def current_task() -> asyncio.Task | None:
    """The task that runs this, if one does."""
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs
        return None
