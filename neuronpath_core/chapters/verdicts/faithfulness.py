"""What Chapter 20 says of whether neurons suffice for a decision and whether it needs them."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.chapters.faithfulness.measured import CONTROLS, MATCHED, SCORES
from neuronpath_core.chapters.faithfulness.rates import BASE, REMOVED, RIVALS
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict

MAIN = "logit_difference"
WHERE = {"zero": "where zero replaces", "mean": "where the mean replaces",
         "resample": "where other images replace"}
HOLM = (" and a sign test, corrected by Holm's procedure over all models and replacements, is "
        "below 0.05")
UNIT = "carried"


def _half(what: str) -> rules.Rule:
    return rules.above(f"{what} as a share of what all neurons do to the logit difference", 0.5,
                       interval=rules.OVER_IMAGES)


def _lead(measure: str) -> rules.Rule:
    return rules.above(f"The difference as a share of what all neurons do to the {measure}",
                       interval=rules.OVER_IMAGES, then=HOLM)


def made_from(places: pd.DataFrame, path_leads: pd.DataFrame, leads: pd.DataFrame,
              rivals: pd.DataFrame, apart: pd.DataFrame, planted: pd.DataFrame) -> list[Claim]:
    """The tables are the chapter's: of
    :func:`~neuronpath_core.chapters.faithfulness.rates.shares` (of the paths), ``path_leads``,
    ``area_leads``, ``rival_leads``, ``apart``, and of
    :func:`~neuronpath_core.chapters.faithfulness.circuits.planted_rates`.  Of the tests in trained
    models nothing is claimed: nothing there is known to be a circuit."""
    places, path_leads, leads, rivals, apart = (
        table.assign(condition=table["replaced"].map(WHERE))
        for table in (places, path_leads, leads, rivals, apart))
    own = places[(places["ranking"] == "neuron_path") & (places["measure"] == MAIN)]
    kept, left = (own[own["side"] == side] for side in ("keep", "remove"))
    lost = left.assign(value=1 - left["value"], low=1 - left["high"], high=1 - left["low"])
    leads = leads.assign(control=leads["against"].map(CONTROLS))

    def lead(name: str, measure: str = MAIN) -> pd.DataFrame:
        return path_leads[(path_leads["lead"] == name) & (path_leads["measure"] == measure)]

    def area(name: str, against: list[str], score: str | None = None) -> pd.DataFrame:
        rows = leads[(leads["measure"] == MAIN) & (leads["area"] == name)
                     & leads["against"].isin(against)]
        return rows if score is None else rows[rows["ranking"] == score]

    def made(table: pd.DataFrame, **columns: str) -> tuple:
        return comparisons(table, "images", condition="condition", **columns)

    others = [control for control in CONTROLS if control != MATCHED]
    return [
        Claim("sufficient", "beyond", "The neuron path alone keeps more than half of what all "
              "neurons do", made(with_verdict(kept, threshold=0.5)), UNIT,
              "all other neurons replaced", _half("What the path alone brings back"),
              "places", by="book", statistic="mean"),
        Claim("necessary", "beyond", "Without the neuron path more than half of what all neurons "
              "do is lost", made(with_verdict(lost, threshold=0.5)), UNIT,
              "all other neurons kept", _half("What is lost without the path"),
              "places", by="book", statistic="mean"),
        *(Claim(key, "2" if name == "own, removed" else "beyond", sentence, made(lead(name)), UNIT,
                "a random path of neurons about as active",
                _lead("logit difference"), "ahead", by="book", statistic="mean")
          for key, name, sentence in (
            ("sufficient: random", "own, kept",
             "The neuron path alone keeps more than a random path as active"),
            ("necessary: random", "own, removed",
             "Without the neuron path more is lost than without a random path as active"))),
        *(Claim(f"ranking: {score}", "beyond",
                f"The best neurons by {words} keep more than matched random ones (CPR)",
                made(area("CPR", [MATCHED], score), against="control"), UNIT,
                "scores dealt anew among neurons of the block about as active",
                _lead("logit difference"), "leads", by="book", statistic="mean")
          for score, words in SCORES.items()),
        *(Claim(f"distance: {score}", "beyond",
                f"The best neurons by {words} are closer to the model than matched random ones "
                f"(CMD)", made(area("CMD", [MATCHED], score), against="control"), UNIT,
                "scores dealt anew among neurons of the block about as active",
                _lead("logit difference"), "leads", by="book", statistic="mean")
          for score, words in SCORES.items()),
        *(Claim(f"removal: {score}", "beyond",
                f"The best neurons by {words}, removed first, leave less than matched random ones",
                made(area(REMOVED, [MATCHED], score), against="control"), UNIT,
                "scores dealt anew among neurons of the block about as active",
                _lead("logit difference"), "leads", by="book", statistic="mean")
          for score, words in SCORES.items()),
        *(Claim(f"ranking: {score} or {BASE}{key}", "beyond",
                f"The best neurons by {SCORES[score]} keep more of the {words} than those by "
                f"{SCORES[BASE]} (CPR)",
                made(rivals[(rivals["ranking"] == score) & (rivals["area"] == "CPR")
                            & (rivals["measure"] == measure)]), UNIT,
                f"the ranking by {SCORES[BASE]}", _lead(words), "rivals", by="book",
                statistic="mean")
          for score in RIVALS
          for measure, words, key in ((MAIN, "logit difference", ""),
                                      ("probability", "probability", ", probability"))),
        Claim("ranking: controls", "beyond", "The best neurons by gradient × activation keep more "
              "than those of another class or of permuted weights (CPR)",
              made(area("CPR", others), against="control"), UNIT,
              "the ranking of an image of another class, and of a model with permuted weights",
              _lead("logit difference"), "leads", by="book", statistic="mean"),
        *(Claim(key, "beyond", sentence, made(lead(name, "probability")), UNIT, control,
                _lead("probability"), "ahead", by="book", statistic="mean")
          for key, name, sentence, control in (
            ("question: keep", "question, kept",
             "Kept alone, the best path to keep does more than the best path to remove",
             "the best path to remove, found by the same method"),
            ("question: remove", "question, removed",
             "Without the best path to remove more is lost than without the best path to keep",
             "the best path to keep, found by the same method"))),
        Claim("question: apart", "beyond", "More than half of the neurons of the best path to keep "
              "are others than those of the best path to remove",
              made(with_verdict(apart, threshold=0.5)), "found",
              "the same method asked the other question",
              rules.above("The mean share of blocks in which the two paths differ", 0.5,
                          interval=rules.OVER_IMAGES), "apart", by="book", statistic="mean"),
        *(Claim(f"tests: {path}", "beyond", sentence,
                comparisons(with_verdict(planted[planted["path"] == path], threshold=0.5),
                            "networks"), "networks", control,
                rules.above("The share of networks", 0.5, interval="its 95 % Wilson interval"),
                "planted", by="book", of="networks")
          for path, sentence, control in (
            ("planted", "The tests of a circuit let a planted path pass",
             "networks whose influential neurons are known"),
            ("random", "The tests of a circuit stop a random path of a network with a planted one",
             "random paths of the same networks"))),
    ]
