"""Whether two outputs of a network are one up to rounding."""

from __future__ import annotations

import torch
from torch import Tensor

# another draw of rounding errors may move a part's output by so many units of its own size
ROUNDING = 64
# a relative difference that is none, if the precision can tell it
LEAST = 1e-3


def agree(found: Tensor | None, wanted: Tensor, written: Tensor) -> bool:
    r"""Whether two outputs are one up to rounding.

    :math:`|a - b| \le r\,|b| + \sqrt\epsilon\,\mathrm{rms}(w)` for every number, where w is what
    the part adds, and r is :math:`64\,\epsilon`, at most 0.001 or twice the precision. The size of
    w counts, not the stream's, so that a few large numbers in the stream do not hide a part that
    does something else.

    Args:
        found: of the part, perhaps with more rows.
        wanted: of the model.
        written: w.
    """
    if not isinstance(found, Tensor) or found.shape[1:] != wanted.shape[1:]:
        return False
    found, wanted = found[:len(wanted)].double(), wanted.double()
    unit = rounding_unit(written)
    share = min(ROUNDING * unit, max(LEAST, 2 * unit))
    allowed = share * wanted.abs() + unit ** 0.5 * written.double().square().mean().sqrt()
    return found.shape == wanted.shape and bool(((found - wanted).abs() <= allowed).all())


def rounding_unit(value: Tensor) -> float:
    """The relative rounding error of numbers as they are multiplied."""
    loose = value.is_cuda and torch.backends.cuda.matmul.allow_tf32
    return max(torch.finfo(value.dtype).eps, 2.0 ** -10 if loose else 0)
