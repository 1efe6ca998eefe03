"""What evaluations of two-view models share: which data."""

import argparse
from pathlib import Path

from codistill.commands.parsers.head_options import needed_data
from codistill.tasks.shared.head_files import read_record
from codistill.tasks.two_view.head import TASK


def data_of(arguments: argparse.Namespace) -> str:
    """--data, or what the --head was fitted on, as KIND:FOLDER; `arguments.data` becomes that.

    Raises:
        ConfigError: if neither is there.
        CheckpointError: if there is no such head.
    """
    if not arguments.data and arguments.head:
        arguments.data = str(read_record(Path(arguments.head).expanduser(), TASK).data["spec"])
    return needed_data(arguments)
