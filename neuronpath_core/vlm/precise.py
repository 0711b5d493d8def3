"""A vision-language model in double precision throughout."""

from __future__ import annotations

import copy

import torch
from torch import nn

from neuronpath_core.vlm.adapter import VisionLanguageModel


def in_double(vlm: VisionLanguageModel) -> VisionLanguageModel:
    """A copy of a model in float64 whose norms compute in float64 too.

    Root-mean-square norms of transformers' decoders compute in single precision whatever the
    weights are, which leaves an error of about 1e-8 in a probability; the copy has torch's own in
    their place, of the same weights.
    """
    network = copy.deepcopy(vlm.model).double()
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__.endswith("RMSNorm") and hasattr(child, "variance_epsilon"):
                norm = nn.RMSNorm(child.weight.shape, child.variance_epsilon, dtype=torch.float64,
                                  device=child.weight.device)
                norm.load_state_dict(child.state_dict())
                setattr(module, name, norm.eval())
    return VisionLanguageModel(network, vlm.processor)
