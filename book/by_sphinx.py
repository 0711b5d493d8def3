"""Sphinx over the book's sources, in this process, which has loaded PyTorch already."""

from __future__ import annotations

import contextlib
import gc
import io
from collections.abc import Iterator
from pathlib import Path

# objects that are made before the collector looks at them: nearly all that Sphinx makes, and all
# tags of a page, live long, so that looking at them more often finds nothing
OBJECTS = 100_000


@contextlib.contextmanager
def seldom_collected() -> Iterator[None]:
    """Let the collector look at what is there already no more, and at new objects less often."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def pages(source: Path) -> tuple[bool, str]:
    """Let Jupyter Book write the pages of the sources in a folder, every warning an error.

    Returns:
        Whether all went well, and what was said.
    """
    from jupyter_book.cli.main import main

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(["build", str(source), "--all", "-n", "-W", "--keep-going", "--quiet"],
                 standalone_mode=False)
        except (RuntimeError, SystemExit) as stopped:  # by which it says that a build failed
            return False, f"{said.getvalue()}{stopped}"
    return True, said.getvalue()
