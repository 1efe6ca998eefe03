"""Examples of the README and of docs/: Python blocks run on small random encoders, command lines name what exists."""

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from codistill.cli import COMMANDS, OF_PARTS
from codistill.cli import main as codistill_main
from codistill.commands.parsers.catalogue import PARTS, CommandLine, command_lines
from codistill.commands.parsers.task_text import read_task
from codistill.encoders.registry import REGISTERED

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TINY = "random:vit_tiny,depth=12,dim=48,num_heads=2"


@dataclass(frozen=True)
class Block:
    """A code block: its page, number on the page, language and text."""

    page: str
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.number}"


_FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^\n)((?:^(?: {4}).*\n|^\n(?= {4}))+)", re.MULTILINE)


def blocks() -> list[Block]:
    found = []
    for path in PAGES:
        text, page = path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))
        parts = [(language, body) for language, body in _FENCED.findall(text)]
        parts += [
            ("", re.sub("^ {4}", "", body, flags=re.MULTILINE))
            for body in _INDENTED.findall(_FENCED.sub("", text))
        ]
        found += [Block(page, number, language, body) for number, (language, body) in enumerate(parts)]
    return found


BLOCKS = blocks()
RUN_ELSEWHERE = ("docs/backbone.md",)
"""Pages whose blocks build on one another: test_backbone_page.py."""
PYTHON = [block for block in BLOCKS if block.language == "python" and block.page not in RUN_ELSEWHERE]
SUBSTITUTES = {
    '"dinov2_vitl14_reg"': f'"{TINY}"',
    '"dinov2_vits14"': f'"{TINY}"',
    "(448, 448)": "(56, 56)",
    "size=448": "size=56",
    '"dune_vitbase_14_448.pth"': '"run"',
    '"dino2reg_vitlarge_14"': '"generic"',
    'weights="DEFAULT"': "weights=None",
}
"""What stands in the examples, and what stands for it here."""
NOT_RUN: dict[str, str] = {
    '"dinov2.onnx"': "needs an exported file: tests/programs, tests/encoders/test_onnx.py",
    '"heads/seg"': "needs fitted heads: tests/perception",
}
"""A word of a Python block that does not run here, and why."""
PIECES = re.compile(r"[<>…]|\.\.\.")


def command_words() -> list[tuple[str, list[str]]]:
    """Every line that calls codistill in a block, as words; what is optional in a synopsis counts too."""
    found = []
    for block in BLOCKS:
        if block.language not in ("", "bash", "text"):
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            start = re.match(r"\s*(?:\w+=\S+ )*(?:torchrun .* -m )?codistill ", line)
            if start is None:
                continue
            text = re.sub(r"  .*| # .*", "", line.strip()) if block.language != "bash" else line
            text = re.sub(r"[\[\]|]", " ", text)
            try:
                words = shlex.split(text, comments=True)
            except ValueError:
                words = text.split()
            found.append((f"{block}: {line.strip()}", words[words.index("codistill") + 1 :]))
    return found


COMMAND_LINES = command_words()


def find_line(words: list[str]) -> CommandLine | None:
    """The longest command line that some words begin with; a short one counts as what it is short for."""
    known = dict(command_lines())
    known |= {line.short: line for line in known.values() if line.short}
    return next((known[key] for count in (2, 1) if (key := tuple(words[:count])) in known), None)


def unknown_options(line: CommandLine, words: list[str]) -> list[str]:
    """Flags among some words that a command line does not have, and values that they do not allow."""
    wrong = []
    for place, word in enumerate(words):
        if not re.match("--[a-z]", word):
            continue
        flag, equals, value = word.partition("=")
        flag = re.sub(r"\.\d+\b", "", flag)
        if flag not in line.options:
            wrong.append(flag)
        elif allowed := line.options[flag]:
            value = value if equals else next(iter(words[place + 1 : place + 2]), "")
            wrong += [] if value in allowed else [f"{flag} {value}"]
    return wrong


def unknown_recipe(words: list[str]) -> list[str]:
    """The recipe of `fit TASK RECIPE`, if the task has none of that name."""
    command, task, recipe = (*words, "", "", "")[:3]
    if command != "fit" or not re.fullmatch("[a-z][a-z-]*", recipe):
        return []
    return [] if recipe in (read_task(task).recipes or ()) else [recipe]


def test_there_are_examples_to_look_at() -> None:
    assert len(COMMAND_LINES) > 100 and len(PYTHON) > 5


@pytest.mark.parametrize(("line", "words"), COMMAND_LINES, ids=range(len(COMMAND_LINES)))
def test_a_command_line_names_what_exists(line: str, words: list[str]) -> None:
    if not words or words[0].isupper():  # codistill COMMAND --help
        return
    if words[0] in ("--version", "--help"):
        return
    found = find_line(words)
    assert found is not None, f"no such command: {line}"
    placeholder = len(found.words) == 1 and bool(found.next) and words[1:2] != [] and not words[1].islower()
    if placeholder and found.words[0] in ("fit", "evaluate", "predict"):  # codistill fit TASK --out HEAD
        known = {flag for one in command_lines().values() if one.words[0] == words[0] for flag in one.options}
        wrong = [w for w in words if re.match("--[a-z]", w) and w.partition("=")[0] not in known]
    else:
        wrong = [w for w in unknown_options(found, words) if not w.split()[-1].isupper()] + unknown_recipe(
            words
        )
    assert not wrong, f"{wrong} in {line}"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "bash"], ids=str)
def test_bash_understands_every_block(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"^make ([a-z-]+)", block.text, re.MULTILINE)) <= set(targets)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that examples speak of."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0)
    (tmp_path / "photos" / "a").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "photo.jpg", "photos/a/b.jpg", *(f"photos/{i}.jpg" for i in range(6))):
        Image.fromarray(pixels.integers(0, 255, (60, 60, 3), dtype=np.uint8)).save(tmp_path / name)
    kept = dict(REGISTERED)
    yield tmp_path
    REGISTERED.clear()
    REGISTERED.update(kept)


def runnable(block: Block) -> str:
    text = block.text
    for given, substitute in SUBSTITUTES.items():
        text = text.replace(given, substitute)
    return text


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_a_python_block_runs(block: Block, place: Path) -> None:
    reason = next((why for word, why in NOT_RUN.items() if word in block.text), None)
    if reason is not None:
        pytest.skip(reason)
    text = runnable(block)
    if '"run"' in text:
        assert codistill_main(["distill", "debug", "--out", "run", "--engine.total-steps", "1"]) == 0
    if "open_features" in text:
        argv = [
            "extract",
            "photos",
            "--encoder",
            TINY,
            "--out",
            "features",
            "--blocks",
            "8",
            "11",
            "--size",
            "28",
        ]
        assert codistill_main([*argv, "--device", "cpu", "--workers", "0"]) == 0
    space: dict[str, Any] = {"__name__": "example"}
    with torch.no_grad():
        exec(compile(text, str(block), "exec"), space)
    assert set(space) - {"__name__", "__builtins__"}


def test_the_catalogue_knows_every_command() -> None:
    assert {words[0] for words in command_lines()} == set(COMMANDS)
    assert set(PARTS) == set(OF_PARTS)
    options = {line.words: line.options for line in command_lines().values()}
    assert options["fit", "people"]["--encoder"] == () and options["inspect",]["--json"] is None
    assert options["extract",]["--blocks"] == () and options["fit", "depth"]["--device"] == (
        "auto",
        "cpu",
        "cuda",
    )
    assert "--no-denormalize" in options["extract",] and "--distill.sharing.mode" in options["distill",]
    line = find_line(["depth", "a.jpg"])
    assert line is not None and line.words == ("predict", "depth")
    assert unknown_recipe(["fit", "depth", "publishd"]) == ["publishd"]
    assert unknown_recipe(["fit", "depth", "published"]) == unknown_recipe(["fit", "depth", "--out"]) == []
    assert unknown_options(line, ["--outt", "x", "--device", "gpu", "--out=y"]) == ["--outt", "--device gpu"]
    assert "usage: codistill depth" in line.help() or "predict depth" in line.help()
