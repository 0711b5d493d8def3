"""Which of a model's outputs each class of images is, and what the classes are called."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from neuronpath_core.images.class_map import check_names, same_name
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.images.model_names import check_order, core
from neuronpath_core.images.wordnet import TIMM_NAMES, wordnet_classes
from neuronpath_core.support.text import listed, plain


def class_numbers(classes: Mapping[str, int], targets: np.ndarray, class_names: str | list
                  | None = None, mapped: bool = False
                  ) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels and class names: which of a model's outputs stands for the class of each image.

    Args:
        classes: name -> index as the reader numbers them, folders in the order of their names;
            empty where classes have no names.
        targets: the reader's index for each image.
        class_names: ``"timm"``: the names are WordNet ids, any of those that timm knows; labels are
            timm's numbers, so that a folder with ten of a model's classes fits it.  ``"folder"``:
            labels are the reader's numbers.  A list: the name of every class; where all the
            reader's names are in it, labels are positions in it.  ``None``: ``"timm"`` if timm
            knows every name, else ``"folder"``.
        mapped: a class map has given the numbers, which stay.

    Returns:
        Labels, int64 ``(image,)``, and one name per class.

    Raises:
        ValueError: names that timm does not know, or a list that does not fit.
    """
    found, most = sorted(classes, key=classes.__getitem__), int(targets.max(initial=-1)) + 1
    fixed = mapped or not classes
    if isinstance(class_names, (list, tuple)):
        return _listed_numbers(classes, targets, class_names, most, fixed)
    if class_names is not None and (not isinstance(class_names, str)
                                    or class_names.partition("/")[0] not in (TIMM_NAMES, "folder")):
        raise ValueError(f"class_names cannot be {class_names!r}; accepted: {TIMM_NAMES}, folder, "
                         f"or a list of names")
    numbers, descriptions = wordnet_classes((class_names or "").partition("/")[2] or None)
    strange = [name for name in found if name not in numbers]
    if (class_names or "").startswith(TIMM_NAMES):
        if strange or most > len(descriptions) and fixed:
            raise ValueError(f"class_names are those of timm, which does not know "
                             f"{listed(strange) or f'a class number {most - 1}'}; "
                             "accepted: folders named by WordNet ids such as n01440764, or "
                             "class_names: folder")
        if not found:
            return targets, descriptions
    if found and not strange and not mapped and class_names != "folder":
        return _renumbered(classes, targets, numbers), descriptions
    names = [f"class {index}"
             for index in range(max([most, *(index + 1 for index in classes.values())]))]
    for name in reversed(found):
        described = mapped and class_names != "folder" and name in numbers
        names[classes[name]] = descriptions[numbers[name]] if described else plain(name)
    return targets, tuple(names)


def _listed_numbers(classes: Mapping[str, int], targets: np.ndarray, class_names: list | tuple,
                    most: int, fixed: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels and names by a list of names: positions in it where it has all the classes' names,
    else the numbers that the classes have."""
    check_names(class_names, "class_names")
    names = tuple(same_name(str(name)) for name in class_names)
    count = max(len(classes), most)
    strange = [name for name in classes if name not in names]
    if len(set(names)) < len(names) or most > len(names) or (not fixed and strange
                                                             and len(classes) != len(names)):
        raise ValueError(f"class_names lists {len(names)} names for {count} classes; accepted: "
                         f"different names, one for each class, or such that all folders' names "
                         f"are among them")
    if not fixed and 0 < len(strange) < len(classes):
        raise ValueError(f"class_names has some folders' names and lacks {len(strange)}: "
                         f"{listed(strange)}; accepted: all of them, each then called by its "
                         f"own name, or none, the classes then named in the folders' order")
    if not fixed and strange and (alike := _alike(strange, names)):
        raise ValueError(f"class_names are not the folders' names but nearly: {listed(alike)}; "
                         "accepted: the folders' own names, in the order of the model's outputs, "
                         "or others in the folders' order")
    shown = tuple(map(plain, names))
    if fixed or strange:
        return targets, shown
    return _renumbered(classes, targets, {name: index for index, name in enumerate(names)}), shown


def _alike(folders: list[str], names: tuple[str, ...]) -> list[str]:
    """Folders and names that differ only in capitals, spaces and marks between words."""
    meant = {core(name): name for name in names if core(name)}
    return [f"{folder} and {meant[core(folder)]}" for folder in folders if core(folder) in meant]


def _renumbered(classes: Mapping[str, int], targets: np.ndarray,
                numbers: Mapping[str, int]) -> np.ndarray:
    table = np.full(max(classes.values()) + 1, -1, np.int64)
    for name, index in classes.items():
        table[index] = numbers[name]
    return table[targets]


def check_classes(images: ImageSet, n_classes: int, model_name: str,
                  model: nn.Module | None = None) -> None:
    """Refuse images whose classes cannot be a model's outputs.

    Args:
        model: whose configuration may name its outputs; see
            :func:`~neuronpath_core.images.model_names.check_order`.

    Raises:
        ValueError: another number of classes than the model has outputs, unless a class map or the
            data set itself gives their numbers; a label that is not one of the outputs; or classes
            in another order than the model's own names.
    """
    count, most = len(images.class_names), int(images.labels.max()) + 1 if len(images) else 0
    if most <= n_classes and (count == n_classes or getattr(images, "numbered", False)):
        if model is not None:
            check_order(images, model, model_name, n_classes)
        return
    present = len(torch.unique(images.labels))
    hint = "class_names: folder, which numbers the folders in their order"
    if present != n_classes:
        hint = ("class_names: timm for folders named by WordNet ids, or a class_map, a text file "
                "with the folder of output 0 in its first line")
    some = listed([repr(name) for name in images.class_names])
    raise ValueError(f"the images have {count} classes ({some}), {present} of them with images "
                     f"and labels up to {most - 1}, but {model_name} has {n_classes} outputs; "
                     f"accepted: as many classes as outputs, {hint}")
