"""The tensors of a model, taken out of what training scripts save around them, and whether they are
all of the model's."""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

# what scripts call a state dict; averaged weights first, as timm chooses, and a teacher, which is
# such an average, before its student
WRAPPERS = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "shadow",
            "state_dict", "model", "model_state_dict", "model_state", "module", "net", "network",
            "weights", "params", "teacher", "student")
NO_MODELS = re.compile("optim|sched|scaler|callback|hyper|loop|args|config")
# names of attributes that hold the model in another module
PREFIXES = ("module.", "model.", "net.", "network.", "backbone.", "encoder.")
# torch.compile, FSDP and checkpointed activations put a module around another, at any depth
AROUND = re.compile(r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
DEPTH, NAMED = 3, 3  # of wrappers in wrappers; names that a message gives


class WeightsWarning(UserWarning):
    """Weights were chosen among several, or changed on their way into the model."""


def some(names: list[str]) -> str:
    """The first few names."""
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")


def state_dict_of(content: Any, name: str, wrapper: str | None = None) -> dict[str, Tensor]:
    """The state dict in what a file holds, without prefixes that all of its names have.

    Args:
        content: a state dict, or mappings that hold one or several.
        name: of the file, in messages.
        wrapper: the key of the one to take; by default the only one, or the first of ``WRAPPERS``,
            with a :class:`WeightsWarning` that says which.

    Raises:
        ValueError: no state dict, several of which none is known, values that are not there or not
            finite, or two names that are the same without prefixes.
    """
    found = dict(_state_dicts(content))
    if wrapper is not None:
        found = {key: value for key, value in found.items() if wrapper in (key, key.split(".")[0])}
    if not found:
        raise ValueError(f"weights {name} hold no state dict"
                         f"{f' called {wrapper!r}' if wrapper else ''}{_outline(content)}; "
                         f"accepted: tensors by name, as model.state_dict() gives them")
    state = _without_prefixes(found[_chosen(list(found), name)], name)
    empty = [key for key, value in state.items() if value.is_meta
             or value.layout != torch.strided or value.is_quantized]
    if empty:
        raise ValueError(f"weights {name} hold {len(empty)} tensors without values, sparse or "
                         f"quantised ({some(empty)}); accepted: dense tensors of numbers")
    check_finite(state, name)
    return state


def _state_dicts(content: Any, at: str = "", depth: int = DEPTH) -> Iterator[tuple[str, Mapping]]:
    """Every state dict in nested mappings, by the keys on the way to it."""
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        return
    if content and all(isinstance(value, Tensor) for value in content.values()):
        if any(value.ndim for value in content.values()):
            yield at, content
    elif depth:
        for key, value in content.items():
            if not NO_MODELS.search(key.lower()):
                yield from _state_dicts(value, f"{at}.{key}" if at else key, depth - 1)


def _chosen(names: list[str], file: str) -> str:
    if len(names) == 1:
        return names[0]
    ranks = {each: min((WRAPPERS.index(part) for part in each.split(".") if part in WRAPPERS),
                       default=len(WRAPPERS)) for each in names}
    best = [each for each in names if ranks[each] == min(ranks.values())]
    accepted = f"accepted: wrapper: {names[0]} in the model entry, or another of them"
    if len(best) > 1:
        raise ValueError(f"weights {file} hold {len(names)} state dicts ({some(names)}) and "
                         f"nothing says which is meant; {accepted}")
    others = [each for each in names if each != best[0]]
    warnings.warn(f"weights {file} hold {len(names)} state dicts: {best[0]} is taken, not "
                  f"{some(others)}; accepted: wrapper: {others[0]} in the model entry for another",
                  WeightsWarning, stacklevel=4)
    return best[0]


def _outline(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f" but a {type(content).__name__}"
    others = [f"{key}: {type(value).__name__}" for key, value in content.items()
              if not isinstance(value, Tensor)]
    return f" but {some(others)}" if others else ""


def _without_prefixes(state: Mapping[str, Tensor], file: str) -> dict[str, Tensor]:
    names = {name: AROUND.sub("", name) for name in state}
    if "n_averaged" in names and len(names) > 1:  # how many torch's AveragedModel has averaged
        del names["n_averaged"]
    while prefix := next((each for each in PREFIXES
                          if all(name.startswith(each) for name in names.values())), None):
        names = {key: name.removeprefix(prefix) for key, name in names.items()}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise ValueError(f"weights {file} hold {len(twice)} tensors twice, with a prefix and "
                         f"without ({some(twice)}); accepted: one of each name")
    return {name: state[key] for key, name in names.items()}


def check_finite(state: Mapping[str, Tensor], file: str) -> None:
    """Raise ``ValueError`` for weights with values that are no numbers; a mask may be infinite."""
    wrong = [name for name, value in state.items()
             if value.is_floating_point() and not name.endswith("mask")
             and not (value.float() if value.itemsize == 1 else value).isfinite().all()]
    if wrong:
        raise ValueError(f"weights {file} have values that are not finite in {len(wrong)} of "
                         f"{len(state)} tensors ({some(wrong)}); accepted: weights of a training "
                         f"that did not diverge")


def check_names(state: Mapping[str, Tensor], model: nn.Module) -> None:
    """Raise ``ValueError``, with counts and the first names, for a state dict that is not the
    model's: names that it lacks or has besides, other shapes, no floating point."""
    own = model.state_dict()
    both = [name for name in own if name in state]
    wrong = {
        "lack": [name for name in own if name not in state],
        "have besides": [name for name in state if name not in own],
        "have in another shape": [f"{name} {tuple(state[name].shape)}, the model's "
                                  f"{tuple(own[name].shape)}" for name in both
                                  if state[name].shape != own[name].shape],
        "have in another kind of number": [f"{name} {state[name].dtype}" for name in both
                                           if own[name].is_floating_point()
                                           and not state[name].is_floating_point()],
    }
    said = [f"{len(names)} that they {what} ({some(names)})" for what, names in wrong.items()
            if names]
    if said:
        raise ValueError(f"of {len(own)} tensors of the model and {len(state)} of the file, "
                         f"{', '.join(said)}; accepted: a file of that model's weights")


def positions_size(state: Mapping[str, Tensor], model: nn.Module) -> list[int] | None:
    """Height and width in pixels of the images that a file's positions are for, where those are
    other ones than the model's; else ``None``.

    Raises:
        ValueError: another number of positions than the model's, of which no square can be made.
    """
    stored, own = state.get("pos_embed"), getattr(model, "pos_embed", None)
    embed = getattr(model, "patch_embed", None)
    grid = getattr(embed, "grid_size", None)
    if stored is None or own is None or grid is None or stored.ndim != 3 or own.ndim != 3 or (
            stored.shape[1] == own.shape[1]):
        return None
    others = own.shape[1] - math.prod(grid)  # of the class token and registers
    patches = stored.shape[1] - others
    side = math.isqrt(max(patches, 0))
    if side == 0 or side * side != patches:
        raise ValueError(f"they have {stored.shape[1]} positions, the model {own.shape[1]}: "
                         f"{others} of other tokens and {grid[0]} x {grid[1]} patches; accepted: "
                         f"a square grid, or arguments: {{img_size: [HEIGHT, WIDTH]}} and tokens "
                         f"that give as many")
    return [side * size for size in embed.patch_size]
