"""What Chapter 17 says of its rows, in sentences and tables."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from neuronpath_core.chapters.attention_paths.over_sites import SITE_MEASURES, SITE_TITLES
from neuronpath_core.chapters.claims import spans
from neuronpath_core.stats import report


def removal_answer(rows: pd.DataFrame, first: str, second: str) -> str:
    """On how many models removing ``first`` costs more than removing ``second``, with each model's
    lead and its interval; ``rows``: leads of one pair, of every measure."""
    own = rows[rows["measure"] == "removal"]
    more, less = (int((own["verdict"] == verdict).sum()) for verdict in ("agrees", "contradicts"))
    leads = "; ".join(f"{row['model']} {report.interval_text(row, 3)}"
                      for row in own.to_dict("records"))
    return (f"Removing {first} costs more than removing {second} on {more} of {len(own)} models"
            f"{f', less on {less}' if less else ''} (lead, relative to the clean probability: "
            f"{leads})")


def site_finding(between: pd.DataFrame) -> str:
    """How the path over attention neurons compares with the one over FFN neurons, in one sentence;
    ``between`` as of :func:`~neuronpath_core.chapters.attention_paths.over_sites.site_leads`."""
    own = between[(between["first"] == SITE_TITLES["attention"])
                  & (between["second"] == SITE_TITLES["ffn"]) & (between["measure"] == "removal")]
    if own.empty:
        return "What removing the paths over each kind of sites does"
    more, less = ([row["model"] for row in own.to_dict("records") if row["verdict"] == verdict]
                  for verdict in ("agrees", "contradicts"))
    parts = [f"{what} on {' and '.join(models)}"
             for what, models in (("more", more), ("less", less)) if models]
    if not parts:
        return (f"Removing the attention path costs neither more nor less than removing the FFN "
                f"path, as far as {len(own)} models show")
    rest = len(own) - len(more) - len(less)
    return (f"Removing the attention path costs {', '.join(parts)} than removing the FFN path"
            f"{f'; no difference is shown on {rest} of {len(own)}' if rest else ''}")


def lead_finding(lead: pd.DataFrame) -> str:
    """In how many comparisons the neuron path does more than another path over the same sites, and
    whether the search through both halves beats two searches, in one sentence."""
    own = lead[lead["measure"].isin(["removal", "enhancement"])]
    ahead = own["verdict"] == "agrees"
    others, apart = own["control"] != "Apart", own["control"] == "Apart"
    text = (f"The neuron path does more than activation or random paths in {ahead[others].sum()} "
            f"of {others.sum()} comparisons")
    if not apart.any():
        return text
    return f"{text}, more than two searches apart in {ahead[apart].sum()} of {apart.sum()}"


def half_finding(difference: pd.DataFrame) -> str:
    """On how many models attention halves cost more than FFN halves, in one sentence."""
    more, less = (int((difference["verdict"] == verdict).sum())
                  for verdict in ("agrees", "contradicts"))
    counts = [f"{first} halves cost more than {second} halves on {count} of {len(difference)} "
              f"models" for count, first, second in sorted(
                  [(more, "Attention", "FFN"), (less, "FFN", "attention")], key=lambda row: -row[0])
              if count]
    return ", ".join(counts) or (f"Neither half is shown to cost more than the other on any of "
                                 f"{len(difference)} models")


def leads_table(leads: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Leads with their intervals and verdicts for reading, a column a measure; ``names``: the
    columns that name a row, and what they are called.  Accuracies are in percentage points."""
    shown = leads[leads["measure"].isin(SITE_MEASURES)]
    text = [f"{report.interval_text(row, 1 if 'accuracy' in row['measure'] else 3)}, "
            f"{row['verdict']}" for row in shown.to_dict("records")]
    return shown.assign(text=text).pivot_table(
        index=list(names), columns="measure", values="text", aggfunc="first",
        sort=False).rename_axis(index=list(names.values()), columns=None)


def half_table(difference: pd.DataFrame) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.attention_paths.half_blocks.half_difference` for reading."""
    return pd.DataFrame({
        "model": difference["model"], "attention halves": difference["attention"],
        "FFN halves": difference["FFN"],
        "attention - FFN": [report.interval_text(row, 3) for row in difference.to_dict("records")],
    }).set_index("model")


def questions(lead: pd.DataFrame, between: pd.DataFrame,
              difference: pd.DataFrame) -> list[tuple[str, str, str]]:
    """What was asked, from where to where the leads in probability go over models and edits, and
    the tally of their verdicts."""
    edits = ("removal", "enhancement")
    lead, between = (rows[rows["measure"].isin(edits)] for rows in (lead, between))
    return [
        *((f"The neuron path over {sites} does more than {control.lower()}", f"lead {span}", tally)
          for (sites, control), (span, tally) in spans(lead, ["data", "control"]).items()),
        *((f"The path over {first} does more than the one over {second}", f"lead {span}", tally)
          for (first, second), (span, tally) in spans(between, ["first", "second"]).items()),
        ("Attention halves cost more than FFN halves when removed",
         f"difference {report.span_text(difference['value'])}",
         report.tally(list(difference["verdict"])))]
