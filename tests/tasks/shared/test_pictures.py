"""Pictures of files and shards, read when they are asked for, and batches of them in the order asked."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from task_toys import write_png

from codistill.data import open_source
from codistill.errors import DataError
from codistill.tasks.shared.pictures import (
    FilePicture,
    SourcePicture,
    check_pictures,
    in_batches,
    prepared_batches,
)
from codistill.world.dataset import world_source
from drawn_worlds import drawn_world, random_boxes


def grey(path: Path, value: int) -> Path:
    write_png(path, np.full((8, 6, 3), value, np.uint8))
    return path


def corner(image: np.ndarray) -> np.ndarray:
    return image[:2, :3]


def test_a_file_is_called_by_its_place_below_the_root(tmp_path: Path) -> None:
    path = grey(tmp_path / "a/b.png", 7)
    assert FilePicture(path, tmp_path).name == "a/b.png" and FilePicture(path).name == str(path)
    assert FilePicture(path).files == (path,)
    np.testing.assert_array_equal(FilePicture(path).read(), 7)


def test_a_picture_in_a_shard_comes_from_the_shard(tmp_path: Path) -> None:
    root = drawn_world(tmp_path / "w", {"train": random_boxes(0, 2)})
    source = open_source(world_source(root, "objects", "train"))
    picture = SourcePicture(source, 1)
    shard = root / "objects/train/shard-000000.tar"
    assert picture.name == "objects-train-0000001.jpg" and picture.files == (shard, (picture.name, ""))
    (tmp_path / "one.jpg").write_bytes(source.read(1))
    np.testing.assert_array_equal(picture.read(), np.array(Image.open(tmp_path / "one.jpg")))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_prepared_in_order(tmp_path: Path, workers: int) -> None:
    pictures = [FilePicture(grey(tmp_path / f"{value}.png", value)) for value in range(5)]
    assert in_batches(5, 2) == [range(2), range(2, 4), range(4, 5)] and in_batches(0, 2) == []
    options = {"workers": workers, "device": torch.device("cpu")}
    made = list(prepared_batches(pictures, [(3, 0), (4,)], corner, **options))
    assert [batch.shape for batch in made] == [(2, 2, 3, 3), (1, 2, 3, 3)]
    assert [batch[:, 0, 0, 0].tolist() for batch in made] == [[3, 0], [4]]


def test_pictures_that_cannot_be_read_are_found_first(tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    pictures = [FilePicture(grey(tmp_path / "good.png", 1)), FilePicture(bad)]
    with pytest.raises(DataError, match=r"bad\.png"):
        check_pictures(pictures)
    check_pictures(pictures[:1])
    with pytest.raises(DataError, match=r"bad\.png"):
        list(prepared_batches(pictures, [(0, 1)], corner, workers=0, device=torch.device("cpu")))
