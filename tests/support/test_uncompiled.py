"""Inside the context compiled code runs as it was written, whoever enters and leaves it when."""

import sys
import threading

import pytest
import torch

from neuronpath_core.support.uncompiled import uncompiled


@pytest.fixture
def compiled():
    """A function compiled by a backend that gives 100 more."""
    def louder(graph, _inputs):
        return lambda *given: tuple(each + 100 for each in graph(*given))

    function = torch.compile(lambda value: value + 1, backend=louder, dynamic=False)
    yield lambda: float(function(torch.zeros(())))
    torch._dynamo.reset()


def test_compiled_code_runs_as_written_inside_and_compiled_outside(compiled):
    assert compiled() == 101
    with uncompiled():
        assert compiled() == 1
        with uncompiled():
            assert compiled() == 1
        assert compiled() == 1
    assert compiled() == 101


def test_an_error_inside_ends_it_too(compiled):
    with pytest.raises(KeyError), uncompiled():
        raise KeyError
    assert compiled() == 101


def test_contexts_of_two_threads_end_in_the_order_in_which_they_began(compiled):
    compiled()
    inside, ended = threading.Event(), threading.Event()

    def first():
        with uncompiled():
            inside.set()
            ended.wait(20)

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(20)
    context = uncompiled()
    context.__enter__()
    ended.set()
    thread.join()
    assert compiled() == 1  # the first to begin has ended, this one has not
    context.__exit__(None, None, None)
    assert compiled() == 101


def test_where_nothing_was_compiled_nothing_is_loaded(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch._dynamo", raising=False)
    monkeypatch.setattr(torch.compiler, "set_stance", lambda *_: pytest.fail("a stance was taken"))
    with uncompiled():
        assert "torch._dynamo" not in sys.modules
