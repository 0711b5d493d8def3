"""Every stored notebook is fit to be read, compared and built, without running it.

With execution switched off, the book builds stored errors and unexecuted notebooks without a
warning: these checks are what finds them. Each rule has a notebook made up to break it, and a whole
notebook that no rule complains about.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from neuronpath_core.stats import claims

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LONGEST_CELL = 25
SECTIONS = ("## How it was measured", "## Limits")
VOLATILE = ("papermill", "execution", "ExecuteTime", "application/vnd.jupyter.widget-state+json")
DEFINITION = re.compile(r"^\s*(?:async\s+)?(?:def|class)\s", re.MULTILINE)
LOCAL_PATH = re.compile(r"""(?<![\w.-])/(?:home|root|work|tmp|Users)(?=[/\s"'`<>)\]},;:]|$)""")
EMBEDDED_IMAGE = re.compile(r"data:image/[\w.+-]+;base64,[A-Za-z0-9+/=\n]+")


# calls whose value is a table or a figure
SHOWS = re.compile(r"(captioned|shown|table|tables\.table|figures\.\w+|drawn\.\w+)\(")


def code_cells(nb: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    """Each code cell that has a source, with its place among all cells."""
    return ((i, cell) for i, cell in enumerate(nb.cells) if cell.cell_type == "code"
            and cell.source.strip())


def all_keys(metadata: Any) -> Iterator[str]:
    """The keys of nested metadata."""
    if isinstance(metadata, dict):
        for key, value in metadata.items():
            yield key
            yield from all_keys(value)


def texts(cell: NotebookNode) -> Iterator[str]:
    """What a reader sees of a cell as text: source, streams and outputs, without images."""
    yield cell.source
    for output in cell.get("outputs", []):
        yield output.get("text", "")
        for kind, content in output.get("data", {}).items():
            if not kind.endswith(("image/png", "image/jpeg")):
                yield EMBEDDED_IMAGE.sub("", content if isinstance(content, str)
                                         else json.dumps(content, ensure_ascii=False))


def check_execution(nb: NotebookNode) -> Iterator[str]:
    """Run from top to bottom in one go, without an error or a warning."""
    counts = [cell.execution_count for _, cell in code_cells(nb)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"execution counts must be 1 to {len(counts)} in order, found {counts}"
    for i, cell in code_cells(nb):
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"cell {i}: stores the error {output.ename}: {output.evalue}"
            if output.get("name") == "stderr":
                yield f"cell {i}: stores output on stderr: {output.text[:80]!r}"


def check_parameters(nb: NotebookNode) -> Iterator[str]:
    """One cell for papermill to override, and no trace that it did."""
    tags = [tag for cell in nb.cells for tag in cell.metadata.get("tags", [])]
    if tags.count("parameters") != 1:
        yield f"exactly one cell must be tagged 'parameters', found {tags.count('parameters')}"
    if "injected-parameters" in tags:
        yield "a cell is tagged 'injected-parameters': this is a run with other parameters, not the reference"


def check_metadata(nb: NotebookNode) -> Iterator[str]:
    """The kernel that every reader has, and nothing that another run would change."""
    kernel = nb.metadata.get("kernelspec", {}).get("name")
    if kernel != "python3":
        yield f"the kernel must be 'python3', found {kernel!r}"
    if "version" in nb.metadata.get("language_info", {}):
        yield "volatile metadata: language_info.version"
    holders = {"notebook": {key: value for key, value in nb.metadata.items() if key != "widgets"}}
    for i, cell in enumerate(nb.cells):
        holders[f"cell {i}"] = cell.metadata
        holders[f"cell {i}, outputs"] = {str(j): output.get("metadata") for j,
                                         output in enumerate(cell.get("outputs", []))}
    for place, metadata in holders.items():
        yield from (f"{place}: volatile metadata: {key}" for key in all_keys(metadata)
                    if key in VOLATILE)


def check_figures(nb: NotebookNode) -> Iterator[str]:
    """A figure says in words what it shows."""
    for i, cell in code_cells(nb):
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt")
        shows_figure = any("image/png" in output.get("data", {}) for output in cell.outputs)
        if shows_figure and not (isinstance(alt, str) and alt.strip()):
            yield f"cell {i}: a figure without alt text; its metadata need mystnb: {{image: {{alt: …}}}}"


def check_claims(nb: NotebookNode) -> Iterator[str]:
    """What is glued on a page is looked up by cell, and Sphinx stumbles over claims beside it."""
    for i, cell in code_cells(nb):
        is_glued = any("scrapbook" in output.get("metadata", {}) for output in cell.outputs)
        if is_glued and any(claims.MIME in output.get("data", {}) for output in cell.outputs):
            yield f"cell {i}: claims and glued values; accepted: a cell for each"


def check_form(nb: NotebookNode) -> Iterator[str]:
    """A chapter answers its question first, says how it measured and what limits it; its tables
    have captions and its figures findings."""
    first = nb.cells[0].source if nb.cells else ""
    if "np-answer" not in first or "{glue:text}" not in first:
        yield "cell 0: a chapter begins with its question and a glued answer (class np-answer)"
    headings = [line for cell in nb.cells if cell.cell_type == "markdown"
                for line in cell.source.splitlines()]
    yield from (f"a chapter has a section '{wanted}'" for wanted in SECTIONS
                if wanted not in headings)
    for i, cell in code_cells(nb):
        for output in cell.outputs:
            data = output.get("data", {})
            if 'class="dataframe"' in data.get("text/html", "") and "text/csv" not in data:
                yield f"cell {i}: a table without a caption; accepted: neuronpath_core.stats.tables"
            for header in re.findall(r"<th scope=\"col[^>]*>([^<]*_[^<]*)</th>",
                                     data.get("text/html", "")):
                yield f"cell {i}: a table's header {header!r}; accepted: words"
            if "image/png" in data:
                yield from (f"cell {i}: {fault}" for fault in svg_faults(
                    data.get("image/svg+xml", "")))


def svg_faults(svg: str) -> Iterator[str]:
    """What keeps a figure from being read on a page 672 pixels wide."""
    width = re.search(r'width="([\d.]+)pt"', svg)
    if not width:
        yield "a figure without an SVG; accepted: what neuronpath_core.figures draws"
        return
    if float(width[1]) > 504:
        yield f"a figure {float(width[1]) / 0.75:.0f} pixels wide, at most 672 are allowed"
    if "<title>" not in svg.split("<g ")[0]:
        yield "a figure without a finding as its title"
    if (panels := int(re.search(r'data-panels="(\d+)"', svg)[1])) > 6:
        yield f"a figure of {panels} panels, at most 6 are allowed"
    sizes = [float(size) for size in re.findall(r"font(?:-size)?: [^;]*?([\d.]+)px", svg)]
    if sizes and min(sizes) < 7.5:
        yield f"letters of {min(sizes) / 0.75:.1f} pixels, at least 10 are readable"


def check_sources(nb: NotebookNode) -> Iterator[str]:
    """Notebooks call the library, they do not extend it; and they run in any folder."""
    for i, cell in code_cells(nb):
        lines = len(cell.source.strip().splitlines())
        if lines > LONGEST_CELL:
            yield f"cell {i}: {lines} lines of code, at most {LONGEST_CELL} are allowed"
        if found := DEFINITION.search(cell.source):
            yield f"cell {i}: {found[0].split()[-1]!r} belongs into the library, not into a notebook"
        for statement in ast.parse(cell.source).body[:-1] if not found else ():
            if isinstance(statement, ast.Expr) and SHOWS.match(shown := ast.unparse(statement)):
                yield (f"cell {i}: {shown.partition('(')[0]}(...) is not the cell's last line, and "
                       "only that is on the page")
    for i, cell in enumerate(nb.cells):
        for text in texts(cell):
            if found := LOCAL_PATH.search(text):
                yield f"cell {i}: a path of one machine: {text[found.start() : found.start() + 40]!r}"


CHECKS: tuple[Callable[[NotebookNode], Iterator[str]], ...] = (
    check_execution, check_parameters, check_metadata, check_figures, check_claims, check_form,
    check_sources,
)


def check_notebook(path: Path) -> list[str]:
    """Everything that is wrong with a stored notebook, one line each; empty if nothing is."""
    try:
        with warnings.catch_warnings():
            # nbformat only warns of cells without an identifier, and repairs them
            warnings.simplefilter("error")
            nbformat.validate(json.loads(path.read_text(encoding="utf-8")))
            nb = nbformat.read(path, as_version=4)
    except (nbformat.ValidationError, ValueError, Warning) as error:
        return [f"not a valid notebook: {str(error).strip().splitlines()[0]}"]
    return [complaint for check in CHECKS for complaint in check(nb)]


def test_all_sections_are_there():
    numbers = [path.name.split("_")[0] for path in NOTEBOOKS]
    assert len(numbers) >= 7
    assert numbers == [f"{i:02d}" for i in range(1, len(numbers) + 1)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_notebook(path):
    assert check_notebook(path) == []


SVG = ('<svg width="504pt" data-panels="1"><title>It holds</title><g id="figure_1">'
       '<text style="font-size: 8px">a</text></g></svg>')


def sound() -> NotebookNode:
    """A notebook with everything that is allowed."""
    figure = new_output("display_data",
                        {"image/png": "aGk=+/tmp/", "image/svg+xml": SVG,
                         "text/plain": "<Figure size 640x480 with 1 Axes>"})
    widget_view = {"application/vnd.jupyter.widget-view+json": {"model_id": "0"}}
    html = '<a href="https://example.org/home">a</a> <img alt="b" src="data:image/png;base64,/tmp/aGk=">'
    cells = [
        new_markdown_cell(":::{admonition} Is it?\n:class: np-answer\n{glue:text}`x:s`\n:::\n"
                          "## How it was measured\nThe def of a class for work/home, see "
                          "https://example.org/tmp/x\n## Limits"),
        new_code_cell("steps = 20", execution_count=1, metadata={"tags": ["parameters"]}),
        new_code_cell("'the def of a class'", execution_count=2,
                      outputs=[new_output("stream", name="stdout", text="0.5\n")]),
        new_code_cell("  \n"),
        new_code_cell("plot", execution_count=3, outputs=[figure],
                      metadata={"mystnb": {"image": {"alt": "A falling line."}}}),
        new_code_cell("x = 1\n" * LONGEST_CELL, execution_count=4,
                      outputs=[new_output("display_data", widget_view | {"text/html": html})]),
        new_code_cell("glue", execution_count=5,
                      outputs=[new_output("display_data", metadata={"scrapbook": {"name": "x"}})]),
    ]
    state = {"application/vnd.jupyter.widget-state+json": {"state": {"0": {}}}}
    kernel = {"name": "python3", "display_name": "Python 3"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel,
                                               "language_info": {"name": "python"},
                                               "widgets": state})


def show(text: str) -> Callable[[NotebookNode], None]:
    """Let the stream of cell 2 say ``text``."""
    return lambda nb: nb.cells[2].outputs[0].update(text=text)


def redrawn(part: str, other: str) -> Callable[[NotebookNode], None]:
    """Put something else in the place of a part of cell 4's SVG."""
    def change(nb: NotebookNode) -> None:
        data = nb.cells[4].outputs[0].data
        data["image/svg+xml"] = data["image/svg+xml"].replace(part, other)
    return change


FAULTS: dict[str, tuple[Callable[[NotebookNode], Any], str]] = {
    "no identifier": (lambda nb: nb.cells[0].pop("id"), "not a valid notebook"),
    "the same identifier twice": (lambda nb: nb.cells[0].update(id=nb.cells[1].id),
                                  "not a valid notebook"),
    "no outputs": (lambda nb: nb.cells[1].pop("outputs"), "not a valid notebook"),
    "never executed": (lambda nb: nb.cells[2].update(execution_count=None, outputs=[]),
                       "found [1, None, 3, 4, 5]"),
    "executed twice": (lambda nb: nb.cells[2].update(execution_count=6), "found [1, 6, 3, 4, 5]"),
    "out of order": (lambda nb: nb.cells.insert(1, nb.cells.pop(2)), "found [2, 1, 3, 4, 5]"),
    "an error": (
        lambda nb: nb.cells[2].outputs.append(new_output("error", ename="KeyError", evalue="'a'",
                                                         traceback=[])),
        "cell 2: stores the error KeyError: 'a'",
    ),
    "a warning": (lambda nb: nb.cells[2].outputs[0].update(name="stderr"),
                  "cell 2: stores output on stderr: '0.5"),
    "no parameters": (lambda nb: nb.cells[1].metadata.pop("tags"), "found 0"),
    "parameters twice": (lambda nb: nb.cells[2].metadata.update(tags=["parameters"]), "found 2"),
    "injected parameters": (lambda nb: nb.cells[2].metadata.update(tags=["injected-parameters"]),
                            "injected-parameters"),
    "another kernel": (lambda nb: nb.metadata.kernelspec.update(name="venv"), "found 'venv'"),
    "no kernel": (lambda nb: nb.metadata.pop("kernelspec"), "found None"),
    "Python's version": (lambda nb: nb.metadata.language_info.update(version="3.11.9"),
                         "language_info.version"),
    "papermill's record": (lambda nb: nb.metadata.update(papermill={"duration": 1}),
                           "notebook: volatile metadata: papermill"),
    "papermill's record of a cell": (lambda nb: nb.cells[0].metadata.update(papermill={}),
                                     "cell 0: volatile metadata"),
    "timings": (lambda nb: nb.cells[1].metadata.update(execution={"iopub.status.idle": "2024"}),
                "cell 1: volatile metadata"),
    "widget state in a cell": (
        lambda nb: nb.cells[1].metadata.update(widgets={VOLATILE[-1]: {}}),
        "cell 1: volatile metadata: application/vnd"
    ),
    "a record in an output": (
        lambda nb: nb.cells[4].outputs[0].metadata.update(papermill={}),
        "cell 4, outputs: volatile metadata: papermill"
    ),
    "claims beside what is glued": (
        lambda nb: nb.cells[6].outputs.append(new_output("display_data", {claims.MIME: {}})),
        "cell 6: claims and glued values"),
    "no alt text": (lambda nb: nb.cells[4].metadata.mystnb.pop("image"),
                    "cell 4: a figure without alt text"),
    "empty alt text": (lambda nb: nb.cells[4].metadata.mystnb.image.update(alt=" "),
                       "cell 4: a figure without alt text"),
    "no answer": (lambda nb: nb.cells[0].update(source="## How it was measured\n## Limits"),
                  "cell 0: a chapter begins with its question"),
    "no limits": (lambda nb: nb.cells[0].update(source=nb.cells[0].source.replace("Limits", "End")),
                  "'## Limits'"),
    "a bare table": (lambda nb: nb.cells[5].outputs[0].data.update(
        {"text/html": '<table class="dataframe">'}), "cell 5: a table without a caption"),
    "a variable's name as header": (lambda nb: nb.cells[5].outputs[0].data.update(
        {"text/html": '<th scope="col" colspan="1">own_share</th>'}),
        "cell 5: a table's header 'own_share'"),
    "no SVG": (lambda nb: nb.cells[4].outputs[0].data.pop("image/svg+xml"),
               "cell 4: a figure without an SVG"),
    "a wide figure": (redrawn('"504pt"', '"600pt"'), "cell 4: a figure 800 pixels wide"),
    "no finding": (redrawn("<title>It holds</title>", ""), "cell 4: a figure without a finding"),
    "many panels": (redrawn('panels="1"', 'panels="8"'), "cell 4: a figure of 8 panels"),
    "small letters": (redrawn("font-size: 8px", "font-size: 6px"), "cell 4: letters of 8.0 pixels"),
    "a long cell": (lambda nb: nb.cells[5].update(source="x = 1\n" * (LONGEST_CELL + 1)),
                    f"cell 5: {LONGEST_CELL + 1} lines of code"),
    "a table that nobody sees": (
        lambda nb: nb.cells[5].update(source='tables.table(x, "its caption")\nx = 1'),
        "cell 5: tables.table(...) is not the cell's last line"),
    "a function": (lambda nb: nb.cells[5].update(source="x = 1\n\ndef score(x):\n    return x"),
                   "cell 5: 'def' belongs"),
    "a coroutine": (lambda nb: nb.cells[5].update(source="if x:\n    async def score(x): ..."),
                    "cell 5: 'def' belongs"),
    "a class": (lambda nb: nb.cells[5].update(source="class Score:\n    x = 1"),
                "cell 5: 'class' belongs"),
    "a path in the code": (lambda nb: nb.cells[5].update(source='open("/home/me/x.csv")'),
                           "cell 5: a path of one machine"),
    "a path in the words": (lambda nb: nb.cells[0].update(
        source=nb.cells[0].source + "\nsee file:///root/x"),
                            "cell 0: a path of one machine"),
    "a printed path": (show("saved to\n/tmp/x.csv"), "cell 2: a path of one machine: '/tmp/x.csv'"),
    "a printed folder": (show("in /work"), "cell 2: a path of one machine: '/work'"),
    "a path in HTML": (lambda nb: nb.cells[5].outputs[0].data.update(
    {"text/html": '<a href="/work/x">'}), "cell 5: a path"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_the_only_complaint(tmp_path, name):
    change, message = FAULTS[name]
    nb = sound()
    change(nb)
    path = tmp_path / "01_planted.ipynb"
    path.write_text(json.dumps(nb), encoding="utf-8")  # as it is: nbformat would repair it
    (complaint,) = check_notebook(path)
    assert message in complaint


def test_sound_notebook_gives_no_complaint(tmp_path):
    nb = sound()
    nbformat.write(deepcopy(nb), tmp_path / "01_sound.ipynb")
    assert check_notebook(tmp_path / "01_sound.ipynb") == []


def test_file_that_is_no_notebook(tmp_path):
    (tmp_path / "01_text.ipynb").write_text("text")
    (complaint,) = check_notebook(tmp_path / "01_text.ipynb")
    assert complaint.startswith("not a valid notebook")
