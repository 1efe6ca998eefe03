"""Where things are: by hand, and as the image folder of a world has them; kept, and never of a world that was."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codistill.errors import DataError
from codistill.world import thing_places
from codistill.world.classes import CLASS_INDEX
from codistill.world.crops import write_things
from codistill.world.dataset import World
from codistill.world.thing_places import find_places, kept_places
from drawn_worlds import drawn_world, random_boxes

BOXES = [[("table", 10, 20, 40), ("ball", 60, 60, 20)], [("chair", 50, 0, 30), ("ball", 0, 30, 24)]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CODISTILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "things"


def test_places_by_hand_in_the_order_of_categories(tmp_path: Path) -> None:
    world = World(drawn_world(tmp_path / "w", {"train": BOXES}))
    done: list[int] = []
    found = find_places(world.segmentation("train"), progress=done.append)
    assert [found.category(i) for i in range(len(found))] == [
        "ball",
        "chair",
        "table",
    ]  # a ball of 20 is too small
    assert found.pictures.tolist() == [1, 1, 0] and found.numbers.tolist() == [2, 1, 1]
    assert found.labels.tolist() == [CLASS_INDEX[name] for name in ("ball", "chair", "table")]
    # Half of 1.3 times the side, from the middle: 15.6, 19.5 and 26 pixels, cut at the edges.
    assert found.windows.tolist() == [[0, 28, 26, 58], [46, 84, 0, 34], [4, 56, 14, 66]]
    assert found.scene(2) == "objects-train-0000000" and done == [1, 2]
    assert found.read(2).shape == (52, 52, 3)


def test_crops_are_those_of_the_image_folder(tmp_path: Path) -> None:
    boxes = {split: random_boxes(seed, 4) for seed, split in enumerate(("train", "val", "test"))}
    world = World(drawn_world(tmp_path / "w", boxes))
    counts = write_things(world, tmp_path / "things")
    for split in boxes:
        found = pickle.loads(pickle.dumps(kept_places(world.segmentation(split))))
        files = sorted((tmp_path / "things" / split).glob("*/*.png"))
        assert len(found) == counts[split] == len(files) == 12
        assert [found.name(i) for i in range(12)] == [f"{file.parent.name}/{file.name}" for file in files]
        for i, file in enumerate(files):
            np.testing.assert_array_equal(found.read(i), np.array(Image.open(file)))


def test_they_are_found_once_until_the_world_changes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    real = thing_places.read_windows

    def counted(source, index, least):
        looked.append(source.name_of(index))
        return real(source, index, least)

    monkeypatch.setattr(thing_places, "read_windows", counted)
    root = drawn_world(tmp_path / "w", {"train": BOXES})
    first = kept_places(World(root).segmentation("train"))
    again = kept_places(World(root).segmentation("train"))
    assert len(looked) == 2 and len(list(cache.iterdir())) == 1
    np.testing.assert_array_equal(first.windows, again.windows)
    drawn_world(root, {"train": [BOXES[1], BOXES[0]]})  # as large, with the same names
    changed = kept_places(World(root).segmentation("train"))
    assert len(looked) == 4 and changed.pictures.tolist() == [0, 0, 1]
    damaged = max(cache.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    damaged.write_bytes(damaged.read_bytes()[:50])
    np.testing.assert_array_equal(kept_places(World(root).segmentation("train")).windows, changed.windows)
    assert len(looked) == 6


def test_without_a_cache_they_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CODISTILL_CACHE", str(tmp_path / "file"))
    world = World(drawn_world(tmp_path / "w", {"train": BOXES}))
    assert len(kept_places(world.segmentation("train"))) == 3


def test_a_world_that_lacks_a_split_says_so(tmp_path: Path) -> None:
    world = World(drawn_world(tmp_path / "w", {"train": BOXES}))
    with pytest.raises(DataError, match="objects/val"):
        kept_places(world.segmentation("val"))
