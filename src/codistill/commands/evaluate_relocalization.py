"""`codistill evaluate relocalization --head DIR|--model FILE|--baseline NAME|--submission ZIP --data SPEC`."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codistill.commands.evaluation_output import METRICS, PER_IMAGE, print_scores
from codistill.commands.head_options import ImageProgress, make_runtime
from codistill.commands.parsers.evaluate_relocalization import parse
from codistill.commands.parsers.two_view_options import robust_config
from codistill.commands.two_view_options import data_of
from codistill.errors import ConfigError
from codistill.files.writing import make_directory
from codistill.imaging.marks import match_picture
from codistill.imaging.pictures import as_picture, below, save_picture
from codistill.metrics.mapfree_submission import SubmissionScores, score_submission, write_submission
from codistill.tasks.shared.data import parse_spec
from codistill.tasks.shared.record import write_metrics
from codistill.tasks.two_view.head import open_two_view
from codistill.tasks.two_view.layouts import KINDS, open_pairs
from codistill.tasks.two_view.pairs import Pair, PairData, check_pairs, limited_pairs
from codistill.tasks.two_view.predict import SOLVERS, TwoViewPredictor
from codistill.tasks.two_view.relocalize.baselines import (
    TrainingMotion,
    baseline,
    sift_matches,
    training_motion,
)
from codistill.tasks.two_view.relocalize.evaluate import (
    Method,
    RelocalizationResult,
    evaluate_pairs,
    examples,
    head_method,
)
from codistill.tasks.two_view.relocalize.mapfree import mapfree_queries, predict_mapfree
from codistill.tasks.two_view.relocalize.score import VIRTUAL_SIZE, by_overlap, intervals, plain

_SCALE_WITHOUT_TRAINING = 1.0


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = parse(argv)
    kind, root = parse_spec(data_of(arguments), KINDS)
    split = arguments.split or ("val" if kind == "mapfree" else "test")
    command = ["evaluate", "relocalization", *argv]
    if arguments.submission is not None:
        if kind != "mapfree":
            raise ConfigError("--submission belongs to Map-free data: --data mapfree:ROOT")
        return _score_zip(root / split, arguments.submission, arguments.out, {}, command)
    if kind == "mapfree":
        mapfree_queries(root / split)
        data: PairData | None = None
    else:
        data = limited_pairs(open_pairs(arguments.data, split), arguments.limit)
        check_pairs(data, f"{arguments.data} ({split})", depth=False)
    runtime = make_runtime(arguments, arguments.out, [])
    motion = _motion(arguments, kind)
    method, about, predictor = _method(arguments, motion, runtime.device)
    make_directory(arguments.out)
    if data is None:
        with ImageProgress(f"locating queries of {root / split}") as progress:
            poses = predict_mapfree(root / split, method, limit=arguments.limit, progress=progress)
        submission = arguments.out / "submission.zip"
        write_submission(submission, poses)
        print(f"wrote {submission}")
        return _score_zip(root / split, submission, arguments.out, about, command)
    with ImageProgress(f"locating pairs of {arguments.data} ({split})") as progress:
        result = evaluate_pairs(method, data, progress)
    _write(arguments, data, split, result, about, motion, command)
    if _pictures(arguments, data, predictor):
        print(f"wrote {arguments.out / 'matches.png'}")
    return 0


def _motion(arguments: argparse.Namespace, kind: str) -> TrainingMotion | None:
    """Motion of the training pairs where a baseline needs it."""
    if arguments.baseline in (None, "none"):
        return None
    if kind == "mapfree" and arguments.baseline in ("sift", "loftr"):
        unknown = np.zeros(3)
        return TrainingMotion(unknown, unknown, _SCALE_WITHOUT_TRAINING, 0)
    return training_motion(open_pairs(arguments.data, "train"))


def _method(
    arguments: argparse.Namespace, motion: TrainingMotion | None, device: torch.device
) -> tuple[Method, dict[str, Any], TwoViewPredictor | None]:
    """What to score, what a metrics file says of it, and the model if there is one."""
    if arguments.baseline:
        nothing = TrainingMotion(np.zeros(3), np.zeros(3), 0.0, 0)
        robust = asdict(robust_config(arguments))
        about: dict[str, Any] = {"baseline": arguments.baseline}
        if arguments.baseline in ("sift", "loftr"):
            about["robust"] = {name: value for name, value in robust.items() if name != "pnp"}
        return baseline(arguments.baseline, motion or nothing, device, robust_config(arguments)), about, None
    opened = open_two_view(
        arguments.head, arguments.model, arguments.encoder, other_encoder=arguments.other_encoder
    )
    predictor = TwoViewPredictor(
        opened,
        subsample=8 if arguments.subsample is None else arguments.subsample,
        long_edge=arguments.long_edge,
    ).to(device)
    solver = arguments.solver or SOLVERS[0]
    about = {
        **opened.about,
        "solver": solver,
        "robust": asdict(robust_config(arguments)),
        "threshold": arguments.threshold,
        "long_edge": predictor.long_edge,
    }
    method = head_method(predictor, solver, arguments.threshold, robust_config(arguments))
    return method, about, predictor


def _write(
    arguments: argparse.Namespace,
    data: PairData,
    split: str,
    result: RelocalizationResult,
    about: dict[str, Any],
    motion: TrainingMotion | None,
    command: list[str],
) -> None:
    """Print the scores; write metrics.json and per_image.npz."""
    errors, out = result.errors, arguments.out
    scores, bins = intervals(errors), by_overlap(errors)
    print_scores(f"{_title(about)} on {arguments.data} ({split})", scores, errors.groups, "pairs")
    for name, values in bins.items():
        parts = [f"{key} {values[key]}" for key in ("vcre_precision_90", "vcre_auc_90", "median_rotation")]
        print(f"overlap {name} ({values['estimated'].count} pairs): {', '.join(parts)}")
    numbers = {
        "task": "relocalization",
        "unit": "shares in [0, 1] (precision, AUC, estimated), pixels of the virtual camera, metres, degrees",
        "interval": errors.groups.about("pairs"),
        "virtual_camera": {"width": VIRTUAL_SIZE[0], "height": VIRTUAL_SIZE[1], "focal": 590},
        "data": arguments.data,
        "split": split,
        "images": len(data),
        "method": about,
        "scores": plain(scores),
        "by_overlap": {name: plain(values) for name, values in bins.items()},
    }
    if motion is not None:
        numbers["training_motion"] = {
            "length": motion.length,
            "translation": motion.translation.tolist(),
            "rotation_vector": motion.rotation_vector.tolist(),
            "pairs": motion.pairs,
        }
    np.savez_compressed(
        out / PER_IMAGE,
        names=np.array(errors.names),
        groups=np.array(errors.groups.names),
        overlap=errors.overlap,
        translation=errors.translation,
        rotation=errors.rotation,
        vcre=errors.vcre,
        confidence=errors.confidence,
        poses=result.poses,
    )
    write_metrics(out / METRICS, numbers, command)
    print(f"wrote {out}: {METRICS}, {PER_IMAGE}")


def _title(about: dict[str, Any]) -> str:
    return str(about.get("baseline") or about.get("encoder"))


def _pictures(arguments: argparse.Namespace, data: PairData, predictor: TwoViewPredictor | None) -> bool:
    """matches.png; whether there was something to draw."""
    pairs = examples(data, arguments.pictures)
    if not pairs or (predictor is None and arguments.baseline != "sift"):
        return False
    rows = [_drawn(pair, predictor) for pair in pairs]
    picture = below(*rows, gap=6)
    save_picture(as_picture(picture, picture.shape[:2]), arguments.out / "matches.png")
    return True


def _drawn(pair: Pair, predictor: TwoViewPredictor | None) -> np.ndarray:
    images = pair.first.image, pair.second.image
    if predictor is None:
        return match_picture(*images, *sift_matches(*images))
    matches = predictor.match(predictor(*images))
    return match_picture(*images, matches.pixels_a, matches.pixels_b)


def _score_zip(
    split: Path, submission: Path, out: Path, about: dict[str, Any], command: Sequence[str]
) -> int:
    """Score a Map-free submission as the benchmark does, print it, write metrics.json."""
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
        "task": "relocalization",
        "benchmark": "map-free, single frame",
        "data": str(split),
        "submission": str(submission),
        "images": scores.frames,
        "method": about,
        "published_names": _plain(published),
        "scores": {name: _plain(value) for name, value in asdict(scores).items()},
        "warnings": len(result.warnings),
    }
    write_metrics(out / METRICS, numbers, command)
    print(f"wrote {out / METRICS}")
    return 0


def _plain(value: Any) -> Any:
    """Numbers as JSON has them: keys are text, what is not finite is null."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else f"{key:g}": _plain(item) for key, item in value.items()}
    return value if np.isfinite(value) else None
