"""A table on a page: words for headers, a caption, and all of its numbers as CSV."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from neuronpath_core.stats.tables import table


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame({"data": ["digits", "digits", "shapes"], "model": ["a", "<b>", "a"],
                         "removal, %": [1.23456, -2.0, float("nan")],
                         "agrees": [True, False, True]}).set_index(["data", "model"])


def test_html_has_a_header_for_every_cell(frame):
    page = BeautifulSoup(table(frame, "Removal, in per cent", digits=2).html(), "html.parser")
    heads = page.select("thead th")
    assert [head.get_text() for head in heads] == ["data", "model", "removal, %", "agrees"]
    assert all(head["scope"] == "col" for head in heads)
    rows = [[cell.get_text() for cell in row.find_all(["th", "td"])]
            for row in page.select("tbody tr")]
    assert rows == [["digits", "a", "1.23", "yes"], ["<b>", "\u22122.00", "no"],
                    ["shapes", "a", "–", "yes"]]
    assert page.select_one("tbody th")["rowspan"] == "2"
    region = page.find(role="region")
    assert region["tabindex"] == "0" and region["aria-label"] == "Removal, in per cent"
    assert page.find("details").summary.get_text() == "Removal, in per cent (3 rows)"


def test_groups_of_columns_have_headers_of_their_own(frame):
    wide = frame[["removal, %"]].unstack("model")
    page = BeautifulSoup(table(wide, "Wide", folded=False).html(), "html.parser")
    first, second = page.select("thead tr")
    assert [(th.get_text(), th["scope"], th.get("colspan")) for th in first.find_all("th")] == [
        ("data", "col", None), ("removal, %", "colgroup", "2")]
    assert first.th["rowspan"] == "2"
    assert [th.get_text() for th in second.find_all("th")] == ["<b>", "a"]
    assert page.figure.figcaption.get_text() == "Wide" and not page.find("details")


def test_csv_is_the_data_unrounded(frame):
    again = pd.read_csv(io.StringIO(table(frame, "Removal", digits=1).csv()),
                        index_col=["data", "model"])
    pd.testing.assert_frame_equal(again, frame)


def test_a_notebook_stores_all_three(frame):
    bundle = table(frame, "Removal")._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "text/csv"}
    assert bundle["text/plain"].startswith("Removal\n")


def test_digits_by_column(frame):
    text = repr(table(frame, "Removal", digits={"removal, %": 1}))
    assert "1.2 " in text and "1.23" not in text


def test_names_with_dollar_signs_are_no_mathematics(frame):
    assert "mathjax_ignore" in table(frame, "costs $a and $b").html()
    assert "mathjax_ignore" not in table(frame, "costs").html()


@pytest.mark.parametrize("columns", [[False, True], ["", "b"], [None, "b"], [0.5, "b"]])
def test_headers_are_words(columns):
    with pytest.raises(ValueError, match="headers are words"):
        table(pd.DataFrame([[1, 2]], columns=columns), "x")


def test_models_may_be_called_anything():
    """The control of the rule above: names of somebody's models are columns too."""
    shown = table(pd.DataFrame([[1, 2]], columns=["vit_small_patch16_224", "a_b"]), "x").html()
    assert "<th scope=\"col\" colspan=\"1\">vit_small_patch16_224</th>" in shown


def test_a_table_without_rows_has_its_headers(frame):
    empty = table(frame.iloc[:0], "Nothing was compared")
    page = BeautifulSoup(empty.html(), "html.parser")
    assert len(page.select("thead th")) == 4 and not page.select("tbody tr")
    assert "Nothing was compared" in repr(empty) and empty.csv().count("\n") == 1


def test_a_caption_is_asked_for(frame):
    with pytest.raises(ValueError, match="without a caption"):
        table(frame, "  ")
