"""Networks of timm's ``Block`` written out as an affine map, in float64: what makes them curved is
noted down on one pass and put in as numbers on the next.

No code is shared with the library, and no derivative is taken: a score is what the affine map loses
where one neuron is replaced.
"""

from __future__ import annotations

import torch
from timm.layers import GluMlp, SwiGLU


class Held:
    """Numbers of a clean pass, in the order in which they come up."""

    def __init__(self, rule: str):
        self.rule, self.numbers, self.noted = rule, [], False

    def __call__(self, compute):
        if not self.noted:
            self.numbers.append(compute())
            return self.numbers[-1]
        self.place += 1
        return self.numbers[self.place]

    def again(self):
        """The next pass takes what was noted."""
        self.noted, self.place = True, -1
        return self


def norm(held, module, value):
    if isinstance(module, torch.nn.Identity):
        return value
    if type(module).__name__ != "RmsNorm":
        value = value - value.mean(-1, keepdim=True)
    size = held(lambda: 1 / torch.sqrt((value ** 2).mean(-1, keepdim=True) + module.eps))
    value = value * size * module.weight
    return value + module.bias if getattr(module, "bias", None) is not None else value


def activation(held, function, value):
    return value * held(lambda: function(value) / value)


def attention(held, module, value):
    copies, tokens, _ = value.shape

    def split(flat):
        return flat.view(copies, tokens, module.num_heads, -1).transpose(1, 2)

    query, key, values = (split(part) for part in module.qkv(value).chunk(3, -1))
    weights = held(lambda: torch.softmax(
        module.q_norm(query) @ module.k_norm(key).transpose(2, 3) / module.head_dim ** 0.5, -1))
    return module.proj((weights @ values).transpose(1, 2).flatten(2))


def neurons(held, ffn, value):
    if not isinstance(ffn, (GluMlp, SwiGLU)):
        return norm(held, ffn.norm, activation(held, ffn.act, ffn.fc1(value)))
    if isinstance(ffn, SwiGLU):
        gate, through = ffn.fc1_g(value), ffn.fc1_x(value)
    else:
        first, second = ffn.fc1(value).chunk(2, -1)
        gate, through = (second, first) if ffn.gate_last else (first, second)
    if isinstance(ffn.act, torch.nn.Sigmoid):
        return norm(held, ffn.norm, held(lambda: torch.sigmoid(gate)) * through)
    gate = activation(held, ffn.act, gate)
    clean_gate, clean_through = held(lambda: gate), held(lambda: through)
    product = clean_gate * through
    if held.rule == "half":
        product = (product + gate * clean_through) / 2
    return norm(held, ffn.norm, product)


def logits(model, pictures, held, where=(), replaced=None):
    """Logits of a batch; ``replaced[block]`` is a function of the scope's neurons."""
    stream = norm(held, model.norm_pre, model._pos_embed(model.patch_embed(pictures)))
    for number, block in enumerate(model.blocks):
        stream = stream + block.ls1(attention(held, block.attn, norm(held, block.norm1, stream)))
        active = neurons(held, block.mlp, norm(held, block.norm2, stream))
        if replaced and number in replaced:
            active = active.clone()
            active[:, where] = replaced[number](active[:, where])
        stream = stream + block.ls2(block.mlp.fc2(active))
    pooled = norm(held, model.norm, stream)
    pooled = pooled[:, 0] if model.global_pool == "token" else pooled[
        :, model.num_prefix_tokens:].mean(1)
    return model.head(norm(held, model.fc_norm, pooled))


@torch.no_grad()
def scores(model, where, image, label, rule="half", of="probability", baseline=None):
    """By block and neuron what the affine map loses where the neuron is replaced at the scope's
    positions ``where``; ``baseline`` is ``(layer, token or 1, neuron)``."""
    held, found = Held(rule), []
    clean = logits(model, image[None], held)[0]
    chance = clean.softmax(-1)
    slope = -chance[label] * chance  # of the softmax at the clean logits
    slope[label] += chance[label]
    for number, block in enumerate(model.blocks):
        row = []
        for neuron in range(block.mlp.fc2.in_features):
            def replace(value, number=number, neuron=neuron):
                value[..., neuron] = 0 if baseline is None else baseline[number, :, neuron]
                return value
            lost = clean - logits(model, image[None], held.again(), where, {number: replace})[0]
            row.append(lost[label] if of == "logit" else slope @ lost)
        found.append(torch.stack(row))
    return torch.stack(found)
