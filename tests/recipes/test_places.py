"""Runs that are used from elsewhere, moved, or resumed on other data."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codistill.cli import main
from codistill.data import SourceConfig
from codistill.distill.losses import LossConfig
from codistill.files.config import load_yaml, save_yaml
from codistill.recipes.places import at_home, read_run_recipe, settle_run
from codistill.recipes.recipe import Recipe
from codistill.recipes.small import DEBUG
from codistill.recipes.sources_record import SOURCES, compare_sources, recorded_changes, recorded_place
from codistill.teachers.teacher import TeacherConfig


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images and a teacher's file, which is the current one."""
    folder = tmp_path / "project"
    (folder / "images").mkdir(parents=True)
    for number in range(4):
        values = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(values).save(folder / "images" / f"{number}.png")
    (folder / "teacher.pth").write_bytes(b"")
    (folder / "list.txt").write_text("0.png\n")
    monkeypatch.chdir(folder)
    return folder


def note_sources(run: Path, *arguments: object, **options: object) -> list[str]:
    """Compare and record, as a run that goes on does; what is told."""
    note = compare_sources(run, *arguments, **options)  # type: ignore[arg-type]
    note.write(run)
    return note.told


def recipe_of(**options: object) -> Recipe:
    sources = (
        SourceConfig(name="photos", path="images"),
        SourceConfig(name="listed", path="./list.txt", root="images/../images"),
        SourceConfig(name="known", path="$CODISTILL_DATA/x"),
        SourceConfig(name="home", path="~/x"),
        SourceConfig(name="drawn", path="5", kind="generated"),
    )
    teachers = (
        TeacherConfig(name="mine", encoder="teacher.pth,num_heads=3"),
        TeacherConfig(name="named", encoder="dinov2_vits14"),
        TeacherConfig(name="same_as_its_name"),
    )
    return replace(DEBUG, sources=sources, teachers=teachers, **options)  # type: ignore[arg-type]


def test_loss_terms_of_a_file_keep_their_place(project: Path) -> None:
    loss = LossConfig(weights={"cosine": 0.5, "terms.py:L4": 0.5}, summary={"terms.py:L4": 1.0})
    own = at_home(recipe_of(distill=replace(DEBUG.distill, loss=loss)))
    assert list(own.distill.loss.weights) == ["cosine", f"{project}/terms.py:L4"]
    assert own.distill.loss.summary == {f"{project}/terms.py:L4": 1.0}
    save_yaml(own, project / "config.yaml")
    assert load_yaml(Recipe, project / "config.yaml") == own


def test_relative_paths_are_seen_from_where_the_command_was_typed(project: Path) -> None:
    recipe = at_home(recipe_of(student=replace(DEBUG.student, init="teacher.pth")))
    assert [source.path for source in recipe.sources] == [
        f"{project}/images",
        f"{project}/list.txt",
        "$CODISTILL_DATA/x",
        "~/x",
        "5",
    ]
    assert recipe.sources[1].root == f"{project}/images"
    assert [t.encoder for t in recipe.teachers] == [f"{project}/teacher.pth,num_heads=3", "dinov2_vits14", ""]
    assert recipe.student.init == f"{project}/teacher.pth"
    assert recipe.student.size == DEBUG.student.size and at_home(recipe) == recipe


def test_a_variable_that_holds_a_relative_path_is_filled_in(project: Path, monkeypatch) -> None:
    monkeypatch.setenv("DATA", "here")
    recipe = replace(DEBUG, sources=(SourceConfig(name="s", path="$DATA/x"),))
    assert at_home(recipe).sources[0].path == f"{project}/here/x"


def test_a_run_that_was_moved_with_its_files_finds_them(project: Path, tmp_path: Path, monkeypatch) -> None:
    run = project / "runs" / "r"
    run.mkdir(parents=True)
    recipe = at_home(replace(recipe_of(), sources=recipe_of().sources[:2]))
    save_yaml(recipe, run / "config.yaml")
    note_sources(run, {"training": recipe.sources}, None)
    assert read_run_recipe(run) == recipe and recorded_place(run) == str(run)
    moved = tmp_path / "elsewhere" / "project"
    moved.parent.mkdir()
    project.rename(moved)
    monkeypatch.chdir(tmp_path)
    found = read_run_recipe(moved / "runs" / "r")
    assert found.sources[0].path == f"{moved}/images" and found.sources[1].root == f"{moved}/images"
    assert found.teachers[0].encoder == f"{moved}/teacher.pth,num_heads=3"
    monkeypatch.chdir(moved)
    again = at_home(replace(recipe_of(), sources=recipe_of().sources[:2]))
    settle_run(moved / "runs" / "r", again)  # the teacher is the same one: the run may be resumed
    assert load_yaml(Recipe, moved / "runs" / "r" / "config.yaml").teachers == again.teachers


def test_another_teacher_stays_another(project: Path) -> None:
    run = project / "r"
    run.mkdir()
    save_yaml(recipe_of(), run / "config.yaml")  # relative, as older versions kept it
    settle_run(run, at_home(recipe_of()))
    assert load_yaml(Recipe, run / "config.yaml").teachers[0].encoder == f"{project}/teacher.pth,num_heads=3"
    (project / "other.pth").write_bytes(b"")
    settle_run(
        run, at_home(replace(recipe_of(), teachers=(TeacherConfig(name="mine", encoder="other.pth"),)))
    )
    assert load_yaml(Recipe, run / "config.yaml").teachers[0].encoder == f"{project}/teacher.pth,num_heads=3"


def test_what_changed_is_told_once_and_kept(project: Path) -> None:
    run = project / "r"
    run.mkdir()
    sources = {"training": (SourceConfig(name="photos", path=str(project / "images")),)}
    assert note_sources(run, sources, None) == []
    assert note_sources(run, sources, 10) == []
    (project / "images" / "1.png").unlink()
    told = note_sources(run, sources, 20)
    assert told == ["source 'photos' (training): 3 images, before 4; gone: 1.png"]
    assert note_sources(run, sources, 30) == []
    assert recorded_changes(run) == [f"step 20: {told[0]}"]
    (run / SOURCES).write_text("{")
    assert "damaged: whether the images are those of before is not known" in note_sources(run, sources, 40)[0]
    assert note_sources(run, sources, 50) == []


def test_a_refused_or_finished_run_records_no_change(project: Path, capsys: pytest.CaptureFixture) -> None:
    command = ["distill", "debug", "--source", "photos,generic,images", "--engine.total-steps", "2"]
    command += ["--loader.batch-size", "3", "--loader.num-workers", "0", "--out", "r"]
    assert main([*command, "--engine.stop-after", "1"]) == 75
    before = (project / "r" / SOURCES).read_bytes()
    (project / "images" / "1.png").unlink()
    assert main([*command, "--optim.lr", "0.5"]) == 2
    assert "with other settings" in capsys.readouterr().err
    assert (project / "r" / SOURCES).read_bytes() == before
    assert main(command) == 0
    assert "3 images, before 4; gone: 1.png" in recorded_changes(project / "r")[0]
    (project / "images" / "2.png").unlink()
    assert main(command) == 0
    assert len(recorded_changes(project / "r")) == 1


def test_a_teacher_that_was_exchanged_is_told(project: Path) -> None:
    run, weights = project / "r", project / "teacher" / "encoder.safetensors"
    run.mkdir()
    weights.parent.mkdir()
    weights.write_bytes(b"one")
    sources = {"training": (SourceConfig(name="photos", path=str(project / "images")),)}
    teachers = {"mine": f"{weights.parent},precision=fp32", "known": "dinov2_vits14"}

    def told(step: int | None) -> list[str]:
        return note_sources(run, sources, step, teachers=teachers)

    assert told(None) == [] == told(10)
    weights.write_bytes(b"two")
    assert told(20) == [f"teacher 'mine': {teachers['mine']} holds other weights"]
    assert told(30) == [] and recorded_changes(run)[0].startswith("step 20: teacher 'mine'")


@pytest.mark.parametrize("what", ["evaluate", pytest.param("report", marks=pytest.mark.slow)])
def test_a_run_is_resumed_and_used_from_elsewhere(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, what: str
) -> None:
    options = (
        "--engine.total-steps 2 --engine.log-every 1 --engine.validate-every 2 --engine.checkpoint-every 1"
    )
    command = ["distill", "debug", *options.split(), "--loader.batch-size", "3", "--loader.num-workers", "0"]
    here = ["--source", "photos,generic,.", "--held-out", "few,generic,list.txt,root=images", "--out", "r"]
    assert main([*command, *here, "--engine.stop-after", "1"]) in (0, 75)
    (project / "images" / "3.png").unlink()
    capsys.readouterr()
    assert main([*command, *here]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "since this run was last trained: source 'photos' (training): 3 images, before 4; gone:" in said
    away = tmp_path / "away"
    away.mkdir()
    monkeypatch.chdir(away)
    if what == "report":
        assert main(["report", str(project / "r")]) == 0
        assert "resumed at step 1: source &#x27;photos&#x27;" in (project / "r" / "report.html").read_text()
    else:
        assert main(["evaluate", "distillation", "--encoder", str(project / "r"), "--ridge-steps", "0"]) == 0
    assert not list(away.iterdir())
