"""Runs that are killed at random moments, also while they save: the end equals the undisturbed run bit for bit."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import engine_toys
import pytest
import torch
from engine_toys import run_toy, with_bad_image
from safetensors.torch import load_file

import forked

STEPS = 1000


def start(run: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        engine_toys.__file__,
        run,
        "--steps",
        STEPS,
        "--checkpoint-every",
        7,
        *arguments,
    ]
    return subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def end_of(run: Path, steps: int = STEPS) -> tuple[dict[str, torch.Tensor], list[dict], str]:
    folder = run / "checkpoints" / f"step_{steps:08d}"
    tensors = load_file(folder / "model.safetensors") | load_file(folder / "optimizer.safetensors")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kept = [{k: v for k, v in row.items() if not k.startswith(("time/", "memory/"))} for row in rows]
    return tensors, kept, (run / "bad_images.jsonl").read_text()


FULL_DISK = """
import os, resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
from codistill.errors import CodistillError
from engine_toys import run_toy, with_bad_image
torch.set_num_threads(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # a file here, for which the limit would hold as well

def change(step, batch):
    if step == 7:
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
    return with_bad_image(step, batch)

try:
    run_toy(Path({run!r}), change=change, log_every=1, trackers=("tensorboard",))
except CodistillError as error:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(("limit", "named"), [(100, "metrics.jsonl"), (3500, "tensorboard")])
def test_a_log_that_cannot_be_written_ends_the_run_with_its_name_and_loses_nothing(tmp_path, limit, named):
    """A file-size limit of the operating system stands in for a full disk, in the middle of a run."""
    script = FULL_DISK.format(tests=str(Path(__file__).parent), run=str(tmp_path / "full"), limit=limit)
    code, said, errors = forked.run(["-c", script], first=["torch.utils.tensorboard"])
    assert code == 0 and said.startswith(f"WriteError {tmp_path / 'full' / named}: cannot be written"), errors
    assert "Nothing that was already saved is lost" in said
    run_toy(tmp_path / "calm", change=with_bad_image)
    assert run_toy(tmp_path / "full", change=with_bad_image).resumed_from == 6
    (tensors, rows, bad), expected = end_of(tmp_path / "full", 12), end_of(tmp_path / "calm", 12)
    assert all(torch.equal(tensors[key], value) for key, value in expected[0].items())
    assert rows == expected[1] and bad == expected[2]


@pytest.mark.slow
def test_fifty_kills_change_nothing(tmp_path):
    run_toy(tmp_path / "calm", steps=STEPS, checkpoint_every=7, change=with_bad_image)
    command = [
        sys.executable,
        str(Path(__file__).with_name("engine_chaos.py")),
        str(tmp_path),
        "50",
        str(STEPS),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0 and "50 kills" in done.stdout, done.stdout + done.stderr
    expected, expected_rows, expected_bad = end_of(tmp_path / "calm")
    for line in done.stdout.splitlines():
        run = tmp_path / line.split()[0]
        tensors, rows, bad = end_of(run)
        assert tensors.keys() == expected.keys()
        assert all(torch.equal(tensors[key], expected[key]) for key in tensors)
        assert rows == expected_rows and bad == expected_bad
        assert all(path.name.startswith("step_") for path in (run / "checkpoints").iterdir())


@pytest.mark.slow
def test_a_program_that_is_terminated_saves_and_leaves_with_success(tmp_path):
    process = start(tmp_path, "--delay", 0.01)
    assert process.stderr is not None
    process.stderr.readline()
    os.kill(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and "stopped_by='SIGTERM'" in out
    assert "stopped by SIGTERM after step" in err
    done = max(int(path.name[-8:]) for path in (tmp_path / "checkpoints").iterdir())
    assert f"step={done}," in out and done < STEPS
