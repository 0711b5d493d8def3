"""The comparison of paths over different sites: its numbers by other ways, planted leads that it
must report and planted nulls that it must not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import neuronpath_core as npc
from neuronpath_core import figures, interventions
from neuronpath_core.chapters.attention_paths import half_blocks, over_sites, words
from neuronpath_core.variants.sites import SiteModel
from tests import helpers
from tests.chapters.test_controls import picture_set, planted_study


@pytest.fixture(scope="module", params=["cls", "patch"])
def measured(request, tmp_path_factory):
    model = helpers.small_vit(31, global_pool={"cls": "token", "patch": "avg"}[request.param],
                              mlp_ratio=2.0)
    study = planted_study(tmp_path_factory.mktemp("study"), model)
    images = picture_set([0, 1, 2, 3, 4, 0, 1, 2])
    return study, images, over_sites.site_effects(study, ["planted"], images,
                                                       ("mixed", "attention", "ffn", "heads"))


def test_every_row_is_what_its_path_does(measured):
    study, images, table = measured
    own, (pictures, labels) = study.target("planted"), study.batch(images, "planted")
    assert table.groupby(["sites", "method"]).size().eq(8).all()
    assert set(zip(table["sites"], table["method"], strict=True)) == {
        (sites, method) for sites in ("mixed", "attention", "ffn", "heads")
        for method in ("neuron_path", "activation", "random")} | {("mixed", "apart")}
    clean = own(pictures).softmax(-1).gather(1, labels[:, None])[:, 0]
    for sites in ("attention", "mixed", "ffn"):
        target = SiteModel(own.model, own.scope, sites)
        paths = npc.find_paths(target, pictures, labels, context="full")
        rows = table[(table["sites"] == sites) & (table["method"] == "neuron_path")]
        assert rows["image"].tolist() == images.ids.tolist()
        # all paths by one rule
        score = npc.joint_attribution_score(target, pictures, labels, paths.neurons,
                                            "gauss-legendre", 3)
        np.testing.assert_allclose(rows["score"], score, rtol=1e-9)
        np.testing.assert_allclose(rows["complete"],
                                   npc.complete_attribution(target, pictures, labels,
                                                            paths.neurons), rtol=1e-9, atol=1e-15)
        removed = interventions.edited_probabilities(target, pictures, paths.neurons,
                                                     "remove").gather(1, labels[:, None])[:, 0]
        np.testing.assert_allclose(rows["removal_probability"],
                                   ((removed - clean) / clean).detach(), rtol=1e-9, atol=1e-12)
        assert (rows["neurons"] == target.n_blocks).all()


def test_paths_found_apart_are_those_of_either_half_removed_together(measured):
    study, images, table = measured
    own, (pictures, labels) = study.target("planted"), study.batch(images, "planted")
    paths = {sites: npc.find_paths(SiteModel(own.model, own.scope, sites), pictures, labels,
                                   context="full").neurons for sites in ("attention", "ffn")}
    clean = own(pictures).softmax(-1).gather(1, labels[:, None])[:, 0]
    # both edits at once, by two targets of one model
    with npc.edit(SiteModel(own.model, own.scope, "attention"),
                  paths["attention"]), npc.edit(own, paths["ffn"]):
        removed = own(pictures).softmax(-1).gather(1, labels[:, None])[:, 0]
    found = table[table["method"] == "apart"]["removal_probability"]
    np.testing.assert_allclose(found, ((removed - clean) / clean).detach(), rtol=1e-9, atol=1e-12)


def test_loss_of_a_half_is_its_integrated_gradients(measured):
    study, images, _ = measured
    own, (pictures, labels) = study.target("planted"), study.batch(images, "planted")
    table = half_blocks.half_effects(study, ["planted"], images)
    attribution = npc.knowledge_attribution(SiteModel(own.model, own.scope, "halves"), pictures,
                                            labels, "gauss-legendre", 32)[..., 0]
    wide = table.pivot(index="image", columns=["block", "half"],
                       values="loss").loc[images.ids.tolist()]
    assert list(wide.columns) == [(block, half) for block in (1, 2, 3)
                                  for half in ("attention", "FFN")]
    np.testing.assert_allclose(wide.to_numpy(), attribution, rtol=1e-6, atol=1e-9)
    assert np.abs(wide.to_numpy()).max() > 1e-4


def test_a_network_whose_attention_writes_nothing_has_all_its_losses_in_the_ffn(tmp_path):
    study = planted_study(tmp_path, helpers.without_attention(helpers.small_vit(32)))
    images = picture_set([0, 1, 2, 3, 4, 1])
    table = half_blocks.half_effects(study, ["planted"], images)
    assert (table[table["half"] == "attention"]["loss"]
            == 0).all() and (table[table["half"] == "FFN"]["loss"] != 0).all()
    effects = over_sites.site_effects(study, ["planted"], images, methods=("neuron_path",))
    assert effects[effects["sites"] == "attention"][["removal_probability",
                                                     "enhancement_probability",
                                                     "complete"]].abs().max(axis=None) < 1e-12
    assert (effects[effects["sites"] == "ffn"]["removal_probability"].abs() > 1e-6).all()


def planted_table(lead: dict[str, float], images: int = 40) -> pd.DataFrame:
    """Removal effects that differ between sites by what is planted, and are otherwise the same for
    own and active paths."""
    rng, tables = np.random.default_rng(0), []
    noise = rng.normal(0, 0.01, images)
    for sites, planted in lead.items():
        for method in ("neuron_path", "activation"):
            effect = -0.2 + rng.normal(0, 0.001,
                                       images) + noise - (planted if method == "neuron_path" else 0)
            tables.append(pd.DataFrame({
                "model": "m", "sites": sites, "method": method, "image": np.arange(images),
                "label": 0, "neurons": 3, "score": 0.0, "complete": -effect,
                "removal_accuracy": 0.0, "removal_probability": effect, "enhancement_accuracy": 0.0,
                "enhancement_probability": 0.0}))
    return pd.concat(tables, ignore_index=True)


def test_planted_leads_between_methods_and_sites_are_reported_and_nulls_are_not():
    table = planted_table({"ffn": 0.0, "attention": 0.1, "mixed": 0.1})
    own = over_sites.method_leads(table)
    own = own[own["measure"] == "removal"].set_index("data")
    assert own["verdict"].to_dict() == {"FFN neurons": "not shown", "attention neurons": "agrees",
                                        "both halves": "agrees"}
    assert own.loc["attention neurons", "value"] == pytest.approx(0.1, abs=0.002)
    between = over_sites.site_leads(table)
    between = between[between["measure"] == "removal"].set_index(["first", "second"])
    assert between["verdict"].tolist() == ["agrees", "agrees", "not shown"]
    assert between["value"].tolist() == pytest.approx([0.1, 0.1, 0.0], abs=0.002)
    reverse = over_sites.site_leads(planted_table({"ffn": 0.1, "attention": 0.0}),
                                         [("attention", "ffn")])
    assert reverse[reverse["measure"] == "removal"]["verdict"].tolist() == ["contradicts"]


def test_pairs_of_sites_that_were_not_measured_are_left_out():
    every = over_sites.site_leads(planted_table({"ffn": 0.0, "attention": 0.1, "mixed": 0.1}),
                                       [("attention", "ffn")])
    some = over_sites.site_leads(planted_table({"ffn": 0.0, "attention": 0.1}))
    pd.testing.assert_frame_equal(some, every)
    none = over_sites.site_leads(planted_table({"ffn": 0.0}))
    assert len(none) == 0 and list(none.columns) == list(every.columns)


def test_summaries_hold_the_plain_statistics(measured):
    study, images, table = measured
    summary = over_sites.site_summary(table)
    rows = table[(table["sites"] == "mixed") & (table["method"] == "apart")]
    shown = summary.loc[("planted", "both halves", "Apart")]
    assert shown["removal"].startswith(f"{rows['removal_probability'].median():+.3f} [")
    assert shown["complete attribution"].startswith(f"{rows['complete'].mean():+.3f} [")
    assert shown["neurons"] == 6
    halves = half_blocks.half_effects(study, ["planted"], images)
    curve = half_blocks.half_summary(halves)
    picked = halves[(halves["block"] == 2) & (halves["half"] == "FFN")]["loss"]
    assert curve.set_index(["half", "block"]).loc[("FFN", 2),
                                                  "value"] == pytest.approx(picked.mean())
    difference = half_blocks.half_difference(halves).iloc[0]
    assert difference["value"] == pytest.approx(difference["attention"] - difference["FFN"])
    figure = figures.half_curves(curve)
    (axis,) = figure.axes
    drawn = {container.get_label(): np.asarray(container.lines[0].get_ydata(), float)
             for container in axis.containers}
    for half, values in drawn.items():
        np.testing.assert_allclose(values, curve[curve["half"] == half]["value"])
    assert set(drawn) == {"attention", "FFN"}


@pytest.mark.parametrize(("arguments", "message"), [
    ({"sites": ("everything",)}, "unknown sites"), ({"sites": ()}, "unknown sites"),
    ({"methods": ("guess",)}, "unknown methods"),
    ({"context": "frozen"}, "accepted for sites 'attention': full"),
])
def test_unknown_names_are_refused(measured, arguments, message):
    study, images, _ = measured
    with pytest.raises(ValueError, match=message):
        over_sites.site_effects(study, ["planted"], images,
                                     **{"sites": ("attention",), **arguments})


def test_values_do_not_depend_on_how_many_images_are_read_at_once(measured, monkeypatch):
    study, images, table = measured
    monkeypatch.setattr(over_sites, "IMAGES_AT_ONCE", 3)
    some = ("mixed", "attention", "ffn")  # and of its halves the path apart
    again = over_sites.site_effects(study, ["planted"], images, some)
    table, keys = table[table["sites"].isin(some)], ["sites", "method", "image"]
    pd.testing.assert_frame_equal(table.sort_values(keys, ignore_index=True),
                                  again.sort_values(keys, ignore_index=True), rtol=1e-9)


def leads(verdicts, first="attention neurons", second="FFN neurons"):
    """Leads in removal of one pair of sites, a model each."""
    return pd.DataFrame([{"model": f"m{number}", "first": first, "second": second,
                          "measure": "removal", "value": 0.1, "low": 0.05, "high": 0.25,
                          "verdict": verdict} for number, verdict in enumerate(verdicts)])


@pytest.mark.parametrize(("verdicts", "expected"), [
    (["agrees", "agrees"], "Removing the attention path costs more on m0 and m1 than removing the "
                           "FFN path"),
    (["agrees", "not shown"], "Removing the attention path costs more on m0 than removing the FFN "
                              "path; no difference is shown on 1 of 2"),
    (["contradicts", "agrees"], "Removing the attention path costs more on m1, less on m0 than "
                                "removing the FFN path"),
    (["not shown", "not shown"], "Removing the attention path costs neither more nor less than "
                                 "removing the FFN path, as far as 2 models show")])
def test_the_finding_on_sites_follows_the_verdicts(verdicts, expected):
    assert words.site_finding(leads(verdicts)) == expected
    assert words.site_finding(leads(verdicts, "both halves")) == (
        "What removing the paths over each kind of sites does")


def test_the_answer_on_sites_has_every_models_lead():
    assert words.removal_answer(leads(["agrees", "not shown"]), "A", "B") == (
        "Removing A costs more than removing B on 1 of 2 models (lead, relative to the clean "
        "probability: m0 +0.100 [+0.050, +0.250]; m1 +0.100 [+0.050, +0.250])")


def test_the_finding_on_leads_counts_comparisons():
    rows = [{"measure": measure, "control": control, "verdict": verdict}
            for measure in ("removal", "enhancement", "removal accuracy")
            for control, verdict in (("Activation", "agrees"), ("Random", "not shown"),
                                     ("Apart", "contradicts"))]
    table = pd.DataFrame(rows)
    text = "The neuron path does more than activation or random paths in 2 of 4 comparisons"
    assert words.lead_finding(table) == f"{text}, more than two searches apart in 0 of 2"
    assert words.lead_finding(table[table["control"] != "Apart"]) == text


@pytest.mark.parametrize(("verdicts", "expected"), [
    (["agrees", "not shown"], "Attention halves cost more than FFN halves on 1 of 2 models"),
    (["contradicts", "agrees"], "Attention halves cost more than FFN halves on 1 of 2 models, FFN "
                                "halves cost more than attention halves on 1 of 2 models"),
    (["contradicts", "contradicts"], "FFN halves cost more than attention halves on 2 of 2 models"),
    (["not shown", "not shown"], "Neither half is shown to cost more than the other on any of 2 "
                                 "models")])
def test_the_finding_on_halves_follows_the_verdicts(verdicts, expected):
    assert words.half_finding(pd.DataFrame({"verdict": verdicts})) == expected


def test_tables_and_questions_of_planted_leads():
    table = planted_table({"ffn": 0.0, "attention": 0.1, "mixed": 0.1})
    lead, between = over_sites.method_leads(table), over_sites.site_leads(table)
    values = over_sites.site_values(table)
    own = values[(values["sites"] == "attention neurons") & (values["paths"] == "Neuron Path")]
    assert own["value"].tolist() == pytest.approx([-0.3], abs=0.01)
    shown = words.leads_table(between, {"first": "one", "second": "other",
                                                  "model": "model"})
    assert shown.index.names == ["one", "other", "model"]
    assert list(shown.columns) == list(over_sites.SITE_MEASURES)
    assert shown.loc[("attention neurons", "FFN neurons", "m"), "removal"].endswith("], agrees")
    difference = pd.DataFrame([{"model": "m", "attention": 0.5, "FFN": 0.25, "value": 0.25,
                                "low": 0.125, "high": 0.375, "verdict": "agrees"}])
    assert words.half_table(difference).loc["m"].tolist() == [
        0.5, 0.25, "+0.250 [+0.125, +0.375]"]
    rows = {question: rest for question, *rest in words.questions(lead, between,
                                                                            difference)}
    assert len(rows) == 3 + 3 + 1
    span, tally = rows["The path over both halves does more than the one over attention neurons"]
    assert span.startswith("lead ") and tally == "0 of 2 agree, 2 not shown"
    assert rows["Attention halves cost more than FFN halves when removed"] == [
        "difference +0.250 to +0.250", "1 of 1 agree"]
