"""Commands give the same numbers on another device, and never mix tensors of both."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow


def ran(*words: object, there: bool) -> str:
    """What a command prints, on the simulated device or on the CPU."""
    program = [str(HERE / "simulated_device.py")] if there else ["-m", "codistill"]
    done = subprocess.run(
        [sys.executable, *program, *map(str, words)], capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert not there or "tensors made on the simulated device" in done.stdout
    return done.stdout


def both(tmp_path: Path, *words: object) -> list[Path]:
    """The folders that a command writes on each of the two devices."""
    outs = [tmp_path / "cpu", tmp_path / "simulated"]
    for out in outs:
        ran(*words, "--out", out, there=out.name != "cpu")
    return outs


def scores(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())["scores"]


def alike(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same up to rounding."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return one == (pytest.approx(other, rel=1e-3, abs=1e-4) if isinstance(one, float) else other)


def test_tensors_of_both_devices_cannot_be_mixed() -> None:
    code = (
        "import torch, simulated_device as s; device = s.set_up()\n"
        "with s.OnSimulatedDevice():\n"
        "    x = torch.ones(2, 3).to(device).requires_grad_(); (2 * x).sum().backward()\n"
        "    assert x.grad.device == device and x.grad.cpu().tolist() == [[2.0] * 3] * 2\n"
        "    assert (x + torch.tensor(1.0))[torch.tensor([0])].device == device\n"
        "    for wrong in (lambda: x + torch.ones(3), lambda: x.detach().numpy(), lambda: torch.ones(3) @ x.T):\n"
        "        try: wrong()\n"
        "        except (s.MixedDevicesError, TypeError, RuntimeError): continue\n"
        "        raise SystemExit('was possible')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_student_is_distilled(tmp_path: Path) -> None:
    outs = both(tmp_path, "distill", "debug", "--engine.total-steps", 3)
    lines = [(out / "metrics.jsonl").read_text().splitlines()[-1] for out in outs]
    one, other = (json.loads(line) for line in lines)
    assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)


def test_heads_that_ship_answer_for_a_picture(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((240, 180)).save(tmp_path / "a.png")
    outs = both(tmp_path, "see", tmp_path / "a.png", "--perception", "dune-tiny")
    one, other = (np.asarray(Image.open(out / "a.png"), np.int16) for out in outs)
    assert np.abs(one - other).mean() < 0.5


def test_a_fitted_head_scores_the_same(tmp_path: Path, tiny_world: Path) -> None:
    encoder = "random:vit_tiny,depth=2,image_size=56,patch_size=14"
    words = (
        "evaluate",
        "segmentation",
        "--data",
        f"world:{tiny_world}",
        "--encoder",
        encoder,
        "--pictures",
        0,
    )
    outs = both(tmp_path, *words, "--fit.size", 56, "--fit.steps", 20, "--fit.views", 1)
    assert alike(*map(scores, outs))


@pytest.mark.parametrize("task", ["depth", "relocalization", "multiview-depth", "correspondence"])
def test_rooms_are_scored_the_same(tmp_path: Path, tiny_world: Path, task: str) -> None:
    given = ("--encoder",) if task == "correspondence" else ("--head",)
    outs = both(
        tmp_path, "evaluate", task, *given, "dune-tiny", "--data", f"world:{tiny_world}", "--limit", 2
    )
    assert alike(*map(scores, outs))


def test_people_are_scored_the_same(tmp_path: Path, tiny_people_world: Path) -> None:
    words = ("evaluate", "people", "--head", "dune-tiny", "--data", f"world:{tiny_people_world}")
    assert alike(*map(scores, both(tmp_path, *words, "--limit", 2, "--pictures", 0)))
