"""`codistill bench encoder`: sizes are rounded to the patch, the fastest round counts, nonsense is refused."""

import pytest
import torch

from codistill.cli import main
from codistill.commands import bench_encoder
from codistill.encoders.seeded import seeded_encoder

TINY = "random:vit_tiny,dim=16,depth=1,num_heads=2"


def test_table(capsys: pytest.CaptureFixture) -> None:
    assert (
        main(["bench", "encoder", TINY, "--size", "30", "--size", "56", "--batch", "2", "--rounds", "1"]) == 0
    )
    output = capsys.readouterr().out
    assert " 28 " in output
    assert " 16 " in output  # 4 x 4 tokens at 56 px


def test_the_fastest_round_counts_and_the_first_pass_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 9.0, 10.0, 13.0, 20.0, 22.0, 30.0, 34.0])  # warm-up 9 s, then 3, 2 and 4
    monkeypatch.setattr(bench_encoder.time, "perf_counter", lambda: next(clock))
    assert bench_encoder.seconds_per_pass(seeded_encoder(TINY), torch.randn(1, 3, 28, 28), 3) == 2.0


def test_nonsense(capsys: pytest.CaptureFixture) -> None:
    assert main(["bench", "encoder", TINY, "--batch", "0"]) == 2
    assert "must be positive" in capsys.readouterr().err
