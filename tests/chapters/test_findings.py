"""The sentences above the figures of chapters 4, 5, 13, 14 and 16 say what their tables hold."""

import numpy as np
import pandas as pd
import pytest

from neuronpath_core.chapters import class_paths
from neuronpath_core.chapters.class_similarity import words as class_similarity_words
from neuronpath_core.chapters.mae_against_supervised import words as mae_against_supervised_words
from neuronpath_core.chapters.similarity_in_numbers import words
from neuronpath_core.chapters.stability import overlap, seeds
from neuronpath_core.chapters.stability import words as stability_words
from neuronpath_core.stats import report


@pytest.mark.parametrize(("shares", "text"), [([0.314, 0.62], "31 to 62 %"),
                                              ([0.5, 0.501], "50 %"), ([0], "0 %")])
def test_percent_span(shares, text):
    assert report.percent_span(shares) == text


def overview(share, above):
    return pd.DataFrame({"share": share, "shuffled": [0.2, 0.2], "uniform": 0.01, "above": above,
                         "blocks": 12, "verdict": ["agrees" if each > 6 else "not shown"
                                                   for each in above]}, index=["a", "b"])


def test_class_paths():
    assert class_paths.finding(overview([0.3, 0.5], [12, 11])) == (
        "30 to 50 % of a class's images share a block's commonest neuron, 1.5 to 2.5 times the "
        "share with shuffled labels")
    for above, count in (([12, 2], 1), ([1, 2], 2)):
        assert class_paths.finding(overview([0.3, 0.5], above)).startswith(
            f"No more than by chance at most blocks of {count} of 2 models: 30 to 50 %")
    shown = class_paths.overview_table(overview([0.3, 0.5], [12, 11]))
    assert shown["blocks above shuffled"].tolist() == ["12 of 12", "11 of 12"]


def test_the_claim_of_class_paths_is_one_row_of_all_models():
    """Numbers of single models stand in the table of all models alone."""
    (claim, text, tally), = class_paths.conclusion(overview([0.3, 0.5], [12, 2]))
    assert claim.startswith("At most blocks") and tally == "1 of 2 agree, 1 not shown"
    assert text == ("30 to 50 % of a class's images pass a block's commonest neuron, 20 % with "
                    "shuffled labels; above the 97.5 % quantile of the shuffles in 14 of 24 blocks")


def test_the_commonest_neuron_of_a_class():
    table = pd.DataFrame({"model": "a", "label": 1, "block": [1] * 4 + [2] * 4,
                          "neuron": [1, 1, 1, 2, 3, 3, 4, 5]})
    other = table.assign(label=0, neuron=9)
    assert class_paths.commonest_finding(pd.concat([table, other]), "a", 1, "one") == (
        "50 to 75 % of the images of class one take a block's commonest neuron in a")


def test_class_similarity():
    own = pd.DataFrame({"low": [0.4, -0.1]})
    look = pd.DataFrame({"correlation": [-0.01, 0.3], "permuted_high": [0.2, 0.2]})
    assert class_similarity_words.finding(own, look) == (
        "A class has paths of its own in 1 of 2 models; classes that look alike have similar paths "
        "in 1 of 2 (rank correlation -0.01 to +0.30)")
    usage = {"a": np.array([[[0.2, 0.8], [0.6, 0.4]]]), "b": np.array([[[0.5, 0.5], [0.5, 0.5]]])}
    assert class_similarity_words.utilisation_finding(usage).endswith("has 50 to 70 % of a block's "
                                                                "selections")
    matrix = np.array([[1, 0.25], [0.5, 1]])
    assert class_similarity_words.spread_finding({"a": matrix}).endswith("from 0.25 to 0.50")


def test_a_shift_leads_with_its_size():
    views = pd.DataFrame({"condition": ["shifted by one pixel"] * 2 + ["noise"],
                          "value": [0.31, 0.62, 0.9], "paths": [0, 0.04, 0.5],
                          "same_class": [0.2, 0.3, 0.9],
                          "verdict": ["agrees", "not shown", "agrees"]})
    assert stability_words.shift_finding(views) == (
        "Shifted by one pixel, an image keeps 31 to 62 % of its path's neurons and 0 to 4 % of "
        "whole paths; another image of its class shares 20 to 30 % (fewer in 1 of 2 comparisons)")
    (row,) = stability_words.overlap_claims({"view": views}).to_dict("records")
    assert row["text"] == ("31 to 90 % of the neurons and 0 to 50 % of whole paths found again; 20 "
                           "to 90 % of the neurons with another image of the class")
    assert row["tally"] == "2 of 3 agree, 1 not shown"


def test_blocks_of_changed_images():
    blocks = pd.DataFrame({"data": "x", "model": "a", "condition": ["n", "n", "s", "s"],
                           "block": [1, 2, 2, 1], "own": [0.9, 0.5, 0.25, 1.0]})
    assert stability_words.block_finding(blocks) == (
        "Neurons found again: 90 to 100 % in the first block, 25 to 50 % in the last")


def test_an_interval_without_width_says_why():
    assert overlap.found_text({"value": 1, "low": 1, "high": 1}) == "1.00 (all images equal)"
    assert overlap.found_text({"value": 0.5, "low": 0.25, "high": 0.75}) == "0.50 [0.25, 0.75]"


@pytest.mark.parametrize(("verdict", "other", "start", "count"), [
    ("agrees", "not shown", "agree in part", 1), ("agrees", "agrees", "agree", 2),
    ("not shown", "not shown", "are not shown to agree", 0)])
def test_seeds(verdict, other, start, count):
    table = pd.DataFrame({"measure": ["neuron indices", "score", "score"], "data": "x",
                          "value": [0.01, 0.2, 0.2], "yardstick": 0.0, "halves": np.nan,
                          "verdict": ["not shown", verdict, other]})
    assert seeds.finding(table) == (
        f"Models from other seeds {start}: mean correlation +0.20 to +0.20 over 1 measures, beyond "
        f"chance in {count} of 2 comparisons")
    shown = seeds.agreement_table(table)
    assert shown.loc[("score", "x"), "pairs of models"] == 2
    assert shown.loc[("score", "x"), "agreement"].startswith(f"{count} of 2 agree")


def test_similarity_in_numbers():
    means = pd.DataFrame({"outline": [0.3, 0.2], "fill": [0.2, 0.2], "nothing": [0.1, 0.1]})
    assert words.finding(means) == (
        "Classes that share an attribute have more similar paths: the cosine is 2.0 to 3.0 times "
        "for the same outline and 2.0 to 2.0 times for the same fill that of classes that share "
        "nothing")
    assert words.finding(means.assign(fill=[0.2, 0.05])).startswith(
        "In every model, 1 of 2 shared attributes go with more similar paths")
    leads = pd.DataFrame({"verdict": ["agrees", "contradicts", "not shown"]})
    assert words.lead_finding(leads).endswith("more than a baseline's in 1, and "
                                                              "less in 1, of 3 comparisons")
    assert words.lead_finding(leads[:0]) == "Only one kind of path is compared"
    blocks = pd.DataFrame({"relation": ["outline", "outline", "fill"],
                           "carries": [True, False, False]})
    assert words.block_finding(blocks).endswith("outline in 1 of 2, fill in 0 of 1")


@pytest.mark.parametrize(("verdict", "count"), [("contradicts", "none"), ("agrees", "1")])
def test_mae(verdict, count):
    cells = pd.DataFrame({"data": "x", "condition": "over all blocks", "first": "a", "second": "b", "differ": "kind and scope",
                          "own": [True, True, False], "value": [0.9, -0.5, 0.0], "low": -1.0,
                          "high": 1.0, "verdict": [verdict, "not shown", "agrees"]})
    assert mae_against_supervised_words.finding(cells) == (
        "Block shares of the two kinds correlate over all blocks -0.50 to +0.90 (inverted on "
        f"{count} of 2 data sets); an inversion would be negative")
    assert mae_against_supervised_words.cell_table(cells)["what differs"].tolist() == [
        "kind and scope (the paper's)"] * 2 + ["kind and scope"]
    pairs = pd.DataFrame({"relation": ["between", "within a"], "value": [0.5, 0.9]})
    assert mae_against_supervised_words.pair_finding(pairs) == (
        "Two models of different kinds correlate at +0.50 to +0.50, of one kind at +0.90 to +0.90")
