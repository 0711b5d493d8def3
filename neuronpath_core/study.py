"""From a profile to models, images and paths: what every notebook starts with."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from torch import Tensor
from tqdm.auto import tqdm

from neuronpath_core import models, store
from neuronpath_core.datasets import ImageSet, load_part
from neuronpath_core.interventions import class_probabilities, edited_probabilities
from neuronpath_core.memory import parse_memory
from neuronpath_core.neurons import TargetModel
from neuronpath_core.paths import Paths, complete_settings, find_paths

# what decides the numbers of a path table; a change in any of these files makes stored tables unusable
NUMERIC_SOURCES = ("blocks.py", "neurons.py", "contexts.py", "memory.py", "attribution.py", "search.py", "ablation.py", "baselines.py", "paths.py")
DEFAULT_PROFILE = "digits"
RESULTS_VARIABLE = "NEURONPATH_RESULTS"
IMAGES_PER_PART = 40


def project_root() -> Path:
    """The folder that holds ``profiles/``: the nearest one above the working directory, else the one of this package."""
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[1]):
        if (folder / "profiles").is_dir() and (folder / "neuronpath_core").is_dir():
            return folder
    raise ValueError(f"no study found at or above {Path.cwd()}: a folder with profiles/ and neuronpath_core/ is needed")


def profile_names(root: Path) -> list[str]:
    """The profiles that can be run."""
    return sorted(path.stem for path in (root / "profiles").glob("*.yml"))


def load_profile(name: str, root: Path) -> dict:
    """A profile's entries: ``dataset``, ``models``, ``notebooks`` and, where there are any, ``replicas`` and ``checkpoints`` of its models.

    Raises:
        ValueError: no such profile, or one that lacks an entry.
    """
    if name not in profile_names(root):
        raise ValueError(f"unknown profile {name!r}; accepted: {', '.join(profile_names(root))}")
    try:
        profile = yaml.safe_load((root / "profiles" / f"{name}.yml").read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"profile {name!r} is not YAML: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(profile, dict):
        raise ValueError(f"profile {name!r} is empty or a list; accepted: a mapping with dataset, models, notebooks")
    if missing := {"dataset", "models", "notebooks"} - set(profile):
        raise ValueError(f"profile {name!r} lacks {', '.join(sorted(missing))}")
    if profile.get("replicas") or profile.get("checkpoints"):
        try:
            model_entries(profile)
        except ValueError as error:
            raise ValueError(f"profile {name!r}: {error}") from error
    return profile


def model_entries(profile: Mapping) -> dict[str, dict]:
    """Every model of a profile and every variant of one, with its architecture, weights and training.

    A replica differs in the seed of its training, a checkpoint is the same training stopped after an epoch.  Their weights lie beside those of the model:
    ``"ViT-B-16 seed 11"`` in ``vit_b_16.seed-11.safetensors``, ``"ViT-B-32 epoch 40"`` in ``vit_b_32.epoch-40.safetensors``.

    Raises:
        ValueError: replicas or checkpoints that do not name a model and a list of whole numbers.
    """
    entries = dict(profile["models"])
    for kind, (word, setting) in {"replicas": ("seed", "seed"), "checkpoints": ("epoch", "checkpoint")}.items():
        listed = profile.get(kind) or {}
        if not isinstance(listed, Mapping):
            raise ValueError(f"{kind} cannot be {listed!r}; accepted: a mapping from a model to a list of whole numbers")
        for model, numbers in listed.items():
            if model not in profile["models"] or "weights" not in profile["models"][model]:
                raise ValueError(f"{kind} name {model!r}; accepted: models with a weights file of {', '.join(profile['models'])}")
            if not isinstance(numbers, list) or any(isinstance(number, bool) or not isinstance(number, int) or number < 0 for number in numbers):
                raise ValueError(f"{kind} of {model} cannot be {numbers!r}; accepted: a list of whole numbers")
            spec = profile["models"][model]
            for number in numbers:
                weights = Path(spec["weights"])
                entries[f"{model} {word} {number}"] = {
                    **spec, "weights": (weights.parent / f"{weights.stem}.{word}-{number}{weights.suffix}").as_posix(),
                    "training": {**spec.get("training", {}), setting: number},
                }
    return entries


def code_fingerprint() -> str:
    """SHA-256 over the sources that decide the numbers."""
    digest = hashlib.sha256()
    for name in NUMERIC_SOURCES:
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()


def weights_sha256(target: TargetModel) -> str:
    """SHA-256 over the names and values of a model's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(target.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.detach().to("cpu", torch.float64).numpy()).tobytes())
    return digest.hexdigest()


def results_folder(root: Path, profile: str, asked: str | Path | None = None) -> Path:
    """Where results go: what was asked for, else what ``NEURONPATH_RESULTS`` names, else ``results/<profile>``."""
    return Path(asked or os.environ.get(RESULTS_VARIABLE) or root / "results" / profile).resolve()


@dataclass(frozen=True)
class Study:
    """A profile, opened on a device and in a precision.

    Args:
        profile: name of a file in ``profiles/``.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, …
        dtype: ``"float64"``, ``"float32"`` or ``"bfloat16"``.
        results: folder for path tables; by default ``results/<profile>`` or what ``NEURONPATH_RESULTS`` names.
        progress: show a progress bar while paths are searched.
        memory_budget: of :func:`~neuronpath_core.paths.find_paths`.

    Raises:
        ValueError: unknown profile, device or dtype, or a budget that is no amount of memory.
    """

    profile: str = DEFAULT_PROFILE
    device: str = "cpu"
    dtype: str = "float64"
    results: str | Path | None = None
    progress: bool = False
    memory_budget: int | str | None = None
    root: Path = field(default_factory=project_root)

    def __post_init__(self) -> None:
        load_profile(self.profile, self.root)
        models.parse_device(self.device)
        models.parse_dtype(self.dtype)
        if self.memory_budget is not None:
            parse_memory(self.memory_budget)

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
        return load_part(self.settings["dataset"], "train")

    @cached_property
    def held_out(self) -> ImageSet:
        """The images that no model was trained on; the training images are not loaded for it."""
        return load_part(self.settings["dataset"], "held_out")

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
        """Every model and variant with what it is built from; see :func:`model_entries`."""
        return model_entries(self.settings)

    def variants(self, model: str) -> list[str]:
        """Names of a model's replicas (other seeds of training) and checkpoints (earlier epochs of the same training); they serve as model names.

        Raises:
            ValueError: the profile has no such model.
        """
        if model not in self.settings["models"]:
            raise ValueError(f"unknown model {model!r}; accepted: {', '.join(self.model_names)}")
        return [name for name in self.entries if name.startswith((f"{model} seed ", f"{model} epoch "))]

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
            self._targets[model] = TargetModel(models.load_model(spec, self.root, self.device, self.dtype), spec.get("scope", "auto"))
        return self._targets[model]

    def check_models(self, names: list[str]) -> list[str]:
        """The names, if there is at least one and all are models of the profile or variants; else ``ValueError``."""
        if not names or any(name not in self.entries for name in names):
            raise ValueError(f"unknown models {names!r}; accepted: one or more of {', '.join(self.entries)}")
        return list(names)

    def images(self, count: int, seed: int = 0) -> ImageSet:
        """``count`` held-out images, spread evenly over the classes; errors are those of :meth:`~neuronpath_core.datasets.ImageSet.balanced`."""
        return self.held_out.balanced(count, seed)

    def batch(self, images: ImageSet) -> tuple[Tensor, Tensor]:
        """Images and labels on the study's device, in its precision."""
        device, dtype = models.parse_device(self.device), models.parse_dtype(self.dtype)
        return images.images.to(device=device, dtype=dtype), images.labels.to(device)

    def paths(self, model: str, images: ImageSet, method: str = "neuron_path", **settings) -> Paths:
        """Paths of these images, from the store if they were found before with exactly these settings, else searched.

        Settings and errors are those of :func:`~neuronpath_core.paths.find_paths`; results are on the CPU.
        """
        target, top = self.target(model), settings.get("top")
        arguments = complete_settings(target, method=method, **settings)
        manifest = {
            "profile": self.profile, "model": model, "built_from": self.entries[model], "weights": weights_sha256(target), "scope": target.scope,
            "images": images.sha256(), "arguments": arguments, "dtype": self.dtype, "device": models.parse_device(self.device).type,
            "code": code_fingerprint(), "torch": version("torch"), "timm": version("timm"),
        }
        folder = self.results_folder / "paths" / f"{model}_{method}_{store.manifest_key(manifest)}"
        table = store.read_or_compute(folder, manifest, lambda: self._search(target, images, arguments, f"{model} {method}"))
        neurons = torch.from_numpy(np.stack(table["neurons"].to_numpy())).reshape(len(table), target.n_blocks, -1)
        return Paths(neurons if top is not None else neurons[..., 0], torch.from_numpy(table["score"].to_numpy(copy=True)),
                     torch.from_numpy(table["steps"].to_numpy(copy=True)))

    def _search(self, target: TargetModel, images: ImageSet, arguments: dict, name: str) -> pd.DataFrame:
        pictures, labels = self.batch(images)
        found = []
        with tqdm(total=len(images), desc=name, unit="image", disable=not self.progress) as bar:
            for chosen in torch.arange(len(images)).split(IMAGES_PER_PART):
                found.append(find_paths(target, pictures[chosen], labels[chosen], **arguments, memory_budget=self.memory_budget))
                bar.update(len(chosen))
        neurons = torch.cat([part.neurons for part in found]).flatten(1).cpu().numpy()
        return pd.DataFrame({
            "image": images.ids.numpy(), "label": images.labels.numpy(),
            "score": torch.cat([part.score for part in found]).cpu().double().numpy(),
            "steps": torch.cat([part.steps for part in found]).cpu().numpy(), "neurons": list(neurons),
        })

    def probabilities(self, model: str, images: ImageSet, paths: Paths | None = None, operation: str | float = "remove") -> np.ndarray:
        """Softmax probabilities ``(image, class)``: clean, or with each image's own path edited."""
        target, (pictures, _) = self.target(model), self.batch(images)
        if paths is None:
            result = class_probabilities(target, pictures)
        else:
            result = edited_probabilities(target, pictures, paths.neurons.to(pictures.device), operation)
        return result.cpu().double().numpy()
