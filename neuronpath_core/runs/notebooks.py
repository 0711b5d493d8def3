"""Notebooks: which there are, whether parameters fit them, their execution, and what a run leaves
that says nothing."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuronpath_core.runs.chapter import Chapter
from neuronpath_core.runs.choice import NotebookError, chosen_notebooks, notebook_names
from neuronpath_core.runs.current import Hashes, is_stored, outputs_sha256, record
from neuronpath_core.runs.parameters import (
    check_parameters,
    own_parameters,
    parameter_checks,
    profile_parameters,
)
from neuronpath_core.study.profiles import DEFAULT_PROFILE, load_profile
from neuronpath_core.support.files import (
    check_writable,
    folder_for_sockets,
    plain_errors,
    write_atomically,
)
from neuronpath_core.support.text import one_line

if TYPE_CHECKING:
    from nbformat import NotebookNode

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
RUN_METADATA = ("papermill", "execution", "ExecuteTime")


def normalise_notebook(nb: NotebookNode) -> NotebookNode:
    """Return a copy of ``nb`` whose metadata do not change from run to run, so that a diff shows
    results only.

    Removed: papermill's records and the timings of notebook and cells, empty tag lists, Python's
    version. Set: the kernel, to ``python3``. Sources, outputs, widget state and all other metadata
    stay as they are, in their order.
    """
    nb = deepcopy(nb)
    for metadata in (nb.metadata, *(cell.metadata for cell in nb.cells)):
        for key in RUN_METADATA:
            metadata.pop(key, None)
    for cell in nb.cells:
        if cell.metadata.get("tags") == []:  # papermill gives one to every cell
            del cell.metadata["tags"]
    nb.metadata["kernelspec"] = dict(KERNEL)
    nb.metadata.get("language_info", {}).pop("version", None)
    return nb


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
        there = self.output.is_file() and self.record.is_file()
        return there and self.record.read_text(encoding="utf-8") == self.made_from


def plan(root: Path, profile: str, notebooks: list[str], overrides: Mapping[str, Any],
         results: Path, store: bool = False) -> list[Run]:
    """Everything that a run would do, validated before any work starts.

    A notebook gets the profile's parameters for it and then those overrides that it has; each
    override must have a taker.

    Raises:
        ValueError: unknown profile, notebook or parameter, a value not accepted, outputs to be
            stored that are not those of the notebooks' own parameters, or an unwritable results
            folder.
    """
    chosen, runs = chosen_notebooks(root, profile, notebooks, bool(overrides), store), []
    entries = load_profile(profile, root)
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
        parameters.update({name: value for name, value in overrides.items() if name in names})
        chapter = Chapter.read(root, notebook)
        # its own values too: they need not fit another profile
        check_parameters(notebook, list(names), checks,
                         {name: value for name, value in names.items() if name in checks}
                         | parameters, chapter.notes.get("least_models", 1))
        made_from = hashes.sha256(notebook, parameters)
        runs.append(Run(notebook, parameters, results / "notebooks" / f"{notebook}.ipynb",
                        made_from, chapter.notes.get("after"),
                        float(chapter.notes.get("seconds", 0)),
                        (names | parameters).get("device", "cpu"),
                        profile == DEFAULT_PROFILE and is_stored(chapter, made_from),
                        chapter.is_of_the_paper))
    check_writable(results / "notebooks")
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
            with folder_for_sockets("np-", room=20) as sockets:
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


def with_outputs(source: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """The notebook ``source`` with the outputs of ``executed``, whose code is the same; its texts
    and the words below its figures may have been changed since.

    A cell with parameters of the run is put where papermill puts it.
    """
    nb, cells = deepcopy(source), []
    computed = [cell for cell in executed.cells if cell.cell_type == "code"]
    given = [cell for cell in computed if "injected-parameters" in cell.metadata.get("tags", [])]
    outputs = iter([cell for cell in computed if cell not in given])
    for cell in nb.cells:
        cells.append(cell)
        if cell.cell_type == "code":
            ran = next(outputs)
            cell.outputs, cell.execution_count = ran.outputs, ran.execution_count
            cells += given if "parameters" in cell.metadata.get("tags", []) else []
    nb.cells = cells
    for key in ("widgets", "language_info"):
        nb.metadata.pop(key, None)
        if key in executed.metadata:
            nb.metadata[key] = executed.metadata[key]
    if noted := executed.metadata.get("neuronpath", {}).get("executed"):
        nb.metadata.setdefault("neuronpath", {})["executed"] = noted
    return nb


def store_outputs(root: Path, run: Run) -> None:
    """Put the outputs of an executed notebook, without what changes from run to run, in place of
    those of the one it was made from, with the record of its execution."""
    import nbformat

    path = root / "notebooks" / f"{run.notebook}.ipynb"
    executed = nbformat.read(run.output, as_version=4)
    if any("injected-parameters" in cell.metadata.get("tags", []) for cell in executed.cells):
        raise ValueError(f"notebook {run.notebook} ran with other parameters than its own; "
                         f"accepted: a run with none")
    stored = normalise_notebook(with_outputs(nbformat.read(path, as_version=4), executed))
    if noted := stored.metadata.get("neuronpath", {}).get("executed"):
        # as they will be read: nbformat writes a text as a list of its lines
        written = Chapter(path, json.loads(nbformat.writes(stored)))
        noted["outputs"] = outputs_sha256(written.outputs)
        before = Chapter.read(root, run.notebook).notes.get("executed", {})
        if all(before.get(key) == noted[key] for key in ("sha256", "outputs")):
            stored.metadata["neuronpath"]["executed"] = before  # when and where they were found
    write_atomically(path, lambda file: nbformat.write(stored, file))
