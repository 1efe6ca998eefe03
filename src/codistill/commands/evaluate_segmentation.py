"""`codistill evaluate segmentation --head HEAD | --encoder E --data SPEC`: mIoU, intervals, pictures, comparisons."""

import argparse
from dataclasses import replace
from pathlib import Path

from codistill.commands import fit_segmentation
from codistill.commands.evaluation_output import (
    comparison,
    print_scores,
    read_per_image,
    write_evaluation,
)
from codistill.commands.head_options import (
    ImageProgress,
    feature_config,
    make_runtime,
    needed_data,
    parse_numbers,
)
from codistill.errors import ConfigError
from codistill.tasks.frozen.data import limited
from codistill.tasks.frozen.head_files import HeadRecord, is_head, read_record
from codistill.tasks.frozen.pictures import legend_picture
from codistill.tasks.segmentation.data import SegmentationData, open_segmentation
from codistill.tasks.segmentation.evaluate import SegmentationResult, difference, evaluate_segmentation
from codistill.tasks.segmentation.fit import fit_segmentation as fit
from codistill.tasks.segmentation.predict import MULTI_SCALE, SegmentationTest, load_segmenter


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codistill evaluate segmentation",
        description="Score a segmentation head. Without --head, one is fitted first (see `codistill fit "
        "segmentation`), in OUT/head. With --head, --encoder puts another encoder under it.",
    )
    parser.add_argument("--head", metavar="HEAD", help="a fitted head, or a released .pth file")
    parser.add_argument("--split", help="val or test (the world's test, val elsewhere)")
    scales = ",".join(f"{scale:g}" for scale in MULTI_SCALE)
    parser.add_argument("--scales", metavar="S,…", help=f"average over scales; DINOv2's +ms: {scales} (1)")
    parser.add_argument("--mirror", action="store_true", help="average with the mirrored image")
    parser.add_argument("--limit", type=int, metavar="N", help="score N images, evenly spread (all)")
    parser.add_argument("--pictures", type=int, default=6, metavar="N", help="examples in pictures.png (6)")
    parser.add_argument("--against", type=Path, metavar="OUT", help="paired difference to an evaluation")
    parser.add_argument(
        "--margin", type=float, help="call differences within ± margin equal (mIoU, per cent)"
    )
    parser.add_argument("--out", type=Path, metavar="OUT", help="folder of the results (HEAD/evaluation)")
    fit_segmentation.add_options(parser)
    return parser


def _head(arguments: argparse.Namespace, argv: list[str]) -> Path:
    """The head to score: the one given, or one fitted now."""
    if arguments.head:
        return Path(arguments.head)
    if arguments.out is None:
        raise ConfigError(
            "which head? add --head HEAD, or --encoder E --data SPEC --out OUT to fit one first"
        )
    head = arguments.out / "head"
    config = fit_segmentation.config_of(arguments)
    finished = fit(config, make_runtime(arguments, head, ["evaluate", "segmentation", *argv]))
    if not finished:
        raise ConfigError(f"the fit in {head} was stopped before its end; the same command goes on")
    return head


def _data(arguments: argparse.Namespace, record: HeadRecord | None) -> SegmentationData:
    spec = arguments.data or (record.data["spec"] if record else needed_data(arguments))
    split = arguments.split or ("test" if spec.startswith("world:") else "val")
    data = open_segmentation(spec, split, partial=arguments.partial)
    return replace(data, samples=limited(data.samples, arguments.limit))


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = _parser().parse_args(argv)
    scales = parse_numbers(arguments.scales, float, "--scales") or (1.0,)
    test = SegmentationTest(scales=scales, mirror=arguments.mirror)
    head = _head(arguments, argv)
    record = read_record(head, "segmentation") if is_head(head) or not head.is_file() else None
    data = _data(arguments, record)
    features = feature_config(arguments, fit_segmentation.NORM) if arguments.head else None
    segmenter = load_segmenter(
        head, features=features, test=test, protocol=data.protocol, classes=data.classes
    )
    out = arguments.out or head.with_suffix("") / "evaluation"
    runtime = make_runtime(arguments, out, [])
    with ImageProgress(f"segmenting {data.spec} ({data.split})") as progress:
        result = evaluate_segmentation(
            segmenter.to(runtime.device), data, pictures=arguments.pictures, progress=progress
        )
    print_scores(f"{segmenter.features.config.encoder} on {data.spec} ({data.split})", result.intervals())
    numbers = {
        "task": "segmentation",
        "unit": "per cent",
        "interval": "95 % percentile bootstrap over images",
        "data": data.spec,
        "split": data.split,
        "images": len(result.names),
        "encoder": segmenter.features.describe(),
        "test": {"scales": list(test.scales), "mirror": test.mirror, "mode": segmenter.protocol.mode},
        "fit": record.fit if record else {"released": str(head)},
        **result.summary(),
    }
    if arguments.against is not None:
        counts, names = read_per_image(arguments.against, "counts")
        other = SegmentationResult(counts, names, result.classes, [])
        numbers["comparison"] = comparison(
            arguments.against, "miou", difference(result, other), arguments.margin
        )
    write_evaluation(
        out,
        numbers,
        {"counts": result.counts},
        result.names,
        result.pictures,
        ["evaluate", "segmentation", *argv],
        legend=lambda width: legend_picture(result.classes, result.common_classes(), width),
    )
    print(f"wrote {out}: metrics.json, per_image.npz{', pictures.png' if result.pictures else ''}")
    return 0
