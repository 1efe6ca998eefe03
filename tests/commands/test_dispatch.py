"""What can be said of a command line without PyTorch is said before it is imported."""

import json
import subprocess
import sys

import pytest

from codistill.cli import COMMANDS
from codistill.commands.bench import BENCHMARKS
from codistill.commands.evaluate import TASKS as EVALUATIONS
from codistill.commands.fit import TASKS as FITS

PARTS = {"fit": FITS, "evaluate": EVALUATIONS, "bench": BENCHMARKS}
EVERY = [[name] for name in COMMANDS] + [[name, part] for name, parts in PARTS.items() for part in parts]

PROGRAM = """
import contextlib, io, json, sys
from codistill.cli import main
answers = []
for argv in json.loads(sys.argv[1]):
    said, code = io.StringIO(), None
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code = main(argv)
        except SystemExit as end:
            code = end.code
    answers.append((code, said.getvalue(), "torch" in sys.modules))
print(json.dumps(answers))
"""


def answers(lines: list[list[str]]) -> list[tuple[int, str, bool]]:
    """Exit code, what was said, and whether PyTorch was imported until then, of command lines in one process."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(lines)], capture_output=True, text=True, check=True
    )
    return [tuple(answer) for answer in json.loads(done.stdout)]


def test_help_of_every_command_is_printed_without_pytorch() -> None:
    for command, (code, said, torch) in zip(EVERY, answers([[*c, "--help"] for c in EVERY]), strict=True):
        assert (code, torch) == (0, False), command
        assert f"usage: codistill {' '.join(command)}" in said


def test_unknown_options_of_every_command_are_refused_without_pytorch() -> None:
    lines = [[*command, "--no-such-option", "1"] for command in EVERY]
    for command, (code, _, torch) in zip(EVERY, answers(lines), strict=True):
        assert (code, torch) == (2, False), command


SLIPS = [
    (["fit", "segmentaton"], "Did you mean 'segmentation'"),
    (["evaluate", "kn"], "Did you mean 'knn'"),
    (["bench", "stepp"], "Did you mean 'step'"),
    (["segment", "a.jpg", "--head", "h"], "arguments are required: --out"),
    (["people", "a.jpg", "--out", "o"], "arguments are required: --head"),
    (["depth", "a.jpg", "--head", "h", "--out", "o", "--kind", "nyu"], "invalid choice: 'nyu'"),
    (["pca", "a.jpg", "--encoder", "e"], "arguments are required: --out"),
    (["reconstruct", "a.jpg", "--out", "o", "--focal", "x"], "invalid float value"),
    (["inspect", "x", "--num-heads", "y"], "invalid int value"),
    (["fit", "segmentation", "--data", "voc:x", "--out", "o"], "which features? add --encoder E"),
    (["fit", "depth", "--encoder", "e", "--out", "o"], "which data set? add --data"),
    (["fit", "knn", "--encoder", "e", "--baseline", "b", "--data", "d", "--out", "o"], "exclude each other"),
    (["fit", "depth", "--encoder", "e", "--data", "world:d", "--out", "o", "--lr", "a"], "expected numbers"),
    (
        ["fit", "people", "--encoder", "e", "--data", "world:d", "--out", "o", "--recipe", "smal"],
        "mean 'small'",
    ),
    (["fit", "two-view", "--data", "world:d", "--out", "o"], "which features? add --encoder E"),
    (["evaluate", "segmentation"], "which head? add --head HEAD"),
    (["evaluate", "depth", "--out", "o", "--data", "world:d"], "which features? add --encoder E"),
    (["evaluate", "people", "--encoder", "e", "--data", "world:d"], "fitted first, in OUT/head: add --out"),
    (["evaluate", "linear", "--encoder", "e", "--data", "d"], "fitted first, in OUT/head: add --out"),
    (["evaluate", "knn", "--encoder", "e"], "fitted first, in OUT/head: add --data ROOT --out"),
    (["evaluate", "depth", "--head", "h", "--data", "nyu:d"], "Did you mean 'nyud'"),
    (["fit", "people", "--encoder", "e", "--data", "d", "--out", "o"], "write KIND:FOLDER"),
    (["fit", "two-view", "--encoder", "e", "--data", "wrld:d", "--out", "o"], "mean 'world'"),
    (
        ["evaluate", "knn", "--out", "o", "--encoder", "e", "--data", "d", "--neighbours", "x"],
        "expected numb",
    ),
    (["evaluate", "relocalization", "--out", "o", "--data", "world:d"], "what is to be scored? add --head"),
    (["evaluate", "multiview-pose", "--out", "o", "--model", "m"], "where from, where to? add --data"),
    (["evaluate", "mapfree", "--out", "o", "--data", "d"], "name one of --head, --model"),
    (["reconstruct", "a.jpg", "--out", "o.glb", "--samples", "0"], "must be 1 or more; got 0"),
    (["distill"], "which recipe?"),
    (["distill", "--device", "cpu"], "which recipe?"),
    (["distill", "debgu", "--out", "x"], "Did you mean 'debug'"),
    (["distill", "debug", "--out", "x", "--optim.lrr", "1"], "Did you mean --optim.lr"),
    (["distill", "debug"], "add --out RUN"),
    (["plan", "unicc"], "Did you mean 'unic'"),
    (["bench", "step", "unicc"], "Did you mean 'unic'"),
    (["plan", "debug", "--optim.lrr", "1"], "Did you mean --optim.lr"),
    (["bench", "step", "debug", "--optim.lrr", "1"], "Did you mean --optim.lr"),
    (["verify", "x", "--only", "students"], "invalid choice: 'students'"),
    (["world", "bild"], "invalid choice: 'bild'"),
]


@pytest.fixture(scope="module")
def told() -> list[tuple[int, str, bool]]:
    return answers([argv for argv, _ in SLIPS])


@pytest.mark.parametrize("number", range(len(SLIPS)), ids=[" ".join(argv) for argv, _ in SLIPS])
def test_a_slip_is_told_without_pytorch(told, number: int) -> None:
    code, said, torch = told[number]
    assert (code, torch) == (2, False), said
    assert SLIPS[number][1] in said
