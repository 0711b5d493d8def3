"""Code that torch.compile compiled, run as it was written."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_EAGER = threading.Lock()
_FORCED: list[Any] = []  # one for each context that is entered; the first holds the stance


@contextmanager
def uncompiled() -> Iterator[None]:
    """Inside, compiled code runs uncompiled, in every thread; contexts of several threads may end
    in any order."""
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with _EAGER:
        _FORCED.append(None if _FORCED else torch.compiler.set_stance("force_eager"))
    try:
        yield
    finally:
        with _EAGER:
            if (stance := _FORCED.pop()) is not None:
                stance.__exit__(None, None, None)
