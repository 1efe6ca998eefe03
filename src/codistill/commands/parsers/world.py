"""Options of `codistill world`."""

import argparse

from codistill.commands.parsers.paths import named_path
from codistill.errors import ConfigError, check_least
from codistill.files.literals import literal

DOMAINS: tuple[str, ...] = literal("codistill.world.identity", "DOMAINS")
SPLITS: tuple[str, ...] = literal("codistill.world.identity", "SPLITS")


PARSER = argparse.ArgumentParser(
    prog="codistill world",
    description="The embedded world: rendered scenes of three domains with all the ground truth.",
)
commands = PARSER.add_subparsers(dest="command", required=True)
build = commands.add_parser("build", help="make a world; the same command again finishes or mends it")
build.add_argument("--out", type=named_path, required=True, metavar="DIR")
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
show.add_argument("world", type=named_path, metavar="DIR")
show.add_argument("--out", type=named_path, required=True, metavar="PNG")
show.add_argument("--split", default="train", choices=SPLITS)
show.add_argument("--rows", type=int, help="samples per domain, with their truth (4)")
show.add_argument("--plain", metavar="DOMAIN", help="only pictures of one domain, 64 of them")
check = commands.add_parser("check", help="test the world's promises on its files")
check.add_argument("world", type=named_path, metavar="DIR")
check.add_argument("--sample", type=int, default=24, help="pictures per check; 0: all (24)")
check.add_argument("--json", action="store_true", help="print JSON instead of a table")
describe = commands.add_parser("describe", help="statistics as JSON")
describe.add_argument("world", type=named_path, metavar="DIR")
describe.add_argument("--out", type=named_path, metavar="FILE", help="default: the terminal")
things = commands.add_parser("things", help="its single things as an image folder, for classifiers")
things.add_argument("world", type=named_path, metavar="DIR")
things.add_argument("--out", type=named_path, required=True, metavar="DIR")
things.add_argument(
    "--least", type=int, default=24, help="pixels of the larger side of the smallest thing (24)"
)

ROWS = 4


def parse(argv: list[str]) -> argparse.Namespace:
    """The checked options.

    Raises:
        ConfigError: for a number that is too small, or an option without effect.
    """
    options = PARSER.parse_args(argv)
    if options.command == "build":
        check_least(options, "workers", least=0)
    if options.command == "show":
        if options.plain is not None and options.rows is not None:
            raise ConfigError("--rows would have no effect: --plain shows 64 pictures of one domain")
        options.rows = ROWS if options.rows is None else options.rows
        check_least(options, "rows")
    if options.command == "check":
        check_least(options, "sample", least=0)
    if options.command == "things":
        check_least(options, "least")
    return options
