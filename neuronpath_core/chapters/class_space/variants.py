"""What the differences between the published code, the paper's text and what is recommended do."""

from __future__ import annotations

import numpy as np
import pandas as pd

from neuronpath_core.chapters.class_space import cuts
from neuronpath_core.chapters.class_space.measured import Read
from neuronpath_core.chapters.class_space.words import at
from neuronpath_core.readings.class_space import by_image, difference


def variant_row(read: Read, lost: pd.DataFrame) -> dict[str, float]:
    """What published and corrected variants say of one model: the rates with and without the class
    token among the tokens; of self only as written and corrected; without the class token as
    published and corrected; the last block's difference between tokens on the object and others by
    a pixel, pooled, and by half a patch, per image; the share of tokens that change their kind."""
    value = read.patches(read.reading.identifiability())[-1:]
    by = {name: float(at(lost, name).iloc[0]) for name in lost["cut"]}
    whole = read.reading.identified()[-1]
    row = {"uncut, with the class token": whole.mean(),
           "uncut, image tokens": read.patches(whole).mean(),
           "self only, as written": by[cuts.SELF_WRITTEN], "self only, corrected": by[cuts.SELF],
           "no class token, as published": by.get(cuts.NO_CLS_PUBLISHED, np.nan),
           "no class token, corrected": by.get(cuts.NO_CLS, np.nan)}
    if read.object is None:
        return row
    own = read.object
    return {**row, "object minus context, as published":
            float(difference(value, read.corner, "published")[0]),
            "object minus context, corrected":
            float(np.nanmean(by_image(value, own) - by_image(value, ~own))),
            "tokens of another kind": float((own != read.corner).mean())}
