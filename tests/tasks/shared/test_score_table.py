"""Counts of an evaluation read back from its folder, and files that cannot be."""

from pathlib import Path

import numpy as np
import pytest

from codistill.errors import DataError
from codistill.tasks.shared.score_table import read_stored, stored_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.savez(tmp_path / "per_image.npz", names=np.array(["a", "b"]), counts=np.arange(2000).reshape(2, 1000))
    return tmp_path


def test_counts_and_groups_are_read_back(folder: Path) -> None:
    found = stored_table(folder)
    assert found.names == ("a", "b") and found.groups.count == 2
    assert np.array_equal(found.values["counts"], np.arange(2000).reshape(2, 1000))


@pytest.mark.parametrize("kept", [0, 300, 8000])
def test_a_file_cut_short_is_refused_with_its_name(folder: Path, kept: int) -> None:
    path = folder / "per_image.npz"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"per_image\.npz: the counts of an evaluation cannot be read"):
        read_stored(folder)


def test_a_damaged_array_and_a_missing_file_are_refused(folder: Path) -> None:
    path = folder / "per_image.npz"
    damaged = bytearray(path.read_bytes())
    damaged[4000:4040] = bytes(40)
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="CRC"):
        read_stored(folder)
    path.unlink()
    with pytest.raises(DataError, match=r"holds no per_image\.npz\. Give the --out folder"):
        read_stored(folder)
