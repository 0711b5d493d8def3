"""What Chapter 16 says of its rows, in sentences and tables."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from neuronpath_core.stats import report


def kind_claims(cells: pd.DataFrame, contrast: pd.DataFrame, deeper: pd.DataFrame,
                kinds: Sequence[str]) -> list[tuple[str, str, str]]:
    """The claims of the chapter, what was measured, and the verdict; the tables are those of
    :func:`~neuronpath_core.chapters.mae_against_supervised.kinds_compared.cell_correlations`,
    :func:`~neuronpath_core.chapters.mae_against_supervised.kinds_compared.kind_rows` and
    :func:`~neuronpath_core.chapters.mae_against_supervised.kinds_compared.depth_difference`."""
    def inverted(claim: str, chosen: pd.Series) -> list[tuple[str, str, str]]:
        return [(claim, f"{row['data']}, {row['condition']}, {row['first']} against "
                        f"{row['second']}: {report.interval_text(row)}", row["verdict"])
                for row in cells[chosen].to_dict("records")]

    return [
        *inverted("The two kinds' distributions over blocks are almost inverted", cells["own"]),
        *(("The kind of a model decides more than its training seed",
           f"{row['data']}: contrast {report.interval_text(row)}, p = {row['p']:.4f} (at least "
           f"{row['smallest']:.4f} with so many models)", row["verdict"])
          for row in contrast.to_dict("records")),
        *(("The knowledge neurons of the two kinds lie at different depths",
           f"{row['data']}: {kinds[0]} minus {kinds[1]} {report.interval_text(row, 3)} of the "
           f"depth", row["verdict"]) for row in deeper.to_dict("records")),
        *inverted("The inversion remains when both are read at one scope",
                  cells["differ"] == "kind"),
        *inverted("The scope alone inverts the distribution, the weights being the same",
                  cells["differ"] == "scope"),
    ]


def finding(cells: pd.DataFrame) -> str:
    """What the paper's comparison in
    :func:`~neuronpath_core.chapters.mae_against_supervised.kinds_compared.cell_correlations` shows,
    as a sentence."""
    parts = []
    for condition, own in cells[cells["own"]].groupby("condition", sort=False):
        inverted = int((own["verdict"] == "agrees").sum())
        parts.append(f"{condition} {report.span_text(own['value'], 2)} (inverted on "
                     f"{inverted or 'none'} of {len(own)} data sets)")
    return (f"Block shares of the two kinds correlate {', '.join(parts)}; an inversion would be "
            f"negative")


def pair_finding(pairs: pd.DataFrame) -> str:
    """How alike models of one kind and of two are, as a sentence; ``pairs`` as of
    :func:`~neuronpath_core.chapters.mae_against_supervised.kinds_compared.model_pairs`."""
    between = pairs["relation"] == "between"
    return (f"Two models of different kinds correlate at "
            f"{report.span_text(pairs.loc[between, 'value'], 2)}, of one kind at "
            f"{report.span_text(pairs.loc[~between, 'value'], 2)}")


def first_block(shares: pd.DataFrame) -> str:
    """From model to model, which share of the knowledge neurons lies in block 1, each model read
    at its own scope; ``shares`` as of
    :func:`~neuronpath_core.chapters.mae_against_supervised.measured.mean_shares`."""
    return report.percent_span(shares.loc[shares["own"] & (shares["block"] == 1), "value"])


def contrast_table(contrast: pd.DataFrame) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.mae_against_supervised.kinds_compared.kind_rows` with words
    for headers."""
    return contrast.assign(contrast=[report.interval_text(row, 3)
                                     for row in contrast.to_dict("records")]).set_index("data")[
        ["contrast", "p", "deals", "smallest", "verdict"]
    ].rename(columns={"deals": "ways to deal the names", "smallest": "smallest possible p",
                      "verdict": "agreement"})


def depth_table(deeper: pd.DataFrame, kinds: Sequence[str]) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.mae_against_supervised.kinds_compared.depth_difference` with
    words for headers."""
    return deeper.assign(difference=[report.interval_text(row, 3)
                                     for row in deeper.to_dict("records")]).set_index("data")[
        ["first", "second", "spread first", "spread second", "difference", "verdict"]
    ].rename(columns={"first": kinds[0], "second": kinds[1], "spread first": f"spread {kinds[0]}",
                      "spread second": f"spread {kinds[1]}", "verdict": "agreement"})


def cell_table(cells: pd.DataFrame) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.mae_against_supervised.kinds_compared.cell_correlations`
    with words for headers; the paper's comparison says so."""
    named = cells.assign(
        correlation=[report.interval_text(row) for row in cells.to_dict("records")],
        differ=[f"{differ} (the paper's)" if own else differ
                for differ, own in zip(cells["differ"], cells["own"], strict=True)])
    return named.set_index(["data", "condition", "first", "second"])[
        ["differ", "correlation", "verdict"]].rename(
        columns={"condition": "blocks", "differ": "what differs", "verdict": "agreement"}
    ).rename_axis(index={"condition": "blocks"})
