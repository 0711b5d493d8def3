"""How many edits of a set of images a vote stands, see
:mod:`~neuronpath_core.circuits.certified`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from neuronpath_core.circuits.votes import chosen_of_counts
from neuronpath_core.support.numbers import check_open
from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

Edits = Literal["any", "add", "remove"]
# by the vote, what q^r must exceed
NEEDED = {"any": lambda vote: 1.5 - vote, "add": lambda vote: 0.5 / np.maximum(vote, 0.5),
          "remove": lambda vote: 2 * (1 - vote)}
# by how much an exact vote may be off, which the tests hold against enumeration; and how much more
# than equal counts as more where q^r is compared
ROUNDING = 1e-12
ENDLESS = int(np.iinfo(np.int64).max)


def certified_radius(vote: float | Float[np.ndarray, "*shape"], keep: float,
                     edits: Edits = "any") -> Int64[np.ndarray, "*shape"]:
    """The largest number r of edits after which a vote of at least ``vote`` is still above 1/2, by
    the condition in the table of
    :mod:`~neuronpath_core.circuits.certified`.

    Args:
        vote: P, or a bound that it is not below, in 0..1.
        keep: p, above 0 and below 1.

    Returns:
        int64; -1 where the vote is not above 1/2, and ``ENDLESS`` where no number of edits
        changes anything.
    """
    check_settings(keep, edits)
    vote = np.asarray(vote, float)
    if not ((vote >= 0) & (vote <= 1)).all():
        raise ValueError("a vote lies outside 0..1; accepted: probabilities")
    # equal counts as less, whatever rounding does to a power
    needed, kept = NEEDED[edits](vote) + ROUNDING, 1 - keep
    radius = np.floor(np.log(np.minimum(needed, 1)) / np.log(kept)).astype(np.int64)
    radius -= kept ** radius <= needed  # where the quotient is whole, or was rounded up
    radius = np.where(vote > 0.5 + ROUNDING, np.maximum(radius, 0), -1)
    return np.where(vote >= 1, ENDLESS, radius) if edits == "remove" else radius


def largest_radius(keep: float, edits: Edits = "any") -> int:
    """The radius of a vote of 1: no certificate is larger. q^r > 1/2 for images that are added;
    for removed ones alone there is no bound, ``ENDLESS``."""
    return int(certified_radius(1.0, keep, edits))


def plain_radius(neurons: Int64[np.ndarray, "image"], top: int = 1,
                 edits: Edits = "any") -> Int64[np.ndarray, "seen"]:
    r"""How many edits the plain vote of all images of one block stands, exactly, for each neuron
    that is on a path, in order.

    Who removes d images and adds a does worst to a chosen neuron with m images by taking d of its
    own and giving others the new ones. It is no longer chosen if none of its own are left, or if
    the ``top`` others with most images can be brought to as many as are left:

    .. math:: \sum_{k} \max(0,\; m - d - m_k) \le a .

    Returns:
        int64, the largest r without such a change, for d and a as ``edits`` allow; -1 for a neuron
        that the images do not choose.
    """
    check_settings(0.5, edits)
    images = np.unique(neurons, return_counts=True)[1]
    radii = np.full(len(images), -1)
    for index in np.flatnonzero(chosen_of_counts(images[None].astype(float), top)[0]):
        own = images[index]
        others = np.sort(np.delete(images, index))[-top:]
        # neurons that are on no path yet may be given images too
        unseen, radius = top - len(others), 0
        while True:
            left = own - (edits != "add") * (radius + 1)
            short = int(np.maximum(left - others, 0).sum()) + unseen * int(left)
            if left <= 0 or short <= (edits != "remove") * (radius + 1):
                break
            radius += 1
        radii[index] = radius
    return radii


def check_settings(keep: float, edits: str) -> None:
    """Raise ``ValueError`` unless subsets can be drawn so, and edits are of a known kind."""
    check_open("keep", keep)
    if not is_one_of(edits, NEEDED):
        raise ValueError(f"unknown edits {shown(edits)}; accepted: {', '.join(NEEDED)}")
