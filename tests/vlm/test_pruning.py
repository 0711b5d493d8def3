"""Neurons taken away: against weights cut out, against plants, and rules against their definition.
"""

import numpy as np
import pytest
import torch

from neuronpath_core.vlm import abilities, pruning
from neuronpath_core.vlm.gates import question_accuracy
from neuronpath_core.vlm.questions import DESCRIBE, one_each
from neuronpath_core.vlm.scenes import compose, compose_many
from neuronpath_core.vlm.sequences import NUMBERS
from neuronpath_core.vlm.words import caption, text
from tests.vlm.planted import random_vlm

SCENES = compose_many("held_out", 14)
ASKED = one_each(SCENES)


@pytest.fixture(scope="module")
def vlm():
    return random_vlm()


def table(count=40, layers=4, seed=0):
    rng = np.random.default_rng(seed)
    return pruning.Neurons(rng.dirichlet(np.ones(4), count), np.repeat(np.arange(layers),
                                                                       count // layers),
                           rng.random(count), rng.random(count), rng.random(count))


def logits(vlm):
    given = vlm.encode([scene.pixels for scene in SCENES[:2]], [DESCRIBE] * 2)
    with torch.no_grad():
        return vlm.model(**given.values).logits


def test_pruning_nothing_is_the_model_itself(vlm):
    clean = logits(vlm)
    with pruning.pruned(vlm, np.zeros(20, bool)):
        assert torch.equal(logits(vlm), clean)


def test_pruned_neurons_are_as_good_as_cut_out(vlm):
    cut = random_vlm()
    gone = np.zeros(20, bool)
    gone[[1, 4, 9, 12, 19]] = True
    for half, own in zip(cut.halves["decoder"], np.split(gone, 2), strict=True):
        kept = torch.from_numpy(~own)
        for name in ("gate_proj", "up_proj"):
            linear = getattr(half.module, name)
            linear.weight = torch.nn.Parameter(linear.weight[kept])
        half.down.weight = torch.nn.Parameter(half.down.weight[:, kept])
    with pruning.pruned(vlm, gone):
        found = logits(vlm)
    # sums of other lengths: rounding of logits of about 0.1
    torch.testing.assert_close(found, logits(cut), rtol=0, atol=1e-7)
    assert not torch.equal(found, logits(vlm))


def test_neurons_may_be_held_at_values_instead(vlm):
    means, seen = np.linspace(-1, 1, 20), []
    half = vlm.halves["decoder"][1]
    gone = np.zeros(20, bool)
    gone[[10, 13]] = True
    with pruning.pruned(vlm, gone, means):
        handle = half.down.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        logits(vlm)
        handle.remove()
    assert torch.equal(seen[0][..., [0, 3]].unique(dim=0).flatten(0, 1).unique(dim=0)[0],
                       torch.from_numpy(means[[10, 13]]))
    with pytest.raises(ValueError, match="accepted: bool"):
        next(pruning.pruned(vlm, gone[:5]).gen)


def test_a_needed_neuron_is_missed_and_one_that_is_not_is_not():
    vlm = random_vlm(1)
    numbers = [NUMBERS[word] for word in ("yes", "<eos>")]
    with torch.no_grad():  # neuron 3 of the last layer says "yes" everywhere, the others little
        half, head = vlm.halves["decoder"][-1], vlm.model.get_output_embeddings()
        half.down.weight[:] *= 1e-3
        product = []
        handle = half.down.register_forward_pre_hook(lambda _, given: product.append(given[0]))
        asked = abilities.ask(vlm, SCENES[:7], ASKED[:7])
        abilities.answered(vlm, asked)
        handle.remove()
        sign = product[0][..., 3].median().sign()
        half.down.weight[:, 3] = 1e6 * sign * head.weight[numbers[0]]
    after = [_first_word(vlm, gone) for gone in (None, 3, 5)]
    assert (after[0] == numbers[0]).float().mean() >= 0.5
    assert torch.equal(after[0], after[2])
    assert (after[1] == numbers[0]).float().mean() < 0.5


def _first_word(vlm, neuron):
    gone = np.zeros(20, bool)
    if neuron is not None:
        gone[10 + neuron] = True
    with pruning.pruned(vlm, gone):
        return logits(vlm).argmax(-1)


@pytest.mark.parametrize("rule", pruning.RULES)
def test_every_rule_takes_as_many(rule):
    neurons = table()
    like = pruning.at_least(neurons, 0.35)
    found = pruning.chosen(neurons, rule, like, np.random.default_rng(0))
    assert found.dtype == bool and found.sum() == like.sum() > 3


def test_rules_are_what_they_say():
    neurons = table()
    like = pruning.at_least(neurons, 0.35)
    assert np.array_equal(like, neurons.p[:, 3] >= 0.35)
    rng = np.random.default_rng(0)
    by_layer = pruning.chosen(neurons, "random of the same layers", like, rng)
    assert np.array_equal(np.bincount(neurons.layers[by_layer], minlength=4),
                          np.bincount(neurons.layers[like], minlength=4))
    least = pruning.chosen(neurons, "least influential", like, rng)
    assert neurons.influence[least].max() < neurons.influence[~least].min()
    visual = pruning.chosen(neurons, "visual", like, rng)
    assert neurons.p[visual, 0].min() > neurons.p[~visual, 0].max()
    draws = [pruning.chosen(neurons, "random", like, np.random.default_rng(seed))
             for seed in range(400)]
    # each of 40 neurons as often as any other: binomial, 4 standard deviations
    share = like.mean()
    assert abs(np.mean(draws, 0) - share).max() < 4 * np.sqrt(share * (1 - share) / 400)


def test_matched_neurons_are_alike_of_the_same_layer_and_others():
    rng = np.random.default_rng(0)
    size = rng.random(400)
    neurons = pruning.Neurons(np.full((400, 4), 0.25), np.repeat([0, 1], 200), size, size,
                              rng.random(400))
    like = np.zeros(400, bool)
    like[[*np.argsort(size[:200])[:20], *(200 + np.argsort(size[200:])[-20:])]] = True
    found = pruning.matched(neurons, like, rng)
    assert not (found & like).any()
    assert np.array_equal(np.bincount(neurons.layers[found]), [20, 20])
    # the least active of one layer, the most active of the other: so are their matches
    assert size[found][:20].mean() < 0.3 and size[found][20:].mean() > 0.7
    few = np.zeros(400, bool)
    few[:150] = True
    assert pruning.matched(neurons, few, rng).sum() == 50  # a layer has no more


def test_dead_neurons_have_no_type_and_stay():
    neurons = table()
    neurons.p[3] = np.nan
    assert not pruning.at_least(neurons, 0.0)[3]
    assert pruning.levels_with_neurons(neurons, (0.0, 0.5, 1.0)) == [0.0, 0.5]
    with pytest.raises(ValueError, match="accepted: visual"):
        pruning.at_least(neurons, 0.5, "audio")
    with pytest.raises(ValueError, match="accepted: unknown, random"):
        pruning.chosen(neurons, "biggest", neurons.p[:, 0] > 1, np.random.default_rng(0))


def test_answers_are_those_of_the_gates(vlm):
    asked = abilities.ask(vlm, SCENES, ASKED, batch=5)
    right = abilities.answered(vlm, asked)
    assert right.mean() == question_accuracy(vlm.model, SCENES, ASKED)["all"]
    with pytest.raises(ValueError, match="accepted: as many of each"):
        abilities.ask(vlm, SCENES, ASKED[:3])


def test_answers_count_where_every_word_and_the_end_are_right(vlm, monkeypatch):
    asked = abilities.ask(vlm, SCENES, ASKED)
    wanted = asked.ids[0]

    class Says(torch.nn.Module):
        def forward(self, states):
            """The right word everywhere but at the last target of question 2."""
            rows = torch.nonzero(abilities.is_target(wanted)[:, 1:])
            said = wanted[:, 1:][abilities.is_target(wanted)[:, 1:]].clone()
            said[torch.nonzero(rows[:, 0] == 2)[-1]] = 0
            return torch.nn.functional.one_hot(said, len(NUMBERS))

    monkeypatch.setattr(type(vlm.model), "get_output_embeddings", lambda self: Says())
    assert np.flatnonzero(~abilities.answered(vlm, asked)).tolist() == [2]


def test_captions_are_those_of_greedy_decoding_one_by_one(vlm):
    assert abilities.captions(vlm, SCENES[:3], batch=2) == vlm.generate(
        [scene.pixels for scene in SCENES[:3]], [DESCRIBE] * 3, abilities.LONGEST)


def test_a_caption_is_scored_by_its_pairs():
    own = [text(caption(scene)) for scene in SCENES]
    assert abilities.caption_scores(SCENES, own) == pytest.approx(np.full(len(SCENES), 5))
    other = abilities.caption_scores(SCENES, [*own[1:], own[0]])
    assert other.mean() < 2.5
    scene = next(scene for scene in SCENES if len(scene.things) == 1)
    thing = scene.things[0]
    assert abilities.pairs_shown(scene) == {(thing.outline, thing.colour),
                                            (thing.outline, thing.fill),
                                            (thing.outline, thing.cell)}
    # two of three said, nothing wrong: precision 1, recall 2/3, F1 0.8
    said = f"there is a {thing.colour} {thing.fill} {thing.outline} ."
    assert abilities.caption_scores([scene], [said]) == pytest.approx([4.0])
    assert abilities.caption_scores([scene], [""]) == 0
    both = " ".join([thing.outline, *(o for o in ("star", "circle") if o != thing.outline), "red"])
    assert abilities.pairs_said(both) == set()
    changed = compose("held_out", scene.index, change={thing.cell: {"colour": "red"}})
    assert (thing.outline, "red") in abilities.pairs_shown(changed)


def test_means_are_over_tokens_that_are_no_padding(vlm):
    asked = abilities.ask(vlm, SCENES[:4], ASKED[:4], batch=4)
    total, count = torch.zeros(10, dtype=torch.float64), 0
    for scene, question in zip(SCENES[:4], ASKED[:4], strict=True):
        given = abilities.ask(vlm, [scene], [question])
        seen = []
        handle = vlm.halves["decoder"][0].down.register_forward_pre_hook(
            lambda _, entering, seen=seen: seen.append(entering[0]))
        abilities.answered(vlm, given)
        handle.remove()
        total, count = total + seen[0][0].sum(0), count + seen[0].shape[1]
    torch.testing.assert_close(torch.from_numpy(abilities.mean_products(vlm, asked)[:10]),
                               total / count, rtol=1e-6, atol=1e-12)
