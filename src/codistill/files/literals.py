"""Read literal values from a module's source, without importing it: importing PyTorch alone takes seconds.

A command's parser lists kinds, recipes and defaults that are defined beside their classes. The sources are parsed, not
run (a few milliseconds each).
"""

import ast
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def parsed(file: str) -> ast.Module:
    """Syntax tree of a file of this package, given by its path below `codistill/`."""
    return ast.parse(files("codistill").joinpath(file).read_text(encoding="utf-8"))


def parsed_module(module: str) -> ast.Module:
    """Syntax tree of a module or package within this package, given by its dotted name."""
    place = module.partition(".")[2].replace(".", "/")
    package = files("codistill").joinpath(place)
    return parsed(f"{place}/__init__.py" if package.is_dir() else f"{place}.py")


def literal(module: str, path: str) -> Any:
    """Read a literal of a module: a plain value, or the keys of a dictionary whose values are not plain.

    Args:
        module: `codistill.tasks.dense.depth.fit`.
        path: `NAME` in the module, `CLASS.FIELD`, or `NAME.KEYWORD` of the call that creates NAME.

    Raises:
        LookupError: if there is no such literal.
    """
    body = parsed_module(module).body
    name, _, inner = path.partition(".")
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name == name and inner:
            return _plain(_assigned(node.body, inner, path))
    value = _assigned(body, name, path)
    if not inner:
        return _plain(value)
    for keyword in value.keywords if isinstance(value, ast.Call) else ():
        if keyword.arg == inner:
            return _plain(keyword.value)
    raise LookupError(f"{module}: {path} is not written there")


def _assigned(body: list[ast.stmt], name: str, path: str) -> ast.expr:
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            assert isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
            return node.value
    raise LookupError(f"{path} is not written there")


def _plain(value: ast.expr) -> Any:
    if isinstance(value, ast.Dict):
        return tuple(ast.literal_eval(key) for key in value.keys if key is not None)
    return ast.literal_eval(value)
