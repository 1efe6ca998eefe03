"""Read tasks of installed packages as `TaskText`, by importing them.

The import takes seconds because of PyTorch. Help and refused options are the same as for the tasks of this package.
"""

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any, get_type_hints

from codistill.commands.parsers.task_text import TaskText
from codistill.files.dataclass_fields import FieldText, attributes_of
from codistill.tasks.registry import find_task


def read_added(name: str) -> TaskText:
    """The `TaskText` of an installed package's task.

    Raises:
        ConfigError: if it cannot be imported.
    """
    task = find_task(name)
    prediction = task.predict
    return TaskText(
        name=name,
        about=task.about,
        fitting={} if task.config is None else fields_of_class(task.config),
        testing=fields_of_class(task.test),
        output={} if prediction is None else fields_of_class(prediction.options),
        layouts=tuple(task.layouts),
        recipes=tuple(task.recipes),
        baselines=tuple(task.baselines),
        on_head=task.on_head,
        heads=task.heads,
        features=task.features,
        writes="" if prediction is None else prediction.writes,
        draws=bool(task.shown),
    )


def fields_of_class(cls: type) -> dict[str, FieldText]:
    """Fields of a dataclass that hold values, including those of nested dataclasses, by dotted path."""
    return {field.path: field for field in _walk(cls, "", None)}


def _walk(cls: type, prefix: str, given: Any) -> Iterator[FieldText]:
    hints, told = get_type_hints(cls), {}
    for base in reversed(cls.__mro__):
        told |= attributes_of(inspect.cleandoc(base.__doc__ or ""))
    for field in dataclasses.fields(cls):
        path = f"{prefix}{field.name}"
        default = _default(field) if given is None else getattr(given, field.name)
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            yield from _walk(hint, f"{path}.", None if default is dataclasses.MISSING else default)
            continue
        kind = hint.__name__ if type(hint) is type else str(hint).replace("typing.", "")
        shown = "" if default is dataclasses.MISSING else repr(default)
        yield FieldText(path, kind, shown, told.get(field.name, ""))


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
