"""`codistill fit relocalization --encoder E --data SPEC --out HEAD`: a two-view head, its encoder frozen or not."""

import argparse
from pathlib import Path

from codistill.commands.head_options import (
    add_runtime_options,
    add_unfreeze_options,
    make_runtime,
    needed_data,
)
from codistill.engine.distributed import start_process
from codistill.errors import ConfigError, StoppedError
from codistill.tasks.relocalization.config import RECIPES, TwoViewFit, two_view_fit
from codistill.tasks.relocalization.fit import fit_two_view
from codistill.tasks.relocalization.layouts import KINDS
from codistill.world.dataset import World


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codistill fit relocalization",
        description="Fit a two-view head (pointmaps, confidences, descriptors) on an encoder; the same command "
        "again goes on. Without other options, a recipe's values are taken.",
    )
    parser.add_argument("--data", metavar="SPEC", help=f"KIND:FOLDER; kinds: {', '.join(KINDS)}")
    parser.add_argument(
        "--encoder", metavar="E", help="file, run, export, known name, timm:…, hf:…, random:SIZE"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="HEAD", help="folder of the head")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="small", help="(small)")
    parser.add_argument("--size", metavar="ROWSxCOLUMNS", help="of the views, e.g. 112x112 (a world's own)")
    parser.add_argument("--init", metavar="FILE", help="start from a released decoder, or a fitted head")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch-size", type=int, metavar="N", help="pairs of a step")
    parser.add_argument("--accumulate", type=int, metavar="N", help="batches into which a step is cut")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--matches", type=int, metavar="N", help="correspondences of each pair")
    parser.add_argument("--views", type=int, metavar="N", help="cached: views of each pair")
    parser.add_argument(
        "--online", action="store_true", help="encode fresh views in every step, keep nothing"
    )
    add_unfreeze_options(parser)
    parser.add_argument("--fit-limit", type=int, metavar="N", help="train on N pairs, evenly spread (all)")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where tokens are kept (HEAD/cache)")
    add_runtime_options(parser)
    return parser


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`ROWSxCOLUMNS` or one side.

    Raises:
        ConfigError: for anything else.
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(f"--size {text}: write rows and columns in pixels, e.g. 112x112")
    return int(parts[0]), int(parts[-1])


def config_of(arguments: argparse.Namespace) -> TwoViewFit:
    """The fit that was asked for.

    Raises:
        ConfigError: if something is missing or makes no sense.
    """
    if not arguments.encoder:
        raise ConfigError("which encoder? add --encoder E")
    data = needed_data(arguments)
    size = parse_size(arguments.size)
    if size is None and data.startswith("world:"):
        size = (World(Path(data.removeprefix("world:")).expanduser()).size,) * 2
    return two_view_fit(
        arguments.recipe,
        data=data,
        encoder=arguments.encoder,
        size=size,
        init=arguments.init,
        steps=arguments.steps,
        batch_size=arguments.batch_size,
        accumulate=arguments.accumulate,
        lr=arguments.lr,
        matches=arguments.matches,
        views=arguments.views,
        cached=False if arguments.online else None,
        unfreeze=arguments.unfreeze,
        encoder_lr_scale=arguments.encoder_lr_scale,
        limit=arguments.fit_limit,
        seed=arguments.seed,
    )


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = _parser().parse_args(argv)
    config = config_of(arguments)
    with start_process(arguments.device) as process:
        runtime = make_runtime(arguments, arguments.out, ["fit", "relocalization", *argv], process)
        if not fit_two_view(config, runtime, process):
            raise StoppedError("stopped before its end: the same command goes on")
        if process.is_main:
            print(arguments.out)
    return 0
