"""`codistill bench traffic`: memory traffic of a teacher's block on a GPU besides its products; needs no GPU."""

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from codistill.bench.traffic import BlockShape, block_traffic
from codistill.commands.bench_output import write_numbers
from codistill.commands.parsers.bench_traffic import parse
from codistill.errors import ConfigError


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    if arguments.images < 1 or arguments.size < 14 or arguments.size % 14:
        raise ConfigError("--images must be positive, and --size a multiple of 14")
    patches = (arguments.size // 14) ** 2
    shapes = {
        "DINOv2 ViT-L": BlockShape(images=arguments.images, tokens=patches + 5),
        "MASt3R ViT-L": BlockShape(images=arguments.images, tokens=patches, layer_scale=False, rotated=True),
    }
    found = {
        name: {kind: block_traffic(shape, frozen=kind == "frozen") for kind in ("autocast", "frozen")}
        for name, shape in shapes.items()
    }
    table = Table(
        box=SIMPLE, title=f"GB of one block forward, {arguments.images} images of {arguments.size} px, bf16"
    )
    table.add_column("operation")
    columns = [(name, kind) for name in found for kind in found[name]]
    for name, kind in columns:
        table.add_column(f"{name}, {kind}", justify="right")
    names = dict.fromkeys(operation for name, kind in columns for operation in found[name][kind])
    for operation in names:
        table.add_row(operation, *(f"{found[n][k].get(operation, 0) / 1e9:.2f}" for n, k in columns))
    table.add_row("sum", *(f"{sum(found[n][k].values()) / 1e9:.2f}" for n, k in columns))
    Console().print(table)
    numbers = {"images": arguments.images, "size": arguments.size, "bytes": found}
    sums = {name: {kind: sum(each.values()) for kind, each in by.items()} for name, by in found.items()}
    write_numbers(arguments.json, "traffic", {**numbers, "sums": sums}, argv)
    return 0
