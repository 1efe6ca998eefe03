"""Load an encoder and heads that the user named: all heads share one encoder in memory.

The head.json of a fitted head says on which encoder it was fitted. Another encoder is refused, with both names in the
error. A released file does not say it; this is logged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from codistill.encoders.base import Encoder
from codistill.errors import ConfigError
from codistill.files.plain import from_plain
from codistill.nn.seeded import fp32_by_default
from codistill.perception.config import HeadConfig
from codistill.student.load import load_student
from codistill.student.student import Student
from codistill.tasks.registry import find_task, task_names
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures, Source, load_features_encoder
from codistill.tasks.shared.head_files import HeadRecord, read_record
from codistill.tasks.task import NoOptions, Sight, Subject, Task
from codistill.weights.known import find_known
from codistill.weights.shipped import find_shipped, named_head

TAKEN = ("image", "features", "preprocess", "encode", "draw")
"""What a scene draws besides the answers of heads, and its other stages of time."""


@dataclass(frozen=True, kw_only=True)
class HeadFacts:
    """Description of a head.

    Attributes:
        task: its task.
        about: a description in one line.
        trained_on: its training data; "" where a released file does not say it.
        licence: licence of the encoder on which it was fitted, as its folder says; "" for a released file.
        parameters: number of parameters of the head and its projector.
        projector: the student's projector whose tokens it reads; None for the encoder's own tokens.
        size: pixels of an image's longer side at which it was fitted.
        path: path of the folder or file.
    """

    task: str
    about: str
    trained_on: str
    licence: str
    parameters: int
    projector: str | None
    size: int
    path: str


@dataclass(frozen=True)
class OpenHead:
    """A head on the shared encoder."""

    name: str
    sight: Sight
    model: Any
    facts: HeadFacts

    @property
    def features(self) -> FrozenFeatures:
        return self.model.features

    def __reduce__(self) -> tuple[Any, ...]:
        # A function without a name, as some sights have, cannot be pickled: the task's name stands for all of them.
        return _of_task, (self.name, self.model, self.facts)


def _of_task(name: str, model: Any, facts: HeadFacts) -> OpenHead:
    sight = find_task(facts.task).sight
    assert sight is not None
    return OpenHead(name, sight, model, facts)


@dataclass(frozen=True)
class Opened:
    """An encoder in memory with its heads.

    Attributes:
        named: name of the encoder, as the user gave it.
        source: the encoder, or the student with its projectors.
        heads: heads by name.
    """

    named: str
    source: Source
    heads: dict[str, OpenHead]

    @property
    def encoder(self) -> Encoder:
        return self.source.encoder if isinstance(self.source, Student) else self.source


def open_heads(encoder: str | Path | Source | None, given: Mapping[str, HeadConfig]) -> Opened:
    """Load the encoder once, and every head on it.

    Args:
        encoder: what `load_encoder` takes, or an encoder in memory; None: that on which the first fitted head was
            trained.
        given: heads by name.

    Raises:
        ConfigError: if an encoder or task is not named, or a head was fitted on another encoder.
        CheckpointError: if something cannot be read.
    """
    for name in given:
        if not name.replace("-", "_").isidentifier():
            raise ConfigError(f"a head's name must be a word (letters, digits, - and _); got {name!r}")
        if name in TAKEN:
            raise ConfigError(
                f"a head cannot be called {name!r}, which a scene itself has: give it another name"
            )
    given = {name: _of_model(name, head) for name, head in given.items()}
    records = {name: _record(head) for name, head in given.items()}
    if isinstance(encoder, (Encoder, Student)):
        source, named = encoder, (encoder.encoder if isinstance(encoder, Student) else encoder).spec.name
    else:
        named = _named(encoder, records)
        projected = any(
            head.projector or (record is not None and record.features.projector)
            for head, record in zip(given.values(), records.values(), strict=True)
        )
        source = load_student(named) if projected else load_features_encoder(named)
    heads = {name: _open(name, head, records[name], named, source) for name, head in given.items()}
    return Opened(named, source, heads)


def _of_model(name: str, head: HeadConfig) -> HeadConfig:
    """Replace a path that names a shipped model by the folder of the model's head for the task."""
    path, task = Path(head.path).expanduser(), head.task or name
    if path.exists() or find_known(head.path) is not None:
        return head
    if task in task_names():
        return replace(head, path=str(named_head(path, task)))
    if find_shipped(head.path) is not None:
        raise ConfigError(
            f"{name}: {head.path} is a model with heads for several tasks: name one of them (`task:`, or as the head's "
            f"name), such as depth; got {task!r}"
        )
    return head


def _record(head: HeadConfig) -> HeadRecord | None:
    """The record of a head's folder; None for a released file."""
    path = Path(head.path).expanduser()
    released = path.is_file() or (not path.exists() and find_known(head.path) is not None)
    return None if released else read_record(path)


def _named(encoder: str | Path | None, records: Mapping[str, HeadRecord | None]) -> str:
    if encoder is not None:
        return str(encoder)
    for record in records.values():
        if record is not None:
            return record.features.encoder
    raise ConfigError(
        "which encoder? Released files do not say what they stand on: name one (--encoder E, or `encoder:` in the YAML)"
    )


def _task(name: str, head: HeadConfig, record: HeadRecord | None) -> Task:
    able = [task for task in task_names() if find_task(task).sight is not None]
    named = head.task or (record.task if record is not None else name)
    if record is not None and named != record.task:
        raise ConfigError(f"{head.path}: is a head for {record.task}, not for {named}")
    if named not in task_names():
        raise ConfigError(
            f"{name}: {head.path} does not say what it is for: name its task (`task:`), one of {', '.join(able)}"
        )
    task = find_task(named)
    if task.sight is None:
        raise ConfigError(
            f"{name}: heads for {named} do not answer from shared tokens; those that do: {', '.join(able)}"
        )
    return task


def _features(head: HeadConfig, record: HeadRecord | None, task: Task, named: str) -> FeatureConfig:
    """The tokens that the head reads: from its record or the task's first recipe, with the user's choices."""
    recipe = next(iter(task.recipes.values()), None)
    start = record.features if record is not None else FeatureConfig() if recipe is None else recipe.features
    chosen: dict[str, Any] = {"encoder": named}
    if head.projector is not None:
        chosen |= {"projector": head.projector, "denormalize": head.denormalize, "blocks": (-1,)}
    elif head.denormalize:
        raise ConfigError(f"{head.path}: denormalize needs a projector: name the teacher (`projector:`)")
    if head.norm is not None:
        chosen["norm"] = head.norm
    if head.blocks is not None:
        chosen["blocks"] = head.blocks
    return replace(start, **chosen)


def _open(name: str, head: HeadConfig, record: HeadRecord | None, named: str, source: Source) -> OpenHead:
    task = _task(name, head, record)
    sight = task.sight
    assert sight is not None
    options = from_plain(sight.options, head.options, f"heads.{name}.options")
    subject = Subject(
        head=Path(head.path),
        features=_features(head, record, task, named),
        other_encoder=head.other_encoder,
        source=source,
    )
    chosen = None if isinstance(options, NoOptions) else options
    try:
        with fp32_by_default():
            model = sight.load(subject, chosen) if sight.load else task.load(subject, chosen, None)
    except ConfigError as error:
        raise ConfigError(f"head {name!r}: {error}") from error
    facts = HeadFacts(
        task=task.name,
        about=task.about,
        trained_on="" if record is None else record.data.spec,
        licence="" if record is None else record.encoder.licence,
        parameters=_parameters(model),
        projector=model.features.config.projector,
        size=sight.size(model),
        path=str(head.path),
    )
    return OpenHead(name, sight, model, facts)


def _parameters(model: Any) -> int:
    """Number of parameters of the head and its projector, without the encoder."""
    head = getattr(model, "head", None)
    counted = [] if not isinstance(head, nn.Module) else [head]
    features = model.features
    if features.student is not None:
        counted.append(features.student.projectors[features.config.projector])
    own = sum(tensor.numel() for tensor in getattr(model, "tensors", {}).values())
    return own + sum(parameter.numel() for module in counted for parameter in module.parameters())
