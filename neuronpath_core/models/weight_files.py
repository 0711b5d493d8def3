"""Weight files as files: whether they are the right ones, by their digests, and how they are read;
nothing is unpickled but tensors."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from neuronpath_core.models.state_dicts import state_dict_of
from neuronpath_core.support.files import kind_of_file, write_atomically
from neuronpath_core.support.text import one_line

SAFETENSORS = ".safetensors"
ENDINGS = (SAFETENSORS, ".pth", ".pt", ".bin", ".ckpt", ".pth.tar")
# what lies where weights are expected, by its first bytes
FOREIGN = {b"version https://git-lfs": "a pointer of Git LFS, not what it points to",
           b"<": "a web page or XML", b"\x1f\x8b": "gzip", b"\x89HDF": "HDF5",
           b"\x28\xb5\x2f\xfd": "zstandard", b"7z": "7-Zip", b"GGUF": "GGUF"}


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _records(path: Path, spec: Mapping) -> dict[str, str]:
    """Everything that is known of a file's SHA-256: who says it -> digest, or its beginning."""
    records = {f"the model entry's {key}": str(spec[key]).lower()
               for key in ("sha256", "sha256_prefix") if key in spec}
    listed = path.parent / "weights.json"
    pinned = path.with_name(f"{path.name}.sha256")
    blob = path.resolve()
    for record in (listed, pinned):
        if record.exists() and not record.is_file():
            raise ValueError(f"{record} is {kind_of_file(record)}; accepted: a file with the "
                             f"SHA-256 of the weights, or nothing there")
    if "weights" in spec and listed.is_file():
        try:
            known = json.loads(listed.read_bytes())
            records["weights.json"] = known[path.name]["sha256"]
        except (KeyError, TypeError) as error:
            mapping = isinstance(known, Mapping)
            names = ", ".join(map(str, known)) if mapping else "file name -> {sha256: …}"
            raise ValueError(f"weights {spec['weights']} are not listed in {listed}; accepted: "
                             f"{names}") from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{listed} is not JSON: {one_line(error)}; accepted: file name -> "
                             f"{{sha256: …}}") from error
    if pinned.is_file():
        records[str(pinned)] = (pinned.read_text(encoding="utf-8-sig",
                                                errors="replace").split() or [""])[0].lower()
    if path.is_symlink() and blob.parent.name == "blobs" and re.fullmatch("[0-9a-f]{64}",
                                                                          blob.name):
        records["the Hugging Face cache"] = blob.name  # which names large files by their digest
    for who, digest in records.items():
        if not re.fullmatch("[0-9a-f]{6,64}" if who.endswith("prefix") else "[0-9a-f]{64}",
                            str(digest)):
            raise ValueError(f"{who} gives {str(digest)[:70]!r} for {path.name}, which is no "
                             f"SHA-256; accepted: 64 hexadecimal digits")
    return records


def verify(path: Path, spec: Mapping) -> str:
    """The file's SHA-256, if it is that of everything known of it.

    Known may be: the entry's ``sha256`` (all of it), ``sha256_prefix`` and ``md5_prefix``
    (beginnings); a ``weights.json`` beside a ``weights`` file; ``FILE.sha256`` beside it, as
    :func:`pin` and ``sha256sum`` write it; the Hugging Face cache's own name for it.

    Raises:
        ValueError: another digest, with the beginnings of both, a record that is none, or a file
            that cannot be read.
    """
    try:
        records, digest = _records(path, spec), file_sha256(path)
    except OSError as error:
        raise ValueError(f"weights {path.name} cannot be read: {one_line(error, 200)}; accepted: "
                         f"a file with read permission on a sound disk") from error
    for who, known in records.items():
        if not digest.startswith(known):
            raise ValueError(f"weights {path.name} have the SHA-256 {digest[:12]}…, but {who} "
                             f"says {known[:12]}…; accepted: the recorded file, "
                             f"or a corrected record if the change is meant; the file is {path}")
    if "md5_prefix" in spec:
        with open(path, "rb") as stream:
            md5 = hashlib.file_digest(stream, "md5").hexdigest()
        if not md5.startswith(str(spec["md5_prefix"]).lower()):
            raise ValueError(f"weights {path.name} have the MD5 {md5[:12]}…, but the model "
                             f"entry's md5_prefix says {spec['md5_prefix']}…; "
                             f"accepted: the file that the entry names; the file is {path}")
    return digest


def pin(path: Path, spec: Mapping, digest: str) -> None:
    """Record a file's SHA-256 beside it in ``FILE.sha256``, unless a whole digest is known or the
    folder cannot be written to.

    This is trust on first use: it says nothing about the first file, but a later change of it is
    noticed by :func:`verify`.
    """
    if any(len(known) == 64 for known in _records(path, spec).values()):
        return
    try:
        write_atomically(path.with_name(f"{path.name}.sha256"),
                         lambda temporary: temporary.write_bytes(
                             os.fsencode(f"{digest}  {path.name}\n")))
    except OSError:  # a read-only folder: checked against nothing, as before
        pass


def read_state(path: Path, wrapper: str | None = None) -> dict[str, Tensor]:
    """The state dict in a file, on the CPU, without what training scripts put around it: wrappers,
    of which ``wrapper`` names one where there are several, and prefixes that all names have.

    Torch files are read with ``weights_only=True``: the only other thing than tensors that they may
    hold is the ``argparse.Namespace`` of a training script.

    Raises:
        ValueError: a file of another kind, a damaged one, one that would run code, or one without
            a state dict.
    """
    name = path.name
    if not name.lower().endswith(ENDINGS):
        raise ValueError(f"weights {name} are of an unknown kind; accepted: {', '.join(ENDINGS)}")
    try:
        if name.lower().endswith(SAFETENSORS):
            content = load_file(path)
        else:
            with torch.serialization.safe_globals([argparse.Namespace]):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can make either reader raise anything
        if kind := _kind_of(path):
            raise ValueError(f"weights {name} cannot be read: the file is {kind}; accepted: a "
                             f"whole safetensors or torch file with its ending; the file is "
                             f"{path}") from error
        if isinstance(error, pickle.UnpicklingError):
            raise ValueError(f"weights {name} hold more than tensors ({_foreign(path)}) and were "
                             f"not read; accepted: safetensors, or a torch file of tensors "
                             f"alone") from error
        raise ValueError(f"weights {name} cannot be read: {one_line(error, 200)}; accepted: a "
                         f"whole safetensors or torch file; the file is {path}") from error
    return state_dict_of(content, name, wrapper)


def stem(path: Path) -> str:
    """The file's name without its ending."""
    ending = max((each for each in ENDINGS if path.name.lower().endswith(each)), key=len,
                 default=path.suffix)
    return path.name[:len(path.name) - len(ending)] or path.name


def _kind_of(path: Path) -> str | None:
    """What a file is by its first bytes, where that is not what its ending says."""
    try:
        with open(path, "rb") as stream:
            first = stream.read(64)
    except OSError:
        return None
    if path.name.lower().endswith(SAFETENSORS) and first.startswith((b"PK", b"\x80\x02")):
        return "a torch file by its first bytes"
    if first[8:9] == b"{" and not path.name.lower().endswith(SAFETENSORS):
        return "a safetensors file by its first bytes"
    return next((kind for begin, kind in FOREIGN.items() if first.lstrip().startswith(begin)),
                None if first else "empty")


def _foreign(path: Path) -> str:
    try:
        return ", ".join(torch.serialization.get_unsafe_globals_in_checkpoint(path)) or "code"
    except Exception:  # files of the oldest format are not analysed
        return "code, or it is damaged"
