"""What Chapter 14 says of its rows in sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd

from neuronpath_core.chapters.claims import spans
from neuronpath_core.stats import report


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
        own, control: rows of
            :func:`~neuronpath_core.chapters.similarity_in_numbers.measured.compare_similarity`,
            with ``model`` and ``verdict``, of neuron paths and of random ones.
        shuffled: :func:`~neuronpath_core.chapters.similarity_in_numbers.measured.shuffled_rate` of
        each relation (rows) in each model (columns). leads: ahead of which paths neuron paths are,
        with ``verdict``. blocks: whether a block ``carries`` a ``relation`` in a ``model``.
        carrying: the blocks that do, in words, by relation and model.
    """
    rates, count = shuffled.stack(), own["model"].nunique()
    rows = [("Semantically similar classes have similar paths (Finding 4)",
             f"{name}: rank correlation {span} over {count} models", tally)
            for name, (span, tally) in spans(own, "relation", 2).items()]
    if len(control):
        rows.append(("Control: random paths carry no taxonomy",
                     f"rank correlation {report.span_text(control['value'], 2)}; "
                     f"{random_note(control)}", report.tally(list(distinct(control)["verdict"]))))
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


def distinct(control: pd.DataFrame) -> pd.DataFrame:
    """The rows of random paths, those of models that share them once: models of one size do."""
    return control.drop_duplicates(["relation", "value"])


def random_note(control: pd.DataFrame) -> str:
    """Which correlations of random paths have an interval over images that excludes zero, with the
    p of the permutation test, which judges, before and after Holm's correction."""
    own = distinct(control)
    apart = own[(own["low"] > 0) | (own["high"] < 0)]
    if apart.empty:
        return "no interval over images excludes zero"
    told = "; ".join(f"{row['relation']} {report.interval_text(row)}, p = {row['p']:.2g} by "
                     f"permutation, {row['adjusted']:.2g} after Holm"
                     for row in apart.to_dict("records"))
    return (f"{len(apart)} interval{'s' if len(apart) > 1 else ''} over images "
            f"exclude{'' if len(apart) > 1 else 's'} zero: {told}")


def finding(means: pd.DataFrame) -> str:
    """What :func:`~neuronpath_core.chapters.similarity_in_numbers.measured.pair_means` shows for
    one kind of path, a row per model, as a sentence: how much more alike classes are that share an
    attribute."""
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
    ``leads`` of
    :func:`~neuronpath_core.chapters.similarity_in_numbers.measured.compare_similarity`, with
    ``verdict``."""
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
