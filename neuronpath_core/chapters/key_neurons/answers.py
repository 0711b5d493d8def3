"""What Chapter 27 answers, in numbers: means over models, with their intervals over them."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from neuronpath_core.chapters.key_neurons import maps
from neuronpath_core.chapters.key_neurons.words import against
from neuronpath_core.stats.report import over_models


def answers(found: pd.DataFrame, effects: pd.DataFrame, fires: pd.DataFrame) -> Mapping[str, str]:
    """The texts that the page names.

    Args:
        found: of ``maps.found_rows``.
        effects: of ``maps.effect_rows``.
        fires: of ``carriers.read_by_head``.
    """
    def level(of: str) -> str:
        return f"{found.loc[found['of'] == of, 'value'].mean():.2f}"

    return {"object key": level(maps.KEY), "object alike": level(maps.ALIKE),
            "object gap": over_models(against(effects, maps.ALIKE)["value"]),
            "own gap": over_models(against(effects, maps.DEALT)["value"], 3),
            "object models": str(len(against(effects, maps.ALIKE))),
            "fires five": f"{fires['five'].mean():.2f}",
            "fires alike": f"{fires['alike'].mean():.2f}",
            "fires gap": over_models(fires["value"]), "fires models": str(len(fires))}
