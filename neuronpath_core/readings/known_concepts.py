"""What neurons of a data set can be named after."""

from __future__ import annotations

import numpy as np

from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.readings.concepts import ConceptSet, concepts, foreground


def known_concepts(images: ImageSet) -> ConceptSet:
    """The concepts of a data set; of digits also the ink of each class, because the ink alone would
    leave labels nothing to choose from.

    Raises:
        ValueError: images of a data set whose concepts are not known.
    """
    found = concepts(images)
    if len(found.names) > 1:
        return found
    where, labels = foreground(images), images.labels.cpu().numpy()
    own = np.stack([where & (labels == label)[:, None, None]
                    for label in range(len(images.class_names))])
    masks = np.concatenate([found.masks, own])
    return ConceptSet((*found.names, *(f"ink of a {name}" for name in images.class_names)),
                      (*found.kinds, *("class",) * len(own)), masks, masks.any((2, 3)))
