"""Claims on a cell: one holder, heartbeats by the file system's clock, takeovers that one process alone wins."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from codistill.errors import WriteError
from codistill.study import claims
from codistill.study.claims import claim, holders


def pretend(path: Path, *, age: float, **changes: object) -> None:
    """Let a claim be another machine's, touched `age` seconds ago."""
    path.write_text(json.dumps({**json.loads(path.read_text()), "machine": "elsewhere pid:[1]", **changes}))
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))


def test_one_process_holds_a_cell_until_it_lets_go(tmp_path: Path) -> None:
    held = claim(tmp_path, "row/0/train")
    assert held is not None and claim(tmp_path, "row/0/train") is None
    assert claim(tmp_path, "row/1/train") is not None
    held.release()
    again = claim(tmp_path, "row/0/train")
    assert again is not None and (again.number, again.taken_from) == (0, "")


def test_a_process_of_this_machine_that_has_ended_is_gone_at_once(tmp_path: Path) -> None:
    held = claim(tmp_path, "cell")
    assert held is not None
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    content = json.loads(held.path.read_text())
    held.path.write_text(json.dumps({**content, "process": int(ended.stdout)}))
    assert holders(tmp_path) == {}
    assert "has ended" in (taken.taken_from if (taken := claim(tmp_path, "cell", stale=1e9)) else "")


def test_a_process_whose_number_another_has_now_is_gone(tmp_path: Path) -> None:
    held = claim(tmp_path, "cell")
    assert held is not None
    content = json.loads(held.path.read_text())
    if not content["process_start"]:
        pytest.skip("this system does not say when a process began")
    held.path.write_text(json.dumps({**content, "process_start": "1"}))
    assert claim(tmp_path, "cell", stale=1e9) is not None


def test_another_machine_is_gone_once_it_is_silent(tmp_path: Path) -> None:
    held = claim(tmp_path, "cell")
    assert held is not None
    pretend(held.path, age=50)
    assert claim(tmp_path, "cell", stale=60) is None
    pretend(held.path, age=70)
    taken = claim(tmp_path, "cell", stale=60)
    assert taken is not None and taken.number == 1
    assert "on elsewhere has not been heard of for" in taken.taken_from
    assert claim(tmp_path, "cell", stale=60) is None  # one takeover


def test_a_holder_that_only_slept_finds_that_it_was_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "BEAT", 0.0)
    slept = claim(tmp_path, "cell")
    assert slept is not None and slept.beat()
    pretend(slept.path, age=70)
    taken = claim(tmp_path, "cell", stale=60)
    assert taken is not None
    assert not slept.beat() and taken.beat()
    slept.release()  # not its own any more
    assert claim(tmp_path, "cell") is None
    taken.release()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_just_being_written_is_held(tmp_path: Path) -> None:
    (tmp_path / "cell.0").touch()
    assert claim(tmp_path, "cell", stale=60) is None


def test_a_folder_that_may_only_be_read_shows_its_holders_but_no_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's study."""
    held = claim(tmp_path, "cell")
    assert held is not None
    pretend(held.path, age=20)

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "touch", refuse)
    assert holders(tmp_path)["cell"]["age"] == pytest.approx(20, abs=5)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(WriteError, match=r"other\.0: cannot be written"):
        claim(tmp_path, "other")


def test_holders_say_who_works_and_when_they_were_heard_of(tmp_path: Path) -> None:
    held = claim(tmp_path, "row/0/depth")
    assert held is not None
    held.told(os.getpid())
    pretend(held.path, age=20)
    (tmp_path / "row~0~depth.attempts").write_text("{}\n")
    found = holders(tmp_path)
    assert found.keys() == {"row~0~depth"}
    assert found["row~0~depth"]["child"] == os.getpid()
    assert found["row~0~depth"]["age"] == pytest.approx(20, abs=5)
    assert holders(tmp_path / "nothing") == {}
