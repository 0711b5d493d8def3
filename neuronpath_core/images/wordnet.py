"""What timm calls the classes of its lists of names."""

from __future__ import annotations

from collections import Counter
from functools import cache

from timm.data import ImageNetInfo as WordNetInfo

TIMM_NAMES = "timm"


@cache
def wordnet_classes(subset: str | None = None) -> tuple[dict[str, int], tuple[str, ...]]:
    """WordNet id -> index, and a name each, of the classes that timm knows: the first of its
    description; two of the same name are told apart by their ids.

    Args:
        subset: which of timm's lists of classes; by default the first.

    Raises:
        ValueError: timm has no such list.
    """
    try:
        info = WordNetInfo(*([subset] if subset else []))
    except AssertionError as error:
        raise ValueError(f"timm has no classes {subset!r}; accepted: {TIMM_NAMES}, or "
                         f"{TIMM_NAMES}/ and one of timm's lists of classes") from error
    ids, names = info.label_names(), [names.split(",")[0] for names in info.label_descriptions()]
    often = Counter(names)
    return ({each: index for index, each in enumerate(ids)},
            tuple(f"{name} ({each})" if often[name] > 1 else name for each,
                  name in zip(ids, names, strict=True)))
