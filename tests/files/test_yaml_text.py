"""Reading YAML: what a text may cost is bounded, and what people write is far below the bounds."""

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from codistill.files.yaml_text import MAX_CHARACTERS, MAX_VALUES, parse_yaml


def billions(width: int, levels: int, inner: str = "x") -> str:
    """Each level repeats the one before: width ** levels values in a few hundred bytes."""
    lines = [f"a0: &a0 [{', '.join([inner] * width)}]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines)


def mappings(width: int, levels: int) -> str:
    lines = ["a0: &a0 {x: 1}"]
    for n in range(1, levels):
        lines.append(f"a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(width))}}}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (billions(10, 9), "expands to more than"),
        (billions(2, 40), "expands to more than"),
        (billions(10, 6, '"' + "y" * 1000 + '"'), "expands to more than"),
        (mappings(9, 9), "expands to more than"),
        (billions(1, 60), "nested deeper"),
        ("[" * 60 + "]" * 60, "nested deeper"),
        ("[" * 10_000, "nest"),
        ("{a: " * 10_000, "nested deeper"),
        ("- " * 10_000, "nested deeper"),
        ("&a [*a]", "contains itself"),
        ("a: &a {b: {c: *a}}", "contains itself"),
        ("a: " + "x" * MAX_CHARACTERS, "characters long"),
        ("a: " + "1" * 100_000 + "x", None),
        ("a: " + "1" * 50_000, "Exceeds the limit"),
        ("a: 1." + "1" * 100_000 + "x", None),
        ("? " * 2_000, "nested deeper|key"),
    ],
)
def test_a_small_text_cannot_cost_much(text: str, reason: str | None) -> None:
    start = time.process_time()
    if reason is None:
        assert parse_yaml(text)["a"] == text[3:]
    else:
        with pytest.raises(ValueError, match=reason):
            parse_yaml(text)
    assert time.process_time() - start < 3.0


def test_a_mistake_is_shown_with_its_line() -> None:
    with pytest.raises(ValueError, match=r"line 2, column 4:\n    b: \[1\n       \^"):
        parse_yaml("é: 1\nb: [1\n")


def test_without_libyaml_the_same_values_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    spec = importlib.util.find_spec("codistill.files.yaml_text")
    assert spec is not None and spec.loader is not None and spec.origin is not None
    other = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(other)
    texts = [path.read_text() for path in Path(spec.origin).parents[1].rglob("*.yaml")]
    assert len(texts) > 3
    assert [other.parse_yaml(text) for text in texts] == [parse_yaml(text) for text in texts]
    with pytest.raises(ValueError, match="nested deeper"):
        other.parse_yaml("[" * 60)


def test_aliases_and_long_lists_are_read() -> None:
    assert parse_yaml("base: &b {x: [1, 2]}\none: *b\ntwo: *b\n")["two"] == {"x": [1, 2]}
    assert parse_yaml("[" + "7," * 5000 + "]") == [7] * 5000
    assert MAX_VALUES > 20 * 500  # fields of the largest recipe that ships


@given(
    st.recursive(
        st.text("ab*&[]{}:- 1.e", max_size=6), lambda inner: st.lists(inner, max_size=3), max_leaves=9
    )
)
@settings(max_examples=60, deadline=None)
def test_what_pyyaml_writes_is_read_back(value: object) -> None:
    assert parse_yaml(yaml.safe_dump(value, default_style='"')) == value


@pytest.mark.parametrize(
    "make", [lambda: "a: [", lambda: "\tb", lambda: "!!python/name:os.system", lambda: "a: \x07"]
)
def test_what_is_not_yaml_is_a_value_error(make: Callable[[], str]) -> None:
    with pytest.raises(ValueError):
        parse_yaml(make())
