"""The rows of :mod:`~neuronpath_core.chapters.replacement.effect_rows` for reading."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from neuronpath_core.chapters.replacement.effect_rows import CELL, CONTROLS, named
from neuronpath_core.chapters.replacement.measured import CHANGES, KINDS, PATH, RANDOM
from neuronpath_core.stats import report


def _wide(rows: pd.DataFrame, index: Sequence[str], columns: str,
          text: Callable[[dict], str]) -> pd.DataFrame:
    """A row per ``index``, a column per value of ``columns``, both in the order of the rows."""
    table = rows.assign(text=[text(row) for row in rows.to_dict("records")]).pivot(
        index=list(index), columns=columns, values="text")
    order = pd.MultiIndex.from_frame(rows[list(index)].drop_duplicates())
    return table.reindex(index=order, columns=list(dict.fromkeys(rows[columns])))


def set_to(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(kind=rows["kind"].map({kind: f"set to {words}"
                                              for kind, words in (KINDS | CHANGES).items()}))


def loss_table(lost: pd.DataFrame, measure: str) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.replacement.effect_rows.losses` of one measure, a column per
    replacement."""
    rows = lost[lost["measure"] == measure]
    digits = 1 if measure == "accuracy" else 3
    return _wide(set_to(rows.assign(path=rows["method"].map(named))), [*CELL, "path"], "kind",
                 lambda row: report.interval_text(row, digits))


def gained_table(gained: pd.DataFrame, lead: pd.DataFrame) -> pd.DataFrame:
    """What enhancement of the path gains, of
    :func:`~neuronpath_core.chapters.replacement.effect_rows.losses`, and its lead in probability
    over each of ``CONTROLS``, of :func:`~neuronpath_core.chapters.replacement.effect_rows.leads`, a
    row per model and replacement."""
    own, columns = gained[gained["method"] == PATH], {}
    for measure, words, digits in (("probability", "probability gained (share)", 3),
                                   ("accuracy", "accuracy gained (points)", 1)):
        columns[words] = own[own["measure"] == measure].set_index([*CELL, "kind"]), digits
    ahead = lead[lead["measure"] == "probability"]
    for method in CONTROLS:
        rows = ahead[ahead["method"] == method]
        if len(rows):
            columns[f"ahead of {named(method)} (share)"] = rows.set_index([*CELL, "kind"]), 3
    table = pd.DataFrame({words: pd.Series(
        [report.interval_text(row, digits) for row in rows.to_dict("records")], rows.index)
        for words, (rows, digits) in columns.items()})
    order = next(iter(columns.values()))[0].index
    return table.reindex(order).rename(index=KINDS, level="kind").rename_axis(
        index={"kind": "away from"})


def pair_table(lost: pd.DataFrame, less: pd.DataFrame) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.replacement.effect_rows.losses` of probability with values
    of counterfactual scenes, and, of the neuron path,
    :func:`~neuronpath_core.chapters.replacement.effect_rows.less_background`."""
    table = loss_table(lost, "probability")
    own = {(row["data"], row["model"], named(PATH)): report.interval_text(row, 3)
           for row in less.to_dict("records")}
    return table.assign(**{"difference of the two": [own.get(place, "") for place in table.index]})


def by_distance_table(less: pd.DataFrame) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.replacement.effect_rows.by_distance` for reading, a column
    per replacement."""
    return _wide(set_to(less), CELL, "kind", lambda row: report.interval_text(row, 3))


def lead_table(lead: pd.DataFrame) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.replacement.effect_rows.leads` for reading: per replacement
    and other path from where to where the lead goes over the models, and the tally."""
    rows = []
    for (kind, against, measure), own in lead.groupby(["kind", "against", "measure"], sort=False):
        digits = 1 if measure == "accuracy" else 3
        rows.append({"kind": kind, "ahead of": against, "measure": measure,
                     "text": f"{report.span_text(own['value'], digits)}; "
                             f"{report.tally(list(own['verdict']))}"})
    table = _wide(set_to(pd.DataFrame(rows)), ["kind", "ahead of"], "measure",
                  lambda row: row["text"])
    return table.rename_axis(["removed neurons", "ahead of"]).rename(
        columns={"probability": "probability (share)", "accuracy": "accuracy (points)"})


def distance_table(effects: pd.DataFrame) -> pd.DataFrame:
    """How far each replacement moves the removed neurons, in the mean over blocks, tokens and
    images; of random neurons also how many times as far it moves the path's."""
    means = effects.groupby([*CELL, "method", "kind"], sort=False)["moved"].mean().reset_index()
    own = means[means["method"] == PATH].set_index([*CELL, "kind"])["moved"]
    ratio = own.loc[list(means[[*CELL, "kind"]].itertuples(index=False, name=None))].to_numpy() \
        / means["moved"].to_numpy()
    texts = [f"{row['moved']:.3f}" + (f" (path: {each:.1f} times)" if row["method"] in RANDOM
                                      else "")
             for row, each in zip(means.to_dict("records"), ratio, strict=True)]
    return _wide(set_to(means.assign(path=means["method"].map(named), said=texts)),
                 [*CELL, "path"], "kind", lambda row: row["said"])


def gain_table(gains: pd.DataFrame) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.replacement.effect_rows.searched_gains` for reading."""
    rows = gains.assign(path=gains["method"].map(named), measure=gains["measure"].map(
        {"gain": "more is lost (share)", "stay": "neurons that stay (share)"}))
    rows["removed with"] = rows["seen"].where(rows["kind"] != "mean", KINDS["mean"])
    return _wide(rows, [*CELL, "path", "removed with"], "measure",
                 lambda row: report.interval_text(row, 3, signed=row["measure"].startswith("more")))


def size_table(sizes: pd.DataFrame) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.replacement.effect_rows.kept_sizes` for reading, in points,
    a column per replacement."""
    rows = sizes.copy()
    rows[["value", "low", "high"]] *= 100
    return _wide(set_to(rows), [*CELL, "tokens", "kept"], "kind",
                 lambda row: report.interval_text(row, 1))
