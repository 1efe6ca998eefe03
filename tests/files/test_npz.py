"""Text that was stored as Python objects is read; whatever else a pickle holds is not."""

import os
from pathlib import Path

import numpy as np
import pytest

from codistill.errors import DataError
from codistill.files.npz import read_npz


def test_text_objects_come_back_as_text(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    names = np.array(["a b.png", b"c.png", None, "ü"], dtype=object)
    np.savez(file, names=names, numbers=np.arange(3.0), fixed=np.array(["x", "yy"]))
    found = read_npz(file, ["names", "numbers", "fixed", "absent"])
    assert found["names"].tolist() == ["a b.png", "c.png", "", "ü"]
    assert found["numbers"].tolist() == [0.0, 1.0, 2.0] and found["fixed"].tolist() == ["x", "yy"]
    assert "absent" not in found


class Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("/tmp/never-made-by-a-label-file",)


@pytest.mark.parametrize("value", [Runs(), {"a": 1}, 3.5, np.zeros(2)])
def test_anything_else_is_refused_and_never_run(tmp_path: Path, value: object) -> None:
    file = tmp_path / "a.npz"
    array = np.empty(1, dtype=object)
    array[0] = value
    np.savez(file, names=array)
    with pytest.raises(DataError, match=r"cannot be read as an \.npz file of plain arrays"):
        read_npz(file, ["names"])
    assert not Path("/tmp/never-made-by-a-label-file").exists()


def test_damage_is_a_data_error(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, numbers=np.arange(1000.0))
    whole = file.read_bytes()
    for cut in (0, 3, 40, len(whole) // 2, len(whole) - 30):
        file.write_bytes(whole[:cut])
        with pytest.raises(DataError):
            read_npz(file, ["numbers"])
    np.save(tmp_path / "b.npy", np.arange(3))
    with pytest.raises(DataError, match="not an archive"):
        read_npz(tmp_path / "b.npy", ["numbers"])
