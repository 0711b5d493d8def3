"""``npc.from_transformers``: a classifier of Hugging Face's transformers, ready for paths."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from neuronpath_core.models.transformers.accepted import mapping_of
from neuronpath_core.models.transformers.convert import convert, image_size_of, is_name
from neuronpath_core.models.transformers.load import (
    check_installed,
    find_processor,
    load,
    source_of,
)
from neuronpath_core.models.transformers.mapping import ModelMapping, pair
from neuronpath_core.models.transformers.processor import (
    checked,
    given_size,
    preprocessing_of,
    unknown_preprocessing,
)
from neuronpath_core.models.transformers.proof import prove
from neuronpath_core.support.text import is_one_of
from neuronpath_core.target import Scope, TargetModel

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel


def from_transformers(
    model: PreTrainedModel | str | os.PathLike, scope: Scope = "auto",
    processor: BaseImageProcessor | bool | None = None,
    image_size: int | tuple[int, int] | None = None
) -> TargetModel:
    """A vision classifier of Hugging Face's transformers as a
    :class:`~neuronpath_core.TargetModel`.

    The weights are copied into timm's network of the same architecture, by names, in the model's
    own precision and on its device; the model itself is left as it is, and what is done to it
    afterwards, such as training, changes nothing here. Then both are called on random images, as
    they are and as copies in double precision. Nothing is returned if there their logits differ by
    more than 1e-10 of their size, or as they are by more than rounding makes of their precision; of
    more than 200 million weights copies are made only where single precision differs by more than
    1e-5.

    Accepted are ``ViTForImageClassification``, masked autoencoders that were fine-tuned as one
    included, ``DeiTForImageClassification``, ``DeiTForImageClassificationWithTeacher``,
    ``Dinov2ForImageClassification``, ``Dinov2WithRegistersForImageClassification``,
    ``CLIPForImageClassification`` and ``SiglipForImageClassification``.

    Args:
        model: one of these, or a folder that ``save_pretrained`` wrote, or a name on the hub,
            which transformers loads from its cache or fetches.
        scope: as of ``TargetModel``; ``"auto"`` is the class token of ViT, DeiT and DINOv2, whose
            head reads the mean of the patch tokens beside it, and the patch tokens of CLIP and
            SigLIP, whose heads read their mean.
        processor: transformers' image processor for the model; ``None`` looks for the one that
            lies where the model came from, of a model that is handed over on this machine alone;
            ``False`` is none.
        image_size: height and width of the images in pixels, if not those of the model; positions
            are then resampled by the model's own function, as ``interpolate_pos_encoding=True``
            does. DINOv2 resamples them anyway and takes the size of its processor by default.

    Returns:
        The target. What its processor does to a picture is in ``target.model.pretrained_cfg``,
        where timm and ``model_preprocessing`` look for it, with the classes' names of the
        configuration as ``label_names``, one a class, if it has any. Without a processor no
        picture is prepared; images as tensors are accepted all the same.

    Raises:
        ValueError: a model of another class; a quantised or compiled one, one with adapters,
            hooks, heads or other parts of its own; one without a linear head, with another
            attention than ``"sdpa"`` or ``"eager"``, or whose logits are not repeated; a name that
            cannot be read; a processor that does something else than resize, crop, rescale and
            normalise, or whose pictures are of another size.
    """
    check_installed()
    if processor is True:
        raise ValueError("processor cannot be True; accepted: an image processor of "
                         "transformers', None, False")
    if not is_one_of(scope, ("auto", "cls", "patch")):
        raise ValueError(f"unknown scope {scope!r}; accepted: auto, cls, patch")
    wished, named = image_size_of(image_size), is_name(model)
    source = source_of(model) if named else str(getattr(model, "name_or_path", "") or "")
    if named:
        model = load(model)
    mapping = mapping_of(model)
    if processor is None:
        processor = find_processor(source, fetch=named)
    processor = checked(processor) if processor else None
    size = _size(model, mapping, processor, wished)
    # weights that are made inside inference mode have no gradients
    with torch.inference_mode(False):
        network = convert(model, size)
        network.pretrained_cfg = _described(model, network, processor)
        target = TargetModel(network, scope)
        prove(model, network)
    return target


def _size(model: nn.Module, mapping: ModelMapping, processor: Any,
          wished: tuple[int, int] | None) -> tuple[int, int]:
    """The size of the images, on which model and processor must agree.

    Raises:
        ValueError: they do not.
    """
    own = pair(mapping.config(model.config).image_size)
    if processor is None:
        return wished or own
    given = given_size(processor)
    size = wished or (given if mapping.resamples else own)
    if given != size:
        raise ValueError(f"the image processor cannot give {given[0]} x {given[1]} pixels to a "
                         f"model of {size[0]} x {size[1]}; accepted: image_size={given}, another "
                         "processor, or processor=False")
    return size


def _described(model: nn.Module, network: nn.Module, processor: Any) -> dict:
    """What timm keeps with a model: how pictures are prepared, and what its classes are called."""
    channels = network.patch_embed.proj.in_channels
    config = unknown_preprocessing() if processor is None else preprocessing_of(processor,
                                                                                channels)
    size = network.patch_embed.img_size
    found = {**config, "input_size": [channels, *size], "num_classes": network.num_classes}
    names = _class_names(model, network.num_classes)
    return found if names is None else {**found, "label_names": names}


def _class_names(model: nn.Module, classes: int) -> list[str] | None:
    """The names that a configuration gives to all classes, unless it only numbers them."""
    named = getattr(model.config, "id2label", None) or {}
    names = [named.get(index, named.get(str(index))) for index in range(classes)]
    if None in names or names == [f"LABEL_{index}" for index in range(classes)]:
        return None
    return list(map(str, names))
