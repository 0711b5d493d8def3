"""Where the weights of a model entry are looked for.

A profile's model entry names its weights in one of three ways:

* ``weights: FILE``: a safetensors file, or a torch file (``.pth``, ``.pt``, ``.bin``, ``.ckpt``,
  ``.pth.tar``) that holds tensors alone; looked for in the folder that ``NEURONPATH_WEIGHTS``
  names, then in the project's; with ``url:`` where it can be fetched from, and ``wrapper:`` which
  of several state dicts in it is meant;
* ``timm: NAME`` with ``pretrained: true``: looked for as ``NAME.safetensors`` and
  ``NAME/model.safetensors`` in that folder, then in the Hugging Face cache;
* ``timm: "hf-hub:owner/name"``: as ``owner/name/model.safetensors`` beside its ``config.json``
  there, then in the Hugging Face cache.

Nothing is fetched but by :func:`~neuronpath_core.models.download.download`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import timm

from neuronpath_core.support.environment import WEIGHTS_VARIABLE
from neuronpath_core.support.files import own_path, path_component, relative_path

HUB = "hf-hub:"
HUB_WEIGHTS, HUB_CONFIG = "model.safetensors", "config.json"
FORMATS = ("timm", "mae")
TIMM_LISTS = "a name that timm.list_models(pretrained=True) gives"
# arguments of timm.create_model that would load weights past every check, or give no classifier
RESERVED = {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path",
            "cache_dir", "features_only"}


class WeightsMissing(ValueError):
    """A weight file is nowhere it is looked for; the message says where that was and how to get it.
    """


def check_entry(spec: Mapping) -> None:
    """Raise ``ValueError`` for a model entry that contradicts itself; see
    :func:`~neuronpath_core.models.build.load_model` for what one may hold."""
    if len({"architecture", "timm"} & set(spec)) != 1:
        raise ValueError("a model entry names no model, or two; accepted: either 'architecture' "
                         "(VisionTransformer arguments) or 'timm' (a timm model name)")
    name, arguments = spec.get("timm", ""), spec.get("arguments") or {}
    if not isinstance(name, str) or (":" in name
                                     and not re.fullmatch(rf"{HUB}[\w.-]+/[\w.-]+(@[\w.-]+)?",
                                                          name)):
        raise ValueError(f"model name {name!r} is not accepted; accepted: a name that "
                         f"timm.list_models() gives, '{HUB}owner/name', '{HUB}owner/name@revision'")
    if not isinstance(arguments, Mapping) or RESERVED & set(arguments) or (arguments and not name):
        raise ValueError(f"arguments: {arguments!r} are not accepted; accepted: beside 'timm', a "
                         f"mapping without {', '.join(sorted(RESERVED))}")
    if not isinstance(spec.get("pretrained", False), bool):
        raise ValueError(f"pretrained: {spec['pretrained']!r} is not accepted; accepted: true, "
                         f"false")
    if spec.get("pretrained") and not name:
        raise ValueError("pretrained: true needs a timm name; accepted: weights: FILE beside an "
                         "architecture")
    if "weights" in spec and (spec.get("pretrained") or name.startswith(HUB)
                              or not isinstance(spec["weights"], str) or not spec["weights"]):
        raise ValueError(f"weights: {spec['weights']!r} are not accepted; accepted: a file name, "
                         f"without pretrained: true and a name on the hub")
    if name.startswith(HUB):
        for part in name.removeprefix(HUB).partition("@")[0].split("/"):
            path_component(part, f"model name {name!r}: a part")
    if "weights" in spec and not own_path(spec["weights"]).is_absolute():
        relative_path(spec["weights"], "weights")
    if {"format", "url"} & set(spec) and ("weights" not in spec
                                          or spec.get("format", "timm") not in FORMATS):
        raise ValueError(f"format: {spec.get('format')!r} or a url is not accepted; accepted: "
                         f"beside 'weights', format: {' or '.join(FORMATS)}")
    if not isinstance(spec.get("wrapper", "model"), str) or ("wrapper" in spec
                                                             and "weights" not in spec):
        raise ValueError(f"wrapper: {spec['wrapper']!r} is not accepted; accepted: beside "
                         f"'weights', the name of a state dict in the file")
    if not isinstance(spec.get("unencrypted", False), bool):
        raise ValueError(f"unencrypted: {spec['unencrypted']!r} is not accepted; accepted: true, "
                         f"false")
    if not re.match("(https?|ftp|file)://", str(spec.get("url") or "https://")):
        raise ValueError(f"url: {spec['url']!r} is not accepted; accepted: one that begins with "
                         f"https://, http://, ftp:// or file://")


@dataclass(frozen=True)
class WeightSource:
    """What a model entry reads: its name in messages, local places in order, a repository and its
    files (weights last), or a url."""

    name: str
    places: tuple[Path, ...]
    repository: str | None = None
    revision: str | None = None
    files: tuple[str, ...] = ()
    url: str | None = None
    target: str = ""  # below a folder of weights, where a download goes

    def find(self) -> Path | None:
        for place in self.places:
            # a model on the hub is its weights and its configuration
            if place.is_file() and all((place.parent / file).is_file() for file in self.files[:-1]):
                return place
        cached = [self._cached(file) for file in self.files]
        return cached[-1] if cached and all(cached) else None

    def _cached(self, file: str) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        path = try_to_load_from_cache(self.repository, file,
                                      revision=self.revision) if self.repository else None
        return Path(path) if isinstance(path, str) else None

    def looked_in(self) -> str:
        from huggingface_hub import constants

        cache = [f"the Hugging Face cache {constants.HF_HUB_CACHE}"] if self.repository else []
        return ", ".join([*map(str, self.places), *cache])


def _weights_folder() -> Path | None:
    named = os.environ.get(WEIGHTS_VARIABLE)
    if not named:
        return None
    folder = own_path(named)
    if not folder.is_dir():
        raise WeightsMissing(f"the folder of weights {named} ({WEIGHTS_VARIABLE}, --weights) is "
                             f"not there; accepted: an existing folder")
    return folder


def weight_source(spec: Mapping, root: Path, folder: Path | None) -> WeightSource | None:
    """What an entry reads, looked for in ``folder`` too; ``None`` where it needs no weights."""
    check_entry(spec)
    name = spec.get("timm", "")
    if "weights" in spec:
        file = own_path(spec["weights"])
        places = dict.fromkeys(base / file for base in (folder, Path(root)) if base is not None)
        return WeightSource(str(spec["weights"]), tuple(places), url=spec.get("url"),
                            target=str(file))
    if name.startswith(HUB):
        repository, _, revision = name.removeprefix(HUB).partition("@")
        files = (HUB_CONFIG, HUB_WEIGHTS) if spec.get("pretrained", True) else (HUB_CONFIG,)
        places = () if folder is None else (folder / repository / files[-1],)
        return WeightSource(repository, places, repository, revision or None, files,
                            target=repository)
    if not spec.get("pretrained"):
        return None
    full, repository = _registered(name)
    places = [folder / place for each in dict.fromkeys((name, full))
              for place in (f"{each}.safetensors", f"{each}/{HUB_WEIGHTS}")] if folder else []
    return WeightSource(full, tuple(places), repository, None, (HUB_WEIGHTS,), target=full)


def _registered(name: str) -> tuple[str, str | None]:
    """A timm name with its tag, and the repository of its weights."""
    try:
        known = timm.models.get_pretrained_cfg(name) if timm.is_model(name) else None
    except RuntimeError:  # a tag that the architecture does not have
        known = None
    if known is None or not known.has_weights:
        tags = timm.list_models(f"{name.partition('.')[0]}.*", pretrained=True)
        raise ValueError(f"timm knows no pretrained weights of {name!r}; accepted: pretrained: "
                         f"false, weights: FILE, or {', '.join(tags) or TIMM_LISTS}")
    return f"{known.architecture}.{known.tag}" if known.tag else known.architecture, known.hf_hub_id


def locate(spec: Mapping, root: Path, profile: str | None = None) -> Path | None:
    """The weight file of a model entry; None where the entry needs none (fresh weights).

    Args:
        spec: a profile's model entry; see the module's description.
        root: the project's folder.
        profile: its name, for the command in the message.

    Raises:
        WeightsMissing: (a ``ValueError``) it is nowhere; the message names the places and how to
            get it.
        ValueError: a timm name without weights, or no name at all.
    """
    source = weight_source(spec, root, _weights_folder())
    if source is None:
        return None
    if path := source.find():
        return path
    command = f"'neuronpath download --profile {profile or 'NAME'} --weights DIR'"
    if source.repository:
        at = f" --revision {source.revision}" if source.revision else ""
        how = f"{command}, or 'hf download {source.repository} {' '.join(source.files)}{at}'"
    elif source.url:
        how = f"{command}, or {source.url} saved as {source.places[0]}"
    else:
        how = (f"a file there, or below the folder that --weights DIR ({WEIGHTS_VARIABLE}) names; "
               "'make weights' trains those of the project's own profiles")
    raise WeightsMissing(f"weights {source.name} not found; looked for {source.looked_in()}; "
                         f"accepted: {how}")


def missing(spec: Mapping, root: Path, profile: str | None = None) -> str | None:
    """None if the weight file of a model entry is there, else one line: which, where it was looked
    for, how to get it.  Errors as :func:`locate`."""
    try:
        locate(spec, root, profile)
    except WeightsMissing as error:
        return str(error)
    return None
