"""Linear probes of every token and layer beside the projection to class space, on images that
neither the model nor the probes were trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.readings.probes import fit_probes
from neuronpath_core.readings.projection import of_ranks, project_vectors, ranks
from neuronpath_core.readings.streams import PLACES, over_images
from neuronpath_core.stats.intervals import interval_row

if TYPE_CHECKING:
    from jaxtyping import Float

    from neuronpath_core.target import TargetModel

SHOTS = 10  # images a class that a probe is trained on, as published
READERS = {"projection": "projection", "probes": "linear probe",
           "dealt": "linear probe of dealt labels"}
PLACE_WORDS = {"block": "stream", "attention": "attention output", "ffn": "FFN output"}
# of vectors held at once: blocks are read in as many groups as that takes, with a pass for each
BYTES_AT_ONCE = 1_500_000_000


def probed(target: TargetModel, trained: tuple[Tensor, Tensor], tested: tuple[Tensor, Tensor],
           seed: int = 0) -> tuple[dict[str, Float[np.ndarray, "place block image"]],
                                   dict[str, Float[Tensor, "image patch"]]]:
    """Read the patch tokens of some images by each of ``READERS``, at every place of every block.

    Args:
        target: the model.
        trained: pictures and labels that the probes are fitted on.
        tested: those that are read.
        seed: of the deal of the training images' labels, which makes the control task.

    Returns:
        the share of each image's patch tokens whose class is right, by reader, places in the order
        of ``PLACES``; and by reader the label's identifiability in each patch token of the stream,
        summed over blocks: an order for :mod:`~neuronpath_core.readings.removal`.
    """
    labels, classes = tested[1], target.n_classes
    deal = torch.randperm(len(trained[1]), generator=torch.Generator().manual_seed(seed))
    taught = {"probes": trained[1], "dealt": trained[1][deal.to(trained[1].device)]}
    shares: dict[str, list[list[np.ndarray]]] = {name: [] for name in READERS}
    summed: dict[str, Tensor] = {}
    for known, new in zip(_vectors(target, trained[0]), _vectors(target, tested[0]), strict=True):
        for name in READERS:
            rows = []
            for place, train, test in zip(PLACES, known, new, strict=True):
                scores = (project_vectors(target, test) if name == "projection" else
                          fit_probes(train.transpose(0, 1), taught[name], classes).scores(
                              test.transpose(0, 1)).transpose(0, 1))
                right = scores.argmax(-1) == labels[:, None]
                rows.append(right.double().mean(1).cpu().numpy())
                if place == "block":
                    seen = of_ranks(ranks(scores, labels[:, None]), classes)
                    summed[name] = seen if name not in summed else summed[name] + seen
            shares[name].append(rows)
    return {name: np.array(rows).swapaxes(0, 1) for name, rows in shares.items()}, summed


def _vectors(target: TargetModel, pictures: Float[Tensor, "image channel height width"]
             ) -> Iterator[Float[Tensor, "place image patch width"]]:
    """The patch tokens' vectors at each place, block by block."""
    target.check_images(pictures)
    first, blocks = target.family.prefix_tokens(target.model), len(target.model.blocks)
    numbers = len(PLACES) * len(pictures) * target.n_tokens * target.model.embed_dim
    at_once = max(1, int(BYTES_AT_ONCE // (numbers * target.dtype.itemsize)))
    for start in range(0, blocks, at_once):
        group = slice(start, start + at_once)

        def kept(streams, rows, group=group) -> Tensor:
            return torch.stack([streams.at(place)[group, :, first:] for place in PLACES], 1)
        yield from torch.cat(over_images(target, pictures, kept), 2)


def share_rows(shares: dict[str, Float[np.ndarray, "place block image"]],
               seed: int = 0) -> pd.DataFrame:
    """Mean shares of right patch tokens with 95 % bootstrap intervals over images: ``reader, place,
    block`` (from 1), ``value, low, high``."""
    return pd.DataFrame([
        {"reader": name, "place": place, "block": block + 1, **interval_row(own, seed=seed)}
        for name, values in shares.items() for place, of_place in zip(PLACES, values, strict=True)
        for block, own in enumerate(of_place)])


def last_leads(shares: dict[str, Float[np.ndarray, "place block image"]],
               seed: int = 0) -> pd.DataFrame:
    """In the last block, by how much the share of right patch tokens is larger with the projection
    than with the probes, and with the probes than with those of dealt labels: ``place, first,
    against, value, low, high``, paired over images."""
    return pd.DataFrame([
        {"place": place, "first": first, "against": against,
         **interval_row(shares[first][row, -1] - shares[against][row, -1], seed=seed)}
        for first, against in (("projection", "probes"), ("probes", "dealt"))
        for row, place in enumerate(PLACES)])
