"""Chapter 23: which neurons of a class's path stay whichever of its images is replaced, and what
these do on other images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from neuronpath_core import metrics
from neuronpath_core.chapters.effects import numbers
from neuronpath_core.chapters.stability.overlap import augmented
from neuronpath_core.circuits.certified import (
    CertifiedPath,
    certified_mask,
    largest_radius,
    plain_radius,
    shuffled_certificates,
    split_agreement,
)
from neuronpath_core.images.file_images import FileImages
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.images.shape_pairs import PAIRED, pairs_for
from neuronpath_core.interventions import scaled_probabilities
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.stats.tests import shuffled_labels
from neuronpath_core.study.study import IMAGES_AT_ONCE, Study

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

# name of a share of a class's path: in words
SHARES = {"voted": "has a commonest neuron", "counted": "stands it by count",
          "certified": "is certified", "shuffled": "certified, classes dealt at random",
          "counted_shuffled": "stands it by count, classes dealt at random"}
SETS = {"certified": "certified neurons", "voted": "the whole voted path",
        "random": "random neurons", "other": "another class's certified neurons"}
UNSEEN = "another image"
CHANGES = {UNSEEN: "on other images", "noise of 0.05": "with noise of 0.05",
           "shifted by one pixel": "when shifted by one pixel",
           "another background": "on another background"}
DEALS = 399  # the least p-value, 1/400, stays below 0.05 when eight models are corrected for
FEW_DEALS = 19  # enough for a mean


# --- images ---


def images_apart(study: Study, count: int, others: int, seed: int = 0) -> tuple[ImageSet, ImageSet]:
    """``count`` held-out images, and ``others`` more that are not among them, both spread evenly
    over the classes; errors are those of :meth:`~neuronpath_core.study.study.Study.images`."""
    own, every = study.images(count, seed), study.images(count + others, seed)
    return own, every.select(~torch.isin(every.ids, own.ids))


def changed_images(study: Study, images: ImageSet, seed: int = 0) -> dict[str, ImageSet]:
    """The images as they are and after each of ``CHANGES`` that can be had of them: files are left
    as they are, and another background can be drawn behind rendered scenes alone."""
    found = {UNSEEN: images}
    if not isinstance(images, FileImages):
        found |= {kind: augmented(images, kind, seed)
                  for kind in ("noise of 0.05", "shifted by one pixel")}
    if study.settings["dataset"]["name"] in PAIRED:
        found["another background"] = pairs_for(study.settings["dataset"], images, "background",
                                                seed)
    return found


# --- how much is certified ---


def chosen(certified: CertifiedPath, kind: str) -> set[tuple[int, int]]:
    """Pairs ``(block, neuron)`` of a class, blocks from 1: ``"certified"``, ``"voted"`` (by the
    plain vote of all images), ``"counted"`` (voted, and by count for as many edits as the
    certificate's) or ``"uncertified"`` (voted, not certified).

    Raises:
        ValueError: another kind.
    """
    table = certified.table
    inside, plain = table["decision"] == "in", table["plain_radius"]
    kinds = {"certified": inside, "voted": plain >= 0, "counted": plain >= certified.radius,
             "uncertified": (plain >= 0) & ~inside}
    if kind not in kinds:
        raise ValueError(f"unknown kind {kind!r}; accepted: {', '.join(kinds)}")
    rows = table[kinds[kind]]
    return set(zip(rows["block"].tolist(), rows["neuron"].tolist(), strict=True))


def class_shares(certified: Mapping[int, CertifiedPath]) -> pd.DataFrame:
    """How much of each class's path, one neuron a block, is certain: ``label`` and, each a share of
    the blocks, ``certified``, ``counted`` and ``voted`` as of :func:`chosen`."""
    return pd.DataFrame([
        {"label": label, **{kind: len(chosen(path, kind)) / path.blocks
                            for kind in ("certified", "counted", "voted")}}
        for label, path in certified.items()])


def share_rows(certified: Mapping[int, CertifiedPath], seed: int = 0) -> pd.DataFrame:
    """:func:`class_shares` over the classes: ``measure, classes, value, low, high`` for each share
    and for ``"certified - counted"``; the interval is a bootstrap over classes, each with its own
    images.
    """
    shares = class_shares(certified)
    shares["certified - counted"] = shares["certified"] - shares["counted"]
    return pd.DataFrame([{"measure": measure, "classes": len(shares),
                          **interval_row(shares[measure].to_numpy(), seed=seed)}
                         for measure in shares if measure != "label"])


def edit_shares(certified: Mapping[int, CertifiedPath]) -> pd.DataFrame:
    """Of all classes' blocks the share whose neuron stands so many edits: ``edits, certified,
    counted``, for every number up to the largest that a certificate can reach."""
    tables = [path.table for path in certified.values()]
    cells, one = sum(table["block"].max() for table in tables), next(iter(certified.values()))
    # of votes above one half the radius is that of being in
    inside = np.concatenate([table.loc[table["low"] > 0.5, "radius"] for table in tables])
    plain = np.concatenate([table["plain_radius"] for table in tables])
    return pd.DataFrame([{"edits": edits, "certified": (inside >= edits).sum() / cells,
                          "counted": (plain >= edits).sum() / cells}
                         for edits in range(largest_radius(one.keep, one.edits) + 1)])


def class_map(certified: Mapping[int, CertifiedPath], class_names: Sequence[str]) -> pd.DataFrame:
    """What the map of certain neurons shows: a row per class and block with ``class, block``,
    ``neuron`` and ``certified`` (the neuron with the largest vote, and the edits that its
    certificate stands, -1 without) and ``counted`` (the most that any neuron stands by count)."""
    rows = []
    for label, path in certified.items():
        for block, own in path.table.groupby("block"):
            best = own.loc[own["vote"].idxmax()]
            rows.append({"class": class_names[label], "block": block, "neuron": int(best["neuron"]),
                         "certified": int(best["radius"]) if best["low"] > 0.5 else -1,
                         "counted": int(own["plain_radius"].max())})
    return pd.DataFrame(rows)


def mean_counted(neurons: Int64[np.ndarray, "image layer"], labels: Int64[np.ndarray, "image"],
                 radius: int) -> float:
    """The share of all classes' blocks whose commonest neuron stands so many edits by count."""
    return float(np.mean([plain_radius(block).max() >= radius for label in np.unique(labels)
                          for block in neurons[labels == label].T]))


def shuffled_row(neurons: Int64[np.ndarray, "image layer"], labels: Int64[np.ndarray, "image"],
                 certified: Mapping[int, CertifiedPath], deals: int = DEALS,
                 seed: int = 0) -> dict[str, float]:
    """The control: how much more is certified of the classes than of classes that are dealt to the
    images at random.

    Returns:
        what :func:`~neuronpath_core.circuits.certified.shuffled_certificates` returns;
        ``counted_shuffled``, the share of dealt classes' blocks that stand as many edits by count;
        ``value, low, high``, the lead over the mean deal with its interval over ``classes``.
    """
    one = next(iter(certified.values()))
    found = shuffled_certificates(neurons, labels, deals, seed, keep=one.keep, radius=one.radius)
    _, counted = shuffled_labels(partial(mean_counted, neurons, radius=one.radius), labels,
                                 min(deals, FEW_DEALS), seed)
    lead = class_shares(certified)["certified"].to_numpy() - found["shuffled"]
    return {**found, "counted_shuffled": float(counted.mean()), "classes": len(lead),
            **interval_row(lead, seed=seed)}


def half_rows(neurons: Int64[np.ndarray, "image layer"], labels: Int64[np.ndarray, "image"],
              repeats: int, seed: int = 0, **settings) -> dict[str, float]:
    """What one half of a class's images says of the other half's vote.

    Args:
        settings: ``keep, radius`` of the certificates of the halves.

    Returns:
        over classes, each first averaged over the splits: the columns of
        :func:`~neuronpath_core.circuits.certified.split_agreement`; ``value, low, high``, the mean
        of ``again - uncertified_again`` with its interval over the ``classes`` that have either.
        NaN where fewer than two classes have.
    """
    table = split_agreement(neurons, labels, repeats, seed, **settings)
    classes = table.drop(columns="repeat").groupby("label").mean()
    lead = (classes["again"] - classes["uncertified_again"]).dropna()
    return {**classes.mean().to_dict(), "classes": len(lead), **_interval(lead, seed)}


def _interval(values: pd.Series, seed: int) -> dict[str, float]:
    """Mean and interval; NaN of fewer than two values."""
    if len(values) < 2:
        return dict.fromkeys(("value", "low", "high"), float("nan"))
    return interval_row(values.to_numpy(), seed=seed)


# --- what it means for other images ---


def found_again(certified: Mapping[int, CertifiedPath], neurons: Int64[np.ndarray, "image layer"],
                labels: Int64[np.ndarray, "image"]) -> pd.DataFrame:
    """Which share of its class's neurons is on an image's path: a row per image with ``certified``
    and ``uncertified`` as of :func:`chosen`, and ``other``, the mean over the other classes'
    certified neurons; NaN where there are none."""
    sets = {label: {kind: chosen(path, kind) for kind in ("certified", "uncertified")}
            for label, path in certified.items()}
    rows = []
    for path, label in zip(neurons.tolist(), labels.tolist(), strict=True):
        own = set(enumerate(path, 1))
        others = [_share(own, kinds["certified"]) for other, kinds in sets.items()
                  if other != label]
        rows.append({**{kind: _share(own, pairs) for kind, pairs in sets[label].items()},
                     "other": pd.Series(others, dtype=float).mean()})
    return pd.DataFrame(rows)


def _share(own: set, wanted: set) -> float:
    return len(own & wanted) / len(wanted) if wanted else float("nan")


def again_rows(tables: Mapping[str, pd.DataFrame], seed: int = 0) -> pd.DataFrame:
    """:func:`found_again` under each condition, over images: ``condition, certified, uncertified,
    other`` (means), ``images`` (that have certified and uncertified neurons), ``value, low, high``
    (certified minus uncertified, paired)."""
    rows = []
    for condition, table in tables.items():
        lead = (table["certified"] - table["uncertified"]).dropna()
        rows.append({"condition": condition, **table.mean().to_dict(), "images": len(lead),
                     **_interval(lead, seed)})
    return pd.DataFrame(rows)


def neuron_masks(certified: Mapping[int, CertifiedPath], n_neurons: int,
                 seed: int = 0) -> dict[str, Bool[np.ndarray, "class layer neuron"]]:
    """By name of ``SETS`` the neurons of each class, classes in order.

    The random neurons are as many as the certified ones in each block and none of them, the same
    for all images of a class, so that a mask of them tells the class as well.  ``"other"`` is the
    next class's certified neurons, the last one's the first's.
    """
    labels, rng = np.array(sorted(certified)), np.random.default_rng(seed)
    own = certified_mask(certified, labels, n_neurons)
    voted, drawn = np.zeros_like(own), np.zeros_like(own)
    for place, label in enumerate(labels.tolist()):
        for block, neuron in chosen(certified[label], "voted"):
            voted[place, block - 1, neuron] = True
        for block, inside in enumerate(own[place]):
            free = np.flatnonzero(~inside)
            drawn[place, block, rng.choice(free, int(inside.sum()), replace=False)] = True
    return {"certified": own, "voted": voted, "random": drawn, "other": np.roll(own, -1, axis=0)}


def edited_effects(study: Study, model: str, images: ImageSet,
                   certified: Mapping[int, CertifiedPath], seed: int = 0) -> pd.DataFrame:
    """What the neurons of each image's class do to it when they are removed, and when they alone
    are kept; everything is set to zero, at the scope, as published.

    Returns:
        one row per image, set and operation: ``image, set`` (of ``SETS``), ``operation``
        (``"remove"`` or ``"keep"``), ``probability`` (relative deviation of the true class's),
        ``correct`` (after the edit), ``clean`` (whether it was before), ``neurons`` (of the set).
    """
    target, clean = study.target(model), study.probabilities(model, images)
    masks = neuron_masks(certified, target.n_neurons, seed)
    places = np.searchsorted(sorted(certified), images.labels.numpy())
    truth, tables = images.labels.numpy(), []
    for name, mask in masks.items():
        own = mask[places]
        for operation, factors in (("remove", ~own), ("keep", own)):
            edited = _probabilities(study, model, images, factors)
            tables.append(pd.DataFrame({
                "image": images.ids.numpy(), "set": name, "operation": operation,
                "probability": metrics.probability_deviation(clean, edited, truth),
                "correct": metrics.correct(edited, truth).astype(float),
                "clean": metrics.correct(clean, truth).astype(float),
                "neurons": own.sum((1, 2))}))
    return pd.concat(tables, ignore_index=True)


def _probabilities(study: Study, model: str, images: ImageSet,
                   factors: Bool[np.ndarray, "image layer neuron"]) -> Float[np.ndarray,
                                                                            "image class"]:
    target, found = study.target(model), []
    for place, pictures, _ in study.batches(images, model, IMAGES_AT_ONCE):
        own = torch.from_numpy(factors[place]).to(pictures)
        found.append(numbers(scaled_probabilities(target, pictures, own)))
    return np.concatenate(found)


def effect_leads(effects: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How much more the certified neurons do than each other set, paired over images: ``operation,
    against, value, low, high``, positive where the certified ones matter more.

    Of ``"remove"`` the lead is in relative probability that is lost, of ``"keep"`` in accuracy that
    is kept (shares).
    """
    rows = []
    for operation, column, sign in (("remove", "probability", -1), ("keep", "correct", 1)):
        own = effects[effects["operation"] == operation].pivot(index="image", columns="set",
                                                               values=column)
        rows += [{"operation": operation, "against": other,
                  **interval_row(sign * (own["certified"] - own[other]).to_numpy(), seed=seed)}
                 for other in SETS if other != "certified"]
    return pd.DataFrame(rows)


# --- in words ---


def figure_shares(shares: pd.DataFrame, dealt: pd.DataFrame) -> pd.DataFrame:
    """What the figure of the shares shows: ``data, model, measure`` (in words), ``value, low,
    high``; the shares of dealt classes have no interval.

    Args:
        shares: :func:`share_rows` with ``data, model``.
        dealt: :func:`shuffled_row` of the same.
    """
    kept = ["data", "model", "measure", "value", "low", "high"]
    own = [of_measure(shares, name)[kept] for name in ("counted", "certified")]
    made_up = [dealt[["data", "model"]].assign(measure=name, value=dealt[name], low=dealt[name],
                                               high=dealt[name])
               for name in ("counted_shuffled", "shuffled")]
    table = pd.concat([*own, *made_up], ignore_index=True)
    return table.assign(measure=table["measure"].map(SHARES))


def of_measure(shares: pd.DataFrame, measure: str) -> pd.DataFrame:
    """The rows of one measure of :func:`share_rows`."""
    return shares[shares["measure"] == measure].reset_index(drop=True)


def finding(shares: pd.DataFrame, dealt: pd.DataFrame, radius: int) -> str:
    """The main figure in a sentence."""
    certified, counted = (report.percent_span(of_measure(shares, name)["value"])
                          for name in ("certified", "counted"))
    return (f"{certified} of a class's path is certified to stand {edits_text(radius)}, "
            f"{report.percent_span(dealt['shuffled'])} of classes dealt at random; by count "
            f"{counted}, and {report.percent_span(dealt['counted_shuffled'])} of dealt classes")


def edits_text(radius: int) -> str:
    """``one replaced image``, ``2 replaced images``."""
    return "one replaced image" if radius == 1 else f"{radius} replaced images"


def replaced_text(radius: int) -> str:
    """``any one image of the class is replaced``, or more of them."""
    images = "one image of the class is" if radius == 1 else f"{radius} images of the class are"
    return f"any {images} replaced"


def map_finding(mapped: pd.DataFrame, model: str, radius: int) -> str:
    """The map of one model in a sentence; ``mapped``: :func:`class_map` with ``data``."""
    texts = []
    for data, own in mapped.groupby("data", sort=False):
        inside = (own["certified"] >= radius).groupby(own["class"], sort=False).sum()
        texts.append(f"in {inside.sum()} of {len(own)} cells on {data}, most for class "
                     f"{inside.idxmax()} ({inside.max()}), fewest for class {inside.idxmin()} "
                     f"({inside.min()})")
    return f"A neuron of {model} is certain {'; '.join(texts)}"


def share_table(shares: pd.DataFrame, dealt: pd.DataFrame) -> pd.DataFrame:
    """:func:`share_rows` and :func:`shuffled_row` for reading, a row per data set and model."""
    text = shares.assign(text=[report.interval_text(row, 2, signed=False)
                               for row in shares.to_dict("records")])
    wide = text.pivot(index=["data", "model"], columns="measure", values="text")
    dealt = dealt.set_index(["data", "model"])
    order = dealt.index
    return pd.DataFrame({
        SHARES["voted"]: wide["voted"], SHARES["counted"]: wide["counted"],
        SHARES["certified"]: wide["certified"],
        SHARES["shuffled"]: dealt["shuffled"], "p after Holm": dealt["adjusted"],
        SHARES["counted_shuffled"]: dealt["counted_shuffled"]}).reindex(order)


def edits_table(edits: pd.DataFrame) -> pd.DataFrame:
    """:func:`edit_shares` with ``data, model`` for reading: a column per number of edits, certified
    and by count."""
    text = [f"{row.certified:.2f}; {row.counted:.2f}" for row in edits.itertuples()]
    wide = edits.assign(text=text).pivot(index=["data", "model"], columns="edits", values="text")
    order = pd.MultiIndex.from_frame(edits[["data", "model"]].drop_duplicates())
    return wide.reindex(order).rename(columns=lambda number: f"{number} replaced")


def among_leading(certified: Mapping[int, CertifiedPath]) -> float:
    """Of the certified neurons of all classes the share that is also among as many with the largest
    radii by count; of those that tie for the last places as many as are expected if lots are drawn.
    NaN where none is certified."""
    table = pd.concat([path.table for path in certified.values()])
    radii, inside = table["plain_radius"].to_numpy(), (table["decision"] == "in").to_numpy()
    if not inside.any():
        return float("nan")
    last = np.sort(radii)[-inside.sum()]
    above, tied = radii > last, radii == last
    share = (inside.sum() - above.sum()) / tied.sum()
    return float(((above & inside).sum() + share * (tied & inside).sum()) / inside.sum())


def decision_table(certified: Mapping[tuple[str, str], Mapping[int, CertifiedPath]],
                   apart: Mapping[str, tuple[ImageSet, ImageSet]]) -> pd.DataFrame:
    """What is decided of the neurons on a class's paths, a row per data set and model: per class
    and block how many are in, out and abstained from, and the mean radius of those that are in, by
    certificate and, also the least, by count; last, :func:`among_leading`."""
    rows = []
    for (data, model), own in certified.items():
        table = pd.concat([path.table for path in own.values()])
        cells = sum(path.blocks for path in own.values())
        inside = table[table["decision"] == "in"]
        rows.append({"data": data, "model": model, "images": len(apart[data][0]),
                     **{words: (table["decision"] == name).sum() / cells
                        for name, words in (("in", "in"), ("out", "out"),
                                            ("abstained", "abstained from"))},
                     "radius": inside["radius"].mean(),
                     "radius by count": inside["plain_radius"].mean(),
                     "least radius by count": inside["plain_radius"].min(),
                     "among as many by count": among_leading(own)})
    return pd.DataFrame(rows).set_index(["data", "model"])


def half_table(halves: pd.DataFrame) -> pd.DataFrame:
    """:func:`half_rows` with ``data, model, verdict`` for reading."""
    lead = [report.interval_text(row) for row in halves.to_dict("records")]
    return halves.assign(lead=lead).set_index(["data", "model"])[
        ["size", "plain_size", "again", "uncertified_again", "lead", "certified", "plain",
         "verdict"]].rename(columns={
             "size": "certified neurons", "plain_size": "voted neurons",
             "again": "certified, voted by the other half",
             "uncertified_again": "not certified, voted by the other half",
             "certified": "Jaccard, certified", "plain": "Jaccard, voted",
             "verdict": "agreement"})


def again_table(again: pd.DataFrame) -> pd.DataFrame:
    """:func:`again_rows` with ``data, model, verdict`` for reading."""
    lead = [report.interval_text(row) for row in again.to_dict("records")]
    return again.assign(lead=lead).set_index(["data", "model", "condition"])[
        ["certified", "uncertified", "other", "lead", "verdict"]].rename(columns={
            "uncertified": "voted, not certified", "other": "certified of other classes",
            "verdict": "agreement"}).rename_axis(index={"condition": "found on"})


def effect_table(effects: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """:func:`edited_effects` with ``data, model`` for reading: per data set, model and set the mean
    number of neurons, the change of the probability when they are removed, and the accuracy when
    they are removed and when they alone are kept; first the whole model."""
    rows = []
    for (data, model), own in effects.groupby(["data", "model"], sort=False):
        first = own[own["set"] == "certified"].drop_duplicates("image")
        rows.append({"data": data, "model": model, "neurons of the class": "whole model",
                     "number": "", "probability, removed": "", "accuracy, removed": "",
                     "accuracy, kept alone": f"{first['clean'].mean():.2f}"})
        for name, words in SETS.items():
            parts = {operation: own[(own["set"] == name) & (own["operation"] == operation)]
                     for operation in ("remove", "keep")}
            rows.append({
                "data": data, "model": model, "neurons of the class": words,
                "number": f"{parts['keep']['neurons'].mean():.1f}",
                "probability, removed": report.interval_text(
                    interval_row(parts["remove"]["probability"].to_numpy(), seed=seed), 3),
                "accuracy, removed": f"{parts['remove']['correct'].mean():.2f}",
                "accuracy, kept alone": f"{parts['keep']['correct'].mean():.2f}"})
    return pd.DataFrame(rows).set_index(["data", "model", "neurons of the class"])


def lead_table(leads: pd.DataFrame) -> pd.DataFrame:
    """:func:`effect_leads` with ``data, model`` for reading: a column per operation and set."""
    words = {"remove": "probability lost", "keep": "accuracy kept"}
    text = [report.interval_text(row, 3) for row in leads.to_dict("records")]
    named = leads.assign(text=text, operation=leads["operation"].map(words),
                         against=leads["against"].map(SETS))
    wide = named.pivot(index=["data", "model"], columns=["operation", "against"], values="text")
    order = pd.MultiIndex.from_frame(leads[["data", "model"]].drop_duplicates())
    return wide.reindex(order)


def at(rows: pd.DataFrame, condition: str, column: str = "value") -> Sequence[float]:
    """A column of :func:`again_rows` under one condition."""
    return rows.loc[rows["condition"] == condition, column].tolist()


def span_of(counts: Sequence[int]) -> str:
    """``10 or 24``, ``16 to 40``: the different counts, of more than two the least and largest."""
    found = sorted(set(counts))
    return " or ".join(map(str, found)) if len(found) < 3 else f"{found[0]} to {found[-1]}"
