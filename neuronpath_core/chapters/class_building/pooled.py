"""Whether models that pool their tokens do without memories that agree with classes: two kinds of
model, each trained from several seeds, which are the unit."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from neuronpath_core.chapters.class_building.tokens import (
    CLASS_TOKEN,
    CORRECTED,
    IMAGE_TOKENS,
    token_tables,
)
from neuronpath_core.chapters.class_building.values import peak_block, value_table
from neuronpath_core.chapters.mae_against_supervised.measured import replicas
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.readings.memories import HALVES
from neuronpath_core.stats.intervals import jackknife_row
from neuronpath_core.study.study import Study

READ = "where the head reads"
VALUES = "value vectors"


def pairs(study: Study, models: Sequence[str]) -> list[tuple[str, str]]:
    """Every model with a class token beside every one that pools its tokens, if they have as many
    blocks, tokens and channels, and each was trained from several seeds."""
    def shape(name: str) -> tuple[int, int, int]:
        model = study.target(name)
        return len(model.model.blocks), model.n_tokens, model.model.embed_dim

    several = [name for name in models if len(replicas(study, name)) > 1]
    return [(first, second) for first in several for second in several
            if study.target(first).classifies_alone and not study.target(second).classifies_alone
            and shape(first) == shape(second)]


def replica_table(study: Study, model: str, images: ImageSet) -> pd.DataFrame:
    """Every replica's memories at the blocks that the paper names: ``kind`` (the model that it is
    a replica of), ``model, half, tokens, value``.

    Of ``VALUES`` the value is the class-value agreement minus that of uniform directions, mean
    over classes; of the kinds of token, and of the tokens that the head reads, the key-value
    agreement with the image's class minus that with other classes, mean over images.
    """
    rows = []
    for name in replicas(study, model):
        target = study.target(name)
        blocks = len(target.model.blocks)
        wanted = {half: peak_block(half, blocks) for half in HALVES}
        halves = token_tables(study, name, images, set(wanted.values()))["halves"]
        lead = halves[f"agreement {CORRECTED}"] - halves[f"agreement {CORRECTED}, other"]
        kept = halves.assign(value=lead)[halves["block"] == halves["half"].map(wanted)]
        means = kept.groupby(["half", "tokens"])["value"].mean()
        weights = value_table(target, 1)
        read = CLASS_TOKEN if target.classifies_alone else IMAGE_TOKENS
        for half, block in wanted.items():
            own = weights[(weights["half"] == half) & (weights["block"] == block)]
            found = {VALUES: (own["corrected"] - own["uniform"]).mean(),
                     READ: means[half, read], IMAGE_TOKENS: means[half, IMAGE_TOKENS]}
            rows += [{"kind": model, "model": name, "half": half, "tokens": tokens, "value": value}
                     for tokens, value in found.items()]
    return pd.DataFrame(rows)


def pooled_rows(table: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """How much less the second kind of model has than the first: ``half, tokens``, ``first`` and
    ``second`` (means), ``trained`` (models), ``value, low, high``; the interval is a jackknife over
    trained models with Student's t."""
    rows = []
    for (half, tokens), own in table.groupby(["half", "tokens"], sort=False):
        values = [own.loc[own["kind"] == kind, "value"].to_numpy() for kind in (first, second)]
        rows.append({"half": half, "tokens": tokens, "first": values[0].mean(),
                     "second": values[1].mean(), "trained": sum(map(len, values)),
                     **jackknife_row(lambda one, two, values=values: values[0][one].mean()
                                     - values[1][two].mean(), [len(each) for each in values])})
    return pd.DataFrame(rows)
