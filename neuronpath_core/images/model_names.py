"""What a model itself calls its outputs, held against what classes of images are called."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence

from torch import nn

from neuronpath_core.images.class_map import same_name
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.images.index import PictureWarning
from neuronpath_core.images.wordnet import wordnet_classes
from neuronpath_core.support.text import listed, plain

FEW = 10  # names that a refusal spells out, to be copied into a profile
# names that only count the classes, or that timm tells apart by their WordNet ids
NO_NAME = re.compile(r"(?i)(class|label)?[ _-]?\d+|.* \(n\d{8}\)")


def configured_names(config: Mapping) -> tuple[str, ...] | None:
    """What timm's configuration of a model calls its classes, ``label_names`` by their
    ``label_descriptions`` where there are any; ``None`` where it calls them nothing."""
    labels, words = config.get("label_names"), config.get("label_descriptions")
    words = words if isinstance(words, Mapping) else {}
    if not isinstance(labels, (list, tuple)):
        return None
    return tuple(str(words.get(each, each)) for each in map(str, labels))


def core(name: str) -> str:
    """A name without what people write in several ways: capitals, spaces, marks between words."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def check_order(images: ImageSet, model: nn.Module, model_name: str, count: int) -> None:
    """Refuse images whose classes have other numbers than the outputs that the model's own
    configuration calls by the same names; warn where a class map says so, and where names differ.

    Nothing is said where the configuration has no names, or not one for each output.

    Args:
        count: of outputs.

    Raises:
        ValueError: classes of other numbers, unless a class map gives them.
    """
    own, found = _compared(images.class_names, model, count)
    moved = [number for number, output in found.items() if number != output]
    if moved:
        _tell_moved(images, own, found, moved, model_name)
    elif own and not getattr(images, "numbered", False):
        _tell_others(images.class_names, own, found, model_name)


def tell_order(names: Sequence[str], model: nn.Module, count: int) -> None:
    """Warn, in one line, of names that somebody gives to a model's outputs and that its own
    configuration gives to others."""
    own, found = _compared(names, model, count)
    some = [f"{plain(names[number])} is given to output {number} and the model's own name of "
            f"output {output}" for number, output in found.items() if number != output]
    if some:
        warnings.warn(f"{len(some)} of the class names are in another place than the model's own: "
                      f"{listed(some)}; those that are given are taken", PictureWarning,
                      stacklevel=4)


def _compared(names: Sequence[str], model: nn.Module, count: int
              ) -> tuple[tuple[str, ...], dict[int, int]]:
    """The model's own names of its outputs, and class -> output of the same name; both empty where
    the configuration has no names, or not one for each output."""
    own = configured_names(config := getattr(model, "pretrained_cfg", None) or {})
    if own is None or len(own) != count:
        return (), {}
    return own, _outputs(names, [*map(str, config["label_names"])], own)


def _outputs(names: Sequence[str], labels: Sequence[str], own: Sequence[str]) -> dict[int, int]:
    """Class -> output of the same name: the one that has it to the letter, else the one of the
    class's own number if it can be written so, else the only one that can."""
    ids, words = wordnet_classes()
    forms = [[label, name, *([words[ids[label]]] if label in ids else [])]
             for label, name in zip(labels, own, strict=True)]
    levels = [(write, [set(map(write, names)) for names in forms]) for write in (
        same_name, core, lambda name: core(name.split(",")[0]))]
    known = [(write, _unique(written)) for write, written in levels]
    found = {}
    for number, name in enumerate(names):
        fits = [which.get(write(name)) for write, which in known]
        if number < len(own) and any(write(name) in written[number] for write, written in levels):
            fits.insert(1, number)
        found[number] = next((output for output in fits if output is not None), None)
    return {number: output for number, output in found.items() if output is not None}


def _unique(forms: Iterable[set[str]]) -> dict[str, int]:
    """Name -> output, of the names that one output alone has."""
    outputs: dict[str, set[int]] = {}
    for output, names in enumerate(forms):
        for name in names:
            outputs.setdefault(name, set()).add(output)
    return {name: min(which) for name, which in outputs.items() if name and len(which) == 1}


def _tell_moved(images: ImageSet, own: Sequence[str], found: Mapping[int, int],
                moved: Sequence[int], model_name: str) -> None:
    names = images.class_names
    some = listed([f"{names[number]} is class {number} and output {found[number]}"
                   for number in moved])
    said = (f"the images' classes are {listed(names)}, in this order, and {model_name} itself "
            f"calls its outputs {listed(own)}: {len(moved)} have another number ({some})")
    if getattr(images, "numbered", False):
        warnings.warn(f"{said}; the class map is followed", PictureWarning, stacklevel=4)
        return
    wanted = "the folders' names in the order of the model's outputs"
    if len(names) <= FEW and sorted(found.values()) == list(range(len(names))):
        wanted = f"[{listed([names[number] for number in sorted(found, key=found.get)], FEW)}]"
    raise ValueError(f"{said}; accepted: class_names: {wanted} in the data set's entry, or a "
                     "class_map where the model's own names are wrong")


def _tell_others(names: Sequence[str], own: Sequence[str], found: Mapping[int, int],
                 model_name: str) -> None:
    pairs = [f"{plain(name)} as {plain(called)}"
             for number, (name, called) in enumerate(zip(names, own, strict=False))
             if number not in found and not NO_NAME.fullmatch(name)
             and not NO_NAME.fullmatch(called)]
    if pairs:
        warnings.warn(f"{len(pairs)} of the images' {len(names)} classes have none of the names "
                      f"that {model_name} itself gives its outputs, and are taken by their "
                      f"numbers: {listed(pairs)}; class_names in the data set's entry, or a "
                      "class_map, says which is which", PictureWarning, stacklevel=4)
