"""The transcription of the published procedure, what is timed beside it, and the tables made of it.
"""

import json

import pandas as pd
import pytest
import torch
from click.testing import CliRunner

import neuronpath_core as npc
from benchmarks import agreement, measure
from benchmarks.__main__ import main
from benchmarks.published import published_paths
from neuronpath_core import figures
from neuronpath_core.chapters.benchmarks import speed, words
from neuronpath_core.study.study import Study
from tests import helpers, small_study, twins

SPREAD = {"minimum": 2.0, "median": 3.0, "maximum": 5.0}
MEASURED = {
    "search": [{"model": "tiny-B-16", "blocks": 12, "way": way, "images": 4, "seconds": SPREAD,
                "ratio": SPREAD, "neurons": 0.5, "paths": 0.25,
                "agreement_images": 10, "identical": True if way.startswith("exact") else None}
               for way in ("published", "exact, 20 left nodes", "default")],
    "growth": [{"varied": varied, "size": size, "ratio": SPREAD,
                "published": {"seconds": SPREAD, "peak_bytes": 3_000_000},
                "exact": {"seconds": SPREAD, "peak_bytes": 1_000_000}}
               for varied in ("L", "T", "n", "m", "batch") for size in (1, 2)],
    "architectures": [{"model": "ViT-B/16", "published_seconds_per_node": 2.0,
                       "exact_seconds_per_node": 0.5, "exact_ratio": 4.0, "default_seconds": 1.0,
                       "default_ratio": 40.0, "frozen_20_seconds": 1.0, "frozen_20_ratio": 20.0}],
    "precision": [{"model": "tiny-B-16", "dtype": dtype, "neurons": 1.0, "paths": paths,
                   "score": 1e-7}
                  for dtype, paths in (("float32", 0.975), ("bfloat16", 0.5))],
    "captum": [{"model": "tiny-B-16", "captum": SPREAD, "library": SPREAD, "ratio": SPREAD,
                "largest_difference": 2e-9}],
}
CONVERGED = [{"profile": profile, "images": 48, "model": "tiny-B-16", "way": way, "evaluations": 2.0,
              "neurons": neurons, "paths": paths}
             for profile, paths in (("digits", 0.75), ("shapes", 0.5)) for way,
             neurons in (("published rule", 0.9), ("default", 0.987))]
CONDENSED = [{"profile": "digits", "images": 48, "model": model, "way": "8 of 20",
              "evaluations": 8.0, "neurons": 1.0, "paths": paths}
             for model, paths in (("tiny-B-16", 0.98), ("tiny-MAE-B-16", 1.0))]


@pytest.mark.parametrize("name", ["cls", "cls-layerscale-qknorm", "avg", "avg-registers"])
def test_the_transcription_equals_the_slow_twin(name):
    target, images, labels = helpers.network(name, 71, batch=3)
    found = published_paths(target, images, labels, *npc.quadrature_rule("left", 5))
    for image, label, path in zip(images, labels, found.tolist(), strict=True):
        assert [[neuron] for neuron in path] == twins.published_search(target.model, target.scope,
                                                                       image, int(label),
                                                                       *twins.rule("left", 5))[0]


def test_captum_computes_what_the_library_does():
    captum = pytest.importorskip("captum")
    assert captum.__version__
    for scope in ("cls", "patch"):
        target = npc.TargetModel(helpers.small_vit(73), scope=scope)
        images, labels = helpers.small_batch(2, 74)
        theirs = measure._captum_attribution(target, images, labels,
                                             npc.read_activations(target, images), 4)
        # captum rounds its nodes to single precision
        torch.testing.assert_close(theirs,
                                   npc.knowledge_attribution(target, images, labels,
                                                             "gauss-legendre", 4), rtol=1e-5,
                                   atol=1e-7)


def test_growth_times_both_procedures_and_their_memory(monkeypatch):
    monkeypatch.setattr(measure, "GROWTH", {"L": (2, 3), "batch": (1,)})
    monkeypatch.setattr(measure, "GROWTH_BASE", {"L": 2, "T": 5, "n": 24, "m": 2, "batch": 2})
    rows = measure.growth("cpu", repeats=2)
    assert [(row["varied"], row["size"]) for row in rows] == [("L", 2), ("L", 3), ("batch", 1)]
    for row in rows:
        for way in ("published", "exact"):
            assert 0 < row[way]["seconds"]["minimum"] <= row[way]["seconds"]["median"] <= row[way][
                "seconds"]["maximum"]
            assert row[way]["peak_bytes"] >= 0
        assert row["ratio"]["minimum"] > 0


def test_architectures_extrapolate_the_published_procedure(monkeypatch):
    """On a network small enough, three blocks and a quadratic give the time of all; within the
    noise of timing."""
    monkeypatch.setattr(measure, "REAL",
                        {"toy": {"patch_size": 112, "embed_dim": 24, "depth": 3, "num_heads": 2}})
    row, = measure.architectures("cpu", "float32", batch=2)
    assert row["model"] == "toy"
    assert row["published_seconds_per_node"] > 0
    assert row["exact_ratio"] == pytest.approx(row["published_seconds_per_node"]
                                               / row["exact_seconds_per_node"])
    assert row["frozen_20_ratio"] == pytest.approx(20 * row["published_seconds_per_node"]
                                                   / row["frozen_20_seconds"])


@pytest.mark.parametrize("before", ["medium", "high", "highest"])
def test_the_precision_of_products_is_as_before(before, tmp_path, monkeypatch):
    """Measured in full precision, whatever was set; also after an error."""
    own, inside = torch.get_float32_matmul_precision(), []
    study = Study("digits", root=small_study.make_study(tmp_path))

    def find_paths(target, *batch, **settings):
        inside.append((target.dtype, torch.get_float32_matmul_precision()))
        if len(inside) == 6:
            raise RuntimeError("no more")
        return npc.find_paths(target, *batch, **settings)

    monkeypatch.setattr(measure, "find_paths", find_paths)
    try:
        torch.set_float32_matmul_precision(before)
        with pytest.raises(RuntimeError, match="no more"):
            measure.precision(study, 10)
        assert torch.get_float32_matmul_precision() == before
    finally:
        torch.set_float32_matmul_precision(own)
    assert inside == 2 * [(torch.float64, before), (torch.float32, "highest"),
                          (torch.bfloat16, "highest")]


def test_the_command_writes_and_keeps_other_sections(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "captum", lambda *_, **__: [{"fresh": True}])
    out = tmp_path / "cpu.json"
    out.write_text(json.dumps({"growth": [1], "captum": [0]}))
    done = CliRunner().invoke(main, ["--section", "captum", "--out", str(out)])
    assert done.exit_code == 0, done.output
    written = json.loads(out.read_text())
    assert written["growth"] == [1]
    assert written["captum"] == [{"fresh": True}]
    assert set(written["machine"]) == {"device", "cpu_threads", "python", "torch", "timm"}
    refused = CliRunner().invoke(main, ["--device", "cuda:99", "--out", str(out)])
    assert refused.exit_code == 2
    assert "accepted" in refused.output


def test_agreement_on_every_model_of_several_profiles(tmp_path, monkeypatch):
    """The same numbers as by direct searches, in double precision; the published rule is that of 20
    nodes."""
    root, out = small_study.make_study(tmp_path), tmp_path / "agreement.json"
    monkeypatch.setattr(agreement, "Study", lambda profile,
                        device: Study("digits", device, root=root))
    done = CliRunner().invoke(agreement.main, ["--images", "20", "--out", str(out)])
    assert done.exit_code == 0, done.output
    measured, study = json.loads(out.read_text()), Study(root=root)
    refused = CliRunner().invoke(agreement.main, ["--device", "cuda:99", "--out", str(out)])
    assert refused.exit_code == 2 and "accepted" in refused.output
    assert len(measured["converged"]) == 2 * 2 * 4 and len(measured["condensed"]) == 2 * 2 * 2
    images = study.images(20)
    for row in measured["converged"][:8] + measured["condensed"][:4]:
        target, batch = study.target(row["model"]), study.batch(images, row["model"])
        settings = {"published rule": {"context": "full", "quadrature": "left", "steps": 20},
                    "default": {}, "three nodes": {"context": "full", "steps": 3},
                    "by block, single at last": {"context": "full", "steps": [8, 3, 2]},
                    **{f"{count} of 20": {"context": "full", "quadrature": "left", "nodes": count}
                       for count in (8, 12)}}[row["way"]]
        reference = {"quadrature": "left"} if row["way"].endswith("of 20") else {"steps": 48}
        found = npc.find_paths(target, *batch, **settings)
        fine = npc.find_paths(target, *batch, context="full", **reference)
        assert row["images"] == 20
        # on networks this small fewer places may find the same paths: how many there were is what
        # tells
        assert row["evaluations"] == {"published rule": 20, "8 of 20": 8,
                                      "12 of 20": 12}.get(row["way"], row["evaluations"])
        assert row["neurons"] == pytest.approx((found.neurons
                                                == fine.neurons).double().mean().item(), abs=1e-12)
        assert row["paths"] == pytest.approx((found.neurons
                                              == fine.neurons).all(dim=1).double().mean().item(),
                                             abs=1e-12)


def test_spread():
    assert measure.spread([4.0, 1.0, 2.0]) == {"minimum": 1.0, "median": 2.0, "maximum": 4.0}


def test_tables_of_what_was_measured(tmp_path):
    (tmp_path / "benchmarks").mkdir()
    with pytest.raises(ValueError, match="accepted: nothing yet"):
        speed.read(tmp_path)
    (tmp_path / "benchmarks" / "cpu.json").write_text(json.dumps(MEASURED))
    measured = speed.read(tmp_path)
    with pytest.raises(ValueError, match="'tpu'; accepted: cpu"):
        speed.read(tmp_path, "tpu")
    table = speed.search_table(measured)
    exact = table.loc[("tiny-B-16", "same 20 steps")]
    assert exact.to_dict() == {"ms per image": "3000.0 [2000.0, 5000.0]",
                               "times as fast": "3.0 [2.0, 5.0]", "images at a time": 4,
                               "same paths": "yes"}
    assert table.loc[("tiny-B-16", "published procedure"), "times as fast"] == "1"
    assert table.index.get_level_values("method")[2] == "default, float64"
    growth = speed.growth_table(measured).loc[("tokens T", 2)]
    assert growth.to_dict() == {"published, ms": 3000.0, "here, ms": 3000.0,
                                "times as fast": "3.0 [2.0, 5.0]", "published, MB": 3.0,
                                "here, MB": 1.0}
    real = speed.architecture_table(measured)["ViT-B/16"]
    assert (real["published, s"], real["same steps, s"],
            real["frozen context, times as fast"]) == ("40.0", "10.0", "20")
    assert speed.precision_table(measured).loc[("tiny-B-16", "bfloat16"),
                                              "same whole paths"] == "50.0 %"
    assert speed.captum_table(measured).loc["tiny-B-16", "largest difference"] == "2e-09"
    numbers = words.numbers(measured)
    assert numbers["exact tiny-B-16"] == numbers["default tiny-B-16"] == "3.0"
    assert (numbers["exact ViT-B/16"], numbers["frozen ViT-B/16"],
            numbers["float32 paths"]) == ("4.0", "20", "97.5 %")
    axes = figures.benchmark_ratios(speed.growth(measured)).axes
    assert [axis.get_xlabel() for axis in axes] == ["blocks L", "tokens T", "neurons per block n",
                                                    "steps m", "images in a batch"]
    assert list(axes[0].lines[0].get_ydata()) == [3.0, 3.0]


def test_tables_of_agreement():
    assert speed.agreement_table(CONVERGED).loc[("shapes", "tiny-B-16", 48)].to_dict() == {
        "published rule": "90.0 / 50.0", "default": "98.7 / 50.0"}
    assert speed.agreement_table(CONDENSED)["8 evaluations"].to_list() == ["100.0 / 98.0",
                                                                     "100.0 / 100.0"]
    assert words.agreement_numbers(CONVERGED, CONDENSED) == {
        "least published rule": "90.0 %", "least published rule paths": "50.0 %",
        "least default": "98.7 %", "least default paths": "50.0 %",
        "8 of 20, digits": "98.0 %", "at least as close": "2 of 2", "agreement images": "48",
        "agreement models": "2"}
    worse = [row | {"paths": 0.4} if (row["profile"], row["way"]) == ("shapes", "default") else row
             for row in CONVERGED]
    assert words.agreement_numbers(worse, CONDENSED)["at least as close"] == "1 of 2"


def of_models(default, published=0.5):
    """Agreement of a default and the published rule, a model each, of the shares given."""
    return [{"profile": "digits", "images": 48, "model": str(number), "way": way, "neurons": paths,
             "paths": paths}
            for number, share in enumerate(default)
            for way, paths in (("published rule", published), ("default", share))]


@pytest.mark.parametrize(("default", "expected"), [
    ((0.9, 0.75), "The default finds more whole paths of the reference than the published rule on "
                  "2 of 2 models: at least 75.0 % of them, the published rule 50.0 %"),
    ((0.9, 0.25), "The default finds more whole paths of the reference than the published rule on "
                  "1 of 2 models: at least 25.0 % of them, the published rule 50.0 %"),
    ((0.5, 0.25), "The default finds no more whole paths of the reference than the published rule "
                  "on any of 2 models: at least 25.0 % of them, the published rule 50.0 %")])
def test_the_finding_on_agreement_follows_the_numbers(default, expected):
    assert words.agreement_finding(of_models(default)) == expected


def timed(identical=True, drafted=False):
    rows = [{**MEASURED["search"][1], "identical": identical},
            {**MEASURED["search"][1], "model": "tiny-L-32",
             "ratio": {name: 2 * value for name, value in SPREAD.items()}}, MEASURED["search"][2]]
    if drafted:
        ratio = {name: 1.5 * value for name, value in SPREAD.items()}
        rows.append({**MEASURED["search"][2], "way": "drafted default", "ratio": ratio})
    return MEASURED | {"search": rows}


def test_the_finding_on_speed_follows_the_numbers():
    assert words.speed_finding(timed()) == "The same paths are found 3.0 to 6.0 times as fast"
    assert words.speed_finding(timed(identical=False)) == (
        "Paths that are the same on 1 of 2 models are found 3.0 to 6.0 times as fast")
    assert words.speed_finding(timed(drafted=True)).endswith(
        "; the default search is 4 times as fast")
    numbers = words.numbers(timed(drafted=True))
    assert (numbers["exact range"], numbers["draft gain"]) == ("3.0 to 6.0", "1.5")
    assert (numbers["speed models"], numbers["speed images"]) == ("2", "4")


def test_the_finding_on_growth_follows_the_numbers():
    assert words.growth_finding(MEASURED) == "The gain grows with no size: 3.0 times as fast"
    larger = {**SPREAD, "median": 9.0}
    rows = [row | {"ratio": larger} if (row["varied"], row["size"]) == ("m", 2) else row
            for row in MEASURED["growth"]]
    assert words.growth_finding({"growth": rows}) == (
        "The gain grows most with steps m: from 3.0 times as fast at 1 to 9.0 at 2")


@pytest.mark.parametrize(("identical", "default", "verdicts"), [
    (True, (0.9, 0.75), ["yes", "yes", "yes", "not measured"]),
    (False, (0.9, 0.25), ["partly", "yes", "partly", "not measured"]),
    (True, (0.4, 0.25), ["yes", "yes", "no", "not measured"])])
def test_what_was_asked_is_answered_by_the_numbers(identical, default, verdicts):
    counted = pd.DataFrame([{"model": "m", "wanted": "Table 1", "hours at 10": 3.25}])
    shown = words.conclusion(timed(identical), of_models(default), counted)
    assert shown["Agreement"].tolist() == verdicts
    assert "3.2 hours a model at 10·10¹²" in shown["Measured here"].iloc[-1]


def test_shares_have_intervals_over_images():
    rows = speed.agreement_shares(CONVERGED)
    assert rows["value"].tolist() == [75, 75, 50, 50]
    assert (rows["low"] < rows["value"]).all() and (rows["value"] < rows["high"]).all()
    figure = figures.rule_agreement(rows)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["published rule",
                                                                               "default"]
    drawn = [container.lines[0].get_xdata().tolist() for container in figure.axes[0].containers]
    assert drawn == [[75, 75], [50, 50]]


def test_speeds_are_drawn_at_their_medians():
    axis, = figures.search_speed(speed.ratios(timed())).axes
    assert axis.get_xscale() == "log"
    drawn = {container.get_label(): container.lines[0].get_xdata().tolist()
             for container in axis.containers}
    assert drawn == {"tiny-B-16": [3.0, 3.0], "tiny-L-32": [6.0]}
