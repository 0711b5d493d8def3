"""What was measured on photographs beside the same on digits and shapes, as the chapters on those
stored it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import pandas as pd

from neuronpath_core.stats.claims import MIME, Claim, Comparison, from_json
from neuronpath_core.stats.grades import grade
from neuronpath_core.stats.units import UNITS

OWN_MASK = "at the class token, with a mask of the class"


@dataclass(frozen=True)
class Question:
    """A question that was asked of several data sets in the same way.

    Attributes:
        words: it, as the title of a panel.
        own: keys of the claims on photographs.
        stored: notebook and key of the claims on other data.
        condition: under which alone comparisons count; empty for all.
    """

    words: str
    own: tuple[str, ...]
    stored: tuple[tuple[str, str], ...]
    condition: str = ""


QUESTIONS = (
    Question("Removing the path: probability lost, median image", ("own removal",),
             (("11_controls", "own removal"),)),
    Question("Removing the path: lead over gradient × activation", ("single: gradient_activation",),
             (("10_score_or_search", "single: gradient_activation"),)),
    Question("Doubling the true label's path: accuracy gained", ("label",),
             (("11_controls", "label"),), "with the true label"),
    Question("Neurons shared within a class, beyond other classes", ("class",),
             (("11_controls", "class"),)),
    # as the book's card on it does, with both relations that photographs have
    Question("Similar classes have similar paths", ("look", "kind"),
             (("05_class_similarity", "look"), ("14_similarity_in_numbers", "outline"),
              ("14_similarity_in_numbers", "fill"))),
    Question("Five neurons a block kept: accuracy, less the whole model's", ("few",),
             (("15_pruning_honest", "few"),), OWN_MASK),
)


def stored_claims(root: Path, notebook: str) -> dict[str, Claim]:
    """The claims that a stored notebook of a study emits, by key; none where there is no such
    notebook, as in a study of one's own.

    Raises:
        ValueError: claims that cannot be read.
    """
    path = root / "notebooks" / f"{notebook}.ipynb"
    if not path.is_file():
        return {}
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    documents = [output["data"][MIME] for cell in cells for output in cell.get("outputs", ())
                 if MIME in output.get("data", {})]
    return {claim.key: claim for document in documents for claim in from_json(document)}


def beside(root: Path, claims: Iterable[Claim],
           questions: Sequence[Question] = QUESTIONS) -> pd.DataFrame:
    """Every comparison of these questions, on photographs and on other data.

    Args:
        root: the study's folder, whose notebooks have the other claims.
        claims: those on photographs.

    Returns:
        ``question, unit, data, model, value, low, high, verdict, n``, data sets in the order of the
        stored notebooks and photographs last; a row per comparison.
    """
    own, notebooks = {claim.key: claim for claim in claims}, {}
    rows = []
    for question in questions:
        found = []
        for notebook, key in question.stored:
            if notebook not in notebooks:
                notebooks[notebook] = stored_claims(root, notebook)
            found.append(notebooks[notebook].get(key))
        for claim in (*found, *map(own.get, question.own)):
            rows += [] if claim is None else [
                {"question": question.words, "unit": claim.unit, "data": row.data,
                 "model": row.model, "value": row.value, "low": row.low, "high": row.high,
                 "verdict": row.verdict, "n": row.n}
                for row in claim.comparisons if question.condition in ("", row.condition)]
    return pd.DataFrame(rows)


def beside_table(rows: pd.DataFrame) -> pd.DataFrame:
    """:func:`beside` in words: a row per question, a column per data set with the grade, the median
    effect and the number of comparisons that agree."""
    cells: dict[str, dict[str, str]] = {}
    for (question, data), own in rows.groupby(["question", "data"], sort=False):
        unit = UNITS[own["unit"].iloc[0]]
        made = [Comparison(data, row["model"], row["value"], None, None, row["n"], row["verdict"])
                for row in own.to_dict("records")]
        told = grade(made, unit)
        cells.setdefault(question, {})[data] = (
            f"{told.word}: {unit.text(median(own['value']))} ({told.agree} of {told.of} agree)")
    return pd.DataFrame(cells).T.fillna("–").rename_axis("question")


def finding(rows: pd.DataFrame, data: str) -> str:
    """What the first question came to on a data set, and on how many of the questions its grade is
    that of another data set, as a sentence."""
    first = rows[(rows["question"] == rows["question"].iloc[0]) & (rows["data"] == data)]
    same, asked = same_answers(rows, data)
    unit = UNITS[first["unit"].iloc[0]]
    return (f"Removing a path takes {unit.span(first['value'].min(), first['value'].max())} at the "
            f"median of the {data}; {same} of {asked} questions get a grade that another data set "
            f"gave them").replace("+", "")


def same_answers(rows: pd.DataFrame, data: str) -> tuple[int, int]:
    """On how many questions the grade of a data set is that of another one, and how many were asked
    of it and of another."""
    same = []
    for _, own in rows.groupby("question", sort=False):
        words = {name: grade([Comparison(name, row["model"], row["value"], None, None, row["n"],
                                         row["verdict"]) for row in part.to_dict("records")],
                             UNITS[part["unit"].iloc[0]]).word
                 for name, part in own.groupby("data", sort=False)}
        if data in words and len(words) > 1:
            same.append(words[data] in [word for name, word in words.items() if name != data])
    return sum(same), len(same)


def in_sentences(claims: Iterable[Claim]) -> dict[str, str]:
    """What sentences say of each claim, by its key behind a word: ``"span KEY"``, from where to
    where its effects go, and ``"size KEY"``, the same without plus signs; ``"for KEY"`` and
    ``"against KEY"``, in how many of its comparisons they speak for it or against it
    (``"2 of 2"``)."""
    said = {}
    for claim in claims:
        verdicts = [row.verdict for row in claim.comparisons]
        if not verdicts:
            continue
        unit, values = UNITS[claim.unit], [row.value for row in claim.comparisons]
        said[f"span {claim.key}"] = unit.span(min(values), max(values)) if len(
            values) > 1 else unit.interval(claim.comparisons[0])
        said[f"size {claim.key}"] = said[f"span {claim.key}"].replace("+", "")
        for word, verdict in (("for", "agrees"), ("against", "contradicts")):
            said[f"{word} {claim.key}"] = f"{verdicts.count(verdict)} of {len(verdicts)}"
    return said


def under(claims: Iterable[Claim], condition: str) -> list[Claim]:
    """The claims that were measured under a condition, with the comparisons under it alone."""
    kept = [(claim, tuple(row for row in claim.comparisons if row.condition == condition))
            for claim in claims]
    return [replace(claim, comparisons=rows) for claim, rows in kept if rows]
