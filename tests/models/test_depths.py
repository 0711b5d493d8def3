"""Pictures of every depth become what their makers mean, or are refused; never white or black
without a word."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuronpath_core.explanations.picture import read_picture
from neuronpath_core.images.data_sets import load_part
from neuronpath_core.models.preprocessing import transform

PLAIN = {"interpolation": "nearest", "crop_pct": 1.0, "crop_mode": "squash"}
COLOURED = PLAIN | {"input_size": [3, 16, 16], "mean": [0.0] * 3, "std": [1.0] * 3}
GREY = PLAIN | {"input_size": [1, 16, 16], "mean": [0.0], "std": [1.0]}
RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16)
NEVER_SHOWN = np.zeros((16, 16, 4), np.uint8)
NEVER_SHOWN[4:8, 4:8, 3] = 255


def loaded(root: Path, name: str, picture: Image.Image, config=COLOURED, **options) -> np.ndarray:
    """What a model sees of the picture once it is a file, as uint8 ``(16, 16)``; all channels are
    the same."""
    (root / "val" / "x").mkdir(parents=True)
    picture.save(root / "val" / "x" / name, **options)
    images = load_part({"name": "files", "root": str(root), "input_key": Path(name).suffix},
                       "held_out")
    seen = images.loaded(config)
    small = images.pixels[0].astype(int)
    found = np.rint(seen.images[0].numpy() * 255).astype(np.uint8)
    assert (found == found[:1]).all()
    assert abs(small.mean() - found.mean()) < 1  # so does whoever looks at it
    return found[0]


@pytest.mark.parametrize("config", [COLOURED, GREY], ids=["colours", "grey"])
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bits_are_scaled(tmp_path, name, config):
    found = loaded(tmp_path, name, Image.fromarray(RAMP * 257), config)
    np.testing.assert_array_equal(found, RAMP)


def test_sixteen_bits_are_rounded():
    values = np.array([[0, 128, 129, 65535 - 129, 65535 - 128, 65535]], np.uint16)
    found = transform({**GREY, "input_size": [1, 1, 6]})(Image.fromarray(values))
    np.testing.assert_array_equal(np.rint(found.numpy()[0] * 255), [[0, 0, 1, 254, 255, 255]])


def test_the_order_of_bytes_makes_no_difference():
    small = (RAMP * 257).astype("<u2")
    for mode, kind in (("I;16", "<u2"), ("I;16B", ">u2")):
        picture = Image.frombytes(mode, (16, 16), small.astype(kind).tobytes())
        np.testing.assert_array_equal(np.rint(transform(GREY)(picture).numpy()[0] * 255), RAMP)


@pytest.mark.parametrize(("name", "values", "words"), [
    ("a.png", RAMP, "the 16-bit values go from 0 to 255"),
    ("a.png", RAMP * 16 + 15, "the 16-bit values go from 15 to 4095"),
    ("a.tif", RAMP.astype(np.int32) * 1000, "signed numbers"),
    ("a.tif", RAMP.astype(np.float32) / 255, "32-bit numbers .mode F."),
], ids=["8 bits in 16", "12 bits in 16", "integers", "fractions"])
def test_values_whose_range_no_file_tells_are_refused_by_name(tmp_path, name, values, words):
    with pytest.raises(ValueError, match=f"1 of 1 images cannot be read: x/{name} .*{words}"
                                         ) as error:
        loaded(tmp_path, name, Image.fromarray(values))
    assert "\n" not in str(error.value)


CHANNELS = {2: 3, 4: 2, 6: 4}  # by the PNG's type of colours: RGB, grey and RGB with transparency


def deep_png(file: Path, values: np.ndarray, kind: int) -> None:
    """A PNG with 16 bits a channel, all of a pixel's alike but transparency, of which it has none.
    """
    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    channels = np.stack([values] * CHANNELS[kind], -1)
    if kind != 2:
        channels[..., -1] = 65535
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in channels)
    header = struct.pack(">IIBBBBB", *values.shape[::-1], 16, kind, 0, 0, 0)
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
                     + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


@pytest.mark.parametrize("kind", CHANNELS)
def test_colours_of_sixteen_bits_of_which_the_lowest_are_used_are_refused(tmp_path, kind):
    """Pillow keeps the high byte of each: without a word they would be nearly black."""
    (tmp_path / "val" / "x").mkdir(parents=True)
    file = tmp_path / "val" / "x" / "a.png"
    deep_png(file, RAMP * 257, kind)
    images = load_part({"name": "files", "root": str(tmp_path)}, "held_out")
    seen = np.rint(images.loaded(COLOURED).images[0].numpy() * 255)
    np.testing.assert_array_equal(seen[0], RAMP)
    assert read_picture(file).image.getextrema()[0] == (0, 255)
    deep_png(file, RAMP * 16 + 15, kind)
    images = load_part({"name": "files", "root": str(tmp_path)}, "held_out")
    with pytest.raises(ValueError, match="x/a.png .no 16-bit value reaches 4096.*accepted"):
        images.loaded(COLOURED)
    with pytest.raises(ValueError, match="a.png cannot be read: no 16-bit value reaches 4096"):
        read_picture(file)


def grey_tiff(file: Path, values: np.ndarray, photometric: int, sample_format: int = 1) -> None:
    """A grey TIFF that says what zero is, and what kind of numbers its values are."""
    data, (height, width) = values.tobytes(), values.shape
    tags = {256: width, 257: height, 258: 8 * values.itemsize, 259: 1, 262: photometric, 273: 8,
            277: 1, 278: height, 279: len(data), 339: sample_format}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    file.parent.mkdir(parents=True)
    file.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data
                     + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0))


@pytest.mark.parametrize("kind", ["<u1", "<u2"])
@pytest.mark.parametrize("white", [True, False], ids=["white is zero", "black is zero"])
def test_what_zero_stands_for(tmp_path, kind, white):
    file = tmp_path / "val" / "x" / "a.tif"
    values = (255 - RAMP if white else RAMP) * (257 if kind == "<u2" else 1)
    grey_tiff(file, values.astype(kind), 0 if white else 1)
    images = load_part({"name": "files", "root": str(tmp_path), "input_key": ".tif"}, "held_out")
    for config in (COLOURED, GREY):
        seen = np.rint(images.loaded(config).images[0].numpy() * 255)
        np.testing.assert_array_equal(seen[0], RAMP)
    assert abs(images.pixels[0].astype(int).mean() - RAMP.mean()) < 1
    np.testing.assert_array_equal(np.asarray(read_picture(file).image)[..., 0], RAMP)


@pytest.mark.parametrize("kind", ["<i1", "<i2", "<i4"])
def test_signed_numbers_are_refused_by_name(tmp_path, kind):
    file = tmp_path / "val" / "x" / "a.tif"
    grey_tiff(file, (RAMP.astype(np.int32) - 128).astype(kind), 1, sample_format=2)
    images = load_part({"name": "files", "root": str(tmp_path), "input_key": ".tif"}, "held_out")
    with pytest.raises(ValueError, match="x/a.tif .the pixels are signed numbers .*accepted"):
        images.checked()
    with pytest.raises(ValueError, match="a.tif cannot be read: the pixels are signed numbers"):
        read_picture(file)


def netpbm(values: np.ndarray) -> bytes:
    return b"P6\n16 16\n65535\n" + np.stack([values] * 3, -1).astype(">u2").tobytes()


def silicon_graphics(values: np.ndarray) -> bytes:
    header = struct.pack(">hBBHHHHll4s80sl", 474, 0, 2, 3, 16, 16, 3, 0, 65535, b"", b"", 0)
    return header.ljust(512, b"\0") + 3 * values[::-1].astype(">u2").tobytes()


@pytest.mark.parametrize(("ending", "written"), [(".ppm", netpbm), (".sgi", silicon_graphics)])
def test_sixteen_bits_of_which_the_lowest_are_used_in_other_formats(tmp_path, ending, written):
    file = tmp_path / "val" / "x" / f"a{ending}"
    file.parent.mkdir(parents=True)
    settings = {"name": "files", "root": str(tmp_path), "input_key": ending}
    file.write_bytes(written(RAMP * 257))
    seen = load_part(settings, "held_out").loaded(COLOURED).images[0]
    np.testing.assert_array_equal(np.rint(seen.numpy() * 255)[0], RAMP)
    file.write_bytes(written(RAMP * 16 + 15))
    with pytest.raises(ValueError, match="no 16-bit value reaches 4096"):
        load_part(settings, "held_out").checked()
    with pytest.raises(ValueError, match="no 16-bit value reaches 4096"):
        read_picture(file)


def colour_tiff(file: Path, values: np.ndarray, photometric: int, apart: bool, count=3) -> None:
    """A TIFF of ``count`` equal channels, those of a pixel beside each other or each in its plane.
    """
    planes, bits, end = np.stack([values] * count), 8 * values.itemsize, 8 + count * values.nbytes
    tables = [[bits] * count, [8 + number * values.nbytes for number in range(count)],
              [values.nbytes] * count]
    data = (planes if apart else np.moveaxis(planes, 0, -1)).tobytes() + b"".join(
        struct.pack(f"<{count}I", *table) for table in tables)
    places = [end + 4 * count * number for number in range(3)]
    strips = (count, places[1], places[2]) if apart else (1, 8, count * values.nbytes)
    tags = [(256, 1, 16), (257, 1, 16), (258, count, places[0]), (259, 1, 1),
            (262, 1, photometric), (273, strips[0], strips[1]), (277, 1, count), (278, 1, 16),
            (279, strips[0], strips[2]), (284, 1, 2 if apart else 1)]
    file.parent.mkdir(parents=True)
    file.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data
                     + struct.pack("<H", len(tags)) + b"".join(
                         struct.pack("<HHII", tag, 4, many, value) for tag, many, value in tags)
                     + struct.pack("<I", 0))


@pytest.mark.parametrize(("kind", "apart"), [("<u1", False), ("<u1", True), ("<u2", False)])
def test_channels_beside_each_other_and_apart(tmp_path, kind, apart):
    file = tmp_path / "val" / "x" / "a.tif"
    colour_tiff(file, (RAMP * (257 if kind == "<u2" else 1)).astype(kind), 2, apart)
    images = load_part({"name": "files", "root": str(tmp_path), "input_key": ".tif"}, "held_out")
    np.testing.assert_array_equal(np.rint(images.loaded(COLOURED).images[0].numpy() * 255)[1], RAMP)
    np.testing.assert_array_equal(np.asarray(read_picture(file).image)[..., 1], RAMP)


@pytest.mark.parametrize(("photometric", "apart", "count", "words"), [
    (2, True, 3, "the channels lie apart"), (5, False, 4, "no 16-bit value reaches 4096")],
    ids=["planes", "12 bits of CMYK"])
def test_tiffs_of_sixteen_bits_that_would_be_other_pictures_are_refused(
        tmp_path, photometric, apart, count, words):
    file = tmp_path / "val" / "x" / "a.tif"
    colour_tiff(file, (RAMP * (257 if apart else 16)).astype("<u2"), photometric, apart, count)
    images = load_part({"name": "files", "root": str(tmp_path), "input_key": ".tif"}, "held_out")
    with pytest.raises(ValueError, match=f"x/a.tif .{words}"):
        images.checked()
    with pytest.raises(ValueError, match=f"a.tif cannot be read: {words}"):
        read_picture(file)


def test_black_of_sixteen_bits_is_black(tmp_path):
    assert not loaded(tmp_path, "a.png", Image.fromarray(RAMP * 0)).any()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_a_picture_that_only_its_transparency_shows_is_refused(tmp_path, mode):
    picture, options = Image.fromarray(NEVER_SHOWN).convert("RGBA" if mode == "P" else mode), {}
    if mode == "P":
        picture = Image.fromarray((NEVER_SHOWN[..., 3] > 0).astype(np.uint8)).convert("P")
        picture.putpalette([0, 0, 0] * 256)
        options["transparency"] = 0
    with pytest.raises(ValueError, match="x/a.png .nothing but transparency tells its pixels"):
        loaded(tmp_path, "a.png", picture, **options)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_all_others_are_as_pillow_converts_them(mode):
    picture = Image.fromarray(RAMP.astype(np.uint8)).convert("RGB").convert(mode)
    if mode in ("LA", "RGBA"):
        picture.putalpha(Image.fromarray(RAMP.astype(np.uint8).T.copy()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = transform(COLOURED)(picture)
    expected = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(np.rint(found.numpy() * 255), expected)
