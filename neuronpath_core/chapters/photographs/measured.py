"""What is measured on photographs: the measurements of the paper's own chapters, on images whose
digests are declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neuronpath_core import metrics
from neuronpath_core.chapters.controls.leads import class_overlap
from neuronpath_core.chapters.effects import paired_difference
from neuronpath_core.chapters.knowledge_neurons import depth_shares, measured, scaling
from neuronpath_core.chapters.similarity_in_numbers.measured import compare_similarity
from neuronpath_core.chapters.similarity_in_numbers.related import shared_value
from neuronpath_core.images.declared import check_declared
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.stats import report, tests
from neuronpath_core.stats.claims import with_verdict
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.stats.labels import method_label
from neuronpath_core.stats.mantel import Relation
from neuronpath_core.study.study import Study

if TYPE_CHECKING:
    from jaxtyping import Float

DATA = "photographs"
# the class names of the photographs; kinds are as their makers tell them apart
KINDS = {"vehicle": ("airplane", "automobile", "ship", "truck"),
         "animal": ("bird", "cat", "deer", "dog", "frog", "horse")}
# the question, and the same with what classes look like taken out
KIND, BEYOND_LOOK = "kind", "kind given look"
POOLED = "MAE-B-16"  # what a masked autoencoder stands for
SUPERVISED = "ViT-B-16"


def photographs(study: Study, count: int, seed: int = 0, of_each: int = 3) -> ImageSet:
    """``count`` held-out images, as :meth:`~neuronpath_core.study.study.Study.images` draws them,
    once all of them are known to be those that are declared.

    Raises:
        ValueError: images that are not at hand, or are not the declared ones; see
            :func:`~neuronpath_core.images.declared.check_declared`.
    """
    check_declared(study.held_out, study.settings["dataset"], study.root)
    return study.images(count, seed, of_each)


def kinds_of(class_names: Sequence[str]) -> tuple[str, ...]:
    """``"animal"`` or ``"vehicle"`` for every class.

    Raises:
        ValueError: a class of another name, or not at least two classes of either kind.
    """
    known = {name: kind for kind, names in KINDS.items() for name in names}
    found = tuple(known.get(name, "") for name in class_names)
    if "" in found or min(map(found.count, KINDS)) < 2:
        raise ValueError(f"classes {', '.join(class_names)} are not of two kinds; accepted: two or "
                         f"more each of {'; '.join(', '.join(names) for names in KINDS.values())}")
    return found


def look_similarity(images: ImageSet) -> Float[np.ndarray, "class class"]:
    """Cosine between the classes' mean images, each minus the mean of all, in -1..1."""
    labels, seen = images.labels.numpy(), images.appearance()
    means = np.stack([seen[labels == label].mean(0) for label in np.unique(labels)])
    return metrics.cosine_similarity((means - means.mean(0))[:, None])


def kind_relations(images: ImageSet) -> dict[str, Relation]:
    """What path similarity is held against: whether two classes are of one kind, alone and with the
    similarity of their mean images taken out."""
    same = shared_value(kinds_of(images.class_names))
    return {KIND: Relation(same), BEYOND_LOOK: Relation(same, (look_similarity(images),))}


def kind_similarity(study: Study, models: Sequence[str], images: ImageSet, methods: Sequence[str],
                    resamples: int = 400, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How path similarity of classes goes with their kind, by every method, and how far the first
    method is ahead of the others.

    Returns:
        the tables of
        :func:`~neuronpath_core.chapters.similarity_in_numbers.measured.compare_similarity` with
        ``model`` and ``verdict``: of the first by permutation, with Holm's correction over the
        models, as ``adjusted``; of the second by its intervals. Methods are as they are called.
    """
    relations, labels, found = kind_relations(images), images.labels.numpy(), []
    for model in models:
        paths = {method: study.paths(model, images, method).neurons.numpy() for method in methods}
        tables = compare_similarity(paths, labels, study.target(model).n_neurons, relations,
                                    resamples=resamples, seed=seed)
        found.append([table.assign(model=model) for table in tables])
    table, leads = (pd.concat(parts, ignore_index=True) for parts in zip(*found, strict=True))
    table["adjusted"] = table.groupby(["method", "relation"], sort=False)["p"].transform(tests.holm)
    table["verdict"] = table.apply(tests.permutation_verdict, axis=1)
    return (table.assign(method=table["method"].map(method_label)),
            with_verdict(leads.assign(against=leads["against"].map(method_label))))


def leads_over(edited: pd.DataFrame, models: Sequence[str], others: Sequence[str],
               seed: int = 0, path: str = "neuron_path") -> pd.DataFrame:
    """How much more of the true class's probability removal of the path takes than removal of other
    paths, by mean and by median.

    Args:
        edited: of :func:`~neuronpath_core.chapters.effects.interventions`.
        others: methods among its own.
        path: the method whose paths are held against them.

    Returns:
        ``method, statistic, model, value, low, high, verdict``: shares of the clean probability,
        paired over images, with 95 % bootstrap intervals.
    """
    ahead = edited.assign(ahead=-edited["removal_probability"])
    return with_verdict(pd.DataFrame([
        {"method": other, "statistic": statistic, "model": model,
         **paired_difference(ahead, "ahead", model, path, other, statistic, seed)}
        for other in others for statistic in ("mean", "median") for model in models]))


def own_losses(edited: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """What removal of an image's own path takes, positive where it takes some: of ``"removal"`` the
    median share of the clean probability, of ``"removal accuracy"`` points.

    Returns:
        ``measure, model, value, low, high, verdict``, 95 % bootstrap intervals over images.
    """
    own, rows = edited[edited["method"] == "neuron_path"], []
    for measure, column, factor, statistic in (("removal", "removal_probability", 1, "median"),
                                               ("removal accuracy", "removal_accuracy", 100,
                                                "mean")):
        rows += [{"measure": measure, "model": model,
                  **interval_row(-factor * group[column].to_numpy(), statistic, seed)}
                 for model, group in own.groupby("model", sort=False)]
    return with_verdict(pd.DataFrame(rows))


def overlaps(study: Study, models: Sequence[str], images: ImageSet, seed: int = 0) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.controls.leads.class_overlap` of every model, a row each
    with ``model``."""
    labels = images.labels.numpy()
    return pd.DataFrame([{"model": model, **class_overlap(
        study.paths(model, images).neurons.numpy(), labels, seed=seed)} for model in models])


@dataclass(frozen=True)
class Knowledge:
    """Where knowledge neurons lie in a supervised model and in a masked autoencoder.

    Attributes:
        models: the two, the supervised one first.
        shares: of :func:`~neuronpath_core.chapters.knowledge_neurons.depth_shares.block_shares`.
        correlations: of :func:`~neuronpath_core.chapters.knowledge_neurons.scaling.by_condition`.
    """

    models: tuple[str, str]
    shares: pd.DataFrame
    correlations: Mapping[str, Mapping[str, float]]


def knowledge(study: Study, count: int = 60, alone: int = 20, top: int = 5,
              seed: int = 0) -> Knowledge | None:
    """The measurement of the paper's Figure 2, over ``count`` images, of which ``alone`` have every
    neuron scaled by itself; ``None`` where the profile has no model of either kind."""
    stand_for = {paper: model for model, paper in study.stand_for.items()
                 if model in study.model_names}
    if not {SUPERVISED, POOLED} <= set(stand_for):
        return None
    models = stand_for[SUPERVISED], stand_for[POOLED]
    images, blocks = study.images(count, seed), {each: study.target(each).n_blocks
                                                 for each in models}
    found = measured.knowledge_neurons(study, models, images, top, "gauss-legendre", 4)
    most = max(blocks.values())
    correlation, rest = (depth_shares.share_correlation(found, *models, most, seed, skip=skip)
                         for skip in (0, 1))
    rows = scaling.scaling_rows(scaling.knowledge_by_scaling(study, models, images, alone, top),
                                models, blocks, seed)
    return Knowledge(models, depth_shares.block_shares(found, most, seed), scaling.by_condition(
        correlation, rest, rows, len(images), alone))


def said_of(found: Knowledge | None) -> str:
    """The correlations of block shares in a sentence, or that the profile lacks a model."""
    if found is None:
        return ("The profile has no masked autoencoder, so that Figure 2's question is not asked "
                "of photographs")
    parts = [f"{words} {report.interval_text(row)}" for words, row in found.correlations.items()]
    return f"Block shares of {' and '.join(found.models)} correlate {'; '.join(parts)}"


def knowledge_table(found: Knowledge | None) -> pd.DataFrame:
    """The correlations of :class:`Knowledge` in words; one row that says so where a model is
    lacking."""
    if found is None:
        return pd.DataFrame({"correlation": ["not measured: the profile has no masked "
                                             "autoencoder"]},
                            index=pd.Index(["Figure 2"], name="what is scaled"))
    return pd.DataFrame({
        "correlation": [report.interval_text(row) for row in found.correlations.values()],
        "photographs": [int(row["n"]) for row in found.correlations.values()],
    }, index=pd.Index(list(found.correlations), name="what is scaled"))
