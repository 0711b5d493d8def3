"""Whatever is handed to the public functions: the right answer, or one line that says what is
accepted; never another error, and never an answer for nonsense."""

import warnings

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import neuronpath_core as npc
from neuronpath_core.interventions import (
    class_probabilities,
    edited_probabilities,
    scaled_probabilities,
)
from tests import helpers

MODEL = helpers.small_vit(41, depth=2, mlp_ratio=0.5)
TARGET = npc.TargetModel(MODEL)
IMAGES, LABELS = helpers.small_batch(2, 42)
NEURONS = torch.tensor([[1, 2], [3, 4]])

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 12), st.sampled_from([10 ** 5, -10 ** 20, 10 ** 20]),
    st.floats(allow_nan=True, allow_infinity=True), st.text(max_size=4), st.binary(max_size=3),
    st.lists(st.integers(-2, 9), max_size=3), st.complex_numbers(max_magnitude=5),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.sampled_from(["published", "left", "gauss-legendre", "joint", "beam", "auto", "full",
                     "mixed", "remove", "random", "float32"]),
    st.builds(object), st.just(MODEL), st.just({1, 2}), st.just(range(3)), st.just(print))


def odd_tensors():
    """Tensors that are nearly a batch, labels or a path."""
    dtypes = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
              torch.uint8, torch.bool, torch.complex128]
    shapes = [(), (0,), (2,), (2, 2), (2, 2, 1), (2, 3, 8, 8), (0, 3, 8, 8), (2, 3, 7, 8),
              (1, 3, 8, 8), (2, 1, 8, 8), (2, 2, 8)]

    def made(shape, dtype, value, kind):
        tensor = torch.full(shape, value).to(dtype)
        if kind == "meta":
            return tensor.to("meta")
        if kind == "sparse" and tensor.ndim and dtype not in (torch.float16, torch.bfloat16):
            return tensor.to_sparse()
        if kind == "nested":
            return torch.nested.nested_tensor([torch.zeros(3, 8, 8), torch.zeros(3, 8, 8)],
                                              layout=torch.jagged)
        if kind == "nan" and tensor.is_floating_point() and tensor.numel():
            tensor.view(-1)[0] = float("nan")
        if kind == "gradient" and tensor.is_floating_point():
            return tensor.requires_grad_()
        if kind == "numpy":
            return tensor.float().numpy() if dtype == torch.bfloat16 else tensor.numpy()
        return tensor

    return st.builds(made, st.sampled_from(shapes), st.sampled_from(dtypes),
                     st.sampled_from([0, 1, 2, 7, 100]),
                     st.sampled_from(["dense", "dense", "meta", "sparse", "nested", "nan",
                                      "gradient", "numpy"]))


ANYTHING = st.one_of(ODD, odd_tensors())
CALLS = {
    "find_paths": (lambda target=TARGET, images=IMAGES, labels=LABELS, **more: npc.find_paths(
        target, images, labels, **more),
        ["target", "images", "labels", "method", "settings", "engine", "memory_budget", "search",
         "context", "quadrature", "steps", "nodes", "exact_steps", "draft", "top", "width", "seed"]),
    "find_paths_by_top": (
        lambda target=TARGET, images=IMAGES, labels=LABELS, tops=(1,), **more:
        npc.find_paths_by_top(target, images, labels, tops, **more),
        ["target", "images", "labels", "tops", "settings", "engine", "memory_budget"]),
    "joint_attribution_score": (
        lambda target=TARGET, images=IMAGES, labels=LABELS, neurons=NEURONS, **more:
        npc.joint_attribution_score(target, images, labels, neurons, **more),
        ["target", "images", "labels", "neurons", "quadrature", "steps", "nodes"]),
    "complete_attribution": (
        lambda target=TARGET, images=IMAGES, labels=LABELS, neurons=NEURONS, **more:
        npc.complete_attribution(target, images, labels, neurons, **more),
        ["target", "images", "labels", "neurons", "quadrature", "steps"]),
    "knowledge_attribution": (
        lambda target=TARGET, images=IMAGES, labels=LABELS, **more: npc.knowledge_attribution(
            target, images, labels, **more),
        ["target", "images", "labels", "quadrature", "steps", "scaling"]),
    "read_activations": (
        lambda target=TARGET, images=IMAGES: npc.read_activations(target, images),
        ["target", "images"]),
    "class_probabilities": (
        lambda target=TARGET, images=IMAGES: class_probabilities(target, images),
        ["target", "images"]),
    "edited_probabilities": (
        lambda target=TARGET, images=IMAGES, neurons=NEURONS, operation="remove":
        edited_probabilities(target, images, neurons, operation),
        ["target", "images", "neurons", "operation"]),
    "scaled_probabilities": (
        lambda target=TARGET, images=IMAGES, factors=None, everywhere=False: scaled_probabilities(
            target, images, torch.ones(2, 2, 8, dtype=torch.float64) if factors is None
            else factors, everywhere),
        ["target", "images", "factors"]),
    "refine_paths": (
        lambda target=TARGET, images=IMAGES, labels=LABELS, neurons=NEURONS, **more:
        npc.refine_paths(target, images, labels, neurons, **more),
        ["target", "images", "labels", "neurons", "quadrature", "steps"]),
    "exhaustive_paths": (
        lambda target=TARGET, images=IMAGES, labels=LABELS, **more: npc.exhaustive_paths(
            target, images, labels, **more),
        ["target", "images", "labels", "quadrature", "steps"]),
    "quadrature_rule": (
        lambda name="left", steps=3, nodes=None: npc.quadrature_rule(name, steps, nodes),
        ["name", "steps", "nodes"]),
    "TargetModel": (lambda model=MODEL, scope="auto": npc.TargetModel(model, scope),
                    ["model", "scope"]),
    "SiteModel": (lambda model=MODEL, scope="auto", sites="attention": npc.SiteModel(
        model, scope, sites), ["model", "scope", "sites"]),
}

SCORES = torch.arange(32, dtype=torch.float64).view(2, 2, 8)
BATCH = {"target": TARGET, "images": IMAGES, "labels": LABELS}
OF_A_BATCH = [*BATCH]


def given_besides(function, **usual):
    return lambda **named: function(**{**usual, **named})


def edited(**named):
    with npc.edit(**{"target": TARGET, "neurons": NEURONS, **named}) as target, torch.no_grad():
        return target(IMAGES)


def registered(**named):
    method = npc.Method(**{"key": "tried", "label": "Tried", "rank": print, **named})
    try:
        npc.register(method)
    finally:
        if isinstance(method.key, str) and npc.METHODS.get(method.key) is method:
            del npc.METHODS[method.key]


CALLS |= {
    "certify": (given_besides(npc.certify, paths=torch.tensor([[1, 2], [1, 3], [4, 2], [1, 2]])),
                ["paths", "keep", "radius", "top", "edits", "samples", "alpha"]),
    "circuit_tests": (
        given_besides(npc.circuit_tests, **BATCH, neurons=NEURONS, draws=20),
        [*OF_A_BATCH, "neurons", "values", "measure", "draws", "seed", "margin", "epsilon",
         "quantile", "level"]),
    "class_graph": (given_besides(npc.class_graph, neurons=NEURONS), ["neurons", "edges", "least"]),
    "conditional_gradient_paths": (given_besides(npc.conditional_gradient_paths, **BATCH),
                                   [*OF_A_BATCH, "top", "passes", "question", "baseline"]),
    "edit": (edited, ["target", "neurons", "operation", "values"]),
    "exact_effects": (given_besides(npc.exact_effects, **BATCH),
                      [*OF_A_BATCH, "blocks", "neurons", "baseline", "context"]),
    "explain": (given_besides(npc.explain, target=TARGET, image=IMAGES[0], label=1, controls=2),
                ["target", "image", "label", "method", "class_names", "settings", "memory_budget",
                 "controls"]),
    "faithfulness": (given_besides(npc.faithfulness, **BATCH, scores=SCORES),
                     [*OF_A_BATCH, "scores", "shares", "values", "smallest", "sides"]),
    "baselines": (given_besides(npc.find_paths, **BATCH), ["baseline", "method", "top"]),
    "path_edges": (given_besides(npc.path_edges, **BATCH, neurons=NEURONS),
                   [*OF_A_BATCH, "neurons", "baseline", "partners", "derivative"]),
    "read_graph": (lambda path: npc.read_graph(path), ["path"]),
    "write_graph": (given_besides(npc.write_graph, graph=npc.class_graph(NEURONS), path=None),
                    ["graph", "path"]),
    "neuron_card": (given_besides(npc.neuron_card, target=TARGET, block=0, neuron=1, images=IMAGES,
                                  labels=LABELS, steps=0),
                    ["target", "block", "neuron", "images", "paths", "classes", "labels", "others",
                     "statistics", "steps", "seed", "model_name"]),
    "replacement_values": (given_besides(npc.replacement_values, **BATCH, kind="mean", pool=IMAGES),
                           [*OF_A_BATCH, "kind", "pool", "draws", "seed"]),
    "settings": (lambda **named: npc.find_paths(TARGET, IMAGES, LABELS,
                                                settings=npc.SearchSettings(**named)),
                 ["method", "search", "context", "quadrature", "steps", "nodes", "draft", "top",
                  "budget", "question"]),
    "register": (registered, ["key", "rank", "choose"]),
    "a method": (lambda method: npc.register(method), ["method"]),
    "Study": (given_besides(npc.Study, profile="digits"),
              ["device", "dtype", "memory_budget", "engine", "workers"]),
}


def numbers(result):
    """Every tensor of an answer."""
    if isinstance(result, torch.Tensor):
        return [result]
    if isinstance(result, npc.Paths):
        return [result.neurons, result.score]
    return [each for part in result for each in numbers(part)] if isinstance(
        result, (tuple, list)) else []


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=60, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_right_or_refused_in_one_line(name, data):
    call, arguments = CALLS[name]
    given_names = data.draw(st.lists(st.sampled_from(arguments), min_size=1, max_size=2,
                                     unique=True))
    given_values = {each: data.draw(ANYTHING, label=each) for each in given_names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = call(**given_values)
        except ValueError as error:
            assert "\n" not in str(error) and len(str(error)) < 600, str(error)
            return
    for tensor in numbers(result):
        assert tensor.isfinite().all()


@pytest.mark.parametrize(("call", "words"), [
    (lambda: npc.find_paths(TARGET, IMAGES, LABELS, steps=10 ** 5), "steps"),
    (lambda: npc.find_paths(TARGET, IMAGES, LABELS, draft=[]), "unknown draft"),
    (lambda: npc.find_paths(TARGET, IMAGES, LABELS, method=["neuron_path"]), "unknown method"),
    (lambda: npc.find_paths(TARGET, IMAGES.to_sparse(), LABELS), "images"),
    (lambda: npc.find_paths(TARGET, IMAGES.to("meta"), LABELS), "images are"),
    (lambda: npc.find_paths(MODEL, IMAGES, LABELS), "npc.TargetModel"),
    (lambda: npc.find_paths_by_top(TARGET, IMAGES, LABELS, 3), "tops"),
    (lambda: edited_probabilities(TARGET, IMAGES, NEURONS, True), "unknown operation"),
    (lambda: edited_probabilities(TARGET, IMAGES, NEURONS, 1e300), "factor"),
    (lambda: scaled_probabilities(TARGET, IMAGES, torch.full((2, 2, 8), 1e30)), "factors"),
    (lambda: scaled_probabilities(TARGET, IMAGES, torch.ones(2, 2, 8) * 1j), "factors"),
    (lambda: scaled_probabilities(TARGET, IMAGES, [[1.0]]), "factors"),
    (lambda: npc.quadrature_rule("left", 10 ** 9), "steps"),
])
def test_edges_that_are_known(call, words):
    with pytest.raises(ValueError, match=words):
        call()
