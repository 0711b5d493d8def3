"""Write the pages of ``book/api/``: every module of the library, one page for each room.

The chapters' modules, which nobody calls but their notebook, are a table of what each holds.

    python book/api_pages.py

Public names are not on them: ``book/api.md`` has those.  Run it after a module was added, moved or
removed; a test compares the pages with what this would write.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import neuronpath_core as npc

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, PAGES = ROOT / "neuronpath_core", ROOT / "book" / "api"
# room -> title, in the order in which rooms may import from one another
ROOMS = {
    "core": "The core", "support": "Support", "fast": "The same answers sooner",
    "models": "Networks and weights", "variants": "What the paper lacks", "scores": "Scores",
    "images": "What models see", "stats": "Intervals, tests and words",
    "circuits": "What a path amounts to", "readings": "What tokens and memories say",
    "neurons": "What a single neuron means", "vlm": "A vision-language model",
    "study": "A profile opened, tables kept", "cost": "What a run takes", "figures": "Figures",
    "explanations": "One picture explained",
    "chapters": "Chapters", "runs": "Notebooks and the command",
}
IN_A_TABLE = ("chapters",)
CORE = ("The modules at the top of the package. They can be read in an afternoon, in the order of "
        "`neuronpath_core/README.md`.")


def modules(room: str) -> list[str]:
    """Names of a room's modules, those of the core being all at the top of the package."""
    folder = PACKAGE if room == "core" else PACKAGE / room
    files = folder.glob("*.py") if room == "core" else folder.rglob("*.py")
    names = []
    for file in sorted(files):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if parts and not parts[-1].startswith("_") and file.read_text(encoding="utf-8").strip():
            names.append(".".join(("neuronpath_core", *parts)))
    return names


def public_names(module: str) -> list[str]:
    """The public functions and classes that a module defines."""
    return [name for name in npc.__all__
            if getattr(getattr(npc, name), "__module__", None) == module]


def what_it_holds(room: str) -> str:
    """The room's line in the floor plan."""
    if room == "core":
        return CORE
    plan = (PACKAGE / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^\| `{room}/` \| (.+?) \|$", plan, re.MULTILINE)
    if found is None:
        raise SystemExit(f"api_pages: neuronpath_core/README.md has no line for {room}/; accepted: "
                         f"a row '| `{room}/` | what it holds |'")
    line = found.group(1)
    return f"{line[0].upper()}{line[1:]}."


def first_sentence(module: str) -> str:
    """What a module's docstring begins with, its roles as code."""
    file = ROOT.joinpath(*module.split("."))
    file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
    told = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    text = re.split(r"(?<!et al)\.\s+(?=[A-Z`:])", " ".join(told.split("\n\n")[0].split()))[0]
    text = text.rstrip(":.")
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    return re.sub(r"``(.+?)``", r"`\1`", text).replace("|", "\\|")


def table_page(room: str) -> str:
    """The page of a room whose modules are a table."""
    lines = [f"# {ROOMS[room]}: `{room}`", "", what_it_holds(room), "",
             "| module | what it holds |", "|---|---|"]
    lines += [f"| `{module.removeprefix(f'neuronpath_core.{room}.')}` | {first_sentence(module)} |"
              for module in modules(room) if module != f"neuronpath_core.{room}"]
    return "\n".join([*lines, ""])


def page(room: str) -> str:
    """A room's page."""
    if room in IN_A_TABLE:
        return table_page(room)
    lines = [f"# {ROOMS[room]}: `{room}`", "", what_it_holds(room),
             "Public names are in {doc}`../api`.", ""]
    for module in modules(room):
        short = module.removeprefix("neuronpath_core.")
        short = short.removeprefix(f"{room}.") if short != room else room
        lines += [f"## {short}", "", "```{eval-rst}", f".. automodule:: {module}", "   :members:"]
        if public := public_names(module):
            lines.append(f"   :exclude-members: {', '.join(sorted(public))}")
        lines += ["```", ""]
    return "\n".join(lines)


def pages() -> dict[str, str]:
    """Every page by its file's name."""
    return {f"{room}.md": page(room) for room in ROOMS}


def main() -> None:
    PAGES.mkdir(exist_ok=True)
    wanted = pages()
    for file in PAGES.glob("*.md"):
        if file.name not in wanted:
            file.unlink()
    for name, text in wanted.items():
        (PAGES / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
