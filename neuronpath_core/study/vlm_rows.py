"""Rows of measurements of a vision-language model, kept as the path tables are: in parts with
checksums, found again only for the very model, question and code."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from neuronpath_core.study.identity import weights_sha256
from neuronpath_core.study.store import tables as store
from neuronpath_core.study.store.folder import manifest_key
from neuronpath_core.support.files import path_component
from neuronpath_core.support.sources import PACKAGE, closure, fingerprint
from neuronpath_core.vlm.adapter import VisionLanguageModel

PACKAGES = ("torch", "transformers")
# number, score, steps and whole numbers of a row; see stored_rows
Row = tuple[int, float, int, Sequence[int]]


@cache
def own_code(modules: tuple[str, ...]) -> str:
    """SHA-256 over these modules and all that they import, without comments and docstrings."""
    return fingerprint(closure(modules, PACKAGE), PACKAGE)


def stored_rows(folder: Path, kind: str, name: str, model: VisionLanguageModel, asked: Mapping,
                count: int, compute: Callable[[range], Sequence[Row]], part: int,
                modules: tuple[str, ...]) -> pd.DataFrame:
    """A table of so many rows, from the store if it was computed before of exactly this, else
    computed, in parts that a stop leaves behind.

    Args:
        folder: of a profile's results.
        kind: folder of such tables.
        name: what the model is called.
        model: that is measured.
        asked: what the rows depend on besides; JSON values.
        count: rows.
        compute: gives the rows of a range, each a number, a score, steps and whole numbers, equally
            many in every row.
        part: rows of a part.
        modules: whose code, with all that it imports, the numbers depend on.

    Returns:
        ``image`` (the row), ``label``, ``score``, ``steps``, ``neurons``.

    Raises:
        ValueError: see :func:`~neuronpath_core.study.store.tables.read_or_compute`.
    """
    manifest = {"kind": kind, "model": name, "weights": weights_sha256(model), **asked,
                "dtype": str(next(model.model.parameters()).dtype),
                "device": model.device.type, "code": own_code(modules),
                **{package: version(package) for package in PACKAGES}}
    path_component(name, "a model")

    def tables(pending: list[range]) -> Iterator[tuple[range, pd.DataFrame]]:
        for rows in pending:
            labels, scores, steps, numbers = zip(*compute(rows), strict=True)
            yield rows, pd.DataFrame({"image": list(rows), "label": labels, "score": scores,
                                      "steps": steps, "neurons": list(numbers)})

    return store.read_or_compute(folder / kind / f"{name}_{manifest_key(manifest)}", manifest,
                                 count, tables, part, {"python": platform.python_version()})
