"""What chapters conclude, in words: planted tables that agree, that do not, and that do in part."""

import numpy as np
import pandas as pd

from neuronpath_core.chapters import class_similarity, mae_against_supervised, similarity_in_numbers
from neuronpath_core.chapters.claims import spans
from neuronpath_core.chapters.controls import claims as control_claims
from neuronpath_core.chapters.controls.paths import CONTROLS
from neuronpath_core.chapters.planted_paths import claims as planted_claims
from neuronpath_core.chapters.pruning_honest import comparison, files
from neuronpath_core.chapters.score_or_search import claims as score_claims
from neuronpath_core.chapters.score_or_search.shares import CONTRASTS
from neuronpath_core.chapters.stability import claims as stability_claims

ABOVE, ACROSS, BELOW = ({"value": middle, "low": middle - 0.1, "high": middle + 0.1,
                         "verdict": verdict} for middle, verdict in
                        ((0.5, "agrees"), (0.0, "not shown"), (-0.5, "contradicts")))


def of_two_models(first, second, **columns):
    return pd.DataFrame([{"data": "d", "model": model, **row, **columns}
                         for model, row in (("one", first), ("two", second))])


def test_spans():
    table = pd.concat([of_two_models(ABOVE, BELOW, what="z", by=1),
                       of_two_models(ABOVE, ABOVE, what="a", by=2)])
    mixed = ("-0.500 to +0.500", "1 of 2 agree, 1 contradict")
    assert list(spans(table, "what").items()) == [
        ("z", mixed), ("a", ("+0.500 to +0.500", "2 of 2 agree"))]
    assert spans(table, ["what", "by"], 1) == {("z", 1): ("-0.5 to +0.5", mixed[1]),
                                               ("a", 2): ("+0.5 to +0.5", "2 of 2 agree")}
    assert spans(table.iloc[:0], "what") == {}


def test_class_similarity():
    own = pd.DataFrame({"own": {"two halves of a class": 0.9, "halves of two classes": 0.4, **ABOVE},
                        "none": {"two halves of a class": 0.4, "halves of two classes": 0.4,
                                 **ACROSS}}).T
    look = pd.DataFrame({"own": {"correlation": 0.3, "permuted_high": 0.2},
                         "none": {"correlation": 0.2, "permuted_high": 0.2},
                         "few": {"correlation": np.nan, "permuted_high": np.nan}}).T
    found = class_similarity.similarity_claims(own, look)
    assert list(found.columns) == ["key", "claim", "text", "verdict"]
    assert found["key"].tolist() == ["class"] * 2 + ["look"] * 3
    assert found["verdict"].tolist() == ["agrees", "not shown", "agrees", "not shown", "not shown"]
    assert found["text"][0] == ("own: cosine 0.900 between two halves of a class, 0.400 between "
                                "classes")
    assert found["text"][3].endswith("images +0.20; 97.5 % quantile under permutation +0.20")


def recoveries(found):
    """Two networks, two images and two blocks; whether each method found a planted neuron."""
    return pd.DataFrame([
        {"kind": "chain", "scope": "cls", "decoys": "all", "strength": 4.0, "method": method,
         "network": network, "image": image, "block": block, "found": is_found, "permuted": 0.1,
         "chance": 0.1, "score": 2.0 if network == 0 else 0.5, "planted_score": 1.0}
        for method, is_found in found.items() for network in range(2) for image in range(2)
        for block in range(2)])


def test_planted_paths():
    methods = {name for first, second, _ in planted_claims.LEADS.values()
               for name in (first, second)}
    table = recoveries(dict.fromkeys(methods, True) | {"activation": False})
    leads = planted_claims.recovery_leads(table)
    plain = planted_claims.default_recovery(table)
    blind = planted_claims.default_recovery(recoveries({"neuron_path": False}))
    assert (plain["verdict"].tolist(), blind["verdict"].tolist()) == (["agrees"], ["not shown"])
    assert len(planted_claims.score_fault(table)) == 0
    fault = planted_claims.score_fault(recoveries({"neuron_path": False}))
    # one network of two has a higher score: nothing shows
    assert fault[["text", "verdict"]].values.tolist() == [["50 % of 4", "not shown"]]
    always = planted_claims.score_fault(recoveries({"neuron_path": False}).assign(score=2.0))
    assert always["text"].tolist() == ["100 % of 4"]
    loss = pd.DataFrame([BELOW], index=["loud"])
    rows = planted_claims.recovery_claims(
        pd.concat([blind.rename(index={"all": "none"}), plain]), loss, leads, fault)
    verdicts = {claim: verdict for claim, _, verdict in rows}
    asked = "The search finds the neurons that are known to matter, "
    assert verdicts[asked + "without decoys"] == "not shown"
    assert verdicts[asked + "with decoys (all)"] == "agrees"
    assert verdicts["Decoys (loud) do not mislead the search"] == "contradicts"
    assert verdicts["With all decoys the search finds more than activation"] == "agrees"
    assert verdicts["With all decoys, a beam finds more than the default search"] == "not shown"
    assert verdicts["With all decoys, complete attribution finds more than activation"] == "agrees"
    assert rows[2][1] == "recovery -0.50 [-0.60, -0.40]"
    assert rows[-1][1:] == ("of the 4 images whose path misses one, 50 % have a higher score than "
                            "the planted path's", "not shown")


def shares_of(*scores):
    """The score's shares in several models; the rest is the search's."""
    return pd.DataFrame([{"data": "d", "model": model, "factor": factor, "value": value}
                         for model, score in enumerate(scores)
                         for factor, value in (("score", score), ("search", 1 - score),
                                               ("interplay", 0.0))])


def test_score_or_search():
    names = list(CONTRASTS)
    differences = pd.concat([of_two_models(ABOVE, ABOVE if name != names[0] else ACROSS,
                                           contrast=name) for name in names])
    for holds, verdict in (([True, True], "agrees"), ([True, False], "contradicts")):
        rows = score_claims.score_claims(shares_of(0.9, 0.4), shares_of(0.2, 0.3), "the worst",
                                         differences, pd.DataFrame({"holds": holds}))
        assert rows[-1][1:] == (f"to 1e-6 in {sum(holds)} of 2 models", verdict)
    assert rows[0] == ("Is it the score or the search?",
                       "score 65%, search 35%, interplay 0% of the variance",
                       "the score is the largest in 1 of 2 models")
    assert rows[1][0] == "The same without the worst" and "0 of 2" in rows[1][2]
    assert [row[2] for row in rows[2:-1]] == ["1 of 2 agree, 1 not shown"] + ["2 of 2 agree"] * (
        len(names) - 1)
    assert rows[2][1] == "+0.000 to +0.500 of the clean probability"


def test_controls():
    assert set(control_claims.LEFT) <= set(CONTROLS)
    leads = pd.DataFrame([{"control": "random", "claim": "more", "text": "least", "tally": "all"}])
    left = {"late_randomised": of_two_models(ABOVE, BELOW)}
    gains = {"predicted": of_two_models(BELOW, BELOW)}
    overlap = of_two_models(ABOVE, ACROSS).rename(columns={"value": "difference"})
    assert control_claims.control_claims(leads, left, gains, overlap) == [
        ("more", "least", "all"),
        ("Less than half of the path's earlier half is left when the later half is randomised",
         "-0.500 to +0.500 above chance", "1 of 2 agree, 1 contradict"),
        ("Enhancing the path searched with the predicted label improves accuracy",
         "-0.50 to -0.50 points over 2 models", "0 of 2 agree, 2 contradict"),
        ("Paths of one class share more neurons than permuted labels would",
         "difference +0.000 to +0.500", "1 of 2 agree, 1 not shown")]


def test_stability():
    tables = {"rule": of_two_models(ABOVE, ABOVE, same_class=0.25, paths=0.1),
              "view": of_two_models(ABOVE, ACROSS, same_class=0.5, paths=0)}
    found = stability_claims.overlap_claims(tables)
    assert list(found.columns) == ["key", "claim", "text", "tally"]
    assert found.values.tolist() == [
        ["rule", "By another rule of integration, an image's path is nearer to its own than to "
                 "another's of the class",
         "50 % of the neurons and 10 % of whole paths found again; 25 % of the neurons with another "
         "image of the class", "2 of 2 agree"],
        ["view", "After a small change of the image, an image's path is nearer to its own than to "
                 "another's of the class",
         "0 to 50 % of the neurons and 0 % of whole paths found again; 50 % of the neurons with "
         "another image of the class", "1 of 2 agree, 1 not shown"]]
    seeds = pd.concat([
        of_two_models(ABOVE, row, measure=measure, yardstick=0.25, halves=halves)
        for measure, row, halves in (("neuron indices", BELOW, np.nan),
                                     ("class similarity", ABOVE, 0.75),
                                     ("score per image", ACROSS, np.nan))])
    found = stability_claims.seed_claims(seeds)
    assert found[["key", "text", "tally"]].values.tolist() == [
        ["neuron indices", "-0.50 to +0.50; +0.25 to +0.25 with another image of the class",
         "1 of 2 agree, 1 contradict"],
        ["class similarity", "+0.50 to +0.50; halves +0.75 between models, +0.25 within one",
         "2 of 2 agree"],
        ["score per image", "+0.00 to +0.50", "1 of 2 agree, 1 not shown"]]


def test_similarity_in_numbers():
    own = pd.concat([of_two_models(ABOVE, ABOVE, relation="fill"),
                     of_two_models(ABOVE, BELOW, relation="outline")])
    leads = of_two_models(ACROSS, BELOW, relation="fill", against="activation")
    blocks = pd.DataFrame({"relation": "fill", "model": ["one", "one", "two"],
                           "carries": [False, True, False]})
    carrying = pd.Series(["2", "none", "9"], pd.MultiIndex.from_tuples(
        [("fill", "one"), ("fill", "two"), ("outline", "one")]))
    shuffled = pd.DataFrame({"one": {"fill": 0.0, "outline": 0.1}, "two": {"fill": 0.05}})
    control = of_two_models(ACROSS, ACROSS, relation="fill")
    rows = similarity_in_numbers.similarity_claims(own, control, shuffled, leads, blocks, carrying)
    assert [row[1:] for row in rows] == [
        ("fill: rank correlation +0.50 to +0.50 over 2 models", "2 of 2 agree"),
        ("outline: rank correlation -0.50 to +0.50 over 2 models", "1 of 2 agree, 1 contradict"),
        ("rank correlation +0.00 to +0.00", "0 of 2 agree, 2 not shown"),
        ("found in 0% to 10% of the shuffles", "mean 5%"),
        ("fill, against activation: lead -0.50 to +0.00",
         "0 of 2 agree, 1 not shown, 1 contradict"),
        ("fill: one: 2; two: none", "1 of 2 agree, 1 not shown")]
    without = similarity_in_numbers.similarity_claims(own, control.iloc[:0], shuffled, leads,
                                                      blocks, carrying)
    assert without == rows[:2] + rows[3:]


def test_mae_against_supervised():
    cells = pd.DataFrame([
        {"data": "d", "first": "A", "second": second, "differ": differ, "own": own, **row}
        for second, differ, own, row in (("B", "kind", False, ACROSS), ("C", "scope", False, BELOW),
                                         ("D", "kind and scope", True, ABOVE))])
    contrast = pd.DataFrame([{"data": "d", "p": 0.0125, "smallest": 0.01, **ABOVE}])
    rows = mae_against_supervised.kind_claims(cells, contrast, of_two_models(BELOW, ABOVE),
                                              ["ViT", "MAE"])
    assert [row[1:] for row in rows] == [
        ("d, A against D: +0.50 [+0.40, +0.60]", "agrees"),
        ("d: contrast +0.50 [+0.40, +0.60], p = 0.0125 (at least 0.0100 with so many models)",
         "agrees"),
        ("d: ViT minus MAE -0.500 [-0.600, -0.400] of the depth", "contradicts"),
        ("d: ViT minus MAE +0.500 [+0.400, +0.600] of the depth", "agrees"),
        ("d, A against B: +0.00 [-0.10, +0.10]", "not shown"),
        ("d, A against C: -0.50 [-0.60, -0.40]", "contradicts")]
    assert "at one scope" in rows[-2][0] and "scope alone" in rows[-1][0]


def test_costs_of_pruned_networks():
    written = pd.DataFrame([
        {"data": "d", "model": model, "top": top, "file": "f", "neurons": top, "parameters": 2 * top,
         "multiply_adds": 10 + top, "bytes": 4 * top, "accuracy": 0.5, "masked": 0.25,
         "agree": agree} for model in ("one", "two") for top, agree in ((40, True), (10, False))])
    assert files.cost_shares(written).values.tolist() == [[1] * 4, [0.25, 0.25, 0.4, 0.25]] * 2
    shown = files.cost_text(written)
    assert list(shown.columns) == ["neurons", "parameters", "multiply-adds", "bytes", "accuracy",
                                   "accuracy, masked", "agree"]
    assert shown.loc[("d", "two", 10)].tolist() == ["10 (25%)", "20 (25%)", "20 (40%)", "40 (25%)",
                                                    0.5, 0.25, "no"]
    assert shown.loc[("d", "one", 40), "agree"] == "yes"


def test_a_measurement_of_all_models_of_all_studies():
    found = comparison.of_models(
        lambda study, model, images, top, seed: pd.DataFrame([[study, model, images, top, seed]]),
        {"d": "study of d", "s": "study of s"}, ["one", "two"], {"s": 2, "d": 1}, 5, seed=7)
    assert {name: table.values.tolist() for name, table in found.items()} == {
        "d": [["study of d", model, 1, 5, 7] for model in ("one", "two")],
        "s": [["study of s", model, 2, 5, 7] for model in ("one", "two")]}
