"""A neuron's card as HTML: one element for a notebook, or a whole page, which asks for nothing else
and needs no script."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from neuronpath_core.explanations import card_vlm_page
from neuronpath_core.explanations.card_fits import detecting, overlap
from neuronpath_core.explanations.card_html import table, text
from neuronpath_core.explanations.card_style import PAGE_STYLE, STYLE
from neuronpath_core.explanations.card_words import (
    SENTENCES,
    TITLES,
    class_name,
    fit,
    share,
    summary,
)
from neuronpath_core.explanations.words import number, percent

if TYPE_CHECKING:
    from neuronpath_core.explanations.card import Card, Section

PIXELS = 100  # of a picture's side; below, the eye wants to see them


def page(card: Card, links: Mapping[str, str] | None = None) -> str:
    """A whole page.

    Args:
        card: of the neuron.
        links: what its first line leads to, words and their addresses; none without any.
    """
    title = text(f"{card.model}: {card.name}")
    return whole(title, f"{navigation(links or {})}<main>{fragment(card, 1)}</main>")


def navigation(links: Mapping[str, str]) -> str:
    """The line of links above a page, words and their addresses; nothing of none."""
    told = " · ".join(f'<a href="{html.escape(address)}">{text(words)}</a>'
                      for words, address in links.items())
    return f'<nav aria-label="Book">{told}</nav>' if told else ""


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
                 [[class_name(row), f"{row['through']} of {row['images']}", share(row),
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
                 ["concept", "kind", "IoU", "at most", "95 % of other masks", "p",
                  "AUROC (chance 0.5)", "detects"],
                 [[row["name"], row["kind"], fit(row, "iou"), overlap(row["ceiling"]),
                   overlap(row["high"]), number(row["p"]), fit(row, "auroc"), detecting(row)]
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
                         f"{row['together']} of {found['through']}, {share(row)}",
                         percent(row["everywhere"]),
                         number(row["p"]), *wires])
    return table("Neurons of the blocks before and after on the same paths", columns, rows)


def _effect(found: dict[str, Any]) -> str:
    def span(row: dict[str, Any]) -> str:
        value, *ends = (f"{100 * row[name]:.1f}".replace("-", "−")
                        for name in ("value", "low", "high") if row[name] is not None)
        return f"{value} [{', '.join(ends)}] %" if ends else f"{value} %"

    def deviation(row: dict[str, Any]) -> dict[str, Any]:
        return {name: row[name]["deviation"] for name in ("removed", "doubled")}

    own = found.get("on_paths") or {"images": 0}
    rows = [{"name": "all images", "images": found["images"], **deviation(found)}]
    if own["images"]:
        rows.insert(0, {"name": "images whose path uses it", "images": own["images"],
                        **deviation(own)})
    return table("Relative change of the true class's probability, the mean of (P̃ − P)/P, with "
                 "95 % intervals", ["class", "images", "removed", "doubled"],
                 [[class_name(row), row["images"], span(row["removed"]), span(row["doubled"])]
                  for row in [*rows, *found["classes"][:5]]])


def _samples(found: dict[str, Any], pictures: dict[str, str]) -> str:
    return _key(found, pictures) + card_vlm_page.words_of(found)


BODIES = {"paths": _paths, "value": _value, "concepts": _concepts, "neighbours": _neighbours,
          "effect": _effect, **card_vlm_page.BODIES}
PICTURED = {"key": _key, "synthetic": _synthetic, "samples": _samples}
