"""What is typed after the command, as values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from neuronpath_core.support.typed import shown
from neuronpath_core.support.yaml_file import parse


def parameter_values(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Parameters by their names, each with its value as YAML reads it.

    Raises:
        ValueError: a name that is there twice, or a value that is no YAML.
    """
    values: dict[str, Any] = {}
    for name, text in pairs:
        if name in values:
            raise ValueError(f"parameter {name} is given twice; accepted: once")
        try:
            values[name] = parse(text)
        except ValueError as error:
            raise ValueError(f"parameter {name}, {shown(text)}: {error}; a parameter's value must "
                             f"be YAML (a number, a word, a list)") from error
    return values


def steps_value(text: str | None) -> int | list[int] | str | None:
    """``"20"`` and ``"8,4,2"`` as numbers; anything else as it is."""
    parts = [part.strip() for part in (text or "").split(",")]
    if not all(part.isdecimal() for part in parts):
        return text
    return int(text) if len(parts) == 1 else [int(part) for part in parts]
