"""Vision-language models set by hand: one whose neurons' types are known, and tiny random ones."""

import numpy as np
import torch

from neuronpath_core.vlm.adapter import VisionLanguageModel
from neuronpath_core.vlm.model import build, processor
from neuronpath_core.vlm.tokens import vocabulary

TOWER = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
         "intermediate_size": 8}
DECODER = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
           "num_key_value_heads": 2, "intermediate_size": 5}
SMALL = ({**TOWER, "hidden_size": 16, "num_hidden_layers": 3, "intermediate_size": 12},
         {**DECODER, "num_hidden_layers": 2, "intermediate_size": 10})
# of the planted model: what its five neurons read
READS = ("red in patches", "the word red", "both", "the word star", "nothing, ever")
RED, GREY = (255, 0, 0), (128, 128, 128)
ASK = "describe the image ."


def random_vlm(seed=0, tower=None, decoder=None, dtype=torch.float64):
    return VisionLanguageModel(build(seed, {**SMALL[0], **(tower or {})},
                                     {**SMALL[1], **(decoder or {})}).to(dtype), processor())


@torch.no_grad()
def planted_vlm():
    """Red of a patch passes the tower and the projector unchanged into dimension 0 of the decoder,
    the word "red" lies in dimension 8, "star" in 10; dimension 11 of words and 6 of patches are
    constants; attention is silent."""
    model = build(0, TOWER, DECODER).double()
    for parameter in model.parameters():
        parameter.zero_()
    for name, parameter in model.named_parameters():
        if "norm" in name and name.endswith("weight"):
            parameter.fill_(1)
    tower = model.model.vision_tower.embeddings
    for pair, channel in enumerate(range(3)):
        # how much of the channel beyond the mean of the others, and the same with its sign turned
        for half, sign in ((0, 1), (1, -1)):
            weight = tower.patch_embedding.weight[2 * pair + half]
            weight += -sign * 0.5 / 64
            weight[channel] += sign * 1.5 / 64
    tower.position_embedding.weight[:, 6], tower.position_embedding.weight[:, 7] = 3, -3
    projector = model.model.multi_modal_projector
    projector.linear_1.weight.copy_(torch.cat([torch.eye(8), -torch.eye(8)]))
    projector.linear_2.weight[:8].copy_(torch.cat([torch.eye(8), -torch.eye(8)], 1))
    words, numbers = model.get_input_embeddings().weight, vocabulary()
    words[:, 11] = 1
    words[numbers["red"], 8] = words[numbers["star"], 10] = 1
    half = model.model.language_model.layers[0].mlp
    for neuron, weights in enumerate(({0: 2}, {8: 1}, {0: 2, 8: 1}, {10: 1}, {})):
        for dimension, weight in weights.items():
            half.gate_proj.weight[neuron, dimension] = weight
    half.gate_proj.weight[4, 11] = half.gate_proj.weight[4, 6] = -1
    half.up_proj.weight[:, 6] = half.up_proj.weight[:, 11] = 1
    half.down_proj.weight[:5, :5] = torch.eye(5)
    return VisionLanguageModel(model, processor())


def image(red_patches):
    """Grey, with the first so many patches red."""
    found = np.empty((64, 64, 3), np.uint8)
    found[:] = GREY
    for patch in range(red_patches):
        row, column = 8 * (patch // 8), 8 * (patch % 8)
        found[row:row + 8, column:column + 8] = RED
    return found
