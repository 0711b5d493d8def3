"""Captions, tags, questions and tokens: against the scene, by balance, and against the tokenizer."""

from collections import Counter

import pytest

from neuronpath_core.images.drawing import FILLS, OUTLINES
from neuronpath_core.images.shapes import COLOURS
from neuronpath_core.vlm import sequences, tokens
from neuronpath_core.vlm.questions import (
    TYPES,
    chance,
    one_each,
    questions,
)
from neuronpath_core.vlm.scenes import HELD_OUT_PAIRS, compose, compose_many
from neuronpath_core.vlm.words import (
    CONCEPTS,
    KIND_OF,
    SPEECH_OF,
    caption,
    grammar_words,
    tags,
    text,
)
from tests.helpers import refused

TRAIN, HELD = compose_many("train", 400), compose_many("held_out", 420)
EVERY = [(scene, caption(scene, variant)) for scene in HELD[:150] for variant in range(4)]


# --- captions and tags ---


def test_a_caption_says_what_is_there_and_where():
    """Read back by looking for words alone, sentence by sentence."""
    for scene, words in EVERY:
        sentences = text(words).removesuffix(" .").split(" . ")
        of_objects = [set(each.split()) for each in sentences if set(each.split()) & set(OUTLINES)]
        assert len(of_objects) == len(scene.things)
        for said, thing in zip(of_objects, scene.things, strict=True):
            assert said & set(OUTLINES) == {thing.outline}
            assert said & set(COLOURS) == {thing.colour} and said & set(FILLS) == {thing.fill}
            assert said >= set(thing.cell.split())
        for each in sentences:
            if "ground" in each:
                assert scene.ground[0] in each.split() and f" {scene.ground[1]}" in f" {each}"
            if "shape" in each:
                number = {"one": 1, "two": 2, "three": 3}
                assert [number[word] for word in each.split() if word in number] == [
                    len(scene.things)]


def test_captions_have_two_to_four_sentences_of_known_words():
    lengths = [words[-1].sentence + 1 for _, words in EVERY]
    assert set(lengths) <= {2, 3, 4} and len(set(lengths)) == 3
    assert {word.text for _, words in EVERY for word in words} <= set(grammar_words())
    assert 28 < sum(len(words) for _, words in EVERY) / len(EVERY) < 38
    assert all(words == caption(scene, variant % 4) for variant, (scene, words) in enumerate(EVERY))


def test_every_word_of_the_grammar_is_said_somewhere():
    said = {word.text for scene in TRAIN for variant in range(4) for word in caption(scene, variant)}
    assert said == set(grammar_words())


def test_tags_tell_concept_object_and_sentence():
    for scene, words in EVERY[::7]:
        for place, word in enumerate(words):
            assert word.first == (place == 0 or words[place - 1].text == ".")
            assert word.kind == KIND_OF.get(word.concept, "")
            assert word.concept in ("", word.text) or word.text in word.concept.split()
            if word.kind in ("outline", "fill", "colour", "place"):
                of = {"place": "cell"}.get(word.kind, word.kind)
                assert word.concept == getattr(scene.things[word.thing], of)
            if word.kind in ("background", "tone"):
                assert word.concept in scene.ground and word.thing == -1
            assert word.speech == SPEECH_OF.get(word.text, word.speech)
        # of two-word concepts both words are one concept, and no colour's
        dark = [word.concept for word in words if word.text in ("dark", "light", "grey")]
        assert set(dark) <= set(CONCEPTS["tone"])


def test_next_tags_are_those_of_the_next_word():
    words = caption(HELD[3])
    table = tags(words)
    assert list(table["text"]) == [word.text for word in words]
    assert list(table["next_text"])[:-1] == [word.text for word in words[1:]]
    assert table["next_text"].iloc[-1] == "" and table["next_thing"].iloc[-1] == -1
    for name in ("concept", "kind", "thing", "sentence", "first", "speech"):
        assert list(table[f"next_{name}"])[:-1] == list(table[name])[1:]


# --- questions ---


def answered(scene, question):
    """The answer by looking at the scene, from the words of the question alone."""
    words = question.text.split()
    named = [thing for thing in scene.things if thing.outline in words]
    if words[:2] == ["is", "there"]:
        return "yes" if any(thing.colour in words for thing in named) else "no"
    if "many" in words:
        return ("one", "two", "three")[len(scene.things) - 1]
    if "background" in words:
        return scene.ground[0 if "kind" in words else 1]
    of = {"colour": "colour", "fill": "fill", "where": "cell"}
    return getattr(named[0], next(of[word] for word in words if word in of))


def test_answers_are_true():
    for scene in TRAIN + HELD:
        found = questions(scene)
        assert len(found) == 3 * len(scene.things) + 5
        assert all(answered(scene, question) == question.answer for question in found)
        assert {question.type for question in found} == set(TYPES)


def test_yes_and_no_are_balanced_and_the_words_of_a_question_do_not_tell():
    for scenes in (TRAIN, HELD):
        asked = [question for scene in scenes for question in questions(scene)
                 if question.type == "presence"]
        assert Counter(question.answer for question in asked) == {"yes": len(scenes),
                                                                  "no": len(scenes)}
    # 420 of each: a colour or an outline that told would be asked for with one answer mostly
    for place in (0, 1):
        counts = Counter((question.pair[place], question.answer) for question in asked)
        for value in (COLOURS, OUTLINES)[place]:
            yes, no = counts[value, "yes"], counts[value, "no"]
            assert abs(yes - no) < 4 * (yes + no) ** 0.5


def test_what_is_not_there_is_hard_to_tell():
    kinds = Counter()
    for scene in HELD:
        pair = questions(scene)[-1].pair
        kinds[any(thing.colour == pair[0] for thing in scene.things),
              any(thing.outline == pair[1] for thing in scene.things)] += 1
    assert all(kinds[kind] > 100 for kind in ((True, False), (False, True), (False, False)))


def test_held_out_pairs_are_in_no_word_of_training():
    for scene in TRAIN:
        assert not any(question.is_of_new_pair for question in questions(scene))
        for variant in range(4):
            words = caption(scene, variant)
            for number in range(len(scene.things)):
                own = {word.text for word in words if word.thing == number}
                assert not any({*pair} <= own for pair in HELD_OUT_PAIRS)
    new = [question for scene in HELD for question in questions(scene) if question.is_of_new_pair]
    assert {question.pair for question in new} == set(HELD_OUT_PAIRS)
    assert {question.answer for question in new if question.type == "presence"} == {"yes", "no"}


def test_one_question_a_scene_is_balanced_by_type():
    asked = one_each(HELD)
    assert Counter(question.type for question in asked) == dict.fromkeys(TYPES, 60)
    assert Counter(question.answer for question in asked if question.type == "presence") == {
        "yes": 30, "no": 30}
    assert all(question in questions(scene) for question, scene in zip(asked, HELD, strict=True))


def test_chance_is_the_most_frequent_answer_of_each_type():
    asked = one_each(HELD[:70])
    slow = 0
    for kind in TYPES:
        answers = [question.answer for question in asked if question.type == kind]
        slow += max(sum(each == one for each in answers) for one in answers)
    assert chance(asked) == slow / 70


def test_a_scene_without_objects_has_no_questions():
    scene = next(scene for scene in HELD if len(scene.things) == 1)
    empty = compose("held_out", scene.index, 0, {scene.things[0].cell: None})
    refused(lambda: questions(empty), "nothing to ask", "accepted: a scene with one to three")
    assert text(caption(empty)).count(" .") == 1


# --- tokens and sequences ---


def test_the_tokenizer_numbers_words_as_the_vocabulary_does():
    numbers = tokens.vocabulary()
    assert 60 <= len(numbers) <= 96 and sorted(numbers.values()) == list(range(len(numbers)))
    known = tokens.tokenizer()
    assert len(known) == len(numbers)
    for _, words in EVERY[::40]:
        ids = known(text(words))["input_ids"]
        assert ids == [numbers["<bos>"], *(numbers[word.text] for word in words)]
        assert known.decode(ids, skip_special_tokens=True) == text(words)
    assert known("a mauve star")["input_ids"][2] == known.unk_token_id == numbers["<unk>"]
    assert known(["a", "a red star"], padding=True)["input_ids"][0][-2:] == [0, 0]


def test_the_tokenizer_is_kept_as_a_file(tmp_path):
    from transformers import AutoTokenizer

    known = tokens.tokenizer()
    known.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    words = "user : <image> is there a red star ? assistant : yes <eos>"
    assert again(words)["input_ids"] == known(words)["input_ids"]
    assert again.padding_side == "right" and again.image_token == "<image>"


def test_roles_of_a_conversation_by_hand():
    row = sequences.sequence([("is there a red star ?", "yes"), ("where is the star ?", "")], 4)
    found = [sequences.ROLES[role] for role in sequences.roles(sequences.padded([row, row * 2]))[
        0].tolist()]
    assert found == (["bos", "template", "template"] + ["image"] * 4 + ["prompt"] * 6
                     + ["template"] * 2 + ["answer", "eos"] + ["template"] * 2 + ["prompt"] * 5
                     + ["template"] * 2 + ["pad"] * len(row))


def test_targets_are_answers_and_their_ends():
    row = sequences.sequence([("where is the star ?", "top left")], 2)
    ids = sequences.padded([row])
    said = ids[sequences.is_target(ids)].tolist()
    numbers = tokens.vocabulary()
    assert said == [numbers["top"], numbers["left"], numbers["<eos>"]]


@pytest.mark.parametrize(("turns", "words"), [
    ([], "no turns; accepted: at least one request"),
    ([("draw a mauve star", "")], "unknown word 'draw'; accepted: words of the grammar")])
def test_bad_conversations_are_refused(turns, words):
    refused(lambda: sequences.sequence(turns), words)
