"""What else was tried to beat the front: a beam over effects, stopping early, and more gradients;
and what scores of a model with permuted weights find, which they should not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.chapters.controls.paths import randomised
from neuronpath_core.chapters.effects import numbers
from neuronpath_core.chapters.which_method.measured import (
    CONTROL,
    ONE_PASS,
    REFINED,
    SCORES,
    conditional_passes,
    forward_passes,
    path_effect,
    scored_paths,
)
from neuronpath_core.chapters.which_method.shares import share_row
from neuronpath_core.edits import scaled
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.ranking import top_neurons
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel
from neuronpath_core.variants.conditional_gradient import conditional_gradient_by_passes

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

# gradients and candidates of each beam, and the most gradients of the conditional gradient
BEAMS = ((2, 2), (3, 2), (3, 4))
MOST, SETTLED = 50, 20
# in how many gradients in a row nothing must change to stop
PATIENCE = (1, 2)
# scores that are computed for a model with permuted weights; LibraGrad ranks as RelP does
PERMUTED = {"gradient_activation": ONE_PASS, **{key: SCORES[key] for key in (
    "relp", "atp_graddrop", "eap_ig_inputs")}}


def beam(gradients: int, width: int) -> str:
    """The name of a beam."""
    return f"beam of {width}, {gradients} gradients"


def patient(steps: int) -> str:
    """The name of the rule that stops after so many gradients without a change."""
    return f"stopping after {steps} gradient{'s' * (steps > 1)} without a gain"


def nearest_paths(scores: Float[Tensor, "image layer neuron"],
                  width: int) -> Int64[Tensor, "image path layer"]:
    """The best path by the sum of its neurons' scores, and the ``width - 1`` that differ from it in
    one block and have least to lose, best first."""
    ranked = top_neurons(scores, 2)
    first, second = scores.gather(2, ranked).unbind(2)
    cheap = (first - second).argsort(dim=1, stable=True)[:, :width - 1]
    paths = ranked[..., 0][:, None].repeat(1, 1 + cheap.shape[1], 1)
    other = ranked[..., 1].gather(1, cheap)
    paths[:, 1:].scatter_(2, cheap[..., None], other[..., None])
    return paths


def beam_paths(
    target: TargetModel, images: Float[Tensor, "image channel height width"],
    labels: Int64[Tensor, "image"], gradients: int, width: int
) -> tuple[Int64[Tensor, "image layer"], Float[np.ndarray, "image"]]:
    """Paths of the conditional gradient where, of the ``width`` best candidates after every
    gradient, edited forwards choose the one at which the next gradient is taken.

    Candidates are the best path by the sum of the gradients so far, the j-th at an edited model
    counting j times as in
    :func:`~neuronpath_core.variants.conditional_gradient.conditional_gradient_paths`, and those
    nearest to it (:func:`nearest_paths`).  Neurons are set to zero.

    Returns:
        of all candidates the path with the largest effect, and that effect.
    """
    clean = torch.ones(len(images), target.n_blocks, target.n_neurons, dtype=target.dtype,
                       device=target.device)
    unedited, total = _slopes(target, images, labels, clean)
    found = torch.zeros(len(images), target.n_blocks, dtype=torch.int64, device=target.device)
    most = np.full(len(images), -np.inf)
    for number in range(1, gradients + 1):
        candidates = nearest_paths(total, width)
        effects = np.stack([path_effect(target, images, labels, each)[0]
                            for each in candidates.unbind(1)], 1)
        best = effects.argmax(1)
        chosen = candidates[torch.arange(len(images)), torch.from_numpy(best)]
        better = effects.max(1) > most
        found[torch.from_numpy(better)] = chosen[torch.from_numpy(better)]
        most = np.maximum(most, effects.max(1))
        if number < gradients:
            _, slopes = _slopes(target, images, labels, clean.scatter(2, chosen[..., None], 0.0))
            # the gradient of the unedited model proposes the first path, and counts no more
            total = number * slopes + (total if number > 1 else 0)
    return found, most


def _slopes(target, images, labels, factors):
    """F of the edited model, and what each neuron's removal would cost there to first order."""
    factors = factors.detach().requires_grad_()
    with activation_gradients(target), scaled(target, factors):
        probability = target(images).double().softmax(-1).gather(1, labels[:, None])[:, 0]
        slopes, = torch.autograd.grad(probability.sum(), factors)
    return probability.detach(), slopes


def beam_passes(target: TargetModel, gradients: int, width: int) -> float:
    """What a beam costs an image, in passes: its gradients, and a forward for each candidate."""
    forward = forward_passes(target)
    # of one path after three gradients or fewer a single forward is counted already
    return conditional_passes(target, gradients) + (gradients * width - 1) * forward


def by_gradients(study: Study, models: Sequence[str], images: ImageSet,
                 most: int = MOST) -> pd.DataFrame:
    """The best effect after every number of gradients, with zero in the neurons' place: ``data,
    model, image, gradients, passes, lost, changed`` (whether the best path so far is another than
    the one before)."""
    tables, numbers_of = [], range(1, most + 1)
    for model in study.check_models(list(models)):
        target, batch = study.target(model), study.batch(images, model)
        paths, effects = conditional_gradient_by_passes(target, *batch, numbers_of)
        other = (paths[:, 1:] != paths[:, :-1]).flatten(2).any(-1).cpu().numpy()
        changed = np.concatenate([np.ones_like(other[:, :1]), other], 1)
        passes = [conditional_passes(target, number) for number in numbers_of]
        tables.append(pd.DataFrame({
            "data": study.profile, "model": model, "image": np.repeat(images.ids.numpy(), most),
            "gradients": np.tile(numbers_of, len(images)), "passes": np.tile(passes, len(images)),
            "lost": numbers(effects).ravel(), "changed": changed.ravel()}))
    return pd.concat(tables, ignore_index=True)


def beams(study: Study, models: Sequence[str], images: ImageSet) -> pd.DataFrame:
    """What the paths of every beam of ``BEAMS`` cost, with zero in the neurons' place: ``data,
    model, image, method, passes, lost``."""
    rows = []
    for model in study.check_models(list(models)):
        target, batch = study.target(model), study.batch(images, model)
        for gradients, width in BEAMS:
            _, lost = beam_paths(target, *batch, gradients, width)
            cost = beam_passes(target, gradients, width)
            rows += [{"data": study.profile, "model": model, "image": int(image),
                      "method": beam(gradients, width), "passes": cost, "lost": value}
                     for image, value in zip(images.ids, lost, strict=True)]
    return pd.DataFrame(rows)


def stopped(steps: pd.DataFrame, patience: int) -> pd.DataFrame:
    """The images of :func:`by_gradients` where each is left as soon as ``patience`` gradients in a
    row have not raised its effect: ``data, model, image, method, passes, lost``."""
    rows = []
    for (data, model, image), own in steps.groupby(["data", "model", "image"], sort=False):
        own = own.sort_values("gradients")
        lost = own["lost"].to_numpy()
        idle = np.concatenate([[False], lost[1:] <= lost[:-1]])
        run = np.array([idle[max(0, end - patience + 1):end + 1].all() and end >= patience
                        for end in range(len(idle))])
        at = int(run.argmax()) if run.any() else len(own) - 1
        rows.append({"data": data, "model": model, "image": image, "method": patient(patience),
                     "passes": own["passes"].iloc[at], "lost": lost[at]})
    return pd.DataFrame(rows)


def tried_rows(tried: pd.DataFrame, steps: pd.DataFrame, table: pd.DataFrame,
               seed: int = 0) -> pd.DataFrame:
    """What was tried beside the conditional gradient at the same mean number of passes, which lies
    between two numbers of gradients: its effect is taken on the line between theirs.

    Args:
        tried: of :func:`beams` and :func:`stopped`.
        steps: of :func:`by_gradients`, of the same images.
        table: of :func:`~neuronpath_core.chapters.which_method.measured.removals`, which has the
            best path known of each image.

    Returns:
        ``data, model, method, passes, images``, the shares of the best known effect ``share`` and
        ``alike`` (the conditional gradient for as many passes), and their difference with its
        interval, ``value, low, high, verdict``.
    """
    rows = []
    for (data, model, method), own in tried.groupby(["data", "model", "method"], sort=False):
        best = _best_known(table, data, model).loc[own["image"]].to_numpy()
        lines = steps[(steps["data"] == data) & (steps["model"] == model)].pivot(
            index="image", columns="gradients", values="lost").loc[own["image"]].to_numpy()
        axis = steps[(steps["data"] == data) & (steps["model"] == model)].groupby("gradients")[
            "passes"].first().to_numpy()
        at = own["passes"].mean()
        alike = np.array([np.interp(at, axis, line) for line in lines])
        lost = own["lost"].to_numpy()
        row = share_row(lost - alike, best, seed)
        rows.append({"data": data, "model": model, "method": method, "passes": at,
                     "images": len(own), "share": lost.mean() / best.mean(),
                     "alike": alike.mean() / best.mean(), **row, "verdict": report.verdict(row)})
    return pd.DataFrame(rows)


def _best_known(table: pd.DataFrame, data: str, model: str) -> pd.Series:
    chosen = (table["data"] == data) & (table["model"] == model) & (
        table["replacement"] == "zero") & (table["method"] == REFINED)
    return table[chosen].set_index("image")["lost"]


def settling(steps: pd.DataFrame, table: pd.DataFrame, after: int = SETTLED,
             seed: int = 0) -> pd.DataFrame:
    """What gradients after the first ``after`` still add: per model ``data, model, images``,
    ``changed`` (of how many the best path does), and how much of the best known effect they add,
    ``value, low, high``."""
    rows = []
    for (data, model), own in steps.groupby(["data", "model"], sort=False):
        wide = own.pivot(index="image", columns="gradients", values="lost")
        best = _best_known(table, data, model).loc[wide.index].to_numpy()
        later = own[own["gradients"] > after].groupby("image")["changed"].any()
        rows.append({"data": data, "model": model, "images": len(wide),
                     "changed": int(later.sum()), **share_row(
                         (wide.iloc[:, -1] - wide[after]).to_numpy(), best, seed)})
    return pd.DataFrame(rows)


def permuted_effects(study: Study, models: Sequence[str], images: ImageSet,
                     seed: int = 0) -> pd.DataFrame:
    """What paths cost that scores of ``PERMUTED`` find in a copy of the model whose blocks' weights
    are permuted within each tensor, removed from the model itself and set to zero: ``data, model,
    method, image, lost``."""
    rows = []
    for model in study.check_models(list(models)):
        target, batch = study.target(model), study.batch(images, model)
        twin = randomised(target, range(target.n_blocks), seed)
        for key, name in PERMUTED.items():
            lost, _ = path_effect(target, *batch, scored_paths(twin, *batch, key))
            rows += [{"data": study.profile, "model": model, "method": name, "image": int(image),
                      "lost": value} for image, value in zip(images.ids, lost, strict=True)]
    return pd.DataFrame(rows)


def permuted_rows(permuted: pd.DataFrame, table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The share of the best known effect that scores of permuted weights reach, beside that of
    their own and of random neurons, and how far their own are ahead.

    Returns:
        ``data, model, method, condition, images, permuted, own, random`` (shares), and the lead of
        the score's own paths in lost probability, ``value, low, high, verdict``.
    """
    rows = []
    for (data, model, method), part in permuted.groupby(["data", "model", "method"], sort=False):
        chosen = (table["data"] == data) & (table["model"] == model) & (
            table["replacement"] == "zero")
        wide = table[chosen].pivot(index="image", columns="method", values="lost").loc[
            part["image"]]
        twin, best = part["lost"].to_numpy(), wide[REFINED].mean()
        row = interval_row(wide[method].to_numpy() - twin, seed=seed)
        rows.append({"data": data, "model": model, "method": method, "condition": f"by {method}",
                     "images": len(part), "permuted": twin.mean() / best,
                     "own": wide[method].mean() / best, "random": wide[CONTROL].mean() / best,
                     **row, "verdict": report.verdict(row)})
    return pd.DataFrame(rows)


def over_models(rows: pd.DataFrame, columns: Sequence[str], seed: int = 0) -> pd.DataFrame:
    """Means over models with percentile bootstrap intervals over them: by method and column
    ``method, column, value, low, high``; without an interval of one model."""
    found = []
    for method, own in rows.groupby("method", sort=False):
        for column in columns:
            values = own[column].to_numpy(float)
            row = interval_row(values, seed=seed) if len(values) > 1 else {
                "value": values[0], "low": np.nan, "high": np.nan}
            found.append({"method": method, "column": column, **row})
    return pd.DataFrame(found)
