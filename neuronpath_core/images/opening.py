"""Where images on disk are found: folders and tar files, and what timm's readers open."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import timm.data
from timm.data.readers.img_extensions import get_img_extensions

from neuronpath_core.images.labels import SAME_PART, labelled, layout
from neuronpath_core.images.listing import list_folder, list_tar
from neuronpath_core.images.readers import (
    FolderSource,
    HubSource,
    Source,
    StreamSource,
    TarSource,
    TorchSource,
)
from neuronpath_core.support.environment import DATA_VARIABLE
from neuronpath_core.support.files import own_path
from neuronpath_core.support.text import one_line

PACKAGES = {"hfds": "datasets", "hfids": "datasets", "wds": "webdataset",
            "tfds": "tensorflow_datasets"}
STREAMS = ("hfids", "wds", "tfds")


def data_folder() -> Path | None:
    """The folder or file that ``NEURONPATH_DATA`` names, on this machine."""
    return own_path(os.environ[DATA_VARIABLE]).resolve() if os.environ.get(
        DATA_VARIABLE) else None


def _reopen(arguments: dict) -> Source:
    here = data_folder()  # another machine may keep the data elsewhere
    return open_source(**{**arguments, "root": arguments["root"] if here is None else str(here)})


def open_source(reader: str = "", root: str | None = None, split: str = "validation",
                class_map: dict[str, int] | None = None, obtain: str = "", *,
                class_folder: str | None = None, class_order: str | None = None,
                follow_links: bool | None = None, **options) -> Source:
    """The images of a folder or tar file, or those of a data set, through
    ``timm.data.create_dataset``.

    Args:
        reader: ``""`` for a folder or tar file, ``"hfds/NAME"`` for a Hugging Face data set, or
            another prefix of timm's: ``torch/``, ``hfids/``, ``wds/``.
        root: the folder or tar file; for a data set of the Hugging Face hub where it is kept,
            ``None`` for the usual place.
        split: of ``root`` the folder of this name, or of timm's other names for it, is taken where
            there is one.
        class_map: folder name -> class index; images of other folders are left out.
        obtain: how to get the data, for the message that they are missing.
        class_folder, class_order: see ``images.labels.labelled``.
        follow_links: see ``images.listing.list_folder``.
        options: ``input_key``, ``target_key``, ``num_samples`` of timm's readers; of a folder or
            tar file ``input_key`` are the endings that are read, such as ``.png;.webp``.

    Raises:
        ValueError: no such folder, no images in it, none in folders that name their class, splits
            under other names, a package that is missing, or whatever timm's reader complains of.
    """
    prefix = reader.partition("/")[0].lower() if "/" in reader else ""
    options = {name: value for name, value in options.items() if value is not None}
    own = {"class_folder": class_folder, "class_order": class_order, "follow_links": follow_links}
    arguments = {"reader": reader, "root": root, "split": split, "class_map": class_map,
                 "obtain": obtain, **own, **options}
    _check_reader(reader, prefix, class_map, own)
    if not prefix:
        _check_root(root, obtain)
    accepted = "a data set and a split that timm's reader can open" if prefix else layout(root)
    try:
        source = (_from_data_set(arguments, prefix, options) if prefix
                  else _from_files(arguments, options))
    except Exception as error:  # whatever a reader raises
        if not prefix and isinstance(error, ValueError):
            raise  # it says what is accepted
        raise ValueError(f"no images could be read from {reader or root}: {one_line(error)}; "
                         f"accepted: {accepted}; {obtain}".rstrip("; ")) from error
    source.reopen = _reopen
    return source


def _check_reader(reader: str, prefix: str, class_map: dict | None, own: Mapping) -> None:
    package = PACKAGES.get(prefix)
    if package and find_spec(package) is None:
        raise ValueError(f"the reader {reader!r} needs the package {package}, which is not "
                         f"installed; accepted: pip install {package.replace('_', '-')}, "
                         "or a folder or tar file of images")
    if prefix not in ("", "torch", *PACKAGES):
        raise ValueError(f"unknown reader {reader!r}; accepted: \"\" (folder or tar file), or a "
                         f"name that begins with torch/, {'/, '.join(PACKAGES)}/")
    if prefix == "torch" and class_map:
        raise ValueError("torch/ data sets take no class map; accepted: none, or a folder read by "
                         "timm's own reader (reader: \"\")")
    given = [name for name, value in own.items() if value is not None]
    if prefix and given:
        raise ValueError(f"{', '.join(given)} cannot be chosen for the reader {reader!r}; "
                         f"accepted: for folders and tar files of images alone")
    if own["follow_links"] not in (None, True, False):
        raise ValueError(f"follow_links cannot be {own['follow_links']!r}; accepted: true, false")


def _check_root(root: str | None, obtain: str) -> None:
    if root is None or not os.path.exists(root):
        missing = "no folder is named" if root is None else f"{root} does not exist"
        raise ValueError(f"no images: {missing}; accepted: {layout(root)}; {obtain}".rstrip("; "))
    if not os.path.isdir(root) and not (os.path.isfile(root) and str(root).endswith(".tar")):
        raise ValueError(f"{root} is neither a folder nor a .tar file; accepted: "
                         f"{layout(os.path.dirname(root))}")


def _from_data_set(arguments: dict, prefix: str, options: Mapping) -> Source:
    dataset = timm.data.create_dataset(arguments["reader"], root=arguments["root"],
                                       split=arguments["split"], class_map=arguments["class_map"],
                                       **options)
    others = {"hfds": HubSource, "torch": TorchSource, **dict.fromkeys(STREAMS, StreamSource)}
    return others[prefix](arguments, dataset)


def _from_files(arguments: dict, options: Mapping) -> Source:
    root, split = arguments["root"], arguments["split"]
    if strange := set(options) - {"input_key"}:
        raise ValueError(f"a folder or tar file takes no {', '.join(sorted(strange))}; accepted: "
                      f"input_key, the endings that are read")
    endings = _endings(options.get("input_key"))
    archive = os.path.isfile(root)
    place = root if archive else part_folder(root, split)
    found = list_tar(place, endings) if archive else list_folder(place, endings,
                                                                 arguments["follow_links"])
    told = found.left_out()
    if not found.names:
        said = "; ".join([f"Found 0 images with the endings {', '.join(sorted(endings))}", *told])
        raise ValueError(f"no images could be read from {place}: {said}; accepted: "
                         f"{layout(root)}; {arguments['obtain']}".rstrip("; "))
    images = labelled(found, split, arguments["class_map"], arguments["class_folder"],
                      arguments["class_order"])
    source = (TarSource if archive else FolderSource)(arguments, place, images, found.members)
    source.notes = told + images.notes
    return source


def _endings(input_key: str | None) -> set[str]:
    """The endings of images that are read: timm's, unless others are asked for."""
    if input_key is None:
        return get_img_extensions(as_set=True)
    endings = {ending.strip().lower() for ending in str(input_key).split(";")}
    if any(not ending.startswith(".") or len(ending) < 2 for ending in endings):
        raise ValueError(f"input_key cannot be {input_key!r} for a folder or tar file; accepted: "
                      f"endings with a dot, separated by semicolons, such as .png;.jpg;.webp")
    return endings


def part_folder(root: str, split: str) -> str:
    """The folder of a part of a data set: the one of its name, else of another of timm's names for
    it, else ``root`` itself.

    Raises:
        ValueError: several folders of other names for it.
    """
    if os.path.isdir(named := os.path.join(root, split)):
        return named
    others = [name for same in SAME_PART if split in same for name in sorted(same)
              if os.path.isdir(os.path.join(root, name))]
    if len(others) > 1:
        raise ValueError(f"{root} has {len(others)} folders for the part {split!r}: "
                      f"{', '.join(others)}; accepted: split: one of these names in the data set's "
                      f"entry")
    return os.path.join(root, others[0]) if others else root
