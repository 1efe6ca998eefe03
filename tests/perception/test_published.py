"""Plug and play (DUNE, section 4.4): released heads on one student, through its projectors, described in a YAML.

The files are small ones in the published layouts; widths decide which projector fits which head.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_smplx import arrays
from toy_heads import photo

from codistill import Perception, load_student
from codistill.errors import ConfigError
from codistill.geometry.cameras import camera_matrix
from codistill.heads.human_mesh.load import read_human_mesh
from codistill.heads.two_view.load import read_two_view
from codistill.imaging import resize_rgb
from codistill.tasks.people.sight import PeopleAnswer
from codistill.weights.read import read_checkpoint
from shared_files import golden

DINO = "dino2reg_vitlarge_14"
MAST3R = "mast3r_vitlarge_16"
SIZE = 56


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    np.savez(tmp_path / "SMPLX_NEUTRAL.npz", **arrays())
    monkeypatch.setenv("CODISTILL_SMPLX", str(tmp_path / "SMPLX_NEUTRAL.npz"))
    for name in (
        "dune_nano_released_layout.pth",
        "dunemast3r_nano_released_layout.pth",
        "multihmr_nano_released_layout.pt",
    ):
        (tmp_path / name).symlink_to(golden(name))
    draw = torch.Generator().manual_seed(0)
    classifier = {
        "weight": torch.randn(1000, 2 * 96, generator=draw),
        "bias": torch.randn(1000, generator=draw),
    }
    torch.save(classifier, tmp_path / "dino_linear_head.pth")
    file = tmp_path / "published.yaml"
    file.write_text(f"""
encoder: dune_nano_released_layout.pth
size: {SIZE}
heads:
  reconstruction: {{path: dunemast3r_nano_released_layout.pth, task: two-view, projector: {MAST3R}, denormalize: true}}
  people: {{path: multihmr_nano_released_layout.pt, projector: {DINO}, denormalize: true,
           options: {{threshold: 0.0001, kernel: 1}}}}
  classes: {{path: dino_linear_head.pth, task: linear, projector: {DINO}, denormalize: true,
            options: {{classes: imagenet1k}}}}
""")
    return file


@pytest.fixture
def inputs() -> tuple[np.ndarray, torch.Tensor]:
    """An image, and the same as the network sees it, by the formula."""
    image = photo(3, (SIZE, SIZE))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return image, ((torch.from_numpy(image).float() / 255 - mean) / std).permute(2, 0, 1)[None]


def test_released_heads_on_one_student(config: Path, inputs: tuple[np.ndarray, torch.Tensor]) -> None:
    """Each as if projection and head were put together by hand."""
    image, seen = inputs
    scene = Perception.from_config(config, device="cpu")(image)
    student = load_student(str(golden("dune_nano_released_layout.pth")))
    with torch.no_grad():
        tokens = student.project(student.encoder(seen, norm=False), DINO, denormalize=True)
        assert tokens.cls is not None
        vector = torch.cat((tokens.cls, tokens.patches.mean(1)), dim=1)
        classifier = torch.load(config.parent / "dino_linear_head.pth")
        logits = vector @ classifier["weight"].T + classifier["bias"]
        path = golden("multihmr_nano_released_layout.pt")
        head = read_human_mesh(path, read_checkpoint(path)).build()
        focal = SIZE / (2 * np.tan(np.radians(30)))
        camera = camera_matrix(torch.tensor(focal), ((SIZE - 1) / 2, (SIZE - 1) / 2)).float()
        output = head(tokens, camera[None], threshold=1e-4, kernel=1)
    best = logits.softmax(1)[0].topk(5)
    np.testing.assert_allclose(list(scene.labels[0].values()), best.values.numpy(), rtol=1e-4)
    assert len(scene.labels[0]) == 5 and not any(name.startswith("class ") for name in scene.labels[0])
    answer = scene["people"][0]  # type: ignore[index]
    assert isinstance(answer, PeopleAnswer)
    scores = sorted(output.people.score.tolist())
    found = sorted(person.score for person in scene.people[0])
    assert found and all(any(abs(score - one) < 1e-5 for one in scores) for score in found)
    assert scene.people[0][0].vertices.shape[1] == 3 and scene.body_faces.shape[1] == 3


def test_bodies_and_points_of_a_picture_have_one_camera(config: Path, tmp_path: Path) -> None:
    """`fov` stands in for an unknown focal length only: the points of depth had another camera than the bodies."""
    config.write_text(config.read_text().replace("kernel: 1", "kernel: 1, fov: 90"))
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 50  # a 50 mm lens on 35 mm film
    paths = [tmp_path / "plain.jpg", tmp_path / "told.jpg"]
    for path, known in zip(paths, (b"", exif), strict=True):
        Image.fromarray(photo(3, (56, 84))).save(path, exif=known)
    scene = Perception.from_config(config, device="cpu")(paths)
    for index, (focal, source) in enumerate(
        [(42.0, "assumed"), (50 * np.hypot(56, 84) / np.hypot(36, 24), "exif")]
    ):
        answer = scene["people"][index]  # type: ignore[index]
        assert isinstance(answer, PeopleAnswer)
        for camera in (answer.camera, scene.camera(index)):
            assert camera.source == source and camera.intrinsics[0, 0] == pytest.approx(focal, rel=1e-5)


def test_a_decoder_of_two_views_through_a_projector(
    config: Path, inputs: tuple[np.ndarray, torch.Tensor]
) -> None:
    """Every pixel's confidence is the larger one of both orders, put together by hand."""
    image, seen = inputs
    other = photo(4, (SIZE, 84))
    perception = Perception.from_config(config, device="cpu")
    scene = perception([image, other], focal=60.0)
    assert scene.wants() == ("reconstruction", "people", "classes")
    assert "reconstruction" not in perception(image).wants()
    answer = scene.two_view
    assert [points.shape for points in answer.pointmaps] == [(56, 56, 3), (42, 56, 3)]
    assert answer.cameras.shape == (2, 4, 4) and answer.focals.tolist() == [60.0, 60.0]
    student = load_student(str(golden("dune_nano_released_layout.pth")))
    path = golden("dunemast3r_nano_released_layout.pth")
    head = read_two_view(path, read_checkpoint(path)).build()
    with torch.no_grad():
        views = []
        for pixels in (seen, student.encoder.preprocess(resize_rgb(other, (42, 56)))):
            tokens = student.project(student.encoder(pixels, norm=False), MAST3R, denormalize=True)
            views.append(replace(tokens, normed=False))  # for the head's own norm
        (a, b), (b_first, a_second) = head(*views), head(*views[::-1])
    for found, pair in zip(answer.confidence, ((a, a_second), (b, b_first)), strict=True):
        expected = torch.maximum(pair[0].confidence, pair[1].confidence)[0]
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4)
    assert list(answer.matches) == [(0, 1)] and answer.matches[0, 1].shape[1] == 4
    assert np.isfinite(np.concatenate([points.ravel() for points in answer.pointmaps])).all()
    np.testing.assert_array_equal(answer.colours[0], image)
    assert answer.draw(image).ndim == 3 and "cameras" in answer.facts()


def test_a_released_head_says_what_is_missing(config: Path, tmp_path: Path) -> None:
    text = config.read_text()
    config.write_text(text.replace("task: two-view, ", ""))
    with pytest.raises(ConfigError, match=r"reconstruction: .* does not say what it is for: name its task"):
        Perception.from_config(config, device="cpu")
    config.write_text(text.replace(f"projector: {DINO}, denormalize: true,\n", f"projector: {MAST3R},\n", 1))
    with pytest.raises(ConfigError, match=r"head 'people': .*takes tokens of 96 channels.*gives 64"):
        Perception.from_config(config, device="cpu")
    config.write_text(text.replace("kernel: 1", "kernl: 1"))
    with pytest.raises(ConfigError, match=r"heads.people.options.kernl.*kernel"):
        Perception.from_config(config, device="cpu")
    config.write_text(text.replace("imagenet1k", "labels.txt"))
    with pytest.raises(ConfigError, match=r"labels.txt: names of classes cannot be read"):
        Perception.from_config(config, device="cpu")
