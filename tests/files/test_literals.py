"""Literals read from sources: the values that the modules have when they are imported."""

import ast
import importlib
from functools import reduce
from pathlib import Path

import pytest

import codistill.commands.parsers as parsers
from codistill.files.literals import literal


def asked() -> set[tuple[str, str]]:
    """What the parsers read: every `literal("MODULE", "PATH")` in their sources."""
    trees = [ast.parse(file.read_text()) for file in Path(parsers.__path__[0]).glob("*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {
        tuple(ast.literal_eval(argument) for argument in call.args)  # type: ignore[misc]
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "literal"
    }


@pytest.mark.parametrize(("module", "path"), sorted(asked()))
def test_parsers_say_what_the_modules_hold(module: str, path: str) -> None:
    value = reduce(getattr, path.split("."), importlib.import_module(module))
    assert literal(module, path) == (tuple(value) if isinstance(value, dict) else value)


def test_what_is_not_written_there_is_refused() -> None:
    for path in ("NOTHING", "OPTIM.nothing", "DepthFit.nothing", "CACHED_RATES.lr"):
        with pytest.raises(LookupError, match=rf"{path} is not written there"):
            literal("codistill.tasks.dense.depth.fit", path)
    with pytest.raises(ValueError, match="malformed"):
        literal("codistill.tasks.dense.depth.fit", "OPTIM")
