"""Whether certified neurons are found on the paths of other images, and what these lose and keep
with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from neuronpath_core import metrics
from neuronpath_core.chapters.certified_paths.certain import chosen, interval_or_nan
from neuronpath_core.chapters.effects import numbers
from neuronpath_core.chapters.stability.overlap import augmented
from neuronpath_core.circuits.certified import CertifiedPath
from neuronpath_core.circuits.certified_classes import certified_mask
from neuronpath_core.images.file_images import FileImages
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.images.shape_pairs import PAIRED, pairs_for
from neuronpath_core.interventions import drafted_probabilities
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.study.study import IMAGES_AT_ONCE, Study

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

SETS = {"certified": "certified neurons", "voted": "the whole voted path",
        "random": "random neurons", "other": "another class's certified neurons"}
# what certified neurons are held against on changed images
COMPARED = ("certified", "random", "other")
UNSEEN = "another image"
CHANGES = {UNSEEN: "on other images", "noise of 0.05": "with noise of 0.05",
           "shifted by one pixel": "when shifted by one pixel",
           "another background": "on another background"}


def images_apart(study: Study, count: int, others: int, seed: int = 0) -> tuple[ImageSet, ImageSet]:
    """``count`` held-out images, and ``others`` more that are not among them, both spread evenly
    over the classes; errors are those of :meth:`~neuronpath_core.study.study.Study.images`."""
    own, every = study.images(count, seed), study.images(count + others, seed)
    return own, every.select(~torch.isin(every.ids, own.ids))


def changed_images(study: Study, images: ImageSet, seed: int = 0) -> dict[str, ImageSet]:
    """The images as they are and after each of ``CHANGES`` that can be had of them: files are left
    as they are, and another background can be drawn behind rendered scenes alone."""
    found = {UNSEEN: images}
    if not isinstance(images, FileImages):
        found |= {kind: augmented(images, kind, seed)
                  for kind in ("noise of 0.05", "shifted by one pixel")}
    if study.settings["dataset"]["name"] in PAIRED:
        found["another background"] = pairs_for(study.settings["dataset"], images, "background",
                                                seed)
    return found


def found_again(certified: Mapping[int, CertifiedPath], neurons: Int64[np.ndarray, "image layer"],
                labels: Int64[np.ndarray, "image"]) -> pd.DataFrame:
    """Which share of its class's neurons is on an image's path: a row per image with ``certified``
    and ``uncertified``, as of :func:`~neuronpath_core.chapters.certified_paths.certain.chosen`, and
    ``other``, the mean over the other classes' certified neurons; NaN where there are none."""
    sets = {label: {kind: chosen(path, kind) for kind in ("certified", "uncertified")}
            for label, path in certified.items()}
    rows = []
    for path, label in zip(neurons.tolist(), labels.tolist(), strict=True):
        own = set(enumerate(path, 1))
        others = [_share(own, kinds["certified"]) for other, kinds in sets.items()
                  if other != label]
        rows.append({**{kind: _share(own, pairs) for kind, pairs in sets[label].items()},
                     "other": pd.Series(others, dtype=float).mean()})
    return pd.DataFrame(rows)


def _share(own: set, wanted: set) -> float:
    return len(own & wanted) / len(wanted) if wanted else float("nan")


def again_rows(tables: Mapping[str, pd.DataFrame], seed: int = 0) -> pd.DataFrame:
    """:func:`found_again` under each condition, over images: ``condition, certified, uncertified,
    other`` (means), ``images`` (that have certified and uncertified neurons), ``value, low, high``
    (certified minus uncertified, paired)."""
    rows = []
    for condition, table in tables.items():
        lead = (table["certified"] - table["uncertified"]).dropna()
        rows.append({"condition": condition, **table.mean().to_dict(), "images": len(lead),
                     **interval_or_nan(lead, seed)})
    return pd.DataFrame(rows)


def neuron_masks(certified: Mapping[int, CertifiedPath], n_neurons: int,
                 seed: int = 0) -> dict[str, Bool[np.ndarray, "class layer neuron"]]:
    """By name of ``SETS`` the neurons of each class, classes in order.

    The random neurons are as many as the certified ones in each block and none of them, the same
    for all images of a class, so that a mask of them tells the class as well.  ``"other"`` is the
    next class's certified neurons, the last one's the first's.
    """
    labels, rng = np.array(sorted(certified)), np.random.default_rng(seed)
    own = certified_mask(certified, labels, n_neurons)
    voted, drawn = np.zeros_like(own), np.zeros_like(own)
    for place, label in enumerate(labels.tolist()):
        for block, neuron in chosen(certified[label], "voted"):
            voted[place, block - 1, neuron] = True
        for block, inside in enumerate(own[place]):
            free = np.flatnonzero(~inside)
            drawn[place, block, rng.choice(free, int(inside.sum()), replace=False)] = True
    return {"certified": own, "voted": voted, "random": drawn, "other": np.roll(own, -1, axis=0)}


def edited_effects(study: Study, model: str, images: ImageSet,
                   certified: Mapping[int, CertifiedPath], seed: int = 0,
                   sets: Sequence[str] = tuple(SETS)) -> pd.DataFrame:
    """What the neurons of each image's class do to it when they are removed, and when they alone
    are kept; whatever is removed is zero, at the scope, as published.

    Args:
        seed: of the random neurons, the same whichever sets are asked for.
        sets: of ``SETS``.

    Returns:
        one row per image, set and operation: ``image, set`` (of ``SETS``), ``operation``
        (``"remove"`` or ``"keep"``), ``probability`` (relative deviation of the true class's),
        ``correct`` (after the edit), ``clean`` (whether it was before), ``neurons`` (of the set).
    """
    target, clean = study.target(model), study.probabilities(model, images)
    masks = neuron_masks(certified, target.n_neurons, seed)
    places = np.searchsorted(sorted(certified), images.labels.numpy())
    truth, tables = images.labels.numpy(), []
    for name in sets:
        own = masks[name][places]
        for operation, factors in (("remove", ~own), ("keep", own)):
            edited = _probabilities(study, model, images, factors)
            tables.append(pd.DataFrame({
                "image": images.ids.numpy(), "set": name, "operation": operation,
                "probability": metrics.probability_deviation(clean, edited, truth),
                "correct": metrics.correct(edited, truth).astype(float),
                "clean": metrics.correct(clean, truth).astype(float),
                "neurons": own.sum((1, 2))}))
    return pd.concat(tables, ignore_index=True)


def changed_effects(study: Study, model: str, images: ImageSet,
                    certified: Mapping[int, CertifiedPath], seed: int = 0) -> pd.DataFrame:
    """:func:`edited_effects` on the images as changed, for the certified neurons and those that are
    to be weaker, random ones and another class's.  What is certified was so on images that were
    not changed.

    Returns:
        ``condition``, of ``CHANGES`` without the images as they are, and the columns of the other;
        no rows of images that cannot be changed.
    """
    tables = [edited_effects(study, model, own, certified, seed, COMPARED).assign(
        condition=condition) for condition, own in changed_images(study, images, seed).items()
        if condition != UNSEEN]
    columns = ["image", "set", "operation", "probability", "correct", "clean", "neurons",
               "condition"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def changed_leads(effects: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """:func:`effect_leads` of every model and condition: ``data, model, condition, images`` and its
    columns.

    Args:
        effects: of :func:`changed_effects`, with ``data`` and ``model``.
    """
    keys = ["data", "model", "condition"]
    tables = [effect_leads(own, seed).assign(**dict(zip(keys, names, strict=True)),
                                             images=own["image"].nunique())
              for names, own in effects.groupby(keys, sort=False)]
    columns = [*keys, "images", "operation", "against", "telling", "value", "low", "high"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def _probabilities(study: Study, model: str, images: ImageSet,
                   factors: Bool[np.ndarray, "image layer neuron"]) -> Float[np.ndarray,
                                                                            "image class"]:
    target, draft, found = study.target(model), study.drafted(model), []
    for place, pictures, _ in study.batches(images, model, IMAGES_AT_ONCE):
        own = torch.from_numpy(factors[place]).to(pictures)
        found.append(numbers(drafted_probabilities(target, draft, pictures, own)))
    return np.concatenate(found)


def effect_leads(effects: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How much more the certified neurons do than each other set, paired over images: ``operation,
    against, value, low, high``, positive where the certified ones matter more; and ``telling``,
    whether the whole voted path itself does more than random neurons (95 % interval above zero):
    where it does not, a comparison with it says nothing; ``None`` where that path was not edited.

    Of ``"remove"`` the lead is in relative probability that is lost, of ``"keep"`` in accuracy that
    is kept (shares).
    """
    rows = []
    for operation, column, sign in (("remove", "probability", -1), ("keep", "correct", 1)):
        own = effects[effects["operation"] == operation].pivot(index="image", columns="set",
                                                               values=column)
        telling = None
        if "voted" in own:
            whole = interval_row(sign * (own["voted"] - own["random"]).to_numpy(), seed=seed)
            telling = whole["low"] > 0
        rows += [{"operation": operation, "against": other, "telling": telling,
                  **interval_row(sign * (own["certified"] - own[other]).to_numpy(), seed=seed)}
                 for other in SETS if other != "certified" and other in own]
    return pd.DataFrame(rows)
