"""Whether made images are recognised and how near they lie, by hand and by planted images."""

import pytest
import torch

from neuronpath_core.neurons import plausibility
from neuronpath_core.target import TargetModel
from tests import helpers


@pytest.mark.parametrize("overrides", ({}, {"global_pool": "avg"}))
def test_features_are_what_the_head_reads(overrides):
    target = TargetModel(helpers.small_vit(1, **overrides))
    images, _ = helpers.small_batch(4)
    found = plausibility.head_features(target, images)
    with torch.no_grad():
        torch.testing.assert_close(target.model.head(found), target(images))


def test_recognised_is_strictly_first():
    target = TargetModel(helpers.small_vit(1))
    images, _ = helpers.small_batch(4)
    best = target(images).argmax(1)
    assert plausibility.recognised(target, images, best).all()
    assert not plausibility.recognised(target, images, (best + 1) % 5).any()
    assert plausibility.recognised(target, images.float(), best).all()
    with torch.no_grad():
        target.model.head.weight.zero_()
        target.model.head.bias.zero_()
    assert not plausibility.recognised(target, images, best).any()


def test_the_nearest_by_a_loop():
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(count, 5, generator=generator, dtype=torch.float64)
                     for count in (7, 11))
    distance, which = plausibility.nearest(first, second)
    for row in range(7):
        found = [float(((first[row] - other) ** 2).sum() ** 0.5) for other in second]
        assert int(which[row]) == found.index(min(found))
        assert float(distance[row]) == pytest.approx(min(found), abs=1e-12)


def test_plausible_is_the_share_that_is_further():
    taken = torch.tensor([1.0, 2, 3, 4]).double()
    found = plausibility.plausibility(torch.tensor([0.5, 2, 2.5, 9]).double(), taken)
    assert found.tolist() == [1, 0.75, 0.5, 0]


def test_training_images_are_near_and_noise_is_far():
    target = TargetModel(helpers.small_vit(1))
    images, _ = helpers.small_batch(40)
    train, held_out, far = images[:20], images[20:], 30 * images[20:]
    trained = plausibility.head_features(target, train)

    def distance(pictures):
        return plausibility.nearest(plausibility.head_features(target, pictures), trained)[0]

    taken = distance(held_out)
    assert float(plausibility.plausibility(distance(train + 1e-9), taken).min()) == 1
    assert float(plausibility.plausibility(distance(far), taken).mean()) < 0.5


def test_nothing_to_compare_with_is_refused():
    with pytest.raises(ValueError, match="accepted: rows of one width"):
        plausibility.nearest(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="accepted: one an image, of at least one image"):
        plausibility.plausibility(torch.zeros(2), torch.zeros(0))
