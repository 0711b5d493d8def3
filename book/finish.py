"""What is done to pages after Sphinx: figures and icons drawn in the page, names and roles for
those who listen, places for links to cells, descriptions, and nothing that is not used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from bs4 import BeautifulSoup, Tag

from book import assets, drawings, excerpts
from book.nodes import classes, has_class, is_inside, tags

SITE = "Neuron Paths"
DESCRIPTION = 200  # characters of a page's description
NO_MODE = 'dataset.mode = localStorage.getItem("mode") || ""'
NOT_A_PAGE = ("_static", "_sources", "_images")


def finish(html: Path, where: Mapping[str, str]) -> None:
    """Finish every page of a book that Sphinx has just written.

    Args:
        html: the folder of the book.
        where: the project's addresses.
    """
    icons, texts = assets.Icons(html), {}
    for path in sorted(html.rglob("*.html")):
        inside = path.relative_to(html)
        if inside.parts[0] in NOT_A_PAGE:
            continue
        page = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        assets.trim_page(page)
        mend_roles(page)
        frame_tables(page)
        break_names(page)
        number_chapters(page, path.name)
        fold_code(page)
        frame_pictures(page)
        name_cells(page)
        describe(page, inside, where)
        name = inside.with_suffix("").as_posix()
        texts[name] = excerpts.excerpts(page)
        drawings.take_out_data(page, path, html)
        places = drawings.put_drawings(page, path) | icons.put_into(page)
        drawings.shown_lazily(page)
        if name == "search":
            first = page.find("script", src=re.compile("searchtools"))
            first.insert_before(page.new_tag("script", src=excerpts.SCRIPT))
        text = first_mode(str(page))
        for place, drawing in places.items():
            text = text.replace(place, drawing)
        path.write_text(text, encoding="utf-8")
    assets.trim_static(html)
    assets.put_inks(html)
    excerpts.write(html, texts)


def first_mode(page: str) -> str:
    """Give a reader who has chosen no theme the system's: the theme's script would say an error of
    the empty word that it sets.  Its option ``default_mode`` would be written to ``data-theme``
    too, where ``auto`` has no colours as long as no script has run."""
    return page.replace(NO_MODE, NO_MODE.replace('""', '"auto"'))


def number_chapters(page: BeautifulSoup, own: str) -> None:
    """Put a chapter's number before its name in the list of pages: texts and commands call it by
    that.

    Args:
        own: the page's file, to which its own link, ``#``, leads.
    """
    for link in tags(page, "a"):
        if not (has_class(link, "reference", "internal") and has_class(link.parent, "toctree-l1")
                and is_inside(link.parent, "nav")):
            continue
        leads_to = own if link["href"] == "#" else link["href"]
        if found := re.search(r"(?:^|/)(\d\d)_\w+\.html$", leads_to):
            number = page.new_tag("span", attrs={"class": "np-chapter"})
            number.string = f"{found[1]} "
            link.insert(0, number)


def mend_roles(page: BeautifulSoup) -> None:
    """Give back what the themes' markup takes from those who listen to a page."""
    every = tags(page)
    for node in every:
        if node.has_attr("aria-label") and (node.name == "summary"
                                            or has_class(node, "search-button-field")):
            del node["aria-label"]  # it has a text, which is its name
    for summary in every:
        if summary.name == "summary" and is_inside(summary, "nav"):
            link = summary.find_parent("li").find("a")
            summary["aria-label"] = f"Pages below {link.get_text(strip=True)}"
    for listed in every:
        if listed.get("role") != "list" or not has_class(listed, "citation-list"):
            continue
        for anchor in listed.find_all("a", recursive=False):
            entry = anchor.find_next_sibling("div", class_="citation")
            if entry is not None:
                entry.insert(0, anchor.extract())
        for entry in listed.find_all("div", class_="citation", recursive=False):
            entry["role"] = "listitem"
    for corner in every:
        if corner.name == "th" and is_inside(corner, "article") and not (
                corner.get_text(strip=True) or corner.find("img")):
            corner.name = "td"
            corner.attrs.pop("scope", None)
    for number, name in (("primary", "Site"), ("secondary", "On this page")):
        own = f"pst-{number}-sidebar"
        if sidebar := next((node for node in every if node.get("id") == own), None):
            sidebar["role"], sidebar["aria-label"] = "region", name
    for link in every:
        if link.name == "a" and has_class(link, "btn-download-source-button"):
            link["download"] = ""
            link.attrs.pop("target", None)


def frame_tables(page: BeautifulSoup) -> None:
    """Put every table that is wider than a narrow screen into a box that scrolls, reached by
    keyboard too."""
    tables = [table for table in tags(page, "table") if is_inside(table, "article")]
    for number, table in enumerate(tables, 1):
        if table.find_parent(class_="np-scroll") or table.find_parent("table"):
            continue
        said = table.find("caption")
        heading = table.find_previous(["h1", "h2", "h3", "h4"])
        name = said or heading
        words = own_words(name) if name else ""
        box = page.new_tag("div", attrs={"class": "np-scroll", "tabindex": "0", "role": "region",
                                         "aria-label": f"Table {number}: {words}".rstrip(": ")})
        table.wrap(box)


def break_names(page: BeautifulSoup) -> None:
    """Let long names of files break behind a slash or an underscore, and nowhere else."""
    for code in tags(page, "code"):
        table = code.find_parent("table")
        if table is None or not is_inside(table, "article"):
            continue
        for text in code.find_all(string=re.compile(r"[/_]\w")):
            parts = re.split(r"(?<=[/_])(?=\w)", text)
            text.replace_with(*[each for part in parts for each in (page.new_tag("wbr"), part)][1:])


def fold_code(page: BeautifulSoup) -> None:
    """A small toggle in place of the theme's box, which is larger than what it hides."""
    for details in tags(page, "details"):
        if not has_class(details, "above-input"):
            continue
        show, hide = (details.select_one(f"summary .{state}") for state in ("collapsed",
                                                                            "expanded"))
        summary = details.summary
        summary.clear()
        for name, said in (("np-show", show), ("np-hide", hide)):
            part = page.new_tag("span", attrs={"class": name})
            part.string = said.get_text(strip=True)
            summary.append(part)
        details["class"] = ["np-code", "above-input"]


def frame_pictures(page: BeautifulSoup) -> None:
    """Put pictures of outputs into boxes that scroll on narrow screens."""
    for image in tags(page, "img"):
        box = image.parent
        for around in ("a", "figure"):
            box = box.parent if box.name == around else box
        if box.name == "div" and has_class(box, "cell_output") and not image.get(
                "src", "").endswith(".svg"):
            image.wrap(drawings.frame(page))


def own_words(node: Tag) -> str:
    """A heading's words without the sign of its link."""
    return " ".join("".join(node.find_all(string=True)).split()).removesuffix("#").strip()


def name_cells(page: BeautifulSoup) -> None:
    """Make a cell's identifier, which its tag carries through Sphinx, the place of links to it."""
    for cell in tags(page, "div"):
        for name in classes(cell) if has_class(cell, "cell") else ():
            if name.startswith("tag_cell-"):
                cell["id"] = name.removeprefix("tag_")


def describe(page: BeautifulSoup, inside: Path, where: Mapping[str, str]) -> None:
    """Say what a page is about to search engines and previews of links."""
    first = page.select_one("article section > p")
    words = " ".join(first.get_text().split()) if first else SITE
    if len(words) > DESCRIPTION:
        words = words[:DESCRIPTION].rpartition(" ")[0] + " …"
    heading = page.select_one("article h1")
    named = {"og:title": own_words(heading) if heading else SITE, "og:description": words,
             "og:type": "article", "og:site_name": SITE}
    if where["site"]:
        named["og:url"] = f"{where['site'].rstrip('/')}/{inside.as_posix()}"
    head = page.head
    if head is None:
        return
    head.append(page.new_tag("meta", attrs={"name": "description", "content": words}))
    for name, content in named.items():
        head.append(page.new_tag("meta", attrs={"property": name, "content": content}))
