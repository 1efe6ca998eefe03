"""`codistill segment IMAGE… --head HEAD --out DIR`: classes as an overlay (PNG) and as an array (.npy)."""

import argparse
from pathlib import Path

import numpy as np

from codistill.commands.head_options import (
    add_feature_options,
    add_other_encoder_option,
    add_runtime_options,
    head_features,
    make_runtime,
)
from codistill.commands.prediction_output import out_paths, save_array
from codistill.imaging import read_rgb
from codistill.imaging.pictures import as_picture, save_picture
from codistill.metrics.segmentation import IGNORE
from codistill.tasks.frozen.pictures import label_picture, overlay
from codistill.tasks.segmentation.data import PROTOCOLS, RELEASED
from codistill.tasks.segmentation.predict import SegmentationTest, load_segmenter


def main(argv: list[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="codistill segment",
        description="Classes of every pixel: DIR/NAME.png (laid over the image), DIR/NAME.npy (uint8).",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files")
    parser.add_argument("--head", required=True, metavar="HEAD", help="of `codistill fit segmentation`")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--kind", choices=sorted(RELEASED), help="what a released .pth head was fitted on; it does not say"
    )
    parser.add_argument("--mirror", action="store_true", help="average with the mirrored image")
    parser.add_argument("--plain", action="store_true", help="colours alone, not laid over the image")
    add_feature_options(parser, norm=True)
    add_other_encoder_option(parser)
    add_runtime_options(parser)
    arguments = parser.parse_args(argv)
    paths = out_paths(arguments.images, arguments.out)
    segmenter = load_segmenter(
        arguments.head,
        features=head_features(arguments, norm=True, task="segmentation"),
        other_encoder=arguments.other_encoder,
        test=SegmentationTest(mirror=arguments.mirror),
        protocol=PROTOCOLS[arguments.kind] if arguments.kind else None,
        classes=RELEASED[arguments.kind] if arguments.kind else None,
    )
    segmenter.to(make_runtime(arguments, arguments.out, []).device)
    for image_path, path in zip(arguments.images, paths, strict=True):
        image = read_rgb(image_path)
        labels = segmenter(image)
        colours = label_picture(labels, len(segmenter.classes))
        shown = colours if arguments.plain else overlay(image, colours)
        save_picture(as_picture(shown, shown.shape[:2]), path.with_suffix(".png"))
        save_array(path.with_suffix(".npy"), labels)
        print(f"{path.with_suffix('.png')}: {_most_common(labels, segmenter.classes)}")
    return 0


def _most_common(labels: np.ndarray, classes: tuple[str, ...], most: int = 5) -> str:
    shares = np.bincount(labels.ravel(), minlength=256)[:IGNORE] / labels.size
    order = shares.argsort()[::-1][:most]
    return ", ".join(f"{classes[number]} {shares[number]:.0%}" for number in order if shares[number] > 0)
