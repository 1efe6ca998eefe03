"""What `codistill evaluate relocalization` may be told."""

import argparse
from pathlib import Path

from codistill.commands.parsers.head_options import add_other_encoder_option, add_runtime_options, needed_data
from codistill.commands.parsers.two_view_options import (
    add_robust_options,
    refuse_without_effect,
    robust_config,
)
from codistill.errors import ConfigError
from codistill.files.literals import literal
from codistill.files.specs import parse_spec

BASELINES: tuple[str, ...] = literal("codistill.tasks.two_view.relocalize.baselines", "BASELINES")
KINDS: tuple[str, ...] = literal("codistill.tasks.two_view.layouts", "KINDS")
SOLVERS: tuple[str, ...] = literal("codistill.tasks.two_view.predict", "SOLVERS")


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(
        prog="codistill evaluate relocalization",
        description="Locate the second view of every pair relative to the first. World and folder pairs are scored "
        "on a virtual camera of 540x720 pixels, with intervals and by overlap; for mapfree:ROOT a submission is "
        "written and scored as the benchmark does. --submission scores one that is there.",
    )
    parser.add_argument("--data", metavar="SPEC", help=f"KIND:FOLDER, of {', '.join(KINDS)} (the head's own)")
    what = parser.add_argument_group("what to score, one of")
    what.add_argument("--head", metavar="DIR", help="of `codistill fit relocalization`")
    what.add_argument("--model", metavar="FILE", help="a released MASt3R, DUSt3R or DUNE-MASt3R file")
    what.add_argument("--baseline", choices=BASELINES, help="no motion, median training motion, SIFT, LoFTR")
    what.add_argument("--submission", type=Path, metavar="ZIP", help="Map-free poses that are there already")
    parser.add_argument("--encoder", metavar="E", help="where the head's encoder is, or the model's")
    add_other_encoder_option(parser)
    parser.add_argument("--solver", choices=SOLVERS, help="pose from matches or points (pnp)")
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="PX",
        help="inliers of the solver: pixels of the original image, metres for procrustes (0.8 %% of the diagonal; "
        "2 network pixels for emat; 0.1 m)",
    )
    parser.add_argument("--long-edge", type=int, metavar="PX", help="image size for the network (its own)")
    parser.add_argument("--subsample", type=int, metavar="PX", help="distance of match seeds (8)")
    parser.add_argument("--split", help="(the world's and a folder's test, Map-free's val)")
    parser.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="N pairs, evenly spread (all); of Map-free the first N queries, and the others count as failures",
    )
    parser.add_argument("--pictures", type=int, default=6, metavar="N", help="pairs in matches.png (6)")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="folder of the results")
    add_robust_options(parser)
    add_runtime_options(parser)
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments, checked; ends the process where argparse has something to say.

    Raises:
        ConfigError: where it is not said what to score, or on what, or an option would have no effect.
    """
    arguments = make_parser().parse_args(argv)
    chosen = [n for n in ("head", "model", "baseline", "submission") if getattr(arguments, n) is not None]
    if len(chosen) != 1:
        raise ConfigError(
            f"name one of --head, --model, --baseline and --submission; got {' and '.join(chosen) or 'none'}"
        )
    _refuse_ignored(arguments)
    robust_config(arguments)
    if arguments.threshold is not None and not arguments.threshold > 0:
        raise ConfigError(f"--threshold must be above 0; got {arguments.threshold:g}")
    if arguments.data or not arguments.head:
        parse_spec(needed_data(arguments), KINDS)
    return arguments


def _refuse_ignored(arguments: argparse.Namespace) -> None:
    """Refuse options of what is not used.

    Raises:
        ConfigError: naming them.
    """
    model = ("solver", "threshold", "pnp", "encoder", "long-edge", "subsample")
    draws = ("samples", "sample-seed")
    if arguments.submission is not None:
        refuse_without_effect(arguments, (*model, *draws), "a submission has its poses already")
    elif arguments.baseline in ("none", "median"):
        refuse_without_effect(
            arguments, (*model, *draws), f"--baseline {arguments.baseline} looks at no image"
        )
    elif arguments.baseline:
        refuse_without_effect(
            arguments, model, f"--baseline {arguments.baseline} has its own essential matrix"
        )
    elif arguments.solver in ("emat", "procrustes"):
        refuse_without_effect(arguments, ("pnp",), f"--solver {arguments.solver} is no PnP")
