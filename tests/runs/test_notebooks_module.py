"""Tests of ``neuronpath_core.runs.notebooks``."""

from copy import deepcopy

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from neuronpath_core.runs.outputs import normalise_notebook

WIDGETS = {"application/vnd.jupyter.widget-state+json": {"state": {"3f": {}}, "version_major": 2,
                                                         "version_minor": 0}}


def clean():
    """A notebook as it should be stored."""
    display = new_output("display_data", {"text/plain": "0.5"},
                         metadata={"scrapbook": {"name": "accuracy"}})
    cells = [
        new_markdown_cell("Text", id="a", metadata={"editable": True}),
        new_code_cell("steps = 20", id="b", execution_count=1, metadata={"tags": ["parameters"]}),
        new_code_cell("steps", id="c", execution_count=2, metadata={"nbval_tolerance": {"rms": 4}},
                      outputs=[display]),
    ]
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "file_extension": ".py"},
        "widgets": WIDGETS,
    }
    return new_notebook(cells=cells, metadata=metadata)


def as_run():
    """The same notebook as papermill and nbclient leave it."""
    nb = clean()
    nb.metadata.papermill = {"duration": 1.25, "input_path": "here.ipynb"}
    nb.metadata.kernelspec = {"display_name": "venv", "language": "python", "name": "venv"}
    nb.metadata.language_info.version = "3.11.9"
    for cell in nb.cells:
        cell.metadata.papermill = {"duration": 0.5, "status": "completed"}
        cell.metadata.execution = {"iopub.execute_input": "2024-01-01T00:00:00Z"}
        cell.metadata.setdefault("tags", [])
    nb.cells[1].metadata.ExecuteTime = {"start_time": "2024-01-01"}
    return nbformat.from_dict(nb)


def test_a_run_leaves_no_trace_in_the_metadata():
    assert normalise_notebook(as_run()) == clean()


def test_result_is_a_valid_notebook_that_stays_the_same_when_normalised_again():
    once = normalise_notebook(as_run())
    nbformat.validate(once)
    assert nbformat.writes(normalise_notebook(once)) == nbformat.writes(once) == nbformat.writes(
        clean())


def test_the_argument_is_not_changed():
    nb = as_run()
    before = deepcopy(nb)
    normalise_notebook(nb)
    assert nb == before


@pytest.mark.parametrize("missing", ["kernelspec", "language_info", "widgets"])
def test_missing_metadata_are_no_error(missing):
    nb = as_run()
    del nb.metadata[missing]
    assert normalise_notebook(nb).metadata.kernelspec.name == "python3"
