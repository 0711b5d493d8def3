r"""Which modality a neuron of a vision-language model fires for (Xu et al., 2025, section 3.2).

A neuron's value is normalised by its own maximum, :math:`\tilde a = 10 \max(a, 0) / \max_{s,t} a`.
A sample counts as visual where more than :math:`n_v` image tokens have :math:`\tilde a > T_v`, as
textual where more than :math:`n_t` text tokens have :math:`\tilde a > T_t`; both make it
multi-modal, neither unknown.  Over a neuron's N top samples the shares of the four types are its
probabilities.  Every live neuron reaches 10 somewhere, so that "unknown" says that few tokens are
near the maximum, not that the neuron is weak.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.stats import spearmanr

from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.vlm.records import Records

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

Levels = Literal["floor", "continuous"]
LEVELS = ("floor", "continuous")
TYPES = ("visual", "text", "multi-modal", "unknown")
FULL = 10.0  # the normalised maximum
PAPER_PATCHES = 576  # of LLaVA-1.5, for which the published numbers of tokens are
CHUNK = 256  # neurons at a time


@dataclass(frozen=True)
class Criteria:
    """When a sample counts as visual or textual.

    Attributes:
        visual_level, text_level: T, which normalised values must be above.
        visual_count, text_count: n, which the number of such tokens must be above.
    """

    visual_level: float = 2.0
    visual_count: int = 4
    text_level: float = 3.0
    text_count: int = 2

    def for_patches(self, patches: int) -> Criteria:
        """The number of image tokens scaled from 576 to fewer: with 64 none, so that one token
        above the level is enough."""
        count = round(self.visual_count * patches / PAPER_PATCHES)
        return Criteria(self.visual_level, count, self.text_level, self.text_count)


PUBLISHED = Criteria()


def normalised(values: Float[np.ndarray, "*batch"], maxima: Float[np.ndarray, "*batch"],
               levels: Levels = "floor") -> Float[np.ndarray, "*batch"]:
    r""":math:`\tilde a` from 0 to 10, float64; ``"floor"`` takes the whole part, as Bills et al.
    (2023) do, so that "above 2" means at least 30 % of the maximum, continuous 20 %.

    Args:
        values: activations.
        maxima: of the neurons, of a shape that ``values`` can be divided by; values of dead
            neurons, whose maximum is 0 or less, become 0.
        levels: ``"floor"`` or ``"continuous"``.

    Raises:
        ValueError: unknown levels.
    """
    if not is_one_of(levels, LEVELS):
        raise ValueError(f"unknown levels {shown(levels)}; accepted: {', '.join(LEVELS)}")
    most = np.where(maxima > 0, maxima, np.inf).astype(float)
    found = FULL * np.clip(values, 0, None).astype(float) / most
    return np.minimum(FULL, np.floor(found)) if levels == "floor" else found


def counts(records: Records, criteria: Criteria = PUBLISHED, levels: Levels = "floor",
           visual: Bool[np.ndarray, "sample token"] | None = None,
           text: Bool[np.ndarray, "sample token"] | None = None
           ) -> tuple[Int64[np.ndarray, "neuron top"], Int64[np.ndarray, "neuron top"]]:
    """In each top sample of each neuron, how many image tokens are above their level, and how many
    text tokens above theirs.

    Args:
        records: of :func:`~neuronpath_core.vlm.records.collect`.
        criteria: the levels.
        levels: of the normalisation.
        visual, text: other labels of the tokens than the records', such as permuted ones.
    """
    visual = records.visual if visual is None else visual
    text = records.text if text is None else text
    found = np.zeros((2, len(records.values), records.top), np.int64)
    for start in range(0, len(records.values), CHUNK):
        part = slice(start, start + CHUNK)
        high = normalised(records.values[part, :records.top], records.maxima[part, None, None],
                          levels)
        samples = records.samples[part, :records.top]
        found[0, part] = ((high > criteria.visual_level) & visual[samples]).sum(-1)
        found[1, part] = ((high > criteria.text_level) & text[samples]).sum(-1)
    return found[0], found[1]


def sample_types(visual: Int64[np.ndarray, "*batch"], text: Int64[np.ndarray, "*batch"],
                 criteria: Criteria = PUBLISHED) -> Int64[np.ndarray, "*batch"]:
    """The type of each sample, a position in ``TYPES``, from its numbers of tokens above the
    levels."""
    seen, told = visual > criteria.visual_count, text > criteria.text_count
    return np.select([seen & told, seen, told], [2, 0, 1], 3)


def probabilities(records: Records, criteria: Criteria = PUBLISHED, levels: Levels = "floor",
                  visual: Bool[np.ndarray, "sample token"] | None = None,
                  text: Bool[np.ndarray, "sample token"] | None = None
                  ) -> Float[np.ndarray, "neuron 4"]:
    """p of each neuron: the shares of its top samples that are visual, textual, multi-modal and
    unknown, multiples of 1/N; NaN for dead neurons.

    Arguments as of :func:`counts`.
    """
    kinds = sample_types(*counts(records, criteria, levels, visual, text), criteria)
    found = np.stack([(kinds == kind).mean(1) for kind in range(len(TYPES))], 1)
    found[~records.live] = np.nan
    return found


def confident(p: Float[np.ndarray, "neuron 4"], level: float = 0.8, strict: bool = True
              ) -> Float[np.ndarray, "4"]:
    """The share of live neurons with a probability above the level, or at it too if not
    ``strict``, for each type; NaN without live neurons."""
    live = p[~np.isnan(p[:, 0])]
    if not len(live):
        return np.full(len(TYPES), np.nan)
    return ((live > level) if strict else (live >= level)).mean(0)


def type_shares(p: Float[np.ndarray, "neuron 4"]) -> Float[np.ndarray, "neuron 4"]:
    """1 for each neuron's most probable type, or, where several tie, equal shares of it; 0 for dead
    neurons."""
    best = p == np.max(p, axis=1, keepdims=True)
    return best / np.maximum(best.sum(1, keepdims=True), 1)


def top_places(p: Float[np.ndarray, "neuron"], share: float = 0.03) -> Float[np.ndarray, "neuron"]:
    """How much of each neuron is among the top ``share`` of the live ones by a probability: 1 above
    the cut, 0 below; those that tie at the cut share the places that are left.

    Raises:
        ValueError: a share that is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share cannot be {share!r}; accepted: a number above 0, up to 1")
    live = ~np.isnan(p)
    places = share * live.sum()
    found = np.zeros(len(p))
    if not live.any():
        return found
    ordered = np.sort(p[live])[::-1]
    cut = ordered[min(int(np.ceil(places)), len(ordered)) - 1]
    found[live & (p > cut)] = 1
    tied = live & (p == cut)
    found[tied] = (places - found.sum()) / tied.sum()
    return found


def layer_profile(weights: Float[np.ndarray, "neuron"], layers: Int64[np.ndarray, "neuron"],
                  count: int | None = None) -> Float[np.ndarray, "layer"]:
    """The share of a weight that lies in each layer: of :func:`top_places` where the surest neurons
    of a type are, of a probability itself where the type is; NaN without any weight."""
    weights = np.nan_to_num(weights)
    found = np.bincount(layers, weights, count or int(layers.max()) + 1)
    return found / found.sum() if found.sum() > 0 else np.full(len(found), np.nan)


def layer_means(p: Float[np.ndarray, "neuron 4"], layers: Int64[np.ndarray, "neuron"]
                ) -> Float[np.ndarray, "layer 4"]:
    """The mean probabilities of each layer's live neurons."""
    live = ~np.isnan(p[:, 0])
    return np.stack([p[live & (layers == layer)].mean(0) if (live & (layers == layer)).any()
                     else np.full(len(TYPES), np.nan) for layer in range(int(layers.max()) + 1)])


def layer_trend(means: Float[np.ndarray, "layer"]) -> float:
    """Spearman's correlation of a layer's number with its mean probability, from -1 to 1; NaN where
    all layers are alike or fewer than three are known."""
    known = np.flatnonzero(~np.isnan(means))
    if len(known) < 3 or np.ptp(means[known]) == 0:
        return float("nan")
    return float(spearmanr(known, means[known]).statistic)
