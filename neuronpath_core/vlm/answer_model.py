"""A vision-language model about to say one word, as a function of the image alone: its logits at
the predicting position, with ports to its neurons at chosen positions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from neuronpath_core.hooks import hooked
from neuronpath_core.vlm.feed_forward import FeedForward

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


class Port(nn.Identity):
    """Where neurons at chosen positions pass by: ``(image, 1, neuron * position)``, the positions
    of one neuron after one another.

    Args:
        width: neurons times positions.
    """

    def __init__(self, width: int):
        super().__init__()
        self.in_features = width


@dataclass(frozen=True)
class Place:
    """A layer of a path.

    Attributes:
        half: the feed-forward half whose neurons it has.
        positions: int64, the tokens at which a neuron is moved, all by one factor.
        block: the module of the whole layer, both halves.
    """

    half: FeedForward
    positions: Int64[Tensor, "position"]
    block: nn.Module


class AnswerModel(nn.Module):
    """The logits of the next word after one fixed text, for images.

    Args:
        network: transformers' ``LlavaForConditionalGeneration``; not copied.
        ids: int64 ``(token,)``, the text with its image tokens.
        places: the layers of a path, tower first.
    """

    def __init__(self, network: nn.Module, ids: Int64[Tensor, "token"], places: Sequence[Place]):
        super().__init__()
        self.network, self.places = network, tuple(places)
        self.register_buffer("ids", ids, persistent=False)
        self.ports = nn.ModuleList(Port(place.half.width * len(place.positions))
                                   for place in places)

    @property
    def blocks(self) -> list[nn.Module]:
        """The modules of the layers, as a vision Transformer has its blocks."""
        return [place.block for place in self.places]

    @property
    def model(self) -> nn.Module:
        """Itself: what :func:`~neuronpath_core.hooks.hooked` asks a target for."""
        return self

    def site(self, index: int) -> nn.Linear:
        """The last projection of a layer, which the neurons of all positions enter."""
        return self.places[index].half.down

    def forward(self, images: Float[Tensor, "image channel height width"]
                ) -> Float[Tensor, "image word"]:
        """Logits over the vocabulary for the word that follows."""
        with self.open_ports(range(len(self.places))):
            return self.network(input_ids=self.ids.expand(len(images), -1), pixel_values=images,
                                logits_to_keep=1).logits[:, -1]

    @contextmanager
    def open_ports(self, indices: Iterable[int]) -> Iterator[None]:
        """Inside, what enters the last projection of these layers passes by their ports."""
        with hooked(self, {index: self._through(index) for index in indices}):
            yield

    def _through(self, index: int) -> Callable[[Tensor], Tensor | None]:
        positions, port = self.places[index].positions, self.ports[index]

        def function(value: Tensor) -> Tensor | None:
            here = value[:, positions]
            scoped = here.transpose(1, 2).reshape(len(value), 1, -1)
            given = port(scoped)
            if given is scoped:
                return None
            moved = given.reshape(len(value), -1, len(positions)).transpose(1, 2)
            return value.index_copy(1, positions, moved)
        return function

    def embed(self, images: Float[Tensor, "image channel height width"]
              ) -> Float[Tensor, "image token width"]:
        """What enters the first layer of the tower."""
        tower = self.network.model.vision_tower
        return tower.pre_layrnorm(tower.embeddings(images))

    def run_layer(self, index: int, stream: Float[Tensor, "image token width"]
                  ) -> Float[Tensor, "image token width"]:
        """The stream after a layer; between tower and decoder it becomes another one, when the
        projector has put the image among the words."""
        place = self.places[index]
        with self.open_ports([index]):
            if place.half.part == "tower":
                return _first(place.block(stream, attention_mask=None))
            if index == 0 or self.places[index - 1].half.part == "tower":
                stream = self._merged(stream)
            return _first(place.block(stream, **self._around(stream)))

    def logits(self, stream: Float[Tensor, "image token width"]) -> Float[Tensor, "image word"]:
        """Logits at the predicting position, from the stream after the last layer of the path; what
        decoder layers there are behind it run natively."""
        language = self.network.model.language_model
        after = [layer for layer in language.layers]
        for layer in after[after.index(self.places[-1].block) + 1:]:
            stream = _first(layer(stream, **self._around(stream)))
        return self.network.lm_head(language.norm(stream[:, -1:]))[:, 0]

    def _merged(self, stream: Tensor) -> Tensor:
        config = self.network.config
        if config.vision_feature_select_strategy == "default":
            stream = stream[:, 1:]
        features = self.network.model.multi_modal_projector(stream)
        ids = self.ids.expand(len(stream), -1)
        words = self.network.get_input_embeddings()(ids)
        here = (ids == config.image_token_id)[..., None].expand_as(words)
        return words.masked_scatter(here, features.to(words))

    def _around(self, stream: Tensor) -> dict[str, object]:
        """What a decoder layer is called with beside the stream: rotations and a causal mask."""
        count = stream.shape[1]
        places = torch.arange(count, device=stream.device)[None]
        mask = torch.full((count, count), torch.finfo(stream.dtype).min, dtype=stream.dtype,
                          device=stream.device).triu(1)[None, None]
        language = self.network.model.language_model
        return {"attention_mask": mask, "position_ids": places,
                "position_embeddings": language.rotary_emb(stream, position_ids=places)}


def _first(found: Tensor | tuple) -> Tensor:
    """A layer's stream; some versions of transformers give it in a tuple."""
    return found[0] if isinstance(found, tuple) else found
