"""Processes and all collectives: one process, or those that torchrun started, behind the same few methods.

    with start_process(device="auto") as process: ...

torchrun's environment (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR) decides. Without it there is one process, and nothing
is communicated. CPU tensors are sent over gloo, CUDA tensors over NCCL, with a time limit of half an hour, after which
a rank counts as hanging. Objects and barriers use a gloo group of their own without that limit: rank 0 may encode
images or build a world for days while the others wait. A rank that dies is noticed at once, because its connections
close: the others end with a `LostProcessError`.
"""

import os
import pickle
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from codistill.engine.rendezvous import store_of_the_living
from codistill.errors import CodistillError, ConfigError

Result = TypeVar("Result")
_GLOO_REST = 0.1  # seconds
_STEP_TIMEOUT = timedelta(minutes=30)
_WAIT_TIMEOUT = timedelta(days=30)
_GLOO = "gloo/transport"
"""In the text of an error that gloo raises when a connection closes or another rank does not answer."""
DeviceChoice = Literal["auto", "cpu", "cuda"]


class LostProcessError(CodistillError, RuntimeError):
    """Another process of the run ended or does not answer; the fault is to be found there."""

    exit_code = 1


@dataclass(frozen=True, kw_only=True)
class Process:
    """This process among all processes of the run.

    Attributes:
        rank, world_size: of the run. Only rank 0 writes files and prints.
        device: device on which this process computes.
        traffic: bytes given to `all_reduce_sum`, by purpose; counted for one process too.
        patient: process group for objects and barriers, which waits up to 30 days; None for one process.
    """

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    traffic: Counter[str] = field(default_factory=Counter)
    patient: dist.ProcessGroup | None = None

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def all_reduce_sum(self, tensor: Tensor, what: str = "objective") -> Tensor:
        """Sum a contiguous tensor over all ranks, in place; `what` is its entry in `traffic`."""
        self.traffic[what] += tensor.numel() * tensor.element_size()
        if self.world_size > 1:
            dist.all_reduce(tensor)
        return tensor

    def barrier(self) -> None:
        """Wait until every rank is here, without the time limit of collectives."""
        self.add_up([0.0])

    def add_up(self, numbers: Sequence[float]) -> list[float]:
        """Sum a few host numbers over all ranks. No device is involved; it waits as `barrier` does."""
        if self.world_size == 1:
            return list(numbers)
        sums = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(sums, group=self.patient)
        return [float(number) for number in sums]

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Copy rank 0's values into every rank's tensors, in place."""
        if self.world_size > 1:
            for tensor in tensors:
                dist.broadcast(tensor.detach(), src=0)

    def broadcast_object(self, value: Any) -> Any:
        """Return rank 0's value on every rank."""
        if self.world_size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.patient, device=torch.device("cpu"))
        return box[0]

    def gather_objects(self, value: Any) -> list[Any]:
        """Return the values of all ranks, in order of rank, on every rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value, group=self.patient)
        return values

    def on_main(self, work: Callable[[], Result]) -> Result:
        """Run a function on rank 0 while the others wait; return its result, or raise its error, on every rank.

        The others wait without the time limit of collectives.
        """
        result: Any = None
        error: Exception | None = None
        if self.is_main:
            try:
                result = work()
            except Exception as raised:  # any error: otherwise the other ranks would wait for a result
                error = raised
        if self.world_size > 1:
            sent = (result, None if error is None else _sendable(error))
            result, said = self.broadcast_object(sent)
            error = error or said
        if error is not None:
            raise error
        return result


def _sendable(error: Exception) -> Exception:
    """The error itself, or one of the same kind with the same text if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an exception's own pickling can raise anything
        kind = CodistillError if isinstance(error, CodistillError) else RuntimeError
        return kind(str(error) if kind is CodistillError else f"{type(error).__name__}: {error}")
    return error


def choose_device(choice: DeviceChoice, local_rank: int = 0) -> torch.device:
    """The device of this process; `auto` is CUDA where available.

    Raises:
        ConfigError: if CUDA is asked for and missing, or has fewer devices than processes.
    """
    if choice not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device is {choice!r}; it must be auto, cpu or cuda.")
    if choice == "cpu" or (choice == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError(f"device is cuda, but {_why_no_cuda()}; or take the CPU: device = cpu, or auto.")
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise ConfigError(
            f"process {local_rank} of this machine needs a CUDA device of its own, but there are {count}. "
            "Start fewer processes (torchrun --nproc-per-node), or use the CPU (device = cpu)."
        )
    return torch.device("cuda", local_rank)


def _why_no_cuda() -> str:
    """Why PyTorch cannot use a GPU, and what to do about it."""
    if torch.version.cuda is None and torch.version.hip is None:
        return (
            f"this PyTorch ({torch.__version__}) was built without CUDA: install one that was built with it"
        )
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides every GPU: unset it"
    return "PyTorch finds no GPU that it can use: see whether this machine has one, and whether nvidia-smi shows it"


def _environment(name: str) -> int:
    text = os.environ.get(name, "")
    if not text.isdecimal():
        raise ConfigError(
            f"WORLD_SIZE is set but {name} is {text!r}, not a number. Start with torchrun, which sets "
            "RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT; or unset WORLD_SIZE for one process."
        )
    return int(text)


@contextmanager
def start_process(device: DeviceChoice = "auto") -> Generator[Process]:
    """Set up this process, with communication if torchrun started several; leave the process group at the end.

    Raises:
        ConfigError: for an incomplete torchrun environment, or a missing device.
        LostProcessError: if another process ends or hangs within the block.
    """
    if "WORLD_SIZE" not in os.environ:
        yield Process(device=choose_device(device))
        return
    rank, world_size, local_rank = (_environment(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    chosen = choose_device(device, local_rank)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
    try:
        store = store_of_the_living(rank, world_size)
    except ValueError as error:
        raise ConfigError(f"torchrun's environment is not complete: {error}") from error
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=_STEP_TIMEOUT)
    patient = dist.new_group(backend="gloo", timeout=_WAIT_TIMEOUT)
    assert isinstance(patient, dist.ProcessGroup)
    try:
        yield Process(rank=rank, world_size=world_size, device=chosen, patient=patient)
    except RuntimeError as error:
        if isinstance(error, CodistillError) or _GLOO not in str(error):
            raise
        raise LostProcessError(
            f"rank {rank} of {world_size} ends because another process of this run ended or does not answer. What "
            "that one printed says why; the same command then starts again from what is saved."
        ) from error
    finally:
        # FSDP2 keeps gloo's threads after the group is destroyed. They release the last tensors through the
        # interpreter: if that happened while the interpreter shuts down, the process would abort.
        time.sleep(_GLOO_REST if chosen.type == "cpu" else 0.0)
        dist.destroy_process_group()
