"""What Chapter 22 says of its rows in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from neuronpath_core.stats import report

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


def series_names(rows: pd.DataFrame) -> pd.Series:
    """Model and data set of each row, as figures and tables name the two together."""
    return rows["model"] + ", " + rows["data"]


def times(ratios: pd.DataFrame) -> str:
    """``2.4 to 2.9``: the smallest and the largest ratio of a model."""
    return f"{ratios['value'].min():.1f} to {ratios['value'].max():.1f}"
