"""Tensors that are no ordinary ones, at every public door: what the same values give as an ordinary
tensor, or one line that says what is accepted."""

import dataclasses
import warnings

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torchvision import tv_tensors

import neuronpath_core as npc
from neuronpath_core.interventions import (
    class_probabilities,
    edited_probabilities,
    scaled_probabilities,
)
from tests.core.test_edges import IMAGES, LABELS, NEURONS, SCORES, TARGET

VALUES = torch.linspace(-1, 1, 32, dtype=torch.float64).view(2, 2, 1, 8)
FACTORS = torch.linspace(0.5, 1.5, 32, dtype=torch.float64).view(2, 2, 8)


class Loud(torch.Tensor):
    """A class of somebody's own, whose sums are twice what they are."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            out = function(*args, **(kwargs or {}))
        return 2 * out if function is torch.Tensor.add else out


class Wrapping(torch.Tensor):
    """One that holds another and refuses every operation in several lines."""

    @staticmethod
    def __new__(cls, held):
        return torch.Tensor._make_wrapper_subclass(cls, held.shape, dtype=held.dtype)

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        raise NotImplementedError(f"no kernel\nof {function}")


class OfAClass(torch.Tensor):
    """One that does nothing of its own."""


def freed(value):
    value = value.clone()
    value.untyped_storage().resize_(0)
    return value


def fake(value):
    return FakeTensorMode().from_tensor(value)


def with_gaps(value):
    gaps = value.new_empty((*value.shape, 2))
    gaps[..., 0] = value
    return gaps[..., 0]


def of_torchvision(value):
    return tv_tensors.TVTensor(value)


def made_in_inference_mode(value):
    with torch.inference_mode():
        return value.clone()


# each holds the values that it is made from
SAME = {
    "with gaps": with_gaps, "expanded": lambda value: value.clone()[None].expand(3, *value.shape)[1],
    "a parameter": lambda value: nn.Parameter(value.clone(), value.is_floating_point()),
    "a result": lambda value: value * torch.ones((), dtype=value.dtype, requires_grad=(
        value.is_floating_point())),
    "negative": lambda value: torch._neg_view(-value) if value.dtype != torch.bool else value,
    "of torchvision": of_torchvision, "inference": made_in_inference_mode,
}
# nothing can be said of any
OTHER = {
    "of a class": lambda value: value.clone().as_subclass(OfAClass),
    "loud": lambda value: value.clone().as_subclass(Loud), "wrapping": Wrapping, "freed": freed,
    "fake": fake, "functional": torch._to_functional_tensor,
    "masked": lambda value: torch.masked.masked_tensor(
        value.clone(), torch.ones_like(value, dtype=torch.bool)),
    "nested": lambda value: torch.nested.nested_tensor(list(value)),
    "jagged": lambda value: torch.nested.nested_tensor(list(value), layout=torch.jagged),
    "without a shape": lambda value: nn.UninitializedParameter(requires_grad=False),
    "meta": lambda value: value.to("meta"), "coo": lambda value: value.to_sparse(),
    "csr": lambda value: value.reshape(2, -1).to_sparse_csr(),
    "mkldnn": lambda value: value.float().to_mkldnn(),
    "quantised": lambda value: torch.quantize_per_tensor(value.float(), 0.1, 0, torch.quint8),
    "complex": lambda value: value.to(torch.complex128),
    "half complex": lambda value: value.to(torch.complex32),
    "float8": lambda value: value.to(torch.float8_e4m3fn),
    "uint16": lambda value: value.to(torch.uint16), "none of it": lambda value: value[:0],
    "a number": lambda value: value.reshape(-1)[0], "text": lambda value: value.numpy().astype("U"),
    "objects": lambda value: value.numpy().astype(object),
}


def edited(neurons):
    with npc.edit(TARGET, neurons) as target, torch.no_grad():
        return target(IMAGES)


def of_images(call, *more):
    return lambda images: call(TARGET, images, *more)


def of_labels(call, *more, **named):
    return lambda labels: call(TARGET, IMAGES, labels, *more, **named)


# each with the argument that is odd
DOORS = {
    "find_paths: images": (of_images(npc.find_paths, LABELS), IMAGES),
    "find_paths: labels": (of_labels(npc.find_paths), LABELS),
    "find_paths: baseline": (lambda values: npc.find_paths(TARGET, IMAGES, LABELS,
                                                           baseline=values), VALUES),
    "joint_attribution_score": (of_labels(npc.joint_attribution_score, NEURONS), LABELS),
    "joint_attribution_score: neurons": (
        lambda neurons: npc.joint_attribution_score(TARGET, IMAGES, LABELS, neurons), NEURONS),
    "complete_attribution": (of_images(npc.complete_attribution, LABELS, NEURONS), IMAGES),
    "knowledge_attribution": (of_images(npc.knowledge_attribution, LABELS), IMAGES),
    "read_activations": (of_images(npc.read_activations), IMAGES),
    "class_probabilities": (of_images(class_probabilities), IMAGES),
    "edited_probabilities": (lambda neurons: edited_probabilities(TARGET, IMAGES, neurons,
                                                                  "remove"), NEURONS),
    "edited_probabilities: values": (lambda values: edited_probabilities(
        TARGET, IMAGES, NEURONS, "remove", values=values), VALUES),
    "scaled_probabilities": (of_labels(scaled_probabilities), FACTORS),
    "edit": (edited, NEURONS),
    "refine_paths": (lambda neurons: npc.refine_paths(TARGET, IMAGES, LABELS, neurons), NEURONS),
    "exhaustive_paths": (of_images(npc.exhaustive_paths, LABELS), IMAGES),
    "conditional_gradient_paths": (of_images(npc.conditional_gradient_paths, LABELS), IMAGES),
    "exact_effects": (lambda neurons: npc.exact_effects(TARGET, IMAGES, LABELS, neurons=neurons),
                      NEURONS[..., None]),
    "replacement_values": (lambda pool: npc.replacement_values(
        TARGET, "mean", IMAGES, LABELS, pool=pool), IMAGES),
    "path_edges": (lambda neurons: npc.path_edges(TARGET, IMAGES, LABELS, neurons), NEURONS),
    "faithfulness": (of_labels(npc.faithfulness, SCORES), LABELS),
    "faithfulness: scores": (lambda scores: npc.faithfulness(TARGET, IMAGES, LABELS, scores),
                             SCORES),
    "class_graph": (npc.class_graph, NEURONS),
    "certify": (npc.certify, torch.tensor([[1, 2], [1, 3], [4, 2], [1, 2]])),
    "explain": (lambda image: npc.explain(TARGET, image, 1, controls=2), IMAGES[0]),
    "neuron_card": (lambda labels: npc.neuron_card(
        TARGET, block=0, neuron=1, images=IMAGES, labels=labels, steps=0), LABELS),
    "relevance": (of_images(npc.relevance, LABELS), IMAGES),
}


def values(found):
    """All numbers of an answer."""
    if isinstance(found, torch.Tensor):
        assert type(found) is torch.Tensor and not found.requires_grad
        return [found.numpy()]
    if isinstance(found, pd.DataFrame):
        return [found[name].to_numpy() for name in found.select_dtypes("number")]
    if isinstance(found, nx.DiGraph):
        return values(nx.to_pandas_edgelist(found))
    if dataclasses.is_dataclass(found):
        found = [getattr(found, field.name) for field in dataclasses.fields(found)]
    if isinstance(found, dict):
        found = list(found.values())
    if isinstance(found, (list, tuple)):
        return [each for part in found for each in values(part)]
    return [found] if isinstance(found, (np.ndarray, float)) else []


def given_in(form, value):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return form(value)
        except (RuntimeError, TypeError) as error:
            pytest.skip(f"there is no such tensor: {type(error).__name__}")


def refusal_of(call, odd):
    with pytest.raises(ValueError, match=".") as refusal:
        call(odd)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 600
    return str(refusal.value)


@pytest.mark.each_value
@pytest.mark.parametrize("name", DOORS)
@pytest.mark.parametrize("form", OTHER)
def test_what_is_no_ordinary_tensor_is_refused_in_one_line(form, name):
    call, value = DOORS[name]
    refusal_of(call, given_in(OTHER[form], value))


@pytest.mark.each_value
@pytest.mark.parametrize("name", DOORS)
@pytest.mark.parametrize("form", SAME)
def test_another_form_of_the_same_values_gives_the_same_or_is_refused(form, name):
    call, value = DOORS[name]
    odd = given_in(SAME[form], value)
    if form == "negative" or form == "inference" and value.ndim == 4 and value.shape[1] == 3 or (
            form == "inference" and name == "explain"):
        refusal_of(call, odd)
        return
    usual = values(call(value))
    assert usual  # else nothing is compared
    for one, other in zip(values(call(odd)), usual, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-13)
