"""How sure types are: the same with the scenes drawn anew.

The unit is the scene, which all neurons share: a neuron's top samples are a set of scenes, and what
is drawn is how often each of them counts.  Which samples are at the top is not drawn again; that
would need the values of all scenes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neuronpath_core.vlm.modality import TYPES

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


def scene_weights(scenes: int, draws: int, seed: int = 0) -> Float[np.ndarray, "draw scene"]:
    """How often each scene is drawn in a bootstrap of the scenes.

    Raises:
        ValueError: fewer than two scenes or draws.
    """
    if scenes < 2 or draws < 2:
        raise ValueError(f"{draws} draws of {scenes} scenes; accepted: at least two of each")
    rng = np.random.default_rng(seed)
    return rng.multinomial(scenes, np.full(scenes, 1 / scenes), draws).astype(float)


def drawn_probabilities(kinds: Int64[np.ndarray, "neuron top"],
                        samples: Int64[np.ndarray, "neuron top"],
                        weights: Float[np.ndarray, "draw scene"]
                        ) -> Float[np.ndarray, "draw neuron 4"]:
    """The probabilities of the types of every neuron in each draw: of its top samples, each
    counted as often as its scene was drawn, the shares of each type; NaN where none was drawn.

    Args:
        kinds: the type of each top sample, as
            :func:`~neuronpath_core.vlm.modality.sample_types` gives it; -1 in a dead neuron's row.
        samples: their scenes.
        weights: of :func:`scene_weights`.
    """
    found = np.full((len(weights), len(kinds), len(TYPES)), np.nan)
    is_kind = np.stack([kinds == kind for kind in range(len(TYPES))], -1).astype(float)
    live = kinds[:, 0] >= 0
    for draw, own in enumerate(weights):
        counted = own[samples]
        total = counted.sum(1)
        known = live & (total > 0)
        found[draw, known] = (np.einsum("ns,nsk->nk", counted[known], is_kind[known])
                              / total[known, None])
    return found
