"""What Chapter 34 says of neurons that are spared and of the paths of answers."""

from __future__ import annotations

from functools import partial

import pandas as pd

from neuronpath_core.chapters.vlm_paths.answers import CONTROLS
from neuronpath_core.chapters.vlm_paths.walked import AS_ACTIVE
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict
from neuronpath_core.vlm.pruning import LEAST

FINDING = "vision-language"
OVER = "95 % bootstrap interval over {}"
ABOVE = "agrees if its " + OVER + " lies above zero, contradicts if below."

theirs = partial(Claim, finding=FINDING, by="companion", statistic="mean")
ours = partial(Claim, finding=FINDING, by="book", statistic="mean")


def made_from(gains: pd.DataFrame, lost: pd.DataFrame, image: pd.DataFrame, crossing: pd.DataFrame,
              multi: pd.DataFrame, colours: pd.DataFrame, shared: pd.DataFrame) -> list[Claim]:
    """The tables are those of :mod:`neuronpath_core.chapters.vlm_paths`, each with ``data`` and
    ``model``: of ``spared.gain_rows``, ``answers.lost_rows``, ``image_row``, ``crossing_row``,
    ``multi_rows``, ``colour_rows`` and ``shared_rows``."""
    return [*_of_pruning(gains), *_of_paths(lost, image, crossing),
            *_of_neurons(multi, colours, shared)]


def _judged(table: pd.DataFrame, n: str, condition: str = "condition", **columns: str):
    return comparisons(with_verdict(table) if len(table) else table, n, condition=condition,
                       **columns)


def _of_pruning(gains: pd.DataFrame) -> list[Claim]:
    rows = gains.assign(condition=[f"at p ≥ {row['level']}, with {row['fill']} in their place"
                                   for row in gains.to_dict("records")])
    questions = ABOVE.format("questions")

    def against(*names: str) -> pd.DataFrame:
        return rows[rows["against"].isin(names)]
    return [
        theirs("unknown against random",
               sentence="Taking away neurons of unknown type costs fewer answers than taking away "
                        "as many random ones",
               comparisons=_judged(against("random"), "questions", against="against"),
               unit="accuracy", control="as many random neurons",
               rule="The share of questions answered without the neurons of unknown type minus "
                    f"that without random ones, mean over draws; {questions}", table="gains"),
        ours("unknown against alike",
             sentence="Taking away neurons of unknown type costs fewer answers than taking away "
                      "neurons of the same layers that are as active and write as much",
             comparisons=_judged(against("matched"), "questions", against="against"),
             unit="accuracy", control="neurons matched within their layers",
             rule="The same difference with neurons that are alike in mean activation and in the "
                  f"norm of the value vector, mean over draws; {questions}", table="gains"),
        ours("unknown against least influential",
             sentence="Taking away neurons of unknown type costs fewer answers than taking away "
                      "those with the least influence",
             comparisons=_judged(against(LEAST), "questions", against="against"),
             unit="accuracy", control="neurons with the smallest complete attributions",
             rule=f"The same difference with the least influential neurons; {questions}",
             table="gains"),
    ]


def _of_paths(lost: pd.DataFrame, image: pd.DataFrame, crossing: pd.DataFrame) -> list[Claim]:
    words = ABOVE.format("words")
    own = partial(ours, unit="lost probability")
    kinds = lost.assign(condition=[f"of {kind}" for kind in lost["kind"]])

    def against(*names: str):
        return _judged(kinds[kinds["against"].isin([CONTROLS[name] for name in names])], "words",
                       against="against")
    return [
        own("path of a word", sentence="Removing the path of a word lowers its probability more "
                                       "than removing units that are as active",
            comparisons=against(AS_ACTIVE),
            control="for each unit of the path the most equally active one of its layer",
            rule=f"What the path takes of the word's probability minus what the control takes; "
                 f"{words}", table="lost"),
        own("the word's own", sentence="The path of an answer is that word's: the path of another "
                                       "colour on the same image takes less",
            comparisons=against("other word"), control="path of a colour that is not in the image",
            rule=f"The same difference with the path of another colour; {words}", table="lost"),
        own("the image's own", sentence="The path of an answer is that image's: the path of the "
                                        "same word on another image takes less",
            comparisons=against("other image"), control="path of the word on another image",
            rule=f"The same difference with the path on the next image; {words}", table="lost"),
        own("tower for colours", sentence="The tower's part of its path matters more for a colour "
                                          "that is asked for than for a word that the grammar "
                                          "forces",
            comparisons=_judged(image.assign(condition=""), "words"),
            control="words of captions that need no image",
            rule="What is lost without the tower's units of the path, for the colour minus for the "
                 f"forced word of the same scene; {words}", table="image"),
        ours("crossing", sentence="What neurons do at the image's tokens lies in earlier layers of "
                                  "the decoder than what they do at the predicting position",
             comparisons=_judged(crossing.assign(condition=[f"for {kind}" for kind
                                                            in crossing["kind"]])
                                 if len(crossing) else crossing, "words"),
             unit="depth", control="the same layers at the other positions",
             rule="The mean layer, weighted by what is lost without it, at the predicting position "
                  f"minus at image tokens, as a share of the decoder's layers; {words}",
             table="crossing"),
    ]


def _of_neurons(multi: pd.DataFrame, colours: pd.DataFrame, shared: pd.DataFrame) -> list[Claim]:
    words = ABOVE.format("words")
    return [
        ours("through multi-modal neurons",
             sentence="Paths of colour words run through multi-modal neurons more often than "
                      "through units as active",
             comparisons=_judged(multi.assign(condition=[f"of {kind}" for kind in multi["kind"]]),
                                 "words"),
             unit="neurons", control="for each unit the most equally active one of its layer",
             rule="The share of the decoder's units of a path that are multi-modal, minus that of "
                  f"the control; {words}", table="multi"),
        ours("through neurons of the colour",
             sentence="The neurons of a colour's path tell where in the image that colour is",
             comparisons=_judged(colours.assign(condition=[
                 f"{row['part']}, {row['kind']}" for row in colours.to_dict("records")]), "words",
                 against="against"),
             unit="separation", control="units as active, and a colour that is not in the image",
             rule="How far the area under the ROC curve of telling patches of the colour is from "
                  f"one half, mean over the path, minus the same of the control; {words}",
             table="colours"),
        ours("one path for two ways of saying it",
             sentence="The answer to a question about a colour and the colour's word in the "
                      "caption share more of their paths than they share with other words",
             comparisons=_judged(shared.assign(condition=[f"among {part}" for part
                                                          in shared["part"]]), "words",
                                 against="against"),
             unit="neurons", control="another colour in another caption; a forced word of the same",
             rule=f"The share of layers with the same unit minus that with the control; {words}",
             table="shared"),
    ]
