"""What the experiments' tidy tables say: shares, intervals, paired differences, controls and checks
of the paper's claims."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from neuronpath_core import metrics
from neuronpath_core.chapters.similarity_in_numbers import mantel
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.stats import report

METHOD_LABELS = {
    "activation": "Activation", "influence_pattern": "Influence Pattern",
    "neuron_path": "Neuron Path", "random": "Random",
    "influence_pattern_eq9": "Influence Pattern (Eq. 9)", "complete": "Complete",
    "ablation": "Ablation", "knowledge": "Integrated Gradients",
    "gradient_activation": "Gradient × Activation", "conductance": "Conductance",
    "matched_random": "Matched Random",
}
SCOPE_LABELS = {"cls": "class token", "patch": "patch tokens"}
TABLE1_METRICS = {
    "joint_attribution_score": "Joint attribution score",
    "removal_accuracy_deviation_percent": "Removal accuracy deviation (points)",
    "enhancement_accuracy_deviation_percent": "Enhancement accuracy deviation (points)",
}
TABLE1_DIGITS = {"joint_attribution_score": 4, "removal_accuracy_deviation_percent": 1,
                 "enhancement_accuracy_deviation_percent": 1}


def method_label(name: str) -> str:
    """A method's title; ``"neuron_path as published"`` is ``"Neuron Path, as published"``."""
    base, _, variant = name.partition(" ")
    return METHOD_LABELS[base] + (f", {variant}" if variant else "")


def interval_row(values: np.ndarray, statistic: str = "mean", seed: int = 0) -> dict[str, float]:
    """``value``, ``low``, ``high``: a statistic with its 95 % bootstrap interval over images."""
    low, high = metrics.bootstrap_interval(values, statistic, seed=seed)
    return {"value": float({"mean": np.mean, "median": np.median}[statistic](values)), "low": low,
            "high": high}


def block_shares(table: pd.DataFrame, blocks: int, seed: int = 0) -> pd.DataFrame:
    """Share of a model's knowledge neurons in each block, with intervals over images:
    ``model, block, value, low, high``."""
    rows = []
    for model, group in table.groupby("model", sort=False):
        counts = group.groupby("image")["block"].value_counts(normalize=True).unstack(
            fill_value=0.0)
        for block in range(1, blocks + 1):
            rows.append({"model": model, "block": block,
                         **interval_row(counts.get(block, pd.Series(0.0, counts.index)).to_numpy(),
                                        seed=seed)})
    return pd.DataFrame(rows)


def relative_depth(table: pd.DataFrame, blocks: dict[str, int], seed: int = 0) -> pd.DataFrame:
    """Mean over images of their knowledge neurons' mean block divided by the number of blocks:
    ``model, value, low, high``."""
    return pd.DataFrame([{"model": model,
                          **interval_row((group.groupby("image")["block"].mean()
                                          / blocks[model]).to_numpy(), seed=seed)}
                         for model, group in table.groupby("model", sort=False)])


def share_correlation(table: pd.DataFrame, first: str, second: str, blocks: int, seed: int = 0,
                      resamples: int = 2000) -> dict[str, float]:
    """Pearson correlation of two models' block shares, with a bootstrap interval over images:
    ``value, low, high``.

    It is near 1 if the distributions are alike and negative if blocks that are frequent in one are
    rare in the other.  An image is resampled in both models together.
    """
    shares = [table[table["model"] == model].groupby("image")["block"].apply(
        lambda block: np.bincount(block, minlength=blocks + 1)[1:] / len(block))
              for model in (first, second)]
    if not shares[0].index.equals(shares[1].index):
        raise ValueError(f"{first} and {second} must be measured on the same images")
    counts = [np.stack(rows.to_numpy()) for rows in shares]
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(resamples):
        chosen = rng.integers(len(counts[0]), size=len(counts[0]))
        draws.append(np.corrcoef(counts[0][chosen].mean(0), counts[1][chosen].mean(0))[0, 1])
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"value": float(np.corrcoef(counts[0].mean(0), counts[1].mean(0))[0, 1]),
            "low": float(low), "high": float(high)}


def table1(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Table 1 from :func:`~neuronpath_core.chapters.experiments.interventions`:
    ``metric, method, model, value, low, high``; accuracies in percentage points."""
    rows = []
    for (model, method), group in table.groupby(["model", "method"], sort=False):
        for metric, values in (("joint_attribution_score", group["score"]),
                               ("removal_accuracy_deviation_percent",
                                100 * group["removal_accuracy"]),
                               ("enhancement_accuracy_deviation_percent",
                                100 * group["enhancement_accuracy"])):
            rows.append({"metric": metric, "method": method, "model": model,
                         **interval_row(values.to_numpy(), seed=seed)})
    return pd.DataFrame(rows)


def with_paper(measured: pd.DataFrame, paper: pd.DataFrame) -> pd.DataFrame:
    """Measured numbers with their intervals beside the paper's, as text: rows metric and method,
    two columns a model."""
    text = measured.copy()
    digits = text["metric"].map(TABLE1_DIGITS)
    text["here"] = [report.interval_text(row, places) for row,
                    places in zip(text.to_dict("records"), digits, strict=True)]
    published = paper.melt(["metric", "method"], var_name="model", value_name="paper")
    merged = text.merge(published, how="left", on=["metric", "method", "model"])
    merged["paper"] = ["–" if np.isnan(value) else f"{value:+.4f}"
                       if metric == "joint_attribution_score" else f"{value:+.2f}"
                       for value, metric in zip(merged["paper"], merged["metric"], strict=True)]
    merged["metric"] = merged["metric"].map(TABLE1_METRICS)
    merged["method"] = merged["method"].map(METHOD_LABELS)
    models = list(dict.fromkeys(measured["model"]))
    wide = merged.pivot_table(index=["metric", "method"], columns="model", values=["here", "paper"],
                              aggfunc="first", sort=False)
    return wide.reindex(columns=[(column, model) for model in models
                                 for column in ("here", "paper")]).swaplevel(axis=1)


def paired_difference(table: pd.DataFrame, column: str, model: str, first: str, second: str,
                      statistic: str = "mean", seed: int = 0) -> dict[str, float]:
    """``value, low, high`` of a statistic of ``first - second``, two methods on the same images."""
    wide = table[table["model"] == model].pivot(index="image", columns="method", values=column)
    return interval_row((wide[first] - wide[second]).to_numpy(), statistic, seed)


def method_differences(table: pd.DataFrame, models: Sequence[str], others: Sequence[str],
                       seed: int = 0) -> pd.DataFrame:
    """How far Neuron Path is ahead of each other method, paired over images, positive where the
    paper's claim holds.

    Returns:
        ``metric, against, model, value, low, high, text, verdict``; accuracies in percentage
        points.
    """
    rows = []
    for (metric, title), (column, sign) in zip(TABLE1_METRICS.items(),
                                               (("score", 1), ("removal_accuracy", -100),
                                                ("enhancement_accuracy", 100)), strict=True):
        ahead = table.assign(ahead=sign * table[column])
        for other in others:
            for model in models:
                row = paired_difference(ahead, "ahead", model, "neuron_path", other, seed=seed)
                rows.append({"metric": title, "column": metric, "against": METHOD_LABELS[other],
                             "method": other, "model": model, **row,
                             "text": report.interval_text(row, TABLE1_DIGITS[metric]),
                             "verdict": report.verdict(row)})
    return pd.DataFrame(rows)


def table1_summary(differences: pd.DataFrame, against: Sequence[str]) -> pd.DataFrame:
    """Per measure of Table 1: the claim, the smallest and largest lead over the given methods, and
    the tally of verdicts."""
    claims = ("finds paths of higher joint attribution score",
              "finds paths whose removal costs more accuracy",
              "finds paths whose enhancement gains more accuracy")
    rows = []
    for metric, claim in zip(TABLE1_METRICS, claims, strict=True):
        own = differences[(differences["column"] == metric) & differences["method"].isin(against)]
        digits = TABLE1_DIGITS[metric]
        unit = "" if metric == "joint_attribution_score" else " points"
        rows.append({"claim": claim,
                     "text": f"ahead by {report.span_text(own['value'], digits)}{unit}",
                     "tally": report.tally(list(own["verdict"]))})
    return pd.DataFrame(rows)


def deviation_summary(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Mean and median probability deviation with intervals (Fig. 3):
    ``model, method, operation, statistic, value, low, high``."""
    rows = []
    for (model, method), group in table.groupby(["model", "method"], sort=False):
        for operation in ("removal", "enhancement"):
            for statistic in ("mean", "median"):
                rows.append({"model": model, "method": method, "operation": operation,
                             "statistic": statistic,
                             **interval_row(group[f"{operation}_probability"].to_numpy(), statistic,
                                            seed)})
    return pd.DataFrame(rows)


def deviation_checks(table: pd.DataFrame, models: Sequence[str], against: Sequence[str],
                     seed: int = 0) -> pd.DataFrame:
    """Figure 3's two claims, by the median of the paired difference in probability deviation:
    ``claim, text, tally``."""
    rows = []
    for claim, column, sign in (("The true class's probability falls more when the path is removed",
                                 "removal_probability", -1),
                                (
            "The true class's probability rises more when the path is enhanced",
            "enhancement_probability", 1)):
        found = [paired_difference(table.assign(ahead=sign * table[column]), "ahead", model,
                                   "neuron_path", other, "median", seed)
                 for model in models for other in against]
        values = [row["value"] for row in found]
        rows.append({"claim": claim,
                     "text": f"median lead {report.span_text(values)} of the clean probability",
                     "tally": report.tally([report.verdict(row) for row in found])})
    return pd.DataFrame(rows)


def concentration(table: pd.DataFrame, n_neurons: dict[str, int], seed: int = 0,
                  permutations: int = 200) -> pd.DataFrame:
    """How far each class's paths share a neuron, beside what the same paths give when their class
    labels are shuffled.

    The measure is the share of a class's images whose path goes through the block's most frequent
    neuron (Fig. 4).

    Returns:
        one row per model and block: ``model, block, share`` (mean over classes), ``shuffled`` (mean
        over permutations), ``shuffled_high`` (97.5 % quantile over permutations), ``uniform``
        (1/n).
    """
    rng, rows = np.random.default_rng(seed), []
    for (model, block), group in table.groupby(["model", "block"], sort=False):
        labels, neurons = group["label"].to_numpy(), group["neuron"].to_numpy()
        shuffled = [_modal_share(rng.permutation(labels), neurons) for _ in range(permutations)]
        rows.append({"model": model, "block": block, "share": _modal_share(labels, neurons),
                     "shuffled": float(np.mean(shuffled)),
                     "shuffled_high": float(np.quantile(shuffled, 0.975)),
                     "uniform": 1 / n_neurons[model]})
    return pd.DataFrame(rows)


def _modal_share(labels: np.ndarray, neurons: np.ndarray) -> float:
    classes, of_class = np.unique(labels, return_inverse=True)
    width = neurons.max() + 1
    counts = np.bincount(of_class * width + neurons,
                         minlength=len(classes) * width).reshape(len(classes), width)
    return float(np.mean(counts.max(1) / counts.sum(1)))


def concentration_summary(shares: pd.DataFrame) -> pd.DataFrame:
    """Per model: mean share through the modal neuron, the same under shuffled labels and if
    uniform, and the blocks above the band.

    The claim agrees if more than half of the blocks lie above the 97.5 % quantile of the
    permutations.
    """
    rows = {}
    for model, own in shares.groupby("model", sort=False):
        above = int((own["share"] > own["shuffled_high"]).sum())
        rows[model] = {"share": own["share"].mean(), "shuffled": own["shuffled"].mean(),
                       "uniform": own["uniform"].iloc[0],
                       "above": above, "blocks": len(own), "verdict": "agrees" if above > len(own)
                       / 2 else "not shown"}
    return pd.DataFrame(rows).T.infer_objects()


def utilisation(table: pd.DataFrame, model: str, n_neurons: int) -> np.ndarray:
    """Utilisation matrices M_c of one model's classes (Eq. 20), ``(class, layer, neuron)``, from a
    tidy path table."""
    own = table[table["model"] == model]
    return np.stack([metrics.utilisation_matrix(group.pivot(index="image", columns="block",
                                                            values="neuron").to_numpy(), n_neurons)
                     for _, group in own.groupby("label")])


def split_half_similarity(table: pd.DataFrame, model: str, n_neurons: int,
                          seed: int = 0) -> dict[str, float]:
    """Is a class's utilisation its own?  Every class's images are split into two random halves and
    all halves compared.

    Returns:
        ``two halves of a class`` and ``halves of two classes``: mean cosine;
        ``difference, low, high``: the first minus the mean of the second, per class, with a
        bootstrap interval over classes.
    """
    own, rng = table[table["model"] == model], np.random.default_rng(seed)
    halves: tuple[list, list] = ([], [])
    for _, group in own.groupby("label"):
        neurons = rng.permutation(group.pivot(index="image", columns="block",
                                              values="neuron").to_numpy())
        for half, part in zip(halves, np.array_split(neurons, 2), strict=True):
            half.append(metrics.utilisation_matrix(part, n_neurons))
    classes = len(halves[0])
    cross = metrics.cosine_similarity(np.concatenate([np.stack(half) for half in halves]))[
        :classes, classes:]
    other = (cross.sum(1) + cross.sum(0) - 2 * np.diag(cross)) / (2 * (classes - 1))
    row = interval_row(np.diag(cross) - other, seed=seed)
    return {"two halves of a class": float(np.diag(cross).mean()),
            "halves of two classes": float(other.mean()),
            "difference": row["value"], "low": row["low"], "high": row["high"]}


def look_correlation(similarity: np.ndarray, images: ImageSet, permutations: int = 1000,
                     seed: int = 0) -> dict[str, float]:
    """Do classes that look alike have similar paths?  Rank correlation over pairs of classes, with
    a permutation control.

    The look is the cosine between the classes' mean images, each minus the mean of all.

    Returns:
        ``correlation`` (Spearman) and ``permuted_low``, ``permuted_high``, the 2.5 and 97.5 %
        quantiles when the classes of one of the two matrices are permuted, of
        :func:`~neuronpath_core.chapters.similarity_in_numbers.mantel`; NaN for fewer than three
        classes and for similarities that do not vary.
    """
    labels = images.labels.numpy()
    seen = images.appearance()
    means = np.stack([seen[labels == label].mean(0) for label in np.unique(labels)])
    look = metrics.cosine_similarity((means - means.mean(0))[:, None])
    pairs = similarity[np.triu_indices(len(look), 1)]
    if len(pairs) < 2 or np.ptp(pairs) < 1e-9:
        return dict.fromkeys(("correlation", "permuted_low", "permuted_high"), math.nan)
    found = mantel(look, similarity, permutations=permutations, seed=seed)
    return {"correlation": found["value"], "permuted_low": found["permuted_low"],
            "permuted_high": found["permuted_high"]}


def extremes(similarity: np.ndarray, class_names: Sequence[str],
             share: float = 0.05) -> pd.DataFrame:
    """For each class the most and the least similar ones (Fig. 5):
    ``class, kind, other, similarity``.

    ``share`` of the other classes is shown at each end, at least one.
    """
    rows, count = [], max(1, round(share * (len(class_names) - 1)))
    for index, name in enumerate(class_names):
        order = [other for other in np.argsort(-similarity[index], kind="stable") if other != index]
        for kind, chosen in (("most similar", order[:count]),
                             ("least similar", order[::-1][:count])):
            rows += [{"class": name, "kind": kind, "other": class_names[other],
                      "similarity": float(similarity[index, other])} for other in chosen]
    return pd.DataFrame(rows)


def pruning_summary(grid: pd.DataFrame, measure: str, seed: int = 0) -> pd.DataFrame:
    """Figure 6 from ``pruning_grid``: mean of ``"correct"`` or ``"probability"`` over images, each
    first averaged over repeats.

    Returns:
        ``model, kept, top, share, value, low, high``; intervals over test images.
    """
    rows = []
    for keys, group in grid.groupby(["model", "kept", "top", "share"], sort=False):
        rows.append({**dict(zip(("model", "kept", "top", "share"), keys, strict=True)),
                     **interval_row(group.groupby("image")[measure].mean().to_numpy(), seed=seed)})
    return pd.DataFrame(rows)


def pruning_lead(grid: pd.DataFrame, model: str, top: int, share: float, other: str,
                 measure: str = "correct", seed: int = 0) -> dict[str, float]:
    """How much keeping the neuron path is ahead of keeping ``other`` neurons, paired over test
    images: ``value, low, high``."""
    own = grid[(grid["model"] == model) & (grid["top"] == top) & (grid["share"] == share)]
    wide = own.groupby(["image", "kept"])[measure].mean().unstack()
    return interval_row((wide["neuron path"] - wide[other]).to_numpy(), seed=seed)


def power_law(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The exponent k of ``cost = c * size**k``, by least squares on logarithms."""
    return float(stats.linregress(np.log(np.asarray(sizes, float)),
                                  np.log(np.asarray(costs, float))).slope)


def scaled_formula(cost: pd.DataFrame) -> pd.DataFrame:
    """A cost table with both counts turned into seconds by the first measured point of each varied
    size."""
    first = cost.groupby("varied")[["seconds", "operations", "published"]].transform("first")
    return cost.assign(**{name: cost[name] / first[name] * first["seconds"]
                          for name in ("operations", "published")})


def agreement_table(agreement: pd.DataFrame) -> pd.DataFrame:
    """``experiments.path_agreement`` for reading: per way the evaluations a block, and per model
    "neurons / paths" that agree, in percent."""
    text = [f"{100 * row.neurons:.1f} / {100 * row.paths:.0f}" for row in agreement.itertuples()]
    table = agreement.assign(text=text).pivot(index="way", columns="model", values="text").reindex(
        index=agreement["way"].unique(), columns=agreement["model"].unique()).fillna("–")
    table.insert(0, "evaluations",
                 agreement.groupby("way", sort=False)["evaluations"].mean().round(1))
    return table.rename_axis(columns=None)


def cost_exponents(cost: pd.DataFrame) -> pd.DataFrame:
    """Exponents of measured time and of both counts in each varied size:
    ``measured, operations, published``."""
    return pd.DataFrame({varied: {name: power_law(own["size"], own[column]) for name, column in
                                  (("measured", "seconds"), ("operations", "operations"),
                                   ("published", "published"))}
                         for varied, own in cost.groupby("varied", sort=False)}).T


def pruning_claims(
    grid: pd.DataFrame, accuracy: pd.DataFrame, whole: dict[str, float], models: Sequence[str],
    top: int, half: float, margin: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """Finding 5 taken apart, per model: ``key, model, claim, text, short, verdict``.

    ``robust``: with ``top`` kept and the share ``half`` of the others zeroed, accuracy stays within
    ``margin`` of the whole model's: it agrees if the whole interval does, contradicts if none of it
    does.  ``sparse``: the same with all others zeroed.  ``peak``: the best t under full pruning is
    ``top``.  ``random``, ``activation``: the path is ahead of such neurons under full pruning.
    """
    rows, everything = [], grid["share"].max()
    for model in models:
        def cell(share, model=model):
            chosen = accuracy[(accuracy["model"] == model) & (accuracy["kept"] == "neuron path")
                              & (accuracy["share"] == share)]
            return chosen.set_index("top")

        for key, share, words in (("robust", half, f"{half:.0%} of the others"),
                                  ("sparse", everything, "all others")):
            row = cell(share).loc[top]
            short = f"{report.interval_text(row, 3, signed=False)} against {whole[model]:.3f}"
            above = {"low": row["low"] - whole[model] + margin, "high": row["high"] - whole[model]
                     + margin}
            rows.append({"key": key, "model": model, "text": f"{model}: accuracy {short}",
                         "short": short, "verdict": report.verdict(above),
                         "claim": f"Accuracy stays (within {100 * margin:.0f} points) when {top} "
                                  f"neurons per block are kept and {words} zeroed"})
        strict = cell(everything)["value"]
        short = f"best at t = {strict.idxmax()} ({strict.max():.3f}; t = {top}: {strict[top]:.3f})"
        rows.append({"key": "peak", "model": model,
                     "claim": f"Keeping {top} neurons per block is best, more is worse",
                     "text": f"{model}: {short}",
                     "short": short, "verdict": "agrees" if strict.idxmax() == top
                     else "not shown"})
        for other in ("random", "activation"):
            lead = pruning_lead(grid, model, top, everything, other, seed=seed)
            short = report.interval_text(lead, 3)
            rows.append({"key": other, "model": model,
                         "claim": f"The path's neurons matter more than {other} ones",
                         "text": f"{model}: accuracy lead {short} with all others zeroed",
                         "short": short, "verdict": report.verdict(lead)})
    order = {"robust": 0, "sparse": 1, "peak": 2, "random": 3, "activation": 4}
    columns = ["key", "model", "claim", "text", "short", "verdict"]
    return pd.DataFrame(rows)[columns].sort_values("key", kind="stable",
                                                   key=lambda keys: keys.map(order))
