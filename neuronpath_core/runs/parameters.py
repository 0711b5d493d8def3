"""Parameters of notebooks: which one has which, what each accepts, and what a profile gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

from neuronpath_core.chapters.benchmarks.speed import devices
from neuronpath_core.fast.contexts import CONTEXTS
from neuronpath_core.images.data_sets import load_part
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.models import build
from neuronpath_core.quadrature import QUADRATURES
from neuronpath_core.runs.chapter import Chapter
from neuronpath_core.runs.choice import notebook_names
from neuronpath_core.scores import METHODS
from neuronpath_core.study.profiles import DEFAULT_PROFILE, load_profile, profile_names
from neuronpath_core.study.schema import (
    COUNT,
    IMAGES,
    KINDS_OF_PARAMETERS,
    is_image_count,
    names_once,
)
from neuronpath_core.study.vlm_profiles import is_vlm, vlm_entries
from neuronpath_core.support.typed import nearest, shown
from neuronpath_core.variants.sites import SITES

QUICK, FEWEST = 10, 10  # a quick run has a tenth of the images, and so many where there are
# numbers of scenes, and of what is asked and said of them, with the fewest of a quick run: a neuron
# of a vision-language model keeps its 50 top scenes, and there are 7 kinds of question
FEWEST_SCENES = {"n_scenes": 60, "n_questions": 14, "n_captions": FEWEST, "n_influence": 7,
                 "words": FEWEST}

Check = tuple[Callable[[Any], bool], str]  # of a value, and what it accepts in words


def _one_of(names: Sequence[str]) -> Check:
    return (lambda value: isinstance(value, str) and value in names), f"one of {', '.join(names)}"


def _some_of(names: Sequence[str]) -> Check:
    kind = names_once(list(names))
    return kind.accepts, kind.accepted


def n_classes(root: Path, profile: str) -> int:
    """How many classes a profile's held-out images are of; 0 where there are none, which is said
    with whatever else a run lacks."""
    try:
        return len(load_part(load_profile(profile, root)["dataset"], "held_out",
                             base=root).labels.unique())
    except ValueError:
        return 0


def _image_counts(root: Path, profile: dict) -> Check:
    """Numbers of images that can be spread evenly over the held-out images' classes; the data are
    loaded when first asked."""
    @cache
    def held_out() -> ImageSet | None:
        try:
            return load_part(profile["dataset"], "held_out", base=root)
        except ValueError:
            return None  # that there are no images is said with whatever else a run lacks

    def accepted(value: Any, of_each: int = 0) -> bool:
        if held_out() is not None:
            held_out().balanced(value, of_each=of_each)  # says itself what it accepts
        return IMAGES.accepts(value)
    return accepted, IMAGES.accepted


def parameter_checks(root: Path, profile: dict) -> dict[str, Check]:
    """For every parameter that a notebook may have: a test of its value, and what it accepts in
    words; the same for what a profile gives and what is typed."""
    every = vlm_entries(profile) if is_vlm(profile) else profile["models"]
    names, profiles = list(every), profile_names(root)
    measured, dtypes = devices(root), list(build.DTYPES)
    return {
        **{name: (kind.accepts, kind.accepted) for name, kind in KINDS_OF_PARAMETERS.items()},
        **dict.fromkeys(image_counts(root), _image_counts(root, profile)),
        # of one chapter each
        **dict.fromkeys(("copies", "scenes", "several_neurons", *FEWEST_SCENES),
                        (COUNT.accepts, COUNT.accepted)),
        **dict.fromkeys(("profile", "placed_profile"), _one_of(profiles)),
        "profiles": _some_of(profiles),
        "model": _one_of(names),
        **dict.fromkeys(("models", "pictured", "pruning_models"), _some_of(names)),
        "sites": _some_of(list(SITES)),
        "methods": _some_of(list(METHODS)),
        "quadrature": _one_of(QUADRATURES),
        "context": _one_of(CONTEXTS),
        "measurements": (_one_of(measured)[0], f"one of {', '.join(measured)}, of which "
                                               f"benchmarks/ has measurements"),
        "other_dtypes": _some_of(dtypes),
        "dtype": _one_of(dtypes),
    }


def image_counts(root: Path) -> list[str]:
    """The parameters of any notebook that are numbers of images."""
    return sorted({name for notebook in notebook_names(root)
                   for name in own_parameters(root, notebook) if is_image_count(name)})


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


def quick_counts(values: Mapping[str, Any], of_each: Mapping[str, int], classes: int
                 ) -> dict[str, int]:
    """A notebook's numbers of images for a quick run: a tenth of each, but at least 10, and as many
    of every class as it needs; of scenes and of questions about them at least ``FEWEST_SCENES``.
    Never more than the notebook itself takes."""
    least = {**FEWEST_SCENES, **{name: max(FEWEST, of_each.get(name, 0) * classes)
                                 for name in values if is_image_count(name)}}
    return {name: min(value, max(ceil(value / QUICK), least[name]))
            for name, value in values.items() if name in least}


def check_parameters(notebook: str, known: list[str],
                     checks: Mapping[str, Check], values: Mapping[str, Any],
                     least_models: int = 1, of_each: Mapping[str, int] | None = None) -> None:
    """Raise ``ValueError`` for a parameter that the notebook does not have, a value that it does
    not accept, fewer models than the notebook compares, or fewer images than it needs of every
    class: ``of_each`` has that number for the parameters that are such numbers of images."""
    for name, value in values.items():
        if name not in known:
            near = nearest(name, known)
            raise ValueError(f"notebook {notebook} has no parameter {name!r}"
                             f"{f', nearest is {near}' if near else ''}; accepted: "
                             f"{', '.join(known)}")
        if name not in checks:
            raise ValueError(f"parameter {name} of notebook {notebook} has no check, so no other "
                             f"value than its own; accepted: {', '.join(checks)}")
        accepted, words = checks[name]
        needed = {"of_each": of_each[name]} if of_each and name in of_each else {}
        try:
            fits = accepted(value, **needed)
        except ValueError as error:
            raise ValueError(f"parameter {name} of notebook {notebook}: {error}") from error
        if not fits:
            raise ValueError(f"parameter {name} of notebook {notebook} cannot be {shown(value)}; "
                             f"accepted: {words}")
        if name == "models" and len(value) < least_models:
            raise ValueError(f"notebook {notebook} compares {least_models} models, and models are "
                             f"{value!r}; accepted: {least_models} or more")
