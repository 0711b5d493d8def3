"""What a neuron's card says in sentences: its headings, its first line, and with each section what
was counted and what chance would give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from neuronpath_core.explanations import card_vlm_words
from neuronpath_core.explanations.card_fits import beside_chance, beside_threshold, overlap
from neuronpath_core.explanations.words import UNIT, cut, number, percent, span
from neuronpath_core.neurons.one_block import LEAST_IOU

if TYPE_CHECKING:
    from neuronpath_core.explanations.card import Card

Numbers = Mapping[str, Any]
TITLES = {"identity": "Who it is", "paths": "How often paths go through it",
          "value": "What it writes", "key": "What excites it",
          "concepts": "Which concepts it lights for", "synthetic": "An image made for it",
          "neighbours": "Its neighbours on paths", "effect": "What it does alone",
          **card_vlm_words.TITLES}
SCOPES = {"cls": "the class token", "patch": "the patch tokens"}


def class_name(row: Numbers) -> str:
    """What a row's class is called, short enough for a table."""
    return cut(str(row["name"]))


def summary(card: Card) -> str:
    """The card in a sentence or two, of the sections that there are."""
    said = "; ".join(card_vlm_words.parts(card) if any(
        each.key == "modality" for each in card.sections) else _parts(card))
    if not said:
        return "No section but its place could be filled."
    return f"{said[0].upper()}{said[1:]}."


def _parts(card: Card) -> list[str]:
    parts = []
    if not (paths := card["paths"]).missing:
        parts.append(f"{percent(paths.numbers['share'])} of {paths.numbers['images']} images have "
                     "a path through it")
    if not (value := card["value"]).missing:
        parts.append(f"it writes most for {class_name(value.numbers['top'][0])}")
    if not (concepts := card["concepts"]).missing and concepts.numbers["best"]:
        best = concepts.numbers["best"][0]
        parts.append(f"its best concept is {best['name']}: IoU {overlap(best['iou'])}, "
                     f"{beside_chance(best)}, {beside_threshold(best)}")
    if not (effect := card["effect"]).missing:
        parts.append("removed alone it changes the true class's probability by "
                     f"{changes(effect.numbers, 'removed')}")
    return parts


def changes(found: Numbers, name: str) -> str:
    """What an edit changes: over the images whose path uses the neuron, and over all."""
    row, count = found[name]["probability"], f"over all {found['images']}"
    if (own := found.get("on_paths")) is None:
        return f"{span(row)} {count} images"
    if not own["images"]:
        return f"{span(row)} {count} images, none of whose paths uses it"
    whose = "the one image" if own["images"] == 1 else f"the {own['images']} images"
    return (f"{span(own[name]['probability'])} over {whose} whose path uses it, "
            f"{span(row, '')} {count}")


def two_places(value: float | None) -> str:
    """A number between 0 and 1 with two decimals."""
    return "–" if value is None else f"{value:.2f}"


def between(row: Numbers, show: Callable[[float], str] = number) -> str:
    """A number with its interval, ``0.12 [0.1, 0.14]``; alone where it has none."""
    ends = [row.get("low"), row.get("high")]
    return show(row["value"]) + ("" if None in ends else f" [{show(ends[0])}, {show(ends[1])}]")


def share(row: Numbers) -> str:
    """A share with its interval, in per cent; alone where it has none."""
    ends = [f"{100 * row[end]:.0f}" for end in ("low", "high") if row.get(end) is not None]
    return f"{percent(row['share'])} [{', '.join(ends)}]" if ends else percent(row["share"])


def fit(row: Numbers, measure: str) -> str:
    """How well a concept fits, by ``"iou"`` or ``"auroc"``, with its interval."""
    known = {"value": row[measure]} if "over_images" not in row else row["over_images"][measure]
    return between(known, overlap if measure == "iou" else two_places)


def _identity(found: Numbers) -> list[str]:
    mean = between(found.get("over_images", {"value": found["mean"]}))
    said = [f"It is {found['site']}; {found['key']}. Read at {SCOPES[found['scope']]} of "
            f"{found['images']} images.",
            f"Mean activation {mean}, standard deviation "
            f"{number(found['spread'])}, largest {number(found['largest'])}; not above 0 at "
            f"{percent(found['sparsity'])} of these tokens (median of the block: "
            f"{percent(found['block_median']['sparsity'])}).",
            f"By mean absolute activation, {number(found['size'])}, it is number {found['rank']} "
            f"of the block's {found['neurons']} neurons (median "
            f"{number(found['block_median']['size'])})."]
    if found["dead"]:
        said.append("It is dead here: at no token of any image does it rise above 0, or it never "
                    "changes.")
    return said


def _paths(found: Numbers) -> list[str]:
    return [f"{found['through']} of {found['images']} paths go through it "
            f"({share(found)}); a neuron drawn at random would have "
            f"{percent(found['uniform'])}. It is number {found['rank']} of the block's "
            f"{found['neurons']} neurons, {found['used']} of which are on a path.",
            "Brackets hold 95 % intervals over images (Wilson). With shuffled labels the count of "
            "a class is hypergeometric, of which p is the upper tail, corrected by Holm over "
            "classes. Images of a class are searched with one label, "
            "which by itself makes their paths alike."]


def _value(found: Numbers) -> list[str]:
    return ["Numbers are E diag(γ)(I − 11ᵀ/d) v, what a unit of activation adds before the last "
            "norm divides. Beside them: the share of the block's neurons that add less, and the "
            f"share of uniform directions in {found['width']} dimensions with a smaller cosine. "
            f"The best of as many random directions as the block has neurons would lie below this "
            f"first cosine with probability {number(found['block_below'])}.",
            f"The value vector's length is {number(found['length'])}, longer than those of "
            f"{percent(found['length_percentile'])} of the block."]


def _key(found: Numbers) -> list[str]:
    said = [f"Of {found['images']} images those with its largest activation at a patch; below each "
            f"its map, on one scale: full colour is {number(found['scale'])}."]
    if "same_class" in found:
        said.append(f"{found['same_class']} of {len(found['top'])} are of one class; as many "
                    f"images drawn at random have {number(found['same_class_random'])} of one "
                    f"class in the mean (p = {number(found['p'])}).")
    return said


def _concepts(found: Numbers) -> list[str]:
    known = f"{found['known']} concept{'' if found['known'] == 1 else 's'}"
    said = [f"Of {known}, by the overlap of its {percent(1 - found['quantile'])} most active "
            f"positions in {found['images']} images "
            f"with each concept's masks ({found['level']} level). Brackets hold 95 % bootstrap "
            "intervals over images, for this threshold. p compares the overlap with masks of "
            f"other images and is not corrected for the {known}, of which those that fit best are "
            f"listed. It “detects” what exceeds {LEAST_IOU} and 95 % of these other overlaps; “at "
            "most” is the largest overlap that masks of these sizes can have: where that is not "
            f"above {LEAST_IOU}, the best possible fit would not count."]
    if found["best"]:
        first = found["best"][0]
        said.append(f"A place alone, {first['place']}, reaches an IoU of "
                    f"{overlap(first['place_iou'])}: what a concept does not exceed may be where "
                    "it lies, not what it is.")
    else:
        said.append("These positions touch none of them.")
    return said


def _synthetic(found: Numbers) -> list[str]:
    counts = {name: each["models"] for name, each in found["images"].items()}
    said = "; ".join(
        f"{'with' if name == 'robust' else 'without'} changes {found['images'][name]['recognise']} "
        f"of {len(rows)} (image of a matched neuron: "
        f"{found['images'][name]['control_recognise']})" for name, rows in counts.items())
    return [f"{found['steps']} steps of Adam; the changes are small shifts, turns and scalings, "
            "drawn anew at every step.",
            f"Models that see {found['writes_name']}, which the neuron writes most: {said}. "
            f"Chance: {percent(found['chance'])} a model." if found["writes"] is not None else
            "Of this head no class can be told that the neuron writes."]


def _neighbours(found: Numbers) -> list[str]:
    said = ["Brackets: 95 % intervals over the paths through it (Wilson). p: hypergeometric, if "
            "paths met in the two blocks as if drawn apart."]
    if found["wires"]:
        return [*said, f"No wires: {found['wires']}."]
    strongest = ", ".join(f"block {row['block']}, neuron {row['neuron']} (κ "
                          f"{number(row['kappa'])})" for row in found.get("strongest", []))
    return [*said, "κ is the cosine of what one writes with what the other reads, directly or by "
            "the best head of the attention between; beside it the share of all pairs of the two "
            f"blocks below. The strongest wires of all: {strongest}."]


def _effect(found: Numbers) -> list[str]:
    said = []
    for name in ("removed", "doubled"):
        row = found[name]
        said.append(f"{name.capitalize()} alone: {changes(found, name)}. Up or down, it moves the "
                    f"probability of all by {100 * row['size']:.2f} {UNIT}; neurons that are about "
                    f"as active and write about as much by {100 * row['control_size']:.2f} "
                    f"(difference: {span(row['excess'])}).")
    if (found.get("on_paths") or {}).get("images"):
        said.append("Paths were searched on these images and follow this probability, so that a "
                    "larger change over those whose path uses it is partly built in.")
    said.append("A relative change divides by the image's own probability, so that images with a "
                "small one count most: its mean can have the other sign than the change in points"
                f"{', as it has here' if _signs_part(found) else ''}.")
    if found["classes"]:
        said.append("The rows of single classes are of few images each and have no such control.")
    return said


def _signs_part(found: Numbers) -> bool:
    """Whether a mean relative change has another sign than the mean change."""
    own = found.get("on_paths") or {}
    rows = [each[name] for each in (found, own) for name in ("removed", "doubled") if name in each]
    return any(row["probability"]["value"] * row["deviation"]["value"] < 0 for row in rows)


SENTENCES: dict[str, Callable[[Numbers], list[str]]] = {
    "identity": _identity, "paths": _paths, "value": _value, "key": _key, "concepts": _concepts,
    "synthetic": _synthetic, "neighbours": _neighbours, "effect": _effect,
    **card_vlm_words.SENTENCES}
