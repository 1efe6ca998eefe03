"""Label files as people have them: any number of betas, bad rows, bad files; by hand and against the skinning."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from people_scenes import open_people
from PIL import Image

from codistill.bodies.smplx import SmplxBody
from codistill.errors import DataError
from codistill.geometry.rotations import rotation_from_vector
from codistill.tasks.people.smplx_labels import read_labels
from codistill.tasks.people.smplx_layouts import SmplxImages

sys.path.insert(0, str(Path(__file__).parents[2] / "bodies"))
from test_smplx import arrays


@pytest.fixture
def body_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "SMPLX_NEUTRAL.npz"
    np.savez(path, **arrays())
    monkeypatch.setenv("CODISTILL_SMPLX", str(path))
    return path


def labels(names: list[str], betas: int = 11, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    count = len(names)
    return {
        "imgname": np.array(names),
        "pose_cam": rng.normal(size=(count, 165)) * 0.3,
        "shape": rng.normal(size=(count, betas)),
        "trans_cam": rng.normal(size=(count, 3)) * 0.2 + [0.0, 0.0, 4.0],
        "cam_int": np.tile(np.array([[50.0, 0.0, 32.0], [0.0, 50.0, 24.0], [0.0, 0.0, 1.0]]), (count, 1, 1)),
    }


def write(root: Path, sequence: str, **data: np.ndarray) -> Path:
    file = root / "training_labels" / f"{sequence}.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **data)
    for name in np.unique(data["imgname"].astype(str)):
        path = root / "training_images" / sequence / "png" / str(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48)).save(path)
    return file


@pytest.mark.parametrize("betas", [1, 10, 11, 16, 100, 300])
def test_every_width_of_betas_is_the_body_that_the_file_says(
    tmp_path: Path, body_file: Path, betas: int
) -> None:
    data = labels(["a.png"], betas)
    write(tmp_path / "b", "s", **data)
    found = open_people(f"bedlam:{tmp_path / 'b'}", "train")
    sample = found.samples[0]
    file = arrays()  # the rest pose by hand, with all of the betas
    rest = file["v_template"] + file["shapedirs"][..., :betas] @ data["shape"][0]
    pelvis = (file["J_regressor"] @ rest)[0] + data["trans_cam"][0]
    np.testing.assert_allclose(sample.truth.pelvis[0].numpy(), pelvis, atol=1e-4)
    assert sample.truth.rotmat is not None and sample.truth.shape is not None
    _, joints = found.body(sample.truth.rotmat, sample.truth.shape)
    order = [*range(22), *range(25, 40), *range(40, 55), 22]
    turns = rotation_from_vector(torch.from_numpy(data["pose_cam"][0]).float().view(55, 3)[order])[None]
    whole = SmplxBody(body_file, n_shape=betas)
    _, expected = whole(turns, torch.from_numpy(data["shape"]).float())
    torch.testing.assert_close(joints, expected, atol=1e-4, rtol=1e-4)


def test_files_of_several_widths_are_filled_up_and_never_cut(tmp_path: Path, body_file: Path) -> None:
    narrow, wide = labels(["a.png"], 10), labels(["b.png"], 16, seed=1)
    write(tmp_path / "b", "s1", **narrow)
    write(tmp_path / "b", "s2", **wide)
    found = open_people(f"bedlam:{tmp_path / 'b'}", "train")
    shapes = [found.samples[i].truth.shape for i in range(2)]
    np.testing.assert_allclose(shapes[0][0, :10], narrow["shape"][0], rtol=1e-6)
    assert (shapes[0][0, 10:] == 0).all() and found.body.n_shape == 16
    np.testing.assert_allclose(shapes[1][0], wide["shape"][0], rtol=1e-6)
    assert any("[10, 16] shape numbers" in note for note in found.notes)
    assert isinstance(found.samples, SmplxImages)
    with pytest.raises(DataError, match="16 shape numbers and the head gives 11"):
        found.samples.on(SmplxBody(body_file, n_shape=11))
    assert found.samples.on(SmplxBody(body_file, n_shape=20))[0].truth.shape.shape == (1, 20)


def broken(kind: str) -> dict[str, np.ndarray]:
    """Labels of three images, a, b and c, in which b's second person cannot be used."""
    data = labels(["a.png", "b.png", "b.png", "c.png"])
    row = 2
    if kind in ("pose_cam", "shape", "trans_cam"):
        data[kind][row, 1] = np.nan if kind != "shape" else np.inf
    elif kind == "focal":
        data["cam_int"][1:3, 0, 0] = 0.0
    elif kind == "camera":
        data["cam_int"][row, 0, 2] += 5.0
    elif kind == "gender":
        data["gender"] = np.array(["neutral", "neutral", "female", "neutral"], dtype=object)
    elif kind == "name":
        data["imgname"] = np.array(["a.png", "", "", "c.png"])
    return data


@pytest.mark.parametrize("kind", ["pose_cam", "shape", "trans_cam", "focal", "camera", "gender", "name"])
def test_a_bad_row_costs_its_image_and_is_said(tmp_path: Path, body_file: Path, kind: str) -> None:
    write(tmp_path / "b", "s", **broken(kind)) if kind != "name" else None
    if kind == "name":
        file = tmp_path / "n.npz"
        np.savez(file, **broken(kind))
        read = read_labels(file)
        assert list(read.images) == ["a.png", "c.png"] and "empty imgname" in read.left_out[0]
        return
    found = open_people(f"bedlam:{tmp_path / 'b'}", "train")
    assert [found.samples[i].name for i in range(len(found.samples))] == ["a.png", "c.png"]
    assert all(torch.isfinite(found.samples[i].truth.joints).all() for i in range(2))
    assert len(found.notes) == 1
    assert "s.npz, row " in found.notes[0] and "1 images" in found.notes[0]


WRONG: dict[str, dict[str, np.ndarray]] = {
    "smpl": {"pose_cam": np.zeros((2, 72))},
    "smplh": {"pose_cam": np.zeros((2, 156))},
    "no betas": {"shape": np.zeros((2, 0))},
    "too many betas": {"shape": np.zeros((2, 301))},
    "flat betas": {"shape": np.zeros(22)},
    "rows": {"trans_cam": np.zeros((3, 3))},
    "cam_ext": {"cam_ext": np.zeros((2, 3, 4))},
    "text": {"shape": np.full((2, 11), "x")},
    "model": {"model_type": np.array("smplh")},
}


@pytest.mark.parametrize("kind", WRONG)
def test_one_bad_file_does_not_end_a_set(tmp_path: Path, body_file: Path, kind: str) -> None:
    root = tmp_path / "b"
    write(root, "good", **labels(["a.png"]))
    write(root, "wrong", **(labels(["a.png", "b.png"]) | WRONG[kind]))
    (root / "training_labels" / "torn.npz").write_bytes(b"PK\x03\x04 broken")
    behind = labels(["a.png"])
    behind["trans_cam"][:, 2] = -1.0
    write(root, "behind", **behind)
    found = open_people(f"bedlam:{root}", "train")
    assert len(found.samples) == 1
    said = " ".join(found.notes)
    assert "2 of 4 label files were left out" in said and "wrong.npz" in said and "torn.npz" in said
    assert "1 label files have nobody in front of the camera" in said and "behind.npz" in said
    (root / "training_labels" / "good.npz").unlink()
    with pytest.raises(DataError, match="none of 3 label files has people that can be used"):
        open_people(f"bedlam:{root}", "train")


def test_random_tables_are_read_or_refused_and_never_crash(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    file = tmp_path / "x.npz"
    read = 0
    for seed in range(150):
        data: dict[str, np.ndarray] = labels(
            [f"{i % 3}.png" for i in range(int(rng.integers(0, 5)))], seed=seed
        )
        name = str(rng.choice(list(data)))
        spoil = int(rng.integers(6))
        if spoil == 0:
            del data[name]
        elif spoil == 1:
            data[name] = data[name][:-1]
        elif spoil == 2:
            data[name] = data[name].reshape(-1)
        elif spoil == 3 and data[name].dtype.kind == "f" and data[name].size:
            data[name].flat[rng.integers(data[name].size)] = rng.choice([np.nan, np.inf, -np.inf])
        elif spoil == 4 and name == "shape":
            data[name] = rng.normal(size=(len(data["imgname"]), int(rng.integers(0, 400))))
        np.savez(file, **data)
        try:
            found = read_labels(file)
        except DataError:
            continue
        read += 1
        for rows in found.images.values():
            assert all(np.isfinite(array).all() for array in vars(rows).values())
            assert len(rows.pose) == len(rows.shape) == len(rows.translation) == len(rows.intrinsics) > 0
    assert 20 < read < 150


def test_a_gendered_body_file_is_not_taken_for_the_neutral_one(tmp_path: Path) -> None:
    for gender in ("FEMALE", "MALE"):
        np.savez(tmp_path / f"SMPLX_{gender}.npz", **arrays())
        with pytest.raises(DataError, match=f"is the {gender.lower()} model"):
            SmplxBody(tmp_path / f"SMPLX_{gender}.npz")
    spoiled = arrays()
    spoiled["weights"][3, 3] = np.nan
    np.savez(tmp_path / "SMPLX_NEUTRAL.npz", **spoiled)
    with pytest.raises(DataError, match="weights is not finite"):
        SmplxBody(tmp_path)
