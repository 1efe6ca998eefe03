"""NAVI, ScanNet and folders of one's own: toys in their layouts, opened and read."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pair_toys import INTRINSICS, PosedImage, look, plane_view
from PIL import Image

from codistill.errors import DataError
from codistill.geometry.poses import matrix_to_quaternion
from codistill.tasks.correspondence.task import TASK
from codistill.tasks.opening import open_data, scored_split

YAW = (0.0, 10.0, 25.0, -14.0)


def write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def navi_view(degrees: float) -> PosedImage:
    """A picture whose depth is known in a box of 30x20 alone; the principal point is its centre."""
    view = plane_view(look(0.1, 0.0, degrees), f"{degrees}")
    view.depth[:10] = view.depth[40:] = 0.0
    view.depth[:, :50] = view.depth[:, 70:] = 0.0
    return view


def navi(root: Path, objects: int = 2, count: int = 4) -> Path:
    for number in range(objects):
        folder, entries = root / f"object{number}" / "wild_set", []
        for index in range(count):
            view = navi_view(YAW[index])
            pose = np.linalg.inv(view.camera_to_world)
            name = f"{index:03d}.jpg"
            write(folder / "images" / name, view.image)
            known = view.depth > 0
            stored = np.zeros(view.depth.shape)
            stored[known] = 65535 * 10 / (view.depth[known] * 1000)
            write(folder / "depth" / f"{index:03d}.png", stored.round().astype(np.uint16))
            quaternion = matrix_to_quaternion(torch.from_numpy(pose[:3, :3].copy())).tolist()
            entries.append(
                {
                    "filename": name,
                    "image_size": [112, 168],  # the annotations are of pictures twice as large
                    "camera": {"focal_length": 140.0, "q": quaternion, "t": (pose[:3, 3] * 1000).tolist()},
                }
            )
        (folder / "annotations.json").write_text(json.dumps(entries))
    return root


def test_navi_s_views_are_squares_around_the_object(tmp_path: Path) -> None:
    assert scored_split(TASK, f"navi:{tmp_path}") == ("test", "the data's own")
    data = open_data(TASK, f"navi:{navi(tmp_path)}", "test")
    assert len(data.samples) == 2  # every fourth of eight
    assert data.samples.groups.names == ("object0", "object1")
    pair = data.samples[0]
    assert pair.first.name.endswith("000.jpg") and pair.first.name != pair.second.name
    assert pair.first.depth.shape == pair.first.image.shape[:2] == (30, 30)
    whole = navi_view(YAW[0])
    box = whole.depth[10:40, 45:75]
    np.testing.assert_allclose(pair.first.depth, box, rtol=3e-3)  # the files have steps of 14 mm at 3 m
    expected = INTRINSICS.copy()
    expected[:2, 2] -= (45, 10)
    np.testing.assert_allclose(pair.first.intrinsics, expected)
    np.testing.assert_allclose(pair.first.camera_to_world, whole.camera_to_world, atol=1e-6)


def test_navi_s_partners_are_near_and_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    navi(tmp_path)
    monkeypatch.setattr("codistill.tasks.correspondence.navi.EVERY", 1)
    monkeypatch.setattr("codistill.tasks.correspondence.navi.MOST_DEGREES", 15.5)
    first, again = (open_data(TASK, f"navi:{tmp_path}", "test").samples for _ in range(2))
    assert [view[1].image for view in first.views] == [view[1].image for view in again.views]
    turns = [[YAW[int(view.image.stem)] for view in pair] for pair in first.views]
    assert len(turns) == 8 and all(0 < abs(a - b) <= 15.5 for a, b in turns)


def test_navi_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no pairs.*wild_set"):
        open_data(TASK, f"navi:{tmp_path}", "test")
    navi(tmp_path)
    (tmp_path / "object1" / "wild_set" / "depth" / "002.png").unlink()
    with pytest.raises(DataError, match=r"1 pictures lack image or depth.*object1/wild_set/images/002.jpg"):
        open_data(TASK, f"navi:{tmp_path}", "test")
    said: list[str] = []
    open_data(TASK, f"navi:{tmp_path}", "test", partial=True, say=said.append)
    assert "1 pictures lack image or depth" in said[0]
    (tmp_path / "object0" / "wild_set" / "annotations.json").write_text('[{"filename": "a.jpg"}]')
    with pytest.raises(DataError, match=r"annotations.json: expected a list.*KeyError: 'camera'"):
        open_data(TASK, f"navi:{tmp_path}", "test", partial=True)


def test_navi_s_depth_must_be_its_own(tmp_path: Path) -> None:
    navi(tmp_path)
    write(tmp_path / "object0" / "wild_set" / "depth" / "000.png", np.ones((56, 84), dtype=np.uint8))
    with pytest.raises(DataError, match="expected 16 bits and 56x84"):
        open_data(TASK, f"navi:{tmp_path}", "test")


def scannet(root: Path) -> Path:
    np.savez(root / "test.npz", name=np.array([[7, 0, 0, 15], [7, 1, 0, 15], [12, 0, 15, 0]]))
    np.savez(
        root / "intrinsics.npz", scene0007_00=INTRINSICS, scene0007_01=INTRINSICS, scene0012_00=INTRINSICS
    )
    for scene in ("scene0007_00", "scene0007_01", "scene0012_00"):
        for frame in (0, 15):
            view = plane_view(look(frame / 50, 0, frame / 3), scene)
            write(root / scene / "color" / f"{frame}.jpg", view.image)
            write(root / scene / "depth" / f"{frame}.png", (view.depth * 1000).round().astype(np.uint16))
            (root / scene / "pose").mkdir(exist_ok=True)
            np.savetxt(root / scene / "pose" / f"{frame}.txt", view.camera_to_world)
    return root


def test_scannet_s_pairs_are_read(tmp_path: Path) -> None:
    data = open_data(TASK, f"scannet:{scannet(tmp_path)}", "test", partial=True)
    assert data.samples.groups.names == ("scene0007", "scene0007", "scene0012")
    pair = data.samples[2]
    expected = plane_view(look(0.3, 0, 5.0), "first")
    np.testing.assert_allclose(pair.first.depth, expected.depth, atol=6e-4)
    np.testing.assert_allclose(pair.first.camera_to_world, expected.camera_to_world, atol=1e-9)
    np.testing.assert_allclose(pair.second.intrinsics, INTRINSICS)


def no_list(root: Path) -> None:
    (root / "test.npz").unlink()


def another_list(root: Path) -> None:
    np.savez(root / "test.npz", name=np.zeros((4, 3), dtype=int))


def no_pose(root: Path) -> None:
    (root / "scene0012_00" / "pose" / "15.txt").write_text("1 0 0 0\n0 1 0 0\n")


def infinite_pose(root: Path) -> None:
    (root / "scene0012_00" / "pose" / "15.txt").write_text("-inf 0 0 0\n" * 4)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (no_list, "test.npz"),
        (another_list, r"expected `name`, \(pair, 4\)"),
        (no_pose, "15.txt: expected a camera-to-world pose"),
        (infinite_pose, "four lines of four finite numbers"),
    ],
)
def test_scannet_says_what_is_wrong(tmp_path: Path, damage: Callable[[Path], None], text: str) -> None:
    damage(scannet(tmp_path))
    with pytest.raises(DataError, match=text):
        open_data(TASK, f"scannet:{tmp_path}", "test", partial=True)


def test_an_incomplete_scannet_is_used_only_if_asked_for(tmp_path: Path) -> None:
    scannet(tmp_path)
    (tmp_path / "scene0012_00" / "color" / "0.jpg").unlink()
    with pytest.raises(DataError, match=r"2 pairs found, 1500 expected.*--partial"):
        open_data(TASK, f"scannet:{tmp_path}", "test")
    said: list[str] = []
    assert len(open_data(TASK, f"scannet:{tmp_path}", "test", partial=True, say=said.append).samples) == 2
    assert said == ["note: 1 of 3 pairs lack images or intrinsics, and are left out"]


def test_a_folder_of_one_s_own_is_that_of_the_two_view_tasks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pairs\.txt|cameras\.txt"):
        open_data(TASK, f"folder:{tmp_path}", "test")
