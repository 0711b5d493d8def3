"""Notebooks of a run: which there are, whether parameters fit them, and their execution."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from neuronpath_core.runs.chapter import Chapter
from neuronpath_core.runs.choice import NotebookError, chosen_notebooks, notebook_names
from neuronpath_core.runs.current import Hashes, is_stored, record
from neuronpath_core.runs.parameters import (
    check_parameters,
    n_classes,
    own_parameters,
    parameter_checks,
    profile_parameters,
    quick_counts,
)
from neuronpath_core.study.profiles import DEFAULT_PROFILE, results_folder
from neuronpath_core.study.vlm_profiles import any_profile, is_vlm_profile
from neuronpath_core.support.files import (
    check_writable,
    kind_of_file,
    plain_errors,
    write_atomically,
)
from neuronpath_core.support.owners import own_folder
from neuronpath_core.support.text import one_line

ROOM_FOR_SOCKETS = len("/kernel-10")
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


class NotebookWarning(UserWarning):
    """What an earlier run left cannot be used."""


def stored_notebooks(root: Path) -> list[str]:
    """The notebooks beyond the paper's own whose stored outputs are those of this checkout."""
    hashes, chapters = Hashes(root), {name: Chapter.read(root, name)
                                      for name in notebook_names(root)}
    return [name for name, chapter in chapters.items() if not chapter.is_of_the_paper
            and is_stored(chapter, hashes.sha256(name, {}))]


@dataclass(frozen=True)
class Run:
    """One notebook of a run.

    Attributes:
        notebook, parameters: which, and with what.
        output: where its output goes.
        made_from: hash of what that would be made from, see :mod:`~neuronpath_core.runs.current`.
        after: the notebook whose path tables it uses.
        seconds: about what it takes on one core with its own parameters, as its metadata say; side
            by side the longest are begun first.
        device: that it computes on.
        tables: the folder of results that its tables go to: that of the profile which the notebook
            names itself, if it names another one than the run's and no folder was asked for;
            ``None``: the run's own.
        is_stored: whether the outputs in ``notebooks/`` are what it would find.
        is_of_the_paper: whether it is a section of the paper.
    """

    notebook: str
    parameters: dict[str, Any]
    output: Path
    made_from: str
    after: str | None = None
    seconds: float = 0.0
    device: str = "cpu"
    tables: Path | None = None
    is_stored: bool = False
    is_of_the_paper: bool = False

    @property
    def record(self) -> Path:
        """The file beside the output that says what it was made from."""
        return self.output.with_suffix(".made_from")

    @property
    def can_be_shown(self) -> bool:
        """Whether the stored outputs stand for an execution here: those of chapters beyond the
        paper's own do, if nothing that they are made from has changed since."""
        return self.is_stored and not self.is_of_the_paper

    @property
    def is_current(self) -> bool:
        """Whether the output exists and nothing that it depends on has changed since."""
        return self._is_of_it() and self.fault is None

    def _is_of_it(self) -> bool:
        if not (self.output.is_file() and self.record.is_file()):
            return False
        return self.record.read_bytes() == self.made_from.encode()

    @property
    def fault(self) -> str | None:
        """What is wrong with the output of an earlier run of the same, if anything is."""
        try:
            if self._is_of_it() and not isinstance(json.loads(self.output.read_bytes()), dict):
                return f"{self.output} is damaged (no mapping)"
        except (ValueError, OSError, RecursionError) as error:
            return f"{self.output} is damaged ({one_line(error, 80)})"
        return None

    def check_places(self) -> None:
        """Raise ``ValueError`` for a folder where one of its files would go."""
        for path in (self.output, self.record, self.output.with_suffix(".failed.ipynb")):
            if path.exists() and not path.is_file():
                raise ValueError(f"{path} is {kind_of_file(path)}; accepted: nothing there, or the "
                                 f"file of an earlier run")


def outputs_folder(results: Path, quick: bool = False) -> Path:
    """Where executed notebooks of a run with these results go."""
    return results / ("quick" if quick else "notebooks")


def plan(root: Path, profile: str, notebooks: list[str], overrides: Mapping[str, Any],
         results: Path, store: bool = False, quick: bool = False,
         is_asked: bool = True) -> list[Run]:
    """Everything that a run would do, validated before any work starts.

    A notebook gets the profile's parameters for it, those of a ``quick`` run, and then those
    overrides that it has; each override must have a taker. Outputs of a quick run have a folder of
    their own. Unless the folder of results was asked for (``is_asked``), a notebook that names a
    profile of its own keeps its tables with the results of that one, where every other command
    with this profile looks for them.

    Raises:
        ValueError: unknown profile, notebook or parameter, a value not accepted, outputs to be
            stored that are not those of the notebooks' own parameters, or an unwritable results
            folder.
    """
    chosen, runs = chosen_notebooks(root, profile, notebooks, bool(overrides) or quick, store), []
    entries = any_profile(profile, root)
    folder, classes = outputs_folder(results, quick), cache(partial(n_classes, root))
    checks, hashes = parameter_checks(root, entries), Hashes(root)
    known = {name: own_parameters(root, name) for name in chosen}
    for name in overrides:
        if not any(name in names for names in known.values()):
            offered = list(dict.fromkeys(parameter for names in known.values()
                                         for parameter in names))
            raise ValueError(f"no chosen notebook has a parameter {name!r}; accepted: "
                             f"{', '.join(offered)}")
    for notebook, names in known.items():
        parameters = profile_parameters(profile, entries, notebook, names)
        chapter = Chapter.read(root, notebook)
        of_each = chapter.notes.get("of_each", {})
        if quick:
            profiles = (names | parameters).get("profiles", [profile])
            parameters.update(quick_counts(names | parameters, of_each,
                                           max(map(classes, profiles))))
        parameters.update({name: value for name, value in overrides.items() if name in names})
        # its own values too: they need not fit another profile
        own = (names | parameters).get("profile")
        accepted = parameter_checks(root, any_profile(own, root)) if is_vlm_profile(
            own, root) else checks
        check_parameters(notebook, list(names), accepted,
                         {name: value for name, value in names.items() if name in accepted}
                         | parameters, chapter.notes.get("least_models", 1), of_each)
        made_from = hashes.sha256(notebook, parameters)
        runs.append(Run(notebook, parameters, folder / f"{notebook}.ipynb",
                        made_from, chapter.notes.get("after"),
                        float(chapter.notes.get("seconds", 0)),
                        (names | parameters).get("device", "cpu"),
                        None if is_asked or own in (None, profile) else results_folder(root, own),
                        profile == DEFAULT_PROFILE and is_stored(chapter, made_from),
                        chapter.is_of_the_paper))
    for each in dict.fromkeys([folder, *(run.tables for run in runs if run.tables)]):
        check_writable(each)
    for run in runs:
        run.check_places()
        if fault := run.fault:
            warnings.warn(f"{fault}; it is executed again", NotebookWarning, stacklevel=2)
    return runs


def execute(root: Path, run: Run, results: Path, through: Callable[..., None],
            progress: bool = True) -> None:
    """Run one notebook through papermill; its output appears only when it is whole.

    A failed notebook's cells are kept beside the outputs as ``<name>.failed.ipynb``; what an
    earlier run left stays.

    Args:
        root, results: folders of the study and of what it finds.
        run: of :func:`plan`.
        through: what executes it, with the arguments of
            :func:`~neuronpath_core.runs.papermill_process.through_papermill`.
        progress: show a bar of cells.

    Raises:
        NotebookError: a cell failed, or the kernel died.
        ValueError: the results folder cannot be written to, or the disk is full.
    """
    import papermill

    failed, begun = run.output.with_suffix(".failed.ipynb"), time.monotonic()

    def write(working: Path) -> None:
        try:
            with own_folder(ROOM_FOR_SOCKETS) as sockets:
                through(str(root / "notebooks" / f"{run.notebook}.ipynb"), str(working),
                        run.parameters, str(root / "notebooks"), KERNEL["name"], sockets,
                        run.notebook if progress else None)
        except papermill.PapermillExecutionError as error:
            os.replace(working, failed)
            # papermill puts the cell of overridden parameters after the notebook's own
            cell = error.cell_index + (0 if run.parameters else 1)
            said = " ".join(str(error.evalue).split())[:300]
            raise NotebookError(f"notebook {run.notebook}, cell {cell}: {error.ename}: {said}; "
                                f"see {failed}") from error
        except RuntimeError as error:  # the kernel died or could not start
            raise NotebookError(f"notebook {run.notebook}: {one_line(error)}") from error
        run.record.unlink(missing_ok=True)
        _keep_record(working, record(run.made_from, time.monotonic() - begun, run.device))

    with plain_errors(results):
        write_atomically(run.output, write)
        write_atomically(run.record, lambda path: path.write_text(run.made_from, encoding="utf-8"))
        failed.unlink(missing_ok=True)


def _keep_record(output: Path, executed: Mapping[str, Any]) -> None:
    content = json.loads(output.read_text(encoding="utf-8"))
    content["metadata"].setdefault("neuronpath", {})["executed"] = dict(executed)
    output.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
