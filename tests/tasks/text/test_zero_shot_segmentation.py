"""Pixels by patches beside text: cosines by hand, summaries of patches by a loop, the command."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from task_toys import ENCODER, segmentation_folder
from torch.nn.functional import interpolate, normalize

from codistill.cli import main
from codistill.encoders.load import load_encoder
from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError
from codistill.files.npz import write_npz
from codistill.nn.vit import ViTConfig
from codistill.student.projectors import ProjectorConfig
from codistill.student.student import Student
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures
from codistill.tasks.text.segmentation import SCALE, TextHead, patch_vectors
from codistill.types import TargetSpec, Tokens


def test_scores_are_scaled_cosines() -> None:
    torch.manual_seed(0)
    features, classes = torch.randn(2, 5, 3, 4), normalize(torch.randn(6, 5), dim=-1)
    found = TextHead(classes)(features)
    for image in range(2):
        for row in range(3):
            for column in range(4):
                v = features[image, :, row, column]
                wanted = torch.stack([v @ c / v.norm() / c.norm() for c in classes])
                torch.testing.assert_close(found[image, :, row, column], SCALE * wanted, atol=1e-3, rtol=1e-4)


def student(kind: str) -> Student:
    torch.manual_seed(0)
    encoder = ViTEncoder(ViTConfig(dim=16, depth=1, num_heads=2, patch_size=7, image_size=14))
    made = Student(encoder, (TargetSpec(name="clip", dim=10, cls_dim=12),), ProjectorConfig(kind=kind))
    for buffer in made.target_statistics.buffers():
        buffer.uniform_(0.5, 2.0)
    return made.eval()


def test_patches_pass_the_head_of_class_tokens() -> None:
    made = student("ln_mlp")
    config = FeatureConfig(encoder="mine", projector="clip", denormalize=True)
    features = FrozenFeatures(config, made)
    seen = patch_vectors(features, "cls", "mine")
    images = torch.randn(2, 3, 14, 21)
    (tokens,) = seen(images)
    assert tokens.patches.shape == (2, 6, 12) and tokens.grid == (2, 3) and seen.channels == 12
    own = made.encoder(images, norm=False)
    for patch in range(6):
        alone = Tokens(own.patches, own.grid, own.patches[:, patch], normed=False)
        wanted = made.project(alone, "clip", denormalize=True).cls
        torch.testing.assert_close(tokens.patches[:, patch], wanted, atol=1e-5, rtol=1e-5)
    assert patch_vectors(features, "patch", "mine") is features


def test_heads_that_mix_tokens_are_refused() -> None:
    config = FeatureConfig(encoder="mine", projector="clip", denormalize=True)
    with pytest.raises(ConfigError, match=r"\(transformer\) mixes tokens.*--through patch"):
        patch_vectors(FrozenFeatures(config, student("transformer")), "cls", "mine")
    alone = FrozenFeatures(FeatureConfig(encoder=ENCODER))
    with pytest.raises(ConfigError, match="--through cls looks at patches with a student's head"):
        patch_vectors(alone, "cls", ENCODER)


@pytest.mark.parametrize("upsample", ["bilinear", "jbu"])
def test_the_command_segments_as_by_hand(upsample: str, tmp_path: Path) -> None:
    root = segmentation_folder(tmp_path / "toys", train=2, val=2)
    encoder = load_encoder(ENCODER)
    from codistill.tasks.dense.segmentation.task import TASK
    from codistill.tasks.opening import open_data

    data = open_data(TASK, f"folder:{root}", "val")
    rng = np.random.default_rng(0)
    values = rng.normal(size=(len(data.classes), encoder.spec.dim)).astype(np.float32)
    file = tmp_path / "classes.npz"
    arrays = {"embeddings": values, "classes": np.array(data.classes), "tower": np.array(encoder.spec.name)}
    write_npz(file, arrays)
    argv = ["--encoder", ENCODER, "--classes", str(file), "--data", f"folder:{root}", "--device", "cpu"]
    command = ["evaluate", "zero-shot-segmentation", *argv, "--split", "val", "--upsample", upsample]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    numbers = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert numbers["zero_shot"] == {"tower": encoder.spec.name, "templates": 1, "through": "patch"}
    assert numbers["images"] == 2 and 0 <= numbers["scores"]["miou"]["mean"] <= 100
    if upsample == "jbu":
        return
    with np.load(tmp_path / "out" / "per_image.npz") as stored:
        counts = stored["counts"]
    from codistill.metrics.segmentation import class_counts
    from codistill.tasks.dense.segmentation.model import SegmentationTest, Segmenter

    features = FrozenFeatures(FeatureConfig(encoder=ENCODER))
    unit = normalize(torch.tensor(values), dim=-1)
    model = Segmenter(features, TextHead(unit), data.protocol, data.classes, SegmentationTest())  # type: ignore[arg-type]
    for number in range(2):
        sample = data.samples[number]
        (tokens,) = features(model.seen(sample.image, False))
        if data.protocol.mode != "slide" and sample.image.shape[:2] == tuple(data.protocol.scale):
            cosines = torch.einsum("nc,bcij->bnij", unit, normalize(tokens.feature_map(), dim=1))
            labels = interpolate(cosines, size=sample.image.shape[:2], mode="bilinear").argmax(1)[0]
            assert (labels.numpy() == model(sample.image)).all()
        found = class_counts(
            torch.from_numpy(model(sample.image)), torch.from_numpy(sample.target), len(unit)
        )
        assert (found.numpy() == counts[number]).all()


def test_a_width_of_another_space_is_refused(tmp_path: Path) -> None:
    root = segmentation_folder(tmp_path / "toys", train=2, val=2)
    from codistill.tasks.dense.segmentation.task import TASK
    from codistill.tasks.opening import open_data

    classes = open_data(TASK, f"folder:{root}", "val").classes
    file = tmp_path / "classes.npz"
    values = np.ones((len(classes), 3), np.float32)
    write_npz(file, {"embeddings": values, "classes": np.array(classes), "tower": np.array("t")})
    argv = ["--encoder", ENCODER, "--classes", str(file), "--data", f"folder:{root}", "--split", "val"]
    from codistill.commands.evaluate_zero_shot_segmentation import main as segment

    with pytest.raises(ConfigError, match=r"embeddings have 3 channels, patches of random:vit_tiny\S* 48"):
        segment([*argv, "--out", str(tmp_path / "out")])
