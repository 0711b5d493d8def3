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

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from neuronpath_core.families import stands_for_linear
from neuronpath_core.fast.plain import is_plain
from neuronpath_core.layers import BlockForm, Layer
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import Scope, TargetModel
from neuronpath_core.variants.halves import PlainHalves, PlainLayer

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

Sites = Literal["ffn", "attention", "heads", "mixed", "halves"]
# the halves of a block that are layers of a path
SITES = {"ffn": ("ffn",), "attention": ("attention",), "heads": ("attention",),
         "mixed": ("attention", "ffn"), "halves": ("attention", "ffn")}


class SiteModel(TargetModel):
    r"""A :class:`~neuronpath_core.target.TargetModel` whose path runs over other sites than the
    FFN neurons alone.

    A *layer* of the path is one half of a block; ``n_blocks`` counts layers.

    Args:
        model, scope: as of :class:`~neuronpath_core.target.TargetModel`.
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

    Raises:
        ValueError: unknown sites, a model that :class:`~neuronpath_core.target.TargetModel`
            refuses, or blocks that are not two residual halves.
    """

    def __init__(self, model: nn.Module, scope: Scope = "auto",
                 sites: Sites = "attention"):
        if not is_one_of(sites, SITES):
            raise ValueError(f"unknown sites {shown(sites)}; accepted: {', '.join(SITES)}")
        super().__init__(model, scope)
        self.sites = sites
        self._check_every_half()
        places = [(block, half) for block in range(len(model.blocks)) for half in SITES[sites]]
        self.layers = [self._layer(block, half) for block, half in places]
        self._check_layers()

    def _check_every_half(self) -> None:
        for index, block in enumerate(self.model.blocks if self.sites != "ffn" else ()):
            self._check_halves(index, block)

    def _check_kind(self) -> None:
        super()._check_kind()
        self._check_every_half()

    def _layer(self, block: int, half: str) -> Layer:
        name = f"block {block + 1} {'FFN' if half == 'ffn' else half}"
        attention = self.model.blocks[block].attn
        size = _entering(self.model.blocks[block], half).in_features
        width = {"heads": size // attention.num_heads if half == "attention" else 1,
                 "halves": size}.get(self.sites, 1)
        return Layer(name, block, half, size // width, width)

    def site(self, index: int) -> nn.Linear:
        """The module whose input holds the neurons of a layer."""
        layer = self.layers[index]
        return _entering(self.model.blocks[layer.block], layer.half)

    def layer(self, index: int,
              stream: Float[Tensor, "copy token embed"]) -> Float[Tensor, "copy token embed"]:
        """The stream after a layer of the path, by the model's own modules."""
        if self.sites == "ffn":
            return super().layer(index, stream)
        number, half = self.layers[index].block, self.layers[index].half
        if self._runs_before(index):
            stream = self._run_half(number - 1, "ffn", stream)
        return self._run_half(number, half, stream)

    def plain(self, index: int) -> BlockForm | None:
        """A layer written out, unless a block of it is of another kind, hooked or in training mode.
        """
        if self.sites == "ffn":
            return super().plain(index)
        number, half = self.layers[index].block, self.layers[index].half
        parts = [TargetModel.plain(self, block)
                 for block in ((number - 1, number) if self._runs_before(index) else (number,))]
        return None if None in parts else PlainLayer(half, parts[-1], *parts[:-1])

    def written(self, block: nn.Module) -> PlainHalves | None:
        """The block as functions of its halves, if it is of a kind that is written out."""
        return PlainHalves(block, self.tokens) if is_plain(block) else None

    def by_form(self, index: int) -> Callable[[Tensor], Tensor] | None:
        """The stream after a block, by the written-out forms of its halves, if it has them."""
        form = TargetModel.plain(self, index)
        if form is None or self.sites == "ffn":
            return form
        return lambda stream: form.ffn(form.attention(stream))

    def runs(self, index: int, stream: Tensor) -> list[tuple[str, Callable[[], Tensor]]]:
        """The ways in which the library runs a block by its own modules, with their names."""
        if self.sites == "ffn":
            return super().runs(index, stream)

        def halves():
            return self._run_half(index, "ffn", self._run_half(index, "attention", stream))
        return [(f"block {index}, half by half,", halves)]

    def entering(self, layer: int, streams: list[Tensor]) -> Tensor:
        """What enters a layer of the path, given what enters every block."""
        if self.sites == "ffn":
            return streams[layer]
        number, half = self.layers[layer].block, self.layers[layer].half
        if self._runs_before(layer):
            return self._run_half(number - 1, "attention", streams[number - 1])
        return streams[number] if half == "attention" else self._run_half(number, "attention",
                                                                          streams[number])

    def _runs_before(self, index: int) -> bool:
        """Whether the FFN half of the block before runs natively before a layer."""
        return len(SITES[self.sites]) == 1 and self.layers[index].block > 0

    def probability(self, stream: Float[Tensor, "batch token embed"],
                    labels: Int64[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """F_x: the softmax probability of each image's label, from the residual stream after the
        last layer of the path."""
        number, half = self.layers[-1].block, self.layers[-1].half
        if half == "attention":
            stream = self._run_half(number, "ffn", stream)
        return super().probability(stream, labels)

    def declared_vectors(self, layer: int) -> Float[Tensor, "neuron embed"]:
        """Value vectors by the weights: the columns of ``attn.proj`` or ``fc2``, times LayerScale.
        """
        number, half = self.layers[layer].block, self.layers[layer].half
        if half == "ffn":
            return super().declared_vectors(number)
        weight, own = self.site(layer).weight.T, self.model.blocks[number]
        gamma = self.family.attention_scale(own)
        return (weight if gamma is None else weight * gamma).detach()

    def _check_halves(self, index: int, block: nn.Module) -> None:
        attention = getattr(block, "attn", None)
        linear = stands_for_linear(getattr(attention, "proj", None))
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


def _entering(block: nn.Module, half: str) -> nn.Linear:
    """The module whose input are the neurons of a half of a block."""
    return block.attn.proj if half == "attention" else block.mlp.fc2
