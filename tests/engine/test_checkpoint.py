import json
import os
import random
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

import forked
from codistill.engine.checkpoint import (
    Keep,
    find_checkpoint,
    folder_of,
    load_model,
    load_optimizer,
    remove_leftovers,
    save_checkpoint,
    step_folders,
)
from codistill.engine.distributed import Process
from codistill.engine.optim import OptimConfig, TrainOptimizer
from codistill.errors import CheckpointError, CodistillError


class Tied(nn.Module):
    """A shared weight, a buffer and a parameter that never trains."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.second.weight = self.first.weight
        self.mask_token = nn.Parameter(torch.ones(3))
        self.register_buffer("running", torch.zeros(2))


def trained(width: int = 4, steps: int = 2) -> tuple[nn.Module, TrainOptimizer]:
    torch.manual_seed(1)
    module = Tied(width)
    optimizer = TrainOptimizer(
        module.named_parameters(), OptimConfig(lr=0.1), total_steps=9, global_batch=256
    )
    for step in range(steps):
        optimizer.zero_grad()
        module.second(module.first(torch.ones(2, width))).square().sum().backward()
        optimizer.update(step, optimizer.measure())
    module.running.fill_(steps)
    return module, optimizer


def save(run: Path, step: int, keep: Keep | None = None, **notes) -> tuple[nn.Module, TrainOptimizer]:
    module, optimizer = trained(steps=step)
    keep = keep or Keep(last=10)
    save_checkpoint(run, step, module, optimizer, notes=notes, process=Process(), keep=keep)
    return module, optimizer


def test_what_was_saved_comes_back(tmp_path):
    module, optimizer = save(tmp_path, 3, lines={"metrics.jsonl": 7})
    checkpoint, problems = find_checkpoint(tmp_path)
    assert checkpoint is not None and problems == [] and checkpoint.step == 3
    assert checkpoint.state["lines"] == {"metrics.jsonl": 7}
    other, restored = trained(steps=1)
    load_model(checkpoint, other)
    load_optimizer(checkpoint, restored)
    assert all(
        torch.equal(a, b)
        for a, b in zip(module.state_dict().values(), other.state_dict().values(), strict=True)
    )
    expected, found = optimizer.state_tensors(), restored.state_tensors()
    assert expected.keys() == found.keys() and all(torch.equal(expected[k], found[k]) for k in expected)
    plain = load_file(checkpoint.folder / "model.safetensors")
    assert sorted(plain) == sorted(module.state_dict())


def test_the_newest_and_every_nth_stay(tmp_path):
    for step in range(1, 8):
        save(tmp_path, step, Keep(last=2, every=3))
    assert list(step_folders(tmp_path)) == [3, 6, 7]
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [
        f"step_0000000{s}" for s in (3, 6, 7)
    ]


def damage(folder: Path, how: str) -> None:
    model = folder / "model.safetensors"
    if how == "truncated":
        os.truncate(model, model.stat().st_size // 2)
    elif how == "bit":
        content = bytearray(model.read_bytes())
        content[-5] ^= 1
        model.write_bytes(content)
    elif how == "missing file":
        (folder / "optimizer.safetensors").unlink()
    elif how == "missing state":
        (folder / "state.json").unlink()
    elif how == "state of another step":
        shutil.copy(folder.with_name("step_00000001") / "state.json", folder)
    else:
        (folder / "state.json").write_text('{"step": 2, "sha')


@pytest.mark.parametrize(
    "how", ["truncated", "bit", "missing file", "missing state", "state of another step", "half a state"]
)
def test_a_damaged_newest_is_reported_and_the_one_before_is_used(tmp_path, how):
    save(tmp_path, 1)
    save(tmp_path, 2)
    damage(folder_of(tmp_path, 2), how)
    checkpoint, problems = find_checkpoint(tmp_path)
    assert checkpoint is not None and checkpoint.step == 1
    assert len(problems) == 1 and "step_00000002" in problems[0]
    assert (tmp_path / "checkpoints" / "damaged-step_00000002").is_dir()
    assert find_checkpoint(tmp_path)[1] == []


def test_no_whole_checkpoint_is_an_error_that_keeps_them(tmp_path):
    save(tmp_path, 2)
    damage(folder_of(tmp_path, 2), "bit")
    with pytest.raises(CheckpointError, match=r"none is whole.*SHA-256.*from the beginning"):
        find_checkpoint(tmp_path)
    assert folder_of(tmp_path, 2).is_dir()
    assert find_checkpoint(tmp_path / "new") == (None, [])


def test_leftovers_of_an_interrupted_save_go_and_a_whole_replaced_checkpoint_returns(tmp_path):
    save(tmp_path, 1)
    folder = folder_of(tmp_path, 1)
    (tmp_path / "checkpoints" / ".tmp-step_00000002").mkdir()
    (tmp_path / "checkpoints" / ".tmp-step_00000002" / "model.safetensors").write_bytes(b"half")
    folder.rename(folder.with_name(".old-step_00000001"))
    (folder.with_name(".old-step_00000005")).mkdir()
    remove_leftovers(tmp_path)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step_00000001"]
    assert find_checkpoint(tmp_path)[0] is not None


def test_saving_a_step_again_replaces_it(tmp_path):
    save(tmp_path, 2)
    damage(folder_of(tmp_path, 2), "bit")
    save(tmp_path, 2)
    assert find_checkpoint(tmp_path)[0] is not None
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step_00000002"]


def test_another_model_is_refused_with_what_differs(tmp_path):
    save(tmp_path, 1)
    checkpoint = find_checkpoint(tmp_path)[0]
    assert checkpoint is not None
    wide, optimizer = trained(width=5)
    with pytest.raises(CheckpointError, match=r"(?s)does not fit the model.*first\.weight.*another --out"):
        load_model(checkpoint, wide)
    with pytest.raises(CheckpointError, match="optimizer does not fit"):
        load_optimizer(checkpoint, optimizer)


def _same_json(content: bytes, original: bytes) -> bool:
    """Whether only the form of a JSON text differs: spaces between its values."""
    try:
        return json.loads(content) == json.loads(original)
    except ValueError:
        return False


@given(st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_any_damage_is_found(tmp_path_factory, chance: random.Random):
    run = tmp_path_factory.mktemp("run")
    save(run, 1)
    folder = folder_of(run, 1)
    victim = folder / chance.choice(["model.safetensors", "optimizer.safetensors", "state.json"])
    original = victim.read_bytes()
    content = bytearray(original)
    for _ in range(chance.randint(1, 3)):
        start = chance.randrange(len(content) or 1)
        content[start : start + chance.randint(1, 40)] = chance.randbytes(chance.randint(0, 40))
    victim.write_bytes(content)
    if bytes(content) == original or _same_json(bytes(content), original):
        return
    with pytest.raises(CodistillError, match=str(folder)):
        find_checkpoint(run)


DISK_FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from test_checkpoint import save, trained, Process, Keep, save_checkpoint
run = Path({run!r})
save(run, 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    save_checkpoint(run, 2, *trained(width=200), notes={{}}, process=Process(), keep=Keep(last=1))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_write_that_the_system_refuses_loses_nothing(tmp_path):
    """A file-size limit of the operating system stands in for a full disk: the write itself fails."""
    script = DISK_FULL.format(tests=str(Path(__file__).parent), run=str(tmp_path))
    code, said, errors = forked.run(["-c", script])
    assert code == 0 and said.startswith("WriteError"), said + errors
    assert "cannot be written" in said and "Nothing that was already saved is lost" in said
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step_00000001"]
    assert find_checkpoint(tmp_path)[0] is not None


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"file.*cannot be written"):
        save(tmp_path / "file", 1)
