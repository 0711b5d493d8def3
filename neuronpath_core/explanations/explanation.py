"""What was measured of one picture, and the forms that it is looked at in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from neuronpath_core.support.text import is_one_of, plain, shown

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float, Int64, UInt8
    from matplotlib.figure import Figure

    from neuronpath_core.settings import SearchSettings

Table = Literal["path", "classes", "maps"]
TABLES = ("path", "classes", "maps")
SHOWN_CLASSES = 5


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """One picture, what the model says of it, its path, and what the path does.

    Printed it is a table; in a notebook it is a page.

    Attributes:
        picture: what the picture is called.
        pixels: what the model is given of it, for the eye.
        model: what the model is called.
        label: the class whose probability is explained.
        class_names: of all classes, as they are written.
        probabilities, removed, doubled: softmax of all classes, of the model as it is, with the
            path's neurons set to zero, and with them doubled, float64.
        control: the label's probability with other paths set to zero, whose neurons were drawn
            among those that are about as active.
        path: the path's table, a row for each block and rank: ``block, rank, neuron, activation,
            attribution``, of :func:`~neuronpath_core.frames.path_frame`, whose words hold for them.
        maps: activation of each row's neuron at every patch token, float64; no unit.
        patch: height and width of a patch, in pixels.
        scope: ``"cls"`` or ``"patch"``, where the path is read and edited.
        score: joint attribution score of the path.
        settings: what it was found with.
        notes: sentences about this picture and model that a reader needs.
    """

    picture: str
    pixels: UInt8[np.ndarray, "height width ..."]
    model: str
    label: int
    class_names: tuple[str, ...]
    probabilities: Float[np.ndarray, "class"]
    removed: Float[np.ndarray, "class"]
    doubled: Float[np.ndarray, "class"]
    control: Float[np.ndarray, "draw"]
    path: pd.DataFrame
    maps: Float[np.ndarray, "row down across"]
    patch: tuple[int, int]
    scope: str
    score: float
    settings: SearchSettings
    notes: tuple[str, ...] = ()

    @property
    def label_name(self) -> str:
        """What the explained class is called."""
        return self.class_names[self.label]

    @property
    def neurons(self) -> Int64[np.ndarray, "layer rank"]:
        """The path, blocks in order, best first."""
        return self.path["neuron"].to_numpy(np.int64, copy=True).reshape(
            self.path["block"].nunique(), -1)

    def shown_classes(self, count: int = SHOWN_CLASSES) -> list[int]:
        """The most probable classes, most probable first, and then, where they are not among them,
        the label and the most probable class of the edited models."""
        order = np.argsort(-self.probabilities, kind="stable")[:count].tolist()
        others = (self.label, int(self.removed.argmax()), int(self.doubled.argmax()))
        return list(dict.fromkeys([*order, *others]))

    def to_frame(self, table: Table = "path") -> pd.DataFrame:
        """One of three tidy tables.

        Args:
            table: ``"path"``: a row for each neuron, ``block, rank, neuron, activation,
                attribution, peak, row, column``: the largest activation at a patch token, and where
                that is; blocks, ranks, rows and columns count from 1. ``"classes"``: every class,
                most probable first, ``class, name, probability, removed, doubled``. ``"maps"``:
                every neuron at every patch, ``block, rank, neuron, row, column, activation``.

        Raises:
            ValueError: another table.
        """
        import pandas as pd

        if not is_one_of(table, TABLES):
            raise ValueError(f"a table cannot be {shown(table)}; accepted: {', '.join(TABLES)}")
        rows, down, across = self.maps.shape
        if table == "path":
            places = self.maps.reshape(rows, -1).argmax(1)
            return self.path.assign(peak=self.maps.reshape(rows, -1).max(1),
                                    row=places // across + 1, column=places % across + 1)
        if table == "classes":
            order = np.argsort(-self.probabilities, kind="stable")
            return pd.DataFrame({"class": order, "name": [self.class_names[each] for each in order],
                                 "probability": self.probabilities[order],
                                 "removed": self.removed[order], "doubled": self.doubled[order]})
        of_path = {name: np.repeat(self.path[name].to_numpy(), down * across)
                   for name in ("block", "rank", "neuron")}
        return pd.DataFrame({**of_path,
                             "row": np.tile(np.repeat(np.arange(1, down + 1), across), rows),
                             "column": np.tile(np.arange(1, across + 1), rows * down),
                             "activation": self.maps.ravel()})

    def plot(self) -> Figure:
        """The figure: see :func:`~neuronpath_core.figures.explanation.explanation_figure`."""
        from neuronpath_core.explanations.words import finding
        from neuronpath_core.figures.explanation import explanation_figure

        return explanation_figure(self, finding=finding(self))

    def save(self, path: str | Path) -> Path:
        """Write a file, by its ending ``.html`` (a page that asks for nothing else), ``.png``,
        ``.svg``, ``.csv`` (the path's table) or ``.json`` (everything but the pixels).

        The file is there whole or not at all; another of that name is replaced.

        Returns:
            where it is.

        Raises:
            ValueError: another ending, or a folder that cannot be written to.
        """
        from neuronpath_core.explanations.files import save

        return save(self, path)

    def _repr_html_(self) -> str:
        from neuronpath_core.explanations.page import fragment

        return fragment(self)

    def __str__(self) -> str:
        from neuronpath_core.explanations.words import as_text

        return as_text(self)

    def __repr__(self) -> str:
        values = [float(each[self.label]) for each in (self.probabilities, self.removed,
                                                       self.doubled)]
        return (f"Explanation({plain(self.picture)}: {plain(self.label_name)} {values[0]:.4f}, "
                f"path removed {values[1]:.4f}, doubled {values[2]:.4f}; "
                f"{len(self.path)} neurons by {self.settings.method})")
