"""The registry of methods: what each ranks neurons by.

A new score costs one function and one entry::

    npc.register(npc.Method("my_score", "My score", rank=my_score, passes={"gradient": 1}))

after which ``find_paths(..., method="my_score")`` finds the largest of every block, and chapters
that compare methods accept its key.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neuronpath_core.support.text import shown

if TYPE_CHECKING:
    from jaxtyping import Float, Int64
    from torch import Tensor

# with the keyword baseline besides, where a method takes one
Scores = Callable[..., "Float[Tensor, 'batch layer neuron']"]
Choice = Callable[..., "Int64[Tensor, 'batch layer rank']"]


@dataclass(frozen=True)
class Method:
    """One way to find a path.

    Attributes:
        key: its name in ``find_paths(method=...)`` and in tables.
        label: its name on pages and in figures.
        rank: ``(target, images, labels, settings)`` to scores ``(batch, layer, neuron)``, of which
            the largest of each block are the path; a smaller layer's surplus entries are ignored.
        choose: ``(target, images, labels, settings, count)`` to neurons ``(batch, layer, rank)``,
            best first, for what is no score of single neurons. A method has one of the two; those
            that search an integral have neither, the engine finds their paths.
        passes: passes of one block that one image takes by kind, a field of
            :class:`~neuronpath_core.cost.passes.Passes` each, or a function of
            ``(target, settings)`` to them; ``None`` where the cost is counted elsewhere.
        drafted: whether the scores may be made in single precision first.
        single_neurons: whether it ranks single neurons only, not heads or halves.
        searched: whether an engine searches for it by an integral along paths.
        with_search: whether such a search is made on the way.
        with_baseline: whether it compares with any values of the neurons, not with zero alone:
            ``rank`` or ``choose`` takes the keyword ``baseline``, by default ``None`` for zero, and
            is given checked values ``(image or 1, layer, token or 1, neuron)``. Other methods given
            one are refused by name.
    """

    key: str
    label: str
    rank: Scores | None = None
    choose: Choice | None = None
    passes: Mapping[str, float] | Callable[..., Mapping[str, float]] | None = None
    drafted: bool = False
    single_neurons: bool = False
    searched: bool = False
    with_search: bool = False
    with_baseline: bool = False


METHODS: dict[str, Method] = {}


def register(method: Method) -> Method:
    """Make a method known by its key.

    Raises:
        ValueError: a key that is taken, or not exactly one way to find neurons.
    """
    if not isinstance(method, Method) or not isinstance(method.key, str) or not method.key:
        raise ValueError(f"a method cannot be {shown(method)}; accepted: npc.Method(key, label, "
                         "rank=...), the key a text")
    if method.key in METHODS:
        raise ValueError(f"method {shown(method.key)} is there already; accepted: "
                         f"a key that is none of "
                         f"{', '.join(METHODS)}")
    if method.searched + (method.rank is not None) + (method.choose is not None) != 1:
        raise ValueError(f"method {shown(method.key)} must have exactly one of rank, choose and "
                         f"searched; accepted: one function of the two, or searched")
    if not (method.searched or callable(method.rank) or callable(method.choose)):
        raise ValueError(f"method {shown(method.key)} has a way to find neurons that cannot be "
                         "called; accepted: a function")
    METHODS[method.key] = method
    return method


def warn_of_no_effect(effects: Float[Tensor, "batch"]) -> None:
    """Warn of how many images have a path, chosen by its effect, that has none."""
    if nothing := int((effects == 0).sum()):
        warnings.warn(f"{nothing} of {len(effects)} images have a path whose edit leaves the "
                      "label's probability exactly as it was, so that its choice means nothing; "
                      "it needs a trained model (timm begins with a head of zeros), a label whose "
                      "probability is not exactly 0 or 1, or double precision", RuntimeWarning,
                      stacklevel=6)
