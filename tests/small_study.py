"""A whole study in a temporary folder: one profile, two small networks with weights, notebooks that
run in a moment."""

import json
from pathlib import Path

import nbformat
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from safetensors.torch import save_file

from neuronpath_core.models.build import build_model
from neuronpath_core.models.weight_files import file_sha256
from tests import helpers

ARCHITECTURE = {"img_size": 8, "patch_size": 4, "in_chans": 1, "num_classes": 10, "embed_dim": 12,
                "depth": 3, "num_heads": 2,
                "mlp_ratio": 1.0, "global_pool": "token"}
PROFILE = {
    "dataset": {"name": "digits", "image_size": 8, "train_images": 400, "split_seed": 0},
    "models": {
        "one": {"architecture": ARCHITECTURE, "weights": "data/weights/one.safetensors"},
        "two": {"architecture": {**ARCHITECTURE, "global_pool": "avg"},
                "weights": "data/weights/two.safetensors"},
    },
    "notebooks": {},
}


def write_weights(root: Path, name: str, seed: int, architecture: dict | None = None) -> None:
    """Seeded weights for one model of the profile, with their record."""
    folder = root / "data" / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    model = helpers.fill(build_model({"architecture": architecture
                                      or PROFILE["models"][name]["architecture"]}), seed)
    file = folder / f"{name}.safetensors"
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, file)
    record = json.loads((folder / "weights.json").read_text()) if (folder
                                                                   / "weights.json").exists() else {}
    record[file.name] = {"sha256": file_sha256(file)}
    (folder / "weights.json").write_text(json.dumps(record))


def write_profile(root: Path, profile: dict | None = None, name: str = "digits") -> None:
    """A file of ``profiles/``."""
    (root / "profiles").mkdir(parents=True, exist_ok=True)
    (root / "profiles" / f"{name}.yml").write_text(yaml.safe_dump(profile or PROFILE,
                                                                  sort_keys=False))


def write_notebook(root: Path, name: str, parameters: str, *sources: str) -> Path:
    """A notebook with a title, a parameters cell and one cell for every source."""
    cells = [new_markdown_cell("# Title", id="title"),
             new_code_cell(parameters, id="parameters", metadata={"tags": ["parameters"]}),
             *(new_code_cell(source, id=f"cell-{number}") for number, source in enumerate(sources))]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    path = root / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def make_study(root: Path) -> Path:
    """Profile, weights, an empty library folder and three notebooks."""
    write_profile(root)
    (root / "neuronpath_core").mkdir()
    for seed, name in enumerate(PROFILE["models"]):
        write_weights(root, name, seed)
    write_notebook(root, "01_sum", "steps = 20\nseed = 0", "steps + seed")
    write_notebook(root, "02_list", "n_images = 100\nmodels = ['one', 'two']\nseed = 0",
                   "print(n_images, models, seed)")
    write_notebook(root, "03_device", 'device = "cpu"\ndtype = "float64"', "print(device, dtype)")
    return root
