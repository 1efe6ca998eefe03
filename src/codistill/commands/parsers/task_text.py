"""Read a task from its source, without importing it: a name in, its config, options and layouts out.

Tasks of other packages are imported (`added_tasks.py`).
"""

import ast
import importlib
from collections.abc import Mapping
from dataclasses import dataclass

from codistill.errors import ConfigError, unknown_name
from codistill.files.added import TASKS, added
from codistill.files.dataclass_fields import FieldText, fields_of, keywords_of, names_in, resolved, value_of

REGISTRY = "codistill.tasks.registry"


@dataclass(frozen=True, kw_only=True)
class TaskText:
    """Description of a task; None for what its source does not show.

    Attributes:
        name, about: name and description of the task.
        fitting: fields of its config; empty where nothing is fitted.
        testing, output: fields of its test options, and of its options for predictions.
        layouts, recipes, baselines: names of each.
        on_head: the baselines that replace a part of a head's answer.
        writes: the files that predictions write; "" where there are none.
        heads: the task whose heads it scores; "" for its own.
        features: fields of `FeatureConfig` that may be chosen; () for all.
        draws: whether its samples are shown as pictures.
    """

    name: str
    about: str = ""
    fitting: Mapping[str, FieldText] | None = None
    testing: Mapping[str, FieldText] | None = None
    output: Mapping[str, FieldText] | None = None
    layouts: tuple[str, ...] | None = None
    recipes: tuple[str, ...] | None = None
    baselines: tuple[str, ...] | None = None
    on_head: tuple[str, ...] = ()
    writes: str = ""
    heads: str = ""
    features: tuple[str, ...] = ()
    draws: bool = True

    @property
    def no_fit(self) -> str:
        """Text that says why nothing can be fitted, and what to do; "" if a head can be fitted."""
        if self.fitting is None or self.fitting:
            return ""
        if self.heads:
            return f"nothing is fitted for {self.name}: it scores heads of `codistill fit {self.heads}`"
        return f"nothing is fitted for {self.name}: codistill evaluate {self.name} --encoder E scores it"


def task_places() -> dict[str, str]:
    """`MODULE:NAME` of this package's tasks."""
    table = value_of(REGISTRY, "TASKS")
    assert table is not None
    return ast.literal_eval(table)


def added_names() -> list[str]:
    """Names of tasks that installed packages add."""
    return [*added(TASKS, task_places())]


def read_task(name: str) -> TaskText:
    """The `TaskText` of a task.

    Raises:
        ConfigError: if there is no such task.
    """
    places = task_places()
    if name not in places:
        if name not in added_names():
            raise ConfigError(unknown_name("task", name, [*places, *added_names()]))
        return importlib.import_module("codistill.commands.parsers.added_tasks").read_added(name)
    told = keywords_of(places[name])
    words = {word: value for word, (_, value) in told.items()}
    modules = {word: module for word, (module, _) in told.items()}
    prediction = words.get("predict")
    shown = {k.arg: k.value for k in prediction.keywords} if isinstance(prediction, ast.Call) else {}
    config = words.get("config")
    return TaskText(
        name=name,
        about=_text(words.get("about")),
        fitting=_fields(modules["config"], config) if config is not None else {},
        testing=_fields(modules.get("test", ""), words.get("test")),
        output=_fields(modules["predict"], shown.get("options")) if shown else {},
        layouts=names_in(modules.get("layouts", ""), words.get("layouts")),
        recipes=names_in(modules.get("recipes", ""), words.get("recipes")) if config is not None else (),
        baselines=names_in(modules["baselines"], words["baselines"]) if "baselines" in words else (),
        on_head=_names(words.get("on_head")),
        writes=_text(shown.get("writes")),
        heads=_text(words.get("heads")),
        features=_names(words.get("features")),
        draws=not _is_empty(words.get("shown")),
    )


def _text(value: ast.expr | None) -> str:
    return str(value.value) if isinstance(value, ast.Constant) else ""


def _is_empty(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Tuple) and not value.elts


def _names(value: ast.expr | None) -> tuple[str, ...]:
    return () if value is None else ast.literal_eval(value)


def _fields(module: str, name: ast.expr | None) -> Mapping[str, FieldText] | None:
    where = resolved(module, name.id) if isinstance(name, ast.Name) else None
    return None if where is None else fields_of(where)
