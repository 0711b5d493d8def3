"""Numbers in their range, or one line that says which is accepted."""

from __future__ import annotations

import numpy as np

from neuronpath_core.support.text import shown

WHOLE = (int, np.integer)


def check_whole(name: str, value: object, least: int, most: int | None = None,
                or_else: str = "", of: type | tuple[type, ...] = WHOLE) -> None:
    """Raise ``ValueError`` unless a value is a whole number in a range.

    Args:
        name: what it is called in the message.
        value: whatever was given; a truth value is no number.
        least, most: the range, both of them in it; without ``most`` it has no end.
        or_else: what else is accepted, as the message says it.
        of: its types.
    """
    whole = isinstance(value, of) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        wanted = f"of at least {least}" if most is None else f"in {least}..{most}"
        raise ValueError(f"{name} must be a whole number {wanted}{or_else}, got {shown(value)}")


def check_within(name: str, value: object, low: float, high: float) -> None:
    """Raise ``ValueError`` unless a value is a number from ``low`` to below ``high``."""
    if not is_number(value) or not low <= value < high:
        raise ValueError(f"{name} must be a number in [{low}, {high}), got {shown(value)}")


def check_open(name: str, value: object) -> None:
    """Raise ``ValueError`` unless a value is a number between 0 and 1, neither of the two."""
    if not is_number(value) or not 0 < value < 1:
        raise ValueError(f"{name} must be a number between 0 and 1, got {shown(value)}")


def is_number(value: object) -> bool:
    """Whether a value is a number, which a truth value is not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
