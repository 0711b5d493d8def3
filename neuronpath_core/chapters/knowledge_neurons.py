"""Chapter 1: where the neurons with the largest knowledge attribution lie (Fig. 2, App. B)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata
from tqdm.auto import tqdm

from neuronpath_core.fast.drafts import ATTRIBUTION_ROUNDING_UNITS, drafted_model
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.knowledge import knowledge_attribution
from neuronpath_core.scores.exact import exact_effects
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import interval_row, percentile_row, resampled
from neuronpath_core.study.study import Study
from neuronpath_core.support.memory import images_at_once
from neuronpath_core.support.text import plain
from neuronpath_core.target import TargetModel

# the first block holds most of the neurons in both models, and so decides Pearson's correlation
CORRELATIONS = {"correlation of block shares": {},
                "correlation without block 1": {"skip": 1},
                "rank correlation": {"ranks": True},
                "rank correlation without block 1": {"ranks": True, "skip": 1}}
# of a correlation's verdict on the inversion
MEANINGS = {"agrees": "inverted", "contradicts": "not inverted",
            "not shown": "inversion neither shown nor excluded"}
# of the verdict on the blocks after the first
BEYOND = {"agrees": "beyond it they differ", "contradicts": "beyond it they are alike",
          "not shown": "beyond it neither is shown"}
SCALINGS = {"block": "whole block scaled", "neuron": "one neuron scaled (Eq. 5)"}


def knowledge_neurons(
    study: Study, names: Sequence[str], images: ImageSet, top: int = 5, quadrature: str = "right",
    steps: int = 20, scope: str | None = None
) -> pd.DataFrame:
    """Where the neurons with the largest knowledge attribution lie (Fig. 2, App. B).

    ``scope``: where neurons are read, ``"cls"`` or ``"patch"``; ``None`` for the model's own.

    Returns:
        one row per model, image and rank:
        ``model, image, label, rank, block, neuron, attribution``; blocks count from 1.
    """
    tables = []
    for model in study.check_models(list(names)):
        target = study.target(model) if scope is None else TargetModel(study.target(model).model,
                                                                       scope)
        if not 1 <= top <= target.n_blocks * target.n_neurons:
            raise ValueError(f"top must lie in 1..{target.n_blocks * target.n_neurons}, got {top}")
        draft, best = drafted_model(target, study.draft), []
        with tqdm(total=len(images), desc=f"{plain(model)} knowledge", unit="image",
                  disable=not study.progress) as bar:
            for _, pictures, labels in study.batches(images, model, images_at_once(target, steps)):
                best.append(_most_knowing(target, draft, pictures, labels, top, quadrature, steps))
                bar.update(len(labels))
        index, attribution = (torch.cat(parts).cpu().numpy() for parts in zip(*best, strict=True))
        tables.append(pd.DataFrame({
            "model": model, "image": np.repeat(images.ids.numpy(), top),
            "label": np.repeat(images.labels.numpy(), top),
            "rank": np.tile(np.arange(1, top + 1), len(images)), "block": index.ravel()
            // target.n_neurons + 1,
            "neuron": index.ravel() % target.n_neurons,
            "attribution": attribution.astype(np.float64).ravel(),
        }))
    return pd.concat(tables, ignore_index=True)


def _most_knowing(target, draft, pictures, labels, top, quadrature, steps):
    """The places of an image's largest knowledge attributions, and the attributions.  An image
    whose largest ones are too close for the draft is computed again in double precision."""
    lower = target if draft is None else draft
    found = knowledge_attribution(lower, pictures.to(lower.dtype), labels, quadrature,
                                  steps).flatten(1).to(pictures.dtype)
    if draft is not None:
        ranked = found.topk(min(top + 1, found.shape[1])).values
        gaps = (ranked[:, :-1] - ranked[:, 1:]) / found.abs().amax(1, keepdim=True)
        rows = torch.nonzero(~(gaps
                               >= ATTRIBUTION_ROUNDING_UNITS * torch.finfo(lower.dtype).eps).all(
            1))[:, 0]
        if len(rows):
            found[rows] = knowledge_attribution(target, pictures[rows], labels[rows], quadrature,
                                                steps).flatten(1)
    values, places = found.topk(top)
    return places, values


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


def depths_differ(depth: pd.DataFrame) -> str:
    """The verdict on whether two models' mean relative depths differ: ``"agrees"`` if their
    intervals, of :func:`relative_depth`, have no number in common."""
    first, second = depth.sort_values("value").to_dict("records")[:2]
    return "agrees" if first["high"] < second["low"] else "not shown"


def share_correlation(table: pd.DataFrame, first: str, second: str, blocks: int, seed: int = 0,
                      resamples: int = 2000, ranks: bool = False,
                      skip: int = 0) -> dict[str, float]:
    """Correlation of two models' block shares, with a bootstrap interval over images: ``value, low,
    high``; Pearson's, or Spearman's of ``ranks``, without the first ``skip`` blocks.

    It is near 1 if the distributions are alike and negative if blocks that are frequent in one are
    rare in the other.  An image is resampled in both models together.
    """
    shares = [table[table["model"] == model].groupby("image")["block"].apply(
        lambda block: np.bincount(block, minlength=blocks + 1)[1:] / len(block))
              for model in (first, second)]
    if not shares[0].index.equals(shares[1].index):
        raise ValueError(f"{first} and {second} must be measured on the same images")
    counts = [np.stack(rows.to_numpy()) for rows in shares]
    everyone = np.arange(len(counts[0]))

    def correlation(chosen: np.ndarray) -> float:
        pair = [each[chosen].mean(0)[skip:] for each in counts]
        return np.corrcoef(*(map(rankdata, pair) if ranks else pair))[0, 1]

    return percentile_row(correlation(everyone),
                          resampled(correlation, [everyone], resamples, seed))


def knowledge_by_scaling(study: Study, names: Sequence[str], images: ImageSet, count: int = 10,
                         top: int = 5, quadrature: str = "gauss-legendre",
                         steps: int = 4) -> pd.DataFrame:
    r"""The same neurons twice: with their whole block scaled from zero by a rule, and each alone,
    as the paper's Eq. 5 is written.

    A neuron that is scaled alone runs along a straight line, on which its integral is known:

    .. math:: \bar w^l_i \int_0^1 \frac{\partial F_x(\alpha \bar w^l_i)}{\partial w^l_i}\, d\alpha
        = F_x(\text{clean}) - F_x(w^l_i = 0) .

    That takes a forward pass for each neuron instead of a backward one for each neuron and node;
    it is dear all the same, so that only ``count`` of the images are used, evenly spread over the
    given ones.

    Returns:
        ``model, scaling, image, label, rank, block, neuron, attribution``; blocks count from 1 and
        ``scaling`` is one of ``SCALINGS``' labels.

    Raises:
        ValueError: fewer than two images, more than there are, or settings that do not fit.
    """
    if not 2 <= count <= len(images):
        raise ValueError(f"{count} images to scale neurons alone in; accepted: 2 to {len(images)}")
    spread = images.select(np.linspace(0, len(images) - 1, count).round().astype(int))
    tables = []
    for model in study.check_models(list(names)):
        target, (pictures, labels) = study.target(model), study.batch(spread, model)
        draft, units = drafted_model(target, study.draft), target.n_neurons
        alone = exact_effects(target, pictures, labels).flatten(1).topk(top)
        found = {"block": _most_knowing(target, draft, pictures, labels, top, quadrature, steps),
                 "neuron": (alone.indices, alone.values)}
        for scaling, label in SCALINGS.items():
            places, values = (each.cpu().numpy() for each in found[scaling])
            tables.append(pd.DataFrame({
                "model": model, "scaling": label, "image": np.repeat(spread.ids.numpy(), top),
                "label": np.repeat(spread.labels.numpy(), top),
                "rank": np.tile(np.arange(1, top + 1), count),
                "block": places.ravel() // units + 1, "neuron": places.ravel() % units,
                "attribution": values.astype(np.float64).ravel()}))
    return pd.concat(tables, ignore_index=True)


def scaling_shares(table: pd.DataFrame, blocks: int, seed: int = 0) -> pd.DataFrame:
    """:func:`block_shares` of each way of scaling: ``scaling, model, block, value, low, high``."""
    return pd.concat([block_shares(own, blocks, seed).assign(scaling=way)
                      for way, own in table.groupby("scaling", sort=False)], ignore_index=True)


def scaling_rows(table: pd.DataFrame, models: Sequence[str], blocks: dict[str, int],
                 seed: int = 0) -> pd.DataFrame:
    """What the way of scaling changes, in the numbers of this chapter.

    Returns:
        ``number, scaling, value, low, high``: per way the correlation of the first two models'
        block shares, the same without the first block and of ranks, and each model's first-block
        share and mean relative depth.
    """
    rows = []
    for way, own in table.groupby("scaling", sort=False):
        rows += [{"number": number, "scaling": way,
                  **share_correlation(own, *models[:2], max(blocks.values()), seed, **kind)}
                 for number, kind in CORRELATIONS.items()]
        shares, depth = block_shares(own, 1, seed), relative_depth(own, blocks, seed)
        for name, found in (("share in block 1", shares), ("mean relative depth", depth)):
            rows += [{"number": f"{row['model']}: {name}", "scaling": way,
                      **{key: row[key] for key in ("value", "low", "high")}}
                     for row in found.to_dict("records")]
    return pd.DataFrame(rows)


def by_condition(correlation: Mapping[str, float], rest: Mapping[str, float], rows: pd.DataFrame,
                 images: int, alone_images: int) -> dict[str, dict[str, float]]:
    """Every correlation of block shares that the claim of an inversion is judged by, under the
    words of its condition: ``value, low, high`` and ``n``, over how many images.

    Args:
        correlation, rest: with whole blocks scaled, over all ``images``; ``rest`` is without
            block 1.
        rows: of :func:`scaling_rows`, over ``alone_images``; from them are those by Eq. 5.
    """
    found = rows[rows["scaling"] == SCALINGS["neuron"]].set_index("number")
    alone, alone_rest = (found.loc[number, ["value", "low", "high"]].to_dict() for number in
                         ("correlation of block shares", "correlation without block 1"))
    block, neuron = "with the whole block scaled", "with one neuron scaled, Eq. 5"
    return {block: {**correlation, "n": images},
            f"{block}, without block 1": {**rest, "n": images},
            neuron: {**alone, "n": alone_images},
            f"{neuron}, without block 1": {**alone_rest, "n": alone_images}}


def in_blocks(shares: pd.DataFrame, first: int, last: int) -> dict[str, float]:
    """Each model's share of its knowledge neurons in these blocks, both included; ``shares`` as of
    :func:`block_shares`."""
    chosen = shares[shares["block"].between(first, last)]
    return chosen.groupby("model", sort=False)["value"].sum().to_dict()


def finding(correlation: Mapping[str, float], first: str, second: str, rest: Mapping[str, float],
            ranks: Mapping[str, float], in_first: Mapping[str, float]) -> str:
    """Whether the distributions of two models' knowledge neurons are inverted.

    Args:
        correlation: of their block shares, as of :func:`share_correlation`.
        rest: the same without block 1.
        ranks: that of ranks.
        in_first: share in block 1, by model.  Where it is most of either model's neurons, this
            block decides ``correlation``, and the sentence says what is beyond it.
    """
    number = (f"rank correlation of block shares {report.interval_text(ranks)}; Pearson's "
              f"{report.interval_text(correlation)}, without block 1 {report.interval_text(rest)}")
    if min(in_first[first], in_first[second]) > 0.5:
        beyond = BEYOND[report.verdict(rest, expected=-1)]
        return f"{first} and {second} keep most knowledge neurons in block 1; {beyond}: {number}"
    return {"agrees": f"The knowledge neurons of {first} and {second} lie in opposite blocks: "
                      f"{number}",
            "contradicts": f"The knowledge neurons of {first} and {second} lie in much the same "
                           f"blocks: {number}",
            "not shown": f"Neither alike nor inverted beyond chance, {first} and {second}: "
                         f"{number}"}[report.verdict(correlation, expected=-1)]


def scaling_finding(rows: pd.DataFrame, model: str) -> str:
    """What the way of scaling does to a model's share in the first block and to the correlation,
    and what the correlation by Eq. 5 says of an inversion."""
    share = rows[rows["number"] == f"{model}: share in block 1"]["value"].tolist()
    found = rows[rows["number"] == "correlation of block shares"].to_dict("records")
    meaning = MEANINGS[report.verdict(found[1], expected=-1)]
    return (f"With one neuron scaled instead of its block, {model}'s share in block 1 is "
            f"{share[1]:.2f} instead of {share[0]:.2f}, and the correlation of block shares "
            f"{report.interval_text(found[1])} instead of {report.interval_text(found[0])} "
            f"({meaning})")


def scaling_wide(rows: pd.DataFrame) -> pd.DataFrame:
    """:func:`scaling_rows` as text: a row per number, a column per way of scaling."""
    texts = rows.assign(text=[report.interval_text(row, signed="correlation" in row["number"])
                              for row in rows.to_dict("records")])
    return texts.pivot_table(index="number", columns="scaling", values="text", aggfunc="first",
                             sort=False)
