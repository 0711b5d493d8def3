r"""Neurons elsewhere than in the FFN: attention output channels, heads, whole residual halves, and
paths through both halves of every block.

A pre-norm block adds to the residual stream twice,

.. math:: x \leftarrow x + \gamma_1 W_O\, a(x), \qquad x \leftarrow x + \gamma_2 W_2\, w(x),

and what it adds is affine in the inputs of ``attn.proj``, the attention output channels a, as it is
in those of ``mlp.fc2``, the FFN neurons w.  So a path may have its layers in either *half*:
everything that holds for FFN neurons (clamping at the token scope, Definition 1, the search and its
value vectors, edits) holds for attention neurons with the columns of ``attn.proj``, LayerScale
included.  Between two layers of the path the model runs natively.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from neuronpath_core.fast.blocks import PlainBlock
from neuronpath_core.neurons import Scope, TargetModel
from neuronpath_core.variants.halves import PlainHalves, PlainLayer

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

Sites = Literal["ffn", "attention", "heads", "mixed", "halves"]
# the halves of a block that are layers of a path
SITES = {"ffn": ("ffn",), "attention": ("attention",), "heads": ("attention",),
         "mixed": ("attention", "ffn"), "halves": ("attention", "ffn")}


class SiteModel(TargetModel):
    r"""A :class:`~neuronpath_core.neurons.TargetModel` whose path runs over other sites than the
    FFN neurons alone.

    A *layer* of the path is one half of a block; ``n_blocks`` counts layers.

    Args:
        model, scope: as of :class:`~neuronpath_core.neurons.TargetModel`.
        sites: ``"ffn"``, the inputs of ``mlp.fc2``, L layers, exactly as the base class;
            ``"attention"``, the inputs of ``attn.proj``, L layers; ``"mixed"``, both in the order
            in which they write, 2L layers; ``"heads"``, L layers whose units are heads;
            ``"halves"``, 2L layers of one unit, the whole half.

    A *unit* of several neurons (a head, a half) moves by a common factor t of its neurons' clean
    values :math:`\bar w`, so that its clean value is 1 and
    :math:`\partial F/\partial t = \langle \partial F/\partial w, \bar w\rangle`.  With the set U of
    units on the path Definition 1 becomes

    .. math::

        \mathrm{JAS}(U) = |U| \int_0^1 \sum_{u \in U} 
        \Big\langle \frac{\partial F_x(\alpha)}{\partial w_u}, \bar w_u \Big\rangle d\alpha ,

    the number of units times their complete attribution (for scope ``"patch"`` per patch token,
    averaged): the search by joint and the one by complete attribution rank alike.

    Attributes:
        layers: per layer the block, from 0, and ``"attention"`` or ``"ffn"``.
        layer_names: the same in words, ``"block 3 attention"``; blocks count from 1.
        n_neurons, layer_neurons: units of the largest layer, and of each.
        widths: neurons that are one unit, per layer.

    Raises:
        ValueError: unknown sites, a model that :class:`~neuronpath_core.neurons.TargetModel`
            refuses, or blocks that are not two residual halves.
    """

    written_out = PlainHalves

    def __init__(self, model: nn.Module, scope: Scope = "auto",
                 sites: Sites = "attention"):
        if sites not in SITES:
            raise ValueError(f"unknown sites {sites!r}; accepted: {', '.join(SITES)}")
        super().__init__(model, scope)
        self.sites = sites
        self.layers = [(block, half) for block in range(self.n_blocks) for half in SITES[sites]]
        self.layer_names = [f"block {block + 1} {'FFN' if half == 'ffn' else half}" for block,
                            half in self.layers]
        if sites != "ffn":
            for index, block in enumerate(model.blocks):
                self._check_halves(index, block)
            sizes = [self.site(index).in_features for index in range(len(self.layers))]
            heads = [model.blocks[block].attn.num_heads for block, _ in self.layers]
            self.n_blocks = len(self.layers)
            self.widths = {"heads": [size // count for size,
                                     count in zip(sizes, heads, strict=True)],
                           "halves": sizes}.get(sites, [1] * len(sizes))
            self.layer_neurons = [size // width for size,
                                  width in zip(sizes, self.widths, strict=True)]
            self.n_neurons = max(self.layer_neurons)

    def site(self, index: int) -> nn.Linear:
        """The module whose input holds the neurons of a layer."""
        block, half = self.layers[index]
        return self.model.blocks[block].attn.proj if half == "attention" else self.model.blocks[
            block].mlp.fc2

    def layer(self, index: int,
              stream: Float[Tensor, "copy token embed"]) -> Float[Tensor, "copy token embed"]:
        """The stream after a layer of the path, by the model's own modules."""
        if self.sites == "ffn":
            return super().layer(index, stream)
        number, half = self.layers[index]
        if self._runs_before(index):
            stream = self._run_half(number - 1, "ffn", stream)
        return self._run_half(number, half, stream)

    def plain(self, index: int) -> PlainBlock | PlainLayer | None:
        """A layer written out, unless a block of it is of another kind, hooked or in training mode.
        """
        if self.sites == "ffn":
            return super().plain(index)
        number, half = self.layers[index]
        parts = [TargetModel.plain(self, block)
                 for block in ((number - 1, number) if self._runs_before(index) else (number,))]
        return None if None in parts else PlainLayer(half, parts[-1], *parts[:-1])

    def _runs_before(self, index: int) -> bool:
        """Whether the FFN half of the block before runs natively before a layer."""
        return len(SITES[self.sites]) == 1 and self.layers[index][0] > 0

    def probability(self, stream: Float[Tensor, "batch token embed"],
                    labels: Int64[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """F_x: the softmax probability of each image's label, from the residual stream after the
        last layer of the path."""
        number, half = self.layers[-1]
        if half == "attention":
            stream = self._run_half(number, "ffn", stream)
        return super().probability(stream, labels)

    def value_vectors(self, block: int) -> Float[Tensor, "neuron embed"]:
        """What one unit of each neuron of a layer adds to its token's residual stream: the columns
        of ``attn.proj`` or ``fc2``, LayerScale included."""
        number, half = self.layers[block]
        if half == "ffn":
            return super().value_vectors(number)
        weight, own = self.site(block).weight.T, self.model.blocks[number]
        gamma = self.family.attention_scale(own)
        return (weight if gamma is None else weight * gamma).detach()

    def _check_halves(self, index: int, block: nn.Module) -> None:
        attention = getattr(block, "attn", None)
        linear = isinstance(getattr(attention, "proj", None), nn.Linear)
        if not linear or not self.family.has_halves(block):
            raise ValueError(f"block {index} is {type(block).__name__} with attention "
                             f"{type(attention).__name__}; accepted for sites other than 'ffn': "
                             "timm's pre-norm Block or EvaBlock, whose attention ends in a linear "
                             "proj")

    def _run_half(self, index: int, half: str, stream: Tensor) -> Tensor:
        """The stream after one half of a block, by its own modules.

        Raises:
            ValueError: somebody listens in on the block as a whole, or replaced it, which its
                halves would not see.
        """
        block = self.model.blocks[index]
        if (block._forward_hooks or block._forward_pre_hooks or block._backward_hooks
                or block._backward_pre_hooks or "forward" in block.__dict__):
            raise ValueError(f"block {index} as a whole is hooked or replaced; accepted for sites "
                             f"other than 'ffn': hooks on the parts of a block only")
        return self.family.run_half(self.model, index, half, stream)
