"""What Chapter 13 concludes: what finds a path again, and what models from other seeds share."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from neuronpath_core.chapters.claims import spans
from neuronpath_core.stats import report

OVERLAPS = {"rule": "under the rule of integration", "precision": "under the precision",
            "view": "under small changes of the image", "checkpoint": "along the training"}


def overlap_claims(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """``key, claim, text, tally`` of each table of
    :func:`~neuronpath_core.chapters.stability.overlap.overlap_summary`, by its key in
    ``OVERLAPS``."""
    rows = []
    for key, own in tables.items():
        again, other = (f"{own[name].min():.2f} to {own[name].max():.2f}"
                        for name in ("value", "same_class"))
        rows.append({"key": key, "claim": f"Paths are stable {OVERLAPS[key]}",
                     "text": f"{again} of the neurons found again; {other} with another image of "
                             f"the class",
                     "tally": report.tally(list(own["verdict"]))})
    return pd.DataFrame(rows)


def seed_claims(seeds: pd.DataFrame) -> pd.DataFrame:
    """``key, claim, text, tally`` of each measure of
    :func:`~neuronpath_core.chapters.stability.seeds.seed_agreement`, the rows having a
    ``verdict``."""
    of_measure = dict(list(seeds.groupby("measure")))
    yardstick = of_measure["neuron indices"]["yardstick"]
    similar = of_measure["class similarity"]
    more = {"neuron indices": f"; {report.span_text(yardstick, 2)} with another image of the class",
            "class similarity": f"; halves {similar['halves'].mean():+.2f} between models, "
                                f"{similar['yardstick'].mean():+.2f} within one"}
    return pd.DataFrame([
        {"key": measure, "claim": f"Models from other seeds agree in: {measure}",
         "text": span + more.get(measure, ""), "tally": tally}
        for measure, (span, tally) in spans(seeds, "measure", 2).items()])
