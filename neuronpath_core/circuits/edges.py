r"""Whether a path is a path: what reaches each of its neurons from those before it.

A score judges a path as a set. Here every pair of its neurons, :math:`(l, p) \to (l', p')` with
:math:`l < l'`, is an *edge*: the source moves from a baseline b to its clean value, and the change
of the target's activation is measured. All other neurons run natively, those of the path between
the two as well. An effect is positive where the source makes its target more active.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.circuits.composition import composition
from neuronpath_core.circuits.edge_ends import EdgeEnds, one_a_block
from neuronpath_core.circuits.edges_by_blocks import by_blocks, several_tokens
from neuronpath_core.circuits.edges_by_calls import by_calls
from neuronpath_core.examined import check_target
from neuronpath_core.factors import check_values
from neuronpath_core.fast.plain import is_plain
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.model_state import is_hooked
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

Derivative = Literal["auto", "forward", "reverse"]
DERIVATIVES = ("auto", "forward", "reverse")
# the parts that add up to the total, and every measure of an edge
PARTS = ("residual", "attention", "others")
EFFECTS = ("total", *PARTS, "exact", "exact_probability")


def path_edges(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    neurons: Int64[Tensor, "batch layer"],
    baseline: Float[Tensor, "image layer token neuron"] | None = None,
    *,
    partners: Int64[Tensor, "batch layer"] | None = None,
    split: bool = True,
    exact: bool = True,
    derivative: Derivative = "auto",
) -> pd.DataFrame:
    r"""The effect of every neuron of a path on every later one.

    ``total`` is the effect to first order,

    .. math::

        \frac1T \sum_{t'} \sum_t \frac{\partial w^{l'}_{p', t'}}{\partial w^l_{p, t}}
        (\bar w^l_{p, t} - b^l_{p, t}) ,

    with t and t' over the T tokens of the scope (one for ``"cls"``): the source moves at all of
    them, and the target's mean over them is looked at. It is the sum of three parts, told apart by
    the routes from source to target:

    * ``residual``: along the token's own residual stream and through its FFNs, with what the
      attention halves add held at its clean value;
    * ``attention``: the same, and at least once through an attention half from a token to itself,
      as its query, key and value; never by way of another token;
    * ``others``: by way of another token at least once, as a key and value that is read, or, for
      scope ``"patch"``, from one token of the scope to another. For scope ``"cls"`` it is zero
      between consecutive blocks by construction: one attention half lies between the two, and
      there and back again takes two.

    ``exact`` is the difference that the replaced source makes, and ``exact_probability`` what comes
    of it by this edge alone: the target takes the value that it has in the run in which the source
    is replaced, and everything that does not follow from the target stays clean,

    .. math::

        \frac1T \sum_{t'} \big(\bar w^{l'}_{p', t'} - w^{l'}_{p', t'}(w^l_p = b)\big) , \qquad
        F_x(\text{clean}) - F_x\big(w^{l'}_{p'} = w^{l'}_{p'}(w^l_p = b)\big)

    (path patching: Wang et al., 2023, Sec. 3.1). ``composition`` looks at weights alone, see
    :func:`~neuronpath_core.circuits.composition.composition`.

    Args:
        target: the model; of a :class:`~neuronpath_core.variants.sites.SiteModel` one with sites
            ``"ffn"``.
        images, labels: a batch; classes may mix.
        neurons: int64 ``(batch, layer)``, one neuron a block: the sources.
        baseline: b, ``(image or 1, layer, token or 1, neuron)``; ``None`` is zero.
        partners: int64 ``(batch, layer)``, the targets; ``None`` are ``neurons`` themselves.
        split: compute the three parts, which takes three derivatives instead of one.
        exact: compute the effects by replacement, L (L - 1) / 2 partial forward passes an image.
        derivative: ``"forward"``, block by block, one tangent for each source; ``"reverse"``, of
            the model as it is called, one backward pass for each target, without parts; ``"auto"``,
            the first where the model is its blocks put together.

    Returns:
        One row for each image and pair, L (L - 1) / 2 an image: ``image`` (of the batch, from 0),
        ``source_block, source_neuron, target_block, target_neuron`` (blocks from 1, neurons from
        0), the clean ``target_activation`` (mean over the scope's tokens), and the effects in
        double precision; NaN where they were not asked for.

    Raises:
        ValueError: images, labels, neurons or a baseline that do not fit, several neurons a block,
            sites other than ``"ffn"``, an unknown derivative, or parts of a model whose blocks
            cannot be taken apart.
    """
    check_target(target)
    if getattr(target, "sites", "ffn") != "ffn":
        raise ValueError(f"edges are between FFN neurons, got sites {shown(target.sites)}; "
                         "accepted: npc.TargetModel(model)")
    if not is_one_of(derivative, DERIVATIVES):
        raise ValueError(f"unknown derivative {shown(derivative)}; accepted: "
                         f"{', '.join(DERIVATIVES)}")
    target.check_batch(images, labels)
    images, count = images.detach(), len(images)
    sources = one_a_block(target, neurons, count)
    targets = sources if partners is None else one_a_block(target, partners, count)
    values = None if baseline is None else check_values(target, baseline, count)
    called = derivative == "reverse" or (derivative == "auto" and target.differs is not None)
    _check_form(target, called, split)

    def compute(chosen: Tensor) -> dict[str, Tensor]:
        held = values if values is None or len(values) == 1 else values[chosen]
        pairs = EdgeEnds(target, sources[chosen], targets[chosen], held)
        with activation_gradients(target):
            measure = by_calls if called else by_blocks
            return measure(pairs, images[chosen], labels[chosen], split, exact)

    parts = in_chunks(target, count, lambda: images_at_once(target, 1), compute)
    measured = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    if target.differs is None:
        measured["composition"] = composition(target, sources, targets)
    return _frame(sources, targets, measured)


def edge_table(edges: pd.DataFrame, effect: str = "total", image: int = 0) -> pd.DataFrame:
    """One image's edges as a graph takes them: ``source_block, source_neuron, target_block,
    target_neuron, effect``.

    Args:
        edges: as of :func:`path_edges`.
        effect: which column becomes the effect, see ``EFFECTS``.
        image: which image, by the table's own numbers.

    Raises:
        ValueError: something else than such a table, an effect that is unknown or was not computed,
            or an image without edges.
    """
    places = ["source_block", "source_neuron", "target_block", "target_neuron"]
    if not is_one_of(effect, (*EFFECTS, "composition")):
        raise ValueError(f"unknown effect {shown(effect)}; accepted: {', '.join(EFFECTS)}, "
                         "composition")
    wanted = ["image", *places, effect]
    if not isinstance(edges, pd.DataFrame) or not {*wanted} <= {*edges.columns}:
        raise ValueError(f"edges must be a table with the columns {', '.join(wanted)}; accepted: "
                         "what path_edges(...) gives")
    own = edges[edges["image"] == image]
    if own.empty or own[effect].isna().any():
        what = f"no edges of image {image}" if own.empty else f"effects {effect!r} not computed"
        raise ValueError(f"{what}; accepted: an image and an effect of path_edges(...)")
    return own[[*places, effect]].rename(columns={effect: "effect"}).reset_index(drop=True)


def _check_form(target: TargetModel, called: bool, split: bool) -> None:
    """Raise ``ValueError`` unless the effects can be had in the form asked for."""
    if called:
        if split:
            why = ("the model as it is called is not its blocks put together: "
                   f"{target.differs}" if target.differs is not None else
                   "derivative 'reverse' calls the model as a whole")
            raise ValueError(f"the parts of an effect cannot be told apart: {why}; accepted here: "
                             "split=False")
        return
    if target.differs is not None:
        raise ValueError(f"the model as it is called is not its blocks put together: "
                         f"{target.differs}; accepted here: derivative 'auto' or 'reverse', with "
                         "split=False")
    for index, block in enumerate(target.model.blocks if split else ()):
        if not target.family.has_halves(block) or is_hooked(block) or "forward" in vars(block):
            raise ValueError(f"block {index} ({type(block).__name__}) is hooked as a whole or is "
                             "not an attention half and an FFN half; accepted for parts: blocks of "
                             "two halves with hooks on their parts alone, else split=False")
        if several_tokens(target) and not (is_plain(block) and target.plain(index) is not None):
            raise ValueError(f"block {index} is not of the plain kind, so that what a token's "
                             "attention takes from itself is not known for scope 'patch'; accepted "
                             "for parts: timm's plain Block, or scope 'cls', else split=False")


def _frame(sources: Tensor, targets: Tensor, measured: dict[str, Tensor]) -> pd.DataFrame:
    """One row for each image and pair of blocks."""
    count, size = sources.shape
    earlier, later = np.triu_indices(size, 1)
    image = np.repeat(np.arange(count), len(earlier))
    earlier, later = np.tile(earlier, count), np.tile(later, count)
    own, others = sources.cpu().numpy(), targets.cpu().numpy()
    columns = {"image": image, "source_block": earlier + 1, "source_neuron": own[image, earlier],
               "target_block": later + 1, "target_neuron": others[image, later],
               "target_activation": measured["target_activation"].cpu().numpy()[image, later]}
    for name in (*EFFECTS, "composition"):
        value = measured.get(name)
        columns[name] = np.nan if value is None else value.cpu().numpy()[image, earlier, later]
    return pd.DataFrame(columns)
