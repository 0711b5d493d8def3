"""Build the book of a profile from the notebooks that were last executed with it.

    python book/build.py [--profile digits]

Pages, configuration and executed notebooks are brought together in ``_build/<profile>/source``,
because pages take their numbers from the notebooks beside them; the finished pages are in
``_build/<profile>/html``.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def stage(notebooks: Path, source: Path) -> None:
    """Lay out the book's sources afresh, with the given folder's notebooks."""
    shutil.rmtree(source, ignore_errors=True)
    (source / "notebooks").mkdir(parents=True)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "book", source / "book",
                    ignore=shutil.ignore_patterns("build.py", "__pycache__"))
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        executed = notebooks / path.name
        if not executed.is_file():
            sys.exit(f"book: {path.stem} has not been executed; run 'neuronpath run' first "
                     f"(looked in {notebooks})")
        shutil.copy(executed, source / "notebooks")


def build(source: Path, html: Path) -> None:
    """Sphinx, with every warning an error; earlier pages stay until the new ones are whole."""
    command = [Path(sys.executable).with_name("jupyter-book"), "build", str(source), "--all", "-n",
               "-W", "--keep-going", "--quiet"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout}\nbook: the build failed; its sources are in {source}")
    shutil.rmtree(html, ignore_errors=True)
    shutil.move(source / "_build" / "html", html)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="digits")
    parser.add_argument("--notebooks", type=Path,
                        help="folder of executed notebooks (default: results/<profile>/notebooks)")
    parser.add_argument("--out", type=Path,
                        help="where the book is built (default: _build/<profile>)")
    arguments = parser.parse_args()
    out = (arguments.out or ROOT / "_build" / arguments.profile).resolve()
    stage((arguments.notebooks or ROOT / "results" / arguments.profile / "notebooks").resolve(),
          out / "source")
    build(out / "source", out / "html")
    print(f"the book is at {out / 'html' / 'index.html'}")


if __name__ == "__main__":
    main()
