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
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from book import claims_pages, data_files, drawings, every_number, manifest, provenance  # noqa: E402
from book.finish import finish  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
FILES = "files"  # what is copied beside the finished pages
FOOT = "Data and provenance"
LINKS = (("issues", "Report a mistake", "fa-solid fa-circle-exclamation"),
         ("pdf", "The whole book as PDF", "fa-solid fa-file-pdf"),
         ("doi", "DOI", "fa-solid fa-quote-right"))
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


def with_foot(name: str, executed: Path, words: list[str], source: Path,
              where: dict[str, str]) -> nbformat.NotebookNode:
    """A notebook with the outputs of its execution, its code folded, its tables as files and a
    last section that says where they lie and when and from what the chapter was executed."""
    from neuronpath_core.runs.outputs import with_outputs

    page = with_outputs(nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4),
                        nbformat.read(executed, 4))
    fold(page)
    files = data_files.take_tables(page, name)
    data_files.write_files(files, source / FILES / "notebooks")
    foot = provenance.of_chapter(ROOT, name, page, files, words, where)
    page.cells.append(nbformat.v4.new_markdown_cell(
        f"## {FOOT}\n\n```{{raw}} html\n{foot}\n```", id="executed"))
    return page


def fold(page: nbformat.NotebookNode) -> None:
    """Fold the code of every cell, those that glue the text's numbers too, and carry its
    identifier to the page."""
    for cell in page.cells:
        if cell.cell_type != "code":
            continue
        tags = [tag for tag in cell.metadata.get("tags", []) if tag != "hide-input"]
        if "remove-cell" in tags and any(
                "scrapbook" in output.get("metadata", {}) for output in cell.outputs):
            tags = [tag for tag in tags if tag != "remove-cell"] + ["numbers"]
            cell.metadata["mystnb"] = cell.metadata.get("mystnb", {}) | {
                "code_prompt_show": "Show code of the numbers in the text",
                "code_prompt_hide": "Hide code of the numbers in the text"}
        elif "parameters" in tags:
            cell.metadata["mystnb"] = cell.metadata.get("mystnb", {}) | {
                "code_prompt_show": "Show parameters", "code_prompt_hide": "Hide parameters"}
        cell.metadata["tags"] = [*tags, "hide-input", f"cell-{cell.id}"]


def stage(chapters: Iterator[tuple[str, Path, list[str]]], source: Path) -> None:
    """Lay out the book's sources afresh, with the given chapters."""
    from neuronpath_core import __version__

    where = provenance.addresses(ROOT / "book" / "addresses.yml")
    shutil.rmtree(source, ignore_errors=True)
    (source / "notebooks").mkdir(parents=True)
    shutil.copytree(ROOT / "book", source / "book", ignore=shutil.ignore_patterns(
        "*.py", "__pycache__", "addresses.yml", "README.md"))
    pages = {name: with_foot(name, executed, words, source, where)
             for name, executed, words in chapters}
    for name, page in pages.items():
        nbformat.write(page, source / "notebooks" / f"{name}.ipynb")
    fill_in_claims(source)
    executed = {name: page.metadata.get("neuronpath", {}).get("executed", {}).get("date", "")
                for name, page in pages.items()}
    configuration = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8")) or {}
    with_buttons(configuration, where)
    (source / "_config.yml").write_text(yaml.safe_dump(configuration, sort_keys=False),
                                        encoding="utf-8")
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")) or {}
    texts = page_texts(toc, source, pages)
    for name, text in texts.items():
        if name not in executed and drawings.GLUED.search(text):
            try:
                texts[name] = drawings.glued(text, pages)
            except ValueError as error:
                sys.exit(f"book: {name}: {error}")
    if pages and toc.get("parts"):
        toc["parts"][-1]["chapters"].append({"file": every_number.PAGE})
        listed = every_number.page(texts, pages)
        (source / f"{every_number.PAGE}.md").write_text(listed, encoding="utf-8")
        texts[every_number.PAGE] = listed
    (source / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False), encoding="utf-8")
    for name, text in texts.items():
        path = source / f"{name}.md"
        if not path.is_file():
            continue
        foot = provenance.of_page(ROOT, text, executed, __version__, where)
        path.write_text(f"{text.rstrip()}\n\n```{{raw}} html\n{foot}\n```\n", encoding="utf-8")


def listed_pages(entry: dict | list) -> Iterator[str]:
    """The pages of a table of contents, in its order."""
    for each in entry if isinstance(entry, list) else [entry]:
        yield from (each[key] for key in ("root", "file") if key in each)
        for key in ("parts", "chapters", "sections"):
            yield from listed_pages(each.get(key, []))


def page_texts(toc: dict, source: Path,
               chapters: dict[str, nbformat.NotebookNode]) -> dict[str, str]:
    """What is written on every page of the book, without code and outputs."""
    texts = {}
    for name in listed_pages(toc):
        chapter, path = chapters.get(name.removeprefix("notebooks/")), source / f"{name}.md"
        if chapter is not None:
            texts[name] = "\n\n".join(cell.source for cell in chapter.cells
                                      if cell.cell_type == "markdown")
        elif path.is_file():
            texts[name] = path.read_text(encoding="utf-8")
    return texts


def with_buttons(configuration: dict, where: dict[str, str]) -> None:
    """Let the theme show a button for every address that the project has."""
    html = configuration.setdefault("html", {})
    if where["repository"]:
        html["use_repository_button"] = True
        configuration["repository"] = {"url": where["repository"],
                                       "branch": where["branch"] or "main"}
        launch = {"binderhub_url": where["binder"], "colab_url": where["colab"]}
        configuration["launch_buttons"] = {key: value for key, value in launch.items() if value}
    icons = [{"name": words, "url": where[name], "icon": icon}
             for name, words, icon in LINKS if where[name]]
    if icons:
        sphinx = configuration.setdefault("sphinx", {}).setdefault("config", {})
        sphinx.setdefault("html_theme_options", {})["icon_links"] = icons


def fill_in_claims(source: Path) -> None:
    """The pages' rows, cards and numbers that are made from the chapters' claims."""
    try:
        claims_pages.write(source)
    except claims_pages.Refused as error:
        sys.exit(f"book: {error}")


def build(source: Path, html: Path) -> None:
    """Sphinx, with every warning an error; earlier pages stay until the new ones are whole."""
    from neuronpath_core.figures.explore.page import take_out_networks

    command = [Path(sys.executable).with_name("jupyter-book"), "build", str(source), "--all", "-n",
               "-W", "--keep-going", "--quiet"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          encoding="utf-8", errors="replace")
    if done.returncode:
        sys.exit(f"{done.stdout}\nbook: the build failed; its sources are in {source}")
    pages = source / "_build" / "html"
    if (source / FILES).is_dir():
        shutil.copytree(source / FILES, pages, dirs_exist_ok=True)
    take_out_networks(pages)
    finish(pages, provenance.addresses(ROOT / "book" / "addresses.yml"))
    manifest.write_built(pages)
    shutil.rmtree(html, ignore_errors=True)
    shutil.move(pages, html)


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
