"""What typing the neurons of published vision-language models lacks and costs.

Nothing is ever downloaded: weights are a folder in the shape of a hub repository, captions a file
in one of two public layouts.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from neuronpath_core.study.hub_schema import TOP
from neuronpath_core.support.environment import DATA_VARIABLE, WEIGHTS_VARIABLE
from neuronpath_core.support.files import own_path
from neuronpath_core.support.text import one_line, shown
from neuronpath_core.support.typed import listed

# of one neuron and top sample: a value, a sample's number, two counts
SLOT_BYTES = 4 + 8 + 4
PASSES = 2
TEST_SIZE = 2048  # rows of the matrices by which a device's rate is measured
NEARLY = 0.9  # of the expected bytes, below which files are not all there


@dataclass(frozen=True)
class Cost:
    """What typing the neurons of a model takes: bytes of memory on the device, bytes on disk, and
    seconds."""

    memory: int
    disk: int
    seconds: float


def weights_folder(spec: Mapping) -> Path | None:
    """The folder of a model's files: ``DIR/owner/name`` or ``DIR/name`` in the folder that
    ``NEURONPATH_WEIGHTS`` names; ``None`` where it is in neither."""
    named = os.environ.get(WEIGHTS_VARIABLE)
    if not named:
        return None
    places = [own_path(named) / spec["hub"], own_path(named) / spec["hub"].rpartition("/")[2]]
    return next((place for place in places if (place / "config.json").is_file()), None)


def data_folder() -> Path | None:
    """The folder that ``NEURONPATH_DATA`` names."""
    named = os.environ.get(DATA_VARIABLE)
    return own_path(named) if named else None


def hub_problems(entries: Mapping, names: list[str] | None = None) -> Iterator[str]:
    """What would stop the typing of a profile's models, one line each: no transformers, a class
    that cannot be read, weights or captions that are missing or not whole, files of another
    model."""
    from neuronpath_core.vlm.adapter import FAMILIES

    if find_spec("transformers") is None:
        yield ("vision-language models need transformers, which is not installed; accepted: pip "
               'install "neuronpath-core[transformers]"')
    for name, spec in entries["models"].items():
        if names is None or name in names:
            if spec["family"] not in FAMILIES:
                yield (f"{name} cannot be of family {shown(spec['family'])}; accepted: "
                       f"{listed(FAMILIES)}")
            yield from _weights_problems(name, spec)
    try:
        pairs = read_captions(entries["dataset"])
    except ValueError as error:
        yield str(error)
        return
    if absent := [image for image, _ in pairs if not image.is_file()]:
        yield (f"{len(absent)} of {len(pairs)} images are missing, such as "
               f"{shown(absent[0].name)}; accepted: {entries['dataset']['obtain']}")


def _weights_problems(name: str, spec: Mapping) -> Iterator[str]:
    folder = weights_folder(spec)
    if folder is None:
        yield (f"weights of {name} ({spec['hub']}, {spec['bytes'] / 1e9:.1f} GB) are not in the "
               f"folder of --weights; accepted: {spec['obtain']}")
        return
    found = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if found < NEARLY * spec["bytes"]:
        yield (f"weights of {name}: {found / 1e9:.1f} of {spec['bytes'] / 1e9:.1f} GB are in "
               f"{shown(folder.name)}; accepted: every safetensors file of {spec['hub']}")
    try:
        said = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield (f"config.json of {name} cannot be read: {one_line(error, 80)}; accepted: the one "
               f"of {spec['hub']}")
        return
    if spec["family"] not in said:
        yield (f"weights of {name} are of {', '.join(map(str, said))}; accepted: "
               f"{spec['family']}")


def read_captions(dataset: Mapping) -> list[tuple[Path, str]]:
    """Images with a caption each, as many as the profile says: of a file in the layout of COCO's
    captions (``images`` and ``annotations``; of several captions the one with the smallest number)
    or of LLaVA's instructions (a list with ``image`` and ``conversations``).

    Raises:
        ValueError: no folder of data, no such file, another layout, or too few captions.
    """
    folder = data_folder()
    if folder is None or not (folder / dataset["captions"]).is_file():
        raise ValueError(f"captions {shown(dataset['captions'])} are not in the folder of --data; "
                         f"accepted: {dataset['obtain']}")
    try:
        content = json.loads((folder / dataset["captions"]).read_text(encoding="utf-8"))
        pairs = _of_coco(content) if isinstance(content, Mapping) else _of_llava(content)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"captions {shown(dataset['captions'])} cannot be read: "
                         f"{one_line(error, 80)}; accepted: JSON as COCO's captions or LLaVA's "
                         "instructions are") from error
    if len(pairs) < dataset["samples"]:
        raise ValueError(f"{len(pairs)} captions for {dataset['samples']} samples; accepted: at "
                         "least as many")
    return [(folder / dataset["images"] / image, caption)
            for image, caption in pairs[:dataset["samples"]]]


def _of_coco(content: Mapping) -> list[tuple[str, str]]:
    said: dict[int, str] = {}
    for row in sorted(content["annotations"], key=lambda row: row["id"]):
        said.setdefault(row["image_id"], row["caption"].strip())
    return [(row["file_name"], said[row["id"]]) for row in content["images"] if row["id"] in said]


def _of_llava(content: list) -> list[tuple[str, str]]:
    return [(row["image"], row["conversations"][1]["value"].strip()) for row in content]


def cost(spec: Mapping, samples: int, rate: float, batch: int = 1) -> Cost:
    """What typing takes, counted: weights and the activations of one batch in memory, what is kept
    on disk, and two passes of 2 operations a parameter and token at a rate.

    Args:
        spec: of a model.
        samples: images with captions.
        rate: floating-point operations a second.
        batch: samples at once.
    """
    neurons = spec["layers"] * spec["neurons"]
    kept = neurons * TOP * SLOT_BYTES
    values = batch * spec["tokens"] * neurons * 4
    operations = PASSES * samples * 2 * spec["parameters"] * spec["tokens"]
    return Cost(spec["bytes"] + values + kept, kept, operations / rate)


def device_rate(device: str, dtype: str, seconds: float = 0.5) -> float:
    """Operations a second of products of matrices on a device, measured for a moment.

    Raises:
        ValueError: no such device.
    """
    import torch

    from neuronpath_core.models.build import parse_device

    device = parse_device(device)
    size = TEST_SIZE if device.type != "cpu" else TEST_SIZE // 4
    one = torch.randn(size, size).to(device, getattr(torch, dtype))

    def done(times: int) -> float:
        start = time.perf_counter()
        for _ in range(times):
            one @ one
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    done(1)
    times, took = 1, 0.0
    while took < seconds:
        took, times = done(times), times * 2
    return (times // 2) * 2 * size ** 3 / took
