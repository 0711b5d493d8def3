"""An explanation as a file, there whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuronpath_core.explanations.page import page
from neuronpath_core.support.files import own_path, write_atomically
from neuronpath_core.support.text import as_utf8, plain

if TYPE_CHECKING:
    from neuronpath_core.explanations.explanation import Explanation

FORMAT, VERSION = "neuronpath explanation", 1
DPI = 150


def as_json(explanation: Explanation) -> dict:
    """Everything but the pixels, as plain values: classes that are shown, the path with its maps,
    settings and notes."""
    rows = explanation.to_frame().to_dict("records")
    classes = [{"class": index, "name": explanation.class_names[index],
                "probability": float(explanation.probabilities[index]),
                "removed": float(explanation.removed[index]),
                "doubled": float(explanation.doubled[index])}
               for index in explanation.shown_classes()]
    return {"format": FORMAT, "version": VERSION, "picture": explanation.picture,
            "model": explanation.model, "label": explanation.label,
            "label_name": explanation.label_name, "scope": explanation.scope,
            "score": explanation.score, "classes": classes,
            "control": explanation.control.tolist(),
            "path": [{**row, "map": values} for row, values in zip(
                rows, explanation.maps.tolist(), strict=True)],
            "settings": asdict(explanation.settings), "notes": list(explanation.notes)}


def _html(explanation: Explanation, path: Path) -> None:
    path.write_text(page(explanation), encoding="utf-8")


def _json(explanation: Explanation, path: Path) -> None:
    path.write_text(json.dumps(as_json(explanation), ensure_ascii=False, indent=1),
                    encoding="utf-8")


def _csv(explanation: Explanation, path: Path) -> None:
    explanation.to_frame().to_csv(path, index=False, encoding="utf-8")


def _png(explanation: Explanation, path: Path) -> None:
    explanation.plot().savefig(path, format="png", dpi=DPI)


def _svg(explanation: Explanation, path: Path) -> None:
    path.write_text(explanation.plot()._repr_svg_(), encoding="utf-8")


WRITERS: dict[str, Callable[[Explanation, Path], None]] = {
    ".html": _html, ".png": _png, ".svg": _svg, ".csv": _csv, ".json": _json}


def save(explanation: Explanation, path: str | Path) -> Path:
    """See :meth:`~neuronpath_core.explanations.explanation.Explanation.save`."""
    return save_as(explanation, path, WRITERS)


def save_as(what: Any, path: str | Path,
            writers: Mapping[str, Callable[[Any, Path], object]]) -> Path:
    """Write something by the writer of the file's ending.

    Raises:
        ValueError: an ending without a writer, or a folder that cannot be written to.
    """
    path = own_path(path)
    write = writers.get(path.suffix.lower())
    if write is None:
        raise ValueError(f"file {plain(as_utf8(path.name))} has an ending that nothing writes; "
                         f"accepted: {', '.join(writers)}")
    keep(path, lambda file: write(what, file))
    return path


def keep(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file, which is there whole or not at all; ``ValueError`` where the
    folder cannot be written to."""
    try:
        write_atomically(path, write)
    except OSError as error:
        raise ValueError(f"{plain(as_utf8(str(path)))} cannot be written "
                         f"({error.strerror or error}); accepted: a file in a folder with write "
                         "permission and room") from error
