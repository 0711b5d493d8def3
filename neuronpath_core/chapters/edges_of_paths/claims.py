"""What Chapter 22 concludes, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from neuronpath_core.chapters.edges_of_paths.measured import PARTNERS
from neuronpath_core.chapters.edges_of_paths.shares import ROUTES
from neuronpath_core.stats import report
from neuronpath_core.stats.labels import SCOPE_LABELS

SENTENCES = {
    "most": "A path neuron makes up most of the next one's activation",
    "most label": "Most of what a path neuron does to the label goes by way of the next one",
    "signed": "A path neuron makes the next one more active",
    "matched": "A path neuron moves the next one more than it moves a neuron about as active",
    "partners": "A path neuron moves the next one more than it moves neurons of other paths or "
                "blocks",
    "label": "By way of the next path neuron it raises the label's probability more than by way of "
             "other neurons",
    "label size": "By way of the next path neuron it moves the label's probability more, whatever "
                  "the sign, than by way of other neurons",
    "cosine": "What a path neuron writes fits what the next one reads better than what others read",
    "attention": "Most of what reaches path neurons further on has gone through attention",
    "chain": "Where a chain was planted, one neuron makes up most of the next",
    "parallel": "Where neurons were planted side by side, none makes up more than a twentieth of "
                "the next",
}
PLANTED = {"chain": "planted chain", "parallel": "planted side by side"}
OWN, SAME = "in shares of what each reaches", "in shares of the path's activation"
SERIES = "planted, {scope}"
STRONGEST = "the strongest pair in the same blocks"


def percents(values: Sequence[float], signed: bool = False) -> str:
    """``1.2 to 3.8 %``: the smallest and the largest of several shares; one number where they
    round to the same."""
    low, high = (f"{100 * value:{'+' if signed else ''}z.1f}" for value in (min(values),
                                                                            max(values)))
    return f"{low} %" if low == high else f"{low} to {high} %"


def edge_claims(judged: Mapping[str, pd.DataFrame]) -> list[tuple[str, str, str]]:
    """The claims of the chapter, what was measured, and the tally of its comparisons; ``judged`` of
    :func:`~neuronpath_core.chapters.edges_of_paths.shares.verdicts`."""
    def text(key: str, rows: pd.DataFrame) -> str:
        if key == "cosine":
            return f"cosine {report.span_text(rows['value'], 2)}"
        return percents(rows["value"], signed=key in (
            "signed", "matched", "partners", "label", "label size"))

    return [(SENTENCES[key], text(key, rows.dropna(subset="value")),
             report.tally(list(rows["verdict"]))) for key, rows in judged.items() if len(rows)]


def finding(judged: Mapping[str, pd.DataFrame], strongest: pd.DataFrame) -> str:
    """The figure of the shares in a sentence."""
    own = judged["most"][judged["most"]["replaced"] == "zero"]
    return (f"A path neuron moves the next one by {percents(own['value'])} of its activation, the "
            f"strongest pair in the same blocks by {percents(strongest['value'])}; in planted "
            f"chains it is {percents(judged['chain']['value'])}")


def answer(judged: Mapping[str, pd.DataFrame]) -> str:
    """The chapter's question in a word or two: by whether most of a neuron's activation comes from
    the one before."""
    verdicts = list(judged["most"]["verdict"])
    if all(each == "agrees" for each in verdicts):
        return "Yes"
    return "Little" if all(each == "contradicts" for each in verdicts) else "In part"


def glued(share: pd.DataFrame, judged: Mapping[str, pd.DataFrame], ratios: pd.DataFrame,
          strongest: pd.DataFrame) -> dict[str, str]:
    """The numbers that the page's text names, sources set to zero; tables of
    :mod:`~neuronpath_core.chapters.edges_of_paths.shares`."""
    at = {name: rows[rows["replaced"] == "zero"] for name, rows in judged.items()
          if "replaced" in rows}

    def shown(control: str, measure: str) -> str:
        zero = share[(share["replaced"] == "zero") & (share["control"] == control)]
        return percents(zero.loc[zero["measure"] == measure, "value"])

    def tally(rows: pd.DataFrame, noun: str = "models") -> str:
        return report.in_words(list(rows["verdict"]), noun)

    near = at["label size"]["control"] == "matched"
    found = {"answer": answer(judged), "moved": shown("path", "activation"),
             "handed": shown("path", "label"), "handed matched": shown("matched", "label"),
             "times": times(ratios), "strongest": percents(strongest["value"]),
             **{kind: percents(judged[kind]["value"]) for kind in ("chain", "parallel")},
             "tally label": tally(at["label"], "comparisons"),
             "tally size matched": tally(at["label size"][near]),
             "tally size": tally(at["label size"][~near], "comparisons")}
    for name, measure in (("same", "activation"), ("own", "own activation")):
        rows = at["matched"][at["matched"]["measure"] == measure]
        found |= {f"lead {name}": percents(rows["value"], signed=True),
                  f"tally {name}": tally(rows)}
    return found


def example(edges: pd.DataFrame, data: str, model: str) -> pd.DataFrame:
    """The edges of one path of a model, sources set to zero: that of the image whose probability
    its neurons move most, one by one."""
    own = edges[(edges["data"] == data) & (edges["model"] == model) & (edges["control"] == "path")
                & (edges["replaced"] == "zero")]
    image = own["source_effect"].abs().groupby(own["image"]).sum().idxmax()
    return own[own["image"] == image]


def arc_finding(edges: pd.DataFrame) -> str:
    """One image's edges in a sentence, from its rows of
    :func:`~neuronpath_core.chapters.edges_of_paths.measured.edges_of`."""
    most, alone = (f"{100 * edges[name].abs().max():#.2g}".rstrip(".")
                   for name in ("exact_probability", "source_effect"))
    return (f"The strongest of this path's {len(edges)} edges moves the label's probability by "
            f"{most} points; removal of one of its neurons moves it by up to {alone}")


def _series(rows: pd.DataFrame) -> pd.Series:
    return rows["model"] + ", " + rows["data"]


def times(ratios: pd.DataFrame) -> str:
    """``2.4 to 2.9``: the smallest and the largest ratio of a model."""
    return f"{ratios['value'].min():.1f} to {ratios['value'].max():.1f}"


def label_table(shares: pd.DataFrame, ratios: pd.DataFrame) -> pd.DataFrame:
    """What goes to the label by way of the path's next neuron, and of one about as active, in per
    cent, and their ratio: a row per model."""
    own = share_table(shares, "label")[[PARTNERS["path"], PARTNERS["matched"]]]
    text = [report.interval_text(row, 1, signed=False) for row in ratios.to_dict("records")]
    return own.join(ratios.assign(**{"ratio": text}).set_index(["data", "model"])["ratio"])


def truth_rows(shares: pd.DataFrame, planted: pd.DataFrame,
               strongest: pd.DataFrame) -> pd.DataFrame:
    """Planted networks and the strongest pairs above the paths of trained models, as
    :func:`~neuronpath_core.figures.path_graph.edge_shares` draws them: ``name, series, value, low,
    high``."""
    known = planted[(planted["control"] == "path") & (planted["measure"] == "activation")]
    own = _shown(shares)
    own = own[own["control"] == "path"]
    return pd.concat([
        known.assign(name=known["kind"].map(PLANTED),
                     series=[SERIES.format(scope=SCOPE_LABELS[scope]) for scope in known["scope"]]),
        strongest.assign(name=STRONGEST, series=_series(strongest)),
        own.assign(name="paths of trained models", series=_series(own))])[
            ["name", "series", "value", "low", "high"]].reset_index(drop=True)


def _shown(shares: pd.DataFrame) -> pd.DataFrame:
    return shares[(shares["measure"] == "activation") & (shares["replaced"] == "zero")]


def control_rows(shares: pd.DataFrame) -> pd.DataFrame:
    """The path and its controls for the same figure."""
    own = _shown(shares)
    return own.assign(name=own["control"].map(PARTNERS), series=_series(own))[
        ["name", "series", "value", "low", "high"]].reset_index(drop=True)


def lead_rows(lead: pd.DataFrame) -> pd.DataFrame:
    """The leads over every control for the same figure, in shares of the path's activation."""
    own = lead[(lead["measure"] == "activation") & (lead["replaced"] == "zero")]
    return own.assign(name=own["control"].map(PARTNERS), series=_series(own))[
        ["name", "series", "value", "low", "high"]].reset_index(drop=True)


def _cells(rows: pd.DataFrame, columns: str, digits: int, factor: float = 1, *,
           signed: bool = True, index: Sequence[str] = ("data", "model")) -> pd.DataFrame:
    """Values with their intervals for reading: a column per value of ``columns``, in the rows'
    order."""
    scaled = rows.assign(**{name: factor * rows[name] for name in ("value", "low", "high")})
    text = [report.interval_text(row, digits, signed=signed) for row in scaled.to_dict("records")]
    wide = rows.assign(text=text).pivot(index=list(index), columns=columns, values="text")
    order = pd.MultiIndex.from_frame(rows[list(index)].drop_duplicates())
    return wide.reindex(index=order, columns=list(dict.fromkeys(rows[columns])))


def share_table(shares: pd.DataFrame, measure: str) -> pd.DataFrame:
    """One measure of :func:`~neuronpath_core.chapters.edges_of_paths.shares.edge_shares`, in per
    cent, source set to zero: a row per model, a column per partner."""
    own = shares[(shares["measure"] == measure) & (shares["replaced"] == "zero")]
    return _cells(own.assign(to=own["control"].map(PARTNERS)), "to", 1, 100,
                  signed=measure == "signed")


def mean_table(shares: pd.DataFrame, lead: pd.DataFrame) -> pd.DataFrame:
    """The path's share and its lead over matched partners, in per cent, by what the source is set
    to."""
    own = shares[(shares["measure"] == "activation") & (shares["control"] == "path")]
    ahead = lead[(lead["control"] == "matched")
                 & lead["measure"].isin(["activation", "own activation"])]
    words = {"activation": f"lead, {SAME}", "own activation": f"lead, {OWN}"}
    rows = pd.concat([own.assign(what="share"),
                      ahead.assign(what=ahead["measure"].map(words))])
    index = ["data", "model", "source set to"]
    order = rows.rename(columns={"replaced": "source set to"})
    return _cells(order, "what", 1, 100, index=index).sort_index(
        level=[0, 1], sort_remaining=False, kind="stable")


def lead_table(lead: pd.DataFrame, measure: str) -> pd.DataFrame:
    """One measure of the leads, source set to zero: a row per model, a column per control."""
    own = lead[(lead["measure"] == measure) & (lead["replaced"] == "zero")]
    digits, factor = (2, 1) if measure == "cosine" else (1, 100)
    return _cells(own.assign(to=own["control"].map(PARTNERS)), "to", digits, factor)


def cosine_table(cosines: pd.DataFrame) -> pd.DataFrame:
    """Cosines of weights: a row per model, a column per partner."""
    return _cells(cosines.assign(to=cosines["control"].map(PARTNERS)), "to", 2)


def route_table(routes: pd.DataFrame) -> pd.DataFrame:
    """Shares of the routes in per cent: a row per model and kind of pairs."""
    own = routes[routes["route"].isin(list(ROUTES))]
    own = own.assign(by=own["route"].map(ROUTES), to=own["pairs"]).rename(
        columns={"to": "edges to"})
    return _cells(own, "by", 0, 100, signed=False, index=["data", "model", "edges to"])


def planted_table(planted: pd.DataFrame) -> pd.DataFrame:
    """Shares of planted networks in per cent: a row per kind and scope, a column per partner."""
    own = planted[planted["measure"] == "activation"]
    own = own.assign(to=own["control"].map(PARTNERS), what=own["kind"].map(PLANTED),
                     tokens=own["scope"].map(SCOPE_LABELS))
    return _cells(own.rename(columns={"what": "network"}), "to", 1, 100, signed=False,
                  index=["network", "tokens"])


def file_table(files: pd.DataFrame) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.edges_of_paths.measured.graph_files` for reading: a row per
    format, how many graphs came back as written, and how many damaged files were refused."""
    rows = []
    for file, own in files.groupby("file", sort=False):
        rows.append({"file": file, "neurons": _counts(own["neurons"]),
                     "edges": _counts(own["edges"]),
                     **{damage or "read as written":
                        f"{each['told'].sum()} of {len(each)}{' refused' if damage else ''}"
                        for damage, each in own.groupby("damage", sort=False)}})
    return pd.DataFrame(rows).set_index("file")


def _counts(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low}" if low == high else f"{low} to {high}"
