"""Weights of a model entry, fetched from where the entry, timm or the hub says they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

from filelock import FileLock

from neuronpath_core.models.checkpoints import WeightsMissing, WeightSource, weight_source
from neuronpath_core.models.fetch import fetch, forget
from neuronpath_core.models.weight_files import pin, read_state, verify
from neuronpath_core.support.files import own_path, relative_path, sync_folder
from neuronpath_core.support.text import one_line


def download(spec: Mapping, root: Path, folder: Path, progress: bool = True) -> Path | None:
    """Fetch a model entry's weights into a folder; what is there already, in it or in the Hugging
    Face cache, is checked and kept.

    Args:
        spec, root: as of :func:`~neuronpath_core.models.checkpoints.locate`.
        folder: made if need be; the one to name by ``--weights`` afterwards.
        progress: show a bar.

    Returns:
        The file; None where the entry needs none.

    Raises:
        ValueError: no network, another digest, a damaged file, a folder that cannot be written to,
            nothing that says where to fetch it from, or an address without encryption of a file
            whose digest nothing tells.
    """
    folder = own_path(folder)
    source = weight_source(spec, root, folder)
    path = source.find() if source else None
    if source is None:
        return None
    if path is None and not (source.url or source.repository):
        raise WeightsMissing(f"weights {source.name} not found; looked for {source.looked_in()}; "
                             f"accepted: a url in the model entry, or the file there")
    if path is None and source.url:
        _check_url(source.url, spec)
    try:
        if path is None:
            target = folder / relative_path(source.target, "weights to be fetched")
            (target.parent if source.url else target).mkdir(parents=True, exist_ok=True)
            path = _fetch_url(source.url, target, spec,
                              progress) if source.url else _fetch_files(source, target)
        pin(path, spec, verify(path, spec))
    except (OSError, RuntimeError, HTTPException) as error:
        raise ValueError(f"weights {source.name} could not be fetched from "
                         f"{source.url or source.repository} into {folder}: "
                         f"{one_line(error, 200)}; "
                         "accepted: a network connection and a folder with write permission, or "
                         "the file put there by hand") from error
    return path


def _check_url(url: str, spec: Mapping) -> None:
    """Refuse an address over which anybody may have sent the file."""
    if (not url.startswith(("https://", "file://")) and not spec.get("unencrypted")
            and not {"sha256", "sha256_prefix"} & set(spec)):
        raise ValueError(f"{url} is not encrypted and nothing tells its file from another one; "
                         f"accepted: https://, the file's sha256 in the model entry, or "
                         f"unencrypted: true there")


def _fetch_url(url: str, target: Path, spec: Mapping, progress: bool) -> Path:
    partial = target.with_name(f".partial-{target.name}")
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        with lock:
            if not target.is_file():  # fetched by another process, which was waited for
                _fetch_whole(url, partial, target, spec, progress)
    finally:
        with suppress(OSError):
            Path(lock.lock_file).unlink()
    return target


def _fetch_whole(url: str, partial: Path, target: Path, spec: Mapping, progress: bool) -> None:
    fetch(url, partial, progress)
    try:
        verify(partial, {key: value for key, value in spec.items() if key != "weights"})
        read_state(partial, spec.get("wrapper"))  # not every server tells how long the file is
        os.replace(partial, target)
        sync_folder(target.parent)
    finally:
        forget(partial)


def _fetch_files(source: WeightSource, target: Path) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        for file in source.files:
            path = hf_hub_download(source.repository, file, revision=source.revision,
                                   local_dir=target)
    except EntryNotFoundError as error:
        raise OSError(one_line(error)) from error
    return Path(path)
