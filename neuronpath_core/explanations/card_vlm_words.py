"""What the card of a neuron of a vision-language model says in sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from neuronpath_core.explanations.words import number, percent, span

if TYPE_CHECKING:
    from neuronpath_core.explanations.card import Card

Numbers = Mapping[str, Any]
TITLES = {"unit": "Who it is", "modality": "Which modality it answers to",
          "samples": "What excites it", "explanation": "What it is said to fire for",
          "cause": "Whether what is named moves it", "writes": "What it writes",
          "removal": "What it does alone"}


def parts(card: Card) -> list[str]:
    """The card in parts of a sentence, of the sections that there are."""
    found = []
    if not (kind := card["modality"]).missing:
        row = next(row for row in kind.numbers["types"] if row["type"] == kind.numbers["best"])
        found.append(f"it is most probably {row['type']} (p = {row['p']:.2f}; "
                     f"{row['dealt']:.2f} with dealt labels)")
    if not (said := card["explanation"]).missing:
        found.append(f"it is said to fire for {said.numbers['text']} (score "
                     f"{number(said.numbers['own'])}; the explanations of others "
                     f"{number(said.numbers['swapped'])})")
    if not (writes := card["writes"]).missing:
        found.append(f"it writes most for “{writes.numbers['top'][0]['word']}”")
    if not (removal := card["removal"]).missing:
        found.append("removed alone it changes the probability of right answers by "
                     f"{span(removal.numbers['probability'])} in the mean")
    return found


def _unit(found: Numbers) -> list[str]:
    median = found["block_median"]
    said = [f"It is the {found['site']}, before the other projection is multiplied. Read at the "
            f"image tokens and the words of the captions of {found['scenes']} scenes.",
            f"Mean activation {number(found['mean'])} (number {found['rank']} of the block's "
            f"{found['neurons']} neurons, median {number(median['mean'])}), largest "
            f"{number(found['largest'])}; above 0 at {percent(found['active'])} of these tokens "
            f"(median of the block: {percent(median['active'])})."]
    if found["dead"]:
        said.append("It is dead here: at no token of any scene does it rise above 0.")
    return said


def _modality(found: Numbers) -> list[str]:
    return [f"Shares of its {found['samples']} top scenes, after Xu et al. (2025). Beside them the "
            f"mean over {found['deals']} deals of the labels “image” and “word” among the tokens "
            "of each scene, which keep how sparse it is, and how often a deal, or the neuron "
            "itself, has at least its share."]


def _samples(found: Numbers) -> list[str]:
    said = [f"Of {found['images']} scenes those in which it is largest; below each its map on the "
            f"image tokens, on one scale: full colour is {number(found['scale'])}."]
    if found["word"]:
        said.append(f"Among words “{found['word']}” is the one at which it most often is largest, "
                    f"in {percent(found['word_share'])} of its top scenes; a word drawn at random "
                    f"from each caption would be it in {percent(found['word_random'])}.")
    else:
        said.append("At no word of these captions does it rise above 0.")
    return said


def _explanation(found: Numbers) -> list[str]:
    said = [f"It is said to fire for {found['text']}, by a search among masks and words from five "
            "of its top scenes." if found["text"] else "Nothing fits it.",
            f"Simulated from that on {found['scored']} others it correlates with itself by "
            f"{number(found['own'])}; what can be said of any {found['kind']} neuron gives "
            f"{number(found['generic'])}, a map of where it fired before {number(found['place'])}."]
    if found["gap"] is None:
        return [*said, "There is no other neuron of its type to swap explanations with."]
    return [*said, f"The explanations of {found['others']} other {found['kind']} neurons give "
            f"{number(found['swapped'])}: a difference of {_span(found['gap'])}, with the 95 % "
            f"interval over these {found['scored']} scenes."]


def _cause(found: Numbers) -> list[str]:
    moves = f"{found['scenes']} scenes of one object, drawn again with each value"
    if found["own"] is None:
        return [f"Of {moves}. What is said of it names none of these values, or no other neuron of "
                "its type and layer is there whose explanation does."]
    return [f"Of {moves}: with {' and '.join(found['named'])} it is {_span(found['own'])} of its "
            "standard deviations larger than with the other values of the attribute; what is named "
            f"of other neurons moves it by {number(found['swapped'])}, a difference of "
            f"{_span(found['gap'])}."]


def _writes(found: Numbers) -> list[str]:
    return ["Numbers are W diag(γ) v, what a unit of the neuron's product adds to a word's logit "
            "before the last norm divides. Beside them: the share of the block's neurons that add "
            f"less, and the share of uniform directions in {found['width']} dimensions with a "
            "smaller cosine. The best of as many random directions as the block has neurons would "
            f"lie below this first cosine with probability {number(found['block_below'])}. It is "
            f"the largest of {found['words']} words.",
            f"The value vector's length is {number(found['length'])}."]


def _removal(found: Numbers) -> list[str]:
    return [f"Removed alone at every token: {span(found['probability'])} for the first word of the "
            f"right answers to {found['questions']} questions. Up or down, it moves their "
            f"probability by {100 * found['size']:.2f} points; neurons of the block that are about "
            f"as active and write about as much by {100 * found['control_size']:.2f} (difference: "
            f"{span(found['excess'])})."]


def _span(row: Numbers) -> str:
    return f"{number(row['value'])} [{number(row['low'])}, {number(row['high'])}]"


SENTENCES: dict[str, Callable[[Numbers], list[str]]] = {
    "unit": _unit, "modality": _modality, "samples": _samples, "explanation": _explanation,
    "cause": _cause, "writes": _writes, "removal": _removal}
