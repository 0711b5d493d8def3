"""Draw the figure of the page *Use it on your model*, and write what ``neuronpath explain`` prints.

    python book/use_it_figure.py [FOLDER]

Three digits of three classes of the default profile and their paths in tiny-B-16, by the same call
as on the page; and one of them explained.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import neuronpath_core as npc  # noqa: E402
from book.drawings import CLIP, narrow_file  # noqa: E402
from neuronpath_core import figures  # noqa: E402

FILE = Path(__file__).resolve().parent / "_static" / "image_paths.svg"
EXPLAINED = FILE.with_name("explained.txt")
MODEL, CLASSES = "tiny-B-16", [0, 3, 8]


def write(folder: Path) -> None:
    """Find the paths afresh and write the figure, beside it the one for narrow screens, and the
    explanation; the same bytes every time."""
    with tempfile.TemporaryDirectory() as results:
        study = npc.Study(results=results)
        target = study.target(MODEL)
        images = study.images(10).select(CLASSES)  # one of each class, in their order
        paths = npc.find_paths(target, images.images, images.labels, "recommended")
    file = folder / FILE.name
    for narrow, place in ((False, file), (True, narrow_file(file))):
        drawn = figures.image_paths(target, images, paths.neurons, narrow)
        place.write_text(f"{numbered(drawn._repr_svg_())}\n", encoding="utf-8")
    told = npc.explain(target, images.images[1], class_names=images.class_names, model_name=MODEL)
    (folder / EXPLAINED.name).write_text(f"{told}\n", encoding="utf-8")


def numbered(svg: str) -> str:
    """A drawing whose clipping paths are named by their order, not anew each time."""
    names = {name: f"clip-{number}" for number, name in enumerate(dict.fromkeys(CLIP.findall(svg)))}
    return CLIP.sub(lambda found: names[found[0]], svg)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FILE.parent)
