"""What Chapter 11 concludes of its controls."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from neuronpath_core.stats import report

# what must not be left of a path when weights are randomised
LEFT = {"randomised": "the path is left when all blocks are randomised",
        "late_randomised": "the path's earlier half is left when the later half is randomised"}
# whose enhancement may improve accuracy
GAINED = {"true": "Enhancing the path searched with the true label",
          "predicted": "Enhancing the path searched with the predicted label",
          "random": "Enhancing random neurons as active as the true label's path",
          "another image": "Enhancing the path of another image of the class"}


def gain_text(gain: pd.DataFrame) -> str:
    """What enhancement adds, from model to model: ``+0.10 to +0.35 points over 8 models``, or
    ``no gain in any of 8 models``."""
    if (gain["value"] == 0).all():
        return f"no gain in any of {len(gain)} models"
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
        *((f"{GAINED[label]} improves accuracy", gain_text(rows),
           report.tally(list(rows["verdict"]))) for label, rows in gains.items()),
        ("Paths of one class share more neurons than permuted labels would",
         f"difference {report.span_text(overlap['difference'])}",
         report.tally(list(overlap["verdict"]))),
    ]


def finding(leads: pd.DataFrame, measure: str) -> str:
    """The figure of the leads in a sentence: in how many comparisons the own path does more, and
    how small and how large the lead is.

    Args:
        leads: of :func:`~neuronpath_core.chapters.controls.leads.control_leads`.
        measure: one of theirs, a relative deviation of probability.
    """
    rows = leads[leads["measure"] == measure]
    ahead, low, high = (rows["verdict"] == "agrees").sum(), rows["value"].min(), rows["value"].max()
    what = {"removal": "costs", "enhancement": "adds"}[measure]
    if not ahead:
        return (f"{measure.capitalize()} of the own path {what} more than a control in none of "
                f"{len(rows)} comparisons")
    return (f"{measure.capitalize()} of the own path {what} more than a control in {ahead} of "
            f"{len(rows)} comparisons: the median lead is {100 * low:.1f} to "
            f"{100 * high:.1f} % of the probability")


def wide(rows: pd.DataFrame, columns: str, digits: int, extra: list[str] | None = None
         ) -> pd.DataFrame:
    """Values with their intervals for reading: a row per data set and model (and ``extra``), a
    column per value of ``columns``, in the rows' order."""
    index = ["data", "model", *(extra or [])]
    text = [report.interval_text(row, digits) for row in rows.to_dict("records")]
    table = rows.assign(text=text).pivot(index=index, columns=columns, values="text")
    order = pd.MultiIndex.from_frame(rows[index].drop_duplicates())
    return table.reindex(index=order, columns=list(dict.fromkeys(rows[columns])))


def own_table(own: pd.DataFrame) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.controls.leads.own_effects` for reading: a row per model, a
    column per measure."""
    names = {"removal": "probability, removed", "enhancement": "probability, enhanced",
             "removal accuracy": "accuracy, removed (points)",
             "enhancement accuracy": "accuracy, enhanced (points)", "score": "score"}
    order = pd.MultiIndex.from_frame(own[["data", "model"]].drop_duplicates())
    return own.pivot(index=["data", "model"], columns="measure", values="text").reindex(
        index=order, columns=list(names)).rename(columns=names)


def overlap_table(overlap: pd.DataFrame) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.controls.leads.class_overlap` of every model for reading."""
    return overlap.set_index(["data", "model"]).rename(
        columns={"permuted_low": "permuted, 2.5 %", "permuted_high": "permuted, 97.5 %"})
