"""The book on paper: what is printed, in which order, and what is left to the pages."""

import re
import subprocess

import pytest
from bs4 import BeautifulSoup

from book import print_book
from tests import browser

LISTED = ("../notebooks/01_one.html", "claims.html", "api/core.html", "api/fast.html",
          "numbers.html", "../book/index.html")


def _page(article, head=""):
    links = "".join(f'<a href="{address}">x</a>' for address in LISTED)
    return (f'<html><head><link rel="stylesheet" href="../_static/a.css">{head}</head><body>'
            f'<nav class="bd-docs-nav">{links}</nav><article>{article}</article></body></html>')


def _rows(count):
    return f"<table><tbody>{'<tr><td>a row</td></tr>' * count}</tbody></table>"


@pytest.fixture
def html(tmp_path):
    pages = {
        "book/index.html": '<h1 id="top">First</h1><a href="../notebooks/01_one.html#here">to</a>'
                           '<a href="api/fast.html">inside</a><a href="https://a.org/">out</a>',
        "notebooks/01_one.html": '<h2 id="here">Chapter</h2><details><summary>Few</summary>'
                                 f'{_rows(40)}</details><details class="np-long"><summary>Many'
                                 f'</summary>{_rows(41)}</details><div class="np-open">{_rows(50)}'
                                 '</div><details class="np-code"><pre>code</pre></details>'
                                 '<img src="../_images/a.png" loading="lazy"><p hidden>shown</p>',
        "book/claims.html": "<p>a claim</p><details><summary>2 comparisons</summary>rows</details>",
        "book/api/core.html": "<p>core</p>", "book/api/fast.html": "<p>fast</p>",
        "book/numbers.html": "<p>numbers</p>"}
    for name, article in pages.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(_page(article), encoding="utf-8")
    return tmp_path.resolve()


@pytest.fixture
def whole(html):
    return BeautifulSoup(print_book.joined(html, print_book.pages_in_order(html)), "html.parser")


def test_pages_come_in_the_order_of_the_book_without_what_is_looked_up(html):
    assert print_book.pages_in_order(html) == ["book/index.html", "notebooks/01_one.html",
                                               "book/claims.html", "book/api/core.html"]


def test_the_first_sheet_says_what_is_left_out(whole):
    first, *others = whole.select("div.np-sheet")
    assert print_book.SAID in first.get_text()
    assert all(print_book.SAID not in each.get_text() for each in others)


def test_long_folded_tables_end_early_and_say_by_how_much(whole):
    short, long = whole.select("details > table")
    assert len(short.select("tr")) == 40
    assert len(long.select("tr")) == print_book.ROWS
    assert long.find_next_sibling().get_text() == f"{41 - print_book.ROWS} more rows are on the page."
    # what is open on the page is printed whole
    assert len(whole.select(".np-open tr")) == 50


def test_all_is_open_but_code_and_the_comparisons_of_claims(whole):
    assert all(each.has_attr("open") for each in whole.select("details"))
    assert "code" not in whole.get_text() and "comparisons" not in whole.find(
        id="book-claims--").get_text()
    assert not whole.select("[hidden], [loading]") and "shown" in whole.get_text()


def test_links_lead_to_a_sheet_out_or_nowhere(whole):
    to, inside, out = (link["href"] for link in whole.select("article a"))
    assert whole.find(id=to.removeprefix("#")).get_text() == "Chapter"
    assert inside == "#" and out == "https://a.org/"


@pytest.mark.skipif(browser.executable() is None, reason="NO BROWSER: Debian's chromium prints the book")
def test_a_pdf_has_the_sheets(html, tmp_path):
    pdf = tmp_path / "out" / "book.pdf"
    print_book.print_pdf(html, pdf)
    assert pdf.read_bytes().startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes())) >= 4


def test_no_pages_and_no_browser_are_said_in_a_line(html, tmp_path, monkeypatch):
    monkeypatch.setattr(print_book.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="no Chromium to print with"):
        print_book.print_pdf(html, tmp_path / "a.pdf")
    done = subprocess.run([print_book.sys.executable, "book/print_book.py", "--html", tmp_path / "no",
                           "--pdf", tmp_path / "a.pdf"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("book: no pages in")
