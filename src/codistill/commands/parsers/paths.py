"""The type of options that are paths."""

import argparse
from pathlib import Path


def named_path(text: str) -> Path:
    """A path.

    Raises:
        ArgumentTypeError: for an empty text, which would mean the current folder.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError(
            "it is empty; if it comes from a variable of the shell, that is not set"
        )
    return Path(text)
