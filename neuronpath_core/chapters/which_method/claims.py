"""What Chapter 21 concludes: tables as they are shown, and its finding in a sentence."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.chapters.which_method.measured import (
    CONDITIONAL,
    PUBLISHED,
    REFINED,
    REPLACED,
    conditional,
)
from neuronpath_core.chapters.which_method.questions import ASKED
from neuronpath_core.stats import report

FEW, MANY = conditional(3), conditional(10)
GOALS = {FEW: 0.95, MANY: 0.99}
LINE = "conditional gradient, 1 to 20 passes"


def percent(value: float) -> str:
    """``97.4 %``; never rounded up to what it does not reach."""
    return f"{int(1000 * value + 1e-9) / 10:.1f} %"


def share_span(share: pd.DataFrame, method: str) -> str:
    """``96.1 to 99.9 %``: a method's smallest and largest share over models and replacements."""
    own = share.loc[share["method"] == method, "value"]
    return f"{percent(own.min()).removesuffix(' %')} to {percent(own.max())}"


def mean_share(share: pd.DataFrame, method: str) -> str:
    """``96.3 %``: a method's mean share over models and replacements."""
    return percent(share.loc[share["method"] == method, "value"].mean())


def passes_span(share: pd.DataFrame, method: str) -> str:
    """``111 to 234``: the passes that a method takes, over models."""
    own = share.loc[share["method"] == method, "passes"]
    texts = list(dict.fromkeys(f"{value:.0f}" if value >= 20 else f"{value:.1f}"
                               for value in (own.min(), own.max())))
    return " to ".join(texts)


def finding(share: pd.DataFrame) -> str:
    """The figure in a sentence."""
    least = share.loc[share["method"] == FEW, "value"].min()
    text = (f"The conditional gradient with three gradients ({passes_span(share, FEW)} passes) "
            f"reaches at least {percent(least)} of the best known effect")
    if PUBLISHED not in set(share["method"]):
        return text
    return (f"{text}; the published search ({passes_span(share, PUBLISHED)} passes) "
            f"{share_span(share, PUBLISHED)}")


def drawn(share: pd.DataFrame) -> pd.DataFrame:
    """The rows that the figure shows, conditions in words."""
    own = share[share["method"] != REFINED]
    return own.assign(condition=own["replacement"].map(
        {kind: f"neurons {words}" for kind, words in REPLACED.items()}))


def front_table(share: pd.DataFrame) -> pd.DataFrame:
    """Per method its passes and, by replacement, the mean share over models and the smallest;
    cheapest first."""
    rows = []
    for method, own in share.groupby("method", sort=False):
        row = {"method": method, "passes": passes_span(share, method),
               "order": own["passes"].mean()}
        for kind, words in REPLACED.items():
            part = own[own["replacement"] == kind]
            row[words] = f"{part['value'].mean():.3f} (least {part['value'].min():.3f})" \
                if len(part) else "–"
        zero = own[own["replacement"] == "zero"]
        row["predictions lost, set to zero"] = f"{100 * zero['turned'].mean():.0f} %" \
            if len(zero) else "–"
        rows.append(row)
    return pd.DataFrame(rows).sort_values("order", kind="stable").drop(columns="order").set_index(
        "method")


def share_table(share: pd.DataFrame) -> pd.DataFrame:
    """Every model's shares by budget, with their intervals."""
    names = [*CONDITIONAL, PUBLISHED]
    own = share[share["method"].isin(names)]
    own = own.assign(text=[report.interval_text(row, 3, signed=False)
                           for row in own.to_dict("records")],
                     replaced=own["replacement"].map(REPLACED))
    wide = own.pivot(index=["data", "model", "replaced"], columns="method", values="text").fillna(
        "–")
    wide.index.names = ["data", "model", "neurons are"]
    return wide[[name for name in names if name in wide]]


def missed(share: pd.DataFrame) -> str:
    """Where a goal of ``GOALS`` is not reached, and by how much: ``3 passes: shapes tiny-L-32, set
    to the mean over images, 0.93``; or that it is everywhere."""
    texts = []
    for method, least in GOALS.items():
        below = share[(share["method"] == method) & (share["value"] < least)]
        where = "; ".join(f"{row.model} on {row.data}, {REPLACED[row.replacement]} "
                          f"({percent(row.value)})" for row in below.itertuples())
        texts.append(f"{least:.0%} with {method.rpartition(', ')[2]}: "
                     + (where or "everywhere reached"))
    return ". ".join(texts)


def agreement_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Correlations with the exact effect, scores by models."""
    own = rows.assign(text=[report.interval_text(row, signed=False)
                            for row in rows.to_dict("records")])
    wide = own.pivot(index="score", columns=["data", "model"], values="text")
    order = rows.groupby("score")["value"].mean().sort_values(ascending=False).index
    wide.columns = [f"{model}, {data}" for data, model in wide.columns]
    return wide.loc[order].rename_axis("score")


def question_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean effects in points of probability: methods by questions, over models the mean, and from
    the smallest to the largest."""
    table = []
    for method, own in rows.groupby("method", sort=False):
        row = {"path": method}
        for question, words in ASKED.items():
            part = 100 * own.loc[own["question"] == question, "value"]
            row[f"the path is {words}"] = (f"{part.mean():.1f} ({part.min():.1f} to "
                                           f"{part.max():.1f})")
        table.append(row)
    return pd.DataFrame(table).set_index("path")


def change_table(rows: pd.DataFrame) -> pd.DataFrame:
    """What pairs find, per model."""
    names = {"same change": "two other outlines", "other change": "an outline and a fill",
             "difference": "difference", "outline": "attribution, outline",
             "fill": "attribution, fill", "background": "attribution, background"}
    if rows.empty:
        return pd.DataFrame({"model": ["none of these data sets can be drawn again"]}).set_index(
            "model")
    own = rows[rows["measure"].isin(names)]
    own = own.assign(text=[report.interval_text(row, signed=row["measure"] == "difference")
                           for row in own.to_dict("records")],
                     measure=own["measure"].map(names))
    wide = own.pivot(index=["data", "model"], columns="measure", values="text").fillna("–")
    return wide[[name for name in names.values() if name in wide]]


def toy_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Shares of the best path's effect on networks that can be tried through."""
    own = rows.sort_values("value", ascending=False)
    return pd.DataFrame({
        "method": own["method"],
        "share of the best path's effect": [report.interval_text(row, 3, signed=False)
                                            for row in own.to_dict("records")],
        "is the best path": [f"{value:.0%} of images" for value in own["exact"]],
    }).set_index("method")


def answers(ahead: pd.DataFrame, ahead_default: pd.DataFrame, three: pd.DataFrame,
            ten: pd.DataFrame, one: pd.DataFrame, chance: pd.DataFrame, ranks: pd.DataFrame,
            asked: pd.DataFrame, changes: pd.DataFrame,
            small: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Questions, how large what was measured is, and the tally; the tables are those of
    :func:`~neuronpath_core.chapters.verdicts.which_method.made_from`."""
    def row(question: str, table: pd.DataFrame, form: str) -> tuple[str, str, str]:
        if table.empty:
            return question, "not measured", "–"
        values = table["value"]
        text = {"share": f"{percent(values.min())} to {percent(values.max())} of the effect",
                "points": f"{report.span_text(100 * values, 1)} points of probability",
                "correlation": f"{report.span_text(values, 2)} of the correlation",
                "blocks": f"{report.span_text(100 * values, 0)} % of the blocks",
                "attribution": f"{report.span_text(values, 2)} of attribution"}[form]
        return question, text, report.tally(list(table["verdict"]))

    def of(measure: str) -> pd.DataFrame:
        return changes[changes["measure"] == measure]

    return [
        row("Do three passes find paths that cost more than the published search's?", ahead,
            "points"),
        row("And more than the default search's, with the same replacement?", ahead_default,
            "points"),
        row("Does a single gradient?", one, "points"),
        row("Do three passes find more than random neurons about as active?", chance, "points"),
        row("Do three passes reach 95 % of the best known effect?", three, "share"),
        row("Do ten passes reach 99 %?", ten, "share"),
        row("Does the refined search reach 99 % of the best of all paths, on toys?", small,
            "share"),
        row("Does RelP rank single neurons better than gradient × activation?", ranks,
            "correlation"),
        row("Does a path found for doubling or keeping do that better than one found for removal?",
            asked, "points"),
        row("Do pairs of outlines find other neurons than pairs of fills?", of("difference"),
            "blocks"),
        row("Do pairs of backgrounds find less than pairs of outlines?", of("less background"),
            "attribution"),
    ]
