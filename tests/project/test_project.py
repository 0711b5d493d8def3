"""The files around the code agree with one another and with the code."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from neuronpath_core.runs import current
from neuronpath_core.runs.chapter import Chapter
from neuronpath_core.runs.choice import notebook_names
from neuronpath_core.support import sources

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "neuronpath_core"
MODULES = sorted(PACKAGE.rglob("*.py"))
# a module imports only from places before its own; the core's modules stand at the top of the package, one by one
PLACES = ["support", "families", "quadrature", "ranking", "layers", "found_paths", "model_state", "factors", "hooks", "edits", "gradients", "agreement",
          "as_called", "value_vectors", "checks", "examined", "target", "forward", "replacement", "search", "jas", "knowledge", "baselines", "frames", "random_paths", "interventions", "metrics", "methods", "fast", "models",
          "variants", "scores", "settings", "finding", "paths", "images", "stats", "circuits", "readings", "neurons", "vlm",
          "study", "cost", "figures",
          "explanations", "chapters", "runs"]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lines: list[str]) -> dict[str, str]:
    return {normal(name): version for name,
            version in (line.split("==") for line in lines if "==" in line)}


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def direct(project) -> list[str]:
    return project["dependencies"] + [each for extra in project["optional-dependencies"].values()
                                      for each in extra]


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True,
                            check=False)
    return [ROOT / name for name in listed.stdout.splitlines()] if listed.returncode == 0 else []


def test_environment_and_constraints_agree_with_the_project(direct):
    from packaging.requirements import Requirement

    constraints = pins((ROOT / "constraints.txt").read_text().splitlines())
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in conda if isinstance(entry, dict))
    environment = pins(pip)
    assert set(environment) == {normal(Requirement(each).name) for each in direct}
    for each in map(Requirement, direct):
        version = constraints[normal(each.name)]
        assert environment[normal(each.name)] == version
        assert each.specifier.contains(version), f"{each} does not admit the pinned {version}"
    assert "-c constraints.txt" in pip and "-e .[book,test]" in pip


def test_installed_versions_are_the_pinned_ones(direct, project):
    from importlib.metadata import version

    from packaging.requirements import Requirement

    constraints = pins((ROOT / "constraints.txt").read_text().splitlines())
    # which make bench alone installs
    for each in map(Requirement, set(direct) - set(project["optional-dependencies"]["bench"])):
        assert version(each.name).split("+")[0] == constraints[normal(each.name)], each.name


def test_every_third_party_import_is_declared(direct):
    from packaging.requirements import Requirement

    known = {"open-clip-torch": "open_clip", "pyyaml": "yaml", "scikit-learn": "sklearn", "pillow": "PIL", "ipykernel": "IPython"}
    declared = {known.get(normal(Requirement(each).name),
                          normal(Requirement(each).name).replace("-", "_")) for each in direct}
    # part of those declared: ipykernel brings IPython and traitlets, papermill nbformat,
    # jupyter-book docutils, sphinx, jinja2 and bs4, pydantic pydantic_core; modules beside build.py
    declared |= {"traitlets", "nbformat", "docutils", "sphinx", "bs4", "packaging", "jupyter_book",
                 "pydantic_core", "jinja2", "book", "train"}
    for path in [*MODULES, *(ROOT / "book").rglob("*.py"),
                 *(ROOT / "tests").rglob("*.py"), *(ROOT / "data").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [
                node.module] if isinstance(node, ast.ImportFrom) else []
            for module in modules:
                top = (module or "").split(".")[0]
                assert top in sys.stdlib_module_names or top in declared | {"neuronpath_core",
                                                                            "benchmarks", "book",
                                                                            "notebooks", "tests"}, f"{path.name} imports {top}"


BY_NAME = ("neuronpath_core.models.families.", "neuronpath_core.fast.blocks", "neuronpath_core.circuits.graphs")


def place_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_imports_point_upwards_only():
    for path in MODULES:
        if path == PACKAGE / "__init__.py":
            continue
        own = PLACES.index(place_of(path))
        tree = ast.parse(path.read_text())
        # what only a type checker reads is no import
        tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))]
        for name in sources.imported(tree):
            if name.startswith(BY_NAME):  # asked for by name, not imported: see examined.WRITTEN_OUT, paths.GRAPHS
                continue
            file = sources.module_file(name)
            if file is not None and file != PACKAGE / "__init__.py":
                assert PLACES.index(place_of(file)) <= own, f"{path.relative_to(PACKAGE)} imports {name}"


def test_core_imports_without_the_notebook_tools():
    """A machine with torch, timm and the table libraries alone can import the library."""
    blocked = ["papermill", "nbformat", "click", "IPython", "ipywidgets", "jaxtyping", "myst_nb",
               "jupyter_book", "nbval", "pytest", "traitlets", "sklearn"]
    code = (f"import sys\nfor name in {blocked}: sys.modules[name] = None\n"
            "import neuronpath_core\nfrom neuronpath_core import figures\n"
            "from neuronpath_core.chapters import table1\nfrom neuronpath_core.figures import picker\n"
            "from neuronpath_core.runs import notebooks\n")
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, check=True)


# reasons that whoever catches them puts into a message of its own, or that are such messages
# already
REASONS = {("parts.py", "read_part"), ("parts.py", "whole_parts"), ("index.py", "_stored"),
           *(("graph_files.py", name) for name in ("_check_listed", "_from_graphml", "_from_json", "_paired")),
           ("parquet.py", "table_bytes"),
           ("parquet.py", "table_from_bytes"), ("preflight.py", "demand"),
           ("vlm_study.py", "check_models")}
SAYING = ("accepted", " must ", "MISSING", "ACCEPTED", ': {error}"')


def test_every_refusal_says_what_is_accepted():
    for path in MODULES:
        source = path.read_text()
        for function in ast.walk(ast.parse(source)):
            for node in ast.walk(function) if isinstance(function, ast.FunctionDef) else ():
                if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and ast.unparse(
                        node.exc.func) in ("ValueError", "WeightsMissing"):
                    said = re.sub(r'"\s*f?"', "", ast.get_source_segment(source, node))
                    assert any(words in said
                               for words in SAYING) or (path.name,
                                                        function.name) in REASONS, f"{path.name}: {said}"


def test_one_module_makes_a_line_of_an_exception():
    assert [path.name for path in MODULES
            if '" ".join(str(error)' in path.read_text().replace("'", '"')] == ["text.py"]


def test_only_one_module_touches_hooks():
    using = [path.name for path in MODULES
             if "register_forward" in path.read_text()]
    assert using == ["hooks.py"]


def test_the_core_names_no_data_set_of_the_paper():
    """It serves any images; only what repeats the published code, defects and all, names those that
    it was run on, and timm calls a class of its own so."""
    naming = {path: [line for line in path.read_text().splitlines()
                     if "imagenet" in line.lower()]
              for path in MODULES}
    naming = {path.name: lines for path, lines in naming.items() if lines}
    # words.py of the relevance chapter sets a paper's own number beside ours
    assert set(naming) == {"published.py", "defects.py", "catalogue.py", "wordnet.py", "words.py"}
    assert naming["wordnet.py"] == ["from timm.data import ImageNetInfo as WordNetInfo"]


def test_readme_example_runs():
    for code in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S):
        assert "assert" in code
        exec(compile(code, "README.md", "exec"), {})


def test_readme_names_every_folder_and_notebook():
    text = (ROOT / "README.md").read_text()
    for folder in ("neuronpath_core", "notebooks", "book", "profiles", "data", "benchmarks", "book",
                   "tests"):
        assert f"`{folder}/`" in text
    for name in notebook_names(ROOT):
        assert f"`neuronpath run {name[:2]}`" in text


def test_readme_opens_with_the_two_commands():
    block = re.search(r"```\n(.*?)```", (ROOT / "README.md").read_text(), re.S).group(1)
    assert block.split("\n") == ["make book", "make test", ""]


def test_ci_runs_the_readme_test_command():
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("make test")
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "study.yml").read_text())
    steps = [step.get("run", "") for step in workflow["jobs"]["test"]["steps"]]
    assert any(step.startswith("make test") and "ALL=1" in step for step in steps)
    assert workflow[True]["schedule"]  # "on" is a truth value in YAML


def test_all_notebooks_are_executed_when_that_is_asked_for():
    def commands(*asked: str) -> str:
        return subprocess.run(["make", "-n", "-B", *asked], cwd=ROOT, capture_output=True,
                              text=True, check=True).stdout

    assert "--stale" in commands("book") and "--every-notebook" not in commands("test")
    assert "--stale" not in commands("book", "ALL=1")
    assert "--every-notebook" in commands("test", "ALL=1")


def test_weights_readme_tells_what_the_record_tells():
    text = (ROOT / "data/weights/README.md").read_text()
    for folder in ("digits", "shapes", "cifar10"):
        record = json.loads((ROOT / "data/weights" / folder / "weights.json").read_text())
        assert set(record) == {path.name
                               for path in (ROOT / "data/weights" / folder).glob("*.safetensors")}
        for file, entry in record.items():
            row = next(line for line in text.splitlines()
                       if line.startswith(f"| `{folder}/{file}`"))
            training = entry["training"]
            assert f"| {entry['model']} | {entry['parameters']} | {100 * entry['held_out_accuracy']:.2f} % |" in row
            assert f"seed {training['seed']}" in row and f"{training.get('checkpoint', training['epochs'])} epochs" in row
    assert sum(path.stat().st_size
               for path in (ROOT / "data/weights").rglob("*.safetensors")) < 80_000_000  # bytes of all of them


def toc_problems(root: Path) -> list[str]:
    """What of a study's chapters the table of contents lacks, or has in another place."""
    toc = yaml.safe_load((root / "_toc.yml").read_text())
    listed = [chapter["file"].split("/")[1] for part in toc["parts"]
              for chapter in part["chapters"] if chapter["file"].startswith("notebooks/")]
    known = notebook_names(root)
    problems = [f"{name} is not listed" for name in known if name not in listed]
    return problems or ([] if listed == known else [f"the order is {listed}, not {known}"])


def test_toc_lists_every_notebook_in_order():
    assert toc_problems(ROOT) == []


def test_tests_readme_names_every_test():
    text = (ROOT / "tests" / "README.md").read_text()
    for path in (ROOT / "tests").rglob("*.py"):
        if path.stem not in ("__init__", "helpers", "recipe"):
            assert f"`{path.relative_to(ROOT / 'tests').as_posix()}`" in text, path


# 2.7 million weights in half precision: the photographs' model of 24 blocks, which Chapter 31 reads
LARGE = {ROOT / "data" / "weights" / "cifar10" / "vit_l_32.safetensors"}


def test_nothing_tracked_is_a_pickle_or_large():
    assert {path for path in LARGE if path.stat().st_size >= 5_000_000} == LARGE  # else no exception
    for path in tracked():
        assert path.suffix not in (".pt", ".pth", ".pkl", ".pickle", ".ckpt"), path
        assert path.stat().st_size < 5_000_000 or path in LARGE, path


def test_no_file_names_a_machine():
    """No absolute path of anybody's machine and no package index stands in a file of the project.
    """
    pattern = re.compile(
        r"(?<![\w.])/(?:home|root|Users)/\w|/work/|/tmp/[a-z]|--(?:extra-)?index-url|pypi\.org|files\.pythonhosted")
    # they hold such patterns to look for them
    allowed = {"test_notebooks_static.py", "test_project.py"}
    for path in tracked():
        if path.suffix in (".py", ".md", ".yml", ".toml", ".txt", ".ipynb", ".cff", ".json",
                           "") and path.name not in allowed and path.is_file():
            found = pattern.search(path.read_text(errors="ignore"))
            assert not found, f"{path.relative_to(ROOT)}: {found.group(0)}"


def test_what_chapters_compute_with_is_installed_by_make_book():
    """A package whose version counts in the hash of a chapter and that the extra ``book`` lacks
    would stop ``make book`` in an empty environment."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installed = {re.split(r"[<>=\[; ]", each)[0].replace("_", "-") for each in (
        *project["dependencies"], *project["optional-dependencies"]["book"])}
    needed = {}
    for name in notebook_names(ROOT):
        chapter = Chapter.read(ROOT, name)
        texts = [path.read_text(encoding="utf-8") for path in current.modules(chapter)]
        imports = set().union(*map(sources.packages_of, [*texts, *chapter.code]))
        needed |= dict.fromkeys(current._packages(imports), name)
    assert {"captum", "transformers", "torch"} < set(needed)
    assert {each: name for each, name in needed.items()
            if each.replace("_", "-") not in installed} == {}
