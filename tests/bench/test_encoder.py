"""Speed and accuracy of encoders in a precision: what is reported, and against whom."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from codistill.bench.encoder import bench_encoder, token_error
from codistill.encoders.load import load_encoder
from codistill.errors import ConfigError

TINY = "random:vit_tiny,dim=48,depth=2,num_heads=3"
CPU = torch.device("cpu")


def photograph(folder: Path) -> bytes:
    path = folder / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(path)
    return path.read_bytes()


def test_timms_network_of_the_same_sizes_takes_turns() -> None:
    pytest.importorskip("timm")
    found = bench_encoder(
        TINY,
        load_encoder(TINY, precision="bf16"),
        30,
        batch=2,
        precision="fp32",
        rounds=2,
        device=CPU,
        against_timm=True,
    )
    assert found.size == 28 and found.parameters == load_encoder(TINY).num_parameters
    assert found.timm is not None and 0 < found.timm.low <= found.timm.median <= found.timm.high
    rotated = load_encoder(f"{TINY},position=rope")
    with pytest.raises(ConfigError, match="learned positions"):
        bench_encoder(TINY, rotated, 28, batch=1, precision="fp32", rounds=1, device=CPU, against_timm=True)


def test_token_errors_are_nothing_for_the_same_network_and_small_in_bf16(tmp_path: Path) -> None:
    images, exact = [photograph(tmp_path)], load_encoder(TINY)
    assert token_error(exact, exact, images, 28, "fp32", CPU).relative == 0
    for encoder, precision in ((load_encoder(TINY, precision="bf16"), "fp32"), (exact, "bf16")):
        error = token_error(encoder, exact, images, 28, precision, CPU)  # type: ignore[arg-type]
        assert 1e-4 < error.relative < 0.01 and 0.9999 < error.cosine_worst <= error.cosine
        assert (error.images, error.size) == (1, 28)
