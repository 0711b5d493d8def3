"""A profile of vision-language models, opened: what the chapters on their neurons start with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neuronpath_core.models import build as devices
from neuronpath_core.study.hub_schema import is_hub
from neuronpath_core.study.profiles import project_root, results_folder
from neuronpath_core.study.vlm_profiles import load_vlm_profile, vlm_entries
from neuronpath_core.study.vlm_reading import (
    GENERATED,
    OWN,
    check_options,
    given_captions,
    stored_captions,
    token_masks,
)
from neuronpath_core.study.vlm_tables import stored_records
from neuronpath_core.study.vlm_weights import no_weights, vlm_weights
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.support.typed import listed
from neuronpath_core.vlm.adapter import Site, VisionLanguageModel
from neuronpath_core.vlm.batches import caption_batches
from neuronpath_core.vlm.modality import Criteria, Levels, probabilities
from neuronpath_core.vlm.modality_nulls import rotation
from neuronpath_core.vlm.model import build, load_weights, processor
from neuronpath_core.vlm.records import RANDOM as EXTRA_SAMPLES
from neuronpath_core.vlm.records import TOP, Records, collect
from neuronpath_core.vlm.scenes import Scene, compose_many
from neuronpath_core.vlm.sequences import PATCHES

if TYPE_CHECKING:
    from jaxtyping import Float

PROFILE = "vlm"
SCENES = 1200  # of which neurons are recorded, unless a chapter asks for others
RANDOM = "random"


@dataclass(frozen=True)
class VlmStudy:
    """A profile of vision-language models.

    Attributes:
        profile: its name.
        n_scenes: held-out scenes that :meth:`records` are of.
        device: that models run on, in float32.
        results: the folder of results that was asked for; ``None``: the profile's own.
        progress: whether bars are shown.
        root: the study's folder.
    """

    profile: str = PROFILE
    n_scenes: int = SCENES
    device: str = "cpu"
    results: str | Path | None = None
    progress: bool = False
    root: Path = field(default_factory=project_root)

    @cached_property
    def settings(self) -> dict:
        """The profile's entries."""
        return load_vlm_profile(self.profile, self.root)

    @cached_property
    def entries(self) -> dict[str, dict]:
        """Every model, replica and checkpoint with what it is built from."""
        return vlm_entries(self.settings)

    @cached_property
    def results_folder(self) -> Path:
        """Where tables are kept."""
        return results_folder(self.root, self.profile, self.results)

    def weights(self, name: str) -> Path | None:
        """The file of a model's weights; ``None`` where there is none."""
        return vlm_weights(self.entries[name], self.root)

    @cached_property
    def models(self) -> tuple[str, ...]:
        """The models, replicas and checkpoints whose weights are there: models first, each followed
        by its replicas, then checkpoints."""
        there = [name for name in self.entries if self.weights(name)]
        return tuple(sorted(there, key=lambda name: (" step " in name,
                                                     list(self.settings["models"]).index(
                                                         name.partition(" seed ")[0].partition(
                                                             " step ")[0]))))

    def seeds(self, model: str) -> tuple[str, ...]:
        """Of one recipe the trainings from every seed whose weights are there."""
        return tuple(name for name in self.models if name == model
                     or name.startswith(f"{model} seed "))

    def checkpoints(self, model: str) -> tuple[str, ...]:
        """The states of one training before its end whose weights are there, the earliest first."""
        return tuple(name for name in self.models if name.startswith(f"{model} step "))

    def check_models(self) -> None:
        """Raise ``ValueError`` where no model of the profile has weights."""
        if not self.models:
            raise ValueError(no_weights(self.profile, self.root))

    @cached_property
    def _loaded(self) -> dict[str, VisionLanguageModel]:
        return {}

    def model(self, name: str) -> VisionLanguageModel:
        """A model with its processor, loaded once.

        ``"random"`` is the network of the profile's first model before any training, from the very
        seed that its training starts with: a twin neuron by neuron.

        Raises:
            ValueError: no such model, or one without weights.
        """
        if name not in self._loaded:
            if name != RANDOM and name not in self.entries:
                raise ValueError(f"unknown model {shown(name)}; accepted: {RANDOM}, "
                                 f"{listed(self.entries)}")
            spec = self.entries[next(iter(self.settings["models"])) if name == RANDOM else name]
            parts = spec.get("tower"), spec.get("decoder")
            if name == RANDOM:
                network = build(spec.get("training", {}).get("seed", 0), *parts)
            elif (file := self.weights(name)) is None:
                raise ValueError(f"weights {spec['weights']} of {name} not found; accepted: the "
                                 f"file that 'make weights PROFILE={self.profile}' trains, or one "
                                 f"of {listed([RANDOM, *self.models])}")
            else:
                network = load_weights(file, *parts)
            self._loaded[name] = VisionLanguageModel(
                network.to(devices.parse_device(self.device)), processor())
        return self._loaded[name]

    @cached_property
    def _composed(self) -> dict[str, list[Scene]]:
        return {}

    def scenes(self, count: int | None = None, part: str = "held_out") -> Sequence[Scene]:
        """The first scenes of a part; by default those that records are of.

        Raises:
            ValueError: an unknown part, or more scenes than the profile has.
        """
        data = self.settings["dataset"]
        if not is_one_of(part, ("train", "held_out")):
            raise ValueError(f"unknown part {shown(part)}; accepted: train, held_out")
        count, most = self.n_scenes if count is None else count, data[f"{part}_scenes"]
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= most:
            raise ValueError(f"{shown(count)} scenes of part {part}; accepted: a whole number from "
                             f"1 to the profile's {most}")
        known = self._composed.setdefault(part, [])
        known += compose_many(part, count - len(known), data.get("seed", 0), len(known)) \
            if count > len(known) else []
        return known[:count]

    @cached_property
    def _records(self) -> dict[tuple, Records]:
        return {}

    def records(self, name: str, site: Site = "activation", text: str = "answer",
                captions: str = "own", rotated: bool = False) -> Records:
        """What every neuron of a model's decoder did on the study's scenes, in its 50 top samples
        and 5 at random.

        Args:
            name: of :attr:`models`, or ``"random"``.
            site, text: of :func:`~neuronpath_core.vlm.records.collect`.
            captions: of :meth:`captions`.
            rotated: each layer's values turned by a random orthogonal matrix, the same for every
                model.

        Raises:
            ValueError: what the model or :func:`~neuronpath_core.vlm.records.collect` refuses.
        """
        key = (name, site, text, captions, rotated)
        if key not in self._records:
            check_options(site, text, captions)
            model = self.model(name)
            told = self.captions(captions, name)
            turned = rotation([half.width for half in model.halves["decoder"]]) if rotated else None
            asked = {"dataset": self.settings["dataset"], "scenes": self.n_scenes, "site": site,
                     "text": text, "captions": captions, "rotated": rotated, "top": TOP,
                     "random": EXTRA_SAMPLES}
            if captions == GENERATED:  # which only the words themselves tell
                asked["told"] = sha256("\n".join(told).encode()).hexdigest()
            self._records[key] = stored_records(
                self.results_folder, name, model, asked,
                lambda: collect(model, caption_batches(model, self.scenes(), told), site, text,
                                TOP, EXTRA_SAMPLES, transform=turned),
                token_masks(told, text), TOP + EXTRA_SAMPLES)
        return self._records[key]

    def captions(self, which: str = OWN, name: str = "") -> list[str]:
        """What is said about each of the study's scenes: its ``"own"`` caption, the same in other
        words (``"reworded"``), that of the next scene (``"others"``), or what the model of this
        name says itself (``"generated"``)."""
        if which != GENERATED:
            return given_captions(self.scenes(), which)
        return stored_captions(self.results_folder, name, self.model(name), self.scenes(),
                               {"dataset": self.settings["dataset"]})

    def types(self, name: str, site: Site = "activation", text: str = "answer",
              captions: str = "own", rotated: bool = False, criteria: Criteria | None = None,
              levels: Levels = "floor") -> Float[np.ndarray, "neuron 4"]:
        """The probabilities of the four types of every neuron, as
        :func:`~neuronpath_core.vlm.modality.probabilities` of :meth:`records`; by default with the
        number of image tokens of the published criteria scaled to the 64 of a scene."""
        return probabilities(self.records(name, site, text, captions, rotated),
                             criteria or Criteria().for_patches(PATCHES), levels)


def open_vlm(profile: str = PROFILE, n_scenes: int = SCENES, device: str = "cpu",
             results: str | Path | None = None, progress: bool = False,
             root: Path | None = None) -> VlmStudy:
    """A profile of vision-language models, opened.

    Args:
        profile: name of a file in ``profiles/`` whose models have a ``kind``.
        n_scenes: held-out scenes that records are of.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, …
        results: folder for tables; by default ``results/<profile>`` or what ``NEURONPATH_RESULTS``
            names.
        progress: show bars.
        root: the study's folder; by default the one around the working directory.

    Raises:
        ValueError: no such profile or device, or more scenes than the profile holds out.
    """
    devices.parse_device(device)
    study = VlmStudy(profile, n_scenes, device, results, progress, root or project_root())
    if is_hub(study.settings):
        raise ValueError(f"profile {shown(profile)} is of published models on photographs, of "
                         "which nobody knows what they show; accepted: profiles of scenes; "
                         f"'neuronpath types --profile {profile}' types their neurons")
    held = study.settings["dataset"]["held_out_scenes"]
    if isinstance(n_scenes, bool) or not isinstance(n_scenes, int) or not 1 <= n_scenes <= held:
        raise ValueError(f"n_scenes cannot be {shown(n_scenes)}; accepted: a whole number from 1 "
                         f"to the profile's {held}")
    return study
