"""What pages load besides themselves: less of it, nothing from elsewhere, and inks for the dark.

The themes bring MathJax in every variant, source maps, all of Font Awesome and a script that
fetches Thebe from a network. Pages keep what they use: icons as drawings in the page, MathJax's
parts for TeX where a page has equations.
"""

from __future__ import annotations

import re
import shutil
from functools import cache
from pathlib import Path

from bs4 import BeautifulSoup

from book.nodes import classes, has_class, tags

MATHJAX_PARTS = ("startup.js", "core.js", "input/tex.js", "output/chtml.js",
                 "output/chtml/fonts/tex.js", "a11y/assistive-mml.js")
MATHJAX_FOLDERS = ("output/chtml/fonts/woff-v2", "input/tex/extensions")
MATHJAX_LOADS = ('MathJax = {loader: {load: ["input/tex", "output/chtml", "a11y/assistive-mml"]}, '
                 'options: {processHtmlClass: "tex2jax_process|mathjax_process|math"}};')
# theme files that no page needs; MathJax loads its extensions one by one, as equations ask for them
UNUSED = ("locales", "mathjax/input/tex/extensions/all-packages.js", "sphinx-thebe.js",
          "sphinx-thebe.css", "scripts/fontawesome.js", "sbt-webpack-macros.html",
          "webpack-macros.html")
UNUSED_SUFFIXES = (".map", ".LICENSE.txt", ".ttf", ".po")
ICON_SCRIPT = "_static/scripts/fontawesome.js"
ICON_STYLES = {"fa-solid", "fa-regular", "fa-brands", "fas", "far", "fab", "fa", "fa-lg", "fa-fw"}


class Icons:
    """Drawings of Font Awesome's icons, read from the script that the theme brings."""

    def __init__(self, html: Path):
        path = html / ICON_SCRIPT
        self.script = path.read_text(encoding="utf-8") if path.is_file() else ""

    @cache  # noqa: B019  (one object lives as long as a build)
    def drawing(self, name: str) -> str | None:
        """The icon ``name`` as an SVG, or None if there is none of that name. Where a name has
        several styles, the solid one, which the script defines last."""
        found = re.findall(rf'[{{,]"?{re.escape(name)}"?:\[(\d+),(\d+),\[[^\]]*\],"\w+",'
                           rf'(?:"([^"]*)"|\["[^"]*","([^"]*)"\])\]', self.script)
        if not found:
            return None
        width, height, path, second = found[-1]
        return (f'<svg class="np-icon" aria-hidden="true" viewBox="0 0 {width} {height}" '
                f'width="{int(width) / int(height):.3g}em" height="1em">'
                f'<path fill="currentColor" d="{path or second}"/></svg>')

    def put_into(self, page: BeautifulSoup) -> dict[str, str]:
        """Replace a page's icons by places for drawings, and return what belongs into each place.
        """
        drawings = {}
        for icon in tags(page, "i", "span"):
            named = [name for name in classes(icon) if name.startswith("fa-")]
            names = [name for name in named if name not in ICON_STYLES]
            if not names:
                continue
            drawing = self.drawing(names[0].removeprefix("fa-"))
            if drawing is None:
                raise ValueError(f"no icon is named {names[0]}; accepted: names of Font Awesome")
            key = f"np-icon-{names[0]}"
            icon["class"] = [name for name in icon["class"]
                             if not name.startswith("fa") or name == "fa-lg"]
            icon.string = f"%%{key}%%"
            drawings[f"%%{key}%%"] = drawing
        return drawings


def trim_page(page: BeautifulSoup) -> None:
    """Drop from a page's head what it does not use, and let MathJax load TeX's parts alone."""
    every = tags(page)
    has_math = any(has_class(node, "math") for node in every)
    has_tabs = any(has_class(node, "sd-tab-set") for node in every)
    for script in [node for node in every if node.name == "script"]:
        source, text = script.get("src", ""), script.get_text()
        if any(name in source for name in ("fontawesome", "sphinx-thebe")) or (
                "thebe" in text.lower() or script.get("type") == "text/x-thebe-config"):
            script.decompose()
        elif "mathjax/" in source:
            if has_math:
                script["src"] = re.sub(r"mathjax/[\w.-]+$", "mathjax/startup.js", source)
            else:
                script.decompose()
        elif "window.MathJax" in text:
            if has_math:
                script.string = MATHJAX_LOADS
            else:
                script.decompose()
        elif "design-tabs" in source and not has_tabs:
            script.decompose()
    for link in [node for node in every if node.name == "link"]:
        if "sphinx-thebe" in link.get("href", ""):
            link.decompose()
    seen: set[str] = set()
    for node in tags(page, "script", "meta"):
        text = str(node)
        repeated = text in seen or (node.get("name") == "viewport" and "viewport" in seen)
        if repeated and (node.name == "meta" or node.find_parent("head")):
            node.decompose()
        else:
            seen |= {text, node.get("name") or text}


def trim_static(html: Path) -> None:
    """Remove theme files that no page loads."""
    static = html / "_static"
    for name in UNUSED:
        path = static / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    mathjax = static / "mathjax"
    for path in sorted(static.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
            continue
        inside = path.relative_to(mathjax).as_posix() if path.is_relative_to(mathjax) else None
        kept = inside is None or inside in MATHJAX_PARTS or inside.startswith(MATHJAX_FOLDERS)
        if not kept or path.name.endswith(UNUSED_SUFFIXES):
            path.unlink()
    for path in static.rglob("*.js"):  # a browser's tools would ask for the maps
        text = path.read_text(encoding="utf-8")
        if "sourceMappingURL" in text:
            path.write_text(re.sub(r"//# sourceMappingURL=\S+", "", text), encoding="utf-8")
    for path in static.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        if "sourceMappingURL" in text:
            path.write_text(re.sub(r"/\*# sourceMappingURL=\S+ \*/", "", text), encoding="utf-8")


def inks() -> str:
    """Style rules for figures in the dark: each grey ``--np-ink-XX`` is its inverse, and paper
    (``ff``) is the page's background."""
    rules = "".join(f"--np-ink-{grey:02x}:#{255 - grey:02x}{255 - grey:02x}{255 - grey:02x};"
                    for grey in range(255))
    return ('@media screen{html[data-theme="dark"]{' + rules
            + "--np-ink-ff:var(--pst-color-background,#121212);}}\n")


def put_inks(html: Path) -> None:
    """Append the inks to the style sheet of the study."""
    sheet = html / "_static" / "study.css"
    sheet.write_text(sheet.read_text(encoding="utf-8") + inks(), encoding="utf-8")


