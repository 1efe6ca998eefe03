"""`codistill evaluate knn --head HEAD | --encoder E --data ROOT`: see `classifier.py`."""

from codistill.commands.classifier import evaluate_main


def main(argv: list[str]) -> int:
    """Run the command."""
    return evaluate_main("knn", argv)
