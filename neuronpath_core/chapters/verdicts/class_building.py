"""What Chapter 25 says of how each half of a block builds the class."""

from __future__ import annotations

from functools import partial

import pandas as pd

from neuronpath_core.chapters.claims import OURS, THEIRS, told
from neuronpath_core.chapters.class_building.correctness import MEASURES
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict

HALVES = {"attention": "in the attention", "ffn": "in the FFN"}
PLACES = {"class token": "at the class token", "image tokens": "at image tokens"}
ABOVE = partial(rules.above, interval=rules.OVER_IMAGES, then=rules.OR_BELOW)
OVER_MODELS = "its 95 % jackknife interval over trained models"
SEEDS = "models of one architecture, from several seeds of training"
# keys of the claims on the measures of correctness, and what memories agree with
CORRECT = {"correct, published": "with the label, as published,", "correct": "with the label",
           "correct, predicted": "with the class that is predicted"}
# key: who says it, the sentence, unit, control, rule and the notebook's table
WORDS = {
    "attention": (
        THEIRS, "The attention raises the image's class", "tokens", "other classes",
        ABOVE("The share of tokens and blocks in which it raises the image's class minus that for "
              "another class"), "changes"),
    "ffn late": (
        THEIRS, "The FFN raises the image's class late rather than early", "tokens",
        "other classes",
        ABOVE("The lead over other classes in the last third of the blocks minus that in the "
              "first"), "changes"),
    "ffn lowers": (
        THEIRS, "Before the last blocks the FFN lowers the image's class in most tokens", "tokens",
        "what is added to the logit, in place of logits of normed parts",
        ABOVE("One half minus the share of tokens that it raises in the first two thirds of the "
              "blocks"), "changes"),
    "context": (
        THEIRS, "Up to the last quarter of the blocks the attention raises the class more at the "
        "tokens that show the object", "tokens", "the mask of another image of the class",
        ABOVE("The share of tokens whose class rises, object minus the others; then that minus the "
              "same of another image's mask"), "context"),
    "composed": (
        THEIRS, "The class of a token is made of several parts early, and taken over from one of "
        "them late", "tokens", "a partition of all tokens by the parts whose class they have",
        ABOVE("The share of tokens whose class none of the parts has, in the first third of the "
              "blocks minus in the last"), "sources"),
    "value vectors": (
        THEIRS, "Value vectors point along classes", "cosine",
        "directions drawn at random, and the neurons rotated among themselves",
        ABOVE("The largest cosine of a class with a value vector, at the block that the paper "
              "names, minus what chance gives", interval=rules.OVER_CLASSES), "values",
        {"of": "classes"}),
    "similar": (
        THEIRS, "A value vector collects similar classes", "neurons",
        "the neurons rotated among themselves, and the attributes dealt to the classes anew",
        rules.Rule("The share of value vectors whose two top classes share outline or fill, minus "
                   "chance; agrees if the one-sided test of permutations, corrected by Holm's "
                   "procedure over all models, is below 0.05."), "similar",
        {"of": "classes", "statistic": ""}),
    "agreement": (
        THEIRS, "The memories that a token uses most agree with the image's class", "tokens",
        "other classes, and memories drawn at random",
        ABOVE("The share of tokens of whose five most active memories one raises the image's class "
              "most, at the block that the paper names, minus chance"), "agreement"),
    **{key: (
        THEIRS, f"Memories agree more {what} in images that are classified correctly", "tokens",
        "correct images of which the model is as confident",
        ABOVE("Correct minus wrong, each wrong image paired with a correct one that is as "
              "confident"), "correct") for key, what in CORRECT.items()},
    "match": (
        THEIRS, "What a half says is what one of its most active memories says", "tokens",
        "memories drawn at random",
        ABOVE("The share of tokens of whose five most active memories one raises the class that "
              "the whole half raises most, at the block that the paper names, minus chance"),
        "match"),
    "pooled": (
        THEIRS, "Models that pool their tokens do without memories that agree with classes",
        "cosine", SEEDS,
        ABOVE("Class-value agreement above that of random directions, of models with a class token "
              "minus of pooled ones", interval=OVER_MODELS), "pooled", {"of": "trained models"}),
    "pooled, used": (
        OURS, "Memories in use agree less with the class in models that pool their tokens",
        "tokens", SEEDS,
        ABOVE("The lead over other classes at the tokens that the head reads, of models with a "
              "class token minus of pooled ones", interval=OVER_MODELS), "pooled",
        {"of": "trained models"}),
}


def made_from(changes: pd.DataFrame, context: pd.DataFrame, sources: pd.DataFrame,
              values: pd.DataFrame, similar: pd.DataFrame, agreement: pd.DataFrame,
              correct: pd.DataFrame, match: pd.DataFrame, pooled: pd.DataFrame) -> list[Claim]:
    """The tables, each with ``data`` and ``model``, are those of
    :mod:`~neuronpath_core.chapters.class_building.compared` (``change_rows``, ``place_rows``,
    ``stream_rows``, ``memory_rows`` of either measure), of ``values.value_leads`` and
    ``values.similar_rows`` (with a ``verdict``), ``correctness.correctness_rows`` and
    ``pooled.pooled_rows``."""
    changes, sources, agreement, match = (
        table.assign(at=table["tokens"].map(PLACES))
        for table in (changes, sources, agreement, match))
    agreement, match = (_in_halves(table, "at") for table in (agreement, match))
    values, similar, pooled, correct = map(_in_halves, (values, similar, pooled, correct))

    def judged(table: pd.DataFrame, n: str = "images", **columns: str) -> tuple:
        return comparisons(with_verdict(table) if len(table) else table, n, **columns)

    changed = {key: judged(changes[changes["measure"] == measure], condition="at")
               for key, measure in (("attention", "attention"), ("ffn late", "later"),
                                    ("ffn lowers", "lowers"))}
    used = {"condition": "in at", "against": "against"}
    return told(WORDS, {
        **changed,
        "context": judged(context, against="against"),
        "composed": judged(sources, condition="at"),
        "value vectors": judged(values, "classes", condition="in", against="against"),
        "similar": comparisons(similar, "classes", condition="in", against="against",
                               chance="chance"),
        "agreement": judged(agreement, **used),
        **{key: judged(correct[correct["measure"] == measure] if len(correct) else correct,
                       condition="in") for key, measure in zip(CORRECT, MEASURES, strict=True)},
        "match": judged(match, **used),
        **{key: judged(pooled[pooled["tokens"] == tokens], "trained", condition="in")
           for key, tokens in (("pooled", "value vectors"),
                               ("pooled, used", "where the head reads"))},
    }, finding="class space", statistic="mean")


def _in_halves(table: pd.DataFrame, column: str | None = None) -> pd.DataFrame:
    """The half as an adverbial; with a column of adverbials behind it."""
    if table.empty:
        return table
    table = table.assign(**{"in": table["half"].map(HALVES)})
    return table if column is None else table.assign(**{"in at": table["in"] + " "
                                                        + table[column]})
