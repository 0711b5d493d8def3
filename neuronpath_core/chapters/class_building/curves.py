"""What the figure of one model shows, block by block: each line with an interval, or as a level of
chance."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.chapters.class_building.tokens import CLASS_TOKEN, CORRECTED, IMAGE_TOKENS
from neuronpath_core.stats.intervals import interval_row

RISES, USED, VALUES = "class rises", "memories agree", "value vectors"
NAMES = {"attention": "attention", "ffn": "FFN"}
PUBLISHED, OTHER = "FFN, as published", "another class"
TURNED = {"attention": "attention, rotated", "ffn": "FFN, rotated"}
# lines that are levels of chance, and the line that each is the level of; "" for several
COLOUR_OF = {OTHER: "", TURNED["attention"]: "attention", TURNED["ffn"]: "FFN"}
LABELS = {RISES: "share of tokens", USED: "share of tokens", VALUES: "cosine with a class"}


def read_tokens(table: pd.DataFrame) -> str:
    """The kind of token that the head of a model reads, of its table of tokens."""
    return CLASS_TOKEN if (table["tokens"] == CLASS_TOKEN).any() else IMAGE_TOKENS


def block_curves(halves: pd.DataFrame, values: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Of one model, at the tokens that its head reads: ``panel, line, block, value, low, high``.

    Args:
        halves: of :func:`~neuronpath_core.chapters.class_building.tokens.token_tables`.
        values: of :func:`~neuronpath_core.chapters.class_building.values.value_table`.

    Returns:
        in panel ``RISES`` the share of tokens whose class each half raises, by the ledger and of
        the FFN as published; in ``USED`` the share whose memories in use agree with it; in
        ``VALUES`` the class-value agreement; and the level of chance of each, without an interval.
    """
    own, rows = halves[halves["tokens"] == read_tokens(halves)], []

    def add(panel: str, line: str, table: pd.DataFrame, column: str, seed: int = seed) -> None:
        for block, at in table.groupby("block"):
            value = (dict.fromkeys(("value", "low", "high"), at[column].mean()) if line in COLOUR_OF
                     else interval_row(at[column].to_numpy(), seed=seed))
            rows.append({"panel": panel, "line": line, "block": block, **value})

    used = f"agreement {CORRECTED}"
    for half, name in NAMES.items():
        at = own[own["half"] == half]
        add(RISES, name, at, "change ledger")
        add(USED, name, at, used)
        add(VALUES, name, values[values["half"] == half], "corrected")
        add(VALUES, TURNED[half], values[values["half"] == half], "rotated")
    add(RISES, PUBLISHED, own[own["half"] == "ffn"], "change published")
    add(RISES, OTHER, own, "change ledger, other")
    add(USED, OTHER, own, f"{used}, other")
    return pd.DataFrame(rows)
