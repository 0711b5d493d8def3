"""What Chapter 34 says of neurons that are spared and of the paths of answers."""

from __future__ import annotations

from functools import partial

import pandas as pd

from neuronpath_core.chapters.claims import OURS, THEIRS, told
from neuronpath_core.chapters.vlm_paths.answers import CONTROLS
from neuronpath_core.chapters.vlm_paths.walked import AS_ACTIVE
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict
from neuronpath_core.vlm.pruning import LEAST

OF_QUESTIONS, OF_SCENES, OF_WORDS = (
    partial(rules.above, interval=f"{rules.BOOTSTRAP} over {units}", then=rules.OR_BELOW)
    for units in ("questions", "scenes", "words"))
# key: who says it, the sentence, unit, control, rule and the notebook's table
WORDS = {
    "unknown against random": (
        THEIRS, "Taking away neurons of unknown type costs fewer answers than taking away as many "
        "random ones", "accuracy", "as many random neurons",
        OF_QUESTIONS("The share of questions answered without the neurons of unknown type minus "
                     "that without random ones, mean over draws"), "gains",
        {"of": "questions"}),
    "unknown against alike": (
        OURS, "Taking away neurons of unknown type costs fewer answers than taking away neurons of "
        "the same layers that are as active and write as much", "accuracy",
        "neurons matched within their layers",
        OF_QUESTIONS("The same difference with neurons that are alike in mean activation and in "
                     "the norm of the value vector, mean over draws"), "gains",
        {"of": "questions"}),
    "unknown against least influential": (
        OURS, "Taking away neurons of unknown type costs fewer answers than taking away those with "
        "the least influence", "accuracy", "neurons with the smallest complete attributions",
        OF_QUESTIONS("The same difference with the least influential neurons"), "gains",
        {"of": "questions"}),
    "captions against random": (
        OURS, "Taking away neurons of unknown type costs captions less than taking away as many "
        "random ones", "caption score", "as many random neurons",
        OF_SCENES("The captions' score without the neurons of unknown type minus that without "
                  "random ones, mean over draws"), "scores",
        {"of": "scenes"}),
    "captions against alike": (
        OURS, "Taking away neurons of unknown type costs captions less than taking away neurons of "
        "the same layers that are as active and write as much", "caption score",
        "neurons matched within their layers",
        OF_SCENES("The same difference with neurons that are alike in mean activation and in the "
                  "norm of the value vector, mean over draws"), "scores",
        {"of": "scenes"}),
    "path of a word": (
        OURS, "Removing the path of a word lowers its probability more than removing units that "
        "are as active", "lost probability",
        "for each unit of the path the most equally active one of its layer",
        OF_WORDS("What the path takes of the word's probability minus what the control takes"),
        "lost"),
    "path against the most active": (
        OURS, "Removing the path of a word lowers its probability more than removing the most "
        "active units", "lost probability", "the most active unit of each layer",
        OF_WORDS("The same difference with the most active units"), "lost"),
    "the word's own": (
        OURS, "The path of an answer is that word's: the path of another colour on the same image "
        "takes less", "lost probability", "path of a colour that is not in the image",
        OF_WORDS("The same difference with the path of another colour"), "lost"),
    "the image's own": (
        OURS, "Removing the path of an answer takes more from it on the image on which that path "
        "was found than removing the path of the same word on another image",
        "lost probability", "path of the word on another image",
        OF_WORDS("The same difference with the path on the next image"), "lost"),
    "tower for colours": (
        OURS, "The tower's part of its path matters more for a colour that is asked for than for a "
        "word that the grammar forces", "lost probability",
        "words of captions that need no image",
        OF_WORDS("What is lost without the tower's units of the path, for the colour minus for the "
                 "forced word of the same scene"), "image"),
    "where blocks are missed": (
        OURS, "Silencing the decoder's blocks, one at a time, costs a word more at the position "
        "that is about to say it than at the image's tokens", "lost probability",
        "the same blocks at the image's tokens",
        OF_WORDS("What is lost at the predicting position minus what is lost at image tokens, "
                 "summed over blocks with the losses' signs"), "totals"),
    "through multi-modal neurons": (
        OURS, "Paths of colour words run through multi-modal neurons more often than through units "
        "as active", "neurons", "for each unit the most equally active one of its layer",
        OF_WORDS("The share of the decoder's units of a path that are multi-modal, minus that of "
                 "the control"), "multi"),
    "through neurons of the colour": (
        OURS, "The neurons of a colour's path tell where in the image that colour is",
        "separation", "units as active, and a colour that is not in the image",
        OF_WORDS("How far the area under the ROC curve of telling patches of the colour is from "
                 "one half, mean over the path, minus the same of the control"), "colours"),
    "one path for two ways of saying it": (
        OURS, "The answer to a question about a colour and the colour's word in the caption share "
        "more of their paths than they share with other words", "neurons",
        "another colour in another caption; a forced word of the same",
        OF_WORDS("The share of layers with the same unit minus that with the control"), "shared"),
}


def made_from(gains: pd.DataFrame, scores: pd.DataFrame, lost: pd.DataFrame, image: pd.DataFrame,
              totals: pd.DataFrame, multi: pd.DataFrame, colours: pd.DataFrame,
              shared: pd.DataFrame) -> list[Claim]:
    """The tables are those of :mod:`neuronpath_core.chapters.vlm_paths`, each with ``data`` and
    ``model``: of ``spared.gain_rows``, ``captions.score_rows``, ``answers.lost_rows``,
    ``image_row``, ``total_rows``, ``multi_rows``, ``colour_rows`` and ``shared_rows``."""
    spared = _where(gains, "at p ≥ {level}, with {fill} in their place")
    said = _where(scores, "at p ≥ {level}")
    taken = _where(lost, "of {kind}")

    def against(table: pd.DataFrame, name: str, n: str) -> tuple:
        return _judged(table[table["against"] == name], n, against="against")

    return told(WORDS, {
        **{f"unknown against {other}": against(spared, name, "questions")
           for other, name in (("random", "random"), ("alike", "matched"),
                               ("least influential", LEAST))},
        **{f"captions against {other}": against(said, name, "scenes")
           for other, name in (("random", "random"), ("alike", "matched"))},
        **{key: against(taken, CONTROLS[name], "words")
           for key, name in (("path of a word", AS_ACTIVE),
                             ("path against the most active", "most active"),
                             ("the word's own", "other word"),
                             ("the image's own", "other image"))},
        "tower for colours": _judged(image.assign(condition=""), "words"),
        "where blocks are missed": _judged(_where(totals, "for {kind}"), "words"),
        "through multi-modal neurons": _judged(_where(multi, "of {kind}"), "words"),
        "through neurons of the colour": _judged(_where(colours, "{part}, {kind}"), "words",
                                                 against="against"),
        "one path for two ways of saying it": _judged(_where(shared, "among {part}"), "words",
                                                      against="against"),
    }, finding="vision-language", of="words", statistic="mean")


def _where(table: pd.DataFrame, phrase: str) -> pd.DataFrame:
    """The table with its condition as an adverbial of other columns."""
    return table.assign(condition=[phrase.format_map(row) for row in table.to_dict("records")])


def _judged(table: pd.DataFrame, n: str, **columns: str) -> tuple:
    return comparisons(with_verdict(table) if len(table) else table, n, condition="condition",
                       **columns)
