"""Which class each picture of a folder or tar file is of: the folder that it lies in, in the order
in which the folders are numbered."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from neuronpath_core.images.class_map import matched, same_name
from neuronpath_core.images.listing import Listing, natural_key
from neuronpath_core.support.text import listed

SPLIT_FOLDERS = {"train", "training", "val", "valid", "validation", "eval", "evaluation", "test"}
# timm takes one for the other
SAME_PART = ({"train", "training"}, {"val", "valid", "validation", "eval", "evaluation"})
ORDERS = {"natural": natural_key, "alphabetical": str}
CLASS_FOLDERS = {"first": 0, "last": -1}


@dataclass
class Labelled:
    """Pictures and the classes that they are of.

    Attributes:
        names: of the pictures, in natural order.
        targets: the number of each picture's class.
        classes: name -> number.
        orders_differ: timm and torchvision would number these folders differently.
        notes: what is to be told of the choice, a phrase each.
    """

    names: list[str]
    targets: list[int]
    classes: dict[str, int]
    orders_differ: bool
    notes: list[str]


def layout(root: str | Path | None) -> str:
    """How a folder of images has to look, as words."""
    root = "DIR" if root is None else root
    return (f"{root}/val/<class>/<image>.JPEG or {root}/<class>/<image>.jpg, a folder per class, "
            "also .jpeg and .png, or a .tar of such folders")


def is_same_part(first: str | None, second: str | None) -> bool:
    """Whether two names stand for one part of a data set."""
    return first == second or any({first, second} <= same for same in SAME_PART)


def labelled(found: Listing, split: str, class_map: Mapping[str, int] | None,
             class_folder: str | None, class_order: str | None) -> Labelled:
    """The class of every picture that was found.

    Args:
        split: the part that is asked for.
        class_map: name -> number; pictures of other classes are left out.
        class_folder: which of nested folders names the class, ``"first"`` as for torchvision or
            ``"last"`` as for timm; ``None`` refuses pictures for which that makes a difference.
        class_order: ``"natural"`` as for timm (also where ``None``), ``"alphabetical"`` as for
            torchvision.

    Raises:
        ValueError: pictures in no folder, in nested folders or of several parts, a class map that
            matches no folder, or two folders of one name in two Unicode forms.
    """
    for setting, value, accepted in (("class_folder", class_folder, CLASS_FOLDERS),
                                     ("class_order", class_order, ORDERS)):
        if value is not None and value not in [*accepted]:
            raise ValueError(f"{setting} cannot be {value!r}; accepted: {', '.join(accepted)}")
    folders = [[part for part in name.split("/")[:-1] if part != "."] for name in found.names]
    folders, notes = _unwrapped(found, folders, split, class_folder)
    _check_depth(found, folders, class_folder)
    own = [parts[CLASS_FOLDERS[class_folder or "last"]] for parts in folders]
    counts = Counter(map(same_name, own))
    if len(counts) < len(set(own)):
        raise ValueError(f"two folders in {found.root} have one name in two Unicode forms "
                         f"or bytes: {listed(_alike(own))}; accepted: one folder for each class")
    names = sorted(counts, key=ORDERS[class_order or "natural"])
    classes = {name: number for number, name in enumerate(names)}
    if class_map is not None:
        notes += matched(class_map, counts)
        classes = dict(class_map)
    kept = [(name, classes[same_name(label)]) for name, label in zip(found.names, own, strict=True)
            if same_name(label) in classes]
    return Labelled([name for name, _ in kept], [target for _, target in kept], classes,
                    sorted(names, key=natural_key) != sorted(names), notes + _empty(found))


def _alike(own: list[str]) -> list[str]:
    """Names that several folders have, as they are compared."""
    counts = Counter(map(same_name, set(own)))
    return [name for name, count in counts.items() if count > 1]


def _empty(found: Listing) -> list[str]:
    """Folders right below the root in which no picture is read."""
    used = {name.split("/")[0] for name in found.names}
    empty = [name for name in found.folders if name not in used]
    if not empty:
        return []
    return [f"folders without a picture that is read: {len(empty)} ({listed(empty)})"]


def _unwrapped(found: Listing, folders: list[list[str]], split: str,
               class_folder: str | None) -> tuple[list[list[str]], list[str]]:
    """The folders of each picture without those that hold all class folders, such as the one folder
    of a tar file, and what is to be told of that."""
    archive = bool(found.members)
    common = list(os.path.commonprefix(folders))
    if common and any(parts == common for parts in folders) and len(set(map(tuple, folders))) == 1:
        common.pop()  # all are of one class
    if class_folder is not None and not archive:
        common = []
    _check_parts(found, [*map(tuple, folders)], len(common), split)
    known = SPLIT_FOLDERS | {Path(found.root).stem.lower()}
    strange = [part for part in common if part.lower() not in known]
    notes = [f"all pictures lie in {'/'.join(common)}, whose folders are taken as classes"]
    return [parts[len(common):] for parts in folders], notes if strange else []


def _check_parts(found: Listing, folders: list[tuple[str, ...]], depth: int, split: str) -> None:
    """Refuse pictures that lie in folders named as parts of a data set, unless all are of the one
    that is asked for."""
    for level in range(depth + 1):
        names = {parts[level] for parts in folders if len(parts) > level + 1}
        flat = {parts[level] for parts in folders if len(parts) == level + 1}
        parts = sorted(name for name in names if name.lower() in SPLIT_FOLDERS)
        if not names and len(flat) > 1 and all(name.lower() in SPLIT_FOLDERS for name in flat):
            parts = sorted(flat)
        if parts and not (len(parts) == len(names | flat) == 1 and is_same_part(parts[0], split)):
            raise ValueError(f"{found.root} has no folder for the part {split!r} but "
                             f"{listed(parts)}; accepted: a split of that name, or a folder or tar "
                             f"file of one part, with nothing but class folders")


def _check_depth(found: Listing, folders: list[list[str]], class_folder: str | None) -> None:
    count = sum(not parts for parts in folders)
    if count:
        raise ValueError(f"{count} images lie in {found.root} itself, in no folder that names "
                         f"their class; accepted: {layout(found.root)}")
    nested = ["/".join(parts) for parts in folders if len(parts) > 1]
    if nested and class_folder is None:
        first, last = (sorted({parts[place] for parts in folders}) for place in (0, -1))
        raise ValueError(
            f"{len(nested)} images in {found.root} lie in folders within folders "
            f"({listed(list(dict.fromkeys(nested)))}): their class could be the first "
            f"({len(first)} classes: {listed(first)}) or the last of them ({len(last)}: "
            f"{listed(last)}); accepted: class_folder: first, as torchvision has it, or last, as "
            f"timm has it, in the data set's entry, or class folders without folders in them")
