"""`codistill fit knn --encoder E --data ROOT --out HEAD`: see `classifier.py`."""

from codistill.commands.classifier import fit_main


def main(argv: list[str]) -> int:
    """Run the command."""
    return fit_main("knn", argv)
