"""Parameters of notebooks: which one has which, what each accepts, and what a profile gives it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from neuronpath_core.chapters.benchmarks.speed import devices
from neuronpath_core.fast.contexts import CONTEXTS
from neuronpath_core.images.data_sets import load_part
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.models import build
from neuronpath_core.quadrature import QUADRATURES
from neuronpath_core.runs.chapter import Chapter
from neuronpath_core.scores import METHODS
from neuronpath_core.study.profiles import DEFAULT_PROFILE, profile_names
from neuronpath_core.variants.sites import SITES


def _whole(least: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value,
                                    list) and len(value) > 0 and all(check(entry)
                                                                     for entry in value)


def _one_of(names: Sequence[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in names


def _device(value: Any) -> bool:
    """The form alone: whether this machine has it is said with whatever else a run lacks."""
    return isinstance(value, str) and re.fullmatch(r"cpu|cuda(:\d+)?", value) is not None


def _image_counts(root: Path, profile: dict) -> tuple[Callable[[Any], bool], str]:
    """Numbers of images that can be spread evenly over the held-out images' classes; the data are
    loaded when first asked."""
    @cache
    def held_out() -> ImageSet | None:
        try:
            return load_part(profile["dataset"], "held_out", base=root)
        except ValueError:
            return None  # that there are no images is said with whatever else a run lacks

    def accepted(value: Any) -> bool:
        if held_out() is not None:
            held_out().balanced(value)  # says itself what it accepts
        return True
    return accepted, "a whole number"


def parameter_checks(root: Path, profile: dict) -> dict[str, tuple[Callable[[Any], bool], str]]:
    """For every parameter that a notebook may have: a test of its value, and what it accepts in
    words."""
    names, share = list(profile["models"]), "numbers from 0 to 1"
    model = (_one_of(names), f"one of {', '.join(names)}")
    images = _image_counts(root, profile)
    positive = (_whole(1), "a whole number of at least 1")
    several = (_list_of(model[0]), f"a list of one or more of {', '.join(names)}")
    return {
        "profile": (_one_of(profile_names(root)), f"one of {', '.join(profile_names(root))}"),
        "profiles": (_list_of(_one_of(profile_names(root))),
                     f"a list of one or more of {', '.join(profile_names(root))}"),
        "model": model,
        "models": several,
        "pruning_models": several,
        "sites": (_list_of(_one_of(list(SITES))), f"a list of one or more of {', '.join(SITES)}"),
        "methods": (_list_of(_one_of(METHODS)), f"a list of one or more of {', '.join(METHODS)}"),
        "quadrature": (_one_of(QUADRATURES), f"one of {', '.join(QUADRATURES)}"),
        "context": (_one_of(CONTEXTS), f"one of {', '.join(CONTEXTS)}"),
        "steps": (lambda value: value in (None, "auto") or _whole(1)(value),
                  "a whole number of at least 1, auto, or null for the rule's own number"),
        "nodes": (lambda value: value is None or _whole(1)(value),
                  "a whole number of at least 1, or null for as many as steps"),
        **dict.fromkeys(image_counts(root), images),
        **dict.fromkeys(("top", "toys", "repeats", "width", "draws", "budget"), positive),
        **dict.fromkeys(("splits", "networks"), (_whole(2), "a whole number of at least 2")),
        "shown": (lambda value: value is None or _list_of(_whole(0))(value),
                  "a list of class numbers, or null for all"),
        "strength": (_positive, "a positive number"),
        "strengths": (_list_of(_positive), "a list of positive numbers"),
        "tops": (_list_of(_whole(1)), "a list of whole numbers of at least 1"),
        "shares": (_list_of(lambda value: isinstance(value, int | float) and 0 <= value <= 1),
                   f"a list of {share}"),
        "measurements": (_one_of(devices(root)),
                         f"one of {', '.join(devices(root))}, of which benchmarks/ has "
                         f"measurements"),
        "seed": (_whole(0), "a whole number of at least 0"),
        "device": (_device, "a device: cpu, cuda, cuda:1, …"),
        "other_dtypes": (_list_of(_one_of(list(build.DTYPES))),
                         f"a list of one or more of {', '.join(build.DTYPES)}"),
        "dtype": (_one_of(list(build.DTYPES)), f"one of {', '.join(build.DTYPES)}"),
        "progress": (lambda value: isinstance(value, bool), "true or false"),
    }


def is_image_count(name: str) -> bool:
    """Whether a parameter is a number of images, as its name says: ``pool_images``."""
    return name.endswith("_images")


def image_counts(root: Path) -> list[str]:
    """The parameters of any notebook that are numbers of images."""
    return sorted({name for path in (root / "notebooks").glob("[0-9]*.ipynb")
                   for name in own_parameters(root, path.stem) if is_image_count(name)})


def own_parameters(root: Path, notebook: str) -> dict[str, Any]:
    """The parameters that a notebook declares, with their values."""
    return Chapter.read(root, notebook).parameters


def profile_parameters(profile: str, entries: Mapping, notebook: str,
                       own: Mapping[str, Any]) -> dict[str, Any]:
    """What a run with this profile gives a notebook beside the notebook's own values.

    The default profile gives nothing but its entries for the notebook, since the notebooks' own
    values are those of a run with it.  Another one also gives its name and, where the notebook's
    models are not all among its own, as many of its models.
    """
    given = dict(entries["notebooks"].get(notebook) or {})
    # one without models and images of a profile is the same with every profile
    if profile == DEFAULT_PROFILE or not {"profile", "profiles", "model", "models",
                                          "n_images"} & set(own):
        return given
    names = list(entries["models"])
    for name in ("models", "pruning_models"):
        if name in own and name not in given and not set(own[name]) <= set(names):
            given[name] = names[:len(own[name])]
    if "model" in own and "model" not in given and own["model"] not in names:
        given["model"] = names[0]
    return given | ({"profiles": [profile]} if "profiles" in own else {"profile": profile})


def check_parameters(notebook: str, known: list[str],
                     checks: Mapping[str, tuple[Callable[[Any], bool], str]],
                     values: Mapping[str, Any], least_models: int = 1) -> None:
    """Raise ``ValueError`` for a parameter that the notebook does not have, a value that it does
    not accept, or fewer models than the notebook compares."""
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"notebook {notebook} has no parameter {name!r}; accepted: "
                             f"{', '.join(known)}")
        if name not in checks:
            raise ValueError(f"parameter {name} of notebook {notebook} has no check, so no other "
                             f"value than its own; accepted: {', '.join(checks)}")
        accepted, words = checks[name]
        try:
            fits = accepted(value)
        except ValueError as error:
            raise ValueError(f"parameter {name} of notebook {notebook}: {error}") from error
        if not fits:
            raise ValueError(f"parameter {name} of notebook {notebook} cannot be {value!r}; "
                             f"accepted: {words}")
        if name == "models" and len(value) < least_models:
            raise ValueError(f"notebook {notebook} compares {least_models} models, and models are "
                             f"{value!r}; accepted: {least_models} or more")
