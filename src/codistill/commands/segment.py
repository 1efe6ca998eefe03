"""`codistill segment IMAGE… --head HEAD --out DIR`: classes as an overlay with a legend (PNG), as an array (.npy)."""

from pathlib import Path

import numpy as np

from codistill.commands.head_options import head_features, make_runtime
from codistill.commands.parsers.segment import parse
from codistill.commands.predicting import ImageFile, Predicted, find_images, run_predictions, save_array
from codistill.imaging.colours import label_picture, overlay
from codistill.imaging.legends import legend_picture
from codistill.imaging.pictures import as_picture, below, save_picture
from codistill.metrics.segmentation import IGNORE
from codistill.tasks.dense.segmentation.data import PROTOCOLS, RELEASED
from codistill.tasks.dense.segmentation.predict import SegmentationTest, Segmenter, load_segmenter

LISTED = 24
"""Classes in a legend, the commonest first."""

LEGEND_WIDTH = 240
"""Pixels at least, for small images."""


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = parse(argv)
    images = find_images(arguments.images)
    segmenter = load_segmenter(
        arguments.head,
        features=head_features(arguments, norm=True, task="segmentation"),
        other_encoder=arguments.other_encoder,
        test=SegmentationTest(mirror=arguments.mirror),
        protocol=PROTOCOLS[arguments.kind] if arguments.kind else None,
        classes=RELEASED[arguments.kind] if arguments.kind else None,
    )
    segmenter.to(make_runtime(arguments, arguments.out, []).device)
    return run_predictions(
        images,
        arguments.out,
        lambda pixels, image: _segmented(segmenter, pixels, image, arguments.out, arguments.plain),
        as_json=arguments.json,
    )


def _segmented(
    segmenter: Segmenter, pixels: np.ndarray, image: ImageFile, out: Path, plain: bool
) -> Predicted:
    labels, classes = segmenter(pixels), segmenter.classes
    shares = np.bincount(labels.ravel(), minlength=256)[:IGNORE] / labels.size
    common = [int(number) for number in shares.argsort()[::-1] if shares[number] > 0]
    shown = label_picture(labels, len(classes))
    if not plain:
        legend = legend_picture(classes, common[:LISTED], max(pixels.shape[1], LEGEND_WIDTH))
        shown = below(overlay(pixels, shown), legend)
    files = [image.within(out, suffix) for suffix in (".png", ".npy")]
    save_picture(as_picture(shown, shown.shape[:2]), files[0])
    save_array(files[1], labels)
    text = ", ".join(f"{classes[number]} {shares[number]:.0%}" for number in common[:5])
    return Predicted(text, files, {"classes": {classes[n]: round(float(shares[n]), 6) for n in common}})
