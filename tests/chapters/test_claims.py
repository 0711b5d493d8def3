"""What chapters conclude, in words: planted tables that agree, that do not, and that do in part."""

import numpy as np
import pandas as pd
import pytest

from neuronpath_core.chapters.as_published import defect_table
from neuronpath_core.chapters.claims import OURS, THEIRS, spans, told, turned
from neuronpath_core.chapters.class_similarity import words as class_similarity_words
from neuronpath_core.chapters.controls import words as controls_words
from neuronpath_core.chapters.controls.paths import CONTROLS
from neuronpath_core.chapters.mae_against_supervised import words as mae_against_supervised_words
from neuronpath_core.chapters.planted_paths import words as planted_paths_words
from neuronpath_core.chapters.pruning_honest import comparison, files, leaks
from neuronpath_core.chapters.pruning_honest import words as pruning_honest_words
from neuronpath_core.chapters.score_or_search import words as score_or_search_words
from neuronpath_core.chapters.score_or_search.cells import SCORES
from neuronpath_core.chapters.score_or_search.shares import CONTRASTS, RANDOM
from neuronpath_core.chapters.similarity_in_numbers import words as similarity_in_numbers_words
from neuronpath_core.chapters.stability import words as stability_words
from neuronpath_core.stats.claims import Claim, Comparison
from neuronpath_core.stats.rules import above

ABOVE, ACROSS, BELOW = ({"value": middle, "low": middle - 0.1, "high": middle + 0.1,
                         "verdict": verdict} for middle, verdict in
                        ((0.5, "agrees"), (0.0, "not shown"), (-0.5, "contradicts")))


def of_two_models(first, second, **columns):
    return pd.DataFrame([{"data": "d", "model": model, **row, **columns}
                         for model, row in (("one", first), ("two", second))])


def test_spans():
    table = pd.concat([of_two_models(ABOVE, BELOW, what="z", by=1),
                       of_two_models(ABOVE, ABOVE, what="a", by=2)])
    mixed = ("-50.0 to +50.0 %", "1 of 2 agree, 1 contradict")
    assert list(spans(table, "what").items()) == [
        ("z", mixed), ("a", ("+50.0 to +50.0 %", "2 of 2 agree"))]
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
    found = class_similarity_words.similarity_claims(own, look)
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
    methods = {name for first, second, _ in planted_paths_words.LEADS.values()
               for name in (first, second)}
    table = recoveries(dict.fromkeys(methods, True) | {"activation": False})
    leads = planted_paths_words.recovery_leads(table)
    plain = planted_paths_words.recovery_by_decoys(table)
    blind = planted_paths_words.recovery_by_decoys(recoveries({"neuron_path": False}))
    assert (plain["verdict"].tolist(), blind["verdict"].tolist()) == (["agrees"], ["contradicts"])
    mixed = recoveries({"neuron_path": True}).assign(
        found=lambda rows: (rows["network"] == 0) | (rows["block"] == 0))
    half = planted_paths_words.recovery_by_decoys(mixed)  # all in one network, half in the other
    assert half[["verdict", "least", "most"]].values.tolist() == [["not shown", 0.5, 1.0]]
    assert planted_paths_words.spread_text(half.loc["all"]) == "0.50 to 1.00 from network to network"
    assert planted_paths_words.spread_text(plain.loc["all"]) == "the same in all 2 networks"
    assert len(planted_paths_words.score_fault(table)) == 0
    fault = planted_paths_words.score_fault(recoveries({"neuron_path": False}))
    # one network of two has a higher score: nothing shows
    assert fault[["text", "verdict"]].values.tolist() == [["50 % of 4", "not shown"]]
    always = planted_paths_words.score_fault(recoveries({"neuron_path": False}).assign(score=2.0))
    assert always["text"].tolist() == ["100 % of 4"]
    loss = pd.DataFrame([BELOW], index=["loud"])
    rows = planted_paths_words.recovery_claims(
        pd.concat([blind.rename(index={"all": "none"}), plain]), plain, loss, leads, fault)
    verdicts = {claim: verdict for claim, _, verdict in rows}
    asked = "The search finds most of the neurons that are known to matter, "
    assert verdicts[asked + "without decoys"] == "contradicts"
    assert verdicts[asked.replace("The search", "Conditional gradient")
                    + "with decoys (all)"] == "agrees"
    assert verdicts[asked + "with decoys (all)"] == "agrees"
    assert verdicts["Decoys (loud) do not mislead the search"] == "contradicts"
    assert verdicts["With all decoys the search finds more than activation"] == "agrees"
    assert verdicts["With all decoys, a beam finds more than the default search"] == "not shown"
    assert verdicts["With all decoys, complete attribution finds more than activation"] == "agrees"
    assert rows[0][1] == ("0.00 [0.00, 0.00] of them, the same in all 2 networks; chance 0.10")
    assert rows[3][1] == "recovery -0.50 [-0.60, -0.40]"
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
        rows = score_or_search_words.score_claims(
            shares_of(0.9, 0.4), pd.concat([shares_of(*own).assign(condition=words) for words, own
                                            in (("informed", (0.2, 0.3)), ("random", (0.1, 0.1)))]),
            differences, pd.DataFrame({"holds": holds}))
        assert rows[-1][1:] == (f"to 1e-6 in {sum(holds)} of 2 models", verdict)
    assert rows[2][1:] == ("score 65%, search 35%, interplay 0% of the variance",
                           "the score is the largest in 1 of 2 models")
    assert rows[0][0] == "Is it the score or the search? 3 scores of whole paths, informed"
    assert rows[1][0].endswith("random") and "score 10%" in rows[1][1] and "0 of 2" in rows[1][2]
    assert [row[2] for row in rows[3:-1]] == ["1 of 2 agree, 1 not shown"] + ["2 of 2 agree"] * (
        len(names) - 1)
    assert rows[3][1] == "+0.0 to +50.0 % of the clean probability"


def test_controls():
    assert set(controls_words.LEFT) <= set(CONTROLS)
    leads = pd.DataFrame([{"control": "random", "claim": "more", "text": "least", "tally": "all"}])
    left = {"late_randomised": of_two_models(ABOVE, BELOW)}
    gains = {"predicted": of_two_models(BELOW, BELOW)}
    overlap = of_two_models(ABOVE, ACROSS).rename(columns={"value": "difference"})
    assert controls_words.control_claims(leads, left, gains, overlap) == [
        ("more", "least", "all"),
        ("Less than half of the path's earlier half is left when the later half is randomised",
         "-0.500 to +0.500 above chance", "1 of 2 agree, 1 contradict"),
        ("Enhancing the path searched with the predicted label improves accuracy",
         "-0.50 to -0.50 points over 2 models", "0 of 2 agree, 2 contradict"),
        ("Paths of one class share more neurons than permuted labels would",
         "difference +0.000 to +0.500", "1 of 2 agree, 1 not shown")]


def test_no_gain_is_said_in_words():
    none = pd.DataFrame({"value": [0.0, 0.0]})
    assert controls_words.gain_text(none) == "no gain in any of 2 models"
    assert controls_words.gain_text(none + 0.1) == "+0.10 to +0.10 points over 2 models"


def test_stability():
    tables = {"rule": of_two_models(ABOVE, ABOVE, same_class=0.25, paths=0.1),
              "view": of_two_models(ABOVE, ACROSS, same_class=0.5, paths=0)}
    found = stability_words.overlap_claims(tables)
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
    found = stability_words.seed_claims(seeds)
    assert found[["key", "text", "tally"]].values.tolist() == [
        ["neuron indices", "-0.50 to +0.50; +0.25 to +0.25 with another image of the class",
         "1 of 2 agree, 1 contradict"],
        ["class similarity", "+0.50 to +0.50; halves +0.75 between models, +0.25 within one",
         "2 of 2 agree"],
        ["score per image", "+0.00 to +0.50", "1 of 2 agree, 1 not shown"]]


def test_a_control_whose_interval_excludes_zero_is_told_with_its_p():
    """Models of one size share the random paths: their equal rows are one control."""
    apart = {"value": 0.13, "low": 0.04, "high": 0.23, "p": 0.02, "adjusted": 0.08,
             "verdict": "not shown"}
    within = {**apart, "value": 0.01, "low": -0.1, "p": 0.9, "adjusted": 0.9}
    control = pd.concat([of_two_models(apart, apart, relation="outline"),
                         of_two_models(within, within | {"value": 0.02}, relation="fill")])
    assert similarity_in_numbers_words.random_note(control) == (
        "1 interval over images excludes zero: outline +0.13 [+0.04, +0.23], p = 0.02 by "
        "permutation, 0.08 after Holm")
    assert len(similarity_in_numbers_words.distinct(control)) == 3
    assert similarity_in_numbers_words.random_note(control.iloc[2:]) == (
        "no interval over images excludes zero")


def test_similarity_in_numbers():
    own = pd.concat([of_two_models(ABOVE, ABOVE, relation="fill"),
                     of_two_models(ABOVE, BELOW, relation="outline")])
    leads = of_two_models(ACROSS, BELOW, relation="fill", against="activation")
    blocks = pd.DataFrame({"relation": "fill", "model": ["one", "one", "two"],
                           "carries": [False, True, False]})
    carrying = pd.Series(["2", "none", "9"], pd.MultiIndex.from_tuples(
        [("fill", "one"), ("fill", "two"), ("outline", "one")]))
    shuffled = pd.DataFrame({"one": {"fill": 0.0, "outline": 0.1}, "two": {"fill": 0.05}})
    control = of_two_models(ACROSS, ACROSS, relation="fill").assign(p=0.4, adjusted=0.8)
    rows = similarity_in_numbers_words.similarity_claims(own, control, shuffled, leads, blocks, carrying)
    assert [row[1:] for row in rows] == [
        ("fill: rank correlation +0.50 to +0.50 over 2 models", "2 of 2 agree"),
        ("outline: rank correlation -0.50 to +0.50 over 2 models", "1 of 2 agree, 1 contradict"),
        ("rank correlation +0.00 to +0.00; no interval over images excludes zero",
         "0 of 1 agree, 1 not shown"),
        ("found in 0% to 10% of the shuffles", "mean 5%"),
        ("fill, against activation: lead -0.50 to +0.00",
         "0 of 2 agree, 1 not shown, 1 contradict"),
        ("fill: one: 2; two: none", "1 of 2 agree, 1 not shown")]
    without = similarity_in_numbers_words.similarity_claims(own, control.iloc[:0], shuffled, leads,
                                                      blocks, carrying)
    assert without == rows[:2] + rows[3:]


def test_mae_against_supervised():
    cells = pd.DataFrame([
        {"data": "d", "condition": "over all blocks", "first": "A", "second": second, "differ": differ, "own": own, **row}
        for second, differ, own, row in (("B", "kind", False, ACROSS), ("C", "scope", False, BELOW),
                                         ("D", "kind and scope", True, ABOVE))])
    contrast = pd.DataFrame([{"data": "d", "p": 0.0125, "smallest": 0.01, **ABOVE}])
    rows = mae_against_supervised_words.kind_claims(cells, contrast, of_two_models(BELOW, ABOVE),
                                              ["ViT", "MAE"])
    assert [row[1:] for row in rows] == [
        ("d, over all blocks, A against D: +0.50 [+0.40, +0.60]", "agrees"),
        ("d: contrast +0.50 [+0.40, +0.60], p = 0.0125 (at least 0.0100 with so many models)",
         "agrees"),
        ("d: ViT minus MAE -0.500 [-0.600, -0.400] of the depth", "contradicts"),
        ("d: ViT minus MAE +0.500 [+0.400, +0.600] of the depth", "agrees"),
        ("d, over all blocks, A against B: +0.00 [-0.10, +0.10]", "not shown"),
        ("d, over all blocks, A against C: -0.50 [-0.60, -0.40]", "contradicts")]
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


def lost(**means):
    """Losses of two models around each score's mean; the published score is ``joint``."""
    names = {**SCORES, "random": RANDOM}
    return pd.DataFrame([{"data": "d", "model": model, "score": names[score], "value": mean + shift}
                         for score, mean in means.items()
                         for model, shift in (("one", -0.01), ("two", 0.01))])


def test_finding_of_scores_names_the_stronger_ones_or_says_that_there_are_none():
    beaten = score_or_search_words.finding(lost(joint=0.10, knowledge=0.12, gradient_activation=0.20,
                                       conductance=0.01, random=0.5))
    assert beaten == ("Removing a path by the joint attribution score costs 10.0 % of the "
                      "probability; 2 of 3 other scores find paths that cost more, up to 20.0 % "
                      "(gradient × activation)")
    ahead = score_or_search_words.finding(lost(joint=0.30, knowledge=0.12, conductance=0.01, random=0.5))
    assert ahead.endswith("costs 30.0 % of the probability, more than by any of 2 other scores")
    assert score_or_search_words.mean_losses(lost(joint=0.1, knowledge=0.2)).to_dict() == pytest.approx(
        {SCORES["knowledge"]: 20.0, SCORES["joint"]: 10.0})


def test_finding_of_every_score_with_every_search():
    means = pd.DataFrame({"progressive": [-0.2, -0.1], "independent": [-0.16, -0.1],
                          "beam": [-0.18, -0.1], "random": [0.0, -0.9]}, index=["a", "b"])
    assert score_or_search_words.factorial_finding(means) == (
        "From score to score the mean loss goes from 10.0 to 18.0 % of the probability; from one "
        "informed search to another, with one score, by at most 4.0 points; the best of random "
        "paths loses 0.0 to 90.0 %")


def test_a_score_costs_more_with_one_search_than_with_another():
    means = pd.DataFrame({"progressive": [-0.129, -0.1], "independent": [-0.17, -0.1],
                          "beam": [-0.18, -0.1], "random": [-0.002, -0.9]},
                         index=[score_or_search_words.SCORES["joint"], "b"])
    assert score_or_search_words.joint_losses(means) == {
        "joint progressive": "12.9 %", "joint independent": "17.0 %", "joint beam": "18.0 %",
        "joint random": "0.2 %"}


def test_finding_of_ingredients_names_those_that_all_models_agree_on():
    table = pd.concat([of_two_models(ABOVE, ABOVE, contrast="up"),
                       of_two_models(BELOW, BELOW, contrast="down"),
                       of_two_models(ABOVE, BELOW, contrast="mixed"),
                       of_two_models(BELOW, BELOW, contrast="under")])
    assert score_or_search_words.contrast_finding(table) == (
        "Adds to the loss in all 2 models: up. Lowers the loss in all 2 models: down; under")
    assert score_or_search_words.contrast_finding(table[table["contrast"] == "mixed"]) == (
        "No ingredient moves the loss alike in all 2 models")
    shown = score_or_search_words.contrast_table(table)
    assert shown.index.tolist() == ["up", "down", "mixed", "under"]
    assert shown.loc["mixed", ("d", "two")] == "-0.500 [-0.600, -0.400]"


def test_finding_of_planted_paths_counts_the_methods_that_find_more():
    table = pd.concat([recoveries(dict.fromkeys(("neuron_path", "complete"), True)).assign(
        decoys="none"), recoveries({"neuron_path": False, "neuron_path beam": True,
                                    "complete": True, "activation": False})])
    # the variants of the search are none of the others
    assert planted_paths_words.finding(table) == (
        "The search finds 100 % of the planted neurons, with all decoys 0 %; then 1 of 2 other "
        "methods find more")


def test_tables_of_planted_paths():
    table = pd.concat([recoveries({"neuron_path": True, "activation": True}).assign(decoys="none"),
                       recoveries({"activation": False, "neuron_path": True}),
                       recoveries({"neuron_path": False}).assign(decoys="loud")])
    rates = planted_paths_words.rate_table(table)
    assert rates.index.tolist() == ["Neuron Path", "Activation"]
    assert rates.columns.tolist() == [("class token", "none"), ("class token", "loud"),
                                      ("class token", "all"), ("by guessing", "permuted"),
                                      ("by guessing", "chance")]
    assert rates.loc["Activation", ("class token", "loud")] == "–"
    assert rates.loc["Activation", ("class token", "all")].startswith("0.00 [")
    assert rates.loc["Neuron Path", ("by guessing", "chance")] == "0.10"
    kinds = planted_paths_words.kind_table(table)
    assert kinds.columns.tolist() == [("chain", "class token", "none"),
                                      ("chain", "class token", "all")]
    assert kinds.loc["Activation"].tolist() == [1.0, 0.0]
    harm = pd.DataFrame([{"decoys": "loud", "method": "neuron_path", **BELOW},
                         {"decoys": "all", "method": "activation", **ABOVE}])
    shown = planted_paths_words.harm_table(harm)
    assert shown.columns.tolist() == ["loud", "all"]
    assert shown.loc["Activation"].tolist() == ["–", "+0.50 [+0.40, +0.60]"]


def test_finding_of_controls_says_how_little_or_that_nothing_shows():
    table = pd.concat([of_two_models(ABOVE, ACROSS, measure="removal"),
                       of_two_models(BELOW, ACROSS, measure="enhancement")])
    assert controls_words.finding(table, "removal") == (
        "Removal of the own path costs more than a control in 1 of 2 comparisons: the "
        "median lead is 0.0 to 50.0 % of the probability")
    assert controls_words.finding(table, "enhancement") == (
        "Enhancement of the own path adds more than a control in none of 2 comparisons")
    wide = controls_words.wide(of_two_models(ABOVE, BELOW, label="z", wrong=3), "label", 1,
                               ["wrong"])
    assert wide["z"].to_dict() == {("d", "one", 3): "+0.5 [+0.4, +0.6]",
                                   ("d", "two", 3): "-0.5 [-0.6, -0.4]"}


def pruned(**values):
    """Effects of five kept neurons as published and at all tokens, and of more neurons."""
    settings = {"published": (comparison.OWN, "class token"),
                "honest": (comparison.ONE, comparison.EVERYWHERE),
                "other": (comparison.ONE, "class token")}
    return pd.DataFrame([{"data": "d", "model": model, "mask": settings[name][0],
                          "tokens": settings[name][1], "top": top, "value": value, "low": value,
                          "high": value, "split_low": value - 1, "split_high": value + 1}
                         for name, pair in values.items() for model, value in enumerate(pair)
                         for top in (5, 30)])


def test_finding_of_pruning_and_intervals_that_end_at_one():
    sizes = pruned(published=(-0.1, 0.04), honest=(-0.9, -0.3), other=(0.5, 0.5))
    assert pruning_honest_words.finding(sizes, 5, "accuracy") == (
        "With 5 neurons a block accuracy changes by −10 to +4 points as published, by −90 to −30 "
        "points with one mask for all at all tokens")
    table = pruning_honest_words.effect_table(sizes, ["model", "mask", "tokens"])
    assert table.columns.tolist() == ["5 kept", "30 kept"]
    assert table.loc[(0, comparison.ONE, comparison.EVERYWHERE), "5 kept"] == (
        "-90.0 [-90.0, -90.0]; [-100.0, +10.0]")
    same = pruning_honest_words.effect_table(sizes.assign(split_low=0.2, split_high=0.2), ["model", "mask"])
    assert same.loc[(0, comparison.ONE), "5 kept"].endswith("]; –")
    leads = sizes.assign(against="random", verdict=["agrees", "not shown"] * 6)
    shown = pruning_honest_words.lead_table(leads[leads["mask"] == comparison.OWN])
    assert shown.loc[("random", 5), ("d", 0)].endswith(" *")
    assert not shown.loc[("random", 30), ("d", 0)].endswith("*")


def test_what_the_main_figure_of_pruning_shows():
    rows = pruned(published=(0.1, 0.2), honest=(0.3, 0.4), other=(0.5, 0.6)).assign(kept="random")
    whole = rows[:2].assign(kept=comparison.WHOLE, mask="–", model=[0, 1])
    shown, models = pruning_honest_words.published_and_honest(pd.concat([whole, rows]))
    assert shown["value"].tolist() == [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4]
    assert models["model"].tolist() == [0, 1]


def test_finding_of_leaks():
    rows = [of_two_models(ABOVE, ACROSS, measure="leak", tokens="class token"),
            of_two_models(ABOVE, ABOVE, measure="leak", tokens=comparison.EVERYWHERE)]
    assert leaks.finding(pd.concat(rows)).startswith(
        "In 1 of 2 models the mask tells the class: under another class's mask that class is "
        "predicted for 50 % of images more")
    none = of_two_models(BELOW, ACROSS, measure="leak", tokens="class token")
    assert leaks.finding(none) == "The mask is not seen to tell the class in any of 2 models"
    assert leaks.leak_table(none).loc["leak", ("d", "one", "class token")] == (
        "-50.00 [-60.00, -40.00]")
    # an end of 0.03 points is above zero, and seen to be
    small = of_two_models({"value": 0.007, "low": 0.0003, "high": 0.015}, ACROSS, measure="leak",
                          tokens="class token")
    assert "[0.03, " in leaks.leak_table(small).loc["leak", ("d", "one", "class token")]


def test_smaller_networks_agree_or_do_not():
    written = pd.DataFrame({"data": "d", "model": "m", "top": [9, 5], "neurons": 1,
                            "parameters": 1, "multiply_adds": 1, "bytes": [100, 25],
                            "agree": True})
    assert files.physical_claim(written, 5)[1:] == (
        "25 % of the whole network's file with 5 neurons per block", "agrees")
    assert files.physical_claim(written.assign(agree=[True, False]), 5)[2] == "contradicts"


def defects_moving(*material, changes=1):
    return pd.DataFrame([{"defect": f"d{place}", "number": number, "material": count,
                          "changes": changes, "smallest": -0.1 * (place + 1)}
                         for place, count in enumerate(material)
                         for number in ("neurons", "removal_probability")])


def test_finding_of_defects():
    some = defects_moving(0, 2, 1)
    assert defect_table.finding(some) == (
        "2 of 3 departures change more than 5 % of the neurons found in some model; d2 changes "
        "most, 30 % of them")
    assert defect_table.answers(some)["nothing moved"] == "0 of 3"
    none = defects_moving(0, 0, changes=0)
    assert defect_table.finding(none) == (
        "None of 2 departures changes more than 5 % of the neurons found")
    assert defect_table.answers(none)["nothing moved"] == "2 of 2"


# --- words and comparisons joined ---


WORDS = {
    "one": (THEIRS, "It is so", "neurons", "chance", above("The lead"), "lead"),
    "two": (OURS, "It is more so", "images", "chance", above("The share", 0.5), "shares",
            {"statistic": "", "of": "classes"})}
ROWS = (Comparison("digits", "m", 0.2, 0.1, 0.3, 9, "agrees"),)


def test_words_and_comparisons_make_claims_in_the_order_of_the_words():
    one, two = told(WORDS, {"two": (), "one": ROWS}, finding="beyond", statistic="mean")
    assert one == Claim("one", "beyond", "It is so", ROWS, "neurons", "chance", above("The lead"),
                        "lead", by="companion", statistic="mean")
    assert two == Claim("two", "beyond", "It is more so", (), "images", "chance",
                        above("The share", 0.5), "shares", by="book", of="classes")


@pytest.mark.parametrize("rows", [{"one": ROWS}, {"one": ROWS, "two": (), "three": ()}])
def test_words_without_comparisons_and_comparisons_without_words_are_refused(rows):
    with pytest.raises(ValueError, match="three|two.*accepted: comparisons for each of one, two"):
        told(WORDS, rows, finding="beyond")


def test_effects_are_turned_with_their_intervals():
    table = turned(pd.DataFrame([{"value": 0.2, "low": 0.1, "high": 0.4}]))
    assert table.iloc[0].to_dict() == {"value": -0.2, "low": -0.4, "high": -0.1}
