"""What Chapter 22 says of what flows along a path."""

from __future__ import annotations

from functools import partial

import pandas as pd

from neuronpath_core.chapters.edges_of_paths.measured import PARTNERS
from neuronpath_core.chapters.edges_of_paths.shares import NOTHING, verdicts
from neuronpath_core.chapters.edges_of_paths.words import OWN, SAME, SENTENCES
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons
from neuronpath_core.stats.labels import SCOPE_LABELS

# what is done to a file, as a condition
BROKEN = {"cut short": "when cut short", "a neuron gone": "when a neuron is gone",
          "an effect that is no number": "when an effect is no number",
          "of another version": "when of another version"}
PLACE = {"data": "planted", "model": "planted networks"}
LEAD = rules.above("The mean difference on the same images and edges", interval=rules.OVER_IMAGES,
                   then=" and a test by flips of signs, corrected by Holm's procedure over all "
                        "models and controls, is below 0.05")
OVER_NETWORKS = f"{rules.BOOTSTRAP} over networks"
HALF = partial(rules.above, bound=0.5, interval=rules.OVER_IMAGES, then=rules.OR_BELOW)
TRUTH = "planted chains, where it must be found, and neurons planted side by side"
# claim: unit, control, rule, the notebook's table
RULES = {
    "most": ("made up", TRUTH, HALF(
        "How far the next neuron's activation moves when the source is replaced, whatever the "
        "sign, in shares of that activation"), "share"),
    "most label": ("handed on", "removal of the neuron itself, by all routes", HALF(
        "What a source does to the label's probability by way of the next neuron, in shares of "
        "what its removal does"), "share"),
    "signed": ("activation", "zero", rules.above(
        "The signed share of the next neuron's activation", interval=rules.OVER_IMAGES), "share"),
    "matched": ("activation", "neurons of about the same activation", LEAD, "lead"),
    "partners": ("activation", "neurons of other paths and blocks", LEAD, "lead"),
    "label": ("label effect", "neurons that are not on the path", LEAD, "lead"),
    "label size": ("label effect", "neurons that are not on the path", LEAD, "lead"),
    "cosine": ("cosine", "neurons that are not on the path", LEAD, "lead"),
    "attention": ("flow", "the residual stream of the token itself", HALF(
        "The routes that lead through an attention half, in shares of all, to first order, of "
        "edges over two blocks and more"), "routes"),
    "chain": ("made up", "the same of neurons planted side by side", rules.above(
        "The share of the next neuron's activation", 0.5, interval=OVER_NETWORKS), "planted"),
    "parallel": ("made up", "the same of planted chains", rules.below(
        "The share of the next neuron's activation", NOTHING, called="a twentieth",
        interval=OVER_NETWORKS), "planted"),
}


def made_from(share: pd.DataFrame, lead: pd.DataFrame, routes: pd.DataFrame,
              planted: pd.DataFrame, files: pd.DataFrame) -> list[Claim]:
    """The tables are the chapter's: of
    :func:`~neuronpath_core.chapters.edges_of_paths.shares.edge_shares`, ``leads``,
    ``route_shares``, ``planted_shares`` and ``file_shares``."""
    claims = []
    for key, rows in verdicts(share, lead, routes, planted).items():
        unit, control, rule, table = RULES[key]
        of_networks = key in ("chain", "parallel")
        rows = rows.assign(condition=_conditions(key, rows), against=_against(rows))
        claims.append(Claim(
            key, "beyond", SENTENCES[key],
            comparisons(rows, "networks" if of_networks else "images",
                        PLACE if of_networks else None, condition="condition", against="against"),
            unit, control, rule, table, by="book", of="networks" if of_networks else "images",
            statistic="mean"))
    return claims + _file_claims(files)


def _file_claims(files: pd.DataFrame) -> list[Claim]:
    """That a path's graph survives its file, and that a reader notices where it did not."""
    whole = files[files["damage"] == ""]
    broken = files[files["damage"] != ""].assign(
        condition=lambda rows: rows["damage"].map(BROKEN), against=lambda rows: rows["file"])
    interval = "with Wilson's 95 % interval; agrees if it is all of them, contradicts if not."
    return [
        Claim("graphs", "beyond", "A path's graph is read from its file as it was written",
              comparisons(whole, "paths", against="file"), "paths",
              "the same files, damaged", rules.Rule("The share of graphs of which every neuron, "
              f"edge and number comes back, {interval}"), "files", by="book", of="paths",
              statistic="mean"),
        Claim("graphs: damaged", "beyond", "A damaged file of a path's graph is refused",
              comparisons(broken, "paths", condition="condition", against="against"), "paths",
              "the same files as they were written", rules.Rule(
                  f"The share of damaged files that are refused, {interval}"), "files", by="book",
              of="paths", statistic="mean"),
    ]


def _conditions(key: str, rows: pd.DataFrame) -> list[str]:
    if key in ("attention", "chain", "parallel"):
        return [f"at the {SCOPE_LABELS[scope]}" for scope in rows["scope"]]
    if key in ("matched", "partners"):
        return [OWN if measure == "own activation" else SAME for measure in rows["measure"]]
    if key == "cosine":
        return [""] * len(rows)
    return [f"with the source set to {'its mean' if replaced == 'mean' else 'zero'}"
            for replaced in rows["replaced"]]


def _against(rows: pd.DataFrame) -> list[str]:
    """The control, and what the source is set to where that is no condition."""
    if "control" not in rows or (rows["control"] == "path").all():
        return [""] * len(rows)
    replaced = rows["replaced"] if "replaced" in rows else ["zero"] * len(rows)
    return [PARTNERS[control] + (", source set to its mean" if value == "mean" else "")
            for control, value in zip(rows["control"], replaced, strict=True)]
