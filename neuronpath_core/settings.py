"""The settings of a search, as one record with named presets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any, Literal

import torch

from neuronpath_core.fast.contexts import Context, resolve_context
from neuronpath_core.fast.drafts import DRAFTS
from neuronpath_core.quadrature import Quadrature, check_quadrature
from neuronpath_core.scores import METHODS
from neuronpath_core.support.numbers import check_whole
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel
from neuronpath_core.variants.conditional_gradient import Question, budget_and_question

Search = Literal["joint", "literal", "beam"]
SEARCHES = ("joint", "literal", "beam")
PUBLISHED_STEPS = 20
OF_THE_SETTINGS = "of the settings"  # told from the same text by being this very object
DEFAULT_WIDTH = 4
GAUSS_STEPS = {"full": 3, "frozen": 4, "mixed": 4}
# Gauss-Legendre nodes block by block, the last for all that follow: while the first block's neurons
# fade out together F may change abruptly, with those of later blocks it changes smoothly. These few
# find at least as many of the converged integral's neurons and paths as the published rule on every
# trained model (benchmarks/agreement.json).
STEPS_BY_BLOCK = {"full": [12, 6, 4, 2], "frozen": [8, 4], "mixed": [8, 4]}
EXACT_BY_BLOCK = [6, 4, 2, 1]
# More nodes change no path of 200 images of the hardest of the trained models.
CONVERGED_BY_BLOCK = [32, 16, 8, 4]
RECOMMENDED = "conditional_gradient"  # what the method "recommended" stands for
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "published": {"method": "neuron_path", "search": "joint", "context": "full",
                  "quadrature": "left", "steps": PUBLISHED_STEPS, "nodes": None, "draft": None},
    "converged": {"context": "full", "quadrature": "gauss-legendre", "steps": CONVERGED_BY_BLOCK,
                  "nodes": None},
}
_check_count = partial(check_whole, of=int)  # settings are written into files, numpy's are not


@dataclass(frozen=True)
class SearchSettings:
    """What :func:`~neuronpath_core.paths.find_paths` searches by, and how closely.

    Three presets have names, and single settings override them:

    * ``"published"``, the procedure of the paper's code: full context, 20 left nodes, no draft;
    * ``"default"``, paths closer to those of the converged integral for less work: mixed context
      where the model allows it, Gauss-Legendre nodes by block;
    * ``"converged"``, full context with so many nodes that more change no path.

    Any other combination is just as valid; ``repr`` prints every setting.

    Attributes:
        method: a key of ``npc.METHODS``: ``"neuron_path"``, the search by Joint Attribution Score;
            ``"complete"``, the same search by complete attribution; ``"conditional_gradient"``, the
            largest effect of removal by few gradients of edited models, which ``"recommended"``
            stands for; ``"ablation"``, search by effect; per block the largest ``"knowledge"``
            attribution, ``"gradient_activation"`` or ``"conductance"``; ``"activation"``,
            ``"influence_pattern"`` (as published), ``"influence_pattern_eq9"``, ``"random"``;
            ``"matched_random"``, random neurons of about the activation of the ``"neuron_path"``.
        search: for methods that search: ``"joint"``, the published relaxation; ``"literal"``,
            Algorithm 1, n times dearer; ``"beam"``, several partial paths at once, for a score at
            least as high.
        context: for the same methods: ``"full"``, every token runs natively; ``"frozen"``, only
            the class token moves, the others keep their clean keys and values; ``"mixed"``, the
            frozen integrand corrected by the exact one at ``exact_steps`` nodes; ``"auto"``, mixed
            where the model classifies from its class token and consists of timm's plain blocks,
            else full.
        quadrature: the rule of all integrals, those of the score included.
        steps: steps of the rule. A list gives them block by block; its last entry holds for all
            later blocks. ``None`` takes 20 of ``"left"``, ``"right"`` and ``"midpoint"``, and of
            ``"gauss-legendre"`` 12, 6, 4 and 2 in full context, else 8 and 4. ``"auto"`` adds
            steps, image by image, until two rules in a row give the same path. The score is by the
            rule of the last block. Methods that do not search take one number, 3 or 4 by default.
        nodes: evaluate the rule's own sum at so many places only, see
            :func:`~neuronpath_core.quadrature.quadrature_rule`. This is for integrals along paths:
            between the zero image and the image, and in ``"knowledge"``, all nodes are evaluated.
        exact_steps: see ``context``; several as for ``steps``; ``None`` for 6, 4, 2 and 1.
        draft: ``"float32"`` searches a model in double precision in single precision first, and
            makes choices that rounding could turn, and what follows from them, again in double.
            The neurons are those of double precision (of several in a block the order may differ);
            scores have the draft's accuracy, about six digits. It has no effect on a model in less
            than double precision or with hooks.
        top: neurons per block, best first, all of them scaled together; ``None`` for one.
        width: partial paths that ``"beam"`` keeps.
        seed: of ``"random"`` and ``"matched_random"``.
        budget: of ``"conditional_gradient"``: how many gradients of the whole model an image may
            take, 1 at least. ``None`` for 3.
        question: of the same method: what the path's edit is, ``"remove"``, ``"enhance"`` (every
            neuron doubled) or ``"keep"`` (every other neuron removed). ``None`` for ``"remove"``.
    """

    method: str = "neuron_path"
    search: Search = "joint"
    context: Context = "auto"
    quadrature: Quadrature = "gauss-legendre"
    steps: int | Sequence[int] | Literal["auto"] | None = None
    nodes: int | None = None
    exact_steps: int | Sequence[int] | None = None
    draft: str | None = None
    top: int | None = None
    width: int = DEFAULT_WIDTH
    seed: int = 0
    budget: int | None = None
    question: Question | None = None

    @classmethod
    def of(cls, settings: str | SearchSettings | Mapping[str, Any] = "default",
           **overrides: Any) -> SearchSettings:
        """A preset by its name, or settings as they are, with single ones overridden.

        Raises:
            ValueError: a preset or a setting that does not exist.
        """
        if isinstance(settings, str) and settings in PRESETS:
            settings = PRESETS[settings]
        elif isinstance(settings, SearchSettings):
            settings = asdict(settings)
        elif not isinstance(settings, Mapping):
            what = "unknown settings" if isinstance(settings, str) else "settings cannot be"
            raise ValueError(f"{what} {shown(settings)}; accepted: {', '.join(PRESETS)}, "
                             "SearchSettings, or a mapping of settings")
        wanted, known = {**settings, **overrides}, [field.name for field in fields(cls)]
        if unknown := set(wanted) - set(known):
            raise ValueError(f"unknown settings {', '.join(sorted(map(str, unknown)))}; accepted: "
                             f"{', '.join(known)}")
        if wanted.get("method") == "recommended":
            wanted["method"] = RECOMMENDED
        return cls(**wanted)

    def but(self, **changed: Any) -> SearchSettings:
        """The same with some settings changed."""
        return replace(self, **changed)

    def as_dict(self) -> dict[str, Any]:
        """Every setting by its name."""
        return asdict(self)

    def complete(self, target: TargetModel) -> SearchSettings:
        """The same with nothing left open, as this model is searched.

        Raises:
            ValueError: the first setting that does not fit; the message says what is accepted.
        """
        _check_names(self, target)
        context = resolve_context(target, self.context)
        if self.draft is not None and not is_one_of(self.draft, DRAFTS):
            raise ValueError(f"unknown draft {shown(self.draft)}; accepted: None, "
                             f"{', '.join(DRAFTS)}")
        exact = EXACT_BY_BLOCK if self.exact_steps is None else self.exact_steps
        draft = self.draft if target.dtype == torch.float64 else None
        budget, question = _of_the_recommended(self)
        whole = self.but(context=context, budget=budget, question=question, draft=draft,
                         steps=_steps(self, target, context),
                         exact_steps=by_block(target, "exact_steps", exact))
        _check_count("width", self.width, 1, max(target.n_neurons, DEFAULT_WIDTH))
        _check_count("seed", self.seed, 0)
        if self.top is not None:
            _check_count("top", self.top, 1, target.fewest_neurons)
            if self.search == "beam" and self.top != 1:
                raise ValueError(f"top must be None or 1 for search 'beam', which keeps one neuron "
                                 f"a block, got {shown(self.top)}")
        return whole

    @property
    def count(self) -> int:
        """Neurons per block."""
        return 1 if self.top is None else self.top

    @property
    def one_rule(self) -> int:
        """The steps of what takes one rule for all blocks: of steps by block the most, for
        ``"auto"`` the published number."""
        if self.steps == "auto":
            return PUBLISHED_STEPS
        return max(self.steps) if isinstance(self.steps, (list, tuple)) else self.steps

    @property
    def last_rule(self) -> int:
        """The steps at the last block, which the score is by."""
        return self.steps if isinstance(self.steps, int) else self.steps[-1]


def _of_the_recommended(settings: SearchSettings) -> tuple[int | None, Question | None]:
    """The budget and the question, which one method alone has."""
    given = {"budget": settings.budget, "question": settings.question}
    if settings.method != RECOMMENDED:
        for name, value in given.items():
            if value is not None:
                raise ValueError(f"{name} is for methods 'recommended' and {RECOMMENDED!r}, got "
                                 f"{shown(value)} for {settings.method!r}; accepted: None")
        return None, None
    return budget_and_question(settings.budget, settings.question)


def _check_names(settings: SearchSettings, target: TargetModel) -> None:
    for name, accepted in (("method", METHODS), ("search", SEARCHES)):
        if not is_one_of(getattr(settings, name), accepted):
            raise ValueError(f"unknown {name} {shown(getattr(settings, name))}; accepted: "
                             f"{', '.join(accepted)}")
    if METHODS[settings.method].single_neurons and not all(layer.single for layer in target.layers):
        accepted = ", ".join(key for key, method in METHODS.items() if not method.single_neurons)
        raise ValueError(f"method {shown(settings.method)} ranks single neurons, the sites are "
                         f"{shown(target.sites)}; accepted: {accepted}")


def _steps(settings: SearchSettings, target: TargetModel, context: str) -> int | list[int] | str:
    """The steps as they are searched by."""
    steps, method = settings.steps, METHODS[settings.method]
    if steps is None and settings.quadrature == "gauss-legendre":
        searched = method.with_search and settings.nodes is None
        steps = STEPS_BY_BLOCK[context] if searched else GAUSS_STEPS[context]
    elif steps is None:
        steps = PUBLISHED_STEPS
    if isinstance(steps, str):
        if steps != "auto" or not method.searched or settings.nodes is not None:
            names = " and ".join(repr(key) for key, each in METHODS.items() if each.searched)
            raise ValueError(f"steps must be a whole number of at least 1, or 'auto' for methods "
                             f"{names} without nodes, got {shown(steps)}")
        check_quadrature(settings.quadrature, 1)
    elif isinstance(steps, (list, tuple)):
        if not method.with_search or settings.nodes is not None:
            names = ", ".join(repr(key) for key, each in METHODS.items() if each.with_search)
            raise ValueError(f"steps by block are for methods {names} without nodes; accepted "
                             f"here: a whole number of at least 1, got {shown(steps)}")
        check_quadrature(settings.quadrature, 1)
        steps = by_block(target, "steps", steps)
    else:
        check_quadrature(settings.quadrature, steps, settings.nodes)
    return steps


def by_block(target: TargetModel, name: str, value: object) -> int | list[int]:
    """Numbers of nodes block by block, without those of blocks that the model does not have."""
    if isinstance(value, (list, tuple)) and value and all(
            isinstance(each, int) and not isinstance(each, bool) and each >= 1 for each in value):
        return list(value[:target.n_blocks])
    _check_count(name, value, 1, or_else=", or several of them, for one block after the other")
    return value
