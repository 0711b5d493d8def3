"""A profile's own images: where they lie, and which part of them is asked for."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from neuronpath_core.images.class_map import merged, read_class_map
from neuronpath_core.images.classes import class_numbers
from neuronpath_core.images.file_images import FileImages
from neuronpath_core.images.index import PictureIndex, PictureWarning
from neuronpath_core.images.labels import ORDERS, is_same_part, layout
from neuronpath_core.images.opening import data_folder, open_source, part_folder
from neuronpath_core.images.readers import FileSource, FolderSource, Source, TarSource
from neuronpath_core.models.preprocessing import check_overrides
from neuronpath_core.support.environment import DATA_VARIABLE
from neuronpath_core.support.files import own_path, working_folder
from neuronpath_core.support.text import keep_dollars, listed


def load_files(part: str, *, reader: str = "", root: str | None = None, split: str = "validation",
               train_split: str | None = None,
               class_names: str | list | None = None, class_map: Mapping | str | None = None,
               unreadable: str = "fatal", preprocessing: Mapping | None = None,
               obtain: str = "", input_key: str | None = None, target_key: str | None = None,
               num_samples: int | None = None, class_folder: str | None = None,
               class_order: str | None = None, follow_links: bool | None = None,
               base: Path | None = None, index_folder: Path | None = None,
               threads: int | None = None) -> FileImages:
    """One part of a data set on disk, with all its images and none of them opened.

    Args:
        part: ``"held_out"``, which is ``split``, or ``"train"``, which is ``train_split``.
        reader: ``""``, ``"folder"`` or ``"tar"``; ``"hfds/NAME"`` for a Hugging Face data set; see
            :func:`~neuronpath_core.images.opening.open_source`.
        root: the folder or tar file, relative to ``base``; the variable ``NEURONPATH_DATA`` goes
            before it.
        class_names, class_map: see :func:`~neuronpath_core.images.classes.class_numbers`,
            ``images.class_map.read_class_map``.
        unreadable: ``"fatal"`` refuses images that cannot be read, ``"skip"`` leaves them out with
            a warning.
        preprocessing: what is to override a model's own, see
            :func:`~neuronpath_core.models.preprocessing.model_preprocessing`; looked at, not used
            here.
        obtain: how to get the data, for the message that they are missing.
        input_key, target_key, num_samples: of timm's readers; of folders and tar files
            ``input_key`` are the endings that are read.
        class_folder, class_order: see ``images.labels.labelled``.
        follow_links: see ``images.listing.list_folder``.
        index_folder: where to keep what is known of the files; without it they are opened again by
            the next process.
        threads: that read and decode side by side.

    Raises:
        ValueError: data, part or settings that there are not.
    """
    check_overrides(preprocessing)
    if part == "train" and (train_split is None or is_same_part(train_split, split)):
        raise ValueError(f"this data set has no training images (train_split: {train_split}); "
                         f"accepted: held_out, or train_split, a part other than {split}")
    base, asked = Path(base or working_folder()), data_folder()
    place = asked if asked else None if root is None else (base / own_path(root)).resolve()
    reader = "" if reader in (None, "folder", "tar") else reader
    missing = f"{obtain}; " if obtain else ""
    wanted = read_class_map(class_map, (base, place))
    source = open_source(reader, None if place is None else str(place), train_split
                         if part == "train" else split, wanted,
                         f"{missing}the folder is named by --data DIR, by {DATA_VARIABLE}, or by "
                         f"root in the data set's entry", input_key=input_key,
                         target_key=target_key, num_samples=num_samples,
                         class_folder=class_folder, class_order=class_order,
                         follow_links=follow_links)
    _check_parts(source, part, place, split, train_split)
    source.notes += merged(wanted or {})
    labels, names = class_numbers(source.classes, source.targets, class_names, wanted is not None)
    keep_dollars(names)
    by_order = wanted is None and labels is source.targets and class_order is None
    _tell(source, by_order)
    file = None if index_folder is None else Path(
        index_folder) / f"images-{sha256(source.where.encode()).hexdigest()[:12]}.parquet"
    return FileImages(source, torch.from_numpy(labels), torch.arange(len(source)), names,
                      index=PictureIndex(file), unreadable=unreadable,
                      numbered=wanted is not None or not source.classes, threads=threads)


def _check_parts(source: Source, part: str, place: Path | None, split: str,
                 train_split: str | None) -> None:
    """Refuse training images that are not in a folder of their own."""
    folder = isinstance(source, FolderSource)
    if part == "train" and (isinstance(source, TarSource)
                            or folder and os.path.samefile(source.root, place)):
        raise ValueError(f"{place} has no folder {train_split} for the training images; accepted: "
                         f"{layout(place).replace('/val/', f'/{train_split}/')}")
    if folder and train_split is not None:
        both = [part_folder(str(place), name) for name in (split, train_split)]
        if both[0] != both[1] and os.path.samefile(*both):
            raise ValueError(f"{both[0]} and {both[1]} are one folder, so that no image would be "
                             f"held out; accepted: a folder for each part")


def _tell(source: Source, by_order: bool) -> None:
    """Warn, in one line, of pictures that are left out and of choices that nobody made."""
    notes = list(source.notes)
    if by_order and isinstance(source, FileSource) and source.orders_differ:
        orders = [listed(sorted(source.classes, key=key)) for key in ORDERS.values()]
        notes.append(f"classes are numbered in timm's order of the folders ({orders[0]}), "
                     f"torchvision's is another ({orders[1]}): class_order: natural or "
                     f"alphabetical, or a class_map, in the data set's entry says which one the "
                     f"models were trained with")
    if notes:
        counts = f"{len(source)} pictures of {len(np.unique(source.targets))} classes are read"
        warnings.warn(f"{source.where.split('|')[1]}: {counts}; {'; '.join(notes)}",
                      PictureWarning, stacklevel=2)
