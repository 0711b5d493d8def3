r"""The influential path of an answer word: a vision-language model as a target of
:func:`~neuronpath_core.paths.find_paths`.

:math:`F(x) = p(y \mid \text{image } x, w_{\le t})` is the probability of a word y after one text.
A path has a neuron for each layer of the tower that feeds the projector and of the decoder.  A
*unit* is a neuron at a set of positions, moved by one factor: in the tower all patch tokens, in the
decoder the predicting position, the image tokens, or all.  With units the rule of the path study
applies as :class:`~neuronpath_core.variants.sites.SiteModel` has it for heads,

.. math:: \mathrm{JAS}(U) = |U| \int_0^1 \sum_{u \in U} \Big\langle \frac{\partial F(\alpha)}
    {\partial w_u}, \bar w_u \Big\rangle d\alpha ,

and the complete attribution is F(clean) - F(units zeroed) under the same clamping.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from neuronpath_core.layers import Layer
from neuronpath_core.model_state import ModelState
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel
from neuronpath_core.vlm.adapter import VisionLanguageModel
from neuronpath_core.vlm.answer_model import AnswerModel, Place
from neuronpath_core.vlm.feed_forward import differs
from neuronpath_core.vlm.path_search import open_the_door

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

At = Literal["last", "image", "all"]
POSITIONS = ("last", "image", "all")

open_the_door()


@dataclass(frozen=True)
class PositionsLayer(Layer):
    """A layer whose units are neurons at several positions, or at one; always moved by a factor, so
    that units of different layers can be added."""

    @property
    def single(self) -> bool:
        """Never: a neuron at one position is moved by a factor too."""
        return False


class VlmTarget(TargetModel):
    """A vision-language model about to say a word.

    ``npc.find_paths(VlmTarget(model, request), images, labels)``: images as the processor gives
    them to the tower, labels the numbers of words (:meth:`numbers`).  Every image is asked the
    same.

    Args:
        vlm: the model; a Llava of one image in one crop.
        request: what is asked.
        before: words of the answer that are said already, with a space between each two.
        at: where the decoder's neurons are moved: ``"last"``, the predicting position; ``"image"``,
            the image tokens, without the last layer, where they reach nothing; ``"all"``.

    Raises:
        ValueError: another class of model, or unknown positions.
    """

    sites = "vlm"
    scope = "units"

    def __init__(self, vlm: VisionLanguageModel, request: str, before: str = "", at: At = "last"):
        if type(vlm.model).__name__ != "LlavaForConditionalGeneration":
            raise ValueError(f"no paths are searched in a {type(vlm.model).__name__}; accepted: "
                             "LlavaForConditionalGeneration")
        if not is_one_of(at, POSITIONS):
            raise ValueError(f"at cannot be {shown(at)}; accepted: {', '.join(POSITIONS)}")
        self.vlm, self.request, self.before, self.at = vlm, request, before, at
        ids, image = _text(vlm, request, before)
        places = _places(vlm, ids, image, at)
        self.model = AnswerModel(vlm.model, ids, places).eval()
        self.layers = [PositionsLayer(f"{place.half.part} block {place.half.layer + 1}", index,
                                      "ffn", place.half.width, len(place.positions))
                       for index, place in enumerate(places)]
        self.tokens, self.n_tokens = slice(0, None), 1
        self.n_classes = vlm.model.get_output_embeddings().out_features
        self._state: ModelState | None = None
        self._verdict, self._forms, self.is_draft, self._whole = None, {}, False, False
        self.check_weights()

    @property
    def tower_layers(self) -> int:
        """How many of the layers are the tower's; the decoder's follow."""
        return sum(place.half.part == "tower" for place in self.model.places)

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of weights, images and results."""
        return next(self.model.network.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Device of weights, images and results."""
        return next(self.model.network.parameters()).device

    @property
    def classifies_alone(self) -> bool:
        """No token classifies alone: logits depend on what the others hand to the last."""
        return False

    def numbers(self, words: Sequence[str]) -> Int64[Tensor, "word"]:
        """The words' numbers in the vocabulary, which are labels here.

        Raises:
            ValueError: a word that is not one token.
        """
        tokenizer = self.vlm.processor.tokenizer
        found = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
        for word, each in zip(words, found, strict=True):
            if len(each) != 1 or each[0] == tokenizer.unk_token_id:
                raise ValueError(f"{shown(word)} is no single token; accepted: words of the "
                                 "vocabulary")
        return torch.tensor([each[0] for each in found], device=self.device)

    def embed(self, images: Float[Tensor, "batch channel height width"]
              ) -> Float[Tensor, "batch token embed"]:
        """What enters the tower's first layer."""
        return self.model.embed(images)

    def layer(self, index: int, stream: Float[Tensor, "copy token embed"]
              ) -> Float[Tensor, "copy token embed"]:
        """The stream after a layer, by the model's own modules; see
        :meth:`~neuronpath_core.vlm.answer_model.AnswerModel.run_layer`."""
        return self.model.run_layer(index, stream)

    def site(self, index: int) -> nn.Module:
        """The port that a layer's neurons at the chosen positions pass by."""
        return self.model.ports[index]

    def plain(self, index: int) -> None:
        """No layer of these models is written out."""
        return

    def probability(self, stream: Float[Tensor, "batch token embed"],
                    labels: Int64[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """F: the probability of each image's word."""
        logits = self.model.logits(stream)
        return logits.double().softmax(-1).gather(1, labels[:, None])[:, 0].to(logits.dtype)

    def numbers_kept(self, frozen: bool = False) -> int:
        """Estimate of how many numbers autograd keeps of one copy of one image."""
        tokens = len(self.model.ids)
        return sum(tokens * (12 * place.half.down.out_features + 5 * place.half.width
                             + 4 * tokens) for place in self.model.places)

    def declared_vectors(self, layer: int) -> Float[Tensor, "neuron embed"]:
        """Value vectors: what a unit of each neuron adds to the stream at each of its positions."""
        return self.model.places[layer].half.value_vectors

    value_vectors = declared_vectors

    def _check_kind(self) -> None:
        """The layers' own modules are part of the model that was wrapped: it is of no family."""

    def _check_made_of(self, state: ModelState) -> None:
        kinds = {(value.dtype, value.device) for value in self.model.parameters()}
        if len(kinds) > 1:
            raise ValueError("the model's weights are of several types or devices; accepted: one, "
                             "as of model.to(...)")
        if not all(value.isfinite().all() for value in self.model.parameters()):
            raise ValueError("the model's weights are not finite; accepted: finite weights")
        self._whole = False

    def check_images(self, images: Tensor) -> None:
        """Raise ``ValueError`` unless images are what the tower accepts, and the layers put
        together are the model as it is called."""
        self.check_weights()
        config = self.model.network.config.vision_config
        shape = (config.num_channels, config.image_size, config.image_size)
        if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1:] != shape:
            found = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise ValueError(f"images must be a tensor (batch, {', '.join(map(str, shape))}), as "
                             f"the processor's pixel_values are, got {found}")
        if not len(images) or images.dtype != self.dtype or images.device != self.device or not (
                images.isfinite().all()):
            raise ValueError(f"{len(images)} images are {images.dtype} on {images.device}; "
                             f"accepted: at least one, finite, {self.dtype} on {self.device}")
        if not self._whole:
            self._check_whole(images[:1])

    @torch.no_grad()
    def _check_whole(self, images: Tensor) -> None:
        stream = self.run(self.embed(images), 0, self.n_blocks)
        if differs(self.model.logits(stream), self(images)):
            raise ValueError("the model as it is called is not its layers put together; accepted: "
                             "a Llava as transformers writes it, without hooks or adapters")
        self._whole = True

    def check_batch(self, images: Tensor, labels: Tensor) -> None:
        """Raise ``ValueError`` unless images and labels are such that an attribution is defined."""
        self.check_images(images)
        if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or (
                labels.shape != (len(images),)) or labels.device != self.device:
            raise ValueError(f"labels must be an int64 tensor of shape ({len(images)},) on "
                             f"{self.device}, such as target.numbers([...]), got {shown(labels)}")
        if labels.min() < 0 or labels.max() >= self.n_classes:
            raise ValueError(f"labels must lie in 0..{self.n_classes - 1}, got "
                             f"{int(labels.min())}..{int(labels.max())}")


def _text(vlm: VisionLanguageModel, request: str, before: str) -> tuple[Tensor, Tensor]:
    """The tokens up to the predicting position, and which of them are the image's."""
    config = vlm.model.config.vision_config
    blank = torch.zeros(config.image_size, config.image_size, 3, dtype=torch.uint8).numpy()
    inputs = vlm.encode([blank], [request], [before] if before else None)
    # behind words that are said stands an end, which is not said yet
    stop = len(inputs.roles[0]) - bool(before)
    return inputs.values["input_ids"][0, :stop], inputs.visual[0, :stop]


def _places(vlm: VisionLanguageModel, ids: Tensor, image: Tensor, at: At) -> list[Place]:
    config = vlm.model.config
    first = int(config.vision_feature_select_strategy == "default")
    patches = torch.arange(first, first + int(image.sum()), device=ids.device)
    every = torch.arange(len(ids), device=ids.device)
    here = {"last": every[-1:], "image": every[image], "all": every}[at]
    modules = dict(vlm.model.named_modules())

    def place(half, positions):
        return Place(half, positions, modules[half.name.rpartition(".")[0]])

    decoder = vlm.halves["decoder"][:-1] if at == "image" else vlm.halves["decoder"]
    return [*(place(half, patches) for half in vlm.halves["tower"]),
            *(place(half, here) for half in decoder)]
