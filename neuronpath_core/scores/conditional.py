"""The path with the largest effect of removal for a number of passes, as an entry of the registry.
"""

from __future__ import annotations

import warnings

from neuronpath_core.methods import Method, register
from neuronpath_core.variants.conditional_gradient import (
    CHOICE,
    DEFAULT_PASSES,
    QUESTIONS,
    SECOND_START,
    conditional_gradient_paths,
)


def _conditional_gradient(target, images, labels, settings, count, baseline=None):
    neurons, effects = conditional_gradient_paths(target, images, labels, count,
                                                  settings.budget or DEFAULT_PASSES,
                                                  settings.question or QUESTIONS[0], baseline)
    if nothing := int((effects == 0).sum()):
        warnings.warn(f"{nothing} of {len(effects)} images have a path whose edit leaves the "
                      "label's probability exactly as it was, so that its choice means nothing; "
                      "it needs a trained model (timm begins with a head of zeros), a label whose "
                      "probability is not exactly 0 or 1, or double precision", RuntimeWarning,
                      stacklevel=5)
    return neurons


def _passes(target, settings) -> dict[str, float]:
    gradients = settings.budget or DEFAULT_PASSES
    # no gradient is asked for of what enters the first block; the last path of each start, and of
    # the whole, is held against the others by a forward alone
    forwards = 1 + sum(gradients >= first for first in (SECOND_START, CHOICE))
    return {"gradient": gradients * (target.n_blocks - 1),
            "forward": gradients + forwards * target.n_blocks}


register(Method("conditional_gradient", "Conditional Gradient", choose=_conditional_gradient,
                passes=_passes, with_baseline=True))
