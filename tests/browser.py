"""Pages as a browser shows them: what each check finds wrong, in words.

The browser is Debian's Chromium through Playwright. Pages are opened from files, as somebody does
who has downloaded the book.
"""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlparse

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
THEMES, WIDTHS = ("light", "dark"), (1280, 390)
FIRST_PAGE, ANY_PAGE, STATIC = 1_000_000, 1_500_000, 4_000_000  # bytes
TEXTS = (".html", ".css", ".js", ".svg")
LEAST_TEXT = 10  # pixels
SEVERE = ("serious", "critical")
# what can differ with the theme, and with the width; everything else is looked at once
OF_THEME, OF_WIDTH = ("color-contrast", "link-in-text-block"), ("scrollable-region-focusable",)
PAPER = 688  # pixels: the width that A4 leaves between margins of 14 mm

# of two drawings of a figure, one for narrow screens, the other is not shown and has no size
SMALL_TEXT = """least => [...document.querySelectorAll("svg.np-drawing text")]
  .filter(text => !text.closest(".np-beside, .np-below, .np-title") || text.checkVisibility())
  .map(text => {
  const size = parseFloat(getComputedStyle(text).fontSize), at = text.getScreenCTM();
  return [size * Math.hypot(at.a, at.b), text.textContent.trim()];
}).filter(([size, words]) => words && size < least - 0.05)
  .map(([size, words]) => `${size.toFixed(1)} px: ${words}`)"""
# what a command prints in columns scrolls
CUT_CODE = """() => [...document.querySelectorAll("div.highlight pre")]
  .filter(code => !code.closest(".np-printed"))
  .map(code => [code, code.closest("details")])
  .filter(([code, box]) => { if (box) box.open = true; return code.scrollWidth > code.clientWidth + 1; })
  .map(([code]) => code.textContent.slice(0, 60))"""
OPEN_CODE = """() => [...document.querySelectorAll("div.cell_input")]
  .filter(cell => cell.checkVisibility()).map(cell => cell.textContent.trim().slice(0, 60))"""
CLIPPED = """width => [...document.querySelectorAll("article table, article svg.np-drawing, article img, article pre")]
  .filter(node => node.checkVisibility() && node.getBoundingClientRect().right > width + 1)
  .map(node => `${node.tagName} to ${Math.round(node.getBoundingClientRect().right)} px: `
    + (node.textContent || node.getAttribute("alt") || "").trim().slice(0, 60))"""
HIDDEN = """() => [...document.querySelectorAll("details.np-table table")]
  .filter(table => !table.checkVisibility())
  .map(table => (table.caption || table).textContent.trim().slice(0, 60))"""
DARK_INK = """() => {
  const light = colour => { const c = colour.match(/[\\d.]+/g).map(Number);
    return (0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]) / 255; };
  return [...document.querySelectorAll("svg.np-drawing text")]
    .filter(text => text.closest("[style*='--np-ink']"))
    .map(text => [light(getComputedStyle(text).fill), text.textContent.trim()])
    .filter(([ink, words]) => words && ink < 0.4).map(([ink, words]) => `${ink.toFixed(2)}: ${words}`); }"""


def executable() -> str | None:
    """Where a Chromium is, or None."""
    given = os.environ.get("NEURONPATH_CHROMIUM")
    return given or next((found for name in NAMES if (found := shutil.which(name))), None)


@contextmanager
def opened():
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable(),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """A page in a browser and what happened while it was loaded."""

    page: object
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def outside(self) -> list[str]:
        """Addresses that it asked another machine for."""
        return [each for each in self.requests if urlparse(each).scheme not in (
            "file", "data", "blob", "about")]

    @property
    def bytes(self) -> int:
        """What all files that it loaded transfer, each once: texts compressed, as servers of pages
        send them."""
        files = {Path(unquote(urlparse(each).path)) for each in self.requests
                 if each.startswith("file:")}
        return sum(len(gzip.compress(file.read_bytes())) if file.suffix in TEXTS
                   else file.stat().st_size for file in files if file.is_file())


@contextmanager
def visit(browser, address: str, theme: str | None = "light",
          width: int = 1280) -> Iterator[Visit]:
    """A page opened with a theme, on a screen of a width in pixels; nothing outside is reached.
    Without a theme it is somebody's first visit."""
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=False)
    context.route("**/*", lambda route: route.abort() if route.request.url.startswith("http")
                  else route.continue_())
    if theme is not None:
        context.add_init_script(f"localStorage.setItem('mode', '{theme}');"
                                f"localStorage.setItem('theme', '{theme}');")
    seen = Visit(context.new_page())
    seen.page.on("request", lambda request: seen.requests.append(request.url))
    seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
    seen.page.on("console", lambda message: seen.errors.append(message.text)
                 if message.type == "error" else None)
    try:
        seen.page.goto(address, wait_until="load")
        # equations are set after the page is there
        seen.page.wait_for_function(
            "!window.MathJax?.startup?.promise || "
            "window.MathJax.startup.promise.then(() => true)", timeout=20_000)
        yield seen
    finally:
        context.close()


def accessibility(page, rules: Sequence[str] = ()) -> list[str]:
    """What axe-core finds serious or critical on a page, a line for each rule and element.

    Args:
        page: an open page.
        rules: these alone; all of them, those on names of controls too, where none is named.
    """
    import axe_playwright_python

    if not page.evaluate("typeof axe !== 'undefined'"):
        page.evaluate((Path(axe_playwright_python.__file__).parent
                       / "axe.min.js").read_text(encoding="utf-8"))
    options = {"resultTypes": ["violations"]} | (
        {"runOnly": {"type": "rule", "values": list(rules)}} if rules
        else {"rules": {"label-content-name-mismatch": {"enabled": True}}})
    found = page.evaluate("options => axe.run(document, options)", options)
    return [f"{violation['impact']} {violation['id']}: {node['html'][:160]} "
            f"({' '.join((node['failureSummary'] or '').split())[:200]})"
            for violation in found["violations"] if violation["impact"] in SEVERE
            for node in violation["nodes"]]


def too_wide(page) -> list[str]:
    """Whether a page is wider than its screen."""
    wide, screen = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    return [f"{wide} px on a screen of {screen}"] if wide > screen else []


def print_problems(page) -> list[str]:
    """What is clipped or stays folded on paper."""
    page.emulate_media(media="print")
    page.set_viewport_size({"width": PAPER, "height": 900})
    return [*page.evaluate(CLIPPED, PAPER), *page.evaluate(HIDDEN)]
