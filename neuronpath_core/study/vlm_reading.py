"""How neurons are read on scenes: which tokens count, and what is said of each scene, a caption
that is given or the model's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from neuronpath_core.study.vlm_rows import Row, stored_rows
from neuronpath_core.study.vlm_tables import Masks
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.vlm.abilities import LONGEST, captions
from neuronpath_core.vlm.adapter import SITES, VisionLanguageModel
from neuronpath_core.vlm.inputs import CODE, TEXTS
from neuronpath_core.vlm.questions import DESCRIBE
from neuronpath_core.vlm.scenes import Scene
from neuronpath_core.vlm.sequences import NUMBERS, padded, roles, sequence
from neuronpath_core.vlm.tokens import ASSISTANT, COLON, PAD, USER
from neuronpath_core.vlm.words import caption, text

OWN, OTHERS, REWORDED, GENERATED = CAPTIONS = ("own", "others", "reworded", "generated")
MODULES = ("neuronpath_core.vlm.abilities", "neuronpath_core.vlm.sequences")
PART = 200  # captions of a part


def check_options(site: str, text: str, captions: str) -> None:
    """Raise ``ValueError`` for an unknown option of records."""
    for name, value, known in (("site", site, SITES), ("text", text, tuple(TEXTS)),
                               ("captions", captions, CAPTIONS)):
        if not is_one_of(value, known):
            raise ValueError(f"unknown {name} {shown(value)}; accepted: {', '.join(known)}")


def token_masks(told: Sequence[str], text: str = "answer") -> Masks:
    """Which tokens of each sample are of the image, and which count as text, from captions alone:
    what :func:`~neuronpath_core.vlm.batches.caption_batches` gives a model."""
    found = roles(padded([sequence([(DESCRIBE, each)]) for each in told])).numpy()
    return found == CODE["image"], np.isin(found, [CODE[name] for name in TEXTS[text]])


def given_captions(scenes: Sequence[Scene], which: str = OWN) -> list[str]:
    """What is said about each scene: its ``"own"`` caption, the same in other words
    (``"reworded"``), or the own caption of the next scene (``"others"``)."""
    own = [text(caption(scene, int(which == REWORDED))) for scene in scenes]
    return [*own[1:], *own[:1]] if which == OTHERS else own


def own_words(said: str) -> str:
    """A model's caption up to the first word that says who speaks, with which no caption goes
    on."""
    words = said.split()
    ends = [place for place, word in enumerate(words) if word in (USER, ASSISTANT, COLON)]
    return " ".join(words[:min(ends, default=len(words))])


def stored_captions(folder: Path, name: str, model: VisionLanguageModel, scenes: Sequence[Scene],
                    asked: Mapping) -> list[str]:
    """The model's own captions, decoded greedily: from the store, or made and kept there.

    Args:
        folder: of a profile's results.
        name: what the model is called.
        model: that describes.
        scenes: that it describes.
        asked: which scenes these are; JSON values.
    """
    def compute(rows: range) -> Sequence[Row]:
        found = []
        for said in captions(model, scenes[rows.start:rows.stop]):
            words = [NUMBERS[word] for word in own_words(said).split()]
            found.append((0, 0.0, len(words), words + [NUMBERS[PAD]] * (LONGEST - len(words))))
        return found

    table = stored_rows(folder, "captions", name, model, {**asked, "scenes": len(scenes)},
                        len(scenes), compute, PART, MODULES)
    word_of = {number: word for word, number in NUMBERS.items()}
    return [" ".join(word_of[int(number)] for number in numbers[:steps])
            for steps, numbers in zip(table["steps"], table["neurons"], strict=True)]
