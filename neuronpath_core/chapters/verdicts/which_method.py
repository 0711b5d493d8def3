"""What Chapter 21 says of the methods."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.chapters.which_method.method_names import DEFAULT, PUBLISHED
from neuronpath_core.chapters.which_method.pair_changes import SMALL
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons

LEAD = rules.above("The mean difference of the lost probability on the same images")


def made_from(ahead: pd.DataFrame, ahead_default: pd.DataFrame, three: pd.DataFrame,
              ten: pd.DataFrame, one: pd.DataFrame, chance: pd.DataFrame, ranks: pd.DataFrame,
              asked: pd.DataFrame, asked_three: pd.DataFrame, asked_ten: pd.DataFrame,
              changes: pd.DataFrame, small: pd.DataFrame, permuted: pd.DataFrame) -> list[Claim]:
    """``ahead``, ``ahead_default``, ``one`` and ``chance`` are tables of
    :func:`~neuronpath_core.chapters.which_method.shares.leads`: three passes ahead of the published
    search, of the same with default settings, one pass ahead of the published search, and three
    ahead of random neurons; ``three`` and ``ten`` of
    :func:`~neuronpath_core.chapters.which_method.shares.reaches`; ``ranks`` of
    :func:`~neuronpath_core.chapters.which_method.agreement.agreement_leads`; ``asked`` of
    :func:`~neuronpath_core.chapters.which_method.questions.question_leads`, the matched question
    against that of removal; ``asked_three`` and ``asked_ten`` of ``question_goal``; ``changes`` of
    :func:`~neuronpath_core.chapters.which_method.pair_changes.change_rows`; ``small`` the row of
    the refined search of :func:`~neuronpath_core.chapters.which_method.toys.toy_shares`;
    ``permuted`` of :func:`~neuronpath_core.chapters.which_method.tried.permuted_rows`."""
    def of(measure: str) -> pd.DataFrame:
        return changes[changes["measure"] == measure]

    def zero(table: pd.DataFrame, wanted: bool = True) -> pd.DataFrame:
        return table[(table["replacement"] == "zero") == wanted] if len(table) else table

    fields = {"condition": "condition", "against": "against"}
    return [
        *(Claim(key, finding, sentence, comparisons(table, "images", **fields), "lost probability",
                control, LEAD, variable, by="book", statistic="mean")
          for key, finding, sentence, table, control, variable in (
            ("published", "1", "The conditional gradient with three gradients finds paths whose "
             "removal has a larger effect than that of the published search's", zero(ahead),
             f"the {PUBLISHED}, on the same images", "ahead"),
            ("published, other values", "beyond", "The conditional gradient with three gradients "
             "finds paths whose removal has a larger effect than that of the published search's, "
             "where both are given other values than zero", zero(ahead, False),
             f"the {PUBLISHED}, with the same values as baseline", "ahead"),
            ("default", "beyond", "The conditional gradient with three gradients finds paths whose "
             "removal has a larger effect than that of a search by the joint attribution score, "
             "whatever replaces the neurons", ahead_default,
             f"{DEFAULT}, with the same values as baseline", "ahead_default"),
            ("one backward", "1", "One gradient, gradient × activation, finds paths whose removal "
             "has a larger effect than that of the published search's", zero(one),
             f"the {PUBLISHED}, on the same images", "one"),
            ("one backward, other values", "beyond", "One gradient, gradient × activation, finds "
             "paths whose removal has a larger effect than that of the published search's, where "
             "both are given other values than zero", zero(one, False),
             f"the {PUBLISHED}, with the same values as baseline", "one"),
            ("chance", "beyond", "The conditional gradient with three gradients finds paths whose "
             "removal has a larger effect than that of random neurons about as active", chance,
             "random neurons about as active", "chance"))),
        *(Claim(key, "beyond", f"The conditional gradient with {words} gradients reaches "
                f"{least:.0%} of the effect of the best path known",
                comparisons(table, "images", condition="condition"), "effect share",
                "the best path of any method, refined by exact effects", _reaches(least),
                variable, by="book", statistic="mean")
          for key, words, least, table, variable in (
            ("three passes", "three", 0.95, three, "three"),
            ("ten passes", "ten", 0.99, ten, "ten"))),
        Claim("refined", "beyond", "The refined search reaches 99 % of the effect of the best of "
              "all paths", comparisons(small, "images", {"data": "toys", "model": "toys"}),
              "effect share", "every path of networks of 4,096",
              rules.above("The mean loss as a share of the best path's", 0.99, called="99 %"),
              "small", by="book", statistic="mean"),
        Claim("permuted", "beyond", "Scores do more than the same scores of permuted weights",
              comparisons(permuted, "images", condition="condition"), "lost probability",
              "the same score of a copy of the model whose blocks' weights are permuted", LEAD,
              "permuted", by="book", statistic="mean"),
        Claim("RelP", "beyond", "RelP ranks single neurons better than gradient × activation does",
              comparisons(ranks, "images", condition="condition"), "correlation",
              "gradient × activation, on the same neurons",
              rules.above("The difference of Spearman's correlations with the exact effect of "
                          "removing each neuron alone", interval=rules.OVER_IMAGES),
              "ranks", by="book", statistic="mean"),
        Claim("question", "beyond", "A path found for the question that is asked does more than "
              "the path whose removal has the largest effect",
              comparisons(asked, "images", **fields), "lost probability",
              "the path found for removal", rules.above("The mean difference of the effect on the "
                                                       "same images"), "asked", by="book",
              statistic="mean"),
        *(Claim(key, "beyond", f"Asked for doubling or keeping, the conditional gradient with "
                f"{words} gradients reaches {least:.0%} of the effect of the best path known",
                comparisons(table, "images", condition="condition"), "effect share",
                "the best path for that question of any method, refined by exact effects",
                _reaches(least), variable, by="book", statistic="mean")
          for key, words, least, table, variable in (
            ("question: three", "three", 0.95, asked_three, "asked_three"),
            ("question: ten", "ten", 0.99, asked_ten, "asked_ten"))),
        Claim("outline", "beyond", "Pairs that differ in outline find other neurons than pairs "
              "that differ in fill",
              comparisons(of("difference"), "images", condition="condition"), "neurons",
              "pairs that differ in outline, drawn again",
              rules.above("The share of blocks with the same neuron, of two outlines less that of "
                          "an outline and a fill"), "changes", by="book", statistic="mean"),
        Claim("background", "beyond", "Pairs that differ in background find less than pairs that "
              "differ in outline",
              comparisons(of("less background"), "images", condition="condition"), "score",
              "the background, which the label does not depend on",
              rules.above("The difference of the paths' attributions"), "changes", by="book",
              statistic="mean"),
        Claim("background: next to nothing", "beyond", f"Pairs that differ in background find less "
              f"than {SMALL:.0%} of what pairs that differ in outline find",
              comparisons(of("background share"), "images", condition="condition"), "score share",
              "the background, which the label does not depend on",
              rules.below("The mean attribution as a share of that of outlines", SMALL,
                          called=f"{SMALL:.0%}"), "changes", by="book", statistic="mean"),
    ]


def _reaches(least: float) -> rules.Rule:
    return rules.above("The mean loss as a share of the refined search's", least,
                       called=f"{least:.0%}")
