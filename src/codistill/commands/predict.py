"""`codistill predict TASK IMAGE… --head HEAD --out DIR`: a head's predictions for your own images.

Results are named by image and task (`a.depth.png`), so that several tasks can write into one folder.
"""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from codistill.commands.config_flags import with_flags
from codistill.commands.parsers.predict import parse
from codistill.commands.predicting import check_results, find_images, run_predictions, say_shipped
from codistill.commands.task_config import make_runtime, typed_features
from codistill.errors import ConfigError
from codistill.perception.config import FILE, read_config
from codistill.tasks.registry import find_task
from codistill.tasks.task import Subject


def main(argv: list[str]) -> int:
    asked = parse(argv)
    own = asked.own
    task = find_task(asked.task.name)
    if task.predict is None:
        raise ConfigError(f"{task.name} has no predictions of single images")
    if own.unnamed:
        say_shipped(own.head.parent.parent.name, "--head")
    images = [replace(image, name=f"{image.name}.{task.name}") for image in find_images(own.images)]
    check_results(images, [image.within(own.out, ".png") for image in images])
    options = _as_in_its_model(task.predict.options(), own.head)
    options = with_flags(options, asked.flags.testing, f"codistill predict {task.name}")
    features = typed_features(task, own.head, asked.flags.features)
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


def _as_in_its_model(options: Any, head: Path | None) -> Any:
    """The options from the perception.yaml of the head's model, so that `see` and `predict` give the same results."""
    config = head.parent.parent / FILE if head is not None else None
    if head is None or config is None or not config.is_file():
        return options
    heads = read_config(config).heads.values()  # heads are given by path, or by the name of another model
    chosen = [one.options for one in heads if Path(one.path).exists() and Path(one.path).samefile(head)]
    known = {field.name for field in fields(options)}
    return replace(options, **{name: value for name, value in (chosen or [{}])[0].items() if name in known})
