"""What Chapter 26 answers of the middle of the image, by data set."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.chapters.relevance.words import of, points


def beside_middle(pairs: pd.DataFrame) -> dict[str, str]:
    """Of each data set, by how much removal of what a map ranks highest costs more than removal of
    the middle of the image first, at the median model: ``middle digits``; and in how many models it
    is shown to cost more, ``more digits``, and less, ``less digits``. ``behind least``: with the
    least relevant first, in how many models of all data the middle, kept to the end, is ahead.

    Args:
        pairs: ``measured.lead_rows`` of the order ``own`` against ``middle``, and of others.
    """
    least = of(pairs, "own", "negative", "middle")
    texts = {"behind least": f"{int((least['verdict'] == 'contradicts').sum())} of {len(least)}"}
    for name, rows in of(pairs, "own", "positive", "middle").groupby("data", sort=False):
        texts[f"middle {name}"] = points(rows)
        texts |= {f"{word} {name}": f"{int((rows['verdict'] == verdict).sum())} of {len(rows)}"
                  for word, verdict in (("more", "agrees"), ("less", "contradicts"))}
    return texts
