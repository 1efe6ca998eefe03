"""Evaluations that no longer hold: of an earlier student, or of one that learned from an earlier one."""

import json
from pathlib import Path
from typing import Any

import pytest

from codistill.errors import CheckpointError
from codistill.files.plain import from_plain
from codistill.study.config import StudyConfig
from codistill.study.outdated import Outdated
from codistill.study.places import StudyFolder
from codistill.study.records import FORMAT

DEPTH = {"task": "depth", "options": {"data": "world:w"}}
STUDY: dict[str, Any] = {
    "name": "toy",
    "seeds": [0, 1],
    "rows": {
        "first": {"recipe": "debug"},
        "second": {"recipe": "debug", "start": "first"},
        "third": {"recipe": "debug"},
        "known": {"encoder": "dinov2_vits14"},
    },
    "evaluations": {"depth": DEPTH, "other": DEPTH},
}


@pytest.fixture
def outdated(tmp_path: Path) -> Outdated:
    """`second` starts from `first`, and `third` learns from `second`."""
    found = Outdated(StudyFolder(tmp_path), from_plain(StudyConfig, STUDY))
    for seed in (0, 1):
        trained(found, f"second/{seed}", start=("first", "first's"))
        trained(found, f"third/{seed}", teacher=("second", "second's"))
        for row in ("first", "second", "third"):
            for name in ("depth", "other"):
                evaluated(found, f"{row}/{seed}/{name}", f"{row}'s")
    return found


def trained(
    found: Outdated,
    place: str,
    *,
    start: tuple[str, str] | None = None,
    teacher: tuple[str, str] | None = None,
) -> None:
    recipe: dict[str, Any] = {
        "student": {"init": f"row {start[0]}" if start else "generic-tiny"},
        "teachers": [],
    }
    contents = {"student.init": start[1] if start else ""}
    if teacher:
        recipe["teachers"] = [
            {"name": "a", "encoder": "stereo-tiny"},
            {"name": "b", "encoder": f"row:{teacher[0]}"},
        ]
        contents |= {"teacher a": "stereo", "teacher b": teacher[1]}
    put(found, f"{place}/train", {"config": {"recipe": recipe}, "contents": contents})


def evaluated(found: Outdated, place: str, student: str, time: str = "2026-01-01") -> None:
    put(found, place, {"contents": {"encoder": student}})
    (found.folder.cell(place) / "metrics.json").write_text(json.dumps({"provenance": {"time": time}}))


def put(found: Outdated, place: str, record: dict[str, Any]) -> None:
    folder = found.folder.cell(place)
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"format": FORMAT, "seconds": 1.0, "config": {}, **record}
    (folder / "cell.json").write_text(json.dumps(whole))


def test_nothing_is_outdated_at_first(outdated: Outdated) -> None:
    assert outdated.names() == []


def test_of_two_students_of_a_row_the_last_one_counts(outdated: Outdated) -> None:
    evaluated(outdated, "third/0/other", "later", "2026-01-02")
    assert outdated.names() == ["third/0/depth"]


def test_of_an_existing_encoder_nothing_is_outdated(outdated: Outdated) -> None:
    evaluated(outdated, "known/0/depth", "one")
    evaluated(outdated, "known/0/other", "later", "2026-01-02")
    assert outdated.names() == []


def test_rows_that_started_or_learned_from_an_earlier_student_are_outdated(outdated: Outdated) -> None:
    for name in ("depth", "other"):
        evaluated(outdated, f"first/0/{name}", "trained anew")
    assert outdated.names() == [
        f"{row}/0/{name}" for row in ("second", "third") for name in ("depth", "other")
    ]
    # `second` is trained again from it; `third` learned from the one before.
    trained(outdated, "second/0", start=("first", "trained anew"))
    for name in ("depth", "other"):
        evaluated(outdated, f"second/0/{name}", "second's again")
    assert Outdated(outdated.folder, outdated.study).names() == ["third/0/depth", "third/0/other"]


def test_the_exported_student_counts_more_than_the_one_evaluated_last(outdated: Outdated) -> None:
    export = outdated.folder.work("first/1/train") / "export"
    export.mkdir(parents=True)
    (export / "encoder.safetensors").write_bytes(b"trained anew, not evaluated yet")
    assert outdated.names() == [
        f"{row}/1/{name}" for row in STUDY["rows"] for name in ("depth", "other") if row != "known"
    ]


def test_unknown_contents_and_circles_of_records_outdate_nothing(outdated: Outdated) -> None:
    trained(outdated, "second/0", start=("first", ""))
    trained(outdated, "first/1", start=("third", "third's"))
    assert outdated.names() == []


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"contents": None}, r"damaged \(contents\)"),
        ({"seconds": "many"}, r"damaged \(seconds\)"),
        ({"config": {"recipe": {"student": None}}}, r"damaged \(config\)"),
    ],
)
def test_a_damaged_record_is_named(outdated: Outdated, changed: dict[str, Any], error: str) -> None:
    path = outdated.folder.cell("second/0/train") / "cell.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    with pytest.raises(CheckpointError, match=rf"second/0/train.*{error}.*again"):
        outdated.names()
