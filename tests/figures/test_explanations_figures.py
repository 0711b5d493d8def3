"""What the figures of explanations show, from small tables and records."""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from neuronpath_core.chapters.explanations.published import published_rows
from neuronpath_core.chapters.explanations.shown import Example
from neuronpath_core.figures import explanations as drawn
from neuronpath_core.vlm.explained import KINDS, Explanation, Record, scene_samples
from neuronpath_core.vlm.scenes import compose_many
from tests.figure_tables import panels


@pytest.fixture(autouse=True)
def without_a_screen():
    plt.switch_backend("agg")


def means(sources=("top samples", "random samples")):
    return pd.DataFrame([
        {"kind": kind, "explained": source, "own": 0.3 + place / 10 + number / 100,
         "swapped": 0.05, "generic": 0.02, "place": 0.4, "ceiling": 0.5 + place / 10,
         "low_own": 0.2 + place / 10, "high_own": 0.5 + place / 10}
        for place, kind in enumerate(KINDS) for number, source in enumerate(sources)])


def test_a_panel_per_type_with_all_controls_and_the_papers_numbers():
    figure = drawn.scores_by_kind(means(), published_rows(), finding="Explanations hold")
    shown = panels(figure)
    assert [axis.get_title() for axis in shown] == [f"{kind} neurons" for kind in KINDS]
    for place, axis in enumerate(shown):
        rows = [line for line in axis.lines if len(line.get_xdata()) == len(drawn.ROWS)]
        assert len(rows) == 2
        np.testing.assert_allclose(rows[0].get_xdata(), [0.3 + place / 10, 0.05, 0.02, 0.4,
                                                         0.5 + place / 10])
        assert (np.asarray(rows[0].get_ydata()) < np.asarray(rows[1].get_ydata())).all()
        hollow = [line.get_xdata()[0] for line in axis.lines
                  if line.get_markerfacecolor() == "none"]
        own = published_rows()
        own = own[own["kind"] == KINDS[place]]["own"].dropna()
        assert sorted(hollow) == pytest.approx(sorted(own))
    words = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert words == {"from top samples", "from random samples", *drawn.PAPER.values()}
    assert [tick.get_text() for tick in shown[0].get_yticklabels()] == list(drawn.ROWS.values())


def test_what_the_paper_did_not_do_has_no_mark_of_it():
    figure = drawn.scores_by_kind(means(("raw images",)), published_rows())
    assert not any(line.get_markerfacecolor() == "none" for axis in panels(figure)
                   for line in axis.lines)


@dataclass
class Shown:
    record: Record
    simulated: np.ndarray


def example(kind, sample):
    values = np.zeros(len(sample.roles))
    values[sample.counted("image").nonzero()[0][:8]] = 10
    values[sample.counted("text").nonzero()[0][[1, 3]]] = (10, 5)
    record = Record(sample.image, sample.grid, sample.roles, sample.words, values,
                    scene=sample.scene)
    simulated = np.full(len(values), np.nan)
    simulated[sample.counted("text")] = 0
    simulated[sample.counted("text").nonzero()[0][1]] = 10
    return Example(kind, 2, 7, Explanation("the word “red”"), record, simulated, 0.61)


def test_a_row_per_neuron_with_what_it_does_and_what_is_simulated():
    samples = scene_samples(compose_many("held_out", 2))
    shown = [example("visual", samples[0]), example("text", samples[1])]
    figure = drawn.simulations(shown)
    axes = np.array(panels(figure)).reshape(2, 2)
    for (left, right), each, sample in zip(axes, shown, samples, strict=True):
        both = np.asarray(left.images[0].get_array())
        image, simulated = both[:, :64], both[:, -64:]
        np.testing.assert_array_equal(image[:8], sample.image[:8])  # as bright as it is
        np.testing.assert_array_equal(image[8:], np.round(sample.image[8:] * 0.25))
        # of nothing simulated the image is dark, and no NaN
        np.testing.assert_array_equal(simulated, np.round(sample.image * 0.25))
        assert [text.get_text() for text in right.texts] == list(sample.answer)
        assert "".join(right.get_title("left").split()) == (
            f"{each.kind},layer3:theword“red”(score0.61)")
        lit = [patch for patch in right.patches if patch.get_facecolor()[:3] != (0.93,) * 3]
        assert len(lit) == 2 and len(right.lines) == 1
        left_edge, right_edge = right.lines[0].get_xdata()
        assert (left_edge, right_edge) == (right.patches[1].get_x(),
                                           right.patches[1].get_x() + right.patches[1].get_width())
