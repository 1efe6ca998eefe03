"""`codistill predict TASK IMAGE… --head HEAD --out DIR`: a head's predictions for your own images."""

from collections.abc import Sequence
from pathlib import Path

from codistill.commands.parsers.predict import parse
from codistill.commands.predicting import find_images, run_predictions
from codistill.commands.task_config import make_runtime, with_features, with_flags
from codistill.errors import ConfigError
from codistill.tasks.registry import find_task
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.head_files import is_head, read_record
from codistill.tasks.task import Subject, Task


def main(argv: list[str]) -> int:
    asked = parse(argv)
    own = asked.own
    task = find_task(asked.task.name)
    if task.predict is None:
        raise ConfigError(f"{task.name} has no predictions of single images")
    images = find_images(own.images)
    options = with_flags(task.predict.options(), asked.flags.testing, f"codistill predict {task.name}")
    features = _features(task, own.head, asked.flags.features) if asked.flags.features else None
    subject = Subject(head=own.head, model=own.model, features=features, other_encoder=own.other_encoder)
    model = task.load(subject, options, None)
    model.to(make_runtime(own, own.out, []).device)
    run = task.predict.run
    return run_predictions(
        images,
        own.out,
        lambda pixels, image: run(model, pixels, image, options, own.out),
        as_json=own.json,
    )


def _features(task: Task, head: Path | None, flags: Sequence[str]) -> FeatureConfig:
    """The given features, over those that the head was fitted on, else over the task's default."""
    first = next(iter(task.recipes.values()), None)
    usual = first.features if first is not None else FeatureConfig()
    before = read_record(head, task.name).features if head is not None and is_head(head) else usual
    return with_features(before, flags)
