"""What removed neurons are replaced by, against activations read by plain hooks one image at a
time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import given as fuzz
from hypothesis import strategies as st

import neuronpath_core as npc
from neuronpath_core import interventions
from neuronpath_core import replacement as core
from neuronpath_core.variants.sites import SiteModel
from tests import helpers, twins
from tests.core.test_edges import ANYTHING

DRAWN = ("resample", "class_resample")
# two images of class 0, three of class 1, four of class 2
POOL_LABELS = torch.tensor([0, 1, 2, 1, 2, 0, 2, 1, 2])


def setting(name="cls", seed=71, batch=4):
    """Network, images with labels of classes 0, 1, 2, 0 …, and a pool of nine others."""
    target, images, _ = helpers.network(name, seed, batch)
    pool, _ = helpers.small_batch(len(POOL_LABELS), seed + 2)
    return target, images, torch.arange(batch) % 3, pool


def given(images, pool):
    """What serves every kind."""
    return {"pool": pool, "pool_labels": POOL_LABELS, "pairs": images.flip(0)}


def read(target, picture):
    """``(layer, token, neuron)`` of one image, by hooks of the tests' own."""
    return torch.stack(twins.clean_activations(target.model, target.scope, picture))


def which(target, value, pool):
    """The pool's image whose activations these are, at all layers, tokens and neurons."""
    same = [index for index, picture in enumerate(pool)
            if torch.allclose(read(target, picture), value, rtol=0, atol=1e-12)]
    assert len(same) == 1
    return same[0]


def choices(target, values, pool):
    """``[draw][image]`` indices into the pool."""
    return [[which(target, value, pool) for value in draw] for draw in values]


# --- each kind by hand ---


@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_the_mean_is_that_of_single_images(name):
    target, images, labels, pool = setting(name)
    found = npc.replacement_values(target, "mean", images, labels, pool=pool)
    expected = sum(read(target, picture) for picture in pool) / len(pool)
    assert found.shape == (1, 1, *expected.shape)
    torch.testing.assert_close(found[0, 0], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_a_counterfactual_is_each_images_own_pair(name):
    target, images, labels, _ = setting(name)
    pairs = helpers.small_batch(4, 5)[0]
    found = npc.replacement_values(target, "counterfactual", images, labels, pairs=pairs, draws=3)
    assert len(found) == 1  # nothing is drawn
    for value, picture in zip(found[0], pairs, strict=True):
        torch.testing.assert_close(value, read(target, picture), rtol=0, atol=1e-13)


@pytest.mark.each_value
@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_a_draw_is_one_other_image_with_all_its_neurons(name, kind):
    target, images, labels, pool = setting(name)
    found = npc.replacement_values(target, kind, images, labels, pool=pool,
                                   pool_labels=POOL_LABELS, draws=2)
    assert found.shape == (2, 4, target.n_blocks, 1 if target.scope == "cls" else 4, 16)
    drawn = choices(target, found, pool)
    assert all(first != second for first, second in zip(*drawn, strict=True))


def test_zero_is_zero_whatever_else_is_given():
    target, images, labels, pool = setting()
    found = npc.replacement_values(target, "zero", images, labels, draws=4, **given(images, pool))
    assert found.shape == (1, 1, 3, 1, 16) and not found.any()


@pytest.mark.each_value
@pytest.mark.parametrize("kind", npc.REPLACEMENTS)
@pytest.mark.parametrize("name", ["cls", "cls-registers-prenorm", "avg", "avg-registers"])
def test_values_at_every_token(name, kind):
    """At the scope they are those of the scope; at the other tokens what hooks read there."""
    target, images, labels, pool = setting(name)
    at_scope, found = (npc.replacement_values(target, kind, images, labels, everywhere=everywhere,
                                              **given(images, pool))
                       for everywhere in (False, True))
    if kind == "zero":
        assert torch.equal(at_scope, found)
        return
    assert found.shape[3] == target.n_tokens
    torch.testing.assert_close(found[..., target.tokens, :], at_scope, rtol=0, atol=1e-13)
    sources = {"mean": pool, "counterfactual": images.flip(0)[:1]}.get(kind)
    if sources is None:
        sources = pool[[which(target, at_scope[0, 0], pool)]]
    expected = 0
    for picture in sources:
        seen = {}
        with torch.no_grad():
            twins.forward(target.model, target.scope, picture[None], seen=seen)
        expected += torch.stack([seen[block][0] for block in range(target.n_blocks)])
    torch.testing.assert_close(found[0, 0], expected / len(sources), rtol=0, atol=1e-13)


# --- what is drawn ---


@pytest.mark.each_value
@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("apart", [False, True])
def test_never_the_image_itself_nor_a_copy_of_it(kind, apart):
    """Of the batch as its own pool, and of a pool in which every image of the batch lies twice."""
    target, images, labels, _ = setting(batch=6)
    doubled = torch.cat([images, images.flip(0)])
    more = {"pool": doubled, "pool_labels": torch.cat([labels, labels.flip(0)])} if apart else {}
    found = npc.replacement_values(target, kind, images, labels, draws=12, **more)
    drawn = choices(target, found, images)
    for row in drawn:
        assert all(index != other for index, other in enumerate(row))
    # the control: with so many draws everything else came
    for index in range(6):
        others = {other for other in range(6) if other != index
                  and (kind == "resample" or labels[other] == labels[index])}
        assert {row[index] for row in drawn} == others


def test_copies_are_told_by_their_pixels_alone():
    """A negative zero is a zero; one pixel that differs makes another image."""
    target, images, labels, _ = setting(batch=1)
    images[0, 0, 0] = 0.0
    copy, other = images.clone(), images.clone()
    copy[0, 0, 0], other[0, 0, 0, 0] = -0.0, 1e-3
    found = npc.replacement_values(target, "resample", images, labels, draws=3,
                                   pool=torch.cat([copy, images, other]))
    for draw in found:
        torch.testing.assert_close(draw[0], read(target, other[0]), rtol=0, atol=1e-13)
    helpers.refused(lambda: npc.replacement_values(target, "resample", images, labels,
                                                   pool=torch.cat([copy, images])),
                    "image 0 has no other image", "of other pixels")
    pool = setting()[-1]
    first, second = (npc.replacement_values(target, "resample", each, labels, pool=pool, draws=9)
                     for each in (images, copy))
    assert torch.equal(first, second)  # and drawn alike


@pytest.mark.parametrize("probed", [1, 7, 64, 10 ** 6])
def test_copies_against_a_comparison_of_every_pixel(probed, monkeypatch):
    """Images that differ only where no probe lies, or only where one does."""
    monkeypatch.setattr(core, "PROBED", probed)
    images = helpers.small_batch(3, 4)[0].repeat(3, 1, 1, 1)
    images[3, 0, 0, 0], images[4, -1, -1, -1] = 9.0, 9.0
    expected = [[not np.array_equal(one, other) for other in images.numpy()]
                for one in images.numpy()]
    assert core._others(images, images).tolist() == expected
    assert 9 < sum(not each for row in expected for each in row) < 27


def test_class_resampling_draws_only_the_class():
    target, images, labels, pool = setting(batch=6)
    found, free = (choices(target, npc.replacement_values(target, kind, images, labels, draws=8,
                                                          **given(images, pool)), pool)
                   for kind in ("class_resample", "resample"))

    def within(drawn):
        return [POOL_LABELS[row].tolist() == labels.tolist() for row in drawn]

    assert all(within(found)) and not any(within(free))  # the second is the control


def test_all_others_come_before_one_comes_again():
    target, images, labels, pool = setting()
    found = npc.replacement_values(target, "class_resample", images, labels, draws=12,
                                   **given(images, pool))
    drawn = choices(target, found, pool)
    for index, label in enumerate(labels):
        members = torch.nonzero(POOL_LABELS == label)[:, 0].tolist()
        column = [row[index] for row in drawn]
        for start in range(0, 12, len(members)):
            assert sorted(column[start:start + len(members)]) == members
    fewer = npc.replacement_values(target, "class_resample", images, labels, draws=5,
                                   **given(images, pool))
    assert torch.equal(fewer, found[:5])


def test_every_other_image_is_drawn_alike():
    """First draws by 400 seeds: each of four others has a count within five standard deviations."""
    target, images, labels, pool = setting(batch=1)
    allowed, counts = core._others(images, pool[:4]), torch.zeros(4)
    for seed in range(400):
        counts[core._drawn(images, allowed, labels, "resample", 1, seed)[0, 0]] += 1
    spread = (400 * 0.25 * 0.75) ** 0.5
    assert ((counts - 100).abs() < 5 * spread).all() and counts.sum() == 400


@pytest.mark.parametrize("kind", DRAWN)
def test_a_seed_says_what_is_drawn(kind):
    target, images, labels, pool = setting(batch=6)
    first, again, other = (npc.replacement_values(target, kind, images, labels, seed=seed,
                                                  **given(images, pool)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    with helpers.threads(2):
        torch.manual_seed(5)
        torch.testing.assert_close(npc.replacement_values(target, kind, images, labels, seed=1,
                                                          **given(images, pool)), first, rtol=0,
                                   atol=1e-13)


@pytest.mark.each_value
@pytest.mark.parametrize("kind", npc.REPLACEMENTS)
@pytest.mark.parametrize("name", ["cls", "avg"])
def test_a_batch_gives_what_its_images_give_one_by_one(name, kind):
    target, images, labels, pool = setting(name, batch=6)
    whole = npc.replacement_values(target, kind, images, labels, draws=2, **given(images, pool))
    for row in range(6):
        alone = npc.replacement_values(target, kind, images[row:row + 1], labels[row:row + 1],
                                       pool=pool, pool_labels=POOL_LABELS,
                                       pairs=images.flip(0)[row:row + 1], draws=2)
        expected = whole if whole.shape[1] == 1 else whole[:, row:row + 1]
        torch.testing.assert_close(alone, expected, rtol=0, atol=1e-13)


@pytest.mark.each_value
@pytest.mark.parametrize("kind", npc.REPLACEMENTS)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_chunks_give_the_same(kind, count, monkeypatch):
    target, images, labels, pool = setting("avg")
    more = {"draws": 3, **given(images, pool)}
    whole = npc.replacement_values(target, kind, images, labels, **more)
    monkeypatch.setattr(core, "images_at_once", lambda target, copies: count)
    sizes, handle = helpers.watch_batches(target.model)
    parts = npc.replacement_values(target, kind, images, labels, **more)
    handle.remove()
    assert max(sizes, default=0) <= count and (kind == "zero") == (not sizes)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-13)


def test_an_image_that_several_drew_runs_once():
    target, images, labels, pool = setting(batch=8)
    npc.replacement_values(target, "resample", images, labels, pool=pool)  # looked at
    sizes, handle = helpers.watch_batches(target.model)
    npc.replacement_values(target, "resample", images, labels, pool=pool[:2], draws=6)
    handle.remove()
    assert sum(sizes) == 2


# --- what they do in an edit ---


@pytest.mark.parametrize("scope", ["cls", "patch"])
@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0])
def test_the_planted_product_in_closed_form(scope, factor):
    """F is 1/4 + w1 w2 / 2, of patches of their means: replaced it is that of the replacement."""
    model, clean = helpers.product_vit(scope)
    target, images = npc.TargetModel(model), helpers.small_batch(2, 3)[0]
    generator = torch.Generator().manual_seed(4)
    values = torch.rand(2, 2, clean.shape[1], 16, generator=generator, dtype=torch.float64)
    path = torch.tensor([[3, 5]]).expand(2, -1)
    found = interventions.edited_probabilities(target, images, path, factor, values)[:, 0]
    held = torch.stack([values[:, 0, :, 3], values[:, 1, :, 5]], 1)
    moved = (held + factor * (clean - held)).mean(-1)
    torch.testing.assert_close(found, 0.25 + 0.5 * moved[:, 0] * moved[:, 1], rtol=0, atol=1e-14)
    off = interventions.edited_probabilities(target, images, path + 1, factor, values)[:, 0]
    torch.testing.assert_close(off, (0.25 + 0.5 * clean.mean(1).prod()).expand(2), rtol=0,
                               atol=1e-14)


@pytest.mark.parametrize("operation", ["remove", "enhance", -0.3])
@pytest.mark.parametrize("name", ["cls", "avg"])
def test_the_mean_of_constant_activations_changes_nothing(name, operation):
    target, images, labels, pool = setting(name)
    with torch.no_grad():
        for block in target.model.blocks:
            block.mlp.fc1.weight.zero_()
    values, = npc.replacement_values(target, "mean", images, labels, pool=pool)
    path = torch.tensor([[3, 1, 7]]).expand(4, -1)
    clean = interventions.class_probabilities(target, images)
    found = interventions.edited_probabilities(target, images, path, operation, values)
    torch.testing.assert_close(found, clean, rtol=0, atol=1e-13)
    zeroed = interventions.edited_probabilities(target, images, path, operation)
    assert (zeroed - clean).abs().max() > 1e-4  # the control


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("name", ["cls", "avg", "patch-of-class-token"])
def test_all_neurons_of_a_counterfactual_are_its_ffn(name, everywhere):
    """With every neuron replaced each FFN has what the pair's has, at the scope or at every token;
    attention and embedding are still the image's own."""
    target, images, labels, _ = setting(name)
    pairs = images.flip(0)
    values, = npc.replacement_values(target, "counterfactual", images, labels, pairs=pairs,
                                     everywhere=everywhere)
    none = torch.zeros(4, target.n_blocks, 16)
    found = interventions.scaled_probabilities(target, images, none, everywhere, values)
    for image, pair, probability in zip(images, pairs, found, strict=True):
        seen, handles, where = {}, [], twins.positions(target.model, target.scope)
        with torch.no_grad():
            twins.forward(target.model, target.scope, pair[None], seen=seen)
            held = {number: value[:, where] for number, value in seen.items()}
            for number, block in enumerate(target.model.blocks):
                if everywhere:
                    handles.append(block.mlp.fc2.register_forward_pre_hook(
                        lambda _module, _inputs, value=seen[number]: (value,)))
            logits = (target.model(image[None]) if everywhere else
                      twins.forward(target.model, target.scope, image[None], held))
        for handle in handles:
            handle.remove()
        torch.testing.assert_close(probability, logits[0].softmax(-1), rtol=0, atol=1e-12)
    # an image that is its own pair is left as it is
    values, = npc.replacement_values(target, "counterfactual", images, labels, pairs=images,
                                     everywhere=everywhere)
    torch.testing.assert_close(
        interventions.scaled_probabilities(target, images, none, everywhere, values),
        interventions.class_probabilities(target, images), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", npc.REPLACEMENTS)
def test_values_are_read_without_the_edits_in_force(kind):
    target, images, labels, pool = setting()
    more = {"draws": 2, **given(images, pool)}
    expected, before = (npc.replacement_values(target, kind, images, labels, **more),
                        helpers.Snapshot(target.model))
    path = torch.tensor([[3, 1, 7]])
    with npc.edit(target, path.expand(4, -1), 5.0):  # of four images, the pool has nine
        found = npc.replacement_values(target, kind, images, labels, **more)
        with torch.no_grad():
            assert (target(images) - target.model(images)).abs().max() == 0  # still in force
    assert torch.equal(found, expected) and not found.requires_grad
    before.check()


def test_a_model_that_somebody_changed_is_read_as_it_is_called():
    target, images, labels, _ = setting()
    plain, = npc.replacement_values(target, "counterfactual", images, labels, pairs=images)
    target.model.blocks[0].register_forward_hook(lambda _module, _inputs, out: 1.5 * out)
    found, = npc.replacement_values(target, "counterfactual", images, labels, pairs=images)
    assert target.differs is not None or target.plain(0) is None
    for value, picture in zip(found, images, strict=True):
        torch.testing.assert_close(value, read(target, picture), rtol=0, atol=1e-13)
    assert (found - plain).abs().max() > 1e-3


# --- other sites, precisions and devices ---


def entering(model, sites, picture, where):
    """Per layer ``(token, neuron)`` of what enters ``attn.proj`` and ``fc2``, by plain hooks."""
    halves = {"attention": ["proj"], "heads": ["proj"]}.get(sites, ["proj", "fc2"])
    modules = [block.attn.proj if half == "proj" else block.mlp.fc2
               for block in model.blocks for half in halves]
    seen, handles = {}, []
    for number, module in enumerate(modules):
        handles.append(module.register_forward_pre_hook(
            lambda _module, inputs, number=number: seen.__setitem__(number, inputs[0][0, where])))
    with torch.no_grad():
        model(picture[None])
    for handle in handles:
        handle.remove()
    return modules, [seen[number] for number in range(len(modules))]


@pytest.mark.each_value
@pytest.mark.parametrize("sites", ["attention", "mixed", "heads", "halves"])
@pytest.mark.parametrize("scope", ["cls", "patch"])
@pytest.mark.parametrize("factor", [0.0, 2.0])
def test_other_sites_are_replaced_neuron_by_neuron(sites, scope, factor):
    """Unequal layers (16 channels, 24 neurons), heads and halves, against hooks that replace every
    member of the chosen units."""
    model = helpers.small_vit(72, mlp_ratio=1.5)
    target, (images, labels) = SiteModel(model, scope, sites), helpers.small_batch(2, 73)
    pairs, where = images.flip(0) + 0.5, twins.positions(model, scope)
    values, = npc.replacement_values(target, "counterfactual", images, labels, pairs=pairs)
    units = torch.tensor([[min(1, layer.units - 1) for layer in target.layers]]).expand(2, -1)
    found = interventions.edited_probabilities(target, images, units, factor, values)
    widths = {"heads": 8, "halves": None}.get(sites, 1)
    for index, (image, pair) in enumerate(zip(images, pairs, strict=True)):
        modules, held = entering(model, sites, pair, where)
        handles = []
        for number, (module, value) in enumerate(zip(modules, held, strict=True)):
            size = value.shape[-1]
            torch.testing.assert_close(values[index, number, :, :size], value, rtol=0, atol=1e-13)
            assert not values[index, number, :, size:].any()
            width = size if widths is None else widths
            unit = int(units[index, number])

            def replace(_module, inputs, value=value, members=slice(unit * width,
                                                                    (unit + 1) * width)):
                current = inputs[0].clone()
                own = current[0, where][:, members]
                current[0, where, members] = value[:, members] + factor * (own - value[:, members])
                return (current,)
            handles.append(module.register_forward_pre_hook(replace))
        with torch.no_grad():
            expected = model(image[None]).softmax(-1)[0]
        for handle in handles:
            handle.remove()
        torch.testing.assert_close(found[index], expected, rtol=0, atol=1e-12)
    assert (found - interventions.class_probabilities(target, images)).abs().max() > 1e-4


@pytest.mark.parametrize("kind", npc.REPLACEMENTS)
def test_single_precision_draws_the_same_images(kind):
    """Pixels that single precision holds exactly; activations agree to its rounding."""
    target, images, labels, pool = setting("avg")
    images, pool = images.float().double(), pool.float().double()
    expected = npc.replacement_values(target, kind, images, labels, draws=2, **given(images, pool))
    single = npc.TargetModel(target.model.float())
    found = npc.replacement_values(single, kind, images.float(), labels, draws=2,
                                   **given(images.float(), pool.float()))
    assert found.dtype == torch.float32 and found.shape == expected.shape
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("kind", npc.REPLACEMENTS)
@pytest.mark.parametrize("name", ["cls", "avg"])
def test_a_gpu_gives_the_same_values(name, kind):
    target, images, labels, pool = setting(name)
    expected = npc.replacement_values(target, kind, images, labels, draws=2, **given(images, pool))
    path = torch.tensor([[3, 1, 7]]).expand(4, -1)
    edited = interventions.edited_probabilities(target, images, path, "remove", expected[0])
    there = npc.TargetModel(target.model.cuda(), scope=target.scope)
    more = {name: value.cuda() for name, value in given(images, pool).items()}
    found = npc.replacement_values(there, kind, images.cuda(), labels.cuda(), draws=2, **more)
    assert found.is_cuda
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-9, atol=1e-12)
    for values in (found[0], expected[0]):  # values on the CPU are brought there
        torch.testing.assert_close(
            interventions.edited_probabilities(there, images.cuda(), path.cuda(), "remove",
                                               values).cpu(), edited, rtol=1e-9, atol=1e-12)


# --- what is refused ---

TARGET, IMAGES, LABELS, POOL = setting()
SIZED = npc.TargetModel(helpers.small_vit(71, dynamic_img_size=True))
BAD = {
    "no target": (lambda: npc.replacement_values(TARGET.model, "zero", IMAGES, LABELS),
                  ["npc.TargetModel"]),
    "kind": (lambda: npc.replacement_values(TARGET, "median", IMAGES, LABELS),
             ["unknown replacement 'median'", *npc.REPLACEMENTS]),
    "kind of another type": (lambda: npc.replacement_values(TARGET, ["mean"], IMAGES, LABELS),
                             ["unknown replacement"]),
    "labels": (lambda: npc.replacement_values(TARGET, "zero", IMAGES, LABELS + 9),
               ["labels must lie in 0..4"]),
    "images": (lambda: npc.replacement_values(TARGET, "zero", IMAGES[:, :2], LABELS), ["shape"]),
    "mean of nothing": (lambda: npc.replacement_values(TARGET, "mean", IMAGES, LABELS),
                        ["'mean' needs", "pool="]),
    "empty pool": (lambda: npc.replacement_values(TARGET, "mean", IMAGES, LABELS, pool=POOL[:0]),
                   ["pool: images must hold at least one"]),
    "pool of another shape": (
        lambda: npc.replacement_values(TARGET, "resample", IMAGES, LABELS, pool=POOL[..., :4]),
        ["pool: images must"]),
    "pool of another precision": (
        lambda: npc.replacement_values(TARGET, "mean", IMAGES, LABELS, pool=POOL.float()),
        ["pool: images are torch.float32"]),
    "pool with NaN": (lambda: npc.replacement_values(TARGET, "mean", IMAGES, LABELS,
                                                     pool=POOL.log()), ["pool: images hold NaN"]),
    "pool of another size": (
        lambda: npc.replacement_values(SIZED, "mean", IMAGES, LABELS,
                                       pool=torch.zeros(2, 3, 16, 16, dtype=torch.float64)),
        ["pool holds images of shape (3, 16, 16)", "(3, 8, 8)"]),
    "no pairs": (lambda: npc.replacement_values(TARGET, "counterfactual", IMAGES, LABELS,
                                                pool=POOL), ["'counterfactual' needs", "pairs="]),
    "too few pairs": (lambda: npc.replacement_values(TARGET, "counterfactual", IMAGES, LABELS,
                                                     pairs=IMAGES[:3]),
                      ["pairs are 3, the batch has 4"]),
    "pairs of another shape": (
        lambda: npc.replacement_values(TARGET, "counterfactual", IMAGES, LABELS, pairs=LABELS),
        ["pairs: images must"]),
    "one image": (lambda: npc.replacement_values(TARGET, "resample", IMAGES[:1], LABELS[:1]),
                  ["image 0 has no other image", "pool="]),
    "a class with one image": (
        lambda: npc.replacement_values(TARGET, "class_resample", IMAGES, LABELS),
        ["image 1 has no other image of its class 1", "at least one of its class 1"]),
    "a class that the pool lacks": (
        lambda: npc.replacement_values(TARGET, "class_resample", IMAGES, LABELS + 2, pool=POOL,
                                       pool_labels=POOL_LABELS),
        ["image 1 has no other image of its class 3"]),
    "no labels of the pool": (
        lambda: npc.replacement_values(TARGET, "class_resample", IMAGES, LABELS, pool=POOL),
        ["needs the pool's labels", "shape (9,)"]),
    "too few labels of the pool": (
        lambda: npc.replacement_values(TARGET, "class_resample", IMAGES, LABELS, pool=POOL,
                                       pool_labels=POOL_LABELS[:3]),
        ["pool_labels: labels must be an int64 tensor of shape (9,)"]),
    "one class": (
        lambda: npc.replacement_values(TARGET, "class_resample", IMAGES, 0 * LABELS, pool=POOL,
                                       pool_labels=0 * POOL_LABELS),
        ["the pool holds one class, 0", "two classes", "'resample'"]),
    "a batch of one class": (
        lambda: npc.replacement_values(TARGET, "class_resample", IMAGES, 0 * LABELS),
        ["the batch holds one class, 0"]),
    "everywhere": (lambda: npc.replacement_values(TARGET, "zero", IMAGES, LABELS, everywhere=2),
                   ["everywhere must be True or False"]),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_given(name):
    call, words = BAD[name]
    before = helpers.Snapshot(TARGET.model)
    helpers.refused(call, *words)
    before.check()


@pytest.mark.parametrize("name", ["draws", "seed"])
@pytest.mark.parametrize("value", [-1, 1.5, True, None, "2", torch.tensor(2), float("inf")])
def test_numbers_that_are_none(name, value):
    for kind in npc.REPLACEMENTS:
        helpers.refused(lambda kind=kind: npc.replacement_values(
            TARGET, kind, IMAGES, LABELS, **given(IMAGES, POOL) | {name: value}),
            f"{name} must be a whole number {'in 1..1000' if name == 'draws' else 'of at least 0'}")


@pytest.mark.parametrize("draws", [0, 1001, 10 ** 20])
def test_more_draws_than_anybody_averages_or_none(draws):
    helpers.refused(lambda: npc.replacement_values(TARGET, "resample", IMAGES, LABELS,
                                                   draws=draws), "1..1000")


@pytest.mark.parametrize("kind", npc.REPLACEMENTS)
@settings(max_examples=40, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.too_slow])
@fuzz(data=st.data())
def test_right_or_refused_in_one_line(kind, data):
    """Whatever the arguments are: values that an edit takes, or one line."""
    more = given(IMAGES, POOL) | {"target": TARGET, "kind": kind, "images": IMAGES,
                                  "labels": LABELS, "everywhere": False, "draws": 1, "seed": 0}
    for name in data.draw(st.lists(st.sampled_from(sorted(more)), min_size=1, max_size=2,
                                   unique=True)):
        more[name] = data.draw(ANYTHING, label=name)
    try:
        found = npc.replacement_values(**more)
    except ValueError as error:
        assert "\n" not in str(error) and len(str(error)) < 600, str(error)
        return
    assert found.ndim == 5 and found.isfinite().all()


def test_a_refused_pool_leaves_the_models_tokens_as_they_were():
    SIZED.check_images(IMAGES)
    tokens = SIZED.n_tokens
    helpers.refused(BAD["pool of another size"][0], "pool")
    assert SIZED.n_tokens == tokens


def test_blocks_that_drop_tokens_have_no_values_everywhere():
    """A token is dropped before the second block: the class token has values, not every token."""
    model = helpers.small_vit(71)
    model.blocks[1].register_forward_pre_hook(lambda _module, inputs: (inputs[0][:, :-1],))
    target = npc.TargetModel(model)
    found, = npc.replacement_values(target, "counterfactual", IMAGES, LABELS, pairs=IMAGES)
    torch.testing.assert_close(found[0], read(target, IMAGES[0]), rtol=0, atol=1e-13)
    helpers.refused(lambda: npc.replacement_values(target, "counterfactual", IMAGES, LABELS,
                                                   pairs=IMAGES, everywhere=True),
                    "different numbers of tokens", "5, 4, 4")
