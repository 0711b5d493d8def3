"""Notebooks: which there are, whether parameters fit them, their execution, and what a run leaves
that says nothing."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuronpath_core.runs.choice import NotebookError, chosen_notebooks
from neuronpath_core.runs.inputs import inputs_sha256
from neuronpath_core.runs.parameters import (
    check_parameters,
    own_parameters,
    parameter_checks,
    profile_parameters,
)
from neuronpath_core.study.profiles import load_profile
from neuronpath_core.support.files import check_writable, plain_errors, write_atomically
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


def after(notebook: Path) -> str | None:
    """The notebook whose path tables this one uses, which its metadata name: side by side with it,
    it would only wait."""
    return _noted(notebook).get("after")


def seconds(notebook: Path) -> float:
    """About what the notebook takes on one core with its own parameters, as its metadata say;
    nothing where they do not."""
    return float(_noted(notebook).get("seconds", 0))


def _noted(notebook: Path) -> dict:
    """What a notebook's metadata say for :mod:`~neuronpath_core.runs.executions`."""
    return json.loads(notebook.read_text())["metadata"].get("neuronpath", {})


@dataclass(frozen=True)
class Run:
    """One notebook of a run.

    Attributes:
        notebook, parameters: which, and with what.
        output: where its output goes.
        made_from: digest of what that would be made from.
        after: the notebook whose path tables it uses.
        seconds: about what it takes on one core with its own parameters, as its metadata say; side
            by side the longest are begun first.
    """

    notebook: str
    parameters: dict[str, Any]
    output: Path
    made_from: str
    after: str | None = None
    seconds: float = 0.0

    @property
    def record(self) -> Path:
        """The file beside the output that says what it was made from."""
        return self.output.with_suffix(".made_from")

    @property
    def is_current(self) -> bool:
        """Whether the output exists and nothing that it depends on has changed since."""
        there = self.output.is_file() and self.record.is_file()
        return there and self.record.read_text() == self.made_from


def _digest(root: Path, notebook: Path, profile: str, parameters: Mapping[str, Any],
            inputs: str) -> str:
    digest = hashlib.sha256(json.dumps([profile, dict(parameters), inputs],
                                       sort_keys=True).encode())
    # all profiles: a notebook may take more than the one that it is run with
    sources = [*sorted((root / "profiles").glob("*.yml")), *sorted((root / "data").rglob("*.csv")),
               *sorted((root / "data").rglob("*.json")),
               *sorted((root / "benchmarks").glob("*.json")),
               *sorted((root / "neuronpath_core").rglob("*.py"))]
    for path in sources:
        digest.update(path.read_bytes())
    cells = json.loads(notebook.read_text())["cells"]
    digest.update(json.dumps([cell["source"] for cell in cells]).encode())
    return digest.hexdigest()


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
    checks, inputs = parameter_checks(root, entries), inputs_sha256(root, entries)
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
        # its own values too: they need not fit another profile
        check_parameters(notebook, list(names), checks,
                         {name: value for name, value in names.items() if name in checks}
                         | parameters)
        made_from = _digest(root, root / "notebooks" / f"{notebook}.ipynb", profile, parameters,
                            inputs)
        file = f"{notebook}.ipynb"
        runs.append(Run(notebook, parameters, results / "notebooks" / file, made_from,
                        after(root / "notebooks" / file), seconds(root / "notebooks" / file)))
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

    failed = run.output.with_suffix(".failed.ipynb")

    def write(working: Path) -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="np-") as sockets:
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

    with plain_errors(results):
        write_atomically(run.output, write)
        write_atomically(run.record, lambda path: path.write_text(run.made_from))
        failed.unlink(missing_ok=True)


def store_outputs(root: Path, run: Run) -> None:
    """Put an executed notebook, without what changes from run to run, in place of the one it was
    made from."""
    import nbformat

    executed = normalise_notebook(nbformat.read(run.output, as_version=4))
    if any("injected-parameters" in cell.metadata.get("tags", []) for cell in executed.cells):
        raise ValueError(f"notebook {run.notebook} ran with other parameters than its own; "
                         f"accepted: a run with none")
    write_atomically(root / "notebooks" / f"{run.notebook}.ipynb",
                     lambda path: nbformat.write(executed, path))
