import cv2
import numpy as np
import pytest
from pair_toys import plane_pair
from PIL import Image

from codistill.errors import ConfigError, DataError
from codistill.files.inputs import compare
from codistill.tasks.opening import open_split
from codistill.tasks.shared.inputs import inputs_of
from codistill.tasks.two_view.layouts import LAYOUTS, mapfree_cameras
from codistill.tasks.two_view.pairs import check_pairs


def open_pairs(spec, split):
    return open_split(LAYOUTS, spec, split).samples


@pytest.fixture
def folder(tmp_path):
    """A folder with one pair, camera poses written as quaternions by hand."""
    root = tmp_path / "train"
    for name in ("images", "depth"):
        (root / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(
            root / "images" / f"{name}.png"
        )
        depth = np.full((20, 30), 2500, dtype=np.uint16)
        depth[0, 0], depth[0, 1] = 0, 65535
        cv2.imwrite(str(root / "depth" / f"{name}.png"), depth)
    half = np.sqrt(0.5)  # 90 degrees about y
    cameras = f"# a comment\na 50 51 14 9 1 0 0 0 0 0 0\nb 50 51 14 9 {half} 0 {half} 0 1 2 3\n"
    (root / "cameras.txt").write_text(cameras)
    (root / "pairs.txt").write_text("a b 0.4\n")
    return tmp_path


def test_folder_pairs_are_read_as_they_were_written(folder):
    data = open_pairs(f"folder:{folder}", "train")
    pair = data[0]
    assert len(data) == 1 and pair.overlap == 0.4
    np.testing.assert_array_equal(pair.first.intrinsics, [[50, 0, 14], [0, 51, 9], [0, 0, 1]])
    assert pair.first.depth[0, 0] == 0 and np.isinf(pair.first.depth[0, 1]) and pair.first.depth[5, 5] == 2.5
    # A point one metre before camera b (its z axis looks along the world's x) lies at (2, 2, 3).
    np.testing.assert_allclose(pair.second.camera_to_world @ [0, 0, 1, 1], [2, 2, 3, 1], atol=1e-12)
    np.testing.assert_allclose(pair.second_from_first @ [2, 2, 3, 1], [0, 0, 1, 1], atol=1e-12)


@pytest.mark.parametrize("what", ["camera", "depth", "image", "list"])
def test_pairs_are_another_input_when_any_part_of_them_is(folder, what):
    (folder / "train" / "pairs.txt").write_text("a b 0.4\na a 1.0\n")
    before = inputs_of(open_pairs(f"folder:{folder}", "train"))
    if what == "camera":
        path = folder / "train" / "cameras.txt"
        path.write_text(path.read_text().replace("1 2 3", "1 2 4"))
    elif what == "list":
        (folder / "train" / "pairs.txt").write_text("a b 0.4\nb b 1.0\n")
    else:
        name = "depth" if what == "depth" else "images"
        with (folder / "train" / name / "b.png").open("ab") as file:
            file.write(b"more")
    change = compare(before, inputs_of(open_pairs(f"folder:{folder}", "train")), by_place=True)
    assert change.sources == ((0, -1) if what == "list" else (-1, 1))
    assert {"camera": "camera of", "depth": "depth/b.png", "image": "images/b.png", "list": "what belongs"}[
        what
    ] in change.text


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("pairs.txt", "a c\n", "'c' has not an image"),
        ("pairs.txt", "a\n", r"pairs.txt, line 1: 'a'. Expected: NAME1 NAME2"),
        ("pairs.txt", "a b much\n", "Expected: NAME1 NAME2"),
        ("cameras.txt", "a 1 2 3\n", "cameras.txt, line 1: expected `NAME fx fy cx cy qw qx"),
        ("cameras.txt", "a 50 51 14 9 1 0 0 0 0 0 0\n", "'b' has not a line in cameras.txt"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(folder, file, text, words):
    (folder / "train" / file).write_text(text)
    with pytest.raises(DataError, match=words):
        open_pairs(f"folder:{folder}", "train")


def test_training_without_depth_is_refused_and_scoring_is_not(folder):
    for path in (folder / "train" / "depth").iterdir():
        path.unlink()
    data = open_split(LAYOUTS, f"folder:{folder}", "train")
    assert check_pairs(data, training=False) == []
    with pytest.raises(DataError, match="no depth is known, and training needs it"):
        check_pairs(data, training=True)


def test_eight_bit_depth_and_other_sizes_are_refused(folder):
    path = folder / "train" / "depth" / "a.png"
    cv2.imwrite(str(path), np.full((20, 30), 9, dtype=np.uint8))
    with pytest.raises(DataError, match="no 16-bit depth map"):
        open_pairs(f"folder:{folder}", "train")[0]
    cv2.imwrite(str(path), np.full((10, 30), 9, dtype=np.uint16))
    with pytest.raises(DataError, match="10x30 pixels and its image"):
        open_pairs(f"folder:{folder}", "train")[0]


def test_an_unknown_kind_lists_the_known_ones():
    with pytest.raises(ConfigError, match="Known: folder, mapfree, world"):
        open_pairs("folders:/x", "train")


def test_mapfree_poses_are_world_to_camera_and_pairs_keep_to_the_overlap(tmp_path):
    scene = tmp_path / "train" / "s00000"
    for sequence in ("seq0", "seq1"):
        (scene / sequence).mkdir(parents=True)
        for frame in range(2):
            Image.new("RGB", (54, 72)).save(scene / sequence / f"frame_{frame:05d}.jpg")
    names = [f"seq{s}/frame_{f:05d}.jpg" for s in range(2) for f in range(2)]
    (scene / "intrinsics.txt").write_text("".join(f"{n} 59 59 27 36 54 72\n" for n in names))
    poses = ["1 0 0 0 0 0 0", "1 0 0 0 0 0 0", "1 0 0 0 0 0 -2", "0 0 0 0 0 0 0"]
    (scene / "poses.txt").write_text("".join(f"{n} {p}\n" for n, p in zip(names, poses, strict=True)))
    rows = np.array([[0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 1, 1]])
    np.savez(scene / "overlaps.npz", idxs=rows, overlaps=np.array([0.5, 0.9, 0.5]))
    cameras = mapfree_cameras(scene)
    assert names[3] not in cameras  # its pose is withheld
    np.testing.assert_allclose(cameras[names[2]][1][:3, 3], [0, 0, 2])  # camera centre: -R^T t
    data = open_pairs(f"mapfree:{tmp_path}", "train")
    assert len(data) == 1 and data[0].overlap == 0.5
    Image.new("RGB", (27, 36)).save(scene / names[2])  # a smaller copy: its intrinsics do not fit
    with pytest.raises(DataError, match=r"36x27 pixels and its line in intrinsics\.txt says 72x54"):
        data[0]
    for damaged in ("1 0 0 0 0 0", "1 0 0 0 0 0 O"):
        (scene / "poses.txt").write_text(f"{names[0]} {poses[0]}\n{names[1]} {damaged}\n")
        with pytest.raises(DataError, match=r"poses\.txt, line 2: expected `frame qw qx qy qz tx ty tz`"):
            mapfree_cameras(scene)


def test_the_toy_planes_agree_with_each_other():
    """The reference of other tests: a point seen by the first camera has the second one's depth there."""
    pair = plane_pair()
    k, pose = pair.first.intrinsics, pair.second_from_first
    point = np.linalg.inv(k) @ [40, 30, 1] * pair.first.depth[30, 40]
    moved = pose[:3, :3] @ point + pose[:3, 3]
    x, y, _ = np.round(k @ moved / moved[2]).astype(int)
    assert abs(pair.second.depth[y, x] - moved[2]) < 0.03
