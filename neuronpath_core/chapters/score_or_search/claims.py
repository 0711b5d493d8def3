"""What Chapter 10 concludes: how often the score decides, and what each ingredient adds."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.chapters.claims import spans
from neuronpath_core.chapters.score_or_search.shares import CONTRASTS

FACTORS = ("score", "search", "interplay")


def score_wins(factors: pd.DataFrame) -> str:
    """In how many models the score has the largest share: ``3 of 8``.

    ``factors`` is a table of
    :func:`~neuronpath_core.chapters.score_or_search.shares.factor_shares`.
    """
    largest = factors.pivot(index=["data", "model"], columns="factor",
                            values="value").idxmax(axis=1)
    return f"{(largest == 'score').sum()} of {len(largest)}"


def _factor_row(question: str, factors: pd.DataFrame) -> tuple[str, str, str]:
    mean = factors.groupby("factor")["value"].mean()
    return (question, ", ".join(f"{name} {mean[name]:.0%}" for name in FACTORS)
            + " of the variance", f"the score is the largest in {score_wins(factors)} models")


def score_claims(factors: pd.DataFrame, others: pd.DataFrame, weakest: str,
                 differences: pd.DataFrame, identity: pd.DataFrame) -> list[tuple[str, str, str]]:
    """The questions of the chapter, what was measured, and the verdict.

    Args:
        factors, others: of :func:`~neuronpath_core.chapters.score_or_search.shares.factor_shares`,
            with all scores and without the one that is called ``weakest``.
        differences: of :func:`~neuronpath_core.chapters.score_or_search.shares.contrasts`.
        identity: of :func:`~neuronpath_core.chapters.score_or_search.shares.identity_summary`, and
            whether the identity ``holds``.
    """
    found = spans(differences, "contrast")
    holds = identity["holds"]
    return [
        _factor_row("Is it the score or the search?", factors),
        _factor_row(f"The same without {weakest}", others),
        *((f"Adds to the loss under removal: {name}",
           f"{found[name][0]} of the clean probability", found[name][1]) for name in CONTRASTS),
        ("Complete attribution is the effect of removal under clamping",
         f"to 1e-6 in {holds.sum()} of {len(holds)} models",
         "agrees" if holds.all() else "contradicts"),
    ]
