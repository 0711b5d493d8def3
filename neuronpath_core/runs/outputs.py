"""Outputs of executed notebooks put into ``notebooks/``, without what changes from run to run and
says nothing."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

from neuronpath_core.runs.chapter import Chapter
from neuronpath_core.runs.current import outputs_sha256
from neuronpath_core.runs.notebooks import KERNEL, Run
from neuronpath_core.support.files import write_atomically

if TYPE_CHECKING:
    from nbformat import NotebookNode

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
