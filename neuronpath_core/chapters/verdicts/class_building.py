"""What Chapter 25 says of how each half of a block builds the class."""

from __future__ import annotations

from functools import partial

import pandas as pd

from neuronpath_core.chapters.class_building.correctness import MEASURES
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict

OVER_IMAGES = "95 % bootstrap interval over images"
OVER_CLASSES = "95 % bootstrap interval over classes"
OVER_MODELS = "95 % jackknife interval over trained models"
HALVES = {"attention": "in the attention", "ffn": "in the FFN"}
ABOVE = "lies above zero, contradicts if below."


def made_from(changes: pd.DataFrame, context: pd.DataFrame, sources: pd.DataFrame,
              values: pd.DataFrame, similar: pd.DataFrame, agreement: pd.DataFrame,
              correct: pd.DataFrame, match: pd.DataFrame, pooled: pd.DataFrame) -> list[Claim]:
    """The tables, each with ``data`` and ``model``, are those of
    :mod:`~neuronpath_core.chapters.class_building.compared` (``change_rows``, ``place_rows``,
    ``stream_rows``, ``memory_rows`` of either measure), of ``values.value_leads`` and
    ``values.similar_rows`` (with a ``verdict``), ``correctness.correctness_rows`` and
    ``pooled.pooled_rows``."""
    changes, sources = (_at_tokens(table) for table in (changes, sources))
    agreement, match = (_in_halves(_at_tokens(table), "at") for table in (agreement, match))
    values, similar, pooled = (_in_halves(table) for table in (values, similar, pooled))
    correct = _in_halves(correct)
    said = partial(Claim, finding="class space", by="companion", statistic="mean")
    asked = partial(Claim, finding="class space", by="book", statistic="mean")

    def of(measure: str) -> tuple:
        return comparisons(with_verdict(changes[changes["measure"] == measure]), "images",
                           condition="at")

    return [
        said("attention", sentence="The attention raises the image's class",
             comparisons=of("attention"), unit="tokens", control="other classes",
             rule="The share of tokens and blocks in which it raises the image's class minus that "
                  f"for another class; agrees if its {OVER_IMAGES} {ABOVE}", table="changes"),
        said("ffn late", sentence="The FFN raises the image's class late rather than early",
             comparisons=of("later"), unit="tokens", control="other classes",
             rule="The lead over other classes in the last third of the blocks minus that in the "
                  f"first; agrees if its {OVER_IMAGES} {ABOVE}", table="changes"),
        said("ffn lowers", sentence="Before the last blocks the FFN lowers the image's class in "
                                    "most tokens",
             comparisons=of("lowers"), unit="tokens",
             control="what is added to the logit, in place of logits of normed parts",
             rule="One half minus the share of tokens that it raises in the first two thirds of "
                  f"the blocks; agrees if its {OVER_IMAGES} {ABOVE}", table="changes"),
        said("context", sentence="Up to the last quarter of the blocks the attention raises the "
                                 "class more at the tokens that show the object",
             comparisons=comparisons(with_verdict(context), "images", against="against"),
             unit="tokens", control="the mask of another image of the class",
             rule="The share of tokens whose class rises, object minus the others; then that minus "
                  f"the same of another image's mask; agrees if its {OVER_IMAGES} {ABOVE}",
             table="context"),
        said("composed", sentence="The class of a token is made of several parts early, and taken "
                                  "over from one of them late",
             comparisons=comparisons(with_verdict(sources), "images", condition="at"),
             unit="tokens", control="a partition of all tokens by the parts whose class they have",
             rule="The share of tokens whose class none of the parts has, in the first third of "
                  f"the blocks minus in the last; agrees if its {OVER_IMAGES} {ABOVE}",
             table="sources"),
        said("value vectors", sentence="Value vectors point along classes",
             comparisons=comparisons(with_verdict(values), "classes", condition="in",
                                     against="against"),
             unit="cosine", control="directions drawn at random, and the neurons rotated among "
                                    "themselves",
             rule="The largest cosine of a class with a value vector, at the block that the paper "
                  f"names, minus what chance gives; agrees if its {OVER_CLASSES} {ABOVE}",
             table="values", of="classes"),
        said("similar", sentence="A value vector collects similar classes",
             comparisons=comparisons(similar, "classes", condition="in", against="against",
                                     chance="chance"),
             unit="neurons", control="the neurons rotated among themselves, and the attributes "
                                     "dealt to the classes anew",
             rule="The share of value vectors whose two top classes share outline or fill, minus "
                  "chance; agrees if the one-sided test of permutations, corrected by Holm's "
                  "procedure over all models, is below 0.05.", table="similar", of="classes",
             statistic=""),
        said("agreement", sentence="The memories that a token uses most agree with the image's "
                                   "class",
             comparisons=comparisons(with_verdict(agreement), "images", condition="in at",
                                     against="against"),
             unit="tokens", control="other classes, and memories drawn at random",
             rule="The share of tokens of whose five most active memories one raises the image's "
                  "class most, at the block that the paper names, minus chance; agrees if its "
                  f"{OVER_IMAGES} {ABOVE}", table="agreement"),
        *(said(key, sentence=f"Memories agree more {what} in images that are classified correctly",
               comparisons=comparisons(
                   with_verdict(correct[correct["measure"] == measure]) if len(correct) else
                   correct, "images", condition="in"),
               unit="tokens", control="correct images of which the model is as confident",
               rule="Correct minus wrong, each wrong image paired with a correct one that is as "
                    f"confident; agrees if its {OVER_IMAGES} {ABOVE}", table="correct")
          for key, measure, what in zip(("correct, published", "correct", "correct, predicted"),
                                        MEASURES, ("with the label, as published,",
                                                   "with the label",
                                                   "with the class that is predicted"),
                                        strict=True)),
        said("match", sentence="What a half says is what one of its most active memories says",
             comparisons=comparisons(with_verdict(match), "images", condition="in at",
                                     against="against"),
             unit="tokens", control="memories drawn at random",
             rule="The share of tokens of whose five most active memories one raises the class "
                  "that the whole half raises most, at the block that the paper names, minus "
                  f"chance; agrees if its {OVER_IMAGES} {ABOVE}", table="match"),
        said("pooled", sentence="Models that pool their tokens do without memories that agree with "
                                "classes",
             comparisons=comparisons(with_verdict(pooled[pooled["tokens"] == "value vectors"]),
                                     "trained", condition="in"),
             unit="cosine", control="models of one architecture, from several seeds of training",
             rule="Class-value agreement above that of random directions, of models with a class "
                  f"token minus of pooled ones; agrees if its {OVER_MODELS} {ABOVE}",
             table="pooled", of="trained models"),
        asked("pooled, used", sentence="Memories in use agree less with the class in models that "
                                       "pool their tokens",
              comparisons=comparisons(
                  with_verdict(pooled[pooled["tokens"] == "where the head reads"]), "trained",
                  condition="in"),
              unit="tokens", control="models of one architecture, from several seeds of training",
              rule="The lead over other classes at the tokens that the head reads, of models with "
                   f"a class token minus of pooled ones; agrees if its {OVER_MODELS} {ABOVE}",
              table="pooled", of="trained models"),
    ]


def _at_tokens(table: pd.DataFrame) -> pd.DataFrame:
    words = {"class token": "at the class token", "image tokens": "at image tokens"}
    return table.assign(at=table["tokens"].map(words))


def _in_halves(table: pd.DataFrame, column: str | None = None) -> pd.DataFrame:
    """The half as an adverbial; with a column of adverbials behind it."""
    if table.empty:
        return table
    table = table.assign(**{"in": table["half"].map(HALVES)})
    return table if column is None else table.assign(**{"in at": table["in"] + " "
                                                        + table[column]})
