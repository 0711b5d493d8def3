"""The hash of a chapter: what makes its stored outputs stale, exactly those of chapters that depend
on it, and what does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nbformat
import pytest
import yaml

from neuronpath_core.runs import current
from neuronpath_core.runs.chapter import Chapter
from neuronpath_core.runs.choice import notebook_names
from neuronpath_core.runs.current import Hashes, is_stored, outputs_sha256
from neuronpath_core.runs.notebooks import Run, stored_notebooks
from neuronpath_core.runs.outputs import normalise_notebook, store_outputs, with_outputs
from neuronpath_core.study.identity import code_fingerprint
from neuronpath_core.support import sources

ROOT = Path(__file__).resolve().parents[2]
ALL = notebook_names(ROOT)


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """A copy of the study that a test may change, if it puts back what it changed."""
    root = tmp_path_factory.mktemp("copy")
    def left_out(folder: str, _: list[str]) -> list[str]:  # photographs, which no hash reads
        return ["__pycache__", *(["cifar10"] if Path(folder) == ROOT / "data" else [])]
    for folder in ("neuronpath_core", "notebooks", "profiles", "data", "benchmarks"):
        shutil.copytree(ROOT / folder, root / folder, ignore=left_out)
    return root


def hashes(study: Path, **parameters: object) -> dict[str, str]:
    """The hash of every chapter. No file changes meanwhile, so that each is looked for and read
    once, for all chapters."""
    now = Hashes(study, study / "neuronpath_core")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_text", cache(Path.read_text))
        patch.setattr(sources, "module_file", cache(sources.module_file))
        return {name: now.sha256(name, parameters) for name in ALL}


@pytest.fixture(scope="module")
def before(study) -> dict[str, str]:
    return hashes(study)


def stale(study: Path, before: dict[str, str], change: Callable[[str], str],
          *files: str) -> set[str]:
    """The chapters whose hash the same change of these files moves."""
    texts = {study / file: (study / file).read_text() for file in files}
    assert all(change(text) != text for text in texts.values())
    try:
        for path, text in texts.items():
            path.write_text(change(text))
        return {name for name, now in hashes(study).items() if now != before[name]}
    finally:
        for path, text in texts.items():
            path.write_text(text)


def with_constant(text: str) -> str:
    """A module that computes something else."""
    return text + "\nANOTHER = 1\n"


def own(name: str) -> dict:
    return Chapter.read(ROOT, name).parameters


SHAPES = {name for name in ALL
          if "shapes" in (own(name).get("profile"), *own(name).get("profiles", ()))}


def test_a_record_of_weights_counts_for_chapters_that_read_its_profile(study, before):
    changed = stale(study, before, lambda text: text.replace("{", "{ ", 1),
                    "data/weights/shapes/weights.json")
    assert changed and changed <= SHAPES and changed != set(ALL)
    other = study / "data" / "weights" / "another"
    other.mkdir()
    try:
        (other / "weights.json").write_text("{}")
        assert hashes(study) == before  # of a profile that no chapter reads
    finally:
        shutil.rmtree(other)


@pytest.mark.parametrize("file", ["neuronpath_core/fast/blocks.py", pytest.param(
    "neuronpath_core/fast/prefixes.py", marks=pytest.mark.thorough)])
def test_a_nested_module_that_all_search_with_makes_all_that_search_stale(study, before, file):
    searching = {name for name in ALL if {"models", "n_images"} & set(own(name))}
    assert len(searching) > 12
    assert stale(study, before, with_constant, file) >= searching


LOADED = {
    "neuronpath_core/chapters/attention_paths/over_sites.py": {"17"},
    "neuronpath_core/chapters/mae_against_supervised/kinds_compared.py": {"16"},
    "neuronpath_core/chapters/search_cost/integrands.py": {"07"},
    "neuronpath_core/chapters/benchmarks/long_runs.py": {"08"},
    "neuronpath_core/chapters/pruning_honest/effect_rows.py": {"15", "18"},
    "neuronpath_core/figures/picker.py": {"04"},
    "neuronpath_core/figures/attention.py": {"17"},
    "neuronpath_core/figures/explore/weights.py": {"18"},
    "neuronpath_core/figures/explore/vit.js": {"18"},
    "neuronpath_core/figures/explore/explore.css": {"18"},
    "neuronpath_core/runs/dry_run.py": set(),
    "neuronpath_core/chapters/costs.py": set(),
}
TOGETHER = [("over_sites", "kinds_compared", "integrands", "long_runs", "picker", "vit"),
            ("attention", "weights"), ("effect_rows",), ("explore",), ("dry_run", "costs")]


@pytest.mark.parametrize("file", [pytest.param(file, marks=pytest.mark.thorough) for file in LOADED])
def test_a_module_makes_exactly_those_stale_that_load_it(study, before, file):
    assert {name[:2] for name in stale(study, before, with_constant, file)} == LOADED[file]


@pytest.mark.parametrize("names", TOGETHER, ids="-".join)
def test_modules_that_are_changed_together_make_exactly_those_stale_that_load_one(study, before,
                                                                                  names):
    """Files that no chapter loads two of, in one reading of all chapters."""
    files = [file for file in LOADED if Path(file).stem in names]
    assert len(files) == len(names)
    chapters = [chapter for file in files for chapter in LOADED[file]]
    assert len(chapters) == len(set(chapters))
    assert sorted(name[:2] for name in stale(study, before, with_constant, *files)) == sorted(chapters)


def test_a_comment_a_docstring_and_the_width_of_a_line_make_none_stale(study, before):
    def more(text: str) -> str:
        assert '"""' in text and "(" in text
        changed = text.replace('"""', '"""More. ', 1).replace("(", "(\n", 1)
        return changed + "\n\n# more of it\n"

    assert stale(study, before, more, "neuronpath_core/fast/contexts.py",
                 "neuronpath_core/chapters/costs.py") == set()


def test_measurements_and_the_papers_table_belong_to_the_chapters_that_read_them(study, before):
    def longer(text: str) -> str:
        return text + "\n"

    assert {name[:2] for name in stale(study, before, longer, "benchmarks/cpu.json")} == {"08"}
    assert "02_table1" in stale(study, before, longer, "data/paper/table1.csv") != set(ALL)


def test_modules_that_python_compiled_beside_measurements_are_none(study, before):
    place = study / "benchmarks" / "__pycache__"
    place.mkdir(exist_ok=True)
    file = place / "measure.cpython-311.pyc"
    file.write_bytes(b"compiled")
    try:
        assert hashes(study) == before
    finally:
        file.unlink()


def test_a_profile_belongs_to_the_chapters_that_run_it(study, before):
    found = stale(study, before, lambda text: text.replace("seed: 4", "seed: 5"),
                  "profiles/shapes.yml")
    assert found == SHAPES
    # what it gives a notebook counts with the parameters of a run
    assert stale(study, before, lambda text: text + "  06_pruning: {seed: 1}\n",
                 "profiles/shapes.yml") == set()


def test_weights_belong_to_the_chapters_of_their_profile(study, before):
    path = study / "data" / "weights" / "shapes" / "mae_b_16.seed-41.safetensors"
    content = path.read_bytes()
    try:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        found = {name for name, now in hashes(study).items() if now != before[name]}
    finally:
        path.write_bytes(content)
    assert found == SHAPES


def test_parameters_of_a_run_and_of_the_notebook_count(study, before):
    assert not set(hashes(study, seed=1).values()) & set(before.values())
    path = study / "notebooks" / "06_pruning.ipynb"
    text = path.read_text()
    try:
        path.write_text(text.replace('"seed = 0\\n"', '"seed = 1\\n"'))
        assert path.read_text() != text
        assert {name for name, now in hashes(study).items()
                if now != before[name]} == {"06_pruning"}
    finally:
        path.write_text(text)


def test_versions_of_packages_count_for_those_that_use_them(study, before, monkeypatch):
    real = current.package_version
    monkeypatch.setattr(current, "package_version",
                        lambda name: "another" if name == "torch" else real(name))
    assert {name for name, now in hashes(study).items() if now != before[name]} == set(ALL)
    monkeypatch.setattr(current, "package_version",
                        lambda name: "another" if name in ("pytest", "click") else real(name))
    assert hashes(study) == before


def test_a_build_for_another_device_is_the_same_version(monkeypatch):
    current.package_version.cache_clear()
    monkeypatch.setattr(current.metadata, "version", lambda name: "2.6.0+cu124")
    assert current.package_version("torch") == "2.6.0"
    current.package_version.cache_clear()


def test_text_and_stored_outputs_of_a_notebook_do_not_count(study, before):
    path = study / "notebooks" / "06_pruning.ipynb"
    text = path.read_text()
    nb = nbformat.read(path, 4)
    nb.cells[0].source += "\nmore"
    code = next(cell for cell in nb.cells if cell.cell_type == "code" and cell.outputs)
    code.outputs, code.source = [], "# a comment\n" + code.source
    try:
        nbformat.write(nb, path)
        assert hashes(study) == before
        code.source += ";"
        nbformat.write(nb, path)
        assert hashes(study)["06_pruning"] != before["06_pruning"]
    finally:
        path.write_text(text)


def test_a_line_for_ipython_alone_makes_the_whole_library_count(study, before):
    path = study / "notebooks" / "08_benchmarks.ipynb"
    text = path.read_text()
    try:
        path.write_text(text.replace('"from myst_nb import glue\\n"', '"%load_ext something\\n"'))
        first = hashes(study)
        moved = stale(study, first, with_constant, "neuronpath_core/runs/dry_run.py")
    finally:
        path.write_text(text)
    assert moved == {"08_benchmarks"}


def test_the_fingerprint_of_tables_moves_with_a_nested_module_and_not_with_a_comment(study):
    package = study / "neuronpath_core"
    first = code_fingerprint(package)
    path = package / "fast" / "blocks.py"
    text = path.read_text()
    try:
        path.write_text(text + "\n# a comment\n")
        assert code_fingerprint(package) == first
        path.write_text(with_constant(text))
        assert code_fingerprint(package) != first
    finally:
        path.write_text(text)


# --- what is kept with outputs ---


def executed_as(study: Path, name: str, folder: Path) -> Run:
    """A run of a notebook whose output is what is stored, executed with what there is now."""
    sha256 = Hashes(study).sha256(name, {})
    nb = nbformat.read(study / "notebooks" / f"{name}.ipynb", 4)
    nb.metadata.setdefault("neuronpath", {})["executed"] = current.record(sha256, 12.4)
    output = folder / f"{name}.ipynb"
    nbformat.write(nb, output)
    return Run(name, {}, output, sha256)


def test_stored_outputs_are_current_until_something_changes(study, tmp_path):
    name = "09_planted_paths"
    path = study / "notebooks" / f"{name}.ipynb"
    text = path.read_text()
    try:
        nb = nbformat.read(path, 4)
        del nb.metadata["neuronpath"]["executed"]
        nbformat.write(nb, path)
        run = executed_as(study, name, tmp_path)
        assert not is_stored(Chapter.read(study, name), run.made_from)
        others = stored_notebooks(study)
        assert name not in others
        store_outputs(study, run)
        noted = Chapter.read(study, name).notes["executed"]
        assert noted["seconds"] == 12 and {"date", "device", "python", "torch", "timm"} < set(noted)
        assert stored_notebooks(study) == sorted([*others, name])
        assert outputs_sha256(Chapter.read(study, name).outputs) == noted["outputs"]
        assert not is_stored(Chapter.read(study, name), "another")
        stored = path.read_text()
        edited = json.loads(stored)
        cell = next(cell for cell in edited["cells"] if cell.get("outputs"))
        cell["outputs"][0]["metadata"] = {"a": 1}  # by hand
        path.write_text(json.dumps(edited))
        assert stored_notebooks(study) == others
        path.write_text(stored)
        # a section of the paper is executed all the same
        store_outputs(study, executed_as(study, "05_class_similarity", tmp_path))
        assert stored_notebooks(study) == sorted([*others, name])
    finally:
        path.write_text(text)


def test_outputs_go_below_the_text_that_there_is_now(study):
    source = nbformat.read(study / "notebooks" / "09_planted_paths.ipynb", 4)
    ran = nbformat.from_dict(json.loads(nbformat.writes(source)))
    given = nbformat.v4.new_code_cell("seed = 3", metadata={"tags": ["injected-parameters"]})
    place = next(i for i, cell in enumerate(ran.cells) if cell.cell_type == "code") + 1
    ran.cells.insert(place, given)
    ran.metadata["neuronpath"]["executed"] = {"date": "today"}
    for cell in source.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    source.cells[0].source = "# Another title"
    page = with_outputs(source, ran)
    assert page.cells[0].source == "# Another title" and page.cells[place].source == "seed = 3"
    assert [cell.get("outputs") for cell in page.cells] == [cell.get("outputs")
                                                            for cell in ran.cells]
    assert page.metadata["neuronpath"]["executed"] == {"date": "today"}
    assert page.metadata["neuronpath"]["seconds"] == source.metadata["neuronpath"]["seconds"]
    assert normalise_notebook(page).cells == page.cells


def test_metadata_that_name_no_function_are_refused(study):
    content = json.loads((study / "notebooks" / "06_pruning.ipynb").read_text())
    for cost in ("neuronpath_core.chapters.costs:nothing", "nowhere:cost", 3):
        content["metadata"]["neuronpath"]["cost"] = cost
        with pytest.raises(ValueError, match="the cost of notebook 06_pruning cannot be .*accepted"):
            _ = Chapter(study / "notebooks" / "06_pruning.ipynb", content).cost


def test_every_chapter_says_what_it_takes_and_the_papers_own_are_those_of_the_paper():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    paper = next(part for part in toc["parts"] if "paper" in part["caption"])
    listed = [chapter["file"].split("/")[1] for chapter in paper["chapters"]]
    chapters = {name: Chapter.read(ROOT, name) for name in ALL}
    assert [name for name, chapter in chapters.items() if chapter.is_of_the_paper] == [
        name for name in listed if name != "08_benchmarks"]
    for name, chapter in chapters.items():
        assert chapter.notes["seconds"] > 0, name
        assert (chapter.cost is None) == ("took" in chapter.notes), name
