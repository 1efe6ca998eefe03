"""`codistill evaluate mapfree`: localize Map-free's queries, and score the submission as the benchmark does.

Scenes whose poses are withheld (the test split) give a submission alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from codistill.commands.config_flags import with_flags
from codistill.commands.parsers.evaluate_mapfree import parse
from codistill.commands.progress_bar import SampleProgress
from codistill.commands.task_config import make_runtime, typed_features
from codistill.files.plain import to_plain
from codistill.files.writing import make_directory
from codistill.metrics.mapfree_submission import (
    SubmissionScores,
    knows_queries,
    score_submission,
    write_submission,
)
from codistill.tasks.evaluation import METRICS
from codistill.tasks.shared.head_files import is_head
from codistill.tasks.shared.record import write_metrics
from codistill.tasks.shared.scored_head import HEAD_SHA256, head_sha256
from codistill.tasks.task import Subject
from codistill.tasks.two_view.relocalize.mapfree import mapfree_queries, predict_mapfree
from codistill.tasks.two_view.relocalize.model import open_locator
from codistill.tasks.two_view.relocalize.task import TASK


def main(argv: list[str]) -> int:
    asked = parse(argv)
    own, command = asked.own, ["evaluate", "mapfree", *argv]
    split = own.data.expanduser() / own.split
    if own.submission is not None:
        return _score_zip(split, own.submission, own.out, {}, command)
    test = with_flags(TASK.test(), asked.flags.testing, "codistill evaluate mapfree")
    mapfree_queries(split)
    subject = Subject(
        head=own.head,
        model=own.model,
        baseline=own.baseline,
        features=typed_features(TASK, own.head, asked.flags.features),
        other_encoder=own.other_encoder,
    )
    model = open_locator(subject, test, f"mapfree:{own.data}")
    model.to(make_runtime(own, own.out, command).device)
    make_directory(own.out)
    with SampleProgress(f"locating queries of {split}") as progress:
        poses = predict_mapfree(split, model.locate, limit=own.limit, progress=progress)
    submission = own.out / "submission.zip"
    write_submission(submission, poses)
    print(f"wrote {submission}")
    if not knows_queries(split):
        print(f"not scored: {split} withholds the poses of its queries; the benchmark scores the submission")
        return 0
    about = {**model.describe(), "test": to_plain(test)}
    if own.head is not None and is_head(own.head):
        about[HEAD_SHA256] = head_sha256(own.head)
    if own.baseline is not None:
        about["baseline"] = own.baseline
    return _score_zip(split, submission, own.out, about, command)


def _score_zip(
    split: Path, submission: Path, out: Path, about: Mapping[str, Any], command: Sequence[str]
) -> int:
    """Score a submission as the benchmark does, print the scores, and write metrics.json."""
    result: SubmissionScores = score_submission(split, submission)
    scores = result.scores
    published = scores.as_published(90.0) | scores.as_published(45.0)
    width = max(map(len, published))
    print(f"{submission} on {split}: {len(result.scenes)} scenes, {scores.frames} frames")
    for name, value in published.items():
        print(f"  {name:<{width}}  {value:.6f}")
    for warning in result.warnings[:10]:
        print(f"  warning: {warning}")
    if len(result.warnings) > 10:
        print(f"  … and {len(result.warnings) - 10} more warnings")
    numbers = {
        "task": "mapfree",
        "benchmark": "map-free, single frame",
        "data": str(split),
        "submission": str(submission),
        "images": scores.frames,
        **about,
        "published_names": _plain(published),
        "scores": {name: _plain(value) for name, value in asdict(scores).items()},
        "warnings": len(result.warnings),
    }
    write_metrics(out / METRICS, numbers, command)
    print(f"wrote {out / METRICS}")
    return 0


def _plain(value: Any) -> Any:
    """Convert to JSON values: keys become text, numbers that are not finite become null."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else f"{key:g}": _plain(item) for key, item in value.items()}
    return value if np.isfinite(value) else None
