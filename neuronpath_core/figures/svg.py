"""A figure as SVG that follows the page it stands on.

Letters stay letters, greys are written as CSS variables, and whatever a page has no value for keeps
its own colour: drawn into a dark page, the same figure has light ink on the page's own background,
while colours that stand for data stay as they are.
"""

from __future__ import annotations

import html
import io
import re

import matplotlib.pyplot as plt
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

# identifiers are hashes of what they name: the same figure has the same ones in every run
SALT = "neuronpath"
FONTS = "DejaVu Sans, Verdana, Arial, sans-serif"
_GREY = re.compile(r"#([0-9a-f]{2})\1\1(?![0-9a-f])")
_PROLOGUE = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<!--.*?-->", re.DOTALL)
_DECIMALS = re.compile(r"(\d\.\d\d)\d+")
_FAMILY = re.compile(r"font-family: [^;\"]*|(?<=px )'DejaVu Sans'[^;\"]*")
# it would hold for the whole page
_STYLE = re.compile(r"<defs>\s*<style type=\"text/css\">\*\{(.*?)\}</style>\s*</defs>", re.DOTALL)


def with_ink(svg: str) -> str:
    """Every grey ``#gggggg`` as ``var(--np-ink-gg, #gggggg)``, where ``gg`` are two digits."""
    return _GREY.sub(r"var(--np-ink-\1, #\1\1\1)", svg)


def keep_on_colours(figure: Figure) -> None:
    """Make the letters that stand on a heat map a little other than grey: they follow the colour
    below them, not the page."""
    for axes in figure.axes:
        if not any(isinstance(each, QuadMesh) for each in axes.collections) and not axes.images:
            continue
        for text in axes.texts:
            colour = to_hex(text.get_color())
            if _GREY.fullmatch(colour):
                text.set_color(colour[:-2] + ("fe" if colour == "#ffffff"
                                              else f"{int(colour[-2:], 16) + 1:02x}"))


def svg_text(figure: Figure, finding: str = "") -> str:
    """The figure as one ``<svg>`` element, ``finding`` its title.

    The same figure gives the same text in every run. Widths are the figure's own, 72 points an
    inch; coordinates have two decimals.
    """
    keep_on_colours(figure)
    buffer = io.StringIO()
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": SALT}):
        # without this canvas's own resolution, which is that of the PNG beside it
        figure.savefig(buffer, format="svg", dpi=72, metadata={"Date": None})
    text = _DECIMALS.sub(r"\1", _PROLOGUE.sub("", buffer.getvalue()))
    text = _FAMILY.sub(lambda found: FONTS if found[0].startswith("'") else f"font-family: {FONTS}",
                       text)
    style = _STYLE.search(text)
    text = with_ink(_STYLE.sub("", text, count=1)).strip()
    head, _, rest = text.partition(">")
    title = f"<title>{html.escape(finding, quote=False)}</title>" if finding else ""
    panels = sum(axes.get_label() != "<colorbar>" and axes.get_visible() for axes in figure.axes)
    return f'{head} style="{style[1] if style else ""}" data-panels="{panels}">{title}{rest}'
