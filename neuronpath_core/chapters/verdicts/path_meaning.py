"""What Chapter 30 says of the neurons of paths."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.chapters.claims import told
from neuronpath_core.chapters.path_meaning import (
    concepts,
    detects,
    failures,
    looks,
    pictures,
    wiring,
    writes,
)
from neuronpath_core.chapters.path_meaning.claimed import ACTIVE, WORDS
from neuronpath_core.chapters.path_meaning.measured import LABELS, LIKE, LIKE_HERE
from neuronpath_core.chapters.path_meaning.words import picked, verdicts_of
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict


def made_from(written: pd.DataFrame, depths: pd.DataFrame, overlaps: pd.DataFrame,
              detected: pd.DataFrame, evidence: pd.DataFrame, wired: pd.DataFrame,
              looked: pd.DataFrame, leads: pd.DataFrame, failed: pd.DataFrame,
              rivals: pd.DataFrame, apart: pd.DataFrame, known: pd.DataFrame,
              again: pd.DataFrame) -> list[Claim]:
    """The tables are those of the modules of :mod:`neuronpath_core.chapters.path_meaning`, each
    with ``data`` and ``model``: of ``writes.writing_rows``, ``third_rows`` and ``overlap_rows``,
    ``detects.detection_rows``, ``evidence.evidence_rows``, ``wiring.wire_rows``,
    ``looks.look_rows``, ``pictures.picture_leads``, ``failures.failure_rows`` and ``rival_rows``,
    ``concepts.dissociation_rows``, ``planted.planted_rows`` and ``seeds.seed_rows``."""
    def effect(table: pd.DataFrame, n: str = "images", **wanted: str) -> tuple:
        own = picked(table, **wanted)
        if len(own) and "method" in own:
            own = own.assign(condition=[f"by {LABELS[name]}" for name in own["method"]])
        own = own.dropna(subset="value") if len(own) else own
        named = {"condition": "condition"} if "condition" in own else {}
        named |= {"against": "against"} if "against" in own else {}
        return comparisons(verdicts_of(own), n, **named) if len(own) else ()

    def shapes_only(measure: str, against: str, score: str = detects.PATCHES) -> tuple:
        return effect(detected, measure=measure, score=score, against=against)

    return told(WORDS, {
        "writes": effect(written, measure=writes.WRITES, against=LIKE),
        "writes here": effect(written, measure=writes.WRITES, against=LIKE_HERE),
        "writes active": effect(written, measure=writes.WRITES, against=ACTIVE),
        "writes late": effect(depths, blocks=writes.LATER),
        "writes again": effect(again, "models", measure=writes.WRITES),
        "points": effect(written, measure=writes.DIRECTION, against=LIKE),
        "key again": effect(again, "models", measure=writes.KEY),
        "used again": effect(again, "models", measure=writes.USED),
        "key": effect(overlaps, measure=writes.KEY, against=LIKE),
        "key active": effect(overlaps, measure=writes.KEY, against=ACTIVE),
        "used": effect(overlaps, measure=writes.USED, against=LIKE),
        "attributes": shapes_only(detects.BOTH, LIKE),
        "attributes here": shapes_only(detects.BOTH, LIKE_HERE),
        "attributes of images": shapes_only(detects.BOTH, LIKE, detects.WHOLE),
        "attributes of images here": shapes_only(detects.BOTH, LIKE_HERE, detects.WHOLE),
        "overlap": shapes_only(detects.BOTH, LIKE, detects.OVERLAP),
        "beyond colour": shapes_only(detects.BEYOND, LIKE, detects.WHOLE),
        "evidence": effect(evidence, blocks="last third", against=LIKE),
        "evidence early": effect(evidence, blocks="first third", against=LIKE),
        "wire": effect(wired, route="direct", measure=wiring.SIZE, against=LIKE),
        "wire percentile": effect(wired, route="direct", measure=wiring.PLACE, against=LIKE),
        "wire again": effect(again, "models", measure=wiring.SIZE),
        "wire attention": effect(wired, route="attention", measure=wiring.SIZE, against=LIKE),
        "wire active": effect(wired, route="direct", measure=wiring.SIZE, against=ACTIVE),
        "looks": effect(looked, against=looks.OTHER_MAP),
        "looks matched": effect(looked, against=LIKE),
        "pictures": effect(leads, "classes", reader=pictures.ITSELF, against=pictures.BEST),
        "transfer": effect(leads, "classes", reader=pictures.OTHERS, against=pictures.BEST),
        "random pictures": effect(leads, "classes", reader=pictures.OTHERS,
                                  against=pictures.RANDOMLY),
        "fails": effect(failed, measure=writes.WRITES, label=failures.TRUE),
        "fails key": effect(failed, measure=writes.KEY, label=failures.TRUE),
        "fails used": effect(failed, measure=writes.USED, label=failures.TRUE),
        "fails attributes": tuple(
            one for name in detects.DECIDING
            for one in effect(failed.assign(condition=f"of the {name}"), measure=name,
                              label=failures.TRUE)),
        "rival": effect(rivals, measure=writes.WRITES),
        "outline": effect(apart, measure="outline", paths=concepts.OWN),
        "fill": effect(apart, measure="fill", paths=concepts.OWN),
        "concepts": effect(apart, measure="both", paths=f"beyond {concepts.DEALT}"),
        "planted": _planted(known),
    }, finding="key neurons", statistic="mean")


def _planted(known: pd.DataFrame) -> tuple:
    if not len(known):
        return ()
    tokens = {"cls": "class token", "patch": "patch tokens"}
    named = known.assign(data="planted", model=[
        f"{row.kind}, {tokens[row.scope]}" for row in known.itertuples()],
        condition=[f"for {name}" for name in known["measure"]])
    return comparisons(with_verdict(named, threshold=0.5), "networks", condition="condition")
