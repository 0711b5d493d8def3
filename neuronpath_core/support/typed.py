"""Types of what people write in files and on the command line, and the one line that says where a
value does not fit."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from neuronpath_core.support.text import shown

LISTED = 12  # names in a message
MOST_SEED = 2**32 - 1  # the largest that NumPy's and scikit-learn's generators take


def nearest(name: object, known: Iterable[str]) -> str | None:
    """The known name that a wrong one was probably meant to be, if there is one."""
    found = difflib.get_close_matches(str(name).lower(), list(known), 1, 0.6)
    return found[0] if found else None


def listed(names: Iterable[object]) -> str:
    """Names in one line, the first of many."""
    names = list(map(str, names))
    return ", ".join(names[:LISTED]) + (f", … ({len(names)} in all)" if len(names) > LISTED else "")


def said(accepted: str) -> WrapValidator:
    """For ``Annotated``: whatever the type refuses is refused with these words for what it
    accepts."""
    def check(value: Any, inner: Any) -> Any:
        try:
            return inner(value)
        except ValidationError as error:
            raise PydanticCustomError("accepted", "{accepted}", {"accepted": accepted}) from error
    return WrapValidator(check)


def whole(least: int, most: int) -> Any:
    """Whole numbers of a range; neither ``True`` nor a number in quotes is one."""
    return Annotated[int, Field(strict=True, ge=least, le=most),
                     said(f"a whole number of at least {least}, up to {most}")]


def number(least: float, most: float, above: bool = False) -> Any:
    """Finite numbers of a range, without ``least`` itself if they are to be ``above`` it."""
    bound = {"gt" if above else "ge": least}
    return Annotated[float, Field(strict=True, allow_inf_nan=False, le=most, **bound),
                     said(f"a number above {least:g}, up to {most:g}" if above
                          else f"a number from {least:g} to {most:g}")]


def text_like(pattern: str, accepted: str) -> Any:
    """Texts of a pattern, which a number without quotes is not."""
    return Annotated[str, Field(strict=True, pattern=f"^(?:{pattern})$"), said(accepted)]


def one_of(*names: str) -> Any:
    """One of some words."""
    return Annotated[Literal[names], said(", ".join(names))]


def mapping(accepted: str = "a mapping", empty: bool = True) -> Callable[[Any], Any]:
    """For ``BeforeValidator``: a mapping passes, one without entries only if ``empty``; anything
    else is refused with the words for what is accepted."""
    def check(value: Any) -> Any:
        if not isinstance(value, Mapping) or not (value or empty):
            raise PydanticCustomError("accepted", "{accepted}", {"accepted": accepted})
        return value
    return check


Text = text_like(r"[^\x00]*", "a text, in quotes if it looks like a number")
Name = text_like(r"[^\x00]+", "a text of at least one character")
Truth = Annotated[bool, Field(strict=True), said("true, false")]


class Entry(BaseModel):
    """A mapping of known keys; an unknown one is refused together with the key that is nearest.

    Attributes:
        FREE: whether further keys are left to whoever reads them, but for misspelt ones.
    """

    model_config = ConfigDict(strict=True, extra="allow")
    FREE: ClassVar[bool] = False

    @classmethod
    def others(cls) -> set[str]:
        """Further keys, which it may take long to find out; asked for when there is an unknown
        one."""
        return set()

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, value: Any) -> Any:
        known = list(cls.model_fields)
        if not isinstance(value, Mapping):
            raise PydanticCustomError("accepted", "a mapping with {known}",
                                      {"known": listed(known)})
        for key in [key for key in value if key not in known]:
            near = nearest(key, known)
            far = isinstance(key, str) and (not near or len(near) < 5 or difflib
                                                    .SequenceMatcher(None, key, near).ratio() < 0.8)
            if (cls.FREE and far) or key in cls.others():
                continue
            raise PydanticCustomError("unknown", "unknown", {
                "key": key, "near": near, "known": listed(known)})
        return dict(value)


class Kind:
    """Values of a type, tested one by one.

    Args:
        annotation: the type.
        accepted: what it accepts, in words.
    """

    def __init__(self, annotation: Any, accepted: str):
        self.adapter, self.accepted = TypeAdapter(annotation), accepted

    def accepts(self, value: Any) -> bool:
        """Whether a value is of this type."""
        try:
            self.adapter.validate_python(value)
        except ValidationError:
            return False
        return True


def misfit(error: ValidationError) -> tuple[tuple[str, ...], str, str]:
    """Where the first value lies that does not fit, by its keys; what is wrong with it, the end of
    a sentence that begins with the keys; and what is accepted."""
    first = error.errors(include_url=False)[0]
    keys, context = tuple(map(str, first["loc"])), first.get("ctx", {})
    if first["type"] == "unknown":
        near = f", nearest is {context['near']}" if context["near"] else ""
        return (*keys, str(context["key"])), f"is unknown{near}", context["known"]
    if first["type"] == "missing":
        return keys[:-1], f"lacks {keys[-1]}", "a value for it"
    if first["type"] == "unfit":  # two values that do not go together
        found, _, accepted = first["msg"].partition("; accepted: ")
        return (*keys, *context["keys"]), found, accepted
    return keys, f"cannot be {shown(first['input'])}", first["msg"]


def unfit(keys: tuple[str, ...], words: str) -> PydanticCustomError:
    """Two values, each of its type, that do not go together: the keys of the one to be changed, and
    the end of the sentence."""
    return PydanticCustomError("unfit", "{words}", {"keys": keys, "words": words})
