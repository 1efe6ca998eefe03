"""The command table: every entry exists and says what it takes; start-up imports nothing heavy; typos get a hint."""

import subprocess
import sys
import time

import pytest

from codistill.cli import COMMANDS, main
from codistill.commands.bench import BENCHMARKS


@pytest.mark.parametrize("command", [[name] for name in COMMANDS] + [["bench", name] for name in BENCHMARKS])
def test_every_command_has_help(command: list[str], capsys: pytest.CaptureFixture) -> None:
    try:
        code = main([*command, "--help"])
    except SystemExit as error:
        code = error.code
    assert code == 0
    assert "usage" in capsys.readouterr().out.lower()


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from codistill.cli import main; main(['--help']); "
        "print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
    assert time.perf_counter() - start < 5  # a tenth of a second on an idle machine


def test_errors_name_the_command_as_it_was_typed(capsys: pytest.CaptureFixture) -> None:
    assert main(["depth", "a.jpg", "--head", "h", "--out", "o", "--nonsense", "1"]) == 2
    assert capsys.readouterr().err.startswith("codistill depth: ")


def test_unknown_command(capsys: pytest.CaptureFixture) -> None:
    assert main(["distil"]) == 2
    assert "Did you mean 'distill'" in capsys.readouterr().err
    assert main(["segmnet"]) == 2
    assert "Did you mean 'segment'" in capsys.readouterr().err
    assert main([]) == 2
    assert main(["--version"]) == 0


@pytest.mark.parametrize(
    "words", ["segment x.png --out", "fit depth --out", "study run paper --out", "distill debug --out"]
)
def test_an_empty_path_is_not_the_current_folder(words: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main([*words.split(), ""])
    assert end.value.code == 2 and "it is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    ["depth a.png --out o", "evaluate distillation --encoder e --teacher t", "study show s", "bench step"],
)
def test_what_several_processes_would_only_repeat_is_refused(words: str, monkeypatch, capsys) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(words.split()) == 2
    assert "runs in one process, but WORLD_SIZE is 2" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert main(["distill", "--list"]) == 0
