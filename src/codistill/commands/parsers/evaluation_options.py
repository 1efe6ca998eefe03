"""The check that evaluations of classifiers share."""

import argparse
from collections.abc import Sequence

from codistill.commands.parsers.head_options import check_fit
from codistill.errors import ConfigError
from codistill.files.specs import parse_spec


def check_evaluation(
    parser: argparse.ArgumentParser,
    arguments: argparse.Namespace,
    kinds: Sequence[str] = (),
    *,
    used: str = "partial",
) -> argparse.Namespace:
    """Refuse an evaluation of nothing, and options of a fit that is none; the arguments.

    Args:
        parser: what parsed them.
        arguments: as parsed.
        kinds: of data set that --data may name; none: it names a folder.
        used: the option of the fit that scoring a head uses as well.

    Raises:
        ConfigError: where neither a head nor all that a fit needs is named, or data of no known kind; where a head is
            named and an option says how to fit one.
    """
    if arguments.data and kinds:
        parse_spec(arguments.data, kinds)
    if arguments.head is not None:
        _refuse_fit_options(parser, arguments, used)
        return arguments
    folder = "SPEC" if kinds else "ROOT"
    if arguments.out is None and not (arguments.encoder or arguments.baseline):
        raise ConfigError(
            f"which head? add --head HEAD, or --encoder E --data {folder} --out OUT to fit one first"
        )
    if arguments.out is None:
        missing = "--out OUT" if arguments.data else f"--data {folder} --out OUT"
        raise ConfigError(f"where to? Without --head HEAD, one is fitted first, in OUT/head: add {missing}")
    return check_fit(arguments, kinds)


def _refuse_fit_options(parser: argparse.ArgumentParser, arguments: argparse.Namespace, used: str) -> None:
    """Raise ConfigError where --head is given and an option says how a head is to be fitted: it would do nothing."""
    fitting = next(group for group in parser._action_groups if group.title == "fitting")
    typed = [
        action.option_strings[0]
        for action in fitting._group_actions
        if action.dest != used and getattr(arguments, action.dest) != action.default
    ]
    if typed:
        raise ConfigError(
            f"{', '.join(typed)} would have no effect: --head is scored as it was fitted. Leave them out, or fit one "
            "anew with --encoder E --data … --out OUT and no --head."
        )
