"""The whole book as one PDF, printed by Chromium.

    python book/print_book.py --html _build/digits/html --pdf _build/digits/neuron-paths.pdf

Articles are put one behind the other, in the order of the book, with everything unfolded but code;
links between pages become links in the document. What nobody reads from its beginning to its end is
left to the pages: the interface's internals, the list of all numbers, the comparisons behind each
claim, and of long tables the rows after the first; the first sheet says so.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path

from bs4 import BeautifulSoup, Tag

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WAIT = 30_000  # milliseconds for equations and pictures
UNPRINTED = "details.np-code, .headerlink, .np-download, script, input, button, select"
LEFT_OUT = re.compile(r"book/numbers|book/api/(?!core\b)")
SHUT = ("book/claims.html",)  # pages whose folded parts stay folded, and are not printed
# a table of more rows than LONG is printed up to the row number ROWS
LONG, ROWS = 40, 15
SAID = ("On paper the interface's internals, the list of all numbers and the comparisons behind "
        f"each claim are left out, and folded tables of more than {LONG} rows end after {ROWS}: "
        "the pages and their CSV files have all of it.")


def pages_in_order(html: Path) -> list[str]:
    """The pages of a book that are printed, as its sidebar lists them, the first page first."""
    first = BeautifulSoup((html / "book" / "index.html").read_text(encoding="utf-8"), "html.parser")
    listed = [link["href"].partition("#")[0] for link in first.select("nav.bd-docs-nav a")]
    names = [(Path("book") / address).as_posix() for address in listed if address]
    tidy = [re.sub(r"^book/\.\./", "", name) for name in names]
    return ["book/index.html", *(name for name in dict.fromkeys(tidy) if name != "book/index.html"
                                 and not LEFT_OUT.match(name))]


def identifier(name: str, place: str = "") -> str:
    """What a page, or a place in it, is called in the one document."""
    return f"{re.sub(r'[^a-zA-Z0-9]+', '-', name.removesuffix('.html'))}--{place}"


def joined(html: Path, names: list[str]) -> str:
    """All articles in one page, with the style and the scripts for equations of the first that
    has equations."""
    head, articles = None, []
    for name in names:
        page = BeautifulSoup((html / name).read_text(encoding="utf-8"), "html.parser")
        article = page.select_one("article")
        folder = Path(name).parent
        if head is None or (not head.find(src=re.compile("mathjax"))
                            and page.head.find(src=re.compile("mathjax"))):
            head = page.head
            for node in head.find_all(["script", "link"]):
                key = "src" if node.name == "script" else "href"
                if key in node.attrs and not ("mathjax" in node[key] or "stylesheet" in (
                        node.get("rel") or [])):
                    node.decompose()
                elif key in node.attrs:
                    node[key] = (html / folder / node[key].partition("?")[0]).resolve().as_uri()
        for node in article.select(UNPRINTED):
            node.decompose()
        for node in article.select("details"):
            if name in SHUT:
                node.decompose()
            else:
                node["open"] = ""
        for table in article.select("table"):
            shorten(table)
        if name == names[0]:
            said = BeautifulSoup(f'<p class="np-n">{escape(SAID, quote=False)}</p>', "html.parser")
            article.append(said)
        for node in article.select("[hidden]"):
            del node["hidden"]
        for node in article.select("[id]"):
            node["id"] = identifier(name, node["id"])
        for node in article.select("img[src]"):
            node.attrs.pop("loading", None)
            if not node["src"].startswith("data:"):
                node["src"] = (html / folder / node["src"]).resolve().as_uri()
        for link in article.select("a[href]"):
            link["href"] = address(html, name, link["href"], names)
        text = re.sub(r"url\(#", f"url(#{identifier(name)}", str(article))
        text = re.sub(r'(<use\b[^>]*?href=")#', rf"\1#{identifier(name)}", text)
        articles.append(f'<div id="{identifier(name)}" class="np-sheet bd-content">{text}</div>')
    return (f'<!DOCTYPE html><html lang="en" data-theme="light">{head}'
            "<style>.np-sheet{break-before:page}.np-sheet:first-of-type{break-before:auto}"
            f"</style><body>{''.join(articles)}</body></html>")


def shorten(table: Tag) -> None:
    """Leave the first rows of a long table, and say how many there are more."""
    rows = table.select("tbody tr")
    if len(rows) <= LONG or table.find_parent("details") is None:
        return
    for row in rows[ROWS:]:
        row.decompose()
    more = BeautifulSoup(f'<p class="np-n">{len(rows) - ROWS} more rows are on the page.</p>',
                         "html.parser")
    table.insert_after(more)


def address(html: Path, page: str, link: str, names: list[str]) -> str:
    """A link of a page as it is in the one document."""
    if re.match(r"[a-z]+:", link):
        return link
    path, _, place = link.partition("#")
    inside = ((html / page).parent / path).resolve() if path else (html / page).resolve()
    known = {(html / name).resolve(): name for name in names}
    return f"#{identifier(known[inside], place)}" if inside in known else "#"


def print_pdf(html: Path, pdf: Path) -> None:
    """Print the book.

    Raises:
        SystemExit: if there is no Chromium or it fails, with what it said.
    """
    browser = next((found for name in NAMES if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit("book: no Chromium to print with; on Debian: apt-get install chromium")
    pdf.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "book.html"
        whole.write_text(joined(html, pages_in_order(html)), encoding="utf-8")
        done = subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
             f"--virtual-time-budget={WAIT}", f"--user-data-dir={folder}/profile",
             f"--print-to-pdf={pdf}", whole.as_uri()],
            capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode or not pdf.is_file():
        sys.exit(f"{done.stderr[-2000:]}\nbook: Chromium did not print the book")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--html", type=Path, required=True, help="folder of the built pages")
    parser.add_argument("--pdf", type=Path, required=True, help="where the PDF is written")
    arguments = parser.parse_args()
    if not (arguments.html / "book" / "index.html").is_file():
        sys.exit(f"book: no pages in {arguments.html}; accepted: the html folder of a built book")
    print_pdf(arguments.html.resolve(), arguments.pdf.resolve())
    print(f"the whole book is at {arguments.pdf}")


if __name__ == "__main__":
    main()
