"""What Chapter 31 says of the paper's claims on photographs: the claims of the chapters that ask
them of digits and shapes, by the same rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from neuronpath_core.chapters.photographs.beside import OWN_MASK
from neuronpath_core.chapters.photographs.measured import BEYOND_LOOK, DATA, KIND, Knowledge
from neuronpath_core.chapters.verdicts import (
    class_similarity,
    knowledge_neurons,
    probability_deviation,
    pruning,
    similarity_in_numbers,
    table1,
)
from neuronpath_core.chapters.verdicts.controls import LABELS, OVER_BOTH, SHARED
from neuronpath_core.chapters.verdicts.score_or_search import LEADS
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons
from neuronpath_core.stats.labels import method_label

# keys of chapters 2, 5 and 14 by which other chapters call other claims
RENAMED = {"removal": "removal accuracy", "enhancement": "enhancement accuracy",
           "class": "class halves", "label": "wrong label", "random": "random paths"}
KINDS = {KIND: "Animals have paths like other animals', vehicles like other vehicles'",
         BEYOND_LOOK: "Animals have paths like other animals', vehicles like other vehicles', the "
                      "similarity of their mean images taken out"}
MANTEL = rules.Rule("The rank correlation over all pairs of classes; agrees if a permutation test "
                    "of the classes, corrected by Holm's procedure over the models, is below 0.05.")


def made_from(edits: tuple, classes: tuple, kept: tuple, known: Knowledge | None) -> list[Claim]:
    """All claims of the chapter: ``edits`` are what :func:`of_interventions` takes, ``classes``
    :func:`of_classes`, ``kept`` :func:`of_pruning`, ``known`` :func:`of_knowledge`."""
    return [*of_interventions(*edits), *of_classes(*classes), *of_pruning(*kept),
            *of_knowledge(known)]


def of_interventions(edited: pd.DataFrame, differences: pd.DataFrame, lost: pd.DataFrame,
                     ahead: pd.DataFrame, gain: pd.DataFrame, models: Sequence[str],
                     against: Sequence[str], seed: int = 0) -> list[Claim]:
    """Claims on Table 1 and Figure 3, and on what stands beside them.

    Args:
        edited: of :func:`~neuronpath_core.chapters.effects.interventions`.
        differences: of :func:`~neuronpath_core.chapters.table1.method_differences`.
        lost, ahead: of :func:`~neuronpath_core.chapters.photographs.measured.own_losses` and
            ``leads_over``.
        gain: of :func:`~neuronpath_core.chapters.controls.leads.label_gain`.
        models, against: whose the claims are, and the paper's baselines.
    """
    images = edited["image"].nunique()
    gain = gain[gain["label"].isin(list(LABELS))]
    return [
        *_renamed(table1.made_from(differences, against, DATA, images)),
        *probability_deviation.made_from(edited, models, against, DATA, seed),
        *(Claim(f"own {measure}", finding, sentence,
                comparisons(lost[lost["measure"] == measure], images, {"data": DATA}), unit,
                "the whole model", rules.above(f"The {statistic} loss over images"), "lost",
                statistic=statistic)
          for measure, finding, unit, statistic, sentence in (
            ("removal", "2", "probability", "median",
             "Removing an image's own path lowers the probability of its class"),
            ("removal accuracy", "1", "points", "mean",
             "Removing an image's own path costs accuracy"))),
        *_leads(ahead, images),
        Claim("label", "1", "Enhancing the path raises accuracy",
              comparisons(gain.assign(condition=gain["label"].map(LABELS)), images,
                          condition="condition"), "points",
              "a path searched with the predicted label, the only one known at test time",
              rules.above("Accuracy gained over all images", interval=OVER_BOTH), "gain"),
    ]


def _leads(ahead: pd.DataFrame, images: int) -> list[Claim]:
    """The path against single neurons and against random ones, by mean and by median."""
    claims = []
    for (method, statistic), rows in ahead.groupby(["method", "statistic"], sort=False):
        words = ", at the median image" if statistic == "median" else ""
        key = f"single{' median' if words else ''}: {method}"
        sentence = f"The path does more than {method_label(method)} of single neurons{words}"
        if method == "random":
            key = f"random{' median' if words else ''}"
            sentence = f"Removing the path costs more than removing random neurons{words}"
        claims.append(Claim(
            key, "1", sentence, comparisons(rows, images, {"data": DATA,
                                                           "against": method_label(method)}),
            "probability", "random neurons" if method == "random"
            else "the best neuron of every block by itself",
            LEADS[statistic], "ahead", by="book", statistic=statistic))
    return claims


def of_classes(overlap: pd.DataFrame, own: pd.DataFrame, look: pd.DataFrame, parts: pd.DataFrame,
               relabelled: int, table: pd.DataFrame, leads: pd.DataFrame,
               images: int) -> list[Claim]:
    """Claims on Figure 5.

    Args:
        overlap: of :func:`~neuronpath_core.chapters.photographs.measured.overlaps`.
        own, look, parts, relabelled: of :mod:`~neuronpath_core.chapters.class_similarity`, as
            :func:`~neuronpath_core.chapters.verdicts.class_similarity.made_from` takes them.
        table, leads: of :func:`~neuronpath_core.chapters.photographs.measured.kind_similarity`.
        images: that paths were searched for.
    """
    path, random = method_label("neuron_path"), method_label("random")
    similar = similarity_in_numbers.made_from(
        table[table["method"] == path], table[table["method"] == random],
        leads[leads["against"] != random], DATA, images)
    return [
        Claim("class", "3", "Images of one class share more neurons than permuted labels would",
              comparisons(overlap, images, {"data": DATA}, value="difference",
                          chance="permuted_high"), "neurons", "class labels permuted",
              SHARED, "overlap"),
        *_renamed(class_similarity.made_from(own, look, DATA, images, parts, relabelled)),
        *(replace(claim, sentence=KINDS[claim.key], rule=MANTEL, table="kinds")
          if claim.key in KINDS else replace(claim, table="kinds") for claim in _renamed(similar)),
    ]


def of_pruning(accuracy: pd.DataFrame, whole: Mapping[str, Mapping[str, float]], images: int,
               top: int = 5) -> list[Claim]:
    """Claims on Figure 6; the tables are those of
    :func:`~neuronpath_core.chapters.verdicts.pruning.made_from`, over so many test ``images``.

    ``"sparse"`` is called ``"few"``, as Chapter 15 calls the same question.
    """
    claims = []
    for claim in pruning.made_from(accuracy, whole, DATA, images, top):
        rows = tuple(replace(row, condition=OWN_MASK) for row in claim.comparisons)
        claims.append(replace(claim, key="few" if claim.key == "sparse" else claim.key,
                              comparisons=rows))
    return claims


def of_knowledge(found: Knowledge | None) -> list[Claim]:
    """The claim on Figure 2; none where no masked autoencoder was measured."""
    return [] if found is None else [
        replace(claim, table="known")
        for claim in knowledge_neurons.made_from(found.correlations, found.models, DATA)]


def _renamed(claims: Sequence[Claim]) -> list[Claim]:
    return [replace(claim, key=RENAMED.get(claim.key, claim.key)) for claim in claims]

