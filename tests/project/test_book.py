"""The book builds from the stored notebooks without a warning, and its pages are whole without a
network."""

from __future__ import annotations

import dataclasses
import html as escaping
import re
import shutil
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlparse

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from book import build, chapters, data_files, drawings, every_number, manifest, neurolibre
from book.drawings import finding_line
from book.finish import break_names, mend_roles, number_chapters
from book.provenance import (
    ADDRESSES,
    SHOWN_PARAMETERS,
    addresses,
    escaped,
    of_chapter,
    parameters,
)
from neuronpath_core.runs import current
from neuronpath_core.runs.choice import notebook_names
from neuronpath_core.runs.notebooks import Run, plan
from neuronpath_core.runs.outputs import store_outputs
from neuronpath_core.stats.claims import MIME, Claim, Comparison, as_json
from neuronpath_core.stats.rules import Rule
from neuronpath_core.study.profiles import results_folder
from notebooks import conftest
from tests import small_study
from tests.book_pages import ROOT, built

PAGES = ["book/index", "book/method", "book/findings", "book/claims", "book/limits", "book/reproduce",
         "book/api", "book/bibliography", "book/numbers", "book/use_it", "book/glossary", "book/sources",
         "book/api/core"]
NOWHERE = dict.fromkeys(ADDRESSES, "")
pytestmark = pytest.mark.xdist_group("book")  # it is built once


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> Path:
    return built(tmp_path_factory)


@pytest.fixture(scope="module")
def pages(html) -> dict[str, BeautifulSoup]:
    names = PAGES + [f"notebooks/{name}" for name in notebook_names(ROOT)]
    return {name: BeautifulSoup((html / f"{name}.html").read_text(), "html.parser")
            for name in names}


def test_the_pages_as_built(html, pages):
    """One build, every page: nothing broken, nothing loaded from elsewhere, every figure described
    and numbered, no traceback."""
    assert (html / "index.html").is_file()
    there = cache(lambda folder, path: (folder / path).resolve().exists())
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
            assert there((html / name).parent, unquote(target.path)), f"{name}: broken link {address}"
        text = article.get_text()
        assert "Traceback" not in text and "WARNING" not in text, name
        assert not re.search(r"\{glue|\{cite|\{doc|::\w+",
                             text.replace("notebooks/02", "")) or name == "book/api", name
    for name in notebook_names(ROOT):
        captions = [caption.get_text()
                    for caption in pages[f"notebooks/{name}"].find_all("figcaption")]
        assert any(re.match(r"\s*Fig\.\s*\d+", caption)
                   for caption in captions), f"{name}: no numbered figure"


def test_the_foot_of_a_page_is_drawn(pages):
    foot = pages["notebooks/02_table1"].find_all(class_="np-provenance")[-1].get_text()
    assert "in 70 s: " in foot and "PyTorch" in foot and "seed = 0" in foot
    assert "n_images = " in foot
    for name in PAGES:
        assert "neuronpath_core" in pages[name].find_all(class_="np-provenance")[-1].get_text()


def test_equations_are_drawn_without_a_network(html, pages):
    method = pages["book/method"]
    assert len(method.find_all(class_="math")) > 20
    script = method.find("script", src=re.compile("mathjax"))
    assert ((html / "book").joinpath(script["src"].split("?")[0])).resolve().is_file()
    assert not method.find("script", src=re.compile("tex-chtml"))
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


def test_buttons_are_those_with_an_address(html, tmp_path):
    """None as long as there is none; each that is given, in one file; what is no address, refused.
    """
    assert set(addresses(ROOT / "book" / "addresses.yml")) == set(ADDRESSES) == {
        "site", "repository", "branch", "issues", "binder", "colab", "pdf", "doi"}
    configuration = {"html": {}}
    build.with_buttons(configuration, NOWHERE)
    assert configuration == {"html": {}}
    file = tmp_path / "addresses.yml"
    file.write_text("repository: https://example.org/a/b\nbinder: https://example.org\n"
                    "doi: https://doi.org/1\n")
    build.with_buttons(configuration, addresses(file))
    assert configuration["html"] == {"use_repository_button": True}
    assert configuration["repository"] == {"url": "https://example.org/a/b", "branch": "main"}
    assert configuration["launch_buttons"] == {"binderhub_url": "https://example.org"}
    icons = configuration["sphinx"]["config"]["html_theme_options"]["icon_links"]
    assert [icon["url"] for icon in icons] == ["https://doi.org/1"]
    for text, said in (("homepage: https://example.org", "accepted: site, repository"),
                       ("repository: example.org", "accepted: an address"),
                       ("- https://example.org", "addresses.yml is no mapping; accepted: lines"),
                       ("site: a: b", "addresses.yml: it is not YAML: .*; accepted: YAML")):
        file.write_text(text)
        with pytest.raises(ValueError, match=said) as refused:
            addresses(file)
        assert "\n" not in str(refused.value)
    file.write_text("")
    assert addresses(file) == NOWHERE


def test_wrong_addresses_end_a_build_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "addresses.yml").write_text("homepage: https://example.org\n")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["build.py", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="^book: addresses.yml has .*; accepted: site, repository"):
        build.main()


@pytest.mark.parametrize("said, name, rest", [
    ("Neurons that an image's path shares & more, % of them; with 95 % intervals.",
     "Neurons that an image's path shares & more, % of them", "With 95 % intervals."),
    ("Accuracy of the whole model, with 95 % intervals: 80 images",
     "Accuracy of the whole model", "With 95 % intervals: 80 images"),
    ("J1. Whether path neurons write their class: a percentile.",
     "J1. Whether path neurons write their class", "A percentile."),
    ("Mean depth of all neurons (0: first, 1: last) of each model, 95 % intervals",
     "Mean depth of all neurons", "(0: first, 1: last) of each model, 95 % intervals"),
    ("A caption of one clause and no more.", "A caption of one clause and no more", "")])
def test_a_folded_table_shows_its_name_and_holds_the_rest(said, name, rest):
    rows = '<span class="np-rows">(2 rows)</span>'
    table = (f'<details class="np-table"><summary>{escaping.escape(said)} {rows}</summary>'
             "<table></table></details>")
    page = BeautifulSoup(data_files.short_summary(table), "html.parser").details
    assert page.summary.get_text() == f"{name} (2 rows)"
    below = page.find("p", class_="np-said")
    assert (below.get_text() if below else "") == rest and page.table is not None
    words = lambda text: re.findall(r"\w+", text.lower())  # noqa: E731
    assert words(f"{name} {rest}") == words(said)
    whole = f'<figure class="np-table"><figcaption>{escaping.escape(said)}</figcaption></figure>'
    assert data_files.short_summary(whole) == whole


def test_tables_bring_their_data_to_the_page(tmp_path):
    """Each table has a link to its CSV, the last section lists all of them and their hash."""
    frame = '<details class="np-table" data-csv="{0}"><summary>{1} <span class="np-rows">(2 rows)</span></summary><table></table></details>'
    nb = new_notebook(cells=[new_code_cell("table", outputs=[new_output("display_data", data={
        "text/html": frame.format("effects", title), "text/csv": f"model,effect\n{title},1\nb,2\n"})])
        for title in ("Effects & more", "Again")])
    files = data_files.take_tables(nb, "02_table1")
    assert [(file.address, file.title, file.rows) for file in files] == [
        ("02_table1/effects.csv", "Effects & more", 2), ("02_table1/effects-2.csv", "Again", 2)]
    for cell, file in zip(nb.cells, files, strict=True):
        shown = BeautifulSoup(cell.outputs[0].data["text/html"], "html.parser")
        link = shown.select_one("details > a.np-download")
        assert link["href"] == file.address and link.has_attr("download")
        assert "text/csv" not in cell.outputs[0].data
    data_files.write_files(files, tmp_path)
    assert (tmp_path / files[0].address).read_text() == files[0].text
    foot = of_chapter(ROOT, "02_table1", nb, files, [], NOWHERE)
    assert foot.count(".csv") == 2 and data_files.sha256(files) in foot
    assert "neuronpath run 02" in foot and "02_table1.ipynb" in foot
    changed = [*files[:1], dataclasses.replace(files[1], text=files[1].text + "c,3\n")]
    assert data_files.sha256(changed) != data_files.sha256(files)


def test_every_number_is_listed_with_the_cell_that_made_it(html, pages):
    """Once for each page that shows it, and each link leads to a cell that glues that name, or to
    a section of the chapter that makes the claim."""
    names = [path.relative_to(ROOT).with_suffix("").as_posix()
             for path in (ROOT / "book").rglob("*.md") if path.name != "README.md"]
    glued = {(name, *found[1:])
             for name in names + [f"notebooks/{each}" for each in notebook_names(ROOT)]
             for found in every_number.uses(written(name), name)}
    rows = pages["book/numbers"].select("table.np-numbers tbody tr")
    claims = pages["book/numbers"].select("table.np-claimed tbody tr")
    places = {name: {node["id"]: node for node in reversed(page.find_all(id=True))}
              for name, page in pages.items()}
    assert len(rows) == len(glued) > 100 and len(claims) > 100
    assert f"There are {len(rows) + len(claims)} of them" in pages["book/numbers"].get_text()
    for link in (link for row in claims for link in row.select("a")):
        path, _, place = link["href"].partition("#")
        assert place in places[path.removeprefix("../").removesuffix(".html")], link
    for row in rows:
        value, _, name, cell = row.find_all("td")
        path, _, place = cell.a["href"].partition("#")
        code = places[path.removeprefix("../").removesuffix(".html")][place]
        assert value.get_text() and "glue" in code.get_text(), name.get_text()


def chapter(name: str, number: int, *cells: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A chapter with a title, executed on a day of its own."""
    return new_notebook(cells=[new_markdown_cell(f"# {name}"), *cells], metadata={"neuronpath": {
        "executed": current.record("0" * 64, 7.0) | {"date": f"2026-01-{number:02}"}}})


def gluing(name: str, kind: str, value: str) -> nbformat.NotebookNode:
    return new_code_cell(f"glue({name!r})", metadata={"tags": ["remove-cell"]}, outputs=[new_output(
        "display_data", {f"{chapters.RECORD}{kind}": value},
        metadata={"scrapbook": {"name": name}})])


@pytest.fixture
def little(tmp_path, monkeypatch) -> Path:
    """The staged sources of a book of three pages: one shows a number of chapter 07 twice, a claim
    of 11 and a figure of 18, one shows nothing of the chapter 12 that it names, and one lists all
    numbers."""
    root = tmp_path / "study"
    shutil.copytree(ROOT / "book" / "templates", root / "book" / "templates")
    (root / "book" / "cards.yml").write_text("[]\n")
    (root / "book" / "index.md").write_text(
        "# First\n\nIt is {glue:text}`../notebooks/07_cost.ipynb::gap:s`.\n\n## Again\n\n"
        "{glue:text}`../notebooks/07_cost.ipynb::gap:s`, in {claim}`11:removal agree`.\n\n"
        "% figure: 18_explore hero\n")
    (root / "book" / "other.md").write_text(
        "# Other\n\n{doc}`../notebooks/12_as` has `notebooks/12_as.ipynb::nothing`.\n")
    (root / "_config.yml").write_text("{}\n")
    (root / "_toc.yml").write_text("root: book/index\nparts:\n- chapters:\n  - file: book/other\n"
                                   "  - file: notebooks/07_cost\n")
    claim = Claim("removal", "2", "It does", (Comparison("digits", "a", 0.1, 0.0, 0.2, 9, "agrees"),),
                  "probability", "others", Rule("Agrees if so."), "lead")
    told = new_output("display_data", {MIME: as_json([claim]), "text/plain": ""})
    # clipping paths have other names in each drawing
    drawn = '<svg width="9" height="9"><title>It falls.</title><g clip-path="url(#p0{})"/></svg>'
    shown = new_code_cell("hero", metadata={"mystnb": {"image": {"alt": "Two rows."}}}, outputs=[
        new_output("display_data", {"image/svg+xml": drawn.format(9 * "a")})])
    made = {"07_cost": [gluing("gap", "text/plain", "'3 %'"),
                        new_markdown_cell("Here it is {glue:text}`gap:s`.")],
            "11_controls": [new_markdown_cell("## Own path"), new_code_cell("lead = 1"),
                            new_code_cell("emit(lead)", outputs=[told])],
            "12_as": [gluing("nothing", "text/plain", "'4 %'")],
            "18_explore": [shown, gluing("hero", "image/svg+xml", drawn.format(9 * "b"))]}
    (root / "notebooks").mkdir()
    for name, cells in made.items():
        nbformat.write(chapter(name, int(name[:2]), *cells), root / "notebooks" / f"{name}.ipynb")
    monkeypatch.setattr(build, "ROOT", root)
    build.stage(build.given(root / "notebooks"), tmp_path / "source", NOWHERE)
    return tmp_path / "source"


def test_narrow_screens_have_the_drawing_that_is_glued_for_them():
    """Both are in the page, described alike; the finding is a line of text and a title that can be
    hidden."""
    drawn = ('<svg width="{}pt" height="9pt"><title>It falls.</title><g id="np-title"/>'
             '<g id="a" clip-path="url(#p)"/><g id="p"/></svg>')
    notebooks = {"18_explore": new_notebook(cells=[gluing("hero", "image/svg+xml", drawn.format(504)),
                                                   gluing("hero narrow", "image/svg+xml",
                                                          drawn.format(252).replace("<title>It falls.</title>", ""))])}
    page = BeautifulSoup(drawings.glued("% figure: 18_explore hero\n", notebooks), "html.parser")
    assert [" ".join(figure["class"]) for figure in page.select("figure")] == [
        "np-figure np-beside", "np-figure np-below"]
    assert [svg["aria-label"] for svg in page.select("svg")] == ["It falls."] * 2
    assert [float(svg["width"]) for svg in page.select("svg")] == [672, 336]
    assert len(page.select("svg .np-title")) == 2 and page.select_one(".np-finding").text == "It falls."
    names = [each["id"] for each in page.select("[id]")]
    assert len(names) == len(set(names)) == 2
    del notebooks["18_explore"].cells[1]
    page = BeautifulSoup(drawings.glued("% figure: 18_explore hero\n", notebooks), "html.parser")
    assert [figure["class"] for figure in page.select("figure")] == [["np-figure"]]


def test_a_chapter_s_own_page_has_the_drawing_that_is_glued_for_narrow_screens(tmp_path):
    drawn = ('<svg width="{}pt" height="9pt"><title>It falls.</title><g fill="var(--np-ink-26, #262626)" '
             'clip-path="url(#p{})"/></svg>')
    shown, other = drawn.format(504, 10 * "a"), drawn.format(252, 10 * "c")
    chapter = new_notebook(cells=[gluing("hero", "image/svg+xml", drawn.format(504, 10 * "b")),
                                  gluing("hero narrow", "image/svg+xml", other),
                                  gluing("alone", "image/svg+xml", drawn.format(9, 10 * "d"))])
    drawings.write_narrow(chapter, tmp_path / "_static")
    assert len(list((tmp_path / "_static").rglob("*.svg"))) == 1
    for folder in ("_images", "notebooks"):
        (tmp_path / folder).mkdir()
    (tmp_path / "_images/hero.svg").write_text(shown)
    (tmp_path / "_images/alone.svg").write_text(drawn.format(9, 10 * "d"))
    page = BeautifulSoup('<article><img alt="Two rows." src="../_images/hero.svg">'
                         '<img src="../_images/alone.svg"></article>', "html.parser")
    found = drawings.put_drawings(page, tmp_path / "notebooks" / "page.html")
    boxes = page.select(".np-figure")
    assert [" ".join(box["class"]) if isinstance(box["class"], list) else box["class"]
            for box in boxes] == ["np-figure np-beside", "np-figure np-below", "np-figure"]
    wide, narrow, _ = (BeautifulSoup(found[box.string], "html.parser").svg for box in boxes)
    assert (wide["width"], narrow["width"]) == ("672", "336")
    assert wide["aria-label"] == narrow["aria-label"] == "Two rows. It falls."


def test_a_picture_gives_way_to_the_one_for_narrow_screens(tmp_path):
    for name in ("_images/path.svg", "_images/other.svg", "_static/path_narrow.svg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("<svg/>")
    (tmp_path / "book").mkdir()
    page = BeautifulSoup('<article><img src="../_images/path.svg"><img src="../_images/other.svg">'
                         "</article>", "html.parser")
    assert drawings.put_drawings(page, tmp_path / "book" / "page.html") == {}
    source, = page.select("picture > source")
    assert source["srcset"] == "../_static/path_narrow.svg" and "768px" in source["media"]
    assert [len(image.find_parents("picture")) for image in page.select("img")] == [1, 0]


def test_a_drawing_in_the_themes_ink_has_its_narrow_one_beside_it(tmp_path):
    ink = '<svg width="{}pt" height="9pt"><g style="fill: var(--np-ink-00, #000000)"/></svg>'
    for name, width in (("_images/path.svg", 504), ("_static/path_narrow.svg", 252)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(ink.format(width))
    (tmp_path / "book").mkdir()
    page = BeautifulSoup('<article><figure><img alt="A path" src="../_images/path.svg"></figure>'
                         "</article>", "html.parser")
    places = drawings.put_drawings(page, tmp_path / "book" / "page.html")
    assert [box["class"] for box in page.select("figure > div")] == [
        "np-figure np-beside", "np-figure np-below"]
    assert [box.string for box in page.select("figure > div")] == list(places)
    assert all('aria-label="A path"' in drawn for drawn in places.values())
    assert ['width="672"' in drawn for drawn in places.values()] == [True, False]
    (tmp_path / "_static" / "path_narrow.svg").unlink()  # the control: without one, there is one box
    page = BeautifulSoup('<article><img alt="A path" src="../_images/path.svg"></article>',
                         "html.parser")
    assert len(drawings.put_drawings(page, tmp_path / "book" / "page.html")) == 1


def test_a_foot_names_the_chapters_whose_numbers_the_page_shows(little):
    feet = {name: re.search(r'"np-provenance">(.*)', (little / f"book/{name}.md").read_text())[1]
            for name in ("index", "other", "numbers")}
    assert feet["index"] == feet["numbers"] == (
        "Numbers of chapters 07, 11, 18, executed 2026-01-07 to 2026-01-18.")
    assert feet["other"].startswith("neuronpath_core ")


def test_numbers_in_sentences_have_minus_signs():
    told = "'-0.9 % [-1.0, +2.0] of tiny-B-16, 5-95 % (-3)'"
    page = new_notebook(cells=[gluing("a", "text/plain", told), gluing("b", "image/svg+xml", "-1")])
    build.typeset(page)
    first, second = (output.data for _, _, output in chapters.glued(page))
    assert first[f"{chapters.RECORD}text/plain"] == (
        "'\u22120.9\u00a0% [\u22121.0, +2.0] of tiny-B-16, 5-95\u00a0% (\u22123)'")
    assert second[f"{chapters.RECORD}image/svg+xml"] == "-1"


def test_names_of_files_break_behind_slashes_and_underscores():
    page = BeautifulSoup("<article><table><tr><td><code>path/joint_attr.py</code> a/b</td></tr></table>"
                         "<code>c/d</code></article>", "html.parser")
    break_names(page)
    assert str(page.td) == "<td><code>path/<wbr/>joint_<wbr/>attr.py</code> a/b</td>"
    assert page.find_all("code")[1].decode_contents() == "c/d"


def test_chapters_have_their_numbers_in_the_list_of_pages():
    item = '<li class="toctree-l1"><a class="{}reference internal" href="{}">{}</a></li>'
    page = BeautifulSoup("<nav>" + item.format("", "07_search_cost.html", "Cost")
                         + item.format("current ", "#", "This") + item.format("", "api.html", "API")
                         + "</nav><a class='reference internal' href='07_search_cost.html'>x</a>",
                         "html.parser")
    number_chapters(page, "21_which_method.html")
    assert [link.get_text() for link in page.find_all("a")] == ["07 Cost", "21 This", "API", "x"]
    number_chapters(page, "glossary.html")
    assert page.find_all("a")[1].get_text() == "21 This"


def test_a_finding_stands_above_its_figure_for_narrow_screens(little):
    text = (little / "book" / "index.md").read_text()
    assert '<p class="np-finding" aria-hidden="true">It falls.</p><figure' in text
    assert finding_line("<svg></svg>") == ""


def test_a_figure_of_another_page_is_described_as_by_the_cell_that_shows_it(little):
    assert 'aria-label="Two rows. It falls."' in (little / "book" / "index.md").read_text()


def test_a_number_is_listed_once_for_a_page_and_so_is_what_a_claim_says(little):
    listed = BeautifulSoup((little / "book" / "numbers.md").read_text(), "html.parser")
    rows = [[cell.get_text() for cell in row.select("td")] for row in listed.select("tbody tr")]
    assert rows == [["3\u00a0%", "First; Again", "gap", "chapter 07, cell None"],
                    ["1 of 1", "Again", "11:removal agree", "Chapter 11: Own path"],
                    ["3\u00a0%", "07_cost", "gap", "chapter 07, cell None"]]
    assert [link["href"] for link in listed.select("td a")][1] == (
        "../notebooks/11_controls.html#own-path")
    assert "There are 3 of them." in listed.get_text()


def test_a_foot_shows_parameters_that_chapters_have():
    nb = new_notebook(cells=[new_code_cell("profiles = ['digits', 'shapes']\nn_images = 3\nx = 1",
                                           metadata={"tags": ["parameters"]})])
    foot = of_chapter(ROOT, "11_controls", nb, [], [], NOWHERE)
    assert "profiles = [&#x27;digits&#x27;, &#x27;shapes&#x27;]</code>, <code>n_images = 3</code>." in foot
    known = {name for page in chapters.read(ROOT).values() for name in parameters(page)}
    assert set(SHOWN_PARAMETERS) <= known


def written(name: str) -> str:
    if name.startswith("notebooks/"):
        return chapters.written(nbformat.read(ROOT / f"{name}.ipynb", 4))
    return (ROOT / f"{name}.md").read_text()


def test_roles_that_the_themes_leave_out_are_put_back():
    page = BeautifulSoup(
        '<nav><ul><li><a href="a.html">API</a><details><summary><i></i></summary></details></li>'
        '</ul></nav><article><div role="list" class="citation-list"><a href="#a"></a>'
        '<div class="citation" role="doc-biblioentry">B</div></div>'
        '<table><tr><th scope="col"></th><th>n</th></tr></table></article>', "html.parser")
    mend_roles(page)
    assert page.nav.summary["aria-label"] == "Pages below API"
    assert [child["role"] for child in page.select_one(".citation-list").find_all(
        recursive=False)] == ["listitem"]
    assert [cell.name for cell in page.find_all(["td", "th"])] == ["td", "th"]


def test_pages_are_described(pages):
    for name, page in pages.items():
        said = page.find("meta", attrs={"name": "description"})["content"]
        assert 20 < len(said) <= 210 and page.html["lang"] == "en", name
        assert page.find("meta", property="og:title")["content"], name
        icon = page.find("link", rel="icon") or page.find("link", rel="shortcut icon")
        assert icon["href"].endswith("favicon.svg"), name


def test_the_manifest_for_a_codecheck_is_the_study(html):
    assert (ROOT / "codecheck.yml").read_text() == manifest.manifest()
    listed = yaml.safe_load((html / "manifest.yml").read_text())["manifest"]
    assert len(listed) > 10 and all((html / each["file"]).is_file() for each in listed)
    assert "_static/verdicts.csv" in {each["file"] for each in listed}


def test_the_manifest_lists_the_verdicts():
    listed = [each["file"] for each in yaml.safe_load(manifest.manifest())["manifest"]]
    assert listed[:-1] == [f"notebooks/{name}.ipynb" for name in notebook_names(ROOT)]
    assert listed[-1] == "_build/digits/html/_static/verdicts.csv"


def test_neurolibre_layout_and_limits(html, tmp_path, monkeypatch):
    needed = [name for name in neurolibre.NEEDED if (ROOT / name).exists()]
    assert needed == list(neurolibre.NEEDED)
    needed.remove("data")  # large, and copied as the others are
    monkeypatch.setattr(neurolibre, "NEEDED", needed)
    neurolibre.lay_out(html.parent / "source", tmp_path / "out")
    names = {path.relative_to(tmp_path / "out").as_posix()
             for path in (tmp_path / "out").glob("*/*")}
    assert {"binder/requirements.txt", "binder/data_requirement.json", "content/_config.yml",
            "content/_toc.yml", "content/notebooks", "neuronpath_core/paths.py"} <= names
    assert (tmp_path / "out/content/files/notebooks/02_table1").is_dir()
    neurolibre.check_limits({"01": 8 * 3600})
    with pytest.raises(ValueError, match="accepted: at most 8 h"):
        neurolibre.check_limits({"01": 8 * 3600, "02": 9})


def test_neurolibre_executes_every_notebook_and_has_the_tables(tmp_path, monkeypatch):
    """Its configuration is the book's, which Sphinx accepts, but for execution and for the folder
    that is put beside the pages, where the pages' links look for their tables."""
    source = tmp_path / "source"
    for name in ("notebooks", "files/notebooks/02_table1"):
        (source / name).mkdir(parents=True)
    shutil.copy(ROOT / "_config.yml", source)
    (source / "files/notebooks/02_table1/effects.csv").write_text("a,b\n1,2\n")
    nb = new_notebook(metadata={"neuronpath": {"executed": {"seconds": 70}}})
    nbformat.write(nb, source / "notebooks" / "02_table1.ipynb")
    monkeypatch.setattr(neurolibre, "NEEDED", ("LICENSE",))
    neurolibre.lay_out(source, tmp_path / "out")
    content = tmp_path / "out" / "content"
    written = yaml.safe_load((content / "_config.yml").read_text())
    assert written["execute"] == {"execute_notebooks": "force", "stderr_output": "warn",
                                  "timeout": -1}
    beside, = written["sphinx"]["config"].pop("html_extra_path")
    assert (content / beside / "notebooks/02_table1/effects.csv").read_text() == "a,b\n1,2\n"
    book = yaml.safe_load((ROOT / "_config.yml").read_text())
    assert written | {"execute": 0} == book | {"execute": 0}


def test_no_dead_widget(pages):
    for name, page in pages.items():
        assert not page.find("script", type=re.compile("widget-view")), name


@pytest.mark.parametrize(("number", "stops"), [
    pytest.param("correlation", False, marks=pytest.mark.thorough), ("corelation", True)])
def test_a_wrong_number_name_stops_the_build(tmp_path, monkeypatch, number, stops):
    """The control, on a book of a page and a notebook of one cell: glue that names nothing must
    fail, otherwise a page could lose a number silently. In this process, which has PyTorch."""
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
    monkeypatch.setattr(build, "ROOT", source)
    monkeypatch.setattr(sys, "argv", ["build.py", "--notebooks", str(source / "notebooks"), "--out",
                                      str(tmp_path / "out")])
    said = ""
    try:
        build.main()
    except SystemExit as stopped:
        said = str(stopped)
    assert said.endswith(f"its sources are in {tmp_path / 'out' / 'source'}") == stops, said[-3000:]
    assert ("corelation" in said) == stops and said.count("WARNING") == stops, said[-3000:]
    assert (tmp_path / "out" / "html" / "index.html").is_file() != stops


def test_style_sheets_have_no_rule_for_what_no_page_has():
    style = "".join(file.read_text() for file in (ROOT / "book/_static").glob("*.css"))
    named = set(re.findall(r"\.(np-[\w-]+|tag_[\w-]+)", style))
    grades = {"np-yes", "np-partly", "np-mixed", "np-no", "np-undecided"}  # np-{{ found.grade.word | lower }}
    assert grades < named and len(named) > 30
    files = [file for folder, pattern in (("book", "*.py"), ("book", "*.md"), ("notebooks", "*.ipynb"),
                                          ("book/templates", "*.html"), ("book/_static", "*.js"),
                                          ("neuronpath_core", "**/*.py"))
             for file in (ROOT / folder).glob(pattern)]
    used = set(re.findall(r"[\w-]+", "".join(file.read_text(encoding="utf-8") for file in files)))
    assert {name.removeprefix("tag_") for name in named - grades} <= used
    assert "span.np-rows" in style  # a table of that class has rows of its own


@pytest.fixture
def study(tmp_path, monkeypatch) -> Path:
    """A small study with a book of its notebooks, none of them executed."""
    monkeypatch.setenv("NEURONPATH_RESULTS", "")
    root = small_study.make_study(tmp_path)
    (root / "book").mkdir()
    for name in ("_config.yml", "_toc.yml"):
        (root / name).write_text("{}\n")
    return root


def execute(root: Path, run: Run, seconds: float = 7.0) -> None:
    """Let a notebook have been executed, without outputs."""
    nb = nbformat.read(root / "notebooks" / f"{run.notebook}.ipynb", 4)
    nb.metadata["neuronpath"] = {"executed": current.record(run.made_from, seconds)}
    run.output.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nb, run.output)
    run.record.write_text(run.made_from)


def test_every_page_says_at_its_foot_when_and_on_what_it_was_executed(study, monkeypatch):
    monkeypatch.setattr(build, "ROOT", study)
    folder = results_folder(study, "digits")
    runs = plan(study, "digits", [], {}, folder)
    for run in runs:
        execute(study, run)
    store_outputs(study, runs[1])
    runs[1].output.unlink()  # it is stored alone
    build.stage(build.checked("digits"), study / "source", NOWHERE)
    feet = {run.notebook: nbformat.read(study / "source" / "notebooks" / f"{run.notebook}.ipynb",
                                        4).cells[-1].source for run in runs}
    for name, foot in feet.items():
        assert "Executed on 20" in foot and "in 7 s: " in foot and escaped(build.CHECKED) in foot
        assert (escaped(build.STORED) in foot) == (name == "02_list")
    # an output of another state is not shown, whichever of the two it is
    changed = "n_images = 101\nmodels = ['one', 'two']\nseed = 0"
    for name, source in (("03_device", ('device = "cpu"\ndtype = "float64"', "print(dtype)")),
                         ("02_list", (changed, "print(n_images, models, seed)"))):
        small_study.write_notebook(study, name, *source)
        with pytest.raises(SystemExit, match=f"{name} has not been executed as it is now"):
            build.stage(build.checked("digits"), study / "source", NOWHERE)


def test_a_chapter_that_a_profile_lacks_something_for_is_that_of_the_default(study, monkeypatch):
    monkeypatch.setattr(build, "ROOT", study)
    small_study.write_profile(study, {**small_study.PROFILE, "not_run": {"02_list": "a list"}},
                              "other")
    for name in ("01_sum", "03_device"):
        small_study.write_notebook(study, name, "profile = 'digits'", "profile")
    for run in plan(study, "other", [], {}, results_folder(study, "other")):
        execute(study, run)
    feet = {name: words for name, _, words in build.checked("other")}
    assert "profile other: a list" in feet["02_list"][0] and feet["01_sum"] == [build.CHECKED]


def test_only_chapters_whose_stored_outputs_are_current_are_not_compared(monkeypatch):
    monkeypatch.setattr(conftest, "stored_notebooks", lambda root: ["08_benchmarks"])

    def ignored(name: str, every: bool) -> bool:
        config = SimpleNamespace(getoption={"--every-notebook": every}.get)
        return bool(conftest.pytest_ignore_collect(ROOT / "notebooks" / name, config))

    assert ignored("08_benchmarks.ipynb", False) and not ignored("08_benchmarks.ipynb", True)
    assert not ignored("09_planted_paths.ipynb", False) and not ignored("README.md", False)
