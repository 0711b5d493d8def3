"""Chapter 26 in words: its findings, and its tables for reading beside the paper's numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from neuronpath_core.chapters.relevance.measured import TEST_WORDS, removable
from neuronpath_core.chapters.relevance.orders import ORDERS, RANDOM
from neuronpath_core.chapters.relevance.probed import PLACE_WORDS, READERS
from neuronpath_core.figures.relevance import Map
from neuronpath_core.readings.streams import PLACES
from neuronpath_core.stats import report
from neuronpath_core.stats.claims import with_verdict

# areas of Vilas et al., ViT-B/32, by the published rule: order -> negative and positive test
PAPER_AREAS = {"published": (0.836, 0.413), "chefer": (0.845, 0.393), "probes": (0.739, 0.683),
               RANDOM: (0.716, 0.716)}
# top-1 of all tokens in the last block of ViT-B/32, read off a figure: probe and projection
PAPER_SHARES = {"block": (0.51, 0.61), "attention": (0.58, 0.42), "ffn": (0.49, 0.00)}
# what the main figure shows of all orders
SHOWN = ("own", "positive", "chefer", "rollout", "gradient_input", "integrated_gradients", "probes",
         "projection", "other image", "twin", "middle")
POINTS = 100


def paper_gains() -> dict[tuple[str, str], float]:
    """The paper's areas as leads over its random order, positive where better."""
    (chance, other), rest = PAPER_AREAS[RANDOM], PAPER_AREAS.items()
    return {(order, test): (pair[0] - chance if test == "negative" else other - pair[1])
            for order, pair in rest if order != RANDOM for test in TEST_WORDS}


def figure_gains(leads: pd.DataFrame) -> pd.DataFrame:
    """What the main figure shows: ``data, model, test, order`` (both in words), ``value, low,
    high`` in points."""
    own = leads[leads["order"].isin(SHOWN)].copy()
    own[["value", "low", "high"]] *= POINTS
    own = own.assign(place=own["order"].map(SHOWN.index)).sort_values("place", kind="stable")
    return own.assign(order=own["order"].map(ORDERS), test=own["test"].map(TEST_WORDS))


def of(leads: pd.DataFrame, order: str, test: str, against: str | None = None) -> pd.DataFrame:
    """The rows of one order and test, each with its verdict."""
    own = leads[(leads["order"] == order) & (leads["test"] == test)]
    return with_verdict(own if against is None else own[own["against"] == against])


def told(rows: pd.DataFrame) -> str:
    """``7 of 8 models; the other is not shown``."""
    return report.in_words(list(rows["verdict"]))


def comparisons_told(rows: pd.DataFrame) -> str:
    """``14 of 16 comparisons; 2 are not shown``."""
    return report.in_words(list(rows["verdict"]), "comparisons")


def points(rows: pd.DataFrame) -> str:
    """The median effect of some rows in points of accuracy."""
    return f"{POINTS * rows['value'].median():+.0f} points".replace("-", "−")


def finding(leads: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """The main figure in a sentence."""
    positive, negative = of(leads, "own", "positive"), of(leads, "own", "negative")
    other = of(pairs, "own", "positive", "other image")
    return (f"Maps in class space find patches that matter in {_count(positive)} models, but "
            f"better than the map of another image in {_count(other)}; patches that do not matter "
            f"in {_count(negative)}")


def map_finding(asked: Sequence[tuple[Map, Map]], names: Sequence[str], model: str) -> str:
    """The maps of two classes in a sentence; ``names``: of the data of each pair."""
    parts = [f"{np.corrcoef(one.values.ravel(), two.values.ravel())[0, 1]:.2f} ({name})"
             for name, (one, two) in zip(names, asked, strict=True)]
    return (f"The maps of two classes of one image have a correlation of {' and '.join(parts)} in "
            f"{model}")


def place_finding(placed: pd.DataFrame, model: str) -> str:
    """Where the most relevant patch lies, in a sentence; ``placed``: ``pictures.place_rows`` with
    ``data, model``."""
    own = placed[(placed["model"] == model) & (placed["order"] == "own")]
    if own.empty:
        return f"Maps of {model}, summed over blocks and heads"
    parts = [f"{100 * row.own:.0f}\u00a0% of the {row.data} ({100 * row.other:.0f}\u00a0% by "
             "another image's mask)" for row in own.itertuples()]
    return f"The most relevant patch of {model} shows what is drawn in {' and '.join(parts)}"


def place_table(placed: pd.DataFrame) -> pd.DataFrame:
    """``pictures.place_rows`` with ``data`` and ``model`` for reading."""
    text = [report.interval_text(row, 2) for row in placed.to_dict("records")]
    return placed.assign(lead=text, order=placed["order"].map(ORDERS)).set_index(
        ["data", "model", "order"])[["own", "other", "lead", "base"]].rename(columns={
            "own": "on what is drawn", "other": "on what another image of the class draws",
            "lead": "difference", "base": "share of such patches"}).rename_axis(
                index={"order": "map"})


def _count(rows: pd.DataFrame) -> str:
    return report.agreeing(report.tally(list(rows["verdict"])))


def curve_finding(curves: pd.DataFrame, model: str) -> str:
    """The curves of one model in a sentence; ``curves``: ``data, order, test, removed, accuracy``.
    """
    half = curves[(curves["removed"] - 0.5).abs() < 0.07]
    parts = []
    for data, own in half.groupby("data", sort=False):
        kept = own[own["test"] == "positive"].groupby("order")["accuracy"].mean()
        parts.append(f"{kept['own']:.2f} against {kept[RANDOM]:.2f} on {data}")
    return (f"With the more relevant half of the patches gone {model} is right on "
            f"{' and '.join(parts)}, the latter with a random half gone")


def gain_table(leads: pd.DataFrame) -> pd.DataFrame:
    """Median lead over random orders with the number of models, a row for each order, the paper's
    lead beside."""
    paper, rows = paper_gains(), []
    for order in dict.fromkeys(leads["order"]):
        row = {"order": ORDERS[order]}
        for test, words in TEST_WORDS.items():
            own = of(leads, order, test)
            tally = [sum(own["verdict"] == name) for name in ("agrees", "contradicts")]
            row |= {(words, "median, points"): POINTS * own["value"].median(),
                    (words, "better, worse"): f"{tally[0]}, {tally[1]} of {len(own)}",
                    (words, "the paper"): POINTS * paper.get((order, test), float("nan"))}
        rows.append(row)
    table = pd.DataFrame(rows).set_index("order")
    return table.set_axis(pd.MultiIndex.from_tuples(table.columns), axis=1).rename_axis(
        index="removed in the order of")


def lead_table(leads: pd.DataFrame) -> pd.DataFrame:
    """``measured.lead_rows`` for reading, in points: a column for each test."""
    text = [report.interval_text({name: POINTS * row[name] for name in ("value", "low", "high")}, 1)
            for row in leads.to_dict("records")]
    named = leads.assign(text=text, order=leads["order"].map(ORDERS),
                         against=leads["against"].map(ORDERS), test=leads["test"].map(TEST_WORDS))
    keys = ["data", "model", "order", "against"]
    wide = named.pivot(index=keys, columns="test", values="text")
    order = pd.MultiIndex.from_frame(named[keys].drop_duplicates())
    return wide.reindex(order)[list(TEST_WORDS.values())].rename_axis(columns=None)


def area_table(found: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Mean areas of every order, a column for each test, of areas with ``data`` and ``model``, and
    what ``removable`` says of the curves."""
    means = found.groupby(["data", "model", "order", "test"], sort=False)["area"].mean().unstack()
    named = means.rename(columns=TEST_WORDS)[list(TEST_WORDS.values())].rename_axis(columns=None)
    named["removable, share"] = removable(curves)
    return named.rename(index=ORDERS, level="order")


def rule_table(rules: pd.DataFrame) -> pd.DataFrame:
    """``measured.by_both_rules`` with ``data`` for reading, the paper's areas beside."""
    place = {"negative": 0, "positive": 1}
    paper = [PAPER_AREAS[row.order][place[row.test]] if row.order in PAPER_AREAS else float("nan")
             for row in rules.itertuples()]
    named = rules.assign(order=rules["order"].map(ORDERS), test=rules["test"].map(TEST_WORDS),
                         paper=paper)
    return named.set_index(["data", "test", "order"])[["published", "corrected", "paper"]].rename(
        columns={"published": "published rule", "corrected": "corrected rule",
                 "paper": "the paper, ViT-B/32, published rule"})


def share_table(shares: pd.DataFrame, chance: Mapping[str, float]) -> pd.DataFrame:
    """``probed.share_rows`` of the last block for reading: a column for each reader, chance beside;
    last rows: the paper's.

    Args:
        shares: with ``data`` and ``model``.
        chance: by data, the share that guessing gets, 1/C.
    """
    last = shares[shares["block"] == shares.groupby(["data", "model"])["block"].transform("max")]
    text = [report.interval_text(row, 2, signed=False) for row in last.to_dict("records")]
    named = last.assign(text=text, reader=last["reader"].map(READERS),
                        place=last["place"].map(PLACE_WORDS))
    keys = ["data", "model", "place"]
    wide = named.pivot(index=keys, columns="reader", values="text").reindex(
        pd.MultiIndex.from_frame(named[keys].drop_duplicates()))[list(READERS.values())]
    wide["chance"] = [f"{chance[data]:.2f}" for data in wide.index.get_level_values("data")]
    theirs = pd.DataFrame(
        [{"data": "ImageNet-S", "model": "ViT-B/32 (the paper)", "place": PLACE_WORDS[place],
          READERS["projection"]: f"≈{projection:.2f}", READERS["probes"]: f"≈{probe:.2f}",
          READERS["dealt"]: "–", "chance": "0.00"}
         for place, (probe, projection) in PAPER_SHARES.items()]).set_index(keys)
    return pd.concat([wide, theirs]).rename_axis(columns=None)


def figure_shares(shares: pd.DataFrame, chance: Mapping[str, float]) -> pd.DataFrame:
    """``probed.share_rows`` with ``data, model`` as the figure of probes takes them: at the depths
    that the blocks of every model have, as shares of its blocks."""
    count = shares.groupby(["data", "model"])["block"].transform("max")
    fewest = int(count.min())
    own = shares[shares["block"] * fewest % count == 0]
    return own.assign(depth=(own["block"] / count).round(6), chance=own["data"].map(chance),
                      place=own["place"].map(PLACE_WORDS), reader=own["reader"].map(READERS))


def figure_lines(curves: pd.DataFrame, chance: Mapping[str, float],
                 orders: Sequence[str] = ("own", "positive", "chefer", RANDOM)) -> pd.DataFrame:
    """The curves of some orders as the figure of removal takes them: in words, chance beside."""
    own = curves[curves["order"].isin(orders)]
    own = own.assign(place=own["order"].map(list(orders).index)).sort_values("place", kind="stable")
    return own.assign(order=own["order"].map(ORDERS), test=own["test"].map(TEST_WORDS),
                      chance=own["data"].map(chance))


def probe_finding(last: pd.DataFrame) -> str:
    """The figure of probes in a sentence; ``last``: ``probed.last_leads`` with ``data, model``."""
    rows = last[last["first"] == "projection"]
    counts = {place: sum(rows.loc[rows["place"] == place, "high"] < 0) for place in PLACES}
    models = len(rows) // len(PLACES)
    return ("In the last block a probe names the class of more tokens than the projection in "
            + ", ".join(f"{count} of {models} models ({PLACE_WORDS[place]})"
                        for place, count in counts.items()))


def cost_table(costs: pd.DataFrame) -> pd.DataFrame:
    """``costs.cost_rows`` with ``data`` and ``model`` for reading."""
    return costs.set_index(["data", "model", "method"])[["passes", "forwards", "before"]].rename(
        columns={"passes": "passes for a map", "forwards": "multiply-adds for a map",
                 "before": "multiply-adds before the first map"})


def block_table(blocks: pd.DataFrame) -> pd.DataFrame:
    """The leads of each block's own map over random orders, for reading: ``data, block`` and a
    column for each test."""
    text = [report.interval_text({name: POINTS * row[name] for name in ("value", "low", "high")}, 1)
            for row in blocks.to_dict("records")]
    wide = blocks.assign(text=text, test=blocks["test"].map(TEST_WORDS)).pivot(
        index=["data", "order"], columns="test", values="text")[list(TEST_WORDS.values())]
    return wide.rename_axis(index={"order": "block"}, columns=None)


def price(costs: pd.DataFrame, method: str) -> str:
    """``1.0 to 1.1``: how many forward passes a map by a method costs, over all models."""
    return span(costs.loc[costs["method"] == method, "forwards"].tolist())


def span(values: Sequence[float], digits: int = 1) -> str:
    """``1.0 to 1.2``: the least and the largest of some numbers; one where they round alike."""
    low, high = (f"{value:.{digits}f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
