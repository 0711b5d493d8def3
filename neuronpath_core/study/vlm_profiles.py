"""Profiles of vision-language models: composed scenes, models of transformers' classes, and the
chapters on them.

They lie in ``profiles/`` beside those of classifiers, and are told from them by ``kind`` in the
entries of their models.  :func:`any_profile` reads either.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from neuronpath_core.study.hub_schema import checked_hub, is_hub
from neuronpath_core.study.profiles import ENDING, load_profile, profile_names
from neuronpath_core.study.schema import A_MAPPING, SOME_MODELS
from neuronpath_core.support.files import relative_path
from neuronpath_core.support.typed import (
    MOST_SEED,
    Entry,
    Name,
    listed,
    misfit,
    nearest,
    number,
    one_of,
    said,
    shown,
    whole,
)
from neuronpath_core.support.yaml_file import read_yaml

KIND = "llava"
STAGES = ("tower", "words", "projector", "everything")
MOST_SCENES, MOST_STEPS = 10**6, 10**7
Steps = whole(0, MOST_STEPS)
Rate = number(0, 1e3)


def _list(least: int, most: int) -> Any:
    return Annotated[list[whole(least, most)], said("a list of whole numbers of at least "
                                                    f"{least}, up to {most}")]


class Scenes(Entry):
    """How many composed scenes there are."""

    name: one_of("scenes")
    train_scenes: whole(1, MOST_SCENES)
    held_out_scenes: whole(2, MOST_SCENES)
    seed: whole(0, MOST_SEED) = 0


class StageSteps(Entry):
    """Steps of the stages; a stage without an entry is left out."""

    tower: Steps = 0
    words: Steps = 0
    projector: Steps = 0
    everything: Steps = 0


class StageRates(Entry):
    """What the learning rates of the stages are multiplied by."""

    tower: Rate = 1.0
    words: Rate = 1.0
    projector: Rate = 1.0
    everything: Rate = 1.0


class VlmTraining(Entry):
    """How the weights are trained, for ``data/weights/train_vlm.py``."""

    seed: whole(0, MOST_SEED)
    steps: StageSteps
    batch: whole(1, 10**5) = None
    keep: whole(1, 10**6) = None
    checkpoints: _list(1, MOST_STEPS) = None
    tower_rate: Rate = None
    rates: StageRates = None


Settings = Annotated[dict[str, Any], BeforeValidator(A_MAPPING), Field(strict=True)]


class VlmModel(Entry):
    """A model: what it is made of, where its weights are, how they are trained."""

    kind: one_of(KIND)
    weights: Name
    training: VlmTraining = None
    stands_for: Name = None
    tower: Settings = None
    decoder: Settings = None


class VlmProfile(Entry):
    """The entries of a profile of vision-language models."""

    dataset: Scenes
    models: Annotated[dict[str, VlmModel], BeforeValidator(SOME_MODELS)]
    notebooks: Annotated[dict[str, Any], BeforeValidator(A_MAPPING)] = None
    replicas: Annotated[dict[str, _list(0, MOST_SEED)], BeforeValidator(A_MAPPING)] = None
    not_run: Any = None


def is_vlm(entries: object) -> bool:
    """Whether a profile's entries are of vision-language models: a model of them has a ``kind``."""
    models = entries.get("models") if isinstance(entries, Mapping) else None
    return isinstance(models, Mapping) and any(isinstance(entry, Mapping) and "kind" in entry
                                               for entry in models.values())


def is_vlm_profile(name: object, root: Path) -> bool:
    """Whether there is a profile of this name, of vision-language models; one that cannot be read
    is none."""
    if not isinstance(name, str) or name not in profile_names(root):
        return False
    try:
        return is_vlm(read_yaml(root / "profiles" / f"{name}{ENDING}"))
    except ValueError:
        return False


def vlm_profile_names(root: Path) -> list[str]:
    """The profiles of vision-language models."""
    return [name for name in profile_names(root) if is_vlm_profile(name, root)]


def load_vlm_profile(name: str, root: Path) -> dict:
    """A profile's entries: ``dataset``, ``models``, ``notebooks`` and, where there are any,
    ``replicas`` and ``not_run``.

    Raises:
        ValueError: no such profile; a file that is damaged; what :func:`checked_entries` refuses.
    """
    known = vlm_profile_names(root)
    if name not in known:
        near = isinstance(name, str) and name.isprintable() and nearest(name, known)
        what = "is one of classifiers" if name in profile_names(root) else "is unknown"
        raise ValueError(f"profile {shown(name)} {what}{f', nearest is {near}' if near else ''}; "
                         f"accepted: {listed(known) or 'none here'}")
    return checked_entries(read_yaml(root / "profiles" / f"{name}{ENDING}"), name)


def checked_entries(entries: Any, name: str) -> dict:
    """What the file of a profile of this name holds, ``notebooks`` always among it.

    Raises:
        ValueError: an entry that is missing, unknown, of another type than it must be, or that does
            not fit another one.
    """
    if is_hub(entries):
        return checked_hub(entries, name)
    try:
        VlmProfile.model_validate(entries)
    except ValidationError as error:
        keys, found, accepted = misfit(error)
        raise ValueError(f"profile {name!r}{f': {chr(46).join(keys)}' if keys else ''} {found}; "
                         f"accepted: {accepted}; the file is profiles/{name}{ENDING}") from error
    for model, numbers in (entries.get("replicas") or {}).items():
        _check_replicas(name, entries["models"], model, numbers)
    for spec in entries["models"].values():
        relative_path(spec["weights"], "weights")
    return {**entries, "notebooks": entries.get("notebooks") or {}}


def _check_replicas(profile: str, models: Mapping, model: str, numbers: list[int]) -> None:
    if model not in models or "training" not in models[model]:
        raise ValueError(f"profile {profile!r}: replicas name {model!r}; accepted: models with a "
                         f"training of {listed(models)}")
    every = [*numbers, models[model]["training"]["seed"]]
    if len(set(every)) < len(every):
        raise ValueError(f"profile {profile!r}: replicas of {model} cannot be {shown(numbers)}, of "
                         "which one is there twice or is the model's own seed; accepted: different "
                         "ones")


def vlm_entries(profile: Mapping) -> dict[str, dict]:
    """Every model of a profile, its replicas and its checkpoints, with what each is built from.

    A replica differs in the seed of its training, a checkpoint is the same training before its
    last stage had all its steps.  Their weights lie beside those of the model: ``"staged seed 1"``
    in ``staged.seed-1.safetensors``, ``"staged step 250"`` in ``staged.step-250.safetensors``.
    Checkpoints are of the model alone, not of its replicas.
    """
    found = dict(profile["models"])
    for name, seeds in (profile.get("replicas") or {}).items():
        spec = profile["models"][name]
        training = {key: value for key, value in spec["training"].items() if key != "checkpoints"}
        for seed in seeds:
            found[f"{name} seed {seed}"] = {**spec, "weights": beside(spec, f"seed-{seed}"),
                                            "training": {**training, "seed": seed}}
    for name, spec in profile["models"].items():
        for step in spec.get("training", {}).get("checkpoints", ()):
            found[f"{name} step {step}"] = {**spec, "weights": beside(spec, f"step-{step}")}
    return found


def beside(spec: Mapping, what: str) -> str:
    """The weights of a variant: a file beside the model's own."""
    file = Path(spec["weights"])
    return file.with_name(f"{file.stem}.{what}{file.suffix}").as_posix()


def any_profile(name: str, root: Path) -> dict:
    """The entries of a profile of either kind.

    Raises:
        ValueError: as :func:`load_vlm_profile` and
            :func:`~neuronpath_core.study.profiles.load_profile`.
    """
    return load_vlm_profile(name, root) if is_vlm_profile(name, root) else load_profile(name, root)
