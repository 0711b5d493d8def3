"""What Chapter 24 says of tokens that know the class."""

from __future__ import annotations

from functools import partial

import pandas as pd

from neuronpath_core.chapters.class_space import cuts
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict

OVER_IMAGES = "95 % bootstrap interval over images"
FINDING = "class space"
# of the rate that may be lost: the margin of the chapters on pruning
MARGIN = 0.05


def made_from(effects: pd.DataFrame, spreads: pd.DataFrame, trained: pd.DataFrame,
              seeds: pd.DataFrame, lost: pd.DataFrame, leads: pd.DataFrame, kept: pd.DataFrame,
              hole: pd.DataFrame, thirds: pd.DataFrame, dissociation: pd.DataFrame,
              images: int) -> list[Claim]:
    """The tables are those of the modules of :mod:`neuronpath_core.chapters.class_space`, each with
    ``data`` and ``model``: of ``tokens.summary_rows``, ``spread_row``, ``training_rows``,
    ``seed_row``, of ``cuts.lost_rows``, ``against`` (with ``cut``), ``kept_rows`` and
    ``beyond_hole``, of ``where.third_rows`` and ``dissociation_rows``; over ``images`` images
    unless a table has its own number."""
    theirs = partial(Claim, finding=FINDING, by="companion", statistic="mean")
    ours = partial(Claim, finding=FINDING, by="book", statistic="mean")

    def effect(name: str) -> tuple:
        return comparisons(with_verdict(effects[effects["measure"] == name]), images)

    def cut(name: str, threshold: float = 0.0, sign: int = 1) -> tuple:
        own = lost[lost["cut"] == name]
        if sign < 0:
            own = own.assign(value=-own["value"], low=-own["high"], high=-own["low"])
        return comparisons(with_verdict(own, threshold=threshold), images)

    def stays(name: str) -> tuple:
        return comparisons(with_verdict(kept[kept["kept"] == name]), "images")

    beyond = thirds.assign(**{name: thirds[f"beyond_{name}"] for name in ("value", "low", "high")})
    grown = trained.dropna(subset="value")
    above = f"agrees if its {OVER_IMAGES} lies above zero, contradicts if below."
    return [
        theirs("rate", sentence="Image tokens of the last block rank their image's class first "
                                "more often than chance",
               comparisons=effect("rate"), unit="tokens", control="one over the number of classes",
               rule=f"The share of tokens minus 1/C; {above}", table="effects"),
        ours("random", sentence="Image tokens of the last block rank their image's class first "
                                "more often than in networks with random weights",
             comparisons=effect("random"), unit="tokens",
             control="networks of the same architecture with random weights",
             rule=f"The share of tokens minus the mean share with random weights; {above}",
             table="effects"),
        theirs("one", sentence="More images have a token that ranks the class first than are "
                               "classified correctly",
               comparisons=effect("one"), unit="images", control="the model's own accuracy",
               rule=f"The difference of the two shares on the same images; {above}",
               table="effects"),
        theirs("depth", sentence="The class becomes more identifiable in image tokens from block "
                                 "to block",
               comparisons=effect("depth"), unit="correlation",
               control="no order of the blocks (a rank correlation of zero)",
               rule=f"Spearman's correlation of block and mean identifiability in each image; "
                    f"{above}", table="effects"),
        theirs("rises", sentence="From a block to the next the label's logit grows in most image "
                                 "tokens",
               comparisons=effect("rises"), unit="tokens", control="one half of the tokens",
               rule=f"The share of tokens whose label's logit grows, minus one half; {above}",
               table="effects"),
        theirs("ahead", sentence="In the middle of the network the class token is ahead of the "
                                 "image tokens",
               comparisons=effect("ahead"), unit="identifiability",
               control="the image tokens of the same blocks",
               rule=f"The difference of identifiability in the middle third of the blocks, of "
                    f"models that classify from the class token; {above}", table="effects"),
        theirs("spread", sentence="Image tokens vary more from image to image than the class token "
                                  "does",
               comparisons=comparisons(with_verdict(spreads), images), unit="identifiability",
               control="the class token", statistic="",
               rule=f"The standard deviation over images at a patch minus the class token's, mean "
                    f"over blocks; {above}", table="spreads"),
        ours("training", sentence="The longer a model is trained, the more of its image tokens "
                                  "rank the class first",
             comparisons=comparisons(with_verdict(grown), images, condition="stage"),
             unit="tokens", control="the stage of the training before",
             rule=f"The growth of the share of tokens on the same images; {above}",
             table="trained"),
        theirs("pooled", sentence="A model that pools its patch tokens has fewer tokens that rank "
                                  "the class first",
               comparisons=comparisons(with_verdict(seeds.assign(
                   value=-seeds["value"], low=-seeds["high"], high=-seeds["low"])), "models"),
               unit="tokens", control="models that classify from the class token",
               rule="The difference of the mean rates; agrees if its 95 % jackknife interval over "
                    "trained models lies above zero, contradicts if below.",
               table="seeds", of="trained models"),
        theirs("self only", sentence="Image tokens that see only themselves rank their class "
                                     "first less often than in the uncut model",
               comparisons=cut(cuts.SELF), unit="tokens", control="the same tokens, uncut",
               rule=f"The share of tokens lost on the same images; {above}", table="lost"),
        ours("one other", sentence="Image tokens that see only themselves rank their class first "
                                   "more often than those that see only one other",
             comparisons=comparisons(with_verdict(
                 leads[leads["cut"] == cuts.OTHER]), images), unit="tokens",
             control="attention to one other token drawn at random, instead of to itself",
             rule=f"The share that self only leaves minus the share that one other token leaves; "
                  f"{above}", table="leads"),
        theirs("no class token", sentence="Image tokens do not need the class token",
               comparisons=cut(cuts.NO_CLS, -MARGIN, -1), unit="tokens",
               control=f"a margin of {100 * MARGIN:.0f} % of the tokens",
               rule=f"The change of the share of tokens; agrees if its {OVER_IMAGES} lies above "
                    f"-{100 * MARGIN:.0f} % of the tokens, contradicts if below.", table="lost"),
        theirs("object", sentence="Tokens on the object are ahead of tokens beside it",
               comparisons=comparisons(with_verdict(thirds), "images", condition="condition"),
               unit="identifiability", control="the tokens of the same image beside the object",
               rule=f"The difference of mean identifiability in an image; {above}",
               table="thirds"),
        ours("own object", sentence="Tokens on the object are further ahead by the image's own "
                                    "mask than by another image's",
             comparisons=comparisons(with_verdict(beyond), "images", condition="condition"),
             unit="identifiability", control="masks of other images of the class",
             rule=f"That difference minus its mean over exchanged masks; {above}",
             table="thirds"),
        theirs("context", sentence="Context tokens identify the class without the object's tokens",
               comparisons=stays(cuts.CONTEXT), unit="tokens",
               control="one over the number of classes",
               rule=f"The share of context tokens that rank the class first after the object's "
                    f"were taken away, minus 1/C; {above}", table="kept"),
        ours("far context", sentence="Tokens without any pixel of the object identify the class "
                                     "without all other tokens",
             comparisons=stays(cuts.FAR), unit="tokens",
             control="one over the number of classes",
             rule=f"The same for patches without a pixel of the object, all others taken away; "
                  f"{above}", table="kept"),
        ours("leak", sentence="Context tokens know more of a scene than the background alone tells",
             comparisons=comparisons(with_verdict(hole), "images"), unit="tokens",
             control="the scene rendered without its object, the same tokens taken away",
             rule=f"The share of tokens minus that of the scene without its object; {above}",
             table="hole"),
        ours("parts", sentence="The outline is known along the outline's band and the fill inside",
             comparisons=comparisons(with_verdict(dissociation), "images", condition="condition"),
             unit="identifiability", control="the other attribute in the same tokens",
             rule=f"How much further the band is ahead of the fill area for the outline than for "
                  f"the fill; {above}", table="dissociation"),
    ]
