"""The tables of the card of a neuron of a vision-language model, as HTML."""

from __future__ import annotations

from typing import Any

from neuronpath_core.explanations.card_html import table
from neuronpath_core.explanations.words import number, percent

WHERE = {"image": "shown", "text": "said"}


def words_of(found: dict[str, Any]) -> str:
    """The words at which the neuron is largest in each top scene."""
    rows = [[f"image {row['image']}", ", ".join(f"{word} ({number(value)})"
                                                for word, value in row["words"]) or "none"]
            for row in found["top"]]
    return table("Words at which it is largest in these scenes, with its values",
                 ["scene", "words"], rows, names=2)


def _modality(found: dict[str, Any]) -> str:
    return table("Probabilities of its types",
                 ["type", "probability", "labels dealt", "a deal has as much, p"],
                 [[row["type"], f"{row['p']:.2f}", f"{row['dealt']:.2f}",
                   number(row["at_least"])] for row in found["types"]])


def _cause(found: dict[str, Any]) -> str:
    rows = [[f"{row['kind']}: {row['name']}", WHERE[row["where"]], number(row["value"]),
             f"{number(row['low'])} to {number(row['high'])}"] for row in found["values"]]
    return table(f"The values that move it most, of {found['tried']} that were tried, in its "
                 f"standard deviations, with 95 % intervals over {found['scenes']} scenes",
                 ["value", "is", "effect", "interval"], rows, names=2)


def _writes(found: dict[str, Any]) -> str:
    columns = ["word", "adds to the logit", "cosine", "of the block below",
               "random directions below"]
    return "".join(table(
        f"The value vector writes {said}", columns,
        [[row["word"], number(row["effective"]), number(row["cosine"]),
          percent(row["percentile"]), percent(row["random_below"])] for row in found[end]])
        for end, said in (("top", "most for"), ("bottom", "most against")))


BODIES = {"modality": _modality, "cause": _cause, "writes": _writes}
