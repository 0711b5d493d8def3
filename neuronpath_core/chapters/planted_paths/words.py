"""What Chapter 9 concludes: how many of the planted neurons each way finds, and whether the score
or the search is to blame for the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from neuronpath_core.chapters.planted_paths.rates import (
    paired_recovery,
    recovery_summary,
    score_preference,
)
from neuronpath_core.chapters.planted_paths.recovery import RECOVERY_METHODS
from neuronpath_core.stats import report
from neuronpath_core.stats.claims import with_verdict
from neuronpath_core.stats.labels import SCOPE_LABELS, method_label

HALF = 0.5  # what "most of the neurons" means
RECOMMENDED = "conditional_gradient"  # by the chapter on methods
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
    "conditional": (RECOMMENDED, "neuron_path", "With all decoys, conditional gradient finds more "
                                                "than the default search"),
    **{f"complete over {name}": ("complete", other,
                                 f"With all decoys, complete attribution finds more than {words}")
       for name, other, words in (
           ("activation", "activation", "activation"),
           ("gradient", "influence_pattern", "the gradients of Influence Pattern"))},
}


def recovery_by_decoys(table: pd.DataFrame, method: str = "neuron_path") -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.planted_paths.rates.recovery_summary` of a method per
    setting of decoys, with the ``verdict`` on whether it finds more than ``HALF``."""
    found = recovery_summary(table[table["method"] == method], ["decoys"])
    return with_verdict(found, threshold=HALF).set_index("decoys")


def spread_text(row: Mapping[str, float]) -> str:
    """How alike a rate is from network to network: ``the same in all 12 networks``, or ``0.17 to
    0.25 from network to network``."""
    least, most = (f"{row[name]:.2f}" for name in ("least", "most"))
    if least == most:
        return f"the same in all {row['networks']} networks"
    return f"{least} to {most} from network to network"


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


def recovery_claims(
    plain: pd.DataFrame, recommended: pd.DataFrame, loss: pd.DataFrame,
    leads: Mapping[str, Mapping], fault: pd.DataFrame
) -> list[tuple[str, str, str]]:
    """The questions of the chapter, what was measured, and the verdict.

    Args:
        plain, recommended: of :func:`recovery_by_decoys`, of the default search and of the method
            that the book recommends.
        leads, fault: of :func:`recovery_leads` and :func:`score_fault`.
        loss: what each setting of decoys does to the default search's recovery.
    """
    decoyed = {"none": "without decoys"}
    return [
        *((f"{who} finds most of the neurons that are known to matter, "
           f"{decoyed.get(name, f'with decoys ({name})')}",
           f"{report.interval_text(row, signed=False)} of them, {spread_text(row)}; chance "
           f"{row['chance']:.2f}", row["verdict"])
          for who, rates in (("The search", plain), ("Conditional gradient", recommended))
          for name, row in rates.iterrows()),
        *((f"Decoys ({name}) do not mislead the search", f"recovery {report.interval_text(row)}",
           report.verdict(row)) for name, row in loss.iterrows()),
        *((LEADS[name][2], f"recovery {report.interval_text(row)}", report.verdict(row))
          for name, row in leads.items()),
        *(("A path of higher score holds more of the neurons that matter",
           f"of the {row['images']} images whose path misses one, {100 * row['value']:.0f} % have "
           f"a higher score than the planted path's", row["verdict"])
          for _, row in fault.iterrows()),
    ]


def finding(table: pd.DataFrame) -> str:
    """The main figure in a sentence: what the default search finds without and with all decoys, and
    how many other methods than its variants find more with them.

    ``table`` is that of :func:`~neuronpath_core.chapters.planted_paths.recovery.recovery`.
    """
    rates = {decoys: recovery_summary(table[table["decoys"] == decoys], ["method"]).set_index(
        "method")["value"] for decoys in ("none", "all")}
    plain, decoyed = (rates[decoys]["neuron_path"] for decoys in ("none", "all"))
    others = rates["all"][[name for name in rates["all"].index
                           if not name.startswith("neuron_path")]]
    more = int((others > decoyed).sum())
    return (f"The search finds {100 * plain:.0f} % of the planted neurons, with all decoys "
            f"{100 * decoyed:.0f} %; then {more} of {len(others)} other methods find more")


def _in_order(wide: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of the methods, called as they are elsewhere."""
    order = [method for method in RECOVERY_METHODS if method in wide.index]
    return wide.reindex(order).rename(index=method_label)


def rate_table(table: pd.DataFrame) -> pd.DataFrame:
    """Recovery of every method by scope and decoys for reading, with its agreement under
    permutation and chance; a dash where a method was not run."""
    found = recovery_summary(table, ["scope", "decoys", "method"])
    text = [report.interval_text(row, signed=False) for row in found.to_dict("records")]
    cells = list(dict.fromkeys(zip(found["scope"], found["decoys"], strict=True)))
    cells.sort(key=lambda cell: ([*SCOPE_LABELS].index(cell[0]),
                                 ["none", "loud", "steep", "all"].index(cell[1])))
    wide = found.assign(text=text).pivot(index="method", columns=["scope", "decoys"],
                                         values="text")[cells].fillna("–")
    # each setting of decoys counts alike
    blind = recovery_summary(table, ["method", "decoys"]).groupby("method")[
        ["permuted", "chance"]].mean()
    for name in ("permuted", "chance"):
        wide[("by guessing", name)] = blind[name].map("{:.2f}".format)
    return _in_order(wide).rename(columns=SCOPE_LABELS)


def kind_table(table: pd.DataFrame) -> pd.DataFrame:
    """Recovery of every method by kind of planting and scope, without and with all decoys."""
    found = recovery_summary(table[table["decoys"].isin(["none", "all"])],
                             ["kind", "scope", "decoys", "method"])
    columns = ["kind", "scope", "decoys"]
    order = pd.MultiIndex.from_frame(found.sort_values(["kind", "scope"], kind="stable")[
        columns].drop_duplicates())
    wide = found.pivot(index="method", columns=columns, values="value")[order]
    return _in_order(wide).rename(columns=SCOPE_LABELS)


def harm_table(harm: pd.DataFrame) -> pd.DataFrame:
    """What decoys do to each method's recovery for reading: a column per setting of decoys; a dash
    where a method was not run. ``harm``: ``decoys, method, value, low, high``."""
    text = [report.interval_text(row) for row in harm.to_dict("records")]
    wide = harm.assign(text=text).pivot(index="method", columns="decoys", values="text")
    return _in_order(wide[list(dict.fromkeys(harm["decoys"]))].fillna("–"))


def blame_table(blame: pd.DataFrame, searches: Sequence[str]) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.planted_paths.rates.score_preference` for reading: a row per
    variant of the search, a column per kind and scope."""
    text = [f"{report.interval_text(row, signed=False)} of {row['images']}"
            for row in blame.to_dict("records")]
    wide = blame.assign(text=text).pivot(index="method", columns=["kind", "scope"], values="text")
    return wide.reindex(searches).fillna("none missed").rename(
        index=method_label, columns=SCOPE_LABELS)


def truth_table(truth: pd.DataFrame) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.planted_paths.recovery.verification` for reading: a row per
    kind, scope and decoys, with the least favourable network in each column."""
    spread = {"networks": ("network", "size"), "probability": ("probability", "mean"),
              "accuracy": ("accuracy", "min"), "planted": ("planted", "min"),
              "one of two": ("one of two", "max"), "other": ("other", "max"),
              "known": ("known", "sum")}
    scopes = truth["scope"].map(SCOPE_LABELS)
    return truth.assign(scope=scopes).groupby(["kind", "scope", "decoys"], sort=False).agg(**spread)
