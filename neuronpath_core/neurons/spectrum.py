r"""Images as spectra: what an optimiser moves instead of pixels.

A gradient step on pixels makes noise, because neighbouring pixels are independent parameters.  As
in feature visualisation (Olah et al., 2017) the parameters are a spectrum z, one complex number a
channel and frequency, and the image is a function of it:

===============  ===================================================================================
``"fourier"``    :math:`\sigma\bigl(C\,\mathcal F^{-1}(z/\max(f, 1/s)) / 4\bigr)`: steps of one size
                 move low frequencies further, as natural images have them; s: the longer side
``"magnitude"``  :math:`\sigma\bigl(2\,C\,\mathcal F^{-1}(M e^{i \arg z})\bigr)`: every frequency
                 keeps the magnitude M that it has in images of the data set, and the phase alone
                 moves (MACO; Fel et al., 2023)
===============  ===================================================================================

C mixes the channels as they are mixed in images of the data set, and :math:`\sigma` keeps a pixel
between black and white.  :math:`\sigma(2y)` has the slope of a pixel's own scale at grey.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.support.tensors import is_real, kind_of
from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    from jaxtyping import Float

Parameterisation = Literal["fourier", "magnitude"]
PARAMETERISATIONS = ("fourier", "magnitude")
SMALLEST = 8  # pixels of a side; below it there is no frequency between the mean and the finest
_FLAT = 4.0  # what a spectrum is divided by before the sigmoid, as published tools do
_EDGE = 1e-6  # how far from black and white a pixel must be to have a spectrum


@dataclass(frozen=True)
class Statistics:
    """What images of a data set have in common.

    Attributes:
        low, high: what the model sees of a black and of a white pixel.
        colour: C, the square root of the channels' covariance, its longest column of length 1; of
            one channel 1.
        magnitude: M, the mean magnitude of the spectra of pixels from -1 to 1, channels unmixed.
        size: height and width of the images.
    """

    low: Float[Tensor, "channel"]
    high: Float[Tensor, "channel"]
    colour: Float[Tensor, "channel channel"]
    magnitude: Float[Tensor, "channel row column"]
    size: tuple[int, int]

    def like(self, tensor: Tensor) -> Statistics:
        """The same in the dtype and on the device of a tensor."""
        return replace(self, **{name: getattr(self, name).to(tensor)
                                for name in ("low", "high", "colour", "magnitude")})


def image_statistics(images: Float[Tensor, "image channel height width"],
                     low: float | Float[Tensor, "channel"] = -1.0,
                     high: float | Float[Tensor, "channel"] = 1.0) -> Statistics:
    """What images have in common, estimated of a profile's own training images.

    Args:
        images: as the model sees them, at least two of at least 8 pixels a side.
        low, high: what the model sees of a black and of a white pixel; of images normalised with
            mean = std = 0.5 they are -1 and 1.

    Raises:
        ValueError: no such images, or channels that are the same in all of them.
    """
    if not is_real(images) or images.ndim != 4 or len(images) < 2:
        raise ValueError(f"statistics cannot be had of {kind_of(images)}; accepted: at least "
                         "two images (image, channel, height, width)")
    check_size(*images.shape[-2:])
    channels = images.shape[1]
    low, high = (torch.as_tensor(end).to(images).expand(channels) for end in (low, high))
    if not bool((high > low).all()):
        raise ValueError(f"white is {shown(high.tolist())} and black {shown(low.tolist())}; "
                         "accepted: a white above the black")
    pixels = 2 * (images - _wide(low)) / _wide(high - low) - 1
    colour = colour_matrix(pixels)
    unmixed = torch.einsum("ij,njhw->nihw", torch.linalg.inv(colour), pixels)
    magnitude = torch.fft.rfft2(unmixed, norm="ortho").abs().mean(0)
    return Statistics(low, high, colour, magnitude, tuple(images.shape[-2:]))


def colour_matrix(pixels: Float[Tensor, "image channel height width"]
                  ) -> Float[Tensor, "channel channel"]:
    """The symmetric square root of the channels' covariance over pixels, divided by the length of
    its longest column, so that independent numbers times it are as correlated as the channels.

    Raises:
        ValueError: channels of which one says nothing that the others do not.
    """
    flat = pixels.transpose(0, 1).flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    values, vectors = torch.linalg.eigh(flat @ flat.T / flat.shape[1])
    if not float(values.min()) > 1e-10 * max(float(values.max()), 1e-12):
        raise ValueError("a channel of these images is constant, or the same as others; accepted: "
                         "images whose channels differ")
    root = (vectors * values.sqrt()) @ vectors.T
    return root / root.norm(dim=0).max()


def check_size(height: int, width: int) -> None:
    """Raise ``ValueError`` for images below 8 pixels a side."""
    if min(height, width) < SMALLEST:
        raise ValueError(f"images of {height}x{width} pixels are too small for a spectrum; "
                         f"accepted: at least {SMALLEST} a side")


def check_parameterisation(name: object) -> None:
    """Raise ``ValueError`` unless this names a parameterisation."""
    if not is_one_of(name, PARAMETERISATIONS):
        raise ValueError(f"unknown parameterisation {shown(name)}; accepted: "
                         f"{', '.join(PARAMETERISATIONS)}")


def frequencies(height: int, width: int) -> Float[np.ndarray, "row column"]:
    """How many periods a pixel each entry of a real image's spectrum has, 0 to 0.71."""
    return np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])


def _scale(like: Tensor, height: int, width: int) -> Float[Tensor, "row column"]:
    spread = 1 / np.maximum(frequencies(height, width), 1 / max(height, width))
    return torch.from_numpy(spread).to(like)


def first_spectrum(copies: int, height: int, width: int, like: Tensor,
                   parameterisation: Parameterisation = "fourier", seed: int = 0,
                   spread: float = 0.01) -> Float[Tensor, "copy channel row column 2"]:
    """Where an optimisation begins: real and imaginary parts with this standard deviation, or of
    ``"magnitude"`` 1, of which only the phase counts.

    The numbers depend on the seed and the shape alone, and PyTorch's own go on as if nothing had
    been drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    spread = spread if parameterisation == "fourier" else 1.0
    # one after the other, so that a copy does not depend on how many there are
    drawn = [torch.randn(len(like), height, width // 2 + 1, 2, generator=generator,
                         dtype=torch.float64) for _ in range(copies)]
    return (spread * torch.stack(drawn)).to(like)


def to_images(spectrum: Float[Tensor, "*batch channel row column 2"], statistics: Statistics,
              parameterisation: Parameterisation = "fourier"
              ) -> Float[Tensor, "*batch channel height width"]:
    """The images of spectra, as the model sees them; differentiable.

    Args:
        spectrum: real and imaginary parts.
        statistics: in the spectrum's dtype, on its device.
        parameterisation: see the head of this module.

    Raises:
        ValueError: an unknown parameterisation, or spectra of images of another size.
    """
    check_parameterisation(parameterisation)
    own = tuple(statistics.magnitude.shape)
    if spectrum.shape[-4:] != (*own, 2):
        raise ValueError(f"a spectrum is {tuple(spectrum.shape[-4:])}; accepted: {(*own, 2)}, of "
                         "images of the statistics' size")
    complex_ = torch.view_as_complex(spectrum.contiguous())
    if parameterisation == "fourier":
        complex_ = complex_ * _scale(spectrum, *statistics.size)
    else:
        complex_ = torch.polar(statistics.magnitude.expand(complex_.shape), complex_.angle())
    flat = torch.fft.irfft2(complex_, s=statistics.size, norm="ortho")
    mixed = torch.einsum("ij,...jhw->...ihw", statistics.colour, flat)
    shade = torch.sigmoid(mixed / _FLAT if parameterisation == "fourier" else 2 * mixed)
    return _wide(statistics.low) + _wide(statistics.high - statistics.low) * shade


def to_spectrum(images: Float[Tensor, "*batch channel height width"], statistics: Statistics
                ) -> Float[Tensor, "*batch channel row column 2"]:
    """The ``"fourier"`` spectrum of images, the inverse of :func:`to_images`.

    Raises:
        ValueError: a pixel that is black, white or beyond, which no finite spectrum has.
    """
    shade = (images - _wide(statistics.low)) / _wide(statistics.high - statistics.low)
    if not bool(((shade > _EDGE) & (shade < 1 - _EDGE)).all()):
        raise ValueError("a pixel is black or white, which no finite spectrum has; accepted: "
                         "images between the two")
    mixed = _FLAT * torch.logit(shade)
    flat = torch.einsum("ij,...jhw->...ihw", torch.linalg.inv(statistics.colour), mixed)
    found = torch.fft.rfft2(flat, norm="ortho") / _scale(images, *images.shape[-2:])
    return torch.view_as_real(found)


def high_share(images: Float[Tensor, "*batch channel height width"], above: float = 0.25
               ) -> Float[Tensor, "*batch"]:
    """The share of an image's variance at more than ``above`` periods a pixel, in [0, 1]: what
    looks like noise; of white noise about 0.8.  An image of one colour has 0.

    Raises:
        ValueError: images below 8 pixels a side.
    """
    check_size(*images.shape[-2:])
    power = torch.fft.fft2(images, norm="ortho").abs().square().sum(-3)
    rows, columns = (np.fft.fftfreq(side) for side in images.shape[-2:])
    found = np.hypot(rows[:, None], columns[None])
    varied = power * torch.from_numpy(found > 0).to(power)
    high = (power * torch.from_numpy(found > above).to(power)).sum((-2, -1))
    # the rounding of an image of one colour is no variance
    total = varied.sum((-2, -1))
    return torch.where(total > 1e-20 * power.sum((-2, -1)), high / total, torch.zeros_like(high))


def _wide(values: Float[Tensor, "channel"]) -> Float[Tensor, "channel 1 1"]:
    return values[:, None, None]
