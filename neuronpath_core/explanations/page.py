"""An explanation as HTML: one element for a notebook, or a whole page, which asks for nothing else
and needs no script."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np

from neuronpath_core import __version__
from neuronpath_core.explanations.words import (
    STATES,
    control,
    edits,
    finding,
    how_found,
    percent,
    where_read,
)
from neuronpath_core.figures.explanation import ACTIVE, NEGATIVE, map_pixels
from neuronpath_core.figures.explore.page import png
from neuronpath_core.support.text import plain

if TYPE_CHECKING:
    from neuronpath_core.explanations.explanation import Explanation

# what follows a page's own colours where it has any, and else the reader's theme; maps lie on
# white in the dark too, or faint and strong would look alike
STYLE = """
.np-explained { --line: color-mix(in srgb, currentColor 25%, transparent); line-height: 1.4;
  max-width: 62rem; font-family: system-ui, sans-serif; font-size: 0.95rem; }
.np-explained .np-name { font-size: 1.25rem; margin: 0 0 0.2rem; overflow-wrap: anywhere; }
.np-explained :is(h2, h3).np-part { font-size: 1.05rem; margin: 1.4rem 0 0.4rem; }
.np-explained p { margin: 0.3rem 0; }
.np-explained .np-top { display: flex; flex-wrap: wrap; gap: 1.2rem; align-items: flex-start; }
.np-explained .np-top > img { width: 14rem; max-width: 100%; image-rendering: var(--pixels); }
.np-explained .np-scroll { flex: 1 1 20rem; overflow-x: auto; min-width: 0; }
.np-explained table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
.np-explained caption { text-align: left; font-weight: 600; padding-bottom: 0.2rem; }
.np-explained :is(th, td) { padding: 0.2rem 0.6rem 0.2rem 0; text-align: left; font-weight: 400;
  border-bottom: 1px solid var(--line); vertical-align: baseline; background: none; }
.np-explained thead th { font-weight: 600; }
.np-explained .np-number { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
.np-explained tbody th { overflow-wrap: break-word; }
.np-explained .np-quiet { opacity: 0.75; }
.np-explained .np-label > * { font-weight: 700; }
.np-explained .np-classes { table-layout: fixed; min-width: 20rem; }
.np-explained .np-classes thead .np-number { white-space: normal; }
.np-explained .np-classes th:first-child { width: 36%; }
.np-explained .np-bar { display: block; height: 4px; margin-top: 2px; border-radius: 2px;
  min-width: 1px; background: var(--bar); print-color-adjust: exact; }
.np-explained .np-maps { display: grid; gap: 0.8rem; margin: 0.5rem 0; padding: 0;
  grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); }
.np-explained figure { margin: 0; }
.np-explained figcaption { font-size: 0.8rem; font-variant-numeric: tabular-nums; }
.np-explained .np-map { position: relative; overflow: hidden; background: #fff;
  aspect-ratio: var(--ratio); }
.np-explained .np-map > * { position: absolute; left: 0; top: 0; }
.np-explained .np-under { width: 100%; height: 100%; opacity: 0.35; image-rendering: var(--pixels);
  background: var(--picture) 0 0 / 100% 100%; print-color-adjust: exact; filter: grayscale(1); }
.np-explained .np-map > img { width: var(--wide); height: var(--high); max-width: none;
  image-rendering: pixelated; margin: 0; }
.np-explained .np-key { display: inline-block; width: 0.8em; height: 0.8em; border-radius: 2px;
  vertical-align: -0.05em; print-color-adjust: exact; }
.np-explained .np-notes { padding-left: 1.2rem; margin: 0.3rem 0; }
"""
PAGE_STYLE = """
:root { color-scheme: light dark; }
body { margin: 0 auto; padding: 1.2rem; max-width: 62rem; }
"""
# of the figure too: as it is, path removed, path doubled
BARS = ("#8c8c8c", "#d55e00", "#0173b2")
SMALL_PICTURE = 100  # pixels; below, the eye wants to see them


def fragment(explanation: Explanation, level: int = 2) -> str:
    """One element that can stand in any page; every name in it is text.

    Args:
        level: 1 in a page of its own, where the name is the page's heading.
    """
    high, wide = explanation.pixels.shape[:2]
    _, down, across = explanation.maps.shape
    picture = png(explanation.pixels)
    pixels = "pixelated" if max(high, wide) < SMALL_PICTURE else "auto"
    style = (f"--picture: url({picture}); --ratio: {wide} / {high}; --pixels: {pixels}; "
             f"--wide: {100 * across * explanation.patch[1] / wide:.6g}%; "
             f"--high: {100 * down * explanation.patch[0] / high:.6g}%")
    part = f'h{level + 1} class="np-part"'
    end = f"h{level + 1}"
    notes = "".join(f"<li>{_text(note)}</li>" for note in explanation.notes)
    return (
        # the classes have MathJax leave names with dollar signs alone
        f'<div class="np-explained tex2jax_ignore mathjax_ignore" style="{style}">'
        f"<style>{STYLE}</style>"
        f'<h{level} class="np-name">{_text(explanation.picture)}</h{level}>'
        f"<p><strong>{_text(finding(explanation))}.</strong></p>"
        f'<div class="np-top"><img src="{picture}" alt="The picture as the model is given it">'
        f"{_classes(explanation)}</div><p>{_text(control(explanation))}</p>"
        f"<{part}>Where the path's neurons are active</{end}>{_key()}"
        f'<div class="np-maps">{_maps(explanation)}</div><p>{_text(where_read(explanation))}</p>'
        f"<{part}>The path</{end}>{_path(explanation)}<p>{_text(edits())}</p>"
        f"<{part}>How it was made</{end}><p>Model: {_text(explanation.model)}. "
        f"{_text(how_found(explanation))} neuronpath {_text(__version__)}.</p>"
        f'<ul class="np-notes">{notes}</ul></div>')


def page(explanation: Explanation) -> str:
    """A whole page."""
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            # nothing is asked for, whatever a browser or a name may think
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "img-src data:; style-src 'unsafe-inline'\">"
            '<link rel="icon" href="data:,">'
            f"<title>{_text(explanation.picture)}: {_text(finding(explanation))}</title>"
            f"<style>{PAGE_STYLE}</style></head><body><main>{fragment(explanation, 1)}"
            "</main></body></html>\n")


def _text(text: object) -> str:
    """A text as itself, whatever it holds; a number stays with its per cent."""
    return html.escape(plain(str(text))).replace(" %", "&nbsp;%")


def _classes(explanation: Explanation) -> str:
    head = "".join(f'<th scope="col" class="np-number">{each}</th>' for each in STATES)
    rows = []
    for index in explanation.shown_classes():
        marked = ' class="np-label"' if index == explanation.label else ""
        cells = "".join(
            f'<td class="np-number">{percent(each[index])}'
            f'<span class="np-bar" style="--bar: {colour}; width: {100 * each[index]:.2f}%">'
            "</span></td>"
            for each, colour in zip((explanation.probabilities, explanation.removed,
                                     explanation.doubled), BARS, strict=True))
        rows.append(f'<tr{marked}><th scope="row">{_text(explanation.class_names[index])}</th>'
                    f"{cells}</tr>")
    return ('<div class="np-scroll" tabindex="0" role="region" aria-label="Class probabilities">'
            '<table class="np-classes">'
            "<caption>Class probabilities; the path explains the one in bold</caption>"
            f'<thead><tr><th scope="col">class</th>{head}</tr></thead>'
            f"<tbody>{''.join(rows)}</tbody></table></div>")


def _key() -> str:
    key = '<span class="np-key" style="background: {}"></span> {}'
    return (f"<p>{key.format(ACTIVE, 'active')}, {key.format(NEGATIVE, 'negative')}. Full colour "
            "is the largest absolute activation of that neuron in this picture, which stands below "
            "its map: maps are not on one scale.</p>")


def _maps(explanation: Explanation) -> str:
    rows = []
    for line, values in zip(explanation.to_frame().to_dict("records"), explanation.maps,
                            strict=True):
        words = (f"block {line['block']}, neuron {line['neuron']}: most active at row "
                 f"{line['row']}, column {line['column']}")
        rows.append(f'<figure><div class="np-map" role="img" aria-label="{words}">'
                    f'<div class="np-under"></div><img src="{png(map_pixels(values))}" alt="">'
                    f"</div><figcaption>block {line['block']}: <strong>{line['neuron']}</strong> "
                    f'<br><span class="np-quiet">largest {np.abs(values).max():.3g}</span>'
                    "</figcaption></figure>")
    return "".join(rows)


def _path(explanation: Explanation) -> str:
    several = explanation.path["rank"].max() > 1
    _, down, across = explanation.maps.shape
    head = ["block", *(["rank"] if several else []), "neuron", "activation", "attribution",
            "largest at a patch", f"there (of {down} × {across})"]
    rows = []
    for line in explanation.to_frame().to_dict("records"):
        cells = [*([str(line["rank"])] if several else []), str(line["neuron"]),
                 f"{line['activation']:.4g}", f"{line['attribution']:.2e}", f"{line['peak']:.4g}",
                 f"row {line['row']}, column {line['column']}"]
        rows.append(f'<tr><th scope="row">{line["block"]}</th>' + "".join(
            f'<td class="np-number">{cell}</td>' for cell in cells) + "</tr>")
    columns = "".join(f'<th scope="col"{" class=np-number" if place else ""}>{name}</th>'
                      for place, name in enumerate(head))
    return ('<div class="np-scroll" tabindex="0" role="region" aria-label="The path">'
            f"<table><thead><tr>{columns}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>")
