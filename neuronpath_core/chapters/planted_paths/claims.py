"""What Chapter 9 concludes: how many of the planted neurons each way finds, and whether the score
or the search is to blame for the others."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from neuronpath_core.chapters.planted_paths.rates import (
    paired_recovery,
    recovery_summary,
    score_preference,
)
from neuronpath_core.stats import report

# which method finds more than which, and the claim that it does
LEADS = {
    **{name: ("neuron_path", name, f"With all decoys the search finds more than {words}")
       for name, words in (("activation", "activation"),
                           ("influence_pattern", "Influence Pattern"),
                           ("gradient_activation", "gradient × activation"),
                           ("complete", "complete attribution"))},
    **{name: (f"neuron_path {name}", "neuron_path",
              f"With all decoys, {words} finds more than the default search")
       for name, words in (("literal", "literal Algorithm 1"), ("beam", "a beam"),
                           ("refined", "coordinate ascent"))},
    **{f"complete over {name}": ("complete", other,
                                 f"With all decoys, complete attribution finds more than {words}")
       for name, other, words in (
           ("activation", "activation", "activation"),
           ("gradient", "influence_pattern", "the gradients of Influence Pattern"))},
}


def default_recovery(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.planted_paths.rates.recovery_summary` of the default search
    per setting of decoys, with the ``verdict`` on whether it is beyond chance."""
    found = recovery_summary(table[table["method"] == "neuron_path"], ["decoys"])
    beyond = found["low"] > found["chance"]
    return found.assign(verdict=beyond.map({True: "agrees", False: "not shown"})).set_index(
        "decoys")


def recovery_leads(table: pd.DataFrame, seed: int = 0) -> dict[str, dict[str, float]]:
    """:func:`~neuronpath_core.chapters.planted_paths.rates.paired_recovery` of each pair of
    ``LEADS``."""
    return {name: paired_recovery(table, "method", first, second, seed)
            for name, (first, second, _) in LEADS.items()}


def score_fault(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.planted_paths.rates.score_preference` of the default search,
    its interval against as many paths of higher as of lower score, in words (``text``), with the
    ``verdict`` on whether a higher score is better."""
    found = score_preference(table[table["method"] == "neuron_path"], ["decoys"])
    found[["low", "high"]] -= 0.5
    rows = found.to_dict("records")
    return found.assign(
        text=[f"{100 * row['value']:.0f} % of {row['images']}" for row in rows],
        verdict=[report.verdict(row, -1) for row in rows])


def recovery_claims(plain: pd.DataFrame, loss: pd.DataFrame, leads: Mapping[str, Mapping],
                    fault: pd.DataFrame) -> list[tuple[str, str, str]]:
    """The questions of the chapter, what was measured, and the verdict.

    Args:
        plain, leads, fault: of :func:`default_recovery`, :func:`recovery_leads` and
            :func:`score_fault`.
        loss: what each setting of decoys does to the default search's recovery.
    """
    decoyed = {"none": "without decoys"}
    return [
        *((f"The search finds the neurons that are known to matter, "
           f"{decoyed.get(name, f'with decoys ({name})')}",
           f"{report.interval_text(row, signed=False)} of them; chance {row['chance']:.2f}",
           row["verdict"]) for name, row in plain.iterrows()),
        *((f"Decoys ({name}) do not mislead the search", f"recovery {report.interval_text(row)}",
           report.verdict(row)) for name, row in loss.iterrows()),
        *((LEADS[name][2], f"recovery {report.interval_text(row)}", report.verdict(row))
          for name, row in leads.items()),
        *(("A path of higher score holds more of the neurons that matter",
           f"of the {row['images']} images whose path misses one, {100 * row['value']:.0f} % have "
           f"a higher score than the planted path's", row["verdict"])
          for _, row in fault.iterrows()),
    ]
