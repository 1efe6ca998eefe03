"""`codistill bench encoder`: sizes are rounded to the patch, the fastest round counts, nonsense is refused."""

import pytest
import torch

from codistill.cli import main
from codistill.commands.bench_encoder import seconds_per_pass
from codistill.encoders.seeded import seeded_encoder

TINY = "random:vit_tiny,dim=16,depth=1,num_heads=2"


def test_table(capsys: pytest.CaptureFixture) -> None:
    assert (
        main(["bench", "encoder", TINY, "--size", "30", "--size", "56", "--batch", "2", "--rounds", "1"]) == 0
    )
    output = capsys.readouterr().out
    assert " 28 " in output
    assert " 16 " in output  # 4 x 4 tokens at 56 px


def test_more_work_takes_longer() -> None:
    encoder = seeded_encoder("random:vit_tiny,depth=4")
    small = seconds_per_pass(encoder, torch.randn(1, 3, 28, 28), 3)
    large = seconds_per_pass(encoder, torch.randn(8, 3, 224, 224), 3)
    assert large > 3 * small


def test_nonsense(capsys: pytest.CaptureFixture) -> None:
    assert main(["bench", "encoder", TINY, "--batch", "0"]) == 2
    assert "must be positive" in capsys.readouterr().err
