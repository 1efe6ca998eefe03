"""A program that is called as the file that is asked for: `--out program.pt2`."""

from pathlib import Path

import pytest

from codistill.deploy import write_torch


@pytest.mark.parametrize("name", ["program.pt2", "mine.pt2"])
def test_the_file_has_the_name_asked_for(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[Path] = []
    monkeypatch.setattr(write_torch, "add_record", lambda path, record: recorded.append(path))
    made = tmp_path / "program.pt2"
    made.write_bytes(b"a program")
    write_torch.write_torch(made, None, tmp_path / name)  # type: ignore[arg-type]
    assert (tmp_path / name).read_bytes() == b"a program"
    assert recorded == [tmp_path / name]
