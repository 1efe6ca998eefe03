"""What `codistill fit linear` may be told: see `classifier.py`."""

import argparse

from codistill.commands.parsers.classifier import parse_fit


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments, checked."""
    return parse_fit("linear", argv)
