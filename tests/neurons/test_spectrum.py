"""Images as spectra: the round trip, what is estimated of images, what is refused."""

import numpy as np
import pytest
import torch

from neuronpath_core.neurons import spectrum


def pictures(count=6, channels=3, size=(8, 10), seed=0):
    """Smooth images from -1 to 1 whose channels are correlated."""
    rng = np.random.default_rng(seed)
    mixing = np.eye(channels) + 0.4
    raw = np.tanh(np.einsum("ij,njhw->nihw", mixing, rng.standard_normal((count, channels, *size))))
    return torch.from_numpy(0.9 * raw)


@pytest.mark.parametrize("channels", (1, 3))
@pytest.mark.parametrize("size", ((8, 8), (8, 11), (9, 12)))
def test_spectrum_and_image_are_the_same_both_ways(channels, size):
    images = pictures(channels=channels, size=size)
    statistics = spectrum.image_statistics(images)
    there = spectrum.to_spectrum(images, statistics)
    assert there.shape == (len(images), channels, size[0], size[1] // 2 + 1, 2)
    torch.testing.assert_close(spectrum.to_images(there, statistics), images, rtol=0, atol=1e-12)


def test_an_image_is_the_sum_of_its_waves_written_out():
    images = pictures(2, 1)
    statistics = spectrum.image_statistics(images)
    drawn = spectrum.first_spectrum(1, 8, 10, statistics.low, seed=3, spread=1.0)[0]
    found = spectrum.to_images(drawn, statistics)[0].numpy()
    waves = torch.view_as_complex(drawn[0].contiguous()).numpy() * 1 / np.maximum(
        spectrum.frequencies(8, 10), 1 / 10)
    rows, columns = np.mgrid[:8, :10]
    total = np.zeros((8, 10))
    for down in range(8):
        for right in range(6):
            wave = np.exp(2j * np.pi * (down * rows / 8 + right * columns / 10))
            # a real image has every wave with its mirror image, but those that are their own
            total += (1 if right in (0, 5) else 2) * (waves[down, right] * wave).real
    expected = -1 + 2 / (1 + np.exp(-total / np.sqrt(80) / 4))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_magnitudes_are_those_of_the_images_whatever_the_phase():
    images = pictures()
    statistics = spectrum.image_statistics(images)
    drawn = spectrum.first_spectrum(1, 8, 10, statistics.low, "magnitude", seed=1)
    made = spectrum.to_images(drawn, statistics, "magnitude")
    flat = torch.logit((made + 1) / 2) / 2
    unmixed = torch.einsum("ij,njhw->nihw", torch.linalg.inv(statistics.colour), flat)
    found = torch.fft.rfft2(unmixed, norm="ortho").abs()[0]
    inner = (slice(None), slice(None), slice(1, -1))  # waves that are their own mirror lose phase
    torch.testing.assert_close(found[inner], statistics.magnitude[inner], rtol=0, atol=1e-10)
    again = spectrum.to_images(7 * drawn, statistics, "magnitude")
    torch.testing.assert_close(again, made, rtol=0, atol=1e-12)


def test_the_colour_matrix_gives_the_correlations_of_the_images():
    images = pictures(200)
    root = spectrum.colour_matrix(images)
    flat = images.transpose(0, 1).flatten(1).numpy()
    made = root.numpy() @ root.numpy().T
    scale = np.sqrt(np.outer(np.diag(made), np.diag(made)))
    np.testing.assert_allclose(made / scale, np.corrcoef(flat), atol=1e-10)
    assert float(root.norm(dim=0).max()) == pytest.approx(1, abs=1e-12)
    assert spectrum.colour_matrix(images[:, :1]) == pytest.approx(1, abs=1e-12)


def test_white_and_black_are_the_ends():
    images = pictures()
    statistics = spectrum.image_statistics(3 * images + 1, low=-2.0, high=4.0)
    own = spectrum.image_statistics(images)
    torch.testing.assert_close(statistics.magnitude, own.magnitude, rtol=0, atol=1e-10)
    huge = 1e4 * spectrum.first_spectrum(2, 8, 10, own.low)
    made = spectrum.to_images(huge, statistics)
    assert float(made.min()) == pytest.approx(-2, abs=1e-6) and float(made.max()) == pytest.approx(
        4, abs=1e-6)


def test_a_copy_does_not_depend_on_how_many_there_are():
    like = torch.zeros(3, dtype=torch.float64)
    state = torch.random.get_rng_state()
    three = spectrum.first_spectrum(3, 8, 8, like, seed=2)
    torch.testing.assert_close(three[:1], spectrum.first_spectrum(1, 8, 8, like, seed=2), rtol=0,
                               atol=0)
    assert not torch.equal(three[0], three[1])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_noise_is_high_and_smooth_images_are_not():
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.standard_normal((20, 3, 32, 32)))
    assert float(spectrum.high_share(noise).mean()) == pytest.approx(1 - np.pi / 16, abs=0.02)
    rows = torch.linspace(0, 2 * torch.pi, 33, dtype=torch.float64)[:-1]
    wave = torch.sin(rows)[:, None].expand(32, 32)[None]
    assert float(spectrum.high_share(wave)) == pytest.approx(0, abs=1e-20)
    assert float(spectrum.high_share(torch.sin(12 * rows)[:, None].expand(32, 32)[None])) == 1
    assert float(spectrum.high_share(torch.full((1, 8, 8), 0.3, dtype=torch.float64))) == 0


@pytest.mark.parametrize("call, words", (
    (lambda: spectrum.image_statistics(pictures(size=(7, 9))), "7x9 pixels are too small"),
    (lambda: spectrum.image_statistics(pictures(1)), "at least two images"),
    (lambda: spectrum.image_statistics([1]), "at least two images"),
    (lambda: spectrum.image_statistics(pictures(), low=1.0), "accepted: a white above the black"),
    (lambda: spectrum.image_statistics(pictures()[:, [0, 0, 1]]), "accepted: images whose channels "
                                                                 "differ"),
    (lambda: spectrum.check_parameterisation("wavelet"), "accepted: fourier, magnitude"),
    (lambda: spectrum.high_share(torch.zeros(1, 4, 8)), "accepted: at least 8 a side"),
))
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_spectra_of_another_size_and_black_pixels_are_refused():
    statistics = spectrum.image_statistics(pictures())
    with pytest.raises(ValueError, match="accepted: \\(3, 8, 6, 2\\)"):
        spectrum.to_images(torch.zeros(3, 9, 6, 2, dtype=torch.float64), statistics)
    with pytest.raises(ValueError, match="accepted: images between the two"):
        spectrum.to_spectrum(torch.ones(1, 3, 8, 10, dtype=torch.float64), statistics)
