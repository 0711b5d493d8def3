"""pytest plugin that turns ``pytest --nbval`` into a regression check of the stored notebooks.

nbval alone compares text byte for byte, skips images and lets a cell pass that was never executed:
the last printed digit fails on another machine, and a wrong figure does not. With this plugin the
words of an output must be equal, its integers too, its floats up to a tolerance, and its images
pixel by pixel. Of an SVG, which stands beside the PNG of the same figure, the words are compared. ``notebooks/conftest.py`` loads it by importing the hook.

A cell that needs more room says so in its metadata:
``"nbval_tolerance": {"relative": 1e-3, "rms": 4}``.
"""

from __future__ import annotations

import json
import math
import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from io import BytesIO
from os.path import commonprefix
from types import MethodType
from typing import Any

import numpy as np
import pytest
from nbval.plugin import IPyNbCell
from PIL import Image

# Digits inside a word (patch4, x7f3a) or a version (3.11.2) are text: they have no last digit that
# may move.
NUMBER = re.compile(
    r"(?<![\w.])[-+\u2212]?(?>[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,4}(?!\w))?(?!\.[0-9])"
)
EMBEDDED_IMAGE = re.compile(r"data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=\n]+)")
IMAGES = ("image/png", "image/jpeg")
SVG = "image/svg+xml"
SVG_WORDS = re.compile(r"<(text|title)\b[^>]*>(.*?)</\1>", re.DOTALL)
GLUE_PREFIX = "application/papermill.record/"
WIDGET_PREFIX = "application/vnd.jupyter.widget-"
EXACT = Context(prec=50)
SHOWN_DIFFERENCES = 5


@dataclass(frozen=True)
class Tolerance:
    """How far an output may move: floats relative to the stored value, images in grey levels of
    255."""

    relative: float = 1e-4
    rms: float = 2.0

    @classmethod
    def of_cell(cls, metadata: Mapping[str, Any]) -> Tolerance:
        """The defaults, or what ``metadata["nbval_tolerance"]`` puts in their place; ``ValueError``
        if it is misspelt."""
        settings = metadata.get("nbval_tolerance", {})
        accepted = tuple(cls.__dataclass_fields__)
        if not isinstance(settings, Mapping) or not set(settings) <= set(accepted):
            raise ValueError(f"nbval_tolerance accepts the keys {', '.join(accepted)}; got "
                             f"{settings!r}")
        for key, value in settings.items():
            if isinstance(value, bool) or not isinstance(value,
                                                         (int, float)) or not 0 <= value < math.inf:
                raise ValueError(f"nbval_tolerance: {key} must be a finite number of at least 0, "
                                 f"got {value!r}")
        return cls(**settings)


def is_integer(number: str) -> bool:
    """True if the number is printed without a decimal point or an exponent."""
    return not set(number) & set(".eE")


def same_number(reference: str, found: str, relative: float) -> bool:
    """Integers are equal; floats agree to ``relative``, or to one unit of the last digit that
    either of them prints."""
    expected, actual = (Decimal(number.replace("\u2212", "-")) for number in (reference, found))
    if is_integer(reference) or is_integer(found):
        return is_integer(reference) == is_integer(found) and expected == actual
    last_digit = Decimal(1).scaleb(min(expected.as_tuple().exponent, actual.as_tuple().exponent))
    allowed = EXACT.multiply(Decimal(str(relative)), abs(expected))
    return abs(EXACT.subtract(expected, actual)) <= max(last_digit, allowed)


def skeleton(text: str) -> str:
    """The text with its numbers blanked out, and with them the spaces that pad them to the width of
    a column."""
    return re.sub(" *\0 *", "\0", NUMBER.sub("\0", text))


def excerpt(text: str, start: int, before: int = 30, length: int = 90) -> str:
    """A short piece of ``text`` around ``start``, quoted."""
    first = max(0, start - before)
    piece = text[first : first + length]
    return ("…" if first else "") + repr(piece) + ("…" if first + length < len(text) else "")


def compare_words(reference: str, found: str, tolerance: Tolerance) -> list[str]:
    """Differences between two texts without images: first of the words, and if they are equal, of
    each number."""
    if skeleton(reference) != skeleton(found):
        place = min(len(reference), len(found))  # every line agrees as far as the shorter text goes
        for expected, actual in zip(reference.splitlines(True), found.splitlines(True),
                                    strict=False):
            if skeleton(expected) != skeleton(actual):
                place = len(commonprefix([expected, actual]))
                reference, found = expected, actual
                break
        return [f"text: expected {excerpt(reference, place)}, found {excerpt(found, place)}"]
    pairs = zip(NUMBER.finditer(reference), NUMBER.finditer(found), strict=True)
    return [
        f"number {i}: expected {a[0]}, found {b[0]}, at {excerpt(reference, a.start(), length=60)}"
        for i, (a, b) in enumerate(pairs, start=1)
        if not same_number(a[0], b[0], tolerance.relative)
    ]


def compare_text(reference: str, found: str, tolerance: Tolerance) -> list[str]:
    """Differences between two texts; images embedded as ``data:`` addresses are compared as images.
    """
    if reference == found:
        return []
    differences = compare_words(*(EMBEDDED_IMAGE.sub("data:image", text)
                                  for text in (reference, found)), tolerance)
    if differences:
        return differences
    pairs = zip(EMBEDDED_IMAGE.findall(reference), EMBEDDED_IMAGE.findall(found), strict=True)
    return [f"embedded {text}" for a, b in pairs for text in compare_images(a, b, tolerance)]


def pixels(encoded: str) -> np.ndarray:
    """The base64 image as a reader sees it: on a white page, float ``(height, width, 3)`` in
    0..255."""
    image = Image.open(BytesIO(b64decode(encoded))).convert("RGBA")
    page = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(page, image).convert("RGB"), dtype=float)


def compare_images(reference: str, found: str, tolerance: Tolerance) -> list[str]:
    """Differences in size or in pixels (root mean square); metadata such as the writing program do
    not count."""
    if reference == found:
        return []
    try:
        expected, actual = pixels(reference), pixels(found)
    except (OSError, SyntaxError, ValueError) as error:
        return [f"image cannot be decoded: {error}"]
    if expected.shape != actual.shape:
        sizes = [f"{array.shape[1]}x{array.shape[0]}" for array in (expected, actual)]
        return [f"image: expected {sizes[0]} pixels, found {sizes[1]}"]
    rms = float(np.sqrt(np.mean((expected - actual) ** 2)))
    return [] if rms <= tolerance.rms else [f"image: expected RMS difference <= "
                                            f"{tolerance.rms:g}/255, found {rms:.2f}/255"]


def svg_words(svg: str) -> str:
    """What is written in an SVG figure, a line for each text: its title and its labels."""
    return "\n".join(found[2].strip() for found in SVG_WORDS.finditer(svg))


def contents(output: Mapping[str, Any]) -> dict[str, Any]:
    """One output as {kind: content}; a glued value also carries the name it is glued under."""
    if output["output_type"] == "stream":
        return {output["name"]: output["text"]}
    if output["output_type"] == "error":
        return {"error": f"{output['ename']}: {output['evalue']}"}
    glued = output.get("metadata", {}).get("scrapbook")
    return dict(output["data"]) | ({"glue": glued} if glued else {})


def in_fixed_order(outputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Streams by name, then everything else as it came: when a stream is flushed is not the
    notebook's doing."""
    streams = sorted((output for output in outputs if output["output_type"] == "stream"),
                     key=lambda output: output["name"])
    return [contents(output)
            for output in (*streams, *(o for o in outputs if o["output_type"] != "stream"))]


def describe(parts: Sequence[Mapping[str, Any]]) -> str:
    """The kinds of each output, with the beginning of what is text."""
    def kind(name: str, content: Any) -> str:
        if name.removeprefix(GLUE_PREFIX) in IMAGES or not isinstance(content, str):
            return name
        return f"{name} {excerpt(content, 0, length=60)}"

    return f"{len(parts)} (" + "; ".join(", ".join(kind(*item) for item in part.items())
                                         for part in parts) + ")"


def compare_content(
    kind: str, reference: Any, found: Any, tolerance: Tolerance, sanitise: Callable[[str], str]
) -> list[str]:
    """Differences between two contents of the same kind; anything that is not a string is compared
    as JSON."""
    if kind.startswith(WIDGET_PREFIX):  # holds nothing but an identifier that is new in every run
        return []
    if kind.removeprefix(GLUE_PREFIX) in IMAGES:
        return compare_images(reference, found, tolerance)
    if kind.removeprefix(GLUE_PREFIX) == SVG:  # its lines are those of the PNG beside it
        return compare_text(*(svg_words(content) for content in (reference, found)), tolerance)
    texts = (
        sanitise(content) if isinstance(content, str)
        else json.dumps(content, sort_keys=True, ensure_ascii=False)
        for content in (reference, found)
    )
    return compare_text(*texts, tolerance)


def compare_outputs(
    reference: Sequence[Mapping[str, Any]],
    found: Sequence[Mapping[str, Any]],
    tolerance: Tolerance,
    sanitise: Callable[[str], str] = str,
) -> list[str]:
    """Differences between the stored outputs of a cell and those of a new run, one line each; empty
    if there are none.

    ``sanitise`` is applied to every text first: nbval's ``--nbval-sanitize-with``.
    """
    expected, actual = in_fixed_order(reference), in_fixed_order(found)
    if len(expected) != len(actual):
        return [f"outputs: expected {describe(expected)}, found {describe(actual)}"]
    differences = []
    for i, (a, b) in enumerate(zip(expected, actual, strict=True), start=1):
        if set(a) != set(b):
            differences.append(f"output {i}: expected {describe([a])}, found {describe([b])}")
            continue
        for kind in a:
            lines = compare_content(kind, a[kind], b[kind], tolerance, sanitise)
            differences += [f"output {i}, {kind}, {line}" for line in lines]
    return differences


def compare_cell(cell: IPyNbCell, test: Sequence[Any], ref: Sequence[Any],
                 skip_compare: Any = None) -> bool:
    """Stands in for ``IPyNbCell.compare_outputs``; nbval prints ``comparison_traceback`` next to
    the cell's source."""
    lines = compare_outputs(ref, test, Tolerance.of_cell(cell.cell.metadata), cell.sanitize)
    more = len(lines) - SHOWN_DIFFERENCES
    cell.comparison_traceback = lines[:SHOWN_DIFFERENCES] + ([f"… and {more} more differences"]
                                                             if more > 0 else [])
    return not lines


def run_cell(cell: IPyNbCell) -> None:
    """Stands in for ``IPyNbCell.runtest``: a cell that was stored without being executed checks
    nothing, so it fails."""
    IPyNbCell.runtest(cell)
    if cell.cell.source.strip() and cell.cell.execution_count is None:
        cell.raise_cell_error("expected a stored execution, found a cell that was never executed")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Put the two functions above in the place of nbval's own, for the cells under the
    ``conftest.py`` that loads this."""
    if isinstance(item, IPyNbCell):
        item.compare_outputs = MethodType(compare_cell, item)
        item.runtest = MethodType(run_cell, item)
