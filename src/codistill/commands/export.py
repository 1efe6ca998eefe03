"""`codistill export E|HEAD --out FILE`: writes a network to a file for other runtimes, checked against PyTorch."""

from dataclasses import fields

from rich.console import Console
from rich.table import Table

from codistill.commands.parsers.export import parse
from codistill.commands.predicting import find_images
from codistill.deploy.config import ExportConfig
from codistill.deploy.export import export_program
from codistill.deploy.pictures import photographs
from codistill.errors import ConfigError
from codistill.files.disk import size_text
from codistill.files.plain import to_plain
from codistill.files.specs import parse_size
from codistill.files.writing import check_file
from codistill.programs.record import Port, ProgramRecord
from codistill.tasks.shared.record import write_metrics


def main(argv: list[str]) -> int:
    """Export a network, check the file and print the result; returns 0.

    Raises:
        CodistillError: for wrong options, or if the file's outputs differ from PyTorch's.
    """
    arguments = parse(argv)
    arguments.size = None if arguments.size is None else parse_size(arguments.size)
    config = ExportConfig(**{field.name: getattr(arguments, field.name) for field in fields(ExportConfig)})
    if not arguments.check and (arguments.images or arguments.tolerance is not None):
        raise ConfigError("--images and --tolerance would have no effect with --no-check")
    if arguments.json:
        if arguments.json.resolve() == arguments.out.expanduser().resolve():
            raise ConfigError(f"--json {arguments.json} is the exported file itself: name another")
        check_file(arguments.json)
    pictures = None
    if arguments.images:
        pictures = photographs([image.path for image in find_images(arguments.images)])
    console = Console(stderr=True)
    record = export_program(
        arguments.what,
        arguments.out,
        config,
        task=arguments.task,
        pictures=pictures,
        tolerance=arguments.tolerance,
        check=arguments.check,
        overwrite=arguments.overwrite,
        say=lambda text: console.print(text, highlight=False, soft_wrap=True),
    )
    _show(record)
    print(f"wrote {arguments.out} ({size_text(arguments.out.expanduser().stat().st_size)})")
    if arguments.json:
        numbers = {"export": str(arguments.out), **to_plain(record)}
        write_metrics(arguments.json, numbers, ["export", *argv])
        print(f"wrote {arguments.json}")
    return 0


def _show(record: ProgramRecord) -> None:
    console = Console()
    console.print(f"{record.kind} {record.name}, licence: {record.licence}", highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "tensor", "axes", "type", "largest", "mean"):
        table.add_column(title, no_wrap=title != "axes")
    found = {check.output: check for check in record.checks}
    for kind, ports in (("in", record.inputs), ("out", record.outputs)):
        for port in ports:
            check = found.get(port.name)
            numbers = (f"{check.largest:.2g}", f"{check.mean:.2g}") if check else ("", "")
            table.add_row(kind, port.name, _axes(port), port.dtype, *numbers)
    console.print(table)
    if record.checks:
        which = "mean" if record.precision == "int8" else "largest"
        print(
            f"Differences from eager fp32, over the root mean square of the output; allowed: {which} "
            f"{record.tolerance:g}. Checked on: {record.checked_with}"
        )
    else:
        print("not checked")


def _axes(port: Port) -> str:
    return " x ".join(map(str, port.axes))
