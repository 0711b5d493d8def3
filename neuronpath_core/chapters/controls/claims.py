"""What Chapter 11 concludes of its controls."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from neuronpath_core.stats import report

# what must not be left of a path when weights are randomised
LEFT = {"randomised": "the path is left when all blocks are randomised",
        "late_randomised": "the path's earlier half is left when the later half is randomised"}


def gain_text(gain: pd.DataFrame) -> str:
    """What enhancement adds, from model to model: ``+0.10 to +0.35 points over 8 models``."""
    return f"{report.span_text(gain['value'], 2)} points over {len(gain)} models"


def control_claims(leads: pd.DataFrame, left: Mapping[str, pd.DataFrame],
                   gains: Mapping[str, pd.DataFrame],
                   overlap: pd.DataFrame) -> list[tuple[str, str, str]]:
    """The claims of the chapter, what was measured, and the tally over models.

    Args:
        leads: of :func:`~neuronpath_core.chapters.controls.leads.lead_claims`.
        left: rows of :func:`~neuronpath_core.chapters.controls.leads.sanity`, by control.
        gains: rows of :func:`~neuronpath_core.chapters.controls.leads.label_gain`, by label.
        overlap: a row of :func:`~neuronpath_core.chapters.controls.leads.class_overlap` per model.
    """
    return [
        *leads[["claim", "text", "tally"]].itertuples(index=False, name=None),
        *((f"Less than half of {LEFT[control]}",
           f"{report.span_text(rows['value'])} above chance", report.tally(list(rows["verdict"])))
          for control, rows in left.items()),
        *((f"Enhancing the path searched with the {label} label improves accuracy",
           gain_text(rows), report.tally(list(rows["verdict"]))) for label, rows in gains.items()),
        ("Paths of one class share more neurons than permuted labels would",
         f"difference {report.span_text(overlap['difference'])}",
         report.tally(list(overlap["verdict"]))),
    ]
