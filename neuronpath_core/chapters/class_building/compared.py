"""The tables of a model's tokens as effects with intervals: each over images, paired with its
chance level on the same tokens."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from neuronpath_core.chapters.class_building.places import OTHERS, OWN
from neuronpath_core.chapters.class_building.tokens import CORRECTED
from neuronpath_core.chapters.class_building.values import peak_block
from neuronpath_core.readings.memories import HALVES
from neuronpath_core.stats.intervals import interval_row

OTHER_CLASSES, RANDOM_MEMORIES = "other classes", "memories drawn at random"
# name of a question about the changes: in words
CHANGES = {"attention": "attention, all blocks", "ffn": "FFN, all blocks",
           "ffn early": "FFN, first third", "ffn late": "FFN, last third",
           "later": "FFN, last minus first third", "lowers": "FFN, first two thirds"}


def thirds(blocks: int) -> tuple[range, range, range]:
    """The blocks, from 1, of the first, middle and last third of a model; of fewer than three
    blocks each third is all of them."""
    third = blocks // 3
    if not third:
        return (range(1, blocks + 1),) * 3
    return (range(1, third + 1), range(third + 1, blocks - third + 1),
            range(blocks - third + 1, blocks + 1))


def by_image(table: pd.DataFrame, measure: pd.Series, blocks: Collection[int] | None = None,
             half: str | None = None) -> pd.Series:
    """Mean of a measure over some blocks (all by default) of a half, for every image.

    Args:
        table: one model's rows, of one kind of token.
        measure: a value a row.
    """
    chosen = np.ones(len(table), bool) if blocks is None else table["block"].isin(blocks).to_numpy()
    if half is not None:
        chosen = chosen & (table["half"] == half).to_numpy()
    return measure[chosen].groupby(table["image"][chosen]).mean()


def change_rows(halves: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How often each half raises the image's class, by the ledger, over images.

    Args:
        halves: of :func:`~neuronpath_core.chapters.class_building.tokens.token_tables`, one model.

    Returns:
        ``tokens, measure`` (of ``CHANGES``), ``rate`` (share of tokens whose label rises),
        ``level`` (another class, mean), ``images, value, low, high``: their difference; of
        ``"later"`` the difference in the last third minus that in the first; of ``"lowers"`` one
        half minus the rate, which is above zero if the FFN lowers the class of most tokens in the
        first two thirds of the blocks.
    """
    rows, first, middle, last = [], *thirds(int(halves["block"].max()))
    early = [*first, *middle]
    for tokens, own in halves.groupby("tokens", sort=False):
        raises, level = own["change ledger"], own["change ledger, other"]

        def row(name: str, values: pd.Series, blocks: Collection[int] | None, half: str = "ffn",
                own: pd.DataFrame = own, tokens: str = tokens, raises: pd.Series = raises,
                level: pd.Series = level) -> dict:
            return {"tokens": tokens, "measure": name,
                    "rate": by_image(own, raises, blocks, half).mean(),
                    "level": by_image(own, level, blocks, half).mean(), "images": len(values),
                    **interval_row(values.to_numpy(), seed=seed)}

        lead = raises - level
        parts = {name: by_image(own, lead, blocks, "ffn")
                 for name, blocks in (("ffn", None), ("ffn early", first), ("ffn late", last))}
        rows += [row("attention", by_image(own, lead, None, "attention"), None, "attention"),
                 row("ffn", parts["ffn"], None), row("ffn early", parts["ffn early"], first),
                 row("ffn late", parts["ffn late"], last),
                 row("later", parts["ffn late"] - parts["ffn early"], None),
                 row("lowers", 0.5 - by_image(own, raises, early, "ffn"), early)]
    return pd.DataFrame(rows)


def place_rows(places: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Whether the attention raises the class more at the patches that show the object, in all but
    the last quarter of the blocks, where the paper finds it to do so.

    Args:
        places: of :func:`~neuronpath_core.chapters.class_building.places.place_table`, one model.

    Returns:
        ``against`` (``"the other patches"``, ``"mask of another image"``), ``images, value, low,
        high``: the share of tokens whose class rises, inside the mask minus outside; then that
        minus the same of another image's mask.
    """
    blocks = int(places["block"].max())
    early = range(1, blocks - blocks // 4 + 1)
    own, other = (by_image(part, part["change ledger"], early, "attention") for part in (
        places[places["mask"] == name] for name in (OWN, OTHERS)))
    return pd.DataFrame([{"against": against, "images": len(values),
                          **interval_row(values.to_numpy(), seed=seed)}
                         for against, values in (("the other patches", own),
                                                 (OTHERS, own - other))])


def stream_rows(streams: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Whose class the stream has: ``tokens``, ``early`` and ``late`` (share of tokens whose class
    none of the parts has, in the first and the last third of the blocks), ``images, value, low,
    high``: the first minus the second."""
    rows, first, _, last = [], *thirds(int(streams["block"].max()))
    for tokens, own in streams.groupby("tokens", sort=False):
        early, late = (by_image(own, own["made of 0"], blocks) for blocks in (first, last))
        rows.append({"tokens": tokens, "early": early.mean(), "late": late.mean(),
                     "images": len(early), **interval_row((early - late).to_numpy(), seed=seed)})
    return pd.DataFrame(rows)


def memory_rows(halves: pd.DataFrame, measure: str, seed: int = 0) -> pd.DataFrame:
    """A measure of the memories that tokens use most against its chance levels, at the block that
    the paper names for each half.

    Args:
        halves: of :func:`~neuronpath_core.chapters.class_building.tokens.token_tables`, one model.
        measure: ``"agreement"`` (with the image's class, against other classes and against memories
            drawn at random) or ``"match"`` (with what the half writes, against the second).

    Returns:
        ``half, block, tokens, against, rate, level, images, value, low, high``.
    """
    name, rows, blocks = f"{measure} {CORRECTED}", [], int(halves["block"].max())
    levels = {OTHER_CLASSES: f"{name}, other", RANDOM_MEMORIES: f"{name}, permuted"}
    for half in HALVES:
        block = peak_block(half, blocks)
        at = halves[(halves["half"] == half) & (halves["block"] == block)]
        for tokens, own in at.groupby("tokens", sort=False):
            for against, column in levels.items():
                if column in own:
                    rows.append({"half": half, "block": block, "tokens": tokens, "against": against,
                                 "rate": own[name].mean(), "level": own[column].mean(),
                                 "images": len(own),
                                 **interval_row((own[name] - own[column]).to_numpy(), seed=seed)})
    return pd.DataFrame(rows)
