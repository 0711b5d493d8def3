"""What rankings and paths keep of a decision, and what is left without them, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.baselines import gradient_activation
from neuronpath_core.chapters.controls.paths import randomised
from neuronpath_core.circuits.curves import Faithfulness
from neuronpath_core.circuits.masked_model import SHARES, SIDES, MaskedModel
from neuronpath_core.circuits.ranking_controls import (
    activation_scores,
    matched_scores,
    other_class_scores,
)
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.knowledge import knowledge_attribution
from neuronpath_core.random_paths import matched_random_paths
from neuronpath_core.replacement import replacement_values
from neuronpath_core.scores.relp import relevance_patching
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel
from neuronpath_core.variants.conditional_gradient import conditional_gradient_paths

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

# kind of replacement -> how it is called under a heading "replaced"
REPLACED = {"zero": "by zero", "mean": "by the mean", "resample": "from other images"}
SCORES = {"gradient_activation": "gradient × activation",
          "knowledge": "single-neuron integrated gradients", "relp": "RelP",
          "activation": "activation"}
MATCHED = "matched"
CONTROLS = {MATCHED: "matched random neurons", "other_class": "the ranking of another class",
            "permuted": "the ranking of permuted weights"}
RANKINGS = SCORES | CONTROLS
# under which these controls, and the removal of the best share, are measured
AT, ALSO = "mean", ("other_class", "permuted")
PATHS = {"neuron_path": "neuron path", "remove": "best path to remove", "keep": "best path to keep",
         MATCHED: "matched random path"}
# of the integral of single-neuron gradients; the integrand is smooth
NODES = 2


@dataclass(frozen=True)
class Case:
    """A model with the images of one data set, and what its neurons are replaced by.

    Attributes:
        data, model: their names.
        target, pictures, labels: the model and a batch.
        values: by kind of replacement, ``(draw, image or 1, layer, token, neuron)``.
    """

    data: str
    model: str
    target: TargetModel
    pictures: Float[Tensor, "image channel height width"]
    labels: Int64[Tensor, "image"]
    values: Mapping[str, Float[Tensor, "draw image layer token neuron"]]

    def masked(self, kind: str) -> MaskedModel:
        """The model with neurons replaced, the same at every call."""
        if kind not in self._masked:
            self._masked[kind] = MaskedModel.of(self.target, self.pictures, self.labels,
                                                self.values[kind])
        return self._masked[kind]

    @cached_property
    def _masked(self) -> dict[str, MaskedModel]:
        return {}

    def baseline(self, kind: str) -> Float[Tensor, "image layer token neuron"] | None:
        """What scores and searches compare with: the mean over the draws, of which the first-order
        effect is the mean of those of the draws; ``None`` for zero."""
        return None if kind == "zero" else self.values[kind].mean(0)

    def select(self, rows: slice) -> Case:
        """Some of the images, with their values."""
        values = {kind: each if each.shape[1] == 1 else each[:, rows] for kind,
                  each in self.values.items()}
        return Case(self.data, self.model, self.target, self.pictures[rows], self.labels[rows],
                    values)

    def named(self, frame: pd.DataFrame, **names: str) -> pd.DataFrame:
        """A table with the case's names, and others, in front."""
        return pd.concat([pd.DataFrame(
            {"data": self.data, "model": self.model, **names}, index=frame.index), frame], axis=1)


def case(study: Study, model: str, images: ImageSet, pool: ImageSet, draws: int = 2,
         seed: int = 0, replaced: Sequence[str] = tuple(REPLACED)) -> Case:
    """A model of a study with these images.

    Args:
        pool: images of the same data to take means over and to draw from, such as training images.
        draws: other images that each is given the values of.
        seed: of the draws.
        replaced: kinds of replacement.
    """
    target = study.target(model)
    pictures, labels = study.batch(images, model)
    others, other_labels = study.batch(pool, model)
    return Case(study.profile, model, target, pictures, labels, {
        kind: replacement_values(target, kind, pictures, labels, pool=others,
                                 pool_labels=other_labels, draws=draws, seed=seed)
        for kind in replaced})


def scores_of(case: Case, kind: str,
              seed: int = 0) -> dict[str, Float[Tensor, "image layer neuron"]]:
    """The scores of every ranking that is measured under a kind of replacement, by its key in
    ``RANKINGS``.

    Scores that compare with something do so with what replaces.  Matched random neurons have those
    of gradient × activation, dealt anew among neurons about as active; permuted weights are those
    of every tensor of every block.
    """
    target, images, labels, baseline = (case.target, case.pictures, case.labels,
                                        case.baseline(kind))
    gradient = gradient_activation(target, images, labels, baseline)
    found = {"gradient_activation": gradient,
             "knowledge": knowledge_attribution(target, images, labels, "gauss-legendre", NODES,
                                                baseline=baseline),
             "relp": relevance_patching(target, images, labels, baseline=baseline),
             "activation": activation_scores(target, images),
             MATCHED: matched_scores(target, images, gradient, seed)}
    if kind == AT:
        permuted = randomised(target, range(target.n_blocks), seed)
        found |= dict(zip(ALSO, (
            other_class_scores(gradient, labels, seed),
            gradient_activation(permuted, images, labels, baseline)), strict=True))
    return found


def _rows(case: Case, curves: Mapping[str, Faithfulness], **names: str) -> pd.DataFrame:
    frame = pd.concat([curve.to_frame() for curve in curves.values()], ignore_index=True)
    # a side that was not measured
    frame = frame.dropna(subset="value").reset_index(drop=True)
    return case.named(frame.drop(columns="faithfulness"), **names)


def curves(case: Case, shares: Sequence[float] = SHARES, seed: int = 0) -> pd.DataFrame:
    """The measures of every ranking at every share kept, under every replacement, and under that
    by the mean also at every share removed.

    Returns:
        a row per replacement, ranking, measure, image, side and share: ``data, model, replaced,
        ranking, measure, image, side, share, neurons, value, full, empty``.
    """
    return pd.concat([
        _rows(case, case.masked(kind).curves(scores, shares,
                                             sides=SIDES if kind == AT else SIDES[:1]),
              replaced=kind, ranking=ranking)
        for kind in case.values
        for ranking, scores in scores_of(case, kind, seed).items()], ignore_index=True)


def paths(case: Case, study: Study, images: ImageSet, seed: int = 0,
          **settings) -> dict[str, dict[str, Int64[Tensor, "image layer"]]]:
    """The paths whose place on the curves is asked for, by replacement and by their key in
    ``PATHS``: the published one is found with zero, the best ones to remove and to keep with what
    replaces.

    Args:
        settings: ``context``, ``quadrature``, ``steps`` of
            :meth:`~neuronpath_core.study.study.Study.paths`.
    """
    own = study.paths(case.model, images, **settings).neurons.to(case.labels.device)
    random = matched_random_paths(case.target, case.pictures, own, seed)[..., 0]
    return {kind: {"neuron_path": own,
                   **{question: conditional_gradient_paths(
                       case.target, case.pictures, case.labels, question=question,
                       baseline=case.baseline(kind))[0][..., 0] for question in ("remove", "keep")},
                   MATCHED: random} for kind in case.values}


def places(case: Case, found: Mapping[str, Mapping[str, Tensor]]) -> pd.DataFrame:
    """The measures of every path, kept alone and removed, as :func:`curves` has them; ``share`` is
    that of the path among all neurons."""
    return pd.concat([
        _rows(case, case.masked(kind).place(neurons), replaced=kind, ranking=name)
        for kind, own in found.items() for name, neurons in own.items()], ignore_index=True)


def differing(case: Case, found: Mapping[str, Mapping[str, Tensor]]) -> pd.DataFrame:
    """Which share of its neurons the best path to keep does not have in common with the best to
    remove: a row per replacement and image, ``data, model, replaced, image, apart``."""
    return pd.concat([case.named(pd.DataFrame({
        "image": range(len(own["keep"])),
        "apart": (own["keep"] != own["remove"]).double().mean(1).cpu().numpy()}), replaced=kind)
        for kind, own in found.items()], ignore_index=True)


def ends(case: Case, kind: str) -> float:
    """What all neurons do together: the mean over images of the logit difference, of the model less
    of the model with all neurons replaced."""
    model = case.masked(kind)
    none = torch.zeros(1, case.target.n_blocks, case.target.n_neurons, dtype=torch.bool,
                       device=case.labels.device)
    full, empty = (model.measures(kept)["logit_difference"] for kept in (None, none))
    return float((full - empty).mean())
