import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import engine_toys
import pytest
import torch
from engine_toys import run_toy
from safetensors.torch import load_file

import forked
from codistill.engine.distributed import Process, _sendable, choose_device, start_process
from codistill.errors import CodistillError, ConfigError, DataError, MissingExtraError

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def ends_of_two(*arguments: object) -> list[tuple[int, str, str]]:
    """Run the toy program on two gloo processes, as torchrun would start them: code, output and errors of both."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ranks = [
        forked.start(
            [engine_toys.__file__, *arguments],
            environment={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            first=["torch._dynamo", "torch.onnx"],  # DDP and FSDP2 import them
        )
        for rank in range(2)
    ]
    return [(rank.wait(), rank.out.read_text(), rank.err.read_text()) for rank in ranks]


def two_processes(*arguments: object) -> str:
    """Run the toy program on two processes to its end; rank 0's output."""
    ends = ends_of_two(*arguments)
    assert [code for code, *_ in ends] == [0, 0], ends
    return ends[0][1]


def torchrun(*arguments: object, restarts: int) -> None:
    """Run the toy program on two processes that are restarted when one dies."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [f"--max-restarts={restarts}", engine_toys.__file__, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def rows(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def weights(run: Path, step: int = 12) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / f"step_{step:08d}" / "model.safetensors")


def assert_same_training(run: Path, reference: Path, rtol: float = 1e-5) -> None:
    """Same numbers at every step and same parameters (micro-steps update the toy's statistics more often)."""
    for a, b in zip(rows(run), rows(reference), strict=True):
        for name in ("loss", "loss/first", "gradient/mean", "gradient/max", "lr", "skipped"):
            assert a[name] == pytest.approx(b[name], rel=rtol, abs=1e-8, nan_ok=True), (a["step"], name)
    mine, theirs = weights(run), weights(reference)
    assert mine.keys() == theirs.keys()
    for name in mine.keys() - {"running"}:
        torch.testing.assert_close(mine[name], theirs[name], rtol=rtol, atol=1e-6, msg=name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("alone")
    run_toy(run)
    return run


def test_two_processes_equal_one_on_the_same_global_batch(tmp_path, alone):
    said = two_processes(tmp_path)
    assert_same_training(tmp_path, alone)
    assert torch.equal(weights(tmp_path)["mask_token"], torch.ones(1, 3))
    torch.testing.assert_close(weights(tmp_path)["running"], weights(alone)["running"])
    # 12 steps of 8 bytes each: the objective sums 2 floats, the engine 2 flags; norms only travel under FSDP2
    assert "'objective': 96" in said and "'flags': 96" in said and "'norms'" not in said


def test_fsdp2_equals_one_process_and_one_process_resumes_from_its_checkpoint(tmp_path, alone):
    two_processes(tmp_path, "--strategy", "fsdp2", "--accumulate", 2, "--stop-after", 5)
    folder = tmp_path / "checkpoints" / "step_00000005"
    assert len(list((folder / "sharded").glob("*.safetensors"))) == 2
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".safetensors", ".json"}
    assert run_toy(tmp_path).resumed_from == 5
    assert_same_training(tmp_path, alone)


def test_what_is_not_finite_on_one_rank_is_skipped_on_all(tmp_path):
    said = two_processes(tmp_path, "--nan-rank", 1)
    assert {row["step"]: row["skipped"] for row in rows(tmp_path) if row["skipped"]} == {2: 1.0, 3: 1.0}
    assert "skipped=2" in said and "bad_images=7" in said
    assert all(value.isfinite().all() for value in weights(tmp_path).values())
    bad = [json.loads(line) for line in (tmp_path / "bad_images.jsonl").read_text().splitlines()]
    assert [b["step"] for b in bad] == [0, 0, 3, 6, 6, 9, 9]


@pytest.mark.slow
def test_fsdp2_resumes_from_one_process_and_from_another_number(tmp_path, alone):
    run_toy(tmp_path, stop_after=4)
    two_processes(tmp_path, "--strategy", "fsdp2", "--stop-after", 8)
    two_processes(tmp_path)
    assert_same_training(tmp_path, alone)


@pytest.mark.slow
def test_all_ranks_stop_after_the_same_step_when_one_is_asked(tmp_path, alone):
    said = two_processes(tmp_path, "--term-at", 4)
    assert "step=5," in said and "stopped_by='another rank'" in said
    assert run_toy(tmp_path).resumed_from == 5
    assert_same_training(tmp_path, alone)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_a_rank_that_dies_is_restarted_and_the_run_ends_the_same(tmp_path, alone, strategy):
    torchrun(tmp_path, "--die-at", 7, "--strategy", strategy, restarts=1)
    assert (tmp_path / "died").exists()
    assert_same_training(tmp_path, alone)


def test_a_rank_whose_partner_died_says_so(tmp_path):
    first, second = ends_of_two(tmp_path, "--die-at", 5)
    assert (first[0], second[0]) == (1, 3)
    assert "LostProcessError: rank 0 of 2 ends because another process of this run ended" in first[2]


@pytest.mark.slow
def test_a_vision_transformer_trains_alike_under_ddp_and_fsdp2(tmp_path):
    losses = {}
    for strategy in ("ddp", "fsdp2"):
        two_processes(tmp_path / strategy, "--kind", "vit", "--strategy", strategy)
        losses[strategy] = [row["loss"] for row in rows(tmp_path / strategy)]
    assert losses["ddp"] == pytest.approx(losses["fsdp2"], rel=1e-5)
    assert losses["ddp"][-1] < losses["ddp"][0]


def test_one_process_is_the_identity():
    process = Process()
    tensor = torch.ones(3)
    assert process.all_reduce_sum(tensor) is tensor and process.traffic == {"objective": 12}
    assert process.gather_objects("x") == ["x"] and process.broadcast_object("y") == "y"
    with pytest.raises(OSError, match="no"):
        process.on_main(lambda: (_ for _ in ()).throw(OSError("no")))


class UnsendableError(CodistillError):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DataError("text"), DataError),
        (KeyError("text"), KeyError),
        (MissingExtraError("text", "extra", "this"), CodistillError),
        (UnsendableError("some", "text"), CodistillError),
        (json.JSONDecodeError("text", "{", 0), json.JSONDecodeError),
    ],
)
def test_an_error_of_the_first_rank_reaches_the_others_whatever_it_is(error, kind):
    arrived = pickle.loads(pickle.dumps(_sendable(error)))
    assert type(arrived) is kind and "text" in str(arrived)


def test_an_incomplete_environment_says_what_is_missing(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"RANK is ''.*torchrun"), start_process("cpu"):
        pass
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ConfigError, match="MASTER_ADDR"), start_process("cpu"):
        pass


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="auto, cpu or cuda"):
        choose_device("gpu")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("built", "visible", "said"),
    [(None, None, "built without CUDA"), ("13.0", "", "CUDA_VISIBLE_DEVICES"), ("13.0", None, "nvidia-smi")],
)
def test_a_machine_without_cuda_is_told_what_it_lacks(monkeypatch, built, visible, said):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert choose_device("auto").type == "cpu"
    with pytest.raises(ConfigError, match=rf"{said}.*device = cpu") as found:
        choose_device("cuda")
    assert "torchrun" not in str(found.value)


def test_more_processes_than_devices_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"there are 2\..*torchrun --nproc-per-node"):
        choose_device("cuda", 2)
