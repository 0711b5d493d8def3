"""What Chapter 26 says of relevance maps in class space and of linear probes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pandas as pd

from neuronpath_core.chapters.relevance.measured import TEST_WORDS
from neuronpath_core.chapters.relevance.orders import ORDERS, RANDOM
from neuronpath_core.chapters.relevance.probed import PLACE_WORDS
from neuronpath_core.stats.claims import Claim, Comparison, comparisons, with_verdict

OVER_IMAGES = "95 % bootstrap interval over images"
RULE = (f"The difference of the two areas under accuracy against the removed share, positive where "
        f"the order named first is better, paired over images; agrees if its {OVER_IMAGES} lies "
        f"above zero.")
SHARE_RULE = (f"The difference of the two shares of an image's patch tokens whose class is right; "
              f"agrees if its {OVER_IMAGES} lies above zero.")
CONDITIONS = {test: f"with the {words}" for test, words in TEST_WORDS.items()}
# accuracy averaged over a curve that counts as hardly better: a twentieth, as elsewhere
HARDLY = 0.05
# pairs of orders that claims compare, besides every order with a random one
PAIRS = (*(("own", other) for other in ("other image", "other class", "twin", "middle")),
         *(("own", other) for other in ("published", "block", "rollout", "last", "gradient_input",
                                        "integrated_gradients", "probes")),
         ("chefer", "own"), ("positive", "own"), ("positive", "chefer"), ("probes", "dealt"))


def made_from(leads: pd.DataFrame, pairs: pd.DataFrame, last: pd.DataFrame,
              images: int) -> list[Claim]:
    """The tables are those of :mod:`~neuronpath_core.chapters.relevance.measured`,
    ``against_random`` and ``lead_rows`` of ``PAIRS``, and
    :func:`~neuronpath_core.chapters.relevance.probed.last_leads` with ``data`` and ``model``, over
    ``images``."""
    both = pd.concat([leads, pairs], ignore_index=True)

    def chosen(order: str, *others: str, test: str | None = None) -> tuple:
        own = both[(both["order"] == order) & both["against"].isin(others)]
        own = own if test is None else own[own["test"] == test]
        return comparisons(with_verdict(own.assign(condition=own["test"].map(CONDITIONS),
                                                   against=own["against"].map(ORDERS))),
                           "images", condition="condition", against="against")

    def tokens(first: str, against: str, *places: str, expected: int = 1) -> tuple:
        own = last[(last["first"] == first) & (last["against"] == against)
                   & last["place"].isin(places)]
        named = own.assign(condition="in the " + own["place"].map(PLACE_WORDS))
        for end in ("value", "low", "high") if expected < 0 else ():
            named[end] = -own[{"value": "value", "low": "high", "high": "low"}[end]]
        return comparisons(with_verdict(named), images, condition="condition")

    said = partial(Claim, finding="class space", by="companion", unit="curve", statistic="mean",
                   rule=RULE)
    asked = partial(Claim, finding="class space", by="book", unit="curve", statistic="mean",
                    rule=RULE, table="pairs")
    return [
        said(key="least", sentence="Patches that maps in class space rank lowest can be removed at "
                                   "less cost than random ones",
             comparisons=chosen("own", RANDOM, test="negative"), control="random orders",
             table="leads"),
        said(key="most", sentence="Removing the patches that maps in class space rank highest "
                                  "costs more than removing random ones",
             comparisons=chosen("own", RANDOM, test="positive"), control="random orders",
             table="leads"),
        said(key="chefer", sentence="The rule of Chefer et al. ranks patches better than maps in "
                                    "class space do",
             comparisons=chosen("chefer", "own"), control="maps in class space", table="pairs"),
        said(key="probes order", sentence="Maps in class space rank patches better than linear "
                                          "probes do",
             comparisons=chosen("own", "probes"), control="identifiability by probes, summed over "
                                                          "blocks", table="pairs"),
        said(key="probes random", sentence="Linear probes rank patches hardly better than chance",
             comparisons=tuple(_hardly(row) for row in chosen("probes", RANDOM)),
             control="random orders",
             rule=f"The difference of the areas of probes and random orders; agrees if its "
                  f"{OVER_IMAGES} lies below {100 * HARDLY:.0f} points, contradicts if above.",
             table="leads"),
        said(key="probes stream", sentence="The last block's stream is read better by projection "
                                           "than by ten-shot probes",
             comparisons=tokens("projection", "probes", "block"), unit="tokens",
             control="a ridge regression for each token", rule=SHARE_RULE, table="last"),
        said(key="probes halves", sentence="What the last block's halves add is read better by "
                                           "ten-shot probes than by projection",
             comparisons=tokens("projection", "probes", "attention", "ffn", expected=-1),
             unit="tokens", control="projection to class space", rule=SHARE_RULE, table="last"),
        asked(key="probes dealt", sentence="Ten-shot probes learn more of the classes than of "
                                           "labels dealt at random",
              comparisons=tokens("probes", "dealt", "block", "attention", "ffn"), unit="tokens",
              control="probes of the same images with their labels dealt anew", rule=SHARE_RULE,
              table="last"),
        asked(key="controls", sentence="A map in class space is about its image, its class and its "
                                       "model's weights",
              comparisons=chosen("own", "other image", "other class", "twin", "middle"),
              control="the map of another image of the class, of another class, of a random twin; "
                      "the middle of the image"),
        asked(key="gradients", sentence="Maps in class space rank patches better than attention "
                                        "and gradients of pixels do",
              comparisons=chosen("own", "rollout", "last", "gradient_input",
                                 "integrated_gradients"),
              control="attention rollout, the last block's attention, gradient × input, integrated "
                      "gradients"),
        asked(key="once", sentence="Maps in class space rank patches better with one softmax than "
                                   "with the two of the published code",
              comparisons=chosen("own", "published"), control="two softmaxes"),
        asked(key="written", sentence="The attention's output, as in the code, gives better maps "
                                      "than the block's, as in the text",
              comparisons=chosen("own", "block"), control="maps of the block's class token"),
        asked(key="attended", sentence="Times the attention, positive parts alone, maps in class "
                                       "space rank patches better",
              comparisons=chosen("positive", "own"), control="derivatives alone"),
        asked(key="reach", sentence="Times the attention, positive parts alone, maps in class "
                                    "space rank patches better than the rule of Chefer et al. "
                                    "does",
              comparisons=chosen("positive", "chefer"), control="the rule of Chefer et al."),
    ]


def _hardly(row: Comparison) -> Comparison:
    """A comparison judged by whether it stays below ``HARDLY``."""
    verdict = ("agrees" if row.high < HARDLY else "contradicts" if row.low > HARDLY
               else "not shown")
    return replace(row, verdict=verdict)
