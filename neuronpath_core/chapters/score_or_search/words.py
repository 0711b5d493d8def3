"""What Chapter 10 concludes: how often the score decides, and what each ingredient adds."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.chapters.claims import spans
from neuronpath_core.chapters.score_or_search.cells import ADDITIVE, SCORES, SEARCHED
from neuronpath_core.chapters.score_or_search.shares import CONTRASTS, RANDOM, later_pairs
from neuronpath_core.stats import report

FACTORS = ("score", "search", "interplay")


def score_wins(factors: pd.DataFrame) -> str:
    """In how many models the score has the largest share: ``3 of 8``.

    ``factors`` is a table of
    :func:`~neuronpath_core.chapters.score_or_search.shares.factor_shares`.
    """
    largest = factors.pivot(index=["data", "model"], columns="factor",
                            values="value").idxmax(axis=1)
    return f"{(largest == 'score').sum()} of {len(largest)}"


def mean_losses(losses: pd.DataFrame) -> pd.Series:
    """What removal of each score's paths costs, in per cent of the true class's probability, over
    all models; largest first.

    ``losses`` is a table of :func:`~neuronpath_core.chapters.score_or_search.shares.losses`.
    """
    return 100 * losses.groupby("score")["value"].mean().sort_values(ascending=False)


def finding(losses: pd.DataFrame) -> str:
    """The chapter's main figure in a sentence: what the published score's paths cost, and by how
    many scores' paths they are beaten."""
    means = mean_losses(losses)
    own, others = means[SCORES["joint"]], means.drop([SCORES["joint"], RANDOM], errors="ignore")
    text = f"Removing a path by the joint attribution score costs {own:.1f} % of the probability"
    if (others < own).all():
        return f"{text}, more than by any of {len(others)} other scores"
    return (f"{text}; {(others > own).sum()} of {len(others)} other scores find paths that cost "
            f"more, up to {others.iloc[0]:.1f} % ({others.index[0]})")


def _factor_row(question: str, factors: pd.DataFrame) -> tuple[str, str, str]:
    mean = factors.groupby("factor")["value"].mean()
    return (question, ", ".join(f"{name} {mean[name]:.0%}" for name in FACTORS)
            + " of the variance", f"the score is the largest in {score_wins(factors)} models")


def score_claims(factors: pd.DataFrame, searched: pd.DataFrame, differences: pd.DataFrame,
                 identity: pd.DataFrame) -> list[tuple[str, str, str]]:
    """The questions of the chapter, what was measured, and the verdict.

    Args:
        factors: of :func:`~neuronpath_core.chapters.score_or_search.shares.factor_shares`.
        searched: of :func:`~neuronpath_core.chapters.score_or_search.shares.searched_shares`.
        differences: of :func:`~neuronpath_core.chapters.score_or_search.shares.contrasts`.
        identity: of :func:`~neuronpath_core.chapters.score_or_search.shares.identity_summary`, and
            whether the identity ``holds``.
    """
    found = spans(differences, "contrast")
    holds = identity["holds"]
    return [
        *(_factor_row(f"Is it the score or the search? {len(SEARCHED)} scores of whole paths, "
                      f"{condition}", rows)
          for condition, rows in searched.groupby("condition", sort=False)),
        _factor_row(f"The same for all {len(SCORES)} scores, among informed searches, which agree "
                    f"for {len(ADDITIVE)} of them by definition", factors),
        *((f"Adds to the loss under removal: {name}",
           f"{found[name][0]} of the clean probability", found[name][1]) for name in CONTRASTS),
        ("Complete attribution is the effect of removal under clamping",
         f"to 1e-6 in {holds.sum()} of {len(holds)} models",
         "agrees" if holds.all() else "contradicts"),
    ]


def factorial_finding(means: pd.DataFrame) -> str:
    """How much the loss differs from score to score and from one informed search to another, and
    what random paths lose; ``means`` is of
    :func:`~neuronpath_core.chapters.score_or_search.shares.cell_means`."""
    lost = -100 * means
    drawn = lost.pop("random")
    scores, apart = lost.mean(axis=1), lost.max(axis=1) - lost.min(axis=1)
    return (f"From score to score the mean loss goes from {scores.min():.1f} to {scores.max():.1f} "
            f"% of the probability; from one informed search to another, with one score, by at "
            f"most {apart.max():.1f} points; the best of random paths loses {drawn.min():z.1f} to "
            f"{drawn.max():z.1f} %")


def joint_losses(means: pd.DataFrame) -> dict[str, str]:
    """``{"joint progressive": "12.9 %", …}``: what removal of the joint score's paths costs with
    each search; ``means`` as of :func:`factorial_finding`."""
    return {f"joint {search}": f"{-100 * value:z.1f} %"
            for search, value in means.loc[SCORES["joint"]].items()}


def share_table(factors: pd.DataFrame) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.score_or_search.shares.factor_shares` for reading: a row per
    model (and condition), a column per factor."""
    text = [report.interval_text(row, 2, signed=False) for row in factors.to_dict("records")]
    index = [name for name in ("condition", "data", "model") if name in factors]
    wide = factors.assign(text=text).pivot_table(index=index, columns="factor", values="text",
                                                 aggfunc="first", sort=False)
    return wide[list(FACTORS)].rename_axis(index={"condition": "searches"})


def contrast_table(differences: pd.DataFrame) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.score_or_search.shares.contrasts` for reading: a row per
    ingredient, a column per model."""
    text = [report.interval_text(row, 3) for row in differences.to_dict("records")]
    wide = differences.assign(text=text).pivot(index="contrast", columns=["data", "model"],
                                               values="text")
    return wide.reindex(list(dict.fromkeys(differences["contrast"]))).rename_axis("ingredient")


def contrast_finding(differences: pd.DataFrame) -> str:
    """Which ingredients add to the loss in every model, and which lower it in every one: the
    figure of the ingredients in a sentence."""
    found = {name: set(rows["verdict"]) for name, rows in differences.groupby("contrast",
                                                                              sort=False)}
    models = differences.groupby(["data", "model"]).ngroups
    parts = [f"{what} in all {models} models: {'; '.join(names)}"
             for verdict, what in (("agrees", "adds to the loss"),
                                   ("contradicts", "lowers the loss"))
             if (names := [name for name in found if found[name] == {verdict}])]
    text = ". ".join(part[0].upper() + part[1:] for part in parts)
    return text or f"No ingredient moves the loss alike in all {models} models"


def identity_table(identity: pd.DataFrame) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.score_or_search.shares.identity_summary` for reading, with
    whether the identity ``holds``."""
    cross = [report.interval_text({**row, "value": row["cross"]}, 2, signed=False)
             for row in identity.to_dict("records")]
    names = {"holds": "both sides agree (1e-6)", "complete": "complete attribution",
             "removal": "plain removal", "apart": "mean distance",
             "correlation": "rank correlation", "cross": "cross terms' share"}
    return identity.assign(cross=cross).set_index(["data", "model"])[list(names)].rename(
        columns=names)


def later_table(table: pd.DataFrame, leads: pd.DataFrame) -> pd.DataFrame:
    """Scores of single neurons in the place of the joint one: what removal of their paths costs,
    mean over models, what that of the joint score's does in the same search, and how much more the
    first is, from model to model.

    Args:
        table: of :func:`~neuronpath_core.chapters.score_or_search.cells.factorial`, with the scores
            of both.
        leads: of :func:`~neuronpath_core.chapters.score_or_search.shares.contrasts` of
            ``later_pairs``.
    """
    means = -100 * table.groupby(["data", "model", "score", "search"])["removal"].mean().groupby(
        ["score", "search"]).mean()
    rows, found = [], spans(leads, "contrast")
    for name, (own, joint) in later_pairs().items():
        score, _, search = name.partition(", ")
        span, tally = found[name]
        rows.append({"score": score, "search": search, "removal costs": f"{means[own]:.1f} %",
                     "the joint score's": f"{means[joint]:.1f} %",
                     "difference, from model to model": span, "models": tally})
    return pd.DataFrame(rows).set_index(["score", "search"])
