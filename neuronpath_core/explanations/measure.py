"""``explain``: everything that is measured of one picture."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from neuronpath_core.explanations import labels as classes
from neuronpath_core.explanations.explanation import Explanation
from neuronpath_core.explanations.model_input import as_seen, model_input
from neuronpath_core.explanations.picture import Picture, read_picture
from neuronpath_core.hooks import neurons_read, read_activations
from neuronpath_core.interventions import class_probabilities, edited_probabilities
from neuronpath_core.models.preprocessing import model_preprocessing
from neuronpath_core.paths import find_paths
from neuronpath_core.random_paths import matched_random_paths
from neuronpath_core.settings import SearchSettings
from neuronpath_core.support.memory import memory_limit
from neuronpath_core.support.numbers import check_whole
from neuronpath_core.support.tensors import is_ordinary, kind_of
from neuronpath_core.support.text import shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float

METHOD = "recommended"
CONTROLS, MOST_CONTROLS = 5, 1000


def explain(
    target: TargetModel | nn.Module,
    image: str | os.PathLike | Image.Image | Picture | Float[Tensor, "channel height width"],
    label: int | str = classes.AUTO,
    method: str = METHOD,
    *,
    class_names: str | Sequence[str] | None = None,
    preprocessing: Mapping | None = None,
    settings: str | SearchSettings | Mapping[str, Any] = "default",
    memory_budget: int | str | None = None,
    controls: int = CONTROLS,
    model_name: str | None = None,
    **overrides: Any,
) -> Explanation:
    """What a model says of one picture, by which neurons, and where in it they are active.

    The path is that of :func:`~neuronpath_core.paths.find_paths` for the label; what it does is
    measured by removing and doubling it as :func:`~neuronpath_core.edits.edit` does. Three passes
    forward and back with the default method, and a few forward.

    Args:
        target: the model, as a :class:`~neuronpath_core.target.TargetModel` or a timm network,
            which is then put into one (and so in eval mode).
        image: a file, a PIL image, or what the model is given: a tensor ``(channel, height,
            width)``, or a batch of one, in its dtype and on its device. Files and PIL images are
            read by :func:`~neuronpath_core.explanations.picture.read_picture` (EXIF orientation
            applied, transparency on white; what it gives is taken too) and preprocessed as the
            model's configuration says.
        label: the class to explain, by number or name; ``"auto"`` is the most probable one.
        method: by which the path is found, as in :func:`~neuronpath_core.paths.find_paths`, whose
            default is another one, the paper's.
        settings, overrides: of the search, as in :func:`~neuronpath_core.paths.find_paths`.
        memory_budget: what the search may take, such as ``"6GB"``; the path does not depend on it.
        class_names: a list with one for each class, or ``"timm"``; ``None`` for what the model's
            configuration says.
        preprocessing: what overrides the model's own, as of
            :func:`~neuronpath_core.models.preprocessing.model_preprocessing`.
        controls: how many random paths, of neurons about as active, are removed for comparison,
            0 to 1000; the same draws every time.
        model_name: what the model is called; ``None`` for what timm calls it.

    Returns:
        :class:`~neuronpath_core.explanations.explanation.Explanation`; its numbers are float64 on
        the CPU, as exact as the model's own dtype.

    Raises:
        ValueError: a model, picture, label, name or setting that does not fit; the message says
            what is accepted.
    """
    check_whole("controls", controls, 0, MOST_CONTROLS)
    target = target if isinstance(target, TargetModel) else TargetModel(target)
    if target.sites != "ffn":
        raise ValueError(f"sites cannot be {shown(target.sites)} here; accepted: a TargetModel, "
                         "whose paths are of FFN neurons")
    names, whose = classes.class_names(target.model, target.n_classes, class_names)
    values, picture, pixels, notes = _given(target, image, preprocessing)
    with memory_limit(target, memory_budget):
        target.check_images(values)
        clean = class_probabilities(target, values)
        number = classes.chosen_class(label, names, clean[0])
        labels = torch.tensor([number], device=target.device)
        paths, told = _found(target, values, labels, method, settings, memory_budget, overrides)
        frame = paths.to_frame(target, values, labels).drop(columns=["image", "score"])
        removed, doubled = (edited_probabilities(target, values, paths.neurons, operation)
                            for operation in ("remove", "enhance"))
        control = _controls(target, values, number, paths.neurons, controls)
        maps = patch_maps(target, values, paths.neurons)
    clean, removed, doubled = (each[0].double().cpu().numpy() for each in (clean, removed, doubled))
    return Explanation(
        picture=picture, pixels=pixels, model=model_name or _called(target.model), label=number,
        class_names=names, probabilities=clean, removed=removed, doubled=doubled, control=control,
        path=frame, maps=maps, patch=tuple(target.model.patch_embed.patch_size), scope=target.scope,
        score=float(paths.score[0]), settings=paths.settings,
        notes=(*notes, *told, *_without_effect(clean, removed, frame, target.dtype), whose))


def _given(target: TargetModel, image: object, preprocessing: Mapping | None
           ) -> tuple[Tensor, str, np.ndarray, tuple[str, ...]]:
    """What the model is given, the picture's name, its pixels for the eye, and notes."""
    if isinstance(image, Tensor):
        if preprocessing is not None:
            raise ValueError("preprocessing is for files and PIL images, got a tensor; accepted: "
                             "None with what the model is given")
        if not is_ordinary(image):
            raise ValueError(f"the image is {kind_of(image)}; accepted: an ordinary dense tensor")
        values = image[None] if image.ndim == 3 else image
        if values.ndim != 4 or len(values) != 1:
            raise ValueError(f"the image has shape {tuple(image.shape)}; accepted: one image, "
                             "(channel, height, width) or (1, channel, height, width)")
        target.check_images(values)
        try:
            config = model_preprocessing(target.model)
        except ValueError:  # of channels that no picture has
            config = None
        pixels, notes = as_seen(values, config)
        return values.detach(), "tensor", pixels, notes
    picture = image if isinstance(image, Picture) else read_picture(image)
    values, config, notes = model_input(picture, target.model, preprocessing)
    pixels, stretched = as_seen(values, config)
    return (values.to(target.device, target.dtype), picture.name, pixels,
            (*picture.notes, *notes, *stretched))


def _found(target, values, labels, method, settings, memory_budget, overrides):
    """The path, and what the search warns of, which the page must say too."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        paths = find_paths(target, values, labels, method=method, settings=settings,
                           memory_budget=memory_budget, **overrides)
    for each in caught:
        warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    return paths, [f"{each.message}." for each in caught
                   if issubclass(each.category, RuntimeWarning)]


def _controls(target: TargetModel, values: Tensor, label: int, neurons: Tensor,
              count: int) -> np.ndarray:
    """The label's probability with each of some random paths removed, float64."""
    if count == 0:
        return np.zeros(0)
    # read once for all draws
    active = read_activations(target, values).sum(2)
    drawn = torch.cat([matched_random_paths(target, values, neurons, seed, active)
                       for seed in range(count)])
    copies = values.expand(count, -1, -1, -1)
    return edited_probabilities(target, copies, drawn, "remove")[:, label].double().cpu().numpy()


def patch_maps(target: TargetModel, images: Float[Tensor, "1 channel height width"],
               neurons: Tensor) -> Float[np.ndarray, "row down across"]:
    """The clean activation of each path neuron at every patch token, wherever the patch lies.

    Args:
        neurons: int64 ``(1, layer)`` or ``(1, layer, rank)``.

    Returns:
        float64, rows by block and then rank; ``down`` and ``across`` are the grid of patches, from
        the picture's upper left corner.

    Raises:
        ValueError: a model whose patch tokens are not a grid of patches.
    """
    ranked, size = target.check_neurons(neurons, 1)[0], tuple(images.shape[2:])
    first = target.family.prefix_tokens(target.model)
    down, across = target.model.patch_embed.dynamic_feat_size(size)
    rows = []
    for value, chosen in zip(neurons_read(target, images, everywhere=True), ranked, strict=True):
        tokens = value[0, first:, chosen]
        if len(tokens) != down * across:
            raise ValueError(f"the model has {len(tokens)} patch tokens for {down} × {across} "
                             "patches, so that no map can be drawn; accepted: a model that keeps a "
                             "token for each patch")
        rows.append(tokens.T.double().cpu().reshape(-1, down, across))
    return torch.cat(rows).numpy()


def _without_effect(clean: np.ndarray, removed: np.ndarray, frame, dtype: torch.dtype) -> list[str]:
    """A note where the path means nothing."""
    least = torch.finfo(dtype).eps * clean.max()
    if np.abs(removed - clean).max() > least and frame["attribution"].any():
        return []
    return ["Removing the path changes no probability: its neurons are as good as any others. A "
            "head that was never trained, or a probability of exactly 0 or 1, has this effect."]


def _called(model: nn.Module) -> str:
    config = getattr(model, "pretrained_cfg", None) or {}
    return str(config.get("architecture") or type(model).__name__)
