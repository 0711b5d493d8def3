"""The book builds from the stored notebooks without a warning, and its pages are whole without a
network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlparse

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_markdown_cell

from neuronpath_core.runs.notebooks import notebook_names

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["book/index", "book/method", "book/findings", "book/limits", "book/reproduce", "book/api",
         "book/bibliography"]
pytestmark = pytest.mark.xdist_group("book")  # it is built once


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("book")
    done = subprocess.run([sys.executable, ROOT / "book/build.py", "--notebooks",
                           ROOT / "notebooks", "--out", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return out / "html"


@pytest.fixture(scope="module")
def pages(html) -> dict[str, BeautifulSoup]:
    names = PAGES + [f"notebooks/{name}" for name in notebook_names(ROOT)]
    return {name: BeautifulSoup((html / f"{name}.html").read_text(), "html.parser")
            for name in names}


def test_the_pages_as_built(html, pages):
    """One build, every page: nothing broken, nothing loaded from elsewhere, every figure described
    and numbered, no traceback."""
    assert (html / "index.html").is_file()
    for name, page in pages.items():
        article = page.find("article") or page
        assert page.title and page.find("h1"), name
        for tag, attribute in (("script", "src"), ("link", "href"), ("img", "src"),
                               ("iframe", "src"), ("source", "src")):
            for node in page.find_all(tag):
                address = node.get(attribute) or ""
                if tag == "link" and not {"stylesheet", "preload",
                                          "icon"} & set(node.get("rel") or []):
                    continue
                assert not urlparse(address).scheme.startswith("http") and not address.startswith(
                    "//"), f"{name} loads {address}"
        for image in article.find_all("img"):
            assert image.get("alt"), f"{name}: an image without a description"
        for link in page.find_all(["a", "img", "link", "script"]):
            address = link.get("href") or link.get("src") or ""
            target = urlparse(address)
            if target.scheme or not target.path or address.startswith("#"):
                continue
            assert ((html / name).parent
                    / unquote(target.path)).resolve().exists(), f"{name}: broken link {address}"
        text = article.get_text()
        assert "Traceback" not in text and "WARNING" not in text, name
        assert not re.search(r"\{glue|\{cite|\{doc|::\w+",
                             text.replace("notebooks/02", "")) or name == "book/api", name
    for name in notebook_names(ROOT):
        captions = [caption.get_text()
                    for caption in pages[f"notebooks/{name}"].find_all("figcaption")]
        assert any(re.match(r"\s*Fig\.\s*\d+", caption)
                   for caption in captions), f"{name}: no numbered figure"


def test_equations_are_drawn_without_a_network(html, pages):
    method = pages["book/method"]
    assert len(method.find_all(class_="math")) > 20
    script = method.find("script", src=re.compile("mathjax"))
    assert ((html / "book").joinpath(script["src"].split("?")[0])).resolve().is_file()
    assert list((html / "_static" / "mathjax"
                 / "output").rglob("*.woff")), "no fonts for the equations"
    labels = [node.get_text()[:3] for node in method.find_all(class_="eqno")]
    assert labels == ["(1)", "(2)", "(3)", "(4)"]


def test_class_picker_is_whole_without_scripts(pages):
    picker = pages["notebooks/04_class_paths"].find(id="class-paths")
    assert picker.find("input", type="range")
    frames = picker.find_all("figure")
    assert len(frames) == 10 and all(frame.find("img")["alt"] and not frame.has_attr("hidden")
                                     for frame in frames)


def test_no_dead_widget(pages):
    for name, page in pages.items():
        assert not page.find("script", type=re.compile("widget-view")), name


@pytest.mark.parametrize(("number", "stops"), [("correlation", False), ("corelation", True)])
def test_a_wrong_number_name_stops_the_build(tmp_path, number, stops):
    """The control, on a book of a page and a notebook of one cell: glue that names nothing must
    fail, otherwise a page could lose a number silently."""
    source = tmp_path / "study"
    shutil.copytree(ROOT / "book", source / "book", ignore=shutil.ignore_patterns("*.md"))
    shutil.copy(ROOT / "_config.yml", source)
    (source / "_toc.yml").write_text("format: jb-book\nroot: book/index\nchapters:\n"
                                     "  - file: notebooks/10_score_or_search\n")
    (source / "book" / "index.md").write_text(
        f"# A page\n\n{{glue:text}}`../notebooks/10_score_or_search.ipynb::{number}:s`\n")
    notebook = nbformat.read(ROOT / "notebooks" / "10_score_or_search.ipynb", 4)
    glued = [cell for cell in notebook.cells if any(
        output.get("metadata", {}).get("scrapbook", {}).get("name") == "correlation"
        for output in cell.get("outputs", []))]
    notebook.cells = [new_markdown_cell("# Its notebook"), *glued]
    (source / "notebooks").mkdir()
    nbformat.write(notebook, source / "notebooks" / "10_score_or_search.ipynb")
    done = subprocess.run([sys.executable, source / "book/build.py", "--notebooks",
                           source / "notebooks", "--out", tmp_path / "out"],
                          capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert bool(done.returncode) == stops, said[-3000:]
    assert ("corelation" in said) == stops and said.count("WARNING") == stops, said[-3000:]
