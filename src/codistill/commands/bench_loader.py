"""`codistill bench loader`: images per second and core of the augmentation, compared with plain torchvision v2."""

from rich.console import Console
from rich.table import Table

from codistill.bench.loader import PLAIN, bench_loader, enlarged, shape_of, small_images
from codistill.commands.bench_output import write_numbers
from codistill.commands.parsers.bench_loader import parse


def main(argv: list[str]) -> int:
    options = parse(argv)
    images = small_images(options.images, options.count)
    sets = {
        f"{len(images)} {'' if options.images else 'synthetic '}JPEGs of about {shape_of(images[0])}": images
    }
    if options.megapixels > 0:
        large = [enlarged(data, options.megapixels) for data in images[: options.large_count]]
        sets[f"{len(large)} of them enlarged to about {shape_of(large[0])}"] = large
    table = Table(title=f"Loader at {options.size} px: per core; ratio to the faster plain pipeline")
    for heading in ("pipeline", "images/s", "ms/image", "ratio"):
        table.add_column(heading, justify="left" if heading == "pipeline" else "right")
    rates: dict[str, dict[str, float]] = {}
    for name, data in sets.items():
        seconds = bench_loader(data, options.size, options.repeats)
        rates[name] = {pipeline: 1 / spent for pipeline, spent in seconds.items()}
        table.add_row(f"[bold]{name}")
        for pipeline, spent in seconds.items():
            ratio = min(seconds[plain] for plain in PLAIN) / spent
            table.add_row(f"  {pipeline}", f"{1 / spent:.0f}", f"{1e3 * spent:.2f}", f"{ratio:.2f}")
        table.add_section()
    Console().print(table)
    numbers = {
        "size": options.size,
        "images": len(images),
        "ratio": {name: rate["fast"] / max(rate[plain] for plain in PLAIN) for name, rate in rates.items()},
        "images_per_second_and_core": rates,
    }
    write_numbers(options.json, "loader", numbers, argv)
    return 0
