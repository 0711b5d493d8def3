"""Draw the figure of the page *Use it on your model* from the default profile.

    python book/use_it_figure.py [FILE]

Three digits of three classes and their paths in tiny-B-16, by the same call as on the page.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import neuronpath_core as npc
from neuronpath_core import figures

FILE = Path(__file__).resolve().parent / "_static" / "image_paths.svg"
MODEL, CLASSES = "tiny-B-16", [0, 3, 8]


def draw(file: Path) -> None:
    """Find the paths afresh and write the figure, and beside it the one for narrow screens; the
    same bytes every time."""
    with tempfile.TemporaryDirectory() as results:
        study = npc.Study(results=results)
        images = study.images(10).select(CLASSES)  # one of each class, in their order
        paths = study.paths(MODEL, images)
        # text stays text, and nothing in the file tells when it was written
        with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "neuronpath"}):
            # as book/drawings.py looks for it
            below = file.with_name(f"{file.stem}_narrow{file.suffix}")
            for narrow, place in ((False, file), (True, below)):
                figures.image_paths(study.target(MODEL), images, paths.neurons, narrow).savefig(
                    place, metadata={"Date": None})


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else FILE)
