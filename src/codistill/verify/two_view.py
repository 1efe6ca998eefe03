"""Numerical checks of the two-view models and their metrics against recorded numbers of published implementations.

In: recorded inputs, random weights and outputs. Out: one `CheckResult` per recorded quantity: network outputs of MASt3R
and DUNE-MASt3R, losses, matches, Map-free scores, key listings. Sizes, names and heads are read from the files.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from codistill.encoders.base import Encoder
from codistill.encoders.load import vit_from_weights
from codistill.heads.two_view.listing import dune_mast3r_listing, mast3r_listing
from codistill.heads.two_view.load import read_two_view
from codistill.heads.two_view.network import TwoViewHead, ViewPrediction
from codistill.imaging.normalize import imagenet_normalize_
from codistill.metrics.mapfree_submission import score_submission
from codistill.nn.vit import ViTConfig
from codistill.verify.check import CheckResult, compare_numbers, compare_tensors, failed, judged
from codistill.verify.suite import Part
from codistill.verify.two_view_losses import POINTS, check_losses, check_matching
from codistill.weights.layout_mast3r import read_mast3r
from codistill.weights.layouts import read_encoder_weights
from codistill.weights.read import read_checkpoint
from codistill.weights.state import StateDict
from codistill.weights.stated import Stated

FORWARD_TOLERANCE = 5e-6
SCORE_TOLERANCE = 1e-6


@torch.inference_mode()
def check_mast3r(weights: Path, forward: Path) -> Iterator[CheckResult]:
    """Check both views' outputs of a MASt3R with its own encoder."""
    encoder = vit_from_weights(read_encoder_weights(weights))
    head = read_two_view(weights, read_checkpoint(weights)).build()

    def predict(image1: Tensor, image2: Tensor) -> tuple[ViewPrediction, ViewPrediction]:
        return head(encoder.encode(image1, norm=True), encoder.encode(image2, norm=True))

    yield from _compare_forward(forward, predict)


@torch.inference_mode()
def check_dune_mast3r(weights: Path, encoder_file: Path, forward: Path) -> Iterator[CheckResult]:
    """Check both views' outputs of the same decoder on a DUNE encoder; recorded images are in [-1, 1]."""
    encoder: Encoder = vit_from_weights(read_encoder_weights(encoder_file))
    head: TwoViewHead = read_two_view(weights, read_checkpoint(weights)).build()

    def predict(image1: Tensor, image2: Tensor) -> tuple[ViewPrediction, ViewPrediction]:
        tokens = [encoder(imagenet_normalize_(image * 0.5 + 0.5), norm=False) for image in (image1, image2)]
        return head(tokens[0], tokens[1])

    yield from _compare_forward(forward, predict)


def _compare_forward(
    forward: Path, predict: Callable[[Tensor, Tensor], tuple[ViewPrediction, ViewPrediction]]
) -> Iterator[CheckResult]:
    recorded = load_file(forward)
    for pair in sorted(name.removesuffix("/image1") for name in recorded if name.endswith("/image1")):
        predictions = predict(recorded[f"{pair}/image1"], recorded[f"{pair}/image2"])
        for view, prediction in enumerate(predictions, start=1):
            outputs = {
                POINTS[view]: prediction.points,
                "conf": prediction.confidence,
                "desc": prediction.descriptors,
                "desc_conf": prediction.descriptor_confidence,
            }
            start = f"{pair}/view{view}/"
            for name in sorted(name for name in recorded if name.startswith(start)):
                title = f"{forward.stem}: {name}"
                got = outputs.get(name.removeprefix(start))
                if got is None:
                    yield failed(title, FORWARD_TOLERANCE, "the network gives no such output")
                else:
                    yield compare_tensors(title, got, recorded[name], FORWARD_TOLERANCE)


def check_mapfree(folder: Path) -> Iterator[CheckResult]:
    """Check the scores that the benchmark's own code gives to a recorded submission, at every recorded threshold."""
    expected = json.loads((folder / "expected.json").read_text())
    thresholds = {key: float(found[1]) for key in expected if (found := re.search(r"([\d.]+)px$", key))}
    splits = [path.parent.parent for path in sorted(folder.glob("*/*/poses.txt"))]
    if not splits:
        yield failed(folder.name, SCORE_TOLERANCE, "no scene (SPLIT/SCENE/poses.txt) in it")
        return
    scores = score_submission(splits[0], folder / "submission.zip", tuple(thresholds.values())).scores
    for key, threshold in thresholds.items():
        published = scores.as_published(threshold)
        for name, value in expected[key].items():
            title = f"{folder.name}: {threshold:g} px/{name}"
            yield compare_numbers(title, published.get(name, float("nan")), value, SCORE_TOLERANCE)


def check_listing(path: Path) -> Iterator[CheckResult]:
    """Check keys and shapes at full size: all are read, and the architecture read from them implies exactly these."""
    listing = {name: tuple(shape) for name, shape in json.loads(path.read_text()).items()}
    model = {name: torch.empty(shape, device="meta") for name, shape in listing.items()}
    weights = read_two_view(path, {"model": model})
    if weights.layout == "dune-mast3r":
        implied = dune_mast3r_listing(weights.config)
        listing = {name: shape for name, shape in listing.items() if not name.startswith("imagenet_")}
    else:
        state = StateDict.of_checkpoint(path, {"model": model})
        encoder = read_mast3r(state, Stated()).config
        assert isinstance(encoder, ViTConfig)
        implied = mast3r_listing(weights.config, encoder)
    wrong = sorted(name for name in listing.keys() | implied.keys() if listing.get(name) != implied.get(name))
    title = f"{path.stem}: {len(listing)} keys and shapes"
    yield judged(title, len(wrong) / len(listing), 0.0, f"differ: {', '.join(wrong[:5])}")


PARTS = (
    Part("MASt3R", ("mast3r_*_released_layout.pth", "mast3r_*_forward.safetensors"), check_mast3r),
    Part(
        "DUNE-MASt3R",
        (
            "dunemast3r_*_released_layout.pth",
            "dunemast3r_*_encoder.safetensors",
            "dunemast3r_*_forward.safetensors",
        ),
        check_dune_mast3r,
    ),
    Part("two-view losses", ("mast3r_loss_inputs.safetensors", "mast3r_loss_expected.json"), check_losses),
    Part("matching", ("reciprocal_matching.safetensors",), check_matching),
    Part("Map-free", ("mapfree_mini",), check_mapfree),
    Part("MASt3R listing", ("keys_mast3r_*.json",), check_listing),
)
