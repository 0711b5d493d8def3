"""Tables about long runs: what was stored, and what is counted."""

import json
from pathlib import Path

import pytest
import torch

from neuronpath_core.chapters.benchmarks import long_runs
from neuronpath_core.cost.passes import multiply_adds, path_passes
from neuronpath_core.study.targets import outline
from tests import small_study

ROOT = Path(__file__).resolve().parents[2]
SPREAD = {"minimum": 1.0, "median": 1.5, "maximum": 2.0}
STORE = {"images": 50_000, "blocks": 12, "top": 50, "part_size": 40,
         "part_seconds": {"minimum": 0.001, "median": 0.002, "maximum": 0.1},
         "part_share": 0.00123, "whole_share": 0.002, "merge_seconds": 3.0, "read_seconds": SPREAD,
         "table_bytes": 45_800_000}
SCALE = {"images": 160, "model": "tiny-B-16", "workers": 2,
         "seconds": {"local": SPREAD, "ray": SPREAD},
         "startup_seconds": {"local": SPREAD, "ray": SPREAD},
         "ratio": {"minimum": 1.6, "median": 1.75, "maximum": 1.9}, "identical": True}


@pytest.fixture
def counted(tmp_path):
    """Two small models."""
    return long_runs.full_scale(small_study.make_study(tmp_path / "study"), "digits", 1000, (2, 5))


def test_measurements_are_read_and_missing_ones_refused(tmp_path):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "store.json").write_text(json.dumps(STORE))
    assert long_runs.read(tmp_path, "store") == STORE
    for what in ("scale", "cpu"):
        with pytest.raises(ValueError, match="accepted: agreement, store, scale"):
            long_runs.read(tmp_path, what)


def test_tables_say_what_was_measured():
    stored = long_runs.store_table(STORE)["measured"]
    assert stored.tolist() == ["2.0 [1.0, 100.0] ms", "0.123%", "46 MB", "1.50 [1.00, 2.00] s",
                               "3.0 s", "0.200%"]
    shared = long_runs.worker_table(SCALE)["measured"]
    assert shared["times as fast"] == "1.75 [1.60, 1.90]" and shared[
        "same table, bit for bit"] == "yes"
    assert long_runs.worker_table(SCALE
                                  | {"identical": False})["measured"]["same table, bit for bit"] == "no"


def test_the_full_scale_is_counted_pass_by_pass(counted):
    assert len(counted) == 2 * len(long_runs.WANTED)
    for name, architecture in (("one", "token"), ("two", "avg")):
        target = outline(small_study.PROFILE["models"][name])
        assert target.model.global_pool == architecture and next(target.model.parameters()).is_meta
        own = counted[counted["model"] == name].set_index("wanted")
        operations = 2 * path_passes(target, long_runs.FULL_RULE,
                                     again=False).seconds(multiply_adds(target))
        assert own.loc["paths by the published rule",
                       "each"] == pytest.approx(operations / 1e12, rel=1e-12)
        assert own.loc["paths by the published rule",
                       "hours at 2"] == pytest.approx(operations * 1000 / 2e12 / 3600, rel=1e-12)
        assert own.loc["Table 1", "each"] > own.loc["paths by the published rule",
                                                    "each"] > own.loc["paths by the default",
                                                                      "each"]
        assert own.loc["Table 1",
                       "megabytes"] == pytest.approx(3 * own.loc["paths by the default",
                                                                 "megabytes"])


def test_hours_are_those_of_all_images(counted):
    assert (counted["hours at 2"] / counted["hours at 5"]).tolist() == pytest.approx(
        [2.5] * len(counted))
    assert (counted["each"] > 0).all()


def test_the_profile_of_the_paper_is_counted_without_weights():
    found = long_runs.full_scale(ROOT, "imagenet").set_index(["model", "wanted"])["each"]
    assert found.groupby("model", sort=False).size().tolist() == [4, 4, 4, 4]
    # by hand: ViT-B/16 has 197 tokens, width 768, 3072 neurons; 20 nodes, 65 of 66 block pairs and
    # 10 of 11 tangents are of whole blocks
    tokens, width, neurons, nodes = 197, 768, 3072, 20
    both = 2 * tokens * (4 * width**2 + 2 * neurons * width) + 6 * tokens**2 * width
    assert found["ViT-B-16",
                 "paths by the published rule"] == pytest.approx(2 * nodes * (55 + 10) * both
                                                                 / 1e12, rel=0.05)
    # three gradients and a forward of 12 blocks, and for the score the clean forward and four nodes;
    # less what the first block needs no derivative of, and the last computes of one token alone
    few = found["ViT-B-16", "paths by the recommended method"] * 1e12
    assert 0.9 < few / (2 * 12 * (3 + 0.5 + 0.5 + 4) * both) < 1


def test_quoted_numbers_are_those_of_the_tables(counted):
    found = long_runs.numbers(counted, STORE, SCALE)
    own = counted.set_index(["model", "wanted"])
    assert found[
        "scale one published"] == f"{own.loc[('one', 'paths by the published rule'), 'each']:.2f}"
    assert found[
        "scale two default hours"] == f"{own.loc[('two', 'paths by the default'), 'hours at 2']:.1f}"
    assert found["ray ratio"] == "1.75" and found["store megabytes"] == "46"
    whole = own.xs("Table 1", level="wanted")
    assert found["scale table hours"] == f"{whole['hours at 2'].sum():.0f}"
    assert long_runs.scale_table(counted).shape == (8, 4)
    assert torch.get_default_device() == torch.device("cpu")
