"""Chapters 24 and 25 cell by cell on small networks and on images without masks, replicas and
checkpoints, as the profile of the networks that Vilas et al. read has them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import neuronpath_core as npc
from neuronpath_core.chapters.class_space import measured
from neuronpath_core.study.profiles import load_profile
from tests.chapters.tables import NAMES

ROOT = Path(__file__).parents[2]
PROFILE = "imagenet_class_space"
FEW = {"profiles": ["bare"], "models": list(NAMES), "model": "small", "n_images": 20, "draws": 2}


def cells(notebook: str, **values: object) -> dict[str, object]:
    """The names that a chapter's cells leave behind, with these parameters; ``shown``: what each
    cell's last line shows, by the cell's name."""
    book = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text())
    names: dict[str, object] = {"shown": {}}
    for cell in book["cells"]:
        if cell["cell_type"] != "code":
            continue
        lines = "".join(cell["source"])
        exec(compile(lines, cell["id"], "exec"), names)  # noqa: S102
        if "parameters" in cell["metadata"].get("tags", ()):
            names |= values
        if cell["id"].endswith("-20"):
            last = lines[lines.rindex("\ndrawn.") + 1:] if "\ndrawn." in lines else "None"
            names["shown"][cell["id"]] = eval(last, names)  # noqa: S307
    plt.close("all")
    return names


@pytest.fixture
def bare(study, monkeypatch):
    """The small study without anything that tells what is drawn: its classes are no digits."""
    whole = study.images
    monkeypatch.setattr(npc, "Study", lambda *_, **__: study)
    monkeypatch.setattr(type(study), "images", lambda _, *given: replace(
        whole(*given), class_names=tuple("abcdefghij")))
    return study


def test_tokens_are_read_without_masks(bare):
    found = cells("24_class_space", **FEW, placed_profile="bare")
    claims = {claim.key: claim for claim in found["verdicts"].made_from(*(found[name] for name in (
        "effects", "spreads", "trained", "seeds", "lost", "leads", "kept", "hole", "thirds",
        "dissociation", "n_images")))}
    silent = {key for key, claim in claims.items() if not claim.comparisons}
    assert silent == {"training", "pooled", "object", "own object", "context", "far context",
                      "leak", "parts"}
    assert len(claims["rate"].comparisons) == len(NAMES) and found["masked"] == {}
    assert found["shown"]["24-20"] == measured.UNMASKED


def test_memories_are_read_without_masks_and_replicas(bare):
    found = cells("25_class_building", **FEW, pool_images=200, replica_images=10, wrong=5)
    assert found["context"].empty and found["pooled"].empty and found["similar"].empty
    assert len(found["changes"]) > 0 and len(found["values"]) == 4 * len(NAMES)


def test_the_profile_of_the_paper_s_networks_has_both_chapters():
    profile = load_profile(PROFILE, ROOT)
    for name in ("24_class_space", "25_class_building"):
        assert profile["notebooks"][name]["models"] == list(profile["models"])
    # without masks, no scenes of another profile are set beside the photographs
    assert profile["notebooks"]["24_class_space"]["placed_profile"] == PROFILE
