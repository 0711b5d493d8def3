"""A language model behind a server, replayed on this machine: what is sent, answers of every kind,
time-outs and refusals, and that nothing is lost or guessed."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from neuronpath_core.vlm import endpoint as endpoints
from neuronpath_core.vlm.endpoint import AnswerCache, Endpoint
from neuronpath_core.vlm.endpoint_explainer import EndpointExplainer, EndpointSimulator
from neuronpath_core.vlm.endpoint_messages import (
    modulated,
    read_explanation,
    read_levels,
    simulated_request,
    told,
    worked,
)
from neuronpath_core.vlm.explained import KINDS, Explanation, Record, records_of, scene_samples
from neuronpath_core.vlm.explanation_scores import score
from neuronpath_core.vlm.offline_explainer import OfflineExplainer
from neuronpath_core.vlm.offline_simulators import TagSimulator
from neuronpath_core.vlm.replay import Reply, replaying
from neuronpath_core.vlm.scenes import compose_many
from neuronpath_core.vlm.synthetic_neurons import planted_records, plants
from tests.helpers import refused

NO = "answers nothing that is a chat completion"
SAMPLES = scene_samples(compose_many("held_out", 40))


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # what the client would take from the environment must be of no effect
    monkeypatch.setenv("OPENAI_BASE_URL", "http://192.0.2.1/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")


def own_records(kind="text"):
    made = plants(1, kind)
    return made[0], records_of(planted_records(made, SAMPLES, top=20), SAMPLES, 0, [0, 4, 8])


def asked(server, **settings):
    return Endpoint(server.base_url, "tiny", **{"timeout": 5, "retries": 0, **settings})


@pytest.mark.parametrize("base_url", [None, "", "localhost:8000", "file:///x", "http://", 3])
def test_nothing_is_asked_without_an_address(base_url):
    refused(lambda: Endpoint(base_url, "tiny"), "base_url cannot be", "such as http://localhost")


def test_a_client_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(endpoints, "find_spec", lambda name: None)
    refused(lambda: Endpoint("http://localhost/v1", "tiny"), "neuronpath-core[explain]")
    refused(lambda: Endpoint("http://localhost/v1", " "), "model cannot be")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_sent_and_what_is_made_of_the_answer(kind):
    _, records = own_records(kind)
    with replaying(["explanation: red regions"]) as server:
        explainer = EndpointExplainer(asked(server, api_key="sk-mine"))
        found = explainer.explain(records, kind)
    assert found.text == "red regions" and not found.concepts
    request, = server.requests
    system, *turns, last = request["messages"]
    assert (request["model"], request["temperature"], request["seed"]) == ("tiny", 0, 0)
    assert system["role"] == "system" and last["role"] == "user" and len(turns) == 16
    assert all(turn["content"].startswith("explanation: ") for turn in turns[1::2])
    sent = [part["image_url"]["url"] for part in last["content"] if part["type"] == "image_url"]
    texts = [part["text"] for part in last["content"] if part["type"] == "text"]
    assert len(sent) == (0 if kind == "text" else 3) and len(texts) == (1 if kind == "visual" else 4)
    for url, record in zip(sent, records, strict=False):
        file = io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,")))
        pixels = np.asarray(Image.open(file))
        np.testing.assert_array_equal(pixels[::4, ::4], modulated(record))
    if kind == "text":
        for text, record in zip(texts[1:], records, strict=True):
            lines = [line.split("\t") for line in text.splitlines()]
            assert tuple(word for word, _ in lines) == record.answer
            assert [int(level) for _, level in lines] == record.values[
                record.counted("text")].tolist()
    assert (explainer.tally.asked, explainer.tally.failed) == (1, 0)


def test_raw_images_are_sent_as_they_are():
    _, records = own_records("visual")
    with replaying(["explanation: red regions"]) as server:
        EndpointExplainer(asked(server), "raw", examples=1).explain(records, "visual")
    urls = [part["image_url"]["url"] for part in server.requests[0]["messages"][-1]["content"]
            if part["type"] == "image_url"]
    for url, record in zip(urls, records, strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))
        np.testing.assert_array_equal(pixels[::4, ::4], record.image)
    assert "Images are shown as they are" in server.requests[0]["messages"][0]["content"]


def test_a_patch_is_as_bright_as_the_neuron_is_active():
    image = np.full((4, 4, 3), 200, np.uint8)
    roles = np.array([1, 3, 3, 3, 3, 5])
    record = Record(image, (2, 2), roles, ("",) * 6, np.array([9, 0, 5, 10, 1, 7.0]))
    found = modulated(record)
    assert found[::2, ::2, 0].tolist() == [[0, 100], [200, 20]]
    refused(lambda: modulated(Record(image, None, roles, ("",) * 6, record.values)), "no patches")
    refused(lambda: modulated(Record(image, (3, 3), roles, ("",) * 6, record.values)), "divides")


@pytest.mark.parametrize("answer, parsed", [
    ("explanation: red", "red"), ("Explanation:  red circles \n", "red circles"), ("red", None),
    ("explanation:", None), ("explanation: a\nexplanation: b", None), ("", None),
    ("I cannot help with that.", None), ("explanation: " + "x" * 400, None)])
def test_explanations_are_one_line_of_one_form(answer, parsed):
    assert read_explanation(answer) == parsed


@pytest.mark.parametrize("answer, parsed", [
    ("a\t0\nred\t10\n.\t3", [0, 10, 3]), ("a\t0\nred\t10\n.\t3\n", [0, 10, 3]),
    ("a\t0\r\nred\t10\r\n.\t3", [0, 10, 3]), ("a\t0\nred\t10", None),
    ("a\t0\nred\t10\n.\t3\nx\t0", None), ("a\t0\nblue\t10\n.\t3", None),
    ("a\t0\nred\t11\n.\t3", None), ("a\t0\nred\t-1\n.\t3", None), ("a\t0\nred\t1.5\n.\t3", None),
    ("a 0\nred 10\n. 3", None), ("a\t0\nred\tten\n.\t3", None), ("", None),
    ("Sure! Here it is:\na\t0\nred\t10\n.\t3", None), ("a\t0\nred\t٣\n.\t3", None)])
def test_levels_are_a_line_for_each_word(answer, parsed):
    found = read_levels(answer, ("a", "red", "."))
    assert (None if found is None else found.tolist()) == parsed


def test_an_answer_that_cannot_be_parsed_is_repaired_once_or_counted():
    _, records = own_records()
    with replaying(["Sure, it likes red.", "explanation: red"]) as server:
        explainer = EndpointExplainer(asked(server), examples=1)
        assert explainer.explain(records, "text").text == "red"
    assert (explainer.tally.asked, explainer.tally.repaired, explainer.tally.failed) == (1, 1, 0)
    assert [turn["role"] for turn in server.requests[1]["messages"][-2:]] == ["assistant", "user"]
    for answer in ("nonsense", Reply(None), ""):
        with replaying([answer]) as server:
            explainer = EndpointExplainer(asked(server), examples=1)
            assert explainer.explain(records, "text").text == ""
        assert (explainer.tally.failed, len(server.requests)) == (1, 2)


def test_too_few_words_are_a_failure_of_the_simulation_and_no_zero():
    plant, records = own_records()
    with replaying(["a\t1\nb\t2"]) as server:
        simulator = EndpointSimulator(asked(server), examples=1)
        simulated = [simulator.simulate(Explanation("red"), record.unseen) for record in records]
        assert np.isnan(simulator.simulate(Explanation(""), records[0].unseen)).all()
    assert all(np.isnan(row).all() for row in simulated)
    assert (simulator.tally.asked, simulator.tally.failed) == (3, 3)
    found = score(records, simulated, "text")
    assert (found.failed, found.constant, found.value) == (3, 0, 0)
    assert np.isnan(score(records, simulated, "text", empty="drop").value)


def test_a_model_that_knows_the_neuron_scores_as_its_answers_deserve():
    """The server knows the plant: it explains and simulates by the tags, and is scored so."""
    plant, records = own_records()
    tags, held = TagSimulator(), records_of(planted_records([plant], SAMPLES, top=20), SAMPLES, 0,
                                            [2, 6, 10])

    def knows(request):
        asked_for = request["messages"][-1]["content"]
        if not isinstance(asked_for, str):
            return f"explanation: {plant.truth.text}"
        sample = next(each for each in SAMPLES
                      if simulated_request(plant.truth.text, each.answer) == asked_for)
        values = tags.simulate(plant.truth, sample)
        return told(sample.answer, values[sample.counted("text")])

    with replaying(knows) as server:
        found = EndpointExplainer(asked(server), examples=2).explain(records, "text")
        simulator = EndpointSimulator(asked(server), examples=2)
        simulated = [simulator.simulate(found, record.unseen) for record in held]
    assert found.text == plant.truth.text
    offline = OfflineExplainer().explain(records, "text")
    assert score(held, simulated, "text").value == pytest.approx(score(
        held, [tags.simulate(offline, record.unseen) for record in held], "text").value)


@pytest.mark.parametrize("reply, words", [
    (Reply("too slow", wait=30), "did not answer in time"),
    (Reply("no such key sk-mine", status=401), "refuses with status 401"),
    (Reply("not now", status=429), "refuses with status 429"),
    (Reply("broken", status=500), "refuses with status 500"),
    (Reply(body=b"<html>hello</html>"), NO), (Reply(body=b'{"choices": []}'), NO),
    (Reply(body=b'{"choices": null}'), NO), (Reply(body=b"[]"), NO),
    (Reply(body=b'{"choices": [{"message": {"content": {"a": 1}}}]}'), NO)])
def test_a_server_that_fails_is_one_line_and_what_was_answered_is_kept(reply, words, tmp_path):
    _, records = own_records()
    cache = AnswerCache(tmp_path / "answers")
    with replaying(["explanation: red", reply]) as server:
        settings = {"cache": cache, "timeout": 0.5, "api_key": "sk-mine"}
        first = EndpointExplainer(asked(server, **settings), examples=1)
        assert first.explain(records, "text").text == "red"
        told_ = refused(lambda: first.explain(records[:2], "text"), "1 answers so far are kept",
                        words)
        assert "sk-mine" not in str(told_) and "sk-of" not in str(told_)
        asked_before = len(server.requests)
        # a new process finds on disk what was answered, and asks for nothing else
        again = asked(server, cache=AnswerCache(tmp_path / "answers"), timeout=0.5)
        found = EndpointExplainer(again, examples=1).explain(records, "text")
        assert found.text == "red" and len(server.requests) == asked_before
    kept, = (tmp_path / "answers").iterdir()
    assert json.loads(kept.read_text("utf-8"))["answer"] == "explanation: red"


def test_a_server_that_is_not_there_is_one_line():
    with replaying(["x"]) as server:
        address = server.base_url
    gone = Endpoint(address, "tiny", retries=0, timeout=2)
    refused(lambda: gone.ask([{"role": "user", "content": "x"}]), "cannot be reached")


def test_answers_are_known_by_all_that_was_asked(tmp_path):
    cache = AnswerCache(tmp_path)
    request = {"model": "a", "messages": [{"role": "user", "content": "é"}]}
    cache.put(request, "yes")
    assert AnswerCache(tmp_path).get(dict(reversed(request.items()))) == "yes"
    assert AnswerCache(tmp_path).get({**request, "model": "b"}) is None
    file, = tmp_path.iterdir()
    for broken in (b"", b"{", b"[]", b'{"answer": 3}', b"\xff"):
        file.write_bytes(broken)
        assert AnswerCache(tmp_path).get(request) is None
    blocked = tmp_path / "file"
    blocked.write_text("x", "utf-8")
    refused(lambda: AnswerCache(blocked / "inside").put(request, "yes"), "cannot be written to")


def test_worked_examples_are_planted_and_from_training():
    for kind in KINDS:
        for plant, records in worked(kind, 3):
            assert plant.kind == kind and len(records) == 5
            assert all(record.scene.part == "train" for record in records)
            assert max(record.values.max() for record in records) == 10
    assert worked("text", 0) == ()
