"""What Chapter 21 says in sentences: shares, counts, and its finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from neuronpath_core.chapters.which_method.method_names import (
    CONTROL,
    DEFAULT,
    EXACT,
    PUBLISHED,
    REFINED,
    REPLACED,
    conditional,
)
from neuronpath_core.chapters.which_method.pair_changes import AT_IMAGE, INTEGRATED, SMALL
from neuronpath_core.chapters.which_method.questions import BEYOND, OTHER, asked
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
