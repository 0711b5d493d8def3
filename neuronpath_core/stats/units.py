"""The units of the effects that claims compare: how a number is written, and what is small."""

from __future__ import annotations

from dataclasses import dataclass, replace

from neuronpath_core.stats.claims import Comparison


@dataclass(frozen=True)
class Unit:
    """How an effect is written, and below which size it is called small.

    Args:
        words: the unit, behind a number; a quantity without a unit stands before it, and ends in a
            space.
        factor: that a value is multiplied by before it is written.
        digits: that are written.
        small: in the value's own unit; ``None``: there is no size that means something.
        adjective: of a small effect.
        why: of the threshold.
        signed: whether a plus sign is written.
    """

    words: str
    factor: float = 1
    digits: int = 2
    small: float | None = None
    adjective: str = "small"
    why: str = ""
    signed: bool = True

    def number(self, value: float) -> str:
        """``+3.2``: a value as written, without its unit; minus signs as typeset."""
        text = f"{self.factor * value:{'+' if self.signed else ''}z.{self.digits}f}"
        return text.replace("-", "\u2212")

    def text(self, value: float, number: str | None = None) -> str:
        """``+3.2 % of the probability``, or ``correlation +0.31``; ``number`` in place of the value
        if it is written already."""
        number = self.number(value) if number is None else number
        if self.words.endswith(" "):
            return self.words + number
        return f"{number}\u00a0{self.words}"

    def span(self, low: float, high: float) -> str:
        """``+0.4 to +9.2 % of the probability``; with one decimal more where the two are written
        alike."""
        finer = self
        if low != high and self.number(low) == self.number(high):
            finer = replace(self, digits=self.digits + 1)
        return self.text(low, f"{finer.number(low)} to {finer.number(high)}")

    def interval(self, row: Comparison) -> str:
        """``+3.2 % of the probability [+1.0, +5.1]``; without brackets where there is no
        interval."""
        if row.low is None or row.high is None:
            return self.text(row.value)
        return f"{self.text(row.value)} [{self.number(row.low)}, {self.number(row.high)}]"


TWENTIETH = "a twentieth, the margin that the chapters on pruning and on defects use as well"
UNITS = {
    "probability": Unit("% of the probability", 100, 1, 0.05, "tiny",
                        "a prediction of 0.90 would stay above 0.85"),
    "points": Unit("points of accuracy", 1, 1, 5, "small", TWENTIETH),
    "accuracy": Unit("points of accuracy", 100, 1, 0.05, "small", TWENTIETH),
    "kept accuracy": Unit("points of accuracy", 100, 1),
    "score": Unit("score ", 1, 3),
    "caption score": Unit("of 5 points of a caption's score", 1, 2),
    "correlation": Unit("correlation ", 1, 2, 0.3, "weak",
                        "Cohen's convention for a medium correlation"),
    "cosine": Unit("cosine ", 1, 2, 0.05, "small", TWENTIETH),
    "neurons": Unit("% of the neurons", 100, 0, 0.05, "small", TWENTIETH),
    "found": Unit("% of the neurons", 100, 0, None, signed=False),
    "directions": Unit("% of the directions", 100, 0, 0.05, "small", TWENTIETH),
    "pairs": Unit("% of the pairs of neurons", 100, 0, 0.05, "small", TWENTIETH),
    "images": Unit("% of the images", 100, 0, 0.05, "small", TWENTIETH),
    "samples": Unit("% of the top samples", 100, 0, 0.05, "small", TWENTIETH),
    "variance": Unit("% of the variance", 100, 0, None, signed=False),
    "depth": Unit("% of the depth", 100, 0, 0.05, "small", TWENTIETH),
    "score share": Unit("% of the score", 100, 0, None, signed=False),
    "found correlation": Unit("correlation "),
    "effect share": Unit("% of the best known effect", 100, 1, None, signed=False),
    "lost probability": Unit("points of probability", 100, 1, 0.05, "tiny", TWENTIETH),
    "activation": Unit("% of the activation", 100, 1, 0.05, "small", TWENTIETH),
    "made up": Unit("% of the activation", 100, 1, None, signed=False),
    "label effect": Unit("% of the effect on the label", 100, 1, 0.05, "small", TWENTIETH),
    "handed on": Unit("% of the effect on the label", 100, 1, None, signed=False),
    "flow": Unit("% of what flows", 100, 0, None, signed=False),
    "carried": Unit("% of what all neurons do", 100, 0, 0.05, "small", TWENTIETH),
    "networks": Unit("% of the networks", 100, 0, None, signed=False),
    "paths": Unit("% of the paths", 100, 0, None, signed=False),
    "tokens": Unit("% of the tokens", 100, 1, 0.05, "small", TWENTIETH),
    "identifiability": Unit("identifiability ", 1, 3, 0.05, "small", TWENTIETH),
    "logit": Unit("of the label's logit", 1, 2, None),
    "curve": Unit("points of accuracy, averaged over the curve", 100, 1, 0.05, "small", TWENTIETH),
    "classes": Unit("% of the classes", 100, 0, 0.05, "small", TWENTIETH),
    "overlap": Unit("intersection over union ", 1, 3, 0.05, "small", TWENTIETH),
    "separation": Unit("area under the ROC curve ", 1, 2, 0.05, "small", TWENTIETH),
    "deviations": Unit("standard deviations", 1, 2, 0.2, "small",
                       "Cohen's convention for a small difference"),
}
