"""Faithfulness, image by image: the curves of one measure, and their areas."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from scipy.integrate import trapezoid

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

Measure = Literal["logit_difference", "probability"]
MEASURES = ("logit_difference", "probability")
# Logits, or units of probability: images whose measure changes less when every neuron is replaced
# are left out. Single precision moves a masked logit difference by up to 3e-5 (see
# interventions.LOGIT_MARGIN), and so f by less than 0.01.
SMALLEST_GAIN = 1e-2


@dataclass(frozen=True)
class Faithfulness:
    r"""The curves of one measure, image by image.

    Attributes:
        measure: one of ``MEASURES``.
        shares: per cent of all neurons.
        counts: how many neurons each share is, rounded down as in the MIB benchmark, so that a
            small share of a small model may be none.
        full, empty: m(all) and :math:`m(\emptyset)`, ``(image,)``.
        kept: m with the best share kept and all others replaced, ``(image, share)``.
        removed: m with the best share replaced and all others kept, ``(image, share)``.
        smallest: images whose measure changes by less from ``empty`` to ``full`` are left out: f,
            and what is made of it, is NaN.
    """

    measure: str
    shares: tuple[float, ...]
    counts: tuple[int, ...]
    full: Float[np.ndarray, "image"]
    empty: Float[np.ndarray, "image"]
    kept: Float[np.ndarray, "image share"]
    removed: Float[np.ndarray, "image share"]
    smallest: float = SMALLEST_GAIN

    @property
    def included(self) -> Bool[np.ndarray, "image"]:
        """Images in which there is enough for the neurons to carry."""
        return np.abs(self.full - self.empty) >= self.smallest

    @property
    def excluded(self) -> int:
        """How many images are left out."""
        return int((~self.included).sum())

    def _share_of_gain(self, measured: np.ndarray) -> np.ndarray:
        gain = np.where(self.included, self.full - self.empty, np.nan)
        return (measured - self.empty[:, None]) / gain[:, None]

    @property
    def keep(self) -> Float[np.ndarray, "image share"]:
        """f of the best share, kept: 1 is as good as the model."""
        return self._share_of_gain(self.kept)

    @property
    def remove(self) -> Float[np.ndarray, "image share"]:
        """f of all but the best share: 0 is as bad as without any neuron."""
        return self._share_of_gain(self.removed)

    def cpr(self) -> Float[np.ndarray, "image"]:
        r"""The integrated circuit performance ratio, the area under f over the axis of shares
        (Mueller et al., 2025); higher is better.

        .. math::

            \mathrm{CPR} = \frac{1}{k_S - k_1} \sum_{s=1}^{S-1} (k_{s+1} - k_s)
            \frac{f(k_s) + f(k_{s+1})}{2}

        over the measured shares, from the smallest to the largest, on a linear axis.  The benchmark
        takes the same sum and does not divide it; its axis is 0.999 long, so that its areas are
        0.999 times these.  Nothing is clipped: f, and so the area, may be negative or exceed 1.
        """
        return self._area(self.keep)

    def cmd(self) -> Float[np.ndarray, "image"]:
        """The integrated circuit-model distance, the area of :math:`|1 - f|` taken as that of
        :meth:`cpr`; lower is better, 0 if the kept share is as good as the model everywhere."""
        return self._area(np.abs(1 - self.keep))

    def removal(self) -> Float[np.ndarray, "image"]:
        """The area under the f of what is left when the best share is removed, taken as that of
        :meth:`cpr`; lower is better."""
        return self._area(self.remove)

    def _area(self, curve: np.ndarray) -> np.ndarray:
        axis = np.array(self.shares) / 100
        if len(axis) < 2:
            raise ValueError("one share has no area; accepted: curves of at least two shares")
        return trapezoid(curve, axis, axis=1) / (axis[-1] - axis[0])

    def take(self, rows: Int64[np.ndarray, "image"]) -> Faithfulness:
        """The curves of some of the images, in any order, repeated or not."""
        return replace(self, full=self.full[rows], empty=self.empty[rows], kept=self.kept[rows],
                       removed=self.removed[rows])

    def pooled(self) -> Faithfulness:
        """The curves of the means of m over all images, as of one image: f is then the ratio of
        means that the MIB benchmark reports, to which images with much to lose contribute most."""
        return replace(self, full=self.full.mean(keepdims=True),
                       empty=self.empty.mean(keepdims=True),
                       kept=self.kept.mean(0, keepdims=True),
                       removed=self.removed.mean(0, keepdims=True))

    def to_frame(self) -> pd.DataFrame:
        """A row for each image, side and share: ``measure, image, side`` (``"keep"`` or
        ``"remove"``), ``share`` (per cent), ``neurons, value`` (m), ``full, empty,
        faithfulness``."""
        images, shares = self.kept.shape
        sides = []
        for side, value, faithfulness in (("keep", self.kept, self.keep),
                                          ("remove", self.removed, self.remove)):
            sides.append(pd.DataFrame({
                "measure": self.measure, "image": np.repeat(np.arange(images), shares),
                "side": side, "share": np.tile(self.shares, images),
                "neurons": np.tile(self.counts, images), "value": value.ravel(),
                "full": np.repeat(self.full, shares), "empty": np.repeat(self.empty, shares),
                "faithfulness": faithfulness.ravel()}))
        return pd.concat(sides, ignore_index=True)
