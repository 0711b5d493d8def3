"""Images whose digests are declared: a file beside their folder says which they are, so that they
are told apart without being at hand, and checked once they are.

The file lies beside the folder that a profile names, ``data/cifar10.json`` beside
``data/cifar10``, and has an entry for each part: of every class the number of its images and one
SHA-256 over their names and contents. That of a class is what these commands print in the folder of
the part, with ``LC_ALL=C``::

    find cat -type f | sort | xargs sha256sum | sha256sum
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuronpath_core.images.file_images import FileImages
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.support.text import listed, plain

ENDING = ".json"


def record_file(dataset: Mapping[str, Any], base: Path) -> Path | None:
    """The file that declares the images of a profile's ``dataset`` entry; ``None`` where there is
    none, as for images that no folder of the study is named for.

    Args:
        dataset: the entry.
        base: the folder that a relative ``root`` starts from.
    """
    if dataset.get("name") != "files" or not dataset.get("root"):
        return None
    folder = base / str(dataset["root"])
    file = folder.with_name(folder.name + ENDING)
    return file if file.is_file() else None


def declared(dataset: Mapping[str, Any], base: Path, part: str = "held_out"
             ) -> dict[str, dict[str, Any]] | None:
    """Class → ``images``, their number, and ``sha256``, as declared for one part; ``None`` where
    nothing is declared.

    Args:
        dataset, base: of :func:`record_file`.
        part: ``"held_out"`` or ``"train"``, by the names that the entry gives them.

    Raises:
        ValueError: a file that is damaged or has no such part.
    """
    file = record_file(dataset, base)
    if file is None:
        return None
    split = dataset.get("split" if part == "held_out" else "train_split")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))[split]
        return {name: {"images": int(own["images"]), "sha256": str(own["sha256"])}
                for name, own in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} does not declare the images of {split!r}; accepted: for every "
                         f"class its number of images and their sha256") from error


def digests(images: FileImages) -> dict[str, dict[str, Any]]:
    """What a declaration of these images would be: class → ``images`` and ``sha256``.

    The digest of a class is that over a line for each of its files, in the order of their names:
    the SHA-256 of its bytes, two spaces, and its name within the part.
    """
    lines: dict[str, dict[str, str]] = {}
    for place in images.ids.tolist():
        name = images.source.name(place)
        found = hashlib.sha256(images.source.read(place)).hexdigest()
        lines.setdefault(name.partition("/")[0], {})[name] = f"{found}  {name}\n"
    return {folder: {"images": len(own), "sha256": hashlib.sha256("".join(
        own[name] for name in sorted(own)).encode()).hexdigest()}
        for folder, own in sorted(lines.items())}


def check_declared(images: ImageSet, dataset: Mapping[str, Any], base: Path,
                   part: str = "held_out") -> ImageSet:
    """The images themselves, if they are those that are declared, or nothing is declared.

    Args:
        images: a whole part of the data set.
        dataset, base, part: of :func:`declared`.

    Raises:
        ValueError: an image that is missing, added or changed, of which class.
    """
    wanted = declared(dataset, base, part)
    if wanted is None or not isinstance(images, FileImages):
        return images
    found, none = digests(images), {"images": 0, "sha256": ""}
    wrong = []
    for name in sorted(wanted.keys() | found.keys()):
        own, other = found.get(name, none), wanted.get(name, none)
        if own["images"] != other["images"]:
            wrong.append(f"{name} has {own['images']} images, not {other['images']}")
        elif own["sha256"] != other["sha256"]:
            wrong.append(f"an image of {name} is another, or has another name")
    if wrong:
        obtain = dataset.get("obtain")
        raise ValueError(f"the images in {plain(images.source.where.split('|')[1])} are not the "
                         f"declared ones ({listed(wrong)}); accepted: those of "
                         f"{record_file(dataset, base).name}{f', {obtain}' if obtain else ''}")
    return images
