"""What neurons of a vision-language model did, kept as the path tables are: in parts with
checksums, found again only for the very model, scenes, settings and code.

A row of such a table is a neuron: ``image`` its number, ``label`` its layer, ``score`` its largest
value, ``steps`` how many of its samples are top samples.  ``neurons`` holds, as whole numbers of 32
bits, the numbers of its samples and then the bit patterns of its mean and of the share of tokens at
which it is active (float64, two numbers each) and of its values (float32), sample after sample.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from neuronpath_core.study.identity import weights_sha256
from neuronpath_core.study.store import tables as store
from neuronpath_core.study.store.folder import manifest_key
from neuronpath_core.support.files import path_component
from neuronpath_core.support.sources import PACKAGE, closure, fingerprint
from neuronpath_core.vlm.adapter import VisionLanguageModel
from neuronpath_core.vlm.records import Records

# where what decides the numbers begins: all that these import, too
NUMERIC_MODULES = ("neuronpath_core.vlm.records", "neuronpath_core.vlm.batches",
                   "neuronpath_core.vlm.model", "neuronpath_core.vlm.modality_nulls")
PACKAGES = ("torch", "transformers")
EXTRA = 4  # numbers of a row between samples and values
Masks = tuple[np.ndarray, np.ndarray]  # bool (sample, token): image tokens, text tokens


@cache
def own_code() -> str:
    """SHA-256 over the code that decides the numbers, without comments and docstrings."""
    return fingerprint(closure(NUMERIC_MODULES, PACKAGE), PACKAGE)


def records_table(records: Records) -> pd.DataFrame:
    """The rows of all neurons."""
    shares = np.stack([records.mean, records.active], 1).astype(np.float64)
    numbers = np.concatenate([
        records.samples.astype(np.int32), np.ascontiguousarray(shares).view(np.int32),
        np.ascontiguousarray(records.values.astype(np.float32)).view(np.int32).reshape(
            len(records.values), -1)], 1)
    count = len(numbers)
    return pd.DataFrame({"image": np.arange(count), "label": records.layers,
                         "score": records.maxima.astype(float),
                         "steps": np.full(count, records.top), "neurons": list(numbers)})


def records_of(table: pd.DataFrame, slots: int, masks: Masks) -> Records:
    """The records that a table of :func:`records_table` holds.

    Args:
        table: of all neurons.
        slots: samples of each.
        masks: which tokens of each sample are of the image, and which count as text.
    """
    numbers = np.stack(table["neurons"].to_numpy()).astype(np.int32)
    shares = np.ascontiguousarray(numbers[:, slots:slots + EXTRA]).view(np.float64)
    values = np.ascontiguousarray(numbers[:, slots + EXTRA:]).view(np.float32)
    return Records(values.reshape(len(numbers), slots, -1),
                   numbers[:, :slots].astype(np.int64), int(table["steps"].iloc[0]), *masks,
                   table["score"].to_numpy(np.float32), shares[:, 0].copy(), shares[:, 1].copy(),
                   table["label"].to_numpy(np.int64))


def stored_records(folder: Path, name: str, model: VisionLanguageModel, asked: Mapping,
                   collect: Callable[[], Records], masks: Masks, slots: int) -> Records:
    """Records of all neurons of a decoder: from the store if they were collected before of exactly
    this, else collected, a layer to a part.

    Args:
        folder: of a profile's results.
        name: what the model is called.
        model: whose neurons they are.
        asked: scenes and settings; JSON values.
        collect: collects them, all at once.
        masks, slots: of :func:`records_of`.

    Raises:
        ValueError: see :func:`~neuronpath_core.study.store.tables.read_or_compute`.
    """
    widths = [half.width for half in model.halves["decoder"]]
    manifest = {"model": name, "weights": weights_sha256(model), **asked,
                "device": model.device.type, "code": own_code(),
                **{package: version(package) for package in PACKAGES}}
    path_component(name, "a model")

    def compute(pending: list[range]) -> Iterator[tuple[range, pd.DataFrame]]:
        table = records_table(collect())
        for rows in pending:
            yield rows, table.iloc[rows.start:rows.stop].reset_index(drop=True)

    table = store.read_or_compute(folder / "records" / f"{name}_{manifest_key(manifest)}", manifest,
                                  sum(widths), compute, max(widths),
                                  {"python": platform.python_version(),
                                   "numpy": version("numpy")})
    return records_of(table, slots, masks)
