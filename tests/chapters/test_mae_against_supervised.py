"""Two kinds of models from several seeds: planted inversions and planted nulls, permutation
p-values by brute force, intervals by closed forms."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.torch import save_file
from scipy import stats
from timm.models.vision_transformer import VisionTransformer

import neuronpath_core as npc
from neuronpath_core.chapters.knowledge_neurons import measured
from neuronpath_core.chapters.mae_against_supervised import (
    kinds_compared,
    words,
)
from neuronpath_core.chapters.mae_against_supervised import (
    measured as mae_against_supervised_measured,
)
from neuronpath_core.stats.tests import kind_contrast, kind_test
from neuronpath_core.study.study import Study
from tests import helpers

SIZES = {"img_size": 8, "patch_size": 4, "in_chans": 1, "num_classes": 10, "embed_dim": 12,
         "depth": 3, "num_heads": 2, "mlp_ratio": 1.0}
MODELS = {"one": SIZES, "two": {**SIZES, "global_pool": "avg"}, "deep": {**SIZES, "depth": 4}}
RISING = np.arange(1, 9) / 36  # shares of eight blocks


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Random networks of two kinds, each with two replicas, one with a checkpoint, and a third kind
    of another depth."""
    root = tmp_path_factory.mktemp("study")
    profile = {"dataset": {"name": "digits", "train_images": 400, "image_size": 8}, "notebooks": {},
               "models": {name: {"architecture": sizes, "weights": f"{name}.safetensors"} for name,
                          sizes in MODELS.items()},
               "replicas": {"one": [7, 8], "two": [9, 10]}, "checkpoints": {"one": [5]}}
    (root / "profiles").mkdir()
    (root / "profiles" / "tiny.yml").write_text(yaml.safe_dump(profile, sort_keys=False))
    found = Study("tiny", results=root / "results", root=root)
    for seed, spec in enumerate(found.entries.values(), 3):
        model = helpers.fill(VisionTransformer(**spec["architecture"]), seed)
        save_file({key: value.contiguous() for key, value in model.state_dict().items()},
                  root / spec["weights"])
    return found


def shares_of(kinds: dict[str, np.ndarray], data: str = "made up", seeds: int = 4,
              noise: float = 0.01, seed: int = 0, scope: str = "cls", own: bool = True):
    """Block shares of several models a kind, around the given ones."""
    means = np.repeat(list(kinds.values()), seeds, axis=0)
    values = np.abs(means + np.random.default_rng(seed).normal(0, noise, means.shape))
    models, blocks = means.shape
    names = [(kind, f"{kind} seed {number}") for kind in kinds for number in range(seeds)]
    return pd.DataFrame({"data": data, "kind": np.repeat([kind for kind, _ in names], blocks),
                         "scope": scope, "own": own,
                         "model": np.repeat([name for _, name in names], blocks),
                         "block": np.tile(np.arange(1, blocks + 1), models),
                         "value": (values / values.sum(1, keepdims=True)).ravel()})


# --- where knowledge neurons are read ---


def test_replicas_are_seeds_and_not_checkpoints(study):
    assert mae_against_supervised_measured.replicas(study, "one") == ["one", "one seed 7", "one seed 8"]
    assert mae_against_supervised_measured.replicas(study, "deep") == ["deep"]
    with pytest.raises(ValueError, match="accepted: one, two, deep"):
        mae_against_supervised_measured.replicas(study, "three")


def test_knowledge_is_read_at_both_scopes(study):
    images = study.images(10)
    table = mae_against_supervised_measured.knowledge_at_scopes(study, ["one", "two"], images, top=3,
                                                       quadrature="right", steps=2)
    assert table.groupby(["kind", "scope"], sort=False)["model"].nunique().tolist() == [3] * 4
    assert len(table) == 4 * 3 * 10 * 3 and (table["blocks"] == 3).all()
    assert table.groupby(["kind", "scope"])["own"].unique().map(list).to_dict() == {
        ("one", "cls"): [True], ("one", "patch"): [False], ("two", "cls"): [False],
        ("two", "patch"): [True]}
    pictures, labels = study.batch(images, "one")
    for model, scope in product(("one", "two seed 10"), ("cls", "patch")):
        direct = npc.knowledge_attribution(npc.TargetModel(study.target(model).model, scope),
                                           pictures, labels, "right", 2)
        own = table[(table["model"] == model) & (table["scope"] == scope)]
        for number, (_, rows) in enumerate(own.groupby("image", sort=False)):
            # a draft's
            np.testing.assert_allclose(rows["attribution"],
                                       np.sort(direct[number].flatten().numpy())[::-1][:3],
                                       rtol=1e-4, atol=1e-9)
    default = measured.knowledge_neurons(study, ["two"], images, 3, "right", 2)
    own = table[(table["model"] == "two") & table["own"]][default.columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, default)


def test_last_block_is_empty_at_the_scope_that_the_logits_do_not_see(study):
    """What the last block writes to a token that is not pooled changes nothing."""
    pictures, labels = study.batch(study.images(10), "one")
    for model, unseen in (("one", "patch"), ("two", "cls")):
        direct = npc.knowledge_attribution(npc.TargetModel(study.target(model).model, unseen),
                                           pictures, labels, "right", 2)
        assert (direct[:, -1] == 0).all() and (direct[:, :-1].abs().amax((0, 2)) > 1e-9).all()


def test_kinds_of_different_depth(study):
    with pytest.raises(ValueError, match="accepted: models of one depth"):
        mae_against_supervised_measured.knowledge_at_scopes(study, ["one", "deep"], study.images(10))
    with pytest.raises(ValueError, match="accepted: one or more of"):
        mae_against_supervised_measured.knowledge_at_scopes(study, [], study.images(10))
    with pytest.raises(ValueError, match="accepted: auto, cls, patch"):
        mae_against_supervised_measured.knowledge_at_scopes(study, ["one"], study.images(10), scopes=["all"])


def test_mean_shares_are_counts():
    table = pd.DataFrame({"data": "made up", "kind": "a", "scope": "cls", "own": True, "model": "a",
                          "blocks": 4, "block": [1, 1, 3, 1, 3, 2, 1, 3]})
    assert mae_against_supervised_measured.mean_shares(table)["value"].tolist() == [0.5, 0.125, 0.375, 0]


# --- plants ---


def verdicts(shares: pd.DataFrame) -> tuple[str, bool]:
    """Of inversion between the two kinds, and whether the permutation test finds the kinds to
    differ."""
    row = kinds_compared.cell_correlations(shares).iloc[0]  # over all blocks
    found = kind_test(
        list(kinds_compared.kind_matrices(shares, ["a", "b"]).values()))
    return row["verdict"], found["p"] <= 0.05


@pytest.mark.parametrize("seed", range(3))
def test_planted_inversion_null_and_agreement(seed):
    uneven = np.random.default_rng(5).dirichlet(np.ones(8))
    orthogonal = np.array([3, 1, 3, 1, 3, 1, 3, 1]) / 16
    flat = np.array([3, 3, 1, 1, 3, 3, 1, 1]) / 16  # not correlated with the one before
    assert verdicts(shares_of({"a": RISING, "b": RISING[::-1]}, seed=seed)) == ("agrees", True)
    assert verdicts(shares_of({"a": uneven, "b": uneven}, seed=seed))[0] == "contradicts"
    assert verdicts(shares_of({"a": orthogonal, "b": flat}, seed=seed,
                              noise=0.03)) == ("not shown", True)


def test_permutation_test_keeps_its_level_where_the_kind_means_nothing():
    """Models drawn alike, three a kind in each of two data sets: of 200 such studies as many are
    significant as the level says, give or take."""
    rng, significant, is_first = np.random.default_rng(0), 0, np.arange(6) < 3
    for _ in range(200):
        values = np.abs(rng.normal(size=(2, 6, 8)))
        shares = values / values.sum(-1, keepdims=True)
        significant += kind_test([(np.corrcoef(each), is_first) for each in shares])["p"] <= 0.05
    assert stats.binomtest(significant, 200, 0.05).pvalue > 1e-3


def test_an_inversion_that_the_first_block_hides():
    """Most neurons of both kinds in block 1, the others in opposite blocks: alike over all blocks,
    inverted without the first; and of kinds that are alike everywhere neither is inverted."""
    rest = np.arange(1, 8) / 28
    hidden, alike = (
        kinds_compared.cell_correlations(shares_of(
            {"a": np.append(0.7, 0.3 * rest), "b": np.append(0.7, 0.3 * other)}, noise=0.002))
        for other in (rest[::-1], rest))
    assert hidden[["condition", "verdict"]].values.tolist() == [
        ["over all blocks", "contradicts"], ["without block 1", "agrees"]]
    assert alike["verdict"].tolist() == ["contradicts"] * 2
    assert words.finding(hidden).endswith(
        "(inverted on none of 1 data sets), without block 1 "
        f"{hidden['value'].iloc[1]:+.2f} to {hidden['value'].iloc[1]:+.2f} (inverted on 1 of 1 "
        "data sets); an inversion would be negative")


@pytest.mark.parametrize("inverted", ["kind", "scope", "nothing"])
def test_what_inverts_is_told_apart(inverted):
    """The same four cells as in the models: two kinds, each read at two scopes."""
    rows = []
    for kind, scope in product("ab", ("cls", "patch")):
        is_turned = {"kind": kind == "b", "scope": scope == "patch", "nothing": False}[inverted]
        rows.append(shares_of({kind: RISING[::-1] if is_turned else RISING}, scope=scope,
                              own=(kind, scope) in (("a", "cls"), ("b", "patch")), seed=len(rows)))
    every = kinds_compared.cell_correlations(pd.concat(rows))
    assert every["condition"].value_counts().to_dict() == {"over all blocks": 6,
                                                           "without block 1": 6}
    found = every[every["condition"] == "over all blocks"]
    assert found["first"].iloc[0] == "a, class token" and found["second"].iloc[
        0] == "a, patch tokens"
    assert len(found) == 6 and found["own"].sum() == 1 and found.loc[found["own"],
                                                                     "differ"].item() == "kind and scope"
    paper = found.loc[found["own"], "verdict"].item()
    by_cause = {cause: set(found.loc[found["differ"] == cause, "verdict"])
                for cause in ("kind", "scope")}
    assert (paper, by_cause) == {"kind": ("agrees", {"kind": {"agrees"}, "scope": {"contradicts"}}),
                                 "scope": ("agrees",
                                           {"kind": {"contradicts"}, "scope": {"agrees"}}),
                                 "nothing": ("contradicts",
                                             {"kind": {"contradicts"}, "scope": {"contradicts"}})}[
        inverted]


def test_kind_rows_together_and_apart():
    """Kinds that differ in one data set and not in the other, whose shares are one and the same for
    all models but for noise."""
    shares = pd.concat([shares_of({"a": RISING, "b": RISING[::-1]}, "apart"),
                        shares_of({"a": RISING, "b": RISING}, "alike", noise=0.05, seed=2)])
    found = kinds_compared.kind_rows(shares, ["a", "b"]).set_index("data")
    assert found["verdict"].to_dict() == {"apart": "agrees", "alike": "not shown",
                                          "together": "agrees"}
    assert found.loc["together",
                     "value"] == pytest.approx(found.loc[["apart", "alike"], "value"].mean(),
                                               abs=1e-12)
    # independent sets: the standard error of their mean is that of the noisier one, halved, and
    # more degrees of freedom
    width = found["high"] - found["low"]
    assert width["alike"] / 2 * 0.6 < width["together"] < np.hypot(width["apart"],
                                                                   width["alike"]) / 2
    assert found["deals"].tolist() == [70, 70, 4900]
    matrix, is_first = kinds_compared.kind_matrices(shares, ["a", "b"])["apart"]
    assert found.loc["apart",
                     "value"] == pytest.approx(kind_contrast(
        matrix, is_first), abs=1e-12)
    assert list(kinds_compared.kind_rows(shares[shares["data"] == "apart"],
                                                 ["a", "b"])["data"]) == ["apart"]


@pytest.mark.parametrize(("shift", "expected"), [(0.2, "agrees"), (-0.2, "agrees"),
                                                 (0.0, "not shown")])
def test_depth_difference(shift, expected):
    rng = np.random.default_rng(0)
    values = {"a": 0.5 + shift + rng.normal(0, 0.02, 4), "b": 0.5 + rng.normal(0, 0.02, 3)}
    depth = pd.DataFrame([{"data": "made up", "kind": kind, "model": f"{kind} {number}",
                           "value": value}
                          for kind, own in values.items() for number, value in enumerate(own)])
    (row,) = kinds_compared.depth_difference(depth, ["a", "b"]).to_dict("records")
    assert row["verdict"] == expected and row["value"] == pytest.approx(values["a"].mean()
                                                                        - values["b"].mean(),
                                                                        abs=1e-12)
    assert row["spread first"] == pytest.approx(values["a"].std(ddof=1)) and row[
        "second"] == pytest.approx(values["b"].mean())


# --- statistics ---


def test_model_pairs_are_correlations():
    shares = shares_of({"a": RISING, "b": RISING[::-1]}, seeds=3, noise=0.05)
    pairs = kinds_compared.model_pairs(shares)
    assert list(dict.fromkeys(pairs["relation"])) == ["within a", "within b", "between"]
    assert pairs["relation"].value_counts().to_dict() == {"between": 9, "within a": 3,
                                                          "within b": 3}
    for row in pairs.to_dict("records"):
        first, second = (shares.loc[shares["model"] == row[name], "value"]
                         for name in ("first", "second"))
        assert row["value"] == pytest.approx(np.corrcoef(first, second)[0, 1], abs=1e-12)


def test_cells_of_one_kind_are_compared_model_by_model():
    rng = np.random.default_rng(3)
    vectors = {scope: [rng.dirichlet(np.ones(8)) for _ in range(3)] for scope in ("cls", "patch")}
    fixed = {"data": "made up", "kind": "a", "block": range(1, 9)}
    shares = pd.concat([pd.DataFrame({**fixed, "scope": scope, "own": scope == "cls",
                                      "model": f"a {number}", "value": each})
                        for scope, several in vectors.items() for number,
                        each in enumerate(several)])
    row, without = kinds_compared.cell_correlations(shares).to_dict("records")
    expected = np.mean([np.corrcoef(*pair)[0, 1] for pair in zip(*vectors.values(), strict=True)])
    assert row["value"] == pytest.approx(expected,
                                         abs=1e-12) and row["differ"] == "scope" and not row["own"]
    rest = [np.corrcoef(*(each[1:] for each in pair))[0, 1]
            for pair in zip(*vectors.values(), strict=True)]
    assert without["value"] == pytest.approx(np.mean(rest), abs=1e-12)
    assert -1 <= row["low"] <= row["high"] <= 1


def test_the_share_of_the_first_block_is_that_of_models_read_at_their_own_scope():
    shares = pd.DataFrame([
        {"model": model, "own": own, "block": block, "value": value}
        for model, own, first in (("a", True, 0.61), ("b", True, 0.42), ("a", False, 0.05))
        for block, value in ((1, first), (2, 1 - first))])
    assert words.first_block(shares) == "42 to 61 %"
