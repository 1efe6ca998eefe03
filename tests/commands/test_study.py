"""`codistill study` as users run it: what is refused, what is planned, and the shipped mini study from end to end."""

import json
from pathlib import Path

import pytest
import torch

from codistill.cli import main
from codistill.commands.parsers.study import study_names
from codistill.commands.study import resolve_evaluation
from codistill.files.config import load_yaml, save_yaml
from codistill.study.cells import cells_of
from codistill.study.config import StudyConfig
from codistill.study.places import StudyFolder
from codistill.study.records import write_cell
from codistill.study.registry import find_study, shipped_studies

ONE_CELL = """
name: one
seeds: [0]
rows: {{known: {{encoder: "{encoder}"}}}}
evaluations: {{depth: {{task: depth, options: {{data: "world:nowhere", fit.steps: 3}}, minutes: 3}}}}
"""


@pytest.fixture
def one_cell(tmp_path: Path) -> Path:
    path = tmp_path / "one.yaml"
    path.write_text(ONE_CELL.format(encoder="random:vit_tiny,depth=1"))
    return path


def test_shipped_studies_are_listed_without_being_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(study_names()) == shipped_studies().keys()
    assert main(["study", "--list"]) == 0
    assert "paper-debug" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("", "study run|tables|show"),
        ("run papr --out S", "Did you mean 'paper'"),
        ("run mine.yaml --out S", "no such file"),
        ("run paper --out S --jobs 0", "--jobs must be 1 or more"),
        ("run paper --out S --gflops 3", "no effect without --dry-run"),
        ("run open.yaml --out S", "needs the variable teacher: add --set teacher="),
        ("run paper --out S --set teacher.stereo=x", "Did you mean 'teachers.stereo'"),
        ("run paper-debug --out S --only al", "--only: Unknown row 'al'"),
        ("run typo.yaml --out S", "Did you mean 'rmse'"),
        ("run paper --out S --workers -1", "--workers must be 0 or more"),
        ("run paper --out S --dry-run --gflops nan", "--gflops must be above 0"),
        ("run paper --out S --target-cache s3://bucket/targets", "is an address"),
        ("tables nowhere", "is no study's folder"),
        ("show nowhere", "is no study's folder"),
    ],
)
def test_mistakes_are_refused_before_anything_runs(
    words: str,
    error: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "open.yaml").write_text("variables: {teacher: ''}\n" + ONE_CELL.format(encoder="${teacher}"))
    (tmp_path / "typo.yaml").write_text(
        ONE_CELL.format(encoder="x") + "tables: {main: {columns: [depth.rmze]}}\n"
    )
    assert main(["study", *words.split()]) == 2
    assert error in capsys.readouterr().err
    assert not (tmp_path / "S").exists()


def test_a_plan_names_hours_and_runs_nothing(
    one_cell: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "S"
    assert main(["study", "run", str(one_cell), "--out", str(out), "--dry-run", "--gflops", "10"]) == 0
    text = capsys.readouterr().out
    assert "3.0 min" in text and "0.05 hours in all" in text and not out.exists()
    assert main(["study", "run", "paper-debug", "--out", str(out), "--dry-run", "--gflops", "0.001"]) == 0
    text = capsys.readouterr().out
    assert "19 of 19 cells are left" in text and "13 cells whose time is not known" in text
    # 12 steps of 6 images of 42 MFLOP, at 1 MFLOP/s
    line = next(line for line in text.splitlines() if "all " in line and "train" in line)
    twice = ["--dry-run", "--gflops", "1", "--seed", "1", "--seed", "1"]
    assert main(["study", "run", "paper-debug", "--out", str(out), *twice]) == 0
    assert "10 of 10 cells are left" in capsys.readouterr().out
    assert "50.7 min" in line


def test_a_plan_has_the_finished_trainings_whose_students_are_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a study whose `cells` alone were kept."""
    out = tmp_path / "S"
    cells = cells_of(find_study("paper-debug"), StudyFolder(out), resolve_evaluation)
    trained = next(cell for cell in cells if cell.name == "all/0/train")
    write_cell(StudyFolder(out), trained, {"seconds": 60.0, "attempts": 1})
    run = ["study", "run", "paper-debug", "--out", str(out), "--dry-run", "--gflops", "1"]
    assert main(run) == 0
    text = capsys.readouterr().out
    assert "19 of 19 cells are left" in text and "1 of them were finished and are done again" in text
    trained.out.joinpath("export").mkdir(parents=True)
    assert main(run) == 0
    text = capsys.readouterr().out
    assert "18 of 19 cells are left" in text and "done again" not in text


def test_a_finished_cell_that_will_be_done_again_is_shown_as_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, study = StudyFolder(tmp_path / "S"), find_study("paper-debug")
    folder.root.mkdir()
    save_yaml(study, folder.study)
    trained = next(c for c in cells_of(study, folder, resolve_evaluation) if c.name == "all/0/train")
    write_cell(folder, trained, {"seconds": 60.0, "attempts": 1})
    assert main(["study", "show", str(folder.root)]) == 0
    assert "19 left of 19 cells" in capsys.readouterr().out
    trained.out.joinpath("export").mkdir(parents=True)
    assert main(["study", "show", str(folder.root)]) == 0
    assert "1 finished, 18 left of 19 cells" in capsys.readouterr().out


def test_files_of_a_table_that_was_renamed_are_removed(one_cell: Path, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "S")
    folder.root.mkdir()
    text = one_cell.read_text()
    for name in ("old.name", "new"):
        one_cell.write_text(f"{text}tables: {{{name}: {{columns: [hours]}}}}\n")
        save_yaml(find_study(str(one_cell)), folder.study)
        assert main(["study", "tables", str(folder.root)]) == 0
        (folder.tables / "mine.tex").write_text("kept")
    assert sorted(path.name for path in folder.tables.glob("*.tex")) == ["cells.tex", "mine.tex", "new.tex"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_is_refused_once(
    one_cell: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "run", str(one_cell), "--out", str(tmp_path / "S"), "--device", "cuda"]) == 2
    assert "device is cuda, but" in capsys.readouterr().err and not (tmp_path / "S").exists()


def test_a_folder_holds_one_study(one_cell: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "S"
    out.mkdir()
    save_yaml(shipped_studies()["paper-debug"], out / "study.yaml")
    assert main(["study", "run", str(one_cell), "--out", str(out)]) == 2
    assert "holds the study 'paper-debug', not 'one'" in capsys.readouterr().err


@pytest.mark.parametrize("selected", [["--seed", "1"], ["--only", "other"]])
def test_selected_cells_must_fit_the_finished_ones(
    selected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They would stand in one table, or in one mean over seeds."""
    path, out = tmp_path / "two.yaml", tmp_path / "S"
    path.write_text(
        """
name: two
seeds: [0, 1]
variables: {steps: "3", name: ""}
rows:
  first: {recipe: debug, set: {engine.total_steps: "${steps}"}}
  other: {like: first}
  open: {encoder: "${name}"}
evaluations: {depth: {task: depth, options: {data: "world:nowhere"}, minutes: 1}}
"""
    )
    study, folder = find_study(str(path)), StudyFolder(out)
    done = next(cell for cell in cells_of(study, folder, resolve_evaluation, ["first"]))
    write_cell(folder, done, {"seconds": 60.0, "attempts": 1})
    done.out.joinpath("export").mkdir(parents=True)
    named = [] if "--only" in selected else ["--set", "name=x"]
    run = ["study", "run", str(path), "--out", str(out), "--dry-run", "--gflops", "1", *selected, *named]
    assert main(run) == 0
    assert main([*run, "--set", "steps=5"]) == 2
    assert "first/0/train: recipe.engine.total_steps: 3 → 5" in capsys.readouterr().err


@pytest.mark.slow
def test_a_failed_cell_is_reported_with_what_its_command_said(
    one_cell: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["study", "run", str(one_cell), "--out", "S"]) == 1
    printed = capsys.readouterr()
    assert "0 cells finished, 1 failed" in printed.out
    assert "known/0/depth: FAILED with exit code 2: codistill evaluate: " in " ".join(printed.err.split())
    assert main(["study", "show", "S"]) == 0
    assert "known/0/depth failed: codistill evaluate: " in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_the_mini_study_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("embreex", reason="needs the extra `world`")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CODISTILL_OFFLINE", "1")
    run = ["study", "run", "paper-debug", "--out", "S", "--jobs", "2"]
    assert main([*run, "--only", "own"]) == 0
    assert "7 cells finished" in capsys.readouterr().out
    assert main(run) == 0
    assert "19 cells finished" in capsys.readouterr().out
    cells = sorted(Path("S/cells").rglob("cell.json"))
    kept = sum(path.stat().st_size for path in Path("S/cells").rglob("*") if path.is_file())
    assert len(cells) == 19 and kept < 200_000
    before = [path.read_bytes() for path in cells]
    assert main(run) == 0
    assert [path.read_bytes() for path in cells] == before
    record = json.loads(Path("S/cells/second/1/train/cell.json").read_text())
    assert record["config"]["recipe"]["student"]["init"] == "row all" and record["flops"] > 0
    assert not list(Path("S/runs").rglob("cache"))
    capsys.readouterr()
    assert main(["study", "tables", "S"]) == 0
    assert "| all data, no sharing |" in capsys.readouterr().out
    assert {path.name for path in Path("S/tables").iterdir()} == {
        *("tables.md", "tables.html", "metrics.json"),
        *(f"{name}.tex" for name in ("sharing", "encoders", "comparisons", "cells")),
    }
    assert load_yaml(StudyConfig, "S/study.yaml").name == "paper-debug"
