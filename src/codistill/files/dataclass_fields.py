"""Read the fields of dataclasses and the values of tables from their source code, without importing anything.

In: `MODULE:CLASS`. Out: its fields by dotted path, with type, default and description. The modules of configs import
PyTorch, which takes seconds. With the sources alone, mistyped options and `--help` are answered in tens of
milliseconds.
"""

import ast
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

from codistill.errors import ConfigError
from codistill.files.literals import parsed_module

_ENTRY = re.compile(r"^ {4}(?: {4})?(\w[\w, ]*): (.*)$")


@dataclass(frozen=True)
class FieldText:
    """A field as its source code defines it.

    Attributes:
        path: dotted path, starting from the class that was asked for.
        kind: its type.
        default: its default; "" if there is none, or a default factory.
        about: its description in the class's docstring.
    """

    path: str
    kind: str
    default: str
    about: str

    @property
    def flag(self) -> str:
        """Its command-line flag, e.g. `--optim.weight-decay`."""
        return "--" + self.path.replace("_", "-")


@cache
def fields_of(where: str) -> Mapping[str, FieldText]:
    """Find the fields of a dataclass that hold values, including those of nested dataclasses, by dotted path.

    Args:
        where: `MODULE:CLASS` of this package.

    Raises:
        LookupError: if there is no such class.
    """
    return {field.path: field for field in _walk(where, "")}


def _walk(where: str, prefix: str) -> Iterator[FieldText]:
    for name, (module, annotation, default, about) in _own_fields(where).items():
        path = f"{prefix}.{name}" if prefix else name
        nested = _dataclass_in(module, annotation)
        if nested is None:
            yield FieldText(path, _type(module, annotation), _default(module, default), about)
            continue
        given = _given(default)
        for field in _walk(nested, path):
            value = given.get(field.path.removeprefix(f"{path}."))
            yield field if value is None else replace(field, default=_default(module, value))


Own = dict[str, tuple[str, ast.expr, ast.expr | None, str]]
"""Module, type, default and description by name."""


def _own_fields(where: str) -> Own:
    """Fields of a class and its bases, without those of nested classes. A derived class overrides its bases."""
    module, name = where.split(":")
    node = _definition(module, name)
    if not isinstance(node, ast.ClassDef):
        raise LookupError(f"{where} is no class")
    fields: Own = {}
    for base in node.bases:
        found = resolved(module, base.id) if isinstance(base, ast.Name) else None
        if found is not None and is_dataclass(found):
            fields |= _own_fields(found)
    told = attributes_of(ast.get_docstring(node) or "")
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            if "ClassVar" in ast.unparse(line.annotation):
                continue
            field = line.target.id
            about = told.get(field) or (fields[field][3] if field in fields else "")
            fields[field] = (module, line.annotation, line.value, about)
    return fields


def attributes_of(docstring: str) -> dict[str, str]:
    """Read the descriptions in the section `Attributes:` of a docstring, by name."""
    _, found, section = docstring.partition("Attributes:\n")
    told: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines() if found else ():
        entry = _ENTRY.match(line)
        if entry and not line.startswith(" " * 8):
            names = [name.strip() for name in entry[1].split(",")]
            told |= dict.fromkeys(names, entry[2].strip())
        elif line.startswith(" " * 8):
            told |= {name: f"{told[name]} {line.strip()}" for name in names}
        elif line.strip():
            break
    return told


def _definition(module: str, name: str) -> ast.stmt | None:
    """Find the statement that defines or imports a name in a module."""
    for node in parsed_module(module).body:
        targets: list[ast.expr] = []
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return node
        if isinstance(node, ast.ImportFrom) and any((a.asname or a.name) == name for a in node.names):
            return node
    return None


@cache
def resolved(module: str, name: str) -> str | None:
    """Find the definition of a name that a module uses, as `MODULE:NAME`; None if it lies outside of this package."""
    node = _definition(module, name)
    if node is None:
        return None
    if not isinstance(node, ast.ImportFrom):
        return f"{module}:{name}"
    if node.module is None or not node.module.startswith("codistill"):
        return None
    original = next(a.name for a in node.names if (a.asname or a.name) == name)
    return resolved(node.module, original)


def is_dataclass(where: str) -> bool:
    """Whether `MODULE:NAME` is a class with the dataclass decorator."""
    node = _definition(*where.split(":"))
    return isinstance(node, ast.ClassDef) and any("dataclass" in ast.unparse(d) for d in node.decorator_list)


def _dataclass_in(module: str, annotation: ast.expr) -> str | None:
    """The dataclass in a type annotation, alone, optional or in a tuple."""
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name):
            found = resolved(module, node.id)
            if found is not None and is_dataclass(found):
                return found
    return None


def _given(value: ast.expr | None) -> dict[str, ast.expr]:
    """Arguments of the call that makes the default of a nested config."""
    for node in ast.walk(value) if value is not None else ():
        if isinstance(node, ast.Lambda):
            node = node.body
        if isinstance(node, ast.Call) and ast.unparse(node.func) != "field":
            return {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    return {}


def _type(module: str, annotation: ast.expr) -> str:
    """A type as text; an alias of a choice is written out."""
    value = value_of(module, annotation.id) if isinstance(annotation, ast.Name) else None
    return ast.unparse(annotation if value is None else value)


def _default(module: str, value: ast.expr | None) -> str:
    if isinstance(value, ast.Call):  # field(default=…)
        value = next((keyword.value for keyword in value.keywords if keyword.arg == "default"), None)
    if isinstance(value, ast.Name):
        found = value_of(module, value.id)
        return ast.unparse(found) if found is not None else value.id
    return "" if value is None else ast.unparse(value)


def value_of(module: str, name: str) -> ast.expr | None:
    """The value of a name that a module defines or imports; None if it lies outside of this package."""
    where = resolved(module, name)
    node = _definition(*where.split(":")) if where else None
    return node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None


def keywords_of(where: str) -> dict[str, tuple[str, ast.expr]]:
    """Keyword arguments of the call that creates `MODULE:NAME`, each with the module in which its names are defined.

    For `replace(OTHER, …)`, the keyword arguments of OTHER are included.

    Raises:
        LookupError: if it is not created by a call.
    """
    module, name = where.split(":")
    value = value_of(module, name)
    if not isinstance(value, ast.Call):
        raise LookupError(f"{where} is not made by a call")
    of_other: dict[str, tuple[str, ast.expr]] = {}
    if ast.unparse(value.func) == "replace" and isinstance(value.args[0], ast.Name):
        other = resolved(module, value.args[0].id)
        of_other = {} if other is None else keywords_of(other)
    return of_other | {keyword.arg: (module, keyword.value) for keyword in value.keywords if keyword.arg}


def names_in(module: str, value: ast.expr | None) -> tuple[str, ...] | None:
    """Keys of a dictionary, which is given literally or by its name; None if they cannot be read."""
    if isinstance(value, ast.Name):
        where = resolved(module, value.id)
        return None if where is None else names_in(where.split(":")[0], value_of(module, value.id))
    if not isinstance(value, ast.Dict):
        return None
    keys = [key.value if isinstance(key, ast.Constant) else None for key in value.keys]
    return None if None in keys else tuple(map(str, keys))


def path_of_flag(flag: str) -> str:
    """The path that a flag names: `engine.total_steps` for `--engine.total-steps=3`, `norm` for `--no-norm`."""
    parts = flag[2:].split("=", 1)[0].replace("-", "_").split(".")
    parts[-1] = parts[-1].removeprefix("no_")
    return ".".join(parts)


def check_flags(
    flags: list[str], known: Mapping[str, FieldText], hint: str, others: Iterable[str] = ()
) -> None:
    """Refuse flags that name no field. Numbers in a path (`--sources.0.path`) are indices of a list.

    Args:
        flags: from the command line.
        known: fields by path.
        hint: where all fields are listed.
        others: flags of the command itself, which are also suggested.

    Raises:
        ConfigError: for the first unknown flag; names the nearest known ones.
    """
    for flag in flags:
        path = re.sub(r"\.\d+\b", "", path_of_flag(flag))
        if path not in known:
            name = flag.split("=", 1)[0]
            all_flags = sorted({*others, *(field.flag for field in known.values())})
            near = _near(name, all_flags)
            meant = f" Did you mean {' or '.join(near)}?" if near else ""
            raise ConfigError(f"Unknown option {name[:100]}.{meant} {hint}")


def _near(flag: str, known: Iterable[str]) -> list[str]:
    """Find at most three flags that resemble this one, the nearest first.

    A flag also resembles this one if its last part does (`--lr`, `--optim.lr`). The leading dashes are not compared:
    they would make short names similar.
    """

    def alike(one: str, other: str) -> float:
        return difflib.SequenceMatcher(None, one, other).ratio()

    def score(other: str) -> float:
        last = alike(flag.removeprefix("--").split(".")[-1], other.removeprefix("--").split(".")[-1])
        return max(alike(flag.removeprefix("--"), other.removeprefix("--")), last if last >= 0.8 else 0.0)

    scores = {other: score(other) for other in known}
    near = [other for other in scores if scores[other] >= 0.6]
    return sorted(near, key=lambda other: -scores[other])[:3]
