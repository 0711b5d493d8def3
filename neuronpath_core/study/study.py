"""From a profile to models, images and paths: what every notebook starts with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.fast.drafts import DRAFT, drafted_model
from neuronpath_core.images.classes import check_classes
from neuronpath_core.images.data_sets import load_part
from neuronpath_core.images.file_images import FileImages
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.interventions import class_probabilities, edited_probabilities
from neuronpath_core.models import build
from neuronpath_core.models.preprocessing import model_preprocessing
from neuronpath_core.paths import Paths
from neuronpath_core.settings import OF_THE_SETTINGS, SearchSettings
from neuronpath_core.study.engines.choice import chosen_engine
from neuronpath_core.study.path_tables import IMAGES_PER_PART, paths_by_top
from neuronpath_core.study.profiles import (
    DEFAULT_PROFILE,
    load_profile,
    model_entries,
    project_root,
    results_folder,
)
from neuronpath_core.study.targets import as_target
from neuronpath_core.support.memory import parse_memory
from neuronpath_core.target import TargetModel

IMAGES_AT_ONCE = 512  # decoded and held in memory for edited forward passes


@dataclass(frozen=True)
class Study:
    """A profile, opened on a device and in a precision.

    Args:
        profile: name of a file in ``profiles/``.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, …
        dtype: ``"float64"``, ``"float32"`` or ``"bfloat16"``.
        results: folder for path tables, else ``NEURONPATH_RESULTS``, else ``results/<profile>``.
        progress: show a progress bar while paths are searched.
        memory_budget: of :func:`~neuronpath_core.paths.find_paths`.
        engine: ``"local"`` or ``"ray"``, see :mod:`~neuronpath_core.study.engines.run`; by default
            what ``NEURONPATH_ENGINE`` names, else local.
        draft: of :func:`~neuronpath_core.paths.find_paths` with default settings: in single
            precision first, twice as fast, which leaves paths of double precision the same.
        workers: of Ray; by default ``NEURONPATH_WORKERS``, else as many as there is room for.

    Raises:
        ValueError: unknown profile, device, dtype or engine, or no amount of memory.
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
        self.searchers()

    def searchers(self) -> tuple[str, dict]:
        """Who searches, and with what; see
        :func:`~neuronpath_core.study.engines.choice.chosen_engine`."""
        return chosen_engine(self.engine, self.workers, self.device)

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
        """The images that no model was trained on, loaded without the training images."""
        return self._part("held_out")

    def _part(self, part: str) -> ImageSet:
        return load_part(self.settings["dataset"], part, base=self.root,
                         index_folder=self.results_folder / "data")

    @property
    def model_names(self) -> list[str]:
        """The profile's models, without their variants."""
        return list(self.settings["models"])

    @property
    def stand_for(self) -> dict[str, str]:
        """Model -> the model of the paper that it stands for: itself, unless its entry names
        another."""
        return {name: entry.get("stands_for", name) for name, entry in self.entries.items()}

    @cached_property
    def entries(self) -> dict[str, dict]:
        """Every model and variant with what it is built from."""
        return model_entries(self.settings)

    def variants(self, model: str) -> list[str]:
        """Names of a model's replicas (other seeds) and checkpoints (earlier epochs), as of models.

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
        """The names, at least one, of models or variants; else ``ValueError``."""
        unknown = [name for name in names if name not in self.entries]
        if unknown or not names:
            raise ValueError(f"unknown models {unknown}; accepted: one or "
                             f"more of {', '.join(self.entries)}")
        return list(names)

    def images(self, count: int, seed: int = 0, of_each: int = 0) -> ImageSet:
        """``count`` held-out images, spread evenly over the classes, at least ``of_each`` of each;
        of files those that can be read, or an error, as the profile chooses.

        Errors are those of :meth:`~neuronpath_core.images.image_set.ImageSet.balanced` and
        :meth:`~neuronpath_core.images.file_images.FileImages.checked`.
        """
        return self.held_out.balanced(count, seed, of_each).checked(self.progress)

    def preprocessing(self, model: str) -> dict:
        """What turns an image file into what this model sees: timm's data configuration of it, with
        the data set's own entries over it."""
        own = self.entries[model].get("data_config") or {}
        return model_preprocessing(self.target(model).model,
                                   {**own, **(self.settings["dataset"].get("preprocessing") or {})})

    def loaded(self, images: ImageSet, model: str) -> ImageSet:
        """The images in memory, as the model sees them."""
        files = isinstance(images, FileImages)  # others are in memory already
        return images.loaded(self.preprocessing(model)) if files else images

    def batch(self, images: ImageSet, model: str) -> tuple[Tensor, Tensor]:
        """Images, as the model sees them, and labels on the study's device, in its precision; all
        of them at once, see :meth:`batches`."""
        device, dtype = build.parse_device(self.device), build.parse_dtype(self.dtype)
        pixels = self.loaded(images, model).images
        return pixels.to(device=device, dtype=dtype), images.labels.to(device)

    def batches(self, images: ImageSet, model: str,
                size: int = IMAGES_PER_PART) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Yield ``(place, images, labels)`` for ``size`` images at a time, as :meth:`batch` gives
        them; image files are read one batch ahead."""
        places = [slice(start, min(start + size, len(images)))
                  for start in range(0, len(images), size)]
        if isinstance(images, FileImages):
            self.target(model)  # loaded here, not by two threads at once
        with ThreadPoolExecutor(1) as reader:
            ahead = [reader.submit(self._read, images, place, model) for place in places[:1]]
            for number, place in enumerate(places):
                ahead += [reader.submit(self._read, images, following, model)
                          for following in places[number + 1:number + 2]]
                yield place, *self.batch(ahead.pop(0).result(), model)

    def _read(self, images: ImageSet, place: slice, model: str) -> ImageSet:
        return self.loaded(images.select(torch.arange(place.start, place.stop)), model)

    def paths(self, model: str, images: ImageSet, method: str = OF_THE_SETTINGS,
              settings: str | SearchSettings = "default", **overrides) -> Paths:
        """Paths of these images, from the store if they were found before with exactly these
        settings, else searched; on the CPU.

        Settings and errors are those of :func:`~neuronpath_core.paths.find_paths`. The default ones
        search with the study's own ``draft``.
        """
        top = SearchSettings.of(settings, **overrides).top
        return self.paths_by_top(model, images, [top], method, settings, **overrides)[0]

    def paths_by_top(self, model: str, images: ImageSet, tops: Sequence[int | None],
                     method: str = OF_THE_SETTINGS, settings: str | SearchSettings = "default",
                     **overrides) -> list[Paths]:
        """:meth:`paths` for several numbers of neurons per block, in order: each a table of its own
        in the store, those that are not there searched together
        (:func:`~neuronpath_core.paths.find_paths_by_top`)."""
        target = self.target(model)
        if isinstance(images, FileImages):
            check_classes(images, target.n_classes, model, target.model)
        own: dict = {"draft": self.draft} if settings == "default" else {}
        named = {} if method is OF_THE_SETTINGS else {"method": method}
        every = SearchSettings.of(settings, **own | overrides | named)
        return paths_by_top(self, model, images,
                            [every.but(top=top).complete(target).as_dict() for top in tops])

    def probabilities(self, model: str, images: ImageSet, paths: Paths | None = None,
                      operation: str | float = "remove") -> np.ndarray:
        """Softmax probabilities ``(image, class)``: clean, or with each image's own path edited."""
        target, found = self.target(model), []
        if paths is not None and len(paths) != len(images):
            raise ValueError(f"{len(paths)} paths of {len(images)} images; accepted: one an image")
        for place, pictures, _ in self.batches(images, model, IMAGES_AT_ONCE):
            neurons = None if paths is None else paths.neurons[place].to(pictures.device)
            found.append(class_probabilities(target, pictures) if neurons is None else
                         edited_probabilities(target, pictures, neurons, operation))
        return torch.cat(found).cpu().double().numpy()
