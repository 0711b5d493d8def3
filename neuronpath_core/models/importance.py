"""Which FFN neurons matter, by weights, activations and torch-pruning: each measure gives a number
for every neuron, ``(layer, neuron)``."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from neuronpath_core.hooks import hooked
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64


@torch.no_grad()
def weight_norms(target: TargetModel) -> Float[Tensor, "layer neuron"]:
    r"""Weight magnitude :math:`\lVert \mathrm{fc1}_i \rVert\, \lVert v_i \rVert` of a neuron's row
    and value vector: the norm of the linear map through it."""
    for index, block in enumerate(target.model.blocks):
        if type(block.mlp.fc1) is not nn.Linear or type(block.mlp.fc2) is not nn.Linear:
            raise ValueError(f"block {index} has an fc1 or fc2 that does more than multiply by its "
                             "weight; accepted: nn.Linear")
    return torch.stack([block.mlp.fc1.weight.norm(dim=1) * target.value_vectors(index).norm(dim=1)
                        for index, block in enumerate(target.model.blocks)])


@torch.no_grad()
def mean_activations(target: TargetModel,
                     images: Float[Tensor, "batch channel height width"]) -> Float[Tensor,
                                                                                   "layer neuron"]:
    r"""Mean size :math:`|w^l_i|` over images and *all* tokens, whatever the scope."""
    target.check_images(images)

    def sums(chosen: Tensor) -> Tensor:
        found: dict[int, Tensor] = {}

        def keep(index: int):
            return lambda value: found.__setitem__(index, value.abs().mean(1).sum(0))

        with hooked(target, {index: keep(index) for index in range(target.n_blocks)}):
            target(images[chosen])
        return torch.stack([found[index] for index in range(target.n_blocks)])

    return torch.stack(in_chunks(target, len(images), lambda: images_at_once(target, 1),
                                 sums)).sum(0) / len(images)


def ffn_gradients(
    target: TargetModel, images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"], groups: Bool[Tensor, "group batch"]
) -> tuple[list[Tensor], list[Tensor]]:
    """Gradient of an image's cross-entropy in the FFN weights: its mean, and the mean of its
    square, over each group of images.

    Returns:
        Two lists of tensors ``(group, out, in)``: weights of block 0's ``fc1``, of its ``fc2``, of
        block 1's ``fc1``, …
    """
    target.check_batch(images, labels)
    groups = torch.as_tensor(groups)
    if groups.dtype != torch.bool or groups.ndim != 2 or groups.shape[1] != len(
            images) or not groups.any(1).all():
        raise ValueError(f"groups must be bool (group, {len(images)}) with at least one image "
                         f"each, got {groups.dtype} {tuple(groups.shape)}")
    model = _trainable_copy(target)
    weights = [linear.weight for block in model.blocks for linear in (block.mlp.fc1, block.mlp.fc2)]
    first, second = ([torch.zeros(len(groups), *weight.shape).to(weight) for weight in weights]
                     for _ in range(2))
    with torch.enable_grad():
        for index in torch.arange(len(images)).split(1):
            mine = groups[:, index].to(images)[..., None]
            for mean, square, gradient in zip(first, second,
                                              torch.autograd.grad(
                    F.cross_entropy(model(images[index]), labels[index]), weights), strict=True):
                mean += mine * gradient
                square += mine * gradient.square()
    counts = groups.sum(1).to(images)[:, None, None]
    return [mean / counts for mean in first], [square / counts for square in second]


def _trainable_copy(target: TargetModel) -> VisionTransformer:
    # gradients are left on it, and a frozen model has none
    return copy.deepcopy(target.model).requires_grad_(True)


def torch_pruning_importance(
    target: TargetModel, criterion: Literal["magnitude", "taylor", "hessian"],
    images: Float[Tensor, "batch channel height width"],
    gradients: Sequence[Tensor] | None = None,
) -> Float[Tensor, "layer neuron"]:
    r"""Importance of every neuron by torch-pruning: of the group of ``fc1``'s rows and ``fc2``'s
    columns that its dependency graph finds.

    Per neuron, with g the gradient of the loss, the mean over row and column of

    .. math::

        \sum_j W_{ij}^2, \qquad \sum_j |W_{ij}\, g_{ij}|, \qquad
        \sum_j W_{ij}^2\, \overline{g_{ij}^2},

    divided by its mean over the block; float32, whatever the model.

    Args:
        criterion: ``"magnitude"``; ``"taylor"`` (Molchanov et al., 2019); ``"hessian"`` (optimal
            brain damage, LeCun et al., 1989).
        images: one image or more to trace the network with.
        gradients: of :func:`ffn_gradients`, one tensor a weight: for ``"taylor"`` the mean, for
            ``"hessian"`` the mean square.  The latter is averaged there because version 1.6.1's own
            accumulation keeps the last image's alone.
    """
    import torch_pruning

    scorers = {"magnitude": torch_pruning.importance.GroupMagnitudeImportance,
               "taylor": torch_pruning.importance.GroupTaylorImportance,
               "hessian": torch_pruning.importance.GroupHessianImportance}
    if criterion not in scorers:
        raise ValueError(f"unknown criterion {criterion!r}; accepted: {', '.join(scorers)}")
    if criterion != "magnitude" and gradients is None:
        raise ValueError(f"criterion {criterion!r} needs gradients; accepted: one tensor for "
                         f"every FFN weight")
    model, scorer, found = _trainable_copy(target), scorers[criterion](), []
    for weight, gradient in zip([linear.weight for block in model.blocks
                                 for linear in (block.mlp.fc1, block.mlp.fc2)], gradients or [],
                                strict=False):
        weight.grad = gradient.clone()
    with torch.enable_grad(), warnings.catch_warnings():
        # tokens and positions, which no FFN neuron touches
        warnings.filterwarnings("ignore", message="Unwrapped parameters")
        graph = torch_pruning.DependencyGraph().build_dependency(model, example_inputs=images[:1])
    for block in model.blocks:
        group = graph.get_pruning_group(block.mlp.fc1, torch_pruning.prune_linear_out_channels,
                                        idxs=list(range(target.n_neurons)))
        found.append(scorer(group))
    return torch.stack(found)


def most_important(importance: Float[Tensor, "layer neuron"], top: int) -> list[list[int]]:
    """The ``top`` neurons of largest importance in each block, ascending; ties go to the smaller
    index."""
    if importance.ndim != 2 or isinstance(top, bool) or not 1 <= top <= importance.shape[1]:
        raise ValueError(f"top must lie in 1..neurons of importance (layer, neuron), got {top} "
                         f"and {tuple(importance.shape)}")
    return importance.cpu().sort(dim=1, descending=True,
                                 stable=True).indices[:, :top].sort(1).values.tolist()
