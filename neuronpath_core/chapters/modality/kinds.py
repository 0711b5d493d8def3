"""How many neurons are surely of one type, of which type most are, and what that hangs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neuronpath_core.chapters.modality.measured import CRITERIA, Read, Types, types_of
from neuronpath_core.chapters.vlm_study import VlmStudy
from neuronpath_core.stats.intervals import jackknife_row, normal_row
from neuronpath_core.study.vlm_reading import GENERATED, OTHERS, REWORDED
from neuronpath_core.vlm.modality import (
    PUBLISHED,
    TYPES,
    Criteria,
    Levels,
    confident,
    probabilities,
    type_shares,
)
from neuronpath_core.vlm.modality_nulls import modality_auroc, threshold_grid
from neuronpath_core.vlm.records import Records

if TYPE_CHECKING:
    from jaxtyping import Float

SURE = 0.8
PURE = 0.9  # an area under the curve from which on, or below 1 minus it, a value tells the modality
# Xu et al. (2025): shares with p > 0.8, Figures 5 and 21, in the order of TYPES
PAPER = {"LLaVA-1.5-7B": (0.054, 0.142, 0.055, 0.057),
         "InternVL-2.5-8B": (0.086, 0.056, 0.035, 0.128)}
# captions other than the scene's own, what they are called
TOLD = {REWORDED: "the same captions in other words", GENERATED: "the model's own captions",
        OTHERS: "captions of other scenes"}
ANEW = "the same captions, scenes drawn anew"
DEALT, UNTRAINED, TURNED = "labels dealt", "before training", "directions at random"


def sure(place: int):
    """The share of live neurons with more than 0.8 of one type."""
    return lambda p: float(confident(p, SURE)[place])


def share(place: int):
    """The share of live neurons of which one type is the most probable."""
    return lambda p: float(shares_of(p)[place])


def shares_of(p: Float[np.ndarray, "neuron 4"]) -> Float[np.ndarray, "4"]:
    """The share of live neurons of each type by its largest probability."""
    live = p[~np.isnan(p[:, 0])]
    return type_shares(live).mean(0) if len(live) else np.full(len(TYPES), np.nan)


def sure_rows(read: Read) -> pd.DataFrame:
    """Of each type the share of neurons that are surely of it: ``type, value, low, high`` with the
    interval over scenes, ``dealt``, the mean share with dealt labels, and ``most``, the share of
    which it is the most probable type, with ``most_dealt``."""
    rows = []
    for place, name in enumerate(TYPES):
        dealt = [[statistic(place)(each.p) for each in read.dealt] for statistic in (sure, share)]
        rows.append({"type": name, **read.own.row(sure(place)), "dealt": np.mean(dealt[0]),
                     "most": share(place)(read.own.p), "most_dealt": np.mean(dealt[1])})
    return pd.DataFrame(rows)


def beyond_dealt_rows(read: Read) -> pd.DataFrame:
    """Of the three types that say something, how much more neurons are surely of it than with the
    labels of tokens dealt within each sample: ``condition, against, value, low, high``."""
    rows = []
    for place, name in enumerate(TYPES[:3]):
        statistic = sure(place)
        value = statistic(read.own.p) - np.mean([statistic(each.p) for each in read.dealt])
        drawn = np.array([statistic(each) for each in read.own.drawn]) - np.mean(
            [[statistic(each) for each in other.drawn] for other in read.dealt], 0)
        rows.append({"condition": f"{name} neurons", "against": DEALT, **normal_row(value, drawn)})
    return pd.DataFrame(rows)


def surer_rows(read: Read) -> pd.DataFrame:
    """Of the three types that say something, the share of neurons that are surely of it and are not
    once the labels of their tokens are dealt, minus the share that one deal makes sure and another
    does not: ``condition, against, value, low, high``, and ``own``, the first share."""
    rows = []
    for place, name in enumerate(TYPES[:3]):
        own, noise = _only(read.own.p, [each.p for each in read.dealt], place)
        drawn = [_only(p, [each.drawn[draw] for each in read.dealt], place)
                 for draw, p in enumerate(read.own.drawn)]
        gaps = np.array([first - second for first, second in drawn])
        rows.append({"condition": f"{name} neurons", "against": DEALT,
                     **normal_row(own - noise, gaps), "own": own})
    return pd.DataFrame(rows)


def _only(own: np.ndarray, dealt: Sequence[np.ndarray], place: int) -> tuple[float, float]:
    """The share of live neurons that are sure and with dealt labels not, and that one deal makes
    sure and another not, means over deals and pairs of them."""
    live = ~np.isnan(own[:, place])
    first = own[live, place] > SURE
    others = [each[live, place] > SURE for each in dealt]
    noise = [(one & ~two).mean() for one in others for two in others if one is not two]
    return float(np.mean([(first & ~each).mean() for each in others])), float(np.mean(noise or 0))


def beyond_rows(read: Read, other: Types, against: str) -> pd.DataFrame:
    """The same beyond the neurons of another network, or other directions, on the same scenes."""
    return pd.DataFrame([{"condition": f"{name} neurons", "against": against,
                          **read.own.row(sure(place), other)}
                         for place, name in enumerate(TYPES[:3])])


def most_rows(read: Read) -> pd.DataFrame:
    """How much larger the share of text neurons is than that of the next type, by the most probable
    type: ``value, low, high`` and ``next``."""
    own = shares_of(read.own.p)
    others = [place for place in range(len(TYPES)) if TYPES[place] != "text"]
    text = TYPES.index("text")

    def lead(p: np.ndarray) -> float:
        found = shares_of(p)
        return float(found[text] - max(found[place] for place in others))

    return pd.DataFrame([{**read.own.row(lead),
                          "next": TYPES[max(others, key=lambda place: own[place])]}])


def seed_rows(found: Mapping[str, Read]) -> pd.DataFrame:
    """Over trainings that differ in the seed: ``statistic, type``, the mean share of each type with
    Student's interval over seeds, ``value, low, high`` (NaN for one seed), and ``seeds``."""
    rows = []
    for name, of in (("surely", lambda p: confident(p, SURE)), ("most probably", shares_of)):
        each = np.array([of(read.own.p) for read in found.values()])
        for place, kind in enumerate(TYPES):
            own = each[:, place]
            row = {"value": own.mean(), "low": np.nan, "high": np.nan} if len(own) < 2 else (
                jackknife_row(lambda places, own=own: own[places].mean(), [len(own)]))
            rows.append({"statistic": name, "type": kind, **row, "seeds": len(own)})
    return pd.DataFrame(rows)


def variant_rows(study: VlmStudy, model: str, records: Records) -> pd.DataFrame:
    """What the text leaves open, one thing changed at a time: ``variant``, for each type the share
    that is surely of it, and ``dead``, the share of neurons that are positive nowhere."""
    rows = [_variant("as here: one image token is enough", records, CRITERIA, "floor"),
            _variant("the published five image tokens", records, PUBLISHED, "floor"),
            _variant("levels not rounded down", records, CRITERIA, "continuous")]
    for name, options in (("what enters the last projection", {"site": "product"}),
                          ("words of the request count too", {"text": "prompt+answer"}),
                          *((words, {"captions": which}) for which, words in TOLD.items())):
        rows.append(_variant(name, study.records(model, **options), CRITERIA, "floor"))
    return pd.DataFrame(rows)


def _variant(name: str, records: Records, criteria: Criteria, levels: Levels) -> dict:
    p = probabilities(records, criteria, levels)
    return {"variant": name, **dict(zip(TYPES, confident(p, SURE), strict=True)),
            "dead": float((~records.live).mean())}


def changed(p: Float[np.ndarray, "neuron 4"], other: Float[np.ndarray, "neuron 4"]) -> float:
    """Of the neurons that are live in both, the share whose most probable type is not the same; of
    types that tie the first one counts."""
    live = ~np.isnan(p[:, 0]) & ~np.isnan(other[:, 0])
    if not live.any():
        return float("nan")
    return float((p[live].argmax(1) != other[live].argmax(1)).mean())


def told_types(study: VlmStudy, name: str, seed: int = 0) -> dict[str, Types]:
    """A model's types with each of the captions of ``TOLD``, by what these are called."""
    return {words: types_of(study.records(name, captions=which), seed)
            for which, words in TOLD.items()}


def changed_rows(read: Read, others: Mapping[str, Types]) -> pd.DataFrame:
    """How many neurons have another most probable type when other captions are read: ``condition,
    value, low, high`` over scenes; first what the counting of scenes alone changes (``ANEW``,
    without an interval), then each of ``others``, by what they are called."""
    noise = [changed(read.own.p, p) for p in read.own.drawn]
    rows = [{"condition": ANEW, "value": np.mean(noise), "low": np.nan, "high": np.nan}]
    for name, other in others.items():
        rows.append({"condition": name, **normal_row(changed(read.own.p, other.p),
                                                     _changed_drawn(read, other))})
    return pd.DataFrame(rows)


def changed_lead_rows(read: Read, others: Mapping[str, Types]) -> pd.DataFrame:
    """How many more neurons change their type when the model's own captions are read than when the
    given ones are said in other words: ``condition, against, value, low, high`` over scenes."""
    own, control = (others[TOLD[which]] for which in (GENERATED, REWORDED))
    gap = changed(read.own.p, own.p) - changed(read.own.p, control.p)
    drawn = _changed_drawn(read, own) - _changed_drawn(read, control)
    return pd.DataFrame([{"condition": TOLD[GENERATED], "against": TOLD[REWORDED],
                          **normal_row(gap, drawn)}])


def _changed_drawn(read: Read, other: Types) -> np.ndarray:
    return np.array([changed(*each) for each in zip(read.own.drawn, other.drawn, strict=True)])


def grid(records: Records) -> pd.DataFrame:
    """Shares by type over a grid of thresholds, as
    :func:`~neuronpath_core.vlm.modality_nulls.threshold_grid` has them."""
    return threshold_grid(records, (1, 2, 3), (2, 3, 4), (0, 4), (1, 2))


def auroc_rows(read: Read) -> pd.DataFrame:
    """Without thresholds: of live neurons the share whose value at an image token nearly always
    exceeds that at a word (``visual``), or the other way round (``text``)."""
    found = modality_auroc(read.records)
    found = found[~np.isnan(found)]
    return pd.DataFrame([{"visual": (found > PURE).mean(), "text": (found < 1 - PURE).mean(),
                          "median": np.median(found)}])


def activity_rows(study: VlmStudy, name: str, read: Read) -> pd.DataFrame:
    """How strong and how sparse neurons of each most probable type are: ``type, neurons``, the
    medians of ``relative``, mean activation over the maximum, ``active``, the share of tokens at
    which a neuron is above 0, and ``written``, the length of its value vector."""
    halves = study.model(name).halves["decoder"]
    written = np.concatenate([half.value_vectors.double().norm(dim=1).cpu().numpy()
                              for half in halves])
    best = np.where(read.records.live, np.nan_to_num(read.own.p, nan=-1).argmax(1), -1)
    relative = read.records.mean / np.where(read.records.live, read.records.maxima, np.nan)
    return pd.DataFrame([{"type": kind, "neurons": int((best == place).sum()),
                          "mean": np.median(read.records.mean[best == place]),
                          "relative": np.median(relative[best == place]),
                          "active": np.median(read.records.active[best == place]),
                          "written": np.median(written[best == place])}
                         for place, kind in enumerate(TYPES) if (best == place).any()])
