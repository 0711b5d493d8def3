"""Tests of the nbval plugin: a table of planted faults, each in the stored outputs of one cell, and
the comparisons alone.

The faults share one notebook, so that the whole table costs one execution and one run of
``pytest --nbval``: every fault has its own copy of the cell that it spoils. The same notebook
without faults, and with the faults but without the plugin, run along as controls.
"""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from base64 import b64decode, b64encode
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image, ImageDraw, PngImagePlugin

from tests.nbval_tolerance import (
    Tolerance,
    compare_images,
    compare_outputs,
    compare_text,
    compare_words,
)

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.xdist_group("nbval")  # the faults below are run once

SETUP = """\
%matplotlib inline
import io, sys, uuid
from base64 import b64encode
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML, display
from myst_nb import glue"""

# Every number is printed with at least four digits, so that 1 % of it is more than a unit of the
# last one.
SOURCES = {
    "floats": "print(f'accuracy {0.87654:.4f}, error {12.34:.2f} %, loss {1.5678e-3:.3e}, {1797} "
              "images')",
    "table": "pd.DataFrame({'model': ['patch2', 'patch4'], 'score': [0.51234, 0.62345], 'count': "
             "[12, 34]})",
    "figure": "fig, ax = plt.subplots(figsize=(2, 1.5))\nax.plot([0, 1, 3])\nplt.show()",
    "html figure": (
        "fig, ax = plt.subplots(figsize=(2, 1.5))\nax.plot([0, 1, 3])\nimage = "
        "io.BytesIO()\nfig.savefig(image)\nplt.close()\n"
        "HTML(f'<img alt=\"A line\" "
        "src=\"data:image/png;base64,{b64encode(image.getvalue()).decode()}\">')"
    ),
    "glue": "glue('accuracy', f'{0.87654:.4f}', display=False)",
    "glued figure": "fig, ax = plt.subplots(figsize=(2, 1.5))\nax.plot([0, 1, "
                    "3])\nplt.close()\nglue('line', fig, display=False)",
    "widget": (
        "display({'application/vnd.jupyter.widget-view+json': {'model_id': uuid.uuid4().hex, "
        "'version_major': 2,\n"
        "         'version_minor': 0}, 'text/html': '<b>depth 0.5000</b>'}, raw=True)"
    ),
    "two streams": "print('ready')\nprint('careful', file=sys.stderr)",
    "error": "raise ValueError('3 blocks, expected 4')",
}

Alteration = Callable[[NotebookNode], None]


def nothing(cell: NotebookNode) -> None:
    """The control: the cell stays as it was executed."""


def rewrite(change: Callable[[str, str], str]) -> Alteration:
    """Apply ``change(kind, text)`` to every output of the cell; at least one must become another.
    """

    def alter(cell: NotebookNode) -> None:
        before = deepcopy(cell.outputs)
        for output in cell.outputs:
            for holder in (output, output.get("data", {}),
                           output.get("metadata", {}).get("scrapbook", {})):
                for kind in holder:
                    if isinstance(holder[kind], str) and kind != "output_type":
                        holder[kind] = change(kind, holder[kind])
        assert cell.outputs != before, "the fault changes nothing"

    return alter


def replace(old: str, new: str, where: str = "") -> Alteration:
    """Put ``new`` for ``old`` in those outputs whose kind ends in ``where``."""
    return rewrite(lambda kind, text: text.replace(old, new) if kind.endswith(where) else text)


def without(kind: str) -> Alteration:
    """Take the outputs away that are of this kind, or this kind of view away from its output."""

    def alter(cell: NotebookNode) -> None:
        before = deepcopy(cell.outputs)
        cell.outputs = [output for output in cell.outputs if output.get("name") != kind]
        for output in cell.outputs:
            output.get("data", {}).pop(kind, None)
        assert cell.outputs != before, "the fault changes nothing"

    return alter


def with_more(**settings: str) -> Alteration:
    """Add an output after the last one."""
    return lambda cell: cell.outputs.append(new_output(**settings))


def cleared(cell: NotebookNode) -> None:
    """Outputs cleared by hand: the cell still says that it ran."""
    cell.outputs = []


def never_executed(cell: NotebookNode) -> None:
    """As saved by an editor before the first run."""
    cell.outputs, cell.execution_count = [], None


def without_last_row(cell: NotebookNode) -> None:
    """The table's last row is missing in the HTML that a reader sees; its numbers are elsewhere as
    before."""
    html = cell.outputs[0].data["text/html"]
    start = html.rindex("<tr>")
    cell.outputs[0].data["text/html"] = html[:start] + html[html.index("</tr>", start)
                                                            + len("</tr>") :]


def png(change: Callable[[Image.Image], Image.Image], **save: object) -> Callable[[str], str]:
    """A function that decodes a base64 PNG, changes the picture and encodes it again."""

    def rewritten(encoded: str) -> str:
        image, stream = Image.open(BytesIO(b64decode(encoded))), BytesIO()
        change(image).save(stream, format="PNG", **save)
        return b64encode(stream.getvalue()).decode()

    return rewritten


def bent(image: Image.Image) -> Image.Image:
    """A short stroke more than there was."""
    image = image.copy()
    ImageDraw.Draw(image).line((60, 60, 90, 70), fill="black")
    return image


def in_images(change: Callable[[str], str]) -> Alteration:
    """Apply ``change`` to the images of the cell, also those inside HTML."""
    mark = "data:image/png;base64,"

    def rewritten(kind: str, text: str) -> str:
        if kind.endswith("image/png"):
            return change(text)
        if kind == "text/html" and mark in text:
            before, encoded = text.split(mark)
            encoded, quote, after = encoded.partition('"')
            return before + mark + change(encoded) + quote + after
        return text

    return rewrite(rewritten)


NOTES = PngImagePlugin.PngInfo()
NOTES.add_text("Software", "another version")
other_metadata = in_images(png(lambda image: image, pnginfo=NOTES, dpi=(72, 72), compress_level=1))
altered_figure = in_images(png(bent))
smaller_figure = in_images(png(lambda image: image.crop((0, 0, image.width - 1, image.height))))


@dataclass(frozen=True)
class Fault:
    """What is done to the stored cell, and words of the message that the run must then give;
    without words, it passes."""

    source: str
    alter: Alteration
    message: str = ""
    tolerance: dict | None = None


FAULTS = {
    **{f"unchanged {source}": Fault(source, nothing) for source in SOURCES},
    "last digit of a float": Fault("floats", replace("0.8765", "0.8766")),
    "last digit of a percentage": Fault("floats", replace("12.34 %", "12.35 %")),
    "last digit of an exponential": Fault("floats", replace("1.568e-03", "1.569e-03")),
    "1 % of a float": Fault("floats", replace("0.8765", "0.8853"),
                            "number 1: expected 0.8853, found 0.8765"),
    "1 % of an exponential": Fault("floats", replace("1.568e-03", "1.584e-03"),
                                   "number 3: expected 1.584e-03"),
    "1 % of a float, with room": Fault("floats", replace("0.8765", "0.8853"),
                                       tolerance={"relative": 0.02}),
    "2 % of a float, with too little room": Fault(
        "floats", replace("0.8765", "0.8941"), "number 1: expected 0.8941, found 0.8765",
        tolerance={"relative": 0.01}
    ),
    "misspelt room": Fault("floats", nothing, "nbval_tolerance accepts the keys",
                           tolerance={"absolute": 1}),
    "an exponent": Fault("floats", replace("e-03", "e-04"), "number 3: expected 1.568e-04"),
    "a sign": Fault("floats", replace("0.8765", "-0.8765"), "number 1: expected -0.8765"),
    "an integer": Fault("floats", replace("1797", "1798"), "number 4: expected 1798, found 1797"),
    "an integer with room": Fault("floats", replace("1797", "1798"), "expected 1798",
                                  tolerance={"relative": 0.1}),
    "a word": Fault("floats", replace("accuracy", "precision"), "text: expected 'precision 0.8765"),
    "a float that became nan": Fault("floats", replace("0.8765", "nan"),
                                     "text: expected 'accuracy nan"),
    "cleared output": Fault("floats", cleared, "outputs: expected 0 (), found 1 (stdout"),
    "never executed": Fault("floats", never_executed, "never executed"),
    "never executed, without output": Fault("glue", never_executed, "never executed"),
    "one more output": Fault(
        "floats", with_more(output_type="display_data", data={"text/plain": "0.5"}),
        "outputs: expected 2 (stdout"
    ),
    "no warning stored": Fault("two streams", without("stderr"), "found 2 (stderr 'careful"),
    "no print stored": Fault("two streams", without("stdout"), "outputs: expected 1 (stderr"),
    "last digit in a table": Fault("table", replace("0.51234", "0.51235")),
    "1 % in a table's HTML": Fault("table", replace("0.51234", "0.51746", "html"),
                                   "text/html, number"),
    "1 % in a table's text": Fault("table", replace("0.51234", "0.51746", "plain"),
                                   "text/plain, number"),
    "an integer in a table": Fault("table", replace(">34<", ">35<", "html"),
                                   "expected 35, found 34"),
    "a digit of a name in a table": Fault("table", replace("patch4", "patch8"),
                                          "expected '      <td>patch8</td>"),
    "a dropped row": Fault("table", without_last_row, "text/html, text: expected"),
    "no HTML view of a table": Fault("table", without("text/html"),
                                     "output 1: expected 1 (text/plain"),
    "metadata of a figure": Fault("figure", other_metadata),
    "altered figure": Fault("figure", altered_figure,
                            "image: expected RMS difference <= 2/255, found"),
    "altered figure, with room": Fault("figure", altered_figure, tolerance={"rms": 60}),
    "size of a figure": Fault("figure", smaller_figure, "pixels, found"),
    "no figure": Fault("figure", cleared, "outputs: expected 0 (), found 1 (text/plain '<Figure"),
    "metadata of a figure in HTML": Fault("html figure", other_metadata),
    "altered figure in HTML": Fault("html figure", altered_figure,
                                    "text/html, embedded image: expected RMS"),
    "alt text of a figure in HTML": Fault("html figure", replace("A line", "A curve"),
                                          "text: expected '<img alt=\"A curve"),
    "last digit of a glued value": Fault("glue", replace("0.8765", "0.8766")),
    "a glued value": Fault("glue", replace("0.8765", "0.8853"),
                           "papermill.record/text/plain, number 1: expected 0.8853"),
    "a glued name": Fault("glue", replace("accuracy", "precision"), "glue, text: expected"),
    "altered glued figure": Fault("glued figure", altered_figure,
                                  "papermill.record/image/png, image: expected RMS"),
    "another widget identifier": Fault(
        "widget", lambda cell: cell.outputs[0].data[
    "application/vnd.jupyter.widget-view+json"].update(model_id="0")
    ),
    "no widget": Fault("widget", without("application/vnd.jupyter.widget-view+json"),
                       "found 1 (application/vnd.jupyter.widget"),
    "a number beside a widget": Fault("widget", replace("0.5000", "0.5050"),
                                      "expected 0.5050, found 0.5000"),
    "an error's number": Fault("error", replace("3 blocks", "2 blocks"),
                               "error, number 1: expected 2, found 3"),
}
FAILS_WITH_NBVAL_ALONE = {"last digit of a float": True, "altered figure": False,
                          "never executed": False}


@pytest.fixture(scope="module")
def executed() -> NotebookNode:
    """The notebook without faults: the imports, then one cell per fault."""
    cells = [new_code_cell(SETUP)]
    for fault in FAULTS.values():
        metadata = {"tags": ["raises-exception"]} if fault.source == "error" else {}
        cells.append(new_code_cell(SOURCES[fault.source], metadata=metadata))
    return NotebookClient(new_notebook(cells=cells), kernel_name="python3", timeout=120).execute()


@pytest.fixture(scope="module")
def messages(executed, tmp_path_factory) -> dict[str, dict[str, str]]:
    """What ``pytest --nbval`` says of each cell of each notebook; an empty message where the cell
    passes."""
    folder = tmp_path_factory.mktemp("nbval")
    faulty = deepcopy(executed)
    for cell, fault in zip(faulty.cells[1:], FAULTS.values(), strict=True):
        fault.alter(cell)
        if fault.tolerance:
            cell.metadata["nbval_tolerance"] = fault.tolerance
    # a cell of every source is enough where no fault is: its copies are the same
    held = {"notebooks": (faulty, list(FAULTS)), "alone": (faulty, list(FAILS_WITH_NBVAL_ALONE)),
            "unchanged": (executed, [f"unchanged {source}" for source in SOURCES])}
    for name, (source, chosen) in held.items():
        place = folder / ("alone" if name == "alone" else "notebooks") / f"{name}.ipynb"
        place.parent.mkdir(exist_ok=True)
        cells = [source.cells[0], *(source.cells[1 + list(FAULTS).index(fault)]
                                    for fault in chosen)]
        nbformat.write(NotebookNode(source, cells=cells), place)
    (folder / "notebooks" / "conftest.py").write_text((ROOT / "notebooks"
                                                       / "conftest.py").read_text())
    (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\n")

    command = "-m pytest --nbval --nbval-current-env -n 2 --dist loadscope -p no:cacheprovider -q --junitxml=report.xml ."
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("PYTEST_")}
    run = subprocess.run(
        [sys.executable, *command.split()], cwd=folder, env=environment, capture_output=True,
        text=True, timeout=300
    )
    assert run.returncode == 1, run.stdout + run.stderr  # tests ran, and some failed

    found: dict[str, dict[str, str]] = {}
    names = {name: ["setup", *chosen] for name, (_, chosen) in held.items()}
    for case in ElementTree.parse(folder / "report.xml").iter("testcase"):
        notebook = case.get("classname").split(".")[-2]
        fault = names[notebook][int(case.get("name").removeprefix("Cell "))]
        found.setdefault(notebook, {})[fault] = "\n".join(part.text for part in case)
    assert {name: list(cells) for name, cells in found.items()} == names
    return found


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault(messages, name):
    message, expected = messages["notebooks"][name], FAULTS[name].message
    assert expected in message if expected else not message


def test_message_names_the_cell_and_is_short(messages):
    message = messages["notebooks"]["1 % of a float"]
    number = list(FAULTS).index("1 % of a float") + 1
    assert f"Cell {number}: Cell outputs differ" in message
    assert len(message.splitlines()) < 12


def test_notebook_without_faults_passes(messages):
    assert not any(messages["unchanged"].values())


@pytest.mark.parametrize(("name", "fails"), FAILS_WITH_NBVAL_ALONE.items())
def test_nbval_alone_is_no_such_check(messages, name, fails):
    assert bool(messages["alone"][name]) == fails


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("0.123", "0.124"),
        ("12.3%", "12.4%"),
        ("12.3 %", "12.2 %"),
        ("1.23e-05", "1.24e-05"),
        ("1e-05", "9e-06"),  # a unit of the number with more digits
        ("1.00e+01", "9.99e+00"),
        ("0.30000000000000004", "0.3"),
        ("123456.789", "123460.123"),
        ("-0.0000", "0.0000"),
        ("[ 0.0000 0.5000]", "[-0.0000 0.5000]"),
        ("score  9.999", "score 10.000"),  # the padding of a column gives way
        ("\u22120.5001", "-0.5000"),
        (".512", ".513"),
        ("about 0.51.", "about 0.52."),
        ("<td>0.512</td>", "<td>0.513</td>"),
        ("1,234.5", "1,234.6"),
        ("nan inf -inf", "nan inf -inf"),
        ("", ""),
    ],
)
def test_texts_that_agree(reference, found):
    assert compare_words(reference, found, Tolerance()) == []
    assert compare_words(found, reference, Tolerance()) == []


# numpy's integers in a float array: no digit after the point may move
@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("0.123", "0.125"),
        ("12.3%", "12.5%"),
        ("1.23e-05", "1.25e-05"),
        ("1.23e-05", "1.23e-04"),
        ("0.12", "0.1234"),  # not a unit of 0.1234
        ("0.5000", "-0.5000"),
        ("100000", "100001"),
        ("10000 images.", "10001 images."),
        ("[1. 0.]", "[0. 0.]"),
        ("3", "3.0"),
        ("1,797", "1,798"),
        ("0.5", "nan"),
        ("nan", "inf"),
        ("inf", "-inf"),
        ("1 2 3", "1 2"),
        ("1 2", "12"),
        ("0.5-0.7", "0.5 -0.7"),
        ("patch4", "patch8"),
        ("version 3.11.2", "version 3.12.2"),
        ("0x7f3a", "0x7f3b"),
        ("12e4f", "13e4f"),
        ("a\nb", "a\nb\nc"),
        ("a b", "a  b"),
        ("Accuracy", "accuracy"),
        ("accuracy 0.5", ""),
    ],
)
def test_texts_that_differ(reference, found):
    assert compare_words(reference, found, Tolerance())
    assert compare_words(found, reference, Tolerance())


def test_difference_shows_where_it_is_and_what_was_expected():
    text = "first 0.1000\n" + "x" * 200 + " score 0.2000 here" + " and so on" * 20
    (line,) = compare_words(text, text.replace("0.1000", "0.1001").replace("0.2000", "0.3000"),
                            Tolerance())
    assert line.startswith(
        "number 2: expected 0.2000, found 0.3000, at …") and "score 0.2000 here" in line
    (line,) = compare_words(text, text.replace("0.1000", "0.1001").replace("here", "there"),
                            Tolerance())
    assert "score 0.2000 here" in line and "score 0.2000 there" in line and "first" not in line
    assert len(line) < 250


def encoded(level: int, size: tuple[int, int] = (8, 4), mode: str = "L") -> str:
    """A plain grey PNG in base64."""
    stream = BytesIO()
    Image.new(mode, size, (level, 0) if mode == "LA" else level).save(stream, format="PNG")
    return b64encode(stream.getvalue()).decode()


@pytest.mark.parametrize(
    ("reference", "found", "message"),
    [
        (encoded(100), encoded(102), ""),
        (encoded(100), encoded(103), "expected RMS difference <= 2/255, found 3.00/255"),
        (encoded(100), encoded(100) + "\n", ""),
        (encoded(0, mode="LA"), encoded(200, mode="LA"), ""),  # what is transparent is not seen
        (encoded(255), encoded(0, mode="LA"), ""),
        (encoded(100), encoded(100, (4, 8)), "expected 8x4 pixels, found 4x8"),
        (encoded(100), "bm8gaW1hZ2U=", "cannot be decoded"),
        (encoded(100), encoded(100)[:40], "cannot be decoded"),
    ],
    ids=["near", "far", "line break", "transparent", "transparent on white", "turned", "no image",
         "cut off"],
)
def test_images(reference, found, message):
    (line,) = compare_images(reference, found, Tolerance()) or ("",)
    assert message in line if message else not line


def test_images_embedded_in_html():
    html = '<img src="data:image/png;base64,{}"> <img src="data:image/png;base64,{}"> score 0.5000'
    reference = html.format(encoded(100), encoded(50))
    assert compare_text(reference, html.format(encoded(101), encoded(50)), Tolerance()) == []
    (line,) = compare_text(reference, html.format(encoded(100), encoded(60)), Tolerance())
    assert line.startswith("embedded image: expected RMS")
    assert compare_text(reference, html.format(encoded(100), encoded(60)), Tolerance(rms=10)) == []
    assert compare_text(reference, reference.replace("0.5000", "0.6"), Tolerance())
    assert compare_text(reference, reference[: reference.rindex("<img")], Tolerance())


def test_json_contents_are_compared_number_by_number():
    reference, found, other = (
        [new_output("display_data", {"application/json": {"b": value, "a": "words"}})]
        for value in (0.1234567, 0.1234568, 0.2)
    )
    assert compare_outputs(reference, found, Tolerance()) == []
    assert "number 1: expected 0.1234567, found 0.2" in compare_outputs(reference, other,
                                                                        Tolerance())[0]


def test_streams_are_told_apart_by_name_not_by_place():
    stream = new_output("stream", name="stdout", text="ready")
    table = new_output("display_data", {"text/plain": "0.5"})
    figure = new_output("display_data", {"image/png": encoded(0)})
    assert compare_outputs([stream, table, figure], [table, stream, figure], Tolerance()) == []
    assert compare_outputs([stream, table, figure], [stream, figure, table], Tolerance())


def test_texts_are_sanitised_first():
    reference, found = ([new_output("stream", name="stdout", text=f"took {seconds} s")]
                        for seconds in (1, 2))
    assert compare_outputs(reference, found, Tolerance())
    assert compare_outputs(reference, found, Tolerance(), lambda text: text.replace("1", "2")) == []


@pytest.mark.parametrize(
    "settings", [{"absolute": 1}, {"rms": -1}, {"relative": "1e-3"}, {"relative": True},
                 {"rms": float("nan")}, 0.1]
)
def test_misspelt_tolerance_is_an_error(settings):
    with pytest.raises(ValueError, match="nbval_tolerance"):
        Tolerance.of_cell({"nbval_tolerance": settings})


def test_tolerance_of_a_cell():
    assert Tolerance.of_cell({}) == Tolerance(relative=1e-4, rms=2)
    assert Tolerance.of_cell({"nbval_tolerance": {"rms": 4}}) == Tolerance(relative=1e-4, rms=4)
