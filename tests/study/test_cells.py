"""A study's cells: their order, their commands, what defines them, and how that compares with a finished one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codistill.commands.study import check_finished, resolve_evaluation
from codistill.errors import ConfigError
from codistill.files.plain import from_plain
from codistill.study.cells import Cell, cell_names, cells_of, words_of
from codistill.study.config import StudyConfig
from codistill.study.places import StudyFolder
from codistill.study.records import changes, content_of, from_other_row, smallest, write_cell
from codistill.study.registry import find_study

PLAIN: dict[str, Any] = {
    "name": "toy",
    "seeds": [3, 5],
    "rows": {
        "base": {"recipe": "debug", "set": {"engine.total_steps": 4}},
        "next": {"like": "base", "start": "base"},
        "known": {"encoder": "dinov2_vits14"},
    },
    "evaluations": {
        "depth": {"task": "depth", "options": {"data": "world:w", "fit": {"steps": 7}}},
        "knn": {"task": "semantic-correspondence", "options": {"data": "spair:s"}, "rows": ["known"]},
    },
}


def cells(
    folder: Path, only: Sequence[str] = (), seeds: Sequence[int] = (), **changed: Any
) -> dict[str, Cell]:
    study = from_plain(StudyConfig, {**PLAIN, **changed})
    found = cells_of(study, StudyFolder(folder), resolve_evaluation, only, seeds)
    if not only and not seeds:
        assert [cell.name for cell in found] == cell_names(study)
    return {cell.name: cell for cell in found}


def test_seeds_come_first_and_what_has_no_seed_is_done_once(tmp_path: Path) -> None:
    names = list(cells(tmp_path))
    first = ["base/3/train", "base/3/depth", "next/3/train", "next/3/depth", "known/3/depth", "known/3/knn"]
    assert names[:6] == first
    assert names[6:] == [name.replace("/3/", "/5/") for name in first if not name.endswith("knn")]


def test_commands_say_seed_encoder_and_place(tmp_path: Path) -> None:
    found = cells(tmp_path)
    trained = found["next/5/train"]
    assert trained.needs == ("base/5/train",) and trained.recipe is not None
    assert trained.recipe.engine.seed == 5
    assert trained.recipe.student.init == str(tmp_path / "runs/base/5/train/export")
    words = found["next/5/depth"].words
    assert words[:2] == ("evaluate", "depth") and words[words.index("--fit.seed") + 1] == "5"
    assert words[words.index("--encoder") + 1] == str(tmp_path / "runs/next/5/train/export")
    assert found["known/3/depth"].needs == () and "dinov2_vits14" in found["known/3/depth"].words
    assert "--fit.seed" not in found["known/3/knn"].words


def test_a_row_may_teach_another(tmp_path: Path) -> None:
    rows = {
        "base": {"recipe": "debug", "set": {"teachers": [{"name": "proxy", "encoder": "row:proxy"}]}},
        "proxy": {"recipe": "debug"},
        "known": {"encoder": "dinov2_vits14"},
    }
    evaluations = {"depth": PLAIN["evaluations"]["depth"]}
    found = cells(tmp_path, rows=rows, evaluations=evaluations)
    taught = found["base/5/train"]
    assert taught.needs == ("proxy/5/train",) and taught.recipe is not None
    export = str(tmp_path / "runs/proxy/5/train/export")
    assert taught.recipe.teachers[0].encoder == export
    assert taught.inputs["teacher proxy"] == export
    assert taught.config["recipe"].teachers[0].encoder == "row:proxy"  # wherever the study lies
    assert taught.of_rows == ("teacher proxy",)
    # The proxy trained anew: what it taught is done again, and is no other study.
    finish(tmp_path, found["proxy/5/train"])
    finish(tmp_path, taught)
    record = json.loads((StudyFolder(tmp_path).cell(taught.name) / "cell.json").read_text())
    assert not from_other_row(taught, record) and not changes(taught, record)
    (Path(export) / "encoder.safetensors").write_bytes(b"another student")
    assert from_other_row(taught, record) and not changes(taught, record)
    alone = cells(tmp_path, ["base"], rows=rows, evaluations=evaluations)
    assert "proxy/5/train" in alone and "proxy/5/depth" not in alone


def test_items_of_a_list_change_the_list_of_the_row_that_is_taken_over(tmp_path: Path) -> None:
    """Neither is the list lost, nor is that of the other row changed."""
    teachers = [{"name": "one", "encoder": "random:vit_tiny"}, {"name": "two", "encoder": "dinov2_vits14"}]
    rows = {
        "base": {"recipe": "debug", "set": {"teachers": teachers}},
        "next": {"like": "base", "set": {"teachers.1.encoder": "random:vit_small"}},
    }
    found = cells(tmp_path, rows=rows, evaluations={"depth": PLAIN["evaluations"]["depth"]})
    encoders = {
        row: [teacher.encoder for teacher in cell.recipe.teachers]
        for row in rows
        if (cell := found[f"{row}/3/train"]).recipe is not None
    }
    assert encoders == {
        "base": ["random:vit_tiny", "dinov2_vits14"],
        "next": ["random:vit_tiny", "random:vit_small"],
    }


@pytest.mark.parametrize(
    ("teacher", "text"),
    [("prxy", "prxy"), ("known", "dinov2_vits14"), ("base", "in a circle: base → base")],
)
def test_rows_that_cannot_teach_are_refused(tmp_path: Path, teacher: str, text: str) -> None:
    taught = {"recipe": "debug", "set": {"teachers": [{"name": "proxy", "encoder": f"row:{teacher}"}]}}
    rows = {"base": taught, "known": {"encoder": "dinov2_vits14"}}
    with pytest.raises(ConfigError, match=text):
        cells(tmp_path, rows=rows, evaluations={"depth": PLAIN["evaluations"]["depth"]})


def test_options_become_words() -> None:
    options = {
        "limit": 5,
        "fit.learning_rates": [0.1, 0.2],
        "fit.cached": False,
        "fit.mirror": True,
        "split": None,
    }
    assert list(words_of(options)) == (
        [
            "--limit",
            "5",
            "--fit.learning-rates",
            "0.1",
            "0.2",
            "--fit.no-cached",
            "--fit.mirror",
            "--split",
            "None",
        ]
    )


def test_only_some_rows_come_with_what_they_start_from(tmp_path: Path) -> None:
    names = cells(tmp_path, ["next"]).keys()
    assert {"base/3/train", "next/3/train", "next/3/depth"} <= names
    assert not {"base/3/depth", "known/3/depth"} & names


def test_only_some_seeds(tmp_path: Path) -> None:
    assert cells(tmp_path, ["next"], [5]).keys() == {"base/5/train", "next/5/train", "next/5/depth"}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"data": "world:w", "fit.stepz": 3}, "evaluations.depth of rows.base: Unknown option --fit.stepz"),
        ({"data": "wurld:w"}, "Did you mean 'world'"),
        ({"data": "world:w", "encoder": "x"}, "is the study's to say"),
        ({"data": "world:w", "fit.steps": "many"}, "many"),
        ({}, "add --data"),
    ],
)
def test_mistakes_in_options_are_refused_with_their_place(
    tmp_path: Path, options: Mapping[str, Any], error: str
) -> None:
    with pytest.raises(ConfigError, match=error):
        cells(tmp_path, evaluations={"depth": {"task": "depth", "options": options}})


def test_mistakes_in_rows_are_refused_with_their_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"rows.a: Unknown recipe 'debuk'.*Did you mean 'debug'"):
        cells(tmp_path, rows={"a": {"recipe": "debuk"}}, evaluations={"depth": PLAIN["evaluations"]["depth"]})
    circle = {"a": {"recipe": "debug", "start": "b"}, "b": {"recipe": "debug", "start": "a"}}
    with pytest.raises(ConfigError, match=r"rows.a: its rows lead in a circle: a → b → a"):
        cells(tmp_path, rows=circle, evaluations={"depth": PLAIN["evaluations"]["depth"]})


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (
            {"like": "known-start"},
            "start 'known' is an encoder",
        ),  # else its cells wait for a training that none is
        ({"recipe": "debug", "set": {"engine": {"seed": 7}}}, "engine.seed has no effect"),
    ],
)
def test_rows_whose_start_or_seed_cannot_be_are_refused(
    tmp_path: Path, row: dict[str, Any], text: str
) -> None:
    rows = {"known": {"encoder": "x"}, "known-start": {"recipe": "debug", "start": "known"}, "own": row}
    with pytest.raises(ConfigError, match=f"rows.own: .*{text}"):
        cells(tmp_path, ["own"], rows=rows, evaluations={"depth": PLAIN["evaluations"]["depth"]})


def test_the_study_of_the_documentation_has_cells(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "study.md").read_text(encoding="utf-8")
    path = tmp_path / "doc.yaml"
    path.write_text(text.partition("```yaml\n")[2].partition("```")[0])
    study = find_study(str(path), ["stereo=random:vit_tiny"])
    found = {cell.name: cell for cell in cells_of(study, StudyFolder(tmp_path), resolve_evaluation)}
    assert len(found) == 1 + 3 * (3 + 4 + 2)
    recipe = found["longer/2/train"].recipe
    assert recipe is not None and recipe.image_size == 168 and recipe.teachers[1].encoder == "random:vit_tiny"
    assert "168" in found["longer/0/depth"].words and "112" in found["none/0/depth"].words


def test_the_paper_in_miniature_is_whole(tmp_path: Path) -> None:
    study = find_study("paper", ["worlds=w"])
    one_seed = replace(study, seeds=(0,))
    found = {cell.name: cell for cell in cells_of(one_seed, StudyFolder(tmp_path), resolve_evaluation)}
    assert len(found) == 3 + 13 * (1 + 5) + 4 * 4
    rows = {row: found[f"{row}/0/train"].recipe for row in study.rows if f"{row}/0/train" in found}
    assert {(r.image_size, r.total_steps) for row, r in rows.items() if r and row != "all-tp-168"} == {
        (112, 700)
    }
    assert [len(r.teachers) for row, r in rows.items() if r and row == "generic-only"] == [1]
    assert [row for row, r in rows.items() if r and "cka" in dict(r.distill.loss.weights)] == ["all-cka"]
    larger = rows["all-tp-vits"]
    assert larger and (larger.student.size, larger.student.init) == ("vit_small", "dinov2_vits14")
    assert larger.student.num_registers == 0
    assert {row for row, r in rows.items() if r and len(r.sources) == 1} == {
        *("generic-tp", "generic-lp", "generic-sp", "generic-only", "generic-thrice")
    }
    control = rows["generic-thrice"]
    assert control and [t.encoder for t in control.teachers] == 3 * ["dinov2_vits14"]
    assert find_study("paper").tables["table1"].columns == find_study("paper").tables["table2"].columns


def finish(folder: Path, cell: Cell) -> None:
    """Let a cell be finished."""
    (cell.out / "export").mkdir(parents=True, exist_ok=True)
    (cell.out / "export" / "encoder.safetensors").write_bytes(b"one")
    if cell.kind == "evaluation":
        np.savez(cell.out / "per_image.npz", names=np.array(["a"]), scores=np.zeros((1, 9)))
        (cell.out / "metrics.json").write_text("{}")
    write_cell(StudyFolder(folder), cell, {"seconds": 1.0, "attempts": 1})


def test_finished_cells_of_other_options_are_refused(tmp_path: Path) -> None:
    for cell in cells(tmp_path).values():
        finish(tmp_path, cell)
    check_finished(list(cells(tmp_path).values()), StudyFolder(tmp_path))
    longer = {**PLAIN["rows"], "base": {"recipe": "debug", "set": {"engine.total_steps": 5}}}
    with pytest.raises(
        ConfigError, match=r"(?s)4 finished cells .*base/3/train: recipe.engine.total_steps: 4 → 5"
    ):
        check_finished(list(cells(tmp_path, rows=longer).values()), StudyFolder(tmp_path))
    logged = {
        **PLAIN["rows"],
        "base": {"recipe": "debug", "set": {"engine": {"total_steps": 4, "log_every": 1}}},
    }
    check_finished(list(cells(tmp_path, rows=logged).values()), StudyFolder(tmp_path))


def test_a_precision_left_to_the_machine_takes_what_was_computed_in_either(tmp_path: Path) -> None:
    def asked(precision: str, teacher: str) -> Cell:
        given = {"teachers.0.precision": teacher, "engine": {"total_steps": 4, "precision": precision}}
        return cells(tmp_path, rows={**PLAIN["rows"], "base": {"recipe": "debug", "set": given}})[
            "base/3/train"
        ]

    finish(tmp_path, asked("bf16", "bf16"))
    check_finished([asked("fast", "auto")], StudyFolder(tmp_path))
    with pytest.raises(ConfigError, match=r"recipe.engine.precision: bf16 → fp32"):
        check_finished([asked("fp32", "auto")], StudyFolder(tmp_path))
    with pytest.raises(ConfigError, match=r"recipe.teachers\[0\].precision: bf16 → int8"):
        check_finished([asked("fast", "int8")], StudyFolder(tmp_path))
    StudyFolder(tmp_path).cell("base/3/train").joinpath("cell.json").unlink()
    finish(tmp_path, asked("fast", "auto"))  # who asks for one of them wants no other
    with pytest.raises(ConfigError, match=r"recipe.engine.precision: fast → bf16"):
        check_finished([asked("bf16", "auto")], StudyFolder(tmp_path))


def test_a_head_without_limits_can_be_recorded(tmp_path: Path) -> None:
    """The confidence of a two-view head has no upper bound, which JSON cannot say."""
    rows = {"known": {"encoder": "dinov2_vits14"}}
    asked = {"pairs": {"task": "two-view", "options": {"data": "world:w", "fit.steps": 7}}}
    made = cells(tmp_path, rows=rows, evaluations=asked)["known/3/pairs"]
    finish(tmp_path, made)
    check_finished([made], StudyFolder(tmp_path))
    limited = {
        "pairs": {
            **asked["pairs"],
            "options": {**asked["pairs"]["options"], "fit.shape.confidence.high": 9.0},
        }
    }
    other = cells(tmp_path, rows=rows, evaluations=limited)["known/3/pairs"]
    with pytest.raises(ConfigError, match=r"confidence.high: inf → 9.0"):
        check_finished([other], StudyFolder(tmp_path))


def test_a_field_that_is_new_since_counts_as_its_default(tmp_path: Path) -> None:
    cell = cells(tmp_path)["base/3/train"]
    finish(tmp_path, cell)
    path = StudyFolder(tmp_path).cell(cell.name) / "cell.json"
    record = json.loads(path.read_text())
    del record["config"]["recipe"]["augment"]["flip"]
    assert changes(cell, record) == []
    record["config"]["recipe"]["augment"]["flop"] = 1
    assert "cannot be read by this version" in changes(cell, record)[0]


def test_contents_of_encoders_are_compared(tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    (teacher / "encoder.safetensors").write_bytes(b"one")
    known = {"known": {"encoder": str(teacher)}}
    asked = {"depth": PLAIN["evaluations"]["depth"]}

    def cell() -> Cell:
        return cells(tmp_path / "study", rows=known, evaluations=asked)["known/3/depth"]

    finish(tmp_path / "study", cell())
    record = json.loads((StudyFolder(tmp_path / "study").cell(cell().name) / "cell.json").read_text())
    assert changes(cell(), record) == []
    (teacher / "encoder.safetensors").write_bytes(b"other")
    assert "holds something else now" in changes(cell(), record)[0]
    assert content_of("dinov2_vits14") == "" == content_of(str(tmp_path / "nothing"))


def test_an_evaluation_of_a_student_that_was_trained_anew_is_no_longer_finished(tmp_path: Path) -> None:
    found = cells(tmp_path)
    trained, scored = found["base/3/train"], found["base/3/depth"]
    finish(tmp_path, trained)
    finish(tmp_path, scored)
    record = json.loads((StudyFolder(tmp_path).cell(scored.name) / "cell.json").read_text())
    assert not from_other_row(scored, record)
    (trained.out / "export" / "encoder.safetensors").write_bytes(b"another")
    assert from_other_row(scored, record) and changes(scored, record) == []
    assert not from_other_row(replace(scored, of_rows=()), record)


def test_whole_numbers_are_kept_in_few_bytes_and_others_as_they_are() -> None:
    arrays = {"a": np.array([0, 255]), "b": np.array([-1, 3]), "c": np.array([0.1]), "d": np.array([1 << 40])}
    found = smallest(arrays)
    assert [found[name].dtype.str for name in "abcd"] == ["|u1", "|i1", "<f8", "<i8"]
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
