"""Chapter 22 where it is known what flows: chains, neurons side by side, and networks in which a
path has nothing of its own; and made-up edges in closed form."""

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.chapters.edges_of_paths import (
    control_leads,
    damaged_files,
    measured,
    shares,
    tables,
)
from neuronpath_core.chapters.edges_of_paths import (
    words as edges_of_paths_words,
)
from neuronpath_core.circuits.edges import edge_table, path_edges
from neuronpath_core.models.planted import planted_model
from tests import helpers
from tests.chapters.test_verdicts import of
from tests.circuits.test_edges import everyone_reads

PLACE = {"data": "made up", "model": "m", "scope": "cls", "replaced": "zero"}


def edges_of(planted, **settings):
    return measured.edges_of(planted.target, planted.images, planted.labels,
                             planted.neurons[..., 0], split=False, **settings).assign(**PLACE)


@pytest.fixture(scope="module")
def known():
    """Of two networks of either kind."""
    return shares.planted_shares(measured.planted_edges(["chain", "parallel"], ["cls"], 2))


def verdicts(table):
    """Of the leads, by control and measure."""
    return control_leads.leads(table).pivot(index="control", columns="measure", values="verdict")


# --- what must be found, and what must not ---


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_a_planted_chain_is_a_path(scope):
    table = edges_of(planted_model("chain", scope, n_images=12))
    found, own = verdicts(table), shares.edge_shares(table).set_index(["control", "measure"])
    assert (found[["activation", "own activation", "label", "label size", "cosine"]]
            == "agrees").all(axis=None)
    assert own.loc[("path", "activation"), "low"] > 0.9
    assert own.loc[("path", "signed"), "low"] > 0.9
    # all that a neuron of a chain does goes by way of the next one
    assert own.loc[("path", "label"), "value"] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_neurons_side_by_side_are_none(scope):
    table = edges_of(planted_model("parallel", scope, n_images=12))
    own = shares.edge_shares(table).set_index(["control", "measure"])
    assert own.loc[("path", "activation"), "high"] < 0.05
    assert own.loc[("path", "label"), "high"] < 0.05
    found = verdicts(table)
    assert not (found[["own activation", "label"]] == "agrees").any(axis=None)
    assert found.loc["matched", "activation"] != "agrees"
    # a loud neuron moves more in absolute terms, if nearly nothing of what it has: such a lead
    # alone is no edge, and the chapter says so
    assert found.loc["shuffled blocks", "activation"] == "agrees"


def test_a_path_has_no_lead_where_everyone_reads_what_it_writes():
    table = edges_of(everyone_reads(planted_model("chain", n_images=12)))
    assert shares.edge_shares(table).set_index(["control", "measure"]).loc[
        ("path", "activation"), "low"] > 0.1
    assert (verdicts(table)[["activation", "own activation", "cosine"]] != "agrees").all(axis=None)


def test_a_chain_that_is_cut_loses_its_edge_there():
    planted = planted_model("chain", n_images=4)
    with torch.no_grad():
        planted.target.model.blocks[2].mlp.fc2.weight.zero_()
    following = shares.pairs(edges_of(planted, controls=["path"]), shares.NEXT)
    moved = (following["exact"] / following["target_activation"]).groupby(
        following["source_block"]).mean()
    assert abs(moved[3]) < 0.2 and (moved[[1, 2]] > 0.9).all()


def test_the_claims_on_planted_networks_can_fail(known):
    nothing = pd.DataFrame(columns=["control", "measure", "pairs", "route", "value", "low", "high"])
    judged = shares.verdicts(nothing, nothing, nothing, known)
    assert list(judged["chain"]["verdict"]) == list(judged["parallel"]["verdict"]) == ["agrees"]
    names = {"chain": "parallel", "parallel": "chain"}
    judged = shares.verdicts(nothing, nothing, nothing,
                             known.assign(kind=known["kind"].map(names)))
    assert list(judged["chain"]["verdict"]) == list(judged["parallel"]["verdict"]) == [
        "contradicts"]
    assert list(known["networks"].unique()) == [2]
    assert tables.planted_table(known).shape == (2, 4)


# --- closed forms ---


def made_up(images=6, seed=0):
    """Edges of three blocks whose shares are known: of a path 10 %, -5 % signed on average, of a
    matched neuron 4 % of its own activation, which is half the path's."""
    rows = []
    for image in range(images):
        for source, later in ((1, 2), (1, 3), (2, 3)):
            size, sign = 1.0 + image, (-1 if source == 1 else 1)
            place = {"image": image, "source_block": source, "source_neuron": 0,
                     "target_block": later, "source_effect": 0.1, **PLACE}
            # sizes 1 and 3: signed (-1 + 3) / 4 is half of the whole
            weight = 1 if source == 1 else 3
            rows += [
                {**place, "control": "path", "target_neuron": 1, "composition": 0.5,
                 "target_activation": weight * size, "exact": 0.1 * sign * weight * size,
                 "exact_probability": 0.01, "residual": 0.2, "attention": -0.1, "others": 0.1},
                {**place, "control": "matched", "target_neuron": 2, "composition": 0.2,
                 "target_activation": -0.5 * weight * size, "exact": 0.02 * weight * size,
                 "exact_probability": -0.002}]
    return pd.DataFrame(rows)


def test_shares_in_closed_form():
    own = shares.edge_shares(made_up()).set_index(["control", "measure"])["value"]
    assert own["path"].to_dict() == pytest.approx(
        {"activation": 0.1, "signed": 0.05, "label": 0.1})
    assert own["matched"].to_dict() == pytest.approx(
        {"activation": 0.04, "signed": 0.04, "label": 0.02})
    # one edge to a later block, negative
    far = shares.edge_shares(made_up(), shares.LATER).set_index(["control", "measure"])["value"]
    assert far["path"].to_dict() == pytest.approx(
        {"activation": 0.1, "signed": -0.1, "label": 0.1})


def test_leads_in_closed_form():
    lead = control_leads.leads(made_up()).set_index("measure")
    assert lead["value"].to_dict() == pytest.approx(
        {"activation": 0.1 - 0.02, "own activation": 0.1 - 0.04, "label": 0.12,
         "label size": 0.1 - 0.02, "cosine": 0.3})
    assert (lead["images"] == 6).all()
    # where the partner is moved more the claim is contradicted
    table = made_up(12)
    table.loc[table["control"] == "matched", ["exact", "exact_probability"]] *= 50
    assert set(control_leads.leads(table).set_index("measure").loc[
        ["activation", "own activation"], "verdict"]) == {"contradicts"}


def test_a_lead_is_of_the_same_edges():
    """An edge that a control lacks does not count for the path either."""
    table = made_up()
    gone = (table["control"] == "matched") & (table["source_block"] == 2)
    table.loc[(table["control"] == "path") & (table["source_block"] == 2), "exact"] = 1e6
    lead = control_leads.leads(table[~gone]).set_index("measure")["value"]
    assert lead["activation"] == pytest.approx(0.08)


def test_of_weights_alone_nothing_is_replaced():
    table = pd.concat([made_up(), made_up().assign(replaced="mean")])
    lead = control_leads.leads(table)
    assert (lead["measure"] == "cosine").sum() == 1 and len(lead) == 9


def test_routes_in_closed_form():
    routes = shares.route_shares(made_up()).set_index(["pairs", "route"])["value"]
    for pairs in (shares.NEXT, shares.LATER):
        assert routes[pairs].to_dict() == pytest.approx(
            {"residual": 0.5, "attention": 0.25, "others": 0.25, "through attention": 0.5})


def test_nothing_of_nothing_is_nothing():
    table = made_up().assign(target_activation=0.0, exact=0.0, source_effect=0.0)
    assert (shares.edge_shares(table)["value"] == 0).all()
    assert shares.share(pd.Series([1.0]), pd.Series([-2.0])) == 0.5


def test_models_whose_weights_cannot_be_compared_have_no_cosine():
    table = made_up().assign(composition=np.nan)
    lead = control_leads.leads(table).set_index("measure")
    assert np.isnan(lead.loc["cosine", "value"]) and lead.loc["cosine", "verdict"] == "not shown"
    assert np.isnan(shares.cosines(table)["value"]).all()


# --- what a source does by itself ---


def test_removal_of_one_neuron_against_the_hook():
    target, images, labels = helpers.network("avg", 31, batch=3)
    generator = torch.Generator().manual_seed(0)
    neurons = torch.randint(0, target.n_neurons, (3, target.n_blocks), generator=generator)
    values = 0.3 * torch.randn(1, target.n_blocks, 1, target.n_neurons, generator=generator,
                               dtype=torch.float64)
    clean = target(images).softmax(-1)
    for given in (None, values):
        lost = measured.removal_effects(target, images, labels, neurons, given)
        for image in range(3):
            for block in range(target.n_blocks):
                def replaced(active, image=image, block=block, given=given):
                    active = active.clone()
                    number = neurons[image, block]
                    active[:, target.tokens, number] = 0 if given is None else given[
                        0, block, 0, number]
                    return active
                with torch.no_grad(), npc.hooks.hooked(target, {block: replaced}):
                    after = target(images[[image]]).softmax(-1)[0, labels[image]]
                assert lost[image, block] == pytest.approx(
                    (clean[image, labels[image]] - after).item(), abs=1e-12)


def test_path_edge_table(study, images):
    part = images.select(np.arange(3))
    table = measured.path_edge_table(study, ["small", "pooled"], part, images)
    assert set(table["scope"]) == {"cls", "patch"}
    found = {names: set(own["control"]) for names, own in table.groupby(["model", "replaced"])}
    for model in ("small", "pooled"):
        assert found[model, "zero"] == set(measured.PARTNERS)
        assert found[model, "mean"] == {"path", "matched"}
    path = table[(table["control"] == "path") & (table["replaced"] == "zero")]
    parts = path[list(shares.ROUTES)].sum(axis=1)
    np.testing.assert_allclose(parts, path["total"], rtol=0, atol=1e-10)
    neurons = study.paths("small", part).neurons
    expected = path_edges(study.target("small"), *study.batch(part, "small"), neurons)
    own = path[path["model"] == "small"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own[expected.columns], expected, check_dtype=False)


# --- graphs and words ---


@pytest.fixture(scope="module")
def written(study, images):
    """What is needed to write the graphs of four paths."""
    part = images.select(range(4))
    edges = measured.path_edge_table(study, ["small"], part, images)
    return study, ["small"], part, edges.assign(data="made up")


def test_a_graph_comes_back_as_it_was_written_and_a_damaged_one_does_not(written, tmp_path):
    files = damaged_files.graph_files(*written, tmp_path)
    assert files["told"].all() and (files["neurons"] == 3).all() and (files["edges"] == 3).all()
    assert list(dict.fromkeys(files["damage"])) == ["", *damaged_files.DAMAGES]
    assert len(files) == 4 * 2 * 5
    rows = shares.file_shares(files.assign(data="made up"))
    assert set(rows["verdict"]) == {"agrees"} and (rows["paths"] == 4).all() and len(rows) == 10
    # Wilson's interval of all of four is n / (n + z^2)
    assert rows["low"].tolist() == pytest.approx([4 / (4 + 1.959964 ** 2)] * 10, abs=1e-6)
    table = tables.file_table(files)
    assert table.loc["GraphML", ["neurons", "edges", "read as written", "cut short"]].tolist() == [
        "3", "3", "4 of 4", "4 of 4 refused"]


def test_what_a_file_loses_is_noticed(written, tmp_path, monkeypatch):
    """A reader that forgets an effect, and one that takes whatever it is given: the first test and
    its control must each fail on one of them."""
    def without_an_effect(path):
        graph = npc.read_graph(path)
        nx.set_edge_attributes(graph, 0.0, "effect")
        return graph

    monkeypatch.setattr(damaged_files, "read_graph", without_an_effect)
    found = shares.file_shares(damaged_files.graph_files(*written, tmp_path).assign(data="made up"))
    assert set(found.loc[found["damage"] == "", "verdict"]) == {"contradicts"}
    monkeypatch.setattr(damaged_files, "read_graph", lambda path: nx.DiGraph())
    found = shares.file_shares(damaged_files.graph_files(*written, tmp_path).assign(data="made up"))
    assert set(found["verdict"]) == {"contradicts"} and (found["value"] == 0).all()


@pytest.mark.parametrize("ending", damaged_files.FILES.values())
@pytest.mark.parametrize("damage", damaged_files.DAMAGES)
def test_a_damage_is_one_fault_and_what_is_said_of_it(written, tmp_path, ending, damage):
    study, _, part, edges = written
    own = edges[(edges["control"] == "path") & (edges["replaced"] == "zero")]
    graph = study.paths("small", part).to_graph(0, edges=edge_table(own, "exact", 0))
    path = npc.write_graph(graph, tmp_path / f"path.{ending}")
    text = path.read_text()
    path.write_text(damaged_files.DAMAGES[damage](text))
    assert path.read_text() != text
    says = {"cut short": "damaged", "a neuron gone": "a node that is not there",
            "an effect that is no number": "damaged|effect|none", "of another version": "version"}
    with pytest.raises(ValueError, match=says[damage]):
        npc.read_graph(path)
    path.write_text(text)
    assert dict(npc.read_graph(path).nodes(data=True)) == dict(graph.nodes(data=True))


def test_the_answer_follows_the_verdicts():
    words = [edges_of_paths_words.answer({"most": pd.DataFrame({"verdict": each})}) for each in (
        ["agrees"] * 2, ["contradicts"] * 2, ["agrees", "contradicts"], ["not shown"])]
    assert words == ["Yes", "Little", "In part", "In part"]


def test_words():
    assert edges_of_paths_words.percents([0.0114, 0.038]) == "1.1 to 3.8 %"
    assert edges_of_paths_words.percents([0.001, 0.00102], signed=True) == "+0.1 %"
    one = made_up(1)
    one = one[one["control"] == "path"].assign(exact_probability=[0.001, -0.004, 0.002],
                                               source_effect=[0.1, -0.12, 0.0])
    assert edges_of_paths_words.arc_finding(one).startswith(
        "The strongest of this path's 3 edges moves the label's probability by 0.40 points; ")
    assert edges_of_paths_words.arc_finding(one).endswith("up to 12")


def test_what_the_chapter_says(known):
    """From made-up edges to verdicts: half of nothing is not most."""
    from neuronpath_core.chapters.verdicts import edges as said

    table = pd.concat([made_up(12), made_up(12).assign(replaced="mean")])
    parts = (shares.edge_shares(table), control_leads.leads(table), shares.route_shares(table), known)
    files = pd.DataFrame([
        {"data": "made up", "model": "m", "file": "GraphML", "damage": damage, "paths": 4,
         "value": value, "low": 0.5, "high": value,
         "verdict": "agrees" if value == 1 else "contradicts"}
        for damage, value in zip(["", *damaged_files.DAMAGES], (1, 1, 0.75, 1, 1), strict=True)])
    every = said.made_from(*parts, files)
    assert set(edges_of_paths_words.SENTENCES) == set(said.RULES) == {claim.key for claim in every} - {
        "graphs", "graphs: damaged"}
    assert [verdict for *_, verdict in of(every, "graphs")] == ["agrees"]
    assert [verdict for *_, verdict in of(every, "graphs: damaged")] == [
        "agrees", "contradicts", "agrees", "agrees"]
    kept, = [claim for claim in every if claim.key == "graphs: damaged"]
    assert {each.n for each in kept.comparisons} == {4} and kept.of == "paths"
    assert [each.condition for each in kept.comparisons] == list(said.BROKEN.values())
    assert set(said.BROKEN) == set(damaged_files.DAMAGES)
    every = [claim for claim in every if not claim.key.startswith("graphs")]
    assert [verdict for *_, verdict in of(every, "most")] == ["contradicts"] * 2
    named = {claim.key: claim for claim in every}
    assert {each.condition for each in named["matched"].comparisons} == {edges_of_paths_words.SAME, edges_of_paths_words.OWN}
    assert {each.against for each in named["matched"].comparisons} == {
        measured.PARTNERS["matched"], measured.PARTNERS["matched"] + ", source set to its mean"}
    assert named["chain"].of == "networks" and named["chain"].comparisons[0].n == 2
    assert named["most"].comparisons[0].n == 12
    assert len(edges_of_paths_words.edge_claims(shares.verdicts(*parts))) == len(
        [claim for claim in every if claim.comparisons])
    assert tables.mean_table(parts[0], parts[1]).shape == (2, 3)
    said_of = edges_of_paths_words.glued(parts[0], shares.verdicts(*parts), shares.label_ratios(table),
                           pd.DataFrame({"value": [0.2, 0.3]}))
    assert said_of["answer"] == "Little" and said_of["strongest"] == "20.0 to 30.0 %"
    assert said_of["tally size matched"] == "1 of 1 models" and said_of["tally size"].startswith(
        "0 of 0")
    assert said_of["handed"] == "10.0 %" and said_of["handed matched"] == "2.0 %"
    assert tables.route_table(parts[2]).shape == (2, 3)


def test_the_example_is_the_image_whose_neurons_matter_most():
    table = pd.concat([made_up(4).assign(model=model) for model in "mn"], ignore_index=True)
    table.loc[(table["model"] == "m") & (table["image"] == 2), "source_effect"] = -0.5
    table.loc[(table["model"] == "n") & (table["image"] == 3), "source_effect"] = 0.7
    one = edges_of_paths_words.example(table, "made up", "m")
    assert one["image"].tolist() == [2] * 3 and set(one["control"]) == {"path"}


@pytest.mark.parametrize(("kind", "most"), [("chain", 0.9), ("parallel", 0.0)])
def test_no_edge_of_a_path_is_stronger_than_the_strongest_pair(kind, most):
    planted = planted_model(kind, "cls", n_images=6)
    neurons = planted.neurons[..., 0]
    table = measured.strongest_pairs(planted.target, planted.images, neurons, sources=4)
    own = path_edges(planted.target, planted.images, planted.labels, neurons, split=False)
    own = own[own["target_block"] == own["source_block"] + 1]
    both = table.merge(own, on=["image", "source_block"], suffixes=("", "_path"))
    assert len(both) == len(table) == 6 * (planted.target.n_blocks - 1)
    shares_of = [(both[f"exact{end}"] / both[f"target_activation{end}"]).abs()
                 for end in ("", "_path")]
    assert (shares_of[0] >= shares_of[1] - 1e-9).all()
    found = shares.strongest_shares(table.assign(data="d", model="m"))
    assert found["value"].item() > most and found["images"].item() == 6


def test_the_ratio_by_way_of_two_partners_in_closed_form():
    rows = [{"data": "d", "model": "m", "scope": "cls", "replaced": "zero", "control": control,
             "image": image, "source_block": 1, "target_block": 2, "exact": 0.0,
             "target_activation": 1.0, "exact_probability": sign * size * (1 + image),
             "source_effect": 1.0}
            for image in range(5) for control, size, sign in (("path", 0.04, 1),
                                                              ("matched", 0.01, -1))]
    row = shares.label_ratios(pd.DataFrame(rows)).iloc[0]
    assert row["value"] == pytest.approx(4) == row["low"] == row["high"]
    assert edges_of_paths_words.times(pd.DataFrame([row])) == "4.0 to 4.0"
