"""What a run needs, looked for before any work: weights, data, classes, device, engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from neuronpath_core.images.classes import check_classes
from neuronpath_core.images.data_sets import load_part
from neuronpath_core.images.declared import check_declared
from neuronpath_core.images.file_images import FileImages
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.models import build, checkpoints
from neuronpath_core.runs.chapter import Chapter
from neuronpath_core.runs.notebooks import Run
from neuronpath_core.runs.parameters import own_parameters
from neuronpath_core.study.engines.choice import chosen_engine
from neuronpath_core.study.profiles import load_profile, model_entries
from neuronpath_core.study.study import Study
from neuronpath_core.study.targets import as_target, outline
from neuronpath_core.study.vlm_profiles import any_profile, is_vlm_profile
from neuronpath_core.study.vlm_weights import vlm_problems


def wanted_models(root: Path, runs: Iterable[Run]) -> dict[str, list[str]]:
    """Profile -> its models that a run's notebooks name, all of them where a notebook names none;
    variants apart.

    A notebook that declares a profile and reads it nowhere, such as one that shows stored
    measurements, needs nothing of it.
    """
    named: dict[str, list[str]] = {}
    for run in runs:
        values = own_parameters(root, run.notebook) | run.parameters
        if not Chapter.read(root, run.notebook).reads_profile:
            continue
        for profile in dict.fromkeys([values["profile"]] if "profile" in values
                                     else values.get("profiles", [])):
            own = [*values.get("models", []), *values.get("pruning_models", []),
                   *([values["model"]] if "model" in values else [])]
            named.setdefault(profile, []).extend(own or any_profile(profile, root)["models"])
    return {profile: [model for model in any_profile(profile, root)["models"] if model in names]
            for profile, names in named.items()}


def run_problems(root: Path, runs: Iterable[Run]) -> Iterator[str]:
    """:func:`problems` of all that the notebooks of a run need."""
    runs = list(runs)
    devices = sorted({(own_parameters(root, run.notebook) | run.parameters).get("device", "cpu")
                      for run in runs})
    yield from machine_problems(devices)
    for profile, names in wanted_models(root, runs).items():
        yield from input_problems(root, profile, names)


def problems(root: Path, profile: str, names: Iterable[str], device: str = "cpu",
             count: int | None = None, study: Study | None = None) -> Iterator[str]:
    """Whatever would stop a run, one line each: what is missing or does not fit, where it was
    looked for, how to get it.

    Args:
        root: the study's folder.
        profile, names: models of a profile.
        device: that they run on.
        count: of held-out images; not looked at where there is none.
        study: the profile, opened; what is read here is then kept there for the run.
    """
    yield from machine_problems([device])
    yield from input_problems(root, profile, names, count, study)


def machine_problems(devices: Iterable[str]) -> Iterator[str]:
    """Devices that this machine lacks, and a chosen engine that cannot be used."""
    for device in devices:
        try:
            build.parse_device(device)
        except ValueError as error:
            yield str(error)
    try:
        chosen_engine()
    except ValueError as error:
        yield str(error)


def input_problems(root: Path, profile: str, names: Iterable[str], count: int | None = None,
                   study: Study | None = None) -> Iterator[str]:
    """Images and weights of a profile that are missing, damaged, not those that were recorded, or
    that do not fit each other; every file of weights is read."""
    if is_vlm_profile(profile, root):
        yield from vlm_problems(profile, root)
        return
    entries, images = load_profile(profile, root), None
    try:
        images = load_part(entries["dataset"], "held_out",
                           base=root) if study is None else study.held_out
        check_declared(images, entries["dataset"], root)
        if count is not None:
            images.balanced(count)
    except ValueError as error:
        yield f"images of profile {profile}: {error}"
    for name in names:
        try:
            yield from _model_problems(name, model_entries(entries)[name], images, root, profile,
                                       study)
        except ValueError as error:
            yield f"model {name}: {error}"


def _model_problems(name: str, spec: Mapping, images: ImageSet | None, root: Path, profile: str,
                    study: Study | None) -> Iterator[str]:
    if reason := checkpoints.missing(spec, root, profile):
        yield f"weights of {name}: {reason}"
        target = outline(spec)
    else:
        target = as_target(build.load_model(spec, root, dtype="float32"),
                           spec) if study is None else study.target(name)
    if isinstance(images, FileImages):
        check_classes(images, target.n_classes, name, target.model)


def demand(found: Iterable[str]) -> None:
    """Raise ``ValueError`` with the first problem, if there is one, and the number of the others.
    """
    if found := list(found):
        more = f" (and {len(found) - 1} more: --check lists them)" if len(found) > 1 else ""
        raise ValueError(found[0] + more)
