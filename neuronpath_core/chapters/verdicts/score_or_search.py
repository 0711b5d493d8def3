"""What Chapter 10 says of the score and the search, each with all others of its kind."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.chapters.claims import turned
from neuronpath_core.chapters.score_or_search.cells import SCORES
from neuronpath_core.chapters.score_or_search.shares import STRONGER
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict

LEADS = {statistic: rules.above(f"The {statistic} difference of the loss under removal on the same "
                                f"images") for statistic in ("mean", "median")}
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


def made_from(differences: pd.DataFrame, stronger: pd.DataFrame, medians: pd.DataFrame,
              searched: pd.DataFrame, identity: pd.DataFrame, images: int) -> list[Claim]:
    """``differences``, ``searched`` and ``identity`` are the tables of
    :func:`~neuronpath_core.chapters.score_or_search.words.score_claims`; ``stronger`` and
    ``medians`` are those of :func:`~neuronpath_core.chapters.score_or_search.shares.contrasts` of
    the pairs ``STRONGER``, by means and by medians; ``images`` of a model."""
    singles = {statistic: with_verdict(turned(table))
               for statistic, table in (("mean", stronger), ("median", medians))}
    score = with_verdict(searched[searched["factor"] == "score"], threshold=0.5)
    cross = identity.assign(value=identity["cross"])
    return [
        *(Claim(f"{key}: {score}", "1", f"The path does more than {SCORES[score]} of single "
                f"neurons{words}", comparisons(singles[statistic][
                    singles[statistic]["contrast"] == contrast].assign(
                        against=SCORES[score]), images, against="against"),
                "probability", "the best neuron of every block by itself",
                LEADS[statistic], "stronger", by="book", statistic=statistic)
          for key, statistic, words in (("single", "mean", ""),
                                        ("single median", "median", ", at the median image"))
          for contrast, ((score, _), _) in STRONGER.items()),
        *(Claim(key, "1", sentence,
                comparisons(differences[differences["contrast"] == contrast], images),
                "probability", control, LEADS["mean"], "differences", by="book",
                statistic="mean")
          for key, (contrast, sentence, control) in CONTRASTS.items()),
        Claim("score or search", "1", "The score decides more than the search",
              comparisons(score, images, condition="condition"), "variance",
              "the search's share, for the scores whose paths the search can change",
              rules.above("The score's share of the variance between the cells of the three scores "
                          "of whole paths", 0.5,
                          more="For the three scores of single neurons all informed searches agree "
                               "by definition; they are left out."), "searched", by="book"),
        Claim("cross share", "1", "Most of the joint attribution score is cross terms, products "
              "of one neuron's activation with another's gradient",
              comparisons(with_verdict(cross, threshold=0.5), images), "score share",
              "complete attribution, which has none",
              rules.above("Their share of the mean score", 0.5), "identity", by="book"),
    ]
