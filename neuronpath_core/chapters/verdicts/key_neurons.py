"""What Chapter 27 says of the neurons that write a class."""

from __future__ import annotations

from functools import partial

import pandas as pd

from neuronpath_core.chapters.claims import OURS, THEIRS, told
from neuronpath_core.chapters.key_neurons import maps, near, pixels
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict
from neuronpath_core.stats.tests import permutation_verdict

ALIKE = "neurons of the same block that are about as active and write about as much"
NO_ORDER = "no order of the classes (a rank correlation of zero)"
OTHER_MASKS = "masks of other images of the class"
WHICH = {near.FIRST_THREE: "by the first three key neurons", near.EVERY: "by all neurons"}
BARE = {"statistic": ""}
ABOVE = partial(rules.above, interval=rules.OVER_CLASSES, then=rules.OR_BELOW)
# key: who says it, the sentence, unit, control, rule and the notebook's table
OF_WEIGHTS = {
    "one block": (
        THEIRS, "The best value vectors of the classes lie in one block", "classes",
        "a block drawn uniformly for each class",
        ABOVE("The share of the classes whose best neuron lies in the commonest block, minus its "
              "mean over such draws", then=" and at most 5 % of such draws reach it"), "blocks",
        BARE),
    "late block": (
        THEIRS, "The best value vectors of the classes lie in late blocks", "depth",
        "the middle of the network",
        ABOVE("The mean depth of the blocks minus one half"), "blocks"),
    "directions": (
        OURS, "Some value vector points along a class more than directions drawn at random do",
        "cosine", "as many directions drawn uniformly, in closed form",
        ABOVE("The largest cosine minus its mean over such directions"), "beyond"),
    "single neurons": (
        OURS, "Some value vector points along a class more than after a rotation of the neurons",
        "cosine", "the block's own value vectors, rotated among the neurons",
        ABOVE("The largest cosine minus its mean over rotations"), "beyond"),
    "recognised": (
        THEIRS, "Classes without a good value vector are recognised worse", "correlation", NO_ORDER,
        ABOVE("Spearman's correlation over classes of recall with the best alignment, and with the "
              "depth of its block"), "recalled", BARE),
    "shared vectors": (
        THEIRS, "Images that are misclassified are of classes that share their value vector with "
        "others", "classes", "the classes' shares, permuted",
        ABOVE("The share of the other classes with the same first key neuron, of misclassified "
              "images minus of others",
              then=" with p below 0.05 (permutation of classes), contradicts if below with such a "
                   "p"), "shared", BARE),
    "names": (
        OURS, "The value vector of a class's first key neuron is aligned with no other class more",
        "classes", "the neurons of each block, rotated",
        ABOVE("The share of such classes minus that after rotations"), "named"),
}
OF_MAPS = {
    "object": (
        THEIRS, "The map of a class's first key neuron finds the object", "separation", ALIKE,
        ABOVE("The area under the ROC curve minus that of such neurons"), "effects"),
    "own object": (
        OURS, "The map of a class's first key neuron finds its own image's object better than "
        "another's", "separation", OTHER_MASKS,
        ABOVE("The area under the ROC curve minus that by such masks"), "effects"),
    "not its place": (
        OURS, "The map of a class's first key neuron finds the object better than its mean map "
        "does", "separation", "the neuron's mean map over all other images",
        ABOVE("The area under the ROC curve minus that of the mean map"), "effects"),
    "late maps": (
        THEIRS, "The maps of later blocks find the object better", "correlation",
        "the mean over all neurons of the same block",
        ABOVE("Spearman's correlation of block and area under the ROC curve of its best neuron "
              "minus that of all its neurons"), "later"),
    "mean map": (
        THEIRS, "The mean of the maps of the best neurons of all blocks finds the object",
        "separation", f"the same mean of {ALIKE}",
        ABOVE("The area under the ROC curve minus that of such a mean"), "means"),
    "own mean map": (
        OURS, "The mean of the maps of the best neurons of all blocks finds its own image's object "
        "better than another's", "separation", OTHER_MASKS,
        ABOVE("The area under the ROC curve minus that by such masks"), "means"),
}
OF_RANKS = {
    "together": (
        THEIRS, "One of the first five key neurons finds the object", "separation",
        f"the best of five drawn from {ALIKE}",
        ABOVE("The largest area under the ROC curve minus that of such five"), "best"),
    "first ranks": (
        THEIRS, "The neuron that finds a class's objects best is among the first by alignment",
        "neurons", "a random order of all neurons",
        ABOVE("One half minus the neuron's rank as a share of all"), "firsts"),
    "before activation": (
        OURS, "Alignment ranks the neuron that finds a class's objects best before activation does",
        "neurons", "the order by mean activation on the class's images",
        ABOVE("The rank by activation minus that by alignment, as shares"), "firsts"),
    "nearly equal": (
        THEIRS, "Where the second key neuron finds the object better, the first two alignments are "
        "nearly equal", "correlation", NO_ORDER,
        ABOVE("Spearman's correlation over classes of the gap between the alignments with how much "
              "better the first finds it"), "gaps", BARE),
}
OF_PIXELS = {
    "dots": (
        THEIRS, "Bright dots beside the object lie at tokens of the longest streams, or that "
        "receive the most attention", "tokens",
        "the other patches of the same image beside the object",
        ABOVE("The share of those patches that the dot's token exceeds, minus one half",
              interval=rules.OVER_IMAGES), "dots", {"of": "images"}),
    "pixels": (
        THEIRS, "The pixels that move a class's first key neuron are the object's", "separation",
        "a neuron like it, at the same patches",
        ABOVE("The area under the ROC curve of the gradient minus that neuron's"), "moved"),
    "own pixels": (
        OURS, "The pixels that move a class's first key neuron are its own image's object",
        "separation", OTHER_MASKS,
        ABOVE("The area under the ROC curve of the gradient minus that by such masks"), "moved"),
    "on the object": (
        THEIRS, "Fewer key neurons fire beside the object than others do", "neurons", ALIKE,
        ABOVE("The share of such neurons that fire more beside the object than on it, minus that "
              "of the first five key neurons"), "background"),
    "needs the object": (
        OURS, "Key neurons fire more for a scene than without its object", "images", ALIKE,
        ABOVE("The share of the images in which the first key neuron fires more with the object, "
              "minus that of such neurons"), "without"),
}
OF_CLASSES = {
    "fires": (
        THEIRS, "A class's key neurons fire more for its images than for others", "separation",
        ALIKE,
        ABOVE("The area under the ROC curve by which activation tells the class, mean of the first "
              "five key neurons, minus that of such neurons"), "fires"),
    "few neurons": (
        THEIRS, "Few neurons carry a class", "neurons", "labels that are dealt anew",
        ABOVE("The share of a block's neurons that share a class's profile (participation ratio), "
              "with dealt labels minus with the classes', mean over blocks"), "carried"),
    "later stronger": (
        THEIRS, "A class's neurons fire for it more strongly in later blocks", "correlation", ALIKE,
        ABOVE("Spearman's correlation of block and activation of the block's best neuron on its "
              "class minus that of such neurons"), "stronger"),
    "near classes": (
        THEIRS, "Similar classes lie near one another in early neurons", "correlation",
        "permuted classes; distances of their mean images taken out",
        ABOVE("The rank correlation of nearness in the first third of the blocks with the number "
              "of shared attributes",
              then=" with p below 0.05 by permuted classes, contradicts if below with such a p"),
        "neighbours", BARE),
}
WORDS = OF_WEIGHTS | OF_MAPS | OF_RANKS | OF_PIXELS | OF_CLASSES


def made_from(blocks: pd.DataFrame, beyond: pd.DataFrame, recalled: pd.DataFrame,
              shared: pd.DataFrame, named: pd.DataFrame, effects: pd.DataFrame, later: pd.DataFrame,
              means: pd.DataFrame, best: pd.DataFrame, firsts: pd.DataFrame, gaps: pd.DataFrame,
              dots: pd.DataFrame, moved: pd.DataFrame, fires: pd.DataFrame, carriers: pd.DataFrame,
              stronger: pd.DataFrame, neighbours: pd.DataFrame, background: pd.DataFrame,
              without: pd.DataFrame) -> list[Claim]:
    """The tables are those of the modules of :mod:`neuronpath_core.chapters.key_neurons`, each with
    ``data`` and ``model``: of ``weights.block_rows``, ``beyond_rows``, ``classes.recall_rows``,
    ``sharing_row``, ``weights.name_row``, ``maps.effect_rows``, ``by_block.late_row``,
    ``together_row``, ``maps.best_of_first_row``, ``first_rank_row``, ``gap_row``,
    ``pixels.dot_rows``, ``salient_rows``, ``carriers.fire_rows``, ``carried_rows``,
    ``stronger_rows``, ``near.near_rows``, ``objects.background_row`` and ``without_object_row``."""
    def against(table: pd.DataFrame, words: str) -> tuple:
        return _judged(table[table["against"] == words])

    where = {"condition": "condition"}
    rows = {
        "one block": _permuted(blocks, **where),
        "late block": _judged(_ends(blocks, "depth"), **where),
        "directions": against(beyond, "uniform directions"),
        "single neurons": against(beyond, "rotated neurons"),
        "recognised": _judged(recalled, **where), "shared vectors": _permuted(shared),
        "names": _judged(named), "object": against(effects, maps.ALIKE),
        "own object": against(effects, maps.DEALT), "not its place": against(effects, maps.PLACE),
        "late maps": _judged(later), "mean map": _judged(means),
        "own mean map": _judged(_ends(means, "dealt")), "together": _judged(best),
        "first ranks": _judged(firsts), "before activation": _judged(_ends(firsts, "ahead")),
        "nearly equal": _judged(gaps), "dots": _judged(dots, "images", **where),
        "pixels": against(moved, pixels.OTHER), "own pixels": against(moved, pixels.DEALT),
        "on the object": _judged(background), "needs the object": _judged(without),
        "fires": _judged(fires, **where), "few neurons": _judged(carriers, **where),
        "later stronger": _judged(stronger, **where),
        "near classes": _permuted(_early(neighbours), **where)}
    return told(WORDS, rows, finding="key neurons", of="classes", statistic="mean")


def _judged(table: pd.DataFrame, n: str = "classes", **columns: str) -> tuple:
    return comparisons(with_verdict(table), n, **columns)


def _permuted(table: pd.DataFrame, **columns: str) -> tuple:
    """An effect shows where both its interval over classes and its p by permutation say so."""
    judged = with_verdict(table) if len(table) else table.assign(verdict=[])
    both = [own if own == permutation_verdict(row) else "not shown"
            for own, row in zip(judged["verdict"], table.to_dict("records"), strict=True)]
    return comparisons(judged.assign(verdict=both), "classes", chance="chance", **columns)


def _ends(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table with other columns for value and interval."""
    return table.assign(**{end: table[f"{name}_{end}"] for end in ("value", "low", "high")})


def _early(neighbours: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first third of the blocks, by which neurons and at which tokens as an
    adverbial."""
    if neighbours.empty:
        return neighbours
    early = neighbours[neighbours["condition"].str.contains("first third")
                       & neighbours["over"].isin(list(WHICH))]
    return early.assign(condition=early["over"].map(WHICH) + ", " + early["tokens"])
