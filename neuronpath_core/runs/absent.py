"""Chapters about images that are not part of this study, and are not at hand: left out of a run of
all chapters and of the tests, with a line that says where to get them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from neuronpath_core.images.data_sets import load_part
from neuronpath_core.images.declared import record_file
from neuronpath_core.runs.chapter import Chapter
from neuronpath_core.runs.parameters import own_parameters
from neuronpath_core.study.vlm_profiles import any_profile
from neuronpath_core.support.text import one_line


def absent_images(root: Path, notebook: str, parameters: Mapping[str, Any] | None = None,
                  profile: str | None = None) -> str | None:
    """What a chapter lacks, in a line that says where to get it; ``None`` if its images are at
    hand.

    Only images whose digests are declared (:mod:`~neuronpath_core.images.declared`) may be absent:
    what stored outputs were made from is known without them.

    Args:
        root: the study's folder.
        notebook, parameters: the chapter, and the values beside its own.
        profile: of the run; its images are never absent, since they were asked for.
    """
    values = own_parameters(root, notebook) | dict(parameters or {})
    if not Chapter.read(root, notebook).reads_profile:
        return None
    for name in dict.fromkeys([values.get("profile"), *(values.get("profiles") or ())]):
        if name is None or name == profile:
            continue
        dataset = any_profile(name, root)["dataset"]
        if record_file(dataset, root) is None:
            continue
        try:
            load_part(dataset, "held_out", base=root)
        except ValueError as error:
            said = one_line(error, 100)
            return f"{obtain} ({said})" if (obtain := dataset.get("obtain")) else said
    return None


def all_absent(root: Path, notebooks: Iterable[str]) -> dict[str, str]:
    """The chapters whose images are not at hand, each with :func:`absent_images`."""
    found = {name: absent_images(root, name) for name in notebooks}
    return {name: reason for name, reason in found.items() if reason}


def told(notebook: str, reason: str) -> str:
    """The line that says that a chapter is left out."""
    return f"{notebook}: NOT executed, its images are not at hand: {reason}"
