"""The book in NeuroLibre's layout: what it builds from, and what it may take there.

    python book/neurolibre.py --source _build/digits/source --out _build/neurolibre

NeuroLibre builds a repository with ``binder/`` (packages and data) and ``content/`` (pages,
notebooks, ``_config.yml``, ``_toc.yml``) on 2 cores with 7.5 GB within 8 hours, and executes every
notebook as it does so.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import nbformat
import yaml

from neuronpath_core.runs.choice import notebook_names

ROOT = Path(__file__).resolve().parents[1]
HOURS, CORES, GIGABYTES = 8, 2, 7.5
FILES = "files"  # of the sources: what the build copies beside the finished pages
NEEDED = ("neuronpath_core", "profiles", "data", "benchmarks", "pyproject.toml", "constraints.txt",
          "README.md", "LICENSE")


def seconds(source: Path) -> dict[str, int]:
    """What every chapter took when it was executed, on the machine that its page names."""
    return {name: nbformat.read(source / "notebooks" / f"{name}.ipynb",
                                4).metadata["neuronpath"]["executed"]["seconds"]
            for name in notebook_names(source)}


def check_limits(took: dict[str, int]) -> None:
    """Refuse a book that NeuroLibre would not finish."""
    hours = sum(took.values()) / 3600
    if hours > HOURS:
        raise ValueError(f"the chapters take {hours:.1f} h together; accepted: at most {HOURS} h, "
                         f"on {CORES} cores with {GIGABYTES} GB")


def executing(configuration: dict) -> dict:
    """The book's configuration, but every notebook is executed, however long a cell takes, and the
    tables' files are put beside the pages by Sphinx."""
    sphinx = configuration["sphinx"]
    return configuration | {
        "execute": configuration["execute"] | {"execute_notebooks": "force", "timeout": -1},
        "sphinx": sphinx | {"config": sphinx["config"] | {"html_extra_path": [FILES]}}}


def lay_out(source: Path, out: Path) -> None:
    """Write the layout: pages as they were staged for the book, and what they are computed with."""
    check_limits(seconds(source))
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(source, out / "content", ignore=shutil.ignore_patterns("_build"))
    path = out / "content" / "_config.yml"
    path.write_text(yaml.safe_dump(executing(yaml.safe_load(path.read_text(encoding="utf-8"))),
                                   sort_keys=False), encoding="utf-8")
    for name in NEEDED:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, out / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, out / name)
    (out / "binder").mkdir()
    (out / "binder" / "requirements.txt").write_text(
        "-c ../constraints.txt\n-e .[book]\n", encoding="utf-8")
    (out / "binder" / "runtime.txt").write_text("python-3.11\n", encoding="utf-8")
    # images come with scikit-learn or are drawn, weights lie in data/: nothing is fetched
    (out / "binder" / "data_requirement.json").write_text(
        json.dumps({"src": "", "dst": "", "projectName": "neuron-paths"}) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="sources of a built book")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    if not (arguments.source / "_toc.yml").is_file():
        sys.exit(f"book: no sources in {arguments.source}; accepted: the source folder of a book "
                 f"built by book/build.py")
    lay_out(arguments.source.resolve(), arguments.out.resolve())
    print(f"NeuroLibre's layout is at {arguments.out}")


if __name__ == "__main__":
    main()
