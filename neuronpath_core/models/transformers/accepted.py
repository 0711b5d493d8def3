"""Which of transformers' models are accepted, and why others are not."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as modules

from neuronpath_core.model_state import GLOBAL_HOOKS, HOOKS, is_compiled, replaced_methods
from neuronpath_core.models.transformers.dinov2 import DINOV2, REGISTERS
from neuronpath_core.models.transformers.mapping import ModelMapping
from neuronpath_core.models.transformers.towers import CLIP, SIGLIP
from neuronpath_core.models.transformers.vit import DEIT, DISTILLED, VIT
from neuronpath_core.support.text import shown

MAPPINGS = {mapping.kind: mapping
            for mapping in (VIT, DEIT, DISTILLED, DINOV2, REGISTERS, CLIP, SIGLIP)}
NAMES = ", ".join(MAPPINGS)
# by what their names begin or end with, what others lack
TIMM = "TimmWrapper"
ENDINGS = {"ForPreTraining": "it reconstructs pixels and classifies nothing",
           "ForMaskedImageModeling": "it reconstructs pixels and classifies nothing"}
ZERO_SHOT = ("CLIPModel", "SiglipModel")
# transformers' own, which keep outputs that are asked for and change none
RECORDERS = "transformers.utils.output_capturing"
ATTENTION = ("sdpa", "eager")
SOFTMAX = (None, "single_label_classification")


def mapping_of(model: Any) -> ModelMapping:
    """The table of names for a model of transformers'.

    Raises:
        ValueError: a model of another class, or one that its class alone does not describe: a
            quantised one, one with adapters, hooks, methods or parts of its own, another attention
            than ``"sdpa"`` or ``"eager"``, classes that no softmax is taken of.
    """
    kind = type(model)
    if not isinstance(model, nn.Module):
        raise ValueError(f"model cannot be {shown(model)}; accepted: a model of transformers', or "
                         "the name or folder of one")
    if kind.__name__ not in MAPPINGS or not _is_of(kind, "transformers"):
        raise refused(kind.__name__, model)
    mapping = MAPPINGS[kind.__name__]
    _check_weights(model)
    _check_parts(model)
    _check_use(model, mapping)
    return mapping


def refused(kind: str, model: object = None) -> ValueError:
    """The refusal of a class that has no table, with what is known of it and of the model."""
    why = next((words for ending, words in ENDINGS.items() if kind.endswith(ending)), "")
    way = ""
    if kind in ZERO_SHOT:
        why = "it has no classes of its own"
        way = "; of timm's own tower of it, npc.zero_shot(model, class_embeddings)"
    elif kind.startswith(TIMM):
        way = "; the timm model inside, npc.TargetModel(model.timm_model)"
    elif _is_of(type(model), "timm"):
        way = "; of a timm model, npc.TargetModel(model)"
    elif inside := [name for name in ("_orig_mod", "module") if hasattr(model, name)]:
        way = f" (here: the model inside, its .{inside[0]})"
    elif "Peft" in kind:
        way = " (here: what model.merge_and_unload() gives)"
    reason = f": {why}" if why else ""
    return ValueError(f"model cannot be a {kind}{reason}; accepted: {NAMES}{way}")


def _is_of(kind: type, package: str) -> bool:
    return kind.__module__.partition(".")[0] == package


def _check_weights(model: nn.Module) -> None:
    """Raise ``ValueError`` unless all weights are ordinary numbers of one type on one device."""
    if getattr(model, "is_quantized", False) or getattr(model, "hf_quantizer", None) is not None:
        raise ValueError("model cannot be quantised, of whose weights only their own code makes "
                         "numbers; accepted: the model in float64, float32, bfloat16 or float16")
    if getattr(model, "_hf_peft_config_loaded", False):
        raise ValueError("model cannot have adapters; accepted: the model with the adapters merged "
                         "into its weights, as merge_and_unload() of peft does")
    first = next(model.parameters())
    for name, value in model.named_parameters():
        if type(value) is not nn.Parameter or type(value.data) is not Tensor or (
                not value.is_floating_point()):
            raise ValueError(f"{name} cannot be {type(value.data).__name__} of {value.dtype}; "
                             "accepted: ordinary weights in floating point")
        if value.dtype != first.dtype or value.device != first.device or value.is_meta:
            raise ValueError(f"{name} cannot be {value.dtype} on {value.device} where other "
                             f"weights are {first.dtype} on {first.device}; accepted: one "
                             "precision and one device that holds numbers, as of model.to(...)")


def _check_parts(model: nn.Module) -> None:
    """Raise ``ValueError`` unless every module is PyTorch's or transformers' as it was published.
    """
    if is_compiled(model):
        raise ValueError("model cannot be compiled; accepted: the model before torch.compile")
    if any(getattr(modules, name) for name in GLOBAL_HOOKS):
        raise ValueError("model cannot be looked at while hooks on all modules are set; accepted: "
                         "no global hooks")
    for name, part in model.named_modules():
        kind, where = type(part), name or "the model"
        if not (_is_of(kind, "torch") or _is_of(kind, "transformers")):
            raise ValueError(f"{where} cannot be {kind.__module__}.{kind.__qualname__}; accepted: "
                             "the parts that transformers gives the class, adapters merged")
        if own := replaced_methods(part):
            raise ValueError(f"{where} cannot have a {own[0]} of its own; accepted: the methods "
                             "of its class")
        if any(_foreign(hook) for hooks in HOOKS for hook in getattr(part, hooks).values()):
            raise ValueError(f"{where} cannot have hooks; accepted: a model without hooks, which "
                             "can be set on the TargetModel's own model")


def _foreign(hook: object) -> bool:
    return getattr(hook, "__module__", None) != RECORDERS


def _check_use(model: nn.Module, mapping: ModelMapping) -> None:
    """Raise ``ValueError`` unless its heads are linear, its classes exclude one another and its
    attention is torch's or written out."""
    for name in mapping.heads:
        head = getattr(model, name, None)
        if type(head) is not nn.Linear:
            raise ValueError(f"{name} cannot be {type(head).__name__}; accepted: torch.nn.Linear, "
                             "with a row for each class, as num_labels above 0 gives")
    problem = getattr(model.config, "problem_type", None)
    if problem not in SOFTMAX:
        raise ValueError(f"problem_type cannot be {problem!r}, for which a softmax over the logits "
                         "is no probability; accepted: single_label_classification")
    for part in model.modules():
        found = getattr(getattr(part, "config", None), "_attn_implementation", None)
        if found is not None and found not in ATTENTION:
            raise ValueError(f"attn_implementation cannot be {found!r}, which computes other "
                             f"numbers; accepted: {', '.join(ATTENTION)}, as by "
                             "model.set_attn_implementation('sdpa')")
