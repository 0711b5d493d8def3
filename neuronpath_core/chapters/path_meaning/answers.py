"""What Chapter 30 answers, in numbers: means over models, with their intervals over them."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from neuronpath_core.chapters.path_meaning import concepts, wiring, writes
from neuronpath_core.chapters.path_meaning.measured import LIKE
from neuronpath_core.chapters.path_meaning.words import MOST_ACTIVE, picked
from neuronpath_core.settings import RECOMMENDED
from neuronpath_core.stats.report import over_models, percent_span


def answers(written: pd.DataFrame, wired: pd.DataFrame, apart: pd.DataFrame,
            method: str = RECOMMENDED) -> Mapping[str, str]:
    """The texts that the page names.

    Args:
        written: of ``writes.writing_rows``.
        wired: of ``wiring.wire_rows``.
        apart: of ``concepts.dissociation_rows``; empty without scenes.
        method: whose paths.
    """
    matched, active = (picked(written, measure=writes.WRITES, method=method, against=against)
                       for against in (LIKE, MOST_ACTIVE))
    wires = picked(wired, route="direct", measure=wiring.SIZE, method=method, against=LIKE)

    def costs(measure: str, paths: str) -> str:
        own = picked(apart, measure=measure, paths=paths)
        return over_models(own["value"]) if len(own) else "–"

    def shared(paths: str) -> str:
        own = picked(apart, measure="shared", paths=paths)
        return percent_span(own["value"]) if len(own) else "–"

    return {"writes path": f"{100 * matched['path'].mean():.0f} %",
            "writes matched": f"{100 * matched['other'].mean():.0f} %",
            "writes gap": over_models(100 * matched["value"], 1, "points"),
            "active gap": over_models(100 * active["value"], 1, "points"),
            "wire gap": over_models(wires["value"], 3), "models": str(len(matched)),
            "outline gap": costs("outline", concepts.OWN), "fill gap": costs("fill", concepts.OWN),
            "dealt gap": costs("both", f"beyond {concepts.DEALT}"),
            "shared own": shared(concepts.OWN), "shared dealt": shared(concepts.DEALT),
            "scene models": str(len(picked(apart, measure="both", paths=concepts.OWN)))}
