"""Variants that do what the authors' published code does by mistake: images, models, labels and
searches, to be set beside the library's own."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from neuronpath_core.fast.integral import integral
from neuronpath_core.fast.partial_paths import PartialPaths
from neuronpath_core.forward import CleanPass, stream_gradient
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.quadrature import integrated, placed_rule
from neuronpath_core.ranking import select_neurons, top_neurons
from neuronpath_core.settings import SearchSettings
from neuronpath_core.support.memory import copies_at_once, images_at_once, in_chunks
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


def renormalised(images: ImageSet) -> ImageSet:
    """Images that were normalised with mean = std = 0.5, normalised with ImageNet's channel
    statistics instead (grey: with their means)."""
    channels = images.images.shape[1]
    mean, std = (torch.tensor(values, dtype=images.images.dtype)
                 for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
    mean, std = (value if channels == len(value) else value.mean().expand(channels)
                 for value in (mean, std))
    return replace(images, images=((images.images * 0.5 + 0.5) - mean[:, None, None])
                   / std[:, None, None])


def squashed(images: ImageSet) -> ImageSet:
    """Pictures of about 4:3, squashed to a square: these are the images with their outer columns
    repeated by a sixth on either side, of which resizing the shorter side and cropping the centre
    would give the images themselves."""
    size, aside = images.images.shape[2:], round(images.images.shape[3] / 6)
    wide = pad(images.images, (aside, aside, 0, 0), mode="replicate")
    return replace(images, images=interpolate(wide, size=tuple(size), mode="bilinear",
                                              antialias=True, align_corners=False))


def at_resolution(target: TargetModel, size: tuple[int, int]) -> TargetModel:
    """A copy of the model for images of another size, its positions interpolated by timm.

    Raises:
        ValueError: a size that is no multiple of the patches'.
    """
    patch = target.model.patch_embed.patch_size
    if any(side < step or side % step for side, step in zip(size, patch, strict=True)):
        raise ValueError(f"the image size cannot be {tuple(size)}; accepted: multiples of the "
                         f"patch size {tuple(patch)}")
    model = copy.deepcopy(target.model)
    model.set_input_size(img_size=tuple(size))
    return TargetModel(model, target.scope)


def first_labels(labels: Int64[Tensor, "image"], order: Int64[Tensor, "image"],
                 size: int) -> Int64[Tensor, "image"]:
    """Every image's label if, in batches of ``size`` taken in ``order``, the first image's label is
    given to all."""
    given = labels.clone()
    for chosen in order.split(size):
        given[chosen] = labels[chosen[0]]
    return given


def normalised_twice(target: TargetModel) -> TargetModel:
    """A copy of the model whose norm after pooling is applied twice."""
    model = copy.deepcopy(target.model)
    model.fc_norm = nn.Sequential(model.fc_norm, model.fc_norm)
    return TargetModel(model, target.scope)


def skipping_influence_paths(
    target: TargetModel, images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"], quadrature: str = "left", steps: int = 20,
    nodes: int | None = None,
) -> Int64[Tensor, "batch layer"]:
    r"""Influence Pattern as published for the averaging model: blocks already on the path are not
    run at all.

    At block l the embedded input :math:`\alpha x` enters block l itself; its scope's neurons are
    held at what they are natively at :math:`\alpha x`, the blocks after it follow, and the largest
    mean gradient of F with respect to them is taken.

    Args:
        target, images, labels: the model and a batch.
        quadrature, steps, nodes: the rule over α, see
            :func:`~neuronpath_core.quadrature.quadrature_rule`.

    Returns:
        int64 ``(batch, layer)`` on the model's device.

    Raises:
        ValueError: images, labels or a rule that do not fit.
    """
    target.check_batch(images, labels)
    points, weights = placed_rule(target, quadrature, steps, nodes)

    def chunk(chosen: Tensor) -> Tensor:
        copied, found = labels[chosen].repeat_interleave(len(points)), []
        native = CleanPass.of(target,
                              (points[:, None, None, None] * images[chosen][:, None]).flatten(0, 1))
        for block, held in enumerate(native.activations):
            stream = target.run(native.streams[0], block, block + 1, {block: held})
            gradient = stream_gradient(target, stream, copied, block + 1)[:, target.tokens].sum(1)
            slope = integrated(gradient.unflatten(0, (len(chosen), len(points))), weights)
            found.append(top_neurons(slope @ target.value_vectors(block).T.to(slope.dtype),
                                     1)[:, 0])
        return torch.stack(found, 1)

    with activation_gradients(target):
        return torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, len(points)),
                                   chunk))


class _LastOfRank(PartialPaths):
    """Of the neurons chosen in a block all are scaled, but only the last one's gradient and
    activation are counted."""

    def write(self, block: int, neurons: Int64[Tensor, "batch rank"]) -> None:
        """Put neurons of a block on the paths."""
        own = select_neurons(self.clean.activations[block], neurons)
        vectors = self.target.value_vectors(block)[neurons]
        self.total = self.total + own[..., -1]
        for _, prefix in self.carried:
            prefix.write(prefix.fade * (own @ vectors)[:, None], vectors[:, -1, None, None])


def published_top_paths(
    target: TargetModel, images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"], top: int, **settings
) -> tuple[Int64[Tensor, "batch layer rank"], Float[Tensor, "batch"]]:
    """The search for ``top`` neurons a block as published: of an earlier block only the last one
    counts, in gradient and activation.

    Args:
        target, images, labels: the model and a batch.
        top: neurons a block; one gives :func:`~neuronpath_core.paths.find_paths`'s own path.
        settings: ``context``, ``quadrature``, ``steps`` of
            :func:`~neuronpath_core.paths.find_paths`.

    Returns:
        neurons, best first, and the score as published, in which only the last neuron of each block
        counts.
    """
    target.check_batch(images, labels)
    complete = SearchSettings.of(top=top, **settings).complete(target).as_dict()
    rule = [term.on(target.device)
            for term in integral(*(complete[name]
                                   for name in ("context", "quadrature", "steps", "nodes",
                                                "exact_steps")))]

    def chunk(chosen: Tensor) -> tuple[Tensor, Tensor]:
        partial, neurons = _LastOfRank(target, images[chosen], labels[chosen], rule), []
        for block in range(target.n_blocks):
            if block > 0:
                partial.advance(block)
            neurons.append(top_neurons(partial.joint_scores(block), top))
            partial.write(block, neurons[-1])
        return torch.stack(neurons, 1), partial.score(target.n_blocks)

    at_once = max(1, min(copies_at_once(target, term.frozen) // len(term.nodes) for term in rule))
    with activation_gradients(target):
        neurons, score = zip(*in_chunks(target, len(images), lambda: at_once, chunk), strict=True)
    return torch.cat(neurons), torch.cat(score)
