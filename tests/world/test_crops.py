"""Single things of a world: crops by hand, and an image folder that the classifiers take."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codistill.errors import DataError
from codistill.tasks.classification.data import open_folder
from codistill.tasks.layout import Where
from codistill.world.classes import CLASS_INDEX, IGNORE
from codistill.world.crops import windows_of, write_things
from codistill.world.dataset import World


def _scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A chair of 20x10 pixels, a ball of 3x3, a floor with a number of its own, a thing that is to be ignored."""
    pixels = np.arange(60 * 80 * 3, dtype=np.uint32).reshape(60, 80, 3).astype(np.uint8)
    labels = np.full((60, 80), CLASS_INDEX["ground"], np.uint8)
    instances = np.zeros((60, 80), np.uint8)
    for number, name, rows, columns in (
        (1, "chair", slice(10, 30), slice(40, 50)),
        (2, "ball", slice(50, 53), slice(5, 8)),
        (3, "ground", slice(40, 60), slice(60, 80)),
    ):
        instances[rows, columns], labels[rows, columns] = number, CLASS_INDEX[name]
    instances[0:12, 0:12], labels[0:12, 0:12] = 4, IGNORE
    labels[10:14, 40:50] = CLASS_INDEX["table"]  # the chair's upper fifth
    return pixels, labels, instances


def test_a_crop_is_the_square_around_a_thing_with_a_margin():
    pixels, labels, instances = _scene()
    ((number, category, window),) = windows_of(labels, instances, 12)
    assert (number, category) == (1, "chair")
    # 20 rows high: 10 + 3 pixels to each side of its middle, (20, 45).
    np.testing.assert_array_equal(pixels[window], pixels[7:33, 32:58])


def test_small_things_are_left_out_and_larger_limits_leave_out_more():
    _, *truth = _scene()

    def found(least: int) -> list[int]:
        return [number for number, *_ in windows_of(*truth, least)]

    assert found(3) == [1, 2]
    assert found(4) == [1]
    assert found(21) == []


def test_an_image_folder_with_scenes_as_groups(
    tiny_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("codistill.world.crops.check_categories", lambda *_: None)
    counts = write_things(World(tiny_world), tmp_path / "things", least=8)
    assert set(counts) == {"train", "val", "test"}
    groups = json.loads((tmp_path / "things/groups.json").read_text())
    for split, count in counts.items():
        files = sorted((tmp_path / "things" / split).glob("*/*.png"))
        assert len(files) == count == len(groups[split]) > 0
        assert max(Image.open(files[0]).size) >= 8
    data = open_folder(Where("folder", tmp_path / "things", "train"))
    assert len(data.samples.groups.names) == counts["train"]
    assert len(set(data.samples.groups.names)) == 8  # scenes, fewer than things
    assert counts["train"] > 8


def test_a_category_that_was_never_trained_on_is_refused_and_nothing_is_left(
    tiny_world: Path, tmp_path: Path
):
    with pytest.raises(DataError, match="lacks"):
        write_things(World(tiny_world), tmp_path / "things", least=8)
    assert not (tmp_path / "things").exists()


def test_an_existing_folder_is_refused(tiny_world: Path, tmp_path: Path):
    with pytest.raises(DataError, match="exists already"):
        write_things(World(tiny_world), tmp_path)
