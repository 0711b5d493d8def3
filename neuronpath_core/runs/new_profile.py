"""A profile for somebody's own models and images, written as a file of ``profiles/`` that can be
read and changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import yaml

from neuronpath_core.images.classes import check_classes
from neuronpath_core.images.data_sets import load_part
from neuronpath_core.models import checkpoints
from neuronpath_core.models.build import build_model, fitted_state
from neuronpath_core.models.state_dicts import positions_size, some
from neuronpath_core.models.weight_files import read_state, stem
from neuronpath_core.runs.chapter import Chapter
from neuronpath_core.runs.choice import notebook_names
from neuronpath_core.runs.parameters import own_parameters
from neuronpath_core.study.profiles import DEFAULT_PROFILE, load_profile, profile_names
from neuronpath_core.study.schema import is_image_count
from neuronpath_core.study.targets import outline
from neuronpath_core.support.files import own_path, path_component, utf8_path, write_atomically


def model_entry(text: str) -> tuple[str, dict]:
    """Name and profile entry of what was typed: a timm name, ``hf-hub:owner/name``, or
    ``timm_name=FILE`` for one's own weights, whose head and positions tell the number of classes
    and the size of the images.

    Raises:
        ValueError: a file that is not there, cannot be read, has no classification head, or does
            not fit the model.
    """
    architecture, _, file = text.partition("=")
    if not file:
        return re.sub(r"[^\w.-]+", "-",
                      text.rsplit("/", 1)[-1].removeprefix("hf-hub:")), {"timm": text,
                                                                         "pretrained": True}
    path = own_path(file).resolve()
    if not path.is_file():
        raise ValueError(f"weights {file} are not there; accepted: TIMM_NAME=FILE, a file of "
                         f"weights with a linear classification head")
    arguments: dict = {}
    spec = {"timm": architecture, "pretrained": False, "arguments": arguments,
            "weights": utf8_path(path, "weights")}
    state = read_state(path)
    with torch.device("meta"):  # what the model is made of, in no time and no memory
        model = build_model(spec)
        head = f"{model.pretrained_cfg.get('classifier') or 'head'}.weight"
        if head not in state:
            raise ValueError(f"weights {path.name} have no {head} among {len(state)} tensors "
                             f"({some(list(state))}); accepted: TIMM_NAME=FILE, a file of "
                             f"weights with a linear classification head")
        arguments["num_classes"] = len(state[head])
        if size := _own_size(state, model, path.name):
            arguments["img_size"] = size
        fitted_state(state, build_model(spec), spec)
    return stem(path), spec


def _own_size(state: Mapping[str, torch.Tensor], model: torch.nn.Module,
              name: str) -> int | list[int] | None:
    """The size of images that a file's positions are for, if that is not the model's."""
    try:
        size = positions_size(state, model)
    except ValueError as error:
        raise ValueError(f"weights {name} do not fit the model: {error}") from error
    return size[0] if size and size[0] == size[1] else size


def lacking(root: Path, models: int) -> dict[str, str]:
    """Notebooks that a profile of so many models lacks something for, each with what it lacks, as
    their metadata say."""
    found = {}
    for notebook in notebook_names(root):
        notes = Chapter.read(root, notebook).notes
        if "lacks" in notes:
            found[notebook] = notes["lacks"]
        elif models < (least := notes.get("least_models", 1)):
            found[notebook] = f"it compares {least} models"
    return found


def notebook_parameters(root: Path, classes: int,
                        per_class: int) -> dict[str, dict[str, int | None]]:
    """Parameters of every notebook whose own hold for the default profile alone: numbers of images,
    as many of each class as there if there are so many; and all nodes of the published rule, of
    which fewer places keep the paths of those models, not of any."""
    digits = len(load_part(load_profile(DEFAULT_PROFILE, root)["dataset"], "held_out").class_names)
    found = {}
    for notebook in notebook_names(root):
        if "lacks" in Chapter.read(root, notebook).notes:
            continue
        own = own_parameters(root, notebook)
        found[notebook] = {name: classes * min(per_class, max(1, round(own[name] / digits)))
                           for name in own if is_image_count(name)}
        if "nodes" in own:
            found[notebook]["nodes"] = None
    return {notebook: values for notebook, values in found.items() if values}


def write_profile(root: Path, name: str, models: Sequence[str], dataset: Mapping) -> Path:
    """Write ``profiles/<name>.yml`` with these models (see :func:`model_entry`) and a dataset entry
    of kind ``files``.

    Raises:
        ValueError: a name that is taken or is no file name, no, unknown or repeated models, images
            that cannot be found, classes that do not fit a model, or a file that cannot be written.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name) or name in profile_names(root):
        raise ValueError(f"a profile cannot be called {name!r}; accepted: small letters, digits, "
                         f"- and _, and not one of {', '.join(profile_names(root))}")
    entries = dict(map(model_entry, models))
    if not models or len(entries) != len(models):
        raise ValueError(f"models cannot be {', '.join(models) or 'none'}; accepted: one or more "
                         f"with different names")
    for model in (name, *entries):
        path_component(model, "a profile or model")
    places = {key: utf8_path(value, f"{key} of the images") for key, value in dataset.items()
              if isinstance(value, str)}
    images = load_part(dataset, "held_out")
    for model, spec in entries.items():
        # of the hub's it is not known here what they are
        if not checkpoints.missing(spec, root) or not spec["timm"].startswith(checkpoints.HUB):
            check_classes(images, outline(spec).n_classes, model)
    present, each = np.unique(images.labels.numpy(), return_counts=True)
    profile = {"dataset": {**dataset, **places}, "models": entries,
               "notebooks": notebook_parameters(root, len(present), int(each.min())),
               "not_run": lacking(root, len(entries))}
    path = root / "profiles" / f"{name}.yml"
    try:
        write_atomically(path,
                         lambda file: file.write_text(
                             yaml.safe_dump(profile, sort_keys=False, width=150),
                             encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be written ({error.strerror or error}); accepted: a "
                         f"folder with write permission and room, a shorter name") from error
    return path
