"""What Chapter 26 says of relevance maps in class space and of linear probes."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from neuronpath_core.chapters.claims import OURS, THEIRS, told, turned
from neuronpath_core.chapters.relevance.measured import TEST_WORDS
from neuronpath_core.chapters.relevance.orders import ORDERS, RANDOM
from neuronpath_core.chapters.relevance.probed import PLACE_WORDS
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, Comparison, comparisons, with_verdict

CONDITIONS = {test: f"with the {words}" for test, words in TEST_WORDS.items()}
# accuracy averaged over a curve that counts as hardly better: a twentieth, as elsewhere
HARDLY = 0.05
# pairs of orders that claims compare, besides every order with a random one
PAIRS = (*(("own", other) for other in ("other image", "other class", "twin", "middle")),
         *(("own", other) for other in ("published", "block", "rollout", "last", "gradient_input",
                                        "integrated_gradients", "probes")),
         ("chefer", "own"), ("positive", "own"), ("positive", "chefer"), ("probes", "dealt"))
AREAS = rules.above("The difference of the two areas under accuracy against the removed share, "
                    "positive where the order named first is better, paired over images",
                    interval=rules.OVER_IMAGES)
SHARES = rules.above("The difference of the two shares of an image's patch tokens whose class is "
                     "right", interval=rules.OVER_IMAGES)
SMALL = rules.below("The difference of the areas of probes and random orders", HARDLY,
                    called=f"{100 * HARDLY:.0f} points", interval=rules.OVER_IMAGES,
                    then=", contradicts if above")
PLACED = rules.above("The share of images whose most relevant patch shows what is drawn, by at "
                     "least half of its pixels, minus that by the mask of another image of the "
                     "class", interval=rules.OVER_IMAGES, then=rules.OR_BELOW)
# key: who says it, the sentence, unit, control, rule and the notebook's table
WORDS = {
    "least": (THEIRS, "Patches that maps in class space rank lowest can be removed at less cost "
              "than random ones", "curve", "random orders", AREAS, "leads"),
    "most": (THEIRS, "Removing the patches that maps in class space rank highest costs more than "
             "removing random ones", "curve", "random orders", AREAS, "leads"),
    "chefer": (THEIRS, "The rule of Chefer et al. ranks patches better than maps in class space do",
               "curve", "maps in class space", AREAS, "pairs"),
    "probes order": (THEIRS, "Maps in class space rank patches better than linear probes do",
                     "curve", "identifiability by probes, summed over blocks", AREAS, "pairs"),
    "probes random": (THEIRS, "Linear probes rank patches hardly better than chance", "curve",
                      "random orders", SMALL, "leads"),
    "probes stream": (THEIRS, "The last block's stream is read better by projection than by "
                      "ten-shot probes", "tokens", "a ridge regression for each token", SHARES,
                      "last"),
    "probes halves": (THEIRS, "What the last block's halves add is read better by ten-shot probes "
                      "than by projection", "tokens", "projection to class space", SHARES, "last"),
    "probes dealt": (OURS, "Ten-shot probes learn more of the classes than of labels dealt at "
                     "random", "tokens", "probes of the same images with their labels dealt anew",
                     SHARES, "last"),
    "controls": (OURS, "A map in class space is about its image, its class and its model's weights",
                 "curve", "the map of another image of the class, of another class, of a random "
                 "twin; the middle of the image", AREAS, "pairs"),
    "placed": (THEIRS, "Summed over blocks and heads, a map in class space marks what its image "
               "shows", "images", "the mask of another image of the class", PLACED, "placed"),
    "gradients": (OURS, "Maps in class space rank patches better than attention and gradients of "
                  "pixels do", "curve", "attention rollout, the last block's attention, gradient × "
                  "input, integrated gradients", AREAS, "pairs"),
    "once": (OURS, "Maps in class space rank patches better with one softmax than with the two of "
             "the published code", "curve", "two softmaxes", AREAS, "pairs"),
    "written": (OURS, "The attention's output, as in the code, gives better maps than the block's, "
                "as in the text", "curve", "maps of the block's class token", AREAS, "pairs"),
    "attended": (OURS, "Times the attention, positive parts alone, maps in class space rank "
                 "patches better", "curve", "derivatives alone", AREAS, "pairs"),
    "reach": (OURS, "Times the attention, positive parts alone, maps in class space rank patches "
              "better than the rule of Chefer et al. does", "curve", "the rule of Chefer et al.",
              AREAS, "pairs"),
}
# key: the order that a claim is of, and those that it is compared with
ORDERED = {
    "chefer": ("chefer", "own"), "probes order": ("own", "probes"),
    "probes random": ("probes", RANDOM),
    "controls": ("own", "other image", "other class", "twin", "middle"),
    "gradients": ("own", "rollout", "last", "gradient_input", "integrated_gradients"),
    "once": ("own", "published"), "written": ("own", "block"), "attended": ("positive", "own"),
    "reach": ("positive", "chefer")}


def made_from(leads: pd.DataFrame, pairs: pd.DataFrame, last: pd.DataFrame, placed: pd.DataFrame,
              images: int) -> list[Claim]:
    """The tables are those of :mod:`~neuronpath_core.chapters.relevance.measured`,
    ``against_random`` and ``lead_rows`` of ``PAIRS``, and
    :func:`~neuronpath_core.chapters.relevance.probed.last_leads` and
    :func:`~neuronpath_core.chapters.relevance.pictures.place_rows` with ``data`` and ``model``,
    over ``images``."""
    both = pd.concat([leads, pairs], ignore_index=True)
    read = last.assign(condition="in the " + last["place"].map(PLACE_WORDS))

    def chosen(order: str, *others: str, test: str | None = None) -> tuple:
        own = both[(both["order"] == order) & both["against"].isin(others)]
        own = own if test is None else own[own["test"] == test]
        return comparisons(with_verdict(own.assign(condition=own["test"].map(CONDITIONS),
                                                   against=own["against"].map(ORDERS))),
                           "images", condition="condition", against="against")

    def tokens(against: str, *places: str, first: str = "projection") -> pd.DataFrame:
        return read[(read["first"] == first) & (read["against"] == against)
                    & read["place"].isin(places)]

    def judged(table: pd.DataFrame) -> tuple:
        return comparisons(with_verdict(table), images, condition="condition")

    rows = {key: chosen(*orders) for key, orders in ORDERED.items()}
    return told(WORDS, {
        **rows,
        "placed": comparisons(with_verdict(placed[placed["order"] == "own"]), images),
        "least": chosen("own", RANDOM, test="negative"),
        "most": chosen("own", RANDOM, test="positive"),
        "probes random": tuple(map(_hardly, rows["probes random"])),
        "probes stream": judged(tokens("probes", "block")),
        "probes halves": judged(turned(tokens("probes", "attention", "ffn"))),
        "probes dealt": judged(tokens("dealt", "block", "attention", "ffn", first="probes")),
    }, finding="class space", statistic="mean")


def _hardly(row: Comparison) -> Comparison:
    """A comparison judged by whether it stays below ``HARDLY``."""
    verdict = ("agrees" if row.high < HARDLY else "contradicts" if row.low > HARDLY
               else "not shown")
    return replace(row, verdict=verdict)
