"""The images of a neuron's card: what the model is given, what is shown of them, and what they are
known to show."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from neuronpath_core.explanations.model_input import as_seen
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.images.shapes import CLASS_NAMES
from neuronpath_core.readings.concepts import ConceptSet
from neuronpath_core.readings.known_concepts import known_concepts
from neuronpath_core.support.tensors import is_ordinary
from neuronpath_core.support.text import shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64, UInt8

DIGITS = tuple(map(str, range(10)))
NO_MASKS = "no masks in this data set, so that no concept can be told"
COLOURS = 48  # of a picture in a page, which many small pictures share
LARGEST = 96  # pixels of a side of a picture in a page


@dataclass(frozen=True, eq=False)
class CardImages:
    """Images as the model sees them and as people do.

    Attributes:
        values: what the model is given.
        labels: of the images; ``None`` where nobody tells them.
        names: of the model's classes.
        ids: of the images in their data set.
        own: the set that they are; ``None`` of a tensor.
        digits: whether they are the scanned digits, whose ink is bright to the model.
        photographs: whether they may be; the scanned digits and rendered scenes are not.
    """

    values: Float[Tensor, "image channel height width"]
    labels: Int64[np.ndarray, "image"] | None
    names: tuple[str, ...]
    ids: Int64[np.ndarray, "image"]
    own: ImageSet | None
    digits: bool
    photographs: bool

    def __len__(self) -> int:
        return len(self.values)

    def of_class(self, label: int) -> Int64[np.ndarray, "member"]:
        """The positions of a class's images."""
        return np.flatnonzero(self.labels == label)

    @property
    def classes(self) -> list[int]:
        """The classes of which there are images."""
        return np.unique(self.labels).tolist()

    def needs_labels(self) -> None:
        """Raise ``ValueError`` where nobody tells the labels."""
        if self.labels is None:
            raise ValueError("nobody told the labels of these images, by which this is counted; "
                             "accepted: an ImageSet, or labels=")

    def seen(self, index: int) -> UInt8[np.ndarray, "height width *rgb"]:
        """An image for the eye."""
        if self.own is not None:
            return np.asarray(self.own.pixels[index])
        return as_seen(self.values[index:index + 1], None)[0]

    def limits(self) -> dict[str, Float[Tensor, "channel"] | float]:
        """What the model sees of a black (``low``) and of a white pixel (``high``); of images that
        nobody knows, the least and the largest value of each channel."""
        if not self.photographs:
            return {"low": -1.0, "high": 1.0}
        return {"low": self.values.amin((0, 2, 3)), "high": self.values.amax((0, 2, 3))}

    def drawn(self, values: Float[Tensor, "channel height width"]
              ) -> UInt8[np.ndarray, "height width *rgb"]:
        """An image made for the model, for the eye; ink of digits is dark."""
        ends = {name: torch.as_tensor(end).to(values).reshape(-1, 1, 1)
                for name, end in self.limits().items()}
        share = ((values - ends["low"]) / (ends["high"] - ends["low"])).clamp(0, 1)
        share = 1 - share if self.digits else share
        if len(share) not in (1, 3):
            share = share.mean(0, keepdim=True)
        pixels = (share * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        return pixels[..., 0] if pixels.shape[2] == 1 else pixels

    def concepts(self) -> ConceptSet:
        """What the images show.

        Raises:
            ValueError: no masks in this data set.
        """
        if self.own is None or not (self.own.masks or self.digits):
            raise ValueError(f"{NO_MASKS}; accepted: an ImageSet with masks, or the digits")
        if not self.photographs:
            return known_concepts(self.own)
        names = tuple(self.own.masks)
        masks = np.stack([np.asarray(self.own.masks[name], bool) for name in names])
        return ConceptSet(names, ("part",) * len(names), masks, masks.any((2, 3)))


def card_images(target: TargetModel, images: object, labels: Tensor | None) -> CardImages:
    """Images in the model's dtype and on its device.

    Raises:
        ValueError: no images of this model, or labels that do not fit.
    """
    own = images if isinstance(images, ImageSet) else None
    if own is None and not isinstance(images, Tensor):
        raise ValueError(f"images cannot be {shown(type(images).__name__)}; accepted: an ImageSet, "
                         "or a tensor (image, channel, height, width)")
    if own is not None and labels is not None:
        raise ValueError("labels are given beside an ImageSet, which has its own; accepted: labels "
                         "of a tensor")
    values = images if own is None else own.images.to(target.device, target.dtype)
    target.check_images(values)
    told = labels if own is None else own.labels
    if told is not None:
        target.check_batch(values, told.to(target.device) if is_ordinary(told) else told)
        told = told.cpu().numpy()
    names = tuple(map(str, own.class_names)) if own is not None else ()
    if len(names) != target.n_classes:
        names = tuple(f"class {index}" for index in range(target.n_classes))
    ids = np.arange(len(values)) if own is None else own.ids.numpy()
    digits = names == DIGITS and values.shape[1] == 1
    scenes = own is not None and names == CLASS_NAMES and bool(own.captions)
    return CardImages(values.detach(), told, names, ids, own, digits,
                      own is None or not (digits or scenes))


# --- pictures of a page ---


def small(pixels: UInt8[np.ndarray, "height width *rgb"], side: int = LARGEST
          ) -> UInt8[np.ndarray, "height width *rgb"]:
    """A picture no larger than so many pixels a side."""
    picture = Image.fromarray(pixels)
    if max(picture.size) <= side:
        return pixels
    picture.thumbnail((side, side))
    return np.asarray(picture)


def strip(tiles: list[np.ndarray]) -> np.ndarray:
    """Tiles side by side, all as large as the first."""
    high, wide = tiles[0].shape[:2]
    return np.concatenate([tile if tile.shape[:2] == (high, wide) else np.asarray(
        Image.fromarray(tile).resize((wide, high))) for tile in tiles], 1)


def png(pixels: UInt8[np.ndarray, "height width *channel"], colours: int = COLOURS) -> str:
    """A picture as a ``data:`` address, of RGB with so many colours at most: a page with many
    small pictures stays light."""
    picture = Image.fromarray(pixels)
    if picture.mode == "RGB":
        picture = picture.quantize(colours, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
