"""What evaluations of heads share: their options, the head that is given or fitted now, and what to score it on."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from codistill.commands.evaluation_output import read_per_image
from codistill.commands.head_options import head_features, make_runtime
from codistill.commands.parsers.head_options import needed_data
from codistill.errors import StoppedError
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.head_files import HeadRecord, is_head, read_record

Config = TypeVar("Config")
Data = TypeVar("Data")


@dataclass(frozen=True)
class EvaluatedHead:
    """A head and what to score it on.

    Attributes:
        path: of a head's folder, or of a released file.
        record: what head.json says; None for a released file.
        spec, split: of the data.
        features: to put in place of the head's own; None for those.
    """

    path: Path
    record: HeadRecord | None
    spec: str
    split: str
    features: FeatureConfig | None

    def out(self, given: Path | None, name: str = "evaluation") -> Path:
        """Folder of the results: as given, else in the head's folder, or in one named after a released file."""
        return given or (self.path if self.record else self.path.with_suffix("")) / name

    @property
    def fit(self) -> dict[str, Any]:
        """How it was fitted, for a metrics file."""
        return self.record.fit if self.record else {"released": str(self.path)}


def default_split(spec: str) -> str:
    """What is scored if nothing else is asked for."""
    return "test" if spec.startswith("world:") else "val"


def head_to_evaluate(
    arguments: argparse.Namespace,
    argv: list[str],
    task: str,
    config_of: Callable[[argparse.Namespace], Config],
    fit: Callable[[Config, Runtime], bool],
    norm: bool,
    open_data: Callable[[str, str], Data],
) -> tuple[EvaluatedHead, Data]:
    """The head to score, the one given or one fitted now in OUT/head, and what to score it on.

    Everything is opened before a fit begins: hours of fitting end with an evaluation.

    Args:
        arguments, argv: what was typed, parsed and not.
        task: as in `codistill evaluate TASK`.
        config_of, fit: of the task's fit.
        norm: the task's default for the encoder's final norm.
        open_data: a spec and a split to the samples to score, checked.

    Raises:
        ConfigError: if nothing was named.
        StoppedError: if the fit was asked to stop.
        CheckpointError: if there is no such head.
        DataError: if the data cannot be used, or there is no evaluation to compare with.
    """
    if arguments.against is not None:
        read_per_image(arguments.against, "names")
    record, path = None, Path(arguments.head) if arguments.head else None
    config = config_of(arguments) if path is None else None
    if path is not None and (is_head(path) or not path.is_file()):
        record = read_record(path, task)
    spec = arguments.data or (record.data["spec"] if record else needed_data(arguments))
    split = arguments.split or default_split(spec)
    features = head_features(arguments, norm, task=task) if path is not None else None
    data = open_data(spec, split)
    if config is not None:
        path = arguments.out / "head"
        if not fit(config, make_runtime(arguments, path, ["evaluate", task, *argv])):
            raise StoppedError(f"the fit in {path} was stopped before its end: the same command goes on")
        record = read_record(path, task)
    assert path is not None
    return EvaluatedHead(path, record, spec, split, features), data
