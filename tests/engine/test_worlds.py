"""Several gloo processes under DDP and FSDP2, killed, signalled twice, unevenly validated: no hang, the same end."""

import json
from pathlib import Path

import engine_worlds
import pytest
import torch
from safetensors.torch import load_file

import forked


def rows(run: Path, name: str) -> list[dict]:
    path = run / name
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [{k: v for k, v in line.items() if not k.startswith(("time/", "memory/"))} for line in lines]


def assert_same_end(run: Path, calm: Path) -> None:
    step = f"checkpoints/step_{engine_worlds.STEPS:08d}"
    mine, theirs = (load_file(folder / step / "model.safetensors") for folder in (run, calm))
    for name, tensor in theirs.items():
        torch.testing.assert_close(mine[name], tensor, rtol=1e-6, atol=1e-7, msg=name)
    steps, expected = rows(run, "metrics.jsonl"), rows(calm, "metrics.jsonl")
    assert [row["step"] for row in steps] == list(range(engine_worlds.STEPS))
    assert [row["loss"] for row in steps] == pytest.approx([row["loss"] for row in expected], rel=1e-5)
    assert rows(run, "bad_images.jsonl") == rows(calm, "bad_images.jsonl")
    skipped = run.with_suffix(".log").read_text().count("it is skipped")
    found, wanted = rows(run, "validation.jsonl"), {r["step"]: r for r in rows(calm, "validation.jsonl")}
    assert len(found) >= len(wanted) - skipped
    for row in found:
        assert row == pytest.approx(wanted[row["step"]], rel=1e-5)


def disturbed(folder: Path, seed: int, *runs: str) -> list[str]:
    disturb = [engine_worlds.__file__, folder, seed, *runs]
    code, said, errors = forked.run(disturb, first=["torch._dynamo", "torch.onnx"], timeout=1500.0)
    assert code == 0 and len(said.splitlines()) == len(runs), said + errors
    for line in said.splitlines():
        run, calm = line.split()[:2]
        assert_same_end(folder / run, folder / calm)
    return said.splitlines()


def test_worlds_of_ranks_survive_what_befalls_them(tmp_path):
    """One image for two ranks under FSDP2; and a rank whose held-out images cannot be read."""
    disturbed(tmp_path, 0, "fsdp2,2,1,term-term+kill", "ddp,2,5,none")
    assert {row["images"] for row in rows(tmp_path / "run0", "validation.jsonl")} == {1.0}
    assert not rows(tmp_path / "run1", "validation.jsonl")
    said = (tmp_path / "run1.log").read_text()
    assert "failed: on rank 1: held-out images of rank 1 cannot be read" in said


@pytest.mark.slow
def test_twenty_runs_of_two_to_four_ranks_survive_what_befalls_them(tmp_path):
    uneven = (1, 3, 7, 5, 0)
    runs = [
        f"{strategy},{2 + number % 3},{uneven[number // 2 % 5]},random"
        for number in range(10)
        for strategy in ("ddp", "fsdp2")
    ]
    assert len(disturbed(tmp_path, 1, *runs)) == 20
