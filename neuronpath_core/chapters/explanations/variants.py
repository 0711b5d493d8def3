"""What the paper's text leaves open of a score, each choice by itself; and what becomes of answers
of a language model that are not of the form asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from neuronpath_core.chapters.explanations.measured import Read
from neuronpath_core.support.environment import environment
from neuronpath_core.vlm.endpoint import Endpoint
from neuronpath_core.vlm.endpoint_explainer import EndpointExplainer, EndpointSimulator
from neuronpath_core.vlm.explained import KINDS, Explanation
from neuronpath_core.vlm.explained_neurons import SCORED, TOP
from neuronpath_core.vlm.explanation_scores import score
from neuronpath_core.vlm.offline_simulators import offline
from neuronpath_core.vlm.replay import Reply, replaying

# name -> over, empty, graded masks
VARIANTS = {
    "of each sample, constants as 0": ("sample", "zero", False),
    "of each sample, constants left out": ("sample", "drop", False),
    "of all tokens together": ("pooled", "zero", False),
    "of each sample, masks by the share covered": ("sample", "zero", True),
}
EXAMPLES = 1  # that a rehearsal shows
PATIENCE, SHORT = 30.0, 0.3  # seconds until a time-out, and where one is rehearsed


def variant_rows(read: Read) -> pd.DataFrame:
    """For each way to score the mean over neurons of each type, of explanations from top samples on
    top samples, and the share of correlations that one side's constancy leaves without a value."""
    rows = []
    for name, (over, empty, graded) in VARIANTS.items():
        simulator = offline(graded, read.chosen.patterns)
        found: dict[str, list] = {kind: [] for kind in KINDS}
        for row, said in zip(read.chosen.neurons.to_dict("records"), read.said[TOP], strict=True):
            held = read.chosen.records_of(row, SCORED)
            found[row["kind"]].append(score(held, [simulator.simulate(said, record.unseen)
                                                   for record in held], row["kind"], over, empty))
        rows += [{"variant": name, "kind": kind, "value": np.nanmean([each.value for each in own]),
                  "constant": np.mean([each.constant / each.of for each in own])}
                 for kind, own in found.items() if own]
    return pd.DataFrame(rows)


def rehearsed(read: Read) -> pd.DataFrame:
    """What becomes of answers of every sort, replayed by a server on this machine for one neuron:
    ``asked``, ``answer``, ``requests``, how often the server was asked, and ``outcome``."""
    if read.chosen.neurons.empty:
        return pd.DataFrame()
    row = read.chosen.neurons.to_dict("records")[-1]
    records = read.chosen.records_of(row, SCORED)[:2]
    words = records[0].answer
    good = "\n".join(f"{word}\t{place % 11}" for place, word in enumerate(words))
    explained: Sequence[tuple[str, list[Reply | str]]] = (
        ("as asked for", ["explanation: words for colours"]),
        ("first in prose, then as asked for", ["It likes red.", "explanation: red"]),
        ("in prose twice", ["It likes red."]), ("refused", [Reply(None)]),
        ("a time-out", [Reply("late", wait=60)]), ("an error of the server", [Reply("no", 500)]))
    simulated: Sequence[tuple[str, list[Reply | str]]] = (
        ("as asked for", [good]), ("a word too few", [good.rpartition("\n")[0]]),
        ("another word", [good.replace(words[0], "sky", 1)]),
        ("a number above 10", [f"{good.rpartition(chr(9))[0]}\t11"]))
    return pd.DataFrame([
        *({"asked": "explanation", "answer": name, **_asked(answers, records, row["kind"])}
          for name, answers in explained),
        *({"asked": "simulation", "answer": name, **_asked(answers, records, None)}
          for name, answers in simulated)])


def _asked(answers: list[Reply | str], records: list, kind: str | None) -> dict[str, object]:
    late = any(isinstance(each, Reply) and each.wait for each in answers)
    # whatever proxy this machine has is not for its own servers
    with environment({"NO_PROXY": "127.0.0.1"}), replaying(answers) as server:
        endpoint = Endpoint(server.base_url, "replayed", timeout=SHORT if late else PATIENCE,
                            retries=0)
        try:
            if kind is None:
                by = EndpointSimulator(endpoint, EXAMPLES)
                by.simulate(Explanation("words for colours"), records[0].unseen)
            else:
                by = EndpointExplainer(endpoint, examples=EXAMPLES)
                by.explain(records, kind)
        except ValueError:
            outcome = "stops with one line; what was answered is kept"
        else:
            outcome = ("counted as a failure" if by.tally.failed else
                       "taken, after one repair" if by.tally.repaired else "taken")
        return {"requests": len(server.requests), "outcome": outcome}
