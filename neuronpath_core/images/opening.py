"""Where images on disk are found and what a folder of them must look like; each is opened by timm's
reader of its kind."""

from __future__ import annotations

import codecs
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

import timm.data

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
SPLIT_FOLDERS = {"train", "training", "val", "valid", "validation", "eval", "evaluation", "test"}
def data_folder() -> Path | None:
    """The folder or file that ``NEURONPATH_DATA`` names, on this machine."""
    return own_path(os.environ[DATA_VARIABLE]).resolve() if os.environ.get(
        DATA_VARIABLE) else None


def _reopen(arguments: dict) -> Source:
    here = data_folder()  # another machine may keep the data elsewhere
    return open_source(**{**arguments, "root": arguments["root"] if here is None else str(here)})


def read_class_map(class_map: Mapping[str, int] | str | Path | None,
                   folders: Iterable[Path | str | None] = ()) -> dict[str, int] | None:
    """Folder name -> class index, of a mapping or of a text file with one folder name per line, the
    first of which is class 0.

    Args:
        class_map: the mapping, or the file, itself or in one of ``folders``.

    Raises:
        ValueError: no such file, another kind of file, or indices that are not whole numbers of at
            least 0.
    """
    if class_map is None:
        return None
    if not isinstance(class_map, Mapping):
        places = [own_path(class_map),
                  *(Path(folder) / own_path(class_map) for folder in folders if folder is not None)]
        found = [place for place in places if place.is_file() and place.suffix == ".txt"]
        if not found:
            raise ValueError(f"class map {class_map} not found or not a .txt file; looked for "
                             f"{', '.join(map(str, places))}; "
                             "accepted: a text file with one folder name per line, or a mapping "
                             "from folder name to class index")
        lines = found[0].read_bytes().removeprefix(codecs.BOM_UTF8).splitlines()
        class_map = {os.fsdecode(line.strip()): index for index, line in enumerate(lines)}
    if not class_map or any(isinstance(index, bool) or not isinstance(index, int) or index < 0
                            for index in class_map.values()):
        raise ValueError("the class map is empty or its values are not class indices; accepted: "
                         "folder name -> whole number of at least 0")
    return {_on_disk(str(name)): index for name, index in class_map.items()}


def _on_disk(name: str) -> str:
    """A folder's name as Python gives it in this locale."""
    return os.fsdecode(name.encode("utf-8", "surrogateescape"))


def open_source(reader: str = "", root: str | None = None, split: str = "validation",
                class_map: dict[str, int] | None = None, obtain: str = "",
                **options) -> Source:
    """The images of a folder, a tar file or a data set, through ``timm.data.create_dataset``.

    Args:
        reader: ``""`` for a folder or tar file, ``"hfds/NAME"`` for a Hugging Face data set, or
            another prefix of timm's: ``torch/``, ``hfids/``, ``wds/``.
        root: the folder or tar file; for a data set of the Hugging Face hub where it is kept,
            ``None`` for the usual place.
        split: of ``root`` the folder of this name, or of timm's other names for it, is taken where
            there is one.
        class_map: folder name -> class index; images of other folders are left out.
        obtain: how to get the data, for the message that they are missing.
        options: ``input_key``, ``target_key``, ``num_samples`` of timm's readers.

    Raises:
        ValueError: no such folder, no images in it, none in folders that name their class, splits
            under other names, a package that is missing, or whatever timm's reader complains of.
    """
    prefix = reader.partition("/")[0].lower() if "/" in reader else ""
    arguments = {"reader": reader, "root": root, "split": split, "class_map": class_map,
                 "obtain": obtain, **options}
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
    if not prefix:
        if root is None or not os.path.exists(root):
            missing = "no folder is named" if root is None else f"{root} does not exist"
            raise ValueError(f"no images: {missing}; accepted: {layout(root)}; {obtain}".rstrip(
                "; "))
        if os.path.isfile(root) and not str(root).endswith(".tar"):
            raise ValueError(f"{root} is neither a folder nor a .tar file; accepted: "
                             f"{layout(os.path.dirname(root))}")
    archive = not prefix and os.path.isfile(root)
    # a tar's contents are listed anew each time: timm's list of a large one would be a pickle
    # beside the data
    try:
        dataset = timm.data.create_dataset(reader, root=root, split=split, class_map=class_map,
                                           **options, **({"cache_tarinfo": False} if archive
                                                         else {}))
        others = {"hfds": HubSource, "torch": TorchSource, **dict.fromkeys(STREAMS, StreamSource)}
        kind = others.get(prefix, TarSource if archive else FolderSource)
        source = kind(arguments, dataset)
        source.reopen = _reopen
    except Exception as error:  # whatever a reader raises
        said = one_line(error)
        accepted = "a data set and a split that timm's reader can open" if prefix else layout(root)
        raise ValueError(f"no images could be read from {reader or root}: {said}; accepted: "
                         f"{accepted}; {obtain}".rstrip("; ")) from error
    if not prefix:
        _check_layout(source, root)
    return source


def layout(root: str | Path | None) -> str:
    """How a folder of images has to look, as words."""
    root = "DIR" if root is None else root
    return (f"{root}/val/<class>/<image>.JPEG or {root}/<class>/<image>.jpg, a folder per class, "
            "also .jpeg and .png, or a .tar of such folders")


def _check_layout(source: Source, root: str) -> None:
    """Refuse images outside class folders, two of one name in a tar file, and a folder whose parts
    have other names than the one that was asked for: all of them would be mixed."""
    if "" in source.classes and (source.targets == source.classes[""]).any():
        count = int((source.targets == source.classes[""]).sum())
        raise ValueError(f"{count} images lie in {source.dataset.reader.root} itself, in no "
                         f"folder that names their class; accepted: {layout(root)}")
    if isinstance(source,
                  TarSource) and len(names := Counter(map(source.name, range(len(source))))) < len(
            source):
        twice = next(name for name, count in names.items() if count > 1)
        raise ValueError(f"{root} holds {twice} more than once; accepted: a tar file that was "
                         f"made anew, not one that files were appended to")
    if isinstance(source, FolderSource) and os.path.samefile(source.dataset.reader.root, root):
        below = [entry.name for entry in os.scandir(root) if entry.name.lower() in SPLIT_FOLDERS
                 and entry.is_dir()]
        if parts := sorted(name for name in below
                           if any(entry.is_dir()
                                  for entry in os.scandir(os.path.join(root, name)))):
            raise ValueError(f"{root} has no folder for the part {source.arguments['split']!r} "
                             f"but {', '.join(parts)}; accepted: a split of that name, "
                             "or a folder with nothing but class folders")
