"""Counterfactual pairs of rendered scenes: the same scene with one thing changed, everything else
drawn alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.images.settings import check_settings
from neuronpath_core.images.shapes import ATTRIBUTES, PARTS, Scene, render, scene_set
from neuronpath_core.support.tensors import is_ordinary
from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64

Change = Literal["object", "outline", "fill", "colour", "background"]
CHANGES = tuple(ATTRIBUTES)
CHANGED = "changed"  # the mask of the pixels that may differ
PAIRED = ("shapes",)  # data sets whose images can be drawn again with one thing changed
DEFAULTS = {"seed": 0, "difficulty": 0.5}  # of load_shapes, where a profile leaves them out


def shape_pairs(dataset: Mapping[str, Any], indices: Sequence[int] | Int64[Tensor, "image"],
                change: Change, seed: int = 0,
                part: Literal["train", "held_out"] = "held_out") -> ImageSet:
    """The counterfactuals of some scenes, in the order of ``indices``: each is what
    :func:`~neuronpath_core.images.shapes.render` draws from the scene's own random numbers with one
    attribute changed.

    ================  =====================================  =================  ==================
    change            drawn instead                          label              pixels that may
                                                                                differ
    ================  =====================================  =================  ==================
    ``"object"``      nothing: its place shows what is       kept, though       where paint was
                      behind                                 nothing shows it
    ``"outline"``     one of the five other outlines         the new class      where paint came
                                                                                or went
    ``"fill"``        one of the three other fills           the new class      where paint came
                                                                                or went
    ``"colour"``      one of the seven other colours         kept               where paint is
    ``"background"``  one of the eight other pairs of a      kept               where paint does
                      kind and a tone                                           not cover all
    ================  =====================================  =================  ==================

    Paint covers the pixels along an edge in part.  Such a pixel may differ if its share of paint
    does, and with the background, which shows through in proportion to the rest.  Small discs and
    bars behind the object belong to no attribute and stay.

    The new value is drawn uniformly from all values but the scene's own, from
    ``default_rng([seed, part, index, 1 + number of the change])``, so that a pair is the same
    whatever else is asked for.

    Args:
        dataset: the ``dataset`` entry of a profile, of the name ``shapes``.
        indices: numbers of scenes in the part, as ``ImageSet.ids`` has them; repeated or not.
        change: what is changed.
        seed: of the choice of the new value, not of the data set.
        part: that the scenes are of.

    Returns:
        images ``(len(indices), 3, 32, 32)``, float64 in ``[-1, 1]`` on the CPU, with the ids of
        their originals.  Labels, captions and the masks ``object``, ``outline``, ``fill`` and
        ``colour`` are those of the counterfactual; the mask ``changed`` holds every pixel that may
        differ: outside it original and counterfactual are equal.  A caption ends with what was
        changed, from what to what.

    Raises:
        ValueError: a data set without pairs, settings that it refuses, an unknown change or part, a
            seed that is no whole number of at least 0, or indices that are none of the part's.
    """
    _check_request(dataset, change, seed)
    if part not in PARTS:
        raise ValueError(f"unknown part {shown(part)}; accepted: {', '.join(PARTS)}")
    return _pairs([_drawn(dataset, part, index) for index in _checked(indices, dataset, part)],
                  dataset, change, seed)


def pairs_for(dataset: Mapping[str, Any], images: ImageSet, change: Change,
              seed: int = 0) -> ImageSet:
    """:func:`shape_pairs` of images that are at hand, such as ``study.images(100)`` of a study with
    ``study.settings["dataset"]``: their scenes are found by their ids.

    Every scene is drawn again and compared with the image that it is to stand for, which also tells
    the part.

    Args:
        dataset: the ``dataset`` entry of the images' profile, of the name ``shapes``.
        images: scenes of one part, in any order, as they were loaded; their labels are not looked
            at.
        change, seed: as of :func:`shape_pairs`.

    Returns:
        one counterfactual an image, in their order, in the dtype and on the device of theirs.

    Raises:
        ValueError: no images, images that are not the scenes that their ids name, and what
            :func:`shape_pairs` refuses.
    """
    _check_request(dataset, change, seed)
    if not isinstance(images, ImageSet) or len(images) == 0:
        found = "none" if isinstance(images, ImageSet) else type(images).__name__
        raise ValueError(f"pairs are made for the images of an ImageSet, got {found}; accepted: "
                         f"at least one scene of the data set")
    found = [_scenes_of(dataset, part, images) for part in PARTS]
    # the part of which the most images are scenes, so that a refusal names the first that is not
    part = max((0, 1), key=lambda number: len(found[number]))
    if len(found[part]) < len(images):
        wrong = len(found[part])
        raise ValueError(f"image {wrong} (id {int(images.ids[wrong])}) is not the scene of that "
                         f"number of either part of this data set; accepted: scenes of one part "
                         f"as they were loaded with its settings")
    pairs = _pairs(found[part], dataset, change, seed)
    return replace(pairs, images=pairs.images.to(images.images))


def _check_request(dataset: Mapping[str, Any], change: str, seed: int) -> None:
    name = dataset.get("name") if isinstance(dataset, Mapping) else None
    if not is_one_of(name, PAIRED):
        given = shown(name) if isinstance(dataset, Mapping) else type(dataset).__name__
        raise ValueError(f"data set {given} has no counterfactual pairs; accepted: the dataset "
                         f"entry of a profile whose name is {', '.join(PAIRED)}")
    check_settings(dataset)
    if not is_one_of(change, CHANGES):
        raise ValueError(f"unknown change {shown(change)}; accepted: {', '.join(CHANGES)}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed cannot be {shown(seed)}; accepted: a whole number of at least 0")


def _checked(indices: Sequence[int] | Tensor, dataset: Mapping[str, Any], part: str) -> list[int]:
    count = dataset[f"{part}_images"]
    accepted = f"accepted: at least one whole number from 0 to {count - 1}"
    array = indices.detach().cpu().numpy() if is_ordinary(indices) else indices
    try:
        numbers = np.asarray(array)
    except ValueError:  # rows of different lengths
        numbers = np.empty((0, 0))
    if numbers.ndim != 1 or len(numbers) == 0 or numbers.dtype.kind not in "iu":
        raise ValueError(f"indices of scenes cannot be {shown(indices)}; {accepted}")
    if numbers.min() < 0 or numbers.max() >= count:
        raise ValueError(f"indices of scenes lie in {numbers.min()}..{numbers.max()}; {accepted}")
    return numbers.tolist()


def _drawn(dataset: Mapping[str, Any], part: str, index: int,
           change: Mapping[str, str | None] | None = None) -> tuple[str, int, Scene]:
    settings = {name: dataset.get(name, value) for name, value in DEFAULTS.items()}
    return part, index, render(part, index, **settings, change=change)


def _scenes_of(dataset: Mapping[str, Any], part: str,
               images: ImageSet) -> list[tuple[str, int, Scene]]:
    """The scenes that the ids name, up to the first that is not the image."""
    scenes: list[tuple[str, int, Scene]] = []
    for place, index in enumerate(images.ids.tolist()):
        if not 0 <= index < dataset[f"{part}_images"]:
            break
        drawn = _drawn(dataset, part, index)
        seen = scene_set([drawn[2]], [index])
        if not (np.array_equal(seen.pixels[0], images.pixels[place])
                and torch.equal(seen.images[0].to(images.images), images.images[place])):
            break
        scenes.append(drawn)
    return scenes


def other_value(scene: Scene, part: str, index: int, change: Change, seed: int) -> str | None:
    """What a scene's attribute becomes: drawn uniformly from the values that it does not have.

    Args:
        scene: as it was drawn at first.
        part, index: of the scene.
        change, seed: as of :func:`shape_pairs`.
    """
    others = [value for value in ATTRIBUTES[change]
              if change not in scene.attributes or value != scene.attributes[change]]
    # the last number is not 0: default_rng takes [a, b, c] and [a, b, c, 0] for the same
    rng = np.random.default_rng([seed, PARTS.index(part), index, 1 + CHANGES.index(change)])
    return others[int(rng.integers(len(others)))]


def may_differ(original: Scene, counterfactual: Scene,
               change: Change) -> Bool[np.ndarray, "height width"]:
    """Where one change of a scene may show."""
    if change == "background":
        return original.painted < 1
    if change == "colour":
        return original.painted > 0
    return original.painted != counterfactual.painted


def _pairs(drawn: list[tuple[str, int, Scene]], dataset: Mapping[str, Any], change: Change,
           seed: int) -> ImageSet:
    scenes, changed, captions = [], [], []
    for part, index, original in drawn:
        value = other_value(original, part, index, change, seed)
        *_, scene = _drawn(dataset, part, index, {change: value})
        before = original.attributes.get(change) or original.caption.split(" on a ")[0]
        scenes.append(scene)
        changed.append(may_differ(original, scene, change))
        captions.append(f"{scene.caption}, {change} changed from {before} to {value or 'none'}")
    pairs = scene_set(scenes, [index for _, index, _ in drawn])
    return replace(pairs, masks={**pairs.masks, CHANGED: np.stack(changed)},
                   captions=tuple(captions))
