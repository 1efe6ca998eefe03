"""`codistill study show DIR`: what is finished, running, failed and left."""

from pathlib import Path


def show_study(folder: Path, *, follow: bool) -> int:
    return 0
