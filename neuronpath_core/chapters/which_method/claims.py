"""What Chapter 21 concludes: tables as they are shown, and its finding in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from neuronpath_core.chapters.which_method.measured import (
    CALLED,
    CONDITIONAL,
    CONTROL,
    DEFAULT,
    EXACT,
    PUBLISHED,
    REFINED,
    REPLACED,
    conditional,
)
from neuronpath_core.chapters.which_method.questions import (
    ASKED,
    AT_IMAGE,
    BEYOND,
    GRADIENTS,
    INTEGRATED,
    OTHER,
    SMALL,
    asked,
)
from neuronpath_core.chapters.which_method.shares import across_models, merged
from neuronpath_core.chapters.which_method.tried import over_models
from neuronpath_core.stats import report

FEW, MANY = conditional(3), conditional(10)
GOALS = {FEW: 0.95, MANY: 0.99}
LINE = "conditional gradient, 1 to 20 gradients"
# kind of replacement -> how the names of what pages say of it begin
WORDS = {"zero": "zero", "mean": "mean", "resample": "other"}
# set apart from the other methods in the figure
COMPARED = (PUBLISHED, DEFAULT, CONTROL)


def percent(value: float) -> str:
    """``97.4 %``, rounded as every table and figure of the chapter is."""
    return f"{100 * value:.1f} %"


def share_text(row: Mapping[str, float]) -> str:
    """``97.4 % [96.0, 98.3]``: a share with its interval, or alone where it has none."""
    if row["low"] != row["low"]:
        return percent(row["value"])
    return f"{percent(row['value'])} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def like_for_like(share: pd.DataFrame, method: str, replacement: str = "zero",
                  seed: int = 0) -> dict[str, str]:
    """Under one replacement a method's mean share over models, the same with its interval, and the
    smallest share of a model, as texts: ``mean, interval, least``; dashes where there is none."""
    rows = across_models(share, replacement, seed).set_index("method")
    if method not in rows.index:
        return dict.fromkeys(("mean", "interval", "least"), "–")
    row = rows.loc[method]
    return {"mean": percent(row["value"]), "interval": share_text(row),
            "least": percent(row["least"])}


def share_span(share: pd.DataFrame, method: str) -> str:
    """``96.1 to 99.9 %``: a method's smallest and largest share over models and replacements."""
    own = share.loc[share["method"] == method, "value"]
    return f"{percent(own.min()).removesuffix(' %')} to {percent(own.max())}"


def mean_share(share: pd.DataFrame, method: str) -> str:
    """``96.3 %``: a method's mean share over models and replacements."""
    return percent(share.loc[share["method"] == method, "value"].mean())


def passes_span(share: pd.DataFrame, method: str) -> str:
    """``111 to 234``: the passes that a method takes, over models."""
    return passes_text(share.loc[share["method"] == method, "passes"])


def passes_text(values: Sequence[float]) -> str:
    """``3.4 to 3.5``: the smallest and the largest of several numbers of passes."""
    texts = list(dict.fromkeys(f"{value:.0f}" if value >= 20 else f"{value:.1f}"
                               for value in (min(values), max(values))))
    return " to ".join(texts)


def points_text(row: Mapping[str, float], digits: int = 1) -> str:
    """``+1.7 points [-4.9, +8.4]``: a difference of shares with its interval."""
    return report.interval_text({name: 100 * row[name] for name in ("value", "low", "high")},
                                digits, "points")


def glued_shares(share: pd.DataFrame, names: Mapping[str, str], seed: int = 0) -> dict[str, str]:
    """The texts that pages name: of each method by its key in ``names`` ``share KEY``, ``mean share
    KEY`` and ``passes KEY`` over all replacements, and under each alone ``zero KEY``, ``zero KEY
    interval`` and ``zero KEY least``, likewise ``mean KEY`` and ``other KEY``."""
    texts = {}
    for key, name in names.items():
        texts |= {f"share {key}": share_span(share, name),
                  f"mean share {key}": mean_share(share, name),
                  f"passes {key}": passes_span(share, name)}
        for kind, word in WORDS.items():
            own = like_for_like(share, name, kind, seed)
            texts |= {f"{word} {key}": own["mean"], f"{word} {key} interval": own["interval"],
                      f"{word} {key} least": own["least"]}
    return texts


def glued_leads(leads: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """``zero tally KEY``: in how many models a lead shows under one replacement, of each table."""
    return {f"{word} tally {key}": report.in_words(list(own["verdict"]))
            for key, rows in leads.items() if len(rows)
            for kind, word in WORDS.items() for own in (rows[rows["replacement"] == kind],)}


def glued_toys(tried: pd.DataFrame, apart: Mapping[str, float],
               names: Mapping[str, str]) -> dict[str, str]:
    """``toys KEY``: shares of the best path's effect on toys, how far two of them are apart, and
    whether that shows."""
    shares = tried.set_index("method").to_dict("index")
    shown = report.verdict(apart) != "not shown"
    return {**{f"toys {key}": share_text(shares[name]) for key, name in names.items()
               if name in shares}, "toys lead": points_text(apart),
            "toys apart": "can be told apart" if shown else "cannot be told apart"}


def finding(share: pd.DataFrame) -> str:
    """The figure in a sentence."""
    few, published = (like_for_like(share, method) for method in (FEW, PUBLISHED))
    return (f"With neurons set to zero, three gradients ({passes_span(share, FEW)} passes) reach "
            f"{few['mean']} of the best known effect (least {few['least']}), the published search "
            f"({passes_span(share, PUBLISHED)} passes) {published['mean']} (least "
            f"{published['least']})")


def drawn(share: pd.DataFrame) -> pd.DataFrame:
    """The rows that the figure shows, conditions in words, each with its own means: not the
    reference, nor what was measured on other images."""
    own = merged(share[~share["method"].isin([REFINED, EXACT])])
    words = {}
    for kind, replaced in REPLACED.items():
        few, published = (like_for_like(share, method, kind)["mean"] for method in (FEW, PUBLISHED))
        words[kind] = (f"neurons {replaced}:\nthree gradients {few}, published search {published}")
    return own.assign(condition=own["replacement"].map(words))


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


def missed(share: pd.DataFrame) -> str:
    """Where a goal of ``GOALS`` is not reached: by the mean itself, with its size, and by how many
    intervals alone, whose means are above it."""
    texts = []
    for method, least in GOALS.items():
        own = share[share["method"] == method]
        below = own[own["value"] < least]
        unsure = own[(own["value"] >= least) & ~(own["low"] > least)]
        where = "; ".join(f"{row.model} on {row.data}, {REPLACED[row.replacement]} "
                          f"({percent(row.value)})" for row in below.itertuples())
        texts.append(f"With {method.rpartition(', ')[2]} the mean is below {100 * least:.0f} % in "
                     f"{len(below)} of {len(own)} comparisons{f' ({where})' * bool(where)}; in "
                     f"{len(unsure)} more the mean is above it and the interval is not")
    return ". ".join(texts)


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


def glued_questions(shares: pd.DataFrame, seed: int = 0) -> dict[str, str]:
    """``keep three``, ``keep ten`` and ``keep other``, and the same of ``enhance``: shares of the
    best path known for that question, means over models with their intervals over models, of the
    path that was asked so and of the one that was asked what removal costs."""
    texts = {}
    for question in BEYOND:
        own = shares[shares["question"] == question]
        means = over_models(own, ("value",), seed).set_index("method")
        texts |= {f"{question} {key}": share_text(means.loc[method])
                  if method in means.index else "–"
                  for key, method in (("three", asked(3)), ("ten", asked(10)), ("other", OTHER))}
    return texts


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


def glued_changes(changes: pd.DataFrame, same: pd.DataFrame) -> dict[str, str]:
    """``background share gradient``, ``background least gradient`` and the same of the integral:
    what a background gives of what an outline gives, from model to model, in how many models its
    attribution lies above zero, and ``below small gradient``, in how many below ``SMALL``; ``same
    path`` of gradient and integral.  Dashes where there are no pairs."""
    texts = {}
    for word, condition in (("gradient", AT_IMAGE), ("integral", INTEGRATED)):
        own = changes[changes["condition"] == condition]
        ratio, level = (own[own["measure"] == name] for name in ("background share", "background"))
        texts |= {
            f"background share {word}": report.percent_span(ratio["value"]) if len(ratio) else "–",
            f"background above zero {word}":
                f"{int((level['low'] > 0).sum())} of {len(level)}" if len(level) else "–",
            f"background small {word}": report.in_words(list(ratio["verdict"]))
                if len(ratio) else "–",
            **{f"attribution {change} {word}": f"{part.min():.2f} to {part.max():.2f}"
               if len(part := own.loc[own["measure"] == change, "value"]) else "–"
               for change in ("object", "outline", "fill", "colour", "background")}}
    return texts | {"same path": report.percent_span(same["value"]) if len(same) else "–",
                    "small background": f"{SMALL:.0%}"}


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


def glued_tried(rows: pd.DataFrame, settled: pd.DataFrame,
                names: Mapping[str, str]) -> dict[str, str]:
    """``lead KEY``, ``share KEY``, ``alike KEY`` and ``passes KEY`` of what was tried, and what
    gradients after the twentieth still do: ``settled changed``, ``settled images`` and ``settled
    gain``."""
    texts = {}
    for key, method in names.items():
        own = rows[rows["method"] == method]
        means = over_models(own, ("share", "alike", "value")).set_index("column")
        texts |= {f"tried {key}": percent(means.loc["share", "value"]),
                  f"tried {key} alike": percent(means.loc["alike", "value"]),
                  f"tried {key} lead": points_text(means.loc["value"], 2),
                  f"tried {key} passes": passes_text(own["passes"]),
                  f"tried {key} tally": report.in_words(list(own["verdict"]))}
    gain = over_models(settled.assign(method="later"), ("value",)).iloc[0]
    return texts | {"settled changed": str(settled["changed"].sum()),
                    "settled images": str(settled["images"].sum()),
                    "settled gain": points_text(gain, 2)}


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


def _correlation_apart(values: pd.Series) -> str:
    """``correlation lower by 0.32 to 0.69``: differences of a correlation in words."""
    low, high = sorted(abs(values.agg(["min", "max"])))
    if values.max() < 0 or values.min() > 0:
        return f"correlation {'lower' if values.max() < 0 else 'higher'} by {low:.2f} to {high:.2f}"
    return f"correlation different by {report.span_text(values, 2)}"


def answers(ahead: pd.DataFrame, ahead_default: pd.DataFrame, three: pd.DataFrame,
            ten: pd.DataFrame, one: pd.DataFrame, chance: pd.DataFrame, ranks: pd.DataFrame,
            asked: pd.DataFrame, asked_three: pd.DataFrame, asked_ten: pd.DataFrame,
            changes: pd.DataFrame, small: pd.DataFrame,
            permuted: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Questions, how large what was measured is, and the tally; the tables are those of
    :func:`~neuronpath_core.chapters.verdicts.which_method.made_from`."""
    def row(question: str, table: pd.DataFrame, form: str) -> tuple[str, str, str]:
        if table.empty:
            return question, "not measured", "–"
        values = table["value"]
        text = {"share": f"{percent(values.min())} to {percent(values.max())} of the effect",
                "points": f"{report.span_text(100 * values, 1)} points of probability",
                "correlation": _correlation_apart(values),
                "blocks": f"{report.span_text(100 * values, 0)} % of the blocks",
                "part": f"{report.percent_span(values)} of the outline's",
                "attribution": f"{report.span_text(values, 2)} of attribution"}[form]
        return question, text, report.tally(list(table["verdict"]))

    def of(measure: str) -> pd.DataFrame:
        return changes[changes["measure"] == measure]

    def zero(table: pd.DataFrame, wanted: bool = True) -> pd.DataFrame:
        return table[(table["replacement"] == "zero") == wanted] if len(table) else table

    return [
        row("Set to zero: do three gradients find paths with a larger effect than the published "
            "search's?", zero(ahead), "points"),
        row("Set to zero: does a single gradient?", zero(one), "points"),
        row("Set to other values, which the search is given too: do three gradients?",
            zero(ahead, False), "points"),
        row("Set to other values: does a single gradient?", zero(one, False), "points"),
        row("Three gradients against the default search, all replacements?", ahead_default,
            "points"),
        row("Three gradients against random neurons about as active, all replacements?", chance,
            "points"),
        row("Do three gradients reach 95 % of the best known effect, all replacements?", three,
            "share"),
        row("Do ten gradients reach 99 %?", ten, "share"),
        row("Does the refined search reach 99 % of the best of all paths, on toys?", small,
            "share"),
        row("Do scores do more than the same scores of permuted weights?", permuted, "points"),
        row("Does RelP rank single neurons better than gradient × activation, all replacements?",
            ranks, "correlation"),
        row("Does a path found for doubling or keeping do that better than one found for removal?",
            asked, "points"),
        row("Asked so, do three gradients reach 95 % of the best known effect?", asked_three,
            "share"),
        row("Do ten gradients reach 99 % of it?", asked_ten, "share"),
        row("Do pairs of outlines find other neurons than pairs of fills?", of("difference"),
            "blocks"),
        row("Do pairs of backgrounds find less than pairs of outlines?", of("less background"),
            "attribution"),
        row(f"Do they find less than {SMALL:.0%} of it?", of("background share"), "part"),
    ]
