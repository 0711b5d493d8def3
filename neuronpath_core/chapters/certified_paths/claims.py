"""Chapter 23 in words: its findings, and its tables for reading.

Tables are those of :mod:`~neuronpath_core.chapters.certified_paths.certain` and
:mod:`~neuronpath_core.chapters.certified_paths.elsewhere`, with ``data`` and ``model``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from neuronpath_core.chapters.certified_paths.certain import among_leading
from neuronpath_core.chapters.certified_paths.elsewhere import CHANGES, SETS
from neuronpath_core.circuits.certified import CertifiedPath
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.stats import report
from neuronpath_core.stats.claims import with_verdict
from neuronpath_core.stats.intervals import interval_row

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


def share_table(shares: pd.DataFrame, dealt: pd.DataFrame) -> pd.DataFrame:
    """``certain.share_rows`` and ``certain.shuffled_row`` for reading, a row per model."""
    text = shares.assign(text=[report.interval_text(row, 2, signed=False)
                               for row in shares.to_dict("records")])
    wide = text.pivot(index=["data", "model"], columns="measure", values="text")
    dealt = dealt.set_index(["data", "model"])
    order = dealt.index
    return pd.DataFrame({
        SHARES["voted"]: wide["voted"], SHARES["counted"]: wide["counted"],
        SHARES["certified"]: wide["certified"],
        SHARES["shuffled"]: dealt["shuffled"], "p after Holm": dealt["adjusted"],
        SHARES["counted_shuffled"]: dealt["counted_shuffled"]}).reindex(order)


def edits_table(edits: pd.DataFrame) -> pd.DataFrame:
    """``certain.edit_shares`` for reading: a column per number of edits, certified
    and by count."""
    text = [f"{row.certified:.2f}; {row.counted:.2f}" for row in edits.itertuples()]
    wide = edits.assign(text=text).pivot(index=["data", "model"], columns="edits", values="text")
    order = pd.MultiIndex.from_frame(edits[["data", "model"]].drop_duplicates())
    return wide.reindex(order).rename(columns=lambda number: f"{number} replaced")


def decision_table(certified: Mapping[tuple[str, str], Mapping[int, CertifiedPath]],
                   apart: Mapping[str, tuple[ImageSet, ImageSet]]) -> pd.DataFrame:
    """What is decided of the neurons on a class's paths, a row per data set and model: per class
    and block how many are in, out and abstained from, and the mean radius of those that are in, by
    certificate and, also the least, by count; last, ``certain.among_leading``."""
    rows = []
    for (data, model), own in certified.items():
        table = pd.concat([path.table for path in own.values()])
        cells = sum(path.blocks for path in own.values())
        inside = table[table["decision"] == "in"]
        rows.append({"data": data, "model": model, "images": len(apart[data][0]),
                     **{words: (table["decision"] == name).sum() / cells
                        for name, words in (("in", "in"), ("out", "out"),
                                            ("abstained", "abstained from"))},
                     "radius": inside["radius"].mean(),
                     "radius by count": inside["plain_radius"].mean(),
                     "least radius by count": inside["plain_radius"].min(),
                     "among as many by count": among_leading(own)})
    return pd.DataFrame(rows).set_index(["data", "model"])


def half_table(halves: pd.DataFrame) -> pd.DataFrame:
    """``certain.half_rows``, with a verdict, for reading."""
    lead = [report.interval_text(row) for row in halves.to_dict("records")]
    return halves.assign(lead=lead).set_index(["data", "model"])[
        ["size", "plain_size", "again", "uncertified_again", "lead", "certified", "plain",
         "verdict"]].rename(columns={
             "size": "certified neurons", "plain_size": "voted neurons",
             "again": "certified, voted by the other half",
             "uncertified_again": "not certified, voted by the other half",
             "certified": "Jaccard, certified", "plain": "Jaccard, voted",
             "verdict": "agreement"})


def again_table(again: pd.DataFrame) -> pd.DataFrame:
    """``elsewhere.again_rows``, with a verdict, for reading."""
    lead = [report.interval_text(row) for row in again.to_dict("records")]
    return again.assign(lead=lead).set_index(["data", "model", "condition"])[
        ["certified", "uncertified", "other", "lead", "verdict"]].rename(columns={
            "uncertified": "voted, not certified", "other": "certified of other classes",
            "verdict": "agreement"}).rename_axis(index={"condition": "found on"})


def effect_table(effects: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """``elsewhere.edited_effects`` for reading: per data set, model and set the mean
    number of neurons, the change of the probability when they are removed, and the accuracy when
    they are removed and when they alone are kept; first the whole model."""
    rows = []
    for (data, model), own in effects.groupby(["data", "model"], sort=False):
        first = own[own["set"] == "certified"].drop_duplicates("image")
        rows.append({"data": data, "model": model, "neurons of the class": "whole model",
                     "number": "", "probability, removed": "", "accuracy, removed": "",
                     "accuracy, kept alone": f"{first['clean'].mean():.2f}"})
        for name, words in SETS.items():
            parts = {operation: own[(own["set"] == name) & (own["operation"] == operation)]
                     for operation in ("remove", "keep")}
            rows.append({
                "data": data, "model": model, "neurons of the class": words,
                "number": f"{parts['keep']['neurons'].mean():.1f}",
                "probability, removed": report.interval_text(
                    interval_row(parts["remove"]["probability"].to_numpy(), seed=seed), 3),
                "accuracy, removed": f"{parts['remove']['correct'].mean():.2f}",
                "accuracy, kept alone": f"{parts['keep']['correct'].mean():.2f}"})
    return pd.DataFrame(rows).set_index(["data", "model", "neurons of the class"])


def lead_table(leads: pd.DataFrame) -> pd.DataFrame:
    """``elsewhere.effect_leads`` for reading: a column per operation and set."""
    words = {"remove": "probability lost", "keep": "accuracy kept"}
    text = [report.interval_text(row, 3) for row in leads.to_dict("records")]
    named = leads.assign(text=text, operation=leads["operation"].map(words),
                         against=leads["against"].map(SETS))
    wide = named.pivot(index=["data", "model"], columns=["operation", "against"], values="text")
    order = pd.MultiIndex.from_frame(leads[["data", "model"]].drop_duplicates())
    return wide.reindex(order)


def changed_table(effects: pd.DataFrame, leads: pd.DataFrame) -> pd.DataFrame:
    """``elsewhere.changed_effects`` and their leads for reading, a row per model and change:
    accuracy of the whole model, with the certified neurons removed, and with each set kept alone;
    the certified neurons' lead over random ones."""
    keys, rows = ["data", "model", "condition"], []
    if effects.empty:
        return pd.DataFrame(columns=["whole model"])
    told = leads[leads["against"] == "random"].set_index([*keys, "operation"])
    for names, own in effects.groupby(keys, sort=False):
        means = own.groupby(["set", "operation"])["correct"].mean()
        rows.append({
            **dict(zip(keys, names, strict=True)), "whole model": own["clean"].mean(),
            "certified removed": means["certified", "remove"],
            **{f"{words} alone": means[name, "keep"] for name, words in (
                ("certified", "certified"), ("random", "random"), ("other", "another class's"))},
            "lead over random, alone": report.interval_text(told.loc[(*names, "keep")], 3),
            "probability lost, lead over random": report.interval_text(
                told.loc[(*names, "remove")], 3)})
    table = pd.DataFrame(rows)
    return table.assign(condition=table["condition"].map(CHANGES)).rename(
        columns={"condition": "images"}).set_index(["data", "model", "images"])


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
