"""What Chapter 32 says of the types of a vision-language model's neurons."""

from __future__ import annotations

from functools import partial

import pandas as pd

from neuronpath_core.chapters.claims import OURS, THEIRS, told
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict

ABOVE = partial(rules.above, interval=f"{rules.BOOTSTRAP} over scenes", then=rules.OR_BELOW)
SURELY = "The share of live neurons with a probability above 0.8"
# key: who says it, the sentence, unit, control, rule and the notebook's table
WORDS = {
    "types exist": (
        THEIRS, "Neurons are visual, textual or multi-modal beyond what their sparsity makes",
        "neurons", "labels of tokens dealt within each sample",
        ABOVE("The share of live neurons with a probability above 0.8 that have less once labels "
              "are dealt, minus the share that one deal makes sure and another does not"), "surer"),
    "more than dealt": (
        OURS, "More neurons are surely of a type than with dealt labels", "neurons",
        "labels of tokens dealt within each sample",
        ABOVE(f"{SURELY}, minus the same with dealt labels, whichever neurons these are"),
        "beyond"),
    "types are learned": (
        OURS, "More neurons are surely of a type than in the network before training", "neurons",
        "the same network before training",
        ABOVE(f"{SURELY}, minus the same before training, on the same scenes"), "learned"),
    "of neurons": (
        OURS, "More neurons than random directions of the same layers are surely of a type",
        "neurons", "each layer turned by a random orthogonal matrix",
        ABOVE(f"{SURELY}, minus that of as many random directions"), "turned"),
    "text most often": (
        THEIRS, "Text neurons are the most frequent", "neurons", "the next most frequent type",
        ABOVE("The share of neurons that are most probably textual minus that of the next type"),
        "most"),
    "layers of types": (
        THEIRS, "Visual and text neurons lie early, multi-modal ones late", "correlation",
        "layers permuted",
        ABOVE("Spearman's correlation of layer and mean probability, turned so that positive is "
              "what the paper sees",
              then=" and it exceeds the 97.5 % quantile of permuted layers, contradicts if both "
                   "hold the other way round"), "depth"),
    "layers are learned": (
        OURS, "Types are ordered by depth more than before training", "correlation",
        "the same network before training",
        ABOVE("The correlation minus that before training, on the same scenes"), "deeper"),
    "one thing": (
        THEIRS, "Multi-modal neurons mean the same in images and in words", "neurons",
        "concepts in words dealt among the neurons of a layer",
        ABOVE("The share whose best concept in patches is their best in words, each from samples "
              "that the other did not see, minus the share when dealt"), "both"),
    "more than others": (
        OURS, "Multi-modal neurons mean the same in both more often than neurons of one modality, "
        "or than before training", "neurons",
        "visual and text neurons; multi-modal ones before training",
        ABOVE("The difference of the two shares, each beyond dealt concepts"), "leads"),
    "few things": (
        THEIRS, "A neuron answers to few things", "samples",
        "random directions; the network before training",
        ABOVE("The share of a neuron's top samples that its first concept, or word, wins, minus "
              "that of the control, mean over neurons"), "few"),
    "whose words": (
        OURS, "Neurons change their type when the model's own captions are read, more than when "
        "the given ones are said in other words", "neurons", "other words for the same scenes",
        ABOVE("The share of live neurons whose most probable type is another one with the model's "
              "own captions, minus that with reworded ones"), "whose"),
    "data suffice": (
        OURS, "Other scenes with their captions give a neuron the same type", "neurons",
        "types dealt among the neurons of a layer",
        ABOVE("The share of neurons whose most probable type is the same on the even and on the "
              "odd scenes, minus the share once the types of one half are dealt"), "halved"),
}


def made_from(surer: pd.DataFrame, beyond: pd.DataFrame, learned: pd.DataFrame,
              turned: pd.DataFrame, most: pd.DataFrame, depth: pd.DataFrame, deeper: pd.DataFrame,
              matches: pd.DataFrame, leads: pd.DataFrame, few: pd.DataFrame,
              whose: pd.DataFrame, halved: pd.DataFrame) -> list[Claim]:
    """The tables are those of the modules of :mod:`neuronpath_core.chapters.modality`, each with
    ``data``, ``model`` and ``scenes``: of ``kinds.surer_rows`` and ``beyond_dealt_rows``, of
    ``kinds.beyond_rows`` before training and of directions at random, of ``kinds.most_rows``, of
    ``layers.expected_rows`` and ``twin_rows``, of ``meaning.match_rows`` of multi-modal neurons and
    ``match_lead_rows``, of ``meaning.few_rows``, of ``kinds.changed_lead_rows``, and of
    ``halves.half_rows``."""
    return told(WORDS, {
        "types exist": _compared(surer, condition="condition", against="against"),
        "more than dealt": _compared(beyond, condition="condition", against="against"),
        "types are learned": _compared(learned, condition="condition", against="against"),
        "of neurons": _compared(turned, condition="condition", against="against"),
        "text most often": _compared(most, against="next"),
        "layers of types": _compared(depth, condition="condition", chance="chance",
                                     constant={"against": "permuted layers"}),
        "layers are learned": _compared(deeper, condition="condition"),
        "one thing": _compared(matches, condition="word", constant={"against": "dealt concepts"}),
        "more than others": _compared(leads, condition="condition", against="against"),
        "few things": _compared(few, condition="condition", against="against"),
        "whose words": _compared(whose, condition="condition", against="against"),
        "data suffice": _compared(halved, against="against"),
    }, finding="vision-language", of="scenes")


def _compared(table: pd.DataFrame, **columns) -> tuple:
    """The comparisons of a table, with verdicts by its intervals unless it has its own."""
    if len(table) and "verdict" not in table:
        table = with_verdict(table)
    return comparisons(table, "scenes", **columns)
