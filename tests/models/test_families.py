"""A family from outside: a network that timm does not have, registered by a test and searched."""

from pathlib import Path

import pytest
import torch
from torch import nn

import neuronpath_core as npc
from neuronpath_core import families
from neuronpath_core.study import identity
from neuronpath_core.support import memory
from neuronpath_core.support.sources import closure
from tests import helpers, twins

DEPTH, NEURONS, WIDTH, CLASSES = 3, 7, 6, 4


class MixerBlock(nn.Module):
    """Tokens see their mean, then an FFN without a norm before it."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential()
        self.mlp.fc1, self.mlp.act = nn.Linear(WIDTH, NEURONS), nn.Tanh()
        self.mlp.fc2 = nn.Linear(NEURONS, WIDTH)

    def forward(self, stream):
        stream = stream + self.mix(stream.mean(1, keepdim=True))
        return stream + self.mlp(stream)


class Mixer(nn.Module):
    """Four patches of 4 x 4 pixels, no class token; the class is read from the largest values."""

    cls_token = reg_token = None  # for the twins, which ask where the patch tokens begin

    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, WIDTH, 4, 4)
        self.patch_embed.num_patches = 4
        self.blocks = nn.ModuleList(MixerBlock() for _ in range(DEPTH))
        self.classes = nn.Linear(WIDTH, CLASSES)

    def tokens(self, images):
        return self.patch_embed(images).flatten(2).transpose(1, 2)

    def forward(self, images):
        stream = self.tokens(images)
        for block in self.blocks:
            stream = block(stream)
        return self.classes(stream.amax(1))


class MixerFamily(families.Family):
    kind, names = Mixer, ("Mixer",)

    def check(self, model):
        if len(model.blocks) > 9:
            raise ValueError(f"{len(model.blocks)} blocks; accepted: at most 9")

    def embed(self, model, images):
        return model.tokens(images)

    def run_block(self, model, index, stream):
        return model.blocks[index](stream)

    def logits(self, model, stream):
        return model.classes(stream.amax(1))

    def class_count(self, model):
        return model.classes.out_features

    def first_weight(self, model):
        return model.patch_embed.weight

    def pooled_scope(self, model):
        return "patch"

    def prefix_tokens(self, model):
        return 0

    def token_count(self, model, size=None):
        return 4 if size is None else size[0] * size[1] // 16

    def image_sizes(self, model, size):
        return all(side and side % 4 == 0 for side in size), "height, width), multiples of 4"

    def kept_numbers(self, model, tokens):
        return 2 * (WIDTH + NEURONS)


@pytest.fixture
def toy():
    """A network of a family that is known inside this test alone."""
    before = set(families.FAMILIES)
    families.register(MixerFamily())
    yield helpers.fill(Mixer(), seed=3)
    for kind in set(families.FAMILIES) - before:
        if kind.__module__ == __name__:
            del families.FAMILIES[kind]


@pytest.mark.each_value
@pytest.mark.parametrize("search", ["joint", "literal"])
@pytest.mark.parametrize("top", [1, 2])
def test_paths_of_a_family_from_outside_are_those_of_the_twin(toy, search, top):
    images, labels = helpers.small_batch(3, classes=CLASSES)
    twin = {"joint": twins.published_search, "literal": twins.literal_search}[search]
    before = helpers.Snapshot(toy)
    found = npc.find_paths(npc.TargetModel(toy), images, labels, search=search, context="full",
                           quadrature="left", steps=4, top=top)
    before.check()
    different = set()
    for row in range(3):
        path, score = twin(toy, "patch", images[row], int(labels[row]), *twins.rule("left", 4), top)
        assert found.neurons[row].tolist() == path
        assert float(found.score[row]) == pytest.approx(score, rel=1e-9, abs=1e-12)
        different.add(str(path))
    assert len(different) > 1  # a search that always answers the same would not do


def test_edits_and_the_memory_budget_know_the_family(toy):
    target, (images, labels) = npc.TargetModel(toy), helpers.small_batch(3, classes=CLASSES)
    neurons = npc.find_paths(target, images, labels, context="full").neurons
    with npc.edit(target, neurons, "remove"):
        edited = target(images)
    for row in range(3):
        stream = toy.tokens(images[row:row + 1])
        for block, neuron in zip(toy.blocks, neurons[row].tolist(), strict=True):
            stream = stream + block.mix(stream.mean(1, keepdim=True))
            active = block.mlp.act(block.mlp.fc1(stream))
            active[..., neuron] = 0
            stream = stream + block.mlp.fc2(active)
        expected = toy.classes(stream.amax(1))[0]
        torch.testing.assert_close(edited[row], expected, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(edited, target(images))
    assert memory.copy_bytes(target) == DEPTH * 4 * 2 * (WIDTH + NEURONS) * 8


def test_its_own_refusals_reach_the_user(toy):
    toy.blocks.extend(MixerBlock().double() for _ in range(8))
    with pytest.raises(ValueError, match="11 blocks; accepted: at most 9"):
        npc.TargetModel(toy)
    del toy.blocks[DEPTH:]
    with pytest.raises(ValueError, match="class token; accepted here: patch"):
        npc.TargetModel(toy, scope="cls")
    with pytest.raises(ValueError, match=r"accepted for sites other than 'ffn'"):
        npc.SiteModel(toy, sites="attention")
    with pytest.raises(ValueError, match=r"\(batch, 3, height, width\), multiples of 4"):
        npc.TargetModel(toy).check_images(torch.zeros(1, 3, 6, 8, dtype=torch.float64))


def test_the_nearest_class_decides_and_others_are_refused_by_all_names(toy):
    class Narrow(Mixer):
        pass

    class NarrowFamily(MixerFamily):
        kind, names = Narrow, ("Narrow",)

    families.register(NarrowFamily())
    assert type(families.family_of(Narrow())) is NarrowFamily
    assert type(families.family_of(toy)) is MixerFamily
    with pytest.raises(ValueError) as caught:
        families.family_of(nn.Linear(1, 1))
    for name in ("timm's VisionTransformer", "VisionTransformerDistilled", "Eva", "Mixer",
                 " and Narrow"):
        assert name in str(caught.value)


def test_without_registration_it_is_refused():
    with pytest.raises(ValueError, match="got Mixer; accepted: timm's VisionTransformer, "
                                         "VisionTransformerDistilled and Eva$"):
        npc.TargetModel(Mixer())


def test_a_family_that_leaves_a_question_open_cannot_be_made():
    class Half(families.Family):
        kind, names = Mixer, ("Mixer",)

    with pytest.raises(TypeError, match="abstract"):
        Half()


def test_every_built_in_family_is_named_once_and_counts_for_stored_paths():
    folder = Path(families.__file__).parent / "models" / "families"
    files = {f"neuronpath_core.models.families.{path.stem}" for path in folder.glob("*.py")
             if "register(" in path.read_text()}
    assert files == set(families.BUILT_IN)
    # they are imported by name, which the closure of imports does not see
    followed = {path.stem for path in closure(identity.NUMERIC_MODULES)}
    assert {name.rsplit(".", 1)[1] for name in families.BUILT_IN} <= followed
