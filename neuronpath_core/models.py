"""Named target models: build a timm ``VisionTransformer`` from a profile entry and load checked local weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer

DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}


def parse_dtype(name: str) -> torch.dtype:
    """``"float64" | "float32" | "bfloat16"`` as a torch dtype; anything else raises ``ValueError``."""
    if not isinstance(name, str) or name not in DTYPES:
        raise ValueError(f"unknown dtype {name!r}; accepted: {', '.join(DTYPES)}")
    return DTYPES[name]


def parse_device(name: str) -> torch.device:
    """A torch device that this machine has; anything else raises ``ValueError``."""
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"unknown device {name!r}; accepted: cpu, cuda, cuda:0, …") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        have = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        raise ValueError(f"device {name!r} was asked for, which this machine does not have; accepted: {', '.join(['cpu', *have])}")
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device {name!r} is not supported; accepted: cpu, cuda, cuda:0, …")
    return device


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def build_model(spec: Mapping) -> VisionTransformer:
    """A timm ``VisionTransformer`` with fresh weights.

    Args:
        spec: a profile's model entry: ``architecture`` holds the keyword arguments of
            ``timm.models.vision_transformer.VisionTransformer``, or ``timm`` names a model of timm's registry.
    """
    if not {"architecture", "timm"} & set(spec):
        raise ValueError("a model entry needs 'architecture' (VisionTransformer arguments) or 'timm' (a timm model name)")
    try:
        if "architecture" in spec:
            return VisionTransformer(**spec["architecture"])
        return timm.create_model(spec["timm"], pretrained=bool(spec.get("pretrained", False)))
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"the model entry {spec.get('timm') or spec.get('architecture')} cannot be built: {_one_line(error)}; "
                         "accepted: arguments of timm's VisionTransformer, or a name that timm.list_models() gives") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def load_model(spec: Mapping, root: Path, device: str = "cpu", dtype: str = "float64") -> VisionTransformer:
    """The model of a profile entry, with its weights, in eval mode.

    ``weights`` is a safetensors file relative to ``root``.  Where a ``weights.json`` lies beside it, the file's SHA-256
    must be the one recorded there, so that a result is never attributed to other weights than those it came from.

    Raises:
        ValueError: missing file, wrong hash, or a state dict that does not fit the architecture.
    """
    model = build_model(spec)
    if "weights" in spec:
        path = root / spec["weights"]
        if not path.is_file():
            raise ValueError(f"weights {spec['weights']} not found under {root}; 'make weights' trains them")
        record = path.parent / "weights.json"
        if record.is_file():
            known = json.loads(record.read_text()).get(path.name, {}).get("sha256")
            if known is None:
                raise ValueError(f"weights {spec['weights']} are not listed in {record.name}; accepted: {', '.join(json.loads(record.read_text()))}")
            if known != file_sha256(path):
                raise ValueError(f"weights {spec['weights']} do not have the SHA-256 recorded in {record.name}")
        try:
            model.load_state_dict(load_file(path), strict=True)
        except (RuntimeError, OSError, SafetensorError) as error:
            raise ValueError(f"weights {spec['weights']} do not fit the model: {_one_line(error)}") from error
    return model.to(device=parse_device(device), dtype=parse_dtype(dtype)).eval()
