"""Published vision-language models, loaded from files that are there, and the types of their
neurons on images with captions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from neuronpath_core.models.build import parse_device
from neuronpath_core.study.hub_profiles import weights_folder
from neuronpath_core.support.text import one_line, shown
from neuronpath_core.vlm.adapter import VisionLanguageModel
from neuronpath_core.vlm.modality import PAPER_PATCHES, Criteria
from neuronpath_core.vlm.records import TOP
from neuronpath_core.vlm.running_types import EVERY, RunningTypes, running_types
from neuronpath_core.vlm.tokens import check_installed

if TYPE_CHECKING:
    from neuronpath_core.vlm.inputs import Inputs

REMOTE = "InternVLChatModel"  # whose code is not transformers', but comes with its weights
DIGESTED = 2**20  # bytes of the beginning of each file of weights, which tell whose they are


def load_hub_model(name: str, spec: Mapping, device: str = "cpu") -> VisionLanguageModel:
    """A model of a profile with its processor, from its folder of weights; nothing is downloaded
    and no code that comes with weights is run.

    Raises:
        ValueError: no transformers, no folder, a class that transformers does not have, files that
            do not fit it, no such device, or what the adapter refuses.
    """
    check_installed()
    import torch
    import transformers

    folder = weights_folder(spec)
    if folder is None:
        raise ValueError(f"weights of {name} are not in the folder of --weights; accepted: "
                         f"{spec['obtain']}")
    kind = getattr(transformers, spec["family"], None)
    if kind is None:
        raise ValueError(f"transformers has no {spec['family']}"
                         f"{', whose code comes with its weights' * (spec['family'] == REMOTE)}; "
                         "accepted: load it yourself and give it to VisionLanguageModel")
    try:
        model = kind.from_pretrained(folder, dtype=getattr(torch, spec["dtype"]),
                                     local_files_only=True)
        processor = transformers.AutoProcessor.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # what files raise is up to transformers
        raise ValueError(f"{shown(folder.name)} cannot be loaded as {spec['family']}: "
                         f"{one_line(error, 160)}; accepted: the files of {spec['hub']}") from error
    return VisionLanguageModel(model.to(parse_device(device)), processor)


def photograph_batches(model: VisionLanguageModel, pairs: Sequence[tuple[Path, str]], request: str,
                       size: int = 1) -> tuple[int, Callable[[int], Inputs]]:
    """Images with captions as batches for :func:`~neuronpath_core.vlm.running_types.running_types`.

    Raises:
        ValueError: an image that cannot be read.
    """
    from PIL import Image

    def batch(number: int) -> Inputs:
        own = pairs[number * size:(number + 1) * size]
        images = []
        for file, _ in own:
            try:
                with Image.open(file) as image:
                    images.append(image.convert("RGB"))
            except OSError as error:
                raise ValueError(f"image {shown(file.name)} cannot be read: "
                                 f"{one_line(error, 80)}; accepted: an image that Pillow opens"
                                 ) from error
        return model.encode(images, [request] * len(own), [caption for _, caption in own])

    return -(-len(pairs) // size), batch


def hub_types(name: str, spec: Mapping, dataset: Mapping, pairs: Sequence[tuple[Path, str]],
              model: VisionLanguageModel, folder: Path, batch: int = 1, top: int = TOP,
              every: int = EVERY, tell: Callable[[str], None] = lambda line: None
              ) -> RunningTypes:
    """The types of a model's neurons by the published criteria, whose number of image tokens is
    scaled to the model's; what was found so far is kept in ``folder``.

    Raises:
        ValueError: as of :func:`~neuronpath_core.vlm.running_types.running_types`.
    """
    batches = photograph_batches(model, pairs, dataset["request"], batch)
    tokens = int(batches[1](0).visual.sum(1).max())
    asked = {"model": name, "weights": weights_digest(spec), "dtype": spec["dtype"],
             "captions": [[file.name, caption] for file, caption in pairs] if len(pairs) < 100
             else hashlib.sha256(repr([(file.name, caption) for file, caption
                                       in pairs]).encode()).hexdigest(),
             "request": dataset["request"], "batch": batch, "image tokens": tokens}
    criteria = Criteria() if tokens == PAPER_PATCHES else Criteria().for_patches(tokens)
    return running_types(model, batches, folder / f"{name}.types.npz", asked, criteria, top=top,
                         every=every, tell=tell)


def weights_digest(spec: Mapping) -> str:
    """SHA-256 over the names and sizes of a model's files of weights and their first megabyte: not
    all of 15 GB, and yet another model's file is another."""
    folder = weights_folder(spec)
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")) if folder else ():
        digest.update(f"{file.name} {file.stat().st_size}".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(DIGESTED))
    return digest.hexdigest()
