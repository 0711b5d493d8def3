"""How an explorer gets into a notebook: one output, a widget for Jupyter and HTML for a page, which
holds its style, its script and its data, and asks for nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from neuronpath_core.support.text import shown

WIDGET = "application/vnd.jupyter.widget-view+json"


def source(name: str) -> str:
    """A script or style of this folder."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _shortened(text: str) -> str:
    """A script or style without indentation and lines of comments, which a page need not carry."""
    text = re.sub(r"^\s*/\*.*?\*/$", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def json_text(value: Any) -> str:
    """JSON that can stand inside a script element, whatever its texts say."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def png(pixels: np.ndarray) -> str:
    """A picture as a ``data:`` address; uint8 ``(height, width)`` or ``(height, width, 3)``."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain text, its first column the rows' names, in a region that scrolls where it is
    too wide, by keyboard too."""
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{html.escape(first)}</th>'
        + "".join(f'<td class="np-number">{html.escape(text)}</td>' for text in rest) + "</tr>"
        for first, *rest in rows)
    words = html.escape(caption)
    return (f'<div class="np-region" tabindex="0" role="region" aria-label="{words}">'
            f'<table class="np-grid"><caption>{words}</caption><thead><tr>{head}'
            f"</tr></thead><tbody>{body}</tbody></table></div>")


def explorer_html(key: str, function: str, scripts: Sequence[str], data: Any, static: str,
                  summary: str, networks: Mapping[str, str] | None = None) -> str:
    """The HTML of one explorer.

    Args:
        key: identifier on the page; letters, digits and hyphens.
        function: of the scripts, the one that is called with the explorer's element.
        scripts: files of this folder, in order.
        data: what the function reads, as JSON.
        static: what stands there without a script, and folded below the controls with one.
        summary: what the folded part is called.
        networks: weights by the name that the data have for the network.

    Raises:
        ValueError: a key that a page cannot use.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", key):
        raise ValueError(f"the key cannot be {shown(key)}; accepted: letters, digits and hyphens")
    weights = "".join(
        f'<script type="text/plain" data-network="{html.escape(name)}">{text}</script>'
        for name, text in (networks or {}).items())
    code = "\n".join(_shortened(source(name)) for name in scripts)
    return (f'<div id="{key}" class="np-explore tex2jax_ignore mathjax_ignore">'
            f'<style>{_shortened(source("explore.css"))}</style>'
            f'<div class="np-static" data-summary="{html.escape(summary)}">{static}</div>{weights}'
            f'<script type="application/json">{json_text(data)}</script>'
            f'<script>(() => {{\n"use strict";\n{code}\n'
            f'{function}(document.getElementById("{key}"));\n}})();</script></div>')


_NETWORK = re.compile(r'(<script[^>]*\bdata-network="[^"]*")([^>]*>)([\w-]{1000,})(</script>)')


def take_out_networks(html: Path) -> None:
    """Move weights out of the pages of a finished book into files beside them, which the explorers
    load when they are in sight: pages stay light.

    Args:
        html: the folder of the book.
    """
    for path in sorted(html.rglob("*.html")):
        text = path.read_text(encoding="utf-8")
        if "data-network" not in text:
            continue
        up = "../" * (len(path.relative_to(html).parts) - 1)

        def moved(found: re.Match, up: str = up) -> str:
            name = f"network-{hashlib.sha256(found[3].encode()).hexdigest()[:16]}.js"
            folder = html / "_images"
            folder.mkdir(exist_ok=True)
            (folder / name).write_text(f'(window.npNetworks ??= {{}})["{name}"] = "{found[3]}";\n',
                                       encoding="utf-8")
            return f'{found[1]} data-src="{up}_images/{name}"{found[2]}{found[4]}'

        path.write_text(_NETWORK.sub(moved, text), encoding="utf-8")


def show(text: str, markup: str, widget: Any = None) -> None:
    """Display an explorer: its widget, where there is one, in Jupyter, and its HTML on a page."""
    from IPython.display import display

    bundle = {"text/plain": text, "text/html": markup}
    if widget is not None:
        bundle[WIDGET] = widget._repr_mimebundle_()[WIDGET]
    display(bundle, raw=True)
