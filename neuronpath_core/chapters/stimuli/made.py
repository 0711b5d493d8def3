"""The images of a model: of the best value neuron of each class, and of what they are held against.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.images.file_images import FileImages
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.neurons.key_neurons import alignment, best_neurons
from neuronpath_core.neurons.objectives import Objective, driven, goals_of
from neuronpath_core.neurons.spectrum import Statistics, image_statistics
from neuronpath_core.neurons.stimuli import Stimuli, stimulate
from neuronpath_core.readings.memories import value_matrix
from neuronpath_core.readings.projection import effective_rows, project_vectors
from neuronpath_core.readings.random_twins import random_weights
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

# images are made in single precision, twice as fast, and judged in the study's own
MADE_IN = torch.float32
# what the images are of
BEST = "best value neuron"
RANDOM = "random neuron of its block"
OTHER = "best neuron of another class"
TWIN = "best value neuron, random weights"
PLANTED = "neuron planted to read the class"
CONDITIONS = (BEST, RANDOM, TWIN, PLANTED)


@dataclass(frozen=True)
class Maker:
    """A model, and with what images are made for it.

    Attributes:
        target: the model, which judges.
        draft: the same in single precision, for which images are made.
        statistics: of the training images.
        aligned: of every neuron's value vector with every class.
        best: block and neuron of the best value neurons of each class, rank by rank.
        steps, seed: of every optimisation, unless told otherwise.
    """

    target: TargetModel
    draft: TargetModel
    statistics: Statistics
    aligned: Float[Tensor, "block neuron class"]
    best: Int64[Tensor, "class rank 2"]
    steps: int
    seed: int

    @property
    def classes(self) -> Int64[Tensor, "class"]:
        """All classes, one an image."""
        return torch.arange(len(self.best))

    def neurons(self, count: int = 1, start: int = 0) -> list[Objective]:
        """The best value neurons of each class with their alignments, ``count`` ranks from
        ``start`` on."""
        return [{tuple(neuron): float(self.aligned[neuron[0], neuron[1], number])
                 for neuron in ranks[start:start + count].tolist()}
                for number, ranks in enumerate(self.best)]

    def make(self, objectives: Sequence[Objective], **settings) -> Stimuli:
        """Images of some objectives."""
        return stimulate(self.draft, objectives, statistics=self.statistics,
                         **{"steps": self.steps, "seed": self.seed, **settings})

    def value(self, images: Float[Tensor, "image channel height width"],
              objectives: Sequence[Objective], at: str = "pre") -> Float[np.ndarray, "image"]:
        """What each image's own objective has on it, unchanged."""
        with torch.no_grad():
            found, _ = driven(self.draft, images, goals_of(self.draft, objectives, at=at), 1, at)
        return found[:, 0].double().cpu().numpy()


def maker(study: Study, model: str, steps: int, seed: int = 0, ranks: int = 10) -> Maker:
    """A model of a study with its best value neurons by ``"effective"`` alignment."""
    target = study.target(model)
    aligned = alignment(target, "effective")
    return Maker(target, target.in_dtype(MADE_IN), statistics_of(study, model), aligned,
                 best_neurons(aligned, count=ranks), steps, seed)


def statistics_of(study: Study, model: str, images: ImageSet | None = None) -> Statistics:
    """Estimated of images, as the model sees them; by default of all that the models were trained
    on.  What the model sees of black and of white follows from how its image files are normalised;
    drawn images are normalised with mean = std = 0.5."""
    images = study.train if images is None else images
    ends = {}
    if isinstance(images, FileImages):
        known = study.preprocessing(model)
        mean, std = (torch.as_tensor(known[name], dtype=torch.float64) for name in ("mean", "std"))
        ends = {"low": -mean / std, "high": (1 - mean) / std}
    return image_statistics(study.batch(images, model)[0], **ends)


def random_neurons(own: Maker, seed: int) -> list[Objective]:
    """For each class another neuron of its best value neuron's block, drawn at random."""
    rng = np.random.default_rng(seed)
    width = own.aligned.shape[1]
    found = []
    for block, neuron in own.best[:, 0].tolist():
        drawn = int(rng.integers(width - 1))
        found.append([(block, drawn + (drawn >= neuron))])
    return found


def twin_of(own: Maker) -> Maker:
    """The same architecture with random weights, and its own best value neurons."""
    twin = random_weights(own.target, own.seed)
    aligned = alignment(twin, "effective")
    return Maker(twin, twin.in_dtype(MADE_IN), own.statistics, aligned, best_neurons(aligned),
                 own.steps, own.seed)


def planted(own: Maker) -> tuple[Maker, list[Objective]]:
    r"""A copy of the model in whose last block neuron c reads class c, and these neurons.

    The key of neuron c becomes the direction of the normed stream by which the head tells class c,
    :math:`E_c \mathrm{diag}(\gamma) (I - 11^\top/d)` over the gain of the norm that it reads
    through.  What its image shows is what one neuron can show at best by this method.

    Raises:
        ValueError: fewer neurons in a block than classes.
    """
    twin = copy.deepcopy(own.target.model)
    block, rows = twin.blocks[-1], effective_rows(own.target)
    if len(rows) > block.mlp.fc1.out_features:
        raise ValueError(f"{len(rows)} classes cannot be read by {block.mlp.fc1.out_features} "
                         "neurons; accepted: as many neurons as classes")
    gain = block.norm2.weight.detach()
    # a gain near zero would make a key of nothing but its channel
    safe = torch.where(gain.abs() < 0.05 * gain.abs().mean(), torch.ones_like(gain), gain)
    with torch.no_grad():
        block.mlp.fc1.weight[:len(rows)] = rows / safe
    reader = TargetModel(twin, scope=own.target.scope)
    last = len(twin.blocks) - 1
    return (Maker(own.target, reader.in_dtype(MADE_IN), own.statistics, own.aligned, own.best,
                  own.steps, own.seed), [[(last, number)] for number in range(len(rows))])


def best_as_published(own: Maker, bias: bool = False) -> list[Objective]:
    """The best value neurons as the published code finds them, by what the whole head answers to a
    value vector; with the FFN's output bias added to it, as the authors' continued code has it."""
    target = own.target
    values = torch.stack([value_matrix(target, number, "ffn") + (
        written_bias(target, number) if bias else 0) for number in range(len(target.model.blocks))])
    with torch.no_grad():
        found = best_neurons(project_vectors(target, values, "normed"))[:, 0]
    return [[tuple(neuron)] for neuron in found.tolist()]


def written_bias(target: TargetModel, block: int) -> Float[Tensor, "width"]:
    """What an FFN adds to the stream when none of its neurons is active."""
    own = target.model.blocks[block]
    scale, bias = target.family.ffn_scale(own), own.mlp.fc2.bias
    bias = torch.zeros_like(own.mlp.fc2.weight[:, 0]) if bias is None else bias
    return (bias if scale is None else bias * scale).detach()


@dataclass(frozen=True)
class Made:
    """The images of a model, by what they are of.

    Attributes:
        maker: with what they were made.
        images: condition -> an image a class.
        stimuli: of the best value neurons, with the images of earlier steps.
    """

    maker: Maker
    images: dict[str, Float[Tensor, "class channel height width"]]
    stimuli: Stimuli


def make_all(own: Maker, snapshots: Sequence[int] = ()) -> Made:
    """Images of the best value neurons, of random neurons of the same blocks, of the random twin's
    best value neurons and of neurons planted to read the class."""
    best, random = own.neurons(), random_neurons(own, own.seed)
    count = len(best)
    both = own.make([*best, *random], snapshots=snapshots)
    twin = twin_of(own)
    reader, readers = planted(own)
    images = {BEST: both.images[:count], RANDOM: both.images[count:],
              TWIN: twin.make(twin.neurons()).images, PLANTED: reader.make(readers).images}
    own_part = Stimuli(both.images[:count], both.copies[:count], both.history[:count], both.start,
                       {step: each[:count] for step, each in both.snapshots.items()})
    return Made(own, images, own_part)
