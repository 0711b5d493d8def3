"""Chapter 31: planted effects and nulls come out as claims, a made-up data set in the photographs'
layout runs from end to end, and what stands beside is what other notebooks stored."""

from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch

from neuronpath_core.chapters import effects, pruning, table1
from neuronpath_core.chapters.class_paths import path_tables
from neuronpath_core.chapters.class_similarity import similar, wrong_labels
from neuronpath_core.chapters.controls import leads as gains
from neuronpath_core.chapters.controls import measured as controlled
from neuronpath_core.chapters.photographs import beside, measured, recommended
from neuronpath_core.chapters.verdicts import photographs as verdicts
from neuronpath_core.figures import photographs as drawn
from neuronpath_core.stats.claims import Claim, Comparison
from neuronpath_core.stats.grades import grade
from neuronpath_core.stats.rules import Rule
from neuronpath_core.stats.units import UNITS
from neuronpath_core.study.study import Study
from neuronpath_core.support.yaml_file import read_yaml
from tests import photos
from tests.chapters.tables import intervention_table

ROOT = Path(__file__).resolve().parents[2]
MODELS = ["tiny-B-16", "tiny-MAE-B-16"]
AGAINST = ["activation", "influence_pattern"]


def words(claims, key):
    found, = [claim for claim in claims if claim.key == key]
    return grade(found.comparisons, UNITS[found.unit]).word


def edit_claims(lead, turned=1):
    edited = intervention_table(lead)
    for column in ("removal_probability", "enhancement_probability"):
        edited[column] *= turned
    gain = pd.DataFrame([{"data": measured.DATA, "model": model, "label": label, "value": lead,
                          "low": lead - 0.5, "high": lead + 0.5,
                          "verdict": "agrees" if lead > 0.5 else "not shown"}
                         for model in MODELS for label in ("true", "predicted")])
    return verdicts.of_interventions(
        edited, table1.method_differences(edited, MODELS, AGAINST), measured.own_losses(edited),
        measured.leads_over(edited, MODELS, ["random"]), gain, MODELS, AGAINST)


KEYS = ("score", "removal accuracy", "enhancement accuracy", "removal", "enhancement",
        "own removal", "random", "random median", "label")


def test_a_planted_lead_is_a_yes_and_none_is_undecided():
    claims, nothing = edit_claims(3.0), edit_claims(0.0)
    assert {key: words(claims, key) for key in KEYS} == dict.fromkeys(KEYS, "Yes")
    assert {key: words(nothing, key) for key in KEYS} == dict.fromkeys(KEYS, "Undecided")
    assert all(row.data == measured.DATA for claim in claims for row in claim.comparisons)


def test_a_lead_the_other_way_is_a_no():
    claims = edit_claims(3.0, turned=-1)
    assert {words(claims, key) for key in ("removal", "enhancement", "own removal", "random")} == {
        "No"}


def test_losses_and_leads_are_those_of_numpy():
    edited = intervention_table(1.0)
    lost = measured.own_losses(edited).set_index(["measure", "model"])["value"]
    ahead = measured.leads_over(edited, MODELS, ["random"]).set_index(["statistic", "model"])[
        "value"]
    for model in MODELS:
        wide = {method: edited[(edited["model"] == model) & (edited["method"] == method)]
                .set_index("image").sort_index() for method in ("neuron_path", "random")}
        own, other = (wide[name]["removal_probability"] for name in ("neuron_path", "random"))
        assert lost["removal", model] == pytest.approx(np.median(-own), abs=1e-12)
        assert lost["removal accuracy", model] == pytest.approx(
            -100 * wide["neuron_path"]["removal_accuracy"].mean(), abs=1e-10)
        assert ahead["median", model] == pytest.approx(np.median(other - own), abs=1e-12)
        assert ahead["mean", model] == pytest.approx((other - own).mean(), abs=1e-12)


def test_what_the_recommended_path_takes_is_that_of_numpy():
    edited = intervention_table(1.0)
    edited["probability"] = np.linspace(0.2, 0.9, len(edited))
    rows = recommended.taken_rows(edited).set_index(["measure", "model", "method"])["value"]
    own = edited[(edited["model"] == MODELS[0]) & (edited["method"] == "random")]
    lost = [-change * probability for change, probability in
            zip(own["removal_probability"], own["probability"], strict=True)]
    assert rows["points of probability, mean", MODELS[0], "random"] == pytest.approx(
        100 * sum(lost) / len(lost))
    assert rows["share of the probability, median", MODELS[0], "random"] == pytest.approx(
        -100 * np.median(own["removal_probability"]))
    assert rows["points of accuracy", MODELS[0], "random"] == pytest.approx(
        -100 * own["removal_accuracy"].mean())
    table = recommended.taken_table(recommended.taken_rows(edited))
    assert set(table.columns) == set(MODELS) and len(table) == 3 * edited["method"].nunique()


@pytest.mark.parametrize(("lead", "word"), [(3.0, "Yes"), (0.0, "Undecided"), (-3.0, "No")])
def test_a_planted_lead_of_the_recommended_path_is_told(lead, word):
    edited = intervention_table(lead)
    edited["method"] = edited["method"].replace(
        {"neuron_path": recommended.RECOMMENDED, "random": "matched_random",
         AGAINST[0]: "neuron_path", AGAINST[1]: "gradient_activation"})
    leads = recommended.recommended_leads(edited, MODELS)
    claims = recommended.made_from(leads, shifted_rows(0.2), 20, 10)
    assert {claim.key for claim in claims} == {
        *(f"recommended{at}: {other}" for at in ("", " median") for other in recommended.OTHERS),
        "shift: neuron_path"}
    assert words(claims, "recommended: matched_random") == word


def shifted_rows(lead):
    return pd.DataFrame([{"data": measured.DATA, "model": model, "condition": "neuron_path",
                          "lead": lead, "lead_low": lead - 0.1, "lead_high": lead + 0.1,
                          "verdict": "agrees" if lead > 0.1 else "not shown"}
                         for model in MODELS])


@pytest.mark.parametrize(("lead", "word"), [(0.2, "Yes"), (0.05, "Undecided")])
def test_what_a_shift_leaves_is_told(lead, word):
    leads = recommended.recommended_leads(intervention_table(1.0).assign(method=lambda table: (
        table["method"].replace({"neuron_path": recommended.RECOMMENDED, "random": "matched_random",
                                 AGAINST[0]: "neuron_path", AGAINST[1]: "gradient_activation"}))),
        MODELS)
    assert words(recommended.made_from(leads, shifted_rows(lead), 20, 10),
                 "shift: neuron_path") == word


# --- classes and their kinds ---


def planted(kind, seed=0, each=12, blocks=8, neurons=30):
    """A stand-in for a study of one model, whose paths share neurons within a ``"kind"``, within
    classes alone (``"class"``) or not at all (``"none"``)."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(10), each)
    vehicle = np.array([name in measured.KINDS["vehicle"] for name in photos.CLASSES])[labels]
    shared = {"kind": vehicle.astype(int), "class": labels, "none": labels}[kind]
    drawn = rng.integers(0, neurons, (len(labels), blocks))
    often = rng.random(drawn.shape) < {"none": 0}.get(kind, 0.5)
    found = torch.from_numpy(np.where(often, shared[:, None], drawn))
    study = SimpleNamespace(paths=lambda *_: SimpleNamespace(neurons=found),
                            target=lambda _: SimpleNamespace(n_neurons=neurons))
    seen = rng.random((len(labels), 20))
    return study, SimpleNamespace(labels=torch.from_numpy(labels), appearance=lambda: seen,
                                  class_names=tuple(photos.CLASSES))


@pytest.mark.parametrize(("kind", "of_kind", "of_class"), [
    ("kind", "agrees", "agrees"), ("class", "not shown", "agrees"),
    ("none", "not shown", "not shown")])
def test_kinds_and_classes_are_found_where_they_are_planted(kind, of_kind, of_class):
    study, images = planted(kind)
    table, leads = measured.kind_similarity(study, ["m"], images, ["neuron_path"], resamples=40)
    assert table.set_index("relation")["verdict"].to_dict() == {
        measured.KIND: of_kind, measured.BEYOND_LOOK: of_kind}
    assert leads.empty
    assert measured.overlaps(study, ["m"], images)["verdict"].tolist() == [of_class]


def test_the_permutation_finds_nothing_in_nineteen_of_twenty_nulls():
    found = []
    for seed in range(40):
        study, images = planted("class", seed, each=4)
        table, _ = measured.kind_similarity(study, ["m"], images, ["neuron_path"], resamples=5,
                                            seed=seed)
        found += (table["verdict"] != "not shown").tolist()
    assert np.mean(found) <= 0.15  # 80 tests, pairwise alike, at 0.05


def test_kinds_of_classes():
    assert measured.kinds_of(photos.CLASSES).count("vehicle") == 4
    for names in (["airplane", "zebra"], ["cat", "dog", "truck"]):
        with pytest.raises(ValueError, match="are not of two kinds; accepted: two or more each"):
            measured.kinds_of(names)


def test_the_similarity_of_looks_is_that_of_mean_images():
    _, images = planted("none")
    found, labels, seen = measured.look_similarity(images), images.labels.numpy(), images.appearance()
    means = [sum(row for row, own in zip(seen, labels, strict=True) if own == label)
             / (labels == label).sum() for label in range(10)]
    means = [each - np.mean(means, axis=0) for each in means]
    for one in range(10):
        for two in range(10):
            cosine = means[one] @ means[two] / np.linalg.norm(means[one]) / np.linalg.norm(
                means[two])
            assert found[one, two] == pytest.approx(cosine, abs=1e-12)


# --- a few neurons ---


@pytest.mark.parametrize(("value", "word"), [(0.8, "Yes"), (0.5, "No"), (0.76, "Undecided")])
def test_what_is_kept_is_held_against_five_points(value, word):
    accuracy = pd.DataFrame([{"model": "m", "kept": "neuron path", "top": top, "share": share,
                              "value": value, "low": value - 0.04, "high": value + 0.04}
                             for top in (1, 5) for share in (0.5, 1.0)])
    claims = verdicts.of_pruning(accuracy, {"correct": {"m": 0.8}}, 100)
    assert words(claims, "few") == word
    assert {row.condition for claim in claims for row in claim.comparisons} == {beside.OWN_MASK}


# --- end to end ---


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    photos.write_pictures(root)
    photos.write_study(root)
    return Study("photos", results=root / "results", root=root)


@pytest.fixture(scope="module")
def claims(study):
    """The chapter's cells, on a made-up data set and two small networks."""
    models, images = study.model_names, measured.photographs(study, 50)
    edited = effects.interventions(study, models, images, [*AGAINST, "neuron_path", "random",
                                                           "gradient_activation"])
    differences = table1.method_differences(edited, models, AGAINST)
    gain = gains.label_gain(controlled.label_effects(study, models, images, images).assign(
        data=measured.DATA))
    paths = {model: study.paths(model, images) for model in models}
    units = {model: study.target(model).n_neurons for model in models}
    table = path_tables(images, paths)
    usage = {model: similar.utilisation(table, model, units[model]) for model in models}
    own = pd.DataFrame({model: similar.split_half_similarity(table, model, units[model])
                        for model in models},
                       index=["two halves of a class", "halves of two classes", "difference", "low",
                              "high"]).T
    look = pd.DataFrame({model: similar.look_correlation(
        similar.metrics.cosine_similarity(usage[model]), images, 50)
        for model in models}).T
    kinds, leads = measured.kind_similarity(study, models, images,
                                            ["neuron_path", *AGAINST, "random"], resamples=20)
    probing = pruning.probe_mask(images, 0.8)
    test = images.select(~probing)
    grid = pd.concat([pruning.pruning_grid(study, model, images, probing, [1, 5], [0.5, 1.0], 1)
                      for model in models])
    return verdicts.made_from(
        (edited, differences, measured.own_losses(edited),
         measured.leads_over(edited, models, ["gradient_activation", "random"]), gain, models,
         AGAINST),
        (measured.overlaps(study, models, images), own, look,
         wrong_labels.label_parts(study, paths, images), 12, kinds, leads, len(images)),
        (pruning.pruning_summary(grid, "correct"), pruning.whole_model(study, models, test),
         len(test)), measured.knowledge(study, 20, 10))


def test_every_claim_has_a_key_of_its_own_and_a_unit(claims):
    keys = [claim.key for claim in claims]
    assert len(set(keys)) == len(keys)
    assert {"score", "removal accuracy", "removal", "own removal", "class", "wrong label", "look",
            "kind", "kind given look", "random paths", "few", "label", "inversion",
            "single: gradient_activation", "single median: gradient_activation"} <= set(keys)
    for claim in claims:
        assert claim.unit in UNITS and all(row.data == measured.DATA for row in claim.comparisons)
        assert len(claim.comparisons) > 0 or claim.key == "best", claim.key


def test_figure_and_table_have_the_questions_that_were_asked(claims, study):
    rows = beside.beside(study.root, claims)
    assert set(rows["data"]) == {measured.DATA}  # this study has no other notebooks
    assert list(dict.fromkeys(rows["question"])) == [each.words for each in beside.QUESTIONS]
    assert list(beside.beside_table(rows).columns) == [measured.DATA]
    assert len(drawn.data_sets(rows, finding="Six questions").axes) == 6


def test_images_that_are_not_the_declared_ones_are_refused(tmp_path):
    photos.write_pictures(tmp_path, each=3)
    photos.write_study(tmp_path)
    (tmp_path / "data" / "photos" / "test" / "cat" / "0000.jpg").unlink()
    with pytest.raises(ValueError, match="cat has 2 images, not 3"):
        measured.photographs(Study("photos", results=tmp_path / "results", root=tmp_path), 20)


def test_without_a_masked_autoencoder_the_page_says_so(tmp_path):
    photos.write_pictures(tmp_path, each=3)
    photos.write_study(tmp_path, pooled=False)
    study = Study("photos", results=tmp_path / "results", root=tmp_path)
    assert measured.knowledge(study) is None and verdicts.of_knowledge(None) == []
    assert "has no masked autoencoder" in measured.said_of(None)
    assert "no masked autoencoder" in measured.knowledge_table(None).to_string()


def test_with_one_figure_2_is_measured_and_said(study):
    found = measured.knowledge(study, 20, 10)
    assert found.models == ("one", "two") and len(found.correlations) == 4
    assert measured.said_of(found).startswith("Block shares of one and two correlate with the ")
    assert len(measured.knowledge_table(found)) == 4
    assert found.shares.groupby("model")["value"].sum().to_numpy() == pytest.approx(1)


def test_the_recommended_path_of_photographs(study):
    models, images = study.model_names, measured.photographs(study, 50)
    tried = effects.interventions(study, models, images,
                                  [recommended.RECOMMENDED, *recommended.OTHERS])
    shifted = recommended.shift_rows(study, models, measured.photographs(study, 30))
    assert set(shifted["condition"]) == {"conditional_gradient", "gradient_activation",
                                         "neuron_path"}
    assert shifted["value"].between(0, 1).all()
    claims = recommended.made_from(recommended.recommended_leads(tried, models), shifted, 50, 30)
    assert len(claims) == 9 and all(claim.unit in UNITS for claim in claims)
    negative = recommended.negative_rows(study, models, images)
    frame = study.paths(models[0], images, "neuron_path").to_frame(
        study.target(models[0]), *study.batch(images, models[0]))
    row, = negative[(negative["model"] == models[0])
                    & (negative["method"] == "neuron_path")].to_dict("records")
    assert row["value"] == pytest.approx((frame["activation"] < 0).mean())
    assert len(recommended.negative_table(negative)) == 3
    assert len(recommended.shift_table(shifted)) == 3 * len(models)


# --- beside other data ---


def claim(key, data, verdicts_, values, condition=""):
    return Claim(key, "2", "It is", tuple(
        Comparison(data, f"m{number}", value, None, None, 9, verdict, condition)
        for number, (verdict, value) in enumerate(zip(verdicts_, values, strict=True))),
        "probability", "nothing", Rule("None."), "own")


def test_grades_are_compared_by_data_set(monkeypatch):
    stored = {"a": {"x": claim("x", "digits", ["agrees"] * 2, [0.2, 0.3]),
                    "y": claim("y", "digits", ["contradicts"] * 2, [-0.2, -0.3])}}
    monkeypatch.setattr(beside, "stored_claims", lambda root, name: stored[name])
    questions = (beside.Question("First?", ("mine",), (("a", "x"),)),
                 beside.Question("Second?", ("other",), (("a", "y"),)))
    own = [claim("mine", "photographs", ["agrees"], [0.1]),
           claim("other", "photographs", ["agrees"], [0.4])]
    rows = beside.beside(ROOT, own, questions)
    assert beside.same_answers(rows, "photographs") == (1, 2)
    assert beside.finding(rows, "photographs").startswith(
        "Removing a path takes 10.0 to 10.0\u00a0% of the probability")
    shown = beside.beside_table(rows)
    assert shown.loc["Second?", "digits"].startswith("No: \u221225.0")
    assert shown.loc["Second?", "photographs"].startswith("Yes: +40.0")
    said = beside.in_sentences(own + [claim("none", "photographs", [], [])])
    assert said["for mine"] == "1 of 1" and said["against mine"] == "0 of 1"
    assert said["span mine"] == "+10.0\u00a0% of the probability"
    assert said["size mine"] == "10.0\u00a0% of the probability"
    assert "span none" not in said


def test_similar_classes_are_asked_of_photographs_as_on_the_books_card():
    """Chapter 31 and the findings would else give one question two grades."""
    card = next(each for each in read_yaml(ROOT / "book" / "cards.yml") if each["key"] == "similar")
    asked = next(each for each in beside.QUESTIONS if each.words == card["title"])
    named = {f"{notebook[:2]}:{key}" for notebook, key in asked.stored}
    assert named | {f"31:{key}" for key in asked.own} == set(card["claims"])
    own = [claim("look", "photographs", ["agrees"] * 3, [0.3] * 3),
           claim("kind", "photographs", ["not shown"] * 3, [0.2] * 3)]
    rows = beside.beside(Path("nowhere"), own)
    assert "Partly: +25.0" in beside.beside_table(rows).loc[card["title"], "photographs"]


def test_what_the_page_shows_of_other_data_is_what_their_notebooks_store_now():
    path = ROOT / "notebooks" / "31_photographs.ipynb"
    shown = [output.data["text/csv"] for cell in nbformat.read(path, 4).cells
             if cell.get("id") == "31-08" for output in cell.outputs if "text/csv" in output.data]
    if not shown:
        pytest.skip("chapter 31 has not been executed")
    now = beside.beside_table(beside.beside(ROOT, []))
    for question, row in now.iterrows():
        for text in row:
            assert text == "–" or text in shown[0], question


def test_no_photograph_is_in_the_stored_outputs():
    """Of its cells those that draw are known, and what they draw has no picture in it."""
    nb = nbformat.read(ROOT / "notebooks" / "31_photographs.ipynb", 4)
    drawing = {"31-06", "31-12", "31-15", "31-20", "31-56"}
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            assert cell.id in drawing or not {"image/png", "image/svg+xml"} & set(data), cell.id
            assert "<image" not in data.get("image/svg+xml", "") or cell.id == "31-15"
            assert "data:image" not in data.get("text/html", "")
