"""The checklists of CONTRIBUTING.md: each adds a toy of its kind, and counts the files that this took.

A "file touched" is a file of the library that would be edited, or a new file; a row of a table is patched in here as
its one edited line would put it there.
"""

import importlib
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import codistill
from codistill.cli import COMMANDS, main
from codistill.distill.losses import DistillationLoss, LossConfig
from codistill.distill.terms import TERMS, Term, TermContext
from codistill.encoders.registry import REGISTERED
from codistill.student.projectors import PROJECTORS, ProjectorConfig
from codistill.tasks.layout import Layout
from codistill.tasks.opening import open_data
from codistill.tasks.registry import TASKS, find_task

ROOT = Path(__file__).parents[1]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of new files that can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def files_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.py"))


def test_every_checklist_is_tested_here() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Checklists")[2]
    titles = [line.split("**")[1] for line in text.splitlines() if line.startswith("**")]
    assert len(titles) == 6
    tests = [name for name in globals() if name.startswith("test_adding_")]
    assert len(tests) == len(titles)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_every_room_is_on_the_page(page: str) -> None:
    """Those of the contract that import-linter holds, and the folder of models, which has no code."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = [name.strip(" ()") for row in contract["contracts"][0]["layers"] for name in row.split("|")]
    rooms = {name for name in layers if (ROOT / "src" / "codistill" / name).is_dir()} | {"models"}
    assert rooms == {path.name for path in (ROOT / "src" / "codistill").iterdir() if path.is_dir()} - {
        "__pycache__"
    }
    text = (ROOT / page).read_text(encoding="utf-8")
    rows = " ".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    assert not [name for name in rooms if f"`{name}/`" not in rows]
    files = [name for name in layers if (ROOT / "src" / "codistill" / f"{name}.py").is_file()]
    assert not [name for name in files if f"`{name}.py`" not in rows]


def test_adding_a_head_takes_one_folder_and_one_row(
    package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The folder is tests/tasks/toy_brightness.py; every task of the library is a row of one table."""
    monkeypatch.syspath_prepend(ROOT / "tests" / "tasks")
    monkeypatch.setitem(TASKS, "brightness", "toy_brightness:TASK")
    assert find_task("brightness").fit is not None
    elsewhere = [
        path.relative_to(ROOT)
        for path in (ROOT / "src").rglob("*.py")
        if '"segmentation"' in path.read_text(encoding="utf-8")
        and "tasks/dense/segmentation" not in str(path)
    ]
    # A task's name stands in its own room, in the registry, where `segment` is short for it, and where files say which
    # kind of linear head they hold. The live page sends what it knows as values; answers of other tasks are pictures.
    named = {"tasks/registry.py", "cli.py", "heads/linear/released.py"}
    named |= {"serve/answers.py", "serve/messages.py", "commands/bench_live.py"}
    assert {str(path) for path in elsewhere} <= {f"src/codistill/{path}" for path in named}


def test_adding_a_layout_takes_one_function_and_one_row(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = find_task("segmentation")
    (package / "my_layout.py").write_text(
        "from codistill.tasks.dense.segmentation.data import PROTOCOLS, SegmentationData\n"
        "from codistill.tasks.dense.segmentation.layouts import LabelValues\n"
        "from codistill.tasks.shared.data import FilePairs\n"
        "from codistill.tasks.shared.groups import alone\n"
        "def opened(where):\n"
        "    images = sorted((where.root / where.split).glob('*_image.png'))\n"
        "    pairs = tuple((p, p.with_name(p.name.replace('_image', '_label'))) for p in images)\n"
        "    values = LabelValues({0: 0, 1: 1}, '0 or 1')\n"
        "    samples = FilePairs(pairs, alone(images), values)\n"
        "    return SegmentationData(spec=where.spec, split=where.split, samples=samples,\n"
        "        classes=('sky', 'ground'), protocol=PROTOCOLS['folder'])\n"
    )
    folder = package / "photos" / "val"
    folder.mkdir(parents=True)
    Image.fromarray(np.zeros((20, 20, 3), dtype=np.uint8)).save(folder / "a_image.png")
    Image.fromarray(np.eye(20, dtype=np.uint8)).save(folder / "a_label.png")
    row = Layout(
        importlib.import_module("my_layout").opened, "NAME_image.png beside NAME_label.png", ("val",)
    )
    monkeypatch.setitem(task.layouts, "mine", row)  # type: ignore[arg-type]
    data = open_data(task, f"mine:{package / 'photos'}", "val")
    assert len(data.samples) == 1 and data.classes == ("sky", "ground")
    assert files_of(package) == ["my_layout.py"]


def test_adding_a_teacher_takes_a_factory(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package / "my_encoder.py").write_text(
        "import codistill, torch\n"
        "from codistill.encoders.registry import FunctionEncoder\n"
        "from codistill.types import EncoderSpec\n"
        "@codistill.register_encoder('contributed')\n"
        "def contributed():\n"
        "    net = torch.nn.Conv2d(3, 8, 16, 16)\n"
        "    return FunctionEncoder(EncoderSpec(name='contributed', dim=8, patch_size=16, has_cls=False), net)\n"
    )
    importlib.import_module("my_encoder")
    try:
        assert codistill.load_encoder("contributed")(torch.zeros(1, 3, 32, 48)).patches.shape == (1, 6, 8)
    finally:
        REGISTERED.pop("contributed")
    assert files_of(package) == ["my_encoder.py"]


def test_adding_a_loss_term_takes_one_function_and_one_row(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "my_term.py").write_text(
        "def absolute(prediction, target, context):\n"
        "    error = (prediction - target).abs().mean(-1)\n"
        "    return error.mean(1) if error.ndim == 2 else error\n"
    )
    function = importlib.import_module("my_term").absolute
    monkeypatch.setitem(TERMS, "absolute", Term(function=function))
    prediction, target = torch.randn(2, 5, 4), torch.randn(2, 5, 4)
    expected = (prediction - target).abs().mean((1, 2))
    for name in ("absolute", f"{package / 'my_term.py'}:absolute"):  # a row, or a user's own file
        loss = DistillationLoss(LossConfig(weights={name: 2.0}))
        found = loss.of_tokens(prediction, target, TermContext(kind="patch"))
        torch.testing.assert_close(found.total, 2.0 * expected)
        assert list(found.terms) == ["absolute"]
    assert files_of(package) == ["my_term.py"]


def test_adding_a_projector_takes_one_module_and_one_row(package: Path) -> None:
    (package / "my_projector.py").write_text(
        "from torch import nn\n"
        "from codistill.student.projectors import PROJECTORS, Projector\n"
        "def build(config, student, width, kinds):\n"
        "    return PROJECTORS['transformer'].build(config, student, width, kinds)\n"
        "mine = Projector(build=build, options=('num_blocks', 'num_heads', 'layer_scale'))\n"
    )
    config = ProjectorConfig(kind=f"{package / 'my_projector.py'}:mine", num_blocks=1)
    assert config.kind.endswith(":mine") and "transformer" in PROJECTORS
    assert config.student_blocks(12) == (11,)
    assert files_of(package) == ["my_projector.py"]


def test_adding_a_command_takes_a_file_its_parser_and_a_row(
    package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (package / "greet.py").write_text("def main(argv):\n    print('hello', *argv)\n    return 0\n")
    (package / "greet_parser.py").write_text("def parse(argv):\n    return argv\n")
    monkeypatch.setitem(COMMANDS, "greet", ("greet:main", "say hello"))
    parser = importlib.import_module("greet_parser")
    monkeypatch.setitem(sys.modules, "codistill.commands.parsers.greet", parser)
    assert main(["greet", "you"]) == 0 and capsys.readouterr().out == "hello you\n"
    assert files_of(package) == ["greet.py", "greet_parser.py"]
