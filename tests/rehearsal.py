"""A tiny folder of images in ImageNet's layout, so that everything made for the real one can be
exercised in a moment."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from timm.data import ImageNetInfo

from neuronpath_core.images.data_sets import load_part
from neuronpath_core.images.file_images import FileImages
from neuronpath_core.models.preprocessing import model_preprocessing
from neuronpath_core.runs import cli
from neuronpath_core.study.profiles import load_profile
from tests.helpers import fill

PROJECT = Path(__file__).resolve().parents[1]
SIZES = ((64, 48), (50, 75), (40, 40), (90, 60))  # width, height


def picture(rng: np.random.Generator, size: tuple[int, int], tint: np.ndarray) -> Image.Image:
    """A smooth picture of one prevailing colour: a few random patches, enlarged."""
    patches = np.clip(tint + rng.normal(0, 60, (4, 4, 3)), 0, 255).astype(np.uint8)
    return Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC)


def make_images(folder: Path, classes: int = 3, per_class: int = 4, seed: int = 0,
                split: str = "val") -> Path:
    """Write ``folder/val/n01440764/ILSVRC2012_val_00000001.JPEG`` and so on, the same files for the
    same arguments.

    The classes are spread over the thousand, so that their numbers are not 0, 1, 2; each has its
    own tint.  The first image is grey, the second one CMYK, sizes vary and no image is square in
    the first two places.  As in the real folder, the numbers of the files do not follow the
    classes.

    Returns:
        The folder.
    """
    synsets = ImageNetInfo().label_names()
    chosen = [synsets[index] for index in np.linspace(0, len(synsets) - 1, classes).astype(int)]
    rng = np.random.default_rng(seed)
    tints, numbers = rng.uniform(40, 215, (classes, 3)), rng.permutation(classes * per_class) + 1
    for place in range(classes * per_class):
        label = place // per_class
        target = Path(folder) / split / chosen[
            label] / f"ILSVRC2012_{split}_{numbers[place]:08d}.JPEG"
        target.parent.mkdir(parents=True, exist_ok=True)
        image = picture(rng, SIZES[place % len(SIZES)], tints[label])
        image.convert({0: "L", 1: "CMYK"}.get(place, "RGB")).save(target, "JPEG", quality=90)
    return Path(folder)


def make_weights(folder: Path, entries: Mapping, images: FileImages, larger: int = 2,
                 seed: int = 0) -> None:
    """Random weights with a fitted classifier for a profile's model entries, each file where and
    how the profile wants it.

    Those that are run at another size than they were made for get positions of ``larger`` times the
    size.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = torch.nn.functional.one_hot(images.labels, 1000).double()
    for number, spec in enumerate(entries.values()):
        arguments = dict(spec.get("arguments", {}))
        if "384" in spec["timm"]:
            arguments["img_size"] = larger * arguments["img_size"]
        model = fill(timm.create_model(spec["timm"].partition(".")[0], **arguments).double().eval(),
                     seed + number)
        pictures = images.loaded(model_preprocessing(model)).images.double()
        # ridge regression on the model's own features, so that it does better than chance
        with torch.no_grad():
            features = model.forward_head(model.forward_features(pictures), pre_logits=True)
            inner = features.T @ features + 0.1 * torch.eye(features.shape[1], dtype=torch.float64)
            model.head.weight.copy_(12 * torch.linalg.solve(inner, features.T @ wanted).T)
            model.head.bias.zero_()
        state = model.float().state_dict()
        if spec.get("pretrained"):
            save_file(state, folder / f"{spec['timm']}.safetensors")
        else:
            torch.save({"model": state} if spec.get("format") == "mae" else state,
                       folder / spec["weights"])


# each of the profile's models as small as can be; everything else of an entry stays
TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 12, "depth": 3, "num_heads": 2,
        "mlp_ratio": 2.0}
TOY_NOTEBOOKS = {
    "01_knowledge_neurons": {"n_images": 20, "steps": 2}, "02_table1": {"n_images": 20, "steps": 2},
    "03_probability_deviation": {"n_images": 20, "steps": 2},
    "04_class_paths": {"n_images": 40, "steps": 2, "agreement_images": 4, "shown": [0, 666]},
    "05_class_similarity": {"n_images": 40, "steps": 2},
    "06_pruning": {"n_images": 40, "steps": 2, "tops": [1, 5], "shares": [0.5, 1.0], "repeats": 1},
    "07_search_cost": {"repeats": 1, "agreement_images": 4, "toys": 2}, "08_benchmarks": {},
    "09_planted_paths": {"networks": 2, "strengths": [0.5, 5.0]},
    "10_score_or_search": {"n_images": 4, "draws": 2},
    "11_controls": {"n_images": 8, "pool_images": 20},
    "15_pruning_honest": {"n_images": 40, "tops": [2, 12], "splits": 2, "repeats": 2},
    "17_attention_paths": {"n_images": 8},
}


def environment(root: Path) -> dict[str, str]:
    """For the command as a process of its own, with nothing of what the tests' own process is told.
    """
    inherited = {name: value for name, value in os.environ.items()
                 if not name.startswith(("NEURONPATH_", "RAY_"))}
    return inherited | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1",
                        "HF_HOME": str(root / "no-cache"), "PYTHONPATH": str(PROJECT)}


def start(root: Path, *arguments: object, **variables: str) -> subprocess.Popen:
    """``neuronpath`` with a study's folder as its working directory."""
    return subprocess.Popen([sys.executable, "-m", "neuronpath_core.runs.cli",
                             *map(str, arguments)], cwd=root, env=environment(root) | variables,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            start_new_session=True)


def command(root: Path, *arguments: object) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of ``neuronpath`` in a study's folder, in
    this process."""
    output, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(
            errors), pytest.raises(SystemExit) as stopped:
        for name in [*os.environ]:
            if name.startswith("NEURONPATH_"):
                patch.delenv(name)
        patch.setattr(sys, "argv", ["neuronpath", *map(str, arguments)])
        patch.chdir(root)
        cli.main()
    return stopped.value.code or 0, output.getvalue(), errors.getvalue()


def make_study(root: Path, project: Path, classes: int = 4, per_class: int = 10) -> Path:
    """A study with the profile ``rehearsal``: that of the real data, on tiny models and a handful
    of pictures.

    The images are in ``root/data-set``, the weights in ``root/w``; the classifiers are fitted to
    these images.
    """
    for folder in ("notebooks", "profiles", "benchmarks", "data"):
        (root / folder).mkdir(parents=True)
    for source in [*project.glob("notebooks/[0-9]*.ipynb"), *project.glob("profiles/*.yml"),
                   *project.glob("benchmarks/*.json")]:
        shutil.copy(source, root / source.relative_to(project))
    shutil.copytree(project / "data" / "paper", root / "data" / "paper")
    (root / "neuronpath_core").mkdir()
    real = load_profile("imagenet", root)
    models = {name: {"arguments": TINY} | ({"url": None, "sha256_prefix": None, "md5_prefix": None}
                                           if "weights" in spec else {})
              for name, spec in real["models"].items()}
    models = {name: {key: value for key, value in entry.items() if key == "arguments"
                     or key in real["models"][name]} for name, entry in models.items()}
    places = {"device": "cpu", "dtype": "float64", "progress": False}
    toys = {name: values | {key: place for key, place in places.items()
                            if key in real["notebooks"].get(name, {})} for name,
            values in TOY_NOTEBOOKS.items()}
    (root / "profiles" / "rehearsal.yml").write_text(
        yaml.safe_dump({"extends": "imagenet", "models": models, "notebooks": toys},
                       sort_keys=False))
    make_images(root / "data-set", classes, per_class)
    profile = load_profile("rehearsal", root)
    make_weights(root / "w", profile["models"], load_part(profile["dataset"] | {"root": "data-set"},
                                                          "held_out", base=root))
    return root
