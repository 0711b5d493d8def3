"""How a comparison gets its verdict: a sentence, and the side of a value on which it agrees.

Nearly every rule asks on which side of a value an interval lies.  Such a rule is made by
:func:`above` or :func:`below`, which write the sentence and keep the side, so that the two cannot
say different things.
"""

from __future__ import annotations

from dataclasses import dataclass

BOOTSTRAP = "its 95 % bootstrap interval"
OVER_IMAGES = f"{BOOTSTRAP} over images"
OVER_CLASSES = f"{BOOTSTRAP} over classes"
# what a rule adds that counts the other side as well
OR_BELOW = ", contradicts if below"
# values that have a name of their own in sentences
NAMED = {0.0: "zero", 0.5: "one half"}


@dataclass(frozen=True)
class Rule:
    """How a comparison gets its verdict.

    Args:
        sentence: for readers.
        above: the value above which an effect speaks for the claim, in the claim's unit.
        below: the value below which it does.  Both are ``None`` if the verdict is not about a
            side, as that of a permutation test.

    Raises:
        ValueError: both sides at once.
    """

    sentence: str
    above: float | None = None
    below: float | None = None

    def __post_init__(self) -> None:
        if self.above is not None and self.below is not None:
            raise ValueError(f"a rule agrees above {self.above} and below {self.below}; accepted: "
                             f"one side, or none")

    def leans(self, value: float) -> bool | None:
        """Whether an effect, shown or not, is on the claim's side; ``None`` if there is none."""
        if self.above is not None:
            return value > self.above
        return None if self.below is None else value < self.below


def above(what: str = "", bound: float = 0.0, *, called: str = "", interval: str = BOOTSTRAP,
          then: str = "", more: str = "") -> Rule:
    """The rule that an interval lies above a value.

    Args:
        what: is measured, without a full stop; empty if the sentence begins with the verdict.
        bound: the value, in the claim's unit.
        called: the value in words, if it is not one of ``NAMED``.
        interval: of which effect, over which units.
        then: what follows the value in its sentence, ``", contradicts if below"``.
        more: sentences behind it.

    Raises:
        ValueError: a value without words.

    >>> above("The share of tokens", 0.5).sentence
    'The share of tokens; agrees if its 95 % bootstrap interval lies above one half.'
    """
    return Rule(_sentence(what, f"{interval} lies above", bound, called, then, more), above=bound)


def below(what: str = "", bound: float = 0.0, *, called: str = "", interval: str = BOOTSTRAP,
          then: str = "", more: str = "") -> Rule:
    """The rule that an interval lies below a value; arguments and errors as of :func:`above`."""
    return Rule(_sentence(what, f"{interval} lies below", bound, called, then, more), below=bound)


def _sentence(what: str, asked: str, bound: float, called: str, then: str, more: str) -> str:
    if not called and bound not in NAMED:
        raise ValueError(f"no words for the value {bound}; accepted: called=..., or one of "
                         f"{', '.join(map(str, NAMED))}")
    start = f"{what}; agrees" if what else "Agrees"
    return f"{start} if {asked} {called or NAMED[bound]}{then}.{more and f' {more}'}"
