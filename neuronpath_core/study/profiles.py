"""Profiles: which data, models and parameters a run uses, and where its inputs and results are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import yaml

from neuronpath_core.support.files import path_component, read_utf8, utf8_path
from neuronpath_core.support.text import one_line

DEFAULT_PROFILE = "digits"
# the same, written in C where PyYAML was built with it
SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
RESULTS_VARIABLE = "NEURONPATH_RESULTS"
ENGINE_VARIABLE = "NEURONPATH_ENGINE"
WORKERS_VARIABLE = "NEURONPATH_WORKERS"
NEEDED = ("dataset", "models", "notebooks")


def project_root() -> Path:
    """The folder that holds ``profiles/``: the nearest one above the working directory, else the
    one of this package."""
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[2]):
        if (folder / "profiles").is_dir() and (folder / "neuronpath_core").is_dir():
            return folder
    raise ValueError(f"no study found at or above {Path.cwd()}; accepted: a folder with profiles/ "
                     f"and neuronpath_core/, or one below it")


def profile_names(root: Path) -> list[str]:
    """The profiles that can be run."""
    return sorted(path.stem for path in (root / "profiles").glob("*.yml"))


def _merged(below: Mapping, above: Mapping) -> dict:
    """``below`` with the entries of ``above`` over it, mappings within mappings too; an entry that
    ``above`` sets to null goes."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = _merged(under if isinstance(under, Mapping) else {},
                              value) if isinstance(value, Mapping) else value
    return {key: value for key, value in merged.items() if value is not None or key not in above}


def load_profile(name: str, root: Path, above: tuple[str, ...] = ()) -> dict:
    """A profile's entries: ``dataset``, ``models``, ``notebooks`` and, where there are any,
    ``replicas`` and ``checkpoints`` of its models and ``not_run``: notebooks that it lacks
    something for, and what.

    A profile that ``extends`` another one has its entries but for those that it gives itself.

    Raises:
        ValueError: no such profile, or one that lacks an entry.
    """
    if name not in profile_names(root):
        raise ValueError(f"unknown profile {name!r}; accepted: {', '.join(profile_names(root))}")
    try:
        profile = yaml.load(read_utf8(root / "profiles" / f"{name}.yml"), SAFE_LOADER)
    except yaml.YAMLError as error:
        raise ValueError(f"profile {name!r} is not YAML: {one_line(error)}; accepted: a mapping "
                         f"with {', '.join(NEEDED)}") from error
    if not isinstance(profile, dict):
        raise ValueError(f"profile {name!r} is empty or a list; accepted: a mapping with "
                         f"{', '.join(NEEDED)}")
    if "extends" in profile:
        parent = profile.pop("extends")
        if parent == name or parent in above:
            raise ValueError(f"profile {name!r} extends itself; accepted: another profile")
        profile = _merged(load_profile(parent, root, (*above, name)), profile)
    if missing := set(NEEDED) - set(profile):
        raise ValueError(f"profile {name!r} lacks {', '.join(sorted(missing))}; accepted: a "
                         f"mapping with {', '.join(NEEDED)}")
    for entry in NEEDED:
        if not isinstance(profile[entry], Mapping) or entry == "models" and not profile[entry]:
            raise ValueError(f"{entry} of profile {name!r} cannot be {profile[entry]!r}; "
                             f"accepted: a mapping, of models at least one")
    for model in profile["models"]:
        path_component(model, f"a model of profile {name!r}")
    for entry, optional in (("models", False), ("notebooks", True)):
        for key, value in profile[entry].items():
            if not isinstance(value, Mapping) and not (optional and value is None):
                raise ValueError(f"{entry} of profile {name!r}: {key} cannot be {value!r}; "
                                 f"accepted: a mapping")
    if profile.get("replicas") or profile.get("checkpoints"):
        try:
            model_entries(profile)
        except ValueError as error:
            raise ValueError(f"profile {name!r}: {error}") from error
    return profile


def model_entries(profile: Mapping) -> dict[str, dict]:
    """Every model of a profile and every variant of one, with its architecture, weights and
    training.

    A replica differs in the seed of its training, a checkpoint is the same training stopped after
    an epoch.  Their weights lie beside those of the model: ``"ViT-B-16 seed 11"`` in
    ``vit_b_16.seed-11.safetensors``, ``"ViT-B-32 epoch 40"`` in ``vit_b_32.epoch-40.safetensors``.

    Raises:
        ValueError: replicas or checkpoints that do not name a model and a list of whole numbers.
    """
    entries = dict(profile["models"])
    for kind, (word, setting) in {"replicas": ("seed", "seed"),
                                  "checkpoints": ("epoch", "checkpoint")}.items():
        listed = profile.get(kind) or {}
        if not isinstance(listed, Mapping):
            raise ValueError(f"{kind} cannot be {listed!r}; accepted: a mapping from a model to a "
                             f"list of whole numbers")
        for model, numbers in listed.items():
            if model not in profile["models"] or "weights" not in profile["models"][model]:
                raise ValueError(f"{kind} name {model!r}; accepted: models with a weights file of "
                                 f"{', '.join(profile['models'])}")
            if not isinstance(numbers, list) or any(isinstance(number, bool)
                                                    or not isinstance(number, int) or number < 0
                                                    for number in numbers):
                raise ValueError(f"{kind} of {model} cannot be {numbers!r}; accepted: a list of "
                                 f"whole numbers")
            spec = profile["models"][model]
            for number in numbers:
                weights = Path(spec["weights"])
                file = f"{weights.stem}.{word}-{number}{weights.suffix}"
                entries[f"{model} {word} {number}"] = {
                    **spec, "weights": (weights.parent / file).as_posix(),
                    "training": {**spec.get("training", {}), setting: number},
                }
    return entries


def results_folder(root: Path, profile: str, asked: str | Path | None = None) -> Path:
    """Where results go: what was asked for, else what ``NEURONPATH_RESULTS`` names, else
    ``results/<profile>``.

    Raises:
        ValueError: the folder has a name that is not UTF-8, which tables and notebooks cannot hold,
            or the profile's name is a path.
    """
    folder = Path(asked or os.environ.get(RESULTS_VARIABLE)
                  or root / "results" / path_component(profile, "a profile")).resolve()
    utf8_path(folder, "results folder")
    return folder
