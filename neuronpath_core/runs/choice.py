"""Which notebooks a run executes, decided from their names and the profile alone.

The module loads neither torch nor pandas, so that the command refuses an unknown notebook at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from neuronpath_core.study.hub_schema import is_hub
from neuronpath_core.study.profiles import DEFAULT_PROFILE, strange_profiles
from neuronpath_core.study.vlm_profiles import any_profile
from neuronpath_core.support.files import kind_of_file
from neuronpath_core.support.typed import listed, nearest

CHAPTER = r"[0-9]+_\w+"  # and not a copy of one, 01_name-Copy1


class NotebookError(RuntimeError):
    """A notebook failed while it ran; the message names notebook, cell and error in one line."""


def notebook_names(root: Path) -> list[str]:
    """The study's notebooks, in reading order: the regular files ``notebooks/01_name.ipynb``."""
    return [path.stem for path in sorted((root / "notebooks").glob("[0-9]*.ipynb"))
            if re.fullmatch(CHAPTER, path.stem) and path.is_file()]


def strays(root: Path) -> str | None:
    """One line about what could be meant as a profile or a notebook and is passed over; ``None``
    where there is nothing of the kind."""
    names = set(notebook_names(root))
    notebooks = [f"{ascii(path.name)[1:-1]} ({kind_of_file(path)})" for path
                 in sorted((root / "notebooks").glob("[0-9]*.ipynb")) if path.stem not in names]
    told = [f"{len(found)} in {folder}/: {listed(found)}" for folder, found
            in (("profiles", strange_profiles(root)), ("notebooks", notebooks)) if found]
    return (f"passed over {'; '.join(told)}; accepted: files called profiles/NAME.yml and "
            f"notebooks/01_NAME.ipynb") if told else None


def resolve_notebooks(root: Path, wanted: list[str]) -> list[str]:
    """Notebook names for what was typed: a number (``02``), a name, a file name or a path; all of
    them for nothing.

    Raises:
        ValueError: something typed matches no notebook, or several.
    """
    known, chosen = notebook_names(root), []
    for text in wanted:
        stem = Path(text).stem
        matches = [name for name in known if name == stem] or [name for name in known
                                                               if name.split("_")[0]
                                                               == stem.zfill(2)]
        if len(matches) != 1:
            raise ValueError(f"unknown notebook {text!r}; accepted: {', '.join(known)}")
        chosen += matches
    return list(dict.fromkeys(chosen)) or known


def not_run(root: Path, entries: Mapping) -> dict[str, str]:
    """Notebooks that a profile lacks something for, each with what it lacks.

    Raises:
        ValueError: the profile's ``not_run`` is no mapping from notebooks to texts.
    """
    lacking = entries.get("not_run") or {}
    known = notebook_names(root)
    if not isinstance(lacking, Mapping) or any(name not in known or not isinstance(reason, str)
                                               for name, reason in lacking.items()):
        raise ValueError(f"not_run of a profile cannot be {lacking!r}; accepted: a mapping from "
                         f"notebooks ({', '.join(known)}) to what they lack")
    return dict(lacking)


def chosen_notebooks(root: Path, profile: str, notebooks: list[str], overridden: bool = False,
                     store: bool = False) -> list[str]:
    """The notebooks that a run with this profile executes, of those that were typed or of all.

    Raises:
        ValueError: unknown profile or notebook, parameters of a profile for an unknown notebook, a
            notebook that the profile lacks something for, or outputs to be stored that are not
            those of the notebooks' own parameters.
    """
    entries, known = any_profile(profile, root), notebook_names(root)
    if is_hub(entries):
        raise ValueError(f"profile {profile!r} is of published models, which no chapter measures; "
                         f"accepted: neuronpath types --profile {profile}")
    if unknown := set(entries["notebooks"]) - set(known):
        near = nearest(sorted(unknown)[0], known)
        raise ValueError(f"profile {profile!r} has parameters for unknown notebooks "
                         f"{listed(sorted(unknown))}{f', nearest is {near}' if near else ''}; "
                         f"accepted: {', '.join(known)}")
    if store and (overridden or profile != DEFAULT_PROFILE):
        raise ValueError(f"only outputs of the notebooks' own parameters can be stored; accepted: "
                         f"--store with profile {DEFAULT_PROFILE} and no -p")
    lacking = not_run(root, entries)
    chosen = resolve_notebooks(root, notebooks)
    if notebooks and (refused := [name for name in chosen if name in lacking]):
        raise ValueError(f"notebook {refused[0]} cannot be run with profile {profile!r}: "
                         f"{lacking[refused[0]]}; accepted: "
                         + ", ".join(name for name in known if name not in lacking))
    return [name for name in chosen if name not in lacking]
