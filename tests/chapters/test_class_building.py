"""Chapter 25: one pass over the images against the library's single measures, planted effects and
planted nulls for everything that is compared."""

import dataclasses
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch

from neuronpath_core.chapters.class_building import (
    compared,
    correctness,
    curves,
    paper,
    places,
    pooled,
    tables,
    tokens,
    values,
    words,
)
from neuronpath_core.readings import change_rates, memories
from neuronpath_core.readings.memory_nulls import any_by_chance
from neuronpath_core.readings.projection import effective_rows, project_vectors
from neuronpath_core.readings.streams import read_streams
from neuronpath_core.stats import report
from tests.chapters.tables import NAMES


@pytest.fixture(scope="module")
def found(study, images):
    return {name: tokens.token_tables(study, name, images) for name in NAMES}


# --- one pass over the images ---


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_token_of_every_half_has_a_row(found, images, name):
    halves, streams = found[name]["halves"], found[name]["streams"]
    kinds = {"small": [tokens.CLASS_TOKEN, tokens.IMAGE_TOKENS], "pooled": [tokens.IMAGE_TOKENS]}
    blocks = {"small": 3, "pooled": 4}[name]
    assert set(halves["tokens"]) == set(kinds[name])
    assert len(halves) == len(images) * blocks * 2 * len(kinds[name]) == 2 * len(streams)
    shares = halves[[column for column in halves if column.startswith(("change", "agree", "match"))]]
    assert shares.shape[1] == 23 and shares.notna().all(axis=None)
    assert shares.to_numpy().min() >= 0 and shares.to_numpy().max() <= 1 + 1e-12
    parts = streams[[f"made of {code}" for code in range(8)]]
    np.testing.assert_allclose(parts.sum(axis=1), 1)
    for bit, source in enumerate(change_rates.SOURCES):
        own = sum(parts[f"made of {code}"] for code in range(8) if code >> bit & 1)
        np.testing.assert_allclose(own, streams[f"match {source}"])
    np.testing.assert_allclose(parts["made of 0"], streams["match none"])


def test_the_rows_are_the_library_s_single_measures(study, images, found):
    """Image by image, token by token, in python."""
    target, block, half = study.target("small"), 1, "ffn"
    pictures, labels = study.batch(images, "small")
    table = found["small"]["halves"]
    table = table[(table["block"] == block + 1) & (table["half"] == half)]
    vectors = memories.value_matrix(target, block, half)
    tops = project_vectors(target, vectors, "effective").argmax(-1)
    for place in (0, 7, 19):
        streams = read_streams(target, pictures[place:place + 1])
        label = int(labels[place])
        added = project_vectors(target, streams.ffn[block], "effective")[0]
        values_ = memories.coefficients(target, block, half, streams.middle(block))[0]
        predicted = int(target(pictures[place:place + 1]).argmax())
        for kind, chosen in ((tokens.CLASS_TOKEN, [0]), (tokens.IMAGE_TOKENS, [1, 2, 3, 4])):
            row = table[(table["image"] == int(images.ids[place])) & (table["tokens"] == kind)]
            row, = row.to_dict("records")
            active = [values_[token].topk(5).indices.tolist() for token in chosen]
            assert row["change ledger"] == np.mean([float(added[t, label]) > 0 for t in chosen])
            other = [float(added[t, c]) > 0 for t in chosen for c in range(10) if c != label]
            assert row["change ledger, other"] == pytest.approx(np.mean(other))
            agree = [[c in {int(tops[m]) for m in each} for c in range(10)] for each in active]
            assert row["agreement corrected"] == np.mean([each[label] for each in agree])
            assert row["agreement corrected, predicted"] == np.mean(
                [each[predicted] for each in agree])
            assert row["agreement corrected, permuted"] == pytest.approx(float(any_by_chance(
                int((tops == label).sum()), len(vectors))))
            written = [int((values_[t] @ vectors @ effective_rows(target).T).argmax())
                       for t in chosen]
            assert row["match corrected"] == np.mean([
                top in {int(tops[m]) for m in each}
                for top, each in zip(written, active, strict=True)])
            assert row["correct"] == (predicted == label)


def test_some_blocks_alone_and_small_chunks_are_the_same(study, images, found, monkeypatch):
    monkeypatch.setattr("neuronpath_core.readings.streams.images_at_once", lambda *_: 7)
    some = tokens.token_tables(study, "small", images, {3})
    for name, table in some.items():
        whole = found["small"][name]
        whole = whole[whole["block"] == 3].sort_values(["tokens", "image"], kind="stable")
        own = table.sort_values(["tokens", "image"], kind="stable")
        keys = [key for key in ("half", "tokens", "image") if key in own]
        own, whole = (each.sort_values(keys).reset_index(drop=True) for each in (own, whole))
        pd.testing.assert_frame_equal(own, whole, check_exact=False, rtol=0, atol=1e-12)


def test_another_class_is_the_mean_of_the_others():
    by_class = torch.tensor([[[True, False, True, True]]])
    own, other = tokens.own_and_other(by_class, torch.tensor([0]))
    assert own.item() == 1 and other.item() == pytest.approx(2 / 3)


# --- places ---


def test_other_images_of_a_class():
    assert places.other_of_class(np.array([2, 0, 2, 1, 2, 0])).tolist() == [2, 5, 4, -1, 0, 1]


def test_inside_minus_outside():
    mask = torch.tensor([[True, False, False, True], [True] * 4])
    found = places.inside_minus_outside(torch.tensor([[1.0, 2, 4, 5], [1, 1, 1, 1]]), mask)
    assert found[0] == 0 and torch.isnan(found[1])


def test_places_are_of_each_image_s_own_mask(study, images):
    table = places.place_table(study, "small", images)
    assert set(table["mask"]) == {places.OWN, places.OTHERS}
    assert table.notna().all(axis=None) and table["change ledger"].abs().max() <= 1
    rows = compared.place_rows(table.assign(**{"change ledger": table["mask"].map(
        {places.OWN: 0.3, places.OTHERS: 0.1}) + 0.01 * np.random.default_rng(0).normal(
            size=len(table))}))
    own, lead = rows.to_dict("records")
    assert own["value"] == pytest.approx(0.3, abs=0.01) and own["low"] > 0
    assert lead["value"] == pytest.approx(0.2, abs=0.01) and lead["against"] == places.OTHERS


@pytest.mark.parametrize(("lead", "verdict"), [(0.1, "agrees"), (0.0, "not shown")])
def test_a_place_that_every_image_shares_is_no_object(lead, verdict):
    """Where the mask of another image does as well the difference is there and the lead is not."""
    rng = np.random.default_rng(1)
    table = pd.DataFrame([
        {"image": image, "block": block, "half": half, "mask": mask, "change published": 0.0,
         "change ledger": 0.3 + lead * (mask == places.OWN) + 0.1 * rng.normal()}
        for image in range(60) for block in (1, 2, 3) for half in memories.HALVES
        for mask in (places.OWN, places.OTHERS)])
    rows = compared.place_rows(table).to_dict("records")
    assert [report.verdict(row) for row in rows] == ["agrees", verdict]


# --- what is compared ---


@pytest.mark.parametrize(("blocks", "expected"), [
    (12, (4, 4, 4)), (24, (8, 8, 8)), (4, (1, 2, 1)), (2, (2, 2, 2))])
def test_thirds(blocks, expected):
    parts = compared.thirds(blocks)
    assert tuple(map(len, parts)) == expected
    if blocks > 2:
        assert [*parts[0], *parts[1], *parts[2]] == list(range(1, blocks + 1))


def half_table(rate, level=0.5, images=60, blocks=6, seed=0):
    """Tokens whose class a half raises at ``rate(half, block)``, and another class at ``level``."""
    rng, rows = np.random.default_rng(seed), []
    for block in range(1, blocks + 1):
        for half in memories.HALVES:
            rows.append(pd.DataFrame({
                "tokens": tokens.CLASS_TOKEN, "image": range(images), "block": block, "half": half,
                "change ledger": rng.binomial(8, rate(half, block), images) / 8,
                "change ledger, other": rng.binomial(8, level, images) / 8}))
    return pd.concat(rows, ignore_index=True)


def test_planted_changes_and_a_planted_null():
    late = half_table(lambda half, block: 0.9 if half == "ffn" and block > 4 else
                      0.3 if half == "ffn" else 0.8)
    rows = compared.change_rows(late).set_index("measure")
    verdicts = {name: report.verdict(row) for name, row in rows.iterrows()}
    assert verdicts == {"attention": "agrees", "ffn": "not shown", "ffn early": "contradicts",
                        "ffn late": "agrees", "later": "agrees", "lowers": "agrees"}
    assert rows.loc["later", "value"] == pytest.approx(0.6, abs=0.06)
    assert rows.loc["lowers", "value"] == pytest.approx(0.2, abs=0.03)
    assert rows.loc["ffn late", "rate"] == pytest.approx(0.9, abs=0.03)
    null = compared.change_rows(half_table(lambda *_: 0.5, seed=3))
    assert (null["value"].abs() < 0.05).all()
    # of six effects that are none at most one lies outside its interval by chance
    assert sum(report.verdict(row) == "not shown" for row in null.to_dict("records")) >= 5


def test_sources_early_minus_late():
    table = pd.DataFrame([{"tokens": "image tokens", "image": image, "block": block,
                           "made of 0": 0.5 + 0.1 * (image % 2) if block <= 2 else 0.1}
                          for image in range(30) for block in range(1, 7)])
    row, = compared.stream_rows(table).to_dict("records")
    assert (row["early"], row["late"]) == (pytest.approx(0.55), pytest.approx(0.1))
    assert row["value"] == pytest.approx(0.45) and row["low"] > 0.4 and row["images"] == 30


def test_memories_are_compared_at_the_paper_s_blocks(found):
    assert values.peak_block("ffn", 12) == 11 and values.peak_block("attention", 12) == 12
    assert values.peak_block("ffn", 1) == 1
    halves = found["small"]["halves"]
    rows = compared.memory_rows(halves, "agreement")
    assert set(zip(rows["half"], rows["block"], strict=True)) == {("ffn", 2), ("attention", 3)}
    assert len(rows) == 8 and len(compared.memory_rows(halves, "match")) == 4
    row = rows[(rows["half"] == "ffn") & (rows["tokens"] == tokens.CLASS_TOKEN)
               & (rows["against"] == compared.OTHER_CLASSES)].iloc[0]
    at = halves[(halves["half"] == "ffn") & (halves["block"] == 2)
                & (halves["tokens"] == tokens.CLASS_TOKEN)]
    assert row["value"] == pytest.approx(
        (at["agreement corrected"] - at["agreement corrected, other"]).mean())
    # labels dealt anew agree as often as other classes do: the untrained networks show nothing
    assert abs(row["value"]) < 0.4 and row["images"] == 20


# --- the weights ---


def test_value_table_and_its_leads(study, monkeypatch):
    target = study.target("small")
    table = values.value_table(target, 9)
    assert len(table) == 3 * 2 * 10 and table.notna().all(axis=None)
    assert (table["published"] <= 1).all() and (table["uniform"] > table["uniform, published"]).all()
    rows = values.value_leads(table)
    assert rows["against"].tolist() == [values.UNIFORM, values.ROTATED] * 2
    # networks that learnt nothing: within what rotations give
    assert (rows.loc[rows["against"] == values.ROTATED, "value"].abs() < 0.1).all()
    own = target.model.blocks[1].mlp.fc2.weight
    before = own.detach().clone()
    with torch.no_grad():
        own[:, :10] = 0.5 * effective_rows(target).T
    try:
        rows = values.value_leads(values.value_table(target, 9)).set_index(["half", "against"])
    finally:
        with torch.no_grad():
            own.copy_(before)
    assert rows.loc[("ffn", values.ROTATED), "agreement"] == pytest.approx(1)
    assert report.verdict(rows.loc[("ffn", values.ROTATED)]) == "agrees"
    assert rows.loc[("ffn", values.UNIFORM), "low"] > 0.2


def test_examples_are_the_value_vectors_nearest_to_a_class(study):
    target, names = study.target("small"), "zero one two three four five six seven eight nine".split()
    own, rows = target.model.blocks[1].mlp.fc2.weight, effective_rows(target)
    before = own.detach().clone()
    with torch.no_grad():
        own[:, 5] = 2 * rows[7]
        own[:, 3] = -2 * rows[4]  # away from a class is not along it
    try:
        found = values.example_rows(target, names)
        table = tables.example_table(found.assign(data="digits"))
    finally:
        with torch.no_grad():
            own.copy_(before)
    assert len(found) == 7 and set(found["block"]) == {2}
    assert found["neuron"].iloc[0] == 5 and found["cosine"].iloc[0] == pytest.approx(1)
    assert found["classes"].iloc[0].startswith("seven, ") and found["classes"].str.count(",").eq(2).all()
    assert found["cosine"].is_monotonic_decreasing
    vectors = memories.value_matrix(target, 1, "ffn")
    largest = memories.class_value_agreement(rows, vectors - vectors.mean(-1, keepdim=True))
    assert len(table) == 7 and values.example_rows(target, names, 99)["cosine"].iloc[0] == pytest.approx(
        float(largest.max()))


def test_classes_that_are_akin():
    alike = values.akin({"outline": ("a", "a", "b", "b"), "fill": ("x", "y", "x", "z")})
    assert alike.astype(int).tolist() == [[0, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0]]
    pairs = np.array([[0, 1], [1, 2], [2, 3], [0, 3]])
    assert values.share_akin(pairs, alike) == 0.5


def test_planted_similar_classes_and_a_planted_null(study):
    """Ten classes in five pairs: neurons that write a pair each are told from rotated ones and from
    other pairs; neurons that write two classes drawn at random are not."""
    target = study.target("small")
    taxonomy = {"pair": tuple("aabbccddee")}
    rows, own = effective_rows(target), target.model.blocks[1].mlp.fc2.weight
    before, verdicts = own.detach().clone(), {}
    inverse = torch.linalg.pinv(rows)  # a vector that writes these classes and no others
    rng = np.random.default_rng(0)
    for kind in ("planted", "null"):
        wanted = torch.zeros(10, 16, dtype=torch.float64)
        for neuron in range(16):
            pair = [2 * (neuron % 5), 2 * (neuron % 5) + 1] if kind == "planted" else rng.choice(
                10, 2, replace=False).tolist()
            pair = pair[::-1] if neuron % 2 else pair  # either leads as often
            wanted[pair, neuron] = torch.tensor([3.0, 0.5], dtype=torch.float64)
        with torch.no_grad():
            own.copy_(inverse @ wanted)
        try:
            found = values.similar_rows(target, taxonomy, 199)
        finally:
            with torch.no_grad():
                own.copy_(before)
        judged = words.judged_similar(found.assign(data="d", model="m"))
        verdicts[kind] = judged[judged["half"] == "ffn"]["verdict"].tolist()
        if kind == "planted":
            assert judged.loc[judged["half"] == "ffn", "share"].tolist() == [1, 1]
    assert verdicts == {"planted": ["agrees"] * 2, "null": ["not shown"] * 2}
    empty = values.similar_rows(target, {}, 9)
    assert empty.empty and words.judged_similar(empty).empty


# --- correct and wrong images ---


def test_partners_are_as_confident_as_they_can_be():
    confidence = np.array([0.9, 0.5, 0.55, 0.8, 0.4, 0.52, 0.95])
    correct = np.array([True, False, True, True, False, True, True])
    found = correctness.as_confident(confidence, correct, 5)
    assert found[correctness.WRONG].tolist() == [1, 4]
    right = np.flatnonzero(correct)
    best = min(permutations(right, 2), key=lambda each: abs(confidence[[1, 4]]
                                                            - confidence[list(each)]).sum())
    total = abs(confidence[[1, 4]] - confidence[found[correctness.MATCHED]]).sum()
    assert total == pytest.approx(abs(confidence[[1, 4]] - confidence[list(best)]).sum())
    assert len(set(found[correctness.MATCHED])) == 2 and set(found[correctness.ANY]) <= set(right)
    assert len(correctness.as_confident(confidence, correct, 1)[correctness.WRONG]) == 1
    with pytest.raises(ValueError, match="1 images are classified correctly and 2 are not"):
        correctness.as_confident(confidence[:3], np.array([True, False, False]), 5)


def wrong_table(apart, images=60, seed=0):
    """Agreement with the label that is higher in correct images by ``apart``, where these are as
    confident; any correct image agrees more, because the model is surer of it."""
    rng, rows = np.random.default_rng(seed), []
    for kind, rate, sure in ((correctness.WRONG, 0.4, 0.6),
                             (correctness.MATCHED, 0.4 + apart, 0.61),
                             (correctness.ANY, 0.9, 0.98)):
        rows.append(pd.DataFrame({
            "tokens": tokens.CLASS_TOKEN, "half": "ffn", "block": 11, "kind": kind,
            "pair": range(images), "image": range(images), "confidence": sure,
            **{column: rng.binomial(1, rate, images).astype(float)
               for column in ("agreement published", "agreement corrected",
                              "agreement corrected, predicted")},
            "agreement corrected, other": 0.2}))
    return pd.concat(rows, ignore_index=True)


@pytest.mark.parametrize(("apart", "verdict"), [(0.5, "agrees"), (0.0, "not shown")])
def test_confidence_is_not_taken_for_agreement(apart, verdict):
    rows = correctness.correctness_rows(wrong_table(apart)).set_index("measure")
    assert [report.verdict(row) for _, row in rows.iterrows()] == [verdict] * 3
    assert (rows["apart"] > 0.3).all() and (rows["images"] == 60).all()
    row = rows.loc["with the label"]
    assert row["value"] == pytest.approx(row[correctness.MATCHED] - row[correctness.WRONG])
    assert row[correctness.ANY] == pytest.approx(0.7, abs=0.12)


def test_wrong_images_and_their_partners_come_from_the_pool(study):
    """The untrained networks err in most images; those that they get right are few."""
    pool = study.images(60)
    right = study.probabilities("small", pool).argmax(1) == pool.labels.numpy()
    if right.sum() < 5:
        pytest.skip("too few images are classified correctly by chance")
    count = int(min(right.sum(), (~right).sum()))
    table = correctness.correctness_table(study, "small", pool, count)
    assert set(table["kind"]) == {correctness.WRONG, correctness.MATCHED, correctness.ANY}
    kinds = table.groupby("kind")["correct"].agg(["min", "max"]).astype(bool)
    assert not kinds.loc[correctness.WRONG].any() and kinds.loc[correctness.MATCHED].all()
    rows = correctness.correctness_rows(table)
    assert len(rows) == 6 and set(rows["images"]) == {count}
    pairs = table.drop_duplicates(["kind", "pair"]).pivot(index="pair", columns="kind",
                                                          values="confidence")
    assert pairs.notna().all(axis=None)


def test_without_wrong_images_nothing_is_said(study):
    assert correctness.correctness_rows(pd.DataFrame()).empty
    assert words.of_measure(correctness.correctness_rows(pd.DataFrame()), "with the label").empty


# --- trained models as the unit ---


def replica_rows(lead, seeds=4):
    rng = np.random.default_rng(0)
    return pd.DataFrame([{"kind": kind, "model": f"{kind} {seed}", "half": half, "tokens": kind_,
                          "value": (lead if kind == "first" else 0) + 0.02 * rng.normal()}
                         for kind in ("first", "second") for seed in range(seeds)
                         for half in memories.HALVES
                         for kind_ in (pooled.VALUES, pooled.READ, tokens.IMAGE_TOKENS)])


@pytest.mark.parametrize(("lead", "verdict"), [(0.2, "agrees"), (-0.2, "contradicts"),
                                               (0, "not shown")])
def test_pooled_models_are_compared_over_trained_models(lead, verdict):
    rows = pooled.pooled_rows(replica_rows(lead), "first", "second")
    assert len(rows) == 6 and set(rows["trained"]) == {8}
    assert {report.verdict(row) for row in rows.to_dict("records")} == {verdict}
    assert (rows["first"] - rows["second"]).tolist() == pytest.approx(rows["value"].tolist())


def test_pairs_need_several_seeds_and_one_shape(study, monkeypatch):
    assert pooled.pairs(study, NAMES) == []  # one seed each, and three blocks against four
    monkeypatch.setattr(pooled, "replicas", lambda _, name: [name, f"{name} seed 2"])
    assert pooled.pairs(study, NAMES) == []
    monkeypatch.setattr(study.target("pooled").model, "blocks",
                        study.target("pooled").model.blocks[:3])
    assert pooled.pairs(study, NAMES) == [("small", "pooled")]


def test_replicas_are_read_where_their_head_reads(study, images, found):
    table = pooled.replica_table(study, "small", images).set_index(["half", "tokens"])["value"]
    rows = compared.memory_rows(found["small"]["halves"], "agreement")
    rows = rows[rows["against"] == compared.OTHER_CLASSES].set_index(["half", "tokens"])["value"]
    for half in memories.HALVES:
        assert table[half, pooled.READ] == pytest.approx(rows[half, tokens.CLASS_TOKEN])
        assert table[half, tokens.IMAGE_TOKENS] == pytest.approx(rows[half, tokens.IMAGE_TOKENS])
    leads = values.value_leads(values.value_table(study.target("small"), 1))
    own = leads[leads["against"] == values.UNIFORM].set_index("half")["value"]
    assert table["ffn", pooled.VALUES] == pytest.approx(own["ffn"])


# --- words ---


def test_tables_and_sentences(study, images, found):
    halves = {("digits", name): found[name]["halves"] for name in NAMES}
    streams = {("digits", name): found[name]["streams"] for name in NAMES}
    weights = {("digits", name): values.value_table(study.target(name), 5) for name in NAMES}
    stands = {"small": "ViT-B-32", "pooled": "other"}
    changes = tables.of_each(halves, compared.change_rows)
    agreement = tables.of_each(halves, compared.memory_rows, "agreement")
    match = tables.of_each(halves, compared.memory_rows, "match")
    leads = tables.of_each(weights, values.value_leads)
    shown = {key: places.place_table(study, key[1], images) for key in halves}
    made = [tables.change_table(changes), tables.comparison_table(halves, stands),
            tables.context_table(shown, "small"),
            tables.place_table(tables.of_each(shown, compared.place_rows)), tables.stream_table(streams),
            tables.value_lead_table(leads, stands, weights),
            tables.memory_table(agreement, halves, "agreement", stands),
            tables.memory_table(match, halves, "match", stands),
            tables.pooled_table(pooled.pooled_rows(replica_rows(0.1), "first", "second").assign(
                data="digits", model="m"))]
    assert [len(each) for each in made] == [3, 6, 3, 4, 6, 4, 6, 6, 6]
    assert not any("_" in str(name) for each in made for name in (*each.columns, *each.index.names))
    parts = made[4][["none", *list(tables.PARTS.values())[1:], "several"]]
    np.testing.assert_allclose(parts.sum(axis=1), 1)
    told = made[1].loc[("digits", "small", "FFN", tokens.CLASS_TOKEN)]
    assert (told["block last but one, the paper"], told["block last, the paper"]) == (0.7, 0.03)
    own = halves["digits", "small"]
    own = own[(own["half"] == "ffn") & (own["tokens"] == tokens.IMAGE_TOKENS) & (own["block"] == 3)]
    told = made[1].loc[("digits", "small", "FFN", tokens.IMAGE_TOKENS)]  # the paper's are of the class token
    assert told["block last, as published"] == own["change published"].mean()
    assert np.isnan(told["block last, the paper"])
    assert words.finding(changes, halves, "small").startswith("In the last blocks of small the FFN")
    assert len(words.used(agreement, "ffn")) == 2 == len(words.rises(changes, "ffn"))
    figure = words.figure_levels(agreement)
    assert len(figure) == 8 and (figure["low"] <= figure["value"] + 1e-12).all()
    level = figure[figure["measure"] == "FFN: another class"]
    assert level["value"].tolist() == words.used(agreement, "ffn", "level")
    wrong = correctness.correctness_rows(wrong_table(0.5)).assign(data="digits", model="small")
    shown = tables.correct_table(wrong, stands)
    assert shown["the paper"].tolist()[0] == 0.41 and shown["the paper"].isna().sum() == 2
    assert words.told(wrong, "halves") == "3 of 3 halves"
    assert words.told(wrong.iloc[:0], "halves") == "none of 0 halves"
    assert words.joined([]).empty and words.of_tokens(words.joined([]), "any").empty


def test_images_without_masks_are_left_out(study, images):
    assert places.is_known(images)
    bare = dataclasses.replace(images, class_names=tuple("abcdefghij"))
    assert not places.is_known(bare)
    with pytest.raises(ValueError, match="without a mask"):
        places.place_table(study, "small", bare)
    context = tables.of_each({}, compared.place_rows)
    assert tables.place_table(context).empty and tables.context_table({}, "small").empty


def test_curves_have_the_levels_of_chance_beside_them(study, found):
    curve = curves.block_curves(found["pooled"]["halves"],
                                values.value_table(study.target("pooled"), 5))
    assert set(curve["panel"]) == set(curves.LABELS) and set(curve["block"]) == {1, 2, 3, 4}
    lines = curve.groupby("panel")["line"].unique().map(set).to_dict()
    assert lines[curves.RISES] == {"attention", "FFN", curves.PUBLISHED, curves.OTHER}
    assert lines[curves.VALUES] == {"attention", "FFN", *curves.TURNED.values()}
    chance = curve["line"].isin(curves.COLOUR_OF)
    assert (curve.loc[chance, "low"] == curve.loc[chance, "value"]).all()
    assert (curve.loc[~chance, "low"] < curve.loc[~chance, "value"]).any()


def test_the_paper_s_numbers_are_shares_or_cosines():
    for numbers in paper.REPORTED.values():
        assert set(numbers) == {"values", "agreement", "correct", "match"}
        assert all(0 <= value <= 1 or value != value for pair in numbers.values() for value in pair)
    assert paper.reported("ViT-B-32", "agreement", "attention") == 0.44
    assert paper.reported("somebody's", "match", "ffn") != paper.reported("somebody's", "match", "ffn")
    assert len(paper.CONTEXT) == 11
