"""Profiles: which data, models and parameters a run uses, and where its inputs and results are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from neuronpath_core.study.schema import Profile, check_profile
from neuronpath_core.support.files import kind_of_file, path_component, utf8_path, working_folder
from neuronpath_core.support.typed import MOST_SEED, listed, nearest, shown
from neuronpath_core.support.yaml_file import read_yaml

DEFAULT_PROFILE = "digits"
ENDING = ".yml"
RESULTS_VARIABLE = "NEURONPATH_RESULTS"
ENGINE_VARIABLE = "NEURONPATH_ENGINE"
WORKERS_VARIABLE = "NEURONPATH_WORKERS"


def project_root() -> Path:
    """The folder that holds ``profiles/``: the nearest one above the working directory, else the
    one of this package."""
    here = working_folder()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "profiles").is_dir() and (folder / "neuronpath_core").is_dir():
            return folder
    raise ValueError(f"no study found at or above {here}; accepted: a folder with profiles/ "
                     f"and neuronpath_core/, or one below it")


def profile_names(root: Path) -> list[str]:
    """The profiles that can be run: the regular files ``profiles/*.yml``, without those that an
    editor hides."""
    return sorted(path.stem for path in (root / "profiles").glob(f"*{ENDING}")
                  if path.is_file() and path.name[0] not in "._#~" and path.name.isprintable())


def strange_profiles(root: Path) -> list[str]:
    """What in ``profiles/`` could be meant as a profile and cannot be one, each with what it is."""
    names = set(profile_names(root))
    found = [path for path in sorted((root / "profiles").glob("*.y*ml"))
             if path.suffix in (ENDING, ".yaml") and path.name[0] not in "._#~"]
    return [f"{ascii(path.name)[1:-1]} ({kind_of_file(path)})" for path in found
            if path.suffix != ENDING or path.stem not in names]


def _merged(below: Mapping, above: Mapping) -> dict:
    """``below`` with the entries of ``above`` over it, mappings within mappings too; an entry that
    ``above`` sets to null goes."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = _merged(under if isinstance(under, Mapping) else {},
                              value) if isinstance(value, Mapping) else value
    return {key: value for key, value in merged.items() if value is not None or key not in above}


def load_profile(name: str, root: Path) -> dict:
    """A profile's entries: ``dataset``, ``models``, ``notebooks`` and, where there are any,
    ``replicas`` and ``checkpoints`` of its models and ``not_run``: notebooks that it lacks
    something for, and what.

    A profile that ``extends`` another one has its entries but for those that it gives itself.

    Raises:
        ValueError: no such profile; a file that is damaged; an entry that is missing, unknown, of
            another type than it must be, or that does not fit another one.
    """
    _check_name(name, root)
    chain = _chain(name, root)
    profile = dict(chain[-1][1])
    for _, above in reversed(chain[:-1]):
        profile = _merged(profile, above)
    found = check_profile(profile)
    for model in profile["models"] if found is None else ():
        path_component(model, f"a model of profile {name!r}")
    if found is None and (profile.get("replicas") or profile.get("checkpoints")):
        try:
            model_entries(profile)
        except ValueError as error:
            wrong, _, accepted = str(error).partition("; accepted: ")
            kind = wrong.partition(" ")[0]
            raise ValueError(f"profile {name!r}: {wrong}; accepted: {accepted}; the file is "
                             f"{_file(_giver(chain, (kind,)))}") from error
    if found is not None:
        keys, wrong, accepted = found
        place = f": {'.'.join(keys)}" if keys else ""
        raise ValueError(f"profile {name!r}{place} {wrong}; accepted: {accepted}; the file is "
                         f"{_file(_giver(chain, keys))}")
    return profile


def _file(name: str) -> str:
    return f"profiles/{name}{ENDING}"


def _check_name(name: object, root: Path) -> None:
    known = profile_names(root)
    if isinstance(name, str) and name in known:
        return
    near = isinstance(name, str) and name.isprintable() and nearest(name, known)
    here = isinstance(name, str) and Path(name).name == name and root / "profiles" / (name + ENDING)
    strange = ""
    if here and "\0" not in name and (here.is_symlink() or here.exists()):
        strange = f"; {_file(name)} is {kind_of_file(here)}"
    raise ValueError(f"unknown profile {shown(name)}{f', nearest is {near}' if near else ''}"
                     f"{strange}; accepted: {listed(known)}")


def _chain(name: str, root: Path) -> list[tuple[str, dict]]:
    """The profile and those that it extends, one after the other, each with its own entries."""
    chain: list[tuple[str, dict]] = []
    while True:
        try:
            entries = read_yaml(root / "profiles" / f"{name}{ENDING}")
        except ValueError as error:
            raise ValueError(f"profile {name!r}, file {_file(name)}: {error}") from error
        if not isinstance(entries, dict):
            what = "empty" if entries is None else shown(entries)
            raise ValueError(f"profile {name!r}, file {_file(name)}, is {what}; accepted: a "
                             f"mapping with {', '.join(Profile.model_fields)}")
        chain.append((name, entries))
        if "extends" not in entries:
            return chain
        parent = entries.pop("extends")
        if parent in [name for name, _ in chain]:
            raise ValueError(f"profile {name!r} extends itself ({_file(name)}, extends: "
                             f"{parent}); accepted: another profile")
        try:
            _check_name(parent, root)
        except ValueError as error:
            raise ValueError(f"{_file(name)}, extends: {error}") from error
        name = parent


def _giver(chain: list[tuple[str, dict]], keys: tuple[str, ...]) -> str:
    """The profile of the chain that gives the value at these keys, or the most of them."""
    def depth(entries: object) -> int:
        for count, key in enumerate(keys):
            if not isinstance(entries, Mapping) or key not in entries:
                return count
            entries = entries[key]
        return len(keys)
    return max(chain, key=lambda link: depth(link[1]))[0]


def model_entries(profile: Mapping) -> dict[str, dict]:
    """Every model of a profile and every variant of one, with its architecture, weights and
    training.

    A replica differs in the seed of its training, a checkpoint is the same training stopped after
    an epoch.  Their weights lie beside those of the model: ``"tiny-B-16 seed 11"`` in
    ``vit_b_16.seed-11.safetensors``, ``"tiny-B-32 epoch 40"`` in ``vit_b_32.epoch-40.safetensors``.

    Raises:
        ValueError: replicas or checkpoints that do not name a model and a list of whole numbers.
    """
    entries = dict(profile["models"])
    for kind, (word, setting) in {"replicas": ("seed", "seed"),
                                  "checkpoints": ("epoch", "checkpoint")}.items():
        wanted = profile.get(kind) or {}
        if not isinstance(wanted, Mapping):
            raise ValueError(f"{kind} cannot be {shown(wanted)}; accepted: a mapping from a model "
                             f"to a list of whole numbers")
        for model, numbers in wanted.items():
            if model not in profile["models"] or "weights" not in profile["models"][model]:
                raise ValueError(f"{kind} name {model!r}; accepted: models with a weights file of "
                                 f"{listed(profile['models'])}")
            spec = profile["models"][model]
            _check_variants(kind, model, numbers, spec.get("training", {}))
            for number in numbers:
                weights = Path(spec["weights"])
                file = f"{weights.stem}.{word}-{number}{weights.suffix}"
                entries[f"{model} {word} {number}"] = {
                    **spec, "weights": (weights.parent / file).as_posix(),
                    "training": {**spec.get("training", {}), setting: number},
                }
    return entries


def _check_variants(kind: str, model: str, numbers: object, training: Mapping) -> None:
    most, accepted = MOST_SEED, "a list of whole numbers"
    if kind == "checkpoints" and "epochs" in training:
        most, accepted = training["epochs"], f"{accepted} up to the {training['epochs']} epochs"
    if not isinstance(numbers, list) or not all(isinstance(each, int) and not isinstance(each, bool)
                                                and 0 <= each <= most for each in numbers):
        raise ValueError(f"{kind} of {model} cannot be {shown(numbers)}; accepted: {accepted}")
    taken = [training["seed"]] if kind == "replicas" and "seed" in training else []
    if len(set(numbers + taken)) < len(numbers + taken):
        raise ValueError(f"{kind} of {model} cannot be {shown(numbers)}, of which one is there "
                         f"twice{f' or the seed {taken[0]} of the model itself' if taken else ''}; "
                         f"accepted: different ones")


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
