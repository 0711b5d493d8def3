"""What Vilas et al. (2023) report of their models, by the paper model that each of ours stands for.

Numbers of figures were read off them.  Their large model has patches of 16 pixels, not 32; their
pooled one is a supervised ViT-B-16 with another kind of block, not a masked autoencoder.
"""

from __future__ import annotations

from collections.abc import Mapping

# class-value agreement; key-value agreement rate; the same of correctly minus of wrongly classified
# images; share of tokens with a match (1 - compositionality).  FFN at the last block but one (the
# class-value agreement at its peak), attention at the last.
REPORTED: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "ViT-B-32": {"values": (0.33, 0.18), "agreement": (0.41, 0.44), "correct": (0.41, 0.05),
                 "match": (0.56, 0.12)},
    "ViT-B-16": {"values": (0.38, 0.21), "agreement": (0.38, 0.57), "correct": (0.04, 0.0),
                 "match": (0.57, 0.16)},
    "ViT-L-32": {"values": (0.40, 0.18), "agreement": (0.41, 0.60), "correct": (0.45, 0.14),
                 "match": (0.73, 0.23)},
    "MAE-B-16": {"values": (0.127, float("nan")), "agreement": (0.10, 0.12), "correct": (0.0, 0.0),
                 "match": (0.04, 0.01)},
}
# class similarity change rate of the class token, at the last block but one and at the last
CHANGE = {"ViT-B-32": {"attention": (0.97, float("nan")), "ffn": (0.70, 0.03)}}
# attention's change of the label's logit, tokens of the class minus others, blocks 2..12 of B/32
CONTEXT = (0.007, 0.030, 0.127, 0.216, 0.231, 0.232, 0.343, 0.436, -0.409, -0.564, -6.543)


def reported(stands_for: str, measure: str, half: str) -> float:
    """A number of the paper; NaN where it has none."""
    pair = REPORTED.get(stands_for, {}).get(measure, (float("nan"),) * 2)
    return pair[half == "attention"]
