"""`codistill world build|show|check|describe`: make the embedded world, look at it, test its promises, count it."""

import argparse
import json
import sys
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from codistill.bodies.anny import anny_cache, anny_is_built
from codistill.errors import ConfigError, unknown_name
from codistill.world.build import WorldConfig, build_world
from codistill.world.checks import Check, check_world
from codistill.world.dataset import World
from codistill.world.identity import DOMAINS, SPLITS
from codistill.world.show import plain_sheet, truth_sheet
from codistill.world.statistics import describe_world


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codistill world",
        description="The embedded world: rendered scenes of three domains with all the ground truth.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="make a world; the same command again finishes or mends it")
    build.add_argument("--out", type=Path, required=True, metavar="DIR")
    build.add_argument(
        "--images", type=int, required=True, metavar="N", help="pictures in all, shared by the domains"
    )
    build.add_argument("--domains", default=",".join(DOMAINS), help=f"some of {','.join(DOMAINS)} (all)")
    build.add_argument("--size", type=int, default=224, help="side of the pictures in pixels (224)")
    build.add_argument("--seed", type=int, default=0)
    build.add_argument("--workers", type=int, default=0, help="processes; 0: one per core")
    build.add_argument("--val-share", type=float, default=0.05)
    build.add_argument("--test-share", type=float, default=0.15)
    build.add_argument("--no-check", action="store_true", help="do not check a sample at the end")
    show = commands.add_parser("show", help="a contact sheet")
    show.add_argument("world", type=Path, metavar="DIR")
    show.add_argument("--out", type=Path, required=True, metavar="PNG")
    show.add_argument("--split", default="train", choices=SPLITS)
    show.add_argument("--rows", type=int, default=4, help="samples per domain, with their truth (4)")
    show.add_argument("--plain", metavar="DOMAIN", help="only pictures of one domain, 64 of them")
    check = commands.add_parser("check", help="test the world's promises on its files")
    check.add_argument("world", type=Path, metavar="DIR")
    check.add_argument("--sample", type=int, default=24, help="pictures per check; 0: all (24)")
    describe = commands.add_parser("describe", help="statistics as JSON")
    describe.add_argument("world", type=Path, metavar="DIR")
    describe.add_argument("--out", type=Path, metavar="FILE", help="default: the terminal")
    return parser


def main(argv: list[str]) -> int:
    """Run one of the commands; 1 if a check failed."""
    arguments = _parser().parse_args(argv)
    return {"build": _build, "show": _show, "check": _check, "describe": _describe}[arguments.command](
        arguments
    )


def _build(arguments: argparse.Namespace) -> int:
    config = WorldConfig(
        images=arguments.images,
        domains=tuple(d.strip() for d in arguments.domains.split(",") if d.strip()),
        size=arguments.size,
        seed=arguments.seed,
        val_share=arguments.val_share,
        test_share=arguments.test_share,
    )
    console = Console(stderr=True)
    if "people" in config.domains and not anny_is_built():
        console.print(f"Building the Anny body model, once: one to four minutes, kept in {anny_cache()}.")
    columns = (
        TextColumn("{task.description:<14}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("starting", total=config.pictures())
        mended = build_world(
            arguments.out,
            config,
            workers=arguments.workers,
            progress=lambda domain, split, n: bar.update(task, advance=n, description=f"{domain} {split}"),
        )
    for shard in mended:
        console.print(f"{shard} was damaged and has been made again.")
    print(f"{config.pictures()} pictures in {arguments.out}")
    world = World(arguments.out)
    for source in world.sources():
        print(f"  --source {source.name},{source.domain},{source.path}")
    if arguments.no_check:
        return 0
    return _report(check_world(world, sample=8))


def _report(checks: list[Check]) -> int:
    table = Table("check", "measured", "allowed", "")
    for check in checks:
        table.add_row(check.name, check.measured, check.allowed, "passed" if check.passed else "FAILED")
    Console(width=max(110, Console().width)).print(table)
    return 0 if all(check.passed for check in checks) else 1


def _show(arguments: argparse.Namespace) -> int:
    world = World(arguments.world)
    if arguments.plain is not None:
        if arguments.plain not in world.domains:
            raise ConfigError(unknown_name("domain", arguments.plain, world.domains))
        sheet = plain_sheet(world, arguments.plain, arguments.split)
    else:
        sheet = truth_sheet(world, arguments.split, arguments.rows)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(arguments.out, quality=90)
    print(arguments.out)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    return _report(check_world(World(arguments.world), sample=arguments.sample or None))


def _describe(arguments: argparse.Namespace) -> int:
    text = json.dumps(describe_world(World(arguments.world)), indent=1)
    if arguments.out is None:
        sys.stdout.write(text + "\n")
    else:
        arguments.out.write_text(text + "\n", encoding="utf-8")
        print(arguments.out)
    return 0
