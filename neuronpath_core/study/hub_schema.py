"""The entries of profiles of published vision-language models, whose neurons are typed on images
with captions.

Such a profile is one of vision-language models whose models are of ``kind: hub``.  The module loads
no torch, so that a command can refuse a profile at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError

from neuronpath_core.support.files import relative_path
from neuronpath_core.support.typed import Entry, Name, mapping, misfit, one_of, whole

KIND, DATASET = "hub", "captions"
DTYPES = ("float32", "bfloat16", "float16")
MOST = 10**13  # bytes, and whatever else is counted
TOP = 50  # samples of each neuron, which there must be


class Captions(Entry):
    """Images with captions: where they are, below the folder of ``--data``."""

    name: one_of(DATASET)
    images: Name
    captions: Name
    samples: whole(TOP, 10**7)
    request: Name
    obtain: Name


class HubModel(Entry):
    """A published model: its class, and what is expected of it before its weights are there."""

    kind: one_of(KIND)
    hub: Name
    family: Name
    dtype: one_of(*DTYPES)
    bytes: whole(1, MOST)
    parameters: whole(1, MOST)
    layers: whole(1, 10**4)
    neurons: whole(1, 10**6)
    tokens: whole(1, 10**6)
    obtain: Name


SOME_MODELS = mapping("a mapping of at least one model", empty=False)


class HubProfile(Entry):
    """The entries of such a profile."""

    dataset: Captions
    models: Annotated[dict[str, HubModel], BeforeValidator(SOME_MODELS)]
    notebooks: dict[str, Any] = None
    not_run: dict[str, str] = None


def is_hub(entries: object) -> bool:
    """Whether a profile's entries are of published models on images with captions."""
    models = entries.get("models") if isinstance(entries, Mapping) else None
    return isinstance(models, Mapping) and any(isinstance(entry, Mapping)
                                               and entry.get("kind") == KIND
                                               for entry in models.values())


def checked_hub(entries: Any, name: str) -> dict:
    """What the file of such a profile holds, ``notebooks`` always among it.

    Raises:
        ValueError: an entry that is missing, unknown, or of another type than it must be.
    """
    try:
        HubProfile.model_validate(entries)
    except ValidationError as error:
        keys, found, accepted = misfit(error)
        raise ValueError(f"profile {name!r}{f': {chr(46).join(keys)}' if keys else ''} {found}; "
                         f"accepted: {accepted}; the file is profiles/{name}.yml") from error
    for key in ("images", "captions"):
        relative_path(entries["dataset"][key], key)
    return {**entries, "notebooks": entries.get("notebooks") or {}}
