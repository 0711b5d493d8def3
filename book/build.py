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
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import nbformat
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from book import (  # noqa: E402
    by_sphinx,
    chapters,
    claims_pages,
    data_files,
    drawings,
    every_number,
    manifest,
    neuron_cards,
    provenance,
)
from book.finish import finish  # noqa: E402
from neuronpath_core.runs.absent import absent_images  # noqa: E402
from neuronpath_core.runs.choice import not_run, notebook_names  # noqa: E402
from neuronpath_core.stats import report  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
FILES = "files"  # what is copied beside the finished pages
FOOT = "Data and provenance"
LINKS = (("issues", "Report a mistake", "fa-solid fa-circle-exclamation"),
         ("pdf", "The whole book as PDF", "fa-solid fa-file-pdf"),
         ("doi", "DOI", "fa-solid fa-quote-right"))
CHECKED = ("Code, weights, parameters and versions of packages are those of this checkout, which "
           "was checked by their hash when the page was built.")
STORED = "The page shows stored outputs; `make book ALL=1` executes it again."
ABSENT = ("The page shows outputs that were stored before, because the images are not at hand to "
          "execute it again: {reason}.")
OTHER = ("This chapter lacks something with profile {profile}: {reason}. The page shows stored "
         "outputs of the default profile.")


def given(folder: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """Every chapter's name, executed notebook and words for its foot, of a folder whose notebooks
    are shown as they are."""
    for name in notebook_names(ROOT):
        executed = folder / f"{name}.ipynb"
        if not executed.is_file():
            refuse(name, folder)
        yield name, executed, []


def checked(profile: str) -> Iterator[tuple[str, Path, list[str]]]:
    """The same of what was executed with a profile, and of stored outputs, both only if they are
    made from what there is now."""
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
        elif reason := absent_images(ROOT, name, runs[name].parameters, profile):
            yield name, stored, [ABSENT.format(reason=reason)]
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
    typeset(page)
    files = data_files.take_tables(page, name)
    data_files.write_files(files, source / FILES / "notebooks")
    foot = provenance.of_chapter(ROOT, name, page, files, words, where)
    page.cells.append(nbformat.v4.new_markdown_cell(
        f"## {FOOT}\n\n```{{raw}} html\n{foot}\n```", id="executed"))
    return page


def fold(page: nbformat.NotebookNode) -> None:
    """Fold the code of every cell, those that glue the text's numbers too, and carry its
    identifier to the page."""
    glueing = {cell.id for _, cell, _ in chapters.glued(page)}
    for cell in page.cells:
        if cell.cell_type != "code":
            continue
        tags = [tag for tag in cell.metadata.get("tags", []) if tag != "hide-input"]
        if "remove-cell" in tags and cell.id in glueing:
            tags = [tag for tag in tags if tag != "remove-cell"] + ["numbers"]
            cell.metadata["mystnb"] = cell.metadata.get("mystnb", {}) | {
                "code_prompt_show": "Show code of the numbers in the text",
                "code_prompt_hide": "Hide code of the numbers in the text"}
        elif "parameters" in tags:
            cell.metadata["mystnb"] = cell.metadata.get("mystnb", {}) | {
                "code_prompt_show": "Show parameters", "code_prompt_hide": "Hide parameters"}
        cell.metadata["tags"] = [*tags, "hide-input", f"cell-{cell.id}"]


def typeset(page: nbformat.NotebookNode) -> None:
    """Minus signs, as typeset, in the numbers that a chapter glues into sentences, and no line
    break before a per cent sign."""
    kind = f"{chapters.RECORD}text/plain"
    for _, _, output in chapters.glued(page):
        if kind in output.data:
            output.data[kind] = report.typeset(output.data[kind])


def stage(shown: Iterator[tuple[str, Path, list[str]]], source: Path,
          where: dict[str, str]) -> None:
    """Lay out the book's sources afresh, with the given chapters and the project's addresses."""
    from neuronpath_core import __version__

    shutil.rmtree(source, ignore_errors=True)
    (source / "notebooks").mkdir(parents=True)
    shutil.copytree(ROOT / "book", source / "book", ignore=shutil.ignore_patterns(
        "*.py", "__pycache__", "addresses.yml", "README.md"))
    pages = {name: with_foot(name, executed, words, source, where)
             for name, executed, words in shown}
    for name, page in pages.items():
        nbformat.write(page, source / "notebooks" / f"{name}.ipynb")
        drawings.write_narrow(page, source / "book" / "_static")
    claimed = fill_in_claims(source, pages)
    executed = {name: page.metadata.get("neuronpath", {}).get("executed", {}).get("date", "")
                for name, page in pages.items()}
    configuration = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    with_buttons(configuration, where)
    (source / "_config.yml").write_text(yaml.safe_dump(configuration, sort_keys=False),
                                        encoding="utf-8")
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    texts = page_texts(toc, source, pages)
    made_by = {name: sources_of(name, text, claimed.get(name, ()), pages)
               for name, text in texts.items()}
    for name, text in texts.items():
        if name.removeprefix("notebooks/") not in pages:
            try:
                texts[name] = drawings.glued(provenance.with_times(text, pages), pages)
            except ValueError as error:
                sys.exit(f"book: {name}: {error}")
    if toc.get("parts"):
        toc["parts"][-1]["chapters"].append({"file": every_number.PAGE})
        made_by[every_number.PAGE] = set().union(*made_by.values())
        texts[every_number.PAGE] = every_number.page(texts, pages, claimed)
    (source / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False), encoding="utf-8")
    for name, text in texts.items():
        if name.removeprefix("notebooks/") in pages:
            continue
        days = {chapter: executed[chapter] for chapter in made_by[name]}
        foot = provenance.of_page(ROOT, days, __version__, where)
        (source / f"{name}.md").write_text(
            f"{text.rstrip()}\n\n```{{raw}} html\n{foot}\n```\n", encoding="utf-8")


def sources_of(page: str, text: str, claimed: Sequence[claims_pages.Shown],
               pages: Mapping[str, nbformat.NotebookNode]) -> set[str]:
    """The chapters whose numbers, figures and claims a page shows."""
    numbers = {name.partition(":")[0] for each in claimed for name in each.found.names}
    named = ({notebook for _, notebook, _ in every_number.uses(text, page)}
             | {chapter for chapter, _ in drawings.GLUED.findall(text)})
    return {name for name in pages if name in named or name.partition("_")[0] in numbers}


def listed_pages(entry: dict | list) -> Iterator[str]:
    """The pages of a table of contents, in its order."""
    for each in entry if isinstance(entry, list) else [entry]:
        yield from (each[key] for key in ("root", "file") if key in each)
        for key in ("parts", "chapters", "sections"):
            yield from listed_pages(each.get(key, []))


def page_texts(toc: dict, source: Path,
               pages: dict[str, nbformat.NotebookNode]) -> dict[str, str]:
    """What is written on every page of the book, without code and outputs."""
    texts = {}
    for name in listed_pages(toc):
        page, path = pages.get(name.removeprefix("notebooks/")), source / f"{name}.md"
        if page is not None:
            texts[name] = chapters.written(page)
        elif path.is_file():  # Sphinx says which is not there
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


def fill_in_claims(source: Path, pages: dict[str, nbformat.NotebookNode]
                   ) -> dict[str, list[claims_pages.Shown]]:
    """Fill in the pages' rows, cards and numbers that are made from the chapters' claims, and
    return by page what they show."""
    try:
        return claims_pages.write(source, pages)
    except claims_pages.Refused as error:
        sys.exit(f"book: {error}")


def build(source: Path, html: Path, where: dict[str, str]) -> None:
    """Sphinx, with every warning an error; earlier pages stay until the new ones are whole."""
    from neuronpath_core.figures.explore.page import take_out_networks

    with by_sphinx.seldom_collected():
        whole, said = by_sphinx.pages(source)
        if not whole:
            sys.exit(f"{said}\nbook: the build failed; its sources are in {source}")
        pages = source / "_build" / "html"
        if (source / FILES).is_dir():
            shutil.copytree(source / FILES, pages, dirs_exist_ok=True)
        take_out_networks(pages)
        finish(pages, where)
    neuron_cards.write_pages(pages)
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
    try:
        where = provenance.addresses(ROOT / "book" / "addresses.yml")
    except ValueError as error:
        sys.exit(f"book: {error}")
    stage(given(arguments.notebooks.resolve()) if arguments.notebooks
          else checked(arguments.profile), out / "source", where)
    build(out / "source", out / "html", where)
    print(f"the book is at {out / 'html' / 'index.html'}")


if __name__ == "__main__":
    main()
