"""What Chapter 20 says of its tables."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.chapters.faithfulness.circuits import ALL, BEST
from neuronpath_core.chapters.faithfulness.circuits import RANDOM as DRAWN_AT_RANDOM
from neuronpath_core.chapters.faithfulness.measured import (
    AT,
    MATCHED,
    PATHS,
    RANKINGS,
    REPLACED,
    SCORES,
)
from neuronpath_core.chapters.faithfulness.rates import BASE, REMOVED, RIVALS
from neuronpath_core.stats import report
from neuronpath_core.stats.claims import with_verdict

MEASURED = {"logit_difference": "logit difference", "probability": "probability"}
MAIN = "logit_difference"
DRAWN = ("gradient_activation", "activation", MATCHED)
OF_ALL = "% of what all neurons do"
NO_POWER = "no verdict: the tests have no power here"
# the paper's own replacement first
SHOWN = {"zero": "set to zero", "mean": "set to the mean", "resample": "from other images"}


def of(table: pd.DataFrame, **chosen: str) -> pd.DataFrame:
    """The rows with these values of columns."""
    for column, value in chosen.items():
        table = table[table[column] == value]
    return table


def drawn(curves: pd.DataFrame, places: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of the figure: three rankings and the neuron path, neurons replaced by their mean,
    by the logit difference."""
    curves, places = (of(table, replaced=AT, measure=MAIN) for table in (curves, places))
    curves = curves[curves["ranking"].isin(DRAWN)]
    return (curves.assign(ranking=curves["ranking"].map(RANKINGS)),
            of(places, ranking="neuron_path").assign(ranking=PATHS["neuron_path"]))


def dots(places: pd.DataFrame) -> pd.DataFrame:
    """The rows of the figure of paths, as they are to be called: every path but the one of the
    other question at either side, by the logit difference, with every replacement."""
    rows = of(places, measure=MAIN)
    rows = rows[rows["replaced"].isin(SHOWN)]
    asked = {"keep": "best path to keep", "remove": "best path to remove"}
    paths = rows["ranking"].map(PATHS)
    best = rows["ranking"] == rows["side"]
    rows = rows.assign(path=paths.mask(best, "best path for it"),
                       condition=rows["replaced"].map(SHOWN))
    return rows[best | ~rows["ranking"].isin(asked)].reset_index(drop=True)


def percent(values: pd.Series) -> str:
    """``16 to 63 %``: from the smallest to the largest share, negative ones with their sign."""
    low, high = (f"{100 * value:z.0f}" for value in (values.min(), values.max()))
    return f"{low} %" if low == high else f"{low} to {high} %"


def size(places: pd.DataFrame) -> str:
    """``0.5 to 0.7 %``: which share of all neurons paths are."""
    low, high = (f"{share:.1f}" for share in (places["share"].min(), places["share"].max()))
    return f"{low} %" if low == high else f"{low} to {high} %"


def finding(places: pd.DataFrame) -> str:
    """The figure in a sentence: what the neuron path keeps, and what is lost without it, beside a
    random path, with zero in the place of what is replaced."""
    at = "zero" if "zero" in set(places["replaced"]) else AT
    rows = of(places, measure=MAIN, replaced=at)
    own, random = (of(rows, ranking=name) for name in ("neuron_path", MATCHED))
    return (f"With {size(own)} of the neurons and all others set to {REPLACED[at][3:]}, the path "
            f"keeps {percent(of(own, side='keep')['value'])} of what all neurons do, a random path "
            f"{percent(of(random, side='keep')['value'])}")


def curve_finding(curves: pd.DataFrame) -> str:
    """The curves in a sentence: what one per cent of the neurons keeps, chosen by gradient ×
    activation or dealt anew."""
    own = of(curves, measure=MAIN, replaced=AT, side="keep")
    own = own[own["share"] == 1.0]
    best, random = (percent(of(own, ranking=name)["value"])
                    for name in ("gradient_activation", MATCHED))
    return (f"The best 1 % of the neurons by gradient × activation keep {best} of what all do, "
            f"matched random ones {random}: more than all where neurons that speak against the "
            "label are left out")


def _tally(rows: pd.DataFrame) -> str:
    return report.tally(list(rows["verdict"]))


def conclusion(places: pd.DataFrame, ahead: pd.DataFrame, leads: pd.DataFrame,
               apart: pd.DataFrame, tests: pd.DataFrame,
               planted: pd.DataFrame) -> list[tuple[str, str, str]]:
    """The claims of the chapter, what was measured, and the tally over models and replacements.

    Args:
        places, ahead, leads, apart: of ``rates.shares``, ``path_leads``, ``area_leads`` and
            ``apart``. Of ``leads`` the rankings that know the label are one row an area; single
            ones stand in the table of leads.
        tests, planted: of ``circuits.path_tests`` and ``planted_rates``. In trained models the
            tests have no verdict: random paths and a positive control say so.
    """
    own = of(places, ranking="neuron_path", measure=MAIN)
    kept, left = (of(own, side=side) for side in ("keep", "remove"))
    lost = _lost(left)
    main = of(leads, measure=MAIN, against=MATCHED)
    main = main[main["ranking"] != "activation"]

    def lead(name: str, measure: str) -> pd.DataFrame:
        return of(ahead, lead=name, measure=measure)

    return [
        ("The neuron path alone keeps more than half of what all neurons do",
         f"{percent(kept['value'])} kept", _tally(with_verdict(kept, threshold=0.5))),
        ("Without the neuron path more than half of it is lost",
         f"{percent(lost['value'])} lost", _tally(with_verdict(lost, threshold=0.5))),
        *((f"{claim} a random path as active",
           f"lead {percent(rows['value'])[:-1]}{OF_ALL}", _tally(rows)) for claim, rows in (
            ("The neuron path alone keeps more than", lead("own, kept", MAIN)),
            ("Without the neuron path more is lost than without", lead("own, removed", MAIN)))),
        *((f"The best neurons by the scores that know the label {does} than matched random ones "
           f"({called})", f"area {report.span_text(rows['value'], 2)}", _tally(rows))
          for area, does, called in (("CPR", "keep more", "CPR"),
                                     ("CMD", "are closer to the model", "CMD"),
                                     (REMOVED, "leave less", REMOVED))
          for rows in (of(main, area=area),) if len(rows)),
        *((f"The best path to {question} does more, {edited}, than the best path to {other}",
           f"lead {percent(rows['value'])[:-1]}{OF_ALL} to the probability", _tally(rows))
          for question, other, edited, rows in (
            ("keep", "remove", "kept alone", lead("question, kept", "probability")),
            ("remove", "keep", "removed", lead("question, removed", "probability")))),
        ("More than half of their neurons differ", f"{percent(apart['value'])} differ",
         _tally(with_verdict(apart, threshold=0.5))),
        ("The neuron path stands all tests of a circuit",
         f"stands them in {passed(tests, 'neuron_path')} models", NO_POWER),
        *((f"A {path} path of a network with a planted one {does} the tests of a circuit",
           f"in {percent(rows['value'])} of the networks of a kind",
           _tally(with_verdict(rows, threshold=0.5)))
          for path, does in (("planted", "passes"), ("random", "fails"))
          for rows in (of(planted, path=path),)),
    ]


def _words(rows: pd.DataFrame) -> str:
    return report.in_words(list(rows["verdict"]), "comparisons")


def ends_text(rows: pd.DataFrame) -> str:
    """``+0.10 [+0.05, +0.16] to +0.31 [+0.20, +0.44]``: the smallest and the largest of some
    effects with their intervals; dashes where there are none."""
    if rows.empty:
        return "–"
    ends = [rows.loc[rows["value"].idxmin()], rows.loc[rows["value"].idxmax()]]
    return " to ".join(dict.fromkeys(report.interval_text(row) for row in ends))


def to_take(rivals: pd.DataFrame, measure: str) -> str:
    """The ranking that keeps most by CPR: one that is shown to be ahead of gradient × activation in
    more than half of the comparisons (of two the one with the larger mean lead); gradient ×
    activation where each is shown to be behind in as many; else none."""
    rows = of(rivals, measure=measure, area="CPR")
    half = rows.groupby("ranking")["verdict"].agg(
        ahead=lambda own: (own == "agrees").mean() > 0.5,
        behind=lambda own: (own == "contradicts").mean() > 0.5)
    means = rows.groupby("ranking")["value"].mean()
    if len(half) and half["ahead"].any():
        return SCORES[means[half["ahead"]].idxmax()]
    return SCORES[BASE] if len(half) and half["behind"].all() else "no ranking"


def glued(places: pd.DataFrame, ahead: pd.DataFrame, leads: pd.DataFrame, rivals: pd.DataFrame,
          apart: pd.DataFrame, tests: pd.DataFrame, random: pd.DataFrame) -> dict[str, str]:
    """The numbers that the page's text names; arguments as of :func:`conclusion`, and ``tests`` of
    ``circuits.path_tests``."""
    whole = of(places, measure=MAIN)
    own = of(whole, ranking="neuron_path", replaced=AT)
    main = of(leads, measure=MAIN)
    by_path = {
        f"{word} {path} {replaced}".replace("neuron_path ", "").replace(MATCHED, "random"):
            percent(rows["value"] if side == "keep" else 1 - rows["value"])
        for side, word in (("keep", "kept"), ("remove", "lost"))
        for path in PATHS for replaced in dict.fromkeys(whole["replaced"])
        for rows in (of(whole, ranking=path, replaced=replaced, side=side),)}
    return by_path | {
        "size": size(own), "kept": percent(of(own, side="keep")["value"]),
        "lost": percent(1 - of(own, side="remove")["value"]),
        "apart": percent(apart["value"]),
        **{f"tally {name}": _words(of(ahead, lead=lead, measure=measure))
           for name, lead, measure in (
            ("kept random", "own, kept", MAIN), ("lost random", "own, removed", MAIN),
            ("question keep", "question, kept", "probability"),
            ("question remove", "question, removed", "probability"))},
        **{f"{area} {score}": _words(rows) for area in ("CPR", "CMD", REMOVED) for score in SCORES
           for rows in (of(main, area=area, against=MATCHED, ranking=score),)},
        **{f"lead {REMOVED} {score}": ends_text(of(main, area=REMOVED, against=MATCHED,
                                                   ranking=score)) for score in SCORES},
        **{f"{word} {score} {measure}": make(of(rivals, area="CPR", ranking=score,
                                                measure=measure))
           for word, make in (("rival", ends_text), ("tally rival", _words))
           for score in RIVALS for measure in MEASURED},
        **{f"take {measure}": to_take(rivals, measure) for measure in MEASURED},
        **{f"passed {path}": passed(tests, path) for path in dict.fromkeys(tests["path"])},
        "passed random": passed_most(random),
        "passed equivalence": passed_most(random, "equivalence"),
        **{f"tally {name}": _words(with_verdict(rows, threshold=0.5)) for name, rows in (
            ("sufficient", of(places, ranking="neuron_path", measure=MAIN, side="keep")),
            ("necessary", _lost(of(places, ranking="neuron_path", measure=MAIN, side="remove"))))},
    }


def _lost(left: pd.DataFrame) -> pd.DataFrame:
    """What is lost, of what is left."""
    return left.assign(value=1 - left["value"], low=1 - left["high"], high=1 - left["low"])


def better_without(measures: pd.DataFrame) -> str:
    """In which share of the images the model does worse than with all neurons at their mean, from
    model to model: of ``measured.curves``."""
    own = of(measures, measure=MAIN, replaced=AT).groupby(["data", "model", "image"])[
        ["full", "empty"]].first()
    return percent((own["full"] < own["empty"]).groupby(level=["data", "model"]).mean())


def large_passed(large: pd.DataFrame) -> dict[str, str]:
    """``best equivalence``: in how many models the best neurons, or as many random ones, pass."""
    return {f"{word} {test}": f"{int(own['passes'].sum())} of {len(own)}"
            for path, word in ((BEST, "best"), (DRAWN_AT_RANDOM, "as many"))
            for test in dict.fromkeys(large["test"]) for own in (of(large, path=path, test=test),)}


def passed(tests: pd.DataFrame, path: str) -> str:
    """``2 of 4``: in how many models a path stands every test."""
    whole = of(tests, path=path).groupby(["data", "model"])["passes"].all()
    return f"{int(whole.sum())} of {len(whole)}"


def passed_most(random: pd.DataFrame, test: str = ALL) -> str:
    """``0 of 124``: how many random paths, of all models together, pass a test, by default every
    one made of them."""
    own = of(random, test=test)
    return f"{int(own['passed'].sum())} of {int(own['paths'].sum())}"
