"""What a model, a batch and a path must be for an attribution to be defined; each check is one line
that says what is accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from neuronpath_core.as_called import NotCalled, Verdict, attempt, hooked_parts
from neuronpath_core.model_state import ModelState, quantised_part
from neuronpath_core.support.tensors import is_ordinary, kind_of
from neuronpath_core.support.text import shown

if TYPE_CHECKING:
    from jaxtyping import Int64


class Checked:
    """The checks of a :class:`~neuronpath_core.target.TargetModel`, which inherits them."""

    def check_mode(self) -> None:
        """Raise ``ValueError`` if any part of the model is in training mode."""
        for name, module in self.model.named_modules():
            if module.training:
                raise ValueError(f"{name or 'the model'} is in training mode, in which a pass may "
                                 "be random; accepted: model.eval()")

    def check_weights(self) -> None:
        """Raise ``ValueError`` unless the model is such that an attribution is defined, and still
        has the blocks and the head with which this was made; forget what was found of another."""
        if self.is_draft:  # nobody else can change it
            return
        self.check_mode()
        if scripted := [name for name, part in self.model.named_modules()
                        if isinstance(part, torch.jit.ScriptModule)]:
            raise ValueError(f"{scripted[0]} is a module of torch.jit, of which no part can be "
                             "looked at; accepted: the module that it was made from")
        state = ModelState.of(self.model)
        if not (same := state.same(self._state)) and self._state is not None:
            self._check_kind()
        if self.device.type != "meta" and torch.is_autocast_enabled(self.device.type):
            raise ValueError("inside torch.autocast attributions would be in another precision; "
                             f"accepted: outside, or autocast({shown(self.device.type)}, "
                             "enabled=False)")
        if same and not state.foreign:
            return
        self._check_made_of(state)
        self._state, self._verdict = state, None

    def _check_kind(self) -> None:
        """Raise ``ValueError`` unless a changed model is of its family, with the same head."""
        if self.family.head_of(self.model) != self._head:
            raise ValueError("the model's head is no longer the one with which the TargetModel "
                             "was made; accepted: a head of the same kind and number of "
                             "classes, of a zero-shot tower inside its zero_shot(...)")
        self.family.check(self.model)

    def _check_made_of(self, state: ModelState) -> None:
        self.check_precision()
        if part := quantised_part(self.model):
            raise ValueError(f"{part} is quantised and has no derivative; accepted: the model "
                             "before it was quantised")
        if not state.finite:
            for name, tensor in self.model.state_dict(keep_vars=True).items():
                if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                    raise ValueError(f"the weights are not finite: {name}; accepted: finite ones")
        self._check_layers()
        first = self.family.prefix_tokens(self.model)
        if self.scope == "patch" and first != self.tokens.start:
            raise ValueError(f"the model has {first} tokens before its patches, it had "
                             f"{self.tokens.start} when the TargetModel was made; accepted for "
                             "scope 'patch': the same number, or another TargetModel(model)")

    def check_precision(self) -> None:
        """Raise ``ValueError`` unless layers that multiply share one floating-point type and one
        device, with dense weights that have values."""
        first = self.family.first_weight(self.model)
        for name, module in self.model.named_modules():
            weight = getattr(module, "weight", None) if isinstance(
                module, (nn.Linear, nn.Conv2d)) else None
            if not isinstance(weight, Tensor):
                continue
            if weight.layout != torch.strided or weight.is_inference():
                found = ("made in torch.inference_mode()" if weight.is_inference() else
                         f"of layout {weight.layout}")
                raise ValueError(f"{name}.weight is {found}; accepted: ordinary dense weights")
            other = weight.is_floating_point() and weight.dtype != first.dtype
            if other or weight.device != first.device:
                raise ValueError(f"{name}.weight is {weight.dtype} on {weight.device}, the "
                                 f"patch embedding {first.dtype} on {first.device}; accepted: "
                                 "one precision and one device, as of model.to(...)")

    def _check_layers(self) -> None:
        """Raise ``ValueError`` unless every layer has a module and neurons of its own."""
        sites = [self.site(index) for index in range(self.n_blocks)
                 ] if len(self.model.blocks) == self.layers[-1].block + 1 else []
        if [site.in_features for site in sites] != [layer.units * layer.width
                                                    for layer in self.layers]:
            raise ValueError("the model's blocks are no longer those with which the TargetModel "
                             "was made; accepted: the same number of blocks and neurons")
        if len({id(site) for site in sites}) < len(sites):
            names = [layer.name for layer, site in zip(self.layers, sites, strict=True)
                     if sum(each is site for each in sites) > 1]
            raise ValueError(f"{', '.join(names)} share one module, so that an edit of one would "
                             "edit all; accepted: modules of their own, as by copy.deepcopy of "
                             "each block")

    def check_images(self, images: Tensor) -> None:
        """Raise ``ValueError`` unless images are of the shape, type and range that this model
        accepts, and the model is the one that :meth:`check_weights` accepts.

        If it has changed it is held against itself on some of them, if it can be called on them.
        """
        self.check_weights()
        channels = self.family.first_weight(self.model).shape[1]
        if isinstance(images, Tensor) and (images.is_inference() or not is_ordinary(images)):
            found = "made in torch.inference_mode()" if images.is_inference() else kind_of(images)
            raise ValueError(f"images are {found}; accepted: ordinary dense pixels, as of "
                             "images.clone() or images.as_subclass(torch.Tensor)")
        pictures = isinstance(images, Tensor) and images.ndim == 4
        size = tuple(images.shape[2:]) if pictures else (0, 0)
        fits, accepted = self.family.image_sizes(self.model, size)
        if not pictures or images.shape[1] != channels or not fits:
            found = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise ValueError(f"images must be a tensor of shape (batch, {channels}, {accepted}, "
                             f"got {found}")
        if len(images) == 0:
            raise ValueError("images must hold at least one image, got an empty batch")
        if self.device.type == "meta":
            raise ValueError("the model's weights are on meta, without numbers; accepted: weights "
                             "in memory (of a model that accelerate offloads, after its "
                             "hooks.remove_hook_from_submodules(model))")
        if images.dtype != self.dtype or images.device != self.device:
            raise ValueError(f"images are {images.dtype} on {images.device}; accepted: the "
                             f"model's {self.dtype} on {self.device}")
        if not torch.isfinite(images).all():
            raise ValueError("images hold NaN or infinite values; accepted: finite pixels only")
        self.n_tokens = self.family.token_count(self.model, tuple(images.shape[2:]))
        try:
            self._check_steady(self.examine(images))
        except NotCalled:  # a hook may be for exactly this batch
            if attempt(torch.no_grad()(lambda: self(images))) is None:
                raise

    def _check_steady(self, verdict: Verdict) -> None:
        """Raise ``ValueError`` if the model was seen to answer one image in two ways."""
        if verdict.unsteady:
            part = f": {verdict.differs}" if verdict.differs else ""
            raise ValueError("the model answers otherwise when it is called again, at random or by "
                             f"the other images of a batch{part}; accepted: a model whose logits "
                             "are a function of the image")

    def check_batch(self, images: Tensor, labels: Tensor) -> None:
        """Raise ``ValueError`` unless weights, images and labels are all such that an attribution
        is defined."""
        if self.n_classes < 2:
            raise ValueError("the model has one output, whose softmax is 1 for every image, so "
                             "that nothing explains it; accepted: at least two classes (a sigmoid "
                             "is a softmax with a second logit of 0)")
        self.check_images(images)
        if self.examine(images).cut:
            raise ValueError("the gradients that the model passes back to its neurons are not its "
                             f"derivatives{hooked_parts(self.model)}; accepted: a forward without "
                             "torch.no_grad() and detach(), and no hook that changes gradients")
        if not is_ordinary(labels) or labels.dtype != torch.int64 or (
                labels.shape != (len(images),)):
            raise ValueError(f"labels must be an int64 tensor of shape ({len(images)},), got "
                             f"{kind_of(labels)}")
        if labels.device != self.device:
            raise ValueError(f"labels are on {labels.device}; accepted: the model's {self.device}")
        if labels.min() < 0 or labels.max() >= self.n_classes:
            raise ValueError(f"labels must lie in 0..{self.n_classes - 1}, got "
                             f"{int(labels.min())}..{int(labels.max())}")

    def check_neurons(self, neurons: Tensor,
                      batch: int | None = None) -> Int64[Tensor, "batch layer rank"]:
        """Neuron indices as ``(batch, layer, rank)``; ``ValueError`` unless they fit this model.

        Args:
            neurons: int64 ``(batch, layer)``, or ``(batch, layer, rank)`` of several a block.
            batch: number of images they must belong to; ``None`` accepts any.
        """
        if not is_ordinary(neurons) or neurons.dtype != torch.int64 or neurons.ndim not in (
                2, 3) or neurons.shape[1] != self.n_blocks:
            raise ValueError(f"neurons must be an int64 tensor (batch, {self.n_blocks}) or "
                             f"(batch, {self.n_blocks}, rank), got {kind_of(neurons)}")
        if batch is not None and len(neurons) != batch:
            raise ValueError(f"neurons hold paths of {len(neurons)} images, the batch has "
                             f"{batch}; accepted: one path an image")
        if neurons.numel() == 0 or neurons.min() < 0 or neurons.max() >= self.n_neurons:
            found = f"{neurons.min()}..{neurons.max()}" if neurons.numel() else "none"
            raise ValueError(f"neuron indices must lie in 0..{self.n_neurons - 1}, got {found}")
        ranked = neurons.to(self.device).reshape(len(neurons), self.n_blocks, -1)
        most = ranked.amax((0, 2)).tolist()
        for index, (largest, layer) in enumerate(zip(most, self.layers, strict=True)):
            if largest >= layer.units:
                raise ValueError(f"neuron indices of layer {index} ({layer.name}) must lie in "
                                 f"0..{layer.units - 1}, got {largest}")
        ordered = ranked.sort(-1).values
        if (ordered[..., 1:] == ordered[..., :-1]).any():
            raise ValueError("a block's neurons must differ from one another; accepted: each "
                             "index once a block")
        return ranked
