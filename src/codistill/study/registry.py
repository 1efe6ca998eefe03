"""Find a `StudyConfig` by a shipped name, as a YAML file, or as `file.py:NAME`, and replace its variables."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from codistill.errors import ConfigError
from codistill.files.config import load_yaml
from codistill.files.named_config import find_config
from codistill.files.plain import from_plain, to_plain
from codistill.study.config import StudyConfig
from codistill.study.variables import given, refuse_unused, replaced

SHIPPED = "shipped"


def shipped_studies() -> dict[str, StudyConfig]:
    """The studies that come with codistill, by name."""
    folder = files("codistill.study").joinpath(SHIPPED)
    found = sorted((path for path in folder.iterdir() if path.name.endswith(".yaml")), key=lambda p: p.name)
    return {path.name.removesuffix(".yaml"): load_yaml(StudyConfig, Path(str(path))) for path in found}


def find_study(what: str, settings: Sequence[str] = ()) -> StudyConfig:
    """Find a study by a shipped name, as a YAML file, or as `file.py:NAME`.

    Args:
        what: its name or file.
        settings: values of variables, each as `NAME=VALUE`.

    Raises:
        ConfigError: if there is no such study, it names something that does not exist, or a set variable is unused.
    """
    study = find_config(what, shipped_studies(), StudyConfig, kind="study")
    asked = given(settings, study.variables)
    variables = {**study.variables, **asked}
    plain: dict[str, Any] = to_plain(replace(study, variables=variables))
    try:
        refuse_unused(asked, plain, variables)
        return from_plain(StudyConfig, replaced(plain, variables))
    except ConfigError as error:
        raise ConfigError(f"study {study.name!r}: {error}") from error
