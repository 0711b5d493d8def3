"""What Chapter 29 says of images that drive single neurons."""

from __future__ import annotations

from functools import partial

import pandas as pd

from neuronpath_core.chapters.claims import turned
from neuronpath_core.chapters.stimuli import several
from neuronpath_core.chapters.stimuli.made import OTHER, PLANTED, RANDOM, TWIN
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict
from neuronpath_core.stats.tests import judged, permutation_verdict

FINDING = "key neurons"
ABOVE = partial(rules.above, interval=rules.OVER_CLASSES, then=rules.OR_BELOW)


def made_from(effects: pd.DataFrame, near: pd.DataFrame, failures: pd.DataFrame,
              predictions: pd.DataFrame, rescues: pd.DataFrame, gains: pd.DataFrame,
              shared: pd.DataFrame, phases: pd.DataFrame) -> list[Claim]:
    """The tables are those of the modules of :mod:`neuronpath_core.chapters.stimuli`, each with
    ``data`` and ``model``: of ``judged.effect_rows``, ``near_effects`` against random neurons, of
    ``after_gelu.failure_row`` and ``prediction_row``, of ``several.rescue_rows``, ``gain_rows`` of
    weights, ``sharing_row``, and ``judged.near_effects`` of images of which the phase alone
    moves."""
    theirs = partial(Claim, finding=FINDING, by="companion", of="classes", statistic="mean")
    ours = partial(Claim, finding=FINDING, by="book", of="classes", statistic="mean")

    def effect(measure: str, control: str) -> tuple:
        own = effects[(effects["measure"] == measure) & (effects["control"] == control)]
        return comparisons(with_verdict(own), "n")

    def group(of: str, *names: str, sign: int = 1) -> tuple:
        own = rescues[rescues["condition"].isin(names) & (rescues["group"] == of)]
        columns = {"condition": "condition"} if len(names) > 1 else {}
        return comparisons(with_verdict(own if sign > 0 else turned(own)), "n", **columns)

    told = judged(predictions) if len(predictions) else predictions
    return [
        theirs("reclassified", sentence="The image that drives the key of a class's best value "
                                        "neuron is classified as that class",
               comparisons=effect("own", RANDOM), unit="classes",
               control="the image of a random neuron of the same block",
               rule=ABOVE("The share of classes that their model recognises, minus the control's"),
               table="effects"),
        ours("another class", sentence="Such an image is classified as its own class more often "
                                       "than the images of other classes are",
             comparisons=effect("own", OTHER), unit="classes",
             control="the images of the best value neurons of all other classes",
             rule=ABOVE("The share of classes recognised minus how often the other classes' "
                        "images are taken for the class"), table="effects"),
        ours("twin", sentence="Such images are recognised more often than in a network with random "
                              "weights",
             comparisons=effect("own", TWIN), unit="classes",
             control="a network with random weights, its own best value neurons, judged by itself",
             rule=ABOVE("The difference of the shares of classes recognised"), table="effects"),
        ours("transfer", sentence="Models that the image was not made for name its class too",
             comparisons=effect("transfer", RANDOM), unit="classes",
             control="the image of a random neuron of the same block",
             rule=ABOVE("The share of other models (other seeds and architectures) that name the "
                        "class, mean over classes, minus the control's"), table="effects"),
        ours("planted", sentence="A neuron whose key reads the class has an image that other "
                                 "models recognise more often than that of the best value neuron",
             comparisons=effect("transfer", PLANTED), unit="classes",
             control="the best value neuron of the class, by the same method",
             rule=ABOVE("The difference of the shares of other models that name the class"),
             table="effects"),
        ours("plausible", sentence="Images of best value neurons lie nearer to training images "
                                   "than those of random neurons",
             comparisons=comparisons(with_verdict(near), "n"), unit="images",
             control="the image of a random neuron of the same block",
             rule=ABOVE("In another model's features, the share of held-out images that lie at "
                        "least as far from the training images, minus the control's"),
             table="near"),
        theirs("after activation", sentence="Images fail when they are made after the activation "
                                            "function",
               comparisons=comparisons(with_verdict(failures), "n"), unit="classes",
               control="the same neurons' images, made before the activation function",
               rule=ABOVE("The share of neurons whose image reaches less than half of the gain "
                          "that the other way reaches, after minus before"), table="failures"),
        ours("first pre-activation", sentence="Which of these images fail is told by the neuron's "
                                              "pre-activation on the first image",
             comparisons=comparisons(told, "n"), unit="separation", statistic="",
             control="neurons exchanged",
             rule=ABOVE("The area under the ROC curve of the first mean pre-activation, minus one "
                        "half", then=" and p after Holm is at most 0.05"), table="predictions"),
        theirs("rescues", sentence="Several value neurons together rescue classes that one fails",
               comparisons=group(several.BAD, several.MANY), unit="classes",
               control="a second try with one neuron, from another start",
               rule=ABOVE("Of the classes that one neuron's image fails, the share that several "
                          "rescue minus the share that a second try does"), table="rescues"),
        theirs("harms", sentence="Several value neurons together harm classes that one gets right",
               comparisons=group(several.GOOD, several.MANY, sign=-1), unit="classes",
               control="a second try with one neuron, from another start",
               rule=ABOVE("Of the classes that one neuron's image gets right, the share that "
                          "several lose minus the share that a second try does"), table="rescues"),
        ours("diversity", sentence="Copies that are pushed apart rescue classes that one image "
                                   "fails",
             comparisons=group(several.BAD, several.ONE_APART, several.MANY_APART), unit="classes",
             control="a second try with one neuron, from another start",
             rule=ABOVE("Of the classes that one neuron's image fails, the mean share of the "
                        "copies that are recognised minus the share that a second try is"),
             table="rescues"),
        ours("weights", sentence="Weighting several neurons by their scores makes images that are "
                                 "recognised more often",
             comparisons=comparisons(with_verdict(gains), "n", condition="condition"),
             unit="classes", control="equal weights of the same neurons",
             rule=ABOVE("The difference of the shares of classes recognised"), table="gains"),
        theirs("sharing", sentence="Classes whose image fails share their value neuron with other "
                                   "classes",
               comparisons=comparisons(shared.assign(verdict=[
                   permutation_verdict(row) for row in shared.to_dict("records")]), "n",
                   chance="chance") if len(shared) else (), unit="classes",
               control="classes exchanged",
               rule=rules.Rule(
                   "The share of the other classes with the same neuron, failures minus successes; "
                   "agrees if positive with p < 0.05 in a permutation of the classes, contradicts "
                   "if negative with such a p. The interval resamples the classes of each kind."),
               table="shared"),
        ours("phase", sentence="Images with the magnitudes of real spectra lie nearer to training "
                               "images",
             comparisons=comparisons(with_verdict(phases), "n"), unit="images",
             control="the same neurons' images with free magnitudes",
             rule=ABOVE("The difference of the share of held-out images that lie at least as far"),
             table="phases"),
    ]
