"""What Vilas et al. (2023) report of their models, for the columns beside ours.

Rates are shares of tokens or of images.  Their table 1 and section 5; the shares of images with an
identifying token and the accuracies are in their appendix.
"""

from __future__ import annotations

# the model of a profile, by what it stands for -> the nearest of theirs
NEAREST = {"ViT-B-16": "ViT-B/16", "ViT-B-32": "ViT-B/32", "ViT-L-32": "ViT-L/16",
           "MAE-B-16": "ViT-B/16-GAP", "ViT-B-32-augreg": "ViT-B/32",
           "ViT-B-16-augreg": "ViT-B/16", "ViT-L-16-augreg": "ViT-L/16",
           "ViT-B-16-MIIL": "ViT-B/16-MIIL"}
RATE = {"ViT-B/32": 0.6073, "ViT-B/16": 0.6704, "ViT-L/16": 0.7258, "ViT-B/16-MIIL": 0.7852,
        "ViT-B/16-CIFAR100": 0.9035, "ViT-B/16-Refinement": 0.7964, "ViT-B/16-GAP": 0.5209}
WITH_ONE = {"ViT-B/32": 0.9558, "ViT-B/16": 0.9745, "ViT-L/16": 0.9712, "ViT-B/16-MIIL": 0.9552,
            "ViT-B/16-CIFAR100": 0.9880, "ViT-B/16-Refinement": 0.9626, "ViT-B/16-GAP": 0.9853}
ACCURACY = {"ViT-B/32": 0.8171, "ViT-B/16": 0.8569, "ViT-L/16": 0.8600, "ViT-B/16-MIIL": 0.8626,
            "ViT-B/16-CIFAR100": 0.9200, "ViT-B/16-Refinement": 0.8497, "ViT-B/16-GAP": 0.8413}
# the same of networks with random weights
RANDOM_RATE = {"ViT-B/32": 0.00066, "ViT-B/16": 0.00056}
RANDOM_ONE = {"ViT-B/32": 0.0127, "ViT-B/16": 0.0218}
# of ViT-B/32: rates of the last block under each cut
CUT = {"uncut": 0.6073, "self only": 0.0012, "no class token": 0.6071}
# of ViT-B/32: class tokens and context tokens, before and after the others are taken away
KEPT = {"object": (0.7191, 0.4470), "context": (0.5624, 0.3868)}
# share of image tokens whose label's logit grows from block to block
RISES = {"ViT-B/32": "0.55 to 0.90, last block 0.80", "ViT-B/16": "up to 0.95",
         "ViT-L/16": "last block 0.99"}
# identifiability at the sixth of twelve blocks, read off their figure 2: class token, image tokens
MIDDLE = {"ViT-B/32": "0.83, 0.68"}


def of(model: str, table: dict) -> object:
    """What the paper reports of the model that is nearest to one of the study, by what this stands
    for; ``None`` where nothing is reported."""
    return table.get(NEAREST.get(model, model))
