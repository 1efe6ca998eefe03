"""BEDLAM and AGORA from generated miniature folders, with a generated body file of SMPL-X's layout."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from people_scenes import open_people
from PIL import Image

from codistill.bodies.smplx import SmplxBody
from codistill.errors import DataError
from codistill.geometry.projection import project
from codistill.geometry.rotations import rotation_from_vector

sys.path.insert(0, str(Path(__file__).parents[2] / "bodies"))
from test_smplx import arrays

SEQUENCE, LYING = "20221010_suburb_d_6fps", "20221010_closeup_a_6fps"


@pytest.fixture
def body_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "body" / "SMPLX_NEUTRAL.npz"
    path.parent.mkdir()
    np.savez(path, **arrays())
    monkeypatch.setenv("CODISTILL_SMPLX", str(path))
    return path


def labels(names: list[str], seed: int = 0, extrinsics: bool = True) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    count = len(names)
    camera = np.array([[50.0, 0.0, 32.0], [0.0, 50.0, 24.0], [0.0, 0.0, 1.0]])
    external = np.tile(np.eye(4), (count, 1, 1))
    external[:, :3, 3] = [0.1, 0.2, 0.3]
    found = {
        "imgname": np.array(names),
        "pose_cam": rng.normal(size=(count, 165)) * 0.3,
        "shape": rng.normal(size=(count, 11)),
        "trans_cam": rng.normal(size=(count, 3)) * 0.2 + [0.0, 0.0, 4.0],
        "cam_int": np.tile(camera, (count, 1, 1)),
        "gender": np.array(["neutral"] * count, dtype=object),
    }
    return found | ({"cam_ext": external} if extrinsics else {})


def bedlam(root: Path, sequence: str = SEQUENCE, size: tuple[int, int] = (48, 64)) -> dict[str, np.ndarray]:
    """Two images; the first with two people, the second with one, and one behind the camera."""
    names = ["seq_000000/seq_000000_0005.png", "seq_000000/seq_000000_0000.png"]
    data = labels([names[1], names[0], names[1], names[0]])
    data["trans_cam"][3, 2] = -2.0
    file = root / "training_labels" / "all_npz_12_training" / f"{sequence}.npz"
    file.parent.mkdir(parents=True)
    np.savez(file, **data)
    for name in names:
        path = root / "training_images" / sequence / "png" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.arange(size[0] * size[1] * 3).reshape(*size, 3) % 251
        Image.fromarray(values.astype(np.uint8)).save(path)
    return data


def test_bedlam_people_stand_where_the_labels_say(tmp_path: Path, body_file: Path) -> None:
    written = bedlam(tmp_path / "bedlam")
    data = open_people(f"bedlam:{tmp_path / 'bedlam'}", "train")
    assert len(data.samples) == 2 and data.body.name == "smplx" and data.body.n_shape == 11
    sample = data.samples[0]  # images in the order of their names
    assert sample.name.endswith("_0000.png") and len(sample.truth) == 2
    assert [len(data.samples[i].truth) for i in range(2)] == [2, 1]
    # Row 2 of the file by hand: the body posed about its own pelvis, moved by transl and the camera's own.
    pose = torch.from_numpy(written["pose_cam"][2]).float()
    order = [*range(22), *range(25, 40), *range(40, 55), 22]
    body = SmplxBody(body_file, n_shape=11)
    shape = torch.from_numpy(written["shape"][2:3]).float()
    _, joints = body(rotation_from_vector(pose.view(55, 3)[order])[None], shape)
    file = arrays()
    rest = file["v_template"] + file["shapedirs"][..., :11] @ written["shape"][2]
    pelvis = (file["J_regressor"] @ rest)[0] + written["trans_cam"][2] + [0.1, 0.2, 0.3]
    torch.testing.assert_close(sample.truth.pelvis[1], torch.from_numpy(pelvis).float(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        sample.truth.joints[1], joints[0] + sample.truth.pelvis[1], atol=1e-4, rtol=1e-4
    )
    # The labels' pixels start at the image's corner, ours at the first pixel's centre.
    corner = project(sample.truth.head, torch.from_numpy(written["cam_int"][0]).float().expand(2, 3, 3))
    ours = project(sample.truth.head, sample.intrinsics.expand(2, 3, 3))
    torch.testing.assert_close(ours + 0.5, corner, atol=1e-3, rtol=1e-4)


def test_closeups_are_turned_upright(tmp_path: Path, body_file: Path) -> None:
    bedlam(tmp_path / "bedlam", LYING)
    image = open_people(f"bedlam:{tmp_path / 'bedlam'}", "train").samples[0].image
    stored = np.arange(48 * 64 * 3).reshape(48, 64, 3) % 251
    assert image.shape == (64, 48, 3)
    assert (image[0, -1] == stored[0, 0]).all() and (image[0, 0] == stored[-1, 0]).all()  # clockwise


def test_missing_images_and_damaged_labels_are_named(tmp_path: Path, body_file: Path) -> None:
    root = tmp_path / "bedlam"
    bedlam(root)
    (root / "training_images" / SEQUENCE / "png" / "seq_000000" / "seq_000000_0005.png").unlink()
    with pytest.raises(DataError, match=r"1 of 2 labelled images are missing; the first: .*_0005\.png"):
        open_people(f"bedlam:{root}", "train")
    data = open_people(f"bedlam:{root}", "train", partial=True)
    assert len(data.samples) == 1
    assert data.notes == ("1 of 2 labelled images are missing, and are left out",)
    with pytest.raises(DataError, match=r"no label files validation_labels/\*\*/\*\.npz\. Expected layout"):
        open_people(f"bedlam:{root}", "val")
    with pytest.raises(DataError, match="Unknown split 'test'"):
        open_people(f"bedlam:{root}", "test")
    file = root / "training_labels" / "all_npz_12_training" / f"{SEQUENCE}.npz"
    wrong = labels(["a.png"])
    wrong["pose_cam"] = wrong["pose_cam"][:, :72]
    np.savez(file, **wrong)
    with pytest.raises(DataError, match="pose_cam as \\(person, 165\\)"):
        open_people(f"bedlam:{root}", "train")
    file.write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(DataError, match=r"cannot be read as an \.npz file"):
        open_people(f"bedlam:{root}", "train")


def test_images_that_two_files_label_are_refused(tmp_path: Path, body_file: Path) -> None:
    """As AGORA's labels come in several fits, and BEDLAM's of several frame rates."""
    root = tmp_path / "bedlam"
    bedlam(root)
    found = root / "training_labels" / "all_npz_12_training"
    shutil.copytree(found, root / "training_labels" / "all_npz_30_training")
    with pytest.raises(DataError, match=rf"12_training/{SEQUENCE}\.npz and .*30.*both label .*_0000\.png"):
        open_people(f"bedlam:{root}", "train")


def test_agora_in_bedlams_form(tmp_path: Path, body_file: Path) -> None:
    root = tmp_path / "agora"
    (root / "val_labels").mkdir(parents=True)
    np.savez(
        root / "val_labels" / "agora-bfh.npz", **labels(["ag_0001.png", "ag_0001.png"], extrinsics=False)
    )
    (root / "val_images" / "validation").mkdir(parents=True)
    Image.new("RGB", (64, 48)).save(root / "val_images" / "validation" / "ag_0001.png")
    sample = open_people(f"agora:{root}", "val").samples[0]
    assert len(sample.truth) == 2 and sample.image.shape == (48, 64, 3)


def test_without_the_body_file_the_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CODISTILL_SMPLX", raising=False)
    bedlam(tmp_path / "bedlam")
    with pytest.raises(DataError, match="Register at"):
        open_people(f"bedlam:{tmp_path / 'bedlam'}", "train")
