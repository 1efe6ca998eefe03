"""`codistill evaluate TASK`: scores with intervals, comparisons, pictures. Without a head, one is fitted first."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from codistill.commands.config_flags import with_flags
from codistill.commands.dispatch import refuse_several, run
from codistill.commands.parsers.evaluate import OWN, parse
from codistill.commands.parsers.task_options import Asked
from codistill.commands.progress_bar import SampleProgress
from codistill.commands.task_config import make_runtime, resolve_fit, typed_features
from codistill.engine.distributed import Process, start_process
from codistill.errors import CodistillError, ConfigError, StoppedError
from codistill.files.config import dump_yaml
from codistill.files.writing import check_writable
from codistill.metrics.interval import Interval
from codistill.tasks.evaluation import (
    METRICS,
    Evaluation,
    check_comparable,
    compare,
    evaluate,
    write_evaluation,
)
from codistill.tasks.layout import TaskData
from codistill.tasks.opening import fit_task, open_data, scored_split
from codistill.tasks.registry import find_task
from codistill.tasks.shared.head_files import HeadRecord, is_head, read_record
from codistill.tasks.shared.score_table import read_stored
from codistill.tasks.shared.scored_head import HEAD_SHA256, head_sha256
from codistill.tasks.task import Subject, Task


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The model to score, and the data.

    Attributes:
        subject: a head, a model, an encoder or a baseline.
        record: content of its head.json; None where there is none.
        spec, split: layout and folder of the data, and the split.
        why: the reason for this split, where none was named.
        out: folder of the results.
    """

    subject: Subject
    record: HeadRecord | None
    spec: str
    split: str
    why: str
    out: Path


def main(argv: list[str]) -> int:
    if argv and argv[0] in OWN:
        refuse_several(f"evaluate {argv[0]}")
        return run(f"{OWN[argv[0]][0]}:main", argv[1:])
    asked = parse(argv)
    task = find_task(asked.task.name)
    test = with_flags(task.test(), asked.flags.testing, f"codistill evaluate {task.name}")
    if asked.own.print_config:
        config = resolve_fit(task, asked, asked.own.data) if _fits(task, asked) else None
        print(dump_yaml({"fit": config, "test": test} if config is not None else {"test": test}), end="")
        return 0
    with start_process(asked.own.device) as process:
        _run(task, asked, test, ["evaluate", *argv], process)
    return 0


def _run(task: Task, asked: Asked, test: Any, command: list[str], process: Process) -> None:
    own = asked.own
    if own.pictures and not task.shown:
        raise ConfigError(f"--pictures would have no effect: {task.name} draws none")
    if own.against is not None:
        read_stored(own.against)
    plan = _planned(task, asked)
    check_writable(plan.out)
    if own.against is not None and plan.out.resolve() == own.against.resolve():
        raise ConfigError(
            f"the results would replace those in {own.against}, with which they are compared: name another folder "
            "(--out OUT)"
        )

    def say(text: str) -> None:
        if process.is_main:
            print(text, file=sys.stderr)

    if plan.why:
        say(f"scoring the split {plan.split} ({plan.why}); --split names another")
    data = open_data(task, plan.spec, plan.split, partial=own.partial, limit=own.limit, say=say)
    if own.against is not None:
        check_comparable(data, own.against)
    if _fits(task, asked):
        plan = _fitted(task, asked, plan, command, process)
    if not process.is_main:  # only one process scores
        return
    runtime = make_runtime(own, plan.out, command, process)
    model = task.load(plan.subject, test, data)
    model.to(runtime.device)
    scored = {HEAD_SHA256: head_sha256(plan.subject.head)} if plan.record and plan.subject.head else {}
    with SampleProgress(f"scoring {data.spec} ({data.split})") as progress:
        found = evaluate(
            task,
            task.score(model, data, test, runtime),
            data,
            test,
            pictures=6 if own.pictures is None else own.pictures,
            progress=progress,
        )
    about: dict[str, Any] = {**model.describe(), **scored}
    if plan.subject.baseline is not None:
        about["baseline"] = plan.subject.baseline
    if plan.subject.other_encoder:
        about["other_encoder"] = True
    about.setdefault("fit", plan.record.fit if plan.record else {})
    problem: CodistillError | None = None
    if own.against is not None:
        try:
            about["comparison"] = compare(task, found, own.against, own.score, own.margin)
        except CodistillError as error:
            problem = error
    files = write_evaluation(plan.out, task, found, data, test, about, command)
    if problem is not None:  # hours of scoring must not be lost because of it
        text = str(problem).rstrip(".")
        raise type(problem)(f"{text}. The evaluation itself is in {plan.out}") from problem
    if own.json:
        print((plan.out / METRICS).read_text(encoding="utf-8"), end="")
        return
    _print(task, found, data, about)
    print(f"wrote {plan.out}: {', '.join(files)}")


def _fits(task: Task, asked: Asked) -> bool:
    """Whether a head is fitted first."""
    own = asked.own
    return task.fit is not None and own.head is None and own.model is None and own.baseline is None


def _planned(task: Task, asked: Asked) -> Plan:
    """The plan for the arguments; a head that must be fitted first will be in OUT/head."""
    own, record = asked.own, None
    head = own.head
    if head is not None and (is_head(head) or not head.is_file()):
        record = read_record(head, task.heads or task.name)
    features = typed_features(task, head, asked.flags.features)
    spec = own.data or (record.data.spec if record else "")
    subject = Subject(
        head=head,
        model=own.model,
        features=features,
        baseline=own.baseline,
        other_encoder=own.other_encoder,
    )
    split, why = (own.split, "") if own.split or not spec else scored_split(task, spec)
    name = "-".join(filter(None, ("evaluation", task.name if task.heads else "", own.baseline)))
    beside = Path() if head is None else head if record else head.with_suffix("")
    return Plan(subject=subject, record=record, spec=spec, split=split, why=why, out=own.out or beside / name)


def _fitted(task: Task, asked: Asked, plan: Plan, command: list[str], process: Process) -> Plan:
    """Fit the head; returns the plan with it."""
    head = asked.own.out / "head"
    config = resolve_fit(task, asked, plan.spec)
    if not fit_task(task, config, make_runtime(asked.own, head, command, process), process):
        raise StoppedError(f"the fit in {head} was stopped before its end: the same command resumes")
    record = process.on_main(lambda: read_record(head, task.name))
    return replace(plan, subject=Subject(head=head), record=record)


def _print(task: Task, found: Evaluation, data: TaskData, about: Mapping[str, Any]) -> None:
    """Print a table of scores with intervals, the task's summary, and the comparison."""
    first = next(iter(found.scores.values()))
    groups = found.table.groups
    caption = f"intervals resample {first.groups} groups: {groups.kind}"
    encoder = about.get("encoder") or {}
    named = about.get("baseline") or (encoder.get("encoder") if isinstance(encoder, Mapping) else encoder)
    print(
        f"{named} on {data.spec} ({data.split}, {len(found.table)} {task.samples})"
    )  # not in the table, which would wrap it
    table = Table()
    for column in ("score", "value", "95 % interval"):
        table.add_column(column)
    columns = task.columns_of(found.table)
    for name, interval in found.scores.items():
        column = columns[name]
        table.add_row(
            f"{column.title} {'↑' if column.higher else '↓'}",
            f"{interval.mean:.{column.digits}f}",
            interval.limits(column.digits, between=" to "),
        )
    Console().print(table)
    print(caption)
    if groups.warning():
        print(groups.warning())
    for line in found.summary.lines:
        print(line)
    if "comparison" in about:
        _print_comparison(about["comparison"])


def _print_comparison(found: Mapping[str, Any]) -> None:
    difference = found["difference"]
    shown = "no number" if difference["mean"] is None else Interval(**difference)
    line = f"{found['score']}: this minus {found['against']}: {shown}; {found['verdict']}"
    if "margin" in found:
        equal = "equal" if found["equal_within_margin"] else "not shown to be equal"
        line += f"; {equal} within ±{found['margin']:g}"
    print(line)
