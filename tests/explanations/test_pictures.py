"""A picture is read as a person sees it, or refused in one line."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from timm.models.vision_transformer import VisionTransformer

from neuronpath_core.explanations.model_input import as_seen, model_input
from neuronpath_core.explanations.picture import pictures_in, read_picture
from neuronpath_core.images.index import PictureWarning
from tests.helpers import refused

RNG = np.random.default_rng(3)
COLOURS = RNG.integers(0, 256, (6, 4, 3), dtype=np.uint8)
# what the model is given of such a picture is the picture itself
PLAIN = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "crop_pct": 1.0, "crop_mode": "squash", "interpolation": "nearest"}


def saved(folder, image, name="picture.png", **settings):
    image.save(folder / name, **settings)
    return folder / name


def pixels(picture):
    return np.asarray(picture.image)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_a_plain_picture_is_itself(tmp_path):
    picture = read_picture(saved(tmp_path, Image.fromarray(COLOURS)))
    assert (pixels(picture) == COLOURS).all() and picture.image.mode == "RGB"
    assert picture.name == "picture.png" and picture.notes == ()


# orientation -> what a person sees of the stored pixels, by the standard's words for where row 0 and column 0 are
TURNED = {1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
          5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
          8: lambda a: np.rot90(a)}


@pytest.mark.parametrize("orientation", TURNED)
def test_it_is_upright_as_exif_says(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = read_picture(saved(tmp_path, Image.fromarray(COLOURS), exif=exif))
    assert (pixels(picture) == TURNED[orientation](COLOURS)).all()
    assert any("upright" in note for note in picture.notes) == (orientation > 1)


def test_a_damaged_exif_block_is_no_damaged_picture(tmp_path):
    file = saved(tmp_path, Image.fromarray(COLOURS), exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    assert (pixels(read_picture(file)) == COLOURS).all()


def test_sixteen_bits_become_eight(tmp_path):
    values = np.linspace(0, 65535, 24).reshape(6, 4).astype(np.uint16)
    picture = read_picture(saved(tmp_path, Image.fromarray(values)))
    assert (pixels(picture) == np.round(values / 257).astype(np.uint8)[..., None]).all()
    assert "16 bits" in picture.notes[0]
    dark = saved(tmp_path, Image.fromarray((values // 100).astype(np.uint16)), "dark.png")
    refused(lambda: read_picture(dark), "dark.png", "16-bit", "accepted")


def test_cmyk_becomes_rgb(tmp_path):
    file = saved(tmp_path, Image.fromarray(np.full((8, 8, 4), (255, 0, 0, 0), np.uint8), "CMYK"), "cyan.tif")
    picture = read_picture(file)
    assert np.abs(pixels(picture).astype(int) - (0, 255, 255)).max() <= 1
    assert "CMYK" in picture.notes[0]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_lie_on_white(tmp_path, mode):
    layered = np.zeros((4, 4, 4), np.uint8)
    layered[:2, :, 3] = 255  # black above, nothing below
    image = Image.fromarray(layered)
    if mode == "P":
        image = Image.fromarray((layered[..., 3] // 255), "P")
        image.putpalette([9, 9, 9, 0, 0, 0])
        file = saved(tmp_path, image, transparency=0)
    else:
        file = saved(tmp_path, image.convert(mode))
    picture = read_picture(file)
    assert (pixels(picture)[:2] == 0).all() and (pixels(picture)[2:] == 255).all()
    assert "white" in picture.notes[0]


def test_half_transparent_is_half_white(tmp_path):
    picture = read_picture(saved(tmp_path, Image.new("RGBA", (4, 4), (0, 0, 0, 128))))
    assert np.abs(pixels(picture).astype(int) - 127).max() <= 1


def test_an_opaque_layer_says_nothing(tmp_path):
    layered = np.dstack([COLOURS, np.full((6, 4), 255, np.uint8)])
    picture = read_picture(saved(tmp_path, Image.fromarray(layered)))
    assert (pixels(picture) == COLOURS).all() and picture.notes == ()


def test_of_an_animation_the_first_picture_is_taken(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "white")]
    file = saved(tmp_path, frames[0], "moving.webp", save_all=True, append_images=frames[1:], lossless=True)
    with pytest.warns(PictureWarning, match="moving.webp has 3 frames"):
        picture = read_picture(file)
    assert (pixels(picture) == (255, 0, 0)).all() and "3 frames" in picture.notes[0]
    with Image.open(file) as opened:
        opened.seek(1)
        with pytest.warns(PictureWarning, match="number 2 is"):
            assert (pixels(read_picture(opened)) == (0, 0, 255)).all()


def test_an_opened_picture_stays_as_it_is():
    image = Image.fromarray(COLOURS)
    picture = read_picture(image)
    assert (pixels(picture) == COLOURS).all() and picture.name == "picture"
    picture.image.putpixel((0, 0), (1, 2, 3))
    assert (np.asarray(image) == COLOURS).all()


def test_fifty_megapixels_are_read(tmp_path):
    large = Image.new("L", (10_000, 5_000))
    large.paste(255, (0, 0, 5_000, 5_000))
    file = saved(tmp_path, large, compress_level=1)
    picture = read_picture(file)
    assert picture.image.size == (10_000, 5_000)
    model = VisionTransformer(img_size=8, patch_size=4, embed_dim=8, depth=1, num_heads=1, num_classes=2)
    values, config, _ = model_input(picture, model, PLAIN)
    assert (values[..., :4] == 1).all() and (values[..., 4:] == 0).all()


REFUSED = {
    "one pixel": (lambda folder: saved(folder, Image.new("RGB", (1, 1))), ["1 × 1 pixels", "at least 2 × 2"]),
    "a thin line": (lambda folder: saved(folder, Image.new("RGB", (2, 500))), ["2 × 500", "up to 50 times"]),
    "text": (lambda folder: written(folder, b"a cat"), ["picture.png", "no picture that Pillow knows", "PNG"]),
    "nothing": (lambda folder: written(folder, b""), ["is empty"]),
    "half a file": (lambda folder: written(folder, half()), ["cannot be read", "truncated"]),
    "all transparent": (lambda folder: saved(folder, Image.new("RGBA", (4, 4))), ["transparent", "seen"]),
    "32 bits": (lambda folder: saved(folder, Image.fromarray(np.ones((4, 4), np.float32)), "deep.tif"),
                ["32-bit", "8 or 16 bits"]),
    "a folder": (lambda folder: folder, ["is a folder"]),
    "no file": (lambda folder: folder / "cat.jpg", ["cat.jpg is not there"]),
    "a line break in its name": (lambda folder: folder / "a\nb.jpg", ["a\\nb.jpg is not there"]),
    "a number": (lambda folder: 3, ["a picture cannot be 3", "PIL image"]),
}


def written(folder, data):
    (folder / "picture.png").write_bytes(data)
    return folder / "picture.png"


def half():
    stream = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(stream, "JPEG")
    return stream.getvalue()[:900]


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_picture_is_refused(tmp_path, case):
    make, words = REFUSED[case]
    refused(lambda: read_picture(make(tmp_path)), *words, "accepted")


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    refused(lambda: read_picture(saved(tmp_path, Image.fromarray(COLOURS))), "cannot be read", "accepted")


def test_folders_give_their_pictures(tmp_path):
    for name in ("b 10.png", "b 9.png", "é.jpg", ".hidden.png", "notes.txt", "._b 9.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "deeper.png").mkdir()
    found, told = pictures_in(tmp_path, 3)
    assert [path.name for path in found] == ["b 9.png", "b 10.png", "é.jpg"]
    assert len(told) == 1 and "2 hidden" in told[0]
    refused(lambda: pictures_in(tmp_path, 2), "has 3 pictures", "1 to 2")
    refused(lambda: pictures_in(tmp_path / "deeper.png", 2), "has no pictures")


# --- what a model is given ---


def model(**settings):
    return VisionTransformer(**{"img_size": (6, 4), "patch_size": 2, "embed_dim": 8, "depth": 1, "num_heads": 1,
                                "num_classes": 2, **settings})


def test_what_the_model_is_given_is_what_is_shown(tmp_path):
    picture = read_picture(saved(tmp_path, Image.fromarray(COLOURS)))
    values, config, notes = model_input(picture, model(), PLAIN)
    assert np.allclose(values[0].permute(1, 2, 0).numpy() * 255, COLOURS, atol=1e-4) and notes == ()
    shown, notes = as_seen(values, config)
    assert (shown == COLOURS).all() and notes == ()


def test_defaults_of_timm_are_told(tmp_path):
    picture = read_picture(saved(tmp_path, Image.fromarray(COLOURS)))
    values, config, notes = model_input(picture, model())
    assert any("Nothing says" in note and "0.485" in note for note in notes)
    assert np.abs(as_seen(values, config)[0].astype(int)).max() <= 255


def test_a_small_picture_is_enlarged_and_told(tmp_path):
    picture = read_picture(saved(tmp_path, Image.fromarray(COLOURS)))
    values, _, notes = model_input(picture, model(img_size=(12, 8)), PLAIN)
    assert (values[0, :, ::2, ::2].permute(1, 2, 0).numpy() * 255).round().astype(int).tolist() == COLOURS.tolist()
    assert notes == ("It was enlarged from 4 × 6 to the model's 8 × 12 pixels.",)


def test_one_colour_is_told(tmp_path):
    picture = read_picture(saved(tmp_path, Image.new("RGB", (4, 6), "red")))
    with pytest.warns(PictureWarning, match="of one colour"):
        notes = model_input(picture, model(), PLAIN)[2]
    assert any("one colour" in note for note in notes)


def test_tensors_beyond_the_preprocessing_are_stretched():
    values = torch.linspace(-7, 9, 3 * 6 * 4).reshape(1, 3, 6, 4)
    shown, notes = as_seen(values, PLAIN)
    assert shown.min() == 0 and shown.max() == 255 and "smallest value black" in notes[0]
    grey, notes = as_seen(values.repeat(1, 2, 1, 1), None)
    assert grey.shape == (6, 4) and notes
