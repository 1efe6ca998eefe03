"""Every option at once, as a user runs it: it resumes bit for bit, and the export carries what undoes the targets."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import codistill
from codistill.cli import main
from codistill.engine.parallel import repeated_units
from codistill.errors import CheckpointError
from codistill.recipes.build import build_objective
from codistill.recipes.registry import find_recipe

OPTIONS = [
    "--engine.total-steps=6",
    "--engine.checkpoint-every=3",
    "--engine.validate-every=6",
    "--student.ema=0.9",
    "--student.drop-path=0.3",
    "--student.damp=0.1",
    "--distill.targets.statistics=fixed",
    "--distill.targets.transform=phi_s",
    "--distill.targets.estimate-steps=4",
    "--distill.loss.summary",
    "angular",
    "1",
    "--distill.alignment=larger",
    "--distill.shift.most=1",
    "--distill.mesa.weight=0.5",
    "--distill.mesa.start=0.4",
    "--image-sizes",
    "42",
    "56",
    "--teachers.0.image-sizes",
    "42",
    "70",
]
TEACHERS = [
    "--teacher=generic,random:vit_tiny,dim=64,num_heads=2,depth=2,seed=1,weight=2",
    "--teacher=stereo,random:vit_tiny,dim=48,num_heads=2,depth=2,patch_size=16,seed=2,domain=3d,kinds=patch",
    "--teacher=people,random:vit_tiny,dim=32,num_heads=2,depth=2,patch_size=7,seed=3,domain=human,kinds=patch",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    straight, resumed = (tmp_path_factory.mktemp(name) / "run" for name in ("straight", "resumed"))
    terms = tmp_path_factory.mktemp("own") / "terms.py"
    terms.write_text(
        "def square(prediction, target, context):\n    return (prediction - target).square().mean((1, 2))\n"
    )
    own = ["--distill.loss.weights", "cosine", "0.5", f"{terms}:square", "0.1"]
    command = ["distill", "debug", *TEACHERS, *OPTIONS, *own]
    assert main([*command, "--out", str(straight)]) == 0
    assert main([*command, "--engine.stop-after=4", "--out", str(resumed)]) == 75
    assert main([*command, "--out", str(resumed)]) == 0
    return straight, resumed


def final(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "step_00000006" / "model.safetensors")


def test_a_resumed_run_is_the_undisturbed_one(runs: tuple[Path, Path]) -> None:
    one, two = map(final, runs)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_every_term_is_logged(runs: tuple[Path, Path]) -> None:
    first = json.loads((runs[0] / "metrics.jsonl").read_text().splitlines()[0])
    parts = [
        {name.rpartition("/")[2] for name in first if name.startswith(f"loss/generic/{kind}/")}
        for kind in ("cls", "patch")
    ]
    assert parts == [{"angular"}, {"cosine", "square"}]


OWN_PROJECTOR = """\
from torch import nn
from codistill.student.projectors import Projector
from codistill.types import Tokens

class Straight(nn.Module):
    def __init__(self, config, student, out_dim, kinds):
        super().__init__()
        self.map = nn.Linear(student.dim, out_dim)

    def forward(self, outputs):
        last = outputs[-1]
        cls = None if last.cls is None else self.map(last.cls)
        return Tokens(patches=self.map(last.patches), grid=last.grid, cls=cls, normed=True)

TWO = Projector(build=Straight, options=("blocks",))
"""


def test_a_projector_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(OWN_PROJECTOR)
    monkeypatch.chdir(tmp_path)
    command = ["distill", "debug", *TEACHERS, "--student.projector.kind", "mine.py:Straight"]
    own = f"{tmp_path}/mine.py:Straight"
    assert main([*command, "--engine.total-steps=2", "--out", "run"]) == 0
    assert find_recipe("run/config.yaml").student.projector.kind == own
    for folder in ("run", "run/export"):
        codistill.load_encoder(folder)
        with pytest.raises(CheckpointError, match=f"reading weights imports no code .* add ,projector={own}"):
            codistill.load_student(folder)
        student = codistill.load_student(f"{folder},projector={own}")
        assert type(student.projectors["stereo"]).__name__ == "Straight"
        assert student.project(student.encoder(torch.zeros(1, 3, 28, 28), norm=False), "stereo").patches.any()
    for rest, code, text in (
        (["--student.init=run"], 2, "imports no code"),
        ([f"--student.init=run,projector={own}"], 0, "finished"),
        (
            ["--student.projector.hidden=3"],
            2,
            "hidden = 3 would have no effect: student.projector.kind is mine.py",
        ),
    ):
        capsys.readouterr()
        assert main([*command, "--engine.total-steps=1", *rest, "--out", "again"]) == code
        assert text in capsys.readouterr().err
    debug = find_recipe("debug").student.projector
    assert replace(debug, kind="mine.py:TWO", blocks=(0, 1)).student_blocks(2) == (0, 1)
    assert replace(debug, kind="mine.py:Straight").student_blocks(2) == (1,)


def test_the_export_holds_the_average(runs: tuple[Path, Path]) -> None:
    saved = final(runs[0])
    moved = [
        n for n in saved if n.startswith("encoder.") and not torch.equal(saved[n], saved[f"average.{n}"])
    ]
    assert len(moved) > 20
    for source in (runs[0], runs[0] / "export"):
        encoder = codistill.load_encoder(source)
        for name, tensor in encoder.state_dict().items():
            assert torch.equal(tensor, saved[f"average.encoder.{name}"]), name


def test_the_export_carries_the_transform(runs: tuple[Path, Path]) -> None:
    saved = final(runs[0])
    student = codistill.load_student(str(runs[0] / "export"))
    rotation = student.target_statistics["stereo"]["patch"].rotation  # type: ignore[index,union-attr]
    assert torch.equal(rotation, saved["target_statistics.stereo.patch.rotation"])  # type: ignore[arg-type]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(48), atol=1e-5, rtol=0)  # type: ignore[operator,union-attr]
    assert not torch.allclose(rotation, torch.eye(48), atol=0.1)  # type: ignore[arg-type]
    tokens = student.encoder(torch.randn(1, 3, 56, 56), norm=False)
    standardized = student.project(tokens, "stereo").patches
    own = student.project(tokens, "stereo", denormalize=True).patches
    std, mean = (saved[f"target_statistics.stereo.patch.{name}"] for name in ("std", "mean"))
    expected = (standardized * std.clamp(min=1e-3)) @ rotation + mean  # type: ignore[operator]
    torch.testing.assert_close(own, expected)
    assert len(std.unique()) == 1


def test_the_second_stage_keeps_the_statistics_it_is_given(runs: tuple[Path, Path], tmp_path: Path) -> None:
    second = [*OPTIONS, f"--student.init={runs[0]}", "--engine.total-steps=1", "--image-size=84"]
    assert main(["distill", "debug", *TEACHERS, *second, "--out", str(tmp_path / "second")]) == 0
    first = final(runs[0])
    saved = load_file(tmp_path / "second" / "checkpoints" / "step_00000001" / "model.safetensors")
    for name in first:
        if name.startswith("target_statistics."):
            assert torch.equal(saved[name], first[name]), name


def test_printed_config_shows_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["distill", "debug", "--print-config"]) == 0
    text = capsys.readouterr().out
    for line in ("image_sizes: []", "ema: 0.0", "transform: channels", "summary: null", "weight: 1.0"):
        assert line in text, line


def test_compiling_takes_the_teachers_along(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[int] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **_: compiled.append(id(self)))
    debug = find_recipe("debug")
    objective, _ = build_objective(debug)
    assert compiled == []
    objective, _ = build_objective(replace(debug, engine=replace(debug.engine, compile=True)))
    blocks = repeated_units(objective.bank)  # type: ignore[arg-type]
    assert len(blocks) >= 3 and compiled == [id(block) for block in blocks]
