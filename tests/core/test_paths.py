"""``find_paths`` and its settings: steps that are found, rules of fewer nodes, beams, precisions,
defaults."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core import baselines
from neuronpath_core.fast import engine as module
from neuronpath_core.fast import search as fast
from neuronpath_core.fast.engine import AUTO_STEPS
from neuronpath_core.fast.found import Found
from neuronpath_core.fast.partial_paths import PartialPaths
from neuronpath_core.settings import DEFAULT_WIDTH, SearchSettings
from neuronpath_core.support import memory
from tests import helpers, twins

RULES = ("left", "right", "midpoint", "gauss-legendre")
NETWORKS = ("cls", "cls-layerscale-qknorm", "cls-embed-apart", "cls-of-averaging", "avg",
            "avg-registers", "patch-of-class-token", "patch-attention-pool")
close = functools.partial(torch.testing.assert_close, rtol=1e-10, atol=1e-13)
case = functools.partial(helpers.network, batch=3)


# --- steps ---


def settled(target, images, labels, **settings):
    """``steps="auto"`` by hand: every rule in turn for one image, until two in a row agree."""
    last = None
    for steps in AUTO_STEPS:
        found = npc.find_paths(target, images, labels, steps=steps, **settings)
        if last is not None and torch.equal(found.neurons, last):
            break
        last = found.neurons
    return found


@pytest.mark.parametrize("settings", [
    {"context": "full"}, {"context": "frozen"}, {"context": "mixed"},
    {"context": "full", "quadrature": "left"}, {"context": "mixed", "quadrature": "midpoint"},
    {"context": "full", "top": 3}, {"context": "full", "search": "beam", "width": 2},
    {"context": "mixed", "search": "literal", "exact_steps": 1},
], ids=lambda settings: "-".join(map(str, settings.values())))
def test_steps_are_added_image_by_image(settings):
    taken = []
    for seed in (701, 702):
        target, images, labels = case("cls", seed, batch=6, mlp_ratio=0.5)
        found = npc.find_paths(target, images, labels, steps="auto", **settings)
        assert found.steps.dtype == torch.int64
        for i in range(6):
            alone = settled(target, images[i:i + 1], labels[i:i + 1], **settings)
            assert torch.equal(found.neurons[i], alone.neurons[0])
            assert found.steps[i] == alone.steps[0]
            close(found.score[i], alone.score[0])
        taken += found.steps.tolist()
    assert set(taken) <= set(AUTO_STEPS[1:])
    if settings == {"context": "full", "quadrature": "left"}:
        assert len(set(taken)) > 1  # otherwise nothing here would show that images settle apart


@pytest.mark.parametrize("name", ["avg", "cls-of-averaging"])
def test_steps_are_added_where_every_token_runs(name):
    target, images, labels = case(name, 703, batch=4)
    found = npc.find_paths(target, images, labels, steps="auto", quadrature="left")
    for i in range(4):
        alone = settled(target, images[i:i + 1], labels[i:i + 1], quadrature="left")
        assert torch.equal(found.neurons[i], alone.neurons[0])
        assert found.steps[i] == alone.steps[0]
        close(found.score[i], alone.score[0])


def test_only_open_images_are_searched_again(monkeypatch):
    """What settled is not computed once more, and keeps its score."""
    target, images, labels = case("cls", 701, batch=8)
    calls, native = [], module.search_by_top

    def spied(target, images, labels, terms, *rest):
        calls.append((len(terms[0].nodes), len(images)))
        return native(target, images, labels, terms, *rest)
    monkeypatch.setattr(module, "search_by_top", spied)
    found = npc.find_paths(target, images, labels, context="full", quadrature="left", steps="auto")
    expected = [(2, 8)]
    for previous, steps in zip(AUTO_STEPS, AUTO_STEPS[1:], strict=False):
        waiting = int((found.steps > previous).sum())
        if waiting:
            expected.append((steps, waiting))
    assert calls == expected


def test_what_never_settles_ends_with_the_last_rule(monkeypatch):
    """The path of every rule differs from the one before: the last is taken as it is."""
    target, images, labels = case("cls", 701, batch=2)

    def restless(target, images, labels, terms, counts, *_):
        steps = len(terms[0].nodes)
        scores = torch.full((len(images),), float(steps), dtype=torch.float64)
        return [Found(torch.full((len(images), 3, count), AUTO_STEPS.index(steps)), scores,
                      scores[:, None]) for count in counts]
    monkeypatch.setattr(module, "search_by_top", restless)
    found = npc.find_paths(target, images, labels, context="full", quadrature="left", steps="auto")
    assert found.steps.tolist() == [48, 48]
    assert found.neurons.unique().tolist() == [len(AUTO_STEPS) - 1]
    assert found.score.tolist() == [48.0, 48.0]


@pytest.mark.parametrize(("scope", "settings", "steps"), [
    ("cls", {}, [8, 4]), ("patch", {}, [12, 6, 4]), ("cls", {"context": "full"}, [12, 6, 4]),
    ("cls", {"context": "frozen"}, [8, 4]),
    ("cls", {"search": "literal", "context": "mixed"}, [8, 4]),
    ("patch", {"search": "beam"}, [12, 6, 4]), ("patch", {"nodes": 2}, 3),
    ("cls", {"quadrature": "left"}, 20), ("cls", {"quadrature": "right", "context": "full"}, 20),
    ("patch", {"quadrature": "midpoint"}, 20),
    ("cls", {"method": "activation"}, 4), ("patch", {"method": "influence_pattern"}, 3),
    ("cls", {"method": "random", "quadrature": "left"}, 20),
])
def test_steps_that_nobody_gave(scope, settings, steps):
    target = npc.TargetModel(helpers.small_vit(705), scope=scope)
    images, labels = helpers.small_batch(2, 706)
    found = npc.find_paths(target, images, labels, **settings)
    written = npc.find_paths(target, images, labels, steps=steps, **settings)
    assert found.steps.tolist() == [steps if isinstance(steps, int) else steps[-1]] * 2
    assert found.steps.dtype == torch.int64
    assert torch.equal(found.neurons, written.neurons)
    assert torch.equal(found.score, written.score)


@pytest.mark.parametrize("method", list(npc.METHODS)[1:])
def test_baselines_report_their_steps(method):
    target, images, labels = case("cls", 705, batch=2)
    assert npc.find_paths(target, images, labels, method=method, steps=7).steps.tolist() == [7, 7]


# --- how close choices are; steps by block ---


def test_gap_against_slow_scores():
    for name in ("cls", "avg", "avg-registers", "patch-of-class-token"):
        target, images, labels = case(name, 706)
        nodes, weights = npc.quadrature_rule("gauss-legendre", 2)
        found = fast.search_paths(target, images, labels, [fast.Integrand(nodes, weights)])
        for image, label, path, gap in zip(images, labels, found.neurons[..., 0].tolist(),
                                           found.gap.tolist(), strict=True):
            gaps = []
            for block in range(len(path)):
                scores = relaxed(target.model, target.scope, image, int(label), path[:block],
                                 nodes.tolist(), weights.tolist())
                first, second = scores.sort(descending=True).values[:2]
                gaps.append(float((first - second) / scores.abs().max().clamp_min(1e-300)))
            assert gap == pytest.approx(min(gaps), rel=1e-7)


def test_the_gap_lies_at_the_border_of_what_is_taken():
    """Of several neurons a block only the last and the first left out decide; where all are taken
    nothing does."""
    target, images, labels = case("avg", 706)
    rule = [fast.Integrand(*npc.quadrature_rule("gauss-legendre", 2))]
    one, three, every = (fast.search_paths(target, images, labels, rule, top)
                         for top in (1, 3, target.n_neurons))
    assert every.gap.isinf().all()
    assert not torch.equal(three.gap, one.gap) and (three.gap
                                                    > 0).all() and three.gap.isfinite().all()


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_the_gap_of_a_beam_is_the_closest_of_all_its_choices(name):
    """Proposals, partial paths and complete ones, followed by hand with slow scores; each kind is
    the closest for some image."""
    rule, decisive = npc.quadrature_rule("gauss-legendre", 2), set()
    nodes, weights = (value.tolist() for value in rule)

    def gap(values, place):
        ranked = sorted(values, reverse=True)
        return (ranked[place] - ranked[place + 1]) / max(map(abs, values))

    for seed in range(706, 720):
        target, images, labels = case(name, seed, batch=4, mlp_ratio=0.5)
        found = fast.search_paths(target, images, labels, [fast.Integrand(*rule)],
                                    search="beam", width=2)
        for image, label, path, least in zip(images, labels, found.neurons[..., 0].tolist(),
                                             found.gap.tolist(), strict=True):
            about, beam, gaps = (target.model, target.scope, image, int(label)), [[]], []
            for block in range(target.n_blocks):
                scored = []
                for partial in beam:
                    scores = relaxed(*about, partial, nodes, weights)
                    gaps += [(gap(scores.tolist(), place), "proposed") for place in (0, 1)]
                    for tried in [[*partial, neuron] for neuron in twins.best_first(scores, 2)]:
                        scored.append(
                            (twins.joint_attribution_score(*about, [[each] for each in tried],
                                                           nodes, weights), tried))
                values = [score for score, _ in scored]
                if block == target.n_blocks - 1:
                    gaps.append((gap(values, 0), "complete"))
                    assert max(scored)[1] == path
                # the joint search's own stays, one of the others goes with it
                elif len(scored) > 2:
                    second, third = sorted(values[1:], reverse=True)[:2]
                    gaps.append(((second - third) / max(map(abs, values)), "partial"))
                    beam = [scored[0][1], max(scored[1:])[1]]
                else:
                    beam = [tried for _, tried in scored]
            assert least == pytest.approx(min(gaps)[0], rel=1e-6)
            decisive.add(min(gaps)[1])
        if len(decisive) == 3:
            break
    assert decisive == {"proposed", "partial", "complete"}


def by_block_by_hand(target, image, label, every, literal=False, rule="gauss-legendre"):
    """One block after the other by its own rule, with the slow scores; the path's score by the
    last."""
    path = []
    for block in range(target.n_blocks):
        own = twins.rule(rule, every[min(block, len(every) - 1)])
        score = literally if literal else relaxed
        path.append(twins.best_first(score(target.model, target.scope, image, int(label), path,
                                           *own), 1)[0])
    return path, twins.joint_attribution_score(target.model, target.scope, image, int(label),
                                               [[neuron] for neuron in path],
                                               *twins.rule(rule, every[-1]))


def literally(model, scope, image, label, path, nodes, weights):
    """Of every neuron of the next block the score of the path with it."""
    clean = twins.clean_activations(model, scope, image)[len(path)]
    return torch.tensor([twins.joint_attribution_score(model, scope, image, label,
                                                       [[neuron] for neuron in [*path, number]],
                                                       nodes, weights)
                         for number in range(clean.shape[-1])], dtype=torch.float64)


@pytest.mark.each_value
@pytest.mark.parametrize("every", [[3, 1], [1, 4], [5, 2, 1], [2, 2, 3]], ids=str)
@pytest.mark.parametrize("name", ["cls", "cls-of-averaging", "avg", "avg-registers",
                                  "patch-attention-pool"])
def test_steps_by_block_against_slow_scores(name, every):
    target, images, labels = case(name, 718)
    found = npc.find_paths(target, images, labels, context="full", steps=every)
    assert found.steps.tolist() == [every[-1]] * len(images)
    for image, label, path, score in zip(images, labels, found.neurons.tolist(),
                                         found.score.tolist(), strict=True):
        expected, value = by_block_by_hand(target, image, label, every)
        assert path == expected
        assert abs(score - value) <= 1e-9 * max(1e-3, abs(value))


def test_literal_search_by_block_against_slow_scores():
    for name in ("cls", "avg"):
        target, images, labels = case(name, 719, mlp_ratio=0.5)
        found = npc.find_paths(target, images, labels, search="literal", context="full",
                               steps=[3, 1])
        assert found.neurons.tolist() == [by_block_by_hand(target, image, label, [3, 1],
                                                           literal=True)[0] for image,
                                          label in zip(images, labels, strict=True)]


@pytest.mark.parametrize("settings", [
    {"context": "full"}, {"context": "frozen"}, {"context": "mixed", "exact_steps": 2},
    {"context": "full", "search": "literal"},
    {"context": "full", "search": "beam", "width": 2}, {"context": "full", "method": "complete"},
    {"context": "full", "quadrature": "left"},
    {"context": "full", "top": 3}], ids=lambda settings: "-".join(map(str, settings.values())))
def test_equal_steps_by_block_are_those_steps(settings):
    for name in ("cls", "avg") if settings["context"] == "full" else ("cls",):
        target, images, labels = case(name, 720)
        whole, each = (npc.find_paths(target, images, labels, steps=steps, **settings)
                       for steps in (4, [4, 4, 4]))
        assert torch.equal(each.neurons, whole.neurons) and torch.equal(each.score, whole.score)


def test_mixed_context_by_block_is_a_sum_of_terms_at_each():
    """With as many exact as frozen nodes the frozen ones cancel, at every block."""
    target, images, labels = case("cls", 721, batch=5)
    exact = npc.find_paths(target, images, labels, context="full", steps=[4, 2, 1])
    mixed = npc.find_paths(target, images, labels, context="mixed", steps=[4, 2, 1],
                           exact_steps=[4, 2, 1])
    assert torch.equal(mixed.neurons, exact.neurons)
    close(mixed.score, exact.score)
    terms = module.integral("mixed", "gauss-legendre", [8, 4], None, [4, 2, 1])
    assert [(len(term.nodes), term.frozen, term.first, term.stop) for term in terms] == [
        (4, False, 0, 1), (12, True, 0, 1), (2, False, 1, 2), (6, True, 1, 2), (1, False, 2, None),
        (5, True, 2, None)]
    assert [(len(term.nodes), term.first, term.stop)
            for term in module.integral("full", "gauss-legendre",
                                        [3, 3, 2])] == [(3, 0, 2), (2, 2, None)]


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_steps_by_block_do_not_depend_on_the_budget_or_the_batch(name):
    target, images, labels = case(name, 722, batch=6)
    settings = {"context": "full", "steps": [8, 4, 2]}
    whole = npc.find_paths(target, images, labels, **settings)
    frugal = npc.find_paths(target, images, labels, memory_budget=3 * memory.copy_bytes(target),
                            **settings)
    alone = [npc.find_paths(target, images[[row]], labels[[row]], **settings) for row in range(6)]
    assert torch.equal(frugal.neurons,
                       whole.neurons) and torch.equal(torch.cat([each.neurons for each in alone]),
                                                      whole.neurons)
    close(frugal.score, whole.score)
    close(torch.cat([each.score for each in alone]), whole.score)


@pytest.mark.parametrize("name", ["cls", "avg", "patch-attention-pool"])
def test_the_default_goes_block_by_block(name):
    target, images, labels = case(name, 708, batch=6)
    written = {"context": "mixed", "steps": [8, 4],
               "exact_steps": [6, 4, 2]} if name == "cls" else {"context": "full",
                                                                "steps": [12, 6, 4]}
    found = npc.find_paths(target, images, labels)
    expected = npc.find_paths(target, images, labels, quadrature="gauss-legendre", **written)
    assert torch.equal(found.neurons, expected.neurons) and torch.equal(found.score,
                                                                        expected.score) and torch.equal(found.steps, expected.steps)


# --- drafts in single precision ---


DRAFTED = [{}, {"context": "full"}, {"context": "frozen"}, {"search": "literal"},
           {"method": "complete"}, {"top": 3}, {"steps": "auto"},
           {"method": "activation"}, {"method": "matched_random"}, {"search": "beam"}]


@pytest.mark.parametrize("settings", DRAFTED,
                         ids=lambda settings: "-".join(map(str, settings.values())) or "default")
def test_a_draft_finds_the_paths_of_double_precision(settings):
    for seed in (709, 710):
        target, images, labels = case("cls", seed, batch=6)
        exact = npc.find_paths(target, images, labels, **settings)
        drafted = npc.find_paths(target, images, labels, draft="float32", **settings)
        assert torch.equal(drafted.neurons.sort(-1).values if "top" in settings
                           else drafted.neurons,
                           exact.neurons.sort(-1).values if "top" in settings else exact.neurons)
        assert torch.equal(drafted.steps, exact.steps)
        assert drafted.score.dtype == torch.float64 and target.dtype == torch.float64
        torch.testing.assert_close(drafted.score, exact.score, rtol=2e-4, atol=1e-9)
        assert not torch.equal(drafted.score, exact.score)


def twin_neurons(seed: int, apart: float):
    """A network in which every neuron of the second half of a block is one of the first, a little
    stronger."""
    target, images, labels = case("cls", seed, batch=6)
    with torch.no_grad():
        for block in target.model.blocks:
            half = target.n_neurons // 2
            block.mlp.fc1.weight[half:] = block.mlp.fc1.weight[:half]
            block.mlp.fc1.bias[half:] = block.mlp.fc1.bias[:half]
            block.mlp.fc2.weight[:, half:] = block.mlp.fc2.weight[:, :half] * (1 + apart)
    return target, images, labels


def test_choices_closer_than_single_precision_can_tell_are_made_in_double(monkeypatch):
    """Twin neurons whose scores differ by 1e-9: single precision alone chooses the wrong one of
    some pair."""
    target, images, labels = twin_neurons(712, 1e-9)
    exact = npc.find_paths(target, images, labels)
    lower = npc.find_paths(target.in_dtype(torch.float32), images.float(), labels)
    assert not torch.equal(lower.neurons, exact.neurons)
    drafted = npc.find_paths(target, images, labels, draft="float32")
    assert torch.equal(drafted.neurons, exact.neurons)
    close(drafted.score, exact.score)  # every image was searched again
    monkeypatch.setattr(module, "ROUNDING_UNITS", 0)
    assert not torch.equal(npc.find_paths(target, images, labels, draft="float32").neurons,
                           exact.neurons)


def test_what_overflows_in_single_precision_is_searched_in_double():
    target, images, labels = case("cls", 713)
    with torch.no_grad():
        # its square, in the norm, is beyond single precision
        target.model.patch_embed.proj.weight[0] *= 1e25
    exact = npc.find_paths(target, images, labels)
    assert not npc.find_paths(target.in_dtype(torch.float32), images.float(),
                              labels).score.isfinite().all()
    assert exact.score.isfinite().all()
    drafted = npc.find_paths(target, images, labels, draft="float32")
    assert torch.equal(drafted.neurons, exact.neurons)
    close(drafted.score, exact.score)


@pytest.mark.parametrize("context", ["full", "mixed"])
def test_a_draft_sees_what_is_left_of_a_saturated_probability(context):
    """Of 1 - F = 1e-12 nothing is left in single precision; its gradient still ranks the neurons.
    """
    target, images, labels = case("cls", 715, batch=6)
    with torch.no_grad():
        labels, margin = target(images).argmax(1), target(images).topk(2).values
        for part in (target.model.head.weight, target.model.head.bias):
            part *= 28 / (margin[:, 0] - margin[:, 1]).max()
        assert ((target(images).softmax(-1).amax(1) < 1)
                & (target(images).float().softmax(-1).amax(1) == 1)).any()
    lower = target.in_dtype(torch.float32)
    exact = npc.find_paths(target, images, labels, context=context)
    rule = ("gauss-legendre", 3)
    torch.testing.assert_close(npc.joint_attribution_score(lower, images.float(), labels,
                                                           exact.neurons, *rule).double(),
                               npc.joint_attribution_score(target, images, labels, exact.neurons,
                                                           *rule), rtol=1e-3, atol=0)
    assert torch.equal(npc.find_paths(target, images, labels, context=context,
                                      draft="float32").neurons, exact.neurons)


def test_a_draft_leaves_the_model_alone_and_is_not_made_of_one_with_hooks():
    target, images, labels = case("cls", 714)
    before = helpers.Snapshot(target.model)
    npc.find_paths(target, images, labels, draft="float32")
    before.check()
    with npc.edit(target, torch.zeros(1, 3, dtype=torch.int64), "enhance"):
        exact = npc.find_paths(target, images, labels)
        drafted = npc.find_paths(target, images, labels, draft="float32")
    assert torch.equal(drafted.neurons, exact.neurons) and torch.equal(drafted.score, exact.score)
    lower = target.in_dtype(torch.float32)
    assert lower.dtype == torch.float32 and completed(lower, draft="float32")["draft"] is None


# --- fewer nodes than steps ---


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 20, 64])
@pytest.mark.parametrize("rule", RULES)
def test_condensed_rules_are_exact_for_polynomials(rule, steps):
    """They reproduce the rule's sum, not the integral: up to degree 2 nodes - 1."""
    points, shares = (np.array(values) for values in twins.rule(rule, steps))
    for nodes in sorted({1, 2, 3, 4, 8, steps - 1, steps} & set(range(1, steps + 1))):
        found, weights = (value.numpy() for value in npc.quadrature_rule(rule, steps, nodes))
        assert found.shape == weights.shape == (nodes,)
        assert found.dtype == weights.dtype == np.float64
        assert abs(weights.sum() - 1) < 1e-13
        assert (weights > 0).all()
        assert (np.diff(found) > 0).all()
        assert found[0] >= points[0] - 1e-13
        assert found[-1] <= points[-1] + 1e-13
        # Legendre polynomials: powers of high degree would all look alike
        for degree in range(2 * nodes):
            polynomial = np.polynomial.legendre.Legendre.basis(degree, domain=[0, 1])
            assert abs(weights @ polynomial(found) - shares @ polynomial(points)) < 1e-12


@pytest.mark.parametrize("rule", RULES)
def test_condensed_rules_are_not_exact_beyond(rule):
    """The degree that is named is the largest."""
    points, shares = (np.array(values) for values in twins.rule(rule, 20))
    found, weights = (value.numpy() for value in npc.quadrature_rule(rule, 20, 3))
    polynomial = np.polynomial.legendre.Legendre.basis(6, domain=[0, 1])
    assert abs(weights @ polynomial(found) - shares @ polynomial(points)) > 1e-3


@pytest.mark.parametrize("nodes", [1, 2, 3, 5])
@pytest.mark.parametrize("rule", RULES)
def test_condensed_rules_equal_their_twin(rule, nodes):
    """Lanczos and eigenvalues against zeros of the orthogonal polynomial."""
    for found, expected in zip(npc.quadrature_rule(rule, 20, nodes),
                               twins.condensed_rule(rule, 20, nodes), strict=True):
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-10,
                                   atol=1e-11)


def test_condensed_gauss_legendre_is_gauss_legendre():
    for nodes in (1, 2, 5, 9):
        for one, other in zip(npc.quadrature_rule("gauss-legendre", 10, nodes),
                              npc.quadrature_rule("gauss-legendre", nodes), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("steps", [1, 2, 7, 20])
@pytest.mark.parametrize("rule", RULES)
def test_as_many_nodes_as_steps_are_the_rule_itself(rule, steps):
    expected = twins.rule(rule, steps)
    for nodes in (None, steps):
        for one, other in zip(npc.quadrature_rule(rule, steps, nodes), expected, strict=True):
            torch.testing.assert_close(one, torch.tensor(other, dtype=torch.float64), rtol=1e-14,
                                       atol=1e-15)


@pytest.mark.parametrize("nodes", [0, -1, 6, True, False, 2.0, "2", [2], np.int64(2) * 1.0])
def test_nodes_out_of_range(nodes):
    target, images, labels = case("cls", 705, batch=2)
    paths = torch.zeros(2, 3, dtype=torch.int64)
    for call in (lambda: npc.quadrature_rule("left", 5, nodes),
                 lambda: npc.find_paths(target, images, labels, steps=5, nodes=nodes),
                 lambda: npc.joint_attribution_score(target, images, labels, paths, steps=5,
                                                     nodes=nodes)):
        with pytest.raises(ValueError, match=r"nodes must be a whole number in 1\.\.5") as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("settings", [{"context": "full"}, {"context": "mixed"},
                                      {"search": "literal"}, {"search": "beam"},
                                      *({"method": method} for method in list(npc.METHODS)[1:])],
                         ids=lambda settings: "-".join(settings.values()))
def test_as_many_nodes_as_steps_find_the_same(settings):
    target, images, labels = case("cls", 705, mlp_ratio=0.5)
    found, expected = (npc.find_paths(target, images, labels, quadrature="left", steps=5,
                                      nodes=nodes, **settings) for nodes in (5, None))
    assert torch.equal(found.neurons, expected.neurons)
    assert torch.equal(found.score, expected.score)


@pytest.mark.parametrize("method", ["conductance", "influence_pattern", "influence_pattern_eq9",
                                    "activation"])
def test_few_nodes_are_of_the_score_alone_where_neurons_are_not_chosen_along_a_path(method):
    """Between the zero image and the image the rule is evaluated at all its nodes, and two places
    would choose others."""
    target, images, labels = case("cls", 707, batch=12)
    found, every = (npc.find_paths(target, images, labels, method, quadrature="left", steps=20,
                                   nodes=nodes) for nodes in (2, None))
    assert torch.equal(found.neurons, every.neurons)
    close(found.score, npc.joint_attribution_score(target, images, labels, found.neurons, "left",
                                                   20, 2))
    # the control: all nodes give another number
    assert float(((every.score - found.score) / found.score).abs().max()) > 1e-6
    few = npc.quadrature_rule("left", 20, 2)
    chosen = {"conductance": lambda: npc.ranking.top_neurons(
        baselines.conductance(target, images, labels, *few), 1),
              "influence_pattern": lambda: npc.ranking.top_neurons(
        baselines.influence_pattern(target, images, labels, *few), 1),
              "influence_pattern_eq9": lambda: baselines.influence_pattern_eq9_paths(target, images,
                                                                                     labels, *few,
                                                                                     1)}
    if method in chosen:
        assert not torch.equal(found.neurons, chosen[method]()[..., 0])


# --- several numbers of neurons at once; what a draft leaves to be done ---


@pytest.mark.each_value
@pytest.mark.parametrize("settings", [
    {"context": "full"}, {"context": "mixed"}, {"context": "full", "quadrature": "left", "steps": 5,
                                                "nodes": 3}, {"search": "literal", "steps": 2},
    {"steps": "auto"}, {"method": "complete"}, {"method": "conductance", "steps": 2},
    {"method": "random"}, {"draft": "float32"},
    {"memory_budget": "tight"},
], ids=lambda settings: "-".join(map(str, settings.values())))
@pytest.mark.parametrize("name", ["cls", "avg", "patch-attention-pool"])
def test_several_numbers_of_neurons_give_what_each_gives_alone(name, settings):
    target, images, labels = case(name, 712)
    if settings.get("context") == "mixed" and target.scope != "cls":
        settings = settings | {"context": "auto"}
    if "memory_budget" in settings:
        settings = {"memory_budget": 3 * memory.copy_bytes(target)}
    tops = [3, None, 1, target.n_neurons]
    found = npc.find_paths_by_top(target, images, labels, tops, **settings)
    for top, paths in zip(tops, found, strict=True):
        alone = npc.find_paths(target, images, labels, top=top, **settings)
        assert torch.equal(paths.neurons,
                           alone.neurons) and torch.equal(paths.score,
                                                          alone.score) and torch.equal(
            paths.steps, alone.steps)


def test_no_number_of_neurons_is_no_paths_and_a_beam_keeps_one():
    target, images, labels = case("cls", 712)
    assert npc.find_paths_by_top(target, images, labels, []) == []
    beam = npc.find_paths_by_top(target, images, labels, [None, 1], search="beam", width=2)
    assert torch.equal(beam[0].neurons, beam[1].neurons[..., 0])
    for tops, settings in (([1, 2], {"search": "beam"}), ([1, 0], {}), ([5, 99], {}), ([True], {})):
        with pytest.raises(ValueError, match="top must be"):
            npc.find_paths_by_top(target, images, labels, tops, **settings)


@pytest.mark.each_value
@pytest.mark.parametrize("search", ["joint", "literal"])
@pytest.mark.parametrize("attribution", ["joint", "complete"])
@pytest.mark.parametrize("name", ["cls", "avg", "avg-registers"])
def test_a_draft_is_made_anew_from_the_first_doubtful_block_that_was_wrong(name, attribution,
                                                                           search):
    """A draft of anything but the path: found again where that is doubtful, with all that follows,
    and believed where it is not."""
    target, images, labels = case(name, 713, batch=4)
    terms, blocks = [fast.Integrand(*npc.quadrature_rule("gauss-legendre", 2))], target.n_blocks
    for top in (1, 3):
        truth = fast.search_paths(target, images, labels, terms, top, search,
                                    attribution=attribution)
        wrong = (truth.neurons + 1) % target.n_neurons
        for first in range(blocks):
            neurons = torch.cat([truth.neurons[:, :first], wrong[:, first:]], 1)
            draft = Found(neurons, truth.score + 1, truth.gaps + 1)
            doubtful = torch.zeros(4, blocks, dtype=torch.bool)
            doubtful[:3, first], doubtful[0, 0] = True, True  # of the last image nothing is doubted
            found = fast.confirm_paths(target, images, labels, terms, draft, doubtful, search,
                                         attribution)
            assert torch.equal(found.neurons[:3].sort(-1).values, truth.neurons[:3].sort(-1).values)
            assert torch.equal(found.neurons[3], neurons[3])
            close(found.score[:3], truth.score[:3])
            close(found.gaps[:3, first:], truth.gaps[:3, first:], rtol=1e-8)
        untouched = fast.confirm_paths(target, images, labels, terms, truth,
                                         torch.zeros(4, blocks, dtype=torch.bool), search,
                                         attribution)
        assert torch.equal(untouched.neurons, truth.neurons)
        close(untouched.score, truth.score)


def test_what_is_not_doubtful_costs_no_scores(monkeypatch):
    target, images, labels = case("cls", 713, batch=4)
    terms, asked = [fast.Integrand(*npc.quadrature_rule("gauss-legendre", 2))], []
    draft = fast.search_paths(target, images, labels, terms)
    native = PartialPaths.joint_scores
    monkeypatch.setattr(PartialPaths, "joint_scores", lambda self,
                        block: asked.append((block, len(self.total))) or native(self, block))
    doubtful = torch.tensor([[True, False, False], [False, False, True], [False, False, True],
                             [False, False, False]])
    fast.confirm_paths(target, images, labels, terms, draft, doubtful)
    assert asked == [(0, 1), (2, 2)]


@pytest.mark.parametrize("method", ["knowledge", "conductance", "influence_pattern"])
def test_attributions_are_drafted_and_twins_told_apart_in_double(monkeypatch, method):
    """Half the neurons are twins whose vector is longer by 1e-9: only double precision sees which.
    """
    target, images, labels = case("cls", 714, batch=6)
    half, double = target.n_neurons // 2, []
    with torch.no_grad():
        for block in target.model.blocks:
            block.mlp.fc1.weight[half:] = block.mlp.fc1.weight[:half]
            block.mlp.fc1.bias[half:] = block.mlp.fc1.bias[:half]
            block.mlp.fc2.weight[:, half:] = block.mlp.fc2.weight[:, :half] * (1 + 1e-9)
    native = npc.METHODS[method].rank

    def spied(model, batch, *rest):
        double.append((model.dtype, len(batch)))
        return native(model, batch, *rest)
    monkeypatch.setitem(npc.METHODS, method, replace(npc.METHODS[method], rank=spied))
    found, plain = (npc.find_paths(target, images, labels, method, steps=3, draft=draft)
                    for draft in ("float32", None))
    assert torch.equal(found.neurons, plain.neurons)
    assert double == [(torch.float32, 6), (torch.float64, 6), (torch.float64, 6)]


def test_an_attribution_that_chooses_clearly_is_left_in_single_precision(monkeypatch):
    target, images, labels = case("cls", 714, batch=6)
    native, precisions = npc.METHODS["influence_pattern"].rank, []

    def spied(model, *rest):
        precisions.append(model.dtype)
        return native(model, *rest)
    monkeypatch.setitem(npc.METHODS, "influence_pattern",
                        replace(npc.METHODS["influence_pattern"], rank=spied))
    found, plain = (npc.find_paths(target, images, labels, "influence_pattern", steps=3,
                                   draft=draft) for draft in ("float32", None))
    assert torch.equal(found.neurons, plain.neurons)
    assert precisions == [torch.float32, torch.float64]


def test_paths_by_another_attribution_with_steps_added_are_scored_by_the_published_number():
    target, images, labels = case("cls", 709)
    found = npc.find_paths(target, images, labels, "complete", steps="auto", quadrature="left",
                           context="full")
    close(found.score, npc.joint_attribution_score(target, images, labels, found.neurons, "left",
                                                   20))
    assert (found.steps != 20).any()


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_fewer_nodes_come_near(name):
    """The published rule's own score, bias included, and closer with more nodes."""
    target, images, labels = case(name, 707)
    rule = {"context": "full", "quadrature": "left", "steps": 20}
    whole = npc.find_paths(target, images, labels, **rule)
    away = []
    for nodes in (2, 4, 8):
        few = npc.find_paths(target, images, labels, nodes=nodes, **rule)
        assert few.steps.tolist() == [20, 20, 20]
        close(few.score, npc.joint_attribution_score(target, images, labels, few.neurons, "left",
                                                     20, nodes))
        given = npc.joint_attribution_score(target, images, labels, whole.neurons, "left", 20,
                                            nodes)
        away.append(float(((given - whole.score) / whole.score).abs().max()))
    assert away[2] < away[1] < away[0]
    assert away[2] < 1e-6
    assert torch.equal(few.neurons, whole.neurons)
    # the control: so many nodes of another rule estimate another number
    other = npc.joint_attribution_score(target, images, labels, whole.neurons, "left", 8)
    assert float(((other - whole.score) / whole.score).abs().max()) > 1e-4


# --- beam ---


@pytest.mark.each_value
@pytest.mark.parametrize("settings",
                         [{"context": "full"}, {"context": "full", "quadrature": "left",
                                                "steps": 5}, {}], ids=["full", "left", "auto"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_beam_of_one_is_the_joint_search(name, settings):
    target, images, labels = case(name, 711)
    joint = npc.find_paths(target, images, labels, **settings)
    beam = npc.find_paths(target, images, labels, search="beam", width=1, **settings)
    assert torch.equal(beam.neurons, joint.neurons)
    close(beam.score, joint.score)


@pytest.mark.each_value
@pytest.mark.parametrize("width", [2, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_beam_is_never_below_the_joint_search(name, width):
    for seed in (721, 722):
        target, images, labels = case(name, seed)
        joint = npc.find_paths(target, images, labels)
        beam = npc.find_paths(target, images, labels, search="beam", width=width)
        assert beam.neurons.shape == joint.neurons.shape
        assert (beam.score >= joint.score - 1e-12).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_score_of_a_beam_is_that_of_its_path(name):
    target, images, labels = case(name, 731)
    for rule, steps in (("gauss-legendre", 3), ("left", 4)):
        beam = npc.find_paths(target, images, labels, search="beam", width=3, context="full",
                              quadrature=rule, steps=steps)
        close(beam.score, npc.joint_attribution_score(target, images, labels, beam.neurons, rule,
                                                      steps))
        for image, label, path, score in zip(images, labels, beam.neurons.tolist(),
                                             beam.score.tolist(), strict=True):
            value = twins.joint_attribution_score(target.model, target.scope, image, int(label),
                                                  [[neuron] for neuron in path],
                                                  *twins.rule(rule, steps))
            assert abs(score - value) <= 1e-9 * max(1e-3, abs(value))


def beam_by_hand(model, scope, image, label, width, nodes, weights):
    """The documented procedure with the twins' slow scores: propose by the joint relaxation, decide
    by each path's own score.

    Among equals the first is kept, and the joint search's own path always.
    """
    greedy, _ = twins.published_search(model, scope, image, label, nodes, weights)
    greedy, held = [neuron for neuron, in greedy], [[]]
    for block in range(len(model.blocks)):
        tried = []
        for path in held:
            scores = relaxed(model, scope, image, label, path, nodes, weights)
            tried += [[*path, neuron] for neuron in twins.best_first(scores, width)]
        scores = [twins.joint_attribution_score(model, scope, image, label,
                                                [[neuron] for neuron in path], nodes, weights)
                  for path in tried]
        if block < len(model.blocks) - 1:
            scores[tried.index(greedy[:block + 1])] = float("inf")
        kept = twins.best_first(scores, width)
        held, best = [tried[number] for number in kept], scores[kept[0]]
    return held[0], best


def relaxed(model, scope, image, label, path, nodes, weights):
    """The joint relaxation's scores for the block after a partial path."""
    clean, block = twins.clean_activations(model, scope, image), len(path)
    moved = [[neuron] for neuron in path] + [list(range(clean[0].shape[1]))]
    function, values = twins.path_function(model, scope, image, label, moved)
    *earlier, own = twins.integrated_gradients(function, values, nodes, weights)
    height = clean[block] + sum(clean[number][:, [neuron]] for number, neuron in enumerate(path))
    return ((own + sum(earlier)) * height).sum(0)


def test_beam_by_block_against_slow_scores():
    """A neuron is proposed by its block's rule; the partial path with it is scored by the rule of
    the block that comes next, the whole one by the last."""
    decisive = 0
    for every in ([3, 1, 2], [1, 5, 2]):
        for seed in (741, 742):
            target, images, labels = case("cls", seed, batch=6, mlp_ratio=0.5)
            found = npc.find_paths(target, images, labels, search="beam", width=2, context="full",
                                   quadrature="left", steps=every)
            once = npc.find_paths(target, images, labels, search="beam", width=2, context="full",
                                  quadrature="left", steps=every[-1])
            decisive += int((found.neurons != once.neurons).any(1).sum())
            for image, label, path, score in zip(images, labels, found.neurons.tolist(),
                                                 found.score.tolist(), strict=True):
                about, held = (target.model, target.scope, image, int(label)), [[]]
                greedy = by_block_by_hand(target, image, label, every, rule="left")[0]
                for block in range(target.n_blocks):
                    own, following = (twins.rule("left", every[min(number, len(every) - 1)])
                                      for number in (block, block + 1))
                    tried = [[*partial, neuron] for partial in held
                             for neuron in twins.best_first(relaxed(*about, partial, *own), 2)]
                    scores = [twins.joint_attribution_score(*about,
                                                            [[neuron] for neuron in partial],
                                                            *following) for partial in tried]
                    if block < target.n_blocks - 1:
                        scores[tried.index(greedy[:block + 1])] = float("inf")
                    kept = twins.best_first(scores, 2)
                    held, best = [tried[number] for number in kept], scores[kept[0]]
                assert path == held[0]
                assert abs(score - best) <= 1e-9 * max(1e-3, abs(best))
    assert decisive > 0


@pytest.mark.each_value
@pytest.mark.parametrize("width", [2, 3])
@pytest.mark.parametrize("name", ["cls", "cls-layerscale-qknorm", "cls-of-averaging", "avg",
                                  "avg-registers"])
def test_beam_equals_its_twin(name, width):
    target, images, labels = case(name, 741, batch=2, mlp_ratio=0.5)
    beam = npc.find_paths(target, images, labels, search="beam", width=width, context="full",
                          quadrature="left", steps=2)
    for image, label, path, score in zip(images, labels, beam.neurons.tolist(), beam.score.tolist(),
                                         strict=True):
        expected, value = beam_by_hand(target.model, target.scope, image, int(label), width,
                                       *twins.rule("left", 2))
        assert path == expected
        assert abs(score - value) <= 1e-9 * max(1e-3, abs(value))


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_a_beam_that_holds_everything_is_exhaustive(pool):
    """With two blocks a beam as wide as a block keeps every first neuron and tries every second
    one."""
    for seed in (751, 752, 753):
        target = npc.TargetModel(helpers.small_vit(seed, global_pool=pool, depth=2,
                                                   mlp_ratio=0.375))
        images, labels = helpers.small_batch(3, seed)
        rule = {"context": "full", "quadrature": "gauss-legendre", "steps": 3}
        neurons, best = npc.exhaustive_paths(target, images, labels)
        joint = npc.find_paths(target, images, labels, **rule)
        for width in range(2, target.n_neurons + 1):
            beam = npc.find_paths(target, images, labels, search="beam", width=width, **rule)
            assert (joint.score - 1e-12 <= beam.score).all()
            assert (beam.score <= best + 1e-12).all()
            last = beam
        assert torch.equal(last.neurons, neurons)
        close(last.score, best)


def test_a_beam_finds_more_than_the_joint_search_somewhere():
    """Otherwise the comparisons above would hold for the joint search itself."""
    gains = []
    for seed in (721, 722, 723):
        target, images, labels = case("cls", seed)
        gains.append(npc.find_paths(target, images, labels, search="beam").score
                     - npc.find_paths(target, images, labels).score)
    assert (torch.cat(gains) > 1e-6).any()


def test_a_beam_gives_a_batch_the_answers_of_its_images():
    for name in ("cls", "avg"):
        target, images, labels = case(name, 761)
        together = npc.find_paths(target, images, labels, search="beam", width=3)
        for i in range(3):
            alone = npc.find_paths(target, images[i:i + 1], labels[i:i + 1], search="beam", width=3)
            assert torch.equal(together.neurons[i], alone.neurons[0])
            close(together.score[i], alone.score[0])


@pytest.mark.parametrize("top", [None, 1])
def test_a_beam_of_one_neuron_a_block(top):
    target, images, labels = case("cls", 761)
    beam = npc.find_paths(target, images, labels, search="beam", top=top)
    assert beam.neurons.shape == ((3, 3) if top is None else (3, 3, 1))
    assert torch.equal(beam.neurons.reshape(3, 3),
                       npc.find_paths(target, images, labels, search="beam").neurons)


@pytest.mark.parametrize("search", ["joint", "beam"])
def test_the_default_width_fits_blocks_of_fewer_neurons(search):
    target, images, labels = case("cls", 711, mlp_ratio=2 / 16)
    assert target.n_neurons == 2 < DEFAULT_WIDTH
    found = npc.find_paths(target, images, labels, search=search)
    assert torch.equal(found.neurons, npc.find_paths(target, images, labels, search=search,
                                                     width=2).neurons)


@pytest.mark.parametrize(("words", "settings"), [
    (r"width must be a whole number in 1\.\.16", {"width": 0}),
    (r"width must be a whole number in 1\.\.16", {"width": 17}),
    (r"width must be a whole number in 1\.\.16", {"width": True}),
    (r"width must be a whole number in 1\.\.16", {"width": 4.0}),
    (r"width must be a whole number in 1\.\.16", {"width": None}),
    (r"top must be None or 1 for search 'beam'", {"top": 2}),
    (r"top must be a whole number in 1\.\.16", {"top": 0}),
])
def test_bad_beams(words, settings):
    target, images, labels = case("cls", 761)
    with pytest.raises(ValueError, match=words) as caught:
        npc.find_paths(target, images, labels, search="beam", **settings)
    assert "\n" not in str(caught.value)


# --- precisions and determinism ---

SEARCHES = [{"search": search, "context": context} for search in ("joint", "literal", "beam")
            for context in ("full", "frozen", "mixed")]


@pytest.mark.each_value
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("pool", "settings"), [("token", settings) for settings in SEARCHES]
                         + [("avg", settings) for settings in SEARCHES[::3]])
def test_scores_are_in_single_precision_at_least(pool, settings, dtype):
    images, labels = helpers.small_batch(2, 772)
    images = images.to(dtype)
    exact = helpers.small_vit(771, global_pool=pool, mlp_ratio=0.5).to(dtype)
    found = npc.find_paths(npc.TargetModel(exact), images, labels, **settings)
    assert found.score.dtype == torch.float32
    assert found.neurons.dtype == torch.int64
    # the same weights and pixels in double precision give that path about the same score
    same = npc.find_paths(npc.TargetModel(exact.double()), images.double(), labels, **settings)
    assert same.score.dtype == torch.float64
    if dtype == torch.float32:
        assert torch.equal(found.neurons, same.neurons)
        torch.testing.assert_close(found.score.double(), same.score, rtol=1e-4,
                                   atol=1e-5 * float(same.score.abs().max()))
    else:
        assert torch.isfinite(found.score).all()


@pytest.mark.each_value
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", list(npc.METHODS)[1:])
def test_baselines_are_scored_in_single_precision_at_least(method, dtype):
    images, labels = helpers.small_batch(2, 772)
    assert npc.find_paths(npc.TargetModel(helpers.small_vit(771).to(dtype)), images.to(dtype),
                          labels, method=method).score.dtype == torch.float32


@pytest.fixture
def deterministic():
    native = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(native)


@pytest.mark.each_value
@pytest.mark.parametrize("pool", ["token", "avg"])
@pytest.mark.parametrize("settings", [{"search": "joint"}, {"search": "literal"},
                                      {"search": "beam"}, {"top": 3}, {"steps": "auto"},
                                      *({"method": method} for method in list(npc.METHODS)[1:])],
                         ids=lambda settings: "-".join(map(str, settings.values())))
def test_deterministic_algorithms_suffice(pool, settings, request):
    target = npc.TargetModel(helpers.small_vit(781, global_pool=pool))
    images, labels = helpers.small_batch(2, 782)
    expected = npc.find_paths(target, images, labels, **settings)
    request.getfixturevalue("deterministic")
    found = [npc.find_paths(target, images, labels, **settings) for _ in range(2)]
    for one in found:
        assert torch.equal(one.neurons, expected.neurons)
        assert torch.equal(one.score, found[0].score)


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_deterministic_algorithms_suffice_to_refine_paths(pool, deterministic):
    target = npc.TargetModel(helpers.small_vit(781, global_pool=pool))
    npc.refine_paths(target, *helpers.small_batch(2, 782), torch.zeros(2, 3, dtype=torch.int64))


# --- settings ---


def completed(target, **given) -> dict:
    return SearchSettings.of(**given).complete(target).as_dict()


def test_settings_are_completed():
    target, averaging = case("cls", 791)[0], case("avg", 791)[0]
    everything = {"method": "neuron_path", "search": "joint", "context": "mixed",
                  "quadrature": "gauss-legendre", "steps": [8, 4], "nodes": None,
                  "exact_steps": [6, 4, 2], "draft": None, "top": None, "width": 4, "seed": 0,
                  "budget": None, "question": None}
    assert completed(target) == everything
    full = everything | {"context": "full", "steps": [12, 6, 4]}  # of three blocks
    assert completed(averaging) == completed(target, context="full") == full
    assert completed(averaging, method="activation") == full | {"method": "activation", "steps": 3}
    assert completed(averaging, nodes=2) == full | {"steps": 3, "nodes": 2}
    assert completed(averaging, steps=(5, 2)) == full | {"steps": [5, 2]}
    assert completed(averaging, steps=(5, 4, 3, 2, 1)) == full | {"steps": [5, 4, 3]}
    drafted = everything | {"draft": "float32"}
    assert completed(target, draft="float32", exact_steps=(3,)) == drafted | {"exact_steps": [3]}
    assert completed(target, draft="float32", search="beam") == drafted | {"search": "beam"}
    assert completed(target, quadrature="left") == everything | {"quadrature": "left", "steps": 20}
    assert completed(target, steps="auto") == everything | {"steps": "auto"}
    given = {"search": "literal", "steps": 7, "nodes": 3, "top": 2, "seed": 5, "context": "frozen"}
    assert completed(target, **given) == everything | given
    # once more changes nothing, and find_paths takes what comes out
    assert completed(target, **completed(target, **given)) == everything | given
    images, labels = helpers.small_batch(2, 792)
    found = npc.find_paths(target, images, labels, **completed(target, **given))
    assert torch.equal(found.neurons, npc.find_paths(target, images, labels, **given).neurons)
    assert found.settings.as_dict() == everything | given


PUBLISHED = {"context": "full", "quadrature": "left", "steps": 20}


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_presets(name):
    """The published one is full context, 20 left nodes and no draft, whatever the model."""
    target, images, labels = case(name, 793)
    published = npc.find_paths(target, images, labels, settings="published")
    assert published.settings.as_dict() | PUBLISHED == published.settings.as_dict()
    assert published.settings.draft is None and published.settings.nodes is None
    same = npc.find_paths(target, images, labels, **PUBLISHED)
    assert torch.equal(published.neurons, same.neurons)
    close(published.score, same.score)
    assert npc.find_paths(target, images, labels, settings="converged").settings.steps == [32, 16, 8]
    few = npc.find_paths(target, images, labels, settings="published", steps=3).settings
    assert (few.context, few.quadrature, few.steps) == ("full", "left", 3)
    given = npc.SearchSettings(seed=3, method="random")
    assert npc.find_paths(target, images, labels, settings=given).settings.seed == 3
    assert npc.find_paths(target, images, labels, "activation", settings=given).settings.seed == 3
    text = repr(npc.find_paths(target, images, labels, quadrature="left", steps=3).settings)
    for part in ("quadrature='left'", "steps=3", f"context='{'mixed' if name == 'cls' else 'full'}'"):
        assert part in text


@pytest.mark.each_value
@pytest.mark.parametrize("name", ["cls", "avg"])
@pytest.mark.parametrize("settings", [
    {"settings": "published", "steps": 4}, {"context": "full", "search": "literal", "steps": 2},
    {"settings": "published", "steps": 4, "top": 3}, {"context": "full"},
    {"settings": "published", "nodes": 3}])
def test_the_plain_page_finds_the_same_paths(name, settings):
    """The search as it is written, on the model itself, against the fast one."""
    target, images, labels = case(name, 794)
    fast, plain = (npc.find_paths(target, images, labels, engine=engine, **settings)
                   for engine in ("fast", "plain"))
    assert torch.equal(fast.neurons, plain.neurons)
    close(plain.score, fast.score)
    assert torch.equal(fast.steps, plain.steps) and fast.settings == plain.settings


@pytest.mark.parametrize(("words", "settings"), [
    ("engine 'plain' has no search 'beam'; accepted: method 'neuron_path', search 'joint'", {"context": "full",
                                                                "search": "beam"}),
    ("engine 'plain' has no context 'mixed'; accepted: ", {}),
    ("engine 'plain' has no method 'complete'; accepted", {"method": "complete"}),
    ("engine 'plain' has no steps 'auto'; accepted", {"context": "full", "steps": "auto"}),
    ("engine 'plain' has no draft 'float32'; accepted", {"context": "full", "draft": "float32"}),
    ("engine 'plain' is for methods that search, got 'random'; accepted", {"method": "random"})])
def test_what_the_plain_page_does_not_know_is_refused(words, settings):
    helpers.refused(lambda: npc.find_paths(*case("cls", 795), engine="plain", **settings), words)


def test_unknown_engines_and_presets_are_refused():
    helpers.refused(lambda: npc.find_paths(*case("cls", 795), engine="slow"),
                    "unknown engine 'slow'; accepted: fast, plain")
    helpers.refused(lambda: npc.find_paths(*case("cls", 795), settings="paper"),
                    "unknown settings 'paper'; accepted: default, published, converged")
    helpers.refused(lambda: npc.find_paths(*case("cls", 795), settings=3),
                    "settings cannot be 3; accepted: default, published, converged")


def test_a_score_from_outside_is_found_by():
    """One function and one entry: the neuron with the smallest activation of every block."""
    target, images, labels = case("cls", 796)

    def least(target, images, labels, settings):
        return -npc.read_activations(target, images).sum(2)
    try:
        npc.register(npc.Method("least", "Least active", rank=least))
        found = npc.find_paths(target, images, labels, "least", top=2)
        expected = npc.read_activations(target, images)[:, :, 0].argsort(-1)[..., :2]
        assert torch.equal(found.neurons, expected)
        helpers.refused(lambda: npc.register(npc.Method("least", "Again", rank=least)),
                        "method 'least' is there already; accepted: a key that is none of")
        helpers.refused(lambda: npc.register(npc.Method("nothing", "Nothing")),
                        "method 'nothing' must have exactly one of rank, choose and searched")
    finally:
        del npc.METHODS["least"]


@pytest.mark.parametrize(("words", "settings"), [
    ("unknown settings stepz; accepted: method, search, context, quadrature, steps, nodes, "
     "exact_steps, draft, top, width, seed",
     {"stepz": 3}),
    (r"steps must be a whole number of at least 1, or several of them, .*, got \[\]",
     {"steps": []}),
    (r"steps must be a whole number of at least 1, or several of them, .*, got \[2, 0\]",
     {"steps": [2, 0]}),
    (r"steps must be a whole number of at least 1, or several of them, .*, got \[2, True\]",
     {"steps": [2, True]}),
    (r"steps by block are for methods .* accepted here: a whole number of at least 1, got \[2\]",
     {"steps": [2], "method": "activation"}),
    (r"steps by block are for methods .* without nodes", {"steps": [3, 2], "nodes": 2}),
    (r"exact_steps must be a whole number of at least 1, or several of them, .*, got \[\]",
     {"exact_steps": []}),
    ("unknown quadrature 'simpson'; accepted: left", {"quadrature": "simpson", "steps": [2, 1]}),
    ("unknown draft 'float16'; accepted: None, float32", {"draft": "float16"}),
    ("unknown settings a, b; accepted", {"b": 1, "a": 2}),
    ("unknown settings memory_budget; accepted", {"memory_budget": "6GB"}),
    ("unknown method 'best'; accepted: neuron_path, complete", {"method": "best"}),
    ("unknown search 'greedy'; accepted: joint, literal, beam", {"search": "greedy"}),
    ("unknown context 'clean'; accepted: auto, full, frozen, mixed", {"context": "clean"}),
    ("unknown quadrature 'simpson'; accepted: left", {"quadrature": "simpson"}),
    ("unknown quadrature 'simpson'; accepted: left", {"quadrature": "simpson", "steps": "auto"}),
    ("steps must be a whole number of at least 1", {"steps": 0}),
    ("steps must be a whole number of at least 1", {"steps": 3.0}),
    ("steps must be a whole number of at least 1", {"steps": True}),
    ("steps must be a whole number of at least 1, or 'auto'", {"steps": "many"}),
    ("steps must be .* without nodes, got 'auto'", {"steps": "auto", "nodes": 2}),
    ("steps must be .* for methods 'neuron_path' and 'complete'",
     {"steps": "auto", "method": "activation"}),
    (r"nodes must be a whole number in 1\.\.4", {"nodes": 5}),
    (r"nodes must be a whole number in 1\.\.3", {"nodes": 4, "context": "full"}),
    ("exact_steps must be a whole number of at least 1", {"exact_steps": 0}),
    ("exact_steps must be a whole number of at least 1", {"exact_steps": True}),
    ("seed must be a whole number of at least 0", {"seed": -1}),
    ("seed must be a whole number of at least 0", {"seed": 0.5}),
    (r"top must be a whole number in 1\.\.16", {"top": 17}),
    (r"top must be a whole number in 1\.\.16", {"top": True}),
])
def test_settings_that_are_refused(words, settings):
    target, images, labels = case("cls", 791)
    calls = [lambda: completed(target, **settings)]
    if "unknown settings" not in words:
        calls.append(lambda: npc.find_paths(target, images, labels, **settings))
    for call in calls:
        with pytest.raises(ValueError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
