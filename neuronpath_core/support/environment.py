"""Environment variables: those of every command, and how one is set for a while."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

DATA_VARIABLE = "NEURONPATH_DATA"
WEIGHTS_VARIABLE = "NEURONPATH_WEIGHTS"


@contextmanager
def environment(values: Mapping[str, object], restored: Iterable[str] = ()) -> Iterator[None]:
    """Environment variables for what is read and started inside; afterwards they are as before.

    Args:
        values: by name; those that are ``None`` stay as they are.
        restored: further ones, which others may set inside.
    """
    wanted = {name: str(value) for name, value in values.items() if value is not None}
    before = {name: os.environ.get(name) for name in (*wanted, *restored)}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
