"""Labels of neurons by the similarities of a CLIP model, as CLIP-Dissect gives them (Oikarinen and
Weng, 2023): for images of which nobody knows what they show.

Any model of ``open_clip`` serves, and whatever has its ``encode_image`` and ``encode_text``.  What
of a neuron's map is compared, its maximum, its mean or the first token alone, is the ``reduction``
of :func:`~neuronpath_core.neurons.exemplars.find_exemplars`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from neuronpath_core.neurons.labels import ConceptLabeler, by_wpmi
from neuronpath_core.support.text import shown

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

BATCH = 64
MISSING = ("labels by CLIP need open_clip, which is not installed; accepted: pip install "
           '"neuronpath-core[labels]"')


def load_clip(name: str, weights: str | None = None) -> tuple[Any, Callable, Callable]:
    """``(model, preprocessing of a PIL image, tokenizer)`` of open_clip, in eval mode.

    Args:
        name: of an architecture, or ``local-dir:`` and a folder.
        weights: a file of weights or the name of published ones; ``None``: random ones.

    Raises:
        ValueError: open_clip is not installed.
    """
    try:
        import open_clip
    except ImportError as error:
        raise ValueError(MISSING) from error
    model, _, preprocess = open_clip.create_model_and_transforms(name, pretrained=weights)
    return model.eval(), preprocess, open_clip.get_tokenizer(name)


@torch.no_grad()
def clip_similarity(model: Any, tokenizer: Callable[[list[str]], Tensor],
                    images: Float[Tensor, "image channel height width"],
                    texts: Sequence[str]) -> Float[np.ndarray, "image text"]:
    """Cosines of images and texts in the space of a CLIP model, float64.

    Args:
        model: with ``encode_image`` and ``encode_text``.
        tokenizer: of texts, as the model's text tower accepts them.
        images: preprocessed for the CLIP model, not for the one whose neurons are labelled.
        texts: at least two, such as ``"a photo of red stripes"``.

    Raises:
        ValueError: no two texts, or a model without the two towers.
    """
    if not all(callable(getattr(model, name, None)) for name in ("encode_image", "encode_text")):
        raise ValueError(f"{type(model).__name__} has no towers for images and texts; accepted: a "
                         "model of open_clip, or one with its encode_image and encode_text")
    if len(texts) < 2 or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f"texts cannot be {shown(texts)}; accepted: at least two texts to choose "
                         "from")
    seen = torch.cat([model.encode_image(part) for part in images.split(BATCH)])
    read = model.encode_text(tokenizer(list(texts)))
    return (F.normalize(seen.double(), dim=-1) @ F.normalize(read.double(), dim=-1).T).cpu().numpy()


def by_clip(texts: Sequence[str], similarity: Float[np.ndarray, "image text"],
            scores: Float[np.ndarray, "block neuron image"], **settings) -> ConceptLabeler:
    """Names every neuron after the text of the largest soft-WPMI.

    Args:
        texts: to choose from.
        similarity: of :func:`clip_similarity`, of the images that ``scores`` are of.
        scores: of all neurons.
        settings: of :func:`~neuronpath_core.neurons.labels.soft_wpmi`.
    """
    return by_wpmi(tuple(texts), similarity, scores, **settings)
