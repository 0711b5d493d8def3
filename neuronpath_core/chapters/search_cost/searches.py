"""What dearer searches than the joint one gain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from timm.models.vision_transformer import VisionTransformer

from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.jas import joint_attribution_score
from neuronpath_core.models import build
from neuronpath_core.paths import find_paths
from neuronpath_core.settings import SEARCHES
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel
from neuronpath_core.variants.refine import exhaustive_paths, refine_paths


def optimality_gap(study: Study, networks: int = 20, seed: int = 0, blocks: int = 3,
                   neurons: int = 12) -> pd.DataFrame:
    """Scores of the paths that each search finds beside the best of all paths, on random toy
    networks, one image each.

    Returns:
        one row per way: ``way``, ``of_best`` (sum of scores over the sum of the best ones),
        ``found`` (share of networks whose best path was found).
    """
    device, dtype, scores = build.parse_device(study.device), build.parse_dtype(study.dtype), []
    rule = {"quadrature": "gauss-legendre", "steps": 4}
    for number in range(networks):
        with torch.random.fork_rng():
            torch.manual_seed(1000 * seed + number)
            model = VisionTransformer(img_size=8, patch_size=4, in_chans=1, num_classes=4,
                                      embed_dim=12, depth=blocks, num_heads=2,
                                      mlp_ratio=neurons / 12,
                                      weight_init="skip")
            # timm's initial weights are so small that F hardly depends on any neuron
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    torch.nn.init.normal_(parameter, std=0.5)
            image, label = torch.randn(1, 1, 8, 8), torch.randint(4, (1,))
        target = TargetModel(model.to(device=device, dtype=dtype))
        picture, label = image.to(device=device, dtype=dtype), label.to(device)
        found = {search: find_paths(target, picture, label, search=search, context="full", **rule)
                 for search in SEARCHES}
        row = {search: paths.score for search, paths in found.items()}
        row |= {f"{start}, refined": refine_paths(target, picture, label, found[start].neurons,
                                                  **rule)[1] for start in ("joint", "beam")}
        row["best of all"] = exhaustive_paths(target, picture, label, **rule)[1]
        scores.append({way: value.item() for way, value in row.items()})
    table = pd.DataFrame(scores)
    best = table["best of all"]
    return pd.DataFrame([{"way": way, "of_best": table[way].sum() / best.sum(),
                          "found": float(np.isclose(table[way], best, rtol=1e-9, atol=0).mean())}
                         for way in table])


def score_gain(study: Study, names: Sequence[str], images: ImageSet,
               width: int = 4) -> pd.DataFrame:
    """Scores of dearer searches on trained models, of those of the joint search; searched in the
    precision of the study's draft, scored in its own.

    Returns:
        one row per model and way: ``model, way, score`` (mean), ``of_joint`` (its mean over that of
        the joint search).
    """
    rows, rule = [], {"quadrature": "gauss-legendre", "steps": 3}
    for model in study.check_models(list(names)):
        target = study.target(model)
        (pictures, labels) = study.batch(images, model)
        lower = study.drafted(model) or study.target(model)
        batch = (lower, pictures.to(lower.dtype), labels)
        joint, beam = (find_paths(*batch, search=search, context="full", width=width,
                                  **rule).neurons for search in ("joint", "beam"))
        paths = {"joint": joint, "beam": beam,
                 "joint, refined": refine_paths(*batch, joint, **rule)[0],
                 "beam, refined": refine_paths(*batch, beam, **rule)[0]}
        scores = {way: joint_attribution_score(target, pictures, labels, neurons, **rule) for way,
                  neurons in paths.items()}
        rows += [{"model": model, "way": way, "score": score.mean().item(),
                  "of_joint": (score.mean() / scores["joint"].mean()).item()}
                 for way, score in scores.items()]
    return pd.DataFrame(rows)


SEARCH_TITLES = {"joint": "joint (as published)", "literal": "literal Algorithm 1",
                 "joint, refined": "joint, then coordinate ascent",
                 "beam, refined": "beam, then coordinate ascent"}


def gap_table(gap: pd.DataFrame) -> pd.DataFrame:
    """:func:`optimality_gap` in percent, for reading."""
    return pd.DataFrame({
        "search": gap["way"].replace(SEARCH_TITLES),
        "score, % of the best": 100 * gap["of_best"],
        "networks whose best path was found, %": 100 * gap["found"]}).set_index("search")


def gain_table(gain: pd.DataFrame) -> pd.DataFrame:
    """:func:`score_gain` in percent, for reading."""
    return pd.DataFrame({
        "model": gain["model"], "search": gain["way"].replace(SEARCH_TITLES),
        "mean score": gain["score"],
        "gain over joint, %": 100 * (gain["of_joint"] - 1)}).set_index(["model", "search"])
