"""From a profile to models, images and paths: what every notebook starts with."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from neuronpath_core.images.data_sets import FileImages, ImageSet, check_classes, load_part
from neuronpath_core.interventions import class_probabilities, edited_probabilities
from neuronpath_core.models import build
from neuronpath_core.models.preprocessing import model_preprocessing
from neuronpath_core.neurons import TargetModel
from neuronpath_core.paths import DRAFT, Paths, complete_settings, drafted_model, find_paths_by_top
from neuronpath_core.study.engines import run as engines
from neuronpath_core.study.profiles import (
    DEFAULT_PROFILE,
    ENGINE_VARIABLE,
    WORKERS_VARIABLE,
    load_profile,
    model_entries,
    project_root,
    results_folder,
)
from neuronpath_core.study.store import tables as store
from neuronpath_core.support.memory import parse_memory
from neuronpath_core.support.sources import PACKAGE, closure, fingerprint
from neuronpath_core.variants.sites import SiteModel

# where what decides the numbers of a path table begins: all that these import, too; a change in any
# of it makes stored tables unusable
NUMERIC_MODULES = ("neuronpath_core.paths", "neuronpath_core.variants.sites",
                   "neuronpath_core.models.zero_shot", "neuronpath_core.images.file_images")
# the second decide what an image file becomes
PACKAGES, PICTURE_PACKAGES = ("torch", "timm"), ("pillow", "torchvision")
IMAGES_PER_PART = 80
IMAGES_AT_ONCE = 512  # decoded and held in memory for edited forward passes


def code_fingerprint(package: Path = PACKAGE) -> str:
    """SHA-256 over the sources of the library in this folder that decide the numbers, without
    comments and docstrings."""
    return fingerprint(closure(NUMERIC_MODULES, package), package)


def weights_sha256(target: TargetModel) -> str:
    """SHA-256 over the names and values of a model's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(target.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.detach().to("cpu",
                                                             torch.float64).numpy()).tobytes())
    return digest.hexdigest()


def as_target(model: nn.Module, spec: Mapping) -> TargetModel:
    """A model seen as its profile entry says: ``scope`` and, where neurons are not those of the
    FFN, ``sites`` of :class:`~neuronpath_core.variants.sites.SiteModel`."""
    scope = spec.get("scope", "auto")
    return SiteModel(model, scope, spec["sites"]) if "sites" in spec else TargetModel(model, scope)


def outline(spec: Mapping) -> TargetModel:
    """A model entry without its weights, on no device: what it is made of, in no time and no
    memory."""
    with torch.device("meta"):
        return as_target(build.build_model(spec), spec)


def chosen_engine(engine: str | None = None, workers: int | None = None,
                  device: str = "cpu") -> tuple[str, dict]:
    """Who searches and with what, for :func:`~neuronpath_core.study.engines.run.run`: what is
    given, else what the environment names.

    Raises:
        ValueError: an engine that cannot be used like that; see
            :func:`~neuronpath_core.study.engines.run.check`.
    """
    engine = engine or os.environ.get(ENGINE_VARIABLE) or "local"
    said = os.environ.get(WORKERS_VARIABLE)
    if engine == "local":  # the variable is that of workers, some of whom it reaches
        options = {"workers": workers}
    elif workers is None and said and not (said.isdecimal() and int(said)):
        raise ValueError(f"{WORKERS_VARIABLE} cannot be {said!r}; accepted: a whole number of at "
                         f"least 1")
    else:
        options = {"workers": int(said) if workers is None and said else workers,
                   "gpus_per_worker": int(device.startswith("cuda"))}
    engines.check(engine, **options)
    return engine, options


@dataclass(frozen=True)
class SearchWorker:
    """What another process needs to search parts of a path table; called there, it gives the
    function that does."""

    study: dict
    model: str
    images: ImageSet
    manifest: dict
    tops: list[int | None]

    def __call__(self) -> Callable[[range], pd.DataFrame]:
        """Raise ``ValueError`` if the process has other weights than the table is for."""
        study = Study(**self.study)
        if weights_sha256(study.target(self.model)) != self.manifest["weights"]:
            raise ValueError(f"this machine has other weights of {self.model} than the one that "
                             f"asks for the paths; accepted: the same files on both")
        return lambda rows: study.found_paths(self.model,
                                              self.images.select(
            torch.arange(rows.start, rows.stop)), self.manifest["arguments"], self.tops)


@dataclass(frozen=True)
class Study:
    """A profile, opened on a device and in a precision.

    Args:
        profile: name of a file in ``profiles/``.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, …
        dtype: ``"float64"``, ``"float32"`` or ``"bfloat16"``.
        results: folder for path tables; by default ``results/<profile>`` or what
            ``NEURONPATH_RESULTS`` names.
        progress: show a progress bar while paths are searched.
        memory_budget: of :func:`~neuronpath_core.paths.find_paths`.
        engine: ``"local"`` or ``"ray"``, see :mod:`~neuronpath_core.study.engines.run`; by default
            what ``NEURONPATH_ENGINE`` names, else local.
        draft: of :func:`~neuronpath_core.paths.find_paths`, where a search does not say: in single
            precision first, which in double precision makes the paths twice as fast and leaves them
            the same.
        workers: of Ray; by default what ``NEURONPATH_WORKERS`` says, else as many as there is room
            for.

    Raises:
        ValueError: unknown profile, device, dtype or engine, or a budget that is no amount of
            memory.
    """

    profile: str = DEFAULT_PROFILE
    device: str = "cpu"
    dtype: str = "float64"
    results: str | Path | None = None
    progress: bool = False
    memory_budget: int | str | None = None
    engine: str | None = None
    workers: int | None = None
    draft: str | None = DRAFT
    root: Path = field(default_factory=project_root)

    def __post_init__(self) -> None:
        load_profile(self.profile, self.root)
        build.parse_device(self.device)
        build.parse_dtype(self.dtype)
        if self.memory_budget is not None:
            parse_memory(self.memory_budget)
        self._engine()

    @cached_property
    def settings(self) -> dict:
        """The profile's entries."""
        return load_profile(self.profile, self.root)

    @cached_property
    def results_folder(self) -> Path:
        """Where path tables are kept."""
        return results_folder(self.root, self.profile, self.results)

    @cached_property
    def train(self) -> ImageSet:
        """The images that the models were trained on; no experiment uses them."""
        return self._part("train")

    @cached_property
    def held_out(self) -> ImageSet:
        """The images that no model was trained on; the training images are not loaded for it."""
        return self._part("held_out")

    def _part(self, part: str) -> ImageSet:
        return load_part(self.settings["dataset"], part, base=self.root,
                         index_folder=self.results_folder / "data")

    @property
    def data(self) -> tuple[ImageSet, ImageSet]:
        """``(train, held_out)``."""
        return self.train, self.held_out

    @property
    def model_names(self) -> list[str]:
        """The profile's models, in its order, without their variants."""
        return list(self.settings["models"])

    @cached_property
    def entries(self) -> dict[str, dict]:
        """Every model and variant with what it is built from; see
        :func:`~neuronpath_core.study.profiles.model_entries`."""
        return model_entries(self.settings)

    def variants(self, model: str) -> list[str]:
        """Names of a model's replicas (other seeds of training) and checkpoints (earlier epochs of
        the same training); they serve as model names.

        Raises:
            ValueError: the profile has no such model.
        """
        if model not in self.settings["models"]:
            raise ValueError(f"unknown model {model!r}; accepted: {', '.join(self.model_names)}")
        return [name for name in self.entries
                if name.startswith((f"{model} seed ", f"{model} epoch "))]

    @cached_property
    def _targets(self) -> dict[str, TargetModel]:
        return {}

    def target(self, model: str) -> TargetModel:
        """A model of the profile or a variant of one, loaded once.

        Raises:
            ValueError: the profile has no such model.
        """
        if model not in self.entries:
            raise ValueError(f"unknown model {model!r}; accepted: {', '.join(self.entries)}")
        if model not in self._targets:
            spec = self.entries[model]
            self._targets[model] = as_target(build.load_model(spec, self.root, self.device,
                                                              self.dtype), spec)
        return self._targets[model]

    def drafted(self, model: str) -> TargetModel | None:
        """A copy of :meth:`target` in the precision of the study's ``draft``, as it is now;
        ``None`` where none is to be made."""
        return drafted_model(self.target(model), self.draft)

    def check_models(self, names: list[str]) -> list[str]:
        """The names, if there is at least one and all are models of the profile or variants; else
        ``ValueError``."""
        if not names or any(name not in self.entries for name in names):
            raise ValueError(f"unknown models {names!r}; accepted: one or more of "
                             f"{', '.join(self.entries)}")
        return list(names)

    def images(self, count: int, seed: int = 0) -> ImageSet:
        """``count`` held-out images, spread evenly over the classes; of files those that can be
        read, or an error, as the profile chooses.

        Errors are those of :meth:`~neuronpath_core.images.image_set.ImageSet.balanced` and
        :meth:`~neuronpath_core.images.file_images.FileImages.checked`.
        """
        return self.held_out.balanced(count, seed).checked(self.progress)

    def preprocessing(self, model: str) -> dict:
        """What turns an image file into what this model sees: timm's data configuration of it, with
        the data set's own entries over it."""
        own = self.entries[model].get("data_config") or {}
        return model_preprocessing(self.target(model).model,
                                   {**own, **(self.settings["dataset"].get("preprocessing") or {})})

    def loaded(self, images: ImageSet, model: str) -> ImageSet:
        """The images in memory, as the model sees them; those of a data set in memory are so
        already."""
        return images.loaded(self.preprocessing(model)) if isinstance(images,
                                                                      FileImages) else images

    def batch(self, images: ImageSet, model: str) -> tuple[Tensor, Tensor]:
        """Images, as the model sees them, and labels on the study's device, in its precision; all
        of them at once, see :meth:`batches`."""
        device, dtype = build.parse_device(self.device), build.parse_dtype(self.dtype)
        return self.loaded(images, model).images.to(device=device,
                                                    dtype=dtype), images.labels.to(device)

    def batches(self, images: ImageSet, model: str,
                size: int = IMAGES_PER_PART) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """``(places, images, labels)`` of as many images at a time, as of :meth:`batch`; files are
        read ahead by one."""
        places = [slice(start, min(start + size, len(images)))
                  for start in range(0, len(images), size)]
        if isinstance(images, FileImages):
            self.target(model)  # loaded here, not by two threads at once
        with ThreadPoolExecutor(1) as reader:
            ahead = None
            for number, place in enumerate(places):
                now = ahead or reader.submit(self._read, images, place, model)
                ahead = reader.submit(self._read, images, places[number + 1],
                                      model) if number + 1 < len(places) else None
                yield place, *self.batch(now.result(), model)

    def _read(self, images: ImageSet, place: slice, model: str) -> ImageSet:
        return self.loaded(images.select(torch.arange(place.start, place.stop)), model)

    def paths(self, model: str, images: ImageSet, method: str = "neuron_path", **settings) -> Paths:
        """Paths of these images, from the store if they were found before with exactly these
        settings, else searched.

        Settings and errors are those of :func:`~neuronpath_core.paths.find_paths`; results are on
        the CPU.
        """
        return self.paths_by_top(model, images, [settings.pop("top", None)], method, **settings)[0]

    def paths_by_top(self, model: str, images: ImageSet, tops: Sequence[int | None],
                     method: str = "neuron_path", **settings) -> list[Paths]:
        """:meth:`paths` for several numbers of neurons per block, in order: each a table of its own
        in the store, those that are not there searched together
        (:func:`~neuronpath_core.paths.find_paths_by_top`)."""
        target = self.target(model)
        if isinstance(images, FileImages):
            check_classes(images, target.n_classes, model)
        every = [complete_settings(target, method=method, **{"draft": self.draft} | settings
                                   | {"top": top}) for top in tops]
        tables = {}
        for arguments in every:
            manifest = self._manifest(model, images, arguments)
            name = f"{model}_{method}_{store.manifest_key(manifest)}"
            tables[arguments["top"]] = self.results_folder / "paths" / name, manifest
        missing = {top: table for top, table in tables.items()
                   if not store.is_finished(*table, len(images))}
        found = {}
        for top, (folder, manifest) in tables.items():
            missing.pop(top, None)
            table = store.read_or_compute(folder, manifest, len(images), lambda pending,
                                          manifest=manifest: self._search(
model, images, manifest, pending, missing), IMAGES_PER_PART, self._facts())
            neurons = torch.from_numpy(np.stack(table["neurons"].to_numpy())).reshape(
                len(table), target.n_blocks, -1)
            found[top] = Paths(neurons if top is not None else neurons[..., 0],
                               torch.from_numpy(table["score"].to_numpy(copy=True)),
                               torch.from_numpy(table["steps"].to_numpy(copy=True)))
        return [found[top] for top in tops]

    def _manifest(self, model: str, images: ImageSet, arguments: dict) -> dict:
        """What a path table depends on."""
        target = self.target(model)
        return {
            "profile": self.profile, "model": model, "built_from": self.entries[model],
            "weights": weights_sha256(target), "scope": target.scope,
            "images": images.sha256(), "preprocessing": self.preprocessing(model)
            if isinstance(images, FileImages) else None,
            "arguments": arguments, "dtype": self.dtype,
            "device": build.parse_device(self.device).type,
            "code": code_fingerprint(),
            **{package: version(package)
               for package in (*PACKAGES, *(PICTURE_PACKAGES if isinstance(images, FileImages)
                                            else ()))},
        }

    def _search(self, model: str, images: ImageSet, manifest: dict, pending: list[range],
                others: Mapping[int | None, tuple[Path, dict]]) -> Iterator[
            tuple[range, pd.DataFrame]]:
        """Parts of one table; those of other numbers of neurons, which cost less on the way, go to
        the store as they come."""
        arguments, done = manifest["arguments"], len(images) - sum(map(len, pending))
        tops = [arguments["top"], *others]
        engine, options = self._engine()
        if engine == "local":
            def make_worker():
                return lambda rows: self.found_paths(model,
                                                     images.select(
                    torch.arange(rows.start, rows.stop)), arguments, tops)
        else:
            # of which it sees its own alone
            there = {"progress": False, "engine": "local", "workers": None,
                     "device": manifest["device"]}
            make_worker = SearchWorker({each.name: getattr(self, each.name)
                                        for each in fields(self)} | there, model, images, manifest,
                                       tops)
        with tqdm(total=len(images), initial=done, desc=f"{model} {arguments['method']}",
                  unit="image", disable=not self.progress) as bar:
            for rows, found in engines.run(engine, make_worker, pending, **options):
                own, *more = (found.iloc[start:start + len(rows)].reset_index(drop=True)
                              for start in range(0, len(found), len(rows)))
                for table, part in zip(others.values(), more, strict=True):
                    store.keep_part(*table, len(images), rows, part, IMAGES_PER_PART, self._facts())
                bar.update(len(rows))
                yield rows, own

    def _engine(self) -> tuple[str, dict]:
        """Who searches, and with what."""
        return chosen_engine(self.engine, self.workers, self.device)

    def _facts(self) -> dict:
        """What a path table does not depend on, for its record."""
        device = build.parse_device(self.device)
        name = torch.cuda.get_device_name(
            device) if device.type == "cuda" else platform.processor() or platform.machine()
        return {"device": name, "python": platform.python_version(), "engine": self._engine()[0],
                **{package: version(package) for package in ("numpy", "pandas", "pyarrow", "torch",
                                                             "timm")}}

    def found_paths(self, model: str, images: ImageSet, arguments: dict,
                    tops: Sequence[int | None]) -> pd.DataFrame:
        """The tables of these images' paths, one for each of ``tops`` below another, searched now.

        Args:
            arguments: complete settings of :func:`~neuronpath_core.paths.find_paths`.
        """
        settings = {name: value for name, value in arguments.items() if name != "top"}
        found = find_paths_by_top(self.target(model), *self.batch(images, model), tops,
                                  memory_budget=self.memory_budget, **settings)
        return pd.concat([pd.DataFrame({
            "image": images.ids.numpy(), "label": images.labels.numpy(),
            "score": paths.score.cpu().double().numpy(),
            "steps": paths.steps.cpu().numpy(),
            "neurons": list(paths.neurons.flatten(1).cpu().numpy()),
        }) for paths in found], ignore_index=True)

    def probabilities(self, model: str, images: ImageSet, paths: Paths | None = None,
                      operation: str | float = "remove") -> np.ndarray:
        """Softmax probabilities ``(image, class)``: clean, or with each image's own path edited."""
        target, found = self.target(model), []
        if paths is not None and len(paths) != len(images):
            raise ValueError(f"paths are of {len(paths)} images, the set has {len(images)}; "
                             f"accepted: one path an image")
        for place, pictures, _ in self.batches(images, model, IMAGES_AT_ONCE):
            if paths is None:
                found.append(class_probabilities(target, pictures))
            else:
                found.append(edited_probabilities(target, pictures,
                                                  paths.neurons[place].to(pictures.device),
                                                  operation))
        return torch.cat(found).cpu().double().numpy()
