"""What Chapter 10 says of the score and the search, each with all others of its kind."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.chapters.score_or_search.cells import SCORES
from neuronpath_core.chapters.score_or_search.shares import STRONGER
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict

RULE = ("The mean difference of the loss under removal on the same images; agrees if its 95 % "
        "bootstrap interval lies above zero.")
# key: (contrast of the chapter, sentence, control)
CONTRASTS = {
    "conditioning": ("conditioning on the path so far",
                     "Conditioning on the path so far makes a path do more",
                     "each block by itself, same score"),
    "cross terms": ("cross terms", "The score's cross terms make a path do more",
                    "complete attribution, same search"),
    "beam": ("a beam instead of one path", "A beam finds paths that do more",
             "one path at a time, same score"),
    "random paths": ("search instead of random paths",
                     "The search finds paths that do more than the best of random paths",
                     "the best of some random paths by the same score"),
    "effect": ("attribution instead of the effect itself",
               "The score finds paths that do more than a search by the effect itself",
               "ablation effect, same search"),
}


def made_from(differences: pd.DataFrame, stronger: pd.DataFrame, others: pd.DataFrame,
              identity: pd.DataFrame, images: int) -> list[Claim]:
    """``differences``, ``others`` (without the weakest score) and ``identity`` are the tables of
    :func:`~neuronpath_core.chapters.score_or_search.claims.score_claims`; ``stronger`` is that of
    :func:`~neuronpath_core.chapters.score_or_search.shares.contrasts` of the pairs ``STRONGER``;
    ``images`` of a model."""
    singles = with_verdict(stronger.assign(value=-stronger["value"], low=-stronger["high"],
                                           high=-stronger["low"]))
    score = with_verdict(others[others["factor"] == "score"], threshold=0.5)
    cross = identity.assign(value=identity["cross"])
    return [
        *(Claim(f"single: {score}", "1", f"The path does more than {SCORES[score]} of single "
                f"neurons", comparisons(singles[singles["contrast"] == contrast].assign(
                    against=SCORES[score]), images, against="against"),
                "probability", "the best neuron of every block by itself", RULE, "stronger",
                by="book", statistic="mean")
          for contrast, ((score, _), _) in STRONGER.items()),
        *(Claim(key, "1", sentence,
                comparisons(differences[differences["contrast"] == contrast], images),
                "probability", control, RULE, "differences", by="book", statistic="mean")
          for key, (contrast, sentence, control) in CONTRASTS.items()),
        Claim("score or search", "1", "The score decides more than the search",
              comparisons(score, images), "variance",
              "the search's share, the score whose paths do least left out",
              "The score's share of the variance between all cells; agrees if its 95 % bootstrap "
              "interval lies above one half.", "others", by="book"),
        Claim("cross share", "1", "Most of the joint attribution score is cross terms, products "
              "of one neuron's activation with another's gradient",
              comparisons(with_verdict(cross, threshold=0.5), images), "score share",
              "complete attribution, which has none",
              "Their share of the mean score; agrees if its 95 % bootstrap interval lies above "
              "one half.", "identity", by="book"),
    ]
