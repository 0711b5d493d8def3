"""The rows of Chapter 21 for reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from neuronpath_core.chapters.which_method.method_names import (
    CALLED,
    CONDITIONAL,
    PUBLISHED,
    REFINED,
    REPLACED,
)
from neuronpath_core.chapters.which_method.questions import ASKED, BEYOND, GRADIENTS, asked
from neuronpath_core.chapters.which_method.shares import merged
from neuronpath_core.chapters.which_method.tried import over_models
from neuronpath_core.chapters.which_method.words import (
    passes_span,
    passes_text,
    percent,
    points_text,
    share_text,
)
from neuronpath_core.stats import report


def front_table(share: pd.DataFrame) -> pd.DataFrame:
    """Per method how ``find_paths`` is asked for it, its passes and, by replacement, the mean share
    over models and the smallest, and how many predictions are lost; cheapest first.  A method that
    was not measured on every image has its numbers in brackets and no count of predictions: they
    are of other images."""
    share = merged(share)
    whole = share.groupby(["data", "model", "replacement"])["images"].transform("max")
    models = share.groupby(["data", "model"]).ngroups
    rows = []
    for method, own in share.groupby("method", sort=False):
        row = {"method": method, "method=": CALLED.get(method, "–"),
               "passes": passes_span(share, method), "order": own["passes"].mean()}
        everywhere = bool((own["images"] == whole[own.index]).all())
        for kind, words in REPLACED.items():
            part = own[own["replacement"] == kind]
            text = f"{percent(part['value'].mean())} (least {percent(part['value'].min())})" \
                if len(part) else "–"
            few = f"{part['images'].min()} images of {len(part)} of {models} models"
            row[words] = text if everywhere or text == "–" else (
                f"[{percent(part['value'].mean())}: {few}]")
        for kind, words in REPLACED.items():
            part = own[own["replacement"] == kind]
            row[f"predictions lost, {words}"] = f"{100 * part['turned'].mean():.0f} %" \
                if len(part) and everywhere else "–"
        rows.append(row)
    return pd.DataFrame(rows).sort_values("order", kind="stable").drop(columns="order").set_index(
        "method")


def share_table(share: pd.DataFrame) -> pd.DataFrame:
    """Every model's shares by budget, with their intervals."""
    names = [*CONDITIONAL, PUBLISHED]
    own = share[share["method"].isin(names)]
    own = own.assign(text=[share_text(row) for row in own.to_dict("records")],
                     replaced=own["replacement"].map(REPLACED))
    wide = own.pivot(index=["data", "model", "replaced"], columns="method", values="text").fillna(
        "–")
    wide.index.names = ["data", "model", "neurons are"]
    return wide[[name for name in names if name in wide]]


def agreement_table(rows: pd.DataFrame, share: pd.DataFrame) -> pd.DataFrame:
    """Correlations with the exact effect by replacement, mean over models (smallest to largest),
    with what a score costs; ``share`` has the passes."""
    rows, cost = merged(rows, "score"), merged(share).groupby("method")["passes"]
    table = []
    for score, own in rows.groupby("score", sort=False):
        name = score.partition(", with")[0]
        row = {"score": score, "method=": CALLED.get(name, "–"),
               "passes": passes_text(cost.get_group(name)) if name in cost.groups else "–",
               "order": own["value"].mean()}
        for kind, words in REPLACED.items():
            part = own.loc[own["replacement"] == kind, "value"]
            row[words] = (f"{part.mean():z.2f} ({part.min():z.2f} to {part.max():z.2f})"
                          if len(part) else "–")
        table.append(row)
    return pd.DataFrame(table).sort_values("order", ascending=False, kind="stable").drop(
        columns="order").set_index("score")


def agreement_models(rows: pd.DataFrame) -> pd.DataFrame:
    """Correlations with the exact effect and their intervals: scores and replacements by models."""
    rows = merged(rows, "score")
    own = rows.assign(text=[report.interval_text(row, signed=False)
                            for row in rows.to_dict("records")],
                      replaced=rows["replacement"].map(REPLACED))
    wide = own.pivot(index=["score", "replaced"], columns=["data", "model"], values="text")
    order = rows.groupby("score")["value"].mean().sort_values(ascending=False).index
    wide.columns = [f"{model}, {data}" for data, model in wide.columns]
    return wide.loc[[(score, words) for score in order for words in REPLACED.values()
                     if (score, words) in wide.index]].rename_axis(["score", "neurons are"])


def question_table(rows: pd.DataFrame, shares: pd.DataFrame,
                   cost: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """Per path what asking costs, mean effects in points of probability by question, over models
    the mean and from the smallest to the largest, and, of the questions that have one, the share
    of the best path known, with the smallest of a model.

    Args:
        rows: of :func:`~neuronpath_core.chapters.which_method.questions.question_rows`.
        shares: of ``question_shares``.
        cost: passes over models, by method.
    """
    table = []
    for method, own in rows.groupby("method", sort=False):
        row = {"path": method, "passes": passes_text(cost[method]) if method in cost else "–"}
        for question, words in ASKED.items():
            part = 100 * own.loc[own["question"] == question, "value"]
            row[f"points, {words}"] = (f"{part.mean():.1f} ({part.min():.1f} to {part.max():.1f})"
                                       if len(part) else "–")
        for question in BEYOND:
            part = shares.loc[(shares["method"] == method) & (shares["question"] == question),
                              "value"]
            row[f"share of the best known, {ASKED[question]}"] = (
                f"{percent(part.mean())} (least {percent(part.min())})" if len(part) else "–")
        table.append(row)
    return pd.DataFrame(table).set_index("path")


def question_models(shares: pd.DataFrame) -> pd.DataFrame:
    """Shares of the best path known of each question, by model, with their intervals."""
    own = shares.assign(text=[share_text(row) for row in shares.to_dict("records")],
                        asked=shares["question"].map(ASKED))
    wide = own.pivot(index=["data", "model", "asked"], columns="method", values="text")
    known = [name for name in dict.fromkeys(shares["method"]) if name != REFINED]
    order = [name for name in map(asked, GRADIENTS) if name in known]
    return wide[order + [name for name in known if name not in order]].rename_axis(
        ["data", "model", "the path is"])


def change_table(rows: pd.DataFrame) -> pd.DataFrame:
    """What pairs find, per model and way to find it."""
    names = {"same change": "two other outlines", "other change": "an outline and a fill",
             "difference": "difference",
             **{change: f"attribution, {change}" for change in ("object", "outline", "fill",
                                                                "colour", "background")},
             "background share": "background as a share of outline"}
    if rows.empty:
        return pd.DataFrame({"model": ["none of these data sets can be drawn again"]}).set_index(
            "model")
    own = rows[rows["measure"].isin(names)]
    own = own.assign(text=[report.interval_text(row, signed=row["measure"] == "difference")
                           for row in own.to_dict("records")],
                     measure=own["measure"].map(names))
    wide = own.pivot(index=["condition", "data", "model"], columns="measure",
                     values="text").fillna("–")
    return wide[[name for name in names.values() if name in wide]].rename_axis(
        ["found", "data", "model"])


def same_path_table(rows: pd.DataFrame) -> pd.DataFrame:
    """In which share of blocks gradient and integral find the same neuron, models by changes."""
    if rows.empty:
        return change_table(rows)
    own = rows.assign(text=[report.interval_text(row, signed=False)
                            for row in rows.to_dict("records")])
    return own.pivot(index=["data", "model"], columns="change", values="text")[
        list(dict.fromkeys(own["change"]))].rename_axis(columns=None)


def tried_table(rows: pd.DataFrame) -> pd.DataFrame:
    """What was tried beside the conditional gradient at the same cost: means over models, shares
    and leads with their intervals over models."""
    means = over_models(rows, ("share", "alike", "value")).set_index(["method", "column"])
    table = []
    for method, own in rows.groupby("method", sort=False):
        table.append({
            "tried": method, "passes": passes_text(own["passes"]),
            "share of the best known": share_text(means.loc[(method, "share")]),
            "gradients alone, as many passes": share_text(means.loc[(method, "alike")]),
            "lead": points_text(means.loc[(method, "value")], 2),
            "models": report.tally(list(own["verdict"]))})
    return pd.DataFrame(table).set_index("tried")


def permuted_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Shares of the best known effect of scores, of the same scores of permuted weights, and of
    random neurons: means over models with their intervals over models."""
    columns = ("own", "permuted", "random")
    means = over_models(rows, columns).set_index(["method", "column"])
    words = {"own": "of the model", "permuted": "of permuted weights",
             "random": "matched random neurons"}
    return pd.DataFrame([
        {"score": method, **{words[column]: share_text(means.loc[(method, column)])
                             for column in columns},
         "models ahead of permuted weights": report.tally(list(own["verdict"]))}
        for method, own in rows.groupby("method", sort=False)]).set_index("score")


def toy_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Shares of the best path's effect on networks that can be tried through."""
    own = rows.sort_values("value", ascending=False)
    return pd.DataFrame({
        "method": own["method"],
        "share of the best path's effect": [share_text(row) for row in own.to_dict("records")],
        "is the best path": [f"{value:.0%} of images" for value in own["exact"]],
    }).set_index("method")
