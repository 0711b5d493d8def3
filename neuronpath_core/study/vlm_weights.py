"""Where the weights of a profile's vision-language models are, and what a run on them lacks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from neuronpath_core.study.hub_profiles import hub_problems
from neuronpath_core.study.hub_schema import is_hub
from neuronpath_core.study.vlm_profiles import load_vlm_profile, vlm_entries
from neuronpath_core.support.environment import WEIGHTS_VARIABLE
from neuronpath_core.support.files import own_path


def vlm_weights(spec: Mapping, root: Path) -> Path | None:
    """The file of a model's weights, in the folder that ``NEURONPATH_WEIGHTS`` names or in the
    study's; ``None`` where it is in neither, and for models of a hub, whose files transformers
    keeps."""
    if "weights" not in spec:
        return None
    named = os.environ.get(WEIGHTS_VARIABLE)
    folders = [own_path(named)] if named else []
    return next((path for folder in (*folders, root)
                 if (path := folder / spec["weights"]).is_file()), None)


def vlm_problems(name: str, root: Path) -> Iterator[str]:
    """What would stop chapters on a profile's models, one line each: no transformers, no weights of
    any model.  Of models whose weights are missing chapters say nothing, if there is one that has
    them."""
    profile = load_vlm_profile(name, root)
    if is_hub(profile):
        yield from hub_problems(profile)
        return
    if find_spec("transformers") is None:
        yield (f"profile {name} needs transformers, which is not installed; accepted: pip install "
               '"neuronpath-core[transformers]"')
    entries = vlm_entries(profile)
    if not any(vlm_weights(spec, root) for spec in entries.values()):
        yield no_weights(name, root)


def no_weights(name: str, root: Path) -> str:
    """One line: none of a profile's models has weights."""
    return (f"no model of profile {name} has weights in {root} or the folder that "
            f"{WEIGHTS_VARIABLE} names; accepted: files that 'make weights PROFILE={name}' trains")
