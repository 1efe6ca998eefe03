"""What can be said of a command line without PyTorch is said before it is imported."""

import json
import subprocess
import sys

import pytest

from codistill.cli import COMMANDS, main
from codistill.commands.bench import BENCHMARKS
from codistill.commands.parsers.evaluate import OWN
from codistill.commands.parsers.task_text import read_task
from codistill.tasks.registry import TASKS

KNOWN = {name: read_task(name) for name in TASKS}
PARTS = {
    "fit": [name for name, task in KNOWN.items() if task.fitting],
    "evaluate": [*TASKS, *OWN],
    "predict": [name for name, task in KNOWN.items() if task.writes],
    "bench": BENCHMARKS,
}
EVERY = [[name] for name in COMMANDS] + [[name, part] for name, parts in PARTS.items() for part in parts]

PROGRAM = """
import contextlib, io, json, sys
from codistill.cli import main
answers = []
heavy = {"torch", "numpy", "cv2", "PIL", "pyarrow", "rich", "tyro", "fsspec", "matplotlib"}
for argv in json.loads(sys.argv[1]):
    said, code = io.StringIO(), None
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code = main(argv)
        except SystemExit as end:
            code = end.code
    answers.append((code, said.getvalue(), bool(heavy & set(sys.modules)), len(sys.modules)))
print(json.dumps(answers))
"""


MOST_MODULES = 320
"""Of Python's own and ours, after the help of every command; PyTorch alone has more than a thousand."""


def answers(lines: list[list[str]]) -> list[tuple[int, str, bool]]:
    """Exit code, what was said, and whether a heavy package was imported, of command lines in one process."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(lines)], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found[-1][3] <= MOST_MODULES
    return [tuple(answer[:3]) for answer in found]


def test_help_of_every_command_is_printed_without_pytorch() -> None:
    for command, (code, said, torch) in zip(EVERY, answers([[*c, "--help"] for c in EVERY]), strict=True):
        assert (code, torch) == (0, False), command
        assert f"usage: codistill {' '.join(command)}" in said


def test_unknown_options_of_every_command_are_refused_without_pytorch() -> None:
    lines = [[*command, "--no-such-option", "1"] for command in EVERY]
    for command, (code, _, torch) in zip(EVERY, answers(lines), strict=True):
        assert (code, torch) == (2, False), command


FIT = ["--encoder", "e", "--data", "folder:d", "--out", "o"]
SLIPS = [
    (["fit", "segmentaton"], "Did you mean 'segmentation'"),
    (["evaluate", "kn"], "Did you mean 'knn'"),
    (["predict", "linnear", "a.jpg"], "Did you mean 'linear'"),
    (["bench", "stepp"], "Did you mean 'step'"),
    (["segment", "a.jpg", "--head", "h"], "where to? add --out DIR"),
    (["segment", "--head", "h", "--out", "o"], "which images?"),
    (["predict", "knn", "a.jpg", "--out", "o"], "which head? add --head HEAD"),
    (["depth", "a.jpg", "--head", "h", "--out", "o", "--kin", "nyud"], "Did you mean --kind"),
    (["pca", "a.jpg", "--encoder", "e"], "arguments are required: --out"),
    (["reconstruct", "a.jpg", "--out", "o", "--focal", "x"], "invalid float value"),
    (["inspect", "x", "--num-heads", "y"], "invalid int value"),
    (["fit", "segmentation", "--data", "folder:x", "--out", "o"], "which features? add --encoder E"),
    (["fit", "depth", "--encoder", "e", "--out", "o"], "which data set? add --data LAYOUT:FOLDER"),
    (["fit", "knn", "--encoder", "e", "--data", "folder:d"], "where to? add --out HEAD"),
    (["fit", "depth", "--encoder", "e", "--out", "o", "--data", "nyu:d"], "Did you mean 'nyud'"),
    (["fit", "linear", "publishd", *FIT], "Did you mean 'published'"),
    (["fit", "linear", "mine.yaml", *FIT], "mine.yaml cannot be read"),
    (["fit", "depth", *FIT, "--learning-rate", "1"], "Did you mean --learning-rates"),
    (["fit", "knn", *FIT, "--vectors.crob", "1"], "Did you mean --vectors.crop"),
    (["fit", "knn", *FIT, "--baseline", "colour"], "Unknown option --baseline"),
    (["fit", "knn", "--encoder", "e", "--data", "d", "--out", "o"], "write LAYOUT:FOLDER, e.g. folder:d"),
    (["evaluate", "segmentation"], "what is to be scored? add --head HEAD, or --encoder E"),
    (["evaluate", "depth", "--out", "o", "--data", "world:d"], "what is to be scored?"),
    (["evaluate", "linear", "--encoder", "e", "--data", "folder:d"], "where from, where to? add --out OUT"),
    (["evaluate", "knn", "--encoder", "e"], "add --data LAYOUT:FOLDER --out OUT"),
    (["evaluate", "depth", "--head", "h", "--data", "nyu:d"], "Did you mean 'nyud'"),
    (["evaluate", "depth", "--head", "h", "--baseline", "colour"], "that knows colours alone is --encoder"),
    (["evaluate", "depth", "--head", "h", "--model", "m"], "exclude each other"),
    (["predict", "depth", "a", "--out", "o", "--head", "h", "--model", "m"], "exclude each other"),
    (["reconstruct", "a", "b", "--out", "o.glb", "--head", "h", "--model", "m"], "exclude each other"),
    (["evaluate", "segmentation", "--head", "h", "--fit.steps", "9"], "--fit.steps would have no effect"),
    (["evaluate", "knn", "--head", "h", "--fit.neighbours", "3"], "--fit.neighbours would have no effect"),
    (["evaluate", "knn", "--head", "h", "--recipe", "usual"], "--recipe would have no effect"),
    (["evaluate", "knn", "--head", "h", "--neighbours", "3"], "Did you mean --fit.neighbours"),
    (["evaluate", "linear", "--head", "h", "--margin", "1"], "no effect without --against"),
    (["evaluate", "linear", "--head", "h", "--against", "o", "--margin", "-1"], "--margin must be above 0"),
    (["evaluate", "depth", "--head", "h", "--pictures", "-1"], "--pictures must be 0 (none) or more; got -1"),
    (["fit", "two-view", "--data", "world:d", "--out", "o"], "which features? add --encoder E"),
    (["fit", "two-view", "--encoder", "e", "--data", "wrld:d", "--out", "o"], "mean 'world'"),
    (["fit", "people", "smal", "--encoder", "e", "--data", "world:d", "--out", "o"], "mean 'small'"),
    (["evaluate", "people", "--encoder", "e", "--data", "world:d"], "where from, where to? add --out OUT"),
    (["evaluate", "relocalization", "--out", "o", "--data", "world:d"], "what is to be scored? add --head"),
    (["evaluate", "multiview-pose", "--out", "o", "--model", "m"], "where from, where to? add --data"),
    (["evaluate", "mapfree", "--out", "o", "--data", "d"], "name one of --head, --model"),
    (["reconstruct", "a.jpg", "--out", "o.glb", "--samples", "0"], "must be 1 or more; got 0"),
    (["evaluate", "depth", "--head", "dune-tiny"], "keeps no results: add --out OUT"),
    (["evaluate", "relocalization", "--head", "dune-tiny"], "keeps no results: add --out OUT"),
    (
        ["evaluate", "knn", "--head", "dune-tiny", "--out", "o"],
        "head for knn under the name dune-tiny; there",
    ),
    (
        ["reconstruct", "a", "b", "--out", "o.glb", "--head", "generic-tiny"],
        "under the name generic-tiny; models with one: dune-tiny.",
    ),
    (["depth", "a.jpg", "--out", "o", "--workers", "3"], "Unknown option --workers"),
    (["reconstruct", "a", "b", "--out", "o.glb", "--workers", "3"], "arguments: --workers"),
    (["distill"], "which recipe?"),
    (
        ["world", "show", "w", "--out", "o.png", "--plain", "rooms", "--rows", "2"],
        "--rows would have no effect",
    ),
    (["world", "show", "w", "--out", "o.png", "--rows", "0"], "rows must be 1 or more; got 0"),
    (
        ["world", "build", "--out", "w", "--images", "60", "--workers", "-1"],
        "workers must be 0 or more; got -1",
    ),
    (["world", "check", "w", "--sample", "-1"], "sample must be 0 or more; got -1"),
    (["index", "p", "--root", "r", "--out", "p.parquet", "--member", "depth.png"], "nothing is packed"),
    (["distill", "--device", "cpu"], "which recipe?"),
    (["distill", "debgu", "--out", "x"], "Did you mean 'debug'"),
    (["distill", "debug", "--out", "x", "--optim.lrr", "1"], "Did you mean --optim.lr"),
    (["distill", "debug"], "add --out RUN"),
    (["plan", "unicc"], "Did you mean 'unic'"),
    (["bench", "step", "unicc"], "Did you mean 'unic'"),
    (["plan", "debug", "--tflops", "300", "--utilization", "0.4"], "--utilization would have no effect"),
    (["analyze", "r", "--size", "224"], "--size would have no effect on runs"),
    (["analyze", "r", "--block", "3"], "--block would have no effect on runs"),
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


def test_only_tasks_that_fit_something_are_listed_by_fit(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--list"])
    listed = capsys.readouterr().out
    assert (
        "two-view" in listed and "relocalization " not in listed and "semantic-correspondence" not in listed
    )
