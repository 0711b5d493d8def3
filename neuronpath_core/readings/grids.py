"""Where a token lies in the image: patches row by row behind the prefix tokens, on any rectangular
grid.

The class token, registers and a distillation token come first and lie nowhere.  Who drops the last
token instead of the first shifts every map by one patch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.support.tensors import is_ordinary, kind_of

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

    from neuronpath_core.target import TargetModel


@dataclass(frozen=True)
class Grid:
    """The patches of an image.

    Attributes:
        rows, columns: of patches.
        height, width: of a patch, in pixels.
        prefix: how many tokens stand before the patches.
        size: height and width of the image; at its lower and right edge patches may reach beyond.
    """

    rows: int
    columns: int
    height: int
    width: int
    prefix: int
    size: tuple[int, int]

    @property
    def patches(self) -> int:
        """P, the number of patch tokens."""
        return self.rows * self.columns

    @property
    def tokens(self) -> slice:
        """The patch tokens among all tokens."""
        return slice(self.prefix, self.prefix + self.patches)

    def centres(self) -> Float[np.ndarray, "patch 2"]:
        """The middle of every patch, row and column, in pixels from the upper left corner."""
        down = (np.arange(self.rows) + 0.5) * self.height
        across = (np.arange(self.columns) + 0.5) * self.width
        return np.stack(np.meshgrid(down, across, indexing="ij"), -1).reshape(-1, 2)

    def from_middle(self) -> Float[np.ndarray, "patch"]:
        """How far every patch's middle is from the image's, in pixels."""
        return np.hypot(*(self.centres() - np.array(self.size) / 2).T)

    def rings(self) -> Int64[np.ndarray, "patch"]:
        """Strata of position: patches that are equally far from the middle share a number, counted
        from the middle."""
        return np.unique(self.from_middle().round(6), return_inverse=True)[1].astype(np.int64)


def grid_of(target: TargetModel, images: Float[Tensor, "image channel height width"]) -> Grid:
    """The grid of a model's patches in images of this size.

    Raises:
        ValueError: images that the model does not accept, or a model whose patch tokens are not a
            grid behind its prefix tokens.
    """
    check_target(target)
    target.check_images(images)
    patches, size = target.model.patch_embed, tuple(images.shape[2:])
    rows, columns = patches.dynamic_feat_size(size)
    prefix = target.family.prefix_tokens(target.model)
    if target.n_tokens != prefix + rows * columns:
        raise ValueError(f"the model has {target.n_tokens} tokens, a grid of {rows} by {columns} "
                         f"behind {prefix} others would have {prefix + rows * columns}; accepted: "
                         "a token for each patch")
    return Grid(rows, columns, *patches.patch_size, prefix, size)


def check_masks(grid: Grid, masks: object) -> Bool[Tensor, "image height width"]:
    """Masks as a tensor; ``ValueError`` unless they are truth values of the image's size."""
    if isinstance(masks, np.ndarray) and masks.dtype == bool:
        masks = torch.as_tensor(masks)
    if not is_ordinary(masks) or masks.dtype != torch.bool or masks.ndim != 3 or tuple(
            masks.shape[1:]) != grid.size:
        raise ValueError(f"masks must be truth values (image, {grid.size[0]}, {grid.size[1]}), of "
                         f"the images' size, got {kind_of(masks)}")
    return masks


def coverage(grid: Grid, masks: Bool[np.ndarray, "image height width"]
             ) -> Float[Tensor, "image patch"]:
    """The share of each patch's pixels that lies inside a mask, from 0 to 1, float64 on the CPU;
    what a patch has beyond the image's edge is outside.

    Raises:
        ValueError: masks of another type or size than the images'.
    """
    found = check_masks(grid, masks).double()
    beyond = (grid.rows * grid.height - grid.size[0], grid.columns * grid.width - grid.size[1])
    found = F.pad(found, (0, beyond[1], 0, beyond[0]))
    return F.avg_pool2d(found[:, None], (grid.height, grid.width)).flatten(1)


def corners(grid: Grid, masks: Bool[np.ndarray, "image height width"]
            ) -> Bool[Tensor, "image patch"]:
    """Whether the pixel at each patch's upper left corner lies inside a mask: what becomes of a
    mask that is made as small as the grid by its nearest pixels, without a look at the others.

    Raises:
        ValueError: masks of another type or size than the images'.
    """
    return check_masks(grid, masks)[:, ::grid.height, ::grid.width].flatten(1)


def as_image(grid: Grid, values: Float[Tensor, "*batch patch"],
             size: tuple[int, int] | None = None) -> Float[Tensor, "*batch height width"]:
    """A number for each patch, drawn as large as the image, bilinearly between the middles of the
    patches (``align_corners=False``); ``size``: other than the image's.

    Raises:
        ValueError: another number of patches than the grid's.
    """
    if values.shape[-1] != grid.patches:
        raise ValueError(f"values of {values.shape[-1]} patches for a grid of {grid.patches}; "
                         f"accepted: one a patch, without the {grid.prefix} tokens before them")
    flat = values.reshape(-1, 1, grid.rows, grid.columns)
    shown = F.interpolate(flat, size=(grid.rows * grid.height, grid.columns * grid.width),
                          mode="bilinear", align_corners=False)
    shown = shown[..., :grid.size[0], :grid.size[1]]
    if size is not None:
        shown = F.interpolate(shown, size=size, mode="bilinear", align_corners=False)
    return shown.reshape(*values.shape[:-1], *shown.shape[-2:])
