"""Text of people's own on one line, as itself."""

import pandas as pd
import pytest

from neuronpath_core.support.text import keep_dollars, listed, one_line, plain


@pytest.mark.parametrize(("text", "expected"), [
    ("", ""), ("cat, dog (2)", "cat, dog (2)"), ("<b>*a* `b` | _c_ $d$", "<b>*a* `b` | _c_ $d$"),
    ("a\nb\r\tc", "a\\nb\\r\\tc"), ("\x1b[2J\x07", "\\x1b[2J\\x07"), ("\u202egpj.x", "\\u202egpj.x"),
    ("\u2066a\u2069\u200f", "\\u2066a\\u2069\\u200f"), ("a\u200db", "a\\u200db"),
    ("\udcff.png", "\\udcff.png"), ("\u2028", "\\u2028"), ("café 猫 🐈", "café 猫 🐈"),
    ("👩\u200d🔬", "👩\u200d🔬"), ("می\u200cخواهم", "می\u200cخواهم"),
])
def test_what_would_be_obeyed_is_written_out(text, expected):
    assert plain(text) == expected


def test_an_error_is_one_line_without_escapes():
    assert one_line(ValueError("a\n b\x1b[31m")) == "a b\\x1b[31m"
    assert one_line(ValueError()) == "ValueError"
    assert one_line(ValueError("x" * 400)) == "x" * 300


def test_lists_are_cut_and_plain():
    assert listed([]) == "" and listed(["a", "b\n", "c"]) == "a, b\\n, c"
    assert listed(["a", "b", "c", "d"]) == "a, b, c, …" and listed(["a", "b"], 1) == "a, …"


def test_tables_with_dollar_signs_are_no_mathematics():
    with pd.option_context("display.html.use_mathjax", True):
        keep_dollars(["cat", "dog"])
        assert "mathjax_ignore" not in pd.DataFrame({"class": ["cat"]})._repr_html_()
        keep_dollars(["cat", "cost $5 or $6"])
        shown = pd.DataFrame({"class": ["cost $5 or $6", "<b>"]})._repr_html_()
        assert "mathjax_ignore" in shown and "cost $5 or $6" in shown and "&lt;b&gt;" in shown
