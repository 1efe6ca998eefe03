"""Draws are for one purpose each: no number twice, none outside the list, and the recorded ones as they were."""

import ast
from enum import IntEnum, unique
from pathlib import Path

import numpy as np
import pytest

import codistill
from codistill.data.permutation import keys_of
from codistill.data.randomness import Purpose, generator


def test_no_number_has_two_purposes() -> None:
    numbers = [purpose.value for purpose in Purpose.__members__.values()]
    assert sorted(set(numbers)) == sorted(numbers)
    with pytest.raises(ValueError, match="duplicate"):
        unique(IntEnum("Twice", {"ONE": 13, "OTHER": 13}))  # type: ignore[arg-type]


def test_recorded_runs_draw_what_they_drew() -> None:
    kept = {
        "AUGMENT": 1,
        "REPLACE": 2,
        "RESOLUTION": 3,
        "DENSE_VIEW": 11,
        "DENSE_PIXELS": 12,
        "DENSE_ORDER": 13,
    }
    kept |= {"PAIR_VIEW": 21, "PAIR_MATCHES": 22, "PAIR_ORDER": 23}
    assert {name: Purpose[name].value for name in kept} == kept
    key = np.array([5, 11], dtype=np.uint64)
    plain = np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 2, 7, 3], dtype=np.uint64)))
    assert generator(5, Purpose.DENSE_VIEW, 3, 7, 2).random() == plain.random()
    assert keys_of(5, Purpose.DENSE_ORDER)[0] == keys_of(5, 13)[0]


def test_every_draw_of_the_library_names_its_purpose() -> None:
    """No module makes up a number of its own: purposes are names, and those names are assigned from `Purpose`."""
    names: set[str] = set()
    texts = [path.read_text() for path in Path(codistill.__file__).parent.rglob("*.py")]
    trees = [ast.parse(text) for text in texts if "generator" in text or "Purpose" in text]
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "generator" and len(node.args) > 2:
            assert not isinstance(node.args[1], ast.Constant), ast.unparse(node)
            names |= {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
    assert names >= {"AUGMENT", "VIEW", "MIRROR"}
    for node in (node for tree in trees for node in tree.body):
        if isinstance(node, ast.Assign):
            assigned = {
                name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)
            }
            assert not assigned & names or "Purpose." in ast.unparse(node.value), ast.unparse(node)
