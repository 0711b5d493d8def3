"""What Chapter 27 says of the neurons that write a class."""

from __future__ import annotations

from functools import partial

import pandas as pd

from neuronpath_core.chapters.key_neurons import maps, near, pixels
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict
from neuronpath_core.stats.tests import permutation_verdict

OVER_CLASSES = "95 % bootstrap interval over classes"
FINDING = "key neurons"
ALIKE = "neurons of the same block that are about as active and write about as much"
WHICH = {near.FIRST_THREE: "by the first three key neurons", near.EVERY: "by all neurons"}


def made_from(blocks: pd.DataFrame, beyond: pd.DataFrame, recalled: pd.DataFrame,
              shared: pd.DataFrame, named: pd.DataFrame, effects: pd.DataFrame, later: pd.DataFrame,
              means: pd.DataFrame, best: pd.DataFrame, firsts: pd.DataFrame, gaps: pd.DataFrame,
              dots: pd.DataFrame, moved: pd.DataFrame, fires: pd.DataFrame, carriers: pd.DataFrame,
              neighbours: pd.DataFrame, background: pd.DataFrame,
              without: pd.DataFrame) -> list[Claim]:
    """The tables are those of the modules of :mod:`neuronpath_core.chapters.key_neurons`, each with
    ``data`` and ``model``: of ``weights.block_rows``, ``beyond_rows``, ``classes.recall_rows``,
    ``sharing_row``, ``weights.name_row``, ``maps.effect_rows``, ``by_block.late_row``,
    ``together_row``, ``maps.best_of_first_row``, ``first_rank_row``, ``gap_row``,
    ``pixels.dot_rows``, ``salient_rows``, ``carriers.fire_rows``, ``carrier_row``,
    ``near.near_rows``, ``objects.background_row`` and ``without_object_row``."""
    return [*_of_weights(blocks, beyond, recalled, shared, named),
            *_of_maps(effects, later, means), *_of_ranks(best, firsts, gaps),
            *_of_pixels(dots, moved, background, without),
            *_of_classes(fires, carriers, neighbours)]


theirs = partial(Claim, finding=FINDING, by="companion", of="classes", statistic="mean")
ours = partial(Claim, finding=FINDING, by="book", of="classes", statistic="mean")
ABOVE = f"agrees if its {OVER_CLASSES} lies above zero, contradicts if below."


def _over(table: pd.DataFrame, **columns: str) -> tuple:
    return comparisons(with_verdict(table), "classes", **columns)


def _ends(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table with other columns for value and interval."""
    return table.assign(**{end: table[f"{name}_{end}"] for end in ("value", "low", "high")})


def _permuted(table: pd.DataFrame, n: str, **columns: str) -> tuple:
    judged = table.assign(verdict=[permutation_verdict(row) for row in table.to_dict("records")])
    return comparisons(judged.drop(columns=["low", "high"], errors="ignore"), n, chance="chance",
                       **columns)


def _of_weights(blocks: pd.DataFrame, beyond: pd.DataFrame, recalled: pd.DataFrame,
                shared: pd.DataFrame, named: pd.DataFrame) -> list[Claim]:
    def against(words: str) -> tuple:
        return _over(beyond[beyond["against"] == words])

    return [
        theirs("one block", sentence="The best value vectors of the classes lie in one block",
               comparisons=_permuted(blocks, "classes", condition="condition"),
               unit="classes", statistic="",
               control="a block drawn uniformly for each class",
               rule="The share of the classes whose best neuron lies in the commonest block, minus "
                    "its mean over such draws; agrees if at most 5 % of them reach it.",
               table="blocks"),
        theirs("late block", sentence="The best value vectors of the classes lie in late blocks",
               comparisons=_over(_ends(blocks, "depth"), condition="condition"), unit="depth",
               control="the middle of the network",
               rule=f"The mean depth of the blocks minus one half; {ABOVE}", table="blocks"),
        ours("directions", sentence="Some value vector points along a class more than directions "
                                    "drawn at random do",
             comparisons=against("uniform directions"), unit="cosine",
             control="as many directions drawn uniformly, in closed form",
             rule=f"The largest cosine minus its mean over such directions; {ABOVE}",
             table="beyond"),
        ours("single neurons", sentence="Some value vector points along a class more than after a "
                                        "rotation of the neurons",
             comparisons=against("rotated neurons"), unit="cosine",
             control="the block's own value vectors, rotated among the neurons",
             rule=f"The largest cosine minus its mean over rotations; {ABOVE}", table="beyond"),
        theirs("recognised", sentence="Classes without a good value vector are recognised worse",
               comparisons=_over(recalled, condition="condition"), unit="correlation",
               control="no order of the classes (a rank correlation of zero)", statistic="",
               rule="Spearman's correlation over classes of recall with the best alignment, and "
                    f"with the depth of its block; {ABOVE}", table="recalled"),
        theirs("shared vectors", sentence="Images that are misclassified are of classes that share "
                                          "their value vector with others",
               comparisons=_permuted(shared, "classes"), unit="classes", statistic="",
               control="the classes' counts, permuted",
               rule="The number of other classes with the same first key neuron, of misclassified "
                    "images minus of others; agrees if positive with p below 0.05 (permutation of "
                    "classes), contradicts if negative.", table="shared"),
        ours("names", sentence="The value vector of a class's first key neuron is aligned with no "
                               "other class more",
             comparisons=_over(named), unit="classes",
             control="the neurons of each block, rotated",
             rule=f"The share of such classes minus that after rotations; {ABOVE}", table="named")]


def _of_maps(effects: pd.DataFrame, later: pd.DataFrame, means: pd.DataFrame) -> list[Claim]:
    def against(words: str) -> tuple:
        return _over(effects[effects["against"] == words])

    return [
        theirs("object", sentence="The map of a class's first key neuron finds the object",
               comparisons=against(maps.ALIKE), unit="separation", control=ALIKE,
               rule=f"The area under the ROC curve minus that of such neurons; {ABOVE}",
               table="effects"),
        ours("own object", sentence="The map of a class's first key neuron finds its own image's "
                                    "object better than another's",
             comparisons=against(maps.DEALT), unit="separation",
             control="masks of other images of the class",
             rule=f"The area under the ROC curve minus that by such masks; {ABOVE}",
             table="effects"),
        ours("not its place", sentence="The map of a class's first key neuron finds the object "
                                       "better than its mean map does",
             comparisons=against(maps.PLACE), unit="separation",
             control="the neuron's mean map over all other images",
             rule=f"The area under the ROC curve minus that of the mean map; {ABOVE}",
             table="effects"),
        theirs("late maps", sentence="The maps of later blocks find the object better",
               comparisons=_over(later), unit="correlation",
               control="the mean over all neurons of the same block",
               rule="Spearman's correlation of block and area under the ROC curve of its best "
                    f"neuron minus that of all its neurons; {ABOVE}", table="later"),
        theirs("mean map", sentence="The mean of the maps of the best neurons of all blocks finds "
                                    "the object",
               comparisons=_over(means), unit="separation",
               control=f"the same mean of {ALIKE}",
               rule=f"The area under the ROC curve minus that of such a mean; {ABOVE}",
               table="means"),
        ours("own mean map", sentence="The mean of the maps of the best neurons of all blocks "
                                      "finds its own image's object better than another's",
             comparisons=_over(_ends(means, "dealt")), unit="separation",
             control="masks of other images of the class",
             rule=f"The area under the ROC curve minus that by such masks; {ABOVE}",
             table="means")]


def _of_ranks(best: pd.DataFrame, firsts: pd.DataFrame, gaps: pd.DataFrame) -> list[Claim]:
    return [
        theirs("together", sentence="One of the first five key neurons finds the object",
               comparisons=_over(best), unit="separation",
               control=f"the best of five drawn from {ALIKE}",
               rule=f"The largest area under the ROC curve minus that of such five; {ABOVE}",
               table="best"),
        theirs("first ranks", sentence="The neuron that finds a class's objects best is among the "
                                       "first by alignment",
               comparisons=_over(firsts), unit="neurons", control="a random order of all neurons",
               rule=f"One half minus the neuron's rank as a share of all; {ABOVE}",
               table="firsts"),
        ours("before activation", sentence="Alignment ranks the neuron that finds a class's "
                                           "objects best before activation does",
             comparisons=_over(_ends(firsts, "ahead")), unit="neurons",
             control="the order by mean activation on the class's images",
             rule=f"The rank by activation minus that by alignment, as shares; {ABOVE}",
             table="firsts"),
        theirs("nearly equal", sentence="Where the second key neuron finds the object better, the "
                                        "first two alignments are nearly equal",
               comparisons=_over(gaps), unit="correlation", statistic="",
               control="no order of the classes (a rank correlation of zero)",
               rule="Spearman's correlation over classes of the gap between the alignments with "
                    f"how much better the first finds it; {ABOVE}", table="gaps")]


def _of_pixels(dots: pd.DataFrame, moved: pd.DataFrame, background: pd.DataFrame,
               without: pd.DataFrame) -> list[Claim]:
    return [
        theirs("dots", sentence="Bright dots beside the object lie at tokens of the longest "
                                "streams, or that receive the most attention",
               comparisons=comparisons(with_verdict(dots), "images", condition="condition"),
               unit="tokens", control="the other patches of the same image beside the object",
               of="images", table="dots",
               rule="The share of those patches that the dot's token exceeds, minus one half; "
                    "agrees if its 95 % bootstrap interval over images lies above zero, "
                    "contradicts if below."),
        theirs("pixels", sentence="The pixels that move a class's first key neuron are the "
                                  "object's",
               comparisons=_over(moved[moved["against"] == pixels.OTHER]), unit="separation",
               control="a neuron like it, at the same patches",
               rule=f"The area under the ROC curve of the gradient minus that neuron's; {ABOVE}",
               table="moved"),
        ours("own pixels", sentence="The pixels that move a class's first key neuron are its own "
                                    "image's object",
             comparisons=_over(moved[moved["against"] == pixels.DEALT]), unit="separation",
             control="masks of other images of the class",
             rule=f"The area under the ROC curve of the gradient minus that by such masks; {ABOVE}",
             table="moved"),
        theirs("on the object", sentence="Fewer key neurons fire beside the object than others do",
               comparisons=_over(background), unit="neurons", control=ALIKE,
               rule="The share of such neurons that fire more beside the object than on it, minus "
                    f"that of the first five key neurons; {ABOVE}", table="background"),
        ours("needs the object", sentence="Key neurons fire more for a scene than without its "
                                          "object",
             comparisons=_over(without), unit="images", control=ALIKE,
             rule="The share of the images in which the first key neuron fires more with the "
                  f"object, minus that of such neurons; {ABOVE}", table="without")]


def _of_classes(fires: pd.DataFrame, carriers: pd.DataFrame,
                neighbours: pd.DataFrame) -> list[Claim]:
    early = neighbours
    if len(neighbours):
        early = neighbours[neighbours["condition"].str.contains("first third")
                           & neighbours["over"].isin(list(WHICH))]
        early = early.assign(condition=early["over"].map(WHICH))
    return [
        theirs("fires", sentence="A class's key neurons fire more for its images than for others",
               comparisons=_over(fires, condition="condition"), unit="separation", control=ALIKE,
               rule="The area under the ROC curve by which activation tells the class, mean of the "
                    f"first five key neurons, minus that of such neurons; {ABOVE}",
               table="fires"),
        theirs("few neurons", sentence="Few neurons carry a class",
               comparisons=_over(carriers), unit="neurons", control="labels that are dealt anew",
               rule="The share of a block's neurons that share a class's profile (participation "
                    "ratio), with dealt labels minus with the classes', mean over blocks; "
                    f"{ABOVE}", table="carried"),
        theirs("near classes", sentence="Similar classes lie near one another in early neurons",
               comparisons=_permuted(early, "classes", condition="condition"),
               unit="correlation", statistic="",
               control="permuted classes; distances of their mean images taken out",
               rule="The rank correlation of nearness in the first third of the blocks with the "
                    "number of shared attributes; agrees if positive with p below 0.05 by permuted "
                    "classes.", table="neighbours")]
