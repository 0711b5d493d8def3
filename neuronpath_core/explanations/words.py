"""What an explanation says in words and in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from unicodedata import east_asian_width

from neuronpath_core.methods import METHODS
from neuronpath_core.stats import report
from neuronpath_core.support.text import plain

if TYPE_CHECKING:
    from neuronpath_core.explanations.explanation import Explanation

LONGEST_NAME = 32  # letters of a class's name in a table of a terminal or a figure
STATES = ("as it is", "path removed", "path doubled")
UNIT = "points of probability"


def percent(share: float) -> str:
    """A probability as people read it; of less than a hundredth, two digits that count."""
    value = 100 * float(share)
    if 99.95 <= value < 100:  # the last digit would make it certain
        return "> 99.9 %"
    return f"{value:.1f} %" if value >= 1 else f"{value:.2g} %"


def number(value: float | None) -> str:
    """A number with three digits that count, and a minus sign as it is set."""
    return "–" if value is None else f"{value:.3g}".replace("-", "−")


def points(value: float, unit: str = UNIT) -> str:
    """A difference of probabilities, to two decimals."""
    return report.typeset(f"{100 * value:+.2f} {unit}".rstrip())


def span(row: Mapping[str, float | None], unit: str = UNIT) -> str:
    """A difference of probabilities with its interval, to two decimals; alone where it has
    none."""
    if row["low"] is None:
        return points(row["value"], unit)
    return report.typeset(report.points_text(row, 2, unit))


def cut(text: str, length: int = LONGEST_NAME) -> str:
    """A name on one line, shortened."""
    text = plain(text)
    return text if len(text) <= length else f"{text[:length - 1]}…"


def finding(explanation: Explanation) -> str:
    """The explanation in one sentence."""
    clean, removed, doubled = (percent(each[explanation.label]) for each in (
        explanation.probabilities, explanation.removed, explanation.doubled))
    return (f"{cut(explanation.label_name, 60)}: {clean}; {removed} without the path, {doubled} "
            "with the path doubled")


def where_read(explanation: Explanation) -> str:
    """What is drawn in the maps, and what of it the path stands on."""
    maps = ("A map shows a neuron's activation at each patch token. From the second block on, a "
            "token also holds what attention brought to it from others.")
    if explanation.scope == "cls":
        return (f"{maps} The path is read and edited at the class token, whose activation is in "
                "the table: what the maps show is not used by its score.")
    return (f"{maps} The path is read and edited at all of these tokens; the activation in the "
            "table is the mean of its map.")


def control(explanation: Explanation) -> str:
    """What the removal of other paths does; no words without one."""
    if not len(explanation.control):
        return ""
    low, high = map(percent, (explanation.control.min(), explanation.control.max()))
    count = len(explanation.control)
    between = low if low == high else f"{low} to {high}"
    return (f"As a control, {count} random path{'s' if count > 1 else ''} of neurons about as "
            f"active were removed, one at a time: “{plain(explanation.label_name)}” then has "
            f"{between}.")


def how_found(explanation: Explanation) -> str:
    """Which path this is."""
    settings = explanation.settings
    label = METHODS[settings.method].label if settings.method in METHODS else settings.method
    budget = "" if settings.budget is None else (
        f" with {settings.budget} gradient{'s' if settings.budget > 1 else ''} of the model")
    return f"The path was found by “{label}”{budget} (method {settings.method!r})."


def edits() -> str:
    """What the two edits do, and what the columns of the table mean."""
    return ("“Removed” sets the path's neurons to zero, “doubled” multiplies them by 2, one block "
            "after the other. Attribution is gradient times activation: to first order, the "
            "probability that is lost when that one neuron is set to zero.")


def as_text(explanation: Explanation) -> str:
    """Everything but the maps, as tables of a terminal."""
    chosen = explanation.shown_classes()
    classes = [["class", *STATES]]
    for index in chosen:
        mark = " *" if index == explanation.label else ""
        classes.append([f"{cut(explanation.class_names[index])}{mark}",
                        *(percent(each[index]) for each in (
                            explanation.probabilities, explanation.removed, explanation.doubled))])
    frame = explanation.to_frame()
    _, down, across = explanation.maps.shape
    several = frame["rank"].max() > 1
    path = [["block", *(["rank"] if several else []), "neuron", "activation", "attribution",
             f"most active patch of {down} × {across}"]]
    for row in frame.to_dict("records"):
        path.append([str(row["block"]), *([str(row["rank"])] if several else []),
                     str(row["neuron"]), f"{row['activation']:.4g}", f"{row['attribution']:.2e}",
                     f"row {row['row']}, column {row['column']}"])
    return "\n".join([
        f"{plain(explanation.picture)} · {plain(explanation.model)}", "", *_columns(classes),
        f"* the class that the path explains, number {explanation.label}", "", *_columns(path), "",
        *filter(None, [control(explanation), how_found(explanation)]), *explanation.notes])


def _wide(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: its first column begins at the left, the others end at the right."""
    widths = [max(map(_wide, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        first, *others = ((text, " " * (width - _wide(text)))
                          for text, width in zip(row, widths, strict=True))
        lines.append("  ".join(["".join(first), *(blanks + text for text, blanks in others)]))
    return lines
