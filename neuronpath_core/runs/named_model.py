"""The model that somebody names on the command line: a timm name, one on the hub, or a file of
weights, of which it must be known what network they are of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from timm import list_models

from neuronpath_core.images.data_sets import load_part
from neuronpath_core.images.model_names import configured_names
from neuronpath_core.models.checkpoints import HUB, HUB_CONFIG, RESERVED
from neuronpath_core.models.entries import Preprocessing
from neuronpath_core.models.weight_files import ENDINGS, read_state, stem
from neuronpath_core.runs.new_profile import model_entry
from neuronpath_core.study.profiles import load_profile, model_entries, profile_names
from neuronpath_core.support.files import own_path, utf8_path
from neuronpath_core.support.text import as_utf8, listed, one_line, plain, shown

# how the images of the project's own data sets are made from scans and scenes: the whole picture,
# brought to -1 to 1
OWN_SETS = ("digits", "shapes")
OWN_PREPROCESSING = {"mean": 0.5, "std": 0.5, "interpolation": "bilinear", "crop_pct": 1.0,
                     "crop_mode": "squash"}
OF_A_PICTURE = tuple(Preprocessing.model_fields)


@dataclass(frozen=True)
class NamedModel:
    """A model to be loaded.

    Attributes:
        name: what it is called.
        spec: its entry, as a profile's.
        class_names: of its classes, where whoever made the weights tells them.
    """

    name: str
    spec: Mapping
    class_names: tuple[str, ...] | None = None


def named_model(text: str, architecture: str | None, root: Path) -> NamedModel:
    """What ``--model`` and ``--architecture`` mean.

    Weights of a file are those of ``architecture``, or of ``ARCHITECTURE=FILE``; else of the model
    that a profile of this project keeps there; else of what a ``config.json`` beside them says, as
    timm puts it there.  The tensors themselves do not tell: of how many heads a network is they
    hold no trace.

    Raises:
        ValueError: a file that is not there or cannot be read, or whose network nothing tells; an
            architecture for a name that has one.
    """
    is_file = own_path(text).is_file()
    if not is_file and "=" not in text and (
            text.startswith(HUB) or not text.lower().endswith(ENDINGS)):
        if architecture is not None:
            raise ValueError(f"--architecture {plain(architecture)} does not go with the model "
                             f"{plain(text)}, which is a name; accepted: beside a file of weights")
        return NamedModel(*model_entry(text))
    before, _, after = text.partition("=")
    if not is_file and after:
        if architecture not in (None, before):
            raise ValueError(f"--architecture {plain(architecture)} and {plain(before)}=… name two "
                             "networks; accepted: one of them")
        architecture, text = before, after
    path = own_path(text).resolve()
    if not path.is_file():
        raise ValueError(f"weights {plain(as_utf8(text))} are not there; accepted: a file of "
                         "weights, a timm name, or hf-hub:owner/name")
    if architecture is not None:
        return NamedModel(*model_entry(f"{architecture}={path}"))
    found = _of_a_profile(path, root) or _of_a_config(path)
    if found is None:
        raise ValueError(f"nothing says what network the weights {plain(as_utf8(path.name))} are "
                         f"of; accepted: --architecture NAME, a name that timm.list_models() "
                         f"gives{_like(path)}, or a {HUB_CONFIG} of timm beside the file")
    return found


def _of_a_profile(path: Path, root: Path) -> NamedModel | None:
    """The model of a profile whose weights this file is."""
    for profile in profile_names(root):
        try:
            entries = load_profile(profile, root)
        except ValueError:  # somebody's unfinished profile has nothing to do with this
            continue
        for name, spec in model_entries(entries).items():
            if "weights" in spec and (root / own_path(spec["weights"])).resolve() == path:
                return _as_in_its_study(name, spec, entries["dataset"])
    return None


def _as_in_its_study(name: str, spec: Mapping, dataset: Mapping) -> NamedModel:
    own = dataset.get("preprocessing") or {}
    names = dataset.get("class_names")
    if dataset["name"] in OWN_SETS:
        channels = (spec.get("architecture") or {}).get("in_chans", 3)
        own = {key: [value] * channels if key in ("mean", "std") else value
               for key, value in OWN_PREPROCESSING.items()}
        names = load_part(dataset, "held_out").class_names
    spec = {**spec, "data_config": {**own, **(spec.get("data_config") or {})}}
    return NamedModel(name, spec, tuple(map(str, names)) if isinstance(names, (list, tuple))
                      else None)


def _of_a_config(path: Path) -> NamedModel | None:
    """The network of timm's ``config.json`` beside weights."""
    file = path.parent / HUB_CONFIG
    if not file.is_file():
        return None
    accepted = "accepted: timm's, with an architecture, or --architecture NAME"
    try:
        config = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"the {HUB_CONFIG} beside {plain(as_utf8(path.name))} cannot be read: "
                         f"{one_line(error, 120)}; {accepted}") from error
    if not isinstance(config, dict) or not isinstance(config.get("architecture"), str):
        raise ValueError(f"the {HUB_CONFIG} beside {plain(as_utf8(path.name))} names no "
                         f"architecture; {accepted}")
    inner, arguments = config.get("pretrained_cfg"), config.get("model_args")
    inner = inner if isinstance(inner, dict) else {}
    arguments = {key: value for key, value in (arguments if isinstance(arguments, dict)
                                               else {}).items() if key not in RESERVED}
    for key in ("num_classes", "global_pool"):
        if key in config:
            arguments.setdefault(key, config[key])
    spec = {"timm": config["architecture"], "pretrained": False, "arguments": arguments,
            "weights": utf8_path(path, "weights"),
            "data_config": {key: inner[key] for key in OF_A_PICTURE if key in inner}}
    return NamedModel(stem(path), spec, configured_names(config) or configured_names(inner))


def _like(path: Path) -> str:
    """Names of timm's networks of this width and patch, as a hint."""
    kernel = read_state(path).get("patch_embed.proj.weight")
    if kernel is None or kernel.ndim != 4:
        return ""
    size = {192: "tiny", 384: "small", 768: "base", 1024: "large"}.get(len(kernel))
    names = list_models(f"*vit_{size}_patch{kernel.shape[-1]}*") if size else []
    return f" ({listed(names)} are as wide)" if names else (
        f" (its patches are {shown(kernel.shape[-1])} pixels wide, its tokens {len(kernel)})")
