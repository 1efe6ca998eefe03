"""Extraction as users run it: equal to the encoder, killed and gone on with, damaged images, parts, refusals."""

import json
import shutil
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import codistill
import forked
from codistill.cli import main
from codistill.encoders.registry import FunctionEncoder
from codistill.errors import DataError
from codistill.tasks.extraction.layout import FeatureSpec, default_shard
from codistill.tasks.extraction.read import open_features
from codistill.types import Tokens

ENCODER = "random:vit_tiny,dim=32,num_heads=2,depth=3,seed=4"
SMALL = ["--encoder", ENCODER, "--size", "56", "--batch-size", "4", "--workers", "0", "--device", "cpu"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(22):
        image = rng.integers(0, 255, (60 + i, 90 - i, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"{i:02d}.png")
    (folder / "05.png").write_bytes(b"\x89PNG no image")
    (folder / "13.png").write_bytes(b"")
    return folder


def extract(source: Path, out: Path, *more: str) -> int:
    return main(["extract", str(source), "--out", str(out), *SMALL, *more])


def test_features_are_the_encoders_in_half_precision(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert extract(photos, tmp_path / "f", "--fit", "stretch") == 0
    text = " ".join(capsys.readouterr().err.split())
    assert "22 images of 1.1 KiB each need" in text
    assert "are free in" in text and "about 1 s" in text
    assert "05.png" in text and "20 images, 2 left out" in text
    features = open_features(tmp_path / "f")
    assert len(features) == 20
    assert "05.png" not in features.names
    encoder = codistill.load_encoder(ENCODER)
    for name in ("00.png", "06.png", "21.png"):  # before, after and behind the damaged ones
        expected = encoder(encoder.preprocess(photos / name, (56, 56)))
        got = features.by_name(name)
        assert got.grid == (4, 4) and got.normed and got.patches.dtype == torch.float16
        torch.testing.assert_close(got.patches.float(), expected.patches.detach(), atol=2e-3, rtol=2e-3)
        torch.testing.assert_close(got.cls.float(), expected.cls.detach(), atol=2e-3, rtol=2e-3)  # type: ignore[union-attr]
    several = features[[7, 0, -1]]
    assert torch.equal(several.patches[1:2], features[0].patches)
    assert torch.equal(several.patches[2:], features.by_name("21.png").patches)


class WideSummary(torch.nn.Module):
    """Patches of 8 channels and a class token of 12, as with a projected summary."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.summary = torch.nn.Conv2d(3, 8, 14, 14), torch.nn.Linear(8, 12)

    def forward(self, images: torch.Tensor) -> Tokens:
        maps = self.patches(images)
        patches = maps.flatten(2).mT
        return Tokens(patches, tuple(maps.shape[-2:]), cls=self.summary(patches.mean(1)), normed=True)


def test_class_tokens_may_be_wider_than_patches(photos: Path, tmp_path: Path) -> None:
    spec = codistill.EncoderSpec(name="wide", dim=8, patch_size=14, has_cls=True, cls_dim=12, licence="MIT")
    encoder = FunctionEncoder(spec, WideSummary())
    codistill.register_encoder("wide-summary", lambda: encoder, replace=True)
    assert extract(photos, tmp_path / "f", "--encoder", "wide-summary", "--fit", "stretch") == 0
    features = open_features(tmp_path / "f")
    expected = encoder(encoder.preprocess(photos / "06.png", (56, 56)))
    got = features.by_name("06.png")
    assert got.patches.shape == (1, 16, 8) and features.spec.bytes_per_image == 2 * (16 * 8 + 12)
    torch.testing.assert_close(got.cls.float(), expected.cls.detach(), atol=2e-3, rtol=2e-3)  # type: ignore[union-attr]


def test_a_source_without_a_usable_image_is_an_error_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "bad" / name).write_text("no image")
    for _ in range(2):
        assert extract(tmp_path / "bad", tmp_path / "f") == 2
        assert f"none of the 2 images of {tmp_path / 'bad'} can be used" in capsys.readouterr().err


def test_killed_at_any_moment_the_same_command_goes_on(photos: Path, tmp_path: Path) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    options = ["--shard-images", "4"]
    assert extract(photos, straight, *options) == 0
    for wanted in (1, 3):
        process = forked.start(["-m", "codistill", "extract", photos, "--out", killed, *SMALL, *options])
        deadline = time.monotonic() + 60
        while len(list(killed.glob("shard_*"))) < wanted and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.kill()
        process.wait()
    (killed / ".tmp-shard_00004.safetensors-77").write_bytes(b"what a killed process leaves")
    assert extract(photos, killed, *options) == 0
    assert not list(killed.glob(".tmp-*"))
    for path in straight.glob("shard_*"):
        one, two = load_file(path), load_file(killed / path.name)
        assert all(torch.equal(one[name], two[name]) for name in ("patches", "cls")), path.name
    assert open_features(killed).names == open_features(straight).names


def test_parts_share_the_work_and_the_last_one_writes_the_index(photos: Path, tmp_path: Path) -> None:
    out, whole = tmp_path / "parts", tmp_path / "whole"
    options = ["--shard-images", "8", "--kinds", "patch", "--no-norm"]
    assert extract(photos, out, *options, "--part", "1/2") == 0
    assert sorted(path.name for path in out.glob("shard_*")) == ["shard_00001.safetensors"]
    with pytest.raises(DataError, match=r"not finished \(2 of 3 shards"):
        open_features(out)
    assert extract(photos, out, *options, "--part", "0/2") == 0
    assert extract(photos, whole, *options) == 0
    one, two = open_features(out), open_features(whole)
    assert torch.equal(one[range(20)].patches, two[range(20)].patches)
    assert one[0].cls is None and not one[0].normed


def test_blocks_and_number_types(photos: Path, tmp_path: Path) -> None:
    options = ["--blocks", "0", "-1", "--dtype", "bf16", "--limit", "6"]
    assert extract(photos, tmp_path / "f", *options) == 0
    features = open_features(tmp_path / "f")
    assert len(features) == 5 and features.spec.blocks == (0, 2)
    encoder = codistill.load_encoder(ENCODER)
    images = encoder.preprocess(photos / "00.png", (56, 56))
    assert features[0].patches.dtype == torch.bfloat16
    assert torch.equal(features[0].patches, features.tokens([0], block=2).patches)
    assert not torch.equal(features[0].patches, features.tokens([0], block=0).patches)
    assert encoder.intermediate(images, [0])[0].patches.shape == features.tokens([0], block=0).patches.shape
    with pytest.raises(DataError, match=r"no tokens of block 1; blocks: \[0, 2\]"):
        features.tokens([0], block=1)


def test_refusals(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(text: str, *more: str, out: str = "f") -> None:
        assert extract(photos, tmp_path / out, *more) == 2
        assert text in " ".join(capsys.readouterr().err.split())

    assert extract(photos, tmp_path / "f", "--limit", "4") == 0
    refused("holds other features: images: 4 → 22")
    refused("--part 3/2", "--part", "3/2")
    refused("the encoder has 3 (0 to 2)", "--blocks", "7", out="g")
    refused("each block may be given once", "--blocks", "2", "-1", out="g")
    refused("must be patch, cls or patch+cls", "--kinds", "tokens", out="g")
    refused("belong to an encoder alone", "--projector", "a", "--blocks", "1", out="g")
    refused("--limit must be positive", "--limit", "0", out="g")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**31, 2**31, 2**29))
    refused("too little (1.0 GiB must stay free)", out="h")
    assert not list((tmp_path / "h").glob("shard_*"))


def test_damage_is_named(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no extracted features"):
        open_features(tmp_path)
    out = tmp_path / "f"
    assert extract(photos, out, "--shard-images", "8") == 0
    with pytest.raises(DataError, match=r"Unknown image 'x/07.png'. Did you mean '07.png'"):
        open_features(out).by_name("x/07.png")
    shard = out / "shard_00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(DataError, match=r"shard_00001\.safetensors: missing or damaged"):
        open_features(out)[12]
    (out / "index.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match="damaged index"):
        open_features(out)
    spec = json.loads((out / "features.json").read_text())
    (out / "features.json").write_text(json.dumps({**spec, "dtype": "int4"}))
    with pytest.raises(DataError, match=r"features\.json: damaged"):
        open_features(out)


def test_a_students_projection_is_what_is_kept(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    short = ["--engine.total-steps=1", "--engine.validate-every=0", "--device=cpu"]
    assert main(["distill", "debug", *short, "--out", str(run)]) == 0
    options = ["--encoder", str(run / "export"), "--projector", "stereo", "--limit", "2"]
    assert extract(photos, tmp_path / "f", *options) == 0
    features = open_features(tmp_path / "f")
    student = codistill.load_student(str(run / "export"))
    assert (features.spec.dim, features.spec.teacher) == (48, "stereo")
    images = student.encoder.preprocess(photos / "01.png", 56)[..., :56]
    assert (
        student.project(student.encoder(images, norm=False), "stereo").patches.shape
        == features[1].patches.shape
    )


def test_shards_are_about_a_gibibyte() -> None:
    # ViT-B/14 at 448 px: 1024 patches and a class token of 768 channels in fp16.
    spec = FeatureSpec(
        source="x",
        images=20_000_000,
        encoder="e",
        licence="l",
        image_size=448,
        fit="crop",
        grid=(32, 32),
        dim=768,
        blocks=(),
        norm=True,
        teacher="",
        kinds=("patch", "cls"),
        dtype="fp16",
        images_per_shard=default_shard(1025 * 768 * 2, 16),
        batch_size=16,
    )
    assert spec.bytes_per_image == 1025 * 768 * 2
    assert spec.images_per_shard == 672  # 1 GiB / 1.57 MB = 682, in batches of 16
    assert spec.shards == -(-20_000_000 // 672)
    assert list(spec.rows_of(spec.shards - 1))[-1] == 19_999_999


def test_changed_new_and_lost_images_are_noticed_and_other_shards_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "f"
    photos.mkdir()
    rng = np.random.default_rng(5)

    def save(name: str) -> None:
        Image.fromarray(rng.integers(0, 255, (60, 60, 3), dtype=np.uint8)).save(photos / name)

    def same_as_new(text: str, kept: set[int]) -> None:
        before = {path.name: path.stat().st_mtime_ns for path in out.glob("shard_*")}
        assert extract(photos, out, "--shard-images", "4") == 0
        assert text in " ".join(capsys.readouterr().err.split())
        assert extract(photos, tmp_path / "new", "--shard-images", "4") == 0
        one, two = open_features(out), open_features(tmp_path / "new")
        assert one.names == two.names
        assert torch.equal(one[range(len(one))].patches, two[range(len(two))].patches)
        after = {path.name: path.stat().st_mtime_ns for path in out.glob("shard_*")}
        stayed = {int(name[6:11]) for name, time in after.items() if before.get(name) == time}
        assert stayed == kept
        shutil.rmtree(tmp_path / "new")

    for number in range(10):
        save(f"{number}.png")
    assert extract(photos, out, "--shard-images", "4") == 0
    capsys.readouterr()
    save("5.png")
    same_as_new("(changed: 5.png): 1 of 3 files are made again", {0, 2})
    save("9a.png")
    same_as_new("(new: 9a.png): 1 of 3 files are made again", {0, 1})
    for name in ("7.png", "8.png", "9.png"):
        (photos / name).unlink()
    same_as_new("gone: 7.png", {0})
    other = ["--encoder", ENCODER.replace("seed=4", "seed=5")]
    assert extract(photos, out, "--shard-images", "4", *other) == 2
    assert "holds other features" in capsys.readouterr().err
