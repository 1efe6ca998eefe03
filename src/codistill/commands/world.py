"""`codistill world build|show|check|describe|things`: builds, shows, checks and describes the embedded world."""

import argparse
import json
import sys
from dataclasses import asdict

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
from codistill.commands.parsers.world import parse
from codistill.errors import ConfigError, unknown_name
from codistill.files.writing import write_atomic
from codistill.imaging.pictures import save_picture
from codistill.world.build import WorldConfig, build_world
from codistill.world.checks import Check, check_world
from codistill.world.crops import write_things
from codistill.world.dataset import World
from codistill.world.identity import SPLITS
from codistill.world.show import plain_sheet, truth_sheet
from codistill.world.statistics import describe_world

_COLUMNS = (
    TextColumn("{task.description:<14}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
    TimeRemainingColumn(),
)


def main(argv: list[str]) -> int:
    """Run one of the commands; returns 1 if a check failed."""
    arguments = parse(argv)
    return {"build": _build, "show": _show, "check": _check, "describe": _describe, "things": _things}[
        arguments.command
    ](arguments)


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
    with Progress(*_COLUMNS, console=console) as bar:
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
    save_picture(Image.fromarray(sheet), arguments.out)
    print(arguments.out)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    checks = check_world(World(arguments.world), sample=arguments.sample or None)
    if not arguments.json:
        return _report(checks)
    passed = all(check.passed for check in checks)
    print(json.dumps({"passed": passed, "checks": [asdict(check) for check in checks]}, indent=2))
    return 0 if passed else 1


def _describe(arguments: argparse.Namespace) -> int:
    text = json.dumps(describe_world(World(arguments.world)), indent=1)
    if arguments.out is None:
        sys.stdout.write(text + "\n")
    else:
        write_atomic(arguments.out, text + "\n")
        print(arguments.out)
    return 0


def _things(arguments: argparse.Namespace) -> int:
    world = World(arguments.world)
    total = sum(len(world.segmentation(split)) for split in SPLITS)
    with Progress(*_COLUMNS, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("things", total=total)
        counts = write_things(
            world, arguments.out, least=arguments.least, progress=lambda n: bar.update(task, advance=n)
        )
    said = ", ".join(f"{count} for {split}" for split, count in counts.items())
    print(f"{arguments.out}: {said}; codistill fit linear --data folder:{arguments.out} …")
    return 0
