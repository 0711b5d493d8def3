"""``neuronpath explain``: pictures, one after the other, each as a table, a figure and a page."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from neuronpath_core.explanations.explanation import Explanation
from neuronpath_core.explanations.measure import explain
from neuronpath_core.explanations.picture import Picture, picture_file, pictures_in, read_picture
from neuronpath_core.images.class_map import read_class_map
from neuronpath_core.models.build import load_model
from neuronpath_core.runs.named_model import named_model
from neuronpath_core.study.targets import as_target
from neuronpath_core.support.files import check_writable, kind_of_file, own_path
from neuronpath_core.support.text import as_utf8, plain

MOST_PICTURES = 100
LONGEST_STEM = 120  # bytes of a file's name, of which endings and temporary names need their share
FORMATS = (".html", ".png")


def explain_pictures(root: Path, pictures: Sequence[str], model: str, architecture: str | None,
                     label: str, method: str, class_names: Path | None, out: Path, device: str,
                     dtype: str, memory_budget: str | None) -> None:
    """Explain pictures and write a page and a figure of each into ``out``.

    A picture that cannot be read is told on standard error, and the others are explained.

    Raises:
        ValueError: what does not fit any picture, before anything is written; or, at the end, that
            some pictures could not be read.
    """
    out = _folder(out)
    files = _files(pictures)
    names = None if class_names is None else list(read_class_map(str(class_names)))
    chosen = named_model(model, architecture, root)
    target = as_target(load_model(chosen.spec, root, device, dtype), chosen.spec)
    settings: dict[str, Any] = {
        "method": method, "class_names": names if names is not None else chosen.class_names,
        "preprocessing": chosen.spec.get("data_config"), "model_name": chosen.name,
        "memory_budget": memory_budget}
    stems, refused = set(), []
    for number, file in enumerate(files):
        picture = _read(file, alone=len(files) == 1)
        if picture is None:
            refused.append(file)
            continue
        found = explain(target, picture, label, **settings)
        click.echo(("\n" if number else "") + str(found))
        for written in _written(found, out, _stem(file, stems)):
            click.echo(f"written: {plain(as_utf8(str(written)))}")
    if refused:
        raise ValueError(f"{len(refused)} of {len(files)} pictures could not be read, as the lines "
                         "above say; accepted: pictures that Pillow reads")


def _folder(out: Path) -> Path:
    """Where results go, which is not made before there are any."""
    out = own_path(out)
    there = next(each for each in (out, *out.absolute().parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        found = "cannot be written to" if there.is_dir() else f"is {kind_of_file(there)}"
        raise ValueError(f"{plain(as_utf8(str(there)))} {found}; accepted: a folder with write "
                         "permission, or one to be made in such a folder")
    return out


def _files(pictures: Iterable[str]) -> list[Path]:
    """The files that are named, and those of named folders, each once."""
    files: dict[Path, Path] = {}
    for each in pictures:
        path = own_path(each)
        found, left_out = pictures_in(path, MOST_PICTURES) if path.is_dir() else (
            [picture_file(path)], [])
        for line in left_out:
            click.echo(f"neuronpath: {line}", err=True)
        files.update((file.resolve(), file) for file in found)
    if len(files) > MOST_PICTURES:
        raise ValueError(f"{len(files)} pictures are named; accepted: up to {MOST_PICTURES} at a "
                         "time")
    return list(files.values())


def _read(file: Path, alone: bool) -> Picture | None:
    try:
        return read_picture(file)
    except ValueError as error:
        if alone:
            raise
        click.echo(f"neuronpath: {error}", err=True)
        return None


def _stem(file: Path, taken: set[str]) -> str:
    """A name for what is written of a picture, which no other one of this run has, on any system.
    """
    name = re.sub(r'[\\/:*?"<>|]', "_", plain(as_utf8(file.stem)))
    name = name.encode()[:LONGEST_STEM].decode(errors="ignore").strip(" .") or "picture"
    free, number = name, 1
    while free.casefold() in taken:
        number += 1
        free = f"{name}-{number}"
    taken.add(free.casefold())
    return free


def _written(found: Explanation, out: Path, stem: str) -> list[Path]:
    check_writable(out)
    return [found.save(out / f"{stem}{ending}") for ending in FORMATS]
