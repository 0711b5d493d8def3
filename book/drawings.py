"""Figures in a page: SVG with live text in place of a picture of it, so that the page's theme
gives it its colours and a reader can search and enlarge it.

A figure's file holds its finding in ``<title>``; its greys are ``var(--np-ink-XX, #xxxxxx)``.
"""

from __future__ import annotations

import base64
import hashlib
import html as escaping
import re
from collections.abc import Mapping
from pathlib import Path

from bs4 import BeautifulSoup, Tag
from nbformat import NotebookNode

from book import chapters
from book.nodes import is_inside, tags
from neuronpath_core.figures.style import TITLE

PIXELS_PER_POINT = 96 / 72
DATA = re.compile(r"data:image/(png|jpeg|gif|webp|svg\+xml);base64,([A-Za-z0-9+/=\s]+)")
SVG = "image/svg+xml"
GLUED = re.compile(r"^% figure: (\S+) (\S+)$", re.MULTILINE)
CLIP = re.compile(r"\bp[0-9a-f]{10}\b")  # Matplotlib names clipping paths anew in each drawing
NARROW = "screen and (max-width: 768px)"  # as in study.css
SMALL = 2_000  # bytes: below, an image in the page costs less than a request


def finding(text: str) -> str:
    """The finding in a figure's file; empty if it has none."""
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.DOTALL)
    return escaping.unescape(title.group(1)).strip() if title else ""


def finding_line(text: str) -> str:
    """The finding above a figure, shown on narrow screens alone, where the figure's own line is
    scrolled; whoever listens has it from the figure's name."""
    said = finding(text)
    return f'<p class="np-finding" aria-hidden="true">{escaping.escape(said)}</p>' if said else ""


def inline_svg(text: str, alt: str, prefix: str) -> str:
    """An SVG file as an element of a page: named by ``alt`` and its title, its size in pixels, ids
    that the page has once."""
    text = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>", "", text,
                  flags=re.DOTALL)
    told = finding(text)
    text = re.sub(r"<title[^>]*>.*?</title>", "", text, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', text))

    def renamed(found: re.Match) -> str:
        return f' id="{prefix}{found.group(1)}"' if found.group(1) in used else ""

    text = text.replace(f' id="{TITLE}"', f' class="{TITLE}"')
    text = re.sub(r'\sid="([^"]*)"', renamed, text)
    text = re.sub(r"url\(#", f"url(#{prefix}", text)
    text = re.sub(r'href="#', f'href="#{prefix}', text)
    opening = re.search(r"<svg\b[^>]*>", text, re.DOTALL)
    if opening is None:
        raise ValueError("a figure's file has no <svg>; accepted: SVG as Matplotlib writes it")
    attributes = dict(re.findall(r'([\w:-]+)="([^"]*)"', opening.group(0)))
    said = alt.strip()
    if told and told.rstrip(".") not in said:
        said = f"{said.rstrip('.')}. {told}" if said else told
    width, height = (pixels(attributes.get(side)) for side in ("width", "height"))
    box = attributes.get("viewBox") or f"0 0 {width:g} {height:g}"
    new = (f'<svg class="np-drawing" role="img" aria-label="{escaping.escape(said)}" '
           f'viewBox="{box}" width="{width:g}" height="{height:g}" '
           f'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">')
    return re.sub(r">\s+<", "><", new + text[opening.end():]).strip()


def pixels(size: str | None) -> float:
    """A width or height of an SVG file in pixels."""
    found = re.fullmatch(r"([\d.]+)(pt|px|)", size or "")
    if found is None:
        raise ValueError(f"a figure's size is {size!r}; accepted: a number, in pt or px")
    return round(float(found.group(1)) * (PIXELS_PER_POINT if found.group(2) == "pt" else 1), 2)


def put_drawings(page: BeautifulSoup, path: Path) -> dict[str, str]:
    """Replace a page's pictures of drawings by places for them, and return what belongs there.

    If ``_static`` has a drawing for narrow screens, of a page's file or of a chapter's figure,
    these show that one."""
    drawings = {}
    shown = [image for image in tags(page, "img") if image.get("src", "").endswith(".svg")
             and is_inside(image, "article")]
    for number, image in enumerate(shown):
        file = path.parent / image["src"]
        if not file.is_file() or "--np-ink" not in (text := file.read_text(encoding="utf-8")):
            offer_narrow(page, image, path)
            continue
        place, alt = f"%%np-drawing-{number}%%", image.get("alt", "")
        drawings[place] = inline_svg(text, alt, f"d{number}-")
        box, static = frame(page), path.parent / f"{up_to_root(image)}_static"
        box.string = place
        image.replace_with(box)
        for other in (static / narrow_file(Path(image["src"])).name, static / narrow_name(text)):
            if other.is_file():
                below, under = frame(page), f"%%np-drawing-{number}-narrow%%"
                said = " ".join(filter(None, (alt, finding(text))))
                drawings[under] = inline_svg(other.read_text(encoding="utf-8"), said,
                                             f"d{number}-narrow-")
                below.string = under
                box["class"], below["class"] = "np-figure np-beside", "np-figure np-below"
                box.insert_after(below)
                break
        if line := finding_line(text):
            box.insert_before(BeautifulSoup(line, "html.parser"))
    return drawings


def narrow_file(file: Path) -> Path:
    """Where the drawing for narrow screens lies that belongs to another."""
    return file.with_name(f"{file.stem}_narrow{file.suffix}")


def up_to_root(image: Tag) -> str:
    """The way from a page to the book's folder, as its picture's address has it."""
    return "../" * (len(Path(image["src"]).parts) - 2)


def narrow_name(svg: str) -> str:
    """Where in ``_static`` the drawing for narrow screens lies that a chapter glues for one that it
    shows; identifiers of clipping paths are no part of the name."""
    return f"narrow/{hashlib.sha256(CLIP.sub('', svg).strip().encode()).hexdigest()[:32]}.svg"


def write_narrow(page: NotebookNode, static: Path) -> None:
    """Write into ``_static`` the drawings for narrow screens of a chapter, glued as ``KEY narrow``
    beside ``KEY``, for its own page to show."""
    drawn = {name: svg for name, _, output in chapters.glued(page)
             if (svg := output.data.get(f"{chapters.RECORD}{SVG}"))}
    for key, svg in drawn.items():
        if other := drawn.get(f"{key} narrow"):
            file = static / narrow_name(svg)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(other, encoding="utf-8")


def offer_narrow(page: BeautifulSoup, image: Tag, path: Path) -> None:
    """Let a narrow screen take the drawing that was made for it, if ``_static`` has one."""
    other = f"{up_to_root(image)}_static/{narrow_file(Path(image['src'])).name}"
    if (path.parent / other).is_file():
        both = image.wrap(page.new_tag("picture"))
        both.insert(0, page.new_tag("source", attrs={"media": NARROW, "srcset": other}))


def frame(page: BeautifulSoup) -> Tag:
    """A box that a figure wider than the screen scrolls in, reached by keyboard too."""
    return page.new_tag("div", attrs={"class": "np-figure", "tabindex": "0", "role": "group",
                                      "aria-label": "Figure"})


def take_out_data(page: BeautifulSoup, path: Path, html: Path) -> None:
    """Write pictures that a page holds as text into files of their own, to be loaded when they
    come into sight."""
    for image in tags(page, "img"):
        if not image.get("src", "").startswith("data:image"):
            continue
        found = DATA.fullmatch(image["src"].strip())
        if found is None or len(found.group(2)) < SMALL:
            continue
        content = base64.b64decode(found.group(2))
        name = f"{hashlib.sha256(content).hexdigest()[:32]}.{found.group(1).split('+')[0]}"
        (html / "_images").mkdir(exist_ok=True)
        (html / "_images" / name).write_bytes(content)
        up = "../" * (len(path.relative_to(html).parts) - 1)
        image["src"], image["loading"] = f"{up}_images/{name}", "lazy"


def shown_lazily(page: BeautifulSoup) -> None:
    """Pictures far down a page are loaded when they come near."""
    for image in [each for each in tags(page, "img") if is_inside(each, "article")][1:]:
        image["loading"] = image.get("loading", "lazy")


def glued(text: str, notebooks: Mapping[str, NotebookNode]) -> str:
    """A page's text with the figures that it asks for, ``% figure: CHAPTER KEY`` on a line of its
    own, as SVG.

    Such a figure is glued by its chapter and shown there, and is described by that cell's words.
    If the chapter glues ``KEY narrow`` too, narrow screens show that one;
    ``ValueError`` if no chapter glues it.
    """
    def drawing(found: re.Match) -> str:
        chapter, key = found.groups()
        page = notebooks.get(chapter)
        drawn = {name: svg for name, _, output in (chapters.glued(page) if page else ())
                 if (svg := output.data.get(f"{chapters.RECORD}{SVG}"))}
        if svg := drawn.get(key):
            said = described(page, svg)
            own = inline_svg(svg, said, f"{key}-")
            other = drawn.get(f"{key} narrow")
            box = ('<figure class="np-figure{}" tabindex="0" role="group" aria-label="Figure">{}'
                   "</figure>")
            if not other:
                return f"```{{raw}} html\n{finding_line(svg)}{box.format('', own)}\n```"
            told = " ".join(filter(None, (said, finding(svg))))
            below = inline_svg(other, told, f"{key}-narrow-")
            return (f"```{{raw}} html\n{finding_line(svg)}{box.format(' np-beside', own)}"
                    f"{box.format(' np-below', below)}\n```")
        raise ValueError(f"no figure {key!r} in chapter {chapter!r}; accepted: a figure that the "
                         f"chapter glues under this name")

    return GLUED.sub(drawing, text)


def described(page: NotebookNode, svg: str) -> str:
    """The description of a figure, of the cell that shows it."""
    drawn = CLIP.sub("", svg)
    for cell in page.cells:
        if any(CLIP.sub("", output.get("data", {}).get(SVG, "")) == drawn
               for output in cell.get("outputs", [])):
            return cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
    return ""
