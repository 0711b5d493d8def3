"""What a profile may hold and of which type, and which sizes of it must fit each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from neuronpath_core.images.settings import CLASSES, KINDS, PIXELS, size_of
from neuronpath_core.models.entries import ModelEntry, sides
from neuronpath_core.support.typed import (
    MOST_SEED,
    Entry,
    Kind,
    listed,
    mapping,
    misfit,
    number,
    shown,
    unfit,
    whole,
)

NEEDED = ("dataset", "models", "notebooks")
MOST_STEPS, MOST = 10_000, 1_000_000
WHOLE, UP_TO = "a whole number of at least", f"up to {MOST}"


def _dataset(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise PydanticCustomError("accepted", f"a mapping with name: {', '.join(KINDS)}")
    name = value.get("name")
    if not isinstance(name, str) or name not in KINDS:
        raise unfit(("name",), f"cannot be {shown(name)}; accepted: {', '.join(KINDS)}")
    return KINDS[name].model_validate(dict(value))


A_MAPPING = mapping()
SOME_MODELS = mapping("a mapping, of models at least one", empty=False)
Parameters = Annotated[dict[str, Any] | None, BeforeValidator(
    lambda value: value if value is None else A_MAPPING(value))]


class Profile(Entry):
    """The entries of a profile, those of others that it extends included."""

    dataset: Annotated[Any, BeforeValidator(_dataset)]
    models: Annotated[dict[str, ModelEntry], BeforeValidator(SOME_MODELS)]
    notebooks: Annotated[dict[str, Parameters], BeforeValidator(A_MAPPING)]
    replicas: Any = None
    checkpoints: Any = None
    not_run: Any = None
    extends: Any = None

    @model_validator(mode="after")
    def _check_fit(self) -> Profile:
        settings = self.dataset.model_dump()
        if size := size_of(settings):
            for name, entry in self.models.items():
                _check_network(name, entry, settings["name"], size)
        for notebook, values in self.notebooks.items():
            for parameter, value in (values or {}).items():
                if (kind := kind_of(parameter)) and not kind.accepts(value):
                    raise unfit(("notebooks", notebook, parameter),
                                f"cannot be {shown(value)}; accepted: {kind.accepted}")
        return self


def _check_network(model: str, entry: ModelEntry, data: str, size: int) -> None:
    key = "arguments" if entry.architecture is None else "architecture"
    network = getattr(entry, key)
    if network is None or not network.model_fields_set:
        return  # it says no size at all: a stand-in for a model that is given otherwise
    own = {"in_chans": 3, "num_classes": 1000} if key == "architecture" else {}
    if (wanted := sides(network)) and wanted != [size, size]:
        raise unfit(("models", model, key, "img_size"),
                    f"is {wanted[0]} x {wanted[1]}, the images of {data} are {size} x {size}; "
                    f"accepted: {size}")
    for name, held in (("in_chans", PIXELS[data]), ("num_classes", CLASSES[data])):
        value = getattr(network, name, None) or own.get(name)
        if value is not None and value != held:
            raise unfit(("models", model, key, name),
                        f"is {value}, that of {data} is {held}; accepted: {held}")


def check_profile(entries: Mapping[str, Any]) -> tuple[tuple[str, ...], str, str] | None:
    """The first value of a profile that cannot be, as :func:`~neuronpath_core.support.typed.misfit`
    tells it; ``None`` if there is none."""
    try:
        Profile.model_validate(dict(entries))
    except ValidationError as error:
        return misfit(error)
    return None


# --- parameters of notebooks ---


def _once(values: list) -> list:
    if len(set(values)) < len(values):
        raise PydanticCustomError("accepted", "each once")
    return values


def _list_of(each: Any) -> Any:
    return Annotated[list[each], Field(min_length=1), AfterValidator(_once)]


POSITIVE = number(0, MOST, above=True)
COUNT = Kind(whole(1, MOST), f"{WHOLE} 1, {UP_TO}")
IMAGES = Kind(whole(1, 10**9), f"{WHOLE} 1")
TWO = Kind(whole(2, MOST), f"{WHOLE} 2, {UP_TO}")
KINDS_OF_PARAMETERS = {
    "steps": Kind(whole(1, MOST_STEPS) | Literal["auto"] | None,
                  f"{WHOLE} 1, auto, or null for the rule's own number; up to {MOST_STEPS}"),
    "nodes": Kind(whole(1, MOST_STEPS) | None,
                  f"{WHOLE} 1, or null for as many as steps; up to {MOST_STEPS}"),
    **dict.fromkeys(("top", "toys", "repeats", "width", "draws", "budget", "right", "wrong",
                     "every", "candidates"),
                    COUNT),
    **dict.fromkeys(("splits", "networks"), TWO),
    "shown": Kind(_list_of(whole(0, MOST)) | None, "a list of class numbers, or null for all"),
    "strength": Kind(POSITIVE, "a positive number"),
    "strengths": Kind(_list_of(POSITIVE), "a list of positive numbers, each once"),
    "tops": Kind(_list_of(whole(1, MOST)), "a list of whole numbers of at least 1, each once"),
    "keep": Kind(number(0, 0.5, above=True), "a number above 0, up to 0.5"),
    "radius": Kind(whole(0, MOST), f"{WHOLE} 0, {UP_TO}"),
    "quantile": Kind(number(0, 1), "a number from 0 to 1"),
    "shares": Kind(_list_of(number(0, 1)), "a list of numbers from 0 to 1, each once"),
    "seed": Kind(whole(0, MOST_SEED), f"{WHOLE} 0, up to {MOST_SEED}"),
    "device": Kind(Annotated[str, Field(strict=True, pattern=r"^(cpu|cuda(:[0-9]{1,3})?)$")],
                   "a device: cpu, cuda, cuda:1, …"),
    "progress": Kind(Annotated[bool, Field(strict=True)], "true or false"),
}


def is_image_count(name: str) -> bool:
    """Whether a parameter is a number of images, as its name says: ``pool_images``."""
    return name.endswith("_images")


def kind_of(parameter: str) -> Kind | None:
    """What values a parameter may have, by its name, whatever the notebook; ``None`` where that
    depends on the profile or is not known."""
    return IMAGES if is_image_count(parameter) else KINDS_OF_PARAMETERS.get(parameter)


def names_once(known: list[str]) -> Kind:
    """One or more of some names, each once."""
    inner = Annotated[str, AfterValidator(lambda value: _known(value, known))]
    return Kind(_list_of(inner), f"a list of one or more of {listed(known)}, each once")


def _known(value: str, known: list[str]) -> str:
    if value not in known:
        raise PydanticCustomError("accepted", "one of them")
    return value
