"""Whether tokens lose evidence for the class without the path (J4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from neuronpath_core.chapters.path_meaning.measured import (
    FOUND,
    LABELS,
    LIKE,
    METHODS_USED,
    Case,
    gap_row,
    numbers,
    thirds,
)
from neuronpath_core.edits import edit
from neuronpath_core.neurons.matched import drawn
from neuronpath_core.readings.projection import of_ranks, project_vectors, ranks
from neuronpath_core.readings.streams import read_streams

if TYPE_CHECKING:
    from jaxtyping import Float, Int64
    from torch import Tensor

DRAWS = 2


@torch.no_grad()
def known(case: Case, neurons: Int64[np.ndarray, "image layer"] | None = None
          ) -> Float[np.ndarray, "image layer"]:
    """How high the scope's tokens rank the label after every block, from 0 (last) to 1 (first),
    mean over them; as the model is, or with one neuron a block removed at the scope."""
    if neurons is None:
        streams = read_streams(case.target, case.pixels).blocks
    else:
        own = torch.from_numpy(neurons).to(case.target.device)
        with edit(case.target, own, "remove"):
            streams = _after_blocks(case)
    labels = torch.from_numpy(case.labels).to(case.target.device)[:, None]
    tokens = case.target.tokens
    found = [of_ranks(ranks(project_vectors(case.target, stream[:, tokens]), labels),
                      case.target.n_classes, "full").mean(1) for stream in streams]
    return numbers(torch.stack(found, 1))


def _after_blocks(case: Case) -> list[Tensor]:
    """The stream after every block, without a second pass that asks whether the model is its
    blocks: the reading of the model as it is has asked."""
    stream, found = case.target.embed(case.pixels), []
    for block in range(case.target.n_blocks):
        stream = case.target.layer(block, stream)
        found.append(stream)
    return found


def losses(case: Case, seed: int = 0,
           draws: int = DRAWS) -> dict[str, dict[str, Float[np.ndarray, "image layer"]]]:
    """By method, what tokens lose without its path (``"path"``) and, of the methods that are asked
    about, without a path of matched neurons (``LIKE``, mean over ``draws``)."""
    clean = known(case)
    found: dict = {}
    for method in [name for name in METHODS_USED if name in case.paths]:
        found[method] = {"path": clean - known(case, case.paths[method])}
        if method in FOUND:
            matches = case.matches(method)
            found[method][LIKE] = np.mean([clean - known(case, drawn(matches, seed + number))
                                           for number in range(draws)], axis=0)
    return found


def evidence_rows(lost: dict[str, dict[str, Float[np.ndarray, "image layer"]]],
                  seed: int = 0) -> pd.DataFrame:
    """What tokens lose without a path beyond what they lose without another: ``method, against,
    blocks, value, low, high, path, other, images``, over all blocks and over each third."""
    rows = []
    for method in [name for name in FOUND if name in lost]:
        own = lost[method]["path"]
        others = {LIKE: lost[method][LIKE]} | {
            f"the path of {LABELS[name]}": lost[name]["path"] for name in lost if name not in FOUND}
        parts = {"all": slice(None)} | thirds(own.shape[1])
        rows += [{"method": method, "against": against, "blocks": name,
                  **gap_row(own[:, part], other[:, part], seed)}
                 for against, other in others.items() for name, part in parts.items()]
    return pd.DataFrame(rows)
