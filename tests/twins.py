r"""Slow, obvious versions of every method, in float64: the definitions as loops, one image at a
time.

They share no code with ``neuronpath_core``: a plain timm network, a token scope (``"cls"`` or
``"patch"``), one image ``(channel, height, width)``, one label.  A path is a list of blocks, each a
list of neurons; it may be shorter than the network, and then the blocks after it run natively.
``nodes`` and ``weights`` are a quadrature rule on [0, 1].
"""

from __future__ import annotations

import numpy as np
import torch

# --- quadrature, written out ---


def rule(name: str, steps: int) -> tuple[list[float], list[float]]:
    """Nodes and weights of the four rules."""
    if name == "gauss-legendre":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        return [0.5 + 0.5 * float(node) for node in nodes], [0.5 * float(weight)
                                                             for weight in weights]
    nodes = {
        "left": [k / steps for k in range(steps)],
        "right": [(k + 1) / steps for k in range(steps)],
        "midpoint": [(2 * k + 1) / (2 * steps) for k in range(steps)],
    }[name]
    return nodes, [1 / steps] * steps


# --- scores of any function of the path's neurons ---


def integrated_gradients(function, clean, nodes, weights):
    """``∫ ∂F/∂w dα`` at ``α w̄`` for each of the tensors in ``clean``.

    ``function`` takes them with a copy for every node before their axes, and adds up the copies' F,
    so that one gradient holds every node's.
    """
    def by_node(values, like):
        return torch.tensor(values, dtype=like.dtype).reshape(-1, *[1] * like.dim())

    leaves = [(by_node(nodes, value) * value).detach().requires_grad_() for value in clean]
    gradients = torch.autograd.grad(function(leaves), leaves)
    return [(by_node(weights, value) * gradient).sum(0)
            for value, gradient in zip(clean, gradients, strict=True)]


def joint_score_of(function, clean, nodes, weights) -> float:
    """``(Σ w̄) ∫ Σ ∂F/∂w dα`` per token, averaged over tokens; ``clean`` holds ``(token, rank)``
    for each block."""
    integrals = integrated_gradients(function, clean, nodes, weights)
    height = sum(value.sum(1) for value in clean)
    slope = sum(integral.sum(1) for integral in integrals)
    return (height * slope).mean().item()


def diagonal_score_of(function, clean, nodes, weights) -> float:
    """``Σ w̄ ∫ ∂F/∂w dα`` over blocks, tokens and ranks: the joint attribution without cross terms.
    """
    integrals = integrated_gradients(function, clean, nodes, weights)
    return sum((value * integral).sum() for value,
               integral in zip(clean, integrals, strict=True)).item()


# --- the network with its FFN activations read or replaced ---


def positions(model, scope: str) -> list[int]:
    """Token positions of the scope."""
    if scope == "cls":
        return [0]
    prefix = (model.cls_token is not None) + (0 if model.reg_token is None
                                              else model.reg_token.shape[1]) + hasattr(
        model, "dist_token")
    return list(range(prefix, prefix + model.patch_embed.num_patches))


def forward(model, scope: str, pictures, replaced=None, seen=None):
    """Logits; ``replaced[block]`` (copy, token, neuron) takes the scope's place, ``seen`` fills
    with all tokens."""
    where, handles = positions(model, scope), []

    def at(number):
        def enter(_module, inputs):
            value = inputs[0]
            if replaced and number in replaced:
                value = value.clone()
                value[:, where] = replaced[number]
            if seen is not None:
                seen[number] = value
            return (value,)
        return enter

    for number, block in enumerate(model.blocks):
        handles.append(block.mlp.fc2.register_forward_pre_hook(at(number)))
    try:
        return model(pictures)
    finally:
        for handle in handles:
            handle.remove()


def clean_activations(model, scope: str, image) -> list[torch.Tensor]:
    """Per block ``(token, neuron)`` at the scope."""
    seen, where = {}, positions(model, scope)
    with torch.no_grad():
        forward(model, scope, image[None], seen=seen)
    return [seen[number][0, where] for number in range(len(model.blocks))]


def path_function(model, scope: str, image, label: int, path):
    """F of the path's neurons, summed over copies, everything else at the scope of the path's blocks
    clamped clean; and their clean values."""
    clean = clean_activations(model, scope, image)

    def function(values):
        replaced = {}
        for number, (neurons, value) in enumerate(zip(path, values, strict=True)):
            replaced[number] = clean[number].repeat(len(value), 1, 1)
            replaced[number][:, :, neurons] = value
        copies = image.expand(len(values[0]), *image.shape)
        return forward(model, scope, copies, replaced).softmax(-1)[:, label].sum()

    return function, [clean[number][:, neurons] for number, neurons in enumerate(path)]


# --- (a) joint attribution score, (f) complete attribution ---


def joint_attribution_score(model, scope, image, label, path, nodes, weights) -> float:
    """Definition 1, one leaf per block and one copy per node."""
    return joint_score_of(*path_function(model, scope, image, label, path), nodes, weights)


def complete_attribution(model, scope, image, label, path) -> float:
    """F with the path at its clean values minus F with the path at zero, both explicitly clamped.
    """
    function, clean = path_function(model, scope, image, label, path)
    with torch.no_grad():
        kept, zeroed = ([factor * value[None] for value in clean] for factor in (1, 0))
        return (function(kept) - function(zeroed)).item()


def diagonal_attribution(model, scope, image, label, path, nodes, weights) -> float:
    """The integral that :func:`complete_attribution` equals by the fundamental theorem of calculus.
    """
    return diagonal_score_of(*path_function(model, scope, image, label, path), nodes, weights)


# --- (b) the published search, (c) Algorithm 1 ---


def best_first(scores, top: int) -> list[int]:
    """Indices of the ``top`` largest scores, largest first."""
    return sorted(range(len(scores)), key=lambda index: -float(scores[index]))[:top]


def published_search(model, scope, image, label, nodes, weights, top=1, cross=True):
    """Joint relaxation: per block a forward of one copy per node and one retained-graph backward
    per block up to it.

    Without ``cross`` every gradient is multiplied by its own neuron's clean value alone.

    Returns:
        The path, best neurons first, and its joint attribution score (without ``cross`` the
        diagonal one).
    """
    copies = image.expand(len(nodes), *image.shape)
    where, path = positions(model, scope), []
    alphas, quadrature = (torch.tensor(values, dtype=image.dtype)[:, None, None]
                          for values in (nodes, weights))
    for block in range(len(model.blocks)):
        seen = {}
        with torch.no_grad():
            forward(model, scope, copies, seen=seen)
        clean = {number: value[:, where] for number, value in seen.items()}

        leaves, replaced = {}, {}
        for number in range(block):
            leaves[number] = (alphas * clean[number][:, :, path[number]]).requires_grad_()
            replaced[number] = clean[number].clone()
            replaced[number][:, :, path[number]] = leaves[number]
        leaves[block] = replaced[block] = (alphas * clean[block]).requires_grad_()
        objective = forward(model, scope, copies, replaced).softmax(-1)[:, label].sum()

        gradients = {number: torch.autograd.grad(objective, leaf, retain_graph=True)[0] for number,
                     leaf in leaves.items()}
        # (token, neuron)
        slope = (quadrature * gradients[block]).sum(0)
        height = clean[block][0].clone()
        if not cross:
            path.append(best_first((slope * height).sum(0), top))
            continue
        for number in range(block):
            slope += (quadrature * gradients[number]).sum(0).sum(1, keepdim=True)
            height += clean[number][0][:, path[number]].sum(1, keepdim=True)
        path.append(best_first((slope * height).sum(0), top))
    return path, (joint_attribution_score if cross
                  else diagonal_attribution)(model, scope, image, label, path, nodes, weights)


def literal_search(model, scope, image, label, nodes, weights, top=1, cross=True):
    """Algorithm 1: the neurons whose own addition to the path gives the largest score, block by
    block."""
    path = []
    count = model.blocks[0].mlp.fc2.in_features
    score = joint_attribution_score if cross else diagonal_attribution
    for _ in model.blocks:
        scores = []
        for candidate in range(count):
            scores.append(score(model, scope, image, label, [*path, [candidate]], nodes, weights))
        path.append(best_first(scores, top))
    return path, score(model, scope, image, label, path, nodes, weights)


def ablation_search(model, scope, image, label, top=1, clamp=False, independent=False):
    """The neurons whose removal, together with the path's so far, lowers F most, by one edited
    forward for every neuron."""
    count, depth = model.blocks[0].mlp.fc2.in_features, len(model.blocks)
    clean = clean_activations(model, scope, image)

    def effect(path):
        with torch.no_grad():
            whole = model(image[None]).softmax(-1)[0, label]
            if not clamp:
                return (whole - edited_logits(model, scope, image,
                                              path + [[]] * (depth - len(path)),
                                              0.0).softmax(-1)[label]).item()
            held = {}
            for number, neurons in enumerate(path):
                held[number] = clean[number].clone()[None]
                held[number][..., neurons] = 0
            return (whole - forward(model, scope, image[None], held).softmax(-1)[0, label]).item()

    path = []
    for number in range(depth):
        before = [[]] * number if independent else path
        effects = [effect([*before, [candidate]]) for candidate in range(count)]
        path.append(best_first(effects, top))
    return path, max(effects)


# --- (d) knowledge attribution ---


def knowledge_attribution(model, scope, image, label, nodes, weights, scaling="block"):
    """``w̄ ∫ ∂F/∂w dα`` of single neurons, ``(block, neuron)``, summed over the scope's tokens;
    other blocks run natively."""
    clean, attributions = clean_activations(model, scope, image), []
    for number, value in enumerate(clean):
        count = value.shape[1]

        row = torch.zeros(count, dtype=image.dtype)
        for group in ([list(range(count))] if scaling == "block"
                      else [[neuron] for neuron in range(count)]):
            def function(leaves, group=group, number=number, value=value):
                held = value.repeat(len(nodes), 1, 1)
                held[:, :, group] = leaves[0]
                copies = image.expand(len(nodes), *image.shape)
                return forward(model, scope, copies, {number: held}).softmax(-1)[:, label].sum()

            own = value[:, group]
            integral, = integrated_gradients(function, [own], nodes, weights)
            row[group] = (own * integral).sum(0)
        attributions.append(row)
    return torch.stack(attributions)


# --- baselines ---


def activation_path(model, scope, image, top=1):
    """Largest clean activations, summed over the scope's tokens."""
    return [best_first(value.sum(0), top) for value in clean_activations(model, scope, image)]


def gradient_activation(model, scope, image, label):
    """``w̄ ∂F/∂w`` at the clean image, per block a vector over neurons."""
    where, seen = positions(model, scope), {}
    objective = forward(model, scope, image[None], seen=seen).softmax(-1)[0, label]
    gradients = torch.autograd.grad(objective,
                                    [seen[number] for number in range(len(model.blocks))])
    return torch.stack([(gradient * seen[number])[0, where].sum(0) for number,
                        gradient in enumerate(gradients)]).detach()


def conductance(model, scope, image, label, nodes, weights, width=1e-5):
    """``∫ ∂F/∂w dw/dα dα``, the second factor by central differences."""
    where, total = positions(model, scope), 0.0
    for node, weight in zip(nodes, weights, strict=True):
        seen, before, after = {}, {}, {}
        objective = forward(model, scope, node * image[None], seen=seen).softmax(-1)[0, label]
        gradients = torch.autograd.grad(objective,
                                        [seen[number] for number in range(len(model.blocks))])
        with torch.no_grad():
            forward(model, scope, (node - width) * image[None], seen=before)
            forward(model, scope, (node + width) * image[None], seen=after)
        total = total + weight * torch.stack([
            (gradient * (after[number] - before[number]) / (2 * width))[0, where].sum(0) for number,
            gradient in enumerate(gradients)])
    return total


def influence_pattern_path(model, scope, image, label, nodes, weights, top=1):
    """As published: per block the largest gradient of F, averaged over scaled images; no path, no
    product."""
    where, count = positions(model, scope), len(model.blocks)
    slopes = [0.0] * count
    for node, weight in zip(nodes, weights, strict=True):
        seen = {}
        objective = forward(model, scope, node * image[None], seen=seen).softmax(-1)[0, label]
        gradients = torch.autograd.grad(objective, [seen[number] for number in range(count)])
        slopes = [slope + weight * gradient[0, where].sum(0) for slope,
                  gradient in zip(slopes, gradients, strict=True)]
    return [best_first(slope, top) for slope in slopes]


def influence_pattern_eq9_path(model, scope, image, nodes, weights, top=1):
    """(e) Eq. 9, greedy: factors are Jacobians by reverse mode, of the neurons' mean over the
    scope's tokens.

    The first factor is the derivative along the image, from the zero image; a later one that of the
    block's neurons when the previous block's chosen neuron moves by one unit at every token of the
    scope.
    """
    where, path, products = positions(model, scope), [], [1.0] * len(nodes)
    for block in range(len(model.blocks)):
        jacobians = []
        for node in nodes:
            def neurons(amount, node=node, block=block):
                seen, replaced = {}, {}
                if block == 0:
                    forward(model, scope, amount * image[None], seen=seen)
                else:
                    with torch.no_grad():
                        forward(model, scope, node * image[None], seen=seen)
                    moved = seen[block - 1][:, where].clone()
                    moved[..., path[-1][0]] = moved[..., path[-1][0]] + amount
                    replaced[block - 1] = moved
                    forward(model, scope, node * image[None], replaced, seen)
                return seen[block][0, where].mean(0)

            at = torch.tensor(node if block == 0 else 0.0, dtype=image.dtype)
            jacobians.append(torch.autograd.functional.jacobian(neurons, at))
        scores = sum(weight * product * jacobian for weight, product,
                     jacobian in zip(weights, products, jacobians, strict=True))
        path.append(best_first(scores, top))
        products = [product * float(jacobian[path[-1][0]]) for product,
                    jacobian in zip(products, jacobians, strict=True)]
    return path


# --- interventions ---


def edited_logits(model, scope, image, path, factor):
    """The forward pass written out block by block, the path's current values multiplied as they
    arise; no hooks."""
    where = positions(model, scope)
    with torch.no_grad():
        stream = model.norm_pre(model._pos_embed(model.patch_embed(image[None])))
        for number, block in enumerate(model.blocks):
            stream = stream + block.ls1(block.attn(block.norm1(stream)))
            hidden = block.mlp.norm(block.mlp.act(block.mlp.fc1(block.norm2(stream))))
            for token in where:
                for neuron in path[number]:
                    hidden[:, token, neuron] *= factor
            stream = stream + block.ls2(block.mlp.fc2(hidden))
        return model.forward_head(model.norm(stream))[0]


# --- fewer nodes than a rule has ---


def condensed_rule(name: str, steps: int, count: int) -> tuple[list[float], list[float]]:
    """The ``count`` nodes and weights that integrate as the rule's own sum does, up to degree
    ``2 count - 1``.

    By the textbook: the nodes are the zeros of the polynomial that is orthogonal to all of lower
    degree, the weights solve for the moments.
    """
    points, weights = (np.array(values) for values in rule(name, steps))
    if count >= steps:
        return list(points), list(weights)
    basis = np.polynomial.legendre.legvander(2 * points - 1, count)
    lower, highest = basis[:, :count], basis[:, count]
    gram = lower.T @ (weights[:, None] * lower)
    orthogonal = np.append(-np.linalg.solve(gram, lower.T @ (weights * highest)), 1.0)
    zeros = np.sort(np.polynomial.legendre.legroots(orthogonal).real)
    shares = np.linalg.solve(np.polynomial.legendre.legvander(zeros, count - 1).T,
                             lower.T @ weights)
    return list((zeros + 1) / 2), list(shares)


# --- (g) only the class token moves, and sums of integrals ---


def clean_streams(model, image) -> list[torch.Tensor]:
    """What enters each block, and what leaves the last, ``(token, embed)``, in the unedited
    network."""
    with torch.no_grad():
        streams = [model.norm_pre(model._pos_embed(model.patch_embed(image[None])))[0]]
        for block in model.blocks:
            streams.append(block(streams[-1][None])[0])
    return streams


def frozen_forward(model, image, replaced):
    """Logits of one image where every token but the class token enters every block, and the head,
    as in the unedited network.

    ``replaced[block]`` ``(1, neuron)`` takes the place of the class token's activations.
    """
    streams = clean_streams(model, image)
    moving = streams[0][0]
    for number, block in enumerate(model.blocks):
        def at(_module, inputs, number=number):
            value = inputs[0].clone()
            if number in replaced:
                value[:, 0] = replaced[number]
            return (value,)

        handle = block.mlp.fc2.register_forward_pre_hook(at)
        try:
            moving = block(torch.cat([moving[None], streams[number][1:]])[None])[0, 0]
        finally:
            handle.remove()
    return model.forward_head(model.norm(torch.cat([moving[None], streams[-1][1:]])[None]))


def full_forward(model, image, replaced):
    """Logits of one image where every token runs natively."""
    return forward(model, "cls", image[None], {number: value[None] for number,
                                               value in replaced.items()})


def summed_slopes(model, image, label, terms, moved):
    """``Σ_terms ∫ ∂F/∂w dα`` of the class token's ``moved[block]`` neurons, scaled together; all
    others of those blocks clean.

    ``terms`` are triples of a forward (:func:`frozen_forward` or :func:`full_forward`) and the
    nodes and weights of a rule.
    """
    clean = clean_activations(model, "cls", image)
    slopes = [torch.zeros(len(neurons), dtype=image.dtype) for neurons in moved]
    for run, nodes, weights in terms:
        for node, weight in zip(nodes, weights, strict=True):
            leaves, replaced = [], {}
            for number, neurons in enumerate(moved):
                leaves.append((node * clean[number][0, neurons]).detach().requires_grad_())
                replaced[number] = clean[number].clone()
                replaced[number][0, neurons] = leaves[-1]
            gradients = torch.autograd.grad(run(model, image, replaced).softmax(-1)[0, label],
                                            leaves)
            slopes = [slope + weight * gradient for slope,
                      gradient in zip(slopes, gradients, strict=True)]
    return slopes


def summed_score(model, image, label, path, terms) -> float:
    """Joint attribution score of a path whose integral is a sum of several."""
    clean = clean_activations(model, "cls", image)
    height = sum(clean[number][0, neurons].sum() for number, neurons in enumerate(path))
    return (height * sum(slope.sum()
                         for slope in summed_slopes(model, image, label, terms, path))).item()


def summed_search(model, image, label, terms, top=1, literal=False):
    """Layer-progressive search, joint or Algorithm 1, whose integral is a sum of several; path and
    score."""
    clean, path = clean_activations(model, "cls", image), []
    count = clean[0].shape[1]
    for number in range(len(model.blocks)):
        if literal:
            scores = [summed_score(model, image, label, [*path, [neuron]], terms)
                      for neuron in range(count)]
        else:
            *earlier, own = summed_slopes(model, image, label, terms, [*path, list(range(count))])
            height = clean[number][0] + sum(clean[before][0, neurons].sum() for before,
                                            neurons in enumerate(path))
            scores = (own + sum(slope.sum() for slope in earlier)) * height
        path.append(best_first(scores, top))
    return path, summed_score(model, image, label, path, terms)
