"""Paths as graphs, and files of graphs: what was written comes back, and what was not written so is
refused."""

import json
import math
import os

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch

from neuronpath_core.circuits import circuit_tracer, graph_files, graphs
from tests import helpers


def edge_table(rows):
    return pd.DataFrame(rows, columns=[*graphs.ENDS, "effect"])


# --- graphs ---


def test_a_path_is_a_line():
    target, images, labels, paths = helpers.drawn_paths()
    graph = paths.to_graph(1, target=target, images=images, labels=labels)
    nodes = [(block + 1, int(neuron)) for block, neuron in enumerate(paths.neurons[1])]
    assert list(graph) == nodes and list(graph.edges) == [(nodes[0], nodes[1]), (nodes[1], nodes[2])]
    assert graph.graph == {"format": graphs.FORMAT, "version": 1, "kind": "path", "image": 1,
                           "score": float(paths.score[1]), "label": int(labels[1])}
    frame = paths.to_frame(target, images, labels)
    rows = frame[frame["image"] == 1].set_index(["block", "neuron"])
    for node, held in graph.nodes(data=True):
        assert set(held) == {"block", "neuron", "rank", "activation", "attribution"}
        assert held["activation"] == pytest.approx(rows.loc[node, "activation"], abs=1e-13)
        assert held["attribution"] == pytest.approx(rows.loc[node, "attribution"], abs=1e-13)
    plain = paths.to_graph()
    assert "label" not in plain.graph and set(plain.nodes[next(iter(plain))]) == {"block", "neuron", "rank"}
    assert plain.graph["image"] == 0


def test_edges_are_those_of_the_table():
    _, _, _, paths = helpers.drawn_paths(top=2)
    (a, b), (c, _), (e, _) = paths.neurons[0].tolist()
    table = edge_table([(1, a, 2, c, 0.5), (1, b, 3, e, -0.25)]).assign(kind="attention", image=0)
    table = pd.concat([table, table.assign(image=1, effect=9.0)], ignore_index=True)
    graph = paths.to_graph(0, edges=table)
    assert len(graph) == 6
    assert dict(graph.edges) == {((1, a), (2, c)): {"effect": 0.5, "kind": "attention"},
                                 ((1, b), (3, e)): {"effect": -0.25, "kind": "attention"}}


def test_no_pairs_are_made_up():
    _, _, _, paths = helpers.drawn_paths(top=2)
    helpers.refused(lambda: paths.to_graph(), "2 neurons a block", "accepted: one neuron a block, or edges")
    helpers.refused(lambda: graphs.class_graph(paths.neurons), "accepted: one neuron a block, or edges")
    single = helpers.drawn_paths(top=1)[3]
    assert single.to_graph().number_of_edges() == 2  # one rank is a line, however it is written


def test_what_a_graph_refuses():
    target, images, labels, paths = helpers.drawn_paths()
    for image in (3, -1, True, "0", 1.0):
        helpers.refused(lambda image=image: paths.to_graph(image), "image must be a position in 0..2")
    helpers.refused(lambda: paths.to_graph(0, target=target, images=images[:1], labels=labels),
                    "images are 1 for 3 paths")
    helpers.refused(lambda: paths.to_graph(0, target=target, images=images, labels=[1, 2, 3]),
                    "labels must be an int64 tensor")
    helpers.refused(lambda: graphs.path_graph(paths.to_frame()), "holds 3 images")
    (a,), (b,), _ = paths.neurons[0][:, None].tolist()
    helpers.refused(lambda: paths.to_graph(0, edges=edge_table([(1, a, 2, 99, 1.0)])), "does not join")
    helpers.refused(lambda: paths.to_graph(0, edges=edge_table([(0, a, 1, b, 1.0)])),
                    "blocks counted from 1")  # a table that counts from 0 is noticed
    helpers.refused(lambda: paths.to_graph(0, edges=edge_table([(1, a, 2, b, 1.0)] * 2)), "occurs twice")
    helpers.refused(lambda: paths.to_graph(0, edges=edge_table([(2, b, 1, a, 1.0)])), "later block")
    helpers.refused(lambda: paths.to_graph(0, edges=edge_table([(1.5, a, 2, b, 1.0)])), "whole numbers")
    for edges in (edge_table([]).drop(columns="effect"), [(1, a, 2, b, 1.0)]):
        helpers.refused(lambda edges=edges: paths.to_graph(0, edges=edges), "have no column", "effect")
    frame = pd.concat([paths.to_frame().iloc[:3], paths.to_frame().iloc[:1]])
    helpers.refused(lambda: graphs.path_graph(frame), "occurs twice in a block")


def test_a_class_counts_its_images():
    rng = np.random.default_rng(8)
    neurons = rng.integers(0, 4, (30, 5))
    for least in (1, 4):
        graph = graphs.class_graph(torch.from_numpy(neurons), least=least, label=3)
        assert graph.graph == {"format": graphs.FORMAT, "version": 1, "kind": "class", "images": 30,
                               "least": least, "label": 3}
        nodes = {(block + 1, neuron): sum(path[block] == neuron for path in neurons)
                 for block in range(5) for neuron in range(4)}
        nodes = {node: count for node, count in nodes.items() if count >= least}
        assert {node: held["count"] for node, held in graph.nodes(data=True)} == nodes
        for (block, neuron), held in graph.nodes(data=True):
            assert (held["block"], held["neuron"]) == (block, neuron)
            assert held["share"] == held["count"] / 30
        edges = {}
        for path in neurons.tolist():
            for block in range(4):
                pair = (block + 1, path[block]), (block + 2, path[block + 1])
                edges[pair] = edges.get(pair, 0) + 1
        edges = {pair: count for pair, count in edges.items()
                 if count >= least and pair[0] in nodes and pair[1] in nodes}
        assert {pair: held["count"] for pair, held in graph.edges.items()} == edges
        assert all(held["share"] == held["count"] / 30 for held in graph.edges.values())
    assert len(edges) < graphs.class_graph(neurons).number_of_edges()


def test_a_class_has_the_mean_effect_of_its_edges():
    neurons = np.array([[[1, 2], [3, 4]], [[1, 5], [3, 4]]])
    table = edge_table([(1, 1, 2, 3, 0.5), (1, 2, 2, 4, 1.0), (1, 1, 2, 3, 0.1)]).assign(image=[0, 0, 1])
    graph = graphs.class_graph(neurons, table)
    assert len(graph) == 5
    assert dict(graph.edges) == {
        ((1, 1), (2, 3)): {"count": 2, "share": 1.0, "effect": 0.3},
        ((1, 2), (2, 4)): {"count": 1, "share": 0.5, "effect": 1.0}}
    assert list(graphs.class_graph(neurons, table, least=2).edges) == [((1, 1), (2, 3))]
    helpers.refused(lambda: graphs.class_graph(neurons, edge_table([(1, 9, 2, 3, 1.0)])), "does not join")
    helpers.refused(lambda: graphs.class_graph(neurons, edge_table([(1, 1, 2, 3, 1.0)] * 3)), "3 rows for 2")
    helpers.refused(lambda: graphs.class_graph(np.array([[[1, 1]]]), table), "occurs twice in a block")
    for least in (0, 1.0, True):
        helpers.refused(lambda least=least: graphs.class_graph(neurons, table, least), "least must be")


# --- files ---

ATTRIBUTES = {
    "whole": -3, "large": 2**62, "zero": 0, "yes": True, "no": False, "third": 1 / 3, "tiny": 5e-324,
    "huge": -1.7976931348623157e308, "minus_zero": -0.0, "one": 1.0, "exponent": 1e22,
    "text": "Größe <&>\"' ∂F/∂w", "spaces": "  two  spaces ", "number": "3.0", "true": "True", "nan": "nan",
    "an odd name": 1, "numpy": np.float32(0.1), "integer": np.int64(7), "bool": np.bool_(True),
    "tensor": torch.tensor(0.25, dtype=torch.float64)}


def plain_graph(**attributes):
    return graphs.path_graph(helpers.drawn_paths()[3].to_frame().iloc[:3], **attributes)


def as_python(attributes):
    return {name: value.item() if hasattr(value, "item") else value for name, value in attributes.items()}


def same(first, second):
    """Equal values of equal types, in whatever order; -0.0 is not 0.0."""
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert type(value) is type(second[name]) and value == second[name], name
        assert not isinstance(value, float) or math.copysign(1, value) == math.copysign(1, second[name])


@pytest.mark.parametrize("ending", ["graphml", "json"])
def test_every_type_of_attribute_comes_back(tmp_path, ending):
    graph = plain_graph(**ATTRIBUTES)
    first, second, third = graph
    graph.nodes[second].update(ATTRIBUTES)
    graph.nodes[third]["whole"] = 0.5  # the same name for a value of another type
    graph.edges[first, second].update(ATTRIBUTES)
    path = graph_files.write_graph(graph, tmp_path / f"path.{ending}")
    back = graph_files.read_graph(path)
    assert type(back) is nx.DiGraph and list(back) == list(graph) and list(back.edges) == list(graph.edges)
    same(back.graph, as_python(graph.graph))
    for node, held in graph.nodes(data=True):
        same(back.nodes[node], as_python(held))
    for pair, held in graph.edges.items():
        same(back.edges[pair], as_python(held))
    again = graph_files.write_graph(back, tmp_path / f"again.{ending}")
    assert again.read_bytes() == path.read_bytes()
    assert sorted(os.listdir(tmp_path)) == sorted([path.name, again.name])  # nothing temporary stays


@pytest.mark.parametrize("ending", ["graphml", "json"])
def test_graphs_of_paths_and_classes_come_back(tmp_path, ending):
    target, images, labels, paths = helpers.drawn_paths("avg")
    for graph in (paths.to_graph(2, target=target, images=images, labels=labels),
                  graphs.class_graph(paths.neurons), graphs.class_graph(paths.neurons, least=3)):
        back = graph_files.read_graph(graph_files.write_graph(graph, str(tmp_path / f"a.{ending}")))
        assert nx.utils.graphs_equal(back, graph) and back.graph == graph.graph


def test_other_programs_read_both_formats(tmp_path):
    graph = helpers.drawn_paths()[3].to_graph()
    by_graphml = nx.read_graphml(graph_files.write_graph(graph, tmp_path / "a.graphml"))
    by_json = nx.node_link_graph(json.loads(graph_files.write_graph(graph, tmp_path / "a.json").read_text("utf-8")),
                                 edges="links")
    names = [f"{block}/{neuron}" for block, neuron in graph]
    assert list(by_graphml) == names and list(by_json) == names
    assert by_json.graph["version"] == 1 and by_graphml.graph["version"] == 1


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), "", "  ", "two\nlines", "\x00", "\ud800",
                                   [1], {}, 1j, np.zeros(2)])
def test_what_no_file_gives_back_is_not_written(tmp_path, value):
    for place in ("graph", "node", "edge"):
        graph = plain_graph()
        held = {"graph": graph.graph, "node": graph.nodes[next(iter(graph))],
                "edge": graph.edges[next(iter(graph.edges))]}[place]
        held["own"] = value
        for ending in ("graphml", "json"):
            helpers.refused(lambda graph=graph, ending=ending: graph_files.write_graph(graph, tmp_path / f"a.{ending}"),
                            "has an attribute 'own'", "accepted: bool, int, finite float")
    assert not os.listdir(tmp_path)


def test_names_that_the_formats_need_are_not_written(tmp_path):
    for place, names in graph_files.TAKEN.items():
        for name in names:
            graph = plain_graph()
            {"graph": graph.graph, "node": graph.nodes[next(iter(graph))],
             "edge": graph.edges[next(iter(graph.edges))]}[place][name] = 1
            helpers.refused(lambda graph=graph: graph_files.write_graph(graph, tmp_path / "a.json"), repr(name))


def test_what_is_no_graph_of_paths_is_not_written(tmp_path):
    path = tmp_path / "a.json"
    helpers.refused(lambda: graph_files.write_graph(nx.DiGraph(), path), "accepted: 'neuronpath graph'")
    helpers.refused(lambda: graph_files.write_graph([], path), "a graph is needed")
    helpers.refused(lambda: graph_files.write_graph(nx.Graph(plain_graph()), path), "a graph is needed")
    helpers.refused(lambda: graph_files.write_graph(nx.MultiDiGraph(plain_graph()), path), "a graph is needed")
    odd = plain_graph()
    odd.add_node("x", block=1, neuron=2)
    helpers.refused(lambda: graph_files.write_graph(odd, path), "node 'x' has block 1")
    for name in ("a.gml", "a", "a.JSON"):
        helpers.refused(lambda name=name: graph_files.write_graph(plain_graph(), tmp_path / name), ".graphml or .json")
        helpers.refused(lambda name=name: graph_files.read_graph(tmp_path / name), ".graphml or .json")
    helpers.refused(lambda: graph_files.write_graph(plain_graph(), tmp_path / "none" / "a.json"), "cannot be written")
    helpers.refused(lambda: graph_files.read_graph(path), "cannot be read", "No such file")
    path.mkdir()
    helpers.refused(lambda: graph_files.read_graph(path), "cannot be read")


def test_a_file_stays_as_it_was_if_writing_fails(tmp_path, monkeypatch):
    path = graph_files.write_graph(plain_graph(), tmp_path / "a.json")
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    helpers.refused(lambda: graph_files.write_graph(plain_graph(more=1), path), "No space left")
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.json"]


DAMAGE = {
    "json": [
        lambda text: text[:len(text) // 2], lambda text: "", lambda text: "[]", lambda text: "null",
        lambda text: text.replace('"version": 1', '"version": 2'),
        lambda text: text.replace('"version": 1', '"version": "1"'),
        lambda text: text.replace('"neuronpath graph"', '"another"'),
        lambda text: text.replace('"kind": "path"', '"kind": "tree"'),
        lambda text: text.replace('"directed": true', '"directed": false'),
        lambda text: text.replace('"multigraph": false', '"multigraph": true'),
        lambda text: text.replace('"block": 2', '"block": 3'),
        lambda text: text.replace('"block": 2', '"block": "2"'),
        lambda text: text.replace('"block": 2,', ""),
        lambda text: text.replace('"links"', '"edges"'),
        lambda text: text.replace('"source": "2/', '"source": "9/'),
        lambda text: text.replace('"rank": 1', '"rank": NaN'),
        lambda text: text.replace('"rank": 1', '"rank": null'),
        lambda text: text.replace('"rank": 1', '"rank": [1]'),
        lambda text: json.dumps({**(held := json.loads(text)), "nodes": held["nodes"] * 2}),
        lambda text: json.dumps({**(held := json.loads(text)), "links": held["links"] * 2}),
        lambda text: json.dumps({**(held := json.loads(text)), "links": [
            {"source": link["target"], "target": link["source"]} for link in held["links"]]}),
    ],
    "graphml": [
        lambda text: text[:len(text) // 2], lambda text: "", lambda text: "<a/>",
        lambda text: text.replace(">1</data>", ">2</data>", 1),
        lambda text: text.replace("neuronpath graph", "another"),
        lambda text: text.replace("directed", "undirected"),
        lambda text: text.replace('<node id="2/', '<node id="3/'),
        lambda text: text.replace('source="2/', 'source="9/'),
        lambda text: text.replace("<graph ", "<!DOCTYPE a>\n<graph "),
        lambda text: text.replace('attr.type="long"', 'attr.type="string"'),
        lambda text: text.replace("</graph>", "</graph><graph/>").replace("graphml", "graph"),
        lambda text: text[:(at := text.index("<node"))] + text[at:text.index("</node>") + 7] + text[at:],
        lambda text: text[:(at := text.index("<edge"))] + text[at:text.index("/>", at) + 2] + text[at:],
    ],
}


@pytest.mark.parametrize(("ending", "number"), [(ending, number) for ending, every in DAMAGE.items()
                                                for number in range(len(every))])
def test_a_damaged_file_is_refused(tmp_path, ending, number):
    path = graph_files.write_graph(plain_graph(), tmp_path / f"a.{ending}")
    text = path.read_text("utf-8")
    damaged = DAMAGE[ending][number](text)
    assert damaged != text  # otherwise nothing was damaged
    path.write_text(damaged, encoding="utf-8")
    helpers.refused(lambda: graph_files.read_graph(path), "accepted:")


@pytest.mark.parametrize("ending", ["graphml", "json"])
def test_any_cut_is_noticed_and_bytes_that_are_no_text(tmp_path, ending):
    path = graph_files.write_graph(plain_graph(), tmp_path / f"a.{ending}")
    whole = path.read_bytes()
    for length in range(0, len(whole.rstrip()), 37):
        path.write_bytes(whole[:length])
        helpers.refused(lambda: graph_files.read_graph(path), "accepted:")
    path.write_bytes(whole + b"\xff")
    helpers.refused(lambda: graph_files.read_graph(path), "not UTF-8")
    path.write_bytes(whole)
    graph_files.read_graph(path)


# --- the viewer's format ---

NODE = {"node_id": str, "feature": int, "layer": str, "ctx_idx": int, "feature_type": str, "token_prob": float,
        "is_target_logit": bool, "run_idx": int, "reverse_ctx_idx": int, "jsNodeId": str, "clerp": str,
        "influence": (float, type(None)), "activation": (float, type(None))}
METADATA = {"slug": str, "scan": str, "transcoder_list": list, "prompt_tokens": list, "prompt": str,
            "node_threshold": (float, type(None)), "schema_version": int}
PARAMETERS = {"pinnedIds": list, "supernodes": list, "linkType": str, "clickedId": str, "sg_pos": str}


def fits(held, fields):
    return set(fields) <= set(held) and all(isinstance(held[name], kind) for name, kind in fields.items())


def unpaired(number):
    """Layer and feature of a Cantor pair, by looking for it."""
    return next((x, y) for total in range(2000) for y in range(total + 1) for x in [total - y]
                if total * (total + 1) // 2 + y == number)


def as_viewer(data):
    """What the viewer makes of the file before it draws: features on more than two thirds of the tokens are
    dropped, links of what is not there too; the probability is cut out of the label's words."""
    tokens = len(data["metadata"]["prompt_tokens"])
    ids = [f"{node['layer']}_{node['feature']}_{node['ctx_idx']}" for node in data["nodes"]]
    kept = [node for node, name in zip(data["nodes"], ids, strict=True) if ids.count(name) <= tokens * 2 / 3]
    names = {node["node_id"] for node in kept}
    links = [link for link in data["links"] if link["source"] in names and link["target"] in names]
    chance = {node["node_id"]: float(node["clerp"].split("(p=")[1].split(")")[0])
              for node in kept if node["feature_type"] == "logit" and node["clerp"]}
    return kept, links, chance


def test_the_viewer_finds_every_neuron_and_edge():
    target, images, labels, paths = helpers.drawn_paths()
    graph = paths.to_graph(1, target=target, images=images, labels=labels)
    graph.graph["probability"] = 0.25
    data = json.loads(json.dumps(circuit_tracer.circuit_tracer_data(graph, "a-path")))
    assert fits(data["metadata"], METADATA) and fits(data["qParams"], PARAMETERS)
    assert all(fits(node, NODE) for node in data["nodes"])
    kept, links, chance = as_viewer(data)
    *features, label = kept
    found_nodes = {}
    for node in features:
        layer, neuron = unpaired(node["feature"])
        assert node["layer"] == str(layer) and node["node_id"] == f"{layer}_{neuron}_0"
        found_nodes[layer + 1, neuron] = node
    assert set(found_nodes) == set(graph)
    for node, held in graph.nodes(data=True):
        assert found_nodes[node]["activation"] == held["activation"]
        assert f"neuron {node[1]}" in found_nodes[node]["clerp"]
    ids = {node: held["node_id"] for node, held in found_nodes.items()}
    expected = {(ids[source], ids[end]): 1.0 for source, end in graph.edges}
    expected |= {(ids[node], label["node_id"]): held["attribution"] for node, held in graph.nodes(data=True)}
    assert {(link["source"], link["target"]): link["weight"] for link in links} == expected
    assert label["feature_type"] == "logit" and chance == {label["node_id"]: 0.25}
    assert len({node["jsNodeId"] for node in kept}) == len(kept)
    graph.graph["label"] = 'a "cat" (p=1)'
    assert as_viewer(circuit_tracer.circuit_tracer_data(graph, "a-path"))[2] == {label["node_id"]: 0.25}


def test_the_viewer_gets_effects_or_counts():
    neurons = np.array([[1, 2], [1, 3], [1, 2]])
    counts = circuit_tracer.circuit_tracer_data(graphs.class_graph(neurons), "a")
    assert {link["target"]: link["weight"] for link in counts["links"]} == {"1_2_0": 2.0, "1_3_0": 1.0}
    table = edge_table([(1, 1, 2, 2, -0.5)])
    effects = circuit_tracer.circuit_tracer_data(graphs.class_graph(neurons, table), "a")
    assert [link["weight"] for link in effects["links"]] == [-0.5]
    assert as_viewer(effects)[0] == effects["nodes"]  # also without a label nothing is dropped
    alone = {**effects, "metadata": {**effects["metadata"], "prompt_tokens": ["image"]}}
    assert as_viewer(alone)[0] == []  # the control: of one token it would drop all


def test_the_viewers_list_keeps_its_other_graphs(tmp_path):
    graph = plain_graph()
    for slug in ("a", "b", "a"):
        path = circuit_tracer.write_circuit_tracer(graph, tmp_path, slug)
        assert json.loads(path.read_text("utf-8")) == circuit_tracer.circuit_tracer_data(graph, slug)
    listed = json.loads((tmp_path / "graph-metadata.json").read_text("utf-8"))
    assert [entry["slug"] for entry in listed["graphs"]] == ["b", "a"]
    assert sorted(os.listdir(tmp_path)) == ["a.json", "b.json", "graph-metadata.json"]


def test_what_the_viewers_folder_refuses(tmp_path):
    graph = plain_graph()
    for slug in ("../a", "", "a/b", 3):
        helpers.refused(lambda slug=slug: circuit_tracer.write_circuit_tracer(graph, tmp_path, slug), "a graph cannot")
    helpers.refused(lambda: circuit_tracer.write_circuit_tracer(graph, tmp_path, "graph-metadata"), "another name")
    helpers.refused(lambda: circuit_tracer.write_circuit_tracer(graph, tmp_path / "none", "a"), "cannot be written")
    helpers.refused(lambda: circuit_tracer.circuit_tracer_data(nx.DiGraph(), "a"), "accepted: 'neuronpath graph'")
    for text in ("{", "[]", '{"graphs": [1]}', '{"graphs": [{}]}'):
        (tmp_path / "graph-metadata.json").write_text(text, encoding="utf-8")
        helpers.refused(lambda: circuit_tracer.write_circuit_tracer(graph, tmp_path, "a"), "is damaged")
    assert os.listdir(tmp_path) == ["graph-metadata.json"]


@pytest.mark.parametrize("odd", helpers.ODD_NUMBERS, ids=str)
def test_tensors_without_values_are_no_neurons(odd):
    helpers.refused(lambda: graphs.class_graph(helpers.ODD_NUMBERS[odd]()), "neurons must be whole numbers", odd)
