"""Pictures as transformers' image processors prepare them against the library's own preprocessing
of the same settings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import neuronpath_core as npc
from neuronpath_core.models.preprocessing import model_preprocessing, transform
from tests.models.hub_models import make, transformers

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
# name -> (model, class of the processor, its settings), at a size that tiny models take
PROCESSORS = {
    "vit": ("vit", "ViTImageProcessor", {"size": {"height": 16, "width": 16}}),
    "deit": ("deit", "DeiTImageProcessor", {"size": {"height": 20, "width": 20},
                                            "crop_size": {"height": 16, "width": 16}}),
    "dinov2": ("dinov2", "BitImageProcessor",
               {"size": {"shortest_edge": 32}, "crop_size": {"height": 28, "width": 28},
                **IMAGENET}),
    "clip": ("clip", "CLIPImageProcessor", {"size": {"shortest_edge": 16},
                                            "crop_size": {"height": 16, "width": 16}}),
    "siglip": ("siglip", "SiglipImageProcessor", {"size": {"height": 16, "width": 16}}),
    "oblong": ("vit-oblong", "ViTImageProcessor", {"size": {"height": 16, "width": 24}}),
    "not-normalised": ("vit", "ViTImageProcessor", {"size": {"height": 16, "width": 16},
                                                    "do_normalize": False}),
    "nearest": ("vit", "ViTImageProcessor", {"size": {"height": 16, "width": 16}, "resample": 0}),
}
SHAPES = [(60, 40), (33, 50), (21, 18), (16, 16), (47, 96)]  # width, height; not where timm cuts further, see below


def processor(name: str, pillow: bool = False):
    _, kind, settings = PROCESSORS[name]
    if pillow:
        kind = f"{kind}Pil"
    return getattr(transformers, kind)(**settings)


def model(name: str):
    named = PROCESSORS[name][0]
    return make("vit", image_size=(16, 24)) if named == "vit-oblong" else make(named)


def picture(shape: tuple[int, int], smooth: bool = True) -> Image.Image:
    width, height = shape
    rng = np.random.default_rng([width, height])
    if not smooth:
        return Image.fromarray(rng.integers(0, 256, (height, width, 3)).astype(np.uint8))
    coarse = rng.integers(0, 256, (height // 4 + 2, width // 4 + 2, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize(shape, Image.Resampling.BILINEAR)


def both(target, given, image):
    """The library's pixels and transformers', in levels of 256."""
    config = model_preprocessing(target.model)
    wanted = np.asarray(given(images=image, return_tensors="pt")["pixel_values"])[0]
    std, mean = (np.array(config[key])[:, None, None] for key in ("std", "mean"))
    return [255 * (np.asarray(value, dtype=np.float64) * std + mean)
            for value in (transform(config)(image), wanted)]


@pytest.mark.each_value
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", PROCESSORS)
def test_pixels_are_those_of_a_processor_that_uses_pillow(name, shape):
    given = processor(name, pillow=True)
    target = npc.from_transformers(model(name), processor=given)
    for smooth in (True, False):
        own, wanted = both(target, given, picture(shape, smooth))
        # a thousandth of a level: pixels are the same, their normalisation is in single precision
        np.testing.assert_allclose(own, wanted, rtol=0, atol=1e-3)


@pytest.mark.each_value
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", PROCESSORS)
def test_pixels_are_those_of_a_processor_that_uses_torchvision_up_to_two_levels(name, shape):
    given = processor(name)
    target = npc.from_transformers(model(name), processor=given)
    own, wanted = both(target, given, picture(shape))
    np.testing.assert_allclose(own, wanted, rtol=0, atol=2 + 1e-3)
    assert np.abs(own - wanted).mean() < 0.5  # most are the same
    assert own.std() > 10


@pytest.mark.parametrize("extra", range(9))
def test_where_timm_cuts_one_pixel_further_is_as_said(extra):
    given = processor("clip", pillow=True)
    target = npc.from_transformers(model("clip"), processor=given)
    image = picture((16 + extra, 16), smooth=False)  # not resized
    own, wanted = both(target, given, image)
    pixels = np.asarray(image, dtype=np.float64).transpose(2, 0, 1)
    left = extra // 2
    np.testing.assert_allclose(wanted, pixels[:, :, left:left + 16], rtol=0, atol=1e-3)
    left += extra % 4 == 3
    np.testing.assert_allclose(own, pixels[:, :, left:left + 16], rtol=0, atol=1e-3)


def test_pictures_of_other_modes_are_made_rgb():
    target = npc.from_transformers(model("clip"), processor=processor("clip"))
    config = model_preprocessing(target.model)
    for mode in ("L", "RGBA", "P", "CMYK"):
        image = picture((30, 20)).convert(mode)
        own, wanted = both(target, processor("clip", pillow=True), image)
        np.testing.assert_allclose(own, wanted, rtol=0, atol=1e-3)
        assert transform(config)(image).shape == (3, 16, 16)


def test_dinov2_takes_the_size_of_its_processor():
    given = processor("dinov2")
    target = npc.from_transformers(model("dinov2"), processor=given)
    assert target.model.patch_embed.img_size == (28, 28)
    assert target.n_tokens == 1 + 7 * 7
    pixels = given(images=picture((40, 60)), return_tensors="pt")["pixel_values"].double()
    with torch.no_grad():
        torch.testing.assert_close(target(pixels), model("dinov2")(pixels).logits, rtol=1e-9,
                                   atol=1e-10)


def test_a_processor_of_another_size_than_the_model_is_refused():
    small, larger = model("vit"), transformers.ViTImageProcessor(size={"height": 24, "width": 24})
    with pytest.raises(ValueError, match=r"cannot give 24 x 24 pixels to a model of 16 x 16; "
                                         r"accepted: image_size=\(24, 24\)"):
        npc.from_transformers(small, processor=larger)
    target = npc.from_transformers(small, processor=larger, image_size=24)
    assert model_preprocessing(target.model)["input_size"] == [3, 24, 24]


REFUSED = {
    "shortest_edge": ("ViTImageProcessor", {"size": {"shortest_edge": 16}}, "size cannot be"),
    "unresized": ("ViTImageProcessor", {"do_resize": False}, "own size"),
    "unscaled": ("ViTImageProcessor", {"do_rescale": False}, "own size or their pixels"),
    "factor": ("ViTImageProcessor", {"rescale_factor": 1 / 127.5}, "rescale_factor cannot be"),
    "padded": ("CLIPImageProcessor", {"size": {"shortest_edge": 12},
                                      "crop_size": {"height": 16, "width": 16}}, "crop_pct"),
    "shares": ("DeiTImageProcessor", {"size": {"height": 20, "width": 32},
                                      "crop_size": {"height": 16, "width": 16}}, "cannot cut"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_processors_that_timm_cannot_repeat_are_refused(name):
    kind, settings, words = REFUSED[name]
    settings = {"size": {"height": 16, "width": 16}} | settings
    with pytest.raises(ValueError, match=f"{words}.*accepted"):
        npc.from_transformers(model("vit"), processor=getattr(transformers, kind)(**settings))
    assert npc.from_transformers(model("vit"), processor=False)


def test_a_processor_that_does_something_else_is_noticed():
    class Own(transformers.ViTImageProcessor):
        def __call__(self, *given, **named):
            prepared = super().__call__(*given, **named)
            prepared["pixel_values"] = prepared["pixel_values"].flip(-1)
            return prepared

    with pytest.raises(ValueError, match="processor cannot be this Own.*accepted"):
        npc.from_transformers(model("vit"), processor=Own(size={"height": 16, "width": 16}))


@pytest.mark.parametrize("wrong", [True, 3, "vit", torch.nn.Linear(2, 2)])
def test_what_is_no_processor_is_refused(wrong):
    with pytest.raises(ValueError, match="processor cannot be .*accepted"):
        npc.from_transformers(model("vit"), processor=wrong)


def test_the_processor_inside_another_one_is_taken():
    class Both:
        """As CLIP's, for images and texts."""

        image_processor = processor("clip")

    target = npc.from_transformers(model("clip"), processor=Both())
    assert model_preprocessing(target.model)["interpolation"] == "bicubic"


def test_the_processor_that_lies_with_a_model_is_found(tmp_path):
    own = model("deit").float()
    own.save_pretrained(tmp_path)
    processor("deit").save_pretrained(tmp_path)
    wanted = {"input_size": [3, 16, 16], "interpolation": "bicubic", "mean": [0.5] * 3,
              "std": [0.5] * 3, "crop_pct": 0.8, "crop_mode": "squash"}
    loaded = transformers.DeiTForImageClassification.from_pretrained(tmp_path)
    for source in (tmp_path, loaded):
        assert model_preprocessing(npc.from_transformers(source).model) == wanted
    without = npc.from_transformers(loaded, processor=False)
    with pytest.raises(ValueError, match="mean"):
        model_preprocessing(without.model)


def test_without_a_processor_pictures_are_refused_and_tensors_are_not():
    target = npc.from_transformers(model("vit"))
    with pytest.raises(ValueError, match="unknown, as from_transformers found no image processor"):
        model_preprocessing(target.model)
    images = torch.zeros(1, 3, 16, 16, dtype=torch.float64)
    assert npc.find_paths(target, images, torch.tensor([1])).neurons.shape == (1, 3)
    # unless a caller says how
    assert model_preprocessing(target.model, {"mean": [0.5] * 3, "std": [0.5] * 3})
