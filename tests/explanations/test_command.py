"""``neuronpath explain``, from what is typed to files."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from bs4 import BeautifulSoup
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

import neuronpath_core as npc
from neuronpath_core.models.build import load_model
from neuronpath_core.models.preprocessing import model_preprocessing, transform
from neuronpath_core.runs import cli
from neuronpath_core.runs.explain import _stem
from neuronpath_core.runs.named_model import named_model
from tests.explanations.numbers import NUMBER, says
from tests.helpers import refused

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURE = "test_vit"  # timm's own small network for tests
DIGITS = ROOT / "data/weights/digits"


def tiny(**settings):
    torch.manual_seed(5)
    model = timm.create_model(ARCHITECTURE, **{"num_classes": 3, "img_size": 32, **settings}).eval()
    if not isinstance(model.head, torch.nn.Identity):
        torch.nn.init.normal_(model.head.weight, std=0.5)
    return model


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a tiny model's file and pictures, which is the working directory."""
    save_file(tiny().state_dict(), tmp_path / "mine é.safetensors")
    rng = np.random.default_rng(1)
    for name in ("a cat.png", "été.png", "b 10.png"):
        file = tmp_path / "pictures" / name
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(file)
    monkeypatch.chdir(tmp_path)
    for name in ("NEURONPATH_WEIGHTS", "NEURONPATH_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no cache"))
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(cli.cli, ["explain", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def refusal(monkeypatch, capsys):
    """The one line with which a command is refused."""
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["neuronpath", "explain", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        said = capsys.readouterr()
        assert stopped.value.code == 2 and said.out == "" and said.err.count("\n") == 1, said
        return said.err
    return call


MINE = ["--model", "mine é.safetensors", "--architecture", ARCHITECTURE]


def test_a_file_of_weights_end_to_end(here):
    """What is printed and written is what the library measures of the same weights and pixels."""
    done = run("pictures/a cat.png", *MINE, "--out", "pages")
    assert done.exit_code == 0
    model = tiny()
    image = transform(model_preprocessing(model))(Image.open("pictures/a cat.png"))[None]
    target = npc.TargetModel(model)
    with torch.no_grad():
        clean = target(image)[0].softmax(-1)
    label = int(clean.argmax())
    paths = npc.find_paths(target, image, torch.tensor([label]), method="recommended")
    with torch.no_grad(), npc.edit(target, paths.neurons, "remove"):
        removed = target(image)[0].softmax(-1)
    line = next(line for line in done.output.splitlines() if line.startswith(f"class {label} *"))
    first, second, _ = re.findall(NUMBER, line)
    assert says(first, float(clean[label])) and says(second, float(removed[label]))
    table = [row.split() for row in done.output.splitlines() if re.match(r"\d+ ", row)]
    assert [int(row[1]) for row in table] == paths.neurons[0].tolist()
    assert sorted(path.name for path in Path("pages").iterdir()) == ["a cat.html", "a cat.png"]
    assert "written: pages/a cat.html" in done.output
    page = BeautifulSoup(Path("pages/a cat.html").read_text(encoding="utf-8"), "html.parser")
    assert [int(row.find_all("td")[0].get_text()) for row in page.find_all("table")[1].tbody.find_all("tr")] == [
        int(row[1]) for row in table]


def test_pictures_and_folders_and_names(here):
    Path("names.txt").write_text("cat\n<b>dog</b>\né\n", encoding="utf-8")
    (here / "pictures" / ".hidden.png").write_bytes(b"no picture")
    done = run("pictures", "pictures/a cat.png", *MINE, "--label", "É", "--class-names", "names.txt", "--method", "activation")
    assert done.exit_code == 0 and done.output.count("é *") == 3 and "1 hidden pictures" in done.stderr
    assert done.output.index("a cat.png") < done.output.index("b 10.png") < done.output.index("été.png")
    assert len(list(Path("explanations").iterdir())) == 6
    assert "<b>dog" not in Path("explanations/été.html").read_text(encoding="utf-8")


def test_pictures_of_one_name_are_kept_apart(here):
    (here / "other").mkdir()
    Image.radial_gradient("L").save("other/A CAT.bmp")
    assert run("pictures/a cat.png", "other/A CAT.bmp", *MINE).exit_code == 0
    assert sorted(path.name for path in Path("explanations").iterdir()) == [
        "A CAT-2.html", "A CAT-2.png", "a cat.html", "a cat.png"]
    taken = set()
    names = [_stem(Path(each), taken) for each in ("x/a:b?.png", "a_b_.jpg", "...png", "é" * 100 + ".png", "a\nb.png")]
    assert names == ["a_b_", "a_b_-2", "picture", "é" * 60, "a_nb"]


def test_a_picture_that_cannot_be_read_does_not_stop_the_others(here, monkeypatch, capsys):
    Path("pictures/broken.png").write_bytes(b"no picture")
    monkeypatch.setattr(sys, "argv", ["neuronpath", "explain", "pictures/broken.png", "pictures/a cat.png", *MINE])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    said = capsys.readouterr()
    assert stopped.value.code == 2 and "written: explanations/a cat.html" in said.out
    assert "broken.png is no picture" in said.err and "1 of 2 pictures" in said.err.splitlines()[-1]


REFUSED = {
    "no picture": (["none.png", *MINE], ["none.png is not there"]),
    "an empty folder": (["empty", *MINE], ["empty has no pictures"]),
    "text": (["names.txt", *MINE], ["no picture that Pillow knows"]),
    "no pictures named": ([*MINE], ["PICTURES"]),
    "no model named": (["pictures/a cat.png"], ["--model"]),
    "a label": (["pictures/a cat.png", *MINE, "--label", "7"], ["no class '7'", "0..2"]),
    "a method": (["pictures/a cat.png", *MINE, "--method", "magic"], ["magic"]),
    "no file": (["pictures/a cat.png", "--model", "none.safetensors"], ["none.safetensors are not there"]),
    "a file of unknown kind": (["pictures/a cat.png", "--model", "mine é.safetensors"],
                               ["nothing says what network", "--architecture NAME"]),
    "another architecture": (["pictures/a cat.png", "--model", "mine é.safetensors", "--architecture", "vit_tiny_patch16_224"],
                             ["do not fit the model"]),
    "an unknown architecture": (["pictures/a cat.png", "--model", "mine é.safetensors", "--architecture", "vit_none"],
                                ["vit_none", "timm.list_models()"]),
    "an architecture for a name": (["pictures/a cat.png", "--model", "vit_tiny_patch16_224", "--architecture", "test_vit"],
                                   ["does not go with"]),
    "two architectures": (["pictures/a cat.png", "--model", "test_vit2=mine é.safetensors", "--architecture", "test_vit"],
                          ["name two networks"]),
    "weights that are not here": (["pictures/a cat.png", "--model", "vit_base_patch16_224"],
                                  ["not found; looked for", "hf download timm/vit_base_patch16_224"]),
    "a hub model that is not here": (["pictures/a cat.png", "--model", "hf-hub:somebody/model"],
                                     ["not found", "hf download somebody/model config.json model.safetensors"]),
    "a name that timm does not know": (["pictures/a cat.png", "--model", "vit_none"], ["'vit_none'"]),
    "no classifier": (["pictures/a cat.png", "--model", "headless.safetensors", "--architecture", ARCHITECTURE],
                      ["no head.weight", "linear classification head"]),
    "names of other classes": (["pictures/a cat.png", *MINE, "--class-names", "two.txt"], ["are 2", "3 classes"]),
    "no names": (["pictures/a cat.png", *MINE, "--class-names", "none.txt"], ["none.txt"]),
    "a device": (["pictures/a cat.png", *MINE, "--device", "toaster"], ["toaster"]),
    "a folder that is a file": (["pictures/a cat.png", *MINE, "--out", "names.txt"], ["names.txt"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_one_line_and_nothing_is_written(here, refusal, case):
    arguments, words = REFUSED[case]
    (here / "empty").mkdir()
    Path("names.txt").write_text("cat\n", encoding="utf-8")
    Path("two.txt").write_text("cat\ndog\n", encoding="utf-8")
    save_file(tiny(num_classes=0).state_dict(), "headless.safetensors")
    said = refusal(*arguments)
    for word in words:
        assert word in said, said
    assert not Path("explanations").exists() and not list(here.glob("*.html"))


# --- which network a file is of ---


def test_the_projects_own_weights_are_known():
    found = named_model(str(DIGITS / "vit_b_32.seed-21.safetensors"), None, ROOT)
    assert found.name == "tiny-B-32 seed 21" and found.class_names == tuple("0123456789")
    assert found.spec["data_config"]["mean"] == [0.5] and found.spec["architecture"]["patch_size"] == 4


def test_a_scan_is_seen_as_in_its_study(tmp_path):
    """A digit as a file gives what the profile's own image gives, to eight bits."""
    from neuronpath_core.study.study import Study

    study = Study("digits", results=tmp_path)
    held = study.images(10)
    found = named_model(str(DIGITS / "vit_b_16.safetensors"), None, ROOT)
    model = load_model(found.spec, ROOT)
    for number in range(3):
        scan = np.round((held.images[number, 0].numpy() * 0.5 + 0.5) * 255).astype(np.uint8)
        explained = npc.explain(model, Image.fromarray(scan), preprocessing=found.spec["data_config"])
        with torch.no_grad():
            own = study.target("tiny-B-16")(held.images[number:number + 1])[0].softmax(-1)
        # a pixel is off by half a grey level at most
        assert np.allclose(explained.probabilities, own, atol=0.02)


def test_timms_configuration_beside_a_file(here):
    model = tiny(global_pool="avg")
    save_file(model.state_dict(), "model.safetensors")
    config = {"architecture": ARCHITECTURE, "num_classes": 3, "global_pool": "avg", "model_args": {"img_size": 32},
              "label_names": ["n1", "n2", "n3"], "label_descriptions": {"n1": "cat"},
              "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "crop_pct": 1.0, "url": "x"}}
    Path("config.json").write_text(json.dumps(config), encoding="utf-8")
    found = named_model("model.safetensors", None, ROOT)
    assert found.class_names == ("cat", "n2", "n3") and found.spec["data_config"] == {
        "mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "crop_pct": 1.0}
    loaded = load_model(found.spec, ROOT, dtype="float32")
    assert loaded.global_pool == "avg"
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(image), model(image))
    done = run("pictures/a cat.png", "--model", "model.safetensors", "--label", "CAT")
    assert done.exit_code == 0 and "cat *" in done.output
    for text, words in (("{", "cannot be read"), ("[]", "names no architecture"), ('{"architecture": 3}', "names no")):
        Path("config.json").write_text(text, encoding="utf-8")
        refused(lambda: named_model("model.safetensors", None, ROOT), words, "accepted", "--architecture")


def test_a_model_of_the_hub_that_is_here(here):
    folder = here / "weights" / "somebody" / "model"
    folder.mkdir(parents=True)
    save_file(tiny().state_dict(), folder / "model.safetensors")
    config = {"architecture": ARCHITECTURE, "num_classes": 3, "model_args": {"img_size": 32}, "label_names": ["x", "y", "z"],
              "pretrained_cfg": {"num_classes": 3, "input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.5] * 3,
                                 "first_conv": "patch_embed.proj", "classifier": "head"}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    done = run("pictures/a cat.png", "--model", "hf-hub:somebody/model", "--weights", "weights", "--label", "y")
    assert done.exit_code == 0 and "y *" in done.output


def test_names_with_an_equals_sign_are_files_first(here):
    save_file(tiny().state_dict(), "lr=3.safetensors")
    refused(lambda: named_model("lr=3.safetensors", None, ROOT), "nothing says")
    assert named_model("lr=3.safetensors", ARCHITECTURE, ROOT).spec["arguments"]["num_classes"] == 3
    assert named_model(f"{ARCHITECTURE}=lr=3.safetensors", None, ROOT).spec["timm"] == ARCHITECTURE


def test_help_comes_without_loading_torch(monkeypatch):
    import subprocess

    code = ("import sys\nfrom neuronpath_core.runs import cli\n"
            "try: cli.cli(['explain', '--help'])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "PICTURES" in done.stdout


THREE_LINES = """\
import timm, neuronpath_core as npc
model = timm.create_model("vit_base_patch16_224", pretrained=True)
npc.explain(model, "cat.jpg").save("cat.html")
"""


def test_three_lines_make_a_page(here, monkeypatch):
    """The README's lines, where it has them, with a network whose weights are here."""
    found = re.findall(r"```py\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    code = next((each for each in found if "npc.explain" in each), THREE_LINES)
    assert code == THREE_LINES
    Image.open("pictures/a cat.png").convert("RGB").save("cat.jpg")
    model, asked = tiny(), []
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: asked.append((name, pretrained)) or model)
    exec(compile(code, "README.md", "exec"), {})
    page = Path("cat.html").read_text(encoding="utf-8")
    assert asked == [("vit_base_patch16_224", True)] and f"<strong>{npc.explain(model, 'cat.jpg').neurons[0, 0]}</strong>" in page
