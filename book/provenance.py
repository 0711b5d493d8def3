"""Where a page comes from: commit, execution, parameters, versions, tables; and the project's
addresses."""

from __future__ import annotations

import ast
import html as escaping
import re
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from book.data_files import DataFile, sha256
from neuronpath_core.support.yaml_file import read_yaml

ADDRESSES = ("site", "repository", "branch", "issues", "binder", "colab", "pdf", "doi")
TOOK = re.compile(r"\{took\}`(\w+)`")
SHOWN_PARAMETERS = ("profile", "profiles", "models", "model", "n_images", "seed", "device", "dtype")


def addresses(path: Path) -> dict[str, str]:
    """The project's addresses on the network; those that it does not have are empty.

    Raises:
        ValueError: what is no mapping of ``ADDRESSES`` to addresses, in a line that says what is.
    """
    try:
        read = read_yaml(path) or {}
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    if not isinstance(read, dict):
        raise ValueError(f"{path.name} is no mapping; accepted: lines of a name, a colon and an "
                         f"address, of {', '.join(ADDRESSES)}")
    given = {name: str(value or "").strip() for name, value in read.items()}
    for name, value in given.items():
        if name not in ADDRESSES:
            raise ValueError(f"{path.name} has the address {name!r}; accepted: "
                             f"{', '.join(ADDRESSES)}")
        if value and name != "branch" and not value.startswith("https://"):
            raise ValueError(f"the address {name} in {path.name} is {value!r}; accepted: an "
                             f"address that begins with https://, or nothing")
    return {name: given.get(name, "") for name in ADDRESSES}


@cache
def commit(root: Path) -> str:
    """The commit of a checkout, and whether files differ from it; empty without git."""
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, encoding="utf-8",
                              errors="replace", check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        head = git("rev-parse", "HEAD")
        changed = head and git("status", "--porcelain", "--untracked-files=no")
        return head + (" and changes since" if changed else "")
    except OSError:
        return ""


def parameters(page: NotebookNode) -> dict[str, Any]:
    """The parameters that an executed notebook ran with."""
    found: dict[str, Any] = {}
    for cell in page.cells:
        if {"parameters", "injected-parameters"} & set(cell.metadata.get("tags", [])):
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    try:
                        found[node.targets[0].id] = ast.literal_eval(node.value)
                    except ValueError:
                        continue
    return found


def code(text: str) -> str:
    return f"<code>{escaping.escape(text)}</code>"


def with_commit(root: Path, where: dict[str, str]) -> list[str]:
    """The line that names the commit, with a link to it if the repository has an address."""
    if not (found := commit(root)):
        return []
    head, _, changed = found.partition(" ")
    name = f'<code title="{head}">{head[:12]}</code>'
    if where["repository"] and not changed:
        name = f'<a href="{where["repository"]}/tree/{head}">{name}</a>'
    return [f"Commit {name}{' ' + changed if changed else ''}."]


def of_chapter(root: Path, name: str, page: NotebookNode, files: list[DataFile],
               words: list[str], where: dict[str, str]) -> str:
    """The last section of a chapter, in HTML below a heading: its data, how to rebuild it, and
    when, from what and on what it was executed."""
    lines = []
    if files:
        lines.append("<p>Tables as CSV, in the order of the page:</p>\n<ul class=\"np-files\">")
        lines += [f'<li><a href="{file.address}" download>{escaping.escape(file.title)}</a>, '
                  f"{file.rows} {'row' if file.rows == 1 else 'rows'}</li>" for file in files]
        lines.append("</ul>")
    lines.append(f"<p>{code(f'neuronpath run {name[:2]} --force')} computes this chapter again. "
                 f'The page as a notebook: <a href="../_sources/notebooks/{name}.ipynb" download>'
                 f"{name}.ipynb</a>.</p>")
    said = []
    if made := page.metadata.get("neuronpath", {}).get("executed"):
        said.append(f"Executed on {made['date']} in {made['seconds']} s: {made['device']}, Python "
                    f"{made['python']}, PyTorch {made['torch']}, timm {made['timm']}.")
    ran_with = parameters(page)
    values = [f"{key} = {ran_with[key]!r}" for key in SHOWN_PARAMETERS if key in ran_with]
    if values:
        said.append("Parameters: " + ", ".join(map(code, values)) + ".")
    if files:
        said.append(f"SHA-256 of the tables {code(sha256(files))}.")
    lines.append('<p class="np-provenance">' + "\n".join(
        [*said, *map(escaped, words), *with_commit(root, where)]) + "</p>")
    return "\n".join(lines)


def with_times(text: str, pages: Mapping[str, NotebookNode]) -> str:
    """A page's text with the times that it asks for: ``{took}`02_table1` `` is what that chapter's
    execution took, ``{took}`all` `` what all took together, and ``{took}`cores` `` on how many
    cores.

    Raises:
        ValueError: it asks for a chapter that is not there.
    """
    made = {name: each for name, page in pages.items()
            if (each := page.metadata.get("neuronpath", {}).get("executed"))}

    def time(found: re.Match) -> str:
        if found[1] == "all":
            return f"{round(sum(each['seconds'] for each in made.values()) / 60)} minutes"
        if found[1] == "cores":
            counts = {int(each["device"].rpartition(", ")[2].split()[0]) for each in made.values()
                      if re.search(r", \d+ cores?$", each["device"])}
            return f"{' or '.join(map(str, sorted(counts)))} cores" if counts else "other machines"
        if found[1] not in pages:
            raise ValueError(f"{found[0]} asks for {found[1]!r}; accepted: all, cores, "
                             f"{', '.join(pages)}")
        return f"{made[found[1]]['seconds']}\u00a0s" if found[1] in made else "–"

    return TOOK.sub(time, text)


def escaped(words: str) -> str:
    """Words with code in backquotes as HTML."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escaping.escape(words, quote=False))


def of_page(root: Path, executed: dict[str, str], version: str, where: dict[str, str]) -> str:
    """The foot of a page that is no chapter, as HTML: which chapters its numbers are from, the
    days these were executed on, the version of the library and the commit.

    Args:
        root: of the study.
        executed: the day of each chapter that the page shows a number of; empty where none is
            known.
        version: of the library.
        where: the project's addresses.
    """
    said = [f"neuronpath_core {escaping.escape(version)}."]
    days = sorted(set(executed.values()) - {""})
    if executed:
        numbers = ", ".join(sorted(name[:2] for name in executed))
        said.insert(0, f"Numbers of chapter{'s' * (len(executed) > 1)} {numbers}" + (
            f", executed {days[0]}" + (f" to {days[-1]}" if len(days) > 1 else "")
            if days else "") + ".")
    return ('<p class="np-provenance">' + "\n".join([*said, *with_commit(root, where)])
            + "</p>")
