"""What `codistill evaluate knn` may be told: see `classifier.py`."""

import argparse

from codistill.commands.parsers.classifier import parse_evaluate


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments, checked."""
    return parse_evaluate("knn", argv)
