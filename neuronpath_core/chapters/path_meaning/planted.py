"""The chapter's measures on networks whose paths are known (J10): they must find what was planted,
and nothing where nothing was."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from neuronpath_core.chapters.path_meaning import concepts, evidence, wiring, writes
from neuronpath_core.chapters.path_meaning.measured import PUBLISHED, Case, make_case
from neuronpath_core.models.planted import Planted, planted_model
from neuronpath_core.neurons.concept_paths import dissociation
from neuronpath_core.neurons.matched import drawn, of_path, over_matches
from neuronpath_core.stats.intervals import wilson_interval
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64
    from torch import Tensor

KINDS, SCOPES = ("chain", "parallel"), ("cls", "patch")
PAIRS = "parallel, two concepts"
IMAGES = 12
LAST, EARLIER = "last block", "blocks before"
WIRE, EVIDENCE, CONCEPT = "composition", "label's rank, last block", "dissociation"
# what must be so: planted neurons ahead of matched ones, or no different from them.  A chain writes
# the class in its last block and hands on what it reads; parallels write it everywhere and read
# nothing of each other; two groupings of classes have one path, as every class has.  Where every
# class is a pair of two cues, each grouping has a path of its own.
AHEAD, EQUAL = "ahead", "no different"
SMALL = 0.1  # differences up to it count as none; planted ones are at least three times as large
TRUTH = {("chain", f"{writes.WRITES}, {LAST}"): AHEAD, ("chain", WIRE): AHEAD,
         ("chain", f"{writes.KEY}, {LAST}"): AHEAD, ("chain", EVIDENCE): AHEAD,
         ("chain", f"{writes.WRITES}, {EARLIER}"): EQUAL, ("chain", CONCEPT): EQUAL,
         ("parallel", f"{writes.WRITES}, {LAST}"): AHEAD, ("parallel", WIRE): EQUAL,
         ("parallel", f"{writes.KEY}, {LAST}"): AHEAD, ("parallel", EVIDENCE): AHEAD,
         ("parallel", f"{writes.WRITES}, {EARLIER}"): AHEAD, ("parallel", CONCEPT): EQUAL,
         (PAIRS, CONCEPT): AHEAD}
# the classes' groups: each pair of a first and a second group is one class
GROUPS = {"first": np.array([0, 0, 1, 1]), "second": np.array([0, 1, 0, 1])}


def planted_case(planted: Planted) -> Case:
    """A planted network with its planted paths under the published method's name."""
    return make_case(planted.target, planted.images, planted.labels,
                     {PUBLISHED: planted.neurons[..., 0].cpu().numpy()})


def measures(planted: Planted, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Of one network each measure of the planted neurons and of matched ones, means over images."""
    case = planted_case(planted)
    matches, own = case.matches(PUBLISHED), case.paths[PUBLISHED]
    found = {}
    for name, table in ((writes.WRITES, case.aligned), (writes.KEY, writes.key_neurons(case, 1))):
        values = case.of_label(table)
        pair = of_path(values, own), over_matches(values, matches)
        found[f"{name}, {LAST}"] = tuple(each[:, -1].mean() for each in pair)
        found[f"{name}, {EARLIER}"] = tuple(each[:, :-1].mean() for each in pair)
    tables = wiring.sizes(case, "direct")
    found[WIRE] = (wiring.along(tables, own).mean(),
                   wiring.to_matched(tables, case, PUBLISHED).mean())
    clean = evidence.known(case)
    found[EVIDENCE] = tuple((clean - evidence.known(case, each))[:, -1].mean()
                            for each in (own, drawn(matches, seed)))
    found[CONCEPT] = _apart(case.target, case.pixels, case.labels), 0.0
    return found


def _apart(target: TargetModel, pixels: Tensor, labels: Int64[np.ndarray, "image"]) -> float:
    """The dissociation of the paths of both groupings, mean over images."""
    found = concepts.concept_paths(target, pixels, labels, GROUPS, PUBLISHED)
    return float(dissociation(found.lost)["both"].mean())


def two_concepts(planted: Planted) -> tuple[TargetModel, Tensor, Int64[np.ndarray, "image"]]:
    """A planted network of four cues as one of four classes, each a pair of one of the first two
    and one of the last two, with images that show both: the logit of a class is the sum of its two
    cues', so that each cue's planted neurons move its own grouping alone.

    Returns:
        the network, half as many images as the planted one has, and their classes.
    """
    model = copy.deepcopy(planted.target.model)
    first, second = (torch.from_numpy(own).to(planted.target.device) for own in GROUPS.values())
    with torch.no_grad():
        for each in (model.head.weight, model.head.bias):
            each.copy_(each[first] + each[2 + second])
    cue = planted.labels
    shown = cue < 2
    beside = torch.argsort(cue[~shown], stable=True)
    pixels = planted.images[shown] + planted.images[~shown][beside]
    labels = 2 * cue[shown] + cue[~shown][beside] - 2
    return TargetModel(model, scope=planted.target.scope), pixels, labels.cpu().numpy()


def planted_rows(networks: int, seed: int = 0,
                 scopes: Sequence[str] = SCOPES) -> pd.DataFrame:
    """Every measure of which the truth is known: ``kind, scope, measure, expected``; ``path, other,
    difference``, means over networks of planted and matched neurons; ``value, low, high``, the
    share of the ``networks`` in which the measure says what is known, with Wilson's interval."""
    rows = []
    for scope in scopes:
        for kind in KINDS:
            every = [measures(planted_model(kind, scope, seed=seed + number, n_images=IMAGES),
                              seed) for number in range(networks)]
            rows += [_row(kind, scope, name, np.array([each[name] for each in every]))
                     for name in every[0] if (kind, name) in TRUTH]
        apart = [_apart(*two_concepts(planted_model("parallel", scope, seed=seed + number,
                                                    n_images=IMAGES)))
                 for number in range(networks)]
        rows.append(_row(PAIRS, scope, CONCEPT, np.array([(each, 0.0) for each in apart])))
    return pd.DataFrame(rows)


def _row(kind: str, scope: str, name: str, pairs: Float[np.ndarray, "network 2"]) -> dict:
    gaps, expected = pairs[:, 0] - pairs[:, 1], TRUTH[kind, name]
    share = float(np.mean(gaps > SMALL if expected == AHEAD else np.abs(gaps) <= SMALL))
    low, high = wilson_interval(share, len(pairs))
    return {"kind": kind, "scope": scope, "measure": name, "expected": expected,
            "path": pairs[:, 0].mean(), "other": pairs[:, 1].mean(), "difference": gaps.mean(),
            "value": share, "low": low, "high": high, "networks": len(pairs)}
