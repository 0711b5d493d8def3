"""Results of Chapter 19: what each replacement leaves of a path's effect, of its lead, and of the
few neurons that should suffice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from neuronpath_core.chapters.claims import spans
from neuronpath_core.chapters.replacement.measured import (
    BACKGROUND,
    CHANGES,
    EVERYWHERE,
    KINDS,
    MATCHED,
    MOVED,
    OUTLINE,
    PAPER,
    PATH,
    RANDOM,
)
from neuronpath_core.stats import report
from neuronpath_core.stats.claims import with_verdict
from neuronpath_core.stats.intervals import interval_row, percentile_row, resampled
from neuronpath_core.stats.labels import method_labels
from neuronpath_core.stats.tests import ROUNDING, judged, sign_flip_test

CELL = ["data", "model"]
# factor that a measure is written with, and its unit
MEASURES = {"probability": (1, "of the probability"), "accuracy": (100, "points")}
CONTROLS = (MATCHED, MOVED, *PAPER)  # what the path should do more than
MARGIN = 0.05  # of accuracy, within which it is called kept, as in chapters 6 and 15
# kinds under which the values themselves do not tell the class
BLIND = ("zero", "mean", "resample")
# how many units of activation a rate is for
STEP = 0.1


def named(method: str) -> str:
    """A method or a control as tables call it."""
    return RANDOM.get(method) or method_labels()[method]


def _exact(values: pd.Series) -> np.ndarray:
    """An array in which what rounding alone makes of nothing is nothing: else an interval around
    1e-17 would lie above zero."""
    array = values.to_numpy(dtype=float)
    return np.where(np.abs(array) <= ROUNDING, 0.0, array)


def losses(effects: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """What removal costs, or enhancement gains, under each replacement, in the mean over images:
    ``data, model, method, kind, measure, images, value, low, high, verdict``, positive where
    something is lost, or gained.

    Args:
        effects: of :func:`~neuronpath_core.chapters.replacement.measured.replaced_effects` or
            :func:`~neuronpath_core.chapters.replacement.measured.counterfactual_effects`, of one
            operation.
    """
    if effects.empty:
        return pd.DataFrame(columns=[*CELL, "method", "kind", "measure", "images", "value", "low",
                                     "high", "verdict"])
    rows = [{**dict(zip([*CELL, "method", "kind"], names, strict=True)), "measure": measure,
             "images": len(own), **interval_row(factor * _exact(own[measure]), seed=seed)}
            for names, own in effects.groupby([*CELL, "method", "kind"], sort=False)
            for measure, (factor, _) in MEASURES.items()]
    return with_verdict(pd.DataFrame(rows))


def leads(effects: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How much more removal of the neuron path costs, or its enhancement gains, than that of every
    other path, under each replacement, paired over images.

    Args:
        effects: as of :func:`losses`.

    Returns:
        ``data, model, kind, method`` (the other), ``against`` (its name), ``measure, images, value,
        low, high`` (mean over images), ``p`` (signs of the differences flipped at random),
        ``adjusted`` (Holm, over all models and ``CONTROLS``, or all models and other methods, of a
        measure under one replacement) and ``verdict``.
    """
    if effects.empty:
        return pd.DataFrame(columns=[*CELL, "kind", "method", "against", "measure", "images",
                                     "value", "low", "high", "p", "adjusted", "verdict"])
    rows = []
    for (data, model, kind), group in effects.groupby([*CELL, "kind"], sort=False):
        wide = group.pivot(index="image", columns="method", values=list(MEASURES))
        for method in [name for name in group["method"].unique() if name != PATH]:
            for measure, (factor, _) in MEASURES.items():
                ahead = factor * _exact(wide[measure][PATH] - wide[measure][method])
                rows.append({"data": data, "model": model, "kind": kind, "method": method,
                             "against": named(method), "measure": measure, "images": len(ahead),
                             **interval_row(ahead, seed=seed), "p": sign_flip_test(ahead, seed),
                             "family": f"{measure} {kind} {method in CONTROLS}"})
    return judged(pd.DataFrame(rows), "family").drop(columns="family")


def by_distance(effects: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    r"""How much less the path loses under a replacement than it would if its loss went with the
    distance that its neurons are moved, at the rate of zero:
    :math:`\frac{\bar d_k}{\bar d_0} \bar e_0 - \bar e_k` of the mean losses e and distances d with
    zero and under the replacement k.

    Args:
        effects: of removal.

    Returns:
        ``data, model, kind, images, value, low, high, verdict``; intervals are over images, of
        which all four means are taken together.
    """
    rows = []
    own = effects[effects["method"] == PATH]
    for (data, model), group in own.groupby(CELL, sort=False):
        wide = group.pivot(index="image", columns="kind", values=["probability", "moved"])
        for kind in [name for name in group["kind"].unique() if name != "zero"]:
            both = np.stack([_exact(wide[measure, name]) for name in ("zero", kind)
                             for measure in ("probability", "moved")])

            def less(chosen: np.ndarray, both: np.ndarray = both) -> float:
                lost, moved, lost_here, moved_here = both[:, chosen].mean(1)
                return moved_here / moved * lost - lost_here

            everyone = np.arange(both.shape[1])
            rows.append({"data": data, "model": model, "kind": kind, "images": len(everyone),
                         **percentile_row(less(everyone), resampled(less, [everyone], seed=seed))})
    return with_verdict(pd.DataFrame(rows))


def less_background(pairs: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How much more of the probability the path loses with its values under another outline than
    with those on another background, paired over images: ``data, model, images, value, low, high,
    verdict``.

    Args:
        pairs: of :func:`~neuronpath_core.chapters.replacement.measured.counterfactual_effects`.
    """
    if pairs.empty:
        return pd.DataFrame(columns=[*CELL, "images", "value", "low", "high", "verdict"])
    rows = []
    for (data, model), own in pairs[pairs["method"] == PATH].groupby(CELL, sort=False):
        wide = own.pivot(index="image", columns="kind", values="probability")
        ahead = _exact(wide[OUTLINE] - wide[BACKGROUND])
        rows.append({"data": data, "model": model, "images": len(ahead),
                     **interval_row(ahead, seed=seed)})
    return with_verdict(pd.DataFrame(rows))


def searched_gains(searched: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """What a search for the replacement adds to the loss under it, and how many neurons it leaves:
    ``data, model, method, kind, seen, measure, images, value, low, high, verdict``.

    ``measure`` is ``"gain"``, the loss with the path for the replacement minus that with the path
    for zero, or ``"stay"``, the share of common neurons, which agrees if it is above one half.

    Args:
        searched: of :func:`~neuronpath_core.chapters.replacement.measured.searched_effects`.
    """
    keys, rows = [*CELL, "method", "kind", "seen"], []
    for names, own in searched.groupby(keys, sort=False):
        for measure, values, least in (("gain", own["same"] - own["zero"], 0.0),
                                       ("stay", own["stay"], 0.5)):
            row = interval_row(_exact(values), seed=seed)
            rows.append({**dict(zip(keys, names, strict=True)), "measure": measure,
                         "images": len(own), **row,
                         "verdict": report.verdict({end: row[end] - least
                                                    for end in ("low", "high")})})
    return pd.DataFrame(rows)


def kept_sizes(kept: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Accuracy with a few neurons kept minus that of the whole model, paired over test images:
    ``data, model, tokens, kind, kept, images, value, low, high, verdict``.

    Agrees if the whole interval lies above -5 points, contradicts if all of it lies below.

    Args:
        kept: of :func:`~neuronpath_core.chapters.replacement.measured.kept_effects`.
    """
    keys = [*CELL, "tokens", "kind", "kept"]
    rows = [{**dict(zip(keys, names, strict=True)), "images": len(own),
             **interval_row((own["correct"].astype(float) - own["whole"]).to_numpy(), seed=seed)}
            for names, own in kept.groupby(keys, sort=False)]
    return with_verdict(pd.DataFrame(rows), threshold=-MARGIN)


def kept_leads(kept: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How much accuracy the path's neurons keep beyond others, paired over test images: ``data,
    model, tokens, kind, against, images, value, low, high, p, adjusted, verdict``.

    Holm's correction covers all models and tokens under one replacement.
    """
    rows, keys = [], [*CELL, "tokens", "kind"]
    for names, group in kept.groupby(keys, sort=False):
        wide = group.pivot(index="image", columns="kept", values="correct").astype(float)
        for other in [name for name in group["kept"].unique() if name != "neuron path"]:
            ahead = (wide["neuron path"] - wide[other]).to_numpy()
            rows.append({**dict(zip(keys, names, strict=True)), "against": other,
                         "images": len(ahead), **interval_row(ahead, seed=seed),
                         "p": sign_flip_test(ahead, seed)})
    return judged(pd.DataFrame(rows), "kind")


# --- for reading ---


def _wide(rows: pd.DataFrame, index: Sequence[str], columns: str,
          text: Callable[[dict], str]) -> pd.DataFrame:
    """A row per ``index``, a column per value of ``columns``, both in the order of the rows."""
    table = rows.assign(text=[text(row) for row in rows.to_dict("records")]).pivot(
        index=list(index), columns=columns, values="text")
    order = pd.MultiIndex.from_frame(rows[list(index)].drop_duplicates())
    return table.reindex(index=order, columns=list(dict.fromkeys(rows[columns])))


def _set_to(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(kind=rows["kind"].map({kind: f"set to {words}"
                                              for kind, words in (KINDS | CHANGES).items()}))


def loss_table(lost: pd.DataFrame, measure: str) -> pd.DataFrame:
    """:func:`losses` of one measure, a column per replacement."""
    rows = lost[lost["measure"] == measure]
    digits = 1 if measure == "accuracy" else 3
    return _wide(_set_to(rows.assign(path=rows["method"].map(named))), [*CELL, "path"], "kind",
                 lambda row: report.interval_text(row, digits))


def gained_table(gained: pd.DataFrame, lead: pd.DataFrame) -> pd.DataFrame:
    """What enhancement of the path gains, of :func:`losses`, and its lead in probability over each
    of ``CONTROLS``, of :func:`leads`, a row per model and replacement."""
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
    """:func:`losses` of probability with values of counterfactual scenes, and, of the neuron path,
    :func:`less_background`."""
    table = loss_table(lost, "probability")
    own = {(row["data"], row["model"], named(PATH)): report.interval_text(row, 3)
           for row in less.to_dict("records")}
    return table.assign(**{"difference of the two": [own.get(place, "") for place in table.index]})


def told(nearer: pd.DataFrame, kind: str) -> str:
    """``4 of 4 models``: :func:`by_distance` of one replacement as a sentence goes on with it."""
    return report.in_words(list(nearer.loc[nearer["kind"] == kind, "verdict"]))


def by_distance_table(less: pd.DataFrame) -> pd.DataFrame:
    """:func:`by_distance` for reading, a column per replacement."""
    return _wide(_set_to(less), CELL, "kind", lambda row: report.interval_text(row, 3))


def lead_table(lead: pd.DataFrame) -> pd.DataFrame:
    """:func:`leads` for reading: per replacement and other path from where to where the lead goes
    over the models, and the tally."""
    rows = []
    for (kind, against, measure), own in lead.groupby(["kind", "against", "measure"], sort=False):
        digits = 1 if measure == "accuracy" else 3
        rows.append({"kind": kind, "ahead of": against, "measure": measure,
                     "text": f"{report.span_text(own['value'], digits)}; "
                             f"{report.tally(list(own['verdict']))}"})
    table = _wide(_set_to(pd.DataFrame(rows)), ["kind", "ahead of"], "measure",
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
    return _wide(_set_to(means.assign(path=means["method"].map(named), said=texts)),
                 [*CELL, "path"], "kind", lambda row: row["said"])


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
    share per ``(data, model)``, of :func:`losses`."""
    means = own_losses(lost, "probability").set_index([*CELL, "kind"])["value"].unstack()
    order = pd.MultiIndex.from_frame(lost[CELL].drop_duplicates())
    return (means[kind] / means["zero"]).reindex(order)


def left_by_model(lost: pd.DataFrame, kind: str) -> str:
    """``87 % (tiny-B-32, digits), 36 % (…)``: :func:`left`, model by model."""
    return ", ".join(f"{100 * share:.0f} % ({model}, {data})"
                     for (data, model), share in left(lost, kind).items())


def gain_table(gains: pd.DataFrame) -> pd.DataFrame:
    """:func:`searched_gains` for reading."""
    rows = gains.assign(path=gains["method"].map(named), measure=gains["measure"].map(
        {"gain": "more is lost (share)", "stay": "neurons that stay (share)"}))
    rows["removed with"] = rows["seen"].where(rows["kind"] != "mean", KINDS["mean"])
    return _wide(rows, [*CELL, "path", "removed with"], "measure",
                 lambda row: report.interval_text(row, 3, signed=row["measure"].startswith("more")))


def size_table(sizes: pd.DataFrame) -> pd.DataFrame:
    """:func:`kept_sizes` for reading, in points, a column per replacement."""
    rows = sizes.copy()
    rows[["value", "low", "high"]] *= 100
    return _wide(_set_to(rows), [*CELL, "tokens", "kept"], "kind",
                 lambda row: report.interval_text(row, 1))


# --- in a sentence ---


def own_losses(lost: pd.DataFrame, measure: str) -> pd.DataFrame:
    """:func:`losses` of the neuron path alone."""
    return lost[(lost["method"] == PATH) & (lost["measure"] == measure)]


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
    rows = _set_to(lost[lost["measure"] == "probability"])
    rows = rows.assign(path=rows["method"].map(named))
    rows[["value", "low", "high"]] *= 100
    notes = {}
    ahead = _set_to(lead[lead["measure"] == "probability"])
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
    """The sizes that the page names, of :func:`losses` and :func:`leads` of one operation:
    ``probability mean``, ``random accuracy zero``, ``lead baselines probability mean``, … and
    ``shown probability zero``, in how many models it is shown; ``prefix`` stands before each."""
    found = {}
    for measure, (factor, _) in MEASURES.items():
        for kind, own in own_losses(lost, measure).groupby("kind", sort=False):
            found[f"{measure} {kind}"] = (f"{plain_span(100 * own['value'])} %" if factor == 1
                                          else f"{plain_span(own['value'])} points")
            found[f"shown {measure} {kind}"] = holds(own)
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
