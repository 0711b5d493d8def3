"""What the core needs to know of a network, and where it looks that up.

A *family* answers a few questions about networks of one class: how pixels become the residual
stream, how a block is run, which head reads the stream.  The families that come with the library
have a file each in ``neuronpath_core/models/families/``; another one is a class of its own, handed
to :func:`register`.
"""

from __future__ import annotations

from abc import abstractmethod
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from torch import Tensor, nn

from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    from jaxtyping import Float

# imported when a network is first looked up, so that the core need not import timm's networks
BUILT_IN = ("neuronpath_core.models.families.vision_transformer",
            "neuronpath_core.models.families.eva")


class Family(Protocol):
    """What has to be known of the networks of one class.

    Their blocks are ``model.blocks``, and the FFN of each ends in a linear ``mlp.fc2``, whose
    output is added to the residual stream.

    Attributes:
        kind: the class; its subclasses belong to the family too.
        names: the networks, as a refusal of others lists them.
    """

    kind: type[nn.Module]
    names: tuple[str, ...]

    @abstractmethod
    def check(self, model: nn.Module) -> None:
        """Raise ``ValueError``, in one line, if a part of this network is not supported; no weight
        is looked at."""

    @abstractmethod
    def embed(self, model: nn.Module, images: Float[Tensor, "batch channel height width"]
              ) -> Float[Tensor, "batch token embed"]:
        """Compute the residual stream that enters the first block."""

    @abstractmethod
    def run_block(self, model: nn.Module, index: int,
                  stream: Float[Tensor, "copy token embed"]) -> Float[Tensor, "copy token embed"]:
        """Run one block by its own module."""

    @abstractmethod
    def logits(self, model: nn.Module,
               stream: Float[Tensor, "batch token embed"]) -> Float[Tensor, "batch class"]:
        """Classify from the stream after the last block."""

    @abstractmethod
    def class_count(self, model: nn.Module) -> int | None:
        """Return the number of classes, or ``None`` for a network without a head."""

    @abstractmethod
    def first_weight(self, model: nn.Module) -> Float[Tensor, "embed channel ..."]:
        """Return the weight that multiplies the pixels; images share its dtype, device and
        channels."""

    @abstractmethod
    def pooled_scope(self, model: nn.Module) -> str:
        """Return the scope of the tokens that the head pools, ``"cls"`` or ``"patch"``; raise
        ``ValueError`` if that would be a guess."""

    @abstractmethod
    def prefix_tokens(self, model: nn.Module) -> int:
        """Count the tokens in front of the patch tokens."""

    @abstractmethod
    def token_count(self, model: nn.Module, size: tuple[int, int] | None = None) -> int:
        """Count the tokens of an image of this height and width; without one, of the size that the
        network was built for."""

    @abstractmethod
    def image_sizes(self, model: nn.Module, size: tuple[int, int]) -> tuple[bool, str]:
        """Say whether the network takes images of this height and width, and in words which it
        takes: the rest of the sentence "a tensor of shape (batch, channel, …"."""

    @abstractmethod
    def kept_numbers(self, model: nn.Module, tokens: int) -> int:
        """Estimate how many numbers autograd keeps for one token in one block."""

    def has_class_token(self, model: nn.Module) -> bool:
        """Say whether the first token is a class token."""
        return self.prefix_tokens(model) > 0

    def classifies_alone(self, model: nn.Module) -> bool:
        """Say whether the logits depend on the class token's last stream alone."""
        return False

    def head_of(self, model: nn.Module) -> tuple:
        """Describe the head, so that a :class:`~neuronpath_core.TargetModel` notices another one.
        """
        return (self.class_count(model),)

    def ffn_scale(self, block: nn.Module) -> Float[Tensor, "embed"] | None:
        """Return the factor of the FFN's output (LayerScale), or ``None`` without one."""
        return None

    def has_halves(self, block: nn.Module) -> bool:
        """Say whether a block is an attention half and then an FFN half, each added to the stream;
        if so, ``attention_scale`` and ``run_half`` are defined too."""
        return False


FAMILIES: dict[type[nn.Module], Family] = {}  # by the class of their networks


def register(family: Family) -> None:
    """Accept networks of ``family.kind`` wherever the library takes a network.

    If two families fit a network, the one for its nearer class is used.
    """
    FAMILIES[family.kind] = family


def accepted() -> str:
    """Return the names of all networks that are accepted, as words for a message."""
    names = [name for family in FAMILIES.values() for name in family.names]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def family_of(model: nn.Module) -> Family:
    """Return the family of a network.

    Raises:
        ValueError: no family is registered for its class.
    """
    for name in BUILT_IN:
        import_module(name)
    for kind in type(model).__mro__:
        if kind in FAMILIES:
            return FAMILIES[kind]
    parts = model.named_modules() if isinstance(model, nn.Module) else ()
    inside = next((name for name, part in parts if FAMILIES.keys() & set(type(part).__mro__)), None)
    way = f" (here: the model inside, its .{inside})" if inside else ""
    found = type(model).__name__ if isinstance(model, nn.Module) else shown(model)
    if found in {kind.__name__ for kind in FAMILIES}:  # torchvision has a VisionTransformer too
        found = f"{type(model).__module__.partition('.')[0]}'s {found}"
    raise ValueError(f"a model of pre-norm blocks is needed, got {found}; "
                     f"accepted: {accepted()}{way}")


def resolve_scope(model: nn.Module, scope: str) -> str:
    """Return ``"cls"`` or ``"patch"`` as it is, and for ``"auto"`` the scope of the tokens that
    the network pools.

    Raises:
        ValueError: the scope is unknown, the network has no class token, or it pools in a way for
            which ``"auto"`` would be a guess.
    """
    family = family_of(model)
    if scope == "auto":
        scope = family.pooled_scope(model)
    if not is_one_of(scope, ("cls", "patch")):
        raise ValueError(f"unknown scope {shown(scope)}; accepted: auto, cls, patch")
    if scope == "cls" and not family.has_class_token(model):
        raise ValueError("scope 'cls' needs a model with a class token; accepted here: patch")
    return scope


def stands_for_linear(part: object) -> bool:
    """Whether a module is a linear layer, or says of itself that it is in the place of one, as
    adapters of peft's do by ``in_features`` and ``out_features``; what it computes is seen when it
    runs."""
    sizes = (getattr(part, name, None) for name in ("in_features", "out_features"))
    return isinstance(part, nn.Linear) or (
        isinstance(part, nn.Module) and all(type(size) is int for size in sizes))
