"""What Chapter 29 answers, in numbers: means over models, with their intervals over them."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from neuronpath_core.chapters.stimuli.made import BEST, PLANTED, RANDOM
from neuronpath_core.chapters.stimuli.words import rates_of
from neuronpath_core.stats.report import over_models

JUDGES = ("own", "transfer")


def answers(rates: pd.DataFrame, effects: pd.DataFrame) -> Mapping[str, str]:
    """The texts that the page names: by judge, the model itself (``own``) or others (``transfer``),
    how many classes are recognised in images of best value neurons, of random ones and of planted
    readers, and what the first are ahead of random ones, the last of the first, by.

    Args:
        rates: of ``judged.rate_rows``.
        effects: of ``judged.effect_rows``.
    """
    texts = {"models": str(len(rates_of(rates, BEST)))}
    for judge in JUDGES:
        own = effects[effects["measure"] == judge]
        # with a digit more than is known, so that a lead is the difference that a reader takes
        texts |= {f"{judge} {name}": f"{100 * rates_of(rates, of, judge).mean():.1f} %"
                  for name, of in (("best", BEST), ("random", RANDOM), ("planted", PLANTED))}
        texts |= {f"{judge} {name}": over_models(
            100 * own.loc[own["control"] == of, "value"], 1, "points")
            for name, of in (("lead", RANDOM), ("planted lead", PLANTED))}
    return texts


def by_steps(steps: pd.DataFrame) -> dict[str, str]:
    """``fewer steps``: ``10, 20 and 40``, and ``own by steps``: ``9.0, 12.1 and 22.1 %``, how many
    classes are recognised by their own model after so many, mean over models; of
    ``judged.step_rows``."""
    means = steps.groupby("steps")["value"].mean()
    return {name: ", ".join(shown[:-1]) + (" and " if len(shown) > 1 else "") + shown[-1] + unit
            for name, shown, unit in (
                ("fewer steps", [str(each) for each in means.index], ""),
                ("own by steps", [f"{100 * each:.1f}" for each in means], " %"))}


def apart_by_interval(shared: pd.DataFrame) -> str:
    """``2 of 8``: in how many models the interval of ``several.sharing_row`` lies above zero,
    which does not judge there."""
    return f"{int((shared['low'] > 0).sum())} of {len(shared)}"
