"""Flags for config fields that map names to numbers: `--distill.loss.weights cosine 1 smooth_l1 0.5`."""

from collections.abc import Mapping
from typing import Annotated, Any, get_origin

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

MAPPINGS = ConstructorRegistry()
"""Rule of `tyro.cli` for mappings: one flag takes the whole mapping, instead of one flag for each default name."""


def _mapping(texts: list[str]) -> dict[str, float]:
    names, numbers = texts[::2], texts[1::2]
    if len(names) != len(numbers):
        raise ValueError(f"write NAME NUMBER for each; {names[-1]} has no number")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{twice[0]} is given twice")
    return {name: float(number) for name, number in zip(names, numbers, strict=True)}


_PAIRS = PrimitiveConstructorSpec[Mapping[str, float]](
    nargs="*",
    metavar="[NAME NUMBER ...]",
    instance_from_str=_mapping,
    is_instance=lambda value: isinstance(value, Mapping),
    str_from_instance=lambda mapping: [text for name in mapping for text in (name, str(mapping[name]))],
)


@MAPPINGS.primitive_rule
def _in_union(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Mapping[str, float]] | None:
    return _PAIRS if get_origin(info.type) is Mapping else None


@MAPPINGS.struct_rule
def _alone(info: StructTypeInfo) -> StructConstructorSpec | None:
    if get_origin(info.type) is not Mapping or info.in_union_context or not isinstance(info.default, Mapping):
        return None
    one_flag: Any = Annotated[Mapping[str, float], _PAIRS, tyro.conf.arg(name="")]
    field = StructFieldSpec(name="mapping", type=one_flag, default=info.default)
    return StructConstructorSpec(instantiate=lambda mapping: mapping, fields=(field,))
