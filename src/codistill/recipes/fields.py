"""Dotted paths of a recipe's fields, without importing the classes that have them: those need PyTorch, for seconds.

The classes' sources are parsed instead (some tens of milliseconds), so that a mistyped option is told at once.
"""

import ast
import difflib
import re
from collections.abc import Iterator
from functools import cache

from codistill.errors import ConfigError
from codistill.files.literals import parsed

SECTIONS = {
    "": ("recipes/recipe.py", "Recipe"),
    "student": ("recipes/recipe.py", "StudentConfig"),
    "student.projector": ("student/projectors.py", "ProjectorConfig"),
    "teachers": ("teachers/teacher.py", "TeacherConfig"),
    "sources": ("data/source.py", "SourceConfig"),
    "validation": ("data/source.py", "SourceConfig"),
    "world": ("world/build.py", "WorldConfig"),
    "mix": ("data/mixing.py", "MixConfig"),
    "augment": ("data/augment/config.py", "AugmentConfig"),
    "loader": ("data/loader_config.py", "LoaderConfig"),
    "distill": ("distill/objective.py", "DistillConfig"),
    "distill.sharing": ("distill/sharing.py", "SharingConfig"),
    "distill.dropping": ("distill/dropping.py", "DroppingConfig"),
    "distill.loss": ("distill/losses.py", "LossConfig"),
    "distill.targets": ("distill/targets.py", "TargetConfig"),
    "optim": ("engine/optim.py", "OptimConfig"),
    "engine": ("engine/settings.py", "EngineConfig"),
}
"""Where each part of a recipe is defined: file and class."""


@cache
def field_paths() -> frozenset[str]:
    """Dotted paths of all fields that hold values: `image_size`, `engine.total_steps`, `teachers.weight`."""
    return frozenset(path for section in SECTIONS for path in _of_section(section) if path not in SECTIONS)


def _of_section(section: str) -> Iterator[str]:
    file, name = SECTIONS[section]
    for node in parsed(file).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            for line in node.body:
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                    yield f"{section}.{line.target.id}" if section else line.target.id


def path_of_flag(flag: str) -> str:
    """The path that a command-line flag names: `engine.total_steps` of `--engine.total-steps=3`."""
    path = flag[2:].split("=", 1)[0].replace("-", "_")
    return path.replace(".no_", ".")


def check_flags(flags: list[str]) -> None:
    """Refuse flags of no field.

    Raises:
        ConfigError: for the first, with the nearest known ones.
    """
    known = field_paths()
    for flag in flags:
        path = re.sub(r"\.\d+\b", "", path_of_flag(flag))
        if path not in known:
            name, options = flag.split("=", 1)[0], ["--" + name.replace("_", "-") for name in known]
            near = difflib.get_close_matches(name, sorted(options), n=3, cutoff=0.5)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise ConfigError(f"Unknown option {name[:100]}.{hint} --help-fields lists them all.")
