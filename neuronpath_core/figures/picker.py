"""A choice among figures that works in Jupyter and on a static page: one output, two views.

Jupyter shows an ipywidgets dropdown; a rendered page shows native controls; without scripts all
figures stand one below the other.  Nothing is loaded from a network.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping

from matplotlib.figure import Figure
from PIL import Image

WIDGET = "application/vnd.jupyter.widget-view+json"

_SCRIPT = """(() => {{
  const box = document.getElementById("{key}"), frames = box.querySelectorAll("figure");
  const range = box.querySelector("input");
  const name = box.querySelector("output"), show = i => {{
    frames.forEach((frame, j) => frame.hidden = i !== j); name.textContent = frames[i].dataset.name;
    range.setAttribute("aria-valuetext", frames[i].dataset.name); }};
  range.addEventListener("input", () => show(+range.value));
  box.querySelector("label").hidden = false; show(+range.value);
}})();"""


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=figure.dpi * 0.7, bbox_inches="tight",
                   metadata={"Software": None})
    # 64 colours are what such figures have, and a quarter of the bytes
    small = io.BytesIO()
    Image.open(buffer).convert("RGB").quantize(64).save(small, format="png", optimize=True)
    return small.getvalue()


def frames_html(frames: Mapping[str, bytes], label: str, alt: str, key: str,
                caption: str = "") -> str:
    """The static view: a range input over PNG frames; names appear as they are written.

    Args:
        frames: name → PNG.
        label: what is chosen, shown before the control.
        alt: text alternative of a frame; ``{}`` stands for its name.
        key: identifier on the page; letters, digits and hyphens.
        caption: of a frame; ``{}`` stands for its name. Without one it is the label and the name.
    """
    def said(name: str) -> str:
        return caption.format(name) if caption else f"{label} {name}"

    figures = "".join(
        f'<figure data-name="{html.escape(name)}" style="margin:0 0 1em"><img '
        f'style="max-width:100%" '
        f'alt="{html.escape(alt.format(name))}" '
        f'src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        f"<figcaption>{html.escape(said(name))}</figcaption></figure>"
        for name, png in frames.items())
    control = (f'<label hidden>{html.escape(label)} <output></output><br><input type="range" '
               f'min="0" max="{len(frames) - 1}" step="1" value="0" '
               f'style="width:min(24em,100%)"></label>')
    script = f"<script>{_SCRIPT.format(key=key)}</script>"
    # where a page would make mathematics of dollar signs
    dollars = any("$" in name for name in (label, *frames))
    literal = " tex2jax_ignore mathjax_ignore" if dollars else ""
    return f'<div id="{key}" class="np-picker{literal}">{control}{figures}{script}</div>'


def _widget(frames: Mapping[str, bytes], label: str):
    import ipywidgets

    names = list(frames)
    choice = ipywidgets.Dropdown(options=names, description=label)
    image = ipywidgets.Image(value=frames[names[0]], format="png",
                             layout=ipywidgets.Layout(max_width="100%"))
    choice.observe(lambda change: setattr(image, "value", frames[change["new"]]), names="value")
    return ipywidgets.VBox([choice, image])


def pick(figures: Mapping[str, Figure], label: str, alt: str, key: str,
         caption: str = "") -> None:
    """Display the choice among figures; see :func:`frames_html` for the arguments."""
    from IPython.display import display

    if not figures:
        raise ValueError("nothing to choose from; accepted: at least one figure")
    frames = {name: _png(figure) for name, figure in figures.items()}
    bundle = {"text/plain": f"a choice of {len(frames)} figures by {label}",
              "text/html": frames_html(frames, label, alt, key, caption)}
    bundle[WIDGET] = _widget(frames, label)._repr_mimebundle_()[WIDGET]
    display(bundle, raw=True)
