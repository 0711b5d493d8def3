"""The path with the largest effect of removal for a number of passes, as an entry of the registry.
"""

from __future__ import annotations

from neuronpath_core.methods import Method, register, warn_of_no_effect
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
    warn_of_no_effect(effects)
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
