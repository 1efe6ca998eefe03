"""Compare exported files with the original network: files in, seconds and memory of each way to run them out.

All get the same inputs and are timed in turns in one process. Memory is measured in a separate process for each.
"""

import multiprocessing
import resource
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from codistill.bench.timing import WARM_UP, Timed, take_turns
from codistill.deploy.check import eager
from codistill.deploy.exportable import Exportable, Sizes
from codistill.deploy.pictures import drawn_pictures
from codistill.deploy.subject import original_of
from codistill.errors import ConfigError, MissingExtraError
from codistill.programs.opening import open_program
from codistill.programs.openvino_file import OpenvinoProgram
from codistill.programs.program import Program
from codistill.programs.record import ProgramRecord

Call = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class ProgramSpeed:
    """One way to run a network.

    Attributes:
        runtime, precision: the runtime, and the precision in which it computes.
        file: name of the file; empty where PyTorch runs the network itself.
        file_bytes: size of the file.
        seconds, cpu_seconds: of the shortest pass: wall-clock time, and processor time of all threads.
        peak_bytes: peak memory of a process that does nothing else. It includes PyTorch's code, which the runtime does
            not need. 0 where it was not measured.
    """

    runtime: str
    precision: str
    file: str = ""
    file_bytes: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0


Shape = tuple[int, int]
"""Rows and columns of images in pixels."""

SIDE = 224
"""Default side of images whose size is open."""


def shape_of(network: Exportable, size: int | None) -> Shape:
    """The size at which a network is measured: its fixed one, or a square of about `size` in whole patches.

    Raises:
        ConfigError: if a network with a fixed size is to be measured at another one.
    """
    if (fixed := network.fixed_size) is not None:
        if size is not None and fixed != (size, size):
            raise ConfigError(f"--size {size} would have no effect: the size is fixed, {fixed[0]}x{fixed[1]}")
        return fixed
    patch = network.about.patch_size
    side = max(1, round((SIDE if size is None else size) / patch)) * patch
    return side, side


def inputs_of(network: Exportable, shape: Shape, batch: int) -> dict[str, Tensor]:
    """Inputs of a network from pictures."""
    patch, (rows, columns) = network.about.patch_size, shape
    sizes = Sizes(batch=batch, rows=rows // patch, columns=columns // patch)
    return network.example(sizes, drawn_pictures().batch(range(batch), rows, columns))


def bench_export(
    files: list[Path],
    *,
    size: int | None,
    batch: int,
    rounds: int,
    compiled: bool,
    against: str | None,
    memory: bool,
) -> tuple[Shape, list[ProgramSpeed]]:
    """Measure exported files, and the network of the first one in eager PyTorch.

    Args:
        files: files of one network, in any formats.
        size, batch: size (see `shape_of`) and number of the images; files with fixed sizes must agree with them.
        rounds: number of passes, of which the fastest counts.
        compiled: also measure the network under torch.compile.
        against: another encoder, measured in eager PyTorch on images of the same size; None for none.
        memory: also measure memory, in a separate process for each.

    Raises:
        ConfigError: if files are not of one network, or their size is another fixed one.

    Returns:
        The size of the images, and the measurements.
    """
    programs = [open_program(path) for path in files]
    record = programs[0].record
    for path, program in zip(files, programs, strict=True):
        if _compared(program.record) != _compared(record):
            raise ConfigError(
                f"{path} is not of the network of {files[0]}, or has other inputs or outputs: compare files that were "
                f"exported with the same options, except {', '.join('--' + name for name in _FREE)}"
            )
    network = original_of(record)
    shape = shape_of(network, size)
    inputs = inputs_of(network, shape, batch)
    contenders: list[tuple[ProgramSpeed, Call]] = []

    def add(call: Call, load: Callable[[], Call], **about: object) -> None:
        for _ in range(WARM_UP):
            call()
        speed = ProgramSpeed(**about, peak_bytes=peak_of(load) if memory else 0)  # type: ignore[arg-type]
        contenders.append((speed, call))

    if against is not None:
        loading = partial(other_call, against, batch, shape)
        add(loading(), loading, runtime=f"eager PyTorch, {against}", precision="fp32")
    loading = partial(eager_call, record, shape, batch, False)
    add(loading(), loading, runtime="eager PyTorch", precision="fp32")
    if compiled:
        loading = partial(eager_call, record, shape, batch, True)
        add(loading(), loading, runtime="torch.compile", precision="fp32")
    for path, program in zip(files, programs, strict=True):
        for kind in (type(program), *_others(path)):
            opened = program if kind is type(program) else OpenvinoProgram(path)
            loading = partial(program_call, kind, path, inputs)
            about = {"runtime": opened.runtime, "precision": program.record.precision, "file": path.name}
            add(partial(opened, **inputs), loading, file_bytes=path.stat().st_size, **about)
    timed = [Timed(call) for _, call in contenders]
    take_turns(rounds, *(one.measure for one in timed))
    return shape, [
        replace(speed, seconds=one.best.wall, cpu_seconds=one.best.cpu)
        for (speed, _), one in zip(contenders, timed, strict=True)
    ]


_FREE = ("format", "precision", "size", "batch")
"""Options of an export in which files of one network may differ."""


def _compared(record: ProgramRecord) -> tuple[object, ...]:
    """What is equal in the records of files of one network."""
    return record.kind, record.fingerprint, {k: v for k, v in record.choices.items() if k not in _FREE}


def _others(path: Path) -> list[type[Program]]:
    """The installed runtimes that can run a file besides its default one."""
    if path.suffix.lower() != ".onnx":
        return []
    try:
        from codistill.programs.openvino_file import openvino

        openvino()
    except MissingExtraError:
        return []
    return [OpenvinoProgram]


def eager_call(record: ProgramRecord, shape: Shape, batch: int, compiled: bool) -> Call:
    """A pass of the original network in PyTorch."""
    network = original_of(record)
    inputs = inputs_of(network, shape, batch)
    if compiled:
        network.compile()
    return partial(eager(network), inputs)


def other_call(encoder: str, batch: int, shape: Shape) -> Call:
    """A pass of any encoder on noise images."""
    from codistill.encoders.load import load_encoder

    loaded = load_encoder(encoder)
    patch = loaded.spec.patch_size
    if shape[0] % patch or shape[1] % patch:
        raise ConfigError(
            f"--against {encoder}: images of {shape[0]}x{shape[1]} are not in whole patches of {patch}"
        )
    images = torch.randn(batch, 3, *shape)

    @torch.inference_mode()
    def run() -> object:
        return loaded(images)

    return run


def program_call(kind: type[Program], path: Path, inputs: Mapping[str, Tensor]) -> Call:
    """A pass of an exported file, without loading the original network."""
    program = kind(path)  # type: ignore[call-arg]
    return partial(program, **inputs)


def peak_of(load: Callable[[], Call]) -> int:
    """Peak resident memory in bytes of a new process that loads a call and runs it twice."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure_peak, args=(load, torch.get_num_threads(), sender))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError as error:
        raise ConfigError("the process that measures memory ended early; see its error above") from error
    finally:
        process.join()


def _measure_peak(load: Callable[[], Call], threads: int, sender) -> None:  # type: ignore[no-untyped-def]
    torch.set_num_threads(threads)
    call = load()
    for _ in range(WARM_UP):
        call()
    sender.send(_peak_bytes())


def _peak_bytes() -> int:
    """Peak memory of this process alone; on Linux, `ru_maxrss` would include what its parent held at the fork."""
    status = Path("/proc/self/status")
    if status.is_file():
        said = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(said["VmHWM"].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
