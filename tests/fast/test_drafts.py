"""What single precision does to the choices of a search, on a small study and on neurons that it
cannot tell apart."""

import copy
from dataclasses import replace

import pandas as pd
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.chapters.knowledge_neurons import measured
from neuronpath_core.chapters.search_cost import drafts
from neuronpath_core.fast import drafts as thresholds
from neuronpath_core.fast.partial_paths import Integrand
from neuronpath_core.fast.search import search_paths
from neuronpath_core.study.study import Study
from tests import helpers, small_study

NAMES = ["one", "two"]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    return Study(root=small_study.make_study(tmp_path_factory.mktemp("drafts")),
                 results=tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def images(study):
    return study.images(20)


def searched(study, model, images, dtype):
    """Paths and gaps by one rule of three nodes, everything in one precision."""
    target, (pictures, labels) = study.target(model).in_dtype(dtype), study.batch(images, model)
    return search_paths(target, pictures.to(dtype), labels,
                        [Integrand(*npc.quadrature_rule("gauss-legendre", 3))])


def test_the_table_of_a_study(study, images):
    table = drafts.draft_agreement(study, NAMES, images, context="full", steps=3).set_index("model")
    assert list(table.columns) == ["images", "single", "draft", "again", "units",
                                   "score"] and list(table.index) == NAMES
    for model, row in table.iterrows():
        double, single = (searched(study, model, images, dtype)
                          for dtype in (torch.float64, torch.float32))
        same = (double.neurons == single.neurons).flatten(1).all(1)
        assert row["images"] == 20 and row["single"] == same.double().mean().item()
        assert row["units"] == pytest.approx(((single.gap.double() - double.gap).abs()[same].max()
                                              / torch.finfo(torch.float32).eps).item(), rel=1e-6)
        assert row["again"] == (single.gap
                                < thresholds.ROUNDING_UNITS * torch.finfo(
            torch.float32).eps).double().mean().item()
        assert row["draft"] == 1
        assert 0 < row["units"] < thresholds.ROUNDING_UNITS and 0 < row["score"] < 1e-4


def test_neurons_that_single_precision_cannot_tell_apart(study, images):
    """Every neuron has a twin whose vector is longer by 1e-9: all images are searched again, and
    single precision alone is wrong."""
    row = drafts.draft_agreement(with_twins(study), ["one"], images).iloc[0]
    assert row["again"] == 1 and row["draft"] == 1
    assert row["single"] < 1


def with_twins(study, **changes) -> Study:
    """The study with a model in which half the neurons are twins of the others."""
    target = study.target("one")
    twins = copy.copy(target)
    twins.model, twins._forms, half = copy.deepcopy(target.model), {}, target.n_neurons // 2
    with torch.no_grad():
        for block in twins.model.blocks:
            block.mlp.fc1.weight[half:] = block.mlp.fc1.weight[:half]
            block.mlp.fc1.bias[half:] = block.mlp.fc1.bias[:half]
            block.mlp.fc2.weight[:, half:] = block.mlp.fc2.weight[:, :half] * (1 + 1e-9)
    other = replace(study, **changes)
    other._targets["one"] = twins.in_dtype(torch.float32) if other.dtype == "float32" else twins
    return other


def test_knowledge_neurons_that_single_precision_cannot_tell_apart(study, images):
    """The same neurons in the same order as double precision alone; single precision alone has
    others."""
    drafted, double, single = (measured.knowledge_neurons(with_twins(study, **changes), ["one"],
                                                             images, top=3,
                                                             steps=2)[["image", "block", "neuron"]]
                               for changes in ({}, {"draft": None}, {"dtype": "float32"}))
    pd.testing.assert_frame_equal(drafted, double)
    assert not drafted.equals(single)


def test_several_neurons_are_those_of_double_precision_where_half_of_them_have_twins(study, images):
    """The choice between two twins is made again at every block where they are at the border of
    what is taken."""
    drafted, double = (with_twins(study, **changes) for changes in ({}, {"draft": None}))
    for top in (1, 2, 3, 5):
        found, expected = (npc.find_paths(each.target("one"), *each.batch(images, "one"), top=top,
                                          draft=each.draft) for each in (drafted, double))
        assert torch.equal(found.neurons.sort(-1).values, expected.neurons.sort(-1).values)


def test_a_study_in_single_precision_is_compared_with_double_all_the_same(study, images):
    pd.testing.assert_frame_equal(drafts.draft_agreement(replace(study, dtype="float32"), ["two"],
                                                         images), drafts.draft_agreement(
        study, ["two"], images))


def test_several_neurons_a_block_are_compared_as_sets(study, images):
    row = drafts.draft_agreement(study, ["one"], images, top=5).iloc[0]
    assert row["draft"] == 1 and row["images"] == 20


def test_a_study_searches_by_a_draft_and_keeps_its_paths(study, images, tmp_path):
    """The table's paths are those of double precision, its record names the draft, and without one
    it is another table."""
    drafted = study.paths("one", images)
    plain = replace(study, draft=None, results=tmp_path).paths("one", images)
    assert torch.equal(drafted.neurons, plain.neurons)
    assert not torch.equal(drafted.score, plain.score)
    torch.testing.assert_close(drafted.score, plain.score, rtol=1e-4, atol=1e-12)
    target, batch = study.target("one"), study.batch(images, "one")
    assert torch.equal(plain.score, npc.find_paths(target, *batch).score)
    def tables() -> int:
        return len(list((study.results_folder / "paths").glob("*/paths.parquet")))
    before = tables()
    assert torch.equal(study.paths("one", images, draft=None).score, plain.score)
    assert tables() == before + 1


def test_refusals(study, images):
    helpers.refused(lambda: drafts.draft_agreement(study, ["three"], images),
                    "accepted: one or more of one, two")
    helpers.refused(lambda: drafts.draft_agreement(study, ["one"], images, steps=0),
                    "steps must be a whole number of at least 1")
    helpers.refused(lambda: replace(study, draft="float16").paths("one", images),
                    "unknown draft 'float16'; accepted: None, float32")
