"""What Chapter 32 says of the types of a vision-language model's neurons."""

from __future__ import annotations

from functools import partial

import pandas as pd

from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict

FINDING = "vision-language"
OVER_SCENES = f"{rules.BOOTSTRAP} over scenes"


def made_from(surer: pd.DataFrame, beyond: pd.DataFrame, learned: pd.DataFrame,
              turned: pd.DataFrame, most: pd.DataFrame, depth: pd.DataFrame, deeper: pd.DataFrame,
              matches: pd.DataFrame, leads: pd.DataFrame, few: pd.DataFrame,
              whose: pd.DataFrame) -> list[Claim]:
    """The tables are those of the modules of :mod:`neuronpath_core.chapters.modality`, each with
    ``data``, ``model`` and ``scenes``: of ``kinds.surer_rows`` and ``beyond_dealt_rows``, of
    ``kinds.beyond_rows`` before training and of directions at random, of ``kinds.most_rows``, of
    ``layers.expected_rows`` and ``twin_rows``, of ``meaning.match_rows`` of multi-modal neurons and
    ``match_lead_rows``, of ``meaning.few_rows``, and of ``kinds.changed_lead_rows``."""
    theirs = partial(Claim, finding=FINDING, by="companion")
    ours = partial(Claim, finding=FINDING, by="book")
    above = partial(rules.above, interval=OVER_SCENES, then=rules.OR_BELOW)
    surely = "The share of live neurons with a probability above 0.8"
    return [
        theirs("types exist",
               sentence="Neurons are visual, textual or multi-modal beyond what their sparsity "
                        "makes",
               comparisons=_compared(surer, condition="condition", against="against"),
               unit="neurons", control="labels of tokens dealt within each sample",
               rule=above("The share of live neurons with a probability above 0.8 that have less "
                          "once labels are dealt, minus the share that one deal makes sure and "
                          "another does not"), table="surer"),
        ours("more than dealt",
             sentence="More neurons are surely of a type than with dealt labels",
             comparisons=_compared(beyond, condition="condition", against="against"),
             unit="neurons", control="labels of tokens dealt within each sample",
             rule=above(f"{surely}, minus the same with dealt labels, whichever neurons these are"),
             table="beyond"),
        ours("types are learned",
             sentence="More neurons are surely of a type than in the network before training",
             comparisons=_compared(learned, condition="condition", against="against"),
             unit="neurons", control="the same network before training",
             rule=above(f"{surely}, minus the same before training, on the same scenes"),
             table="learned"),
        ours("of neurons", sentence="More neurons than random directions of the same layers are "
                                    "surely of a type",
             comparisons=_compared(turned, condition="condition", against="against"),
             unit="neurons", control="each layer turned by a random orthogonal matrix",
             rule=above(f"{surely}, minus that of as many random directions"), table="turned"),
        theirs("text most often", sentence="Text neurons are the most frequent",
               comparisons=_compared(most, against="next"), unit="neurons",
               control="the next most frequent type",
               rule=above("The share of neurons that are most probably textual minus that of the "
                          "next type"), table="most"),
        theirs("layers of types",
               sentence="Visual and text neurons lie early, multi-modal ones late",
               comparisons=_compared(depth, condition="condition", chance="chance",
                                     constant={"against": "permuted layers"}),
               unit="correlation", control="layers permuted",
               rule=above("Spearman's correlation of layer and mean probability, turned so that "
                          "positive is what the paper sees",
                          then=" and it exceeds the 97.5 % quantile of permuted layers, "
                               "contradicts if both hold the other way round"), table="depth"),
        ours("layers are learned",
             sentence="Types are ordered by depth more than before training",
             comparisons=_compared(deeper, condition="condition"), unit="correlation",
             control="the same network before training",
             rule=above("The correlation minus that before training, on the same scenes"),
             table="deeper"),
        theirs("one thing",
               sentence="Multi-modal neurons mean the same in images and in words",
               comparisons=_compared(matches, condition="word",
                                     constant={"against": "dealt concepts"}),
               unit="neurons", control="concepts in words dealt among the neurons of a layer",
               rule=above("The share whose best concept in patches is their best in words, each "
                          "from samples that the other did not see, minus the share when dealt"),
               table="both"),
        ours("more than others",
             sentence="Multi-modal neurons mean the same in both more often than neurons of one "
                      "modality, or than before training",
             comparisons=_compared(leads, condition="condition", against="against"),
             unit="neurons",
             control="visual and text neurons; multi-modal ones before training",
             rule=above("The difference of the two shares, each beyond dealt concepts"),
             table="leads"),
        theirs("few things", sentence="A neuron answers to few things",
               comparisons=_compared(few, condition="condition", against="against"),
               unit="images",
               control="random directions; the network before training",
               rule=above("The share of a neuron's top samples that its first concept, or word, "
                          "wins, minus that of the control, mean over neurons"), table="few",
               statistic="mean"),
        ours("whose words",
             sentence="Neurons change their type when the model's own captions are read, more than "
                      "when the given ones are said in other words",
             comparisons=_compared(whose, condition="condition", against="against"),
             unit="neurons", control="other words for the same scenes",
             rule="The share of live neurons whose most probable type is another one with the "
                  f"model's own captions, minus that with reworded ones; {above}", table="whose"),
    ]


def _compared(table: pd.DataFrame, **columns) -> tuple:
    """The comparisons of a table, with verdicts by its intervals unless it has its own."""
    if len(table) and "verdict" not in table:
        table = with_verdict(table)
    return comparisons(table, "scenes", **columns)
