"""An exported encoder as any other."""

import copy
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("onnx", reason="needs the extra `onnx`")
pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
sys.path.insert(0, str(Path(__file__).parents[1] / "programs"))
from onnx_toys import IMAGES, RECORD, toy_convolution, write_toy

from codistill.encoders.fingerprint import encoder_fingerprint
from codistill.encoders.load import load_encoder
from codistill.errors import CheckpointError, ConfigError
from codistill.programs.record import Port, TokenFacts
from codistill.recipes.contents import content_of

PICTURES = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))


def test_tokens_are_those_of_the_graph(tmp_path: Path) -> None:
    encoder = load_encoder(write_toy(tmp_path / "toy.onnx"))
    assert (encoder.spec.name, encoder.spec.licence, encoder.spec.patch_size) == ("conv", "CC0", 2)
    tokens = encoder(PICTURES)
    wanted = toy_convolution()(PICTURES).detach()
    torch.testing.assert_close(tokens.feature_map(), wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(tokens.cls, wanted.mean((2, 3)), atol=1e-5, rtol=1e-5)
    assert tokens.normed and tokens.grid == (3, 4)
    assert encoder.preprocess(torch.zeros(7, 9, 3, dtype=torch.uint8)).shape == (1, 3, 8, 10)


def test_the_files_content_is_its_fingerprint(tmp_path: Path) -> None:
    one, again, other = (
        encoder_fingerprint(load_encoder(write_toy(tmp_path / f"{name}.onnx", licence=licence)))
        for name, licence in (("a", "CC0"), ("b", "CC0"), ("c", "MIT"))
    )
    assert not one.difference(again) and "architectures differ (file" in one.difference(other)


def test_weights_beside_the_file_are_part_of_its_fingerprint(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "toy.onnx", beside=True)
    beside = tmp_path / "toy.onnx.data"
    before, content = encoder_fingerprint(load_encoder(path)), content_of(str(path))
    weights = bytearray(beside.read_bytes())
    weights[1] ^= 1
    beside.write_bytes(weights)
    after = encoder_fingerprint(load_encoder(path))
    assert "architectures differ (weights_beside" in before.difference(after)
    assert content_of(str(path)) != content


def test_copies_for_other_processes_open_the_file_again(tmp_path: Path) -> None:
    encoder = load_encoder(write_toy(tmp_path / "toy.onnx"))
    for again in (pickle.loads(pickle.dumps(encoder)), copy.deepcopy(encoder)):
        assert torch.equal(again(PICTURES).patches, encoder(PICTURES).patches)


def test_blocks_are_those_that_were_exported(tmp_path: Path) -> None:
    facts = TokenFacts(dim=4, depth=6, blocks=(2,))
    encoder = load_encoder(write_toy(tmp_path / "toy.onnx", tokens=facts))
    with pytest.raises(ConfigError, match=r"gives blocks 2, not 5\. Export it with those: --blocks"):
        encoder.intermediate(PICTURES, (-1,))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"kind": "depth"}, "is an exported depth, not an encoder"),
        (
            {"inputs": (Port(name="pixels", axes=("batch", "rows*2", "columns*2", 3), dtype="uint8"),)},
            "--input images",
        ),
    ],
)
def test_other_exports_are_refused(tmp_path: Path, changes: dict, problem: str) -> None:
    with pytest.raises(CheckpointError, match=problem):
        load_encoder(write_toy(tmp_path / "toy.onnx", **changes))


def test_what_the_file_does_not_give_is_said(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "toy.onnx", inputs=(replace(IMAGES, axes=(1, 3, 6, 8)),))
    encoder = load_encoder(path)
    with pytest.raises(ConfigError, match="export it without --size and --batch"):
        encoder(PICTURES)
    with pytest.raises(ConfigError, match="Export it with --no-norm"):
        encoder(PICTURES[:1], norm=False)
    with pytest.raises(ConfigError, match="image_size=28 cannot be given"):
        load_encoder(f"{path},image_size=28")
    with pytest.raises(ConfigError, match="has no gradient"):
        load_encoder(path, train=True)
    with pytest.raises(CheckpointError, match="no such file"):
        load_encoder(str(tmp_path / "none.onnx"))
    assert RECORD.tokens is not None
