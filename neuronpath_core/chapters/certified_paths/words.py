"""What Chapter 23 says of its rows in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from neuronpath_core.stats import report
from neuronpath_core.stats.claims import with_verdict

# name of a share of a class's path: in words
SHARES = {"voted": "has a commonest neuron", "counted": "survives it by count",
          "certified": "is certified", "shuffled": "certified, class labels shuffled",
          "counted_shuffled": "survives it by count, class labels shuffled"}


def of_measure(shares: pd.DataFrame, measure: str) -> pd.DataFrame:
    """The rows of one measure of ``certain.share_rows``."""
    return shares[shares["measure"] == measure].reset_index(drop=True)


def figure_shares(shares: pd.DataFrame, dealt: pd.DataFrame) -> pd.DataFrame:
    """What the figure of the shares shows: ``data, model, measure`` (in words), ``value, low,
    high``; the shares of dealt classes have no interval.

    Args:
        shares: ``certain.share_rows`` with ``data, model``.
        dealt: ``certain.shuffled_row`` of the same.
    """
    kept = ["data", "model", "measure", "value", "low", "high"]
    own = [of_measure(shares, name)[kept] for name in ("counted", "certified")]
    made_up = [dealt[["data", "model"]].assign(measure=name, value=dealt[name], low=dealt[name],
                                               high=dealt[name])
               for name in ("counted_shuffled", "shuffled")]
    table = pd.concat([*own, *made_up], ignore_index=True)
    return table.assign(measure=table["measure"].map(SHARES))


def edits_text(radius: int) -> str:
    """``the replacement of one image``, ``the replacement of 2 images``."""
    return f"the replacement of {'one image' if radius == 1 else f'{radius} images'}"


def replaced_text(radius: int) -> str:
    """``any one image of the class is replaced``, or more of them."""
    images = "one image of the class is" if radius == 1 else f"{radius} images of the class are"
    return f"any {images} replaced"


def finding(shares: pd.DataFrame, dealt: pd.DataFrame, radius: int) -> str:
    """The main figure in a sentence."""
    certified, counted = (report.percent_span(of_measure(shares, name)["value"])
                          for name in ("certified", "counted"))
    return (f"{certified} of a class's path is certified to survive {edits_text(radius)}, "
            f"{report.percent_span(dealt['shuffled'])} when class labels are shuffled; by count "
            f"{counted}, and {report.percent_span(dealt['counted_shuffled'])} when they are "
            "shuffled")


def hardly_more(effects: pd.DataFrame) -> str:
    """Where certified neurons, kept alone, are least ahead of random ones: ``0.83 against 0.82
    (tiny-B-16, digits)``; of the models in which the whole path keeps most of the accuracy."""
    kept = effects[effects["operation"] == "keep"]
    means = kept.groupby(["data", "model", "set"], sort=False)["correct"].mean().unstack("set")
    whole = kept.groupby(["data", "model"], sort=False)["clean"].mean()
    able = means[means["voted"] > whole.reindex(means.index) / 2]
    able = able if len(able) else means
    data, model = (able["certified"] - able["random"]).idxmin()
    own = able.loc[(data, model)]
    return f"{own['certified']:.2f} against {own['random']:.2f} ({model}, {data})"


def map_finding(mapped: pd.DataFrame, model: str, radius: int) -> str:
    """The map of one model in a sentence; ``mapped``: ``certain.class_map`` with ``data``."""
    texts = []
    for data, own in mapped.groupby("data", sort=False):
        inside = (own["certified"] >= radius).groupby(own["class"], sort=False).sum()
        least = (f"none for {(inside == 0).sum()} of {len(inside)}" if inside.min() == 0
                 else f"fewest for class {inside.idxmin()} ({inside.min()})")
        texts.append(f"in {inside.sum()} of {len(own)} cells on {data}, most for class "
                     f"{inside.idxmax()} ({inside.max()}), {least}")
    return f"A neuron of {model} is certain {'; '.join(texts)}"


def glued_leads(leads: pd.DataFrame, margin: float) -> dict[str, str]:
    """What the page says of ``elsewhere.effect_leads``: ``tally remove`` and ``tally keep`` against
    random neurons and another class's, ``tally whole`` against the whole path, within ``margin``,
    and ``telling``, in how many models that comparison says something."""
    whole = leads[(leads["operation"] == "keep") & (leads["against"] == "voted")]
    found = {"telling": f"{whole['telling'].sum()} of {len(whole)}",
             "tally whole": report.in_words(list(with_verdict(
                 whole[whole["telling"].astype(bool)], threshold=-margin)["verdict"]))}
    for operation in ("remove", "keep"):
        own = leads[(leads["operation"] == operation) & leads["against"].isin(["random", "other"])]
        found[f"tally {operation}"] = report.in_words(list(with_verdict(own)["verdict"]),
                                                      "comparisons")
    return found


def glued_changes(leads: pd.DataFrame, effects: pd.DataFrame) -> dict[str, str]:
    """What the page says of changed images: ``changed keep`` and ``changed remove``, in how many
    comparisons the certified neurons are ahead, and ``changed alone`` and ``changed random``, the
    accuracy that they and random neurons keep alone, in the mean over models and changes."""
    if effects.empty:  # of files nothing is changed
        return dict.fromkeys(("changed remove", "changed keep", "changed alone", "changed random",
                              "changed whole"), "–")
    kept = effects[effects["operation"] == "keep"].groupby("set")["correct"].mean()
    return {**{f"changed {operation}": report.in_words(list(with_verdict(
        leads[leads["operation"] == operation])["verdict"]), "comparisons")
        for operation in ("remove", "keep")},
        "changed alone": f"{100 * kept['certified']:.0f} %",
        "changed random": f"{100 * kept['random']:.0f} %",
        "changed whole": f"{100 * effects['clean'].mean():.0f} %"}


def graph_finding(pairs: Mapping[str, float], images: int, name: str) -> str:
    """The graph of a class's paths in a sentence, from ``certain.shared_pairs``."""
    single, both, dealt = (f"{100 * pairs[each]:.0f} %" for each in ("single", "both", "dealt"))
    return (f"Two of {images} images of class {name} have the same neuron in a block in {single} "
            f"of cases, and the same two in neighbouring blocks in {both}; {dealt} if every "
            f"block's neurons are dealt among the images")


def at(rows: pd.DataFrame, condition: str, column: str = "value") -> Sequence[float]:
    """A column of ``elsewhere.again_rows`` under one condition."""
    return rows.loc[rows["condition"] == condition, column].tolist()


def span_of(counts: Sequence[int]) -> str:
    """``10 or 24``, ``16 to 40``: the different counts, of more than two the least and largest."""
    found = sorted(set(counts))
    return " or ".join(map(str, found)) if len(found) < 3 else f"{found[0]} to {found[-1]}"
