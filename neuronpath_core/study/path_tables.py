"""A study's paths: read from the store, or searched and kept there part by part."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from neuronpath_core.images.file_images import FileImages
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.models import build
from neuronpath_core.paths import Paths, find_paths_by_top
from neuronpath_core.study.engines import run as engines
from neuronpath_core.study.identity import (
    PACKAGES,
    PICTURE_PACKAGES,
    own_code,
    weights_sha256,
)
from neuronpath_core.study.store import tables as store
from neuronpath_core.study.store.folder import is_finished, manifest_key
from neuronpath_core.support.files import path_component
from neuronpath_core.support.text import plain

if TYPE_CHECKING:
    from neuronpath_core.study.study import Study

IMAGES_PER_PART = 80
Tables = Mapping[int | None, tuple[Path, dict]]  # by number of neurons: folder and manifest


@dataclass(frozen=True)
class SearchWorker:
    """What another process needs to search parts of a path table; called there, it gives the
    function that does."""

    study: Study
    model: str
    images: ImageSet
    manifest: dict
    tops: Sequence[int | None]

    def __call__(self) -> Callable[[range], pd.DataFrame]:
        """Raise ``ValueError`` if the process has other weights than the table is for."""
        if weights_sha256(self.study.target(self.model)) != self.manifest["weights"]:
            raise ValueError(f"this machine has other weights of {self.model} than the one that "
                             f"asks for the paths; accepted: the same files on both")
        return self.search

    def search(self, rows: range) -> pd.DataFrame:
        """The paths of these images: one table for each of ``tops``, stacked in that order; of
        images that are files with their names, so that a row can be traced without them."""
        images = self.images.select(torch.arange(rows.start, rows.stop))
        files = {"file": images.files()} if isinstance(images, FileImages) else {}
        settings = {name: value for name, value in self.manifest["arguments"].items()
                    if name != "top"}
        found = find_paths_by_top(self.study.target(self.model),
                                  *self.study.batch(images, self.model), self.tops,
                                  memory_budget=self.study.memory_budget, **settings)
        return pd.concat([pd.DataFrame({
            "image": images.ids.numpy(), "label": images.labels.numpy(),
            "score": paths.score.cpu().double().numpy(),
            "steps": paths.steps.cpu().numpy(),
            "neurons": list(paths.neurons.flatten(1).cpu().numpy()), **files,
        }) for paths in found], ignore_index=True)


def paths_by_top(study: Study, model: str, images: ImageSet,
                 every: Sequence[dict]) -> list[Paths]:
    """Paths under each of several complete settings, which differ in ``top`` alone: each a table of
    its own in the store, those that are not there searched together."""
    tables = {}
    for arguments in every:
        manifest = table_manifest(study, model, images, arguments)
        name = f"{model}_{arguments['method']}_{manifest_key(manifest)}"
        path_component(model, "a model")
        tables[arguments["top"]] = study.results_folder / "paths" / name, manifest
    missing = {top: table for top, table in tables.items() if not is_finished(*table, len(images))}
    found = {}
    for top, (folder, manifest) in tables.items():
        missing.pop(top, None)

        def search(pending: list[range], manifest: dict = manifest) -> Iterator[
                tuple[range, pd.DataFrame]]:
            return _searched(study, model, images, manifest, pending, missing)

        table = store.read_or_compute(folder, manifest, len(images), search, IMAGES_PER_PART,
                                      _facts(study))
        found[top] = _as_paths(table, top, study.target(model).n_blocks)
    return [found[arguments["top"]] for arguments in every]


def _as_paths(table: pd.DataFrame, top: int | None, blocks: int) -> Paths:
    neurons = torch.from_numpy(np.stack(table["neurons"].to_numpy())).reshape(len(table), blocks,
                                                                              -1)
    return Paths(neurons if top is not None else neurons[..., 0],
                 torch.from_numpy(table["score"].to_numpy(copy=True)),
                 torch.from_numpy(table["steps"].to_numpy(copy=True)))


def table_manifest(study: Study, model: str, images: ImageSet, arguments: dict) -> dict:
    """What a path table depends on."""
    target, files = study.target(model), isinstance(images, FileImages)
    return {
        "profile": study.profile, "model": model, "built_from": study.entries[model],
        "weights": weights_sha256(target), "scope": target.scope,
        "images": images.sha256(), "preprocessing": study.preprocessing(model) if files else None,
        "arguments": arguments, "dtype": study.dtype,
        "device": build.parse_device(study.device).type,
        "code": own_code(),
        **{package: version(package)
           for package in (*PACKAGES, *(PICTURE_PACKAGES if files else ()))},
    }


def _searched(study: Study, model: str, images: ImageSet, manifest: dict, pending: list[range],
              others: Tables) -> Iterator[tuple[range, pd.DataFrame]]:
    """Yield the parts of one table.

    The tables for other numbers of neurons cost less when searched along with it; their parts are
    stored as they come.
    """
    arguments, done = manifest["arguments"], len(images) - sum(map(len, pending))
    engine, options = study.searchers()
    worker = SearchWorker(study, model, images, manifest, [arguments["top"], *others])
    if engine != "local":  # what this process has loaded does not travel
        worker = replace(worker, study=replace(study, progress=False, engine="local", workers=None,
                                               device=manifest["device"]))
    make_worker = (lambda: worker.search) if engine == "local" else worker
    with tqdm(total=len(images), initial=done, unit="image", disable=not study.progress,
              desc=f"{plain(model)} {arguments['method']}") as bar:
        for rows, found in engines.run(engine, make_worker, pending, **options):
            own, *more = (found.iloc[start:start + len(rows)].reset_index(drop=True)
                          for start in range(0, len(found), len(rows)))
            for table, part in zip(others.values(), more, strict=True):
                store.keep_part(*table, len(images), rows, part, IMAGES_PER_PART, _facts(study))
            bar.update(len(rows))
            yield rows, own


def _facts(study: Study) -> dict:
    """What a path table does not depend on, for its record."""
    device = build.parse_device(study.device)
    name = torch.cuda.get_device_name(
        device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {"device": name, "python": platform.python_version(), "engine": study.searchers()[0],
            **{package: version(package)
               for package in ("numpy", "pandas", "pyarrow", "torch", "timm")}}
