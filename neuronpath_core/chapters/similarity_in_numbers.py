"""Chapter 14: Figure 5 in numbers.  Classes with similar paths are compared with classes of similar
attributes, embeddings and confusions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neuronpath_core import metrics
from neuronpath_core.chapters.claims import spans
from neuronpath_core.chapters.effects import numbers
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import members, normal_row, resampled
from neuronpath_core.stats.mantel import Contrast, Relation, mantel
from neuronpath_core.study.study import Study

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


def shared_value(values: Sequence[str]) -> Float[np.ndarray, "class class"]:
    """1 for two classes with the same value of an axis of the taxonomy, else 0."""
    names = np.array(list(values))
    return (names[:, None] == names).astype(float)


def embedding_similarity(weight: Float[np.ndarray, "class width"]) -> Float[np.ndarray,
                                                                            "class class"]:
    """Cosine between the class embeddings, the rows of the head's weight (Vilas et al., 2023), in
    -1..1."""
    return metrics.cosine_similarity(np.asarray(weight, dtype=float)[:, None])


def confusion_similarity(probabilities: Float[np.ndarray, "image class"],
                         labels: Int64[np.ndarray, "image"]) -> Float[np.ndarray, "class class"]:
    """How often two classes are taken for one another: mean of the two shares of images, in 0..1.

    Raises:
        ValueError: a class without images.
    """
    # imported here, so that the package imports without it
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(labels, probabilities.argmax(1),
                              labels=np.arange(probabilities.shape[1]))
    if (counts.sum(1) == 0).any():
        raise ValueError(f"classes {np.flatnonzero(counts.sum(1) == 0).tolist()} have no images; "
                         f"accepted: at least one of each class")
    shares = counts / counts.sum(1, keepdims=True)
    return (shares + shares.T) / 2


def taxonomy_relations(taxonomy: Mapping[str, Sequence[str]]) -> dict[str, Relation]:
    """A relation for each axis, given the other axes and permuted among the classes that agree in
    them."""
    matrices = {axis: shared_value(values) for axis, values in taxonomy.items()}
    relations = {}
    for axis in taxonomy:
        others = [other for other in taxonomy if other != axis]
        groups = tuple(zip(*(taxonomy[other] for other in others), strict=True)) if others else None
        relations[axis] = Relation(matrices[axis], tuple(matrices[other] for other in others),
                                   groups)
    return relations


def class_relations(study: Study, model: str) -> dict[str, Relation]:
    """The relations of classes that a model's path similarity is compared with, by name.

    The axes of the data's taxonomy, each given the others; ``"embedding"`` and ``"confusions"`` (on
    all held-out images); and, where there is a taxonomy, ``"embedding given taxonomy"`` and
    ``"confusions given taxonomy"``: what they share with the paths beyond the attributes. A
    relation that does not vary, such as the confusions of a model that makes no mistake, is left
    out.
    """
    images, axes = study.held_out, taxonomy_relations(study.held_out.taxonomy)
    given = tuple(relation.matrix for relation in axes.values())
    weight = numbers(study.target(model).model.head.weight)
    others = {"embedding": embedding_similarity(weight),
              "confusions": confusion_similarity(study.probabilities(model, images),
                                                 images.labels.numpy())}
    relations = axes | {name: Relation(matrix) for name, matrix in others.items()}
    if given:
        relations |= {f"{name} given taxonomy": Relation(matrix, given) for name,
                      matrix in others.items()}
    off = ~np.eye(len(weight), dtype=bool)
    return {name: relation for name, relation in relations.items() if np.ptp(relation.matrix[off])
            > 0}


def class_utilisation(neurons: Int64[np.ndarray, "image layer"], labels: Int64[np.ndarray, "image"],
                      n_neurons: int) -> Float[np.ndarray, "class layer neuron"]:
    """Utilisation matrices M_c (Eq. 20) of all classes, from the paths of images ordered in any
    way."""
    return np.stack([metrics.utilisation_matrix(neurons[labels == label], n_neurons)
                     for label in np.unique(labels)])


def method_paths(study: Study, models: Sequence[str], images: ImageSet,
                 methods: Sequence[str]) -> dict[str, dict[str, Int64[np.ndarray, "image layer"]]]:
    """The neurons of every model's paths by every method."""
    return {model: {method: study.paths(model, images, method).neurons.numpy()
                    for method in methods} for model in models}


def path_usage(
    study: Study, paths: Mapping[str, Mapping[str, np.ndarray]], labels: Int64[np.ndarray, "image"]
) -> dict[tuple[str, str], Float[np.ndarray, "class layer neuron"]]:
    """:func:`class_utilisation` of :func:`method_paths`, by model and method."""
    return {(model, method): class_utilisation(neurons, labels, study.target(model).n_neurons)
            for model, found in paths.items() for method, neurons in found.items()}


def block_similarity(
    utilisation: Float[np.ndarray, "class layer neuron"]
) -> Float[np.ndarray, "layer class class"]:
    """S (Eq. 21) of each block alone."""
    return np.stack([metrics.cosine_similarity(utilisation[:, [block]])
                     for block in range(utilisation.shape[1])])


def compare_similarity(
    paths: Mapping[str, Int64[np.ndarray, "image layer"]], labels: Int64[np.ndarray, "image"],
    n_neurons: int, relations: Mapping[str, Relation],
    permutations: int = 999, resamples: int = 400, seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Each method's path similarity against each relation, and how far the first method is ahead of
    the others.

    Intervals are over images: each class's images are resampled, for all methods together, and
    utilisation, similarity and correlation are computed anew; value ± 1.96 standard deviations of
    the resamples (Davison and Hinkley, 1997, 5.2.1).  Quantiles would not do: a resample repeats
    images, which blurs the similarity and draws every correlation towards zero.  What is estimated
    is the correlation at this number of images a class, which is itself nearer to zero than with
    more of them.  The classes stay as they are; what others could give is what the permutation
    tells.

    Returns:
        ``method, relation, value, low, high, permuted_low, permuted_high, p``, and
        ``against, relation, value, low, high``.
    """
    contrasts = {name: Contrast(relation) for name, relation in relations.items()}

    def correlations(rows: np.ndarray) -> np.ndarray:
        similar = [metrics.cosine_similarity(class_utilisation(neurons[rows], labels[rows],
                                                               n_neurons))
                   for neurons in paths.values()]
        return np.array([[contrast.correlation(contrast.ranks(each))
                          for contrast in contrasts.values()] for each in similar])

    value = correlations(np.arange(len(labels)))
    draws = resampled(correlations, members(labels), resamples, seed)
    rows, leads = [], []
    for i, (method, neurons) in enumerate(paths.items()):
        similar = metrics.cosine_similarity(class_utilisation(neurons, labels, n_neurons))
        for j, (name, relation) in enumerate(relations.items()):
            test = mantel(similar, relation.matrix, relation.given, relation.groups, permutations,
                          seed)
            rows.append({"method": method, "relation": name,
                         **normal_row(value[i, j], draws[:, i, j]),
                         **{key: test[key] for key in ("permuted_low", "permuted_high", "p")}})
            if i:
                leads.append({"against": method, "relation": name,
                              **normal_row(value[0, j] - value[i, j],
                                           draws[:, 0, j] - draws[:, i, j])})
    return pd.DataFrame(rows), pd.DataFrame(leads,
                                            columns=["against", "relation", "value", "low", "high"])


def shuffled_rate(
    neurons: Int64[np.ndarray, "image layer"], labels: Int64[np.ndarray, "image"], n_neurons: int,
    relation: Relation, shuffles: int = 100,
    permutations: int = 199, level: float = 0.05, seed: int = 0
) -> float:
    """How often the relation shows, by its p below ``level``, when the images' labels are shuffled
    and so no class has paths of its own.

    A test that is what it says gives ``level``, up to the chance of so many shuffles.
    """
    rng, found = np.random.default_rng(seed), []
    for number in range(shuffles):
        similar = metrics.cosine_similarity(class_utilisation(neurons, rng.permutation(labels),
                                                              n_neurons))
        found.append(mantel(similar, relation.matrix, relation.given, relation.groups, permutations,
                            seed + number)["p"] < level)
    return float(np.mean(found))


def pair_means(similarity: Float[np.ndarray, "class class"],
               taxonomy: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Mean similarity of the pairs of classes that share each axis's value, and of those that share
    none (``"nothing"``)."""
    upper = np.triu_indices(len(similarity), 1)
    shared = {axis: shared_value(values) for axis, values in taxonomy.items()}
    chosen = {axis: matrix[upper] > 0 for axis, matrix in shared.items()}
    chosen["nothing"] = ~np.any(list(chosen.values()), axis=0)
    return {axis: float(np.asarray(similarity)[upper][own].mean()) for axis, own in chosen.items()}


def block_tally(blocks: pd.DataFrame) -> dict[str, str]:
    """In how many models some block ``carries`` each ``relation``."""
    return {name: report.tally(["agrees" if carries else "not shown" for carries
                                in rows.groupby("model")["carries"].any()])
            for name, rows in blocks.groupby("relation", sort=False)}


def similarity_claims(own: pd.DataFrame, control: pd.DataFrame, shuffled: pd.DataFrame,
                      leads: pd.DataFrame, blocks: pd.DataFrame,
                      carrying: pd.Series) -> list[tuple[str, str, str]]:
    """The claims of the chapter, what was measured, and the tally over models.

    Args:
        own, control: rows of :func:`compare_similarity`, with ``model`` and ``verdict``, of neuron
            paths and of random ones.
        shuffled: :func:`shuffled_rate` of each relation (rows) in each model (columns).
        leads: ahead of which paths neuron paths are, with ``verdict``.
        blocks: whether a block ``carries`` a ``relation`` in a ``model``.
        carrying: the blocks that do, in words, by relation and model.
    """
    rates, count = shuffled.stack(), own["model"].nunique()
    rows = [("Semantically similar classes have similar paths (Finding 4)",
             f"{name}: rank correlation {span} over {count} models", tally)
            for name, (span, tally) in spans(own, "relation", 2).items()]
    if len(control):
        rows.append(("Control: random paths carry no taxonomy",
                     f"rank correlation {report.span_text(control['value'], 2)}",
                     report.tally(list(control["verdict"]))))
    rows.append(("Control: shuffled labels show nothing, but for 5 %",
                 f"found in {rates.min():.0%} to {rates.max():.0%} of the shuffles",
                 f"mean {rates.mean():.0%}"))
    rows += [("Neuron paths carry more of it than the baselines' paths",
              f"{name}, against {against}: lead {span}", tally)
             for (name, against), (span, tally)
             in spans(leads, ["relation", "against"], 2).items()]
    rows += [("Some blocks carry it",
              f"{name}: " + "; ".join(f"{model}: {text}" for (relation, model), text
                                      in carrying.items() if relation == name), tally)
             for name, tally in block_tally(blocks).items()]
    return rows


def finding(means: pd.DataFrame) -> str:
    """What :func:`pair_means` shows for one kind of path, a row per model, as a sentence: how much
    more alike classes are that share an attribute."""
    axes = [name for name in means if name != "nothing"]
    ratios = {name: means[name] / means["nothing"] for name in axes}
    if not all(np.isfinite(ratio).all() for ratio in ratios.values()):
        cosines = " and ".join(f"{means[name].min():.2f} to {means[name].max():.2f} for the same "
                               f"{name}" for name in axes)
        return (f"The cosine of two classes' paths is {cosines}; no two share nothing to compare "
                f"with")
    parts = [f"{ratio.min():.1f} to {ratio.max():.1f} times for the same {name}"
             for name, ratio in ratios.items()]
    more = sum(bool((ratio > 1).all()) for ratio in ratios.values())
    start = ("Classes that share an attribute have more similar paths" if more == len(axes)
             else f"In every model, {more} of {len(axes)} shared attributes go with more similar "
                  f"paths")
    return f"{start}: the cosine is {' and '.join(parts)} that of classes that share nothing"


def lead_finding(leads: pd.DataFrame) -> str:
    """How often neuron paths go with a relation more, or less, than the other paths, as a sentence;
    ``leads`` of :func:`compare_similarity`, with ``verdict``."""
    if not len(leads):
        return "Only one kind of path is compared"
    more, less = (int((leads["verdict"] == each).sum()) for each in ("agrees", "contradicts"))
    return (f"Neuron paths go with the taxonomy more than a baseline's in {more}, and less in "
            f"{less}, of {len(leads)} comparisons")


def block_finding(blocks: pd.DataFrame) -> str:
    """In how many blocks each relation shows, as a sentence; the rows say whether a block
    ``carries`` it."""
    counts = [f"{name} in {int(own['carries'].sum())} of {len(own)}"
              for name, own in blocks.groupby("relation", sort=False)]
    return f"Blocks whose similarity goes with an attribute: {', '.join(counts)}"
