"""The fast search from a baseline, against the plain search and against twins of the frozen and the
mixed context; drafts that a small distance from the baseline makes uncertain."""

import pytest
import torch

import neuronpath_core as npc
from neuronpath_core import finding
from neuronpath_core.fast import drafts, engine
from neuronpath_core.fast.drafts import magnified
from neuronpath_core.fast.found import Found
from neuronpath_core.fast.partial_paths import Integrand
from neuronpath_core.fast.search import confirm_paths, search_paths
from neuronpath_core.support import memory
from tests import helpers, twins
from tests.core.test_baseline_values import drawn, of_image, search_from
from tests.fast.test_contexts import terms_of

RULES = ("left", "right", "midpoint", "gauss-legendre")
SHAPES = [(True, True), (False, True), (True, False), (False, False)]


def same(found, expected, atol=1e-13):
    assert torch.equal(found.neurons, expected.neurons)
    torch.testing.assert_close(found.score, expected.score, rtol=1e-10, atol=atol)


# --- full context: the plain engine ---


@pytest.mark.each_value
@pytest.mark.parametrize("top", [None, 3])
@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_joint_search_equals_the_plain_one(name, top):
    target, images, labels = helpers.network(name, 951)
    place = list(helpers.NETWORKS).index(name)
    base = drawn(target, images, place, *SHAPES[place % 4])
    settings = {"settings": "published", "steps": 3, "quadrature": RULES[(place + (top or 0)) % 4],
                "top": top, "baseline": base}
    found = npc.find_paths(target, images, labels, **settings)
    same(found, npc.find_paths(target, images, labels, engine="plain", **settings))
    zero = npc.find_paths(target, images, labels, **{**settings, "baseline": None})
    assert ((zero.score - found.score).abs() > 1e-3 * found.score.abs()).all()


@pytest.mark.parametrize("name", ["cls", "cls-registers-prenorm", "avg", "avg-registers"])
def test_literal_search_equals_the_plain_one(name):
    target, images, labels = helpers.network(name, 953, mlp_ratio=0.5)
    settings = {"settings": "published", "steps": 2, "search": "literal",
                "baseline": drawn(target, images)}
    for top in (None, 2):
        found, plain = (npc.find_paths(target, images, labels, engine=kind, top=top, **settings)
                        for kind in ("fast", "plain"))
        same(found, plain)


@pytest.mark.each_value
@pytest.mark.parametrize("literal", [False, True], ids=["joint", "literal"])
@pytest.mark.parametrize("name", ["cls", "cls-layerscale-qknorm", "avg", "patch-attention-pool"])
def test_search_by_complete_attribution_equals_its_twin(name, literal):
    target, images, labels = helpers.network(name, 955, mlp_ratio=0.5)
    base, (nodes, weights) = drawn(target, images), npc.quadrature_rule("midpoint", 3)
    for top in (1, 2):
        found = search_paths(target, images, labels, [Integrand(nodes, weights)], top,
                             "literal" if literal else "joint", attribution="complete",
                             baseline=base)
        for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            path, score = search_from(target.model, target.scope, image, label, base[row],
                                      *twins.rule("midpoint", 3), top, literal, cross=False)
            assert found.neurons[row].tolist() == path
            assert found.score[row] == pytest.approx(score, rel=1e-10, abs=1e-13)
    paths = npc.find_paths(target, images, labels, "complete", context="full",
                           quadrature="midpoint", steps=3, baseline=base, top=2,
                           search="literal" if literal else "joint")
    assert torch.equal(paths.neurons, found.neurons)
    torch.testing.assert_close(paths.score, npc.joint_attribution_score(
        target, images, labels, paths.neurons, "midpoint", 3, baseline=base), rtol=1e-12, atol=0)


# --- only the class token moves ---


def slopes_from(model, image, label, base, terms, moved):
    """:func:`tests.twins.summed_slopes` at ``b + α (w̄ - b)``."""
    clean = twins.clean_activations(model, "cls", image)
    slopes = [torch.zeros(len(neurons), dtype=image.dtype) for neurons in moved]
    for run, nodes, weights in terms:
        for node, weight in zip(nodes, weights, strict=True):
            leaves, replaced = [], {}
            for number, neurons in enumerate(moved):
                start, value = base[number][0, neurons], clean[number][0, neurons]
                leaves.append((start + node * (value - start)).detach().requires_grad_())
                replaced[number] = clean[number].clone()
                replaced[number][0, neurons] = leaves[-1]
            gradients = torch.autograd.grad(run(model, image, replaced).softmax(-1)[0, label],
                                            leaves)
            slopes = [slope + weight * gradient
                      for slope, gradient in zip(slopes, gradients, strict=True)]
    return slopes


def context_search_from(model, image, label, base, terms, top, literal):
    clean, path = twins.clean_activations(model, "cls", image), []
    height = [value[0] - start[0] for value, start in zip(clean, base, strict=True)]

    def score(path):
        return (sum(height[number][neurons].sum() for number, neurons in enumerate(path))
                * sum(slope.sum()
                      for slope in slopes_from(model, image, label, base, terms, path))).item()

    for number in range(len(model.blocks)):
        if literal:
            scores = [score([*path, [neuron]]) for neuron in range(len(height[number]))]
        else:
            *earlier, own = slopes_from(model, image, label, base, terms,
                                        [*path, list(range(len(height[number])))])
            below = sum(height[before][neurons].sum() for before, neurons in enumerate(path))
            scores = (own + sum(slope.sum() for slope in earlier)) * (height[number] + below)
        path.append(twins.best_first(scores, top))
    return path, score(path)


@pytest.mark.each_value
@pytest.mark.parametrize(("top", "literal"), [(1, False), (3, False), (1, True)])
@pytest.mark.parametrize("context", ["frozen", "mixed", "full"])
@pytest.mark.parametrize("name", ["cls", "cls-layerscale-qknorm", "cls-registers-prenorm"])
def test_each_context_equals_its_twin(name, context, top, literal):
    target, images, labels = helpers.network(name, 957, **{"mlp_ratio": 0.5} if literal else {})
    base = drawn(target, images, every_image=top == 1)
    found = npc.find_paths(target, images, labels, context=context, quadrature="gauss-legendre",
                           steps=3, exact_steps=2, top=top, baseline=base,
                           search="literal" if literal else "joint")
    terms = terms_of(context, "gauss-legendre", 3)
    for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        path, score = context_search_from(target.model, image, label, of_image(base, row), terms,
                                          top, literal)
        assert found.neurons[row].tolist() == path
        assert found.score[row] == pytest.approx(score, rel=1e-9, abs=1e-13)


# --- beam, several numbers of neurons, steps that are added, memory ---


@pytest.mark.each_value
@pytest.mark.parametrize("attribution", ["joint", "complete"])
@pytest.mark.parametrize("name", ["cls", "cls-registers-prenorm", "avg", "avg-registers"])
def test_a_beam_finds_the_best_path_when_it_keeps_all(name, attribution):
    """With as many partial paths as there are it is a search through all, each scored from b; a
    narrow one is never below the joint search."""
    arguments, scope = helpers.NETWORKS[name]
    target = npc.TargetModel(helpers.small_vit(959, **{**arguments, "depth": 2, "mlp_ratio": 0.25}),
                             scope)
    images, labels = helpers.small_batch(2, 960)
    base, rule = drawn(target, images), [Integrand(*npc.quadrature_rule("gauss-legendre", 3))]
    found = search_paths(target, images, labels, rule, search="beam", width=4,
                         attribution=attribution, baseline=base)
    every = torch.cartesian_prod(torch.arange(4), torch.arange(4))

    def score(path):
        path = path.expand(2, 2)
        if attribution == "joint":
            return npc.joint_attribution_score(target, images, labels, path, "gauss-legendre", 3,
                                               baseline=base)
        return npc.complete_attribution(target, images, labels, path, "gauss-legendre", 3, base)

    scores = torch.stack([score(path) for path in every])
    torch.testing.assert_close(found.score, scores.max(0).values, rtol=1e-10, atol=1e-13)
    assert torch.equal(found.neurons[..., 0], every[scores.argmax(0)])
    greedy = search_paths(target, images, labels, rule, attribution=attribution, baseline=base)
    narrow = search_paths(target, images, labels, rule, search="beam", width=2,
                          attribution=attribution, baseline=base)
    assert (narrow.score >= greedy.score - 1e-12).all()
    for row in range(2):
        alone = search_paths(target, images[[row]], labels[[row]], rule, search="beam", width=2,
                             attribution=attribution, baseline=base[[row]])
        assert torch.equal(alone.neurons[0], narrow.neurons[row])
        torch.testing.assert_close(alone.score[0], narrow.score[row], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_one_search_for_several_numbers_of_neurons(name):
    target, images, labels = helpers.network(name, 961, batch=3)
    base = drawn(target, images)
    for method in ("neuron_path", "complete", "knowledge", "ablation"):
        both = npc.find_paths_by_top(target, images, labels, [None, 3], method=method,
                                     baseline=base)
        for top, found in zip((None, 3), both, strict=True):
            alone = npc.find_paths(target, images, labels, method, top=top, baseline=base)
            assert torch.equal(found.neurons, alone.neurons)
            assert torch.equal(found.score, alone.score)


def test_steps_are_added_image_by_image_each_with_its_own_baseline():
    target, images, labels = helpers.network("cls", 975, batch=6, mlp_ratio=0.5)
    base, settings = 4 * drawn(target, images), {"steps": "auto", "context": "full"}
    found = npc.find_paths(target, images, labels, baseline=base, **settings)
    assert found.steps.unique().numel() > 1  # so that some images are searched without the others
    for row in range(6):
        alone = npc.find_paths(target, images[[row]], labels[[row]], baseline=base[[row]],
                               **settings)
        assert torch.equal(found.neurons[row], alone.neurons[0])
        assert found.steps[row] == alone.steps[0]
        torch.testing.assert_close(found.score[row], alone.score[0], rtol=1e-10, atol=1e-13)


@pytest.mark.each_value
@pytest.mark.parametrize("settings", [
    {"context": "full"}, {"context": "full", "search": "beam", "width": 2},
    {"context": "full", "search": "literal"}, {"method": "complete", "top": 2}],
    ids=lambda settings: "-".join(map(str, settings.values())))
@pytest.mark.parametrize("name", ["cls", "avg-registers"])
def test_small_budgets_split_the_baseline_with_the_images(name, settings):
    target, images, labels = helpers.network(name, 965, batch=3, mlp_ratio=0.5)
    base = drawn(target, images)
    whole = npc.find_paths(target, images, labels, steps=3, baseline=base, **settings)
    same(npc.find_paths(target, images, labels, steps=3, baseline=base, **settings,
                        memory_budget=4 * memory.copy_bytes(target)), whole)
    with helpers.threads(2):
        same(npc.find_paths(target, images, labels, steps=3, baseline=base, **settings), whole)


# --- drafts ---


@pytest.mark.each_value
@pytest.mark.parametrize("attribution", ["joint", "complete"])
@pytest.mark.parametrize("search", ["joint", "literal"])
@pytest.mark.parametrize("name", ["cls", "avg-registers"])
def test_a_draft_is_confirmed_from_the_same_baseline(name, search, attribution):
    """A draft of anything but the path is found again where that is doubtful."""
    target, images, labels = helpers.network(name, 967, batch=3, mlp_ratio=0.5)
    terms = [Integrand(*npc.quadrature_rule("gauss-legendre", 2))]
    base = drawn(target, images)
    truth = search_paths(target, images, labels, terms, 1, search, attribution=attribution,
                         baseline=base)
    for first in range(target.n_blocks):
        wrong = torch.cat([truth.neurons[:, :first],
                           (truth.neurons[:, first:] + 1) % target.n_neurons], 1)
        doubts = torch.zeros(3, target.n_blocks, dtype=torch.bool)
        doubts[1:, first] = True  # of the first image nothing is doubted
        found = confirm_paths(target, images, labels, terms,
                              Found(wrong, truth.score + 1, truth.gaps + 1), doubts, search,
                              attribution, base)
        assert torch.equal(found.neurons[1:], truth.neurons[1:])
        assert torch.equal(found.neurons[0], wrong[0])
        torch.testing.assert_close(found.score[1:], truth.score[1:], rtol=1e-10, atol=1e-13)


@pytest.mark.each_value
@pytest.mark.parametrize("settings", [
    {}, {"context": "full", "top": 3}, {"search": "beam", "width": 2}, {"method": "knowledge"},
    {"method": "complete"}], ids=lambda settings: "-".join(map(str, settings.values())))
@pytest.mark.parametrize("name", ["cls", "avg"])
def test_drafted_paths_are_those_of_double_precision(name, settings):
    target, images, labels = helpers.network(name, 969, batch=6)
    base = drawn(target, images)
    double, drafted = (npc.find_paths(target, images, labels, steps=3, draft=draft, baseline=base,
                                      **settings) for draft in (None, "float32"))
    assert torch.equal(double.neurons.sort(-1).values if "top" in settings else double.neurons,
                       drafted.neurons.sort(-1).values if "top" in settings else drafted.neurons)
    torch.testing.assert_close(drafted.score, double.score, rtol=1e-3, atol=1e-5)
    assert not torch.equal(drafted.score, double.score)  # there was a draft


@pytest.mark.parametrize("method", ["neuron_path", "complete", "knowledge"])
def test_a_draft_is_not_believed_where_the_baseline_is_close(monkeypatch, method):
    """A millionth away from the clean values single precision has hardly a digit of w̄ - b: its
    choices are made again, and without the measure of that are wrong."""
    target, images, labels = helpers.network("cls", 971, batch=8)
    clean = npc.read_activations(target, images)
    base = clean + 1e-6 * drawn(target, images) * clean.abs().amax()
    double, drafted = (npc.find_paths(target, images, labels, method, context="full", steps=3,
                                      draft=draft, baseline=base) for draft in (None, "float32"))
    assert torch.equal(double.neurons, drafted.neurons)
    for module in (engine, finding):
        monkeypatch.setattr(module, "magnified", lambda *given: given[-1])
    fooled = npc.find_paths(target, images, labels, method, context="full", steps=3,
                            draft="float32", baseline=base)
    assert not torch.equal(double.neurons, fooled.neurons)


def test_by_how_much_rounding_grows():
    target, images, labels = helpers.network("avg", 973, batch=4)
    clean = npc.read_activations(target, images)
    drafted = target.in_dtype(torch.float32)
    assert magnified(drafted, images, None, 50) == 50
    assert magnified(drafted, images, torch.zeros_like(clean), 50).tolist() == [[50.0]] * 4
    base = clean.clone()
    base[0] *= 0.5
    base[1] *= -3  # further away than zero
    base[2] *= 0.5
    base[2, 1] = clean[2, 1] * 0.75
    found = magnified(drafted, images, base, 50)
    torch.testing.assert_close(found[:3, 0], torch.tensor([100.0, 50.0, 200.0]).double(),
                               rtol=1e-5, atol=0)
    assert found[3, 0] > 1e7  # at its baseline
    assert drafts.doubtful(torch.full((4, 3), 1e-5), drafted, found).all(1).tolist() == [
        True, False, True, True]
    assert not drafts.doubtful(torch.full((4, 3), 1e-4), drafted, found)[:3].any()
