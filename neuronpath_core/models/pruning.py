"""Networks from which FFN neurons are physically gone: made, saved, loaded, and what that saves."""

from __future__ import annotations

import copy
import json
import numbers
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from timm.layers import Mlp
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from neuronpath_core.fast.plain import ELEMENTWISE
from neuronpath_core.hooks import without_edits
from neuronpath_core.model_state import is_hooked, replaced_methods
from neuronpath_core.models.build import build_model
from neuronpath_core.support.files import check_writable, write_atomically
from neuronpath_core.support.text import one_line

if TYPE_CHECKING:
    from jaxtyping import Float

Kept = Sequence[Sequence[int]]


def check_kept(model: VisionTransformer, kept: Kept) -> list[list[int]]:
    """The kept neurons of every block, ascending; ``ValueError`` unless they can be all that is
    left of this model's FFNs."""
    if not isinstance(model, VisionTransformer):
        raise ValueError(f"a VisionTransformer can be pruned, got {type(model).__name__}; "
                         "accepted: timm's, not a TargetModel of it")
    if not all(hasattr(neurons, "__len__") for neurons in kept):
        raise ValueError("kept neurons must be one list of neurons a block; accepted: as many "
                         "lists as blocks")
    if len(kept) != len(model.blocks):
        raise ValueError(f"kept neurons are of {len(kept)} blocks, the model has "
                         f"{len(model.blocks)}; accepted: one list a block")
    for index, (block, neurons) in enumerate(zip(model.blocks, kept, strict=True)):
        ffn = block.mlp
        if type(ffn) is not Mlp or type(ffn.fc1) is not nn.Linear or type(ffn.fc2) is not nn.Linear:
            raise ValueError(f"block {index} has the FFN {type(ffn).__name__}; accepted: timm's "
                             f"Mlp, fc1 and fc2 linear, not gated")
        if type(ffn.act) not in ELEMENTWISE or type(ffn.drop1) not in (nn.Identity, nn.Dropout):
            raise ValueError(f"block {index} has {type(ffn.act).__name__} and "
                             f"{type(ffn.drop1).__name__} before fc2, which may mix neurons; "
                             "accepted: an activation of each neuron by itself")
        if not isinstance(ffn.norm, nn.Identity):
            raise ValueError(f"block {index} normalises its FFN neurons, so that none can go "
                             f"without changing the others; accepted: an Mlp without norm")
        if len(neurons) == 0:
            raise ValueError(f"block {index} keeps no neuron; accepted: at least one")
        width = ffn.fc1.out_features
        if any(isinstance(each, bool) or not isinstance(each, numbers.Integral) or not 0 <= each
               < width for each in neurons):
            raise ValueError(f"kept neurons of block {index} must be whole numbers in "
                             f"0..{width - 1}")
        if len(set(neurons)) != len(neurons):
            raise ValueError(f"kept neurons of block {index} must differ from one another")
    return [sorted(int(each) for each in neurons) for neurons in kept]


def prune_ffn(model: VisionTransformer, kept: Kept) -> VisionTransformer:
    """A copy of the model whose FFNs hold the kept neurons alone: rows of ``fc1``, columns of
    ``fc2``; nothing is trained again.

    Its logits are those of the model with every other neuron zeroed at every token, up to rounding.
    Blocks may differ in width; such a model is for inference,
    :class:`~neuronpath_core.target.TargetModel` takes it only if they are equally wide.

    Args:
        model: a timm ``VisionTransformer`` with plain FFNs; it is not changed.
        kept: indices of the neurons to keep, one list per block.

    Raises:
        ValueError: no neuron left in a block, an index out of range or twice, a gated or normalised
            FFN, or a model with hooks.
    """
    kept = check_kept(model, kept)
    # a function that is bound to an object of the model would stay bound to it in the copy
    if any(is_hooked(part) or replaced_methods(part) for part in model.modules()):
        raise ValueError("the model has hooks or functions of its own, which a pruned one would "
                         "carry along; accepted: a model that nobody edits")
    try:
        pruned = without_edits(copy.deepcopy(model)).eval()
    except (RuntimeError, TypeError, AttributeError, NotImplementedError) as error:
        raise ValueError(f"the model cannot be copied ({one_line(error, 100)}); accepted: one that "
                         "copy.deepcopy takes") from error
    for block, neurons in zip(pruned.blocks, kept, strict=True):
        fc1 = block.mlp.fc1
        fc2 = block.mlp.fc2
        index = torch.tensor(neurons, device=block.mlp.fc1.weight.device)
        block.mlp.fc1 = _linear(fc1.weight[index], None if fc1.bias is None else fc1.bias[index])
        block.mlp.fc2 = _linear(fc2.weight[:, index], fc2.bias)
    return pruned


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach().clone())
    return linear.eval()


def save_pruned(path: str | Path, pruned: VisionTransformer, kept: Kept, spec: Mapping) -> None:
    """Write a pruned model with what rebuilds it, whole or not at all: safetensors, the kept
    neurons and the model entry as JSON in its metadata.

    Args:
        path: the file; its folder is created, an older file replaced.
        pruned: of :func:`prune_ffn`.
        kept: as given there.
        spec: the unpruned model's entry, as in a profile: ``architecture``, or ``timm`` and
            ``arguments``.

    Raises:
        ValueError: a model that is not what entry and kept neurons give, an entry that JSON cannot
            hold, or a folder that cannot be written to.
    """
    path = Path(path)
    entry = {name: spec[name] for name in ("architecture", "timm", "arguments") if name in spec}
    state = {name: value.detach().cpu().contiguous() for name, value in pruned.state_dict().items()}
    _rebuild(entry, kept, state)
    try:
        metadata = {"kept": json.dumps([[int(each) for each in neurons] for neurons in kept]),
                    "model": json.dumps(entry)}
    except TypeError as error:
        raise ValueError(f"the model entry cannot be stored as JSON ({error}); accepted: numbers, "
                         f"texts, lists and mappings") from error
    check_writable(path.parent)
    write_atomically(path, lambda temporary: save_file(state, temporary, metadata=metadata))


def load_pruned(path: str | Path) -> tuple[VisionTransformer, list[list[int]]]:
    """A pruned model as it was saved, in eval mode, and the neurons it kept of the whole model's.

    Raises:
        ValueError: no such file, a damaged one, or one that :func:`save_pruned` did not write.
    """
    try:
        with safe_open(path, "pt") as stored:
            metadata = stored.metadata() or {}
        kept = json.loads(metadata["kept"])
        entry = json.loads(metadata["model"])
        state = load_file(path)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{Path(path).name} is no pruned model ({type(error).__name__}); "
                         f"accepted: a file that save_pruned wrote") from error
    return _rebuild(entry, kept, state), kept


def _rebuild(entry: Mapping, kept: Kept, state: Mapping[str, Tensor]) -> VisionTransformer:
    model = prune_ffn(build_model(entry), kept).to(next(iter(state.values())).dtype)
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ValueError(f"weights do not fit the model entry and its kept neurons: "
                         f"{one_line(error)}; "
                         "accepted: a file that save_pruned wrote") from error
    return model


# --- what is saved ---


def model_cost(model: VisionTransformer,
               images: Float[Tensor, "batch channel height width"]) -> dict[str, int]:
    """``parameters``, FFN ``neurons`` and ``multiply_adds`` of matrix products and convolutions per
    image, as PyTorch counts them."""
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(images[:1])
    return {"parameters": sum(parameter.numel() for parameter in model.parameters()),
            "neurons": sum(block.mlp.fc2.in_features for block in model.blocks),
            "multiply_adds": counter.get_total_flops() // 2}


@torch.no_grad()
def latencies(models: Mapping[str, nn.Module], images: Float[Tensor, "batch channel height width"],
              repeats: int = 20) -> dict[str, float]:
    """Median seconds of a forward of the batch, the models taking turns, after one round that does
    not count."""
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(repeats + 1):
        for name, model in models.items():
            started = time.perf_counter()
            model(images).sum().item()  # waits for the device
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(each[1:]) for name, each in seconds.items()}
