"""Named target models: built by timm from a profile entry, with checked weights, and what an image
must be turned into for them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from neuronpath_core.models.checkpoints import HUB, check_entry, locate
from neuronpath_core.models.preprocessing import KEYS, model_preprocessing
from neuronpath_core.models.state_dicts import (
    WeightsWarning,
    check_finite,
    check_names,
    positions_size,
)
from neuronpath_core.models.weight_files import pin, read_state, verify
from neuronpath_core.support.text import one_line, shown

DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}


def parse_dtype(name: str) -> torch.dtype:
    """``"float64" | "float32" | "bfloat16"`` as a torch dtype; anything else raises ``ValueError``.
    """
    if not isinstance(name, str) or name not in DTYPES:
        raise ValueError(f"unknown dtype {shown(name)}; accepted: {', '.join(DTYPES)}")
    return DTYPES[name]


def parse_device(name: str) -> torch.device:
    """A torch device that this machine has; anything else raises ``ValueError``."""
    try:
        device = torch.device(name if isinstance(name, (str, torch.device)) else shown(name))
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"unknown device {shown(name)}; accepted: cpu, cuda, cuda:0, …") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        have = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        raise ValueError(f"device {name!r} was asked for, which this machine does not have; "
                         f"accepted: {', '.join(['cpu', *have])}")
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device {name!r} is not supported; accepted: cpu, cuda, cuda:0, …")
    return device


# --- building ---


def build_model(spec: Mapping) -> VisionTransformer:
    """A timm model with fresh weights, whatever weights the entry names.

    Args:
        spec: a profile's model entry: ``architecture`` holds the keyword arguments of
            ``timm.models.vision_transformer.VisionTransformer``, or ``timm`` names a model of
            timm's registry or, as ``hf-hub:owner/name``, one whose ``config.json`` is on this
            machine, with ``arguments`` for ``timm.create_model``.

    Raises:
        ValueError: an entry that timm cannot build, or a model of the hub that is not here.
    """
    check_entry(spec)
    return _create(spec, None)


def _create(spec: Mapping, file: Path | None) -> VisionTransformer:
    """The model, with timm's own loading of ``file`` where there is one."""
    name, arguments, overlay = spec.get("timm", ""), spec.get("arguments") or {}, {}
    if name.startswith(HUB):  # built from the folder, so that timm asks no server
        name = f"local-dir:{(file or locate({'timm': name, 'pretrained': False}, Path())).parent}"
    if file is not None:
        # its own file and no other source; custom_load would expect the format of the authors'
        # release
        overlay = {"pretrained_cfg_overlay": {"file": str(file), "source": "",
                                              "custom_load": False}}
    try:
        if "architecture" in spec:
            return VisionTransformer(**spec["architecture"])
        return timm.create_model(name, pretrained=file is not None, **overlay, **arguments)
    except Exception as error:  # what a wrong argument raises is up to the model
        if file is not None:
            raise ValueError(f"weights {file.name} do not fit the model {spec['timm']}: "
                             f"{one_line(error)}; accepted: a whole file of that model's weights; "
                             f"the file is {file}") from error
        raise ValueError(f"the model entry {spec.get('timm') or spec.get('architecture')} cannot "
                         f"be built: {one_line(error)}; "
                         "accepted: arguments of timm's VisionTransformer, or a name that "
                         "timm.list_models() gives") from error


# --- weights ---


def load_model(spec: Mapping, root: Path, device: str = "cpu",
               dtype: str = "float64") -> VisionTransformer:
    """The model of a profile entry, with its weights, in eval mode.

    An entry holds ``architecture`` (arguments of ``VisionTransformer``) or ``timm`` (a name, with
    ``arguments`` for ``timm.create_model``), and its weights: ``pretrained: true`` (implied by a
    name on the hub), or ``weights: FILE`` with ``format: timm`` (a state dict of the model) or
    ``mae`` (a fine-tuned checkpoint of the masked autoencoder's authors: average pooling, then
    ``fc_norm``, once).  Without, they are fresh.  Positions for another image size are resampled as
    timm does (bicubic, antialiased).  Files are looked for as
    :mod:`~neuronpath_core.models.checkpoints` says and never fetched.

    Their SHA-256 must be the one that the entry, a ``weights.json`` or ``FILE.sha256`` beside them
    tells, so that a result is never attributed to other weights than those it came from.  Where
    nothing tells it, it is recorded beside the file once that has been loaded: trust on first use.

    Raises:
        ValueError: missing file, wrong digest, more in the file than tensors, or a state dict that
            does not fit the model.
    """
    placed, precision = parse_device(device), parse_dtype(dtype)
    check_entry(spec)
    path = locate(spec, root) if "weights" in spec or spec.get("pretrained",
                                                               spec.get("timm",
                                                                        "").startswith(
        HUB)) else None
    if path is None:
        model = _create(spec, None)
    else:
        digest = verify(path, spec)
        model = _with_file(spec, path) if "weights" in spec else _pretrained(spec, path)
        pin(path, spec, digest)
    return model.to(device=placed, dtype=precision).eval()


def _pretrained(spec: Mapping, path: Path) -> VisionTransformer:
    model = _create(spec, path)
    known = model.pretrained_cfg.get("num_classes", model.num_classes)
    if model.num_classes != known:  # timm would give it a random classifier
        raise ValueError(f"weights {spec['timm']} do not fit the model: they have {known} "
                         f"classes, the model {model.num_classes}; "
                         f"accepted: num_classes: {known}")
    check_finite(model.state_dict(), path.name)
    return model


def _with_file(spec: Mapping, path: Path) -> VisionTransformer:
    model, state = _create(spec, None), read_state(path, spec.get("wrapper"))
    fitted = fitted_state(state, model, spec)
    wished = spec.get("arguments") or spec.get("architecture") or {}
    size = positions_size(state, model)
    if size is not None and "img_size" not in wished:
        own = "arguments" if "timm" in spec else "architecture"
        warnings.warn(f"weights {spec['weights']} have positions for {size[0]} x {size[1]} pixels, "
                      f"the model takes {' x '.join(map(str, model.patch_embed.img_size))}: they "
                      f"are resampled; accepted: {own}: {{img_size: "
                      f"{size[0] if size[0] == size[1] else size}}} for the file's own size",
                      WeightsWarning, stacklevel=3)
    model.load_state_dict(fitted, strict=True)
    return model


def fitted_state(state: Mapping[str, Tensor], model: nn.Module,
                 spec: Mapping) -> Mapping[str, Tensor]:
    """A file's tensors as the model names and shapes them, converted by timm.

    Args:
        state: of :func:`~neuronpath_core.models.weight_files.read_state`.
        model: of :func:`build_model`, on whatever device.
        spec: the model's entry, with its ``weights``.

    Raises:
        ValueError: they are not all of this model's, and only its.
    """
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    try:
        _check_state(state, model, spec.get("format", "timm"))
        fitted = convert(state, model) if convert else state
        check_names(fitted, model)
    except Exception as error:  # timm's conversions assert and index
        accepted = "" if "accepted:" in str(error) else "; accepted: a file of that model's weights"
        raise ValueError(f"weights {spec['weights']} do not fit the model: "
                         f"{one_line(error, 1000)}{accepted}") from error
    return fitted


def _check_state(state: Mapping[str, Tensor], model: nn.Module, form: str) -> None:
    """What would otherwise load and be another model, or be refused in words that do not help."""
    if form == "mae":
        _check_mae(state, model)
    positions_size(state, model)
    if "pre_logits.fc.weight" in state:  # timm would leave it out
        raise ValueError("they have a layer pre_logits before the head, which the model lacks; "
                         "accepted: weights without one")
    head, classifier = state.get("head.weight"), getattr(model, "head", None)
    if head is not None and isinstance(classifier,
                                       nn.Linear) and len(head) != classifier.out_features:
        raise ValueError(f"they have {len(head)} classes, the model {classifier.out_features}; "
                         f"accepted: num_classes: {len(head)}")
    kernel = state.get("patch_embed.proj.weight")
    embed = getattr(getattr(model, "patch_embed", None), "proj", None)
    if kernel is not None and kernel.ndim == 4 and isinstance(embed,
                                                              nn.Conv2d) and tuple(
            kernel.shape[-2:]) != embed.kernel_size:
        # timm would resample the kernel
        raise ValueError(f"they have patches of {kernel.shape[-1]} pixels, the model "
                         f"{embed.kernel_size[-1]}; accepted: patch_size: {kernel.shape[-1]}")


def _check_mae(state: Mapping[str, Tensor], model: nn.Module) -> None:
    decoder = next((name for name in state if name == "mask_token" or name.startswith("decoder")),
                   None)
    if decoder or "head.weight" not in state:
        raise ValueError(f"they are those of a pre-training "
                         f"({f'with {decoder}' if decoder else 'without head.weight'}), which "
                         f"classifies nothing; "
                         "accepted: a fine-tuned checkpoint, such as mae_finetuned_vit_base.pth")
    if "fc_norm.weight" not in state:
        raise ValueError("they have no fc_norm, so they were not fine-tuned with average pooling; "
                         "accepted: format: timm")
    if getattr(model, "global_pool", None) != "avg" or isinstance(model.fc_norm,
                                                                  nn.Identity) or not isinstance(
            model.norm, nn.Identity):
        raise ValueError("they normalise the average of the patch tokens, the model does not; "
                         "accepted: arguments: {global_pool: avg}")


# --- preprocessing ---


def preprocessing(spec: Mapping, model: nn.Module) -> dict:
    """What turns an image file into what the model sees: timm's configuration of its weights, at
    the size it was built for, with the entry's ``data_config`` over it; see
    :func:`~neuronpath_core.models.preprocessing.model_preprocessing`, whose errors it raises.
    """
    if not isinstance(spec.get("data_config") or {}, Mapping):
        raise ValueError(f"data_config cannot be {spec['data_config']!r}; accepted: a mapping "
                         f"with {', '.join(KEYS)}")
    return model_preprocessing(model, spec.get("data_config"))
