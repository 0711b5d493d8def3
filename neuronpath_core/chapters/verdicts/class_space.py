"""What Chapter 24 says of tokens that know the class."""

from __future__ import annotations

from functools import partial

import pandas as pd

from neuronpath_core.chapters.claims import OURS, THEIRS, told, turned
from neuronpath_core.chapters.class_space import cuts
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict

# of the rate that may be lost: the margin of the chapters on pruning
MARGIN = 0.05
ABOVE = partial(rules.above, interval=rules.OVER_IMAGES, then=rules.OR_BELOW)
# key: who says it, the sentence, unit, control, rule and the notebook's table
WORDS = {
    "rate": (
        THEIRS, "Image tokens of the last block rank their image's class first more often than "
        "chance", "tokens", "one over the number of classes",
        ABOVE("The share of tokens minus 1/C"), "effects"),
    "random": (
        OURS, "Image tokens of the last block rank their image's class first more often than in "
        "networks with random weights", "tokens",
        "networks of the same architecture with random weights",
        ABOVE("The share of tokens minus the mean share with random weights"), "effects"),
    "one": (
        THEIRS, "More images have a token that ranks the class first than are classified correctly",
        "images", "the model's own accuracy",
        ABOVE("The difference of the two shares on the same images"), "effects"),
    "depth": (
        THEIRS, "The class becomes more identifiable in image tokens from block to block",
        "correlation", "no order of the blocks (a rank correlation of zero)",
        ABOVE("Spearman's correlation of block and mean identifiability in each image"), "effects"),
    "grown": (
        OURS, "Over all blocks image tokens rank their image's class higher than in networks with "
        "random weights", "identifiability",
        "networks of the same architecture with random weights",
        ABOVE("Identifiability, mean over blocks, minus its mean with random weights"), "effects"),
    "rises": (
        THEIRS, "From a block to the next the label's logit grows in most image tokens", "tokens",
        "one half of the tokens",
        ABOVE("The share of tokens whose label's logit grows, minus one half"), "effects"),
    "ahead": (
        THEIRS, "In the middle of the network the class token is ahead of the image tokens",
        "identifiability", "the image tokens of the same blocks",
        ABOVE("The difference of identifiability in the middle third of the blocks, of models that "
              "classify from the class token"), "effects"),
    "spread": (
        THEIRS, "Image tokens vary more from image to image than the class token does",
        "identifiability", "the class token",
        ABOVE("The standard deviation over images at a patch minus the class token's, mean over "
              "blocks"), "spreads", {"statistic": ""}),
    "training": (
        OURS, "The longer a model is trained, the more of its image tokens rank the class first",
        "tokens", "the stage of the training before",
        ABOVE("The growth of the share of tokens on the same images"), "trained"),
    "pooled": (
        THEIRS, "A model that pools its patch tokens has fewer tokens that rank the class first",
        "tokens", "models that classify from the class token",
        ABOVE("The difference of the mean rates",
              interval="its 95 % jackknife interval over trained models"), "seeds",
        {"of": "trained models"}),
    "self only": (
        THEIRS, "Image tokens that see only themselves rank their class first less often than in "
        "the uncut model", "tokens", "the same tokens, uncut",
        ABOVE("The share of tokens lost on the same images"), "lost"),
    "one other": (
        OURS, "Image tokens that see only themselves rank their class first more often than those "
        "that see only one other", "tokens",
        "attention to one other token drawn at random, instead of to itself",
        ABOVE("The share that self only leaves minus the share that one other token leaves"),
        "leads"),
    "no class token": (
        THEIRS, "Image tokens do not need the class token", "tokens",
        f"a margin of {100 * MARGIN:.0f} % of the tokens",
        ABOVE("The change of the share of tokens", -MARGIN,
              called=f"-{100 * MARGIN:.0f} % of the tokens"), "lost"),
    "patches hidden": (
        OURS, "Image tokens lose less without the class token than without random patches that "
        "take as much attention", "tokens",
        "as many random patches hidden as take as much attention as the class token",
        ABOVE("The share that stays without the class token minus the share that stays with the "
              "patches hidden"), "leads"),
    "object": (
        THEIRS, "Tokens on the object are ahead of tokens beside it", "identifiability",
        "the tokens of the same image beside the object",
        ABOVE("The difference of mean identifiability in an image"), "thirds"),
    "own object": (
        OURS, "Tokens on the object are further ahead by the image's own mask than by another "
        "image's", "identifiability", "masks of other images of the class",
        ABOVE("That difference minus its mean over exchanged masks"), "thirds"),
    "context": (
        THEIRS, "Context tokens identify the class without the object's tokens", "tokens",
        "one over the number of classes",
        ABOVE("The share of context tokens that rank the class first after the object's were taken "
              "away, minus 1/C"), "kept"),
    "far context": (
        OURS, "Tokens without any pixel of the object identify the class without all other tokens",
        "tokens", "one over the number of classes",
        ABOVE("The same for patches without a pixel of the object, all others taken away"), "kept"),
    "leak": (
        OURS, "Context tokens know more of a scene than the background alone tells", "tokens",
        "the scene rendered without its object, the same tokens taken away",
        ABOVE("The share of tokens minus that of the scene without its object"), "hole"),
    "parts": (
        OURS, "The outline is known along the outline's band and the fill inside",
        "identifiability", "the other attribute in the same tokens",
        ABOVE("How much further the band is ahead of the fill area for the outline than for the "
              "fill"), "dissociation"),
}


def made_from(effects: pd.DataFrame, spreads: pd.DataFrame, trained: pd.DataFrame,
              seeds: pd.DataFrame, lost: pd.DataFrame, leads: pd.DataFrame, kept: pd.DataFrame,
              hole: pd.DataFrame, thirds: pd.DataFrame, dissociation: pd.DataFrame,
              images: int) -> list[Claim]:
    """The tables are those of the modules of :mod:`neuronpath_core.chapters.class_space`, each with
    ``data`` and ``model``: of ``tokens.summary_rows``, ``spread_row``, ``training_rows``,
    ``seed_row``, of ``cuts.lost_rows``, ``against`` (with ``cut``), ``kept_rows`` and
    ``beyond_hole``, of ``where.third_rows`` and ``dissociation_rows``; over ``images`` images
    unless a table has its own number."""
    def judged(table: pd.DataFrame, n: int | str = images, threshold: float = 0.0,
               **columns: str) -> tuple:
        return comparisons(with_verdict(table, threshold=threshold), n, **columns)

    def cut(name: str) -> pd.DataFrame:
        return lost[lost["cut"] == name]

    beyond = thirds.assign(**{name: thirds[f"beyond_{name}"] for name in ("value", "low", "high")})
    where = {"condition": "condition"}
    return told(WORDS, {
        **{name: judged(effects[effects["measure"] == name])
           for name in ("rate", "random", "one", "depth", "grown", "rises", "ahead")},
        "spread": judged(spreads),
        "training": judged(trained.dropna(subset="value"), condition="stage"),
        "pooled": judged(turned(seeds), "models"),
        "self only": judged(cut(cuts.SELF)),
        "one other": judged(leads[leads["cut"] == cuts.OTHER]),
        "no class token": judged(turned(cut(cuts.NO_CLS)), threshold=-MARGIN),
        "patches hidden": judged(leads[leads["cut"] == cuts.NO_PATCH]),
        "object": judged(thirds, "images", **where),
        "own object": judged(beyond, "images", **where),
        "context": judged(kept[kept["kept"] == cuts.CONTEXT], "images"),
        "far context": judged(kept[kept["kept"] == cuts.FAR], "images"),
        "leak": judged(hole, "images"),
        "parts": judged(dissociation, "images", **where),
    }, finding="class space", statistic="mean")
