"""What Chapter 13 concludes: what finds a path again, and what models from other seeds share."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from neuronpath_core.chapters.claims import spans
from neuronpath_core.stats import report

OVERLAPS = {"rule": "By another rule of integration", "precision": "In another precision",
            "view": "After a small change of the image", "checkpoint": "Earlier in training"}


def shift_finding(views: pd.DataFrame, condition: str = "shifted by one pixel") -> str:
    """What one change of the image leaves of its paths, as a sentence, over all data and models.

    ``views``: rows of :func:`~neuronpath_core.chapters.stability.overlap.overlap_summary`.
    """
    own = views[views["condition"] == condition]
    ahead = int((own["verdict"] == "agrees").sum())
    return (f"{condition.capitalize()}, an image keeps {report.percent_span(own['value'])} of its "
            f"path's neurons and {report.percent_span(own['paths'])} of whole paths; another image "
            f"of its class shares {report.percent_span(own['same_class'])} "
            f"(fewer in {ahead} of {len(own)} comparisons)")


def ahead_of(first: pd.DataFrame, second: pd.DataFrame) -> str:
    """In how many pairs of data and model the first's paths keep more neurons than the second's
    under the same change: ``2 of 6``.  Both are of
    :func:`~neuronpath_core.chapters.stability.overlap.overlap_summary`."""
    both = first.merge(second, on=["data", "model", "condition"], suffixes=("", " of the second"))
    return f"{(both['value'] > both['value of the second']).sum()} of {len(both)}"


def block_finding(blocks: pd.DataFrame) -> str:
    """How much is found again in the first block and in the last, as a sentence, over all rows of
    :func:`~neuronpath_core.chapters.stability.overlap.block_overlaps`."""
    curves = [rows.sort_values("block")["own"].to_numpy()
              for _, rows in blocks.groupby(["data", "model", "condition"], sort=False)]
    return (f"Neurons found again: {report.percent_span([curve[0] for curve in curves])} in the "
            f"first block, {report.percent_span([curve[-1] for curve in curves])} in the last")


def overlap_claims(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """``key, claim, text, tally`` of each table of
    :func:`~neuronpath_core.chapters.stability.overlap.overlap_summary`, by its key in
    ``OVERLAPS``."""
    rows = []
    for key, own in tables.items():
        again, whole, other = (report.percent_span(own[name])
                               for name in ("value", "paths", "same_class"))
        rows.append({"key": key,
                     "claim": f"{OVERLAPS[key]}, an image's path is nearer to its own than to "
                              f"another's of the class",
                     "text": f"{again} of the neurons and {whole} of whole paths found again; "
                             f"{other} of the neurons with another image of the class",
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
