r"""Whether a path is a path: what reaches each of its neurons from those before it.

A score judges a path as a set. Here every pair of its neurons, :math:`(l, p) \to (l', p')` with
:math:`l < l'`, is an *edge*: the source moves from a baseline b to its clean value, and the change
of the target's activation is measured. All other neurons run natively, those of the path between
the two as well. An effect is positive where the source makes its target more active.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from timm.layers import GluMlp, RmsNorm, SwiGLU
from torch import Tensor, nn
from torch.autograd import forward_ad

from neuronpath_core.as_called import agree
from neuronpath_core.examined import check_target
from neuronpath_core.factors import check_values
from neuronpath_core.fast.blocks import PlainBlock
from neuronpath_core.fast.plain import is_plain
from neuronpath_core.forward import CleanPass, through
from neuronpath_core.gradients import activation_gradients, forward_mode
from neuronpath_core.hooks import hooked, neurons_read, reading
from neuronpath_core.model_state import is_hooked
from neuronpath_core.random_paths import matched_random_paths
from neuronpath_core.ranking import select_neurons
from neuronpath_core.support.memory import copies_at_once, images_at_once, in_chunks
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

Derivative = Literal["auto", "forward", "reverse"]
DERIVATIVES = ("auto", "forward", "reverse")
# the parts that add up to the total, and every measure of an edge
PARTS = ("residual", "attention", "others")
EFFECTS = ("total", *PARTS, "exact", "exact_probability")
# along which routes tangents are carried: all; those of each token by itself; its residual stream.
# What one has more than the next is a part
_KINDS = ("total", "own", "residual")


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
    :func:`composition`.

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
    sources = _one_a_block(target, neurons, count)
    targets = sources if partners is None else _one_a_block(target, partners, count)
    values = None if baseline is None else check_values(target, baseline, count)
    called = derivative == "reverse" or (derivative == "auto" and target.differs is not None)
    _check_form(target, called, split)

    def compute(chosen: Tensor) -> dict[str, Tensor]:
        held = values if values is None or len(values) == 1 else values[chosen]
        pairs = _Pairs(target, sources[chosen], targets[chosen], held)
        with activation_gradients(target):
            measure = _by_calls if called else _by_blocks
            return measure(pairs, images[chosen], labels[chosen], split, exact)

    parts = in_chunks(target, count, lambda: images_at_once(target, 1), compute)
    measured = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    if target.differs is None:
        measured["composition"] = composition(target, sources, targets)
    return _frame(sources, targets, measured)


def composition(target: TargetModel, neurons: Int64[Tensor, "batch layer"],
                partners: Int64[Tensor, "batch layer"] | None = None
                ) -> Float[Tensor, "batch layer layer"]:
    r"""How well what a neuron writes fits what a later one reads, by weights alone:

    .. math:: \cos\big(P v^l_p,\; P (\gamma^{l'} \odot k^{l'}_{p'})\big)

    with the source's value vector v (LayerScale included), the target's row k of ``fc1``, the
    weight :math:`\gamma` of the norm before it, and P that takes the mean off, as a LayerNorm does
    (none for RMSNorm).  Of a gated FFN k is the row of the gate, which enters the activation
    function.  It leaves out the target block's bias and whatever happens between the two blocks.

    Args:
        target: the model.
        neurons, partners: int64 ``(batch, layer)``, sources and targets; without partners the
            sources are the targets.

    Returns:
        ``(batch, source layer, target layer)`` in double precision, within -1..1, 0 where a vector
        is zero; NaN where the target's layer is not after the source's, or of a block whose rows
        or norm are of another kind.

    Raises:
        ValueError: neurons that do not fit the model, or several a block.
    """
    check_target(target)
    sources = _one_a_block(target, neurons)
    targets = sources if partners is None else _one_a_block(target, partners, len(sources))
    size = target.n_blocks
    found = torch.full((len(sources), size, size), torch.nan, dtype=torch.float64,
                       device=target.device)
    for later in range(1, size):
        if (rows := _keys(target.model.blocks[later])) is None:
            continue
        keys, centred = rows
        keys = keys.detach().double()[targets[:, later]]
        for earlier in range(later):
            vectors = target.value_vectors(earlier).double()[sources[:, earlier]]
            both = [each - each.mean(-1, keepdim=True) if centred else each
                    for each in (vectors, keys)]
            found[:, earlier, later] = F.cosine_similarity(*both)
    return found


# --- tables and controls ---


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


def other_image_partners(neurons: Int64[Tensor, "batch layer"],
                         seed: int = 0) -> Int64[Tensor, "batch layer"]:
    """For every image the path of another one, in a random cycle through all images.

    Raises:
        ValueError: paths of fewer than two images, or of several neurons a block.
    """
    ranked = neurons[..., 0] if neurons.ndim == 3 and neurons.shape[2] == 1 else neurons
    if ranked.ndim != 2 or len(ranked) < 2:
        raise ValueError(f"neurons must hold the paths of at least two images, (image, layer), got "
                         f"{tuple(neurons.shape)}")
    order = np.random.default_rng(seed).permutation(len(ranked))
    after = np.empty_like(order)
    after[order] = np.roll(order, -1)
    return ranked[torch.from_numpy(after).to(ranked.device)]


def matched_partners(target: TargetModel, images: Float[Tensor, "batch channel height width"],
                     neurons: Int64[Tensor, "batch layer"],
                     seed: int = 0) -> Int64[Tensor, "batch layer"]:
    """For every neuron of a path a random one of its block with about the same clean activation,
    see :func:`~neuronpath_core.random_paths.matched_random_paths`."""
    ranked = _one_a_block(target, neurons, len(images))
    return matched_random_paths(target, images, ranked, seed)[..., 0]


def shuffled_partners(target: TargetModel, neurons: Int64[Tensor, "batch layer"],
                      seed: int = 0) -> Int64[Tensor, "batch layer"]:
    """The path's own indices, each in another block than its own; the same exchange of blocks for
    all images.

    Raises:
        ValueError: fewer than two blocks, or blocks of different sizes.
    """
    ranked = _one_a_block(target, neurons)
    if target.fewest_neurons != target.n_neurons:
        raise ValueError("blocks have different numbers of neurons, so that an index of one may "
                         "not exist in another; accepted: blocks of one size")
    rng, own = np.random.default_rng(seed), np.arange(target.n_blocks)
    order = own
    while (order == own).any():  # a third of all orders move every block
        order = rng.permutation(target.n_blocks)
    return ranked[:, torch.from_numpy(order).to(ranked.device)]


CONTROLS = ("path", "another image", "matched", "shuffled blocks")


def edge_controls(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    neurons: Int64[Tensor, "batch layer"],
    baseline: Float[Tensor, "image layer token neuron"] | None = None,
    *, seed: int = 0, controls: Sequence[str] = CONTROLS, **settings,
) -> pd.DataFrame:
    """The path's edges beside edges from its neurons to partners that are not on it.

    Pairs whose partner is the path's own neuron are left out, so that controls may have fewer rows.

    Args:
        target, images, labels, neurons, baseline: as of :func:`path_edges`.
        seed: of the partners.
        controls: which, of ``CONTROLS``; ``"path"`` are the path's own edges.
        settings: ``split``, ``exact`` and ``derivative``, as of :func:`path_edges`.

    Returns:
        The tables of :func:`path_edges` below one another, with a first column ``control``.

    Raises:
        ValueError: an unknown control, or what :func:`path_edges` and the partners refuse.
    """
    check_target(target)
    target.check_batch(images, labels)
    own = _one_a_block(target, neurons, len(images))
    partners: dict[str, Callable[[], Tensor]] = {
        "path": lambda: own,
        "another image": lambda: other_image_partners(own, seed),
        "matched": lambda: matched_partners(target, images, own, seed),
        "shuffled blocks": lambda: shuffled_partners(target, own, seed)}
    tables = []
    for control in controls:
        if not is_one_of(control, CONTROLS):
            raise ValueError(f"unknown control {shown(control)}; accepted: {', '.join(CONTROLS)}")
        table = path_edges(target, images, labels, own, baseline, partners=partners[control](),
                           **settings)
        path = own.cpu().numpy()[table["image"], table["target_block"] - 1]
        kept = table if control == "path" else table[table["target_neuron"] != path]
        tables.append(kept.assign(control=control))
    if not tables:
        raise ValueError(f"no controls; accepted: {', '.join(CONTROLS)}")
    table = pd.concat(tables, ignore_index=True)
    return table[["control", *table.columns.drop("control")]]


# --- what is measured, block by block ---


@dataclass(frozen=True)
class _Pairs:
    """Sources and targets of a chunk of images, int64 ``(image, layer)``, and the sources'
    baseline."""

    target: TargetModel
    sources: Tensor
    targets: Tensor
    baseline: Tensor | None

    def lost(self, block: int, active: Tensor) -> Tensor:
        """By how much the source of a block exceeds its baseline, ``(image, scope token)``."""
        value = select_neurons(active, self.sources[:, [block]])[..., 0]
        if self.baseline is None:
            return value
        held = self.baseline[:, block].expand(len(value), -1, -1)
        if held.shape[1] not in (1, value.shape[1]):
            raise ValueError(f"the baseline has {held.shape[1]} tokens, the scope "
                             f"{value.shape[1]}; accepted: equal numbers, or one")
        return value - select_neurons(held, self.sources[:, [block]])[..., 0]

    def watched(self, block: int, active: Tensor, rows: Tensor | slice = slice(None)) -> Tensor:
        """The activations of a block's targets, ``(row, scope token)``, of these images."""
        return select_neurons(active, self.targets[rows, block, None])[..., 0]

    def empty(self) -> Tensor:
        """NaN for every source and target, ``(image, layer, layer)``."""
        size = self.target.n_blocks
        return torch.full((len(self.sources), size, size), torch.nan, dtype=torch.float64,
                          device=self.target.device)


def _by_blocks(pairs: _Pairs, images, labels, split, exact) -> dict[str, Tensor]:
    """All effects of a model that is its blocks put together."""
    target = pairs.target
    clean = _Clean.of(target, images, split)
    lost = [pairs.lost(block, active) for block, active in enumerate(clean.whole.activations)]
    kinds = {kind: _tangents(clean, pairs, kind, lost)
             for kind in (_KINDS if split else _KINDS[:1])}
    found = {"total": kinds["total"], "target_activation": torch.stack([
        pairs.watched(block, active).double().mean(1)
        for block, active in enumerate(clean.whole.activations)], 1)}
    if split:
        found |= {"residual": kinds["residual"],
                  "attention": kinds["own"] - kinds["residual"],
                  "others": kinds["total"] - kinds["own"]}
    if exact:
        with torch.no_grad():
            found["exact"], found["exact_probability"] = _replaced(clean.whole, pairs, labels, lost)
    return found


@dataclass(frozen=True)
class _Clean:
    """A clean pass with what it has between a block's halves, and how tokens attend to themselves.

    Attributes:
        whole: streams that enter the blocks, and activations.
        between: per block the stream after its attention half; empty without parts.
        own: per block the attention of each token to itself, where the scope has several.
    """

    whole: CleanPass
    between: list[Tensor]
    own: list[_OwnAttention]

    @classmethod
    def of(cls, target: TargetModel, images: Tensor, split: bool) -> _Clean:
        whole, between, own = CleanPass.of(target, images), [], []
        for index in range(target.n_blocks if split else 0):
            stream, out = whole.streams[index:index + 2]
            with torch.no_grad():
                between.append(target.family.run_half(target.model, index, "attention", stream))
                again = target.family.run_half(target.model, index, "ffn", between[-1])
            if not agree(again, out, out - stream):
                raise ValueError(f"block {index}, half by half, gives another stream than as a "
                                 "whole; accepted for parts: a block that is its attention and its "
                                 "FFN, else split=False")
            if _several(target):
                own.append(_OwnAttention(target.model.blocks[index], target.tokens))
        return cls(whole, between, own)

    def run(self, kind: str, block: int, rows: Tensor, stream: Tensor) -> Tensor:
        """The stream after a block along the routes of a kind; those of the rows' images are what
        is held."""
        target = self.whole.target
        if not self.between:
            return target.layer(block, stream)
        return target.family.run_half(target.model, block, "ffn",
                                      self._attended(kind, block, rows, stream))

    def _attended(self, kind: str, block: int, rows: Tensor, stream: Tensor) -> Tensor:
        target = self.whole.target
        entering, held = self.whole.streams[block][rows], self.between[block][rows]
        if kind == "residual":
            return stream + (held - entering)
        if kind == "own" and self.own:
            moved = self.own[block].alone(stream, entering)
        else:
            moved = target.family.run_half(target.model, block, "attention", stream)
        if kind == "total":
            return moved
        # what reaches other tokens stops there
        scope = torch.zeros(held.shape[1], 1, dtype=torch.bool, device=held.device)
        scope[target.tokens] = True
        return torch.where(scope, moved, held)


class _OwnAttention(PlainBlock):
    """A plain block's attention in which each token's query, key and value are seen by itself
    alone."""

    def alone(self, stream: Float[Tensor, "copy token embed"],
              held: Float[Tensor, "copy token embed"]) -> Tensor:
        """The stream after the attention half where every token sees all others as they are in
        ``held``."""
        query, key, value = self._query_key_value(self.block.norm1(stream), None)
        _, keys, values = self._query_key_value(self.block.norm1(held), None)
        query = self.block.attn.q_norm(query) * self.scale
        key, keys = self.block.attn.k_norm(key), self.block.attn.k_norm(keys)
        diagonal = torch.eye(stream.shape[1], dtype=torch.bool, device=stream.device)
        weight = torch.softmax(torch.where(diagonal, (query * key).sum(-1, keepdim=True),
                                           query @ keys.mT), -1)
        itself = weight.diagonal(dim1=-2, dim2=-1)[..., None]
        return stream + self._project(weight @ values + itself * (value - values))


def _tangents(clean: _Clean, pairs: _Pairs, kind: str, lost: list[Tensor]) -> Tensor:
    """The effects to first order along the routes of one kind, ``(image, source, target)``, by
    forward mode: every source's tangent joins those of the blocks before it."""
    target, batch = pairs.target, len(pairs.sources)
    found, tangent = pairs.empty(), clean.whole.streams[0][:0]
    for block in range(1, target.n_blocks):
        start = torch.zeros_like(clean.whole.streams[block])
        start[:, target.tokens] = lost[block - 1][..., None] * target.value_vectors(
            block - 1)[pairs.sources[:, block - 1], None]
        tangent = torch.cat([tangent, start])
        moved, effects = [], []
        for rows in torch.arange(len(tangent), device=target.device).split(copies_at_once(target)):
            after, effect = _tangent(clean, pairs, kind, block, rows % batch, tangent[rows])
            moved.append(after)
            effects.append(effect)
        tangent = torch.cat(moved)
        found[:, :block, block] = torch.cat(effects).reshape(block, batch).T
    return found


def _tangent(clean, pairs, kind, block, rows, tangent):
    """Tangents after a block, and the mean tangents of its targets, ``(row,)``."""
    target = pairs.target
    with torch.no_grad(), forward_mode(), reading(target) as active:
        stream = forward_ad.make_dual(clean.whole.streams[block][rows], tangent)
        moved, seen = (forward_ad.unpack_dual(value) for value in (
            clean.run(kind, block, rows, stream), active[block]))
        effect = pairs.watched(block, seen.tangent, rows)
    return moved.tangent, effect.double().mean(1)


def _replaced(clean: CleanPass, pairs: _Pairs, labels: Tensor,
              lost: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The exact effects on activations and on the probability, ``(image, source, target)``."""
    target, batch = pairs.target, len(labels)
    found, probability = pairs.empty(), pairs.empty()
    stream = clean.streams[0][:0]
    whole = target.probability(clean.streams[-1], labels).double()
    for block in range(1, target.n_blocks):
        earlier = clean.streams[block].clone()
        earlier[:, target.tokens] -= _written(pairs.sources, target, block - 1, lost[block - 1])
        stream, moved, after = torch.cat([stream, earlier]), [], []
        for rows in torch.arange(len(stream), device=target.device).split(copies_at_once(target)):
            images = rows % batch
            out, active = through(target, stream[rows], block)
            change = pairs.watched(block, clean.activations[block][images] - active, images)
            patched = clean.streams[block + 1][images].clone()
            patched[:, target.tokens] -= _written(pairs.targets[images], target, block, change)
            patched = target.run(patched, block + 1, target.n_blocks, pooled=True)
            moved.append(out)
            after.append(torch.stack([
                change.double().mean(1),
                whole[images] - target.probability(patched, labels[images]).double()]))
        stream = torch.cat(moved)
        effects = torch.cat(after, 1).reshape(2, block, batch)
        found[:, :block, block], probability[:, :block, block] = effects[0].T, effects[1].T
    return found, probability


def _written(neurons: Tensor, target: TargetModel, block: int, active: Tensor) -> Tensor:
    """What a block's neurons write at ``active`` ``(image, scope token)``."""
    return active[..., None] * target.value_vectors(block)[neurons[:, block], None]


# --- what is measured by calling the model ---


def _by_calls(pairs: _Pairs, images, labels, split, exact) -> dict[str, Tensor]:
    """All effects of the model as it is called: one backward pass for each target, and for exact
    effects one pass for each source and one for each pair."""
    target, clean = pairs.target, neurons_read(pairs.target, images)
    lost = [pairs.lost(block, active) for block, active in enumerate(clean)]
    leaves = [torch.zeros_like(value, requires_grad=True) for value in lost]
    found, watched = {"total": pairs.empty()}, {}

    def moving(block: int) -> Callable[[Tensor], Tensor]:
        def function(value):
            # of a checkpointed block the first reading holds
            watched.setdefault(block, pairs.watched(block, value[:, target.tokens]).mean(1))
            return _added(target, value, pairs.sources[:, block], leaves[block])
        return function

    size = target.n_blocks
    with hooked(target, {block: moving(block) for block in range(size)}):
        target(images)
        for block in range(1, size):
            slopes = torch.autograd.grad(watched[block].sum(), leaves[:block], retain_graph=True,
                                         allow_unused=True)
            for earlier, slope in enumerate(slopes):
                found["total"][:, earlier, block] = 0 if slope is None else (
                    slope * lost[earlier]).double().sum(1)
    found["target_activation"] = torch.stack([watched[block].detach().double()
                                              for block in range(size)], 1)
    if exact:
        with torch.no_grad():
            found["exact"], found["exact_probability"] = _replaced_by_calls(
                pairs, images, labels, clean, lost)
    return found


def _replaced_by_calls(pairs, images, labels, clean, lost):
    target, found, probability = pairs.target, pairs.empty(), pairs.empty()

    def shifted(neurons, block, change):
        return {block: lambda value: _added(target, value, neurons[:, block], -change)}

    def label_probability():
        return target(images).double().softmax(-1).gather(1, labels[:, None])[:, 0]

    whole = label_probability()
    for source in range(target.n_blocks - 1):
        with hooked(target, shifted(pairs.sources, source, lost[source])):
            replaced = neurons_read(target, images)
        for block in range(source + 1, target.n_blocks):
            change = pairs.watched(block, clean[block] - replaced[block])
            with hooked(target, shifted(pairs.targets, block, change)):
                probability[:, source, block] = whole - label_probability()
            found[:, source, block] = change.double().mean(1)
    return found, probability


def _added(target: TargetModel, value: Tensor, neurons: Tensor, change: Tensor) -> Tensor:
    """All tokens' activations with ``change`` ``(image, scope token)`` added to one neuron an
    image."""
    start, chosen = target.tokens.start, F.one_hot(neurons, value.shape[2]).to(value)
    moved = torch.zeros_like(value)
    moved[:, start:start + change.shape[1]] = chosen[:, None] * change[..., None]
    return value + moved


# --- what is refused, and the table ---


def _one_a_block(target: TargetModel, neurons: Tensor, batch: int | None = None) -> Tensor:
    ranked = target.check_neurons(neurons, batch)
    if ranked.shape[2] != 1:
        raise ValueError(f"edges are between single neurons, got {ranked.shape[2]} a block; "
                         "accepted: one neuron a block, as of find_paths without top")
    if target.n_blocks < 2:
        raise ValueError("a path of one block has no edges; accepted: at least two blocks")
    return ranked[..., 0]


def _several(target: TargetModel) -> bool:
    """Whether tokens of the scope see one another."""
    return target.scope == "patch"


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
        if _several(target) and not (is_plain(block) and target.plain(index) is not None):
            raise ValueError(f"block {index} is not of the plain kind, so that what a token's "
                             "attention takes from itself is not known for scope 'patch'; accepted "
                             "for parts: timm's plain Block, or scope 'cls', else split=False")


def _keys(block: nn.Module) -> tuple[Tensor, bool] | None:
    """What each FFN neuron of a block reads of the normed stream, times the norm's weight, and
    whether the norm takes the mean off; ``None`` of a block of another kind."""
    ffn, norm = block.mlp, getattr(block, "norm2", None)
    linear = ffn.fc1_g if type(ffn) is SwiGLU else getattr(ffn, "fc1", None)
    if type(linear) is not nn.Linear:
        return None
    rows, width = linear.weight, ffn.fc2.in_features
    if type(ffn) is GluMlp:
        rows = rows.chunk(2)[1 if ffn.gate_last else 0]
    if len(rows) != width or not isinstance(norm, (nn.LayerNorm, nn.RMSNorm, RmsNorm, nn.Identity)):
        return None
    weight = getattr(norm, "weight", None)
    return rows if weight is None else rows * weight, isinstance(norm, nn.LayerNorm)


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
