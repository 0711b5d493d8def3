"""Scores and searches that run from a baseline to the clean values, against slow twins on the model
itself, closed forms, and the numbers without a baseline."""

import numpy as np
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core import baselines, random_paths
from neuronpath_core.forward import check_baseline
from neuronpath_core.support import memory
from tests import helpers, twins
from tests.variants.test_sites import Twin

RULES = ("left", "right", "midpoint", "gauss-legendre")
WITH_BASELINE = ("neuron_path", "complete", "ablation", "knowledge", "gradient_activation",
                 "matched_random")
WITHOUT = ("conductance", "activation", "influence_pattern", "influence_pattern_eq9", "random")


def drawn(target, images, seed=0, every_image=True, every_token=True):
    """Normal values about as large as activations; of no image and of no neuron zero."""
    tokens = len(range(target.n_tokens)[target.tokens]) if every_token else 1
    widest = max(layer.units * layer.width for layer in target.layers)
    shape = (len(images) if every_image else 1, target.n_blocks, tokens, widest)
    return torch.from_numpy(0.3 * np.random.default_rng([seed, 7]).standard_normal(shape))


def neurons_of(target, batch, rank=None, seed=0):
    rng = np.random.default_rng([seed, 8])
    every = np.stack([[rng.permutation(layer.units)[:rank or 1] for layer in target.layers]
                      for _ in range(batch)])
    return torch.from_numpy(every if rank else every[..., 0])


def lists(neurons):
    """A path as the twins take it."""
    return [[each] if isinstance(each, int) else each for each in neurons.tolist()]


# --- the twins: leaves at b + α (w̄ - b), on the model itself ---


def slopes_from(function, clean, starts, nodes, weights):
    """``∫ ∂F/∂w dα``, each tensor one straight line from its start to its clean value."""
    total = [torch.zeros_like(value) for value in clean]
    for node, weight in zip(nodes, weights, strict=True):
        leaves = [(start + node * (value - start))[None].detach().requires_grad_()
                  for value, start in zip(clean, starts, strict=True)]
        gradients = torch.autograd.grad(function(leaves), leaves)
        total = [one + weight * gradient[0] for one, gradient in zip(total, gradients, strict=True)]
    return total


def started(model, scope, image, label, base, path):
    """F as a function of the path's neurons, their clean values, and the baseline's."""
    function, clean = twins.path_function(model, scope, image, label, path)
    starts = [base[number][:, neurons].expand_as(clean[number])
              for number, neurons in enumerate(path)]
    return function, clean, starts


def joint_score_from(model, scope, image, label, base, path, nodes, weights, cross=True):
    """Definition 1 from a baseline; without ``cross`` the diagonal of its product alone."""
    function, clean, starts = started(model, scope, image, label, base, path)
    slopes = slopes_from(function, clean, starts, nodes, weights)
    heights = [value - start for value, start in zip(clean, starts, strict=True)]
    if not cross:
        return float(sum((one * two).sum() for one, two in zip(slopes, heights, strict=True)))
    return float((sum(each.sum(1) for each in heights) * sum(each.sum(1) for each in slopes)).mean())


def complete_from(model, scope, image, label, base, path):
    """F with the path at its clean values less F with the path at the baseline."""
    function, clean, starts = started(model, scope, image, label, base, path)
    with torch.no_grad():
        return float(function([value[None] for value in clean])
                     - function([value[None].clone() for value in starts]))


def search_from(model, scope, image, label, base, nodes, weights, top=1, literal=False, cross=True):
    """The joint relaxation, or Algorithm 1, from a baseline; the path and its score."""
    count, path = model.blocks[0].mlp.fc2.in_features, []
    for _ in model.blocks:
        if literal:
            scores = [joint_score_from(model, scope, image, label, base, [*path, [neuron]], nodes,
                                       weights, cross) for neuron in range(count)]
        else:
            function, clean, starts = started(model, scope, image, label, base,
                                              [*path, list(range(count))])
            *before, own = slopes_from(function, clean, starts, nodes, weights)
            *below, height = [value - start for value, start in zip(clean, starts, strict=True)]
            if cross:
                own = own + sum((each.sum(1) for each in before), torch.zeros(1))[:, None]
                height = height + sum((each.sum(1) for each in below), torch.zeros(1))[:, None]
            scores = (own * height).sum(0)
        path.append(twins.best_first(scores, top))
    return path, joint_score_from(model, scope, image, label, base, path, nodes, weights, cross)


def of_image(base, row):
    """A batch's baseline as one image's, ``(token, neuron)`` a block."""
    return base[row if len(base) > 1 else 0]


def test_from_zero_the_twins_are_those_of_the_published_scores():
    for name in ("cls", "avg"):
        arguments, scope = helpers.NETWORKS[name]
        model, (images, _) = helpers.small_vit(3, **arguments), helpers.small_batch(1, 4)
        path, rule = [[1, 5], [2, 3], [0, 7]], twins.rule("left", 3)
        none = torch.zeros(3, 1, 16, dtype=torch.float64)
        case = (model, scope, images[0], 2)
        assert joint_score_from(*case, none, path, *rule) == pytest.approx(
            twins.joint_attribution_score(*case, path, *rule), rel=1e-11)
        assert complete_from(*case, none, path) == pytest.approx(
            twins.complete_attribution(*case, path), rel=1e-11)
        found, score = search_from(*case, none, *rule)
        expected, value = twins.published_search(*case, *rule)
        assert found == expected and score == pytest.approx(value, rel=1e-11)


# --- the scores ---


SHAPES = [(True, True), (False, True), (True, False), (False, False)]


@pytest.mark.each_value
@pytest.mark.parametrize("rank", [None, 3])
@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_joint_and_complete_from_a_baseline_equal_the_slow_twins(name, rank):
    target, images, labels = helpers.network(name, 901)
    place = list(helpers.NETWORKS).index(name)
    base = drawn(target, images, place, *SHAPES[place % 4])
    neurons, rule = neurons_of(target, 2, rank), RULES[(place + (rank or 0)) % 4]
    joint = npc.joint_attribution_score(target, images, labels, neurons, rule, 4, baseline=base)
    whole = npc.complete_attribution(target, images, labels, neurons, baseline=base)
    ruled = npc.complete_attribution(target, images, labels, neurons, rule, 4, baseline=base)
    zero = npc.joint_attribution_score(target, images, labels, neurons, rule, 4)
    for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        case = (target.model, target.scope, image, label, of_image(base, row), lists(neurons[row]))
        assert joint[row] == pytest.approx(joint_score_from(*case, *twins.rule(rule, 4)), rel=1e-10,
                                           abs=1e-13)
        assert whole[row] == pytest.approx(complete_from(*case), rel=1e-10, abs=1e-13)
        assert ruled[row] == pytest.approx(joint_score_from(*case, *twins.rule(rule, 4),
                                                            cross=False), rel=1e-10, abs=1e-13)
    assert not torch.allclose(joint, zero, rtol=1e-3)  # the baseline is no small matter


@pytest.mark.parametrize("name", ["cls", "cls-layerscale-qknorm", "avg", "avg-registers"])
def test_the_converged_integral_is_what_setting_the_path_to_the_baseline_costs(name):
    """By the fundamental theorem of calculus; two left nodes are too few to seem so."""
    target, images, labels = helpers.network(name, 903, batch=3)
    base, neurons = drawn(target, images), neurons_of(target, 3)
    cost = npc.complete_attribution(target, images, labels, neurons, baseline=base)
    close = npc.complete_attribution(target, images, labels, neurons, "gauss-legendre", 16,
                                     baseline=base)
    coarse = npc.complete_attribution(target, images, labels, neurons, "left", 2, baseline=base)
    from_zero = npc.complete_attribution(target, images, labels, neurons, "gauss-legendre", 16)
    torch.testing.assert_close(close, cost, rtol=0, atol=1e-8)
    for other in (coarse, from_zero):
        assert (other - cost).abs().max() > 1e-5


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_a_product_of_two_neurons_in_closed_form(scope):
    """``F = 1/4 + m1 m2 / 2``, m the mean over T tokens: with heights h,
    ``complete = (w1 w2 - b1 b2) / 2`` and ``JAS = mean_t (h1 + h2) * ∫ (m1 + m2) / (2 T) dα``, whose
    integrand is linear."""
    model, values = helpers.product_vit(scope)
    target = npc.TargetModel(model)
    images, labels = torch.zeros(1, 3, 8, 8, dtype=torch.float64), torch.tensor([0])
    neurons, base = torch.tensor([[3, 5]]), drawn(target, images)
    tokens = values.shape[1]
    starts = torch.stack([base[0, 0, :, 3], base[0, 1, :, 5]])
    before, after = values.mean(1), starts.mean(1)
    complete = (before.prod() - after.prod()) / 2
    slope = (before.sum() + after.sum()) / 2 / (2 * tokens)
    joint = ((values - starts).sum(0) * slope).mean()
    found = npc.complete_attribution(target, images, labels, neurons, baseline=base)
    assert float(found) == pytest.approx(float(complete), abs=1e-12)
    for rule, steps in (("midpoint", 1), ("gauss-legendre", 2)):
        found = npc.joint_attribution_score(target, images, labels, neurons, rule, steps,
                                            baseline=base)
        assert float(found) == pytest.approx(float(joint), abs=1e-12)
    # the estimate to first order: what of F(clean) - F(neuron at b) is exact, F being linear in one
    gradients = baselines.gradient_activation(target, images, labels, base)
    for block, neuron in ((0, 3), (1, 5)):
        height = (values - starts).mean(1)[block]
        assert float(gradients[0, block, neuron]) == pytest.approx(
            float(height * before[1 - block] / 2), abs=1e-12)


@pytest.mark.parametrize("scaling", ["block", "neuron"])
@pytest.mark.parametrize("name", ["cls-layerscale-qknorm", "avg-registers"])
def test_single_neurons_from_a_baseline_equal_the_slow_twin(name, scaling):
    target, images, labels = helpers.network(name, 905)
    base, (nodes, weights) = drawn(target, images, every_token=False), twins.rule("right", 3)
    found = npc.knowledge_attribution(target, images, labels, "right", 3, scaling, base)
    estimate = baselines.gradient_activation(target, images, labels, base)
    clean = [twins.clean_activations(target.model, target.scope, image) for image in images]
    for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        for number in range(target.n_blocks):
            value, start = clean[row][number], base[row, number].expand_as(clean[row][number])

            def chance(scoped, number=number, image=image, label=label):
                return twins.forward(target.model, target.scope, image[None],
                                     {number: scoped}).softmax(-1)[0, label]

            def slope(at, chance=chance):
                at = at.detach().requires_grad_()
                return torch.autograd.grad(chance(at), at)[0]

            if scaling == "block":
                slopes = sum(weight * slope(start + node * (value - start))
                             for node, weight in zip(nodes, weights, strict=True))
            else:
                slopes = torch.zeros_like(value)
                for neuron in range(value.shape[1]):
                    for node, weight in zip(nodes, weights, strict=True):
                        moved = value.clone()
                        moved[:, neuron] = (start + node * (value - start))[:, neuron]
                        slopes[:, neuron] += weight * slope(moved)[:, neuron]
            torch.testing.assert_close(found[row, number], ((value - start) * slopes).sum(0),
                                       rtol=1e-10, atol=1e-13)
            torch.testing.assert_close(estimate[row, number],
                                       ((value - start) * slope(value)).sum(0), rtol=1e-10,
                                       atol=1e-13)


def test_a_baseline_next_to_the_clean_values_is_the_estimate_to_first_order():
    """Signs: a positive score supports the label. F(clean) - F(one neuron at b) is the estimate up
    to the square of the distance, and not the estimate from zero."""
    target, images, labels = helpers.network("avg", 907)
    clean = npc.read_activations(target, images)
    exact, estimate = [], []
    for size in (1e-2, 1e-3):
        base = clean - size * (1 + drawn(target, images))
        first = baselines.gradient_activation(target, images, labels, base)
        cost = torch.zeros_like(first)
        for block in range(3):
            for neuron in range(16):
                # zero at the neuron alone would cost more than its distance from b
                held = {block: clean[:, block].clone()}
                held[block][..., neuron] = base[:, block, :, neuron]
                with torch.no_grad():
                    whole, moved = (twins.forward(target.model, "patch", images, each).softmax(-1)
                                    .gather(1, labels[:, None])[:, 0] for each in (None, held))
                cost[:, block, neuron] = whole - moved
        exact.append(cost)
        estimate.append(first)
    far, near = ((one - two).abs().max() / one.abs().max()
                 for one, two in zip(exact, estimate, strict=True))
    assert near < 2e-3 and near == pytest.approx(far / 10, rel=0.2)


def test_at_the_clean_values_there_is_nothing_to_attribute():
    target, images, labels = helpers.network("avg", 909)
    clean, neurons = npc.read_activations(target, images), neurons_of(target, 2)
    for found in (npc.joint_attribution_score(target, images, labels, neurons, baseline=clean),
                  npc.complete_attribution(target, images, labels, neurons, baseline=clean),
                  npc.knowledge_attribution(target, images, labels, baseline=clean),
                  baselines.gradient_activation(target, images, labels, clean)):
        assert found.abs().max() < 1e-14
    with pytest.warns(RuntimeWarning, match="every neuron scores the same"):
        npc.find_paths(target, images, labels, "gradient_activation", baseline=clean)


# --- zero is what it was ---


@pytest.mark.each_value
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["cls", "cls-registers-prenorm", "avg", "patch-attention-pool"])
def test_a_baseline_of_zeros_changes_no_bit(name, dtype):
    """``0 + x`` and ``x - 0`` are x: the same operations on the same numbers follow."""
    target, images, labels = helpers.network(name, 911, batch=3)
    target, images = npc.TargetModel(target.model.to(dtype), target.scope), images.to(dtype)
    neurons = neurons_of(target, 3, 2)
    for every in SHAPES[::3]:
        zeros = torch.zeros_like(drawn(target, images, 0, *every), dtype=dtype)
        for score in (
            lambda base: npc.joint_attribution_score(target, images, labels, neurons, baseline=base),
            lambda base: npc.complete_attribution(target, images, labels, neurons, baseline=base),
            lambda base: npc.complete_attribution(target, images, labels, neurons, "midpoint", 3,
                                                  base),
            lambda base: npc.knowledge_attribution(target, images, labels, steps=3, baseline=base),
            lambda base: baselines.gradient_activation(target, images, labels, base),
        ):
            assert torch.equal(score(zeros), score(None))
    for settings in (*({"method": method, "steps": 2} for method in WITH_BASELINE),
                     {"engine": "plain", "settings": "published", "steps": 2},
                     {"search": "beam", "width": 2, "steps": 2}):
        found, before = (npc.find_paths(target, images, labels, baseline=base, **settings)
                         for base in (zeros, None))
        assert torch.equal(found.neurons, before.neurons)
        assert torch.equal(found.score, before.score)


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_without_a_baseline_no_operation_is_added(name):
    """What torch dispatches for a score and a search, with the heights being the activations."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, function, kinds, arguments=(), named=None):
            self.calls = [*getattr(self, "calls", []), str(function)]
            return function(*arguments, **(named or {}))

    target, images, labels = helpers.network(name, 913)
    counts = {}
    for base in (None, drawn(target, images)):
        npc.find_paths(target, images, labels, settings="published", steps=2, baseline=base)
        with Counting() as counting:
            npc.find_paths(target, images, labels, settings="published", steps=2, baseline=base)
        counts[base is None] = sum("sub" in call for call in counting.calls)
    # the heights of every block, of the search's pass and of none other
    assert counts[False] - counts[True] == target.n_blocks


# --- searches on the model itself ---


@pytest.mark.each_value
@pytest.mark.parametrize("literal", [False, True], ids=["joint", "literal"])
@pytest.mark.parametrize("top", [None, 2])
@pytest.mark.parametrize("name", ["cls", "cls-registers-prenorm", "avg", "avg-registers",
                                  "patch-attention-pool"])
def test_the_plain_search_equals_its_twin(name, top, literal):
    arguments = {"mlp_ratio": 0.5} if literal else {}
    target, images, labels = helpers.network(name, 915, **arguments)
    base = drawn(target, images, every_token=not literal)
    paths = npc.find_paths(target, images, labels, settings="published", engine="plain", steps=3,
                           top=top, search="literal" if literal else "joint", baseline=base)
    for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        path, score = search_from(target.model, target.scope, image, label, base[row],
                                  *twins.rule("left", 3), top or 1, literal)
        assert lists(paths.neurons[row]) == path
        assert paths.score[row] == pytest.approx(score, rel=1e-10, abs=1e-14)
    zero = npc.find_paths(target, images, labels, settings="published", steps=3, top=top,
                          search="literal" if literal else "joint")
    assert not torch.equal(zero.neurons, paths.neurons)


def score_of_sites(twin, base, path, nodes, weights):
    """Definition 1 from a baseline for single channels, one leaf a layer."""
    heights = [twin.clean[number][:, [one]] - base[number][:, [one]]
               for number, one in enumerate(path)]
    slopes = torch.zeros(len(twin.where), 1, dtype=base.dtype)
    for node, weight in zip(nodes, weights, strict=True):
        leaves = [(base[number][:, [one]] + node * height).detach().requires_grad_()
                  for number, (one, height) in enumerate(zip(path, heights, strict=True))]
        held = {}
        for number, (one, leaf) in enumerate(zip(path, leaves, strict=True)):
            held[number] = twin.clean[number].clone()
            held[number][:, [one]] = leaf
        slopes += weight * sum(torch.autograd.grad(twin.forward(held), leaves))
    return float((sum(heights) * slopes).mean())


@pytest.mark.each_value
@pytest.mark.parametrize("sites", ["attention", "mixed", "heads", "halves"])
@pytest.mark.parametrize("name", ["cls-layerscale-qknorm", "avg-registers"])
def test_other_sites(name, sites):
    """Single channels by the twin; units of several neurons move by a common factor from b, so that
    the score is their number times the complete attribution of a token's share."""
    arguments, scope = helpers.NETWORKS[name]
    model, (images, labels) = helpers.small_vit(917, **arguments), helpers.small_batch(2, 918)
    target = npc.SiteModel(model, scope, sites)
    neurons, base = neurons_of(target, 2), drawn(target, images)
    joint = npc.joint_attribution_score(target, images, labels, neurons, "gauss-legendre", 24,
                                        baseline=base)
    whole = npc.complete_attribution(target, images, labels, neurons, baseline=base)
    tokens = 1 if scope == "cls" else 4
    for row, label in enumerate(labels.tolist()):
        twin, held = Twin(model, scope, images[row], label, sites), {}
        for number, unit in enumerate(neurons[row].tolist()):
            channels = twin.units[number][unit]
            held[number] = twin.clean[number].clone()
            held[number][:, channels] = base[row, number][:, channels]
        with torch.no_grad():
            cost = twin.forward({}) - twin.forward(held)
        assert float(whole[row]) == pytest.approx(float(cost), abs=1e-12)
        if twin.single:
            expected = score_of_sites(twin, base[row], neurons[row].tolist(),
                                      *twins.rule("gauss-legendre", 24))
            assert float(joint[row]) == pytest.approx(expected, rel=1e-10, abs=1e-13)
    if not target.layers[0].single:
        torch.testing.assert_close(joint, target.n_blocks * whole / tokens, rtol=1e-8, atol=1e-11)
    for top in (None, 1) if sites == "halves" else (None, 2):
        found, plain = (npc.find_paths(target, images, labels, settings="published", steps=3,
                                       top=top, baseline=base, engine=engine)
                        for engine in ("fast", "plain"))
        assert torch.equal(found.neurons, plain.neurons)
        torch.testing.assert_close(found.score, plain.score, rtol=1e-10, atol=1e-13)


# --- a model that is called otherwise than its blocks ---


def test_a_model_that_is_called_otherwise_is_searched_by_calling_it():
    target, images, labels = helpers.network("cls", 919)
    base, neurons = drawn(target, images), neurons_of(target, 2)
    handle = target.model.register_forward_hook(lambda _module, _inputs, logits: 1.5 * logits)
    try:
        found = npc.joint_attribution_score(target, images, labels, neurons, "left", 3,
                                            baseline=base)
        assert target.differs is not None
        with pytest.warns(RuntimeWarning, match="engine 'plain' searches it"):
            paths = npc.find_paths(target, images, labels, settings="published", steps=3,
                                   baseline=base)
        for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            case = (target.model, "cls", image, label, base[row])
            rule = twins.rule("left", 3)
            assert found[row] == pytest.approx(joint_score_from(*case, lists(neurons[row]), *rule),
                                               rel=1e-10)
            assert lists(paths.neurons[row]) == search_from(*case, *rule)[0]
        for call in (lambda: npc.complete_attribution(target, images, labels, neurons,
                                                      baseline=base),
                     lambda: npc.knowledge_attribution(target, images, labels, baseline=base),
                     lambda: npc.find_paths(target, images, labels, "ablation", baseline=base)):
            helpers.refused(call, "not its blocks put together", "accepted")
        estimate = baselines.gradient_activation(target, images, labels, base)
        slope = baselines.gradient_activation(target, images, labels) - estimate
        assert torch.isfinite(slope).all() and slope.abs().max() > 1e-4
    finally:
        handle.remove()


# --- batches, chunks, types ---


@pytest.mark.parametrize(("name", "every"), [("cls", (True, True)), ("avg", (True, False))])
def test_images_one_by_one_and_in_small_chunks_give_the_same(name, every):
    target, images, labels = helpers.network(name, 921, batch=3)
    base, neurons = drawn(target, images, 0, *every), neurons_of(target, 3)

    def results(rows):
        own, batch = base[rows], (target, images[rows], labels[rows])
        yield npc.joint_attribution_score(*batch, neurons[rows], steps=5, baseline=own)
        yield npc.complete_attribution(*batch, neurons[rows], baseline=own)
        yield npc.complete_attribution(*batch, neurons[rows], "left", 5, baseline=own)
        yield npc.knowledge_attribution(*batch, steps=4, baseline=own)
        yield baselines.gradient_activation(*batch, own)
        for method in WITH_BASELINE:
            found = npc.find_paths(*batch, method, steps=3, baseline=own)
            yield found.neurons
            yield found.score

    whole = list(results(slice(None)))
    apart = list(zip(*(results([row]) for row in range(3)), strict=True))
    with memory.memory_limit(target, 3 * memory.copy_bytes(target)):
        small = list(results(slice(None)))
    for found, one_by_one, chunked in zip(whole, apart, small, strict=True):
        for other in (torch.cat(one_by_one), chunked):
            torch.testing.assert_close(other, found, rtol=1e-11, atol=1e-14)


def test_each_image_has_its_own_baseline():
    """The same image and label twice, with two baselines: two scores."""
    target, images, labels = helpers.network("cls", 923)
    images, labels = images[[0, 0]], labels[[0, 0]]
    base, neurons = drawn(target, images), neurons_of(target, 1).expand(2, -1).contiguous()
    both = npc.joint_attribution_score(target, images, labels, neurons, baseline=base)
    assert (both[0] - both[1]).abs() > 1e-4
    swapped = npc.joint_attribution_score(target, images, labels, neurons, baseline=base.flip(0))
    torch.testing.assert_close(swapped, both.flip(0), rtol=1e-12, atol=0)


def test_single_precision_and_values_of_another_type():
    target, images, labels = helpers.network("avg", 925)
    base, neurons = drawn(target, images), neurons_of(target, 2)
    double = npc.joint_attribution_score(target, images, labels, neurons, baseline=base)
    double_whole = npc.complete_attribution(target, images, labels, neurons, baseline=base)
    single = npc.TargetModel(target.model.float(), "patch")
    for values in (base, base.float()):
        found = npc.joint_attribution_score(single, images.float(), labels, neurons,
                                            baseline=values)
        whole = npc.complete_attribution(single, images.float(), labels, neurons, baseline=values)
        assert found.dtype == whole.dtype == torch.float32
        torch.testing.assert_close(found.double(), double, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(whole.double(), double_whole, rtol=1e-3, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu():
    for name in ("cls", "avg"):
        target, images, labels = helpers.network(name, 927)
        base = drawn(target, images)
        on_cpu = npc.find_paths(target, images, labels, baseline=base)
        target = npc.TargetModel(target.model.cuda(), target.scope)
        found = npc.find_paths(target, images.cuda(), labels.cuda(), baseline=base)
        assert found.score.device.type == "cuda"
        assert torch.equal(found.neurons.cpu(), on_cpu.neurons)
        torch.testing.assert_close(found.score.cpu(), on_cpu.score, rtol=1e-9, atol=1e-12)


def test_values_with_a_graph_are_taken_as_numbers():
    target, images, labels = helpers.network("cls", 929)
    base, neurons = drawn(target, images), neurons_of(target, 2)
    leaf = base.clone().requires_grad_()
    for call in (lambda values: npc.joint_attribution_score(target, images, labels, neurons,
                                                            baseline=values),
                 lambda values: npc.find_paths(target, images, labels, baseline=values).score):
        found = call(leaf)
        assert not found.requires_grad and leaf.grad is None
        assert torch.equal(found, call(base))
    with torch.inference_mode():
        strange = base.clone()
    assert torch.equal(call(strange), found)
    before = base.clone()
    call(base)
    assert torch.equal(base, before)


# --- methods and refusals ---


def test_methods_say_whether_they_take_a_baseline():
    assert [key for key in (*WITH_BASELINE, *WITHOUT) if npc.METHODS[key].with_baseline
            ] == list(WITH_BASELINE)


@pytest.mark.parametrize("method", WITHOUT)
def test_methods_without_a_baseline_are_refused_by_name(method):
    target, images, labels = helpers.network("cls", 931)
    for call in (lambda: npc.find_paths(target, images, labels, method,
                                        baseline=drawn(target, images)),
                 lambda: npc.find_paths_by_top(target, images, labels, [1], method=method,
                                               baseline=drawn(target, images))):
        said = helpers.refused(call, repr(method), "accepted", *WITH_BASELINE)
        assert f" {method}" not in said.split("accepted")[1]
    npc.find_paths(target, images, labels, method)


@pytest.mark.parametrize(("change", "words"), [
    (lambda base: base[0], ["values must have shape", "(image or 1, 3, token or 1, 16)"]),
    (lambda base: base[None], ["values must have shape"]),
    (lambda base: base[:, :2], ["(2, 2, 4, 16)", "(image or 1, 3, token or 1, 16)"]),
    (lambda base: base[..., :9], ["(2, 3, 4, 9)", "(image or 1, 3, token or 1, 16)"]),
    (lambda base: base[[0, 1, 0]], ["3 images", "2"]),
    (lambda base: base[:, :, :3], ["3 tokens", "the scope has 4", "or of one"]),
    (lambda base: base.masked_fill(base > 0.5, torch.nan), ["NaN", "finite"]),
    (lambda base: base.long(), ["floating-point"]),
    (lambda base: "mean", ["values must be a", "tensor", "None"]),
])
def test_a_baseline_that_does_not_fit_is_refused(change, words):
    target, images, labels = helpers.network("avg", 933)
    base, neurons = change(drawn(target, images)), neurons_of(target, 2)
    for call in (
        lambda: npc.joint_attribution_score(target, images, labels, neurons, baseline=base),
        lambda: npc.complete_attribution(target, images, labels, neurons, baseline=base),
        lambda: npc.knowledge_attribution(target, images, labels, baseline=base),
        lambda: baselines.gradient_activation(target, images, labels, base),
        lambda: npc.find_paths(target, images, labels, baseline=base),
        lambda: npc.find_paths(target, images, labels, "ablation", baseline=base),
        lambda: npc.find_paths_by_top(target, images, labels, [1], baseline=base),
    ):
        helpers.refused(call, *words, "accepted" if "shape" not in words[0] else "must")


def test_no_baseline_stays_none():
    target, *_ = helpers.network("cls", 935)
    assert check_baseline(target, None, 2) is None


def test_random_paths_are_matched_to_the_path_of_the_same_baseline():
    target, images, labels = helpers.network("cls", 937, batch=3)
    base = drawn(target, images)
    found = npc.find_paths(target, images, labels, "matched_random", seed=4, baseline=base)
    path = npc.find_paths(target, images, labels, baseline=base)
    assert torch.equal(found.neurons, random_paths.matched_random_paths(
        target, images, path.neurons, seed=4)[..., 0])
    score = npc.joint_attribution_score(target, images, labels, found.neurons, "gauss-legendre",
                                        found.settings.one_rule, baseline=base)
    torch.testing.assert_close(found.score, score, rtol=1e-12, atol=0)
