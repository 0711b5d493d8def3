"""What is timed and how: every figure is taken in the same run as what it is compared with."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmarks.published import published_block, published_paths
from neuronpath_core import metrics
from neuronpath_core.chapters.search_cost.growth import cost_model
from neuronpath_core.cost.passes import search_operations
from neuronpath_core.edits import clamped
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.hooks import read_activations
from neuronpath_core.knowledge import knowledge_attribution
from neuronpath_core.models.build import DTYPES
from neuronpath_core.paths import find_paths
from neuronpath_core.quadrature import quadrature_rule
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel

EXACT = {"context": "full", "quadrature": "left", "steps": 20}
DRAFTED = {"draft": "float32"}
FROZEN = {"context": "frozen", "quadrature": "left", "steps": 20}
CONVERGED = {"context": "full", "quadrature": "gauss-legendre", "steps": 16}
SPARING = [8, 3, 2, 1]
# growth of time and memory: one size is varied, the others stay
GROWTH_BASE = {"L": 12, "T": 17, "n": 96, "m": 20, "batch": 2}
GROWTH = {"L": (6, 12, 24), "T": (17, 37, 65), "n": (48, 96, 384), "m": (5, 20, 40),
          "batch": (1, 2, 8)}
GROWTH_WIDTH = 24
REAL = {
    "ViT-B/16": {"patch_size": 16, "embed_dim": 768, "depth": 12, "num_heads": 12},
    "ViT-B/32": {"patch_size": 32, "embed_dim": 768, "depth": 12, "num_heads": 12},
    "ViT-L/32": {"patch_size": 32, "embed_dim": 1024, "depth": 24, "num_heads": 16},
}


def spread(values: list[float]) -> dict[str, float]:
    """Minimum, median and maximum."""
    return {"minimum": min(values), "median": statistics.median(values), "maximum": max(values)}


def timed(device: str, function: Callable, *arguments, **settings) -> tuple[float, object]:
    """Wall time of one call, the device's queue emptied before and after, and what it returned."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    started = time.perf_counter()
    returned = function(*arguments, **settings)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - started, returned


def _rule(target: TargetModel, settings: dict) -> tuple[Tensor, Tensor]:
    rule = quadrature_rule(settings["quadrature"], settings["steps"])
    return tuple(value.to(device=target.device, dtype=target.dtype) for value in rule)


def search(study: Study, repeats: int, few: int, many: int, compared: int) -> list[dict]:
    """The trained models: seconds per image and ratio to the published procedure, and agreement
    with the converged integral.

    The published procedure and the exact search get ``few`` images, of which an even number fills
    two cores; the cheap ways get ``many``, as a study would give them.  Agreement is that of the
    first ``compared``.
    """
    rows, images = [], study.images(many)
    for model in study.model_names:
        target, (pictures, labels) = study.target(model), study.batch(images, model)
        nodes, weights = _rule(target, EXACT)
        ways = {"exact, 20 left nodes": (EXACT, few), "default": ({}, many),
                "drafted default": (DRAFTED, many),
                "by block, single at last": ({"context": "full", "steps": SPARING}, many)} | (
            {"frozen, 20 left nodes": (FROZEN, many)} if target.scope == "cls" else {})
        found, times = {}, {"published": []} | {way: [] for way in ways}
        for settings, _ in ways.values():  # the first call of each is not timed
            find_paths(target, pictures[:2], labels[:2], **settings)
        for _ in range(repeats):
            spent, found["published"] = timed(study.device, published_paths, target, pictures[:few],
                                              labels[:few], nodes, weights)
            times["published"].append(spent / few)
            for way, (settings, count) in ways.items():
                spent, paths = timed(study.device, find_paths, target, pictures[:count],
                                     labels[:count], **settings)
                times[way].append(spent / count)
                found[way] = paths.neurons
        identical = torch.equal(found["published"], found["exact, 20 left nodes"])
        fine = find_paths(target, pictures[:compared], labels[:compared], **CONVERGED,
                          **DRAFTED).neurons.cpu()
        found["exact, 20 left nodes"] = find_paths(target, pictures[:compared], labels[:compared],
                                                   **EXACT, **DRAFTED).neurons
        for way in times:
            same, whole = metrics.agreement(found["exact, 20 left nodes" if way == "published"
                                                  else way][:compared].cpu(), fine)
            rows.append({
                "model": model, "blocks": target.n_blocks, "way": way, "images": few
                if way == "published" else ways[way][1],
                "seconds": spread(times[way]),
                "ratio": spread([slow / fast for slow,
                                 fast in zip(times["published"], times[way], strict=True)]),
                "neurons": same, "paths": whole, "agreement_images": compared,
                "identical": identical if way in ("published", "exact, 20 left nodes") else None,
            })
    return rows


def _growth_call(sizes: dict[str, int], way: str, device: str) -> Callable[[], object]:
    target, images, labels = cost_model(sizes, GROWTH_WIDTH, torch.float64, device,
                                        count=sizes["batch"])
    settings = EXACT | {"steps": sizes["m"]}
    if way == "published":
        return lambda: published_paths(target, images, labels, *_rule(target, settings))
    return lambda: find_paths(target, images, labels, **settings)


def _peak(sizes: dict[str, int], way: str, device: str, queue) -> None:
    call = _growth_call(sizes, way, device)
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        call()
        queue.put(torch.cuda.max_memory_allocated())
        return
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call()
    queue.put(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))


def growth(device: str, repeats: int) -> list[dict]:
    """Random small models: seconds per image and peak memory of both procedures against each size
    alone."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["benchmarks.measure"])

    @functools.cache  # the sizes that stay are among those of every varied one
    def measured(*items: tuple[str, int]) -> dict:
        sizes, row = dict(items), {}
        calls = {way: _growth_call(sizes, way, device) for way in ("published", "exact")}
        calls["exact"]()  # the first call is not timed
        times = {way: [timed(device, call)[0] / sizes["batch"] for _ in range(repeats)] for way,
                 call in calls.items()}
        for way in calls:
            queue = processes.Queue()
            process = processes.Process(target=_peak, args=(sizes, way, device, queue))
            process.start()
            row[way] = {"seconds": spread(times[way]), "peak_bytes": queue.get()}
            process.join()
        return row | {"ratio": spread([slow / fast for slow,
                                       fast in zip(times["published"], times["exact"],
                                                   strict=True)])}

    return [{"varied": varied, "size": size, **measured(*(GROWTH_BASE | {varied: size}).items())}
            for varied, values in GROWTH.items() for size in values]


def architectures(device: str, dtype: str, nodes: int = 2, batch: int = 10) -> list[dict]:
    r"""The paper's architectures at 224 pixels, random weights: seconds per image and node, each
    once; frozen context with the paper's batch of 10.

    The published procedure's time at block l is a quadratic in l (a forward and the backwards of
    depths L..L-l+1), so three blocks give all of them; time is proportional to the number of nodes,
    which :func:`growth` shows.
    """
    rows = []
    for name, arguments in REAL.items():
        torch.manual_seed(0)
        target = TargetModel(VisionTransformer(img_size=224, num_classes=1000,
                                               **arguments).to(device=device, dtype=DTYPES[dtype]))
        many = torch.randn(batch, 3, 224, 224, device=device, dtype=target.dtype)
        classes = torch.arange(batch, device=device)
        images, labels = many[:1], classes[:1]
        settings = EXACT | {"steps": nodes}
        rule, blocks = _rule(target, settings), target.n_blocks
        read_activations(target, images)  # the first call of the kernels is not timed
        path = [torch.zeros(1, dtype=torch.int64, device=device)] * blocks
        probed = (0, (blocks - 1) // 2, blocks - 1)
        spent = [timed(device, published_block, target, images, labels, *rule, path[:block])[0]
                 for block in probed]
        powers = torch.tensor([[1.0, block, block**2] for block in probed], dtype=torch.float64)
        curve = torch.linalg.solve(powers, torch.tensor(spent, dtype=torch.float64))
        every = torch.arange(blocks, dtype=torch.float64)
        published = (curve[0] + curve[1] * every + curve[2] * every**2).sum().item() / nodes
        exact = timed(device, find_paths, target, images, labels, **settings)[0] / nodes
        frozen = timed(device, find_paths, target, many, classes, **FROZEN)[0] / batch
        default = timed(device, find_paths, target, images, labels)[0]
        operations = 2 * search_operations(target, EXACT | {"steps": 1})
        rows.append({
            "model": name, "blocks": blocks, "dtype": dtype, "nodes_timed": nodes,
            "published_seconds_per_node": published,
            "exact_seconds_per_node": exact, "default_seconds": default, "exact_ratio": published
            / exact, "default_ratio": 20 * published / default,
            "frozen_20_seconds": frozen, "frozen_20_ratio": 20 * published / frozen,
            "exact_operations_per_second": operations / exact,
        })
    return rows


@contextlib.contextmanager
def matmul_precision(name: str) -> Iterator[None]:
    """How products of float32 matrices are computed inside, ``"highest"`` or ``"high"`` (TF32);
    afterwards as before."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def precision(study: Study, count: int) -> list[dict]:
    """How often paths in lower precision equal those in double precision, default settings."""
    rows, images = [], study.images(count)
    names = ["float32", "bfloat16"] + (["tf32"] if study.device.startswith("cuda") else [])
    for model in study.model_names:
        pictures, labels = study.batch(images, model)
        # no draft, whose scores are of single precision
        reference = find_paths(study.target(model), pictures, labels)
        for name in names:
            dtype = torch.bfloat16 if name == "bfloat16" else torch.float32
            lower = Study(study.profile, study.device, "bfloat16" if name == "bfloat16"
                          else "float32", root=study.root).target(model)
            with matmul_precision("high" if name == "tf32" else "highest"):
                found = find_paths(lower, pictures.to(dtype), labels)
            same, whole = metrics.agreement(found.neurons.cpu(), reference.neurons.cpu())
            deviation = (found.score.double() - reference.score).abs() / reference.score.abs()
            rows.append({"model": model, "dtype": name, "neurons": same, "paths": whole,
                         "score": deviation.median().item(), "images": count})
    return rows


def _captum_attribution(target: TargetModel, images: Tensor, labels: Tensor, clean: Tensor,
                        steps: int) -> Tensor:
    from captum.attr import IntegratedGradients

    def attribution(block: int) -> Tensor:
        def probability(value, kept, label):
            with clamped(target, {block: value}):
                return target(kept).softmax(-1).gather(1, label[:, None])[:, 0]
        with activation_gradients(target):
            return IntegratedGradients(probability).attribute(clean[:, block],
                                                              torch.zeros_like(clean[:, block]),
                                                              n_steps=steps, method="gausslegendre",
                                                              additional_forward_args=(
                images, labels)).sum(1)

    return torch.stack([attribution(block) for block in range(target.n_blocks)], 1)


def captum(study: Study, repeats: int, count: int, steps: int = 8) -> list[dict]:
    """Integrated gradients of every block's neurons: captum's, run on the whole model, and the
    library's; the same numbers."""
    rows, images = [], study.images(max(10, count)).select(torch.arange(max(10, count)) < count)
    for model in study.model_names:
        target, (pictures, labels) = study.target(model), study.batch(images, model)
        clean = read_activations(target, pictures)

        theirs = functools.partial(_captum_attribution, target, pictures, labels, clean, steps)
        ours = functools.partial(knowledge_attribution, target, pictures, labels, "gauss-legendre",
                                 steps)
        difference = (theirs() - ours()).abs().max().item()
        times = [(timed(study.device, theirs)[0] / count, timed(study.device, ours)[0] / count)
                 for _ in range(repeats)]
        rows.append({"model": model, "steps": steps, "images": count,
                     "largest_difference": difference,
                     "captum": spread([slow for slow, _ in times]),
                     "library": spread([fast for _, fast in times]),
                     "ratio": spread([slow / fast for slow, fast in times])})
    return rows


def ceiling(device: str, size: int = 8192, repeats: int = 10) -> dict:
    """What a large product of bfloat16 matrices reaches on a GPU, and the exact search of ViT-B/16
    beside it.

    50,000 images are extrapolated from 512 in full batches, images already in memory, random
    weights.
    """
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    reached = 2 * size**3 / statistics.median([timed(device, torch.matmul, left, right)[0]
                                               for _ in range(repeats + 1)][1:])
    torch.manual_seed(0)
    target = TargetModel(VisionTransformer(img_size=224, num_classes=1000,
                                           **REAL["ViT-B/16"]).to(device=device,
                                                                  dtype=torch.bfloat16))
    images = torch.randn(512, 3, 224, 224, device=device, dtype=torch.bfloat16)
    labels = torch.randint(1000, (512,), device=device)
    find_paths(target, images[:8], labels[:8], **EXACT)
    exact = timed(device, find_paths, target, images[:64], labels[:64], **EXACT)[0] / 64
    default = timed(device, find_paths, target, images, labels)[0] / 512
    operations = 2 * search_operations(target, EXACT)
    return {"matmul_operations_per_second": reached, "exact_seconds": exact,
            "exact_share_of_ceiling": operations / exact / reached,
            "default_seconds": default,
            "hours_for_50000_images": {"exact": 50_000 * exact / 3600, "default": 50_000 * default
                                       / 3600}}
