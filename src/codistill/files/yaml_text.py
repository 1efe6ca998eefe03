"""Parse YAML text to plain values, at a cost limited by its length.

Scalars follow YAML 1.2: `3e-4` is a number, `no` is text, `12:30` is text. Nothing is evaluated. An alias (`*a`) is a
copy of its target, so a few hundred bytes can expand to billions of values; these are counted before any is built.
"""

import re
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.constructor import ConstructorError, SafeConstructor
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import Resolver
from yaml.scanner import Scanner

MAX_CHARACTERS = 1 << 20
MAX_VALUES = 100_000
MAX_DEPTH = 50

FLOAT = re.compile(r"^[-+]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|\.inf)$|^\.nan$")
RESOLVERS = (
    ("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|)$"), ["~", "n", ""]),
    ("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf")),
    ("tag:yaml.org,2002:int", re.compile(r"^[-+]?\d+$"), list("-+0123456789")),
    ("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789")),
)
"""Tag, pattern and first characters of scalars that are not text unless quoted: the core schema of YAML 1.2."""


class _PythonParser(Reader, Scanner, Parser):
    """PyYAML's parser in Python, where it was installed without libyaml."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)


_libyaml: Any = yaml.cyaml if yaml.__with_libyaml__ else None
_Parser: Any = _PythonParser if _libyaml is None else _libyaml.CParser
"""Text to events: libyaml's is ten times faster. Its own composer has no limit on nesting; `Composer` comes first."""


class _Loader(Composer, _Parser, SafeConstructor, Resolver):
    """PyYAML's safe loader with YAML 1.2's core scalars, no repeated keys, and a limit on nesting while parsing."""

    depth = 0

    def __init__(self, text: str) -> None:
        _Parser.__init__(self, text)
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        Resolver.__init__(self)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH + 1:  # before the parser's recursion limit, which is slow
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(None, None, f"nested deeper than {MAX_DEPTH} levels", mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in RESOLVERS:
    _Loader.add_implicit_resolver(_tag, _pattern, _first)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConstructorError(None, None, "a key must be one word", key_node.start_mark)
        key = loader.construct_object(key_node)
        if key in result:
            raise ConstructorError(None, None, f"the key {str(key)[:60]!r} twice", key_node.start_mark)
        result[key] = loader.construct_object(value_node, deep=True)
    return result


# Only these: PyYAML's own constructors of dates, sets and binary fail in their own ways on malformed text.
_Loader.yaml_constructors = {
    "tag:yaml.org,2002:null": lambda loader, node: None,
    "tag:yaml.org,2002:bool": lambda loader, node: node.value == "true",
    "tag:yaml.org,2002:int": lambda loader, node: int(node.value),
    "tag:yaml.org,2002:float": lambda loader, node: float(
        node.value.replace(".inf", "inf").replace(".nan", "nan")
    ),
    "tag:yaml.org,2002:str": SafeConstructor.construct_scalar,
    "tag:yaml.org,2002:seq": lambda loader, node: [loader.construct_object(n, deep=True) for n in node.value],
    "tag:yaml.org,2002:map": _mapping,
    None: SafeConstructor.construct_undefined,
}


def parse_yaml(text: str) -> Any:
    """Parse a YAML text to dicts, lists, text, numbers, truth values and None.

    Raises:
        ValueError: if it is not YAML, or exceeds this module's limits on length, depth or values (with aliases
            expanded); names the line, if known.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"it is {len(text):,} characters long; at most {MAX_CHARACTERS:,} are read")
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                return None
            _measure(root, {})
            return loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        _show_lines(error, text)
        raise ValueError(str(error)) from error


def _show_lines(error: yaml.YAMLError, text: str) -> None:
    """Add the lines of the text to an error's message, as PyYAML's own parser does."""
    if isinstance(error, yaml.MarkedYAMLError):
        for name in ("context_mark", "problem_mark"):
            mark = getattr(error, name)
            if mark is not None:
                shown = yaml.Mark(mark.name, mark.index, mark.line, mark.column, text + "\0", mark.index)
                setattr(error, name, shown)


def _measure(node: yaml.Node, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """Number of values in a node with aliases expanded, and their nesting depth. Each node is visited once.

    Args:
        node: a parsed value.
        known: results for nodes seen before, by identity; None while a node is being measured.
    """
    if isinstance(node, yaml.ScalarNode):
        return 1, 0
    line = f"line {node.start_mark.line + 1}"
    if id(node) in known:
        seen = known[id(node)]
        if seen is None:
            raise ValueError(f"an alias contains itself ({line})")
        return seen
    known[id(node)] = None
    values, levels = 1, 1
    for part in node.value:
        for child in part if isinstance(part, tuple) else (part,):  # the parts of a mapping are pairs
            found = _measure(child, known)
            values, levels = values + found[0], max(levels, found[1] + 1)
    if values > MAX_VALUES:
        raise ValueError(
            f"it expands to more than {MAX_VALUES:,} values ({line}); write fewer, or fewer aliases"
        )
    if levels > MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels ({line})")
    known[id(node)] = values, levels
    return values, levels
