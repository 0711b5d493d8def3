"""Build the book of a profile from the notebooks that were last executed with it.

    python book/build.py [--profile digits]

Chapters that have not been executed here are shown from their stored outputs, if those are made
from code, weights and parameters of this checkout; the foot of every chapter says when and on what
it was executed.  Pages, configuration and notebooks are brought together in
``_build/<profile>/source``, because pages take their numbers from the notebooks beside them; the
finished pages are in ``_build/<profile>/html``.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
CHECKED = ("Code, weights, parameters and versions of packages are those of this checkout, which "
           "was checked by their hash when the page was built.")
STORED = "The page shows stored outputs; `make book ALL=1` executes it again."
OTHER = ("This chapter lacks something with profile {profile}: {reason}. The page shows stored "
         "outputs of the default profile.")


def given(folder: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """Every chapter's name, executed notebook and words for its foot, of a folder whose notebooks
    are shown as they are."""
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        if not (folder / path.name).is_file():
            refuse(path.stem, folder)
        yield path.stem, folder / path.name, []


def checked(profile: str) -> Iterator[tuple[str, Path, list[str]]]:
    """The same of what was executed with a profile, and of stored outputs, both only if they are
    made from what there is now."""
    from neuronpath_core.runs.choice import not_run, notebook_names
    from neuronpath_core.runs.notebooks import plan
    from neuronpath_core.study.profiles import load_profile, results_folder

    results = results_folder(ROOT, profile)
    runs = {run.notebook: run for run in plan(ROOT, profile, [], {}, results)}
    lacking = not_run(ROOT, load_profile(profile, ROOT))
    for name in notebook_names(ROOT):
        stored = ROOT / "notebooks" / f"{name}.ipynb"
        if name in lacking:
            yield name, stored, [OTHER.format(profile=profile, reason=lacking[name])]
        elif runs[name].is_current:
            yield name, runs[name].output, [CHECKED]
        elif runs[name].is_stored:
            yield name, stored, [CHECKED, STORED]
        else:
            refuse(name, results / "notebooks")


def refuse(name: str, folder: Path) -> None:
    """End with a message that says what to do."""
    sys.exit(f"book: {name} has not been executed as it is now; run 'neuronpath run' first "
             f"(looked in {folder})")


def with_foot(notebook: Path, executed: Path, words: list[str]) -> nbformat.NotebookNode:
    """A notebook with the outputs of its execution and a last cell that says of when they are."""
    from neuronpath_core.runs.outputs import with_outputs

    page = with_outputs(nbformat.read(notebook, 4), nbformat.read(executed, 4))
    made = page.metadata.get("neuronpath", {}).get("executed")
    if made:
        words = [f"Executed on {made['date']} in {made['seconds']} s: {made['device']}, Python "
                 f"{made['python']}, PyTorch {made['torch']}, timm {made['timm']}.", *words]
    if words:
        page.cells.append(nbformat.v4.new_markdown_cell(
            "```{admonition} When and on what\n" + " ".join(words) + "\n```", id="executed"))
    return page


def stage(chapters: Iterator[tuple[str, Path, list[str]]], source: Path) -> None:
    """Lay out the book's sources afresh, with the given chapters."""
    shutil.rmtree(source, ignore_errors=True)
    (source / "notebooks").mkdir(parents=True)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "book", source / "book",
                    ignore=shutil.ignore_patterns("build.py", "__pycache__"))
    for name, executed, words in chapters:
        page = with_foot(ROOT / "notebooks" / f"{name}.ipynb", executed, words)
        nbformat.write(page, source / "notebooks" / f"{name}.ipynb")
    fill_in_claims(source)


def fill_in_claims(source: Path) -> None:
    """The pages' rows, cards and numbers that are made from the chapters' claims."""
    sys.path.insert(0, str(ROOT))
    from book import claims_pages

    try:
        claims_pages.write(source)
    except claims_pages.Refused as error:
        sys.exit(f"book: {error}")


def build(source: Path, html: Path) -> None:
    """Sphinx, with every warning an error; earlier pages stay until the new ones are whole."""
    command = [Path(sys.executable).with_name("jupyter-book"), "build", str(source), "--all", "-n",
               "-W", "--keep-going", "--quiet"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          encoding="utf-8", errors="replace")
    if done.returncode:
        sys.exit(f"{done.stdout}\nbook: the build failed; its sources are in {source}")
    shutil.rmtree(html, ignore_errors=True)
    shutil.move(source / "_build" / "html", html)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="digits")
    parser.add_argument("--notebooks", type=Path,
                        help="folder of executed notebooks to be shown as they are (default: "
                             "results of the profile, and stored outputs that are current)")
    parser.add_argument("--out", type=Path,
                        help="where the book is built (default: _build/<profile>)")
    arguments = parser.parse_args()
    out = (arguments.out or ROOT / "_build" / arguments.profile).resolve()
    chapters = given(arguments.notebooks.resolve()) if arguments.notebooks else checked(
        arguments.profile)
    stage(chapters, out / "source")
    build(out / "source", out / "html")
    print(f"the book is at {out / 'html' / 'index.html'}")


if __name__ == "__main__":
    main()
