"""Chapter 33 in words: its finding, and its tables for reading.

Tables are those of the modules beside this one, with ``model``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from neuronpath_core.chapters.explanations.published import INTERNVL, LLAVA, SCORES
from neuronpath_core.chapters.explanations.shown import Example
from neuronpath_core.stats import report
from neuronpath_core.stats.claims import with_verdict
from neuronpath_core.vlm.explained import KINDS
from neuronpath_core.vlm.explained_neurons import ON_TOP, RANDOM, TOP


def _table(rows: Iterable[Mapping], keys: Sequence[str]) -> pd.DataFrame:
    """Rows under their keys, also where there are none."""
    return pd.DataFrame(list(rows), columns=None if rows else list(keys)).set_index(list(keys))


def _percent(value: float) -> str:
    return "–" if pd.isna(value) else f"{100 * value:.0f}"


def planted_table(planted: pd.DataFrame) -> pd.DataFrame:
    """``planted.planted_rows`` for reading, both ways to see side by side."""
    keys, rows = ["kind", "meaning", "noise"], []
    for names, own in planted.groupby(keys, sort=False):
        sees = {row["sees"]: row for row in own.to_dict("records")}
        where, raw = sees["modulated"], sees["raw"]
        rows.append({
            "type": names[0], "planted": names[1], "activity": names[2],
            "found whole, %": _percent(where["found"]), "in part, %": _percent(where["part"]),
            "in part, not seeing where, %": _percent(raw["part"]),
            "score": where["score"], "not seeing where": raw["score"],
            "another's explanation": where["swapped"], "the planted meaning": where["truth"]})
    return _table(rows, ["type", "planted", "activity"])


def means_table(means: pd.DataFrame) -> pd.DataFrame:
    """``measured.mean_rows`` for reading, with what the paper reports of its two models
    beside."""
    return _table([{
        "model": row["model"], "type": row["kind"], "explained from": row["explained"],
        "scored on": row["scored"], "neurons": row["neurons"],
        "below p = 0.8": row["unsure"], "own": row["own"], "swapped": row["swapped"],
        "own − swapped": report.interval_text(row, 2), "one for all": row["generic"],
        "places": row["place"], "best possible": row["ceiling"],
        "constant, %": _percent(row["constant"]),
        **{f"{name} (paper)": paper(row, name) for name in (LLAVA, INTERNVL)}}
        for row in means.to_dict("records")], ["model", "type", "explained from", "scored on"])


def paper(row: Mapping[str, str], model: str) -> float:
    """The paper's score for one of its models of the same type and samples; NaN where it has
    none."""
    if row["scored"] != ON_TOP or row["explained"] not in (TOP, RANDOM):
        return float("nan")
    return SCORES[model, row["kind"]][(TOP, RANDOM).index(row["explained"])]


def gap_table(places: pd.DataFrame, from_random: pd.DataFrame, raw: pd.DataFrame,
              twins: pd.DataFrame) -> pd.DataFrame:
    """``measured.place_rows``, both tables of ``measured.gap_rows``, and ``measured.twin_rows`` for
    reading."""
    known = {name: {(row["model"], row["kind"]): row for row in table.to_dict("records")}
             for name, table in (("place", places), ("random", from_random), ("raw", raw),
                                 ("twin", twins))}
    rows = []
    for key in known["random"]:
        row = {"model": key[0], "type": key[1]}
        for name, words in (("place", "own − places"), ("random", "top − random samples"),
                            ("raw", "seeing where − not"),
                            ("twin", "own − swapped, beyond random weights")):
            found = known[name].get(key)
            row[words] = report.interval_text(found, 2) if found else "–"
        twin = known["twin"].get(key)
        rows.append({**row, "own − swapped, random weights":
                     twin["random"] if twin else float("nan")})
    return _table(rows, ["model", "type"])


def cause_table(caused: pd.DataFrame) -> pd.DataFrame:
    """``causes.cause_rows`` for reading."""
    return _table([{
        "model": row["model"], "type": row["kind"], "explained from": row["explained"],
        "neurons": f"{row['neurons']} of {row['asked']}",
        "what is named, standard deviations": row["own"], "what others are called": row["swapped"],
        "difference": report.interval_text(row, 2)}
        for row in caused.to_dict("records")], ["model", "type", "explained from"])


def naming_table(named: pd.DataFrame) -> pd.DataFrame:
    """``shown.naming_rows`` for reading."""
    return _table([{
        "model": row["model"], "type": row["kind"], "of the": row["modality"],
        "called after": row["named"], "% of the neurons": _percent(row["value"])}
        for row in named.to_dict("records")], ["model", "type", "of the", "called after"])


def extreme_table(extremes: pd.DataFrame) -> pd.DataFrame:
    """``shown.extreme_rows`` for reading."""
    return _table([{
        "model": row["model"], "type": row["kind"], "score is the": row["which"],
        "neuron": f"layer {row['layer']}, {row['neuron']}", "score": row["value"],
        "of sure neurons": row["neurons"], "explanation": row["said"] or "–"}
        for row in extremes.to_dict("records")], ["model", "type", "score is the"])


def variant_table(variants: pd.DataFrame) -> pd.DataFrame:
    """``variants.variant_rows`` for reading, types side by side."""
    rows = []
    for (model, name), own in variants.groupby(["model", "variant"], sort=False):
        row: dict[str, object] = {"model": model, "score": name}
        for each in own.to_dict("records"):
            row[f"{each['kind']} neurons"] = each["value"]
            row[f"constant, % ({each['kind']})"] = _percent(each["constant"])
        rows.append(row)
    return _table(rows, ["model", "score"])


def rehearsed_table(rehearsed: pd.DataFrame) -> pd.DataFrame:
    """``variants.rehearsed`` for reading."""
    return _table([{"asked for": row["asked"], "answer": row["answer"],
                    "requests": row["requests"], "what becomes of it": row["outcome"]}
                   for row in rehearsed.to_dict("records")], ["asked for", "answer"])


def tally(table: pd.DataFrame, noun: str = "comparisons") -> str:
    """``8 of 9 comparisons; the other is not shown``, of rows with an effect."""
    known = table.dropna(subset=["value"]) if len(table) else table
    return report.in_words(list(with_verdict(known)["verdict"]), noun) if len(known) else "none"


def on_top(means: pd.DataFrame, model: str, explained: str = TOP) -> pd.DataFrame:
    """The rows of one model that are scored on top samples."""
    return means[(means["model"] == model) & (means["scored"] == ON_TOP)
                 & (means["explained"] == explained)]


def spoken(rows: pd.DataFrame, column: str) -> str:
    """``0.31 (visual), 0.52 (text) and 0.44 (multi-modal)``."""
    found = [f"{row[column]:z.2f}".replace("-", "\u2212") + f" ({row['kind']})"
             for kind in KINDS for row in rows[rows["kind"] == kind].to_dict("records")]
    return " and ".join(filter(None, (", ".join(found[:-1]), found[-1]))) if found else "–"


def finding(means: pd.DataFrame, model: str) -> str:
    """The main figure in a sentence."""
    own = on_top(means, model)
    if own.empty:
        return "Scores of explanations and of their controls"
    return (f"Explanations score {spoken(own, 'own')}; those of other neurons of the type and "
            f"layer {spoken(own, 'swapped')}")


def shown_finding(examples: Sequence[Example]) -> str:
    """The figure of single neurons in a sentence."""
    found = [f"{each.value:z.2f}".replace("-", "\u2212") + f" ({each.kind})" for each in examples]
    return "Neurons that are explained better than most of their type score " + " and ".join(
        filter(None, (", ".join(found[:-1]), found[-1]))) if found else "No neuron is explained"


def found(planted: pd.DataFrame, meaning: str, noise: str) -> str:
    """``80 to 100 %``: how many planted meanings are recovered whole, over types."""
    rows = planted[(planted["meaning"] == meaning) & (planted["noise"] == noise)
                   & (planted["sees"] == "modulated")]
    return report.percent_span(list(rows["found"]))


def first_words(named: Sequence[str]) -> str:
    """Which neurons are said to fire on, or before, first words, as a sentence ends."""
    if not named:
        return "none of these neurons is said to do so"
    if len(named) == 1:
        return f"one of these neurons is said to do so or to come before them: {named[0]}"
    return f"{len(named)} of these neurons are said to do so or to come before them: " + (
        f"{'; '.join(named[:3])}")


def trainings(count: int) -> str:
    """How many trainings a page compares, as a sentence ends."""
    return "there is no other yet" if count == 1 else (
        f"{count} trainings stand side by side in the tables")
