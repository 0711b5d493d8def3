"""Whether memories agree with the class more in images that are classified correctly, beyond what
the model's confidence says already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from neuronpath_core.chapters.class_building.tokens import CORRECTED, IMAGE_TOKENS, token_tables
from neuronpath_core.chapters.class_building.values import peak_block
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.readings.memories import HALVES
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.study.study import Study

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

WRONG, MATCHED, ANY = "wrong", "correct, as confident", "correct, drawn at random"
FEWEST = 5  # wrong images, of which an interval over images can be had
# name of what is compared: columns of the tables of tokens
MEASURES = {"as published": ("agreement published", None),
            "with the label": (f"agreement {CORRECTED}", f"agreement {CORRECTED}, other"),
            "with the prediction": (f"agreement {CORRECTED}, predicted", None)}


def as_confident(confidence: Float[np.ndarray, "image"], correct: Bool[np.ndarray, "image"],
                 count: int, seed: int = 0) -> dict[str, Int64[np.ndarray, "pair"]]:
    """Positions of wrong images and of as many correct ones.

    Args:
        confidence: largest probability of each image.
        correct: whether it is the label's.
        count: of wrong images; if there are more, so many are drawn.

    Returns:
        by name: the wrong images; for each in turn a correct one, none twice, so that the
        differences in confidence are as small as they can be together; as many that are drawn at
        random.

    Raises:
        ValueError: fewer correct images than wrong ones.
    """
    rng = np.random.default_rng(seed)
    wrong, right = np.flatnonzero(~correct), np.flatnonzero(correct)
    wrong = np.sort(rng.permutation(wrong)[:count])
    if len(right) < len(wrong):
        raise ValueError(f"{len(right)} images are classified correctly and {len(wrong)} are not; "
                         "accepted: at least as many that are")
    distance = np.abs(np.subtract.outer(confidence[wrong], confidence[right]))
    _, partner = linear_sum_assignment(distance)
    return {WRONG: wrong, MATCHED: right[partner],
            ANY: rng.permutation(right)[:len(wrong)]}


def correctness_table(study: Study, model: str, pool: ImageSet, count: int,
                      seed: int = 0) -> pd.DataFrame:
    """Agreement at the blocks that the paper names, of wrong images and of correct ones.

    Args:
        pool: images among which they are sought.
        count: of wrong images, at most.

    Returns:
        the columns of :func:`~neuronpath_core.chapters.class_building.tokens.token_tables` with
        ``kind`` and ``pair``, by which a wrong image and the correct one that is as confident
        belong together; without a row where fewer than five images are wrong.
    """
    probability = study.probabilities(model, pool)
    chosen = as_confident(probability.max(1), probability.argmax(1) == pool.labels.numpy(), count,
                          seed)
    if len(chosen[WRONG]) < FEWEST:
        return pd.DataFrame()
    blocks, tables = len(study.target(model).model.blocks), []
    wanted = {half: peak_block(half, blocks) for half in HALVES}
    for kind, places in chosen.items():
        own = pool.select(places)
        halves = token_tables(study, model, own, set(wanted.values()))["halves"]
        pair = dict(zip(own.ids.tolist(), range(len(places)), strict=True))
        kept = halves[halves["block"] == halves["half"].map(wanted)]
        tables.append(kept.assign(kind=kind, pair=kept["image"].map(pair)))
    return pd.concat(tables, ignore_index=True)


def correctness_rows(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Correct minus wrong, at the tokens that the head reads.

    Returns:
        ``half, block, measure`` (of ``MEASURES``), means of the three kinds of image and their
        ``confidence wrong`` and ``confidence matched``; ``apart``, drawn at random minus wrong;
        ``images`` (pairs), ``value, low, high``: as confident minus wrong, paired.
    """
    columns = ["half", "block", "measure", WRONG, MATCHED, ANY, "confidence wrong",
               "confidence matched", "apart", "images", "value", "low", "high"]
    if table.empty:
        return pd.DataFrame(columns=columns)
    read = next(iter(dict.fromkeys(table["tokens"])), IMAGE_TOKENS)
    rows = []
    for half, own in table[table["tokens"] == read].groupby("half", sort=False):
        for measure, (column, other) in MEASURES.items():
            level = 0 if other is None else own[other]
            wide = own.assign(lead=own[column] - level).pivot(index="pair", columns="kind",
                                                              values="lead")
            sure = own.groupby("kind")["confidence"].mean()
            rows.append({"half": half, "block": int(own["block"].iloc[0]), "measure": measure,
                         **wide.mean().to_dict(), "confidence wrong": sure[WRONG],
                         "confidence matched": sure[MATCHED],
                         "apart": wide[ANY].mean() - wide[WRONG].mean(), "images": len(wide),
                         **interval_row((wide[MATCHED] - wide[WRONG]).to_numpy(), seed=seed)})
    return pd.DataFrame(rows)[columns]
