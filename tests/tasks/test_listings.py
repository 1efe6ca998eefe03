"""Every layout of every task, with what systems leave among the files, and with suffixes in capitals."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dense_tools import open_depth, open_segmentation
from PIL import Image

from codistill.errors import DataError
from codistill.tasks.classification.data import LAYOUTS
from codistill.tasks.opening import open_split
from codistill.tasks.people.smplx_layouts import _by_name
from codistill.tasks.two_view.layouts import LAYOUTS as PAIRS
from codistill.tasks.two_view.multiview.data import LAYOUTS as VIEWS
from codistill.tasks.two_view.relocalize.mapfree import mapfree_queries

CAMERA = "NAME 50 50 4 3 1 0 0 0 0 0 0\n"
LABELS = np.full((6, 8), 1, np.uint8)
MILLIMETRES = np.full((6, 8), 2000, np.uint16)


def image(path: Path, values: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((6, 8, 3), np.uint8) if values is None else values).save(path)


def text(path: Path, value: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value)


def ade20k(root: Path) -> Callable[[], list]:
    for name in "ab":
        image(root / f"images/validation/{name}.jpg")
        image(root / f"annotations/validation/{name}.png", LABELS)
    return lambda: list(open_segmentation(f"ade20k:{root}", "val", partial=True).samples)


def nyuv2(root: Path) -> Callable[[], list]:
    for name in "ab":
        image(root / f"RGB/{name}.jpg")
        image(root / f"Label/{name}.png", LABELS)
    text(root / "test.txt", "\ufeffa.jpg\r\n\r\nb.jpg\r\n")
    return lambda: list(open_segmentation(f"nyuv2:{root}", "val", partial=True).samples)


def scannet(root: Path) -> Callable[[], list]:
    for name in "ab":
        image(root / f"scannet_frames_25k/s0/color/{name}.jpg")
        image(root / f"scannet_frames_25k/s0/label/{name}.png", LABELS)
    text(root / "scannetv2_val.txt", "s0\r\n")
    return lambda: list(open_segmentation(f"scannet:{root}", "val").samples)


def segmentation(root: Path) -> Callable[[], list]:
    for name in "ab":
        image(root / f"images/train/{name}.jpg")
        image(root / f"labels/train/{name}.png", LABELS)
    text(root / "classes.json", json.dumps(["one", "two"]))
    return lambda: list(open_segmentation(f"folder:{root}", "train").samples)


def depth(root: Path) -> Callable[[], list]:
    for name in "ab":
        image(root / f"images/val/{name}.jpg")
        image(root / f"depth/val/{name}.png", MILLIMETRES)
    return lambda: list(open_depth(f"folder:{root}", "val").samples)


def classes(root: Path) -> Callable[[], list]:
    for name in ("cat/a.jpg", "dog/more/b.png"):
        image(root / "train" / name)
    return lambda: list(open_split(LAYOUTS, f"folder:{root}", "train").samples)


def pairs(root: Path) -> Callable[[], list]:
    for name in "ab":
        image(root / f"train/images/{name}.jpg")
        image(root / f"train/depth/{name}.png", MILLIMETRES)
    text(root / "train/cameras.txt", CAMERA.replace("NAME", "a") + CAMERA.replace("NAME", "b"))
    text(root / "train/pairs.txt", "a b\nb a\n")

    def read() -> list:
        data = open_split(PAIRS, f"folder:{root}", "train").samples
        found = [data[n] for n in range(len(data))]
        assert all(pair.first.depth.max() == 2 for pair in found)
        return found

    return read


def multiview(root: Path) -> Callable[[], list]:
    for name in "ab":
        image(root / f"test/s/images/{name}.jpg")
    image(root / "test/s/depth/a.png", MILLIMETRES)
    text(root / "test/s/cameras.txt", CAMERA.replace("NAME", "a") + CAMERA.replace("NAME", "b"))

    def read() -> list:
        sample = open_split(VIEWS, f"multiview:{root}", "test").samples[0]
        assert sample.key() == 0
        return [sample.read(n) for n in range(len(sample))]

    return read


def mapfree(root: Path) -> Callable[[], list]:
    for name in ("seq0/frame_00000", "seq1/frame_00000", "seq1/frame_00005"):
        image(root / f"val/s0/{name}.jpg")
    lines = ["seq0/frame_00000.jpg", "seq1/frame_00000.jpg", "seq1/frame_00005.jpg"]
    text(root / "val/s0/intrinsics.txt", "".join(f"{line} 50 50 4 3 8 6\n" for line in lines))
    text(root / "val/s0/poses.txt", "".join(f"{line} 1 0 0 0 0 0 {n}\n" for n, line in enumerate(lines)))

    def read() -> list:
        data = open_split(PAIRS, f"mapfree:{root}", "val").samples
        return [*(data[n] for n in range(len(data))), *mapfree_queries(root / "val")]

    return read


@pytest.mark.parametrize(
    "layout", [ade20k, nyuv2, scannet, segmentation, depth, classes, pairs, multiview, mapfree]
)
def test_leftovers_of_systems_and_capital_suffixes_change_nothing(tmp_path: Path, layout: Callable) -> None:
    read = layout(tmp_path / "data")
    count = len(read())
    assert count >= 2
    for path in [path for path in (tmp_path / "data").rglob("*") if path.is_file()]:
        (path.parent / f"._{path.name}").write_bytes(b"\0\x05\x16\x07")
        copies = path.parent / ".ipynb_checkpoints"
        copies.mkdir(exist_ok=True)
        shutil.copy(path, copies / f"{path.stem}-checkpoint{path.suffix}")
    for folder in [path for path in (tmp_path / "data").rglob("*") if path.is_dir()]:
        (folder / "__MACOSX").mkdir()
        (folder / "__MACOSX" / "._a.jpg").write_bytes(b"\0\x05\x16\x07")
    assert len(read()) == count
    for path in list((tmp_path / "data").rglob("*")):
        if path.suffix in (".jpg", ".png") and not path.name.startswith("."):
            path.rename(path.with_suffix(path.suffix.upper()))
    assert len(read()) == count


@pytest.mark.parametrize("layout", [segmentation, depth, pairs, multiview])
def test_two_images_of_one_name_are_asked_about(tmp_path: Path, layout: Callable) -> None:
    read = layout(tmp_path / "data")
    (first,) = (tmp_path / "data").rglob("a.jpg")
    image(first.with_suffix(".webp"))
    with pytest.raises(DataError, match=r"a\.jpg and a\.webp have one name"):
        read()


def test_labels_do_not_choose_between_images_of_one_name(tmp_path: Path) -> None:
    image(tmp_path / "x" / "a.png")
    assert list(_by_name(tmp_path)) == ["a"]
    image(tmp_path / "y" / "a.PNG")
    with pytest.raises(DataError, match="have one name; labels name images without a folder"):
        _by_name(tmp_path)


@pytest.mark.parametrize("name", ["../../etc", "/etc/x"])
def test_lists_of_a_data_set_name_nothing_outside(tmp_path: Path, name: str) -> None:
    scannet(tmp_path)
    text(tmp_path / "scannetv2_val.txt", f"{name}\n")
    with pytest.raises(DataError, match="lies outside of the root"):
        open_segmentation(f"scannet:{tmp_path}", "val", partial=True)
    text(tmp_path / "nyu_test.txt", f"a/../../{name} b 1\n")
    with pytest.raises(DataError, match="lies outside of the root"):
        open_depth(f"nyud:{tmp_path}", "val", partial=True)
