"""An explainer and a simulator of words that ask a language model (Xu et al., 2025, appendix A).

Every answer is parsed strictly; of one that cannot be, a repair is asked for once, and what cannot
be parsed then is a failure that is counted and never guessed.  Token probabilities, which Bills et
al. (2023) used for simulation, are not asked for: servers no longer give them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.vlm.endpoint import Endpoint
from neuronpath_core.vlm.endpoint_messages import (
    EXAMPLES,
    REPAIR_EXPLAIN,
    REPAIR_SIMULATE,
    explainer_messages,
    read_explanation,
    read_levels,
    simulator_messages,
)
from neuronpath_core.vlm.explained import Explanation, Kind, Modality, Record, Sample, check_kind
from neuronpath_core.vlm.offline_explainer import SEES, Sees

if TYPE_CHECKING:
    from jaxtyping import Float

Parsed = TypeVar("Parsed")


@dataclass
class Tally:
    """What became of what was asked.

    Attributes:
        asked: how many explanations or simulations.
        repaired: of these how many could be parsed at the second attempt alone.
        failed: how many could not be parsed.
        answers: the last answer of each failure.
    """

    asked: int = 0
    repaired: int = 0
    failed: int = 0
    answers: list[str] = field(default_factory=list)


def asked_twice(endpoint: Endpoint, messages: list[dict[str, Any]],
                parse: Callable[[str], Parsed | None], repair: str, tally: Tally
                ) -> tuple[Parsed | None, list[str]]:
    """What an answer parses to, or the answer to one request for repair; ``None`` if neither does;
    and the answers."""
    tally.asked += 1
    answers = [endpoint.ask(messages)]
    found = parse(answers[0])
    if found is None:
        again = [*messages, {"role": "assistant", "content": answers[0]},
                 {"role": "user", "content": repair}]
        answers.append(endpoint.ask(again))
        found = parse(answers[1])
        tally.repaired += found is not None
    if found is None:
        tally.failed += 1
        tally.answers.append(answers[-1])
    return found, answers


class EndpointExplainer:
    """Asks a language model that sees images what a neuron fires for.

    Args:
        endpoint: that is asked.
        sees: ``"modulated"``: images are as bright as the neuron is active; ``"raw"``: as they are
            (appendix B.3).
        examples: worked examples that are shown first; the paper has 8.
        seed: of these.

    Attributes:
        tally: what became of what was asked.
    """

    def __init__(self, endpoint: Endpoint, sees: Sees = "modulated", examples: int = EXAMPLES,
                 seed: int = 0):
        if not is_one_of(sees, SEES):
            raise ValueError(f"unknown way to see {shown(sees)}; accepted: {', '.join(SEES)}")
        self.endpoint, self.sees, self.examples, self.seed = endpoint, sees, examples, seed
        self.tally = Tally()

    def explain(self, records: Sequence[Record], kind: Kind) -> Explanation:
        """What the model says; an explanation without text where it cannot be parsed.

        Raises:
            ValueError: an unknown kind, no records, and what the endpoint raises.
        """
        check_kind(kind)
        if not records:
            raise ValueError("nothing can be explained from no records; accepted: at least one")
        messages = explainer_messages(records, kind, self.sees == "raw", self.examples, self.seed)
        found, answers = asked_twice(self.endpoint, messages, read_explanation, REPAIR_EXPLAIN,
                                     self.tally)
        return Explanation(found or "", trace={"answers": answers})


class EndpointSimulator:
    """Asks a language model how active a neuron is at each word of an answer.

    Args:
        endpoint: that is asked.
        examples: worked examples that are shown first.
        seed: of these.

    Attributes:
        tally: what became of what was asked.
    """

    modality: Modality = "text"

    def __init__(self, endpoint: Endpoint, examples: int = EXAMPLES, seed: int = 0):
        self.endpoint, self.examples, self.seed, self.tally = endpoint, examples, seed, Tally()

    def simulate(self, explanation: Explanation, sample: Sample) -> Float[np.ndarray, "token"]:
        """Whole numbers from 0 to 10 at the words of the answer, NaN elsewhere, and everywhere if
        there is no explanation or the answer cannot be parsed.

        Raises:
            ValueError: what the endpoint raises.
        """
        found = np.full(len(sample.roles), np.nan)
        words = sample.answer
        if not explanation.text or not words:
            return found
        levels, _ = asked_twice(
            self.endpoint, simulator_messages(explanation.text, sample, self.examples, self.seed),
            lambda answer: read_levels(answer, words), REPAIR_SIMULATE.format(len(words)),
            self.tally)
        if levels is not None:
            found[sample.counted("text")] = levels
        return found
