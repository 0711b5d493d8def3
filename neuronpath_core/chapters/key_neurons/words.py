"""Chapter 27 in words: its findings, and its tables for reading.

Tables are those of the modules beside this one, with ``data`` and ``model``.
"""

from __future__ import annotations

import pandas as pd

from neuronpath_core.chapters.key_neurons import maps, weights
from neuronpath_core.stats import report

KEYS = ["data", "model"]


def text_of(table: pd.DataFrame, digits: int = 2, name: str = "",
          signed: bool = True) -> list[str]:
    """Value and interval of every row, of the columns that begin with a name."""
    start = f"{name}_" if name else ""
    return [report.interval_text({end: row[f"{start}{end}"] for end in ("value", "low", "high")},
                                 digits, signed=signed) for row in table.to_dict("records")]


def beside(table: pd.DataFrame, of: str, digits: int = 2, signed: bool = True) -> pd.DataFrame:
    """A row for each model and a column for each value of ``of``, with intervals."""
    texts = table.assign(text=text_of(table, digits, signed=signed))
    order = pd.MultiIndex.from_frame(table[KEYS].drop_duplicates())
    wide = texts.pivot(index=KEYS, columns=of, values="text").reindex(order)
    return wide[list(dict.fromkeys(table[of]))].rename_axis(columns=None)


def dashed(table: pd.DataFrame) -> pd.DataFrame:
    """A dash in every column of words where there is nothing; numbers show their own."""
    return table.fillna({name: "–" for name in table
                         if not pd.api.types.is_numeric_dtype(table[name])})


def ahead(table: pd.DataFrame) -> str:
    """``3 of 8``: how many intervals lie above zero."""
    return f"{int((table['low'] > 0).sum())} of {len(table)}"


def against(effects: pd.DataFrame, words: str) -> pd.DataFrame:
    """The rows that were held against one control."""
    return effects[effects["against"] == words]


def block_table(blocks: pd.DataFrame, twins: pd.DataFrame, others: pd.Series) -> pd.DataFrame:
    """``weights.block_rows`` of every model and of its random twin, with the commonest block of its
    replicas, by what value vectors add."""
    level = twins.set_index([*KEYS, "condition"])["share"]
    index = pd.MultiIndex.from_frame(blocks[[*KEYS, "condition"]])
    again = [others[row[:2]] if row[2] == weights.BY_SUM else "–" for row in index]
    return pd.DataFrame({
        **{name: blocks[name] for name in KEYS},
        "best": blocks["condition"], "commonest block": blocks["modal"],
        "classes in it, %": 100 * blocks["share"],
        "if drawn uniformly, %": 100 * blocks["expected"],
        "difference, points": [report.points_text(row, 0, "") for row in blocks.to_dict("records")],
        "p": [f"{each:.3f}" for each in blocks["p"]],
        "random weights, %": 100 * level.reindex(index).to_numpy(),
        "trained again: commonest block": again,
        "mean depth minus one half": text_of(blocks, 2, "depth")}).set_index([*KEYS, "best"])


def direction_table(beyond: pd.DataFrame, named: pd.DataFrame) -> pd.DataFrame:
    """``weights.beyond_rows`` and ``name_row`` of every model."""
    wide = beside(beyond, "against", 3)
    named = named.set_index(KEYS).loc[wide.index]
    return wide.rename(columns={name: f"largest cosine minus {name}" for name in wide}).assign(**{
        "key neurons that say their class most, %": 100 * named["share"],
        "the same of rotated neurons, %": 100 * named["rotated"],
        "difference": text_of(named, 2)})


def projection_table(same: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """``weights.projection_row`` (Spearman's correlations) and ``maps.projection_rows`` (what the
    first key neuron by each projection finds) of every model."""
    rows = []
    for (data, model), own in found.groupby(KEYS, sort=False):
        order = same[(same["data"] == data) & (same["model"] == model)]
        row = {"data": data, "model": model}
        for each in own.to_dict("records"):
            name = each["projection"]
            told = f"{each['value']:.2f} ({each['alike']:.2f})"
            row[f"{name}: finds the object"] = told
            if name != "effective" and len(order):
                row[f"{name}: order of all neurons"] = f"{order[name].iloc[0]:.3f}"
            if name != "effective":
                row[f"{name}: same first, %"] = f"{100 * each['same']:.0f}"
        rows.append(row)
    return dashed(pd.DataFrame(rows).set_index(KEYS))


def recall_table(recalled: pd.DataFrame, shared: pd.DataFrame) -> pd.DataFrame:
    """``classes.recall_rows`` and ``classes.sharing_row`` of every model."""
    wide = beside(recalled, "condition")
    shared = shared.set_index(KEYS)
    wide = wide.reindex(shared.index).rename(columns={
        name: f"recall, {name}" for name in wide})
    return dashed(wide.assign(**{
        "classes that share their first key neuron, %": 100 * shared["shared"],
        "other classes that share it, misclassified images, %": 100 * shared["failures"],
        "other images, %": 100 * shared["successes"],
        "difference, points": [report.points_text(row, 1, "")
                               for row in shared.to_dict("records")],
        "p, classes permuted": [f"{each:.3f}" for each in shared["p"]],
        "misclassified images": shared["wrong"]}))


def found_table(found: pd.DataFrame) -> pd.DataFrame:
    """``maps.found_rows`` of every model."""
    return beside(found, "of", 2, signed=False)


def effect_table(effects: pd.DataFrame) -> pd.DataFrame:
    """``maps.effect_rows`` of every model."""
    wide = beside(effects, "against", 3)
    return wide.rename(columns={name: f"minus {name}" for name in wide})


def score_table(scores: pd.DataFrame) -> pd.DataFrame:
    """``maps.score_row`` of every model: own mask, and in brackets another image's."""
    words = {"iou": "intersection over union", "pointing": "brightest patch inside",
             "energy": "activation inside, share"}
    cells = {text: [f"{row[name]:.2f} ({row[f'dealt {name}']:.2f})"
                    for row in scores.to_dict("records")] for name, text in words.items()}
    return pd.DataFrame({**{name: scores[name] for name in KEYS}, **cells,
                         "patches inside": scores["covered"],
                         "object, share of the image": scores["object"]}).set_index(KEYS)


def found_finding(effects: pd.DataFrame) -> str:
    """The main figure in a sentence."""
    return (f"The map of a class's first key neuron finds the object better than neurons like it "
            f"in {ahead(against(effects, maps.ALIKE))} comparisons, and its own image's better "
            f"than another's in {ahead(against(effects, maps.DEALT))}")


def rank_table(ranks: pd.DataFrame) -> pd.DataFrame:
    """``maps.rank_rows`` of every model: AUROC of each rank and of neurons like it."""
    cells = ranks.assign(text=[f"{row.value:.2f} ({row.alike:.2f})" for row in ranks.itertuples()])
    order = pd.MultiIndex.from_frame(ranks[KEYS].drop_duplicates())
    wide = cells.pivot(index=KEYS, columns="rank", values="text").reindex(order)
    wide.columns = [f"rank {name}" for name in wide]
    second = ranks[ranks["rank"] == 2].set_index(KEYS)["better"]
    return wide.assign(**{"second better than first, % of images": 100 * second})


def first_table(firsts: pd.DataFrame, gaps: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    """``maps.first_rank_row``, ``gap_row`` and ``best_of_first_row`` of every model."""
    return pd.DataFrame({
        **{name: firsts[name] for name in KEYS},
        "rank of the best localiser, median": firsts["median"], "of neurons": firsts["neurons"],
        "among the first ten, % of classes": 100 * firsts["first"],
        "by chance, %": 100 * firsts["chance"],
        "one half minus its rank": text_of(firsts),
        "the same by activation": text_of(firsts, 2, "activation"),
        "gap and lead of the first, correlation": text_of(gaps),
        "best of the first five": best["best"].to_numpy(),
        "best of five like them": best["drawn"].to_numpy(),
        "difference": text_of(best, 3)}).set_index(KEYS)


def later_table(later: pd.DataFrame, means: pd.DataFrame) -> pd.DataFrame:
    """``by_block.late_row`` and ``together_row`` of every model."""
    return pd.DataFrame({
        **{name: later[name] for name in KEYS},
        "block and lead over all neurons, correlation": text_of(later),
        "block and AUROC, correlation": later["plain"],
        "running mean, overlap in the first block": later["first"],
        "in the last block": later["last"],
        "last block's map, AUROC": means["last"].to_numpy(),
        "mean of all blocks, AUROC": means["found"].to_numpy(),
        "of neurons like them": means["alike"].to_numpy(),
        "difference": text_of(means, 3),
        "minus mask of another image": text_of(means, 3, "dealt")}).set_index(KEYS)


def dot_table(dots: pd.DataFrame) -> pd.DataFrame:
    """``pixels.dot_row`` of every model."""
    return pd.DataFrame({
        **{name: dots[name] for name in KEYS},
        "maps with a dot, %": 100 * dots["share"], "images": dots["images"],
        "length of the stream, above the middle": text_of(dots, 2, "norm"),
        "attention received, above the middle": text_of(dots, 2, "attention"),
        "two images' dots at one patch": dots["same"],
        "if anywhere off the object": dots["expected"]}).set_index(KEYS)


def moved_table(moved: pd.DataFrame) -> pd.DataFrame:
    """``pixels.salient_rows`` of every model."""
    own = moved[moved["against"] == moved["against"].iloc[0]].set_index(KEYS)["own"]
    wide = beside(moved, "against", 3)
    wide = wide.rename(columns={name: f"minus {name}" for name in wide})
    wide.insert(0, "area under the ROC curve", own)
    return wide


def object_table(background: pd.DataFrame, without: pd.DataFrame) -> pd.DataFrame:
    """``objects.background_row`` of every model, and ``without_object_row`` of those that have one.
    """
    table = pd.DataFrame({
        **{name: background[name] for name in KEYS},
        "first five that fire more beside it, %": 100 * background["share"],
        "neurons like them, %": 100 * background["alike"],
        "fewer by": text_of(background),
        "inside minus outside, first": background["gap"],
        "inside minus outside, like it": background["gap_alike"]}).set_index(KEYS)
    if not len(without):
        return table
    without = without.set_index(KEYS)
    return dashed(table.assign(**{
        "fires more with the object, % of images": 100 * without["share"],
        "neurons like it, % of images": 100 * without["alike"],
        "more by": pd.Series(text_of(without), without.index, dtype=object)}))
