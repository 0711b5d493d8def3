"""A made-up data set in the layout of the photographs: ten classes, two folders, a declaration."""

import json
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from safetensors.torch import save_file

from neuronpath_core.chapters.photographs.measured import KINDS
from neuronpath_core.images.data_sets import load_part
from neuronpath_core.images.declared import digests
from neuronpath_core.models.build import build_model
from tests import helpers

CLASSES = sorted(name for names in KINDS.values() for name in names)
DATASET = {"name": "files", "root": "data/photos", "reader": "", "split": "test",
           "class_names": "folder", "class_order": "alphabetical", "unreadable": "fatal",
           "obtain": "git clone https://example.org/photos data/photos"}
ARCHITECTURE = {"img_size": 32, "patch_size": 16, "in_chans": 3, "num_classes": 10, "embed_dim": 12,
                "depth": 3, "num_heads": 2, "mlp_ratio": 1.0, "global_pool": "token"}
CONFIG = {"mean": [0.5] * 3, "std": [0.25] * 3, "crop_pct": 1.0, "interpolation": "bicubic"}


def write_pictures(root: Path, each: int = 5, seed: int = 0) -> None:
    """Noise on a colour of the class, ``each`` files a class, and their declaration."""
    rng = np.random.default_rng(seed)
    for number, name in enumerate(CLASSES):
        folder = root / "data" / "photos" / "test" / name
        folder.mkdir(parents=True)
        for place in range(each):
            colours = rng.integers(0, 120, (32, 32, 3)) + 12 * number
            Image.fromarray(colours.astype(np.uint8)).save(folder / f"{place:04d}.jpg")
    declare(root)


def declare(root: Path) -> Path:
    """Write down which images there are now."""
    file = root / "data" / "photos.json"
    file.write_text(json.dumps({"test": digests(load_part(DATASET, "held_out", base=root))}))
    return file


def write_study(root: Path, pooled: bool = True, dataset: dict | None = None) -> None:
    """A profile ``photos`` of two seeded networks, the second one a masked autoencoder's stand-in
    if it is ``pooled``."""
    models = {"one": ("ViT-B-16", "token"), "two": ("MAE-B-16", "avg") if pooled
              else ("ViT-B-32", "token")}
    profile = {"dataset": dataset or DATASET, "models": {}, "notebooks": {}}
    for seed, (name, (paper, pool)) in enumerate(models.items()):
        spec = {"stands_for": paper, "architecture": {**ARCHITECTURE, "global_pool": pool},
                "weights": f"data/{name}.safetensors", "data_config": CONFIG}
        model = helpers.fill(build_model(spec), seed)
        (root / "data").mkdir(exist_ok=True)
        save_file({key: value.contiguous() for key, value in model.state_dict().items()},
                  root / spec["weights"])
        profile["models"][name] = spec
    (root / "profiles").mkdir(exist_ok=True)
    (root / "profiles" / "photos.yml").write_text(yaml.safe_dump(profile, sort_keys=False))
