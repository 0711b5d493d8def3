"""Weights as letters: what is lost, what is read back, and which networks a page cannot run."""

import numpy as np
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.figures.explore import weights
from tests import helpers
from tests.figures import explorers


@pytest.mark.parametrize("rows, columns, spread", [(1, 1, 0), (7, 36, 0), (5, 3, 6)])
def test_a_number_moves_by_at_most_half_a_step_of_its_row(rows, columns, spread):
    rng = np.random.default_rng(rows)
    values = rng.normal(size=(rows, columns)) * 10.0 ** -rng.integers(0, spread + 1, (rows, 1))
    largest = float(np.abs(values).max())
    text = weights.packed_rows(values, largest)
    assert len(text) == rows * weights.row_letters(columns) and set(text) <= set(weights.LETTERS)
    found = weights.unpacked_rows(text, columns, largest)
    # a row's own step; its unit is rounded up to one of 2^24 parts of the largest number
    step = np.abs(values).max(1, keepdims=True) / weights.STEPS + largest / weights.SCALES
    assert (np.abs(found - values) <= 0.501 * step).all()
    # and no better: the digits that are not stored are gone
    assert columns == 1 or np.abs(found - values).max() > 0


def test_rows_of_zeros_and_signs():
    values = np.array([[0.0, 0.0, 0.0], [1.0, -1.0, 0.0]])
    found = weights.unpacked_rows(weights.packed_rows(values, 1.0), 3, 1.0)
    np.testing.assert_allclose(found, values, atol=1e-9)
    assert (found[0] == 0).all() and found[1, 2] == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, 2.0])
def test_numbers_that_cannot_be_written(value):
    with pytest.raises(ValueError, match="finite and at most 1.0 in magnitude"):
        weights.packed_rows(np.array([[0.5, value]]), 1.0)


@pytest.mark.parametrize("name", explorers.RUN)
def test_the_rounded_network_has_the_numbers_of_the_text(name):
    target = explorers.target(name)
    before = {key: value.clone() for key, value in target.model.state_dict().items()}
    settings, text = weights.packed(target)
    own, place = weights.rounded(target), 0
    for value in weights.weights(own.model):
        rows = value.detach().reshape(-1, value.shape[-1]) if value.ndim == 2 else value[None]
        length = len(rows) * weights.row_letters(rows.shape[1])
        found = weights.unpacked_rows(text[place:place + length], rows.shape[1],
                                      settings["largest"])
        np.testing.assert_array_equal(rows.detach().numpy(), found)
        place += length
    assert place == len(text)
    # every weight is in the text: none of the network's is left out
    count = sum(value.numel() for value in weights.weights(target.model))
    assert count == sum(value.numel() for value in target.model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in target.model.state_dict().items())
    assert own.scope == target.scope


@pytest.mark.parametrize("name", sorted(set(helpers.NETWORKS) - set(explorers.RUN)))
def test_a_network_with_other_parts_is_refused(name):
    with pytest.raises(ValueError, match="^a page cannot run VisionTransformer as it is; accepted"):
        weights.packed(explorers.target(name))


def changed(model, **parts):
    for name, part in parts.items():
        where, _, last = name.rpartition("__")
        setattr(model.get_submodule(where.replace("__", ".")), last, part)
    return npc.TargetModel(model)


@pytest.mark.parametrize("parts", [
    {"blocks__1__mlp__act": torch.nn.ReLU()}, {"blocks__0__ls2": torch.nn.Linear(16, 16).double()},
    {"head": torch.nn.Sequential(torch.nn.Linear(16, 5).double())},
    {"fc_norm": torch.nn.LayerNorm(16).double()}], ids=lambda parts: next(iter(parts)))
def test_a_network_that_somebody_changed_is_refused(parts):
    try:
        target = changed(helpers.small_vit(5), **parts)
    except ValueError:
        pytest.skip("no target is made of such a network")
    with pytest.raises(ValueError, match="^a page cannot run"):
        weights.packed(target)
