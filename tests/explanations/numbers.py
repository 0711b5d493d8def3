"""Shares as they stand in words, read back."""

from __future__ import annotations

NUMBER = r"(?:> )?[\d.]+(?:e-\d+)? %"


def says(text: str, share: float) -> bool:
    """Whether a percentage says this share, to the digits that it has."""
    if text.startswith(">"):
        return 0.9995 <= share < 1
    said = float(text.removesuffix(" %"))
    # one decimal, or two digits that count
    return abs(said - 100 * share) <= (0.05 if said >= 1 else 0.05 * said) + 1e-12
