"""A neuron's card as HTML: one element for a notebook, or a whole page, which asks for nothing else
and needs no script."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from neuronpath_core.explanations import card_vlm_page
from neuronpath_core.explanations.card_html import table, text
from neuronpath_core.explanations.card_words import SENTENCES, TITLES, class_name, summary
from neuronpath_core.explanations.words import number, percent

if TYPE_CHECKING:
    from neuronpath_core.explanations.card import Card, Section

# it follows a page's own colours where it has any, and else the reader's theme; maps lie on white
# in the dark too, or faint and strong would look alike
STYLE = """
.np-neuron{line-height:1.4;max-width:48rem;font-family:system-ui,sans-serif;font-size:.95rem}
.np-neuron .np-name{font-size:1.25rem;margin:0 0 .2rem;overflow-wrap:anywhere}
.np-neuron :is(h2,h3).np-part{font-size:1.05rem;margin:1.3rem 0 .3rem}
.np-neuron p{margin:.3rem 0}
.np-neuron .np-scroll{overflow-x:auto}
.np-neuron table{border-collapse:collapse;font-size:.875rem;margin:.3rem 0;width:100%}
.np-neuron caption{text-align:left;font-weight:600;padding-bottom:.2rem}
.np-neuron :is(th,td){padding:.15rem .7rem .15rem 0;text-align:left;font-weight:400;
border-bottom:1px solid color-mix(in srgb,currentColor 25%,transparent);vertical-align:baseline;
background:none}
.np-neuron thead th{font-weight:600}
.np-neuron .np-number{text-align:right;font-variant-numeric:tabular-nums}
.np-neuron .np-missing{font-style:italic}
.np-neuron .np-tiles{display:grid;gap:.6rem;
grid-template-columns:repeat(auto-fill,minmax(6.2rem,1fr))}
.np-neuron figure{margin:0}
.np-neuron figcaption{font-size:.8rem;font-variant-numeric:tabular-nums}
.np-neuron .np-tile{position:relative;overflow:hidden;background:#fff;aspect-ratio:var(--ratio);
margin-bottom:2px}
.np-neuron .np-tile>*{position:absolute;left:0;top:0;width:100%;height:100%;
image-rendering:var(--pixels);print-color-adjust:exact;background-repeat:no-repeat;
background-position:var(--at) 0;background-size:900% 100%}
.np-neuron .np-seen{background-image:var(--images)}
.np-neuron .np-under{filter:grayscale(1);opacity:.35}
.np-neuron .np-tile .np-map{background-image:var(--maps);width:var(--wide);height:var(--high);
image-rendering:pixelated}
.np-neuron .np-pair{display:flex;flex-wrap:wrap;gap:1rem}
.np-neuron .np-pair img{width:7rem;image-rendering:pixelated;display:block}
"""
PAGE_STYLE = """
:root{color-scheme:light dark}
body{margin:0 auto;padding:1.2rem;max-width:48rem;background:#fff;color:#1a1a1a}
a{color:#0a4f9e}
@media (prefers-color-scheme:dark){body{background:#14181e;color:#e6e6e6}a{color:#8ab8f8}}
"""
PIXELS = 100  # of a picture's side; below, the eye wants to see them


def page(card: Card, home: str = "") -> str:
    """A whole page.

    Args:
        card: of the neuron.
        home: address of the page that lists this model's cards; empty without one.
    """
    title = text(f"{card.model}: {card.name}")
    back = (f'<nav aria-label="Cards"><a href="{html.escape(home)}">All cards of '
            f"{text(card.model)}</a></nav>" if home else "")
    return whole(title, f"{back}<main>{fragment(card, 1)}</main>")


def whole(title: str, body: str, style: str = "") -> str:
    """A page with a title and a body, both HTML."""
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            # nothing is asked for, whatever a browser or a name may think
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "img-src data:; style-src 'unsafe-inline'\">"
            f'<link rel="icon" href="data:,"><title>{title}</title>'
            f"<style>{PAGE_STYLE}{style}</style></head><body>{body}</body></html>\n")


def fragment(card: Card, level: int = 2, with_photographs: bool = True) -> str:
    """One element that can stand in any page; every name in it is text.

    Args:
        card: of the neuron.
        level: 1 in a page of its own, where the name is the page's heading.
        with_photographs: whether pictures that may be photographs are in it.
    """
    shown = with_photographs or not card.photographs
    part = f"h{level + 1}"
    sections = "".join(
        f'<section><{part} class="np-part">{TITLES[each.key]}</{part}>{_section(each, shown)}'
        "</section>" for each in card.sections)
    return (f'<div class="np-neuron tex2jax_ignore mathjax_ignore"><style>{STYLE}</style>'
            f'<h{level} class="np-name">{text(card.model)}: {text(card.name)}</h{level}>'
            f"<p><strong>{text(summary(card))}</strong></p>{sections}"
            f"<p>Weights: SHA-256 {text(card.digest[:12])}…</p></div>")


def _section(section: Section, shown: bool) -> str:
    if section.missing:
        return f'<p class="np-missing">Nothing here: {text(section.missing)}.</p>'
    body = BODIES.get(section.key)
    said = "".join(f"<p>{text(each)}</p>" for each in SENTENCES[section.key](section.numbers))
    if section.key in PICTURED:
        pictures = section.pictures if shown else {}
        note = "" if shown else ("<p>Pictures are left out here, because they may be photographs; "
                                 "the saved page has them.</p>")
        return PICTURED[section.key](section.numbers, pictures) + note + said
    return (body(section.numbers) if body else "") + said


# --- the sections ---


def _paths(found: dict[str, Any]) -> str:
    rows = [row for row in found["classes"] if row["through"]][:5]
    return table("Classes whose paths go through it most",
                 ["class", "images", "share", "shuffled labels", "p (Holm)"],
                 [[class_name(row), f"{row['through']} of {row['images']}", percent(row["share"]),
                   percent(row["shuffled"]), number(row["p"])] for row in rows]) if rows else ""


def _value(found: dict[str, Any]) -> str:
    columns = ["class", "adds to the logit", "cosine", "of the block below",
               "random directions below"]
    return "".join(table(
        f"The value vector writes {words}", columns,
        [[class_name(row), number(row["effective"]), number(row["cosine"]),
          percent(row["percentile"]), percent(row["random_below"])] for row in found[end]])
        for end, words in (("top", "most for"), ("bottom", "most against")))


def _key(found: dict[str, Any], pictures: dict[str, str]) -> str:
    high, wide = found["picture"]
    pixels = "pixelated" if max(high, wide) < PIXELS else "auto"
    style = "; ".join([f"--ratio: {wide} / {high}", f"--pixels: {pixels}",
                       f"--wide: {found['map_percent'][0]:.6g}%",
                       f"--high: {found['map_percent'][1]:.6g}%",
                       *(f"--{name}: url({address})" for name, address in pictures.items())])
    tiles = "".join(_tile(row, place, len(found["top"]), bool(pictures))
                    for place, row in enumerate(found["top"]))
    return f'<div class="np-tiles" style="{style}">{tiles}</div>'


def _tile(row: dict[str, Any], place: int, count: int, pictured: bool) -> str:
    at = 100 * place / (count - 1) if count > 1 else 0
    size = f"background-size:{100 * count}% 100%"
    said = f" of class {class_name(row)}" if row["name"] else ""
    words = (f"image {row['image']}{said}: {number(row['value'])} at row {row['row']}, column "
             f"{row['column']}")
    drawn = (f'<div class="np-tile" role="img" aria-label="{text(words)}"><div class="np-seen" '
             f'style="{size}"></div></div><div class="np-tile" aria-hidden="true">'
             f'<div class="np-seen np-under" style="{size}"></div><div class="np-map" '
             f'style="{size}"></div></div>') if pictured else ""
    return (f'<figure style="--at:{at:.5g}%">{drawn}<figcaption>{text(words)}</figcaption>'
            "</figure>")


def _concepts(found: dict[str, Any]) -> str:
    if not found["best"]:
        return ""
    return table("Concepts that it lights for",
                 ["concept", "kind", "IoU", "at most", "95 % of other masks", "p", "AUROC",
                  "detects"],
                 [[row["name"], row["kind"], number(row["iou"]), number(row["ceiling"]),
                   number(row["high"]), number(row["p"]), number(row["auroc"]),
                   "yes" if row["detects"] else "no"]
                  for row in found["best"]], names=2)


def _synthetic(found: dict[str, Any], pictures: dict[str, str]) -> str:
    words = {"plain": "without changes on the way", "robust": "with changes on the way"}
    shown = "".join(
        f'<figure><img src="{pictures[name]}" alt="Image made to excite the neuron, {said}">'
        f"<figcaption>{said}; mean activation "
        f"{number(found['images'][name]['activation'])}</figcaption></figure>"
        for name, said in words.items() if name in pictures)
    tables = "".join(table(f"What models see in it, {said}",
                           ["model", "class", "probability", "in a matched neuron's image"],
                           [[row["model"], row["name"], percent(row["probability"]),
                             row["control_name"]] for row in found["images"][name]["models"]])
                     for name, said in words.items())
    return f'<div class="np-pair">{shown}</div>{tables}'


def _neighbours(found: dict[str, Any]) -> str:
    wired = not found["wires"]
    columns = ["neighbour", "paths through both", "of all paths", "p (Holm)",
               *(["κ", "of all pairs below", "κ by attention", "below"] if wired else [])]
    rows = []
    for side in ("before", "after"):
        for row in found.get(side, []):
            wires = [show(row[name]) for route in ("direct", "attention") for name, show in (
                (route, number), (f"{route}_percentile", percent))] if wired else []
            rows.append([f"block {row['block']}, neuron {row['neuron']}",
                         f"{row['together']} of {found['through']}", percent(row["everywhere"]),
                         number(row["p"]), *wires])
    return table("Neurons of the blocks before and after on the same paths", columns, rows)


def _effect(found: dict[str, Any]) -> str:
    def span(row: dict[str, Any]) -> str:
        value, *ends = (f"{100 * row[name]:.1f}".replace("-", "−")
                        for name in ("value", "low", "high") if row[name] is not None)
        return f"{value} [{', '.join(ends)}] %" if ends else f"{value} %"

    return table("Mean deviation of the true class's probability, (P̃ − P)/P, with 95 % intervals",
                 ["class", "images", "removed", "doubled"],
                 [[class_name(row), row["images"], span(row["removed"]), span(row["doubled"])]
                  for row in [{"name": "all", **found, "removed": found["removed"]["deviation"],
                               "doubled": found["doubled"]["deviation"]}, *found["classes"][:5]]])


def _samples(found: dict[str, Any], pictures: dict[str, str]) -> str:
    return _key(found, pictures) + card_vlm_page.words_of(found)


BODIES = {"paths": _paths, "value": _value, "concepts": _concepts, "neighbours": _neighbours,
          "effect": _effect, **card_vlm_page.BODIES}
PICTURED = {"key": _key, "synthetic": _synthetic, "samples": _samples}
