"""What a model's classes are called, and which one somebody means."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from neuronpath_core.images.class_map import same_name
from neuronpath_core.images.model_names import configured_names, tell_order
from neuronpath_core.images.wordnet import TIMM_NAMES, wordnet_classes
from neuronpath_core.support.tensors import is_ordinary
from neuronpath_core.support.text import keep_dollars, shown
from neuronpath_core.support.typed import nearest

if TYPE_CHECKING:
    from jaxtyping import Float

AUTO = "auto"


def class_names(model: nn.Module, count: int, names: str | Sequence[str] | None = None
                ) -> tuple[tuple[str, ...], str]:
    """A name for each of a model's classes, and a sentence that says whose names they are.

    Args:
        model: whose configuration may bring names (``label_names`` and ``label_descriptions`` of
            a timm model on the hub).
        count: C.
        names: one for each class; ``"timm"`` or ``"timm/LIST"`` for one of timm's lists. ``None``
            for those of the configuration, else timm's where a timm model has as many classes as
            its published weights and timm's first list, else "class 0", "class 1", ….

    A warning tells of names that are given in another order than the configuration's.

    Raises:
        ValueError: names of another number, no texts, or an unknown list.
    """
    if names is None:
        found, whose = _own(model, count)
    elif isinstance(names, str):
        if names.partition("/")[0] != TIMM_NAMES:
            raise ValueError(f"class_names cannot be {shown(names)}; accepted: a list of {count} "
                             f"names, {TIMM_NAMES}, or {TIMM_NAMES}/LIST")
        found, whose = wordnet_classes(names.partition("/")[2] or None)[1], (
            "Classes have timm's names, as was asked for.")
    else:
        given = list(names) if isinstance(names, Sequence) else [names]
        if not all(isinstance(name, str) and name.strip() for name in given):
            raise ValueError(f"class_names cannot be {shown(names)}; accepted: a list of {count} "
                             "texts that are not empty")
        found, whose = tuple(given), "Classes have the names that were given."
    if len(found) != count:
        raise ValueError(f"class_names are {len(found)}, the model has {count} classes; accepted: "
                         f"{count} names, in the order of the model's outputs")
    keep_dollars(found)
    if names is not None and not isinstance(names, str):
        tell_order(found, model, count)
    return tuple(found), whose


def _own(model: nn.Module, count: int) -> tuple[tuple[str, ...], str]:
    config = getattr(model, "pretrained_cfg", None) or {}
    own = configured_names(config)
    if own is not None and len(own) == count:
        return own, "Classes have the names of the model's configuration."
    known = wordnet_classes()[1]
    if count == len(known) == config.get("num_classes"):
        return known, (f"Classes have timm's names for models with {count} classes of this "
                       "architecture; a model trained on others needs class_names.")
    return tuple(f"class {index}" for index in range(count)), (
        "Nothing says what the classes are called; class_names does.")


def chosen_class(label: int | str, names: Sequence[str],
                 probabilities: Float[Tensor, "class"]) -> int:
    """The class that a label means: its number, its name, or ``"auto"`` for the most probable one.

    A name is told by its letters, without regard to case where no name has them as typed; a text of
    digits is a name where there is such a name, else a number.

    Raises:
        ValueError: a class that the model does not have, a name that several have, or digits that
            are the name of one class and the number of another.
    """
    count = len(names)
    accepted = f"accepted: {AUTO}, a number in 0..{count - 1}, or the name of a class"
    if is_ordinary(label) and label.numel() == 1 and label.dtype == torch.int64:
        label = int(label)
    if isinstance(label, numbers.Integral) and not isinstance(label, bool):
        if not 0 <= label < count:
            raise ValueError(f"the model has no class {label}; {accepted}")
        return int(label)
    if not isinstance(label, str):
        raise ValueError(f"label cannot be {shown(label)}; {accepted}")
    wanted, known = same_name(label.strip()), list(map(same_name, names))
    meant = [index for index, name in enumerate(known) if name == wanted] or [
        index for index, name in enumerate(known) if name.casefold() == wanted.casefold()]
    digits = wanted.isdecimal() and wanted.isascii()
    number = int(wanted) if digits and int(wanted) < count else None
    if len(meant) > 1:
        raise ValueError(f"label {shown(label)} is the name of classes "
                         f"{', '.join(map(str, meant))}; accepted: one of these numbers")
    if meant and number not in (None, meant[0]):
        raise ValueError(f"label {shown(label)} is the name of class {meant[0]} and the number of "
                         f"{shown(names[number])}; accepted: the number {meant[0]} or the name "
                         f"{shown(names[number])}")
    if meant or number is not None:
        return meant[0] if meant else number
    if wanted == AUTO:
        return int(probabilities.argmax())
    near = None if digits else nearest(wanted, {name.lower() for name in known})
    raise ValueError(f"the model has no class {shown(label)}"
                     f"{f', nearest is {shown(near)}' if near else ''}; {accepted}")
