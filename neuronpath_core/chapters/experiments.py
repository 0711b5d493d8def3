"""The paper's experiments, each a function from a study to a tidy table; a notebook calls it and
shows what it returns."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from timm.models.vision_transformer import VisionTransformer
from tqdm.auto import tqdm

from neuronpath_core import metrics
from neuronpath_core.attribution import joint_attribution_score, knowledge_attribution
from neuronpath_core.baselines import activation_paths
from neuronpath_core.cost.passes import search_operations
from neuronpath_core.fast.contexts import CONTEXTS, resolve_context
from neuronpath_core.fast.drafts import ATTRIBUTION_ROUNDING_UNITS, drafted_model
from neuronpath_core.fast.engine import AUTO_STEPS
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.interventions import class_neurons, drafted_probabilities, pruning_mask
from neuronpath_core.models import build
from neuronpath_core.paths import Paths, find_paths
from neuronpath_core.scores import METHODS
from neuronpath_core.settings import SEARCHES, SearchSettings
from neuronpath_core.study.study import IMAGES_AT_ONCE, Study
from neuronpath_core.support.memory import images_at_once
from neuronpath_core.target import TargetModel
from neuronpath_core.variants.refine import exhaustive_paths, refine_paths


def knowledge_neurons(
    study: Study, names: Sequence[str], images: ImageSet, top: int = 5, quadrature: str = "right",
    steps: int = 20, scope: str | None = None
) -> pd.DataFrame:
    """Where the neurons with the largest knowledge attribution lie (Fig. 2, App. B).

    ``scope``: where neurons are read, ``"cls"`` or ``"patch"``; ``None`` for the model's own.

    Returns:
        one row per model, image and rank:
        ``model, image, label, rank, block, neuron, attribution``; blocks count from 1.
    """
    tables = []
    for model in study.check_models(list(names)):
        target = study.target(model) if scope is None else TargetModel(study.target(model).model,
                                                                       scope)
        if not 1 <= top <= target.n_blocks * target.n_neurons:
            raise ValueError(f"top must lie in 1..{target.n_blocks * target.n_neurons}, got {top}")
        draft, best = drafted_model(target, study.draft), []
        with tqdm(total=len(images), desc=f"{model} knowledge", unit="image",
                  disable=not study.progress) as bar:
            for _, pictures, labels in study.batches(images, model, images_at_once(target, steps)):
                best.append(_most_knowing(target, draft, pictures, labels, top, quadrature, steps))
                bar.update(len(labels))
        index, attribution = (torch.cat(parts).cpu().numpy() for parts in zip(*best, strict=True))
        tables.append(pd.DataFrame({
            "model": model, "image": np.repeat(images.ids.numpy(), top),
            "label": np.repeat(images.labels.numpy(), top),
            "rank": np.tile(np.arange(1, top + 1), len(images)), "block": index.ravel()
            // target.n_neurons + 1,
            "neuron": index.ravel() % target.n_neurons,
            "attribution": attribution.astype(np.float64).ravel(),
        }))
    return pd.concat(tables, ignore_index=True)


def _most_knowing(target, draft, pictures, labels, top, quadrature, steps):
    """Places of the largest knowledge attributions among all neurons of an image, and the
    attributions; of close ones those that double precision finds."""
    lower = target if draft is None else draft
    found = knowledge_attribution(lower, pictures.to(lower.dtype), labels, quadrature,
                                  steps).flatten(1).to(pictures.dtype)
    if draft is not None:
        ranked = found.topk(min(top + 1, found.shape[1])).values
        gaps = (ranked[:, :-1] - ranked[:, 1:]) / found.abs().amax(1, keepdim=True)
        rows = torch.nonzero(~(gaps
                               >= ATTRIBUTION_ROUNDING_UNITS * torch.finfo(lower.dtype).eps).all(
            1))[:, 0]
        if len(rows):
            found[rows] = knowledge_attribution(target, pictures[rows], labels[rows], quadrature,
                                                steps).flatten(1)
    values, places = found.topk(top)
    return places, values


def interventions(study: Study, names: Sequence[str], images: ImageSet, methods: Sequence[str],
                  **settings) -> pd.DataFrame:
    """Every image's path by every method, its score, and what removing and enhancing it does (Table
    1, Fig. 3).

    Args:
        settings: ``quadrature``, ``steps``, ``seed`` of
            :meth:`~neuronpath_core.study.study.Study.paths`.

    Returns:
        one row per model, method and image:
        ``model, method, image, label, score, correct, probability`` and, for each operation,
        ``removal_accuracy, removal_probability, enhancement_accuracy, enhancement_probability``
        (deviations).
    """
    if not methods or any(method not in METHODS for method in methods):
        raise ValueError(f"unknown methods {list(methods)!r}; accepted: one or more of "
                         f"{', '.join(METHODS)}")
    labels, tables = images.labels.numpy(), []
    for model in study.check_models(list(names)):
        clean = study.probabilities(model, images)
        for method in methods:
            paths = study.paths(model, images, method, **settings)
            columns = {"model": model, "method": method, "image": images.ids.numpy(),
                       "label": labels, "score": paths.score.numpy(),
                       "correct": metrics.correct(clean, labels),
                       "probability": clean[np.arange(len(labels)), labels]}
            for operation, name in (("remove", "removal"), ("enhance", "enhancement")):
                edited = study.probabilities(model, images, paths, operation)
                columns[f"{name}_accuracy"] = metrics.accuracy_deviation(clean, edited, labels)
                columns[f"{name}_probability"] = metrics.probability_deviation(clean, edited,
                                                                               labels)
            tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def path_agreement(study: Study, names: Sequence[str], images: ImageSet, ways: Mapping[str, dict],
                   reference: dict) -> pd.DataFrame:
    """How well the paths of several ways to search agree with those of a reference, and how many
    gradients each takes.

    Args:
        ways: settings of :func:`~neuronpath_core.paths.find_paths` by the name of the way; one that
            a model does not allow (such as a frozen context where it averages its tokens) is left
            out for it.
        reference: the settings to compare with.

    Returns:
        one row per model and way, its paths those of
        :meth:`~neuronpath_core.study.study.Study.paths`: ``model, way, evaluations`` (of the whole
        model's gradient at a block by the joint search, mean over blocks and images; NaN for
        others), ``neurons, paths`` (shares that agree), ``score`` (largest deviation of the score,
        of its mean size).
    """
    rows = []
    for model in study.check_models(list(names)):
        target, fine = study.target(model), study.paths(model, images, **reference)
        for way, settings in ways.items():
            try:
                resolve_context(target, settings.get("context", "auto"))
            except ValueError:
                if settings["context"] in CONTEXTS:
                    continue
                raise
            found = study.paths(model, images, **settings)
            same, whole = metrics.agreement(found.neurons, fine.neurons)
            deviation = ((found.score - fine.score).abs().max() / fine.score.abs().mean()).item()
            whole = SearchSettings.of(**settings).complete(target).as_dict()
            evaluations = _evaluations(whole, found, target.n_blocks)
            rows.append({"model": model, "way": way, "evaluations": evaluations, "neurons": same,
                         "paths": whole, "score": deviation})
    return pd.DataFrame(rows)


def _evaluations(settings: dict, found: Paths, blocks: int) -> float:
    if settings["method"] != "neuron_path" or settings["search"] != "joint":
        return math.nan
    if settings["context"] == "frozen":
        return 0.0
    if settings["steps"] == "auto":
        # every number of steps up to the one that settled was tried
        tried = torch.tensor([sum(steps for steps in AUTO_STEPS if steps <= taken)
                              for taken in found.steps.tolist()], dtype=torch.float64)
        return tried.mean().item() if settings["context"] == "full" else _mean_by_block(
            settings["exact_steps"], blocks) * sum(
steps <= taken for taken in found.steps.tolist() for steps in AUTO_STEPS) / len(found)
    return _mean_by_block(settings["exact_steps"] if settings["context"] == "mixed"
                          else settings["nodes"] or settings["steps"], blocks)


def _mean_by_block(counts: int | Sequence[int], blocks: int) -> float:
    """Of numbers of which the last holds for all blocks that follow."""
    counts = [counts] if isinstance(counts, int) else counts
    return (sum(counts) + counts[-1] * (blocks - len(counts))) / blocks


def path_table(model: str, images: ImageSet, paths: Paths) -> pd.DataFrame:
    """Paths as a tidy table: ``model, image, label, block, neuron``; blocks count from 1."""
    count, blocks = paths.neurons.shape
    return pd.DataFrame({
        "model": model, "image": np.repeat(images.ids.numpy(), blocks),
        "label": np.repeat(images.labels.numpy(), blocks),
        "block": np.tile(np.arange(1, blocks + 1), count), "neuron": paths.neurons.numpy().ravel(),
    })


KEPT = ("neuron path", "activation", "random")


def probe_mask(images: ImageSet, share: float = 0.8, seed: int = 0) -> np.ndarray:
    """Which images are for probing, bool ``(image,)``: ``share`` of each class, drawn at random;
    the others are for the test."""
    if not 0 < share < 1:
        raise ValueError(f"the probing share must lie strictly between 0 and 1, got {share}")
    rng, labels = np.random.default_rng(seed), images.labels.numpy()
    probing = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = round(share * len(members))
        if not 0 < count < len(members):
            raise ValueError(f"class {label} has {len(members)} images, too few for a {share:.0%} "
                             f"split; accepted: more images per class")
        probing[members[:count]] = True
    return probing


def whole_model(study: Study, names: Sequence[str],
                images: ImageSet) -> dict[str, dict[str, float]]:
    """Accuracy (``"correct"``) and mean true-class probability (``"probability"``) of the unedited
    models."""
    result: dict[str, dict[str, float]] = {"correct": {}, "probability": {}}
    labels = images.labels.numpy()
    for model in study.check_models(list(names)):
        clean = study.probabilities(model, images)
        result["correct"][model] = float(metrics.correct(clean, labels).mean())
        result["probability"][model] = float(clean[np.arange(len(labels)), labels].mean())
    return result


def pruning_grid(
    study: Study, model: str, images: ImageSet, probing: np.ndarray, tops: Sequence[int],
    shares: Sequence[float], repeats: int = 3,
    rule: str = "count", seed: int = 0, **settings
) -> pd.DataFrame:
    """Test accuracy and probability when all but a class's t neurons per block are zeroed with
    probability p (Fig. 6, App. E).

    ``probing`` says which images the neurons are chosen on; the others are tested.

    Three ways to choose what is kept: the neurons that the class's neuron paths share, those most
    often among the t most active ones of its probing images, and random ones.  Each class's test
    images see their own class's mask, as published: the mask carries the label.

    Returns:
        one row per kept kind, t, p, repeat and test image:
        ``model, kept, top, share, repeat, image, label, correct, probability``.
    """
    target = study.target(model)
    draft = study.drafted(model)
    probe = images.select(probing)
    test = images.select(~probing)
    labels, rows = test.labels.numpy(), []
    if max(tops) > target.n_neurons:
        raise ValueError(f"t must lie in 1..{target.n_neurons}, got {max(tops)}")
    activation = torch.cat([activation_paths(target, pictures, max(tops)).cpu() for _, pictures,
                            _ in study.batches(probe, model, IMAGES_AT_ONCE)])
    bar = tqdm(total=len(tops) * len(shares) * repeats, desc=f"{model} pruning",
               disable=not study.progress)
    several = [top for top in dict.fromkeys(tops) if top > 1]
    searched = {top: paths.neurons for top,
                paths in zip(several, study.paths_by_top(model, probe, several, **settings),
                             strict=True)}
    if 1 in tops:  # the class chapters' paths, which the store may hold for all the images
        searched[1] = study.paths(model, images, **settings).neurons[torch.from_numpy(probing), :,
                                                                     None]
    for top in tops:
        for share in shares:
            for repeat in range(repeats):
                rng = np.random.default_rng([seed, top, round(1000 * share), repeat])
                # by class: one an image would not fit into memory
                masks: dict[str, dict[int, np.ndarray]] = {kind: {} for kind in KEPT}
                for label in np.unique(labels):
                    mine = probe.labels == label
                    drawn = [sorted(rng.choice(target.n_neurons, top, replace=False).tolist())
                             for _ in range(target.n_blocks)]
                    kept = (class_neurons(searched[top][mine], top, rule),
                            class_neurons(activation[mine], top, "count"), drawn)
                    mask_seed = rng.integers(2**32)
                    for kind, neurons in zip(KEPT, kept, strict=True):
                        masks[kind][label] = pruning_mask(neurons, target.n_neurons, share,
                                                          np.random.default_rng(mask_seed))
                found: dict[str, list[np.ndarray]] = {kind: [] for kind in KEPT}
                for place, pictures, _ in study.batches(test, model, IMAGES_AT_ONCE):
                    for kind, survives in masks.items():
                        own = np.stack([survives[label] for label in labels[place]])
                        factors = torch.from_numpy(own).to(pictures)
                        found[kind].append(drafted_probabilities(target, draft, pictures,
                                                                 factors).cpu().double().numpy())
                for kind, probabilities in found.items():
                    probability = np.concatenate(probabilities)
                    rows.append(pd.DataFrame({
                        "model": model, "kept": kind, "top": top, "share": share, "repeat": repeat,
                        "image": test.ids.numpy(), "label": labels,
                        "correct": metrics.correct(probability, labels),
                        "probability": probability[np.arange(len(labels)), labels],
                    }))
                bar.update(1)
    bar.close()
    return pd.concat(rows, ignore_index=True)


# one size is varied while the others stay here; small, so that the whole table takes seconds
COST_BASE = {"L": 6, "n": 128, "m": 8, "T": 17}
COST_SIZES = {"L": (3, 6, 12, 24), "n": (64, 128, 256, 512), "m": (4, 8, 16, 32),
              "T": (5, 17, 37, 65)}
COST_WIDTH = 32


def cost_model(
    sizes: Mapping[str, int], width: int, dtype: torch.dtype, device: torch.device | str,
    seed: int = 0, count: int = 1
) -> tuple[TargetModel, torch.Tensor, torch.Tensor]:
    """A ViT of L blocks, n neurons a block and T tokens of a ``width``, with random weights, and so
    many random images of class 0."""
    side = math.isqrt(sizes["T"] - 1)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = VisionTransformer(img_size=4 * side, patch_size=4, in_chans=1, num_classes=10,
                                  embed_dim=width, depth=sizes["L"], num_heads=2,
                                  mlp_ratio=sizes["n"] / width)
        images = torch.randn(count, 1, 4 * side, 4 * side)
    return TargetModel(model.to(device=device, dtype=dtype)), images.to(device=device,
                                                                        dtype=dtype), torch.zeros(
        count, dtype=torch.int64, device=device)


def search_cost(study: Study, repeats: int = 3, seed: int = 0,
                search: str = "joint") -> pd.DataFrame:
    """Time of the search for one image against L, n, m and T, each varied alone, beside two counts
    (App. A).

    Returns:
        ``varied, size, seconds`` (median of ``repeats``), ``published`` (the paper's count
        L·m·n·T·d²) and ``operations``
        (:func:`~neuronpath_core.cost.passes.search_operations` of the joint search).
    """
    device, dtype, rows = build.parse_device(study.device), build.parse_dtype(study.dtype), []
    for varied, sizes in COST_SIZES.items():
        for size in sizes:
            setting = COST_BASE | {varied: size}
            target, image, label = cost_model(setting, COST_WIDTH, dtype, device, seed)
            settings = {"search": search, "context": "full", "quadrature": "left",
                        "steps": setting["m"]}
            find_paths(target, image, label, **settings)
            seconds = []
            for _ in range(repeats):
                started = time.perf_counter()
                find_paths(target, image, label, **settings).score.cpu()  # waits for the device
                seconds.append(time.perf_counter() - started)
            rows.append({"varied": varied, "size": size, "seconds": statistics.median(seconds),
                         "published": math.prod(setting.values()) * COST_WIDTH**2,
                         "operations": search_operations(target, settings | {"search": "joint"})})
    return pd.DataFrame(rows)


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
