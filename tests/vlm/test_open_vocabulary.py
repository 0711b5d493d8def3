"""The open-vocabulary simulator on tiny random models of the very classes, and with finders whose
boxes and masks are known."""

import numpy as np
import pytest
import torch

from neuronpath_core.vlm.explained import Explanation, Sample, scene_samples
from neuronpath_core.vlm.open_vocabulary import OpenVocabularySimulator, prompt
from neuronpath_core.vlm.scenes import compose_many
from tests.helpers import refused
from tests.vlm import tiny_finders

SAMPLE = scene_samples(compose_many("held_out", 1))[0]


@pytest.fixture(scope="module")
def finders():
    return (*tiny_finders.detector(), *tiny_finders.segmenter())


def test_the_very_classes_run_end_to_end(finders):
    simulator = OpenVocabularySimulator(*finders, box=0.0, word=0.0)
    said = Explanation("red regions or circles")
    found = simulator.simulate(said, SAMPLE)
    seen = SAMPLE.counted("image")
    assert set(np.unique(found[seen])) <= {0, 10} and np.isnan(found[~seen]).all()
    np.testing.assert_array_equal(found, simulator.simulate(said, SAMPLE))
    mask = simulator.mask("red regions", SAMPLE.image)
    assert mask.shape == (64, 64) and mask.dtype == bool
    graded = OpenVocabularySimulator(*finders, box=0.0, word=0.0, graded=True)
    shares = graded.simulate(Explanation("red regions"), SAMPLE)[seen].reshape(8, 8)
    expected = 10 * mask.reshape(8, 8, 8, 8).mean((1, 3))
    np.testing.assert_allclose(shares, expected)


def test_masks_are_those_of_the_boxes_pixel_by_pixel(finders, monkeypatch):
    """With boxes that are given and a segmenter that fills them, the tokens inside are on."""
    simulator = OpenVocabularySimulator(*finders)
    monkeypatch.setattr(simulator, "_boxes", lambda text, image: torch.tensor(
        [[0.0, 0, 16, 8], [40, 40, 44, 64]]))
    real = simulator.processors[1]

    class Fills:
        def __call__(self, **values):
            self.boxes = values["input_boxes"][0]
            return real(**values)

        def post_process_masks(self, masks, sizes):
            assert masks.shape[1] == len(self.boxes)  # one mask a box
            found = torch.zeros(len(self.boxes), 1, 64, 64)
            for row, (left, top, right, bottom) in zip(found, self.boxes, strict=True):
                row[0, int(top):int(bottom), int(left):int(right)] = 1
            return [found]

    simulator.processors = simulator.processors[0], Fills()
    found = simulator.simulate(Explanation("x"), SAMPLE)[SAMPLE.counted("image")].reshape(8, 8)
    expected = np.zeros((8, 8))
    expected[0, :2] = expected[5:, 5] = 10  # half of a token is enough
    np.testing.assert_array_equal(found, expected)


def test_nothing_found_is_an_answer_and_nothing_said_a_failure(finders):
    simulator = OpenVocabularySimulator(*finders, box=1.1)
    found = simulator.simulate(Explanation("circles"), SAMPLE)
    assert (found[SAMPLE.counted("image")] == 0).all()
    assert np.isnan(simulator.simulate(Explanation(""), SAMPLE)).all()


def test_other_models_and_other_tokens_are_refused(finders):
    refused(lambda: OpenVocabularySimulator(finders[2], finders[1], *finders[2:]), "Sam2Model",
            "GroundingDinoForObjectDetection")
    refused(lambda: OpenVocabularySimulator(*finders[:2], finders[0], finders[3]), "accepted: Sam2")
    simulator = OpenVocabularySimulator(*finders)
    gridless = Sample(SAMPLE.image, None, SAMPLE.roles, SAMPLE.words)
    refused(lambda: simulator.simulate(Explanation("x"), gridless), "no patches")
    swapped = OpenVocabularySimulator(finders[0], finders[3], finders[2], finders[3])
    refused(lambda: swapped.mask("red", SAMPLE.image), "processors that belong to the models")


def test_prompts_are_as_the_detector_wants_them():
    assert prompt("Red regions or circles; a star.") == "red regions. circles. a star."
    assert prompt("circles, or red regions; the word") == "circles. red regions. the word."
    assert prompt(" ") == ""
