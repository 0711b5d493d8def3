"""What the pages of words say is so: their code runs, their addresses and names are those of the
lists, their tables those of the records."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import shlex
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

import neuronpath_core as npc
from book import api_pages, chapters, provenance, use_it_figure
from book import check_sources as check
from book.drawings import narrow_file
from neuronpath_core.chapters.as_published.catalogue import DEFECTS
from neuronpath_core.figures import single_images
from neuronpath_core.runs.choice import not_run
from neuronpath_core.runs.cli import cli as command
from neuronpath_core.study.profiles import load_profile
from tests import rehearsal

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
ADDRESS = re.compile(r"(?:https?|ftp)://[^\s)\"'<>\]}`]+")


def text(name: str) -> str:
    return (BOOK / f"{name}.md").read_text(encoding="utf-8")


def blocks(page: str, language: str = "python") -> list[str]:
    found = re.findall(r"^```(.*?)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [code for said, code in found if said == language]


def rows(page: str, begin: str) -> list[list[str]]:
    """The cells of a table's rows, the table being that whose first row begins so."""
    lines = page.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith(begin)) + 2
    found = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip().strip("|").split(" | ")])
    return found


# --- sources ---


@pytest.fixture(scope="module")
def sources() -> dict:
    return check.load()


def allowed(sources) -> set[str]:
    """Every address that a page may link to."""
    code = sources["code"]
    known = {work["address"] for work in sources["works"].values()}
    known |= {check.link(sources, place) for place in check.places(sources)}
    known.add(f"{code['repository']}/tree/{code['commit']}")
    return known | set(provenance.addresses(BOOK / "addresses.yml").values())


def strangers(written: str, known: set[str]) -> set[str]:
    """Addresses in a page that the list does not have."""
    return {address.rstrip(".,;") for address in ADDRESS.findall(written)} - known


def test_pages_link_to_nothing_that_is_not_in_the_list_of_sources(sources):
    known = allowed(sources)
    for page in sorted(BOOK.rglob("*.md")):
        assert not strangers(page.read_text(encoding="utf-8"), known), (
            f"{page.relative_to(ROOT)} links to an address that book/sources.yml lacks")
    for name, page in chapters.read(ROOT).items():
        assert not strangers(chapters.written(page), known), f"{name}: add it to book/sources.yml"
    # the control: another line of the same file is another address
    place = next(check.places(sources))
    wrong = check.link(sources, {**place, "lines": "1"})
    assert strangers(f"see [there]({wrong}).", known) == {wrong}


def test_every_source_is_on_the_page_of_sources(sources):
    page = text("sources")
    for work in sources["works"].values():
        assert work["address"] in page or work["address"] in text("reproduce"), work["title"]
        assert work["seen"]
    for place in check.places(sources):
        assert f"({check.link(sources, place)}): {place['shows']}" in page, place
    assert re.fullmatch("[0-9a-f]{40}", sources["code"]["commit"])


def test_the_defects_of_the_page_are_those_that_the_chapter_measures(sources):
    listed = sources["defects"]
    assert sorted({entry["number"] for entry in listed.values()}) == list(range(1, 12))
    assert {entry["number"] for entry in listed.values()} == {each.number
                                                              for each in DEFECTS.values()}
    for name, entry in listed.items():
        if name in DEFECTS:
            assert entry["number"] == DEFECTS[name].number, name
    page = text("sources")
    for number in range(1, 12):
        assert page.count(f"(defect-{number})=") == 1


def test_a_place_that_is_not_as_it_was_read_is_noticed(tmp_path):
    (tmp_path / "a.py").write_text("one\n  two  \nthree\n")
    place = {"file": "a.py", "lines": "2-3", "shows": "it",
             "sha256": check.digest("x\ntwo\n\tthree", "2-3")}
    listed = {"defects": {"it": {"places": [place]}}, "readings": {},
              "code": {"repository": "https://example.org/r", "commit": "c"}}
    assert check.problems(listed, tmp_path) == []
    assert check.link(listed, place) == "https://example.org/r/blob/c/a.py#L2-L3"
    assert check.link(listed, {**place, "file": "a.ipynb", "lines": "7"}).endswith(
        "/a.ipynb?plain=1#L7")
    (tmp_path / "a.py").write_text("one\ntwo\nfour\n")
    assert check.problems(listed, tmp_path) == ["a.py, lines 2-3: not the lines that were read (it)"]
    (tmp_path / "a.py").unlink()
    assert check.problems(listed, tmp_path) == ["a.py is not there"]


# --- use it ---


@pytest.fixture(scope="module")
def mine(tmp_path_factory) -> Path:
    """A fine-tuned model's state dict and a folder of pictures, as the page names them."""
    folder, rng = tmp_path_factory.mktemp("mine"), np.random.default_rng(0)
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=3)
    torch.nn.init.normal_(model.head.weight, std=0.3)
    save_file(model.state_dict(), folder / "my_model.safetensors")
    for name in ("cat", "cow", "dog"):
        (folder / "photos" / name).mkdir(parents=True)
        rehearsal.picture(rng, (60, 40), rng.uniform(0, 255, 3)).save(
            folder / "photos" / name / "1.jpg")
    return folder


def test_the_ten_lines_make_a_picture_of_paths(mine, monkeypatch):
    monkeypatch.chdir(mine)
    ten, predicted, edit, control, folder, card = blocks(text("use_it"))
    assert len(ten.splitlines()) == 10 and max(map(len, ten.splitlines())) <= 80
    names: dict = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        exec(compile(ten, "use_it.md", "exec"), names)
    drawn = Path("paths.svg").read_text(encoding="utf-8")
    assert drawn.count("<g id=\"axes_") == 9 and names["paths"].neurons.shape == (3, 12)
    with torch.no_grad():
        before = names["target"](names["photos"].images).softmax(-1)
    exec(compile(predicted, "use_it.md", "exec"), names)
    assert torch.equal(names["said"].labels, before.argmax(-1)) and Path("said.svg").is_file()
    assert not torch.equal(names["said"].labels, names["photos"].labels)
    assert not torch.equal(names["own"].neurons, names["paths"].neurons)
    exec(compile(edit, "use_it.md", "exec"), names)
    assert names["without"].shape == before.shape and not torch.allclose(names["without"], before)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(control, "use_it.md", "exec"), names)
    lead = (names["control"] - names["without"]).gather(1, names["photos"].labels[:, None])
    row = ast.literal_eval(said.getvalue())
    assert row["low"] <= row["value"] <= row["high"] and row["value"] == pytest.approx(
        float(lead.mean()), abs=1e-6)


@pytest.mark.thorough
def test_the_lines_for_a_folder_rank_neurons_and_show_a_card(mine, tmp_path, monkeypatch):
    """The page's second use: which neurons matter over a folder, and what one of them is."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(mine, tmp_path, dirs_exist_ok=True)
    rng = np.random.default_rng(1)
    for number in range(2, 7):
        rehearsal.picture(rng, (60, 40), rng.uniform(0, 255, 3)).save(f"photos/cat/{number}.jpg")
    ten, *_, folder, card = blocks(text("use_it"))
    names: dict = {}
    exec(compile("\n".join(ten.splitlines()[:8]), "use_it.md", "exec"), names)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(folder, "use_it.md", "exec"), names)
    assert len(names["table"]) == 20 and (names["table"]["images"] == 3).all()
    assert "effect_mean" in said.getvalue()
    exec(compile(card, "use_it.md", "exec"), names)
    shown = Path("card.html").read_text(encoding="utf-8")
    assert f"block {names['table']['block'][0]}" in shown.lower()


def test_the_ten_lines_take_as_many_photographs_as_can_be_drawn():
    select = re.search(r"files\.(select\(.*?\))\.loaded", blocks(text("use_it"))[0])[1]
    files = npc.Study().images(40)
    for count, taken in ((3, 3), (40, single_images.MOST_IMAGES)):
        few = eval(f"files.{select}", {"files": files.select(range(count))})
        assert few.ids.tolist() == files.ids[:taken].tolist()


def test_the_figure_and_the_explanation_on_the_page_are_those_of_today(tmp_path):
    use_it_figure.write(tmp_path)
    file = tmp_path / use_it_figure.FILE.name
    stored, again = (re.findall(r"<text[^>]*>([^<]*)</text>", each.read_text())
                     for each in (use_it_figure.FILE, file))
    assert stored == again and len(stored) > 60
    assert {"untouched", "path removed", "path doubled"} <= set(stored)
    assert "var(--np-ink-" in use_it_figure.FILE.read_text()  # or it is light in the dark
    narrow = [narrow_file(each).read_text() for each in (use_it_figure.FILE, file)]
    texts = [re.findall(r"<text[^>]*>([^<]*)</text>", text) for text in narrow]
    assert texts[0] == texts[1] and {"untouched", "path removed"} <= set(texts[0])
    assert [float(re.search(r'width="([\d.]+)pt"', text)[1]) for text in narrow] == [252, 252]
    told = [(folder / use_it_figure.EXPLAINED.name).read_text(encoding="utf-8")
            for folder in (use_it_figure.EXPLAINED.parent, tmp_path)]
    assert told[0] == told[1] and "As a control, 5 random paths" in told[0]
    assert f"{{literalinclude}} _static/{use_it_figure.EXPLAINED.name}" in text("use_it")


def test_the_two_commands_find_paths_of_ones_own_model(mine, tmp_path):
    for folder in ("notebooks", "profiles", "benchmarks"):
        shutil.copytree(ROOT / folder, tmp_path / folder,
                        ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (tmp_path / "neuronpath_core").mkdir()
    for name in ("my_model.safetensors", "photos"):
        (tmp_path / name).symlink_to(mine / name)
    new, paths = (shlex.split(line) for line in blocks(text("use_it"), "")[-1].splitlines())
    assert (new[:2], paths[:2]) == (["neuronpath", "new-profile"], ["neuronpath", "paths"])
    # three pictures are no hundred
    paths[paths.index("--n-images") + 1] = "3"
    for arguments in (new, paths):
        status, output, errors = rehearsal.command(tmp_path, *arguments[1:])
        assert status == 0, errors
    assert "my_model neuron_path: 3 paths" in output
    status, output, _ = rehearsal.command(tmp_path, *paths[1:], "--check")
    assert status == 0 and output.endswith("nothing is missing\n")


def small(**changes: object) -> VisionTransformer:
    torch.manual_seed(0)
    sizes = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2,
             "num_classes": 3}
    model = VisionTransformer(**{**sizes, **changes})
    torch.nn.init.normal_(model.head.weight)
    return model


def found(change: Callable[[VisionTransformer], object] = lambda model: None,
          size: int = 16, labels: tuple[int, ...] = (0, 2), dtype=torch.float32) -> npc.Paths:
    """Paths of a small model that was changed after it was taken."""
    model = small()
    target = npc.TargetModel(model)
    change(model)
    return npc.find_paths(target, torch.randn(2, 3, size, size, dtype=dtype), torch.tensor(labels))


def in_autocast() -> npc.Paths:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return found()


PROVOKED = {
    "a model of pre-norm blocks is needed": lambda: npc.TargetModel(torch.nn.DataParallel(small())),
    "model cannot be a": lambda: npc.from_transformers(torch.nn.DataParallel(small())),
    "labels must lie in": lambda: found(labels=(0, 3)),
    "images must be a tensor of shape": lambda: found(size=32),
    "accepted: the model's torch.float32": lambda: found(dtype=torch.float64),
    "the model is in training mode": lambda: found(lambda model: model.train()),
    "inside torch.autocast": in_autocast,
    "in which every neuron scores the same": lambda: found(
        lambda model: torch.nn.init.zeros_(model.head.weight)),
    "is not its blocks put together": lambda: found(
        lambda model: model.register_forward_hook(lambda part, given, made: 1.1 * made)),
}


def test_every_refusal_of_the_page_is_tried():
    listed = [row[0] for row in rows(text("use_it"), "| what you see |")]
    assert [re.match("`(.*?)`", cell).group(1) for cell in listed] == list(PROVOKED)


@pytest.mark.parametrize("said", PROVOKED)
def test_what_goes_wrong_is_said_in_these_words(said):
    listed = {row[0] for row in rows(text("use_it"), "| what you see |")}
    if f"`{said}` (a warning)" in listed:
        with pytest.warns(RuntimeWarning, match=re.escape(said)):
            PROVOKED[said]()
    else:
        with pytest.raises(ValueError, match=re.escape(said)):
            PROVOKED[said]()


def test_methods_of_the_page_are_there():
    named = [row[0].strip('`"') for row in rows(text("use_it"), "| `method=` |")]
    assert len(named) > 5 and set(named) <= {*npc.METHODS, "recommended"}


# --- the interface ---


def test_every_public_name_has_an_example_that_runs():
    page, names = text("api"), {}
    try:
        for code in blocks(page):
            assert code.startswith("import torch") or "assert" in code or "assert_close" in code
            exec(compile(code, "api.md", "exec"), names)
    finally:
        npc.METHODS.pop("loudest", None)
    documented = re.findall(r"^\.\. auto(?:class|function):: neuronpath_core\.([\w.]+)$", page, re.M)
    assert {name.rsplit(".", 1)[1] for name in documented} | {"METHODS", "REPLACEMENTS"} == set(npc.__all__)
    examples = "\n".join(blocks(page))
    for name in npc.__all__:
        assert re.search(rf"\bnpc\.{name}\b|\bPaths\b", examples) or name == "Paths", name


def test_the_table_of_methods_is_the_registry():
    table = [[cell.strip('`"') for cell in row] for row in rows(text("api"), "| `method=` |")]
    assert [(row[0], row[1], row[3]) for row in table] == [
        (key, method.label, "yes" if method.with_baseline else "no")
        for key, method in sorted(npc.METHODS.items(), key=lambda item: [row[0] for row in table].index(item[0]))]


def test_find_paths_comes_first():
    assert rows(text("api"), "| name |")[0][0] == "[`find_paths`](npc-find-paths)"


def test_every_module_is_on_one_page_of_the_interface():
    wanted = api_pages.pages()
    there = {file.name: file.read_text(encoding="utf-8") for file in (BOOK / "api").glob("*.md")}
    assert there == wanted, "python book/api_pages.py writes the pages again"
    listed = re.findall(r"automodule:: ([\w.]+)", "".join(there.values()))
    assert len(listed) == len(set(listed)) > 100
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert all(f"book/api/{room}\n" in toc for room in api_pages.ROOMS)


# --- glossary, method, reproduce, limits ---


def test_the_toys_are_those_of_the_record():
    table = rows(text("glossary"), "| toy |")
    assert len(table) == 4
    profiles = [yaml.safe_load((ROOT / "profiles" / f"{name}.yml").read_text())
                for name in ("digits", "shapes")]
    for name, paper, *toys in table:
        name, stands_for = name.strip("*"), paper.partition(":")[0].replace("/", "-")
        for folder, profile, cell in zip(("digits", "shapes"), profiles, toys, strict=True):
            assert profile["models"][name]["stands_for"] == stands_for
            record = json.loads((ROOT / "data/weights" / folder / "weights.json").read_text())
            entry = next(each for each in record.values() if each["model"] == name)
            assert cell.endswith(f"{entry['parameters']:,} parameters; "
                                 f"{100 * entry['held_out_accuracy']:.2f} %"), (name, folder)
            assert entry["held_out_accuracy"] < 0.96
            if sizes := re.search(r"patch (\d+), (\d+) blocks, (\d+) wide, (\d+) neurons", cell):
                built = profile["models"][name]["architecture"]
                assert list(map(int, sizes.groups())) == [
                    built["patch_size"], built["depth"], built["embed_dim"], 4 * built["embed_dim"]]


def test_every_term_that_a_page_uses_is_in_the_glossary():
    glossary = blocks(text("glossary"), "{glossary}")[0]
    terms = set(re.findall(r"^(\S.*)$", glossary, re.MULTILINE)) - {":sorted:"}
    used = {shown.rpartition("<")[2].rstrip(">") for page in BOOK.rglob("*.md")
            for shown in re.findall(r"\{term\}`(.+?)`", page.read_text(encoding="utf-8"))}
    assert used and used <= terms and len(terms) > 35


def test_the_example_by_hand_adds_up():
    """F = w1 w2 with both 1: slopes of alpha each, activations that add up to 2."""
    page = text("method")
    for rule, steps, said in (("gauss-legendre", 4, "the score is 2"), ("left", 20, "it gives 1.9")):
        nodes, weights = npc.quadrature_rule(rule, steps)
        score = 2 * float((weights * 2 * nodes).sum())
        assert f"{score:.4g}" == said.split()[-1] and said in page


def test_reproduce_says_what_chapters_took_and_what_the_command_reads():
    page, notebooks = text("reproduce"), chapters.read(ROOT)
    filled, seconds = provenance.with_times(page, notebooks), 0
    listed = rows(page, "| chapter |")
    assert len(listed) == len(notebooks)
    for asked, shown in zip(listed, rows(filled, "| chapter |"), strict=True):
        name = re.search(r"notebooks/(\w+)", asked[0]).group(1)
        took = notebooks[name].metadata["neuronpath"]["executed"]["seconds"]
        assert asked[1] == f"{{took}}`{name}`" and asked[0].startswith(name[:2]), name
        assert shown[1] == f"{took}\u00a0s"
        seconds += took
    assert f"adds up to {round(seconds / 60)} minutes on " in filled and "{took}" not in filled
    with pytest.raises(ValueError, match="asks for '99_none'; accepted: all, cores, 01_"):
        provenance.with_times("{took}`99_none`", notebooks)
    code = "".join(file.read_text(encoding="utf-8")
                   for file in (ROOT / "neuronpath_core").rglob("*.py"))
    read = set(re.findall(r'_VARIABLE = "(\w+)"', code)) - {"NEURONPATH_FOLDER"}  # our own, inside
    listed = {row[0].strip("`"): row[2].strip("`") for row in rows(page, "| variable |")}
    assert set(listed) == read | {"OMP_NUM_THREADS"}
    options = {option for each in (command.commands["run"], command.commands["paths"])
               for parameter in each.params for option in parameter.opts}
    assert {option for option in listed.values() if option != "–"} <= options


def test_reproduce_counts_the_chapters_that_the_papers_profile_lacks_something_for():
    lacking = not_run(ROOT, load_profile("imagenet", ROOT))
    said = re.search(r"(\w+) chapters need what these data and models lack", text("reproduce"))[1]
    numbers = "Three Four Five Six Seven Eight Nine Ten Eleven Twelve Thirteen Fourteen Fifteen Sixteen Seventeen Eighteen Nineteen Twenty".split()
    assert numbers.index(said) + 3 == len(lacking)


def test_reproduce_names_every_command_of_make():
    """But those of who works on the project, which `make help` lists."""
    targets = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    for target in set(targets.split()) - {"lint", "notebooks", "clean", "help"}:
        assert re.search(rf"\bmake {target}\b", text("reproduce")), target


def test_a_new_profile_is_written_down_with_every_option_that_it_requires():
    required = {parameter.opts[0] for parameter in command.commands["new-profile"].params
                if parameter.required and parameter.opts[0].startswith("--")}
    written = [line for page in [*BOOK.rglob("*.md"), ROOT / "README.md"] for line
               in re.findall(r"neuronpath new-profile \w[^`\n]*", page.read_text(encoding="utf-8"))]
    assert required == {"--model"} and len(written) >= 3
    for line in written:
        assert required <= set(line.split()), line


def test_every_limit_says_what_would_lift_it():
    page = text("limits").partition("## What people bring")[0]
    limits = re.findall(r"^\*\*.+?\*\*", page, re.MULTILINE)
    assert len(limits) == len(re.findall(r"^\*To (?:lift it|have it as published):\*", page,
                                         re.MULTILINE)) > 10


def test_pictures_need_images_and_single_paths():
    target = npc.TargetModel(small())
    study = npc.Study()
    digits = study.images(20)
    with pytest.raises(ValueError, match="20 images cannot be drawn; accepted: 1 to 12"):
        npc.figures.image_paths(target, digits, torch.zeros(20, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="2 neurons a block cannot be drawn; accepted: one"):
        npc.figures.image_paths(target, digits.select([0]), torch.tensor([[[0, 1], [2, 3]]]))
