import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from codistill.errors import DataError
from codistill.metrics.normals import normal_scores
from codistill.tasks.dense.normals.data import NormalsViews
from codistill.tasks.dense.normals.task import TASK
from codistill.tasks.dense.protocol import CropProtocol
from codistill.tasks.opening import open_data, scored_split
from codistill.tasks.shared.data import DenseSample


def normals(seed: int, size: tuple[int, int]) -> np.ndarray:
    """A dome, tilted by the seed: every direction towards the camera."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.linspace(-0.6, 0.6, size[0]), np.linspace(-0.6, 0.6, size[1]), indexing="ij")
    vectors = np.stack((x + rng.uniform(-0.3, 0.3), y + rng.uniform(-0.3, 0.3), -np.ones(size)), axis=-1)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def write(path, rgb: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), rgb[..., ::-1])


def colours(vectors: np.ndarray, signs: tuple[int, ...], most: int = 255) -> np.ndarray:
    return np.rint((vectors * signs + 1) / 2 * most).astype(np.uint8 if most == 255 else np.uint16)


def mean_error(found: np.ndarray, truth: np.ndarray) -> float:
    return float(normal_scores(torch.from_numpy(found), torch.from_numpy(truth))[0])


@pytest.mark.parametrize(("most", "signs", "said"), [(255, (1, 1, 1), None), (65535, (1, -1, -1), "usual")])
def test_a_folder_of_one_s_own(tmp_path, most, signs, said):
    for index in range(2):
        write(tmp_path / "images" / "val" / f"{index}.png", np.zeros((20, 30, 3), np.uint8))
        values = colours(normals(index, (20, 30)), signs, most)
        values[:3] = 0
        write(tmp_path / "normals" / "val" / f"{index}.png", values)
    if said:
        axes = {"red": "right", "green": "up", "blue": "towards"}
        (tmp_path / "normals.json").write_text(json.dumps(axes))
    data = open_data(TASK, f"folder:{tmp_path}", "val")
    sample = data.samples[1]
    assert sample.target.shape == (20, 30, 3) and not sample.target[:3].any()
    assert mean_error(sample.target[3:], normals(1, (20, 30))[3:]) < 0.4
    assert len(data.samples.shared_inputs()) == bool(said)


def test_the_usual_colours_need_to_be_said(tmp_path):
    write(tmp_path / "images" / "val" / "a.png", np.zeros((20, 30, 3), np.uint8))
    write(tmp_path / "normals" / "val" / "a.png", colours(normals(0, (20, 30)), (1, -1, -1)))
    with pytest.raises(DataError, match=r"a\.png: most of its normals point away from the camera"):
        open_data(TASK, f"folder:{tmp_path}", "val")
    write(tmp_path / "normals" / "val" / "a.png", colours(normals(0, (10, 15)), (1, 1, 1)))
    with pytest.raises(DataError, match="they must agree"):
        open_data(TASK, f"folder:{tmp_path}", "val")
    (tmp_path / "normals" / "val" / "a.png").unlink()
    with pytest.raises(DataError, match="have no label file"):
        open_data(TASK, f"folder:{tmp_path}", "val")


def test_nyuv2_is_turned_to_the_camera_and_its_middle_is_used(tmp_path):
    for index in (3, 8):
        write(tmp_path / "test" / f"{index:06d}_img.png", np.full((480, 640, 3), index, np.uint8))
        write(
            tmp_path / "test" / f"{index:06d}_normal.png", colours(normals(index, (480, 640)), (-1, -1, -1))
        )
    with pytest.raises(DataError, match="2 images found, 654 expected"):
        open_data(TASK, f"nyuv2:{tmp_path}", "test")
    data = open_data(TASK, f"nyuv2:{tmp_path}", "test", partial=True)
    sample = data.samples[0]
    assert (
        sample.image.shape == (480, 480, 3) and sample.name == "000003_img.png" and sample.image[0, 0, 0] == 3
    )
    assert mean_error(sample.target, normals(3, (480, 640))[:, 80:560]) < 0.4
    assert scored_split(TASK, f"nyuv2:{tmp_path}")[0] == "test"
    with pytest.raises(DataError, match="no such folder"):
        open_data(TASK, f"nyuv2:{tmp_path}", "train")


def test_the_world_s_normals_face_the_camera_and_have_its_groups(tiny_world):
    data = open_data(TASK, f"world:{tiny_world}", "train")
    assert data.protocol.crop == (112, 112) and data.samples.groups.kind == "scenes"
    for index in (0, len(data.samples) - 1):
        target = data.samples[index].target
        lengths = np.linalg.norm(target, axis=-1)
        known = lengths > 0
        assert target.dtype == np.float32 and known.mean() > 0.5
        np.testing.assert_allclose(lengths[known], 1.0, atol=1e-5)
        assert target[..., 2][known].mean() < 0


def test_views_mirror_the_vectors_and_never_turn_them():
    size = (24, 32)
    truth = normals(5, size)
    maker = NormalsViews(CropProtocol(crop=(16, 16)))
    mirrored = truth[:, ::-1] * np.array((-1, 1, 1), dtype=np.float32)
    seen = []
    for seed in range(12):
        view = maker(DenseSample(np.zeros((*size, 3), np.uint8), truth, "a"), np.random.default_rng(seed))
        assert view.target.shape == (16, 16, 3) and view.target.dtype == np.float32
        for name, whole in (("as it is", truth), ("mirrored", mirrored)):
            top, left = divmod(int(np.abs(whole - view.target[0, 0]).sum(-1).argmin()), size[1])
            if np.array_equal(view.target, whole[top : top + 16, left : left + 16]):
                seen.append(name)
    assert len(seen) == 12 and set(seen) == {"as it is", "mirrored"}


def test_plain_views_are_the_middle_and_small_images_are_padded_with_unknown():
    sample = DenseSample(np.full((10, 40, 3), 9, np.uint8), normals(0, (10, 40)), "a")
    view = NormalsViews(CropProtocol(crop=(16, 16))).plain(sample)
    assert view.inside == (10, 16) and not view.target[10:].any()
    np.testing.assert_array_equal(view.target[:10], sample.target[:, 12:28])
    protocol = CropProtocol(crop=(99, 99)).at_size(8)
    small = NormalsViews(replace(protocol, steps=3)).plain(sample)
    lengths = np.linalg.norm(small.target, axis=-1)
    np.testing.assert_allclose(lengths, 1.0, atol=1e-5)  # the nearest pixel's, not a mean
    assert small.pixels.shape == (8, 8, 3)
