"""A model of transformers' by its name on the Hugging Face hub or its folder."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

from torch import nn

from neuronpath_core.models.transformers.accepted import MAPPINGS, refused
from neuronpath_core.support.text import listed, one_line, shown

HUB = "hf-hub:"
MISSING = ("from_transformers needs transformers, which is not installed; accepted: pip install "
           '"neuronpath-core[transformers]"')


def check_installed() -> None:
    """Raise ``ValueError`` if transformers is not there."""
    if find_spec("transformers") is None:
        raise ValueError(MISSING)


def load(name: str | os.PathLike) -> nn.Module:
    """The model by transformers' own ``from_pretrained``: from a folder, from the cache, else from
    the hub; in the precision of its file, on the CPU, and without code from the repository.

    Raises:
        ValueError: no such model, or none of a class that is accepted; a file without weights for
            a part of the class, which transformers would draw at random.
    """
    import transformers

    name = source_of(name)
    kind = _kind(name)
    try:
        model, found = getattr(transformers, kind).from_pretrained(
            name, output_loading_info=True, trust_remote_code=False)
    except Exception as error:  # what a damaged or foreign file raises is up to transformers
        raise _unreadable(name, error) from error
    lacking = [*found["missing_keys"], *(key if isinstance(key, str) else key[0]
                                         for key in found.get("mismatched_keys", ()))]
    if lacking:
        raise ValueError(f"{shown(name)} cannot be read as {kind}: it has no fitting weights for "
                         f"{listed(sorted(lacking))}; accepted: a whole, fine-tuned model")
    return model


def source_of(name: str | os.PathLike) -> str:
    """The name as transformers takes it: without ``hf-hub:``, a folder as text."""
    return os.fspath(name).removeprefix(HUB)


def _kind(name: str) -> str:
    """The class that a configuration names.

    Raises:
        ValueError: no configuration, or that of a class that is not accepted.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # the hub, the cache and the file each raise their own
        raise _unreadable(name, error) from error
    kinds = list(getattr(config, "architectures", None) or [])
    if len(kinds) != 1 or kinds[0] not in MAPPINGS:
        raise refused(kinds[0] if kinds else type(config).__name__)
    return kinds[0]


def _unreadable(name: str, error: Exception) -> ValueError:
    return ValueError(f"{shown(name)} cannot be read: {one_line(error, 200)}; accepted: the name "
                      "of a model on the hub with a network connection, one in the cache, or a "
                      "folder that save_pretrained wrote")


def find_processor(source: str, fetch: bool) -> Any:
    """The image processor that lies with a model, or ``None``.

    Args:
        source: the name or folder that a model came from; may be empty.
        fetch: whether the hub may be asked.
    """
    from transformers import AutoImageProcessor

    if not source:
        return None
    try:
        return AutoImageProcessor.from_pretrained(source, local_files_only=not fetch,
                                                  trust_remote_code=False)
    except Exception:  # no file, or one that is no image processor's: pictures are refused later
        return None
