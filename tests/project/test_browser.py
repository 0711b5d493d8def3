"""The book in a browser, from disk: weight, requests, errors, reach without eyes or mouse, themes,
screens, search, print. Each check is shown a page with the fault planted, and finds it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from tests import browser as look
from tests.book_pages import ROOT, built

FIRST = "book/index.html"
KEPT = ROOT / "_build" / "screenshots"
pytestmark = [pytest.mark.xdist_group("book"), pytest.mark.browser]


@pytest.fixture(scope="module")
def chromium():
    missing = "no Chromium (Debian: apt-get install chromium; or name one in NEURONPATH_CHROMIUM)"
    if look.executable():
        try:
            import playwright.sync_api  # noqa: F401
            missing = ""
        except ImportError:
            missing = "no playwright (pip install -e '.[test]')"
    if missing and os.environ.get("NEURONPATH_BROWSER") == "required":
        pytest.fail(missing)
    if missing:
        pytest.skip(f"THE PAGES WERE NOT LOOKED AT IN A BROWSER: {missing}")
    with look.opened() as browser:
        yield browser


@pytest.fixture(scope="module")
def html(chromium, tmp_path_factory) -> Path:
    return built(tmp_path_factory)


def addresses(html: Path) -> dict[str, str]:
    return {path.relative_to(html).as_posix(): path.as_uri() for path in sorted(html.rglob("*.html"))
            if not path.relative_to(html).parts[0].startswith("_") and path != html / "index.html"}


def said(problems: dict[str, list[str]]) -> str:
    found = {name: lines[:6] for name, lines in problems.items() if lines}
    return "\n".join(f"{name}: {line}" for name, lines in found.items() for line in lines)


VIEWS = [(theme, width) for width in look.WIDTHS for theme in look.THEMES]
WHOLE = pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.thorough)],
                                ids=["each page once", "every theme and width"])


def visits(names: Iterable[str], whole: bool) -> Iterator[tuple[str, str, int, Sequence[str] | None]]:
    """Pages with theme, width and the rules of accessibility that they are held to.

    Each run visits a page once, themes and widths in turn, every third with all rules, which take
    as long as the rest; of the pages of the interface, which are made alike, the first. The whole
    is each page at every theme and width: the first time with every rule, then with those that can
    differ. What all pages share, such as the bar of a narrow screen, is held to every rule at each
    theme and width on the first page.
    """
    names = list(names)
    alike = [name for name in names if name.startswith("book/api/")][1:]
    names = [name for name in names if whole or name not in alike]
    for place, name in enumerate(names):
        if name == FIRST:
            yield from ((name, *view, ()) for view in VIEWS)
        elif not whole:
            yield name, *VIEWS[place % len(VIEWS)], None if place % 3 else ()
        else:
            for theme, width in VIEWS:
                rules = (*(look.OF_THEME if width == 1280 else ()),
                         *(look.OF_WIDTH if theme == "light" else ()))
                yield name, theme, width, () if (theme, width) == VIEWS[0] else rules or None


def on_paper(page) -> list[str]:
    """What is wrong with a page when it is printed; it is as before afterwards."""
    size = page.viewport_size
    found = [f"on paper: {each}" for each in look.print_problems(page)]
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    if background not in ("rgb(255, 255, 255)", "rgba(0, 0, 0, 0)"):
        found.append(f"prints on {background}")
    page.emulate_media(media="screen")
    page.set_viewport_size(size)
    return found


def problems_of(seen: look.Visit, name: str, theme: str, width: int,
                rules: Sequence[str] | None) -> list[str]:
    """What is wrong with an open page on the screen, in words."""
    most = look.FIRST_PAGE if name == FIRST else look.ANY_PAGE
    found = [f"asks for {each}" for each in seen.outside]
    found += [f"error: {each}" for each in seen.errors]
    found += [f"loads {seen.bytes} of {most} bytes"] if seen.bytes > most else []
    found += [f"too wide: {each}" for each in look.too_wide(seen.page)]
    found += [f"code is open: {each}" for each in seen.page.evaluate(look.OPEN_CODE)]
    found += [f"small text: {each}" for each in seen.page.evaluate(look.SMALL_TEXT, look.LEAST_TEXT)]
    if theme == "dark":
        found += [f"dark ink: {each}" for each in seen.page.evaluate(look.DARK_INK)]
    found += look.accessibility(seen.page, rules) if rules is not None else []
    seen.page.screenshot(path=KEPT / f"{name.replace('/', '_')}_{theme}_{width}.png")
    return found


def test_each_page_is_visited_and_every_view_is_among_the_visits():
    names = [f"book/api/{name}.html" for name in "ab"] + [FIRST, *map(str, range(12))]
    for whole, least in ((False, names[:1] + names[2:]), (True, names)):
        made = list(visits(names, whole))
        assert {name for name, *_ in made} == set(least)
        assert [each for name, *each, _ in made if name == FIRST] == [list(view) for view in VIEWS]
        # themes, widths and all rules of accessibility meet on other pages, too
        assert {tuple(each) for name, *each, rules in made if name != FIRST} == set(VIEWS)
        assert {(theme, width) for name, theme, width, rules in made if rules == ()
                and name != FIRST} == (set(VIEWS[:1]) if whole else set(VIEWS))
        assert len(made) == (len(names) * 4 if whole else len(least) + 3)


@WHOLE
def test_every_page_is_light_quiet_and_for_everybody(chromium, html, whole):
    """On the screen and on paper."""
    KEPT.mkdir(parents=True, exist_ok=True)
    problems: dict[str, list[str]] = {}
    places = addresses(html)
    for name, theme, width, rules in visits(places, whole):
        with look.visit(chromium, places[name], theme, width) as seen:
            found = problems_of(seen, name, theme, width, rules)
            if not whole or (theme, width) == ("dark", 1280):
                found += on_paper(seen.page)
            # it opens the code
            found += [f"code is cut: {each}" for each in seen.page.evaluate(look.CUT_CODE)]
            problems[f"{name} {theme} {width}"] = found
    assert not said(problems), said(problems)


def test_a_first_visit_is_quiet_and_follows_the_system(chromium, html):
    """Nothing is stored yet: the other visits choose a theme before they begin."""
    for name in ("book/index.html", "notebooks/11_controls.html"):
        with look.visit(chromium, (html / name).as_uri(), None) as seen:
            shown = seen.page.evaluate("[document.documentElement.dataset.mode,"
                                       " document.documentElement.dataset.theme]")
            assert shown == ["auto", "light"]
            assert seen.errors == []


def test_weight_of_what_all_pages_share(html):
    static = html / "_static"
    assert look_at_static(static) == []


def look_at_static(static: Path) -> list[str]:
    # a table that is only offered for download is loaded by no page
    size = sum(path.stat().st_size for path in static.rglob("*")
               if path.is_file() and path.suffix != ".csv")
    maps = [path.name for path in static.rglob("*.map")]
    return maps + ([f"{size} bytes"] if size > look.STATIC else [])


def test_search_shows_excerpts_from_disk(chromium, html):
    address = (html / "search.html").as_uri() + "?q=utilisation"
    with look.visit(chromium, address) as seen:
        seen.page.wait_for_selector("#search-results ul.search li p.context")
        texts = seen.page.locator("#search-results p.context").all_inner_texts()
        assert len(texts) > 2 and any("utilisation" in text.lower() for text in texts)
        assert seen.errors == [] and seen.outside == []
        seen.page.locator("#search-results ul.search li a").first.click()
        seen.page.wait_for_load_state()
        assert "utilisation" in seen.page.locator("article").inner_text().lower()


def test_equations_are_set(chromium, html):
    with look.visit(chromium, (html / "book/method.html").as_uri()) as seen:
        assert seen.page.locator("mjx-container").count() > 20
        # whoever listens gets them as MathML
        assert seen.page.locator("mjx-assistive-mml").count() > 20
        assert seen.page.locator("mjx-merror").count() == 0


def test_a_number_leads_to_the_cell_that_made_it(chromium, html):
    with look.visit(chromium, (html / "book/numbers.html").as_uri()) as seen:
        links = seen.page.locator("table.np-numbers a")
        assert links.count() > 100
        links.nth(20).click()
        seen.page.wait_for_load_state()
        cell = seen.page.url.partition("#")[2]
        assert cell.startswith("cell-")
        assert "glue" in seen.page.locator(f"[id='{cell}'] div.cell_input").text_content()


def test_theme_switch_and_code_toggle(chromium, html):
    page = next(path for path in sorted((html / "notebooks").glob("02*.html")))
    with look.visit(chromium, page.as_uri(), "light") as seen:
        code = seen.page.locator("details.np-code").nth(1)
        code.locator("summary").focus()
        seen.page.keyboard.press("Enter")
        assert code.locator("div.cell_input").is_visible()
        before = seen.page.evaluate("document.documentElement.dataset.theme")
        for _ in range(3):
            seen.page.locator(".theme-switch-button").first.click()
            if seen.page.evaluate("document.documentElement.dataset.theme") != before:
                break
        assert seen.page.evaluate("document.documentElement.dataset.theme") == "dark" != before


# ---- the controls: a fault planted in a good page is found ----

GOOD = ('<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Page</title></head>'
        '<body><main><h1>Page</h1><article>{}</article></main></body></html>')
SMALL_SVG = ('<svg class="np-drawing" role="img" aria-label="a" viewBox="0 0 672 100" width="672"'
             ' height="100"><text y="50" style="font-size:{}px;{}">word</text></svg>')


def planted(tmp_path: Path, body: str) -> str:
    path = tmp_path / "page.html"
    path.write_text(GOOD.format(body), encoding="utf-8")
    return path.as_uri()


def test_outside_requests_and_script_errors_are_found(chromium, tmp_path):
    with look.visit(chromium, planted(tmp_path, "<p>All is well.</p>")) as seen:
        assert seen.outside == [] and seen.errors == []
    outside = '<img alt="dot" src="https://example.org/dot.png">'
    with look.visit(chromium, planted(tmp_path, outside)) as seen:
        assert seen.outside == ["https://example.org/dot.png"]
    with look.visit(chromium, planted(tmp_path, "<script>missing()</script>")) as seen:
        assert any("missing is not defined" in each for each in seen.errors)


def test_weight_is_found(chromium, tmp_path):
    (tmp_path / "big.png").write_bytes(b" " * (look.ANY_PAGE + 1))
    with look.visit(chromium, planted(tmp_path, '<img alt="big" src="big.png">')) as seen:
        assert seen.bytes > look.ANY_PAGE
    with look.visit(chromium, planted(tmp_path, "<p>Light.</p>")) as seen:
        assert 0 < seen.bytes < 1000
    static = tmp_path / "static"
    static.mkdir()
    assert look_at_static(static) == []
    (static / "a.js.map").write_bytes(b" " * (look.STATIC + 1))
    assert len(look_at_static(static)) == 2


@pytest.mark.parametrize(("rule", "body"), [
    ("color-contrast", '<p style="color:#bbb;background:#fff">Faint words.</p>'),
    ("scrollable-region-focusable", '<div style="width:200px;overflow-x:auto"><pre>'
                                    + "wide words " * 40 + "</pre></div>"),
    ("image-alt", '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">'),
    ("label-content-name-mismatch", '<button aria-label="Other">Show code</button>'),
    ("aria-required-children", '<div role="list"><a href="#x">x</a></div>')])
def test_barriers_are_found(chromium, tmp_path, rule, body):
    with look.visit(chromium, planted(tmp_path, body)) as seen:
        assert any(f" {rule}: " in line for line in look.accessibility(seen.page))
        assert any(f" {rule}: " in line for line in look.accessibility(seen.page, [rule]))
        others = {*look.OF_THEME, *look.OF_WIDTH} - {rule}
        assert not any(f" {rule}: " in line for line in look.accessibility(seen.page, [*others]))
    with look.visit(chromium, planted(tmp_path, "<p>Words.</p>")) as seen:
        assert look.accessibility(seen.page) == []


def test_width_small_text_cut_code_and_dark_ink_are_found(chromium, tmp_path):
    body = '<div style="width:800px">wide</div>'
    with look.visit(chromium, planted(tmp_path, body), width=390) as seen:
        assert look.too_wide(seen.page)
    with look.visit(chromium, planted(tmp_path, body)) as seen:
        assert look.too_wide(seen.page) == []
    for size, ink, small, dark in ((9, "fill:#262626", 1, 0), (10, "fill:#262626", 0, 0),
                                   (12, "fill:var(--np-ink-26,#262626)", 0, 1),
                                   (12, "--np-ink-26:#d9d9d9;fill:var(--np-ink-26)", 0, 0)):
        with look.visit(chromium, planted(tmp_path, SMALL_SVG.format(size, ink))) as seen:
            assert len(seen.page.evaluate(look.SMALL_TEXT, look.LEAST_TEXT)) == small
            assert len(seen.page.evaluate(look.DARK_INK)) == dark
    code = '<div class="highlight"><pre style="width:200px;overflow:hidden">' + "x" * 99 + "</pre></div>"
    with look.visit(chromium, planted(tmp_path, code)) as seen:
        assert len(seen.page.evaluate(look.CUT_CODE)) == 1
    wrapped = code.replace("overflow:hidden", "white-space:pre-wrap;overflow-wrap:anywhere")
    with look.visit(chromium, planted(tmp_path, wrapped)) as seen:
        assert seen.page.evaluate(look.CUT_CODE) == []
    shown = '<div class="cell_input">a = 1</div>'
    folded = f"<details><summary>Show code</summary>{shown}</details>"
    for body, found in ((shown, 1), (folded, 0)):
        with look.visit(chromium, planted(tmp_path, body)) as seen:
            assert len(seen.page.evaluate(look.OPEN_CODE)) == found


def test_what_paper_would_clip_or_hide_is_found(chromium, tmp_path):
    wide = '<table style="width:1500px"><tr><td>Wide</td></tr></table>'
    folded = '<details class="np-table"><summary>s</summary><table><tr><td>cell</td></tr></table></details>'
    for body, found in ((wide, 1), (folded, 1), ("<p>Words.</p>", 0),
                        (folded.replace("<details ", "<details open "), 0)):
        with look.visit(chromium, planted(tmp_path, body)) as seen:
            assert len(look.print_problems(seen.page)) == found, body


def test_drawings_follow_the_theme(chromium, html, tmp_path):
    """A figure as Matplotlib writes it, put into a page as the build does, with the book's style."""
    from book.drawings import inline_svg

    svg = ('<?xml version="1.0"?><svg width="504pt" height="72pt" viewBox="0 0 504 72"'
           ' xmlns="http://www.w3.org/2000/svg"><title>It falls.</title><defs><path id="used" d="M0 0"/>'
           '</defs><g id="figure_1"><use href="#used"/><rect width="504" height="72"'
           ' style="fill: var(--np-ink-ff, #ffffff)"/><text y="30" style="font-size: 9px;'
           ' fill: var(--np-ink-26, #262626)">words</text></g></svg>')
    shutil.copy(html / "_static" / "study.css", tmp_path)
    drawn = inline_svg(svg, "A line.", "d0-")
    assert re.findall(r'id="([^"]*)"', drawn) == ["d0-used"] and 'href="#d0-used"' in drawn
    body = f'<link rel="stylesheet" href="study.css"><div class="np-figure" tabindex="0">{drawn}</div>'
    script = "<script>document.documentElement.dataset.theme=localStorage.getItem('theme')</script>"
    address = planted(tmp_path, script + body)
    for theme, ink in (("light", "rgb(38, 38, 38)"), ("dark", "rgb(217, 217, 217)")):
        for width in look.WIDTHS:
            with look.visit(chromium, address, theme, width) as seen:
                figure = seen.page.locator("svg.np-drawing")
                assert figure.get_attribute("aria-label") == "A line. It falls."
                assert seen.page.evaluate(look.SMALL_TEXT, look.LEAST_TEXT) == []
                assert figure.bounding_box()["width"] == 672
                assert seen.page.evaluate("getComputedStyle(document.querySelector('text')).fill") == ink
                assert look.too_wide(seen.page) == []
