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
        texts |= {f"{judge} {name}": f"{100 * rates_of(rates, of, judge).mean():.0f} %"
                  for name, of in (("best", BEST), ("random", RANDOM), ("planted", PLANTED))}
        texts |= {f"{judge} {name}": over_models(
            100 * own.loc[own["control"] == of, "value"], 0, "points")
            for name, of in (("lead", RANDOM), ("planted lead", PLANTED))}
    return texts
