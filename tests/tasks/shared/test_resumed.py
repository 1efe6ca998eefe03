"""Fits that go on notice other data: said in the middle, refused at the end, begun anew where stages are kept."""

from pathlib import Path

import pytest

from codistill.errors import ConfigError
from codistill.files.inputs import Inputs
from codistill.tasks.shared import resumed
from codistill.tasks.shared.resumed import check_resumed, stage_folder

OLD, NEW = (Inputs(((("a.png", "1"),), (("b.png", stamp),))) for stamp in "12")


def test_a_run_says_what_changed_and_remembers_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    begun: list[int] = []
    monkeypatch.setattr(resumed, "checkpoints", lambda folder: begun)
    assert check_resumed(tmp_path, "run", OLD, said.append) == []
    assert (
        check_resumed(tmp_path, "run", NEW, said.append) == [] and not said
    )  # nothing was trained on the old
    assert check_resumed(tmp_path, "run", OLD, said.append) == []
    begun.append(1)
    assert check_resumed(tmp_path, "run", OLD, said.append) == [] and not said
    assert check_resumed(tmp_path, "run", NEW, said.append) == ["changed: b.png"]
    assert len(said) == 1 and "other data than it began with (changed: b.png)" in said[0]
    assert check_resumed(tmp_path, "run", NEW, said.append) == ["changed: b.png"] and len(said) == 1
    (tmp_path / "head.json").write_text("{}")
    assert check_resumed(tmp_path, "run", NEW, said.append)
    with pytest.raises(ConfigError, match=r"fitted on other data \(changed: b\.png\).*--out.*--head"):
        check_resumed(tmp_path, "run", OLD, said.append)


def test_a_run_of_an_older_version_says_that_nobody_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(resumed, "checkpoints", lambda folder: [1])
    check_resumed(tmp_path, "run", OLD, said.append)
    assert "cannot be checked" in said[0]


def test_a_stage_of_other_inputs_lies_elsewhere_and_the_old_one_stays(tmp_path: Path) -> None:
    said: list[str] = []
    first = stage_folder(tmp_path, "sweep-x", OLD, said.append)
    assert stage_folder(tmp_path, "sweep-x", OLD, said.append) == first and not said
    second = stage_folder(tmp_path, "sweep-x", NEW, said.append)
    assert second != first and first.is_dir() and "changed: b.png" in said[0]
    assert stage_folder(tmp_path, "sweep-x", OLD, said.append) == first
