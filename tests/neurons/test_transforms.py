"""Small changes of images: by hand, centred, differentiable, the same for all images."""

import math

import pytest
import torch

from neuronpath_core.neurons.transforms import Robust, warped

GREY = torch.zeros(1, dtype=torch.float64)
# a shift of a pixel is 2/size in the coordinates of the map
IDENTITY = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]], dtype=torch.float64)


def blob(size=16, middle=None):
    middle = (size - 1) / 2 if middle is None else middle
    places = torch.arange(size, dtype=torch.float64) - middle
    return torch.exp(-(places[:, None] ** 2 + places[None] ** 2) / 8)[None, None]


def centre(image):
    places = torch.arange(image.shape[-1], dtype=torch.float64)
    mass = image.sum()
    return torch.stack([(image.sum(-1) * places).sum() / mass, (image.sum(-2) * places).sum() / mass])


def test_no_change_is_the_image():
    image = blob()
    none = Robust(pixels=0, scale=(1, 1), degrees=0)
    changed = none(image, torch.Generator().manual_seed(0), GREY)
    torch.testing.assert_close(changed, image, rtol=0, atol=1e-12)


def test_a_shift_of_whole_pixels_moves_pixels_and_leaves_grey():
    image = torch.arange(64, dtype=torch.float64).view(1, 1, 8, 8)
    places = IDENTITY.clone()
    places[0, 2] = 2 * 2 / 8
    moved = warped(image, places, torch.tensor([-5.0]))
    torch.testing.assert_close(moved[..., :6], image[..., 2:], rtol=0, atol=1e-12)
    assert bool((moved[..., 6:] == -5).all())


def test_what_is_drawn_turns_and_a_quarter_turn_is_one():
    image = torch.rand(1, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    fixed = Robust(pixels=0, scale=(1, 1), degrees=90)
    for seed in range(20):  # angles are drawn: undo what was drawn
        places = fixed.draw((8, 8), torch.Generator().manual_seed(seed))
        angle = math.atan2(float(places[1, 0]), float(places[0, 0]))
        assert abs(angle) <= math.pi / 2
        torch.testing.assert_close(places[:, :2] @ places[:, :2].T, torch.eye(2).double(), rtol=0,
                                   atol=1e-12)
    turned = warped(image, torch.tensor([[0.0, -1, 0], [1, 0, 0]]).double(), GREY)
    torch.testing.assert_close(turned[0, 0], image[0, 0].rot90(1), rtol=0, atol=1e-12)


def test_a_centred_image_stays_centred():
    image, robust = blob(), Robust()
    generator = torch.Generator().manual_seed(0)
    centres = torch.stack([centre(robust(image, generator, GREY)) for _ in range(400)])
    # shifts are uniform within a pixel here: 0.58 a draw, 0.03 of the mean
    assert float((centres - 7.5).abs().max()) < 1.3
    assert float((centres.mean(0) - 7.5).abs().max()) < 0.09
    assert float(centres.std(0).min()) > 0.4


def test_all_images_of_a_call_are_changed_alike():
    images = torch.cat([blob(), blob(), blob(middle=5)])
    changed = Robust()(images, torch.Generator().manual_seed(4), GREY)
    torch.testing.assert_close(changed[0], changed[1], rtol=0, atol=0)
    alone = Robust()(images[2:], torch.Generator().manual_seed(4), GREY)
    torch.testing.assert_close(changed[2:], alone, rtol=0, atol=0)


def test_changes_are_differentiable():
    image = blob(8).requires_grad_()
    robust = Robust()

    def changed(picture):
        return robust(picture, torch.Generator().manual_seed(2), GREY)

    assert torch.autograd.gradcheck(changed, image)


@pytest.mark.parametrize("settings", ({"pixels": -1}, {"scale": (0, 1)}, {"scale": (1.2, 1)},
                                      {"degrees": 200}, {"pixels": math.nan}))
def test_impossible_changes_are_refused(settings):
    with pytest.raises(ValueError, match="accepted: pixels of at least 0"):
        Robust(**settings)
