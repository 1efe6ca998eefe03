"""`codistill depth IMAGE… --head HEAD --out DIR`: depth as a picture (PNG) and as an array in metres (.npy)."""

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
from codistill.tasks.depth.data import PROTOCOLS
from codistill.tasks.depth.predict import load_depth_estimator
from codistill.tasks.frozen.pictures import depth_picture, overlay


def main(argv: list[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="codistill depth",
        description="Depth of every pixel: DIR/NAME.png (near is warm, far is cold), DIR/NAME.npy (metres, fp32).",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files")
    parser.add_argument("--head", required=True, metavar="HEAD", help="of `codistill fit depth`")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--kind", choices=sorted(PROTOCOLS), help="what a released .pth head was fitted on; it does not say"
    )
    parser.add_argument("--no-mirror", action="store_true", help="do not average with the mirrored image")
    parser.add_argument("--overlay", action="store_true", help="lay the colours over the image")
    add_feature_options(parser, norm=False)
    add_other_encoder_option(parser)
    add_runtime_options(parser)
    arguments = parser.parse_args(argv)
    paths = out_paths(arguments.images, arguments.out)
    estimator = load_depth_estimator(
        arguments.head,
        features=head_features(arguments, norm=False, task="depth"),
        other_encoder=arguments.other_encoder,
        protocol=PROTOCOLS[arguments.kind] if arguments.kind else None,
        mirror=not arguments.no_mirror,
    )
    estimator.to(make_runtime(arguments, arguments.out, []).device)
    for image_path, path in zip(arguments.images, paths, strict=True):
        image = read_rgb(image_path)
        depth = estimator(image)
        near, far = (float(value) for value in np.percentile(depth, [1, 99]))
        colours = depth_picture(depth, near, max(far, near * 1.01))
        shown = overlay(image, colours) if arguments.overlay else colours
        save_picture(as_picture(shown, shown.shape[:2]), path.with_suffix(".png"))
        save_array(path.with_suffix(".npy"), depth)
        print(f"{path.with_suffix('.png')}: {near:.2f} m to {far:.2f} m (1st to 99th percentile)")
    return 0
