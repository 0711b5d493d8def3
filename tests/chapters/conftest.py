"""A study of two tiny networks, for every chapter."""

import pytest
import yaml
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

from neuronpath_core.study.study import Study
from tests import helpers
from tests.chapters.tables import MODELS


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two seeded networks and scikit-learn's digits, in a folder of their own."""
    root = tmp_path_factory.mktemp("study")
    profile = {"dataset": {"name": "digits", "train_images": 400}, "models": {}, "notebooks": {}}
    (root / "profiles").mkdir()
    for seed, (name, sizes) in enumerate(MODELS.items(), 5):
        model = helpers.fill(VisionTransformer(**sizes), seed)
        save_file({key: value.contiguous() for key, value in model.state_dict().items()},
                  root / f"{name}.safetensors")
        profile["models"][name] = {"architecture": sizes, "weights": f"{name}.safetensors"}
    (root / "profiles" / "tiny.yml").write_text(yaml.safe_dump(profile, sort_keys=False))
    return Study("tiny", results=root / "results", root=root)


@pytest.fixture(scope="module")
def images(study):
    return study.images(20)
