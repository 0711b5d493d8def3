"""What each half of each block does to the classes of an image's tokens: one pass over the images,
and from it a row per image, block, half and kind of token."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.readings import change_rates, memories
from neuronpath_core.readings.memory_nulls import all_by_chance, any_by_chance
from neuronpath_core.readings.projection import project_vectors
from neuronpath_core.readings.streams import Streams, over_images
from neuronpath_core.study.study import IMAGES_AT_ONCE, Study
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

CLASS_TOKEN, IMAGE_TOKENS = "class token", "image tokens"
CORRECTED = "corrected"
# name of a variant of the agreement: (variant, kept, projection of the value vectors)
VARIANTS = {"published": ("published", 5, "raw"), "written": ("written", 5, "raw"),
            "all": ("all", 5, "raw"), CORRECTED: ("written", 1, "effective")}


@dataclass(frozen=True)
class HalfMemories:
    """What the weights of a half say, once for all images.

    Attributes:
        vectors: value vectors.
        top: by ``"published"`` (without norm) and ``"corrected"`` the class that each raises most.
        stands: by variant which memory stands for which class.
        chance: by variant the agreement of memories drawn at random with each class.
    """

    vectors: Float[Tensor, "memory width"]
    top: Mapping[str, Tensor]
    stands: Mapping[str, Bool[Tensor, "memory class"]]
    chance: Mapping[str, Float[np.ndarray, "class"]]

    @classmethod
    def of(cls, target: TargetModel, block: int, half: str) -> HalfMemories:
        """Of a half of a block, counted from 0."""
        vectors = memories.value_matrix(target, block, half)
        logits = {name: project_vectors(target, vectors, name) for name in ("raw", "effective")}
        stands = {name: memories.memory_classes(
            logits[read], variant, min(kept, logits[read].shape[0 if variant == "published" else 1])
        ) for name, (variant, kept, read) in VARIANTS.items()}
        chance = {name: (all_by_chance if name == "all" else any_by_chance)(
            own.sum(0).cpu().numpy(), len(vectors), memories.ACTIVE)
            for name, own in stands.items()}
        return cls(vectors, {"published": logits["raw"].argmax(-1),
                             CORRECTED: logits["effective"].argmax(-1)}, stands, chance)


def token_groups(target: TargetModel) -> dict[str, slice]:
    """The kinds of token whose classes are read: of a model that classifies from its class token
    that one and the patch tokens, of one that pools these the patch tokens alone."""
    first = target.family.prefix_tokens(target.model)
    patches = {IMAGE_TOKENS: slice(first, None)}
    return {CLASS_TOKEN: slice(0, 1), **patches} if target.classifies_alone else patches


@torch.no_grad()
def token_tables(study: Study, model: str, images: ImageSet,
                 blocks: Collection[int] | None = None) -> dict[str, pd.DataFrame]:
    """One pass over the images.

    Args:
        blocks: from 1, those that are measured; ``None``: all.

    Returns:
        two tables with ``model, image, label, correct, confidence`` (the largest probability),
        ``tokens`` (which) and ``block`` (from 1).  ``"halves"``: also ``half`` and shares of the
        image's tokens:

        * ``change of``, for every ``of`` of ``class_change`` in
          :mod:`~neuronpath_core.readings.change_rates`: whose label rises, and ``change of,
          other``, whose another class does, mean over classes;
        * ``agreement variant``, for every one of ``VARIANTS``, with ``…, other`` and ``…,
          permuted`` (by memories drawn at random); ``agreement corrected, predicted``: with the
          class that the model predicts;
        * ``match published`` and ``match corrected``, with ``…, permuted``: one of the five most
          active memories has the half's own top class.

        ``"streams"``: ``match previous``, ``match attention``, ``match ffn``, ``match none``,
        ``none published``, and ``made of 0`` … ``made of 7``
        (:func:`~neuronpath_core.readings.change_rates.residual_partition`).

    Raises:
        ValueError: a model whose memories cannot be read, such as one of blocks that are not plain.
    """
    target, found = study.target(model), {"halves": [], "streams": []}
    wanted = [block for block in range(len(target.model.blocks))
              if blocks is None or block + 1 in blocks]
    weights = {(block, half): HalfMemories.of(target, block, half)
               for block in wanted for half in memories.HALVES}
    groups = token_groups(target)
    for place, pictures, labels in study.batches(images, model, IMAGES_AT_ONCE):
        target.check_batch(pictures, labels)
        ids = images.ids[place].numpy()

        def reading(streams: Streams, rows: Tensor, labels: Tensor = labels,
                    ids: np.ndarray = ids) -> dict[str, pd.DataFrame]:
            own = labels[rows]
            best = target.family.logits(target.model, streams.blocks[-1]).softmax(-1).max(-1)
            about = pd.DataFrame({
                "model": model, "image": ids[rows.cpu().numpy()], "label": own.cpu().numpy(),
                "correct": (best.indices == own).cpu().numpy(),
                "confidence": best.values.double().cpu().numpy()})
            return _of_streams(target, streams, (own, best.indices), about, weights, groups)

        for part in over_images(target, pictures, reading):
            for name, table in part.items():
                found[name].append(table)
    return {name: pd.concat(tables, ignore_index=True) for name, tables in found.items()}


def _of_streams(target, streams, classes, about, weights, groups):
    halves, whole = [], []
    for block in sorted({block for block, _ in weights}):
        for half in memories.HALVES:
            values = {**_changes(target, streams, classes[0], block, half),
                      **_memories(target, streams, *classes, block, half, weights[block, half])}
            halves += _rows(values, groups, about, block=block + 1, half=half)
        tops = change_rates.top_classes(target, streams, block)
        match, parts = change_rates.residual_match(tops), change_rates.residual_partition(tops)
        values = {f"match {name}": own for name, own in match.items()} | {
            "none published": change_rates.residual_match(tops, published=True)["none"]} | {
            f"made of {code}": parts == code for code in range(8)}
        whole += _rows(values, groups, about, block=block + 1)
    return {"halves": pd.concat(halves), "streams": pd.concat(whole)}


def _rows(values, groups, about, **named):
    """Means of ``(image, token)`` over each kind of token, one table a kind."""
    means = {name: torch.stack([own[:, tokens].double().mean(1) for own in values.values()]
                               ).cpu().numpy() for name, tokens in groups.items()}
    return [pd.DataFrame({**about, "tokens": name, **named, **dict(zip(values, own, strict=True))})
            for name, own in means.items()]


# --- the measures of one half of a block ---


def own_and_other(by_class: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Of ``(image, token, class)`` truth values the label's, and the mean over the other classes:
    what a class drawn at random from these has."""
    index = labels[:, None, None].expand(*by_class.shape[:2], 1)
    own = by_class.gather(-1, index)[..., 0].double()
    return own, (by_class.double().sum(-1) - own) / (by_class.shape[-1] - 1)


def _changes(target, streams, labels, block, half):
    values = {}
    for of in change_rates.CHANGES:
        change = change_rates.class_change(target, streams, block, half, of)
        values[f"change {of}"], values[f"change {of}, other"] = own_and_other(change > 0, labels)
    return values


def _memories(target, streams, labels, predicted, block, half, weights):
    entering = streams.before(block) if half == "attention" else streams.middle(block)
    values = memories.coefficients(target, block, half, entering)
    active = memories.most_active(values)
    # the published code ranks what enters the FFN's activation, if there is such a thing
    raw = half == "ffn" and type(target.model.blocks[block].mlp) is memories.Mlp
    ranked = memories.most_active(memories.coefficients(target, block, half, entering, True)
                                  ) if raw else active
    found = {}
    for name, (variant, _, _) in VARIANTS.items():
        agree = memories.agreement(ranked if name == "published" else active, weights.stands[name],
                                   variant)
        own, other = own_and_other(agree, labels)
        chance = torch.from_numpy(weights.chance[name]).to(own)[labels]
        found |= {f"agreement {name}": own, f"agreement {name}, other": other,
                  f"agreement {name}, permuted": chance[:, None].expand_as(own)}
        if name == CORRECTED:
            found[f"agreement {name}, predicted"] = own_and_other(agree, predicted)[0]
    added = streams.at(half)[block]
    written = {"published": project_vectors(target, added).argmax(-1),
               CORRECTED: project_vectors(target, memories.without_bias(values, weights.vectors),
                                          "effective").argmax(-1)}
    for name, top in written.items():
        match = memories.composition_match(ranked if name == "published" else active,
                                           weights.top[name], top)
        owned = torch.bincount(weights.top[name], minlength=target.n_classes).cpu().numpy()
        chance = any_by_chance(owned, len(weights.vectors), memories.ACTIVE)
        found |= {f"match {name}": match.any(-1),
                  f"match {name}, permuted": torch.from_numpy(chance).to(values)[top]}
    return found
