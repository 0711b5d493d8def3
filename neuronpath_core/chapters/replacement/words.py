"""What Chapter 19 says in sentences: sizes, counts, and the finding above its figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from neuronpath_core.chapters.claims import spans
from neuronpath_core.chapters.replacement.effect_rows import (
    BLIND,
    CELL,
    MEASURES,
    named,
    own_losses,
)
from neuronpath_core.chapters.replacement.kept_neurons import EVERYWHERE
from neuronpath_core.chapters.replacement.measured import (
    BACKGROUND,
    KINDS,
    MOVED,
    OUTLINE,
    PAPER,
    PATH,
    RANDOM,
)
from neuronpath_core.chapters.replacement.tables import set_to
from neuronpath_core.stats import report

# how many units of activation a rate is for
STEP = 0.1


def told(nearer: pd.DataFrame, kind: str) -> str:
    """``4 of 4 models``: :func:`~neuronpath_core.chapters.replacement.effect_rows.by_distance` of
    one replacement as a sentence goes on with it."""
    return report.in_words(list(nearer.loc[nearer["kind"] == kind, "verdict"]))


def farther(effects: pd.DataFrame, kind: str) -> str:
    """``1.4 to 1.9``: how many times as far as the random neurons that are moved most nearly as
    far a replacement moves the path's, from model to model."""
    rows = effects[effects["kind"] == kind]
    means = rows.groupby([*CELL, "method"], sort=False)["moved"].mean().unstack()
    return plain_span(means[PATH] / means[MOVED])


def per_distance(effects: pd.DataFrame, kind: str, method: str) -> str:
    """``3.5 to 14.2``: what removal takes of the probability, in per cent, for every ``STEP`` that
    a replacement moves the removed neurons, ratio of means over images, from model to model."""
    rows = effects[(effects["kind"] == kind) & (effects["method"] == method)]
    means = rows.groupby(CELL, sort=False)[["probability", "moved"]].mean()
    return plain_span(100 * STEP * means["probability"] / means["moved"])


def moved_share(effects: pd.DataFrame, kind: str) -> str:
    """``26 to 47 %``: how far a replacement moves the path's neurons, as a share of how far zero
    does, from model to model."""
    own = effects[effects["method"] == PATH]
    means = own.groupby([*CELL, "kind"], sort=False)["moved"].mean().unstack()
    return report.percent_span(means[kind] / means["zero"])


def left(lost: pd.DataFrame, kind: str) -> pd.Series:
    """What a replacement leaves of the probability that removal of the path takes with zero, a
    share per ``(data, model)``, of
    :func:`~neuronpath_core.chapters.replacement.effect_rows.losses`."""
    means = own_losses(lost, "probability").set_index([*CELL, "kind"])["value"].unstack()
    order = pd.MultiIndex.from_frame(lost[CELL].drop_duplicates())
    return (means[kind] / means["zero"]).reindex(order)


def left_by_model(lost: pd.DataFrame, kind: str) -> str:
    """``87 % (tiny-B-32, digits), 36 % (…)``: :func:`left`, model by model."""
    return ", ".join(f"{100 * share:.0f} % ({model}, {data})"
                     for (data, model), share in left(lost, kind).items())


def percent(values: Sequence[float], digits: int = 1) -> str:
    """``+4.1 to +9.9``: shares in per cent."""
    return report.span_text(100 * np.asarray(values), digits)


def plain_span(values: Sequence[float], digits: int = 1) -> str:
    """``4.1 to 9.9``: the smallest and the largest of several values of which a sentence says the
    sign; one number where they are written alike."""
    low, high = (f"{value:z.{digits}f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def finding(lost: pd.DataFrame) -> str:
    """The chapter's figure in a sentence: what the path's removal takes under each replacement, in
    the mean over models, and how many other methods' paths take more under all of them."""
    rows = lost[lost["measure"] == "probability"]
    means = rows.groupby(["kind", "method"], sort=False)["value"].mean().unstack()
    own = means.pop(PATH)
    sizes = [f"{100 * own[kind]:.1f} %{' of the probability' if kind == first else ''} with {words}"
             for first in [own.index[0]] for kind, words in KINDS.items() if kind in own.index]
    others = means.drop(columns=list(RANDOM), errors="ignore")
    more = int(others.gt(own, axis=0).all().sum())
    return (f"Removing a neuron path takes {', '.join(sizes)}; the paths of {more} of "
            f"{others.shape[1]} other methods take more with each")


def drawn(lost: pd.DataFrame, lead: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """The loss of probability, in per cent, as
    :func:`~neuronpath_core.figures.replacement.replacement_dots` takes it, and its notes: under
    each replacement, in how many models the path is ahead of both random controls and of both of
    the paper's baselines."""
    rows = set_to(lost[lost["measure"] == "probability"])
    rows = rows.assign(path=rows["method"].map(named))
    rows[["value", "low", "high"]] *= 100
    notes = {}
    ahead = set_to(lead[lead["measure"] == "probability"])
    for kind, own in ahead.groupby("kind", sort=False):
        models = [group for _, group in own.groupby(CELL)]
        counts = [sum((each.loc[each["method"].isin(names), "verdict"] == "agrees").all()
                      for each in models) for names in (RANDOM, PAPER)]
        notes[kind] = (f"models ahead of\nboth random: {counts[0]} of {len(models)}\n"
                       f"both baselines: {counts[1]} of {len(models)}")
    return rows, notes


def lines(lost: pd.DataFrame, lead: pd.DataFrame, sizes: pd.DataFrame) -> dict[str, str]:
    """A short line for each finding that is tested again, ``"1"``, ``"2"`` and ``"5"``: the size
    with the mean beside that with zero, in how many comparisons it holds, and the size with other
    images' values.  Of the fifth also one for each scope, ``"5 class token"``: the tokens at which
    a model is pruned decide what is left of it."""
    found = effect_lines(lost, lead, "removal takes")
    five = sizes[(sizes["kept"] == "neuron path") & (sizes["tokens"] != EVERYWHERE)]
    for tokens, part in five.groupby("tokens", sort=False):
        size = {kind: (percent(own["value"]), holds(own)) for kind, own
                in part.groupby("kind", sort=False)}
        found[f"5 {tokens}"] = "accuracy changes by " + ", ".join(
            f"{size[kind][0]} points with {KINDS[kind]} (kept in {size[kind][1]} models)"
            for kind in BLIND)
    found["5"] = "; ".join(f"with the {number.removeprefix('5 ')} pruned {line}"
                           for number, line in found.items() if number.startswith("5 "))
    return found


def glued(lost: pd.DataFrame, lead: pd.DataFrame, prefix: str = "") -> dict[str, str]:
    """The sizes that the page names, of
    :func:`~neuronpath_core.chapters.replacement.effect_rows.losses` and
    :func:`~neuronpath_core.chapters.replacement.effect_rows.leads` of one operation:
    ``probability mean``, ``random accuracy zero``, ``lead baselines probability mean``, … and
    ``shown probability zero``, in how many models it is shown, and ``against probability zero``,
    how many contradict; ``prefix`` stands before each."""
    found = {}
    for measure, (factor, _) in MEASURES.items():
        for kind, own in own_losses(lost, measure).groupby("kind", sort=False):
            found[f"{measure} {kind}"] = (f"{plain_span(100 * own['value'])} %" if factor == 1
                                          else f"{plain_span(own['value'])} points")
            found[f"shown {measure} {kind}"] = holds(own)
            found[f"against {measure} {kind}"] = str(int((own["verdict"] == "contradicts").sum()))
        for kind, own in lead[lead["measure"] == measure].groupby("kind", sort=False):
            for key, names in {"random": RANDOM, "baselines": PAPER}.items():
                part = own[own["method"].isin(names)]
                found[f"{key} {measure} {kind}"] = holds(part)
                found[f"lead {key} {measure} {kind}"] = report.span_text(
                    part["value"], 1 if factor > 1 else 3)
    return {prefix + name: text for name, text in found.items()}


def pair_line(lost: pd.DataFrame, lead: pd.DataFrame, less: pd.DataFrame) -> str:
    """What the page says of counterfactual scenes: sizes with another outline and on another
    background, and in how many models or comparisons each is shown."""
    if lost.empty:
        return "no data set here has such pairs"
    own = own_losses(lost, "probability")
    outline, background = (own[own["kind"] == change] for change in (OUTLINE, BACKGROUND))
    ahead = lead[(lead["measure"] == "probability") & (lead["kind"] == OUTLINE)]
    random, paper = (holds(ahead[ahead["method"].isin(names)]) for names in (RANDOM, PAPER))
    models = " and ".join(f"{100 * row['value']:z.1f} % ({row['model']})"
                          for row in outline.to_dict("records"))
    return (f"removal takes {models} with another outline, shown in {holds(outline)} models, and "
            f"{plain_span(100 * background['value'])} % on another background; the outline takes "
            f"more than the background in {holds(less)} models, and more than with random neurons "
            f"in {random} and than with the paper's baselines in {paper} comparisons")


def effect_lines(lost: pd.DataFrame, lead: pd.DataFrame, verb: str) -> dict[str, str]:
    """The first two of :func:`lines`, ``"1"`` and ``"2"``."""
    found = {}
    for number, measure, factor, unit in (("1", "accuracy", 1, "points of accuracy"),
                                          ("2", "probability", 100, "% of the probability")):
        size = {kind: plain_span(factor * own["value"]) for kind, own
                in own_losses(lost, measure).groupby("kind", sort=False)}
        mean = lead[(lead["measure"] == measure) & (lead["kind"] == "mean")]
        ahead = [holds(mean[mean["method"].isin(names)]) for names in (RANDOM, PAPER)]
        found[number] = (f"{verb} {size['mean']} {unit} with the mean instead of {size['zero']} "
                         f"with zero, more than random neurons in {ahead[0]} and than the "
                         f"baselines in {ahead[1]} comparisons; {size['class_resample']} with "
                         f"another image of the class")
    return found


def holds(rows: pd.DataFrame) -> str:
    """In how many comparisons a claim holds: ``3 of 8``."""
    return f"{(rows['verdict'] == 'agrees').sum()} of {len(rows)}"


def sizes_at(sizes: pd.DataFrame, tokens: str, kept: str = "neuron path") -> dict[str, str]:
    """By replacement, from where to where accuracy changes with some neurons kept at some tokens,
    and in how many models it is kept: ``-2.1 to +1.0 points, kept in 2 of 2``."""
    own = sizes[(sizes["kept"] == kept) & (sizes["tokens"] == tokens)]
    return {kind: f"{percent(rows['value'])} points, kept in {holds(rows)}"
            for kind, rows in own.groupby("kind", sort=False)}


def conclusions(lost: pd.DataFrame, lead: pd.DataFrame, gains: pd.DataFrame, sizes: pd.DataFrame,
                better: pd.DataFrame) -> list[tuple[str, str, str]]:
    """The claims of the chapter, what was measured, and the tally over models."""
    rows = []

    def add(claim: str, table: pd.DataFrame, text: Callable[[pd.DataFrame], str]) -> None:
        for kind, own in table.groupby("kind", sort=False):
            rows.append((f"{claim} ({KINDS[kind]})", text(own),
                         report.tally(list(own["verdict"]))))

    probability, points = (lead[lead["measure"] == measure] for measure in MEASURES)
    add("Removing the path lowers the probability", own_losses(lost, "probability"),
        lambda own: f"{plain_span(100 * own['value'])} % lost")
    add("Removing the path lowers accuracy", own_losses(lost, "accuracy"),
        lambda own: f"{plain_span(own['value'])} points lost")
    for names, words in ((RANDOM, "random neurons"), (PAPER, "the paper's baselines")):
        add(f"It lowers the probability more than {words}",
            probability[probability["method"].isin(names)],
            lambda own: f"lead {percent(own['value'])} %")
        add(f"It lowers accuracy more than {words}", points[points["method"].isin(names)],
            lambda own: f"lead {report.span_text(own['value'], 1)} points")
    five = sizes[(sizes["kept"] == "neuron path") & sizes["kind"].isin(BLIND)]
    for tokens, own in five.groupby("tokens", sort=False):
        add(f"A few neurons suffice at the {tokens}".replace("the all", "all"), own,
            lambda rows: f"accuracy {percent(rows['value'])} points")
    add("The path's few keep more accuracy than random ones",
        better[(better["against"] == "random") & better["kind"].isin(BLIND)],
        lambda own: f"lead {percent(own['value'])} points")
    gain = gains[(gains["measure"] == "gain") & (gains["method"] == PATH)]
    for (kind, seen), (span, tally) in spans(gain, ["kind", "seen"]).items():
        values = "" if kind == "mean" else f": {seen}"
        rows.append((f"A path searched for it takes more ({KINDS[kind]}{values})",
                     f"{span} of the probability", tally))
    return rows
