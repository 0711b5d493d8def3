"""Whether what is found of one trained model is so of others of its kind, trained from other
seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from neuronpath_core.chapters.path_meaning import wiring, writes
from neuronpath_core.chapters.path_meaning.measured import Case, case_of, compared
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.settings import RECOMMENDED
from neuronpath_core.stats.intervals import jackknife_row
from neuronpath_core.study.study import Study


def replicas(study: Study, model: str) -> list[str]:
    """A model and its replicas, if it has any; else nothing."""
    again = [name for name in study.variants(model) if " seed " in name]
    return [model, *again] if again else []


def means(case: Case) -> dict[str, float]:
    """Of one trained model the mean over images of what path neurons have beyond matched ones."""
    direct = wiring.sizes(case, "direct")
    wire = (wiring.along(direct, case.paths[RECOMMENDED])
            - wiring.to_matched(direct, case, RECOMMENDED))
    tables = {writes.WRITES: case.of_label(case.aligned),
              writes.KEY: case.of_label(writes.key_neurons(case)), writes.USED: writes.used(case)}
    return {**{name: float(np.mean(compared(case, RECOMMENDED, own)))
               for name, own in tables.items()}, wiring.SIZE: float(wire.mean())}


def seed_rows(study: Study, model: str, images: ImageSet) -> pd.DataFrame:
    """``measure, value, low, high, p, models``: the mean over trained models of :func:`means` by
    the recommended method, with its jackknife interval over them and the p of Student's t, whose
    interval is the same; no rows without replicas."""
    names = replicas(study, model)
    found = pd.DataFrame([means(case_of(study, name, images, (RECOMMENDED,))) for name in names])
    return pd.DataFrame([
        {"measure": measure, "models": len(names), **_over_models(found[measure].to_numpy())}
        for measure in found], columns=["measure", "models", "value", "low", "high", "p"])


def _over_models(values: np.ndarray) -> dict[str, float]:
    return {**jackknife_row(lambda chosen: float(values[chosen].mean()), [len(values)]),
            "p": float(stats.ttest_1samp(values, 0).pvalue)}
