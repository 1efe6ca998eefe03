"""`codistill depth IMAGE… --head HEAD --out DIR`: depth as a picture (PNG) and as an array in metres (.npy)."""

from pathlib import Path

import numpy as np

from codistill.commands.head_options import head_features, make_runtime
from codistill.commands.parsers.depth import parse
from codistill.commands.predicting import ImageFile, Predicted, find_images, run_predictions, save_array
from codistill.imaging.colours import depth_picture, depth_range, overlay
from codistill.imaging.legends import depth_bar
from codistill.imaging.pictures import as_picture, below, save_picture
from codistill.tasks.dense.depth.data import PROTOCOLS
from codistill.tasks.dense.depth.predict import DepthEstimator, load_depth_estimator

BAR_WIDTH = 240
"""Pixels at least, for small images."""


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = parse(argv)
    images = find_images(arguments.images)
    estimator = load_depth_estimator(
        arguments.head,
        features=head_features(arguments, norm=False, task="depth"),
        other_encoder=arguments.other_encoder,
        protocol=PROTOCOLS[arguments.kind] if arguments.kind else None,
        mirror=not arguments.no_mirror,
    )
    estimator.to(make_runtime(arguments, arguments.out, []).device)
    return run_predictions(
        images,
        arguments.out,
        lambda pixels, image: _estimated(estimator, pixels, image, arguments.out, arguments.overlay),
        as_json=arguments.json,
    )


def _estimated(
    estimator: DepthEstimator, pixels: np.ndarray, image: ImageFile, out: Path, laid_over: bool
) -> Predicted:
    depth = estimator(pixels)
    near, far = depth_range(depth)
    shown = depth_picture(depth, near, far)
    if laid_over:
        shown = overlay(pixels, shown)
    shown = below(shown, depth_bar(near, far, max(pixels.shape[1], BAR_WIDTH)))
    files = [image.within(out, suffix) for suffix in (".png", ".npy")]
    save_picture(as_picture(shown, shown.shape[:2]), files[0])
    save_array(files[1], depth)
    facts = {
        "nearest": round(near, 4),
        "farthest": round(far, 4),
        "median": round(float(np.median(depth)), 4),
    }
    return Predicted(f"{near:.2f} m to {far:.2f} m (1st to 99th percentile)", files, facts)
