"""What Chapter 30 says of the neurons of paths."""

from __future__ import annotations

from functools import partial

import pandas as pd

from neuronpath_core.chapters.path_meaning import (
    concepts,
    detects,
    failures,
    looks,
    pictures,
    wiring,
    writes,
)
from neuronpath_core.chapters.path_meaning.claims import picked, verdicts_of
from neuronpath_core.chapters.path_meaning.measured import LABELS, LIKE, LIKE_HERE
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict

OVER_IMAGES = "95 % bootstrap interval over images"
HOLM = "its p at most 0.05 after Holm's correction over models and methods"
ABOVE = (f"agrees if its {OVER_IMAGES} lies above zero and {HOLM} (signs of images flipped), "
         "contradicts if below with such a p.")
ALONE = f"agrees if its {OVER_IMAGES} lies above zero, contradicts if below."
ACTIVE = "the path of Activation"


def made_from(written: pd.DataFrame, depths: pd.DataFrame, overlaps: pd.DataFrame,
              detected: pd.DataFrame, evidence: pd.DataFrame, wired: pd.DataFrame,
              looked: pd.DataFrame, leads: pd.DataFrame, failed: pd.DataFrame,
              rivals: pd.DataFrame, apart: pd.DataFrame, known: pd.DataFrame,
              again: pd.DataFrame) -> list[Claim]:
    """The tables are those of the modules of :mod:`neuronpath_core.chapters.path_meaning`, each
    with ``data`` and ``model``: of ``writes.writing_rows``, ``third_rows`` and ``overlap_rows``,
    ``detects.detection_rows``, ``evidence.evidence_rows``, ``wiring.wire_rows``,
    ``looks.look_rows``, ``pictures.picture_leads``, ``failures.failure_rows`` and ``rival_rows``,
    ``concepts.dissociation_rows``, ``planted.planted_rows`` and ``seeds.seed_rows``."""
    ours = partial(Claim, finding="key neurons", by="book", statistic="mean")

    def effect(table: pd.DataFrame, n: str = "images", **wanted: str) -> tuple:
        own = picked(table, **wanted)
        if len(own) and "method" in own:
            own = own.assign(condition=[f"by {LABELS[name]}" for name in own["method"]])
        own = own.dropna(subset="value") if len(own) else own
        named = {"condition": "condition"} if "condition" in own else {}
        named |= {"against": "against"} if "against" in own else {}
        return comparisons(verdicts_of(own), n, **named) if len(own) else ()

    def shapes_only(measure: str, against: str, score: str = detects.PATCHES) -> tuple:
        return effect(detected, measure=measure, score=score, against=against)

    return [
        ours("writes", sentence="Path neurons write their image's class more than matched neurons",
             comparisons=effect(written, measure=writes.WRITES, against=LIKE), unit="neurons",
             control="neurons of the block about as active over all images, with value vectors "
                     "about as long",
             rule=f"The share of the block that is aligned less with the label; {ABOVE}",
             table="written"),
        ours("writes here", sentence="Path neurons write their image's class more than neurons "
                                     "about as active in that image",
             comparisons=effect(written, measure=writes.WRITES, against=LIKE_HERE), unit="neurons",
             control="neurons of the block about as active in the same image, with value vectors "
                     "about as long", rule=f"The same share; {ABOVE}", table="written"),
        ours("writes active", sentence="Path neurons write their image's class more than the most "
                                       "active neurons do",
             comparisons=effect(written, measure=writes.WRITES, against=ACTIVE), unit="neurons",
             control="the path of the most active neurons", rule=f"The same share; {ABOVE}",
             table="written"),
        ours("writes late", sentence="Path neurons write the class more in late blocks than in "
                                     "early ones",
             comparisons=effect(depths, blocks=writes.LATER), unit="neurons",
             control="the first third of the blocks of the same paths",
             rule=f"What path neurons have beyond matched ones in the last third of the blocks, "
                  f"minus in the first; {ABOVE}", table="depths"),
        ours("writes again", sentence="Models trained from other seeds have paths that write the "
                                      "class more than matched neurons",
             comparisons=effect(again, "models", measure=writes.WRITES), unit="neurons",
             of="trained models", control="matched neurons of each trained model",
             rule="The mean over trained models; agrees if its 95 % jackknife interval over them "
                  f"lies above zero and {HOLM} (Student's t), contradicts if below with such a p.",
             table="again"),
        ours("key", sentence="Path neurons are among the five key neurons of their class more "
                             "often than matched neurons",
             comparisons=effect(overlaps, measure=writes.KEY, against=LIKE), unit="neurons",
             control="matched neurons of the block",
             rule=f"The share of the path's neurons among the five of their block that are aligned "
                  f"most with the label; {ABOVE}", table="overlaps"),
        ours("key active", sentence="Path neurons are key neurons of their class more often than "
                                    "the most active neurons are",
             comparisons=effect(overlaps, measure=writes.KEY, against=ACTIVE), unit="neurons",
             control="the path of the most active neurons", rule=f"The same share; {ABOVE}",
             table="overlaps"),
        ours("used", sentence="Path neurons are among a token's five largest coefficients more "
                              "often than matched neurons",
             comparisons=effect(overlaps, measure=writes.USED, against=LIKE), unit="neurons",
             control="matched neurons of the block",
             rule=f"The share of the scope's tokens, mean over the path's neurons; {ABOVE}",
             table="overlaps"),
        ours("attributes", sentence="Path neurons tell their class's outline and fill from others "
                                    "better than matched neurons",
             comparisons=shapes_only(detects.BOTH, LIKE), unit="separation",
             control="matched neurons of the block",
             rule=f"The area under the ROC curve of the class's own outline and fill minus that of "
                  f"the other outlines and fills, on other scenes; {ABOVE}", table="detected"),
        ours("attributes here", sentence="Path neurons tell their class's outline and fill better "
                                         "than neurons about as active in the image",
             comparisons=shapes_only(detects.BOTH, LIKE_HERE), unit="separation",
             control="neurons of the block about as active in the same image",
             rule=f"The same difference of areas; {ABOVE}", table="detected"),
        ours("attributes of images", sentence="Path neurons tell images with their class's outline "
                                              "and fill from others better than matched neurons",
             comparisons=shapes_only(detects.BOTH, LIKE, detects.WHOLE), unit="separation",
             control="matched neurons of the block",
             rule=f"The same of the activation at the path's own tokens, over images; {ABOVE}",
             table="detected"),
        ours("attributes of images here", sentence="Path neurons tell images with their class's "
                                                   "outline and fill better than neurons about as "
                                                   "active in the image",
             comparisons=shapes_only(detects.BOTH, LIKE_HERE, detects.WHOLE), unit="separation",
             control="neurons of the block about as active in the same image",
             rule=f"The same over images; {ABOVE}", table="detected"),
        ours("beyond colour", sentence="Path neurons tell what decides the class better than the "
                                       "colour, which does not",
             comparisons=shapes_only(detects.BEYOND, LIKE, detects.WHOLE), unit="separation",
             control="the same of the image's colour, and matched neurons",
             rule=f"That difference of areas over images minus the same of the colour; {ABOVE}",
             table="detected"),
        ours("evidence", sentence="Without the path, the tokens of the last blocks rank the class "
                                  "lower than without matched neurons",
             comparisons=effect(evidence, blocks="last third", against=LIKE),
             unit="identifiability", control="removal of matched neurons",
             rule=f"The loss of identifiability (0 to 1) in the last third of the blocks; {ABOVE}",
             table="without"),
        ours("evidence early", sentence="Without the path, the tokens of the first blocks rank the "
                                        "class lower than without matched neurons",
             comparisons=effect(evidence, blocks="first third", against=LIKE),
             unit="identifiability", control="removal of matched neurons",
             rule=f"The same in the first third of the blocks; {ABOVE}", table="without"),
        ours("wire", sentence="A path neuron reads what the one before it writes more than matched "
                              "neurons do",
             comparisons=effect(wired, route="direct", measure=wiring.SIZE, against=LIKE),
             unit="cosine", control="matched neurons of the next block",
             rule=f"The absolute cosine of value vector and key along the token's own stream; "
                  f"{ABOVE}", table="wired"),
        ours("wire attention", sentence="A path neuron reads what the one before it writes through "
                                        "attention more than matched neurons do",
             comparisons=effect(wired, route="attention", measure=wiring.SIZE, against=LIKE),
             unit="cosine", control="matched neurons of the next block",
             rule=f"The same through one attention layer, the largest over heads; {ABOVE}",
             table="wired"),
        ours("wire active", sentence="Neurons of a path fit each other more than those of the path "
                                     "of the most active neurons",
             comparisons=effect(wired, route="direct", measure=wiring.SIZE, against=ACTIVE),
             unit="cosine", control="the path of the most active neurons",
             rule=f"The absolute cosine along the token's own stream; {ABOVE}", table="wired"),
        ours("looks", sentence="A path neuron is active where the image's own relevance map says, "
                               "more than where another image's does",
             comparisons=effect(looked, against=looks.OTHER_MAP), unit="correlation",
             control="the relevance map of another image of the class",
             rule=f"The difference of rank correlations over patches; {ABOVE}", table="looked"),
        ours("looks matched", sentence="A path neuron is active where the relevance map says more "
                                       "than matched neurons are",
             comparisons=effect(looked, against=LIKE), unit="correlation",
             control="matched neurons of the block",
             rule=f"The difference of rank correlations over patches; {ABOVE}", table="looked"),
        ours("pictures", sentence="An image that drives all path neurons of a class is named as it "
                                  "more often than one that drives its best value neuron",
             comparisons=effect(leads, "classes", reader=pictures.ITSELF, against=pictures.BEST),
             unit="classes", of="classes", control="the image of the best value neuron",
             rule="The difference of the shares of classes; agrees if its 95 % bootstrap interval "
                  "over classes lies above zero, contradicts if below.", table="leads"),
        ours("transfer", sentence="Other architectures name such an image more often than that of "
                                  "the best value neuron",
             comparisons=effect(leads, "classes", reader=pictures.OTHERS, against=pictures.BEST),
             unit="classes", of="classes", control="the image of the best value neuron",
             rule="The same of the mean over other architectures.", table="leads"),
        ours("random pictures", sentence="Other architectures name such an image more often than "
                                         "that of a random path",
             comparisons=effect(leads, "classes", reader=pictures.OTHERS,
                                against=pictures.RANDOMLY),
             unit="classes", of="classes", control="the image of random paths",
             rule="The same of the mean over other architectures.", table="leads"),
        ours("fails", sentence="The path of the true class writes it less in images that are "
                               "classified wrongly",
             comparisons=effect(failed, measure=writes.WRITES, label=failures.TRUE),
             unit="neurons", control="images that are classified rightly",
             rule="What path neurons have beyond matched ones, right images minus wrong ones; "
                  "agrees if its 95 % bootstrap interval over the images of each kind lies above "
                  "zero, contradicts if below.", table="failed"),
        ours("rival", sentence="In images that are classified wrongly, the path of the predicted "
                               "class writes it more than that of the true class writes that",
             comparisons=effect(rivals, measure=writes.WRITES), unit="neurons",
             control="the path of the true class of the same images",
             rule=f"The difference of what path neurons have beyond matched ones; {ALONE}",
             table="rivals"),
        ours("outline", sentence="The outline's own path costs it more than the fill's path does",
             comparisons=effect(apart, measure="outline", paths=concepts.OWN),
             unit="lost probability", control="the fill's path of the same images",
             rule=f"The difference of the probability that the outline loses; {ALONE}",
             table="apart"),
        ours("fill", sentence="The fill's own path costs it more than the outline's path does",
             comparisons=effect(apart, measure="fill", paths=concepts.OWN),
             unit="lost probability", control="the outline's path of the same images",
             rule=f"The difference of the probability that the fill loses; {ALONE}",
             table="apart"),
        ours("concepts", sentence="Paths of outline and fill dissociate more than those of groups "
                                  "of classes that mean nothing",
             comparisons=effect(apart, measure="both", paths=f"beyond {concepts.DEALT}"),
             unit="lost probability", control="the same groupings with the classes dealt anew",
             rule=f"The sum of both differences minus that of the dealt groupings; {ALONE}",
             table="apart"),
        ours("planted", sentence="The measures of this chapter find what was planted, and nothing "
                                 "where nothing was",
             comparisons=_planted(known), unit="networks", of="networks", statistic="",
             control="matched neurons of the planted networks",
             rule="The share of networks in which a measure says what is known; agrees if its 95 % "
                  "Wilson interval lies above one half, contradicts if below.", table="known"),
    ]


def _planted(known: pd.DataFrame) -> tuple:
    if not len(known):
        return ()
    tokens = {"cls": "class token", "patch": "patch tokens"}
    named = known.assign(data="planted", model=[
        f"{row.kind}, {tokens[row.scope]}" for row in known.itertuples()],
        condition=[f"for {name}" for name in known["measure"]])
    return comparisons(with_verdict(named, threshold=0.5), "networks", condition="condition")
