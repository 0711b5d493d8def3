"""Paths that were searched for the values that replace their neurons."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from neuronpath_core.chapters.effects import numbers
from neuronpath_core.chapters.replacement.measured import AT_ONCE, Pool, check_kinds, lost
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.interventions import class_probabilities
from neuronpath_core.paths import find_paths
from neuronpath_core.scores import METHODS
from neuronpath_core.study.study import Study

# what a path is also searched for; then it is removed with the values that the search has seen, or
# with those of an image that it has not
SEARCHED = ("mean", "resample")
OWN, NEW = "the values searched with", "a new image's values"


def searched_effects(
    study: Study, names: Sequence[str], images: ImageSet, methods: Sequence[str], pool_images: int,
    seed: int = 0, kinds: Sequence[str] = SEARCHED, **settings
) -> pd.DataFrame:
    """Paths that were searched for a replacement, beside those that were searched for zero, both
    removed by that replacement.

    Of a replacement by another image, the search sees the values of one image; the paths are then
    removed with these (``OWN``) and with those of a second image (``NEW``).

    Args:
        methods: keys of ``npc.METHODS`` that compare with any baseline.
        settings: of :meth:`~neuronpath_core.study.study.Study.paths`.

    Returns:
        one row per model, method, kind, values and image: ``data, model, method, kind, seen,
        image``, the share of the label's probability that is lost with the path for ``zero`` and
        with the path for the ``same`` replacement, and ``stay``, the share of neurons that the two
        have in common.

    Raises:
        ValueError: methods that know no baseline, or unknown kinds.
    """
    check_kinds(kinds)
    if not methods or any(method not in METHODS or not METHODS[method].with_baseline
                          for method in methods):
        accepted = [key for key, method in METHODS.items() if method.with_baseline]
        raise ValueError(f"methods cannot be {list(methods)!r}; accepted: one or more of "
                         f"{', '.join(accepted)}")
    rows = []
    for model in study.check_models(list(names)):
        target, pool = study.target(model), Pool.of(study, model, pool_images, seed)
        paths = {method: study.paths(model, images, method, **settings).neurons
                 for method in methods}
        for place, pictures, labels in study.batches(images, model, AT_ONCE):
            clean = numbers(class_probabilities(target, pictures))
            for kind in kinds:
                first, *others = pool.values(kind, pictures, labels, 2, seed)
                for method in methods:
                    zero = paths[method][place].to(pictures.device)
                    same = find_paths(target, pictures, labels, method, baseline=first,
                                      memory_budget=study.memory_budget,
                                      **{"draft": study.draft} | settings).neurons
                    stay = numbers((zero == same).double().mean(1))
                    for seen, value in zip((OWN, NEW), (first, *others), strict=False):
                        found = {name: lost(target, pictures, labels, neurons, value,
                                            clean)["probability"]
                                 for name, neurons in (("zero", zero), ("same", same))}
                        rows.append(pd.DataFrame({
                            "data": study.profile, "model": model, "method": method, "kind": kind,
                            "seen": seen, "image": images.ids[place].numpy(), **found,
                            "stay": stay}))
    return pd.concat(rows, ignore_index=True)
