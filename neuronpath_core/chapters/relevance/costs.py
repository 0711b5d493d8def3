"""What a map costs, in multiply-adds that are counted and not in seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from neuronpath_core.chapters.relevance.orders import STEPS
from neuronpath_core.chapters.relevance.probed import SHOTS
from neuronpath_core.readings import attributions
from neuronpath_core.readings.probes import solve_multiply_adds
from neuronpath_core.readings.projection import identifiability
from neuronpath_core.readings.relevance import relevance
from neuronpath_core.readings.streams import PLACES

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

    from neuronpath_core.target import TargetModel

FORWARD = "forward pass"
METHODS = {"own": "class space, closed form", "autograd": "class space, by autograd",
           "projection": "projection of the stream", "chefer": "Chefer et al.",
           "gradient_input": "gradient × input", "integrated_gradients": "integrated gradients"}
# how often the model runs forward and backward for one map
PASSES = {"own": "1 forward, a step back in each block", "autograd": "1 forward and back, by block",
          "projection": "1 forward, 1 that checks it", "chefer": "1 forward, 1 backward",
          "gradient_input": "1 forward, 1 backward",
          "integrated_gradients": f"{STEPS} forward, {STEPS} backward"}
# as many images as the checks of a batch look at: another one more costs what a map costs
LOOKED_AT = 3


class Counter(TorchDispatchMode):
    """Adds up the operations of PyTorch's own table of operations while it is in force.

    ``FlopCounterMode`` counts the same and hooks every module to do so, which makes a model one
    that is no longer known.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, kind = kwargs or {}, func._overloadpacket
        if kind not in flop_registry:
            with self:  # what is made of other operations is counted by them
                made = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if made is NotImplemented else made
        out = func(*args, **kwargs)
        self.operations += flop_registry[kind](*args, **kwargs, out_val=out)
        return out


def multiply_adds(run: Callable[[Tensor, Tensor], object],
                  pictures: Float[Tensor, "image channel height width"],
                  labels: Int64[Tensor, "image"]) -> float:
    """Multiply-adds of one image more in a batch, as PyTorch counts matrix products and
    convolutions, two operations each; what a call computes once for any batch cancels.

    Raises:
        ValueError: fewer than four images.
    """
    if len(pictures) < LOOKED_AT + 1:
        raise ValueError(f"{len(pictures)} images to count with; accepted: at least "
                         f"{LOOKED_AT + 1}")
    counts = []
    for count in (LOOKED_AT, LOOKED_AT + 1):
        # fused attention is not counted
        with sdpa_kernel(SDPBackend.MATH), Counter() as counter:
            run(pictures[:count], labels[:count])
        counts.append(counter.operations / 2)
    return counts[1] - counts[0]


def cost_rows(target: TargetModel, pictures: Float[Tensor, "image channel height width"],
              labels: Int64[Tensor, "image"]) -> pd.DataFrame:
    """What one map costs by each method: ``method, passes, forwards`` (multiply-adds as a multiple
    of those of one forward pass) and ``before`` (the same for what must be done once, before the
    first map).

    Probes need a pass for each training image, ``SHOTS`` a class, and a fit for each token, block
    and place; their map costs a pass and a product with each probe.
    """
    target.check_batch(pictures, labels)  # what is looked at once is not counted

    def forward(images: Tensor, _: Tensor) -> None:
        with torch.no_grad():
            target(images)
    runs = {
        "own": lambda images, classes: relevance(target, images, classes),
        "autograd": lambda images, classes: relevance(target, images, classes, form="autograd"),
        "projection": lambda images, classes: identifiability(target, images, classes),
        "chefer": lambda images, classes: attributions.chefer(target, images, classes),
        **{name: lambda images, classes, name=name: attributions.of_pixels(
            target, images, classes, name, STEPS) for name in attributions.PIXEL_METHODS}}
    one = multiply_adds(forward, pictures, labels)
    rows = [{"method": METHODS[name], "passes": PASSES[name], "before": 0.0,
             "forwards": multiply_adds(run, pictures, labels) / one}
            for name, run in runs.items()]
    width, classes = target.model.embed_dim, target.n_classes
    patches = target.n_tokens - target.family.prefix_tokens(target.model)
    blocks, images = len(target.model.blocks), SHOTS * classes
    fits = solve_multiply_adds(len(PLACES) * blocks * patches, images, width, classes)
    rows.append({"method": "linear probes of the stream", "passes": "1 forward",
                 "before": images + fits / one,
                 "forwards": 1 + blocks * patches * width * classes / one})
    return pd.DataFrame(rows)
