"""Export a network to a checked file in one call: `export_program("dinov2_vits14", "dinov2.onnx")`.

The network is traced with symbols for its open axes, written, and opened again in the runtime that will run it. There
its outputs are compared with eager PyTorch in fp32, on noise and on pictures of several sizes. The differences are
stored in the file's metadata. If they exceed the tolerance, no file is kept, and the error names the first layer whose
output differs.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from codistill.deploy.check import (
    Case,
    Run,
    cases,
    compare,
    eager,
    finite,
    measure,
    sizes_to_check,
)
from codistill.deploy.config import SUFFIX, TOLERANCES, ExportConfig, check_tolerance
from codistill.deploy.exportable import Exportable, Sizes
from codistill.deploy.parting import first_parting, worst_case
from codistill.deploy.pictures import Pictures, drawn_pictures
from codistill.deploy.subject import find_exportable
from codistill.deploy.trace import TRACED, trace
from codistill.deploy.write_onnx import OPSET, onnx_model, onnx_packages, write_onnx
from codistill.deploy.write_torch import compiled_package, saved_program, write_torch
from codistill.errors import CheckpointError, CodistillError, ConfigError
from codistill.files.onnx_parts import weights_beside
from codistill.files.plain import to_plain
from codistill.files.writing import cannot_write, make_directory
from codistill.programs.opening import open_program
from codistill.programs.record import Check, FormatName, ProgramRecord
from codistill.types import IMAGENET_MEAN, IMAGENET_STD
from codistill.version import __version__

DEFAULT = ExportConfig()


class PartingError(CheckpointError):
    """An exported file whose outputs differ from the network's beyond the tolerance; it was not kept."""


@dataclass(frozen=True)
class Format:
    """Functions that write a format.

    Attributes:
        make: converts program, network and config, with a folder for files, to the input of `write`.
        write: writes it, with a record, to a path.
    """

    make: Callable[[ExportedProgram, Exportable, ExportConfig, Path], Any]
    write: Callable[[Any, ProgramRecord, Path], None]


FORMATS: dict[FormatName, Format] = {
    "onnx": Format(lambda program, network, config, _: onnx_model(program, network, config), write_onnx),
    "torch-export": Format(saved_program, write_torch),
    "aoti": Format(compiled_package, write_torch),
}


def export_program(
    what: str | Path,
    out: str | Path,
    config: ExportConfig = DEFAULT,
    *,
    task: str | None = None,
    pictures: Pictures | None = None,
    tolerance: float | None = None,
    check: bool = True,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> ProgramRecord:
    """Export an encoder or a head, and check the file.

    Args:
        what: an encoder as for `load_encoder`, or the folder of a fitted head.
        out: the file to write; its name ends in `.onnx` or `.pt2`.
        config: format, precision, inputs, sizes; see `ExportConfig`.
        task: for released files of encoder and head together, see `find_exportable`.
        pictures: images for the check, of which each batch takes the next ones; None: drawn pictures.
        tolerance: largest allowed difference from eager fp32; None: the default in `TOLERANCES`.
        check: run the file, and compare.
        overwrite: replace an existing file.
        say: called with messages of progress.

    Returns:
        The record in the file's metadata, with the differences found.

    Raises:
        PartingError: if a difference exceeds the tolerance.
        CodistillError: for wrong options, or if something cannot be read or written.
        MissingExtraError: if the format's packages are not installed.
    """
    if not isinstance(what, (str, Path)):
        raise ConfigError(
            f"an export is checked against what its name loads, so a {type(what).__name__} in memory cannot be "
            "exported: save it (encoder.save_pretrained), and name the folder"
        )
    out = Path(out).expanduser()
    limit = TOLERANCES[config.precision] if tolerance is None else tolerance
    check_tolerance(limit)
    _refuse_place(out, config, overwrite)
    if config.format == "onnx":
        onnx_packages()
    network = find_exportable(str(what), config, task)
    record = _record(network, config)
    make_directory(out.parent)
    try:
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".tmp-export-") as place:
            folder = Path(place)
            say(f"tracing {record.name} ({record.kind}) as {config.format}, {config.precision}")
            lowered = network.lowered(config.precision, config.format)
            made = _made(lowered, config, folder)
            finished = folder / out.name
            FORMATS[config.format].write(made, record, finished)
            if check:
                given = cases(network, _sizes(network, config), pictures or drawn_pictures())
                record = _checked(network, lowered, config, record, finished, given, limit, say)
                _remove(finished)
                FORMATS[config.format].write(made, record, finished)
            _remove(out)  # with overwrite; also removes the older file's separate weights
            for part in _parts(finished):
                if part.exists():
                    part.replace(out.parent / part.name)
    except OSError as error:
        raise cannot_write(out, error) from error
    return record


def _refuse_place(out: Path, config: ExportConfig, overwrite: bool) -> None:
    suffix = SUFFIX[config.format]
    if out.suffix.lower() != suffix:
        others = [name for name, its in SUFFIX.items() if its == out.suffix.lower()]
        hint = f", or choose --format {' or '.join(others)}" if others else ""
        raise ConfigError(f"{out}: must end in {suffix} for the format {config.format}{hint}")
    if out.is_dir():
        raise ConfigError(f"{out} is a folder: name a file")
    there = [part for part in _parts(out) if part.exists()]
    if there and not overwrite:
        raise ConfigError(
            f"{there[-1]}: exists already. Name another file, or replace it: overwrite=True (--overwrite)"
        )


def _parts(path: Path) -> list[Path]:
    """The paths of an export: of an ONNX file also the separate weights of a large model, before the file itself."""
    return [weights_beside(path), path] if path.suffix.lower() == SUFFIX["onnx"] else [path]


def _remove(path: Path) -> None:
    for part in reversed(_parts(path)):
        part.unlink(missing_ok=True)


def _record(network: Exportable, config: ExportConfig) -> ProgramRecord:
    normalized = config.takes == "images"
    about = vars(network.about)
    return ProgramRecord(
        **about,
        mean=IMAGENET_MEAN if normalized else (),
        std=IMAGENET_STD if normalized else (),
        format=config.format,
        precision=config.precision,
        opset=OPSET if config.format == "onnx" else None,
        inputs=network.inputs,
        outputs=network.outputs,
        choices=to_plain(config),
        versions={"codistill": __version__, "torch": torch.__version__},
    )


def _traced_sizes(network: Exportable, config: ExportConfig) -> Sizes:
    patch = network.about.patch_size
    fixed = {} if config.batch is None else {"batch": config.batch}
    if (size := network.fixed_size) is not None:
        fixed |= {"rows": size[0] // patch, "columns": size[1] // patch}
    return replace(TRACED, **fixed)


def _sizes(network: Exportable, config: ExportConfig) -> list[Sizes]:
    tokens = network.about.tokens
    native = tokens.image_size if tokens is not None else None
    return sizes_to_check(replace(config, size=network.fixed_size), network.about.patch_size, native)


def _made(network: Exportable, config: ExportConfig, folder: Path) -> Any:
    """Trace the network and convert it to the input of the format's `write`."""
    sizes, patch = _traced_sizes(network, config), network.about.patch_size
    blank = torch.zeros(sizes.batch, sizes.rows * patch, sizes.columns * patch, 3, dtype=torch.uint8)
    try:
        program = trace(network, network.example(sizes, blank))
        return FORMATS[config.format].make(program, network, config, folder)
    except CodistillError:
        raise
    except Exception as error:  # PyTorch's exporters raise classes without a common base
        root = _root(error)
        reason = " ".join(str(root).split())[:500]
        open_size = "" if config.size else " Fixed sizes are easier to export: --size ROWSxCOLUMNS --batch N."
        raise ConfigError(
            f"{network.about.name} cannot be exported as {config.format}: {type(root).__name__}: {reason}.{open_size}"
        ) from error


def _root(error: BaseException) -> BaseException:
    """The original error, which exporters wrap in advice on how to report it to PyTorch."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _checked(
    network: Exportable,
    lowered: Exportable,
    config: ExportConfig,
    record: ProgramRecord,
    path: Path,
    given: list[Case],
    limit: float,
    say: Callable[[str], None],
) -> ProgramRecord:
    """Check a file; returns the record with the differences.

    Raises:
        PartingError: if a difference exceeds the tolerance.
        DataError: if the network's own outputs are not finite.
    """
    say(f"checking on {len(given)} batches: {', '.join(case.about for case in given)}")
    run, wanted, names = _runner(path), finite(eager(network)), [port.name for port in record.outputs]
    checks = compare(run, wanted, names, given)
    bad = [check for check in checks if not measure(check, config.precision) <= limit]
    if bad:
        raise PartingError(
            _parting_text(network, lowered, config, bad, worst_case(run, wanted, names, given), limit)
        )
    return replace(
        record, checks=checks, tolerance=limit, checked_with="; ".join(case.about for case in given)
    )


def _runner(path: Path) -> Run:
    program = open_program(path)

    def run(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return program(**inputs)

    return run


def _parting_text(
    network: Exportable,
    lowered: Exportable,
    config: ExportConfig,
    bad: list[Check],
    case: Case,
    limit: float,
) -> str:
    """Error text: which outputs differ, by how much, and in which layer the difference begins."""
    said = ", ".join(f"{check.output} {measure(check, config.precision):.3g}" for check in bad)
    text = f"the exported file differs from eager PyTorch by more than {limit:g} ({case.about}): {said}."

    def rebuild(tapped: Exportable) -> Run:
        folder = Path(tempfile.mkdtemp(dir=scratch))
        path = folder / f"tapped{SUFFIX[config.format]}"
        made = _made(tapped, config, folder)
        record = replace(_record(tapped, config), inputs=tapped.inputs, outputs=tapped.outputs)
        FORMATS[config.format].write(made, record, path)
        return _runner(path)

    with tempfile.TemporaryDirectory() as scratch:
        layer = first_parting(
            network, lowered, rebuild, case, lambda check: not measure(check, config.precision) <= limit
        )
    if layer is None:
        where = "With every layer's output as an output of the file they agree: look at how the runtime fuses layers."
    else:
        where = f"The first layer whose numbers part is {layer}."
    return f"{text} {where} Nothing was written. A larger tolerance accepts it: --tolerance"
