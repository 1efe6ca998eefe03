"""Numerical checks of the human-mesh head and its metrics against recorded numbers of published implementations.

In: recorded inputs, random weights and outputs. Out: one `CheckResult` per recorded quantity: outputs of
Multi-HMR at given cells, and the person-matching and mesh metrics. Sizes and names are read from the files.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from codistill.encoders.load import vit_from_weights
from codistill.geometry.rotations import rotation_vector
from codistill.heads.human_mesh.cells import PersonCells, score_from_logits, suppress_neighbours
from codistill.heads.human_mesh.load import read_human_mesh
from codistill.heads.human_mesh.prediction import HumanMeshOutput
from codistill.metrics.human_mesh import (
    DetectionScores,
    PersonMatching,
    aligned_point_error,
    match_people,
    mean_point_error,
    relative_to,
)
from codistill.verify.check import CheckResult, compare_numbers, compare_tensors, failed
from codistill.verify.suite import Part
from codistill.weights.layouts import read_encoder_weights
from codistill.weights.read import read_checkpoint

FORWARD_TOLERANCE = 5e-6
ROTATION_TOLERANCE = 1e-4
"""Tolerance of rotations; larger, because Gram-Schmidt amplifies rounding."""
METRIC_TOLERANCE = 5e-6

Recorded = dict[str, Tensor]


@torch.inference_mode()
def check_network(weights: Path, forward: Path) -> Iterator[CheckResult]:
    """Check the outputs of a Multi-HMR at the recorded cells of people."""
    recorded = load_file(forward)
    head = read_human_mesh(weights, read_checkpoint(weights)).build()
    # Recorded networks whose width is not a multiple of 64 have 32 channels per head; released ones have 64.
    dim = head.config.encoder_dim
    num_heads = None if dim % 64 == 0 else dim // 32
    encoder = vit_from_weights(read_encoder_weights(weights, num_heads=num_heads))
    intrinsics = recorded["K"].clone()
    intrinsics[:, :2, 2] -= (
        0.5  # published pixel coordinates start at the image's corner, codistill's at the first pixel's centre
    )
    cells = PersonCells.of(*(recorded[f"person_{name}"] for name in ("image_index", "row", "col")))
    outputs = published_outputs(head(encoder.encode(recorded["image"], norm=True), intrinsics, cells))
    for name in sorted(recorded):
        if not name.startswith(("out/", "scores_after_nms")):
            continue
        tolerance = ROTATION_TOLERANCE if name in ("out/rotmat", "out/rotvec") else FORWARD_TOLERANCE
        title = f"{forward.stem}: {name}"
        if name in outputs:
            yield compare_tensors(title, outputs[name], recorded[name], tolerance)
        else:
            yield failed(title, tolerance, "the network gives no such output")


def published_outputs(output: HumanMeshOutput) -> Recorded:
    """Convert codistill's prediction to the published names and shapes."""
    people, scores = output.people, score_from_logits(output.score_logits)
    return {
        "out/scores": scores[..., None],
        "scores_after_nms_3x3": suppress_neighbours(scores, 3)[:, None],
        "out/offset": people.offset,
        "out/loc": people.location + 0.5,
        "out/dist": people.depth[:, None],
        "out/dist_postprocessed": people.encoded_depth[:, None],
        "out/pose6d_before_gram_schmidt": people.pose_6d.flatten(1),
        "out/rotmat": people.rotmat,
        "out/rotvec": rotation_vector(people.rotmat),
        "out/shape": people.shape,
        "out/expression": people.expression,
        "out/transl": people.head,
    }


def check_metrics(inputs: Path, expected_file: Path) -> Iterator[CheckResult]:
    """Check matched pairs and their order (exactly), detection scores, errors of every match and their means."""
    recorded, expected = load_file(inputs), json.loads(expected_file.read_text())
    stem = expected_file.stem
    matchings: list[PersonMatching] = []
    errors: list[Tensor] = []
    aligned: list[Tensor] = []
    for image, wanted in enumerate(expected["images"]):
        sides = ("pred", "gt")
        matching = match_people(*(recorded[f"{image}/{side}_keypoints2d"] for side in sides))
        matchings.append(matching)
        found = {
            "matches_pred_gt": [list(pair) for pair in matching.pairs],
            "false_positives": list(matching.false_positives),
            "misses": list(matching.misses),
        }
        for name, value in wanted.items():
            yield _equal(f"{stem}: image {image}/{name}", found.get(name), value)
        predicted, truth = (recorded[f"{image}/{side}_vertices"] for side in sides)
        pairs = torch.tensor(matching.pairs, dtype=torch.int64).reshape(-1, 2)
        predicted, truth = predicted[pairs[:, 0]], truth[pairs[:, 1]]
        # The recorded bodies are centred on their first vertex instead of the pelvis.
        predicted, truth = (relative_to(points, points[:, 0]) for points in (predicted, truth))
        errors.append(mean_point_error(predicted, truth))
        aligned.append(aligned_point_error(predicted, truth))
    scores = DetectionScores.of(matchings)
    counts = {"persons": scores.persons, "misses": scores.misses, "false_positives": scores.false_positives}
    for name, value in (counts | scores.as_published()).items():
        yield compare_numbers(f"{stem}: {name}", value, expected[name], 1e-12)
    for name, values in (("pve_mm", torch.cat(errors)), ("pa_pve_mm", torch.cat(aligned))):
        each = torch.tensor(expected[f"{name}_per_match"], dtype=torch.float64)
        yield compare_tensors(f"{stem}: {name}_per_match", values, each, METRIC_TOLERANCE)
        mean = float(values.double().mean())
        yield compare_numbers(f"{stem}: {name}", mean, expected[name], METRIC_TOLERANCE)


def _equal(name: str, got: Any, expected: Any) -> CheckResult:
    if got == expected:
        return CheckResult(name=name, difference=0.0, tolerance=0.0)
    return failed(name, 0.0, f"got {got}, expected {expected}")


PARTS = (
    Part("Multi-HMR", ("multihmr_*_released_layout.pt", "multihmr_*_forward.safetensors"), check_network),
    Part("people metrics", ("hmr_metrics_inputs.safetensors", "hmr_metrics_expected.json"), check_metrics),
)
