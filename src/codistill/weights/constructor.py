"""Read the constructor text that MASt3R and DUSt3R files contain instead of a configuration.

In: text such as `AsymmetricMASt3R(enc_depth=24, depth_mode=('exp', -inf, inf))`. Out: the name and arguments as plain
values. The text is parsed, never evaluated. The name `inf` is accepted, although it is not a Python literal.
"""

import ast
import math
from dataclasses import dataclass
from typing import Any

from codistill.errors import CheckpointError

MAX_LENGTH = 20_000
_NAMES = {"inf": math.inf, "nan": math.nan}


@dataclass(frozen=True)
class Constructor:
    """A constructor call as plain data: the class name, and its keyword arguments."""

    name: str
    arguments: dict[str, Any]


def parse_constructor(text: str, where: str = "args.model") -> Constructor:
    """Parse the name and keyword arguments of one constructor call.

    Args:
        text: e.g. `Net(a=1, b=('exp', -inf, inf), c=[1.5, None], d='x')`.
        where: origin of the text, for errors, e.g. the file and the entry.

    Raises:
        CheckpointError: if the text is anything but one call with literal keyword arguments.
    """
    shown = text if len(text) <= 80 else text[:77] + "..."
    if len(text) > MAX_LENGTH:
        raise CheckpointError(f"{where}: the constructor text is {len(text):,} characters long: {shown!r}")
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if (
            not isinstance(call, ast.Call)
            or not isinstance(call.func, (ast.Name, ast.Attribute))
            or call.args
        ):
            raise ValueError("it is not one call with keyword arguments")
        name = call.func.id if isinstance(call.func, ast.Name) else call.func.attr
        arguments = {_key(keyword): _value(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        reason = str(error) or type(error).__name__
        raise CheckpointError(
            f"{where}: cannot read the constructor text {shown!r}: {reason}. Expected NAME(key=literal, ...)."
        ) from error
    return Constructor(name, arguments)


def _key(keyword: ast.keyword) -> str:
    if keyword.arg is None:
        raise ValueError("it holds a ** argument")
    return keyword.arg


def _value(node: ast.expr) -> Any:
    """Value of a literal, a container of literals, or a signed number, including `inf` and `nan`."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in _NAMES:
            return _NAMES[name]
        case ast.Call(func=ast.Name(id="float"), args=[ast.Constant(value=str(text))], keywords=[]):
            return float(text)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            number = _value(operand)
            if not isinstance(number, (int, float)):
                raise ValueError(f"a sign before {number!r}")
            return -number if isinstance(sign, ast.USub) else number
        case ast.Tuple(elts=parts):
            return tuple(_value(part) for part in parts)
        case ast.List(elts=parts):
            return [_value(part) for part in parts]
        case ast.Dict(keys=keys, values=values):
            if None in keys:
                raise ValueError("it holds a ** entry")
            return {_value(k): _value(v) for k, v in zip(keys, values, strict=True) if k is not None}
    raise ValueError(f"{ast.unparse(node)!r} is no literal")
